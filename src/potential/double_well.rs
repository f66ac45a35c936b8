//! Multi-double-well: every pair sits in one of two wells, a short and a long distance.

use serde::{Deserialize, Serialize};

use super::units::Dimension;
use super::{sum_over_pairs, EvaluationError, Potential};
use crate::error::{refuse, Error};
use crate::system::System;

/// What defines a [`DoubleWell`], unchecked; the keys of a target file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DoubleWellParameters {
    /// Number of particles n ≥ 2.
    pub particles: usize,
    /// Number of dimensions, 2 or 3.
    pub dimension: usize,
    /// Linear coefficient (default 0).
    #[serde(default)]
    pub a: f64,
    /// Quadratic coefficient; two wells when negative (default −4).
    #[serde(default = "default_b")]
    pub b: f64,
    /// Quartic coefficient, positive (default 0.9).
    #[serde(default = "default_c")]
    pub c: f64,
    /// Distance of the barrier between the wells (default 4).
    #[serde(default = "default_r0")]
    pub r0: f64,
    /// Temperature kT in the units of a, b and c (default 1).
    #[serde(default = "default_temperature")]
    pub temperature: f64,
}

fn default_b() -> f64 {
    -4.0
}

fn default_c() -> f64 {
    0.9
}

fn default_r0() -> f64 {
    4.0
}

fn default_temperature() -> f64 {
    1.0
}

impl DoubleWellParameters {
    /// What has a unit, where a target file has units.
    pub const DIMENSIONS: &'static [(&'static str, Dimension)] = &[
        ("a", Dimension::energy_over_length(1)),
        ("b", Dimension::energy_over_length(2)),
        ("c", Dimension::energy_over_length(4)),
        ("r0", Dimension::LENGTH),
        ("temperature", Dimension::ENERGY),
    ];

    /// n particles in d dimensions with the coefficients of DW4, a = 0, b = −4, c = 0.9, r0 = 4.
    pub fn new(particles: usize, dimension: usize) -> Self {
        Self {
            particles,
            dimension,
            a: 0.0,
            b: default_b(),
            c: default_c(),
            r0: default_r0(),
            temperature: default_temperature(),
        }
    }
}

/// U(x) = Σ_{i<j} [a (r−r0) + b (r−r0)² + c (r−r0)⁴] / T.
///
/// With n = 4, d = 2 and the default coefficients this is DW4 (Köhler, Klein and Noé, "Equivariant
/// Flows", ICML 2020, [arXiv 2006.02425](https://arxiv.org/abs/2006.02425), whose sum over ordered
/// pairs carries a factor ½).
///
/// # Examples
/// The wells of a pair are at r0 ± √(−b/2c) and −b²/4c deep:
/// ```
/// use boltzflow::potential::{DoubleWell, DoubleWellParameters, Potential};
/// let pair = DoubleWell::new(DoubleWellParameters::new(2, 2))?;
/// let r = 4.0 + f64::sqrt(4.0 / 1.8);
/// let energy = pair.energy_and_gradient(&[0.0, 0.0, r, 0.0], &mut [0.0; 4])?;
/// assert!((energy + 16.0 / 3.6).abs() < 1e-12);
/// # Ok::<(), boltzflow::error::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct DoubleWell {
    system: System,
    // Coefficients over kT.
    a: f64,
    b: f64,
    c: f64,
    r0: f64,
}

impl DoubleWell {
    /// Checks `parameters`.
    ///
    /// # Errors
    /// [`Error::Parameter`] with the name of the offending field.
    pub fn new(parameters: DoubleWellParameters) -> Result<Self, Error> {
        let DoubleWellParameters { particles, dimension, a, b, c, r0, temperature } = parameters;
        let system = System::new(particles, dimension)?;
        for (field, value) in [("a", a), ("b", b)] {
            if !value.is_finite() {
                return refuse(field, format!("is {value}: use a finite number"));
            }
        }
        for (field, value) in [("c", c), ("temperature", temperature)] {
            super::require_positive(field, value)?;
        }
        super::require_not_negative("r0", r0)?;
        Ok(Self { system, a: a / temperature, b: b / temperature, c: c / temperature, r0 })
    }
}

impl Potential for DoubleWell {
    fn system(&self) -> System {
        self.system
    }

    fn energy_and_gradient(&self, x: &[f64], gradient: &mut [f64]) -> Result<f64, EvaluationError> {
        let &Self { system, a, b, c, r0 } = self;
        sum_over_pairs(system, x, gradient, 0.0, |squared| {
            let r = squared.sqrt();
            let s = r - r0;
            let s2 = s * s;
            let u = a * s + (b + c * s2) * s2;
            let slope = a + 2.0 * (b + 2.0 * c * s2) * s;
            (u, slope / r)
        })
    }
}
