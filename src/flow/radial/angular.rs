//! Angular features of pairs, which tell a bent triplet from a stretched one where distances alone
//! do not.
//!
//! ```text
//! V_i = Σ_j w_ij r_ij,   w_ij = (B e(ρ_ij))
//! q_ij = (V_i − V_j)·r_ij/ρ_ij
//! ```
//!
//! The features e(ρ_ij) are joined by one q_ij a channel, which all pair stages read:
//! q_ij = Σ_k w_ik r_ik cos θ_jik + …, a sum over third particles at the cost of pairs.

use crate::engine::{matrix_product, Lane, Lanes, Vector};
use crate::flow::rows::{dot, load, push, scaled, store, subtract};
use crate::flow::{Block, Initial, ParameterLayout};

use super::pairs::{PairBlock, Pairs};

/// Parameters of the angular features.
#[derive(Debug, Clone, Copy)]
pub(super) struct Angular {
    /// Vectors of a particle.
    pub channels: usize,
    /// B, [channels, basis].
    pub weight: Block,
}

/// Cotangents that [`Angular::features_vjp`] adds to: of the vectors [channels, particles, D], of y
/// − ȳ [particles, D], and of ρ of a block's pairs.
pub(super) struct FeatureCotangents<'a, T> {
    pub vectors: &'a mut [Lane<T>],
    pub centered: &'a mut [Lane<T>],
    pub distance: &'a mut [Lane<T>],
}

/// Where the particles are: y − ȳ, [particles, dimension], and ρ of a block's pairs.
pub(super) type Geometry<'a, T> = (&'a [Lane<T>], &'a [Lane<T>]);

impl Angular {
    /// Registers the parameters of `channels` vectors of a particle, over its `pairs`; none for no
    /// channel.
    pub fn new(
        layout: &mut ParameterLayout,
        channels: usize,
        basis: usize,
        pairs: &Pairs,
    ) -> Option<Self> {
        if channels == 0 {
            return None;
        }
        // Vectors of length about one, so that q is as large as the other features.
        let start = Initial::Normal(0.3 / pairs.neighbours().sqrt());
        Some(Self {
            channels,
            weight: layout.added_matrix("angular.weight", channels, basis, start),
        })
    }

    /// w of a block's pairs.
    #[inline(always)]
    pub fn weights<V: Vector>(
        &self,
        theta: &[V::Scalar],
        features: &[Lane<V::Scalar>],
        weights: &mut [Lane<V::Scalar>],
    ) {
        let count = weights.len() / self.channels;
        matrix_product::<V>(self.weight.matrix(theta), features, weights, count, false);
    }

    /// Adds what a block's pairs, of these w, make of the vectors [channels, particles, D].
    #[inline(always)]
    pub fn add_vectors<V: Vector, const D: usize>(
        &self,
        block: &PairBlock<'_>,
        weights: &[Lane<V::Scalar>],
        centered: &[Lane<V::Scalar>],
        vectors: &mut [Lane<V::Scalar>],
    ) {
        let weights = weights.chunks_exact(block.count);
        for (weights, vectors) in weights.zip(vectors.chunks_exact_mut(centered.len())) {
            let mut weights = weights.iter();
            for (i, run) in block.runs() {
                let (here, mut total) = (load::<V, D>(centered, i), load::<V, D>(vectors, i));
                for (p, w) in run.zip(&mut weights) {
                    let r = block.pairs.separation::<V, D>(p, here, centered);
                    push(scaled(V::load(w), r), &mut total, vectors, block.pairs.other(p));
                }
                store(total, vectors, i);
            }
        }
    }

    /// q of a block's pairs, [channels, pairs].
    #[inline(always)]
    pub fn features<V: Vector, const D: usize>(
        &self,
        block: &PairBlock<'_>,
        (centered, distance): Geometry<'_, V::Scalar>,
        vectors: &[Lane<V::Scalar>],
        features: &mut [Lane<V::Scalar>],
    ) {
        let features = features.chunks_exact_mut(block.count);
        for (features, vectors) in features.zip(vectors.chunks_exact(centered.len())) {
            let mut pairs = features.iter_mut().zip(distance);
            for (i, run) in block.runs() {
                let (here, vector) = (load::<V, D>(centered, i), load::<V, D>(vectors, i));
                for (p, (q, rho)) in run.zip(&mut pairs) {
                    let r = block.pairs.separation::<V, D>(p, here, centered);
                    let between = subtract(vector, load::<V, D>(vectors, block.pairs.other(p)));
                    (dot(between, r) / V::load(rho)).store(q);
                }
            }
        }
    }

