//! Tables of numbers that expressions of a force look up.

use super::xml::Element;
use crate::error::Error;

/// A Discrete1DFunction or Discrete2DFunction.
#[derive(Debug, Clone)]
pub(super) struct Table {
    /// By the first argument alone, or [second, first].
    values: Vec<f64>,
    /// Of each argument.
    sizes: Vec<usize>,
}

impl Table {
    /// How many arguments it takes.
    pub fn arguments(&self) -> usize {
        self.sizes.len()
    }

    /// The number at whole arguments; `None` outside.
    pub fn at(&self, arguments: &[f64]) -> Option<f64> {
        let mut place = 0;
        let mut stride = 1;
        for (argument, size) in arguments.iter().zip(&self.sizes) {
            let whole = argument.round();
            if !(0.0..*size as f64).contains(&whole) {
                return None;
            }
            place += stride * whole as usize;
            stride *= size;
        }
        (arguments.len() == self.sizes.len()).then(|| self.values.get(place).copied()).flatten()
    }
}

/// All tables of a force.
pub(super) fn tables(force: Element<'_>) -> Result<Vec<(String, Table)>, Error> {
    let mut tables = Vec::new();
    for function in force.items("Functions", "Function")? {
        let name = function.text("name")?.to_string();
        let axes: &[&str] = match function.text("type")? {
            "Discrete1DFunction" => &[],
            "Discrete2DFunction" => &["xsize", "ysize"],
            other => {
                return function.refuse(&format!(
                    "\"{name}\" is a {other}: of tables, only Discrete1DFunction and \
                     Discrete2DFunction can be read"
                ))
            }
        };
        let values: Vec<f64> = function
            .items("Values", "Value")?
            .iter()
            .map(|value| value.number("v"))
            .collect::<Result<_, _>>()?;
        let mut sizes = Vec::new();
        for axis in axes {
            sizes.push(function.index(axis, values.len() + 1)?);
        }
        if sizes.is_empty() {
            sizes.push(values.len());
        }
        if sizes.iter().try_fold(1usize, |all, size| all.checked_mul(*size)) != Some(values.len()) {
            let count = values.len();
            return function.refuse(&format!("\"{name}\" has {count} values for sizes {sizes:?}"));
        }
        tables.push((name, Table { values, sizes }));
    }
    Ok(tables)
}
