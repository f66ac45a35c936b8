//! Particles and dimensions; periodic boxes; the zero-centre-of-mass subspace; random rotations and
//! permutations.

use std::collections::BTreeMap;

use rand::Rng;
use rand_distr::{Distribution, StandardNormal};

use crate::error::{refuse, Error};

/// The numbers 0, 1, … of `labels`, in the order of their first appearance.
pub(crate) fn numbered<T: PartialEq>(labels: &[T]) -> Vec<usize> {
    let mut seen: Vec<&T> = Vec::new();
    let mut number = |label| {
        seen.iter().position(|known| *known == label).unwrap_or_else(|| {
            seen.push(label);
            seen.len() - 1
        })
    };
    labels.iter().map(&mut number).collect()
}

/// A set of n particles in d dimensions, in open space or in a periodic box. Configurations are
/// row-major [particles, dimension].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct System {
    particles: usize,
    dimension: usize,
    /// Edges of the periodic box, the first `dimension` of them.
    edges: Option<[f64; 3]>,
}

impl System {
    /// A system of at least two particles in two or three dimensions.
    ///
    /// # Errors
    /// [`Error::Parameter`] on `particles` or `dimension`.
    pub fn new(particles: usize, dimension: usize) -> Result<Self, Error> {
        if particles < 2 {
            return refuse(
                "particles",
                format!("is {particles}: a system needs at least 2 particles"),
            );
        }
        if !(2..=3).contains(&dimension) {
            return refuse("dimension", format!("is {dimension}: use 2 or 3"));
        }
        Ok(Self { particles, dimension, edges: None })
    }

    /// The same particles in a periodic box along the axes, whose `edges` are lengths, one for each
    /// dimension. Only differences of positions matter, [to the nearest image](Self::separation):
    /// a particle need not lie within the box, and one that leaves it is not put back.
    ///
    /// # Errors
    /// [`Error::Parameter`] on `box`.
    ///
    /// # Examples
    /// ```
    /// use boltzflow::System;
    /// let system = System::new(2, 2)?.in_box(&[4.0, 6.0])?;
    /// assert_eq!(system.separation(&[1.5, 0.0], &[-1.5, 1.0]), [-1.0, -1.0, 0.0]);
    /// assert_eq!(system.volume(), Some(24.0));
    /// # Ok::<(), boltzflow::Error>(())
    /// ```
    pub fn in_box(self, edges: &[f64]) -> Result<Self, Error> {
        let (found, expected) = (edges.len(), self.dimension);
        if found != expected {
            return refuse("box", format!("has {found} edges: use {expected}, one a dimension"));
        }
        if let Some(edge) = edges.iter().find(|edge| !(edge.is_finite() && **edge > 0.0)) {
            return refuse("box", format!("has an edge of {edge}: use lengths over 0"));
        }
        let mut all = [0.0; 3];
        all[..expected].copy_from_slice(edges);
        Ok(Self { edges: Some(all), ..self })
    }

    /// The edges of the periodic box, one for each dimension; `None` in open space.
    pub fn periodic_box(&self) -> Option<&[f64]> {
        self.edges.as_ref().map(|edges| &edges[..self.dimension])
    }

    /// Half the shortest edge of the periodic box, within which a pair has one image; infinite in
    /// open space.
    pub fn half_edge(&self) -> f64 {
        let edges = self.periodic_box().unwrap_or_default();
        0.5 * edges.iter().copied().fold(f64::INFINITY, f64::min)
    }

    /// The volume (in the plane, the area) of the periodic box.
    pub fn volume(&self) -> Option<f64> {
        self.periodic_box().map(|edges| edges.iter().product())
    }

    /// a − b, in a periodic box to the nearest image of b.
    pub fn separation(&self, a: &[f64], b: &[f64]) -> [f64; 3] {
        let mut difference = [0.0; 3];
        for (k, (a, b)) in a.iter().zip(b).take(self.dimension).enumerate() {
            difference[k] = a - b;
            if let Some(edges) = &self.edges {
                difference[k] -= edges[k] * (difference[k] / edges[k]).round();
            }
        }
        difference
    }

    /// Number of particles n.
    pub fn particles(&self) -> usize {
        self.particles
    }

    /// Number of spatial dimensions d.
    pub fn dimension(&self) -> usize {
        self.dimension
    }

    /// Number of coordinates n·d.
    pub fn coordinates(&self) -> usize {
        self.particles * self.dimension
    }

    /// Dimensions of the zero-centre-of-mass subspace, (n − 1)·d.
    pub fn degrees_of_freedom(&self) -> usize {
        (self.particles - 1) * self.dimension
    }

    /// Mean position of `x` ([particles, dimension]).
    pub fn center_of_mass(&self, x: &[f64]) -> [f64; 3] {
        let mut mean = [0.0; 3];
        for row in x.chunks_exact(self.dimension) {
            for (m, v) in mean.iter_mut().zip(row) {
                *m += v;
            }
        }
        mean.map(|m| m / self.particles as f64)
    }

