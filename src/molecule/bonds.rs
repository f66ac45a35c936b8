//! What is bonded to each atom, and bonds by distance for files that list none.

use super::atoms::Molecule;
use super::geometry::distance;

/// Atoms are bonded up to this much more than the sum of their covalent radii, in Å.
const SLACK: f64 = 0.4;
/// Atoms in a list of bonds are, up to this much more: between the longest bond and the ends of an
/// angle, which force fields may hold together by a spring, too.
const LISTED_SLACK: f64 = 0.7;

/// No bond is as long, in Å.
const LONGEST: f64 = 6.0;

/// The atoms bonded to each of so many `atoms`, in order and each once.
pub fn neighbours(atoms: usize, bonds: &[[usize; 2]]) -> Vec<Vec<usize>> {
    let mut neighbours = vec![Vec::new(); atoms];
    for &[a, b] in bonds {
        neighbours[a].push(b);
        neighbours[b].push(a);
    }
    for others in &mut neighbours {
        others.sort_unstable();
        others.dedup();
    }
    neighbours
}

/// The atoms on c's side of the bond between b and c; `None` if the bond is in a ring.
pub(crate) fn side_of(bonded: &[Vec<usize>], b: usize, c: usize) -> Option<Vec<usize>> {
    let mut atoms = vec![c];
    let mut next = 0;
    while let Some(&atom) = atoms.get(next) {
        for &other in &bonded[atom] {
            if [atom, other] != [c, b] && !atoms.contains(&other) {
                atoms.push(other);
            }
        }
        next += 1;
    }
    (!atoms.contains(&b)).then_some(atoms)
}

impl Molecule {
    /// The atoms bonded to each.
    pub fn neighbours(&self) -> Vec<Vec<usize>> {
        neighbours(self.atoms.len(), &self.bonds)
    }

    /// Pairs of atoms that are as near as their covalent radii; of two hydrogens only where there
    /// is nothing else.
    pub(super) fn bonds_by_distance(&self) -> Vec<[usize; 2]> {
        let n = self.atoms.len();
        let is_hydrogen = |atom: usize| self.atoms[atom].symbol() == "H";
        let mut bonds = Vec::new();
        for b in 0..n {
            for a in 0..b {
                // No radii are looked up for most pairs.
                let near = distance(&self.positions, 3, [a, b]) < LONGEST
                    && self.are_near([a, b], SLACK).unwrap_or(false);
                if near && (n == 2 || !(is_hydrogen(a) && is_hydrogen(b))) {
                    bonds.push([a, b]);
                }
            }
        }
        bonds
    }

    /// Those of the listed `bonds` that are no longer than bonds are; what is no element has bonds
    /// of any length.
    pub(super) fn bonds_of_a_list(&self, bonds: &[[usize; 2]]) -> Vec<[usize; 2]> {
        let is_bond = |bond: &&[usize; 2]| self.are_near(**bond, LISTED_SLACK).unwrap_or(true);
        bonds.iter().filter(is_bond).copied().collect()
    }

    /// Whether two atoms are as near as their covalent radii and `slack`; `None` where they have no
    /// radii or are not there.
    fn are_near(&self, atoms: [usize; 2], slack: f64) -> Option<bool> {
        let radius = |atom: usize| self.atoms.get(atom)?.element?.covalent_radius();
        let [first, second] = [radius(atoms[0])?, radius(atoms[1])?];
        let apart = distance(&self.positions, 3, atoms);
        Some(apart < first + second + slack)
    }
}
