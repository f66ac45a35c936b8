//! Extended XYZ, the frames of ASE, OVITO and others: <https://github.com/libAtoms/extxyz>.
//!
//! A frame is the number of atoms, a line `key=value …` and a line for each atom, whose columns
//! `Properties=species:S:1:pos:R:3:…` names; without it they are a symbol and the coordinates. The
//! reader is our own: the crate extxyz 0.2 keeps a whole file in memory, whatever its size. What it
//! reads it reads as ASE does, and it refuses where that would be a guess.

mod comment;
mod names;
mod read;

use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, BufReader, Write};

use self::names::symbols;
use self::read::read_frames;
use super::format::{Contents, Format, Particles, Samples};
use crate::error::Error;
use crate::files::AtomicFile;

/// A frame per sample.
pub(super) struct Xyz;

impl Format for Xyz {
    fn endings(&self) -> &'static [&'static str] {
        &["xyz", "extxyz"]
    }

    fn write(
        &self,
        file: &mut AtomicFile,
        contents: &Contents<'_>,
        batches: &mut dyn Iterator<Item = Result<Samples, Error>>,
    ) -> Result<(), Error> {
        let mut frames = Frames::new(contents.particles)?;
        for batch in batches {
            frames.write(&batch?, file).map_err(|source| contents.failed(source))?;
        }
        Ok(())
    }

    fn read(&self, file: BufReader<File>, particles: &Particles) -> Result<Samples, String> {
        read_frames(file, particles)
    }

    fn in_units(&self) -> bool {
        true
    }
}

/// Frames of one kind of particles.
struct Frames<'a> {
    particles: &'a Particles,
    /// The column `species` of each particle.
    species: Vec<String>,
    /// Whether there is a column `label` with their own names.
    labelled: bool,
    text: String,
}

impl<'a> Frames<'a> {
    fn new(particles: &'a Particles) -> Result<Self, Error> {
        let Particles { system, names, .. } = particles;
        if let Some(name) = names.iter().find(|name| name.contains(char::is_whitespace)) {
            let problem = format!(
                "has the name \"{name}\", and a column of extended XYZ cannot have a blank: write \
                 .npz, or give the particle another name"
            );
            return Err(Error::parameter("species", problem));
        }
        let (species, labelled) = match names.is_empty() {
            true => (vec!["X".to_string(); system.particles()], false),
            false => symbols(names),
        };
        Ok(Self { particles, species, labelled, text: String::new() })
    }

    /// Writes the frames of a batch, in Å and eV where the target has units. Numbers come back
    /// exactly: they are written as the shortest text that does.
    fn write(&mut self, batch: &Samples, out: &mut impl Write) -> io::Result<()> {
        let Particles { system, names, units } = self.particles;
        let (n, d) = (system.particles(), system.dimension());
        let (length, energy) = units.map_or((1.0, 1.0), |u| (u.angstrom, u.electronvolt));
        let label = if self.labelled { ":label:S:1" } else { "" };
        for (index, x) in batch.positions.chunks_exact(n * d).enumerate() {
            let text = &mut self.text;
            text.clear();
            // Writing to a String cannot fail.
            let _ = write!(text, "{n}\nProperties=species:S:1:pos:R:3{label}");
            if let Some(value) = batch.energies.get(index) {
                let _ = write!(text, " energy={}", value * energy);
            }
            if let Some(value) = batch.log_weights.get(index) {
                let _ = write!(text, " log_weight={value}");
            }
            text.push_str(" pbc=\"F F F\"\n");
            for (particle, row) in x.chunks_exact(d).enumerate() {
                text.push_str(self.species.get(particle).map_or("X", String::as_str));
                for value in row {
                    let _ = write!(text, " {}", value * length);
                }
                if d == 2 {
                    text.push_str(" 0.0");
                }
                if let Some(name) = names.get(particle).filter(|_| self.labelled) {
                    text.push(' ');
                    text.push_str(name);
                }
                text.push('\n');
            }
            out.write_all(text.as_bytes())?;
        }
        Ok(())
    }
}
