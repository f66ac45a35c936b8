//! `boltzflow new`.

use std::path::Path;

use crate::config::{Recipe, Registry};
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
    let target = match &args.target {
        Some(target) => {
            registry.load(target)?;
            target
        }
        None => {
            files.push((&target_file, TARGET.replace("NAME", title)));
            &target_file
        }
    };
    let recipe = RECIPE.replace("NAME", name).replace("TARGET", target);
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
