//! `boltzflow train TARGET`: a recipe for a target that has none.

use std::io::Write;
use std::path::{Path, PathBuf};

use crate::config::{is_path, is_target_file, relative, Registry};
use crate::error::Error;
use crate::files::write_atomically;
use crate::parallel::team;
use crate::session::choose_recipe;

use super::args::TrainArgs;
use super::output::{say, unfolded};
use super::progress::time;

/// Minutes that a training takes if none are asked for.
pub(super) const MINUTES: f64 = 10.0;

/// The target that stands in the place of a recipe, if one does.
fn target_in(args: &TrainArgs) -> Option<&str> {
    let name = args.recipe.as_ref()?.to_str()?;
    let path = Path::new(name);
    let is_target = match path.exists() {
        true => is_target_file(path),
        false => !is_path(name),
    };
    is_target.then_some(name)
}

/// The same arguments with a recipe in the place of a target: the one that an earlier call with
/// them wrote, or a new one. None if it is only to be printed, which is then done.
///
/// # Errors
/// Those of the target and of [`choose_recipe`]; [`Error::Parameter`] where another file has the
/// recipe's name.
pub(super) fn with_recipe(
    args: &TrainArgs,
    registry: &Registry,
) -> Result<Option<TrainArgs>, Error> {
    let Some(name) = target_in(args) else {
        // What is missing is said where it is read.
        let minutes =
            args.minutes.filter(|_| args.recipe.as_ref().is_none_or(|path| path.exists()));
        return match minutes {
            None => Ok(Some(args.clone())),
            Some(_) => Err(Error::parameter(
                "--minutes",
                "is for a target without a recipe: this one says how long by train.steps",
            )),
        };
    };
    let target = registry.load(name)?;
    if !team().is_alone() {
        let problem = format!(
            "is a target, and a recipe for it is chosen on one rank: first \
             `boltzflow train {name} --dry-run > {0}_fab.toml`, then train {0}_fab.toml",
            stem(name)
        );
        return Err(Error::parameter("RECIPE", problem));
    }
    let file = match &args.output {
        Some(folder) => PathBuf::from(format!("{}.toml", folder.display())),
        None => PathBuf::from(format!("{}_fab.toml", stem(name))),
    };
    let minutes = args.minutes.unwrap_or(MINUTES);
    let output =
        args.output.as_ref().map_or(String::new(), |folder| format!(" -o {}", folder.display()));
    let made_by = format!("boltzflow train {name} --minutes {minutes}{output}");
    let chosen = TrainArgs { recipe: Some(file.clone()), minutes: None, ..args.clone() };
    if !args.dry_run && file.exists() {
        let text = std::fs::read_to_string(&file).unwrap_or_default();
        if text.lines().any(|line| line.trim_start_matches(['#', ' ']) == made_by) {
            say!("the recipe is {}, which this command wrote earlier", file.display())?;
            return Ok(Some(chosen));
        }
        let problem = format!(
            "would be {0}, which is there already and was not written by this command: train it by \
             `boltzflow train {0}`, name another one by --output, or remove it",
            file.display()
        );
        return Err(Error::parameter("recipe", problem));
    }
    let choice = choose_recipe(&target, &from_folder_of(&file, name), minutes, &made_by)?;
    if args.dry_run {
        unfolded(&format!("{}# time: about {}", choice.text, time(choice.seconds)))?;
        return Ok(None);
    }
    write_atomically(&file, |to| to.write_all(choice.text.as_bytes()))?;
    say!(
        "wrote the recipe {}: about {}, with its start and its evaluations",
        file.display(),
        time(choice.seconds)
    )?;
    Ok(Some(chosen))
}

fn stem(name: &str) -> String {
    let stem = Path::new(name).file_stem().unwrap_or_default();
    stem.to_string_lossy().trim_end_matches("_target").to_string()
}

/// A target as a recipe in another folder names it: the path of a file starts there.
pub(super) fn from_folder_of(recipe: &Path, target: &str) -> String {
    let place = |path: &Path| std::path::absolute(path).ok();
    let way = || {
        let folder = recipe.parent().filter(|folder| !folder.as_os_str().is_empty())?;
        let is_file = Path::new(target).is_relative() && is_path(target);
        let way = relative(&place(Path::new(target))?, &place(folder)?);
        way.filter(|_| is_file)?.to_str().map(str::to_string)
    };
    way().unwrap_or_else(|| target.to_string())
}
