//! A potential whose energy is that of one mirror image, for molecules that have a handedness.

use std::sync::Arc;

use super::{EvaluationError, Potential};
use crate::molecule::{Handedness, Molecule};
use crate::system::System;

/// The energy of a configuration or of its mirror image, whichever has the handedness of the
/// molecule's structure.
///
/// A force field whose energy changes under reflection, as one with maps over the dihedral angles
/// of L-amino acids (CMAP), so becomes one that does not, as the flow assumes it. Of the
/// handedness that simulations never leave, energies are unchanged. Where reflection changes
/// nothing, or the structure has no stereocentre, this is the potential itself.
pub struct OneHanded<P> {
    potential: P,
    /// `None` where nothing is to be mirrored.
    molecule: Option<Arc<Molecule>>,
}

impl<P: Potential> OneHanded<P> {
    /// `potential` of this molecule in space.
    pub fn new(potential: P, molecule: Arc<Molecule>) -> Self {
        let is_chiral = !molecule.stereocentres.is_empty()
            && molecule.positions.len() == potential.system().coordinates()
            && changes_under_reflection(&potential, &molecule.positions);
        Self { potential, molecule: is_chiral.then_some(molecule) }
    }

    fn is_mirrored(&self, x: &[f64]) -> bool {
        let handedness = self.molecule.as_ref().map(|molecule| molecule.handedness(x));
        handedness == Some(Handedness::Mirrored)
    }
}

/// Whether energies near `x` and of their mirror images differ.
fn changes_under_reflection(potential: &impl Potential, x: &[f64]) -> bool {
    (0..8).any(|sample| {
        // Moved by a few hundredths, by numbers that follow no pattern.
        let moved: Vec<f64> =
            x.iter().enumerate().map(|(k, x)| x + 0.05 * ((k * 8 + sample) as f64).sin()).collect();
        let mirrored: Vec<f64> = moved.iter().map(|x| -x).collect();
        let energy = |x: &[f64]| potential.energy_and_gradient(x, &mut vec![0.0; x.len()]);
        match (energy(&moved), energy(&mirrored)) {
            (Ok(a), Ok(b)) => (a - b).abs() > 1e-7 * (1.0 + a.abs()),
            _ => false,
        }
    })
}

impl<P: Potential> Potential for OneHanded<P> {
    fn system(&self) -> System {
        self.potential.system()
    }

    fn species(&self) -> &[usize] {
        self.potential.species()
    }

    fn structures(&self) -> &[Vec<f64>] {
        self.potential.structures()
    }

    fn bonds(&self) -> &[[usize; 2]] {
        self.potential.bonds()
    }

    fn terms(&self, x: &[f64]) -> Vec<(String, f64)> {
        if self.is_mirrored(x) {
            return self.potential.terms(&x.iter().map(|x| -x).collect::<Vec<_>>());
        }
        self.potential.terms(x)
    }

    fn reach(&self) -> f64 {
        self.potential.reach()
    }

    fn batch_size(&self) -> usize {
        self.potential.batch_size()
    }

    fn energy_in_place(&self, x: &[f64]) -> Result<f64, EvaluationError> {
        if self.is_mirrored(x) {
            let x: Vec<f64> = x.iter().map(|x| -x).collect();
            return self.potential.energy_in_place(&x);
        }
        self.potential.energy_in_place(x)
    }

    fn energy_and_gradient(&self, x: &[f64], gradient: &mut [f64]) -> Result<f64, EvaluationError> {
        if self.is_mirrored(x) {
            let x: Vec<f64> = x.iter().map(|x| -x).collect();
            let energy = self.potential.energy_and_gradient(&x, gradient)?;
            gradient.iter_mut().for_each(|g| *g = -*g);
            return Ok(energy);
        }
        self.potential.energy_and_gradient(x, gradient)
    }

    fn energies_and_gradients(
        &self,
        x: &[f64],
        energies: &mut [f64],
        gradients: &mut [f64],
    ) -> Result<usize, EvaluationError> {
        if self.molecule.is_none() {
            return self.potential.energies_and_gradients(x, energies, gradients);
        }
        let width = self.system().coordinates();
        let mut x = x.to_vec();
        let mirrored: Vec<bool> = x.chunks_exact(width).map(|x| self.is_mirrored(x)).collect();
        let flip = |all: &mut [f64]| {
            let rows = all.chunks_exact_mut(width).zip(&mirrored);
            let rows = rows.filter(|(_, mirrored)| **mirrored);
            rows.flat_map(|(row, _)| row).for_each(|value| *value = -*value);
        };
        flip(&mut x);
        let failures = self.potential.energies_and_gradients(&x, energies, gradients)?;
        flip(gradients);
        Ok(failures)
    }

    fn softened(&self, core_radius: f64) -> Option<Arc<dyn Potential>> {
        self.potential.softened(core_radius)
    }
}
