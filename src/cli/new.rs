//! `boltzflow new`.

use std::path::Path;

use crate::config::{Recipe, Registry};
use crate::error::Error;
use crate::files::write_atomically;
use crate::session::choose_recipe;

use super::args::NewArgs;
use super::choose::{from_folder_of, MINUTES};
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
    let mut files = vec![&recipe_file];
    if args.target.is_none() {
        files.insert(0, &target_file);
    }
    for path in &files {
        if Path::new(path).exists() {
            let problem = "is there already: choose another name, or remove it";
            return Err(Error::parameter(path.as_str(), problem));
        }
    }
    let (target, texts) = match &args.target {
        Some(target) => (target, vec![chosen(target, &recipe_file, args.minutes, registry)?]),
        None => {
            let of_recipe = format!("{title}_target.toml");
            let recipe = RECIPE.replace("NAME", name).replace("TARGET", &of_recipe);
            Recipe::from_text(&recipe, Path::new(&recipe_file))?;
            (&target_file, vec![TARGET.replace("NAME", title), recipe])
        }
    };
    for (path, text) in files.into_iter().zip(texts) {
        write_atomically(path, |file| std::io::Write::write_all(file, text.as_bytes()))?;
        say!("wrote {path}")?;
    }
    say!("next: boltzflow check {target}; boltzflow train {recipe_file}")
}

/// The recipe that is chosen for a target.
fn chosen(
    target: &str,
    file: &str,
    minutes: Option<f64>,
    registry: &Registry,
) -> Result<String, Error> {
    let minutes = minutes.unwrap_or(MINUTES);
    let name = from_folder_of(Path::new(file), target);
    let made_by = format!(
        "boltzflow new {} --target {target} --minutes {minutes}",
        file.trim_end_matches(".toml")
    );
    Ok(choose_recipe(&registry.load(target)?, &name, minutes, &made_by)?.text)
}
