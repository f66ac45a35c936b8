//! Where a training writes: a free folder, or the one of the same run that was cut short.

use std::path::{Path, PathBuf};

use crate::config::Recipe;
use crate::error::Error;
use crate::run::{Checkpoint, RunFolder};

/// Keys that may change before a run is resumed: its state does not depend on them.
const SAFE: [&str; 6] = [
    "evaluate.",
    "checkpoint.",
    "train.steps",
    "train.learning_rate.",
    "train.ema_decay",
    "train.gradient_clip.",
];

/// What a user wants of the folder of a training.
#[derive(Debug, Clone, Copy)]
pub struct Destination<'a> {
    /// The folder; without it, that of the recipe's file without its ending, or the next free one
    /// with a number.
    pub output: Option<&'a Path>,
    /// Refuses to start anew.
    pub resume: bool,
    /// Resumes although keys of the recipe have changed that the run's state does not depend on.
    pub force: bool,
    /// What the interface calls `output` and the way to accept such changes, for messages.
    pub names: [&'a str; 2],
}

/// The folder that a training goes to.
pub struct Chosen {
    /// The folder, locked.
    pub folder: RunFolder,
    /// Whether it holds an unfinished run, which goes on.
    pub resumes: bool,
    /// Why it has another name than expected.
    pub remark: Option<String>,
}

impl Destination<'_> {
    /// The folder of the training by `recipe`, which comes from `file`, on the target whose text is
    /// `target`. An unfinished run of the same recipe is resumed; a finished one is never changed:
    /// the next free number is taken.
    ///
    /// # Errors
    /// [`Error::Parameter`] when there is a run in `output` that cannot go on by this recipe, or
    /// another process writes it; [`Error::Write`].
    pub fn choose(&self, file: &Path, recipe: &Recipe, target: &str) -> Result<Chosen, Error> {
        let base = match self.output {
            Some(path) => path.to_path_buf(),
            None => file.with_extension(""),
        };
        let [output, _] = self.names;
        if base == file {
            let problem = "is needed: the recipe has no .toml to leave out";
            return Err(Error::parameter(output, problem));
        }
        let chosen = |folder, resumes| Ok(Chosen { folder, resumes, remark: None });
        for number in 1.. {
            let path = if number == 1 {
                base.clone()
            } else {
                PathBuf::from(format!("{}-{number}", base.display()))
            };
            match Checkpoint::peek(&path) {
                // Without a name, another recipe is another run.
                Some(latest)
                    if !latest.is_finished(recipe.train.descent.steps)
                        && (self.resume || self.output.is_some() || is(&latest.recipe, recipe)) =>
                {
                    check_changes(self, &path, &latest.recipe, recipe, target)?;
                    return chosen(RunFolder::open(&path)?, true);
                }
                _ if self.resume => {
                    let problem =
                        format!("finds no unfinished run with a checkpoint in {}", path.display());
                    return Err(Error::parameter("--resume", problem));
                }
                None if has_not_begun(&path, recipe) => {
                    return chosen(RunFolder::open(&path)?, false)
                }
                _ => {}
            }
            if self.output.is_some() || is_free(&path) {
                let remark = (number > 1).then(|| remark(&base, &path, recipe));
                return Ok(Chosen { folder: RunFolder::create(path)?, resumes: false, remark });
            }
        }
        Err(Error::parameter(output, "is needed: every numbered folder is taken"))
    }
}

/// Why a run starts in `path` and not in `base`.
fn remark(base: &Path, path: &Path, recipe: &Recipe) -> String {
    let why = if is_finished(base, recipe) {
        "has the finished run of this recipe, which starts anew"
    } else {
        "is taken: this run starts"
    };
    format!("{} {why} in {}", base.display(), path.display())
}

/// Whether the run in `path` is of this recipe and finished.
pub(crate) fn is_finished(path: &Path, recipe: &Recipe) -> bool {
    Checkpoint::peek(path).is_some_and(|latest| {
        latest.is_finished(recipe.train.descent.steps) && is(&latest.recipe, recipe)
    })
}

/// Whether `text`, which a run holds, is this recipe.
fn is(text: &str, recipe: &Recipe) -> bool {
    Recipe::from_text(text, Path::new("")).is_ok_and(|other| other == *recipe)
}

/// Whether the unfinished run in `path`, by the recipe `old`, may continue by `recipe` on `target`.
fn check_changes(
    wish: &Destination<'_>,
    path: &Path,
    old: &str,
    recipe: &Recipe,
    target: &str,
) -> Result<(), Error> {
    let place = path.display();
    let [output, accept] = wish.names;
    if RunFolder::read_only(path)?.read_target()?.is_some_and(|text| text != target) {
        let problem = format!(
            "is not the one of the unfinished run, {place}/target.toml: undo that change, or start \
             in another folder by {output}"
        );
        return Err(Error::parameter("target", problem));
    }
    let old = Recipe::from_text(old, path)?;
    if old == *recipe {
        return Ok(());
    }
    let mut changes = Vec::new();
    compare("", &value(&old), &value(recipe), &mut changes);
    let list = |changes: &[&(String, String)]| {
        let lines: Vec<&str> = changes.iter().map(|(_, change)| change.as_str()).collect();
        lines.join("; ")
    };
    let (safe, unsafe_): (Vec<_>, Vec<_>) =
        changes.iter().partition(|(key, _)| SAFE.iter().any(|safe| key.starts_with(safe)));
    let refuse = |changes, way_out: String| {
        let problem = format!(
            "is not the one of the unfinished run in {place}: {}. {way_out}",
            list(changes)
        );
        Err(Error::parameter("recipe", problem))
    };
    if !unsafe_.is_empty() {
        let way_out = format!(
            "A run cannot go on with that: undo it, or start in another folder by {output}"
        );
        return refuse(&unsafe_, way_out);
    }
    if !wish.force {
        return refuse(&safe, format!("Undo that, or accept it with {accept}"));
    }
    Ok(())
}

/// Whether a run of this recipe was stopped before its first checkpoint, that of step 0: nothing is
/// lost when it starts again.
fn has_not_begun(path: &Path, recipe: &Recipe) -> bool {
    let Ok(folder) = RunFolder::read_only(path) else { return false };
    !folder.model().exists()
        && !Checkpoint::exists(path)
        && folder.read_config().is_ok_and(|text| is(&text, recipe))
}

/// Whether there is nothing but perhaps the lock of a process that was stopped before it wrote.
fn is_free(path: &Path) -> bool {
    match path.read_dir() {
        Ok(mut entries) => entries.all(|entry| entry.is_ok_and(|e| e.file_name() == "lock")),
        Err(_) => true,
    }
}

/// A recipe as a tree of keys.
fn value(recipe: &Recipe) -> toml::Value {
    toml::Value::try_from(recipe).unwrap_or_else(|_| toml::Table::new().into())
}

/// Adds (key, "key was 10 and is 20") of everything that differs below `key`.
fn compare(key: &str, old: &toml::Value, new: &toml::Value, found: &mut Vec<(String, String)>) {
    match (old, new) {
        (toml::Value::Table(a), toml::Value::Table(b)) => {
            let names: std::collections::BTreeSet<_> = a.keys().chain(b.keys()).collect();
            for name in names {
                let inner = if key.is_empty() { name.clone() } else { format!("{key}.{name}") };
                match (a.get(name), b.get(name)) {
                    (Some(a), Some(b)) => compare(&inner, a, b, found),
                    (Some(a), None) => {
                        let change = format!("{inner} was {a} and is now missing");
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
