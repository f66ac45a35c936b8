//! Bonds by distance, for files that list none.

use super::atoms::Molecule;

/// Atoms are bonded up to this much more than the sum of their covalent radii, in Å.
const SLACK: f64 = 0.4;

impl Molecule {
    /// Pairs of atoms that are as near as their covalent radii; of two hydrogens only where there
    /// is nothing else.
    pub(super) fn bonds_by_distance(&self) -> Vec<[usize; 2]> {
        let n = self.atoms.len();
        let radius = |atom: usize| self.atoms[atom].element.and_then(|e| e.covalent_radius());
        let is_hydrogen = |atom: usize| self.atoms[atom].symbol() == "H";
        let places: Vec<&[f64]> = self.positions.chunks_exact(3).collect();
        let mut bonds = Vec::new();
        for b in 0..n {
            for a in 0..b {
                let (Some(first), Some(second)) = (radius(a), radius(b)) else { continue };
                let apart = places[a].iter().zip(places[b]).map(|(a, b)| (a - b).powi(2));
                let near = apart.sum::<f64>() < (first + second + SLACK).powi(2);
                if near && (n == 2 || !(is_hydrogen(a) && is_hydrogen(b))) {
                    bonds.push([a, b]);
                }
            }
        }
        bonds
    }
}
