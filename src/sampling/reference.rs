//! The reference sampler: unbiased samples, log Z and mean energies of a potential, with no flow.
//!
//! Several independent populations are carried from a Gaussian to exp(−U) by sequential Monte Carlo
//! (Del Moral, Doucet & Jasra, J. R. Stat. Soc. B 68 (2006)): reweight, resample when the weights
//! have become uneven, move by Hamiltonian Monte Carlo. Every next temperature is chosen such that
//! the conditional effective sample size keeps a set fraction (Zhou, Johansen & Aston, JCGS 25
//! (2016)). At the end each population continues by Hamiltonian Monte Carlo alone. Errors are those
//! of the mean over populations.

use std::sync::Arc;

use rand::Rng;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use serde::Serialize;

use super::hmc::{transition, Chains, Effort, GeometricPath, Leapfrog, StepSize, Workspace};
use super::resampling::resample_systematically;
use super::{AugmentedTarget, Gaussian, LogDensity, Proposal};
use crate::diagnostics::{effective_sample_size, log_sum_exp, log_z_and_error, mean_and_error};
use crate::error::Error;
use crate::parallel::{message, team};
use crate::potential::Potential;
use crate::random::{step_before, stream, Purpose, ALL_SAMPLES, ONCE};
use crate::samples::Samples;
use crate::system::System;

/// Rows of a tile of chains.
const TILE: usize = 64;
/// Populations; enough for an error of the mean that is itself known to about a sixth.
const POPULATIONS: usize = 16;
/// Leapfrog steps of a transition. A hard core keeps the step small; with 8 steps the soft modes of
/// LJ13 did not keep up with the temperature and ⟨x·∇U⟩ came out too high.
const LEAPFROG_STEPS: usize = 32;
/// Conditional effective sample size that a change of temperature keeps.
const KEPT: f64 = 0.99;
/// Effective sample size, as a fraction, under which a population is resampled.
const RESAMPLE: f64 = 0.5;
/// Temperatures after which annealing is given up.
const MAX_TEMPERATURES: usize = 20_000;

/// How much work the reference sampler does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReferenceOptions {
    /// Configurations to return.
    pub samples: usize,
    /// Chains in all populations together, at least `samples`. Errors fall with its square root.
    pub chains: usize,
    /// Transitions of every chain after annealing: the first fifth equilibrates, the rest enters
    /// the means.
    pub transitions: usize,
    /// Seed of all random numbers.
    pub seed: u64,
}

impl Default for ReferenceOptions {
    fn default() -> Self {
        Self { samples: 10_000, chains: 32_768, transitions: 50, seed: 0 }
    }
}

impl ReferenceOptions {
    /// The default work for `samples` of this system. An energy costs the square of the particles:
    /// beyond those of LJ13 there are fewer chains, at least 2048, and errors are larger.
    pub fn of(system: System, samples: usize) -> Self {
        let options = Self::default();
        let pairs = |particles: usize| particles * particles.saturating_sub(1) / 2;
        let affordable = options.chains * pairs(13) / pairs(system.particles()).max(pairs(13));
        Self { samples, chains: affordable.max(2048).max(samples), ..options }
    }
}

/// What the reference sampler found; energies in kT, errors are standard errors.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ReferenceReport {
    /// Configurations returned.
    pub samples: usize,
    /// Independent populations.
    pub populations: usize,
    /// Chains in all populations together.
    pub chains: usize,
    /// Mean number of temperatures from the Gaussian to exp(−U).
    pub temperatures: f64,
    /// Standard deviation of a coordinate of the starting Gaussian.
    pub start_scale: f64,
    /// log ∫ exp(−U) over the zero-centre-of-mass subspace.
    pub log_z: f64,
    /// Standard error of `log_z`.
    pub log_z_error: f64,
    /// ⟨U⟩.
    pub energy: f64,
    /// Standard error of `energy`.
    pub energy_error: f64,
    /// Standard deviation of U.
    pub energy_std: f64,
    /// ⟨U⟩ + log Z, the lowest possible negative log-likelihood.
    pub entropy: f64,
    /// Standard error of `entropy`.
    pub entropy_error: f64,
    /// ⟨x·∇U⟩, which must equal `degrees_of_freedom`.
    pub virial: f64,
    /// Standard error of `virial`.
    pub virial_error: f64,
    /// (n − 1) d.
    pub degrees_of_freedom: usize,
    /// Mean acceptance after annealing.
    pub acceptance: f64,
    /// Mean step size after annealing.
    pub step_size: f64,
    /// Cost of the potential.
    pub effort: Effort,
}

