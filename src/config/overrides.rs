//! Changes to a recipe from the command line: `key=value` with a dotted key and a TOML value.

use toml::{Table, Value};

use crate::error::Error;

/// Applies `setting` to the recipe in `table`, such as `train.steps=100` or
/// `flow.layers.0.repeat=4`. A bare word is taken for a text, so that `target=lj13` needs no
/// quotes.
///
/// # Errors
/// [`Error::Parameter`] that names the key. Whether recipes have such a key shows when the table is
/// read.
pub(super) fn apply(table: &mut Table, setting: &str) -> Result<(), Error> {
    let Some((key, value)) = setting.split_once('=') else {
        let problem = format!("\"{setting}\" has no value: use KEY=VALUE, as in train.steps=100");
        return Err(Error::parameter("--set", problem));
    };
    let key = key.trim();
    let wrong = |problem: String| Error::parameter(format!("--set {key}"), problem);
    let names: Vec<&str> = key.split('.').map(str::trim).collect();
    if names.iter().any(|name| name.is_empty()) {
        return Err(wrong("has an empty part: write names with dots between them".into()));
    }
    let value = parse(value.trim()).map_err(wrong)?;
    let Some((first, rest)) = names.split_first() else { return Ok(()) };
    let top = table.entry(*first).or_insert_with(|| Value::Table(Table::new()));
    *place(top, first, rest).map_err(wrong)? = value;
    Ok(())
}

fn parse(text: &str) -> Result<Value, String> {
    let line = format!("value = {text}");
    if let Ok(mut table) = line.parse::<Table>() {
        if let (1, Some(value)) = (table.len(), table.remove("value")) {
            return Ok(value);
        }
    }
    let is_word = |c: char| c.is_alphanumeric() || "_-./".contains(c);
    if !text.is_empty() && text.chars().all(is_word) {
        return Ok(Value::String(text.to_string()));
    }
    Err(format!("has the value {text}, which is not TOML: a number, true, \"text\" or [a, list]"))
}

/// The value at `names` within `value`, which is at `path`; missing sections on the way are added.
fn place<'a>(value: &'a mut Value, path: &str, names: &[&str]) -> Result<&'a mut Value, String> {
    let Some((name, rest)) = names.split_first() else { return Ok(value) };
    let inner = format!("{path}.{name}");
    match value {
        Value::Table(table) => {
            let next = table.entry(*name).or_insert_with(|| Value::Table(Table::new()));
            place(next, &inner, rest)
        }
        Value::Array(list) => {
            let count = list.len();
            let index = name.parse::<usize>().ok();
            match index.and_then(|index| list.get_mut(index)) {
                Some(next) => place(next, &inner, rest),
                None => Err(format!(
                    "does not exist: `{path}` is a list with {count} entries, counted from 0"
                )),
            }
        }
        other => Err(format!("does not exist: `{path}` is {other}, not a section")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_reach_into_sections_and_lists_and_values_are_toml() {
        let mut table: Table =
            "target = \"dw4\"\n[[flow.layers]]\nrepeat = 2\n[train]\nsteps = 5".parse().unwrap();
        for setting in [
            "train.steps=100",
            "flow.layers.0.repeat = 4",
            "train.fab.buffer={ min_batches = 2 }",
            "target=../my-target.toml",
            "evaluate.every_steps=7",
            "train.ema_decay=0.5",
        ] {
            apply(&mut table, setting).unwrap();
        }
        assert_eq!(table["train"]["steps"], Value::Integer(100));
        assert_eq!(table["flow"]["layers"][0]["repeat"], Value::Integer(4));
        assert_eq!(table["train"]["fab"]["buffer"]["min_batches"], Value::Integer(2));
        assert_eq!(table["target"], Value::String("../my-target.toml".into()));
        assert_eq!(table["evaluate"]["every_steps"], Value::Integer(7));
        assert_eq!(table["train"]["ema_decay"], Value::Float(0.5));
    }

    #[test]
    fn what_does_not_exist_is_refused_by_its_key() {
        for (setting, words) in [
            ("train.steps", "no value"),
            ("train..steps=1", "empty part"),
            ("=1", "empty part"),
            ("train.steps=1 2", "not TOML"),
            ("train.steps=", "not TOML"),
            ("train.steps=1\nseed=2", "not TOML"),
            ("flow.layers.1.repeat=4", "list with 1 entries"),
            ("flow.layers.x.repeat=4", "list with 1 entries"),
            ("target.name=4", "`target` is \"dw4\""),
        ] {
            let mut table: Table = "target = \"dw4\"\n[[flow.layers]]\nrepeat = 2".parse().unwrap();
            let message = apply(&mut table, setting).unwrap_err().to_string();
            assert!(message.contains(words), "{setting}: {message}");
            assert!(message.contains("--set"), "{message}");
        }
    }
}
