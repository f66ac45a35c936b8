//! The reference sampler of molecules: replica exchange over temperatures.
//!
//! A molecule is stiff, and its conformations are apart: annealing passes each barrier once, while
//! chains that exchange configurations with hotter ones pass them again and again. Sixteen
//! independent ensembles of ladders start from the structure; their differences give the errors. Z
//! follows by Bennett's acceptance ratio, from temperature to temperature and at the hottest from a
//! density in internal coordinates that is fitted there.

mod base;
mod free_energy;
mod ladder;
mod pivot;
mod sectors;
mod trajectory;
mod visits;

use std::f64::consts::PI;
use std::sync::Arc;

use rand::Rng;

use self::free_energy::Hottest;
use self::ladder::{Ladders, LEAPFROG_STEPS, PIVOTS, TILE};
use self::sectors::Sectors;
use self::visits::{Torsions, Visits};
use super::report::{
    orient, ExchangeReport, Reference, ReferenceOptions, ReferenceReport, POPULATIONS,
};
use crate::diagnostics::{bennett_log_z, integrated_autocorrelation_time};
use crate::error::Error;
use crate::molecule::Tree;
use crate::parallel::{message, team};
use crate::potential::Potential;
use crate::random::{step_before, stream, Purpose};
use crate::samples::Samples;
use crate::sampling::Effort;

/// The hottest temperature over that of the target: amides turn, and at twice as much of it carbons
/// begin to turn inside out.
const HOTTEST: f64 = 4.0;
/// Neighbouring temperatures differ by so many standard deviations of the energy, at which two of
/// five exchanges are made.
const SPACING: f64 = 1.2;
/// Configurations of an ensemble at the hottest temperature from which Z there follows: so many at
/// least, if there are.
const HOT_SAMPLES: usize = 4096;
/// Sweeps that find step sizes and are not counted: at least so many, or three times those that
/// are, and a part of those that are.
const LEAST_SETTLING: usize = 300;
const SETTLING: usize = 4;

/// Sweeps that log Z needs. After 40, that of a soft molecule was too low by four of its errors.
const SWEEPS_FOR_LOG_Z: usize = 100;

/// What one ensemble of ladders found.
struct Ensemble {
    /// Thinned, [samples, particles, dimension], with energies.
    positions: Vec<f64>,
    energies: Vec<f64>,
    /// U of every sweep, [chains, sweeps].
    series: Vec<f64>,
    /// log Z of the structure's part less that at the hottest temperature.
    log_ratio: f64,
    /// Some of the hottest temperature, [samples, particles, dimension].
    hot: Vec<f64>,
    energy: f64,
    squared_energy: f64,
    virial: f64,
    acceptance: f64,
    step_size: f64,
    tried: Vec<u64>,
    made: Vec<u64>,
    round_trips: u64,
    visits: Visits,
    effort: Effort,
}

message!(Ensemble {
    positions,
    energies,
    series,
    log_ratio,
    hot,
    energy,
    squared_energy,
    virial,
    acceptance,
    step_size,
    tried,
    made,
    round_trips,
    visits,
    effort,
});

/// What all ensembles share.
struct Plan<'a> {
    potential: &'a dyn Potential,
    betas: Vec<f64>,
    masses: Vec<f64>,
    torsions: Torsions,
    tree: &'a Tree,
    sectors: &'a Sectors,
    /// Ladders of an ensemble.
    chains: usize,
    /// Sweeps that are counted.
    sweeps: usize,
    /// Samples that an ensemble keeps, of this level.
    kept: usize,
    level: usize,
    seed: u64,
}

/// Whether replica exchange can sample it, and a base density knows it: a molecule with a structure
/// whose bonds hold all of its atoms together.
pub fn is_molecule(potential: &dyn Potential) -> bool {
    let system = potential.system();
    system.dimension() == 3
        && !potential.structures().is_empty()
        && Tree::of(system.particles(), potential.bonds()).is_some()
}

