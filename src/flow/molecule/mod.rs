//! The base density of a molecule: a flow in the internal coordinates of its bonds.
//!
//! ```text
//! u ~ uniform angles and N(0, I)
//! (τ, z) = F_K ∘ … ∘ F_1 ∘ S (u)        splines of each angle alone, then layers
//! q = m + W f(τ) + L z                  stiff coordinates, from a fit
//! x = R σ P x(τ, q)                     placed; turned, mirrored, like atoms exchanged
//! p(x) = 2^(−bits) p(u) / |det ∂(τ, q)/∂u| · n^(3/2) / (8π² Π r² Π sin θ)
//! ```
//!
//! over the subspace of zero centre of mass. It is invariant under rotations and, where both sides
//! of the mirror are apart, under reflections. A draw that the layers would put on the other side
//! of an atom's neighbours has another density than is stated: with stiff angles, there is none.

mod affine;
mod fit;
mod geometry;
mod kernels;
mod layer;
mod sides;
#[cfg(test)]
mod tests;

use std::f64::consts::PI;

use rand::seq::SliceRandom;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use self::affine::Affine;
use self::geometry::Coordinates;
use self::layer::{circular, Layer};
use self::sides::Sides;
use super::spline::SplineShape;
use super::{BaseOptions, Block, Initial, ParameterLayout, Skeleton};
use crate::engine::{buffers, Lane, Real, LANES};
use crate::error::Error;
use crate::molecule::Tree;

/// Bins of the splines of single angles.
const MARGINAL_BINS: usize = 16;
const HALF_LOG_TAU: f64 = 0.918_938_533_204_672_8;

/// The base density of a molecule of n atoms in space.
#[derive(Debug)]
pub(super) struct MoleculeBase {
    tree: Tree,
    coordinates: Coordinates,
    sides: Sides,
    affine: Affine,
    layers: Vec<Layer>,
    marginal: SplineShape,
    /// Raw parameters of the splines of single angles.
    marginals: Block,
}

buffers! {
    /// What the kernels work in.
    struct Space(base: &MoleculeBase, tiles: usize) {
        /// Positions of a tile in the standard form, and their cotangent.
        standard: 3 * base.coordinates.particles,
        to_standard: 3 * base.coordinates.particles,
        /// See [`Sides`]; of every tile.
        bits: base.sides.bits() * tiles,
        rotation: 9 * tiles,
        geometry: base.coordinates.scratch(),
        /// Coordinates of a tile, and their cotangent.
        own: base.coordinates.len(),
        to_own: base.coordinates.len(),
        /// Of all tiles.
        cotangent: base.coordinates.len() * tiles,
        /// Raw parameters of splines of single angles, and their cotangents.
        raw: base.marginals.rows(),
        to_raw: base.marginals.rows() * tiles,
    }
}

impl MoleculeBase {
    pub fn new(
        species: &[usize],
        skeleton: Option<Skeleton<'_>>,
        options: &BaseOptions,
        layout: &mut ParameterLayout,
    ) -> Result<Self, Error> {
        let missing = || {
            let problem = "is \"molecule\" and the target has no structure whose bonds hold all \
                           of its atoms together: use \"gaussian\"";
            Error::parameter("flow.base.kind", problem)
        };
        let Skeleton { bonds, structure, .. } = skeleton.ok_or_else(missing)?;
        let tree = Tree::of(structure.len() / 3, bonds).ok_or_else(missing)?;
        let coordinates = Coordinates::of(&tree);
        let sides = Sides::of(species, bonds, structure);
        layout.enter("base.molecule");
        let all = coordinates.len();
        let soft = coordinates.soft.len();
        let marginal = circular(MARGINAL_BINS);
        let parameters = soft * marginal.parameters();
        let marginals = layout.vector("angles", parameters, Initial::Constant(0.0));
        let mut standard = structure.to_vec();
        sides.standard(&mut standard);
        let start = coordinates.measured(&tree, &standard);
        let affine = Affine::new(&coordinates, &start, layout);
        let mut layers = Vec::new();
        let mut halves = [Vec::new(), Vec::new()];
        for number in 0..options.layers {
            if number % 2 == 0 {
                halves = split(soft, all, (number / 2) as u64);
            }
            layout.enter(format!("base.layer.{number:02}"));
            let moved = halves[number % 2].clone();
            layers.push(Layer::new([soft, all], moved, options, layout));
        }
        Ok(Self { tree, coordinates, sides, affine, layers, marginal, marginals })
    }

