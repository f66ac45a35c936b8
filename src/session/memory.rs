//! Whether a training fits into the machine's memory, before it starts.

use std::fs;
use std::path::Path;

use crate::config::{EvaluateOptions, Recipe};
use crate::error::Error;
use crate::train::{Objective, Problem};

/// A part of the memory that a training needs.
struct Need {
    what: &'static str,
    /// The key that makes it smaller.
    key: &'static str,
    bytes: u128,
}

/// Refuses a training that needs more memory than there is.
///
/// # Errors
/// [`Error::Parameter`] on the key behind the largest part.
pub(super) fn check_training(recipe: &Recipe, problem: &Problem) -> Result<(), Error> {
    available().map_or(Ok(()), |available| compare(&training(recipe, problem), available))
}

/// Bytes that a training needs at the worst moment, and how many there are.
pub(crate) fn of_training(recipe: &Recipe, problem: &Problem) -> (u128, Option<u64>) {
    (training(recipe, problem).iter().map(|need| need.bytes).sum(), available())
}

/// Refuses an evaluation that needs more memory than there is.
///
/// # Errors
/// As for [`check_training`].
pub(crate) fn check_evaluation(options: &EvaluateOptions, problem: &Problem) -> Result<(), Error> {
    available().map_or(Ok(()), |available| compare(&evaluation(options, problem), available))
}

fn compare(needs: &[Need], available: u64) -> Result<(), Error> {
    let total: u128 = needs.iter().map(|need| need.bytes).sum();
    let Some(largest) = needs.iter().max_by_key(|need| need.bytes) else { return Ok(()) };
    if total <= u128::from(available) {
        return Ok(());
    }
    let gib = |bytes: u128| bytes as f64 / f64::from(1 << 30);
    Err(Error::parameter(
        largest.key,
        format!(
            "is too large for this machine: all needs about {:.1} GiB, of which {:.1} GiB \
             for {}, and {:.1} GiB are available",
            gib(total),
            gib(largest.bytes),
            largest.what,
            gib(available.into()),
        ),
    ))
}

fn size(count: usize, bytes: usize) -> u128 {
    count as u128 * bytes as u128
}

fn evaluation(options: &EvaluateOptions, problem: &Problem) -> Vec<Need> {
    let width = problem.flow.width();
    vec![
        Need {
            what: "the evaluation's samples",
            key: "evaluate.samples",
            bytes: size(options.samples, 8 * (3 * width + 8)),
        },
        Need {
            what: "the reference samples",
            key: "evaluate.reference_samples",
            bytes: size(options.reference_samples, 8 * (2 * width + 2 * options.draws + 8)),
        },
    ]
}

/// What stays in memory or is there at the worst moment, the writing of a checkpoint, which holds
/// everything twice more.
fn training(recipe: &Recipe, problem: &Problem) -> Vec<Need> {
    let flow = &problem.flow;
    let (width, batch) = (flow.width(), recipe.train.descent.batch_size);
    let parameters = flow.layout().total();
    let mut needs = evaluation(&recipe.evaluate, problem);
    needs.extend([
        Need {
            what: "a batch and what it passes through",
            key: "train.batch_size",
            bytes: size(batch, 8 * 8 * width) + flow.batch_memory(batch) as u128,
        },
        Need {
            // Weights, average and moments, thrice (now and two good states).
            what: "the flow's parameters",
            key: "flow.layers",
            bytes: 3 * size(parameters, 12 * 4),
        },
    ]);
    if let Objective::Fab(fab) = &recipe.train.objective {
        needs.push(Need {
            what: "the replay buffer",
            key: "train.fab.buffer.max_batches",
            bytes: 3 * size(fab.buffer.max_batches, batch) * size(width + 2, 8),
        });
    }
    needs
}

/// Bytes that this process may still take: the least of what the machine has free and what its
/// control groups and its own limit allow. `None` where that is unknown.
fn available() -> Option<u64> {
    let text = |path: &Path| fs::read_to_string(path).ok();
    let after = |text: &str, label: &str, unit: u64| {
        let line = text.lines().find_map(|line| line.strip_prefix(label))?;
        line.split_whitespace().next()?.parse::<u64>().ok()?.checked_mul(unit)
    };
    let free = text(Path::new("/proc/meminfo")).and_then(|t| after(&t, "MemAvailable:", 1024));
    let limit =
        text(Path::new("/proc/self/limits")).and_then(|t| after(&t, "Max address space", 1));
    // A group's limit binds all groups below it.
    let root = Path::new("/sys/fs/cgroup");
    let group = text(Path::new("/proc/self/cgroup"))
        .and_then(|t| t.lines().find_map(|l| l.strip_prefix("0::/").map(str::to_string)))
        .unwrap_or_default();
    let groups = root.join(group);
    let of_groups = groups
        .ancestors()
        .take_while(|path| path.starts_with(root))
        .filter_map(|path| text(&path.join("memory.max"))?.trim().parse().ok());
    free.into_iter().chain(limit).chain(of_groups).min()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Registry;

    #[test]
    fn a_training_that_does_not_fit_is_refused_by_the_key_of_its_largest_part() {
        let recipe = |max_batches: usize| {
            let text = format!(
                "format = 1\ntarget = \"lj55\"\n[train.fab.buffer]\nmax_batches = {max_batches}\n"
            );
            Recipe::from_text(&text, Path::new("recipe.toml")).unwrap()
        };
        let verdict = |recipe: &Recipe, available: u64| {
            let target = Registry::builtin().load(&recipe.target).unwrap();
            compare(&training(recipe, &recipe.problem(target.potential).unwrap()), available)
        };
        // 128 × 700 000 samples of 2 × 165 + 2 numbers, thrice: 664 GiB.
        let message = verdict(&recipe(700_000), 64 << 30).unwrap_err().to_string();
        assert!(message.contains("train.fab.buffer.max_batches"), "{message}");
        assert!(message.contains("664.") && message.contains("64.0 GiB are"), "{message}");
        assert!(verdict(&recipe(700_000), 700 << 30).is_ok());
        assert!(verdict(&recipe(512), 4 << 30).is_ok());
        assert!(verdict(&recipe(512), 1 << 28).is_err());
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn this_machine_says_what_it_has() {
        let found = available().unwrap();
        assert!((1 << 20..1 << 50).contains(&found), "{found}");
    }
}
