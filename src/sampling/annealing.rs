//! Annealed importance sampling from a proposal towards any power of target over proposal.
//!
//! Neal, Statistics and Computing 11 (2001); as the sampler of FAB: Midgley et al., ICLR 2023
//! (arXiv:2208.01893).

use std::ops::Range;

use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::hmc::{transition, Chains, Effort, GeometricPath, Leapfrog, StepSize, Workspace};
use super::{LogDensity, Proposal, Subspace};
use crate::engine::LANES;
use crate::error::Error;
use crate::parallel::{message, team};
use crate::random::{stream, Purpose};

/// The path from the proposal q to g ∝ q^{1−α} p^α:
/// log γ_β = (1 − αβ) log q + αβ log p, β = k/(intermediate + 1).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Annealing {
    /// Densities strictly between q and g; each costs one transition. Zero is importance sampling.
    pub intermediate: usize,
    /// Leapfrog steps of a transition.
    pub leapfrog_steps: usize,
    /// 2 for FAB (g ∝ p²/q), 1 to end at p.
    pub alpha: f64,
}

impl Annealing {
    fn beta(&self, level: usize) -> f64 {
        level as f64 / (self.intermediate + 1) as f64
    }
}

/// Adapted step sizes, one for each intermediate density; part of what a resumed run needs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StepSizes(pub Vec<StepSize>);

impl StepSizes {
    /// The same start for each of `intermediate` densities.
    pub fn new(intermediate: usize, step: f64) -> Self {
        Self(vec![StepSize::new(step); intermediate])
    }
}

/// Which random numbers a pass uses; sample i draws from [`stream`]`(seed, purpose, step, i)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Streams {
    /// The run's seed.
    pub seed: u64,
    /// What the samples are for.
    pub purpose: Purpose,
    /// The run's step.
    pub step: u64,
}

impl Streams {
    /// The streams of samples `first` to `first + count`.
    pub fn range(&self, first: usize, count: usize) -> Vec<ChaCha8Rng> {
        (first..first + count)
            .map(|sample| stream(self.seed, self.purpose, self.step, sample as u64))
            .collect()
    }
}

/// What a pass returns.
#[derive(Debug, Clone, Default)]
pub struct Annealed {
    /// Final joint configurations of the samples that this rank annealed, [samples, copies,
    /// particles, dimension]; of all, if it is alone.
    pub joint: Vec<f64>,
    /// Which samples each rank annealed.
    pub shares: Vec<Range<usize>>,
    /// Log weights towards g, `[samples]`: their mean exponential estimates ∫ q^{1−α} p^α. −∞ where
    /// the proposal or the target had no finite log density.
    pub log_weights: Vec<f64>,
    /// log q at `joint`, `[samples]`.
    pub log_q: Vec<f64>,
    /// log p at `joint`, `[samples]`.
    pub log_p: Vec<f64>,
    /// log q of the proposal's draws, before any transition, `[samples]`.
    pub initial_log_q: Vec<f64>,
    /// log p of the proposal's draws, `[samples]`; `initial_log_p − initial_log_q` are importance
    /// weights, whose effective sample size is the reverse one.
    pub initial_log_p: Vec<f64>,
    /// Mean acceptance of each intermediate density's transition.
    pub acceptance: Vec<f64>,
    /// Samples with weight zero.
    pub zero_weights: usize,
    /// Cost of the proposal (its draws included in seconds only) and of the target.
    pub effort: [Effort; 2],
}

impl Annealed {
    /// x of all samples, the first `coordinates` numbers of each configuration. A collective
    /// operation.
    pub fn positions(&self, coordinates: usize) -> Vec<f64> {
        self.of_all(coordinates, |row| row[..coordinates].to_vec())
    }

    /// `count` numbers that `what` finds in each joint configuration, of all samples. A collective
    /// operation.
    pub fn of_all(&self, count: usize, what: impl Fn(&[f64]) -> Vec<f64>) -> Vec<f64> {
        let team = team();
        let place = |rank: usize| self.shares[rank].start * count..self.shares[rank].end * count;
        let own = place(team.rank());
        let width = self.joint.len() / self.shares[team.rank()].len().max(1);
        let mut found = vec![0.0; self.log_weights.len() * count];
        let rows = self.joint.chunks_exact(width.max(1));
        for (found, row) in found[own].chunks_exact_mut(count).zip(rows) {
            found.copy_from_slice(&what(row));
        }
        team.allgather_in_place(&mut found, place);
        found
    }
}

/// Annealed importance sampling between two densities.
///
/// A draw whose density, computed from its configuration, is not the one that it was drawn with has
/// weight zero.
#[derive(Clone, Copy)]
pub struct AnnealedImportanceSampling<'a> {
    /// q, normalised.
    pub proposal: &'a dyn Proposal,
    /// p, known up to a constant.
    pub target: &'a dyn LogDensity,
    /// Where both live.
    pub subspace: Subspace,
    /// The path.
    pub annealing: Annealing,
}

