//! A potential whose ensemble is known in closed form.

use boltzflow::error::EvaluationError;
use boltzflow::potential::Potential;
use boltzflow::system::System;

/// ½ ‖x − x̄‖²/scale²: a flow whose base has this scale is exact, and ⟨U⟩ is half the degrees of
/// freedom, 2 for three particles in the plane.
pub struct Harmonic {
    pub system: System,
    pub scale: f64,
}

impl Potential for Harmonic {
    fn system(&self) -> System {
        self.system
    }

    fn energy_and_gradient(&self, x: &[f64], gradient: &mut [f64]) -> Result<f64, EvaluationError> {
        gradient.copy_from_slice(x);
        self.system.remove_center_of_mass(gradient);
        let energy = 0.5 * gradient.iter().map(|g| g * g).sum::<f64>() / self.scale.powi(2);
        gradient.iter_mut().for_each(|g| *g /= self.scale.powi(2));
        Ok(energy)
    }
}
