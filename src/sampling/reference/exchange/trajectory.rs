//! How a tile of replicas at one temperature moves: Hamiltonian trajectories, with a mass for each
//! atom, and pivots.

use std::time::Instant;

use rand::Rng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};

use super::pivot::Pivots;
use crate::error::EvaluationError;
use crate::potential::Potential;
use crate::sampling::Effort;
use crate::system::System;

/// Replicas of one tile, with their energies and gradients.
#[derive(Debug, Clone)]
pub(super) struct Tile {
    /// [replicas, particles, dimension].
    pub x: Vec<f64>,
    /// U/kT.
    pub energy: Vec<f64>,
    /// ∂U/∂x.
    pub gradient: Vec<f64>,
    pub effort: Effort,
}

/// Memory of a move.
#[derive(Debug, Clone, Default)]
pub(super) struct Scratch {
    x: Vec<f64>,
    energy: Vec<f64>,
    gradient: Vec<f64>,
    momentum: Vec<f64>,
    kinetic: Vec<f64>,
}

/// How a tile moves.
#[derive(Clone, Copy)]
pub(super) struct Move<'a> {
    pub potential: &'a dyn Potential,
    /// Of each particle.
    pub masses: &'a [f64],
    /// The density is exp(−βU).
    pub beta: f64,
    pub step_size: f64,
    pub steps: usize,
}

impl Tile {
    pub fn at(potential: &dyn Potential, x: Vec<f64>) -> Result<Self, EvaluationError> {
        let rows = x.len() / potential.system().coordinates();
        let mut tile = Self {
            energy: vec![0.0; rows],
            gradient: vec![0.0; x.len()],
            x,
            effort: Effort::default(),
        };
        let start = Instant::now();
        let failures =
            potential.energies_and_gradients(&tile.x, &mut tile.energy, &mut tile.gradient)?;
        tile.effort += Effort::of(&tile.energy, &tile.gradient, failures, start);
        Ok(tile)
    }

    /// Exchanges the replicas at a row of either tile.
    pub fn exchange(&mut self, row: usize, other: &mut Self, width: usize) {
        let place = row * width..(row + 1) * width;
        self.x[place.clone()].swap_with_slice(&mut other.x[place.clone()]);
        self.gradient[place.clone()].swap_with_slice(&mut other.gradient[place]);
        std::mem::swap(&mut self.energy[row], &mut other.energy[row]);
    }

    /// One trajectory of every replica, which is accepted or not; returns the mean acceptance.
    ///
    /// U does not change under translations, so momenta move the centre of mass, too, and it is put
    /// back at the end: that is a step in the configurations with zero centre of mass.
    pub fn transition(
        &mut self,
        by: Move<'_>,
        rngs: &mut [ChaCha8Rng],
        scratch: &mut Scratch,
    ) -> Result<f64, EvaluationError> {
        let system = by.potential.system();
        let (width, d) = (system.coordinates(), system.dimension());
        let Scratch { x, energy, gradient, momentum, kinetic } = scratch;
        x.clone_from(&self.x);
        energy.clone_from(&self.energy);
        gradient.clone_from(&self.gradient);
        momentum.resize(x.len(), 0.0);
        kinetic.resize(energy.len(), 0.0);
        let rows = momentum.chunks_exact_mut(width).zip(rngs.iter_mut()).zip(kinetic.iter_mut());
        for ((momentum, rng), kinetic) in rows {
            for (p, mass) in momentum.chunks_exact_mut(d).zip(by.masses) {
                p.iter_mut().for_each(|p| {
                    let normal: f64 = StandardNormal.sample(rng);
                    *p = mass.sqrt() * normal;
                });
            }
            *kinetic = kinetic_energy(momentum, by.masses, d);
        }
        let start = Instant::now();
        let mut failures = 0;
        for step in 0..by.steps {
            let half = if step == 0 { 0.5 } else { 1.0 };
            kick(momentum, gradient, half * by.step_size * by.beta);
            for (x, p) in x.chunks_exact_mut(width).zip(momentum.chunks_exact(width)) {
                for ((x, p), mass) in x.chunks_exact_mut(d).zip(p.chunks_exact(d)).zip(by.masses) {
                    x.iter_mut().zip(p).for_each(|(x, p)| *x += by.step_size / mass * p);
                }
            }
            failures += by.potential.energies_and_gradients(x, energy, gradient)?;
        }
        kick(momentum, gradient, 0.5 * by.step_size * by.beta);
        self.count(by.steps * energy.len(), failures, start);

        for (row, kinetic) in kinetic.iter_mut().enumerate() {
            *kinetic -= kinetic_energy(&momentum[row * width..(row + 1) * width], by.masses, d);
        }
        Ok(self.accept(by, rngs, scratch))
    }