/// Samples a molecule; the samples that are returned are those of the level that is nearest to a
/// temperature, over that of the target.
///
/// # Errors
/// [`Error::Run`] if bonds or a structure are missing.
pub(super) fn sample(
    potential: Arc<dyn Potential>,
    options: ReferenceOptions,
    temperature: f64,
) -> Result<Reference, Error> {
    let system = potential.system();
    let tree = Tree::of(system.particles(), potential.bonds());
    let (Some(tree), [first, ..]) = (tree, potential.structures()) else {
        return Err(Error::Run("a molecule without bonds or structure cannot be sampled".into()));
    };
    let sectors = Sectors::of(&*potential, first);
    let chains = chains_of_each(options);
    let (heat_capacity, masses) = pilot(&*potential, first, options.seed)?;
    let betas = ladder(heat_capacity);
    let off = |level: &usize| (betas[*level] * temperature).ln().abs();
    let level = (0..betas.len()).min_by(|a, b| off(a).total_cmp(&off(b))).unwrap_or(0);
    let plan = Plan {
        potential: &*potential,
        level,
        betas,
        masses,
        torsions: Torsions::of(system, potential.bonds()),
        tree: &tree,
        sectors: &sectors,
        chains,
        sweeps: options.transitions,
        kept: options.samples.div_ceil(POPULATIONS),
        seed: options.seed,
    };
    let ensembles = team().map(POPULATIONS, |index| plan.ensemble(index as u64))?;
    let hottest = plan.hottest(&ensembles);
    let log_z = hottest.log_z()?;
    let log_z = log_z.iter().zip(&ensembles).map(|(hot, e)| hot + e.log_ratio).collect();
    let (report, samples) = report(&plan, &ensembles, (&hottest, log_z), options);
    let populations = (0..options.samples).map(|sample| sample % ensembles.len()).collect();
    Ok(Reference { samples, populations, report })
}

fn settling(sweeps: usize) -> usize {
    (sweeps / SETTLING).max(LEAST_SETTLING.min(3 * sweeps))
}

/// Ladders of an ensemble: whole tiles.
fn chains_of_each(options: ReferenceOptions) -> usize {
    options.chains.div_ceil(POPULATIONS).div_ceil(TILE).max(1) * TILE
}

/// About how many energies [`sample`] takes, if stiff coordinates were all of the heat capacity.
pub(super) fn evaluations(potential: &dyn Potential, options: ReferenceOptions) -> usize {
    let levels = ladder(0.5 * potential.system().degrees_of_freedom() as f64).len();
    let sweeps = options.transitions + settling(options.transitions);
    POPULATIONS * chains_of_each(options) * levels * sweeps * (LEAPFROG_STEPS + PIVOTS)
}

/// Heat capacity, the variance of βU, and masses, from short chains at the hottest temperature.
fn pilot(
    potential: &dyn Potential,
    structure: &[f64],
    seed: u64,
) -> Result<(f64, Vec<f64>), Error> {
    const SWEEPS: usize = 60;
    let beta = 1.0 / HOTTEST;
    let mut masses = vec![1.0; potential.system().particles()];
    let mut starts = structure.repeat(TILE);
    let mut heat_capacity = 1.0;
    // Twice: masses from the first time make the second one quicker.
    for round in 0..2 {
        let betas = [beta, beta];
        let index = (1 << 32) + round;
        let mut hot = Ladders::at(potential, &betas, &masses, &starts, (seed, index))?;
        let mut energies = Vec::new();
        for sweep in 0..SWEEPS {
            hot.settle(0.0)?;
            if sweep >= SWEEPS / 2 {
                hot.tiles().for_each(|tile| energies.extend(&tile.energy));
            }
        }
        let mean = energies.iter().sum::<f64>() / energies.len() as f64;
        let square: f64 = energies.iter().map(|u| (u - mean) * (u - mean)).sum();
        heat_capacity = beta * beta * square / energies.len() as f64;
        let gradients: Vec<f64> = hot.tiles().flat_map(|tile| tile.gradient.clone()).collect();
        starts = hot.level(0).flat_map(|tile| tile.x.clone()).collect();
        masses = trajectory::masses(potential.system(), &gradients);
    }
    Ok((heat_capacity, masses))
}

/// β from 1 down to that of the hottest temperature, by equal factors. There the variance of βU is
/// that of the heat capacity; from one temperature to the next it hardly changes.
fn ladder(heat_capacity: f64) -> Vec<f64> {
    let spread = if heat_capacity > 0.0 { heat_capacity.sqrt() } else { 1.0 };
    let steps = (HOTTEST.ln() / (SPACING / spread).ln_1p()).ceil().clamp(1.0, 200.0);
    (0..=steps as usize).map(|level| HOTTEST.powf(-(level as f64) / steps)).collect()
}

