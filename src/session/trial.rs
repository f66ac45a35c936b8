//! What a training takes, from a few small steps of it.

use std::time::Instant;

use super::training::Training;
use crate::config::{Recipe, Target};
use crate::engine::LANES;
use crate::error::Error;
use crate::sampling::{reference_seconds, ReferenceOptions};
use crate::train::{Objective, WalkerStart};

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
    // Small batches of full lanes on every thread cost in proportion, but for what the step of the
    // optimizer takes, which is the same for any number of samples.
    let threads = rayon::current_num_threads();
    let mut trial = recipe.clone();
    let full = recipe.train.descent.batch_size;
    trial.train.descent.batch_size = full.min(2 * LANES * threads);
    let scale = full as f64 / trial.train.descent.batch_size as f64;
    trial.evaluate.reference_samples = 0;
    trial.evaluate.samples = recipe.evaluate.samples.min(SAMPLES * threads);
    let evaluations = recipe.evaluate.samples as f64 / trial.evaluate.samples as f64;
    let walkers = fewer_walkers(&mut trial, target)?;
    let mut trial = Training::trial(trial, target.clone())?;
    let start = Instant::now();
    trial.advance()?;
    let first = start.elapsed().as_secs_f64();
    let first = match walkers {
        None => scale * first,
        Some(Start::Times(times)) => times * first,
        Some(Start::Seconds(seconds)) => {
            // Those of the trial start in its second step.
            trial.advance()?;
            seconds
        }
    };
    let (start, mut steps, mut flow, mut energies) = (Instant::now(), 0.0, 0.0, 0.0);
    while steps < 2.0 || start.elapsed().as_secs_f64() < SECONDS {
        let report = trial.advance()?.0;
        flow += report.flow_seconds / threads as f64;
        energies += report.potential_seconds / threads as f64;
        steps += 1.0;
    }
    let samples = flow + energies;
    let rest = (start.elapsed().as_secs_f64() - samples).max(0.0);
    let step = (scale * samples + rest) / steps;
    let start = Instant::now();
    trial.evaluate()?;
    let evaluation = evaluations * start.elapsed().as_secs_f64();
    Ok(Costs { start: first, step, energies: scale * energies / steps, evaluation })
}

/// What the start of all walkers takes.
enum Start {
    /// So many times that of the trial's.
    Times(f64),
    /// That of a molecule, which is as long for any number of them: the trial has another one.
    Seconds(f64),
}

/// Where walkers start with the training, leaves only as many as a step needs.
fn fewer_walkers(trial: &mut Recipe, target: &Target) -> Result<Option<Start>, Error> {
    let batch = trial.train.descent.batch_size;
    let Objective::Fab(fab) = &mut trial.train.objective else { return Ok(None) };
    let few = fab.updates_per_annealing * batch;
    let walkers = fab.walkers.as_mut().filter(|walkers| walkers.from_step == 0);
    let Some(walkers) = walkers else { return Ok(None) };
    let all = std::mem::replace(&mut walkers.count, few);
    let [work, more] = [all, all + 1].map(|n| ReferenceOptions::starts(&*target.potential, n));
    if work.chains != more.chains {
        return Ok(Some(Start::Times(all as f64 / few as f64)));
    }
    (walkers.start, walkers.from_step) = (WalkerStart::Flow, 1);
    (walkers.start_temperature, walkers.cooling_steps) = (1.0, 0);
    walkers.hot_share = 0.0;
    reference_seconds(target.potential.clone(), work).map(|seconds| Some(Start::Seconds(seconds)))
}
