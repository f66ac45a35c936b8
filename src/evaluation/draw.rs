//! Draws from a trained flow, and the densities that weigh them.

use std::num::NonZeroUsize;

use rand_distr::{Distribution, StandardNormal};
use rayon::prelude::*;

use super::contradiction::Weighted;
use crate::diagnostics::log_mean_exp;
use crate::error::Error;
use crate::parallel::team;
use crate::potential::Potential;
use crate::random::{first_sample, stream, Purpose};
use crate::samples::Samples;
use crate::train::Problem;
use crate::work;

/// Samples of a task.
const PART: usize = 64;

/// What weighs the samples of a trained flow.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Weights {
    /// p(x) π(a|x)/q(x, a) of x with the augmented copies a that it came with.
    #[default]
    Joint,
    /// p(x)/q̂(x) of x alone, q̂(x) being the mean of q(x, a_k)/π(a_k|x) over K draws of copies:
    /// exact weights with a higher effective sample size, for K − 1 more passes of the flow.
    Marginal(NonZeroUsize),
    /// Those of annealed importance sampling, which moves the samples from the flow to the target.
    Annealed,
}

impl Weights {
    /// The weights that an evaluation compares log Z by; what contradicts them contradicts these.
    pub fn compared(self) -> Weighted {
        match self {
            Self::Joint | Self::Marginal(_) => Weighted::Flow,
            Self::Annealed => Weighted::Annealed,
        }
    }

    /// The draws K of weights on x alone.
    pub fn draws(self) -> Option<NonZeroUsize> {
        match self {
            Self::Marginal(draws) => Some(draws),
            Self::Joint | Self::Annealed => None,
        }
    }
}

/// Samples of a task that asks the potential.
fn part_size(potential: &dyn Potential) -> usize {
    potential.batch_size().clamp(PART, 1 << 16).next_multiple_of(PART)
}

/// Draws `count` samples of a flow with their energies and joint log weights, log p(x) π(a|x) − log
/// q(x, a), which are −∞ where the energy is not finite; without both where the target has no
/// energy. `first` is the number of the first one:
/// sample i uses the stream (seed, purpose, step, i), however a job is divided.
///
/// # Errors
/// [`Error::Evaluation`] if the potential fails for good.
pub fn draw_weighted(
    problem: &Problem,
    theta: &[f32],
    (purpose, step): (Purpose, u64),
    first: u64,
    count: usize,
) -> Result<Samples, Error> {
    let flow = &problem.flow;
    let (width, coordinates) = (flow.width(), flow.system().coordinates());
    // Tiles of the flow are fixed, so that a part has the bytes that the whole would have.
    let size = part_size(&**problem.target.potential());
    let parts = team().map(count.div_ceil(size), |part| {
        work::check()?;
        let samples = part * size..((part + 1) * size).min(count);
        let noise: Vec<f64> = samples
            .clone()
            .flat_map(|sample| {
                let rng = stream(problem.seed, purpose, step, first + sample as u64);
                StandardNormal.sample_iter(rng).take(width).collect::<Vec<f64>>()
            })
            .collect();
        let (mut joint, mut log_q) = (vec![0.0; noise.len()], vec![0.0; samples.len()]);
        flow.sample_and_log_prob(theta, &noise, &mut joint, &mut log_q);
        let positions: Vec<f64> =
            joint.chunks_exact(width).flat_map(|row| &row[..coordinates]).copied().collect();
        if !problem.target.potential().has_energy() {
            return Ok(Samples { positions, ..Samples::default() });
        }
        let mut energies = vec![0.0; samples.len()];
        problem.target.potential().energies(&positions, &mut energies)?;
        let rows = joint.chunks_exact(width).zip(&energies).zip(&log_q);
        let log_weights = rows
            .map(|((row, energy), log_q)| {
                let log_weight = problem.target.log_conditional(row) - energy - log_q;
                if log_weight.is_finite() {
                    log_weight
                } else {
                    f64::NEG_INFINITY
                }
            })
            .collect();
        Ok(Samples { positions, log_weights, energies })
    })?;
    let mut drawn = Samples {
        positions: Vec::with_capacity(count * coordinates),
        log_weights: Vec::with_capacity(count),
        energies: Vec::with_capacity(count),
    };
    for part in parts {
        drawn.positions.extend(part.positions);
        drawn.log_weights.extend(part.log_weights);
        drawn.energies.extend(part.energies);
    }
    Ok(drawn)
}

/// The samples of [`draw_weighted`] with log weights on x alone, the augmented copies averaged out
/// with `draws` draws K: log p(x)/q̂(x), as in [`Weights::Marginal`]. With K = 1 they are the joint
/// ones. An energy is computed once a sample, whatever K.
///
/// # Errors
/// [`Error::Evaluation`] if the potential fails for good.
pub fn draw_marginal(
    problem: &Problem,
    theta: &[f32],
    streams: (Purpose, u64),
    first: u64,
    count: usize,
    draws: NonZeroUsize,
) -> Result<Samples, Error> {
    let mut drawn = draw_weighted(problem, theta, streams, first, count)?;
    drawn.log_weights = marginal_log_weights(problem, theta, &drawn, draws.get(), streams, first)?;
    Ok(drawn)
}

