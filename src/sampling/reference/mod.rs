//! The reference sampler: unbiased samples, log Z and mean energies of a potential, with no flow.
//!
//! Several independent populations are carried from a Gaussian to exp(−U) by sequential Monte Carlo
//! (Del Moral, Doucet & Jasra, J. R. Stat. Soc. B 68 (2006)): reweight, resample when the weights
//! have become uneven, move by Hamiltonian Monte Carlo. Every next temperature is chosen such that
//! the conditional effective sample size keeps a set fraction (Zhou, Johansen & Aston, JCGS 25
//! (2016)). At the end each population continues by Hamiltonian Monte Carlo alone.
//!
//! The Z of each population is unbiased, and so is its sum of Z · f for any f: samples and means
//! take from the populations in proportion to their Z. With equal parts a rare population that
//! found a large well would count no more than those that missed it. Errors are jackknife errors
//! over populations.

mod chains;
mod cost;
mod exchange;
mod pool;
mod population;
mod report;
mod start;

use std::sync::Arc;

use rand::Rng;

use super::{AugmentedTarget, Effort};
use crate::error::Error;
use crate::parallel::team;
use crate::potential::{Heated, Potential};
use crate::random::{step_before, stream, Purpose, ALL_SAMPLES};
use crate::samples::Samples;

pub use chains::{energy_chains, EnergyChains};
pub use cost::reference_seconds;
pub use exchange::is_molecule;
pub use report::{ExchangeReport, Reference, ReferenceOptions, ReferenceReport};

use pool::Pool;
use population::{run_all, schedule, Outcome, Run};
use report::{orient, POPULATIONS};
use start::Start;

/// Populations that find how far a target reaches, with streams of random numbers of their own.
const PILOT: Run = Run { populations: 4, chains: 64, first: 1 << 32 };

impl ReferenceOptions {
    /// The default work for `samples` of this potential: four chains a sample, within 4096 and
    /// 32 768. An energy costs the square of the particles: beyond those of LJ13 there are fewer
    /// chains, at least 2048, and errors are larger. A crystal, each of whose configurations is an
    /// average over its sites, has at least 256, and a molecule 256 chains of 1000 sweeps.
    pub fn of(potential: &dyn Potential, samples: usize) -> Self {
        let (options, system) = (Self::default(), potential.system());
        if exchange::is_molecule(potential) {
            return Self { samples, chains: 256, transitions: 1000, ..options };
        }
        let chains = samples.saturating_mul(4).clamp(4096, options.chains);
        let pairs = |particles: usize| particles * particles.saturating_sub(1) / 2;
        let affordable = chains * pairs(13) / pairs(system.particles()).max(pairs(13));
        let least = if system.periodic_box().is_some() { 256 } else { 2048 };
        Self { samples, chains: affordable.max(least).max(samples), ..options }
    }

    /// The least work for `samples` that are to be walked on from: a chain each and few
    /// transitions. The chains of a molecule, which start from one structure, have twenty sweeps,
    /// and three times as many before them.
    pub fn starts(potential: &dyn Potential, samples: usize) -> Self {
        if exchange::is_molecule(potential) {
            return Self { transitions: 20, ..Self::of(potential, samples) };
        }
        Self { samples, chains: samples, transitions: 10, seed: 0 }
    }

    /// The work of a first look at a potential: that of [`starts`](Self::starts), and of a molecule
    /// some sweeps.
    pub fn look(potential: &dyn Potential, samples: usize) -> Self {
        let starts = Self::starts(potential, samples);
        match exchange::is_molecule(potential) {
            true => Self { transitions: 20, ..starts },
            false => starts,
        }
    }
}

