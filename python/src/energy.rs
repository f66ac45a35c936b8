//! A Python function as a potential.

use std::sync::Arc;

use boltzflow::potential::{settle, WithStructures};
use boltzflow::{EvaluationError, Potential, System, Target};
use pyo3::prelude::*;

use crate::desk::Desk;
use crate::errors::{exception, About};

/// The kind of a target whose energies are a function's.
pub const FUNCTION: &str = "function";

/// What `boltzflow.Potential` says of its function.
#[derive(Clone)]
pub struct Energy {
    function: Arc<Py<PyAny>>,
    name: String,
    system: System,
    species: Vec<usize>,
    structures: Vec<Vec<f64>>,
    batch: usize,
    /// Of the configurations that it is tried on.
    energies: Vec<f64>,
}

impl Energy {
    /// Reads a `boltzflow.Potential`.
    pub fn read(potential: &Bound<'_, PyAny>) -> PyResult<Self> {
        let py = potential.py();
        let (particles, dimension) = potential.getattr("_system")?.extract()?;
        let system = System::new(particles, dimension)
            .map_err(|error| exception(py, error, About::Target))?;
        Ok(Self {
            function: Arc::new(potential.getattr("_evaluate")?.unbind()),
            name: potential.getattr("name")?.extract()?,
            system,
            species: potential.getattr("_species")?.extract()?,
            structures: potential.getattr("_structures")?.extract()?,
            batch: potential.getattr("batch")?.extract()?,
            energies: potential.getattr("_fingerprint")?.extract()?,
        })
    }

    /// The target whose energies are asked for at `desk`.
    pub fn target(&self, desk: &Desk) -> Target {
        let potential = Called { energy: self.clone(), desk: desk.clone() };
        let target = match self.structures.is_empty() {
            true => Target::from(potential),
            false => Target::from(WithStructures::new(potential, self.structures.clone())),
        };
        Target { name: self.name.clone(), text: self.text(), ..target }
    }

    /// What a run's folder keeps of the function. Some energies, to the digits that do not depend
    /// on the machine, tell it from another one.
    fn text(&self) -> String {
        let energies: Vec<String> = self.energies.iter().map(|u| format!("{u:.3e}")).collect();
        format!(
            "# An energy function of Python, which is not in this folder.\nformat = 1\nname = \
             {}\nkind = \"{FUNCTION}\"\nparticles = {}\ndimension = {}\nenergies = [{}]\n",
            toml::Value::from(self.name.as_str()),
            self.system.particles(),
            self.system.dimension(),
            energies.join(", ").to_lowercase()
        )
    }
}

/// The potential during one call.
struct Called {
    energy: Energy,
    desk: Desk,
}

impl Potential for Called {
    fn system(&self) -> System {
        self.energy.system
    }

    fn species(&self) -> &[usize] {
        &self.energy.species
    }

    fn batch_size(&self) -> usize {
        self.energy.batch
    }

    fn energy_and_gradient(&self, x: &[f64], gradient: &mut [f64]) -> Result<f64, EvaluationError> {
        let mut energy = [0.0];
        match self.energies_and_gradients(x, &mut energy, gradient)? {
            0 => Ok(energy[0]),
            _ => Err(EvaluationError::Recoverable("the energy is not finite".into())),
        }
    }

    fn energies_and_gradients(
        &self,
        x: &[f64],
        energies: &mut [f64],
        gradients: &mut [f64],
    ) -> Result<usize, EvaluationError> {
        let system = self.energy.system;
        let mut failures = 0;
        for ((x, energies), gradients) in x
            .chunks(self.energy.batch * system.coordinates())
            .zip(energies.chunks_mut(self.energy.batch))
            .zip(gradients.chunks_mut(self.energy.batch * system.coordinates()))
        {
            let shape = [energies.len(), system.particles(), system.dimension()];
            let (found, slopes) = self.desk.energies(&self.energy.function, x, shape)?;
            energies.copy_from_slice(&found);
            gradients.copy_from_slice(&slopes);
            let rows = energies.iter_mut().zip(gradients.chunks_mut(system.coordinates()));
            failures += rows.filter_map(|(u, g)| (!settle(u, g)).then_some(())).count();
        }
        Ok(failures)
    }
}
