//! Checks of single values, each of which names the key and what would be right.

use std::ops::RangeInclusive;

use crate::error::Error;

/// A count within `range`.
pub(crate) fn count(key: &str, value: usize, range: RangeInclusive<usize>) -> Result<(), Error> {
    if range.contains(&value) {
        return Ok(());
    }
    let (low, high) = range.into_inner();
    Err(Error::parameter(key, format!("is {value}: use a whole number from {low} to {high}")))
}

/// A number within `range`.
pub(crate) fn number(key: &str, value: f64, range: RangeInclusive<f64>) -> Result<(), Error> {
    if range.contains(&value) {
        return Ok(());
    }
    let (low, high) = range.into_inner();
    Err(Error::parameter(key, format!("is {value}: use a number from {low:?} to {high:?}")))
}

/// A number over 0 and at most `most`.
pub(crate) fn positive(key: &str, value: f64, most: f64) -> Result<(), Error> {
    if value > 0.0 && value <= most {
        return Ok(());
    }
    Err(Error::parameter(key, format!("is {value}: use a number over 0, at most {most:?}")))
}

/// Numbers of hidden units, layer by layer.
pub(crate) fn layer_widths(key: &str, widths: &[usize]) -> Result<(), Error> {
    count(&format!("{key} (number of layers)"), widths.len(), 1..=8)?;
    widths.iter().try_for_each(|&w| count(key, w, 1..=4096))
}
