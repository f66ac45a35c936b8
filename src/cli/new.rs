//! `boltzflow new`.

use std::path::Path;

use crate::config::{is_path, relative, Recipe, Registry};
use crate::error::Error;
use crate::files::write_atomically;

use super::args::NewArgs;
use super::output::say;

const RECIPE: &str = include_str!("new_recipe.toml");
const TARGET: &str = include_str!("new_target.toml");

pub(super) fn run(args: &NewArgs, registry: &Registry) -> Result<(), Error> {
    let name = args.name.trim_end_matches(".toml");
    let title = Path::new(name).file_name().and_then(|n| n.to_str()).unwrap_or_default();
    let allowed = |c: char| c.is_alphanumeric() || "_-./".contains(c);
    if title.is_empty() || title.starts_with('.') || !name.chars().all(allowed) {
        let problem = format!("is \"{}\": use letters, digits, _ and -", args.name);
        return Err(Error::parameter("NAME", problem));
    }
    let recipe_file = format!("{name}.toml");
    let target_file = format!("{name}_target.toml");
    let mut files = Vec::new();
    // The target as a command names it, and as the recipe does.
    let (target, from_recipe) = match &args.target {
        Some(target) => {
            registry.load(target)?;
            (target, from_folder_of(Path::new(&recipe_file), target))
        }
        None => {
            files.push((&target_file, TARGET.replace("NAME", title)));
            (&target_file, format!("{title}_target.toml"))
        }
    };
    let recipe = RECIPE.replace("NAME", name).replace("TARGET", &from_recipe);
    Recipe::from_text(&recipe, Path::new(&recipe_file))?;
    files.push((&recipe_file, recipe));
    for (path, _) in &files {
        if Path::new(path).exists() {
            let problem = "is there already: choose another name, or remove it";
            return Err(Error::parameter(path.as_str(), problem));
        }
    }
    for (path, text) in &files {
        write_atomically(path, |file| std::io::Write::write_all(file, text.as_bytes()))?;
        say!("wrote {path}")?;
    }
    say!("next: boltzflow check {target}; boltzflow train {recipe_file}")
}

/// A target as a recipe in another folder names it: the path of a file starts there.
fn from_folder_of(recipe: &Path, target: &str) -> String {
    let place = |path: &Path| std::path::absolute(path).ok();
    let way = || {
        let folder = recipe.parent().filter(|folder| !folder.as_os_str().is_empty())?;
        let is_file = Path::new(target).is_relative() && is_path(target);
        let way = relative(&place(Path::new(target))?, &place(folder)?);
        way.filter(|_| is_file)?.to_str().map(str::to_string)
    };
    way().unwrap_or_else(|| target.to_string())
}
