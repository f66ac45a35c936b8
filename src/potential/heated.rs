//! A potential at another temperature.

use std::sync::Arc;

use super::{EvaluationError, Potential};
use crate::system::System;

/// β U, β being the temperature of the target over another one.
pub(crate) struct Heated {
    pub potential: Arc<dyn Potential>,
    pub beta: f64,
}

impl Potential for Heated {
    fn system(&self) -> System {
        self.potential.system()
    }

    fn species(&self) -> &[usize] {
        self.potential.species()
    }

    fn structures(&self) -> &[Vec<f64>] {
        self.potential.structures()
    }

    fn bonds(&self) -> &[[usize; 2]] {
        self.potential.bonds()
    }

    fn reach(&self) -> f64 {
        self.potential.reach()
    }

    fn batch_size(&self) -> usize {
        self.potential.batch_size()
    }

    fn energy_and_gradient(&self, x: &[f64], gradient: &mut [f64]) -> Result<f64, EvaluationError> {
        let energy = self.potential.energy_and_gradient(x, gradient)?;
        gradient.iter_mut().for_each(|g| *g *= self.beta);
        Ok(self.beta * energy)
    }

    fn energies_and_gradients(
        &self,
        x: &[f64],
        energies: &mut [f64],
        gradients: &mut [f64],
    ) -> Result<usize, EvaluationError> {
        let failures = self.potential.energies_and_gradients(x, energies, gradients)?;
        energies.iter_mut().chain(gradients).for_each(|value| *value *= self.beta);
        Ok(failures)
    }
}