    /// From ∂L/∂q of a block's pairs to those of what q was made of, which it adds to.
    #[inline(always)]
    pub fn features_vjp<V: Vector, const D: usize>(
        &self,
        block: &PairBlock<'_>,
        (centered, distance): Geometry<'_, V::Scalar>,
        vectors: &[Lane<V::Scalar>],
        (features, cotangent): (Lanes<'_, V>, Lanes<'_, V>),
        to: FeatureCotangents<'_, V::Scalar>,
    ) {
        let (width, count) = (centered.len(), block.count);
        for channel in 0..self.channels {
            let vectors = &vectors[channel * width..(channel + 1) * width];
            let to_vectors = &mut to.vectors[channel * width..(channel + 1) * width];
            for (i, run) in block.runs() {
                let (here, vector) = (load::<V, D>(centered, i), load::<V, D>(vectors, i));
                let mut to_here = load::<V, D>(to.centered, i);
                let mut to_vector = load::<V, D>(to_vectors, i);
                for pair in run {
                    let (p, j) = (pair - block.first, block.pairs.other(pair));
                    let q = V::load(&features[channel * count + p]);
                    let cotangent = V::load(&cotangent[channel * count + p]);
                    let along = cotangent / V::load(&distance[p]);
                    (-(along * q)).accumulate(&mut to.distance[p]);
                    let r = block.pairs.separation::<V, D>(pair, here, centered);
                    let between = subtract(vector, load::<V, D>(vectors, j));
                    push(scaled(along, between), &mut to_here, to.centered, j);
                    push(scaled(along, r), &mut to_vector, to_vectors, j);
                }
                store(to_here, to.centered, i);
                store(to_vector, to_vectors, i);
            }
        }
    }

    /// From ∂L/∂V to what a block's pairs, of these w, add to that of y − ȳ; ∂L/∂w takes the place
    /// of w.
    #[inline(always)]
    pub fn vectors_vjp<V: Vector, const D: usize>(
        &self,
        block: &PairBlock<'_>,
        centered: &[Lane<V::Scalar>],
        cotangent: &[Lane<V::Scalar>],
        weights: &mut [Lane<V::Scalar>],
        to_centered: &mut [Lane<V::Scalar>],
    ) {
        let weights = weights.chunks_exact_mut(block.count);
        for (weights, cotangent) in weights.zip(cotangent.chunks_exact(centered.len())) {
            let mut weights = weights.iter_mut();
            for (i, run) in block.runs() {
                let (here, vector) = (load::<V, D>(centered, i), load::<V, D>(cotangent, i));
                let mut total = load::<V, D>(to_centered, i);
                for (p, w) in run.zip(&mut weights) {
                    let j = block.pairs.other(p);
                    let r = block.pairs.separation::<V, D>(p, here, centered);
                    let between = subtract(vector, load::<V, D>(cotangent, j));
                    push(scaled(V::load(w), between), &mut total, to_centered, j);
                    dot(r, between).store(w);
                }
                store(total, to_centered, i);
            }
        }
    }

    /// From ∂L/∂w of a block's pairs to that of B and, which is written, of e.
    #[inline(always)]
    pub fn weights_vjp<V: Vector>(
        &self,
        theta: &[V::Scalar],
        (features, cotangent): (Lanes<'_, V>, Lanes<'_, V>),
        to_features: &mut [Lane<V::Scalar>],
        gradient: Option<&mut [V::Scalar]>,
    ) {
        let (count, block) = (cotangent.len() / self.channels, self.weight);
        if let Some(gradient) = gradient {
            block.add_outer::<V>(0, cotangent, features, gradient, count);
        }
        let weights = block.matrix(theta).transposed();
        matrix_product::<V>(weights, cotangent, to_features, count, false);
    }
}
