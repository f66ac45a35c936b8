//! Batches: samples, log-densities and their gradients, in parallel over tiles of samples.
//!
//! Joint configurations are rows [samples, copies, particles, dimension], copy 0 being x. Recorded
//! batches are split over ranks: each has the results of all samples and the trajectory of its own
//! share.

use rayon::prelude::*;

use crate::engine::{Lane, Real, LANES};
use crate::parallel::team;

use super::base::Pass;
use super::model::{load_rows, load_scalars, store_rows, Base, Flow, Tile};
use super::Direction;

const HALF_LOG_TAU: f64 = 0.918_938_533_204_672_8;

/// The states that this rank's [share](Flow::share) of a batch passed through: all that
/// vector-Jacobian products need.
pub struct Trajectory<T> {
    lanes: Vec<Lane<T>>,
    /// Of the whole batch.
    samples: usize,
    /// The first of this rank.
    first: usize,
}

impl<T: Real> Flow<T> {
    /// Draws: `noise` is standard normal [samples, width]; writes joint configurations and their
    /// log-density under the flow.
    pub fn sample_and_log_prob(
        &self,
        theta: &[T],
        noise: &[f64],
        joint: &mut [f64],
        log_prob: &mut [f64],
    ) {
        let width = self.width();
        (noise.par_chunks(self.chunk() * width), joint.par_chunks_mut(self.chunk() * width))
            .into_par_iter()
            .zip(log_prob.par_chunks_mut(self.chunk()))
            .for_each(|((noise, joint), log_prob)| {
                self.with_tile(false, |mut tile| {
                    self.sample_tile(theta, noise, &mut tile, joint, log_prob);
                });
            });
    }

    /// [`sample_and_log_prob`](Self::sample_and_log_prob), keeping the trajectory; of `noise`, only
    /// this rank's [share](Self::share) is read.
    pub fn sample_recorded(
        &self,
        theta: &[T],
        noise: &[f64],
        joint: &mut [f64],
        log_prob: &mut [f64],
    ) -> Trajectory<T> {
        let (width, samples) = (self.width(), log_prob.len());
        let mut trajectory = self.trajectory(samples);
        let rows = |rank| {
            let share = self.share_of(rank, samples);
            share.start * width..share.end * width
        };
        let (share, mine) = (self.share(samples), rows(team().rank()));
        (
            noise[mine.clone()].par_chunks(self.chunk() * width),
            joint[mine].par_chunks_mut(self.chunk() * width),
        )
            .into_par_iter()
            .zip(log_prob[share].par_chunks_mut(self.chunk()))
            .zip(trajectory.lanes.par_chunks_mut(self.trajectory_lanes()))
            .for_each(|(((noise, joint), log_prob), states)| {
                self.with_tile(false, |tile| {
                    let tile = &mut Tile { states, ..tile };
                    self.sample_tile(theta, noise, tile, joint, log_prob);
                });
            });
        team().allgather_in_place(joint, rows);
        team().allgather_in_place(log_prob, |rank| self.share_of(rank, samples));
        trajectory
    }

    /// Adds ∂L/∂θ of a recorded batch of draws to `gradient`, from ∂L/∂joint and ∂L/∂log_prob; and
    /// that of the couplings' frame losses, averaged over the batch, where a coupling has one.
    pub fn sample_vjp(
        &self,
        theta: &[T],
        noise: &[f64],
        trajectory: &Trajectory<T>,
        joint_cotangent: &[f64],
        log_prob_cotangent: &[f64],
        gradient: &mut [T],
    ) {
        let width = self.width();
        self.reduce(trajectory.samples, gradient, |first, last, gradient| {
            self.with_tile(false, |mut tile| {
                let rows = first * width..last * width;
                let losses = share_of_losses(last - first, trajectory.samples);
                self.sample_tile_vjp(
                    theta,
                    &noise[rows.clone()],
                    self.states(trajectory, first),
                    (&joint_cotangent[rows], &log_prob_cotangent[first..last], &losses),
                    gradient,
                    &mut tile,
                );
            });
        });
    }