impl Plan<'_> {
    fn ensemble(&self, index: u64) -> Result<Ensemble, Error> {
        let Self { potential, betas, masses, .. } = self;
        let width = potential.system().coordinates();
        let mut starts = self.sectors.starts(*potential, self.chains, (self.seed, index));
        if self.level > 0 {
            self.turn(&mut starts, index)?;
        }
        let mut ladders = Ladders::at(*potential, betas, masses, &starts, (self.seed, index))?;
        // All replicas at the hottest temperature first, where they forget the structure; then each
        // cools to its own.
        let settling = settling(self.sweeps);
        for sweep in 0..settling {
            let cooled = 3.0 * sweep as f64 / settling as f64 - 1.0;
            ladders.settle(1.0 - cooled.clamp(0.0, 1.0))?;
        }
        ladders.forget();
        let mut found = Ensemble {
            positions: Vec::new(),
            energies: Vec::new(),
            series: vec![0.0; self.chains * self.sweeps],
            log_ratio: 0.0,
            hot: Vec::new(),
            energy: 0.0,
            squared_energy: 0.0,
            virial: 0.0,
            acceptance: 0.0,
            step_size: ladders.step_size(),
            tried: Vec::new(),
            made: Vec::new(),
            round_trips: 0,
            visits: Visits::default(),
            effort: Effort::default(),
        };
        // Samples are taken at equal distances along all chains.
        let thinned = (self.sweeps * self.chains / self.kept).clamp(1, self.sweeps);
        let seen_every = (self.sweeps / 200).max(1);
        let mut seen: Vec<Vec<f64>> = vec![Vec::new(); self.chains];
        let mut by_level: Vec<Vec<f64>> = vec![Vec::new(); betas.len()];
        let hot_every = (self.sweeps * self.chains / HOT_SAMPLES).max(1);
        for sweep in 0..self.sweeps {
            ladders.sweep()?;
            let mut chain = 0;
            for tile in ladders.level(0) {
                for (row, x) in tile.x.chunks_exact(width).enumerate() {
                    found.series[chain * self.sweeps + sweep] = tile.energy[row];
                    if (sweep + chain) % seen_every == 0 {
                        seen[chain].extend_from_slice(x);
                    }
                    chain += 1;
                }
                let products = tile.x.iter().zip(&tile.gradient).map(|(x, g)| x * g);
                found.virial += products.filter(|product| !product.is_nan()).sum::<f64>();
            }
            let kept = ladders
                .level(self.level)
                .flat_map(|tile| tile.x.chunks_exact(width).zip(&tile.energy));
            for (chain, (x, energy)) in kept.enumerate() {
                if (sweep + 7 * chain) % thinned == 0 {
                    found.positions.extend_from_slice(x);
                    found.energies.push(*energy);
                }
            }
            if sweep % hot_every == 0 {
                let hottest = ladders.level(betas.len() - 1);
                hottest.for_each(|tile| found.hot.extend_from_slice(&tile.x));
            }
            for (level, energies) in by_level.iter_mut().enumerate() {
                ladders.level(level).for_each(|tile| energies.extend(&tile.energy));
            }
        }
        let count = (self.sweeps * self.chains) as f64;
        found.virial /= count;
        found.energy = found.series.iter().sum::<f64>() / count;
        found.squared_energy = found.series.iter().map(|u| u * u).sum::<f64>() / count;
        found.acceptance = ladders.accepted[0] / self.sweeps as f64;
        found.log_ratio = betas
            .windows(2)
            .zip(by_level.windows(2))
            .map(|(betas, energies)| {
                let weights = |energies: &[f64]| -> Vec<f64> {
                    energies.iter().map(|u| -(betas[0] - betas[1]) * u).collect()
                };
                bennett_log_z(&weights(&energies[1]), &weights(&energies[0])).0
            })
            .sum();
        (found.tried, found.made) = (ladders.tried.clone(), ladders.made.clone());
        found.round_trips = ladders.round_trips;
        let chains = seen.iter().map(|x| x.chunks_exact(width).collect());
        found.visits = Visits::of(&self.torsions, chains);
        ladders.tiles().for_each(|tile| found.effort += tile.effort);
        Ok(found)
    }
}

impl Plan<'_> {
    /// What all ensembles found at the hottest temperature.
    fn hottest<'a>(&'a self, ensembles: &'a [Ensemble]) -> Hottest<'a> {
        let width = self.potential.system().coordinates();
        let samples = ensembles.iter().flat_map(|ensemble| ensemble.hot.chunks_exact(width));
        Hottest {
            potential: self.potential,
            beta: self.betas[self.betas.len() - 1],
            tree: self.tree,
            sectors: self.sectors,
            parts: self.sectors.found(samples),
            seed: self.seed,
            ensembles: ensembles.iter().map(|ensemble| &ensemble.hot[..]).collect(),
        }
    }

    /// Turns all dihedral angles that can turn at random, to the best of some tries: samples of a
    /// higher temperature are to be walked on from, and what is rare or behind a barrier, as cis
    /// amides, is to be among them.
    fn turn(&self, starts: &mut [f64], index: u64) -> Result<(), Error> {
        const TRIES: usize = 16;
        let mut rng = stream(self.seed, Purpose::Reference, step_before(5), index);
        for x in starts.chunks_exact_mut(self.potential.system().coordinates()) {
            let mut internal = self.tree.internal(x).0;
            let mut tries = Vec::with_capacity(TRIES * x.len());
            for _ in 0..TRIES {
                internal.soft.iter_mut().for_each(|angle| *angle = rng.gen_range(-PI..PI));
                let turned = self.tree.positions(&internal);
                tries.extend(turned.unwrap_or_else(|| x.to_vec()));
            }
            let mut energies = vec![f64::INFINITY; TRIES];
            self.potential.energies(&tries, &mut energies)?;
            let least = |best: usize, k: usize| if energies[k] < energies[best] { k } else { best };
            let best = (1..TRIES).fold(0, least);
            if energies[best].is_finite() {
                x.copy_from_slice(&tries[best * x.len()..(best + 1) * x.len()]);
            }
        }
        Ok(())
    }
}

