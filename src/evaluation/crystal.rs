//! Figures and observables of a crystal.

use rayon::prelude::*;

use super::figures::{Evaluation, Figure};
use crate::diagnostics::{reweighted_mean_of, Independent};
use crate::potential::{crystal_of, Potential};
use crate::samples::Samples;
use crate::system::System;

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

/// Σ‖uᵢ − ū‖²/n of a configuration's displacements u from the nearest images of the `sites`.
pub(super) fn mean_square_displacement(system: System, sites: &[f64], x: &[f64]) -> f64 {
    let d = system.dimension();
    let rows = x.chunks_exact(d).zip(sites.chunks_exact(d));
    let mut u: Vec<f64> =
        rows.flat_map(|(x, site)| system.separation(x, site).into_iter().take(d)).collect();
    system.remove_center_of_mass(&mut u);
    u.iter().map(|u| u * u).sum::<f64>() / system.particles() as f64
}

/// |Σᵢ exp(−i k·xᵢ)|²/n of a configuration in a periodic box, with so many `waves` along each edge.
pub(super) fn structure_factor(system: System, waves: &[i32], x: &[f64]) -> f64 {
    let edges = system.periodic_box().unwrap_or_default();
    let (mut cosines, mut sines) = (0.0, 0.0);
    for x in x.chunks_exact(system.dimension()) {
        let along = x.iter().zip(edges).zip(waves).map(|((x, edge), wave)| x / edge * *wave as f64);
        let (sine, cosine) = (std::f64::consts::TAU * along.sum::<f64>()).sin_cos();
        cosines += cosine;
        sines += sine;
    }
    (cosines * cosines + sines * sines) / system.particles() as f64
}
