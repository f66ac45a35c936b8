//! The base density of a crystal: Gaussian displacements u = x − R from the sites R.
//!
//! ```text
//! u = σ P B z,  z ~ N(0, I)
//! log p(u) = −½ uᵀ K u/σ² + ½ log det K − d(N − 1) (log σ + ½ log 2π)
//! ```
//!
//! over the subspace of zero centre of mass, on which P projects. Of the harmonic crystal K are the
//! second derivatives of U at the sites, projected, and P B Bᵀ P its inverse on the subspace; of
//! independent displacements both are P. The rest of the flow works on displacements, too: the flow
//! takes the sites from what comes in, and adds them to what goes out, in f64.

mod modes;
#[cfg(test)]
mod tests;

use super::base::{BaseDensity, Pass};
use super::{Block, FlowOptions, Initial, ParameterLayout};
use crate::crystal::Crystal;
use crate::engine::{matrix_product, Kernel, Lane, Matrix, Real, Vector, LANES};
use crate::error::Error;
use crate::system::System;

use modes::Modes;

const HALF_LOG_TAU: f64 = 0.918_938_533_204_672_8;

/// The base density of a crystal.
#[derive(Debug)]
pub(super) struct CrystalBase<T> {
    system: System,
    log_scale: Block,
    /// `None` for independent displacements.
    modes: Option<Matrices<T>>,
}

/// See [`Modes`].
#[derive(Debug)]
struct Matrices<T> {
    draw: Vec<T>,
    stiffness: Vec<T>,
    half_log_determinant: f64,
}

impl<T: Real> CrystalBase<T> {
    pub fn new(
        crystal: &Crystal,
        stiffness: &[f64],
        options: &FlowOptions,
        layout: &mut ParameterLayout,
    ) -> Result<Self, Error> {
        let system = crystal.system();
        let modes = match options.base.needs_stiffness() {
            true => {
                let modes = Modes::of(system, stiffness)?;
                let cast = |all: Vec<f64>| all.into_iter().map(T::of).collect();
                Some(Matrices {
                    draw: cast(modes.draw),
                    stiffness: cast(modes.stiffness),
                    half_log_determinant: modes.half_log_determinant,
                })
            }
            false => None,
        };
        let scale = Initial::Constant(options.base_scale.ln());
        let log_scale = layout.vector("log_scale", 1, scale);
        Ok(Self { system, log_scale, modes })
    }

    fn scale(&self, theta: &[T]) -> f64 {
        self.log_scale.of(theta)[0].to_f64().exp()
    }

    /// `to` = A `from` of each tile, [tiles, coordinates]; P `from` where there is no matrix.
    fn apply(&self, matrix: Option<&[T]>, from: &[Lane<T>], to: &mut [Lane<T>]) {
        let width = self.system.coordinates();
        let tiles = from.chunks_exact(width).zip(to.chunks_exact_mut(width));
        for (from, to) in tiles {
            match matrix {
                Some(matrix) => T::dispatch(Multiply { matrix, from, to }),
                None => self.center(from, to),
            }
        }
    }

    /// `to` = P `from` of one tile.
    fn center(&self, from: &[Lane<T>], to: &mut [Lane<T>]) {
        let d = self.system.dimension();
        let share = 1.0 / self.system.particles() as f64;
        for axis in 0..d {
            let mut mean = [0.0; LANES];
            for lane in from.iter().skip(axis).step_by(d) {
                mean.iter_mut().zip(lane.0).for_each(|(mean, u)| *mean += share * u.to_f64());
            }
            let lanes = from.iter().zip(&mut *to).skip(axis).step_by(d);
            for (from, to) in lanes {
                for ((to, from), mean) in to.0.iter_mut().zip(from.0).zip(&mean) {
                    *to = T::of(from.to_f64() - mean);
                }
            }
        }
    }

    /// From K u on the trail to log p, without the constant.
    fn add_log_prob(
        &self,
        precision: f64,
        u: &[Lane<T>],
        pulls: &[Lane<T>],
        log_prob: &mut [Lane<T>],
    ) {
        let width = self.system.coordinates();
        let tiles = u.chunks_exact(width).zip(pulls.chunks_exact(width)).zip(log_prob);
        for ((u, pulls), log_prob) in tiles {
            let products = products(u, pulls);
            log_prob.0 = products.map(|product| T::of(-0.5 * precision * product));
        }
    }
}

/// u·v of each sample of a tile.
fn products<T: Real>(u: &[Lane<T>], v: &[Lane<T>]) -> [f64; LANES] {
    let mut sums = [0.0; LANES];
    for (u, v) in u.iter().zip(v) {
        for ((sum, u), v) in sums.iter_mut().zip(u.0).zip(v.0) {
            *sum += u.to_f64() * v.to_f64();
        }
    }
    sums
}

