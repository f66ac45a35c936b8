//! The page: a template with style, script and data put in.

use super::Report;
use crate::error::Error;

const TEMPLATE: &str = include_str!("page.html");
const STYLE: &str = include_str!("page.css");
const SCRIPT: &str =
    concat!(include_str!("chart.js"), include_str!("molecule.js"), include_str!("page.js"));

/// The whole page as one text. Names that users chose are in it as JSON only, and the script
/// inserts them as text, never as HTML.
///
/// # Errors
/// [`Error::Run`] if the report has no JSON form.
pub fn page(report: &Report) -> Result<String, Error> {
    Ok(TEMPLATE
        .replace("/*STYLE*/", STYLE)
        .replace("/*SCRIPT*/", SCRIPT)
        .replace("\"DATA\"", &json(report)?))
}

/// The report as JSON that can stand inside a script element.
///
/// # Errors
/// [`Error::Run`] if the report has no JSON form.
pub(super) fn json(report: &Report) -> Result<String, Error> {
    serde_json::to_string(report)
        .map(|text| text.replace('<', "\\u003c"))
        .map_err(|e| Error::Run(format!("the report has no JSON form: {e}")))
}
