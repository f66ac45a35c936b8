//! A potential from a closure.

use super::{EvaluationError, Potential};
use crate::system::System;

/// What [`from_fn`] returns.
#[derive(Debug, Clone, Copy)]
pub struct FnPotential<F> {
    system: System,
    energy_and_gradient: F,
}

/// The potential whose [`energy_and_gradient`](Potential::energy_and_gradient) is the closure: from
/// a configuration `x` ([particles, dimension]) it returns U(x)/kT and overwrites the gradient. All
/// particles are alike.
///
/// # Examples
/// Two particles in the plane on a spring, U = ½ ‖x₁ − x₂‖²:
/// ```
/// use boltzflow::potential::{from_fn, Potential};
/// use boltzflow::system::System;
/// let spring = from_fn(System::new(2, 2)?, |x, gradient| {
///     for k in 0..2 {
///         gradient[k] = x[k] - x[k + 2];
///         gradient[k + 2] = -gradient[k];
///     }
///     Ok(0.5 * (gradient[0].powi(2) + gradient[1].powi(2)))
/// });
/// let mut gradient = [0.0; 4];
/// assert_eq!(spring.energy_and_gradient(&[1.0, 0.0, -1.0, 0.0], &mut gradient)?, 2.0);
/// assert_eq!(gradient, [2.0, 0.0, -2.0, 0.0]);
/// # Ok::<(), boltzflow::error::Error>(())
/// ```
pub fn from_fn<F>(system: System, energy_and_gradient: F) -> FnPotential<F>
where
    F: Fn(&[f64], &mut [f64]) -> Result<f64, EvaluationError> + Send + Sync,
{
    FnPotential { system, energy_and_gradient }
}

impl<F> Potential for FnPotential<F>
where
    F: Fn(&[f64], &mut [f64]) -> Result<f64, EvaluationError> + Send + Sync,
{
    fn system(&self) -> System {
        self.system
    }

    fn energy_and_gradient(&self, x: &[f64], gradient: &mut [f64]) -> Result<f64, EvaluationError> {
        (self.energy_and_gradient)(x, gradient)
    }
}
