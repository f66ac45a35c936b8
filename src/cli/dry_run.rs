//! `boltzflow train --dry-run`: what a training would take.

use crate::config::{Recipe, Target};
use crate::error::Error;
use crate::session::{costs, of_training, time_to_draw};

use super::output::{say, unfolded};
use super::progress::time;

/// Prints the resolved recipe, then memory and time; `runs` trainings like it.
pub(super) fn run(recipe: &Recipe, target: &Target, runs: u64) -> Result<(), Error> {
    unfolded(&recipe.to_toml()?)?;
    let (needed, available) = of_training(recipe, &recipe.problem(target.potential.clone())?);
    let gib = |bytes: u128| bytes as f64 / f64::from(1 << 30);
    let free = available.map_or(String::new(), |a| format!(" of {:.1} GiB free", gib(a.into())));
    say!("# memory: at most {:.2} GiB{free}", gib(needed))?;
    let reference = time_to_draw(recipe, target)?;
    let costs = costs(recipe, target)?;
    let steps = recipe.train.descent.steps;
    let evaluations = steps.div_ceil(recipe.evaluate.every_steps);
    let total = costs.start + costs.step * steps as f64 + costs.evaluation * evaluations as f64;
    let times = if runs > 1 { format!(", {runs} times") } else { String::new() };
    say!(
        "# time: about {}{times}: {steps} steps of {:.3} s and {evaluations} evaluations of {:.1} \
         s,\n# on {} threads as they are now",
        time(total),
        costs.step,
        costs.evaluation,
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
