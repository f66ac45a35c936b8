//! What is alike in a molecule: kinds of bonds and angles, and the bonds that it turns about.

use std::collections::BTreeMap;

use super::atoms::Molecule;
use super::names::Backbone;

/// Bonds or angles of the same elements.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kind<const N: usize> {
    /// The elements, such as "C–N–H".
    pub label: String,
    /// The atoms of each.
    pub members: Vec<[usize; N]>,
}

/// A dihedral angle for each bond that the molecule may turn about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Torsion {
    /// "φ ALA2", or the names of the atoms.
    pub label: String,
    /// The four atoms.
    pub atoms: [usize; 4],
}

impl Molecule {
    /// Bonds by their elements; most members first.
    pub fn bond_kinds(&self) -> Vec<Kind<2>> {
        self.kinds(self.bonds.iter().copied())
    }

    /// Angles by their elements; most members first.
    pub fn angle_kinds(&self) -> Vec<Kind<3>> {
        let neighbours = self.neighbours();
        let angles = neighbours.iter().enumerate().flat_map(|(centre, others)| {
            let pairs = others.iter().enumerate();
            pairs.flat_map(move |(k, &a)| others[..k].iter().map(move |&b| [b, centre, a]))
        });
        self.kinds(angles)
    }

    fn kinds<const N: usize>(&self, all: impl Iterator<Item = [usize; N]>) -> Vec<Kind<N>> {
        let mut found: BTreeMap<Vec<&str>, Vec<[usize; N]>> = BTreeMap::new();
        for mut atoms in all {
            let symbols = |atoms: &[usize; N]| atoms.map(|atom| self.atoms[atom].symbol());
            let mut reversed = atoms;
            reversed.reverse();
            if symbols(&reversed) < symbols(&atoms) {
                atoms = reversed;
            }
            found.entry(symbols(&atoms).to_vec()).or_default().push(atoms);
        }
        let kind =
            |(symbols, members): (Vec<&str>, _)| Kind { label: symbols.join("–"), members };
        let mut kinds: Vec<Kind<N>> = found.into_iter().map(kind).collect();
        kinds.sort_by_key(|kind| std::cmp::Reverse(kind.members.len()));
        kinds
    }

    /// A dihedral angle about each bond between atoms that have others: those of the backbone
    /// first, then by the chain's atoms on both sides: those with the most bonds, and of these the
    /// heaviest.
    pub fn torsions(&self) -> Vec<Torsion> {
        let mut found: Vec<Torsion> = Vec::new();
        let kinds = [(Backbone::Phi, "φ"), (Backbone::Psi, "ψ")];
        let mut backbone: Vec<(i64, Torsion)> = kinds
            .into_iter()
            .flat_map(|(kind, name)| {
                self.backbone(kind).into_iter().map(move |angle| {
                    let label = format!("{name} {}", angle.label);
                    (angle.residue, Torsion { label, atoms: angle.atoms })
                })
            })
            .collect();
        backbone.sort_by_key(|(residue, _)| *residue);
        found.extend(backbone.into_iter().map(|(_, torsion)| torsion));
        let neighbours = self.neighbours();
        for &[b, c] in &self.bonds {
            let is_there = |torsion: &Torsion| {
                let [_, x, y, _] = torsion.atoms;
                [x.min(y), x.max(y)] == [b, c]
            };
            if found.iter().any(is_there) {
                continue;
            }
            let end = |of: usize, but: usize| {
                let weight = |atom: usize| self.atoms[atom].element.map_or(0, |e| e.number());
                let size = |atom: usize| (neighbours[atom].len(), weight(atom));
                let others = neighbours[of].iter().copied().filter(|&other| other != but);
                others.max_by_key(|&other| (size(other), std::cmp::Reverse(other)))
            };
            if let (Some(a), Some(d)) = (end(b, c), end(c, b)) {
                if a != d {
                    let names = [a, b, c, d].map(|atom| self.atoms[atom].name.as_str());
                    found.push(Torsion { label: names.join("–"), atoms: [a, b, c, d] });
                }
            }
        }
        found
    }
}