/// [`sample_reference`] at another temperature, over that of the target: samples of a molecule are
/// those of the nearest level of replica exchange, up to 4, and its report is that of the target.
///
/// # Errors
/// Those of [`sample_reference`].
pub fn sample_reference_at(
    potential: Arc<dyn Potential>,
    options: ReferenceOptions,
    temperature: f64,
) -> Result<Reference, Error> {
    if temperature == 1.0 {
        return sample_reference(potential, options);
    }
    if exchange::is_molecule(&*potential) {
        return exchange::sample(potential, options, temperature);
    }
    sample_reference(Arc::new(Heated { potential, beta: 1.0 / temperature }), options)
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
    if exchange::is_molecule(&*potential) {
        return exchange::sample(potential, options, 1.0);
    }
    if options.chains < options.samples {
        return Err(Error::parameter(
            "chains",
            format!("is {}: use at least as many as samples, {}", options.chains, options.samples),
        ));
    }
    let target = AugmentedTarget::new(potential, 1, 1.0)?;
    let start = starting_density(&target, options.seed)?;
    let chains = options.chains.div_ceil(POPULATIONS).max(2);
    let run = Run { populations: POPULATIONS, chains, first: 0 };
    let changes = match start.is_oriented() {
        true => Some(schedule(&target, &start, chains, options.seed)?),
        false => None,
    };
    let populations =
        run_all(&target, &start, run, changes.as_deref(), options.transitions, options.seed)?;

    let pool = Pool::of(populations.iter().map(|p| p.log_z).collect());
    let of_each = |f: fn(&Outcome) -> f64| populations.iter().map(f).collect::<Vec<f64>>();
    let plain = |f| of_each(f).iter().sum::<f64>() / POPULATIONS as f64;
    let (log_z, log_z_error) = pool.log_z();
    let energies = of_each(|p| p.energy);
    let (energy, energy_error) = pool.mean(&energies);
    let (virial, virial_error) = pool.mean(&of_each(|p| p.virial));
    let squared_energy = pool.mean_value(&of_each(|p| p.squared_energy));
    let entropy_error = pool.error(|pool| pool.mean_value(&energies) + pool.log_mean());
    let mut effort = Effort::default();
    for population in &populations {
        effort += population.effort;
    }
    let report = ReferenceReport {
        samples: options.samples,
        populations: POPULATIONS,
        effective_populations: pool.effective(),
        chains: chains * POPULATIONS,
        temperatures: plain(|p| p.temperatures as f64),
        start_scale: start.scale,
        log_z,
        log_z_error,
        energy,
        energy_error,
        energy_std: (squared_energy - energy * energy).max(0.0).sqrt(),
        entropy: energy + log_z,
        entropy_error,
        virial,
        virial_error,
        degrees_of_freedom: target.subspace().system().degrees_of_freedom(),
        acceptance: plain(|p| p.acceptance),
        step_size: plain(|p| p.step_size),
        effort,
        exchange: None,
    };
    let (samples, populations) = collect_samples(&target, &populations, &pool, options);
    Ok(Reference { samples, populations, report })
}

/// Where a target's populations start.
///
/// Around known structures, the width is that of the Gaussian that fits best. Without any, a single
/// Gaussian must cover all wells, and the one that fits best would lie in the deepest alone: a few
/// chains are annealed from one twice as wide, and the width is that of what they find, which makes
/// the Gaussian the nearest to the target in the forward Kullback-Leibler divergence. The widest of
/// their populations counts.
fn starting_density(target: &AugmentedTarget, seed: u64) -> Result<Start, Error> {
    // Alone, each rank may fail or be stopped.
    let fitted = |start: Start| team().agree(start.with_best_scale(target, seed));
    if let Some(start) = Start::around_structures(target) {
        return fitted(start);
    }
    if target.subspace().system().periodic_box().is_some() {
        let problem = "is missing: particles in a periodic box start from the sites of a crystal";
        return Err(Error::parameter("structure", problem));
    }
    let mut start = fitted(Start::around_origin(target.subspace(), 1.0))?;
    let narrowest = start.scale;
    start.scale *= 2.0;
    let freedom = target.subspace().system().degrees_of_freedom() as f64;
    let square = |x: &[f64]| x.iter().map(|x| x * x).sum::<f64>();
    start.scale = run_all(target, &start, PILOT, None, 1, seed)?
        .iter()
        .map(|found| (square(&found.positions) / (PILOT.chains as f64 * freedom)).sqrt())
        .fold(narrowest, f64::max);
    Ok(start)
}

/// Takes chains of the populations in proportion to their Z and gives each a random orientation
/// and, within a species, order. Returns the population of each, too.
fn collect_samples(
    target: &AugmentedTarget,
    populations: &[Outcome],
    pool: &Pool,
    options: ReferenceOptions,
) -> (Samples, Vec<usize>) {
    let width = target.subspace().width();
    let chains = populations.iter().map(|p| p.energies.len()).min().unwrap_or(0);
    let offset = stream(options.seed, Purpose::Reference, step_before(1), ALL_SAMPLES).gen();
    let mut samples = Samples::default();
    let chosen = pool.choose(options.samples, chains, offset);
    for (sample, &(population, chain)) in chosen.iter().enumerate() {
        let found = &populations[population];
        let x = &found.positions[chain * width..(chain + 1) * width];
        samples.positions.extend(orient(&**target.potential(), x, options.seed, sample as u64));
        samples.energies.push(found.energies[chain]);
    }
    (samples, chosen.into_iter().map(|(population, _)| population).collect())
}