    /// log q(x, a) of joint configurations.
    pub fn log_prob(&self, theta: &[T], joint: &[f64], log_prob: &mut [f64]) {
        joint
            .par_chunks(self.chunk() * self.width())
            .zip(log_prob.par_chunks_mut(self.chunk()))
            .for_each(|(joint, log_prob)| {
                self.with_tile(false, |mut tile| {
                    self.log_prob_tile(theta, joint, &mut tile, log_prob);
                });
            });
    }

    /// [`log_prob`](Self::log_prob), keeping the trajectory; of `joint`, only this rank's
    /// [share](Self::share) is read.
    pub fn log_prob_recorded(
        &self,
        theta: &[T],
        joint: &[f64],
        log_prob: &mut [f64],
    ) -> Trajectory<T> {
        let (width, samples) = (self.width(), log_prob.len());
        let mut trajectory = self.trajectory(samples);
        let share = self.share(samples);
        joint[share.start * width..share.end * width]
            .par_chunks(self.chunk() * width)
            .zip(log_prob[share].par_chunks_mut(self.chunk()))
            .zip(trajectory.lanes.par_chunks_mut(self.trajectory_lanes()))
            .for_each(|((joint, log_prob), states)| {
                self.with_tile(false, |tile| {
                    let tile = &mut Tile { states, ..tile };
                    self.log_prob_tile(theta, joint, tile, log_prob);
                });
            });
        team().allgather_in_place(log_prob, |rank| self.share_of(rank, samples));
        trajectory
    }

    /// log q(x, a) and its gradient in the joint configuration. The gradient is that of the
    /// formula, which extends off the zero-centre-of-mass subspace; project it where that matters.
    pub fn log_prob_and_gradient(
        &self,
        theta: &[T],
        joint: &[f64],
        log_prob: &mut [f64],
        gradient: &mut [f64],
    ) {
        let width = self.width();
        (joint.par_chunks(self.chunk() * width), gradient.par_chunks_mut(self.chunk() * width))
            .into_par_iter()
            .zip(log_prob.par_chunks_mut(self.chunk()))
            .for_each(|((joint, gradient), log_prob)| {
                self.with_tile(true, |mut tile| {
                    if let Some(base) = self.alone() {
                        let into = (log_prob, gradient);
                        let tile = &mut tile;
                        return self.log_prob_and_gradient_alone(base, theta, joint, tile, into);
                    }
                    self.log_prob_tile(theta, joint, &mut tile, log_prob);
                    let ones = [&Lane::splat(T::ONE), &Lane::zero()];
                    let states = std::mem::take(&mut tile.states);
                    self.log_prob_tile_vjp(theta, states, ones, None, &mut tile);
                    store_rows(tile.cotangent, width, gradient);
                });
            });
    }

    /// Adds ∂L/∂θ of a recorded batch to `gradient`, from ∂L/∂log_prob; and that of the couplings'
    /// frame losses, averaged over the batch, where a coupling has one.
    pub fn log_prob_vjp(
        &self,
        theta: &[T],
        trajectory: &Trajectory<T>,
        log_prob_cotangent: &[f64],
        gradient: &mut [T],
    ) {
        self.reduce(trajectory.samples, gradient, |first, last, gradient| {
            self.with_tile(false, |mut tile| {
                if let Some(base) = self.alone() {
                    let states = self.states(trajectory, first);
                    let own = &log_prob_cotangent[first..last];
                    return self.log_prob_alone_vjp(base, theta, states, own, gradient, &mut tile);
                }
                let cotangent = load_scalars(&log_prob_cotangent[first..last]);
                let losses = share_of_losses(last - first, trajectory.samples);
                let states = self.states(trajectory, first);
                let cotangents = [&cotangent, &losses];
                self.log_prob_tile_vjp(theta, states, cotangents, Some(gradient), &mut tile);
            });
        });
    }

