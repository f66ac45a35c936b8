//! Learned features of a node by its species.

use super::{Block, Initial, ParameterLayout};
use crate::engine::{Lane, Vector};

/// A column of features for each species, added to the features of its nodes. This alone
/// distinguishes unlike particles: a flow stays equivariant under permutations within a species.
#[derive(Debug, Clone)]
pub(super) struct SpeciesFeatures {
    /// The column of each particle.
    species: Vec<usize>,
    /// [features, species].
    features: Block,
}

impl SpeciesFeatures {
    /// `None`, and no parameters, when all particles are alike. `species` has an entry a particle,
    /// or none.
    pub fn new(
        layout: &mut ParameterLayout,
        name: &str,
        features: usize,
        species: &[usize],
        initial: Initial,
    ) -> Option<Self> {
        let count = species.iter().max().map_or(0, |last| last + 1);
        (count > 1).then(|| Self {
            species: species.to_vec(),
            features: layout.matrix(name, features, count, initial),
        })
    }

    /// Adds to `h` ([features, particles]).
    #[inline(always)]
    pub fn add<V: Vector>(&self, theta: &[V::Scalar], h: &mut [Lane<V::Scalar>]) {
        let columns = self.features.of(theta).chunks_exact(self.features.columns());
        for (row, columns) in h.chunks_exact_mut(self.species.len()).zip(columns) {
            for (h, &species) in row.iter_mut().zip(&self.species) {
                V::splat(columns[species]).accumulate(h);
            }
        }
    }

    /// Adds to the parameters' gradient, given ∂L/∂h ([features, particles]).
    #[inline(always)]
    pub fn add_gradient<V: Vector>(
        &self,
        gradient: &mut [V::Scalar],
        cotangent: &[Lane<V::Scalar>],
    ) {
        let columns = self.features.columns();
        let gradient = self.features.of_mut(gradient).chunks_exact_mut(columns);
        for (row, columns) in cotangent.chunks_exact(self.species.len()).zip(gradient) {
            for (g, &species) in row.iter().zip(&self.species) {
                columns[species] += V::load(g).sum();
            }
        }
    }
}
