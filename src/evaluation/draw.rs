//! Draws from a trained flow, and the densities that weigh them.

use rand_distr::{Distribution, StandardNormal};
use rayon::prelude::*;

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

/// Draws `count` samples of a flow with their energies and joint log weights, log p(x) π(a|x) − log
/// q(x, a), which are −∞ where the energy is not finite. `first` is the number of the first one:
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
    let parts = team().map(count.div_ceil(PART), |part| {
        work::check()?;
        let samples = part * PART..((part + 1) * PART).min(count);
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

/// U/kT of `positions` ([samples, particles, dimension]), shared by all threads and ranks; +∞ where
/// the potential has no finite value.
///
/// # Errors
/// [`Error::Evaluation`] if the potential fails for good.
pub fn energies(potential: &dyn Potential, positions: &[f64]) -> Result<Vec<f64>, Error> {
    let coordinates = potential.system().coordinates();
    let parts: Vec<&[f64]> = positions.chunks(PART * coordinates).collect();
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
    let ratios = density_ratios(problem, theta, x, draws, (0, first_sample::LOG_PROB));
    ratios.chunks_exact(draws).map(log_mean_exp).collect()
}

/// log q(x, a_k) − log π(a_k|x), [samples, draws], for draws a_k ~ π(a|x): their mean exponential
/// is q(x). `streams` are the step and the number of the first sample's stream. If the program is
/// to stop, the rest is left at 0: [`Team::go_on`](crate::parallel::Team::go_on) comes after it.
pub(super) fn density_ratios(
    problem: &Problem,
    theta: &[f32],
    x: &[f64],
    draws: usize,
    (step, first): (u64, u64),
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
    let parts = x.par_chunks(PART * coordinates).zip(to.par_chunks_mut(PART * draws));
    parts.enumerate().for_each(|(part, (x, ratios))| {
        if work::is_stopped() {
            return;
        }
        let samples = x.len() / coordinates;
        let mut rngs: Vec<_> = (0..samples)
            .map(|s| {
                let sample = (own.start + part * PART + s) as u64;
                stream(problem.seed, Purpose::Evaluation, step, first + sample)
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
    });
    team.allgather_in_place(&mut ratios, |rank| rows(rank).start * draws..rows(rank).end * draws);
    ratios
}
