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
pub(super) use self::names::{check_order, Atom as Named};
use self::read::{read_atoms, read_frames};
use super::format::{Contents, Format, Particles, Samples};
use crate::error::Error;
use crate::files::AtomicFile;
use crate::molecule::{self, Element, Molecule};
use crate::system::System;

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

/// The molecule in frames that are in Å, and its configurations; a column `label` has the names of
/// atoms.
///
/// # Errors
/// What follows the file's name.
pub(super) fn read_xyz_structure(text: &str) -> Result<(Molecule, Vec<f64>), String> {
    let first = text.lines().next().unwrap_or_default().trim();
    let count = first.parse().ok().filter(|count| text.lines().count() > *count);
    let system = count.and_then(|count| System::new(count, 3).ok());
    let system = system.ok_or_else(|| {
        format!("begins with {first:.20}, which is not the number of its atoms: it was cut off")
    })?;
    let (samples, atoms) = read_atoms(text.as_bytes(), &system.into(), |_| Ok(()))?;
    let atoms = atoms.into_iter().map(|atom| molecule::Atom {
        element: Element::of_symbol_in_any_case(&atom.symbol),
        name: atom.label.unwrap_or(atom.symbol),
        ..molecule::Atom::default()
    });
    let atoms: Vec<_> = atoms.collect();
    let positions = samples.positions.iter().copied().take(3 * atoms.len()).collect();
    Ok((Molecule { atoms, positions, ..Molecule::default() }, samples.positions))
}

/// The keys of a frame for the periodic box, in Å, or for none.
fn cell(system: &System, angstrom: f64) -> String {
    let Some(edges) = system.periodic_box() else { return " pbc=\"F F F\"\n".to_string() };
    let edge = |k: usize| edges.get(k).map_or(0.0, |edge| edge * angstrom);
    let z = if edges.len() == 3 { "T" } else { "F" };
    let [a, b, c] = [0, 1, 2].map(edge);
    format!(" Lattice=\"{a} 0 0 0 {b} 0 0 0 {c}\" pbc=\"T T {z}\"\n")
}

/// Frames of one kind of particles.
struct Frames<'a> {
    particles: &'a Particles,
    /// The column `species` of each particle.
    species: Vec<String>,
    /// The column `label` with their own names; empty where that says nothing more.
    labels: Vec<String>,
    /// What the second line says of a periodic box.
    cell: String,
    text: String,
}

impl<'a> Frames<'a> {
    fn new(particles: &'a Particles) -> Result<Self, Error> {
        let Particles { system, names, molecule, units, .. } = particles;
        let cell = cell(system, units.map_or(1.0, |units| units.angstrom));
        if let Some(molecule) = molecule {
            let symbol = |atom: &molecule::Atom| atom.symbol().to_string();
            let species: Vec<String> = molecule.atoms.iter().map(symbol).collect();
            let name = |atom: &molecule::Atom| atom.name.replace(char::is_whitespace, "_");
            let labels: Vec<String> = molecule.atoms.iter().map(name).collect();
            let labels = if labels == species { Vec::new() } else { labels };
            return Ok(Self { particles, species, labels, cell, text: String::new() });
        }
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
        let labels = if labelled { names.clone() } else { Vec::new() };
        Ok(Self { particles, species, labels, cell, text: String::new() })
    }

    /// Writes the frames of a batch, in Å and eV where the target has units. Numbers come back
    /// exactly: they are written as the shortest text that does.
    fn write(&mut self, batch: &Samples, out: &mut impl Write) -> io::Result<()> {
        let Particles { system, units, .. } = self.particles;
        let (n, d) = (system.particles(), system.dimension());
        let (length, energy) = units.map_or((1.0, 1.0), |u| (u.angstrom, u.electronvolt));
        let label = if self.labels.is_empty() { "" } else { ":label:S:1" };
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
            text.push_str(&self.cell);
            for (particle, row) in x.chunks_exact(d).enumerate() {
                text.push_str(self.species.get(particle).map_or("X", String::as_str));
                for value in row {
                    let _ = write!(text, " {}", value * length);
                }
                if d == 2 {
                    text.push_str(" 0.0");
                }
                if let Some(name) = self.labels.get(particle) {
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
