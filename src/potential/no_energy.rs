//! A target without an energy function, known by samples alone.

use serde::Deserialize;

use super::formula::Particles;
use super::{EvaluationError, Potential};
use crate::error::Error;
use crate::system::{numbered, System};

/// What is known of a target without an energy; the keys of a target file.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NoEnergyParameters {
    /// Number of dimensions, 2 or 3.
    pub dimension: usize,
    /// How many particles there are, or the species of each.
    pub particles: Particles,
    /// The length that counts as 1 in files of samples, such as "1 angstrom" (default: none).
    #[serde(default)]
    pub length: Option<String>,
}

/// Particles whose density is known by samples alone: a flow learns it by maximum likelihood, and
/// its draws have no weights. Every energy is a fatal error.
///
/// # Examples
/// ```
/// use boltzflow::potential::{NoEnergy, Potential};
/// let keys = r#"
///     dimension = 3
///     particles = ["C", "H", "H", "H", "H"]
/// "#;
/// let methane = NoEnergy::new(&toml::from_str(keys)?)?;
/// assert!(!methane.has_energy());
/// assert_eq!(methane.species(), [0, 1, 1, 1, 1]);
/// assert!(methane.energy_and_gradient(&[0.0; 15], &mut [0.0; 15]).is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct NoEnergy {
    system: System,
    /// Empty where all are alike.
    species: Vec<usize>,
}

impl NoEnergy {
    /// Checks `parameters`.
    ///
    /// # Errors
    /// [`Error::Parameter`] with the name of the offending key.
    pub fn new(parameters: &NoEnergyParameters) -> Result<Self, Error> {
        if let Some(length) = &parameters.length {
            super::units::length(length).map_err(|why| Error::parameter("length", why))?;
        }
        let (count, species) = match &parameters.particles {
            Particles::Alike(count) => (*count, Vec::new()),
            Particles::Named(names) => (names.len(), numbered(names)),
        };
        Ok(Self { system: System::new(count, parameters.dimension)?, species })
    }
}

impl Potential for NoEnergy {
    fn system(&self) -> System {
        self.system
    }

    fn species(&self) -> &[usize] {
        &self.species
    }

    fn has_energy(&self) -> bool {
        false
    }

    fn energy_and_gradient(&self, _: &[f64], _: &mut [f64]) -> Result<f64, EvaluationError> {
        Err(EvaluationError::Fatal("the target has no energy, only samples".into()))
    }
}
