//! Where a training writes: a free folder, or the one of the same run that was cut short.

use std::path::{Path, PathBuf};

use crate::error::Error;
use crate::run::{Checkpoint, RunFolder};

use super::args::TrainArgs;

/// The folder of this training, and whether it resumes there. A run that was cut short goes on if its
/// recipe is the same; a finished one is never touched: the next free number is taken.
pub(super) fn choose(
    args: &TrainArgs,
    recipe: &Path,
    text: &str,
    steps: u64,
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
            Some((old, step)) if step < steps => {
                if old == text || (args.resume && args.force) {
                    return Ok((RunFolder::open(&path)?, true));
                }
                if args.resume {
                    return Err(Error::parameter(
                        "--resume",
                        format!(
                            "finds another recipe in {}: {}. Undo that, or accept it with --force",
                            path.display(),
                            differences(&old, text)
                        ),
                    ));
                }
            }
            _ if args.resume => {
                let problem =
                    format!("finds no unfinished run with a checkpoint in {}", path.display());
                return Err(Error::parameter("--resume", problem));
            }
            _ => {}
        }
        if args.output.is_some() || is_free(&path) {
            return Ok((RunFolder::create(path)?, false));
        }
    }
    Err(Error::parameter("--output", "is needed: every numbered folder is taken"))
}

fn is_free(path: &Path) -> bool {
    match path.read_dir() {
        Ok(mut entries) => entries.next().is_none(),
        Err(_) => true,
    }
}

/// "train.steps was 10 and is 20; …".
fn differences(old: &str, new: &str) -> String {
    let table = |text: &str| text.parse::<toml::Table>().unwrap_or_default();
    let mut found = Vec::new();
    compare("", &toml::Value::Table(table(old)), &toml::Value::Table(table(new)), &mut found);
    if found.is_empty() {
        "the same values, written by another version".to_string()
    } else {
        found.join("; ")
    }
}

fn compare(key: &str, old: &toml::Value, new: &toml::Value, found: &mut Vec<String>) {
    match (old, new) {
        (toml::Value::Table(a), toml::Value::Table(b)) => {
            let names: std::collections::BTreeSet<_> = a.keys().chain(b.keys()).collect();
            for name in names {
                let inner = if key.is_empty() { name.clone() } else { format!("{key}.{name}") };
                match (a.get(name), b.get(name)) {
                    (Some(a), Some(b)) => compare(&inner, a, b, found),
                    (Some(a), None) => found.push(format!("{inner} was {a} and is gone")),
                    (None, Some(b)) => found.push(format!("{inner} is new, {b}")),
                    (None, None) => {}
                }
            }
        }
        (a, b) if a != b => found.push(format!("{key} was {a} and is {b}")),
        _ => {}
    }
}