/// The log weights on x alone of samples that [`draw_weighted`] drew from the same streams: of the
/// K = `draws` copies, a_1 is the one that x came with and the others are draws of π(a|x).
///
/// Under the flow, x with a_1 … a_K in any order has the density q̂(x) ∏_k π(a_k|x), and under the
/// target p(x) ∏_k π(a_k|x): so p(x)/q̂(x) averages to Z for every K.
pub(super) fn marginal_log_weights(
    problem: &Problem,
    theta: &[f32],
    drawn: &Samples,
    draws: usize,
    streams: (Purpose, u64),
    first: u64,
) -> Result<Vec<f64>, Error> {
    let others = draws.max(1) - 1;
    let first = first_sample::MARGINAL + first;
    let ratios = density_ratios(problem, theta, &drawn.positions, others, streams, first);
    team().go_on()?;
    let joint = drawn.energies.iter().zip(&drawn.log_weights).enumerate();
    let log_weights = joint.map(|(sample, (energy, log_weight))| {
        if !log_weight.is_finite() {
            return f64::NEG_INFINITY;
        }
        // q(x, a_k)/π(a_k|x) over that of the copy that x came with, p(x)/w.
        let mut relative = vec![0.0];
        let ratios = &ratios[sample * others..(sample + 1) * others];
        relative.extend(ratios.iter().map(|ratio| ratio + energy + log_weight));
        log_weight - log_mean_exp(&relative)
    });
    Ok(log_weights.collect())
}

/// U/kT of `positions` ([samples, particles, dimension]), shared by all threads and ranks; +∞ where
/// the potential has no finite value.
///
/// # Errors
/// [`Error::Evaluation`] if the potential fails for good.
pub fn energies(potential: &dyn Potential, positions: &[f64]) -> Result<Vec<f64>, Error> {
    let coordinates = potential.system().coordinates();
    let parts: Vec<&[f64]> = positions.chunks(part_size(potential) * coordinates).collect();
    let energies = team().map(parts.len(), |part| {
        work::check()?;
        let mut energies = vec![0.0; parts[part].len() / coordinates];
        potential.energies(parts[part], &mut energies)?;
        Ok(energies)
    })?;
    Ok(energies.concat())
}

/// log q(x) in nats of each of `x` ([samples, particles, dimension]), by the mean of q(x, a)/π(a|x)
/// over `draws` draws a ~ π(a|x) of the augmented copies.
pub fn log_prob(problem: &Problem, theta: &[f32], x: &[f64], draws: usize) -> Vec<f64> {
    let draws = draws.max(1);
    let ratios =
        density_ratios(problem, theta, x, draws, (Purpose::Evaluation, 0), first_sample::LOG_PROB);
    ratios.chunks_exact(draws).map(log_mean_exp).collect()
}

/// log q(x, a_k) − log π(a_k|x), [samples, draws], for draws a_k ~ π(a|x): their mean exponential
/// is q(x). Sample i has the stream (seed, purpose, step, `first` + i). If the program is to stop,
/// the rest is left at 0: [`Team::go_on`](crate::parallel::Team::go_on) comes after it.
pub(super) fn density_ratios(
    problem: &Problem,
    theta: &[f32],
    x: &[f64],
    draws: usize,
    (purpose, step): (Purpose, u64),
    first: u64,
) -> Vec<f64> {
    let flow = &problem.flow;
    let (width, coordinates) = (flow.width(), flow.system().coordinates());
    let samples = x.len() / coordinates;
    let mut ratios = vec![0.0; samples * draws];
    if draws == 0 {
        return ratios;
    }
    let team = team();
    let rows = |rank| {
        let parts = team.block_of(rank, samples.div_ceil(PART));
        (parts.start * PART).min(samples)..(parts.end * PART).min(samples)
    };
    let own = rows(team.rank());
    let x = &x[own.start * coordinates..own.end * coordinates];
    let to = &mut ratios[own.start * draws..own.end * draws];
    let _work = work::begin("averaging the augmented copies out");
    work::begin_parts(own.len().div_ceil(PART));
    let parts = x.par_chunks(PART * coordinates).zip(to.par_chunks_mut(PART * draws));
    parts.enumerate().for_each(|(part, (x, ratios))| {
        if work::is_stopped() {
            return;
        }
        let samples = x.len() / coordinates;
        let mut rngs: Vec<_> = (0..samples)
            .map(|s| {
                let sample = (own.start + part * PART + s) as u64;
                stream(problem.seed, purpose, step, first + sample)
            })
            .collect();
        let (mut joint, mut log_q) = (vec![0.0; samples * width], vec![0.0; samples]);
        for draw in 0..draws {
            problem.target.augment(x, &mut rngs, &mut joint);
            flow.log_prob(theta, &joint, &mut log_q);
            for (s, (row, log_q)) in joint.chunks_exact(width).zip(&log_q).enumerate() {
                ratios[s * draws + draw] = log_q - problem.target.log_conditional(row);
            }
        }
        work::part_done();
    });
    team.allgather_in_place(&mut ratios, |rank| rows(rank).start * draws..rows(rank).end * draws);
    ratios
}
