//! Python's dictionaries as TOML, so that the library reads and checks them as it does files.

use pyo3::prelude::*;
use pyo3::types::{PyBool, PyDict, PyFloat, PyInt, PyString};
use toml::{Table, Value};

use crate::errors::recipe_error;

/// Nesting beyond this is a dictionary that contains itself.
const DEEPEST: usize = 32;

/// `mapping` as a table; values that are `None` are left out. `name` is named in errors.
///
/// # Errors
/// `RecipeError` on the key whose value has no TOML form.
pub fn table(mapping: &Bound<'_, PyAny>, name: &str) -> PyResult<Table> {
    inner_table(mapping, name, 0)
}

fn inner_table(mapping: &Bound<'_, PyAny>, path: &str, depth: usize) -> PyResult<Table> {
    let py = mapping.py();
    let mut table = Table::new();
    for pair in mapping.call_method0("items")?.try_iter()? {
        let (key, value): (Bound<'_, PyAny>, Bound<'_, PyAny>) = pair?.extract()?;
        let Ok(key) = key.extract::<String>() else {
            let problem = format!("has the key {}: keys are text", key.repr()?);
            return Err(recipe_error(py, or_options(path), &problem));
        };
        if !value.is_none() {
            let inner = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
            table.insert(key, inner_value(&value, &inner, depth + 1)?);
        }
    }
    Ok(table)
}

fn or_options(path: &str) -> &str {
    if path.is_empty() {
        "options"
    } else {
        path
    }
}

fn inner_value(value: &Bound<'_, PyAny>, path: &str, depth: usize) -> PyResult<Value> {
    let py = value.py();
    let wrong = |problem: &str| Err(recipe_error(py, path, problem));
    if depth > DEEPEST {
        return wrong("is nested too deeply");
    }
    if value.is_instance_of::<PyBool>() {
        return Ok(Value::Boolean(value.extract()?));
    }
    if value.is_instance_of::<PyString>() {
        return Ok(Value::String(value.extract()?));
    }
    if value.is_instance_of::<PyFloat>() {
        return Ok(Value::Float(value.extract()?));
    }
    if value.is_instance_of::<PyInt>() {
        return value.extract().map(Value::Integer).or_else(|_| wrong("is a number too large"));
    }
    if value.is_instance_of::<PyDict>() || value.hasattr("items")? {
        return inner_table(value, path, depth).map(Value::Table);
    }
    // NumPy's numbers and arrays, paths, and lists.
    if value.hasattr("tolist")? {
        return inner_value(&value.call_method0("tolist")?, path, depth + 1);
    }
    if value.hasattr("__fspath__")? {
        return inner_value(&value.call_method0("__fspath__")?, path, depth + 1);
    }
    match value.try_iter() {
        Ok(items) => {
            let items = items
                .enumerate()
                .map(|(index, item)| inner_value(&item?, &format!("{path}.{index}"), depth + 1));
            items.collect::<PyResult<Vec<Value>>>().map(Value::Array)
        }
        Err(_) => wrong(&format!(
            "is of the type {}: use a number, True, text, a list or a dictionary",
            value.get_type().name()?
        )),
    }
}

/// Puts `options` over `table`, section by section.
pub fn merge(table: &mut Table, options: Table) {
    for (key, value) in options {
        match (table.get_mut(&key), value) {
            (Some(Value::Table(old)), Value::Table(new)) => merge(old, new),
            (_, value) => {
                table.insert(key, value);
            }
        }
    }
}
