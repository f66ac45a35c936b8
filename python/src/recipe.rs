//! Recipes from files, dictionaries and keyword arguments.

use std::path::{Path, PathBuf};

use boltzflow::{Error, Recipe};
use pyo3::prelude::*;
use toml::Table;

use crate::desk::Shows;
use crate::errors::{exception, recipe_error, run_error, to_json, About};
use crate::target::Source;
use crate::toml::{merge, table};

/// The recipe in `recipe`, the path of a file, a dictionary or `None`, with `options` over it, a
/// dictionary of the same keys. `target` is the name of the target if it is not the recipe's.
/// Returns the file, too; it is empty where there is none.
pub fn read(
    recipe: Option<&Bound<'_, PyAny>>,
    options: &Bound<'_, PyAny>,
    target: Option<&str>,
    seed: Option<u64>,
) -> PyResult<(Recipe, PathBuf)> {
    let py = options.py();
    let failed = |error| exception(py, error, About::Recipe);
    let mut file = PathBuf::new();
    let mut all = match recipe {
        None => Table::new(),
        Some(given) if given.hasattr("items")? => table(given, "")?,
        Some(given) => {
            file = given
                .extract()
                .map_err(|_| recipe_error(py, "recipe", "is neither a path nor a dictionary"))?;
            let text = std::fs::read_to_string(&file)
                .map_err(|source| failed(Error::Read { path: file.clone(), source }))?;
            // A text that is no TOML gets the message that it gets on the command line.
            match text.parse() {
                Ok(table) => table,
                Err(_) => return Err(failed(unreadable(&text, &file))),
            }
        }
    };
    merge(&mut all, table(options, "")?);
    if file.as_os_str().is_empty() {
        all.entry("format").or_insert(1.into());
    }
    if let Some(target) = target {
        all.insert("target".into(), target.into());
    }
    if let Some(seed) = seed {
        let seed = i64::try_from(seed).map_err(|_| recipe_error(py, "seed", "is over 2⁶³"))?;
        all.insert("seed".into(), seed.into());
    }
    if !all.contains_key("target") {
        let problem =
            "is missing: give an energy function, the name of a target, or a recipe that \
                       names one";
        return Err(recipe_error(py, "energy", problem));
    }
    let text = toml::to_string(&all)
        .map_err(|e| recipe_error(py, "recipe", &format!("has no TOML form: {e}")))?;
    Ok((Recipe::from_text(&text, &file).map_err(failed)?, file))
}

fn unreadable(text: &str, file: &Path) -> Error {
    match Recipe::from_text(text, file) {
        Err(error) => error,
        Ok(_) => Error::Run(format!("{} cannot be read", file.display())),
    }
}

/// A recipe for a target that has none, which it calls `name`: its text, its keys as JSON, and the
/// seconds that it takes.
#[pyfunction]
pub fn choose_recipe(
    py: Python<'_>,
    energy: &Bound<'_, PyAny>,
    name: &str,
    minutes: f64,
    threads: usize,
) -> PyResult<(String, String, f64)> {
    let source = Source::read(energy)?;
    let made_by = format!("boltzflow.choose_recipe(…, minutes={minutes})");
    let (chosen, trouble) = source.serve(py, threads, &Shows { progress: None }, |desk| {
        boltzflow::session::choose_recipe(&source.target(desk), name, minutes, &made_by)
    })?;
    trouble.map_or(Ok(()), Err)?;
    let chosen = chosen.map_err(|error| exception(py, error, About::Recipe))?;
    let keys: Result<Table, _> = chosen.text.parse();
    let keys =
        keys.map_err(|error| run_error(py, &format!("the recipe cannot be read: {error}")))?;
    Ok((chosen.text, to_json(&keys)?, chosen.seconds))
}