/// Means over ensembles, which count the same, and their errors.
fn report(
    plan: &Plan<'_>,
    ensembles: &[Ensemble],
    (hottest, log_z): (&Hottest<'_>, Vec<f64>),
    options: ReferenceOptions,
) -> (ReferenceReport, Samples) {
    let mean_of = |values: &[f64]| {
        let count = values.len() as f64;
        let mean = values.iter().sum::<f64>() / count;
        let squares: f64 = values.iter().map(|v| (v - mean) * (v - mean)).sum();
        (mean, (squares / (count * (count - 1.0))).sqrt())
    };
    let mean =
        |of: &dyn Fn(&Ensemble) -> f64| mean_of(&ensembles.iter().map(of).collect::<Vec<f64>>());
    let (energy, energy_error) = mean(&|e| e.energy);
    let (squared_energy, _) = mean(&|e| e.squared_energy);
    let (virial, virial_error) = mean(&|e| e.virial);
    let entropies: Vec<f64> = ensembles.iter().zip(&log_z).map(|(e, z)| e.energy + z).collect();
    let (log_z, log_z_error) = mean_of(&log_z);
    let width = plan.potential.system().coordinates();
    let parts = &hottest.parts;
    let log_z = log_z + parts.log_count;
    let mut visits = Visits::default();
    let mut effort = Effort::default();
    for ensemble in ensembles {
        visits.add(&ensemble.visits);
        effort += ensemble.effort;
    }
    let series: Vec<f64> = ensembles.iter().flat_map(|e| &e.series).copied().collect();
    let time = integrated_autocorrelation_time(&series, plan.sweeps).map(|(time, _)| time);
    let sum = |of: fn(&Ensemble) -> &[u64], place: usize| -> u64 {
        ensembles.iter().map(|e| of(e)[place]).sum()
    };
    let exchanges = (0..plan.betas.len() - 1)
        .map(|level| sum(|e| &e.made, level) as f64 / sum(|e| &e.tried, level).max(1) as f64);
    let seen_once = visits.seen_by(1);
    let exchange = ExchangeReport {
        temperatures: plan.betas.iter().map(|beta| 1.0 / beta).collect(),
        exchanges: exchanges.collect(),
        round_trips: ensembles.iter().map(|e| e.round_trips).sum(),
        autocorrelation_time: time,
        effective_samples: time.map(|time| series.len() as f64 / time.max(1.0)),
        has_unclear_parts: parts.is_unclear,
        log_z_rests_on_few: hottest.are_few() || plan.sweeps < SWEEPS_FOR_LOG_Z,
        seen_once: seen_once.map(|(t, degrees)| (plan.torsions.atoms[t], degrees)).collect(),
    };
    let report = ReferenceReport {
        samples: options.samples,
        populations: ensembles.len(),
        effective_populations: ensembles.len() as f64,
        chains: plan.chains * ensembles.len(),
        temperatures: plan.betas.len() as f64,
        start_scale: 0.0,
        log_z,
        log_z_error,
        energy,
        energy_error,
        energy_std: (squared_energy - energy * energy).max(0.0).sqrt(),
        entropy: energy + log_z,
        entropy_error: mean_of(&entropies).1,
        virial,
        virial_error,
        degrees_of_freedom: plan.potential.system().degrees_of_freedom(),
        acceptance: mean(&|e| e.acceptance).0,
        step_size: mean(&|e| e.step_size).0,
        effort,
        exchange: Some(exchange),
    };
    let kept = |e: &Ensemble| e.energies.len();
    let most = ensembles.iter().map(kept).min().unwrap_or(0);
    let mut samples = Samples::default();
    for sample in 0..options.samples {
        // One of each ensemble in turn, spread over its chains and sweeps.
        let (ensemble, place) = (sample % ensembles.len(), sample / ensembles.len());
        let place = place * most / options.samples.div_ceil(ensembles.len());
        let found = &ensembles[ensemble];
        let x = &found.positions[place * width..(place + 1) * width];
        let mut x = orient(plan.potential, x, options.seed, sample as u64);
        // One of every two is the mirror image, where that is another molecule.
        if parts.is_handed && sample / ensembles.len() % 2 == 1 {
            x.iter_mut().for_each(|x| *x = -*x);
        }
        samples.positions.extend(x);
        samples.energies.push(found.energies[place]);
    }
    (report, samples)
}