    /// x, [n, 3], in the standard form.
    fn standard(&self, x: &[f64]) -> Vec<f64> {
        let mut x = x.to_vec();
        self.sides.standard(&mut x);
        x
    }

    /// The coordinates of x, [n, 3], in the standard form.
    fn measured(&self, x: &[f64]) -> Vec<f64> {
        self.coordinates.measured(&self.tree, &self.standard(x))
    }

    /// From standard normal numbers, as many for each tile as coordinates of x, to u [coordinates,
    /// tiles], rotations and bits.
    fn read_noise<T: Real>(&self, noise: &[Lane<T>], u: &mut [Lane<T>], space: &mut Space<'_, T>) {
        let (all, width) = (self.coordinates.len(), 3 * self.coordinates.particles);
        let tiles = noise.len() / width;
        for (tile, noise) in noise.chunks_exact(width).enumerate() {
            for (k, noise) in noise[..all].iter().enumerate() {
                let lane = &mut u[k * tiles + tile];
                *lane = *noise;
                if k < self.coordinates.soft.len() {
                    for value in &mut lane.0 {
                        *value = T::of(PI * (2.0 * uniform(value.to_f64()) - 1.0));
                    }
                }
            }
            let bits = self.sides.bits();
            let bits = &mut space.bits[tile * bits..(tile + 1) * bits];
            let turned = &mut space.rotation[9 * tile..9 * (tile + 1)];
            for sample in 0..LANES {
                let mut numbers = [0, 1, 2].map(|k| uniform(noise[all + k].0[sample].to_f64()));
                Sides::take_bits(bits, sample, &mut numbers);
                for (lane, entry) in turned.iter_mut().zip(rotation(numbers)) {
                    lane.0[sample] = T::of(entry);
                }
            }
        }
    }
}

/// Two halves of the coordinates, in each of which half of the first `soft` are; other halves for
/// every `number`.
fn split(soft: usize, all: usize, number: u64) -> [Vec<usize>; 2] {
    let mut rng = ChaCha8Rng::seed_from_u64(number);
    let mut halves = [Vec::new(), Vec::new()];
    let mut into = 0;
    for kind in [0..soft, soft..all] {
        let mut kind: Vec<usize> = kind.collect();
        kind.shuffle(&mut rng);
        for coordinate in kind {
            halves[into].push(coordinate);
            into = 1 - into;
        }
    }
    halves.iter_mut().for_each(|half| half.sort_unstable());
    halves
}

/// The distribution function of the normal distribution.
fn uniform(normal: f64) -> f64 {
    0.5 * libm::erfc(-normal * std::f64::consts::FRAC_1_SQRT_2)
}

/// A random rotation, row-major, of three uniform numbers (Shoemake, Graphics Gems III, 1992).
fn rotation([a, b, c]: [f64; 3]) -> [f64; 9] {
    let [(s1, c1), (s2, c2)] = [b, c].map(|turn| (2.0 * PI * turn).sin_cos());
    let (short, long) = ((1.0 - a).max(0.0).sqrt(), a.max(0.0).sqrt());
    let [x, y, z, w] = [short * s1, short * c1, long * s2, long * c2];
    [
        1.0 - 2.0 * (y * y + z * z),
        2.0 * (x * y - z * w),
        2.0 * (x * z + y * w),
        2.0 * (x * y + z * w),
        1.0 - 2.0 * (x * x + z * z),
        2.0 * (y * z - x * w),
        2.0 * (x * z - y * w),
        2.0 * (y * z + x * w),
        1.0 - 2.0 * (x * x + y * y),
    ]
}
