//! A molecule and its atoms.

use super::elements::Element;

/// What a structure file says about an atom.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Atom {
    /// Its name in its residue, such as "CA"; its element in a file without names.
    pub name: String,
    /// `None` for what is no element, such as a bead.
    pub element: Option<Element>,
    /// Name of the residue, such as "ALA"; empty where there are none.
    pub residue: String,
    /// Number of the residue in its chain.
    pub residue_number: i64,
    /// The chain's name, possibly empty.
    pub chain: String,
}

impl Atom {
    /// "ALA2:CA", and the name alone where there are no residues.
    pub fn label(&self) -> String {
        match self.residue.is_empty() {
            true => self.name.clone(),
            false => format!("{}{}:{}", self.residue, self.residue_number, self.name),
        }
    }

    /// The symbol of its element, "X" where it has none.
    pub fn symbol(&self) -> &'static str {
        self.element.map_or("X", Element::symbol)
    }

    /// Whether both are of one residue.
    pub(super) fn is_of_residue(&self, other: &Self) -> bool {
        (&self.chain, self.residue_number, &self.residue)
            == (&other.chain, other.residue_number, &other.residue)
    }
}

/// An atom with four bonds to groups that all differ.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Stereocentre {
    /// The atom.
    pub centre: usize,
    /// The four atoms bonded to it, by their number.
    pub neighbours: [usize; 4],
    /// Whether (a − d)·((b − d) × (c − d)) of these is positive in the structure.
    pub positive: bool,
}

/// An atom with four bonds to some atoms that are alike, as carbon in CH₂ and CH₃: exchanging two
/// of these changes its side.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LikeNeighbours {
    /// The four atoms bonded to it.
    pub neighbours: [usize; 4],
    /// Two of them that are alike.
    pub like: [usize; 2],
    /// Whether (a − d)·((b − d) × (c − d)) of the four is positive in the structure.
    pub positive: bool,
}

/// A molecule as a structure file has it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Molecule {
    /// In the order of the target's particles.
    pub atoms: Vec<Atom>,
    /// Pairs of atoms, each once, the lower number first.
    pub bonds: Vec<[usize; 2]>,
    /// [atoms, 3] in Å.
    pub positions: Vec<f64>,
    /// Which atoms the target takes for alike: a number for each, the same for those that may be
    /// exchanged.
    pub alike: Vec<usize>,
    /// What tells the structure from its mirror image.
    pub stereocentres: Vec<Stereocentre>,
    /// What tells the order of like atoms in the structure from another one.
    pub like_neighbours: Vec<LikeNeighbours>,
}
