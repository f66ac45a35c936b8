//! PDB, with a MODEL for each sample, for programs that show molecules.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, BufReader, Write};

use super::format::{Contents, Format, Particles, Samples};
use super::xyz::{check_order, Named};
use crate::error::Error;
use crate::files::AtomicFile;
use crate::molecule::{read_pdb, Atom, Element};

/// A model per sample, in Å to three decimals.
pub(super) struct Pdb;

/// Residues whose atoms are ATOM records; those of others are HETATM.
const STANDARD: &str = "ALA ARG ASN ASP CYS GLN GLU GLY HIS ILE LEU LYS MET PHE PRO SER THR TRP \
                        TYR VAL A C G U I DA DC DG DT DI";

impl Format for Pdb {
    fn endings(&self) -> &'static [&'static str] {
        &["pdb"]
    }

    fn in_units(&self) -> bool {
        true
    }

    fn weights_beside(&self) -> bool {
        true
    }

    fn write(
        &self,
        file: &mut AtomicFile,
        contents: &Contents<'_>,
        batches: &mut dyn Iterator<Item = Result<Samples, Error>>,
    ) -> Result<(), Error> {
        let failed = |source| contents.failed(source);
        let system = contents.particles.system;
        let (n, d) = (system.particles(), system.dimension());
        let atoms = atoms(contents.particles);
        let unit = contents.particles.angstrom();
        let mut text = String::new();
        let mut model = 0;
        for batch in batches {
            for x in batch?.positions.chunks_exact(n * d) {
                model += 1;
                text.clear();
                // Writing to a String cannot fail.
                let _ = writeln!(text, "MODEL {model:>8}");
                for (number, (atom, place)) in atoms.iter().zip(x.chunks_exact(d)).enumerate() {
                    if number > 0 && atoms[number - 1].chain != atom.chain {
                        text.push_str("TER\n");
                    }
                    let axis = |axis: usize| place.get(axis).map_or(0.0, |value| value * unit);
                    let place = [axis(0), axis(1), axis(2)];
                    if !record(&mut text, number + 1, atom, place) {
                        return Err(Error::parameter(
                            contents.path.display().to_string(),
                            format!(
                                "cannot hold sample {} (counted from 0): its atom {number} is at \
                                 {place:.0?} Å, and the columns of PDB end before that: write \
                                 .xyz, or weigh such samples out by --resample",
                                model - 1
                            ),
                        ));
                    }
                }
                text.push_str("TER\nENDMDL\n");
                file.write_all(text.as_bytes()).map_err(failed)?;
            }
        }
        if let Some(molecule) = &contents.particles.molecule {
            links(&molecule.neighbours(), file).map_err(failed)?;
        }
        file.write_all(b"END\n").map_err(failed)
    }

    fn read(&self, file: BufReader<File>, particles: &Particles) -> Result<Samples, String> {
        let (n, d) = (particles.system.particles(), particles.system.dimension());
        let found = read_pdb(file, Some(n))?;
        let named = |atom: &Atom| Named {
            symbol: atom.element.map_or(&*atom.name, |element| element.symbol()).to_string(),
            label: Some(atom.name.clone()),
        };
        let names: Vec<Named> = found.molecule.atoms.iter().map(named).collect();
        check_order(particles, &names)
            .map_err(|(atom, problem)| format!("atom {atom} (counted from 0) {problem}"))?;
        let unit = particles.angstrom();
        let mut positions = Vec::with_capacity(found.positions.len() / 3 * d);
        for (atom, place) in found.positions.chunks_exact(3).enumerate() {
            if let Some(z) = place[d..].iter().find(|z| **z != 0.0) {
                return Err(format!(
                    "model {}, atom {} (counted from 0) has z = {z} and the target is in a plane",
                    atom / n,
                    atom % n
                ));
            }
            positions.extend(place[..d].iter().map(|value| value / unit));
        }
        Ok(Samples { positions, ..Samples::default() })
    }
}

/// The atoms of the molecule; without one, all are of one residue.
fn atoms(particles: &Particles) -> Vec<Atom> {
    if let Some(molecule) = &particles.molecule {
        return molecule.atoms.clone();
    }
    let name = |index: usize| particles.names.get(index).map_or("X", String::as_str);
    let atom = |index: usize| Atom {
        name: name(index).to_string(),
        element: Element::of_symbol(name(index)),
        residue: "MOL".to_string(),
        residue_number: 1,
        chain: "A".to_string(),
    };
    (0..particles.system.particles()).map(atom).collect()
}

/// Appends the record of an atom; false where its place does not fit the columns.
fn record(text: &mut String, serial: usize, atom: &Atom, place: [f64; 3]) -> bool {
    let cut = |text: &str, most: usize| -> String {
        text.chars().map(|c| if c.is_ascii_graphic() { c } else { '_' }).take(most).collect()
    };
    let element = atom.element.map_or("", Element::symbol).to_uppercase();
    let name = cut(&atom.name, 4);
    // Names begin in the second column unless they or their elements are longer.
    let name = match name.len() < 4 && element.len() < 2 {
        true => format!(" {name:<3}"),
        false => format!("{name:<4}"),
    };
    let residue = cut(&atom.residue, 3);
    let kind = match STANDARD.split(' ').any(|standard| standard == residue) {
        true => "ATOM",
        false => "HETATM",
    };
    let (chain, number) = (cut(&atom.chain, 1), atom.residue_number.rem_euclid(10_000));
    let _ = write!(text, "{kind:<6}{serial:>5} {name} {residue:>3} {chain:1}{number:>4}    ");
    for value in place {
        // Far away, digits give way to places before the point.
        let mut shown = format!("{value:>8.3}");
        if !(-9_999_999.0..99_999_999.0).contains(&value) {
            return false;
        }
        shown.truncate(8);
        text.push_str(&shown);
    }
    let _ = writeln!(text, "{:>6.2}{:>6.2}{:10}{element:>2}  ", 1.0, 0.0, "");
    true
}

/// CONECT records of the bonds of each atom.
fn links(neighbours: &[Vec<usize>], file: &mut impl Write) -> io::Result<()> {
    for (atom, bonded) in neighbours.iter().enumerate() {
        let mut bonded = bonded.clone();
        bonded.sort_unstable();
        for four in bonded.chunks(4) {
            write!(file, "CONECT{:>5}", atom + 1)?;
            four.iter().try_for_each(|other| write!(file, "{:>5}", other + 1))?;
            writeln!(file)?;
        }
    }
    Ok(())
}