    /// Projects `x` ([particles, dimension]) on the zero-centre-of-mass subspace.
    pub fn remove_center_of_mass(&self, x: &mut [f64]) {
        let mean = self.center_of_mass(x);
        for row in x.chunks_exact_mut(self.dimension) {
            for (v, m) in row.iter_mut().zip(&mean) {
                *v -= m;
            }
        }
    }

    /// Rotates every row of `x` ([…, dimension]) by `rotation` (row-major [dimension, dimension]).
    pub fn rotate(&self, rotation: &[f64], x: &mut [f64]) {
        let d = self.dimension;
        let mut rotated = [0.0; 3];
        for row in x.chunks_exact_mut(d) {
            for (i, out) in rotated.iter_mut().take(d).enumerate() {
                *out = (0..d).map(|j| rotation[i * d + j] * row[j]).sum();
            }
            row.copy_from_slice(&rotated[..d]);
        }
    }

    /// Reorders the particles of `x` ([particles, dimension]): particle i of the result is particle
    /// `permutation[i]` of the input.
    pub fn permute(&self, permutation: &[usize], x: &[f64]) -> Vec<f64> {
        let d = self.dimension;
        permutation.iter().flat_map(|&p| x[p * d..(p + 1) * d].iter().copied()).collect()
    }

    /// A rotation uniform over SO(d), row-major [dimension, dimension].
    ///
    /// Gram–Schmidt of Gaussian vectors; the last one gets the sign that makes the determinant 1.
    pub fn random_rotation(&self, rng: &mut impl Rng) -> Vec<f64> {
        let d = self.dimension;
        let mut q = vec![0.0; d * d];
        for i in 0..d {
            loop {
                let mut v: Vec<f64> = (0..d).map(|_| StandardNormal.sample(rng)).collect();
                for j in 0..i {
                    let dot: f64 = (0..d).map(|k| v[k] * q[j * d + k]).sum();
                    for k in 0..d {
                        v[k] -= dot * q[j * d + k];
                    }
                }
                let norm = v.iter().map(|x| x * x).sum::<f64>().sqrt();
                if norm > 1e-3 {
                    for k in 0..d {
                        q[i * d + k] = v[k] / norm;
                    }
                    break;
                }
            }
        }
        let determinant = if d == 2 {
            q[0] * q[3] - q[1] * q[2]
        } else {
            q[0] * (q[4] * q[8] - q[5] * q[7]) - q[1] * (q[3] * q[8] - q[5] * q[6])
                + q[2] * (q[3] * q[7] - q[4] * q[6])
        };
        if determinant < 0.0 {
            for v in &mut q[(d - 1) * d..] {
                *v = -*v;
            }
        }
        q
    }

    /// A rotation by `angle` about a random axis, or in the plane; row-major [dimension,
    /// dimension].
    pub fn rotation_by(&self, angle: f64, rng: &mut impl Rng) -> Vec<f64> {
        let (sin, cos) = angle.sin_cos();
        if self.dimension == 2 {
            return vec![cos, -sin, sin, cos];
        }
        // Rodrigues' formula; the first row of a uniform rotation is a uniform axis.
        let axis = self.random_rotation(rng);
        let [x, y, z] = [axis[0], axis[1], axis[2]];
        let one = 1.0 - cos;
        vec![
            cos + x * x * one,
            x * y * one - z * sin,
            x * z * one + y * sin,
            y * x * one + z * sin,
            cos + y * y * one,
            y * z * one - x * sin,
            z * x * one - y * sin,
            z * y * one + x * sin,
            cos + z * z * one,
        ]
    }

    /// The particles of each species, in the order of the species' numbers: all together where
    /// `species` has not one number for each particle, as for particles that are all alike.
    pub fn kinds(&self, species: &[usize]) -> Vec<Vec<usize>> {
        if species.len() != self.particles {
            return vec![(0..self.particles).collect()];
        }
        let mut kinds: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for (particle, kind) in species.iter().enumerate() {
            kinds.entry(*kind).or_default().push(particle);
        }
        kinds.into_values().collect()
    }

    /// A permutation of the particles, uniform over all.
    pub fn random_permutation(&self, rng: &mut impl Rng) -> Vec<usize> {
        use rand::seq::SliceRandom;
        let mut permutation: Vec<usize> = (0..self.particles).collect();
        permutation.shuffle(rng);
        permutation
    }

    /// A permutation that exchanges particles of the same species only, uniform over those:
    /// `species` has a number for each particle, or none when all are alike.
    pub fn random_permutation_within(&self, species: &[usize], rng: &mut impl Rng) -> Vec<usize> {
        let all = self.random_permutation(rng);
        let mut within = all.clone();
        for (place, label) in species.iter().enumerate() {
            // The k-th particle of a species becomes the k-th of that species in the random order.
            let k = species[..place].iter().filter(|other| *other == label).count();
            let alike = |p: &&usize| species[**p] == *label;
            within[place] = all.iter().filter(alike).nth(k).copied().unwrap_or(place);
        }
        within
    }
}
