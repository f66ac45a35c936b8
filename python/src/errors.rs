//! Errors of the library as exceptions of `boltzflow._errors`.

use std::path::Path;

use boltzflow::Error;
use pyo3::exceptions::PyKeyboardInterrupt;
use pyo3::prelude::*;

/// What was being read or done, by which a wrong value's exception is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum About {
    /// A recipe, or an argument.
    Recipe,
    /// A target.
    Target,
    /// A run's folder, or files.
    Files,
}

/// The exception for `error`.
pub fn exception(py: Python<'_>, error: Error, about: About) -> PyErr {
    match error {
        Error::Parameter { field, problem } => {
            let field = field.trim_start_matches("--");
            wrong(py, about, Some(field), &format!("`{field}` {problem}"), None)
        }
        Error::Config { file, problem } => wrong(py, about, None, &problem, Some(&file)),
        Error::Data { .. } | Error::Read { .. } | Error::Write { .. } => {
            raise(py, "FileError", (error.to_string(),))
        }
        Error::Stopped(_) => PyKeyboardInterrupt::new_err(()),
        other => run_error(py, &other.to_string()),
    }
}

/// A wrong value of an argument.
pub fn recipe_error(py: Python<'_>, field: &str, problem: &str) -> PyErr {
    wrong(py, About::Recipe, Some(field), &format!("`{field}` {problem}"), None)
}

/// A fault while something runs.
pub fn run_error(py: Python<'_>, message: &str) -> PyErr {
    raise(py, "RunError", (message,))
}

fn wrong(
    py: Python<'_>,
    about: About,
    field: Option<&str>,
    message: &str,
    file: Option<&Path>,
) -> PyErr {
    let name = if about == About::Target { "TargetError" } else { "RecipeError" };
    // A recipe from Python has no file.
    let file = file.filter(|file| !file.as_os_str().is_empty());
    raise(py, name, (message, field, file.map(|file| file.display().to_string())))
}

fn raise<'py>(py: Python<'py>, name: &str, arguments: impl pyo3::call::PyCallArgs<'py>) -> PyErr {
    let made = py.import("boltzflow._errors").and_then(|m| m.getattr(name)?.call1(arguments));
    made.map_or_else(|error| error, PyErr::from_value)
}

/// JSON, which Python reads; null stands for NaN and infinities.
pub fn to_json(value: &impl serde::Serialize) -> PyResult<String> {
    serde_json::to_string(value)
        .map_err(|e| pyo3::exceptions::PyValueError::new_err(format!("has no JSON form: {e}")))
}
