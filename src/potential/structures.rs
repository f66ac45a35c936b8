//! A potential of which some configurations are known.

use std::sync::Arc;

use super::{EvaluationError, Potential};
use crate::system::System;

/// A potential with known [structures](Potential::structures).
pub struct WithStructures<P> {
    potential: P,
    structures: Vec<Vec<f64>>,
}

impl<P: Potential> WithStructures<P> {
    /// `structures` of this potential, each [particles, dimension]. They are moved to the origin;
    /// one of another length is left out.
    pub fn new(potential: P, mut structures: Vec<Vec<f64>>) -> Self {
        let system = potential.system();
        structures.retain(|x| x.len() == system.coordinates());
        structures.iter_mut().for_each(|x| system.remove_center_of_mass(x));
        Self { potential, structures }
    }
}

impl<P: Potential> Potential for WithStructures<P> {
    fn system(&self) -> System {
        self.potential.system()
    }

    fn species(&self) -> &[usize] {
        self.potential.species()
    }

    fn structures(&self) -> &[Vec<f64>] {
        &self.structures
    }

    fn bonds(&self) -> &[[usize; 2]] {
        self.potential.bonds()
    }

    fn has_energy(&self) -> bool {
        self.potential.has_energy()
    }

    fn terms(&self, x: &[f64]) -> Vec<(String, f64)> {
        self.potential.terms(x)
    }

    fn reach(&self) -> f64 {
        self.potential.reach()
    }

    fn batch_size(&self) -> usize {
        self.potential.batch_size()
    }

    fn energy_in_place(&self, x: &[f64]) -> Result<f64, EvaluationError> {
        self.potential.energy_in_place(x)
    }

    fn energy_and_gradient(&self, x: &[f64], gradient: &mut [f64]) -> Result<f64, EvaluationError> {
        self.potential.energy_and_gradient(x, gradient)
    }

    fn virial(&self, x: &[f64]) -> Option<f64> {
        self.potential.virial(x)
    }

    fn energies_and_gradients(
        &self,
        x: &[f64],
        energies: &mut [f64],
        gradients: &mut [f64],
    ) -> Result<usize, EvaluationError> {
        self.potential.energies_and_gradients(x, energies, gradients)
    }

    fn energies(&self, x: &[f64], energies: &mut [f64]) -> Result<usize, EvaluationError> {
        self.potential.energies(x, energies)
    }

    fn softened(&self, core_radius: f64) -> Option<Arc<dyn Potential>> {
        self.potential.softened(core_radius)
    }
}
