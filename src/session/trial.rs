//! What a training takes, from a few small steps of it.

use std::time::Instant;

use super::training::Training;
use crate::config::{Recipe, Target};
use crate::engine::LANES;
use crate::error::Error;
use crate::train::Objective;

/// Steps are timed for about this long, but at least two of them.
const SECONDS: f64 = 2.0;
/// Samples of the evaluation that is timed, on each thread: of those that are annealed, a tenth,
/// two full tiles.
const SAMPLES: usize = 20 * LANES;

/// Seconds on the threads as they are now.
pub(crate) struct Costs {
    /// Of what comes before the first step: filling the buffer, or starting the walkers.
    pub start: f64,
    /// Of a step.
    pub step: f64,
    /// Of them, those in the energy function.
    pub energies: f64,
    /// Of an evaluation, without its reference samples.
    pub evaluation: f64,
}

/// Times a small training of this recipe.
///
/// # Errors
/// Those of [`Training::new`] and of its steps.
pub(crate) fn costs(recipe: &Recipe, target: &Target) -> Result<Costs, Error> {
    // Small batches of full lanes on every thread cost in proportion.
    let threads = rayon::current_num_threads();
    let mut trial = recipe.clone();
    let full = recipe.train.descent.batch_size;
    trial.train.descent.batch_size = full.min(2 * LANES * threads);
    let scale = full as f64 / trial.train.descent.batch_size as f64;
    trial.evaluate.reference_samples = 0;
    trial.evaluate.samples = recipe.evaluate.samples.min(SAMPLES * threads);
    let evaluations = recipe.evaluate.samples as f64 / trial.evaluate.samples as f64;
    let first_scale = fewer_walkers(&mut trial).unwrap_or(scale);
    let mut trial = Training::trial(trial, target.clone())?;
    let start = Instant::now();
    trial.advance()?;
    let first = first_scale * start.elapsed().as_secs_f64();
    let (start, mut steps, mut energies) = (Instant::now(), 0.0, 0.0);
    while steps < 2.0 || start.elapsed().as_secs_f64() < SECONDS {
        energies += trial.advance()?.0.potential_seconds / threads as f64;
        steps += 1.0;
    }
    let step = scale * start.elapsed().as_secs_f64() / steps;
    let start = Instant::now();
    trial.evaluate()?;
    let evaluation = evaluations * start.elapsed().as_secs_f64();
    Ok(Costs { start: first, step, energies: scale * energies / steps, evaluation })
}

/// Where walkers start with the training, leaves only as many as a step needs; returns the factor
/// by which that shortens their start.
fn fewer_walkers(trial: &mut Recipe) -> Option<f64> {
    let batch = trial.train.descent.batch_size;
    let Objective::Fab(fab) = &mut trial.train.objective else { return None };
    let few = fab.updates_per_annealing * batch;
    let walkers = fab.walkers.as_mut().filter(|walkers| walkers.from_step == 0)?;
    let times = walkers.count as f64 / few as f64;
    walkers.count = few;
    Some(times)
}
