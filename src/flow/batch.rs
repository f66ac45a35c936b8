//! Batches: samples, log-densities and their gradients, in parallel over tiles of samples.
//!
//! Joint configurations are rows [samples, copies, particles, dimension], copy 0 being x.
//! Recorded batches are split over ranks: each has the results of all samples and the trajectory of its
//! own share.

use rayon::prelude::*;

use crate::engine::{Lane, Real, LANES};
use crate::parallel::team;

use super::model::{load_rows, load_scalars, store_rows, Flow};
use super::Direction;

const HALF_LOG_TAU: f64 = 0.918_938_533_204_672_8;

/// The states that this rank's [share](Flow::share) of a batch passed through: all that the backward pass
/// needs.
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
        (noise.par_chunks(LANES * width), joint.par_chunks_mut(LANES * width))
            .into_par_iter()
            .zip(log_prob.par_chunks_mut(LANES))
            .for_each(|((noise, joint), log_prob)| {
                self.with_tile(|states, _, scratch| {
                    self.sample_tile(theta, noise, states, scratch, joint, log_prob);
                });
            });
    }

    /// [`sample_and_log_prob`](Self::sample_and_log_prob), keeping the trajectory; of `noise`, only this
    /// rank's [share](Self::share) is read.
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
        (noise[mine.clone()].par_chunks(LANES * width), joint[mine].par_chunks_mut(LANES * width))
            .into_par_iter()
            .zip(log_prob[share].par_chunks_mut(LANES))
            .zip(trajectory.lanes.par_chunks_mut(self.trajectory_lanes()))
            .for_each(|(((noise, joint), log_prob), states)| {
                self.with_tile(|_, _, scratch| {
                    self.sample_tile(theta, noise, states, scratch, joint, log_prob);
                });
            });
        team().allgather_in_place(joint, rows);
        team().allgather_in_place(log_prob, |rank| self.share_of(rank, samples));
        trajectory
    }

    /// Adds ∂L/∂θ of a recorded batch of draws to `gradient`, from ∂L/∂joint and ∂L/∂log_prob; and that
    /// of the couplings' frame losses, averaged over the batch, where a coupling has one.
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
            self.with_tile(|_, state, scratch| {
                let rows = first * width..last * width;
                self.sample_tile_back(
                    trajectory.samples,
                    theta,
                    &noise[rows.clone()],
                    self.tile(trajectory, first),
                    (&joint_cotangent[rows], &log_prob_cotangent[first..last]),
                    state,
                    gradient,
                    scratch,
                );
            });
        });
    }

    /// log q(x, a) of joint configurations.
    pub fn log_prob(&self, theta: &[T], joint: &[f64], log_prob: &mut [f64]) {
        joint.par_chunks(LANES * self.width()).zip(log_prob.par_chunks_mut(LANES)).for_each(
            |(joint, log_prob)| {
                self.with_tile(|states, _, scratch| {
                    self.log_prob_tile(theta, joint, states, &mut [], scratch, log_prob);
                });
            },
        );
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
            .par_chunks(LANES * width)
            .zip(log_prob[share].par_chunks_mut(LANES))
            .zip(trajectory.lanes.par_chunks_mut(self.trajectory_lanes()))
            .for_each(|((joint, log_prob), states)| {
                self.with_tile(|_, _, scratch| {
                    self.log_prob_tile(theta, joint, states, &mut [], scratch, log_prob);
                });
            });
        team().allgather_in_place(log_prob, |rank| self.share_of(rank, samples));
        trajectory
    }

    /// log q(x, a) and its gradient in the joint configuration. The gradient is that of the formula,
    /// which extends off the zero-centre-of-mass subspace; project it where that matters.
    pub fn log_prob_and_gradient(
        &self,
        theta: &[T],
        joint: &[f64],
        log_prob: &mut [f64],
        gradient: &mut [f64],
    ) {
        let width = self.width();
        (joint.par_chunks(LANES * width), gradient.par_chunks_mut(LANES * width))
            .into_par_iter()
            .zip(log_prob.par_chunks_mut(LANES))
            .for_each(|((joint, gradient), log_prob)| {
                self.with_recorded_tile(|records, states, cotangent, scratch| {
                    self.log_prob_tile(theta, joint, states, records, scratch, log_prob);
                    let ones = [&Lane::splat(T::ONE), &Lane::zero()];
                    self.log_prob_tile_back(theta, states, ones, cotangent, None, records, scratch);
                    store_rows(cotangent, width, gradient);
                });
            });
    }

    /// Adds ∂L/∂θ of a recorded batch to `gradient`, from ∂L/∂log_prob; and that of the couplings' frame
    /// losses, averaged over the batch, where a coupling has one.
    pub fn log_prob_vjp(
        &self,
        theta: &[T],
        trajectory: &Trajectory<T>,
        log_prob_cotangent: &[f64],
        gradient: &mut [T],
    ) {
        self.reduce(trajectory.samples, gradient, |first, last, gradient| {
            self.with_tile(|_, state, scratch| {
                let cotangent = load_scalars(&log_prob_cotangent[first..last]);
                let losses = share_of_losses(last - first, trajectory.samples);
                let states = self.tile(trajectory, first);
                let (gradient, records) = (Some(gradient), &mut [][..]);
                let cotangents = [&cotangent, &losses];
                self.log_prob_tile_back(
                    theta, states, cotangents, state, gradient, records, scratch,
                );
            });
        });
    }

    fn trajectory(&self, samples: usize) -> Trajectory<T> {
        let share = self.share(samples);
        let lanes = share.len().div_ceil(LANES) * self.trajectory_lanes();
        Trajectory { lanes: vec![Lane::zero(); lanes], samples, first: share.start }
    }

    /// The states of the tile that starts with sample `first`.
    fn tile<'a>(&self, trajectory: &'a Trajectory<T>, first: usize) -> &'a [Lane<T>] {
        let lanes = self.trajectory_lanes();
        &trajectory.lanes[(first - trajectory.first) / LANES * lanes..][..lanes]
    }

    /// Bytes that a batch of `samples` takes at most while it is differentiated: its trajectory, the
    /// workspaces of all threads, and partial sums of the parameters' gradient.
    pub fn batch_memory(&self, samples: usize) -> usize {
        let tiles = samples.div_ceil(LANES);
        let tile = self.trajectory_lanes() * size_of::<Lane<T>>();
        let own = self.record_lanes() + self.scratch_lanes() + self.width();
        let workspace = tile + own * size_of::<Lane<T>>();
        let sums = self.partial_sums(samples) * self.layout().total() * size_of::<T>();
        tiles * tile + rayon::current_num_threads() * workspace + sums
    }

    fn log_base_normalizer(&self, log_scales: (f64, f64)) -> f64 {
        let free = self.system.degrees_of_freedom() as f64;
        let augmented = (self.width() - self.system.coordinates()) as f64;
        -free * (log_scales.0 + HALF_LOG_TAU) - augmented * (log_scales.1 + HALF_LOG_TAU)
    }

    fn sample_tile(
        &self,
        theta: &[T],
        noise: &[f64],
        states: &mut [Lane<T>],
        scratch: &mut [Lane<T>],
        joint: &mut [f64],
        log_prob: &mut [f64],
    ) {
        let (width, x) = (self.width(), self.system.coordinates());
        let log_scales = self.log_scales(theta);
        let (base, augmented) = (T::of(log_scales.0.exp()), T::of(log_scales.1.exp()));
        let state = &mut states[..width];
        load_rows(noise, width, state);
        self.center(state, x);
        let mut square = [0.0; LANES];
        for lane in state.iter() {
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
        let log_det = self.pass(Direction::Forward, theta, states, &mut [], scratch);
        let normalizer = self.log_base_normalizer(log_scales);
        for (sample, log_prob) in log_prob.iter_mut().enumerate() {
            *log_prob = normalizer - 0.5 * square[sample] - log_det.0[sample].to_f64();
        }
        store_rows(&states[states.len() - width..], width, joint);
        // All copies shift together such that x has zero centre of mass.
        let d = self.system.dimension();
        for row in joint.chunks_exact_mut(width) {
            let mean = self.system.center_of_mass(&row[..x]);
            for point in row.chunks_exact_mut(d) {
                for (v, m) in point.iter_mut().zip(&mean) {
                    *v -= m;
                }
            }
        }
    }

    #[allow(clippy::too_many_arguments)]
    fn sample_tile_back(
        &self,
        batch: usize,
        theta: &[T],
        noise: &[f64],
        states: &[Lane<T>],
        cotangents: (&[f64], &[f64]),
        cotangent: &mut [Lane<T>],
        gradient: &mut [T],
        scratch: &mut [Lane<T>],
    ) {
        let (width, x, d) = (self.width(), self.system.coordinates(), self.system.dimension());
        let n = self.system.particles();
        let samples = cotangents.1.len();
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
        self.pass_back(
            Direction::Forward,
            theta,
            states,
            cotangent,
            [&log_det_cotangent, &share_of_losses(samples, batch)],
            Some(&mut *gradient),
            &mut [],
            scratch,
        );
        // x₀ = σ ε_x, a₀ = x₀ + s ε_a.
        let log_scales = self.log_scales(theta);
        let augmented_scale = log_scales.1.exp();
        let total: f64 = cotangents.1.iter().sum();
        let (mut to_base, mut to_augmented) =
            (-total * self.system.degrees_of_freedom() as f64, -total * (width - x) as f64);
        for k in 0..width {
            for sample in 0..samples {
                let c = cotangent[k].0[sample].to_f64();
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
        states: &mut [Lane<T>],
        records: &mut [Lane<T>],
        scratch: &mut [Lane<T>],
        log_prob: &mut [f64],
    ) {
        let width = self.width();
        load_rows(joint, width, &mut states[..width]);
        let log_det = self.pass(Direction::Inverse, theta, states, records, scratch);
        let base = &states[states.len() - width..];
        let log_scales = self.log_scales(theta);
        let normalizer = self.log_base_normalizer(log_scales);
        let (x, augmented) = self.base_squares(base);
        let precisions = ((-2.0 * log_scales.0).exp(), (-2.0 * log_scales.1).exp());
        for (sample, log_prob) in log_prob.iter_mut().enumerate() {
            *log_prob = normalizer + log_det.0[sample].to_f64()
                - 0.5 * (x[sample] * precisions.0 + augmented[sample] * precisions.1);
        }
    }

    /// ‖x − x̄‖² and Σ_k ‖a_k − x‖² of a base state.
    fn base_squares(&self, base: &[Lane<T>]) -> ([f64; LANES], [f64; LANES]) {
        let x = self.system.coordinates();
        let mean = self.means(&base[..x]);
        let d = self.system.dimension();
        let (mut square, mut augmented) = ([0.0; LANES], [0.0; LANES]);
        for (k, lane) in base.iter().enumerate() {
            for sample in 0..LANES {
                let value = lane.0[sample].to_f64();
                if k < x {
                    square[sample] += (value - mean[k % d][sample].to_f64()).powi(2);
                } else {
                    augmented[sample] += (value - base[k % x].0[sample].to_f64()).powi(2);
                }
            }
        }
        (square, augmented)
    }

    /// Back through the log-density of a tile: `cotangent` becomes ∂L/∂joint.
    #[allow(clippy::too_many_arguments)]
    fn log_prob_tile_back(
        &self,
        theta: &[T],
        states: &[Lane<T>],
        [log_prob_cotangent, frame_loss_cotangent]: [&Lane<T>; 2],
        cotangent: &mut [Lane<T>],
        mut gradient: Option<&mut [T]>,
        records: &mut [Lane<T>],
        scratch: &mut [Lane<T>],
    ) {
        let (width, x, d) = (self.width(), self.system.coordinates(), self.system.dimension());
        let base = &states[states.len() - width..];
        let log_scales = self.log_scales(theta);
        let precision = T::of((-2.0 * log_scales.0).exp());
        let augmented_precision = T::of((-2.0 * log_scales.1).exp());
        let mean = self.means(&base[..x]);
        for k in 0..x {
            for (sample, mean) in mean[k % d].iter().enumerate() {
                let centered = base[k].0[sample] - *mean;
                cotangent[k].0[sample] = -log_prob_cotangent.0[sample] * centered * precision;
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
        let direction = Direction::Inverse;
        self.pass_back(
            direction,
            theta,
            states,
            cotangent,
            [log_prob_cotangent, frame_loss_cotangent],
            gradient,
            records,
            scratch,
        );
    }

    /// Mean position per axis of one copy.
    fn means(&self, copy: &[Lane<T>]) -> [[T; LANES]; 3] {
        let d = self.system.dimension();
        let scale = T::of(1.0 / self.system.particles() as f64);
        let mut mean = [[T::ZERO; LANES]; 3];
        for (k, lane) in copy.iter().enumerate() {
            for (m, v) in mean[k % d].iter_mut().zip(lane.0) {
                *m += v * scale;
            }
        }
        mean
    }

    /// Centres the first `x` lanes.
    fn center(&self, state: &mut [Lane<T>], x: usize) {
        let mean = self.means(&state[..x]);
        let d = self.system.dimension();
        for (k, lane) in state[..x].iter_mut().enumerate() {
            for (v, m) in lane.0.iter_mut().zip(mean[k % d]) {
                *v = *v - m;
            }
        }
    }
}

/// 1/batch for each of the `samples` in a tile.
fn share_of_losses<T: Real>(samples: usize, batch: usize) -> Lane<T> {
    load_scalars(&[1.0 / batch as f64; LANES][..samples])
}
