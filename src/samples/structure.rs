//! Structure files: the atoms of a molecule and where they may begin.

use super::xyz::read_xyz_structure;
use crate::molecule::{read_cif, read_pdb, Molecule};

/// A molecule, and its configurations ([frames, atoms, 3]) in Å.
#[derive(Debug, Clone)]
pub(crate) struct Structure {
    pub molecule: Molecule,
    pub frames: Vec<f64>,
}

/// Reads the content of a structure file: PDB, PDBx/mmCIF or extended XYZ, which its first lines
/// tell apart.
///
/// # Errors
/// What follows the file's name.
pub(crate) fn read_structure(text: &str) -> Result<Structure, String> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut lines = text.lines().map(str::trim_end);
    let first = lines.clone().find(|line| !line.is_empty() && !line.starts_with('#'));
    let first = first.unwrap_or_default();
    let is_atom = |line: &str| line.starts_with("ATOM  ") || line.starts_with("HETATM");
    let is_cif = first.to_ascii_lowercase().starts_with("data_") || first == "loop_";
    if is_cif {
        let found = read_cif(text)?;
        return Ok(Structure { molecule: found.molecule, frames: found.positions });
    }
    if lines.any(is_atom) {
        let found = read_pdb(text.as_bytes(), None)?;
        return Ok(Structure { molecule: found.molecule, frames: found.positions });
    }
    if first.trim().parse::<usize>().is_ok() {
        let (molecule, frames) = read_xyz_structure(text)?;
        return Ok(Structure { molecule, frames });
    }
    Err("is no structure file: it has neither ATOM records of PDB, nor a `data_` block of \
         PDBx/mmCIF, nor the number of atoms with which XYZ begins"
        .to_string())
}
