//! Molecules: any System of OpenMM without periodic boxes, constraints and virtual sites.
//!
//! The file is read once (`xml`, `force`), and every force becomes a kernel on sixteen
//! configurations at a time (`tile`), with lengths in nm and energies in kJ/mol as OpenMM has them.

mod alike;
mod bonds;
mod born;
mod born_model;
mod cmap;
mod custom;
mod force;
mod geometry;
mod nonbonded;
mod table;
mod tile;
mod torsions;
mod xml;

use serde::{Deserialize, Serialize};

use self::force::{Force, Space};
use self::tile::Tile;
use self::xml::Element;
use super::pairs::{check_lengths, explain, settle};
use super::units;
use super::{EvaluationError, Potential};
use crate::engine::{dispatch_double, Arena, Kernel, Lane, Real, Vector, LANES};
use crate::error::{refuse, Error};
use crate::system::System;

/// One ångström in nm.
const ANGSTROM: f64 = 0.1;

/// What defines an [`OpenMm`], unchecked; the keys of a target file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OpenMmParameters {
    /// The XML of the System, as `openmm.XmlSerializer.serialize(system)` writes it; in a target
    /// file, the name of the file that has it.
    pub system: String,
    /// The temperature T, such as "300 K".
    pub temperature: String,
}

/// U(x) / kT of an OpenMM System, x in Å.
///
/// Forces that are known: HarmonicBondForce, HarmonicAngleForce, PeriodicTorsionForce,
/// RBTorsionForce, CMAPTorsionForce, NonbondedForce without cut-off, GBSAOBCForce, and
/// CustomBondForce, CustomAngleForce, CustomTorsionForce, CustomNonbondedForce, CustomGBForce and
/// CustomCompoundBondForce with any expression. The generalized Born models that OpenMM writes as
/// CustomGBForce (HCT, OBC1, OBC2, GBn, GBn2) have kernels of their own. A CMMotionRemover and
/// thermostats have no energy and are left out. Everything else is refused by its name.
///
/// Hydrogens on one atom with four bonds (CH₃, NH₃⁺, CH₂) are alike; every other atom is a species
/// of its own.
///
/// Source of the functional forms: the OpenMM user guide, "Standard forces" and "Custom forces"
/// (docs.openmm.org).
///
/// # Examples
/// Two atoms on a spring of 0.1 nm, at 300 K:
/// ```
/// use boltzflow::potential::{OpenMm, OpenMmParameters, Potential};
/// let system = r#"
///     <System type="System" version="1">
///       <Particles><Particle mass="12"/><Particle mass="1"/></Particles>
///       <Forces>
///         <Force type="HarmonicBondForce" version="2">
///           <Bonds><Bond p1="0" p2="1" d=".1" k="1000"/></Bonds>
///         </Force>
///       </Forces>
///     </System>"#;
/// let temperature = "300 K".to_string();
/// let bond = OpenMm::new(&OpenMmParameters { system: system.into(), temperature })?;
/// let mut gradient = [0.0; 6];
/// let energy = bond.energy_and_gradient(&[0.0, 0.0, 0.0, 1.2, 0.0, 0.0], &mut gradient)?;
/// // ½ · 1000 kJ/mol/nm² · (0.02 nm)² = 0.2 kJ/mol, and kT = 2.494 kJ/mol.
/// assert!((energy - 0.2 / 2.494338785).abs() < 1e-9);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct OpenMm {
    system: System,
    forces: Vec<(String, Force)>,
    bonds: Vec<[usize; 2]>,
    alike: Vec<usize>,
    /// kT in kJ/mol.
    kt: f64,
    lanes: usize,
}

impl OpenMm {
    /// Reads the System.
    ///
    /// # Errors
    /// [`Error::Parameter`] on `system`, with force and particle, or on `temperature`.
    pub fn new(parameters: &OpenMmParameters) -> Result<Self, Error> {
        let kt = units::thermal_energy(&parameters.temperature)
            .map_err(|problem| Error::parameter("temperature", problem))?;
        let kt = kt * units::AVOGADRO / 1000.0;
        let document = xml::parse(&parameters.system)?;
        let root = Element::root(&document)?;
        let masses = force::masses(root)?;
        let system = match masses.len() {
            count @ 0..=1 => {
                return refuse(xml::KEY, format!("has {count} particles: two at least are needed"))
            }
            count => System::new(count, 3)?,
        };
        let forces = force::read(root, masses.len())?;
        let bonds = forces.iter().flat_map(|(_, force)| force.bonds().to_vec()).collect();
        let alike = Vec::new();
        let mut potential = Self { system, forces, bonds, alike, kt, lanes: 0 };
        potential.lanes = Arena::measure(|arena| {
            potential.take(arena);
        });
        potential.alike = alike::alike(&potential, &masses);
        Ok(potential)
    }

