//! Atoms by the names that a user gives them.

use std::str::FromStr;

use super::atoms::Molecule;
use crate::error::suggest;

/// `RESIDUE:ATOM`, with or without the residue's number as in `ALA2:CA`, an atom's name alone, or
/// its number, counted from 0.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AtomName(String);

/// So many candidates are listed.
const LISTED: usize = 12;

impl FromStr for AtomName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "" => Err("has an atom without a name".to_string()),
            text => Ok(Self(text.to_string())),
        }
    }
}

impl std::fmt::Display for AtomName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl AtomName {
    /// The number of the atom among `particles`, of which `molecule` knows the names.
    ///
    /// # Errors
    /// What is wrong and which names there are.
    pub fn find(&self, particles: usize, molecule: Option<&Molecule>) -> Result<usize, String> {
        let text = self.0.as_str();
        if let Ok(number) = text.parse::<usize>() {
            return match number < particles {
                true => Ok(number),
                false => Err(format!(
                    "has the atom {text}, and the target has atoms 0 to {}",
                    particles - 1
                )),
            };
        }
        let Some(molecule) = molecule else {
            return Err(format!(
                "has the atom `{text}`, and the target's file gives its atoms no names: add \
                 structure = \"molecule.pdb\" to it, or number the atoms, counted from 0"
            ));
        };
        let (residue, name) = match text.rsplit_once(':') {
            Some((residue, name)) => (Some(residue.trim()), name.trim()),
            None => (None, text),
        };
        let of_residue = |index: &usize| {
            let atom = &molecule.atoms[*index];
            residue.is_none_or(|residue| {
                residue == atom.residue
                    || residue == format!("{}{}", atom.residue, atom.residue_number)
            })
        };
        let near: Vec<usize> = (0..molecule.atoms.len()).filter(of_residue).collect();
        let named = |index: &&usize| molecule.atoms[**index].name == name;
        match &near.iter().filter(named).collect::<Vec<_>>()[..] {
            [index] => Ok(**index),
            [] if near.is_empty() => {
                let mut residues: Vec<String> = molecule
                    .atoms
                    .iter()
                    .map(|atom| format!("{}{}", atom.residue, atom.residue_number))
                    .collect();
                residues.dedup();
                let known: Vec<&str> = residues.iter().map(String::as_str).take(LISTED).collect();
                let residue = residue.unwrap_or_default();
                Err(format!(
                    "has the residue `{residue}`, which is not there: {}",
                    suggest(residue, &known)
                ))
            }
            [] => Err(format!(
                "has the atom `{text}`, which is not there: use one of {}",
                listed(molecule, &near)
            )),
            several => {
                let several: Vec<usize> = several.iter().map(|index| **index).collect();
                Err(format!(
                    "has the atom `{text}`, which is {} atoms: say which by its residue's \
                             number or its own, counted from 0: {}",
                    several.len(),
                    listed(molecule, &several)
                ))
            }
        }
    }
}

/// "ALA2:CA (8), ALA3:CA (18)".
fn listed(molecule: &Molecule, atoms: &[usize]) -> String {
    let label = |index: &usize| format!("{} ({index})", molecule.atoms[*index].label());
    let names: Vec<String> = atoms.iter().take(LISTED).map(label).collect();
    let more = if atoms.len() > LISTED { ", …" } else { "" };
    format!("{}{more}", names.join(", "))
}

/// The two dihedral angles of a peptide's backbone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backbone {
    /// C of the residue before, N, CA, C.
    Phi,
    /// N, CA, C, N of the next residue.
    Psi,
}

impl Backbone {
    /// phi or psi.
    pub fn name(self) -> &'static str {
        match self {
            Self::Phi => "phi",
            Self::Psi => "psi",
        }
    }
}

/// A dihedral angle of the backbone at a residue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackboneAngle {
    /// Number of the residue.
    pub residue: i64,
    /// Its name with the number, such as ALA2.
    pub label: String,
    /// The four atoms.
    pub atoms: [usize; 4],
}

impl Molecule {
    /// All angles of a kind along the backbone, in the order of the atoms, by the names N, CA and C
    /// of residues that are bonded.
    pub fn backbone(&self, kind: Backbone) -> Vec<BackboneAngle> {
        let neighbours = self.neighbours();
        let is = |atom: usize, name: &str| self.atoms[atom].name == name;
        let bonded = |atom: usize, name: &str, same_residue: bool| {
            neighbours[atom].iter().copied().find(|&other| {
                let here = self.atoms[other].is_of_residue(&self.atoms[atom]);
                is(other, name) && here == same_residue
            })
        };
        let angle = |ca: usize| {
            let (n, c) = (bonded(ca, "N", true)?, bonded(ca, "C", true)?);
            Some(match kind {
                Backbone::Phi => [bonded(n, "C", false)?, n, ca, c],
                Backbone::Psi => [n, ca, c, bonded(c, "N", false)?],
            })
        };
        let alphas = (0..self.atoms.len()).filter(|&atom| is(atom, "CA"));
        let found = alphas.filter_map(|ca| {
            let atom = &self.atoms[ca];
            let label = format!("{}{}", atom.residue, atom.residue_number);
            Some(BackboneAngle { residue: atom.residue_number, label, atoms: angle(ca)? })
        });
        found.collect()
    }
}
