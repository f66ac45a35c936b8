//! `boltzflow train --dry-run`: what a training would take, from a few small steps of it.

use std::time::Instant;

use crate::config::{Recipe, Target};
use crate::engine::LANES;
use crate::error::Error;
use crate::session::{of_training, time_to_draw, Training};
use crate::train::Objective;

use super::output::say;
use super::progress::time;

/// Steps are timed for about this long, but at least two of them.
const SECONDS: f64 = 2.0;

/// Prints the resolved recipe, then memory and time; `runs` trainings like it.
pub(super) fn run(recipe: &Recipe, target: Target, runs: u64) -> Result<(), Error> {
    say!("{}", recipe.to_toml()?)?;
    let (needed, available) = of_training(recipe, &recipe.problem(target.potential.clone())?);
    let gib = |bytes: u128| bytes as f64 / f64::from(1 << 30);
    let free = available.map_or(String::new(), |a| format!(" of {:.1} GiB free", gib(a.into())));
    say!("# memory: at most {:.2} GiB{free}", gib(needed))?;
    let reference = time_to_draw(recipe, &target)?;
    // Small batches of full lanes on every thread cost in proportion.
    let mut trial = recipe.clone();
    let full = recipe.train.descent.batch_size;
    trial.train.descent.batch_size = full.min(2 * LANES * rayon::current_num_threads());
    let scale = full as f64 / trial.train.descent.batch_size as f64;
    let first_scale = fewer_walkers(&mut trial).unwrap_or(scale);
    let mut trial = Training::trial(trial, target)?;
    // The first step also fills the replay buffer, or starts the walkers.
    let start = Instant::now();
    trial.advance()?;
    let first = first_scale * start.elapsed().as_secs_f64();
    let (start, mut steps) = (Instant::now(), 0.0);
    while steps < 2.0 || start.elapsed().as_secs_f64() < SECONDS {
        trial.advance()?;
        steps += 1.0;
    }
    let step = scale * start.elapsed().as_secs_f64() / steps;
    let total = first + step * recipe.train.descent.steps as f64;
    let times = if runs > 1 { format!(", {runs} times") } else { String::new() };
    say!(
        "# time: about {}{times}, for {} steps of {step:.3} s on {} threads as they are now; \
         evaluations come on top",
        time(total),
        recipe.train.descent.steps,
        rayon::current_num_threads(),
    )?;
    match reference {
        Some(seconds) => say!(
            "# reference samples: about {}, once; evaluate.reference_chains changes that",
            time(seconds)
        ),
        None => Ok(()),
    }
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