    /// The masses of a System's particles in Da.
    ///
    /// # Errors
    /// [`Error::Parameter`] on `system`.
    pub fn masses(system: &str) -> Result<Vec<f64>, Error> {
        let document = xml::parse(system)?;
        force::masses(Element::root(&document)?)
    }

    fn take<'a>(&self, arena: &mut Arena<'a, f64>) -> (Tile<'a>, Space<'a>) {
        let atoms = self.system.particles();
        let tile = Tile::take(arena, atoms, self.forces.len());
        (tile, Space::take(arena, atoms, &self.forces))
    }

    /// Energies of at most [`LANES`] configurations in kT and their gradients in kT/Å; what is not
    /// finite stays so. `terms` gets the energies of the forces in the first one in kT, if it has
    /// place for them.
    fn tile(&self, x: &[f64], energies: &mut [f64], gradients: &mut [f64], terms: &mut [f64]) {
        f64::with_workspace(self.lanes, |space| {
            let (tile, space) = self.take(&mut Arena::new(space));
            dispatch_double(Evaluation {
                potential: self,
                x,
                energies,
                gradients,
                terms,
                tile,
                space,
            });
        });
    }
}

/// One tile of configurations, as a kernel.
struct Evaluation<'a> {
    potential: &'a OpenMm,
    x: &'a [f64],
    energies: &'a mut [f64],
    gradients: &'a mut [f64],
    terms: &'a mut [f64],
    tile: Tile<'a>,
    space: Space<'a>,
}

impl Kernel<f64> for Evaluation<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector<Scalar = f64>>(mut self) {
        let width = self.potential.system.coordinates();
        let last = self.energies.len().saturating_sub(1);
        for (k, lane) in self.tile.x.iter_mut().enumerate() {
            for l in 0..LANES {
                lane.0[l] = self.x[l.min(last) * width + k] * ANGSTROM;
            }
        }
        self.tile.start::<V>();
        for (number, (_, force)) in self.potential.forces.iter().enumerate() {
            force.add::<V>(&mut self.tile, &mut self.space, number);
        }
        self.tile.push_pairs::<V>();
        let per_kt = 1.0 / self.potential.kt;
        let mut sum = Lane::<f64>::zero();
        for energy in &*self.tile.energies {
            V::load(energy).accumulate(&mut sum);
        }
        for (energy, sum) in self.energies.iter_mut().zip(sum.0) {
            *energy = sum * per_kt;
        }
        for (l, gradient) in self.gradients.chunks_exact_mut(width).enumerate() {
            for (g, lane) in gradient.iter_mut().zip(&*self.tile.gradient) {
                *g = lane.0[l] * (ANGSTROM * per_kt);
            }
        }
        for (term, energy) in self.terms.iter_mut().zip(&*self.tile.energies) {
            *term = energy.0[0] * per_kt;
        }
    }
}

impl Potential for OpenMm {
    fn system(&self) -> System {
        self.system
    }

    fn species(&self) -> &[usize] {
        &self.alike
    }

    fn bonds(&self) -> &[[usize; 2]] {
        &self.bonds
    }

    /// The energy of each force by its name; none unless `x` fits the System.
    fn terms(&self, x: &[f64]) -> Vec<(String, f64)> {
        if x.len() != self.system.coordinates() {
            return Vec::new();
        }
        let mut terms = vec![0.0; self.forces.len()];
        self.tile(x, &mut [0.0], &mut vec![0.0; x.len()], &mut terms);
        self.forces.iter().map(|(name, _)| name.clone()).zip(terms).collect()
    }

    fn energy_and_gradient(&self, x: &[f64], gradient: &mut [f64]) -> Result<f64, EvaluationError> {
        check_lengths(self.system.coordinates(), x, gradient)?;
        let mut energy = [0.0];
        self.tile(x, &mut energy, gradient, &mut []);
        let [energy] = energy;
        if settle(&mut energy.clone(), gradient) {
            return Ok(energy);
        }
        Err(EvaluationError::Recoverable(explain(self.system(), x, energy)))
    }

    fn energies_and_gradients(
        &self,
        x: &[f64],
        energies: &mut [f64],
        gradients: &mut [f64],
    ) -> Result<usize, EvaluationError> {
        let width = self.system.coordinates();
        check_lengths(width * energies.len(), x, gradients)?;
        let tiles = x.chunks(LANES * width).zip(gradients.chunks_mut(LANES * width));
        for ((x, gradients), energies) in tiles.zip(energies.chunks_mut(LANES)) {
            self.tile(x, energies, gradients, &mut []);
        }
        let rows = energies.iter_mut().zip(gradients.chunks_exact_mut(width));
        Ok(rows.map(|(energy, gradient)| usize::from(!settle(energy, gradient))).sum())
    }
}