/// Samples of exp(−U) and what is known of it.
#[derive(Debug, Clone)]
pub struct Reference {
    /// Configurations, randomly rotated and permuted within species, with their energies.
    pub samples: Samples,
    /// Summary.
    pub report: ReferenceReport,
}

/// Samples exp(−U) without a flow. The result does not depend on the number of threads and ranks,
/// which share the populations.
///
/// # Errors
/// [`Error::Parameter`] if no samples or fewer chains than samples are asked for,
/// [`Error::Evaluation`] if the potential fails fatally, [`Error::Run`] if no starting
/// configuration has a finite energy or annealing does not end.
pub fn sample_reference(
    potential: Arc<dyn Potential>,
    options: ReferenceOptions,
) -> Result<Reference, Error> {
    if options.samples == 0 {
        return Err(Error::parameter("samples", "is 0: ask for at least 1"));
    }
    if options.chains < options.samples {
        return Err(Error::parameter(
            "chains",
            format!("is {}: use at least as many as samples, {}", options.chains, options.samples),
        ));
    }
    let target = AugmentedTarget::new(potential, 1, 1.0)?;
    let start_scale = starting_scale(&target, options.seed)?;
    let start = Gaussian::new(target.subspace(), start_scale, 1.0)?;
    let path = GeometricPath { densities: [&start, &target], subspace: target.subspace() };
    let populations = team().map(POPULATIONS, |index| {
        let mut population = Population::draw(&path, &start, options, index as u64)?;
        population.anneal()?;
        population.equilibrate(options.transitions)
    })?;

    let samples = collect_samples(&target, &populations, options);
    let log_zs: Vec<f64> = populations.iter().map(|p| p.log_z).collect();
    let (log_z, log_z_error) = log_z_and_error(&log_zs);
    let mean =
        |f: fn(&Outcome) -> f64| mean_and_error(&populations.iter().map(f).collect::<Vec<_>>());
    let (energy, energy_error) = mean(|p| p.energy);
    let (virial, virial_error) = mean(|p| p.virial);
    let (_, entropy_error) = mean(|p| p.energy + p.log_z);
    let mut effort = Effort::default();
    for population in &populations {
        effort += population.effort;
    }
    let report = ReferenceReport {
        samples: options.samples,
        populations: POPULATIONS,
        chains: population_size(options) * POPULATIONS,
        temperatures: mean(|p| p.temperatures as f64).0,
        start_scale,
        log_z,
        log_z_error,
        energy,
        energy_error,
        energy_std: (mean(|p| p.squared_energy).0 - energy * energy).max(0.0).sqrt(),
        entropy: energy + log_z,
        entropy_error,
        virial,
        virial_error,
        degrees_of_freedom: target.subspace().system().degrees_of_freedom(),
        acceptance: mean(|p| p.acceptance).0,
        step_size: mean(|p| p.step_size).0,
        effort,
    };
    Ok(Reference { samples, report })
}

fn population_size(options: ReferenceOptions) -> usize {
    options.chains.div_ceil(POPULATIONS).max(2)
}

/// The scale σ whose Gaussian has the lowest median of log q + U: the variational free energy, with
/// a median instead of a mean because a single pair at overlap has an energy past all bounds.
fn starting_scale(target: &AugmentedTarget, seed: u64) -> Result<f64, Error> {
    const DRAWS: usize = 512;
    let dof = target.subspace().system().degrees_of_freedom() as f64;
    let unit = Gaussian::new(target.subspace(), 1.0, 1.0)?;
    let mut rngs: Vec<ChaCha8Rng> =
        (0..DRAWS as u64).map(|i| stream(seed, Purpose::Reference, ONCE, i)).collect();
    let mut noise = vec![0.0; DRAWS * target.width()];
    let mut log_density = vec![0.0; DRAWS];
    unit.draw(&mut rngs, &mut noise, &mut log_density);
    let mut gradient = vec![0.0; noise.len()];
    let mut best = (f64::INFINITY, 1.0);
    for exponent in -24..=24 {
        let scale = 2f64.powf(f64::from(exponent) / 4.0);
        let x: Vec<f64> = noise.iter().map(|z| scale * z).collect();
        target.log_density_and_gradient(&x, &mut log_density, &mut gradient)?;
        log_density.sort_by(f64::total_cmp);
        let free_energy = -log_density[DRAWS / 2] - dof * scale.ln();
        if free_energy < best.0 {
            best = (free_energy, scale);
        }
    }
    if best.0.is_finite() {
        Ok(best.1)
    } else {
        Err(Error::Run(
            "the reference sampler found no Gaussian (scales 1/64 to 64) half of whose draws have \
             a finite energy: check the potential's unit of length"
                .into(),
        ))
    }
}

