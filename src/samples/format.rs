//! Samples in memory, and what each format of files implements.

use std::fs::File;
use std::io::{self, BufReader};
use std::path::Path;
use std::sync::Arc;

use crate::error::Error;
use crate::files::AtomicFile;
use crate::molecule::Molecule;
use crate::parallel::message;
use crate::system::System;

/// Configurations, with what is known about each.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Samples {
    /// Row-major [samples, particles, dimension].
    pub positions: Vec<f64>,
    /// log w of each sample, −∞ for weight zero; empty when all samples count the same.
    pub log_weights: Vec<f64>,
    /// U/kT of each sample, +∞ where the potential has no finite value; empty when not known.
    pub energies: Vec<f64>,
}

/// The particles whose positions a file holds. A [`System`] alone stands for particles that are all
/// alike, in reduced units.
#[derive(Debug, Clone, PartialEq)]
pub struct Particles {
    /// How many, in how many dimensions.
    pub system: System,
    /// The name of each, as the target's file has it; empty when all are alike.
    pub names: Vec<String>,
    /// The target's units, for formats that have units of their own; `None` for reduced units.
    pub units: Option<FileUnits>,
    /// What the target's structure file says about them.
    pub molecule: Option<Arc<Molecule>>,
    /// The sites of a crystal, [particles, dimension].
    pub sites: Option<Arc<[f64]>>,
}

/// Sizes of a target's units in those of extended XYZ.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FileUnits {
    /// One unit of length, in Å.
    pub angstrom: f64,
    /// kT in eV; not a number (NaN) for a target without energies.
    pub electronvolt: f64,
}

/// One electronvolt for each of 6.02214076·10²³ particles, in kJ (CODATA 2018, exact).
const KILOJOULES_PER_MOLE: f64 = 96.485_332_123_310_02;

impl FileUnits {
    /// kT in kJ/mol.
    pub fn kilojoules_per_mole(self) -> f64 {
        self.electronvolt * KILOJOULES_PER_MOLE
    }
}

impl Particles {
    /// One unit of length in Å, as far as the target has units.
    pub fn angstrom(&self) -> f64 {
        self.units.map_or(1.0, |units| units.angstrom)
    }

    /// "Å" or "nm"; empty for other units of length and for targets without.
    pub fn length_unit(&self) -> &'static str {
        let is = |size: f64| self.units.is_some_and(|u| (u.angstrom / size - 1.0).abs() < 1e-9);
        match () {
            () if is(1.0) => "Å",
            () if is(10.0) => "nm",
            () => "",
        }
    }

    /// # Errors
    /// [`Error::Parameter`] unless each particle has a name or none has, and is an atom of the
    /// molecule if there is one.
    pub(super) fn check(&self) -> Result<(), Error> {
        let (names, n) = (self.names.len(), self.system.particles());
        if let Some(atoms) = self.molecule.as_ref().map(|m| m.atoms.len()).filter(|m| *m != n) {
            return Err(Error::parameter("molecule", format!("has {atoms} atoms and not {n}")));
        }
        match names == 0 || names == n {
            true => Ok(()),
            false => {
                Err(Error::parameter("names", format!("are {names} and the particles are {n}")))
            }
        }
    }
}

impl From<System> for Particles {
    fn from(system: System) -> Self {
        Self { system, names: Vec::new(), units: None, molecule: None, sites: None }
    }
}

impl From<&Particles> for Particles {
    fn from(particles: &Particles) -> Self {
        particles.clone()
    }
}

message!(Samples { positions, log_weights, energies });

impl Samples {
    /// Number of samples of `system`.
    pub fn count(&self, system: System) -> usize {
        self.positions.len() / system.coordinates()
    }

    /// Moves every configuration such that its centre of mass is at zero.
    pub fn center(&mut self, system: System) {
        let rows = self.positions.chunks_exact_mut(system.coordinates());
        rows.for_each(|x| system.remove_center_of_mass(x));
    }

    /// The samples with the numbers `chosen`, with their energies and without weights.
    pub fn pick(&self, system: System, chosen: impl IntoIterator<Item = usize>) -> Self {
        let width = system.coordinates();
        let mut picked = Self::default();
        for sample in chosen {
            picked.positions.extend(&self.positions[sample * width..(sample + 1) * width]);
            picked.energies.extend(self.energies.get(sample));
        }
        picked
    }
}

/// A kind of sample file. A new one is a file in this folder and a line in
/// [`FORMATS`](super::files::FORMATS).
pub(super) trait Format: Sync {
    /// What the names of its files end with, without the dot.
    fn endings(&self) -> &'static [&'static str];

    /// Writes all `batches`, of which one is in memory at a time.
    fn write(
        &self,
        file: &mut AtomicFile,
        contents: &Contents<'_>,
        batches: &mut dyn Iterator<Item = Result<Samples, Error>>,
    ) -> Result<(), Error>;

    /// Reads a whole file of unknown origin, in no more memory than in proportion to its size. An
    /// error is a text that follows the file's name.
    fn read(&self, file: BufReader<File>, particles: &Particles) -> Result<Samples, String>;

    /// Whether its files have units of their own: Å, and eV if they have energies.
    fn in_units(&self) -> bool {
        false
    }

    /// Whether log weights and energies are in a table beside its files, which have no place for
    /// them.
    fn weights_beside(&self) -> bool {
        false
    }

    /// Whether its files hold positions alone, without log weights and energies.
    fn positions_alone(&self) -> bool {
        false
    }
}

/// What a file will hold.
pub(super) struct Contents<'a> {
    pub path: &'a Path,
    pub particles: &'a Particles,
    pub count: usize,
    pub weighted: bool,
    pub with_energies: bool,
}

impl Contents<'_> {
    /// An error of writing it.
    pub fn failed(&self, source: io::Error) -> Error {
        Error::Write { path: self.path.to_path_buf(), source }
    }

    /// [samples, particles, dimension].
    pub fn shape(&self) -> [u64; 3] {
        let system = self.particles.system;
        [self.count, system.particles(), system.dimension()].map(|size| size as u64)
    }
}
