//! Where a training writes: a free folder, or the one of the same run that was cut short.

use std::path::{Path, PathBuf};

use crate::error::Error;
use crate::run::{Checkpoint, RunFolder};

use super::args::TrainArgs;
use super::figures;

/// What the command asks for.
pub(super) struct Wanted<'a> {
    /// The resolved recipe.
    pub recipe: &'a str,
    /// The target's text.
    pub target: &'a str,
    /// Training steps in all.
    pub steps: u64,
}

/// What may change while a run goes on: nothing that its state depends on in size or meaning.
const SAFE: [&str; 6] = [
    "evaluate.",
    "checkpoint.",
    "train.steps",
    "train.learning_rate.",
    "train.ema_decay",
    "train.gradient_clip.",
];

/// The folder of this training, and whether it resumes there. A run that was cut short goes on if its
/// recipe is the same; a finished one is never touched: the next free number is taken.
pub(super) fn choose(
    args: &TrainArgs,
    recipe: &Path,
    wanted: &Wanted<'_>,
) -> Result<(RunFolder, bool), Error> {
    let base = match &args.output {
        Some(path) => path.clone(),
        None => recipe.with_extension(""),
    };
    if base == recipe {
        let problem = "is needed: the recipe has no .toml to leave out";
        return Err(Error::parameter("--output", problem));
    }
    for number in 1.. {
        let path = if number == 1 {
            base.clone()
        } else {
            PathBuf::from(format!("{}-{number}", base.display()))
        };
        match Checkpoint::peek(&path) {
            // Without a name, another recipe is another run.
            Some((old, step))
                if (step < wanted.steps || !figures::are_drawn(&path))
                    && (old == wanted.recipe || args.resume || args.output.is_some()) =>
            {
                check_changes(args, &path, &old, wanted)?;
                return Ok((RunFolder::open(&path)?, true));
            }
            _ if args.resume => {
                let problem =
                    format!("finds no unfinished run with a checkpoint in {}", path.display());
                return Err(Error::parameter("--resume", problem));
            }
            None if has_not_begun(&path, wanted) => return Ok((RunFolder::open(&path)?, false)),
            _ => {}
        }
        if args.output.is_some() || is_free(&path) {
            return Ok((RunFolder::create(path)?, false));
        }
    }
    Err(Error::parameter("--output", "is needed: every numbered folder is taken"))
}

/// Whether the run in `path` is this very one, and at its end.
pub(super) fn is_finished(path: &Path, wanted: &Wanted<'_>) -> bool {
    Checkpoint::peek(path).is_some_and(|(recipe, step)| {
        recipe == wanted.recipe && step >= wanted.steps && figures::are_drawn(path)
    })
}

/// Whether the unfinished run in `path`, by the recipe `old`, may go on as `wanted`.
fn check_changes(
    args: &TrainArgs,
    path: &Path,
    old: &str,
    wanted: &Wanted<'_>,
) -> Result<(), Error> {
    let place = path.display();
    if RunFolder::read_only(path)?.read_target()?.is_some_and(|text| text != wanted.target) {
        let problem = format!(
            "is not the one of the unfinished run, {place}/target.toml: undo that change, or start \
             in another folder by --output"
        );
        return Err(Error::parameter("target", problem));
    }
    if old == wanted.recipe {
        return Ok(());
    }
    let changes = differences(old, wanted.recipe);
    let list = |changes: &[&(String, String)]| {
        let lines: Vec<&str> = changes.iter().map(|(_, change)| change.as_str()).collect();
        lines.join("; ")
    };
    let (safe, unsafe_): (Vec<_>, Vec<_>) =
        changes.iter().partition(|(key, _)| SAFE.iter().any(|safe| key.starts_with(safe)));
    let refuse = |changes, way_out| {
        let problem = format!(
            "is not the one of the unfinished run in {place}: {}. {way_out}",
            list(changes)
        );
        Err(Error::parameter("recipe", problem))
    };
    if !unsafe_.is_empty() {
        let way_out =
            "A run cannot go on with that: undo it, or start in another folder by --output";
        return refuse(&unsafe_, way_out);
    }
    if !args.force {
        return refuse(&safe, "Undo that, or accept it with --resume --force");
    }
    Ok(())
}

/// Whether this very run was stopped before its first checkpoint, of step 0: nothing is lost when
/// it starts again.
fn has_not_begun(path: &Path, wanted: &Wanted<'_>) -> bool {
    let Ok(folder) = RunFolder::read_only(path) else { return false };
    !folder.model().exists()
        && !Checkpoint::exists(path)
        && folder.read_config().is_ok_and(|text| text == wanted.recipe)
}

/// Empty, but for the lock of a process that was stopped before it wrote anything.
fn is_free(path: &Path) -> bool {
    match path.read_dir() {
        Ok(mut entries) => entries.all(|entry| entry.is_ok_and(|e| e.file_name() == "lock")),
        Err(_) => true,
    }
}

/// (key, "key was 10 and is 20") of everything that differs.
fn differences(old: &str, new: &str) -> Vec<(String, String)> {
    let table = |text: &str| text.parse::<toml::Table>().unwrap_or_default();
    let mut found = Vec::new();
    compare("", &toml::Value::Table(table(old)), &toml::Value::Table(table(new)), &mut found);
    found
}

fn compare(key: &str, old: &toml::Value, new: &toml::Value, found: &mut Vec<(String, String)>) {
    match (old, new) {
        (toml::Value::Table(a), toml::Value::Table(b)) => {
            let names: std::collections::BTreeSet<_> = a.keys().chain(b.keys()).collect();
            for name in names {
                let inner = if key.is_empty() { name.clone() } else { format!("{key}.{name}") };
                match (a.get(name), b.get(name)) {
                    (Some(a), Some(b)) => compare(&inner, a, b, found),
                    (Some(a), None) => {
                        let change = format!("{inner} was {a} and is gone");
                        found.push((inner, change));
                    }
                    (None, Some(b)) => {
                        let change = format!("{inner} is new, {b}");
                        found.push((inner, change));
                    }
                    (None, None) => {}
                }
            }
        }
        (a, b) if a != b => found.push((key.to_string(), format!("{key} was {a} and is {b}"))),
        _ => {}
    }
}
