//! Figures of a crystal, each for one particle.

use rayon::prelude::*;

use super::figures::{Evaluation, Figure};
use crate::diagnostics::{reweighted_mean_of, Independent};
use crate::potential::{crystal_of, Potential};
use crate::samples::Samples;

impl Evaluation {
    /// βF/N, U/N and the pressure of the crystal of `potential`, from weighted samples; nothing in
    /// open space.
    pub(super) fn add_crystal(&mut self, potential: &dyn Potential, drawn: &Samples) {
        let Some(crystal) = crystal_of(potential) else { return };
        let system = potential.system();
        let (n, d) = (system.particles() as f64, system.dimension() as f64);
        self.free_energy_per_particle = Some(crystal.free_energy(self.log_z));
        self.free_energy_per_particle_error = Some(crystal.free_energy_error(self.log_z_error));
        let weights = &drawn.log_weights;
        let mean = |values: &[f64]| reweighted_mean_of(weights, values, Independent::Samples);
        let (energy, error) = mean(&drawn.energies);
        self.energy_per_particle = Some(energy / n);
        self.energy_per_particle_error = Some(error / n);
        let rows = drawn.positions.par_chunks_exact(system.coordinates());
        let virials: Option<Vec<f64>> = rows.map(|x| potential.virial(x)).collect();
        if let Some(virials) = virials {
            let (virial, error) = mean(&virials);
            self.compressibility_factor = Some(1.0 - virial / (d * n));
            self.compressibility_factor_error = Some(error / (d * n));
        }
        let marked = [
            Figure::FreeEnergyPerParticle,
            Figure::EnergyPerParticle,
            Figure::CompressibilityFactor,
        ];
        self.mark(&marked, weights);
    }
}
