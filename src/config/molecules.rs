//! `structure = "molecule.pdb"` of a target file: the atoms of a molecule and where they begin.

use std::path::Path;

use super::contents::{read_content, Content};
use super::read::config_error;
use super::structures::{check_energies, MOST_STRUCTURES};
use crate::error::Error;
use crate::molecule::Molecule;
use crate::potential::Potential;
use crate::samples::{read_structure, Particles, Structure};

/// What was read.
pub(super) struct Found {
    pub molecule: Molecule,
    /// Each [particles, 3] in the target's unit of length.
    pub structures: Vec<Vec<f64>>,
    /// Of the file.
    pub content: String,
}

/// Reads the structure that the key `structure` of `file` names or, in a run's copy, holds. The
/// energies of its configurations are looked at if there are any yet: those of `potential`.
///
/// # Errors
/// [`Error::Read`]; [`Error::Data`] with the structure's file, or [`Error::Config`] with `file`
/// where it holds the structure: what is wrong, and the way out.
pub(super) fn read_molecule(
    name_or_content: &str,
    particles: &Particles,
    potential: Option<&dyn Potential>,
    file: &Path,
) -> Result<Found, Error> {
    let (n, d) = (particles.system.particles(), particles.system.dimension());
    if d != 3 {
        let problem = format!("`structure` is for molecules in space, and this target has d = {d}");
        return Err(config_error(file, problem));
    }
    let formats = "PDB, PDBx/mmCIF or extended XYZ";
    let Content { text: content, source } = read_content(name_or_content, file, formats)?;
    let failed = |problem: String| match source == file {
        true => config_error(file, format!("`structure` {problem}")),
        false => Error::Data { file: source.clone(), problem },
    };
    let Structure { molecule, frames } = read_structure(&content).map_err(failed)?;
    let atoms = molecule.atoms.len();
    if atoms != n {
        let problem = format!(
            "has {atoms} atoms and the target {n}: both must be the same molecule, with all of its \
             hydrogens and without water (OpenMM: Modeller.addHydrogens, Modeller.deleteWater)"
        );
        return Err(failed(problem));
    }
    let unit = particles.angstrom();
    let frames = frames.chunks_exact(3 * n).take(MOST_STRUCTURES);
    let structures: Vec<Vec<f64>> = frames.map(|x| x.iter().map(|x| x / unit).collect()).collect();
    if let Some(potential) = potential {
        check_energies(potential, &structures, &source)?;
    }
    Ok(Found { molecule, structures, content })
}

/// Heavy atoms may have given some of their mass to hydrogens, each three at most.
const GIVEN: f64 = 3.1;

/// Whether no atom of `molecule` has the mass of another of its elements, by the System's `masses`
/// (Da). Other masses change no density and are anybody's choice.
///
/// # Errors
/// [`Error::Config`] on `structure` with the first atom that does not fit.
pub(super) fn check_elements(
    molecule: &Molecule,
    masses: &[f64],
    file: &Path,
) -> Result<(), Error> {
    let atoms = molecule.atoms.iter().zip(masses).enumerate();
    let is_hydrogen = |mass: f64| mass < 1.008 + GIVEN;
    let heavier = atoms.clone().any(|(_, (_, mass))| *mass > 1.1 && is_hydrogen(*mass));
    for (number, (atom, &mass)) in atoms {
        let Some((element, usual)) = atom.element.and_then(|e| Some((e, e.mass()?))) else {
            continue;
        };
        let given = if heavier { 4.0 * GIVEN } else { 0.0 };
        let fits = match element.symbol() {
            "H" => is_hydrogen(mass),
            _ => !is_hydrogen(mass) && mass < usual + 1.1 && mass > usual - 1.1 - given,
        };
        let others = molecule.atoms.iter().filter_map(|atom| atom.element?.mass());
        let is_another = others.into_iter().any(|other| (mass - other).abs() < 0.3);
        if !fits && is_another {
            let problem = format!(
                "`structure`: atom {number} (counted from 0), {}, is {}, but particle {number} of \
                 the System has a mass of {mass}: both files must be the same molecule with its \
                 atoms in the same order",
                atom.label(),
                element.symbol(),
            );
            return Err(config_error(file, problem));
        }
    }
    Ok(())
}
