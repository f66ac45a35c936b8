//! One population of the reference sampler: from the start to exp(−U) by sequential Monte Carlo,
//! then on by Hamiltonian Monte Carlo.

use std::f64::consts::PI;

use rand::Rng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};
use rayon::prelude::*;

use super::start::Start;
use crate::diagnostics::{effective_sample_size, log_sum_exp};
use crate::error::{Error, EvaluationError};
use crate::parallel::{message, team};
use crate::random::{step_before, stream, Purpose, ALL_SAMPLES};
use crate::sampling::{
    resample_systematically, transition, AugmentedTarget, Chains, Effort, GeometricPath, Leapfrog,
    LogDensity, Proposal, StepSize, Workspace,
};
use crate::work;

/// Rows of a tile of chains, if the target does not ask for more.
const TILE: usize = 64;
/// Leapfrog steps of a transition. A hard core keeps the step small; with 8 steps the soft modes of
/// LJ13 did not keep up with the temperature and ⟨x·∇U⟩ came out too high.
const LEAPFROG_STEPS: usize = 32;
/// Conditional effective sample size that a change of temperature keeps.
const KEPT: f64 = 0.99;
/// Effective sample size, as a fraction, under which a population is resampled.
const RESAMPLE: f64 = 0.5;
/// Temperatures after which annealing is given up.
const MAX_TEMPERATURES: usize = 20_000;

/// Rows of a tile of chains on `target`.
pub(super) fn tile_size(target: &dyn LogDensity) -> usize {
    target.batch_size().max(TILE)
}

/// Populations that are run in the same way, with their random numbers.
#[derive(Clone, Copy)]
pub(super) struct Run {
    /// How many.
    pub(super) populations: usize,
    /// Chains of each.
    pub(super) chains: usize,
    /// The number of the first one's stream of random numbers.
    pub(super) first: u64,
}

/// Anneals the populations of `run` from `start` to `target`; ranks share them.
pub(super) fn run_all(
    target: &AugmentedTarget,
    start: &Start,
    run: Run,
    schedule: Option<&[f64]>,
    transitions: usize,
    seed: u64,
) -> Result<Vec<Outcome>, Error> {
    let path = GeometricPath { densities: [start, target], subspace: target.subspace() };
    team().map(run.populations, |index| {
        let mut population =
            Population::draw(&path, start, run.chains, seed, run.first + index as u64)?;
        population.anneal(schedule)?;
        population.equilibrate(transitions)
    })
}

/// The changes of β that a population of its own takes. A population that chooses its own
/// temperatures takes smaller changes where some chain would gain much weight, and its log Z is a
/// little low; with these it is unbiased.
pub(super) fn schedule(
    target: &AugmentedTarget,
    start: &Start,
    chains: usize,
    seed: u64,
) -> Result<Vec<f64>, Error> {
    let path = GeometricPath { densities: [start, target], subspace: target.subspace() };
    let found =
        team().map(1, |_| Population::draw(&path, start, chains, seed, 1 << 33)?.anneal(None))?;
    Ok(found.into_iter().flatten().collect())
}

/// What one population found.
pub(super) struct Outcome {
    /// [chains, particles, dimension].
    pub(super) positions: Vec<f64>,
    pub(super) energies: Vec<f64>,
    pub(super) log_z: f64,
    pub(super) energy: f64,
    pub(super) squared_energy: f64,
    pub(super) virial: f64,
    pub(super) acceptance: f64,
    pub(super) step_size: f64,
    pub(super) temperatures: usize,
    pub(super) effort: Effort,
}

