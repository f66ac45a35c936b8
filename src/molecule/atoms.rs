//! A molecule and its atoms.

use super::chirality::Stereocentre;
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
}

impl Molecule {
    /// The molecule in the target whose potential has these `bonds` and takes these atoms for
    /// `alike` (empty: all of them). Without bonds it keeps those of its file, which are completed
    /// by the distances of atoms where some atom has none.
    pub fn in_target(mut self, bonds: &[[usize; 2]], alike: &[usize]) -> Self {
        if !bonds.is_empty() {
            self.bonds = bonds.to_vec();
        } else if !self.each_atom_has_a_bond() {
            let near = self.bonds_by_distance();
            self.bonds.extend(near);
        }
        let n = self.atoms.len();
        self.bonds.iter_mut().for_each(|bond| bond.sort_unstable());
        self.bonds.retain(|[a, b]| a != b && *b < n);
        self.bonds.sort_unstable();
        self.bonds.dedup();
        self.alike = if alike.is_empty() { vec![0; n] } else { alike.to_vec() };
        self.stereocentres = self.find_stereocentres();
        self
    }

    /// The atoms bonded to each.
    pub fn neighbours(&self) -> Vec<Vec<usize>> {
        let mut neighbours = vec![Vec::new(); self.atoms.len()];
        for &[a, b] in &self.bonds {
            neighbours[a].push(b);
            neighbours[b].push(a);
        }
        neighbours
    }

    fn each_atom_has_a_bond(&self) -> bool {
        self.neighbours().iter().all(|others| !others.is_empty())
    }
}
