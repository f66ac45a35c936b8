//! Functions of a configuration that can be averaged, by the names that a user gives them.

use std::str::FromStr;

use rayon::prelude::*;

use crate::error::{suggest, Error};
use crate::potential::{Formula, FormulaParameters, Particles, PerSpecies, Potential};
use crate::system::System;

/// What to average over a target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Observable {
    /// U/kT.
    Energy,
    /// Variance of U/kT.
    HeatCapacity,
    /// √(Σ‖xᵢ − x̄‖²/n).
    RadiusOfGyration,
    /// The distribution of all pair distances.
    PairDistances,
    /// Σ over pairs of a formula in the distance r.
    Pair(String),
    /// Σ over particles of a formula in the place from the centre of mass.
    External(String),
}

const NAMES: [&str; 6] =
    ["energy", "heat_capacity", "radius_of_gyration", "pair_distances", "pair:", "external:"];

impl FromStr for Observable {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let (name, formula) = match text.split_once(':') {
            Some((name, formula)) => (name.trim(), Some(formula.trim().to_string())),
            None => (text.trim(), None),
        };
        match (name, formula) {
            ("energy", None) => Ok(Self::Energy),
            ("heat_capacity", None) => Ok(Self::HeatCapacity),
            ("radius_of_gyration", None) => Ok(Self::RadiusOfGyration),
            ("pair_distances", None) => Ok(Self::PairDistances),
            ("pair", Some(formula)) => Ok(Self::Pair(formula)),
            ("external", Some(formula)) => Ok(Self::External(formula)),
            ("pair" | "external", None) => Err(Error::parameter(
                "--observable",
                format!("\"{text}\" needs a formula: \"{name}: …\""),
            )),
            _ => Err(Error::parameter(
                "--observable",
                format!("\"{text}\" is not known: {}", suggest(name, &NAMES)),
            )),
        }
    }
}

impl Observable {
    /// Its name, which [`FromStr`] reads.
    pub fn name(&self) -> String {
        match self {
            Self::Energy => "energy".into(),
            Self::HeatCapacity => "heat_capacity".into(),
            Self::RadiusOfGyration => "radius_of_gyration".into(),
            Self::PairDistances => "pair_distances".into(),
            Self::Pair(formula) => format!("pair: {formula}"),
            Self::External(formula) => format!("external: {formula}"),
        }
    }

    /// The potential whose energy is the sum that a formula stands for; `None` for the others.
    ///
    /// # Errors
    /// [`Error::Parameter`] with the place in the formula.
    pub fn formula(&self, system: System) -> Result<Option<Formula>, Error> {
        let (pair, external) = match self {
            Self::Pair(formula) => (Some(PerSpecies::All(formula.clone())), None),
            Self::External(formula) => (None, Some(PerSpecies::All(formula.clone()))),
            _ => return Ok(None),
        };
        let parameters = FormulaParameters {
            dimension: system.dimension(),
            particles: Particles::Alike(system.particles()),
            temperature: 1.0,
            pair,
            external,
            bonds: Vec::new(),
            angles: Vec::new(),
            dihedrals: Vec::new(),
            triples: Vec::new(),
            embedding: None,
            parameters: Default::default(),
            species: Default::default(),
        };
        let formula = Formula::new(parameters).map_err(|error| match error {
            Error::Parameter { field, problem } => {
                Error::parameter("--observable", format!("{field}: {problem}"))
            }
            other => other,
        })?;
        Ok(Some(formula))
    }
}

/// √(Σ‖xᵢ − x̄‖²/n) of each configuration of `x` ([samples, particles, dimension]).
pub(super) fn radii_of_gyration(system: System, x: &[f64]) -> Vec<f64> {
    let radius = |x: &[f64]| {
        let center = system.center_of_mass(x);
        let squares: f64 = x
            .chunks_exact(system.dimension())
            .flat_map(|row| row.iter().zip(&center))
            .map(|(value, center)| (value - center).powi(2))
            .sum();
        (squares / system.particles() as f64).sqrt()
    };
    x.chunks_exact(system.coordinates()).map(radius).collect()
}

/// The value of `formula` for each configuration of `x`; not a number (NaN) where it has none.
pub(super) fn formula_values(formula: &Formula, x: &[f64]) -> Result<Vec<f64>, Error> {
    const PART: usize = 256;
    let coordinates = formula.system().coordinates();
    let mut values = vec![0.0; x.len() / coordinates];
    x.par_chunks(PART * coordinates)
        .zip(values.par_chunks_mut(PART))
        .try_for_each(|(x, values)| formula.energies(x, values).map(|_| ()))?;
    Ok(values)
}