/// What one population found.
struct Outcome {
    /// [chains, particles, dimension].
    samples: Vec<f64>,
    energies: Vec<f64>,
    log_z: f64,
    energy: f64,
    squared_energy: f64,
    virial: f64,
    acceptance: f64,
    step_size: f64,
    temperatures: usize,
    effort: Effort,
}

message!(Outcome {
    samples,
    energies,
    log_z,
    energy,
    squared_energy,
    virial,
    acceptance,
    step_size,
    temperatures,
    effort,
});

/// A population of weighted chains on its way from the Gaussian to exp(−U).
struct Population<'a> {
    path: &'a GeometricPath<'a>,
    tiles: Vec<(Chains, Vec<ChaCha8Rng>)>,
    /// Decides for all chains at once: resampling and the jitter of step sizes.
    rng: ChaCha8Rng,
    beta: f64,
    /// Since the last resampling, `[chains]`.
    log_weights: Vec<f64>,
    log_z: f64,
    step_size: StepSize,
    temperatures: usize,
}

impl<'a> Population<'a> {
    fn draw(
        path: &'a GeometricPath<'a>,
        start: &Gaussian,
        options: ReferenceOptions,
        index: u64,
    ) -> Result<Self, Error> {
        let size = population_size(options);
        let tiles = (0..size.div_ceil(TILE))
            .map(|tile| {
                let first = tile * TILE;
                let mut rngs: Vec<ChaCha8Rng> = (first..size.min(first + TILE))
                    .map(|chain| stream(options.seed, Purpose::Reference, index, chain as u64))
                    .collect();
                let mut position = vec![0.0; rngs.len() * path.subspace.width()];
                let mut log_density = vec![0.0; rngs.len()];
                start.draw(&mut rngs, &mut position, &mut log_density);
                Ok((Chains::new(path, position)?, rngs))
            })
            .collect::<Result<_, Error>>()?;
        Ok(Self {
            path,
            tiles,
            rng: stream(options.seed, Purpose::Reference, index, ALL_SAMPLES),
            beta: 0.0,
            log_weights: vec![0.0; size],
            log_z: 0.0,
            step_size: StepSize::new(0.1),
            temperatures: 0,
        })
    }

    fn anneal(&mut self) -> Result<(), Error> {
        while self.beta < 1.0 {
            if self.temperatures == MAX_TEMPERATURES {
                return Err(Error::Run(format!(
                    "the reference sampler stands at β = {:.2e} after {MAX_TEMPERATURES} \
                     temperatures: the potential may have no normalisable density, or a core too \
                     hard",
                    self.beta
                )));
            }
            let ratios: Vec<f64> = self
                .tiles
                .iter()
                .flat_map(|(chains, _)| {
                    chains.log_density(1).iter().zip(chains.log_density(0)).map(|(p, q)| p - q)
                })
                .collect();
            let change = self.next_change(&ratios);
            let before = log_sum_exp(&self.log_weights);
            for (weight, ratio) in self.log_weights.iter_mut().zip(&ratios) {
                *weight += change * ratio;
            }
            let after = log_sum_exp(&self.log_weights);
            if !after.is_finite() {
                return Err(Error::Run(
                    "no configuration of the reference sampler's population has a finite energy"
                        .into(),
                ));
            }
            self.log_z += after - before;
            self.beta = if change >= 1.0 - self.beta { 1.0 } else { self.beta + change };
            self.temperatures += 1;
            let ess = effective_sample_size(&self.log_weights);
            if ess.fraction < RESAMPLE || self.beta == 1.0 {
                self.resample();
            }
            self.step()?;
        }
        Ok(())
    }

    /// The largest change of β that keeps the conditional effective sample size (Σ W w)² / (Σ W · Σ
    /// W w²), w = exp(change · ratio), W the weights so far, both over the chains that have an
    /// energy at all: no change of β, however small, keeps the others.
    fn next_change(&self, ratios: &[f64]) -> f64 {
        let (weights, ratios): (Vec<f64>, Vec<f64>) =
            self.log_weights.iter().zip(ratios).filter(|(_, ratio)| ratio.is_finite()).unzip();
        let mut changed = weights.clone();
        let mut moment = |change: f64| {
            for ((changed, weight), ratio) in changed.iter_mut().zip(&weights).zip(&ratios) {
                *changed = weight + change * ratio;
            }
            log_sum_exp(&changed)
        };
        let total = moment(0.0);
        let mut kept = |change: f64| (2.0 * moment(change) - moment(2.0 * change) - total).exp();
        let rest = 1.0 - self.beta;
        if kept(rest) >= KEPT {
            return rest;
        }
        // Bisection in the logarithm: at overlap r⁻¹² the first changes are tiny.
        let (mut low, mut high) = (rest.ln() - 100.0, rest.ln());
        for _ in 0..50 {
            let middle = 0.5 * (low + high);
            if kept(middle.exp()) >= KEPT {
                low = middle;
            } else {
                high = middle;
            }
        }
        low.exp()
    }

