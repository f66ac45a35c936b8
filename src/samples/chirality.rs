//! The mirror image that samples of a chiral molecule are, and the order of their like atoms.

use super::format::Samples;
use crate::molecule::{Handedness, Molecule};

impl Samples {
    /// Mirrors every configuration that is of the other handedness than the structure of
    /// `molecule`, by x → −x. Energies do not change under reflection, so weights stay exact,
    /// whatever the flow is: of a density that is symmetric, one half is kept, twice.
    ///
    /// Like atoms on one atom, as the hydrogens of CH₂, are put in the structure's order in the
    /// same way, so that each has the place that its name says.
    ///
    /// A configuration in which some stereocentres are as in the structure and some are not is
    /// another molecule: it gets the weight zero, or stays where there are no weights. Returns how
    /// many there were.
    pub fn match_structure(&mut self, molecule: &Molecule) -> usize {
        let width = 3 * molecule.atoms.len();
        let mut others = 0;
        for (index, x) in self.positions.chunks_exact_mut(width).enumerate() {
            match molecule.handedness(x) {
                Handedness::Same => {}
                Handedness::Mirrored => x.iter_mut().step_by(3).for_each(|x| *x = -*x),
                Handedness::Other => {
                    others += 1;
                    if let Some(weight) = self.log_weights.get_mut(index) {
                        *weight = f64::NEG_INFINITY;
                    }
                }
            }
            molecule.put_like_atoms_in_order(x);
        }
        others
    }
}