message!(Outcome {
    positions,
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

/// Rotations that are tried after each transition, by angles from π down by halves.
const TURNS: i32 = 12;

/// A population of weighted chains on its way from the Gaussian to exp(−U).
pub(super) struct Population<'a> {
    path: &'a GeometricPath<'a>,
    tiles: Vec<(Chains, Vec<ChaCha8Rng>)>,
    /// Decides for all chains at once: resampling and the jitter of step sizes.
    rng: ChaCha8Rng,
    beta: f64,
    /// Whether the start prefers orientations.
    is_oriented: bool,
    /// Since the last resampling, `[chains]`.
    log_weights: Vec<f64>,
    log_z: f64,
    step_size: StepSize,
    leapfrog_steps: usize,
    temperatures: usize,
}

impl<'a> Population<'a> {
    pub(super) fn draw(
        path: &'a GeometricPath<'a>,
        start: &Start,
        size: usize,
        seed: u64,
        index: u64,
    ) -> Result<Self, Error> {
        let rows = tile_size(path.densities[1]);
        let tiles = (0..size.div_ceil(rows))
            .map(|tile| {
                work::check()?;
                let first = tile * rows;
                let mut rngs: Vec<ChaCha8Rng> = (first..size.min(first + rows))
                    .map(|chain| stream(seed, Purpose::Reference, index, chain as u64))
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
            rng: stream(seed, Purpose::Reference, index, ALL_SAMPLES),
            beta: 0.0,
            is_oriented: start.is_oriented(),
            log_weights: vec![0.0; size],
            log_z: 0.0,
            step_size: StepSize::new(0.1),
            leapfrog_steps: LEAPFROG_STEPS,
            temperatures: 0,
        })
    }

    /// Chains at `positions` ([chains, particles, dimension]), which are samples of exp(−U), in
    /// tiles of `rows`: to go on, not to be annealed.
    pub(super) fn at(
        path: &'a GeometricPath<'a>,
        positions: &[f64],
        rows: usize,
        leapfrog_steps: usize,
        seed: u64,
    ) -> Result<Self, Error> {
        let width = path.subspace.width();
        let size = positions.len() / width;
        let tiles = positions.par_chunks(rows * width).enumerate().map(|(tile, positions)| {
            work::check()?;
            let first = (tile * rows) as u64;
            let rngs = (first..first + (positions.len() / width) as u64)
                .map(|chain| stream(seed, Purpose::Reference, step_before(2), chain))
                .collect();
            Ok((Chains::new(path, positions.to_vec())?, rngs))
        });
        Ok(Self {
            path,
            tiles: tiles.collect::<Result<_, Error>>()?,
            rng: stream(seed, Purpose::Reference, step_before(2), ALL_SAMPLES),
            beta: 1.0,
            is_oriented: false,
            log_weights: vec![0.0; size],
            log_z: 0.0,
            step_size: StepSize::new(0.1),
            leapfrog_steps,
            temperatures: 0,
        })
    }

    /// U/kT of every chain.
    pub(super) fn energies(&self) -> Vec<f64> {
        self.tiles.iter().flat_map(|(c, _)| c.log_density(1)).map(|p| -p).collect()
    }

    /// Anneals by the changes of `schedule`, or else by its own, which it returns.
    fn anneal(&mut self, schedule: Option<&[f64]>) -> Result<Vec<f64>, Error> {
        let mut changes = Vec::new();
        while self.beta < 1.0 {
            work::check()?;
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
            let change = match schedule.and_then(|changes| changes.get(self.temperatures)) {
                Some(change) => *change,
                None => self.next_change(&ratios),
            };
            changes.push(change);
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
        Ok(changes)
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
        let rows = old.first().map_or(1, Chains::rows);
        for (chain, source) in chosen.into_iter().enumerate() {
            self.tiles[chain / rows].0.copy_row(chain % rows, &old[source / rows], source % rows);
        }
        self.log_weights.fill(0.0);
    }

    /// One transition of every chain; returns the mean acceptance.
    ///
    /// The step size is jittered, so that no trajectory lasts a multiple of some mode's period.
    pub(super) fn step(&mut self) -> Result<f64, Error> {
        let leapfrog = Leapfrog {
            step_size: self.step_size.get() * self.rng.gen_range(0.8..1.2),
            steps: self.leapfrog_steps,
        };
        let (path, coefficients) = (self.path, [1.0 - self.beta, self.beta]);
        let turns = self.is_oriented && self.beta < 1.0;
        let acceptance: Vec<f64> = self
            .tiles
            .par_iter_mut()
            .map_init(Workspace::default, |workspace, (chains, rngs)| {
                let accepted = transition(path, coefficients, leapfrog, chains, rngs, workspace)?;
                let accepted = accepted.iter().sum();
                if turns {
                    turn(path, coefficients[0], chains, rngs)?;
                }
                Ok(accepted)
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
            positions: self.tiles.iter().flat_map(|(c, _)| c.position()).copied().collect(),
            energies: self.energies(),
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

/// Rotates chains at random by Metropolis steps. exp(−U) does not change, so they cost no energy;
/// without them a stiff molecule turns too slowly to keep up with the temperature, and log Z comes
/// out low.
fn turn(
    path: &GeometricPath<'_>,
    coefficient: f64,
    chains: &mut Chains,
    rngs: &mut [ChaCha8Rng],
) -> Result<(), EvaluationError> {
    let (system, width) = (path.subspace.system(), path.subspace.width());
    let (mut log_q, mut gradient) = ([0.0], vec![0.0; width]);
    for (row, rng) in rngs.iter_mut().enumerate() {
        for turn in 0..TURNS {
            let normal: f64 = StandardNormal.sample(rng);
            let rotation = system.rotation_by(PI * 0.5f64.powi(turn) * normal, rng);
            let mut x = chains.position()[row * width..(row + 1) * width].to_vec();
            system.rotate(&rotation, &mut x);
            path.densities[0].log_density_and_gradient(&x, &mut log_q, &mut gradient)?;
            let gain = coefficient * (log_q[0] - chains.log_density(0)[row]);
            if rng.gen::<f64>() < gain.exp() {
                chains.turn((system, &rotation), row, &x, log_q[0], &gradient);
            }
        }
    }
    Ok(())
}