    /// Resamples, after which all weights are equal.
    fn resample(&mut self) {
        let offset: f64 = self.rng.gen();
        let Some(chosen) = resample_systematically(&self.log_weights, offset) else { return };
        let old: Vec<Chains> = self.tiles.iter().map(|(chains, _)| chains.clone()).collect();
        for (chain, source) in chosen.into_iter().enumerate() {
            self.tiles[chain / TILE].0.copy_row(chain % TILE, &old[source / TILE], source % TILE);
        }
        self.log_weights.fill(0.0);
    }

    /// One transition of every chain; returns the mean acceptance.
    ///
    /// The step size is jittered, so that no trajectory lasts a multiple of some mode's period.
    fn step(&mut self) -> Result<f64, Error> {
        let leapfrog = Leapfrog {
            step_size: self.step_size.get() * self.rng.gen_range(0.8..1.2),
            steps: LEAPFROG_STEPS,
        };
        let (path, coefficients) = (self.path, [1.0 - self.beta, self.beta]);
        let acceptance: Vec<f64> = self
            .tiles
            .par_iter_mut()
            .map_init(Workspace::default, |workspace, (chains, rngs)| {
                Ok(transition(path, coefficients, leapfrog, chains, rngs, workspace)?.iter().sum())
            })
            .collect::<Result<_, Error>>()?;
        let acceptance = acceptance.iter().sum::<f64>() / self.log_weights.len() as f64;
        self.step_size.adapt(acceptance);
        Ok(acceptance)
    }

    /// Goes on at β = 1: a fifth of the transitions to forget the resampling, the rest for means.
    fn equilibrate(mut self, transitions: usize) -> Result<Outcome, Error> {
        let transitions = transitions.max(1);
        let (mut energy, mut squared_energy, mut virial, mut acceptance) = (0.0, 0.0, 0.0, 0.0);
        let equilibration = transitions / 5;
        for index in 0..transitions {
            let accepted = self.step()?;
            if index < equilibration {
                continue;
            }
            acceptance += accepted;
            for (chains, _) in &self.tiles {
                for log_density in chains.log_density(1) {
                    energy -= log_density;
                    squared_energy += log_density * log_density;
                }
                // Where there is no gradient, there is no virial.
                let pairs = chains.position().iter().zip(chains.gradient(1));
                let terms = pairs.map(|(x, gradient)| x * gradient);
                virial -= terms.filter(|term| !term.is_nan()).sum::<f64>();
            }
        }
        let counted = (transitions - equilibration) as f64;
        let terms = counted * self.log_weights.len() as f64;
        let mut effort = Effort::default();
        for (chains, _) in &self.tiles {
            effort += chains.effort()[1];
        }
        Ok(Outcome {
            samples: self.tiles.iter().flat_map(|(c, _)| c.position()).copied().collect(),
            energies: self.tiles.iter().flat_map(|(c, _)| c.log_density(1)).map(|p| -p).collect(),
            log_z: self.log_z,
            energy: energy / terms,
            squared_energy: squared_energy / terms,
            virial: virial / terms,
            acceptance: acceptance / counted,
            step_size: self.step_size.get(),
            temperatures: self.temperatures,
            effort,
        })
    }
}

/// Takes the populations' chains in turn and gives each a random orientation and, within a
/// species, order.
fn collect_samples(
    target: &AugmentedTarget,
    populations: &[Outcome],
    options: ReferenceOptions,
) -> Samples {
    let system = target.subspace().system();
    let species = target.potential().species();
    let width = system.coordinates();
    let mut positions = Vec::with_capacity(options.samples * width);
    let mut energies = Vec::with_capacity(options.samples);
    for sample in 0..options.samples {
        let population = &populations[sample % populations.len()];
        let chain = sample / populations.len();
        let mut rng = stream(options.seed, Purpose::Reference, step_before(1), sample as u64);
        let permutation = system.random_permutation_within(species, &mut rng);
        let mut x =
            system.permute(&permutation, &population.samples[chain * width..(chain + 1) * width]);
        system.rotate(&system.random_rotation(&mut rng), &mut x);
        positions.extend_from_slice(&x);
        energies.push(population.energies[chain]);
    }
    Samples { positions, energies, log_weights: Vec::new() }
}