    fn trajectory(&self, samples: usize) -> Trajectory<T> {
        let share = self.share(samples);
        let lanes = share.len().div_ceil(self.chunk()) * self.trajectory_lanes();
        Trajectory { lanes: vec![Lane::zero(); lanes], samples, first: share.start }
    }

    /// The states of the tile that starts with sample `first`.
    fn states<'a>(&self, trajectory: &'a Trajectory<T>, first: usize) -> &'a [Lane<T>] {
        let lanes = self.trajectory_lanes();
        &trajectory.lanes[(first - trajectory.first) / self.chunk() * lanes..][..lanes]
    }

    /// Bytes that a batch of `samples` takes at most while it is differentiated: its trajectory,
    /// the workspaces of all threads, and partial sums of the parameters' gradient.
    pub fn batch_memory(&self, samples: usize) -> usize {
        let states = samples.div_ceil(self.chunk()) * self.trajectory_lanes();
        let workspaces = rayon::current_num_threads() * self.tile_lanes(true);
        let sums = self.partial_sums(samples) * self.layout().total() * size_of::<T>();
        (states + workspaces) * size_of::<Lane<T>>() + sums
    }

    fn log_base_normalizer(&self, theta: &[T], log_scales: (f64, f64)) -> f64 {
        let augmented = (self.width() - self.system.coordinates()) as f64;
        let x = match &self.base {
            Base::Gaussian(_) => {
                -(self.system.degrees_of_freedom() as f64) * (log_scales.0 + HALF_LOG_TAU)
            }
            Base::Density(base) => base.log_constant(theta),
        };
        x - augmented * (log_scales.1 + HALF_LOG_TAU)
    }

    fn sample_tile(
        &self,
        theta: &[T],
        noise: &[f64],
        tile: &mut Tile<'_, T>,
        joint: &mut [f64],
        log_prob: &mut [f64],
    ) {
        if let Some(base) = self.alone() {
            return self.sample_alone(base, theta, noise, tile, (joint, log_prob));
        }
        let (width, x) = (self.width(), self.system.coordinates());
        let log_scales = self.log_scales(theta);
        let (base, augmented) = (T::of(log_scales.0.exp()), T::of(log_scales.1.exp()));
        let mut own = Lane::zero();
        let (state, others) = tile.states.split_at_mut(width);
        load_rows(noise, width, state);
        let counted = match &self.base {
            Base::Gaussian(_) => {
                self.center(state, x);
                &state[..]
            }
            Base::Density(base) => {
                let noise = &mut tile.cotangent[..x];
                noise.copy_from_slice(&state[..x]);
                let trail = others.len() - base.trail_lanes(1);
                let (log_prob, trail) = (std::slice::from_mut(&mut own), &mut others[trail..]);
                let pass = Pass { log_prob, trail, scratch: tile.scratch };
                base.sample(theta, noise, pass, &mut state[..x]);
                &state[x..]
            }
        };
        let mut square = [0.0; LANES];
        for lane in counted {
            for (s, v) in square.iter_mut().zip(lane.0) {
                *s += v.to_f64() * v.to_f64();
            }
        }
        for k in 0..width {
            let from = k % x;
            for sample in 0..LANES {
                let value = state[k].0[sample];
                state[k].0[sample] =
                    if k < x { base * value } else { state[from].0[sample] + augmented * value };
            }
        }
        let log_det = self.pass(Direction::Forward, theta, tile);
        let normalizer = self.log_base_normalizer(theta, log_scales);
        for (sample, log_prob) in log_prob.iter_mut().enumerate() {
            *log_prob = normalizer - 0.5 * square[sample] - log_det.0[sample].to_f64()
                + own.0[sample].to_f64();
        }
        self.store_joint(self.last(tile.states).0, joint);
    }

    /// Through the draws of a tile, from the cotangents of the joint configurations, of their
    /// log-densities and of the frame losses.
    fn sample_tile_vjp(
        &self,
        theta: &[T],
        noise: &[f64],
        states: &[Lane<T>],
        cotangents: (&[f64], &[f64], &Lane<T>),
        gradient: &mut [T],
        tile: &mut Tile<'_, T>,
    ) {
        if let Some(base) = self.alone() {
            let cotangents = (cotangents.0, cotangents.1);
            return self.sample_alone_vjp(base, theta, states, cotangents, gradient, tile);
        }
        let (width, x, d) = (self.width(), self.system.coordinates(), self.system.dimension());
        let n = self.system.particles();
        let samples = cotangents.1.len();
        let cotangent = &mut *tile.cotangent;
        for (k, lane) in cotangent.iter_mut().enumerate() {
            *lane = Lane::zero();
            for sample in 0..samples {
                lane.0[sample] = T::of(cotangents.0[sample * width + k]);
            }
        }
        // Every copy was shifted by the mean of x.
        for axis in 0..d {
            let mut mean = [T::ZERO; LANES];
            for lane in cotangent.iter().skip(axis).step_by(d) {
                for (m, v) in mean.iter_mut().zip(lane.0) {
                    *m += v;
                }
            }
            for lane in cotangent[..x].iter_mut().skip(axis).step_by(d) {
                for (m, v) in mean.iter().zip(&mut lane.0) {
                    *v = *v - *m / T::of(n as f64);
                }
            }
        }
        let minus: Vec<f64> = cotangents.1.iter().map(|c| -c).collect();
        let log_det_cotangent = load_scalars(&minus);
        let pass_cotangents = [&log_det_cotangent, cotangents.2];
        let (direction, into) = (Direction::Forward, Some(&mut *gradient));
        self.pass_vjp(direction, theta, states, pass_cotangents, into, tile);
        if let Base::Density(base) = &self.base {
            let (to_x, to_copies) = tile.cotangent.split_at_mut(x);
            for (k, from) in to_copies.iter().enumerate() {
                to_x[k % x].0.iter_mut().zip(from.0).for_each(|(to, from)| *to += from);
            }
            let to_log_prob = load_scalars(cotangents.1);
            let given = [&states[..x], to_x, self.last(states).1];
            base.sample_vjp(theta, given, &[to_log_prob], gradient, tile.scratch);
        }
        // x₀ = σ ε_x, a₀ = x₀ + s ε_a.
        let log_scales = self.log_scales(theta);
        let augmented_scale = log_scales.1.exp();
        let total: f64 = cotangents.1.iter().sum();
        let (mut to_base, mut to_augmented) =
            (-total * self.system.degrees_of_freedom() as f64, -total * (width - x) as f64);
        for k in 0..width {
            for sample in 0..samples {
                let c = tile.cotangent[k].0[sample].to_f64();
                to_base += c * states[k % x].0[sample].to_f64();
                if k >= x {
                    to_augmented += c * augmented_scale * noise[sample * width + k];
                }
            }
        }
        self.add_log_scale_gradient(gradient, to_base, to_augmented);
    }

    fn log_prob_tile(
        &self,
        theta: &[T],
        joint: &[f64],
        tile: &mut Tile<'_, T>,
        log_prob: &mut [f64],
    ) {
        if let Some(base) = self.alone() {
            return self.log_prob_alone(base, theta, joint, tile, log_prob);
        }
        let width = self.width();
        self.load_joint(joint, &mut tile.states[..width]);
        let log_det = self.pass(Direction::Inverse, theta, tile);
        let log_scales = self.log_scales(theta);
        let normalizer = self.log_base_normalizer(theta, log_scales);
        let mut own = Lane::zero();
        if let Base::Density(base) = &self.base {
            let (states, trail) = tile.states.split_at_mut(tile.states.len() - base.trail_lanes(1));
            let x = &states[states.len() - width..][..self.system.coordinates()];
            let log_prob = std::slice::from_mut(&mut own);
            base.log_prob(theta, x, Pass { log_prob, trail, scratch: tile.scratch });
        }
        let (x, augmented) = self.base_squares(self.last(tile.states).0);
        let precisions = ((-2.0 * log_scales.0).exp(), (-2.0 * log_scales.1).exp());
        for (sample, log_prob) in log_prob.iter_mut().enumerate() {
            *log_prob = normalizer + log_det.0[sample].to_f64()
                - 0.5 * (x[sample] * precisions.0 + augmented[sample] * precisions.1)
                + own.0[sample].to_f64();
        }
    }

    /// ‖x − x̄‖², 0 for another density, and Σ_k ‖a_k − x‖² of a base state.
    fn base_squares(&self, base: &[Lane<T>]) -> ([f64; LANES], [f64; LANES]) {
        let x = self.system.coordinates();
        let mean = self.means(&base[..x]);
        let d = self.system.dimension();
        let is_gaussian = matches!(self.base, Base::Gaussian(_));
        let (mut square, mut augmented) = ([0.0; LANES], [0.0; LANES]);
        for (k, lane) in base.iter().enumerate() {
            for sample in 0..LANES {
                let value = lane.0[sample].to_f64();
                if k >= x {
                    augmented[sample] += (value - base[k % x].0[sample].to_f64()).powi(2);
                } else if is_gaussian {
                    square[sample] += (value - mean[k % d][sample].to_f64()).powi(2);
                }
            }
        }
        (square, augmented)
    }

    /// Through the log-densities of a tile, from their cotangents and those of the frame losses:
    /// the tile's `cotangent` becomes ∂L/∂joint.
    fn log_prob_tile_vjp(
        &self,
        theta: &[T],
        states: &[Lane<T>],
        cotangents: [&Lane<T>; 2],
        mut gradient: Option<&mut [T]>,
        tile: &mut Tile<'_, T>,
    ) {
        let (log_prob_cotangent, cotangent) = (cotangents[0], &mut *tile.cotangent);
        let (width, x, d) = (self.width(), self.system.coordinates(), self.system.dimension());
        let (base, trail) = self.last(states);
        let log_scales = self.log_scales(theta);
        let precision = T::of((-2.0 * log_scales.0).exp());
        let augmented_precision = T::of((-2.0 * log_scales.1).exp());
        match &self.base {
            Base::Gaussian(_) => {
                let mean = self.means(&base[..x]);
                for k in 0..x {
                    for (sample, mean) in mean[k % d].iter().enumerate() {
                        let centered = base[k].0[sample] - *mean;
                        cotangent[k].0[sample] =
                            -log_prob_cotangent.0[sample] * centered * precision;
                    }
                }
            }
            Base::Density(density) => {
                // Parameters of couplings need the cotangent of x, those of the base do not.
                let is_asked = gradient.is_none() || self.couplings() > 0;
                let to_x = is_asked.then_some(&mut cotangent[..x]);
                let (given, into) = ([&base[..x], trail], gradient.as_deref_mut());
                let own = std::slice::from_ref(log_prob_cotangent);
                density.log_prob_vjp(theta, given, own, to_x, into, tile.scratch);
            }
        }
        for k in x..width {
            for sample in 0..LANES {
                let noise = base[k].0[sample] - base[k % x].0[sample];
                let pull = log_prob_cotangent.0[sample] * noise * augmented_precision;
                cotangent[k].0[sample] = -pull;
                cotangent[k % x].0[sample] += pull;
            }
        }
        if let Some(gradient) = gradient.as_deref_mut() {
            let (square, augmented) = self.base_squares(base);
            let (mut to_base, mut to_augmented) = (0.0, 0.0);
            let free = self.system.degrees_of_freedom() as f64;
            for sample in 0..LANES {
                let c = log_prob_cotangent.0[sample].to_f64();
                to_base += c * (square[sample] * precision.to_f64() - free);
                to_augmented +=
                    c * (augmented[sample] * augmented_precision.to_f64() - (width - x) as f64);
            }
            self.add_log_scale_gradient(gradient, to_base, to_augmented);
        }
        self.pass_vjp(Direction::Inverse, theta, states, cotangents, gradient, tile);
    }
}

/// 1/batch for each of the `samples` in a tile.
fn share_of_losses<T: Real>(samples: usize, batch: usize) -> Lane<T> {
    load_scalars(&[1.0 / batch as f64; LANES][..samples.min(LANES)])
}
