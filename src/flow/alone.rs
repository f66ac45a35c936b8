//! Flows that are a base density alone, without augmented copies and couplings:
//! several tiles of samples go through it together.

use super::base::{BaseDensity, Pass};
use super::model::{load_rows, load_scalars, store_rows, Flow, Tile, TILES};
use crate::engine::{Lane, Real, LANES};

/// Lanes of so many values, one a sample.
fn lanes_of<T: Real>(values: &[f64]) -> [Lane<T>; TILES] {
    let mut lanes = [Lane::zero(); TILES];
    for (lane, values) in lanes.iter_mut().zip(values.chunks(LANES)) {
        *lane = load_scalars(values);
    }
    lanes
}

impl<T: Real> Flow<T> {
    /// Rows of configurations to lanes, [tiles, width].
    fn load_tiles(&self, rows: &[f64], lanes: &mut [Lane<T>]) {
        let width = self.width();
        for (rows, lanes) in rows.chunks(LANES * width).zip(lanes.chunks_exact_mut(width)) {
            self.load_joint(rows, lanes);
        }
    }

    /// Draws, as [`sample_and_log_prob`](Flow::sample_and_log_prob), of one chunk.
    pub(super) fn sample_alone(
        &self,
        base: &dyn BaseDensity<T>,
        theta: &[T],
        noise: &[f64],
        tile: &mut Tile<'_, T>,
        (joint, log_prob): (&mut [f64], &mut [f64]),
    ) {
        let tiles = log_prob.len().div_ceil(LANES);
        let (x, trail) = tile.states.split_at_mut(TILES * self.width());
        let (x, noise_lanes) = (&mut x[..tiles * self.width()], &mut *tile.cotangent);
        let noise_lanes = &mut noise_lanes[..x.len()];
        for (rows, lanes) in
            noise.chunks(LANES * self.width()).zip(noise_lanes.chunks_exact_mut(self.width()))
        {
            load_rows(rows, self.width(), lanes);
        }
        let mut lanes = [Lane::zero(); TILES];
        let trail = &mut trail[..base.trail_lanes(tiles)];
        let pass = Pass { log_prob: &mut lanes[..tiles], trail, scratch: tile.scratch };
        base.sample(theta, noise_lanes, pass, x);
        store_log_prob(base.log_constant(theta), &lanes, log_prob);
        for (rows, lanes) in
            joint.chunks_mut(LANES * self.width()).zip(x.chunks_exact(self.width()))
        {
            self.store_joint(lanes, rows);
        }
    }

    /// The same of [`sample_vjp`](Flow::sample_vjp).
    pub(super) fn sample_alone_vjp(
        &self,
        base: &dyn BaseDensity<T>,
        theta: &[T],
        states: &[Lane<T>],
        (joint_cotangent, log_prob_cotangent): (&[f64], &[f64]),
        gradient: &mut [T],
        tile: &mut Tile<'_, T>,
    ) {
        let (width, samples) = (self.width(), log_prob_cotangent.len());
        let tiles = samples.div_ceil(LANES);
        let (x, trail) = states.split_at(TILES * width);
        let cotangent = &mut tile.cotangent[..tiles * width];
        cotangent.fill(Lane::zero());
        for (sample, row) in joint_cotangent.chunks_exact(width).enumerate() {
            let own = &mut cotangent[sample / LANES * width..][..width];
            for (lane, value) in own.iter_mut().zip(row) {
                lane.0[sample % LANES] = T::of(*value);
            }
        }
        // x was shifted by its mean.
        cotangent.chunks_exact_mut(width).for_each(|x| self.center(x, width));
        let given = [&x[..tiles * width], cotangent, &trail[..base.trail_lanes(tiles)]];
        let lanes = lanes_of(log_prob_cotangent);
        base.sample_vjp(theta, given, &lanes[..tiles], gradient, tile.scratch);
    }

    /// The same of [`log_prob`](Flow::log_prob).
    pub(super) fn log_prob_alone(
        &self,
        base: &dyn BaseDensity<T>,
        theta: &[T],
        joint: &[f64],
        tile: &mut Tile<'_, T>,
        log_prob: &mut [f64],
    ) {
        let tiles = log_prob.len().div_ceil(LANES);
        let (x, trail) = tile.states.split_at_mut(TILES * self.width());
        let x = &mut x[..tiles * self.width()];
        self.load_tiles(joint, x);
        let mut lanes = [Lane::zero(); TILES];
        let trail = &mut trail[..base.trail_lanes(tiles)];
        let pass = Pass { log_prob: &mut lanes[..tiles], trail, scratch: tile.scratch };
        base.log_prob(theta, x, pass);
        store_log_prob(base.log_constant(theta), &lanes, log_prob);
    }

    /// The same of [`log_prob_vjp`](Flow::log_prob_vjp).
    pub(super) fn log_prob_alone_vjp(
        &self,
        base: &dyn BaseDensity<T>,
        theta: &[T],
        states: &[Lane<T>],
        log_prob_cotangent: &[f64],
        gradient: &mut [T],
        tile: &mut Tile<'_, T>,
    ) {
        let tiles = log_prob_cotangent.len().div_ceil(LANES);
        let (x, trail) = states.split_at(TILES * self.width());
        let given = [&x[..tiles * self.width()], &trail[..base.trail_lanes(tiles)]];
        let lanes = lanes_of(log_prob_cotangent);
        base.log_prob_vjp(theta, given, &lanes[..tiles], None, Some(gradient), tile.scratch);
    }

    /// The same of [`log_prob_and_gradient`](Flow::log_prob_and_gradient).
    pub(super) fn log_prob_and_gradient_alone(
        &self,
        base: &dyn BaseDensity<T>,
        theta: &[T],
        joint: &[f64],
        tile: &mut Tile<'_, T>,
        (log_prob, gradient): (&mut [f64], &mut [f64]),
    ) {
        self.log_prob_alone(base, theta, joint, tile, log_prob);
        let tiles = log_prob.len().div_ceil(LANES);
        let (x, trail) = tile.states.split_at(TILES * self.width());
        let given = [&x[..tiles * self.width()], &trail[..base.trail_lanes(tiles)]];
        let ones = [Lane::splat(T::ONE); TILES];
        let to_x = &mut tile.cotangent[..tiles * self.width()];
        base.log_prob_vjp(theta, given, &ones[..tiles], Some(to_x), None, tile.scratch);
        for (rows, lanes) in
            gradient.chunks_mut(LANES * self.width()).zip(to_x.chunks_exact(self.width()))
        {
            store_rows(lanes, self.width(), rows);
        }
    }
}

fn store_log_prob<T: Real>(constant: f64, lanes: &[Lane<T>], log_prob: &mut [f64]) {
    for (sample, log_prob) in log_prob.iter_mut().enumerate() {
        *log_prob = constant + lanes[sample / LANES].0[sample % LANES].to_f64();
    }
}
