//! From TOML text to plain structs, with messages that name the key and what would be right.

use std::path::Path;

use serde::de::DeserializeOwned;

use crate::error::{suggest, Error};

/// The only format number so far.
pub(super) const FORMAT: i64 = 1;

/// Keys that every target file may have, whatever its kind.
pub(super) const COMMON_KEYS: [&str; 6] =
    ["format", "name", "description", "kind", "known", "structure"];

/// Keys that had another name in earlier versions: the full old one, and the new name.
const RENAMED: &[(&str, &str)] = &[];

/// Reads a file.
pub(super) fn read(path: &Path) -> Result<String, Error> {
    std::fs::read_to_string(path).map_err(|source| Error::Read { path: path.to_path_buf(), source })
}

/// The table in `text`, without its checked `format`.
pub(super) fn parse_table(text: &str) -> Result<toml::Table, String> {
    let mut table: toml::Table = text.parse().map_err(|e: toml::de::Error| {
        let line = e.span().map_or(1, |span| 1 + text[..span.start].matches('\n').count());
        format!("line {line} is not TOML: {}", e.message().replace('\n', ", "))
    })?;
    match table.remove("format") {
        Some(toml::Value::Integer(FORMAT)) => Ok(table),
        Some(other) => {
            Err(format!("`format` is {other}: this version of boltzflow reads format = {FORMAT}"))
        }
        None => Err(format!("`format` is missing: add `format = {FORMAT}` at the top")),
    }
}

/// `table` as a `T`; `elsewhere` are keys that the file may have besides those of `T`.
pub(super) fn from_table<T: DeserializeOwned>(
    table: toml::Table,
    elsewhere: &[&str],
) -> Result<T, String> {
    table.try_into().map_err(|error| explain_error(&error, elsewhere))
}

/// What is wrong, with the full path of the key; `elsewhere` are keys that the file may have
/// besides the known ones.
pub(super) fn explain_error(error: &toml::de::Error, elsewhere: &[&str]) -> String {
    explain(&error.to_string(), elsewhere, RENAMED)
}

/// Turns an error about a field, or about a file without a name, into one about `file`.
pub(super) fn in_file(file: &Path, error: Error) -> Error {
    match error {
        Error::Parameter { .. } => config_error(file, error.to_string()),
        Error::Config { file: unnamed, problem } if unnamed.as_os_str().is_empty() => {
            config_error(file, problem)
        }
        other => other,
    }
}

/// A [`Error::Config`].
pub(super) fn config_error(file: &Path, problem: impl Into<String>) -> Error {
    Error::Config { file: file.to_path_buf(), problem: problem.into() }
}

/// Rewrites an error of serde and toml, with the full path of the key.
///
/// They append lines such as "in `train.fab`", the innermost first, and name an unknown key or a
/// missing one in the message itself.
fn explain(message: &str, elsewhere: &[&str], renamed: &[(&str, &str)]) -> String {
    let mut problem = Vec::new();
    let mut path = Vec::new();
    for line in message.lines().filter(|line| !line.is_empty()) {
        match line.strip_prefix("in `").and_then(|rest| rest.strip_suffix('`')) {
            Some(key) => path.insert(0, key),
            None => problem.push(line),
        }
    }
    let problem = problem.join(", ");
    let mut words = problem.split('`').skip(1).step_by(2);
    let first = words.next().unwrap_or_default();
    if problem.starts_with("unknown field") {
        let mut known: Vec<&str> = words.collect();
        path.push(first);
        if path.len() == 1 {
            known.extend(elsewhere);
        }
        let path = path.join(".");
        match renamed.iter().find(|(old, _)| *old == path) {
            Some((_, new)) => format!("unknown key `{path}`: it is now called `{new}`"),
            None => format!("unknown key `{path}`: {}", suggest(first, &known)),
        }
    } else if problem.starts_with("unknown variant") {
        let known: Vec<&str> = words.collect();
        format!("`{}` is \"{first}\": {}", path.join("."), suggest(first, &known))
    } else if problem.starts_with("missing field") {
        path.push(first);
        format!("`{}` is missing and has no default: add it", path.join("."))
    } else {
        let problem = match problem.split_once("expected struct ") {
            Some((given, _)) => format!("{given}expected a section"),
            None => problem.clone(),
        };
        let plain = problem
            .replace("invalid type: map", "invalid type: section")
            .replace("expected a map", "expected a section")
            .replace("expected a sequence", "expected a list")
            .replace("expected usize", "expected a whole number of 0 or more")
            .replace("expected u64", "expected a whole number of 0 or more")
            .replace("expected f64", "expected a number");
        if path.is_empty() {
            plain
        } else if plain.starts_with("is ") {
            format!("`{}` {plain}", path.join("."))
        } else {
            format!("`{}`: {plain}", path.join("."))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_name_gets_the_new_one() {
        let message = "unknown field `noise`, expected `seed` or `scale`\nin `flow`\n";
        let explained = |renamed| explain(message, &[], renamed);
        let new = "unknown key `flow.noise`: it is now called `scale`";
        assert_eq!(explained(&[("flow.noise", "scale")]), new);
        // Only that very key has the new name.
        let other = "unknown key `flow.noise`: use one of `seed`, `scale`";
        assert_eq!(explained(&[("noise", "scale")]), other);
    }
}