/// A square matrix times a tile's vectors.
struct Multiply<'a, T> {
    matrix: &'a [T],
    from: &'a [Lane<T>],
    to: &'a mut [Lane<T>],
}

impl<T: Real> Kernel<T> for Multiply<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector<Scalar = T>>(self) {
        let Self { matrix, from, to } = self;
        let matrix = Matrix::new(matrix, from.len(), from.len());
        matrix_product::<V>(matrix, from, to, 1, false);
    }
}

impl<T: Real> BaseDensity<T> for CrystalBase<T> {
    fn title(&self) -> &'static str {
        match self.modes {
            Some(_) => "harmonic crystal",
            None => "independent displacements from sites",
        }
    }

    /// K u.
    fn trail_lanes(&self, tiles: usize) -> usize {
        self.system.coordinates() * tiles
    }

    fn scratch(&self, _: usize) -> usize {
        0
    }

    fn log_constant(&self, theta: &[T]) -> f64 {
        let freedom = self.system.degrees_of_freedom() as f64;
        let determinant = self.modes.as_ref().map_or(0.0, |modes| modes.half_log_determinant);
        determinant - freedom * (self.log_scale.of(theta)[0].to_f64() + HALF_LOG_TAU)
    }

    /// What the harmonic crystal is follows from U, and samples are not asked.
    fn fit(&self, _: &mut [T], _: &[f64]) {}

    fn sample(&self, theta: &[T], noise: &[Lane<T>], pass: Pass<'_, T>, x: &mut [Lane<T>]) {
        let Pass { log_prob, trail, .. } = pass;
        let scale = self.scale(theta);
        self.apply(self.modes.as_ref().map(|modes| &modes.draw[..]), noise, x);
        x.iter_mut().for_each(|lane| lane.0 = lane.0.map(|u| T::of(scale) * u));
        self.apply(self.modes.as_ref().map(|modes| &modes.stiffness[..]), x, trail);
        self.add_log_prob(1.0 / (scale * scale), x, trail, log_prob);
    }

    fn log_prob(&self, theta: &[T], x: &[Lane<T>], pass: Pass<'_, T>) {
        let Pass { log_prob, trail, .. } = pass;
        self.apply(self.modes.as_ref().map(|modes| &modes.stiffness[..]), x, trail);
        self.add_log_prob(self.scale(theta).powi(-2), x, trail, log_prob);
    }

    fn sample_vjp(
        &self,
        _: &[T],
        [x, x_cotangent, _]: [&[Lane<T>]; 3],
        log_prob_cotangent: &[Lane<T>],
        gradient: &mut [T],
        _: &mut [Lane<T>],
    ) {
        // x is proportional to σ, and zᵀ Bᵀ K B z does not depend on it.
        let width = self.system.coordinates();
        let freedom = self.system.degrees_of_freedom() as f64;
        let mut total = 0.0;
        let tiles = x.chunks_exact(width).zip(x_cotangent.chunks_exact(width));
        for ((x, cotangent), log_prob) in tiles.zip(log_prob_cotangent) {
            total += products(x, cotangent).iter().sum::<f64>();
            total -= freedom * log_prob.0.iter().map(|c| c.to_f64()).sum::<f64>();
        }
        self.log_scale.of_mut(gradient)[0] += T::of(total);
    }

    fn log_prob_vjp(
        &self,
        theta: &[T],
        [x, trail]: [&[Lane<T>]; 2],
        log_prob_cotangent: &[Lane<T>],
        x_cotangent: Option<&mut [Lane<T>]>,
        gradient: Option<&mut [T]>,
        _: &mut [Lane<T>],
    ) {
        let width = self.system.coordinates();
        let precision = self.scale(theta).powi(-2);
        if let Some(to) = x_cotangent {
            let tiles = to.chunks_exact_mut(width).zip(trail.chunks_exact(width));
            for ((to, pulls), log_prob) in tiles.zip(log_prob_cotangent) {
                let factor = log_prob.0.map(|c| T::of(-precision * c.to_f64()));
                for (to, pull) in to.iter_mut().zip(pulls) {
                    for ((to, pull), factor) in to.0.iter_mut().zip(pull.0).zip(&factor) {
                        *to = *factor * pull;
                    }
                }
            }
        }
        let Some(gradient) = gradient else { return };
        let freedom = self.system.degrees_of_freedom() as f64;
        let mut total = 0.0;
        let tiles = x.chunks_exact(width).zip(trail.chunks_exact(width));
        for ((x, pulls), log_prob) in tiles.zip(log_prob_cotangent) {
            let products = products(x, pulls);
            for (cotangent, product) in log_prob.0.iter().zip(products) {
                total += cotangent.to_f64() * (precision * product - freedom);
            }
        }
        self.log_scale.of_mut(gradient)[0] += T::of(total);
    }
}