    /// One pivot of every replica, which is accepted or not.
    pub fn pivot(
        &mut self,
        by: Move<'_>,
        pivots: &Pivots,
        rngs: &mut [ChaCha8Rng],
        scratch: &mut Scratch,
    ) -> Result<(), EvaluationError> {
        let width = by.potential.system().coordinates();
        let Scratch { x, energy, gradient, kinetic, .. } = scratch;
        x.clone_from(&self.x);
        for (x, rng) in x.chunks_exact_mut(width).zip(rngs.iter_mut()) {
            pivots.turn(rng, x);
        }
        energy.resize(self.energy.len(), 0.0);
        gradient.resize(x.len(), 0.0);
        let start = Instant::now();
        let failures = by.potential.energies_and_gradients(x, energy, gradient)?;
        self.count(energy.len(), failures, start);
        kinetic.clear();
        kinetic.resize(energy.len(), 0.0);
        self.accept(by, rngs, scratch);
        Ok(())
    }

    /// Counts evaluations since `start`. Those far off, where gradients need not be numbers, say
    /// nothing about the potential.
    fn count(&mut self, evaluations: usize, failures: usize, start: Instant) {
        self.effort.evaluations += evaluations as u64;
        self.effort.failures += failures as u64;
        self.effort.seconds += start.elapsed().as_secs_f64();
    }

    /// Puts each replica where `scratch` is, or leaves it, by Metropolis; there, `kinetic` is the
    /// kinetic energy that was lost. Returns the mean acceptance.
    fn accept(&mut self, by: Move<'_>, rngs: &mut [ChaCha8Rng], scratch: &mut Scratch) -> f64 {
        let system = by.potential.system();
        let width = system.coordinates();
        let Scratch { x, energy, gradient, kinetic, .. } = scratch;
        let mut accepted = 0.0;
        for (row, rng) in rngs.iter_mut().enumerate().take(energy.len()) {
            let uniform: f64 = rng.gen();
            let place = row * width..(row + 1) * width;
            let gain = by.beta * (self.energy[row] - energy[row]) + kinetic[row];
            let finite = gradient[place.clone()].iter().all(|g| g.is_finite());
            let chance = if finite && gain.is_finite() { gain.exp().min(1.0) } else { 0.0 };
            accepted += chance;
            if uniform < chance {
                system.remove_center_of_mass(&mut x[place.clone()]);
                self.x[place.clone()].copy_from_slice(&x[place.clone()]);
                self.gradient[place.clone()].copy_from_slice(&gradient[place]);
                self.energy[row] = energy[row];
            }
        }
        accepted / energy.len() as f64
    }
}

fn kick(momentum: &mut [f64], gradient: &[f64], factor: f64) {
    momentum.iter_mut().zip(gradient).for_each(|(p, g)| *p -= factor * g);
}

fn kinetic_energy(momentum: &[f64], masses: &[f64], d: usize) -> f64 {
    let squares = |p: &[f64]| p.iter().map(|p| p * p).sum::<f64>();
    momentum.chunks_exact(d).zip(masses).map(|(p, mass)| 0.5 * squares(p) / mass).sum()
}

/// Masses that give all atoms about the same period: the mean curvature of the energy along each,
/// which for samples of exp(−βU) is β times its mean squared gradient. Their mean is 1.
pub(super) fn masses(system: System, gradients: &[f64]) -> Vec<f64> {
    let (n, d) = (system.particles(), system.dimension());
    let mut squares = vec![0.0; n];
    for gradient in gradients.chunks_exact(system.coordinates()) {
        if gradient.iter().all(|g| g.is_finite()) {
            for (square, g) in squares.iter_mut().zip(gradient.chunks_exact(d)) {
                *square += g.iter().map(|g| g * g).sum::<f64>();
            }
        }
    }
    let mean = squares.iter().sum::<f64>() / n as f64;
    // An atom that feels nothing, or far more than all others, gets a mass within reason.
    squares.iter().map(|square| (square / mean).clamp(0.05, 20.0)).collect()
}