impl AnnealedImportanceSampling<'_> {
    /// Draws `samples` configurations and anneals them, in parallel; then adapts `step_sizes` by
    /// the mean acceptance of each level. Results depend on `streams` and `step_sizes`, not on
    /// threads.
    ///
    /// # Errors
    /// Only [`Error::Evaluation`], if the potential fails for good.
    ///
    /// # Panics
    /// If `step_sizes` has fewer entries than there are intermediate densities.
    pub fn run(
        &self,
        samples: usize,
        streams: Streams,
        step_sizes: &mut StepSizes,
    ) -> Result<Annealed, Error> {
        let levels = self.annealing.intermediate;
        let steps: Vec<f64> = step_sizes.0[..levels].iter().map(StepSize::get).collect();
        // A sample's result does not depend on its neighbours.
        let size = self.target.batch_size().max(LANES);
        let tile = |tile: usize| tile * size..((tile + 1) * size).min(samples);
        let tiles = samples.div_ceil(size);
        let team = team();
        let (done, joint) = team.map_and_keep(tiles, |index| {
            let rows = tile(index);
            self.run_tile(streams.range(rows.start, rows.len()), &steps)
        })?;

        let mut out = Annealed {
            joint: joint.concat(),
            shares: (0..team.size())
                .map(|rank| {
                    let tiles = team.block_of(rank, tiles);
                    (tiles.start * size).min(samples)..(tiles.end * size).min(samples)
                })
                .collect(),
            acceptance: vec![0.0; levels],
            ..Annealed::default()
        };
        let mut alive = vec![0.0; levels];
        for tile in done {
            out.log_weights.extend(tile.log_weights);
            out.log_q.extend(tile.log_densities.0);
            out.log_p.extend(tile.log_densities.1);
            out.initial_log_q.extend(tile.initial.0);
            out.initial_log_p.extend(tile.initial.1);
            for (level, [probability, count]) in tile.acceptance.into_iter().enumerate() {
                out.acceptance[level] += probability;
                alive[level] += count;
            }
            out.effort[0] += tile.effort.0;
            out.effort[1] += tile.effort.1;
        }
        out.zero_weights = out.log_weights.iter().filter(|&&w| w == f64::NEG_INFINITY).count();
        for ((acceptance, alive), step_size) in
            out.acceptance.iter_mut().zip(alive).zip(&mut step_sizes.0)
        {
            // Samples of weight zero cannot move and say nothing about the step size.
            if alive > 0.0 {
                *acceptance /= alive;
                step_size.adapt(*acceptance);
            }
        }
        Ok(out)
    }

    /// Anneals a tile of samples; returns their configurations, too.
    fn run_tile(
        &self,
        mut rngs: Vec<ChaCha8Rng>,
        step_sizes: &[f64],
    ) -> Result<(Tile, Vec<f64>), Error> {
        let rows = rngs.len();
        let path =
            GeometricPath { densities: [self.proposal, self.target], subspace: self.subspace };
        let mut joint = vec![0.0; rows * self.subspace.width()];
        let mut drawn = vec![0.0; rows];
        let start = std::time::Instant::now();
        self.proposal.draw(&mut rngs, &mut joint, &mut drawn);
        let drawing = start.elapsed().as_secs_f64();

        let mut chains = Chains::new(&path, joint)?;
        let log_densities =
            |chains: &Chains| (chains.log_density(0).to_vec(), chains.log_density(1).to_vec());
        let initial = log_densities(&chains);
        // A draw may not come back to its density: one flung so far that single precision does not
        // lead back, whose density would be nearly nil and its weight without bound.
        let weight = |(drawn, log_q): (&f64, &f64)| {
            let comes_back = (drawn - log_q).abs() <= MOST_APART;
            if comes_back {
                0.0
            } else {
                f64::NEG_INFINITY
            }
        };
        let mut log_weights: Vec<f64> = drawn.iter().zip(&initial.0).map(weight).collect();
        let mut acceptance = vec![[0.0; 2]; step_sizes.len()];
        let mut workspace = Workspace::default();
        let increment = self.annealing.alpha * self.annealing.beta(1);
        for level in 0..=step_sizes.len() {
            // Moving to the next density: log γ_{β'} − log γ_β = α(β' − β)(log p − log q).
            for ((weight, log_q), log_p) in
                log_weights.iter_mut().zip(chains.log_density(0)).zip(chains.log_density(1))
            {
                *weight += increment * (log_p - log_q);
                if !weight.is_finite() {
                    *weight = f64::NEG_INFINITY;
                }
            }
            if level == step_sizes.len() {
                break;
            }
            let strength = self.annealing.alpha * self.annealing.beta(level + 1);
            let leapfrog =
                Leapfrog { step_size: step_sizes[level], steps: self.annealing.leapfrog_steps };
            let probabilities = transition(
                &path,
                [1.0 - strength, strength],
                leapfrog,
                &mut chains,
                &mut rngs,
                &mut workspace,
            )?;
            for (probability, weight) in probabilities.iter().zip(&log_weights) {
                if weight.is_finite() {
                    acceptance[level][0] += probability;
                    acceptance[level][1] += 1.0;
                }
            }
        }
        let [mut proposal, target] = chains.effort();
        proposal.seconds += drawing;
        // A large tile's proposal is evaluated by several threads.
        proposal.seconds *= rayon::current_num_threads().min(rows.div_ceil(LANES)) as f64;
        let tile = Tile {
            log_weights,
            log_densities: log_densities(&chains),
            initial,
            acceptance,
            effort: (proposal, target),
        };
        Ok((tile, chains.into_position()))
    }
}

/// The log density of a draw may be this far from the one that it came with: rounding is far less.
const MOST_APART: f64 = 10.0;

/// What all ranks get of one tile: all but the configurations.
struct Tile {
    log_weights: Vec<f64>,
    /// Log densities of the proposal and of the target at the end.
    log_densities: (Vec<f64>, Vec<f64>),
    /// Those of the proposal's draws.
    initial: (Vec<f64>, Vec<f64>),
    /// For each level the sum of the acceptance probabilities of the samples whose weight is not
    /// zero, and how many they are.
    acceptance: Vec<[f64; 2]>,
    effort: (Effort, Effort),
}

message!(Tile { log_weights, log_densities, initial, acceptance, effort });
