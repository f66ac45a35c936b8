//! A molecule in its target: all of its bonds and stereocentres.

use super::atoms::Molecule;

impl Molecule {
    /// The molecule in the target whose potential has these `bonds` and takes these atoms for
    /// `alike` (empty: all of them). Springs between atoms that are too far apart for a bond do not
    /// count. Without bonds it keeps those of its file, which are completed
    /// by the distances of atoms where some atom has none.
    pub fn in_target(mut self, bonds: &[[usize; 2]], alike: &[usize]) -> Self {
        let listed = self.bonds_of_a_list(bonds);
        if !listed.is_empty() {
            self.bonds = listed;
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
        self.like_neighbours = self.find_like_neighbours();
        self
    }

    fn each_atom_has_a_bond(&self) -> bool {
        self.neighbours().iter().all(|others| !others.is_empty())
    }
}
