//! Samples in memory, and what each format of files implements.

use std::fs::File;
use std::io::{self, BufReader};
use std::path::Path;

use crate::error::Error;
use crate::files::AtomicFile;
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
    /// error is a text that follows the file's name. `species` is that of
    /// [`read_samples`](super::read_samples).
    fn read(
        &self,
        file: BufReader<File>,
        system: System,
        species: &[usize],
    ) -> Result<Samples, String>;
}

/// What a file will hold.
pub(super) struct Contents<'a> {
    pub path: &'a Path,
    pub system: System,
    /// Name of each particle's species; empty when all are alike.
    pub labels: &'a [String],
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
        [self.count, self.system.particles(), self.system.dimension()].map(|size| size as u64)
    }
}
