//! Walkers: Markov chains on exp(−U) that live as long as the training does.
//!
//! Once the flow covers the target, annealing from it at every step is an expensive way to sample:
//! chains on the target alone never touch the flow, and as p(x, a) = p(x) π(a|x), every move of a
//! chain gives a joint sample with a new a. Hamiltonian transitions explore locally; between basins
//! the walkers move by independence Metropolis-Hastings with the flow's own draws (Gabrié, Rotskoff
//! & Vanden-Eijnden, PNAS 119 (2022), arXiv:2105.12603).

use std::time::Instant;

use rand::Rng;
use serde::{Deserialize, Serialize};

use crate::error::{Error, EvaluationError};
use crate::limits::{count, number};
use crate::parallel::{message, team};
use crate::random::{stream, Purpose, ALL_SAMPLES, ONCE};
use crate::sampling::{
    resample_systematically, transition, Annealing, AugmentedTarget, Chains, Effort, FlowDensity,
    Gaussian, GeometricPath, Leapfrog, LogDensity, Proposal, StepSize, StepSizes, Streams,
    Workspace,
};

use super::hot_angles::HotAngles;
use super::past::Past;
use super::problem::Problem;
use super::saved::Walk;

/// Rows of a tile of chains; one in eight of them, a full tile of the flow, gets a proposal by
/// default.
const TILE: usize = 128;

/// Where walkers come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WalkerStart {
    /// Annealing from the flow as trained until then.
    #[default]
    Flow,
    /// The reference sampler: sequential Monte Carlo from a Gaussian, which takes longer and needs
    /// no flow.
    Reference,
}

/// Long-lived Markov chains on the target, which take over from annealing: `[train.fab.walkers]`.
/// They need no gradient of the flow, so a step is several times faster. Without the section there
/// are none.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WalkerOptions {
    /// Number of chains (default 4096).
    pub count: usize,
    /// Where they come from (default "flow").
    pub start: WalkerStart,
    /// The training step at which they start; from the flow, which should by then reach all that
    /// matters, not before 1 (default 200).
    pub from_step: usize,
    /// Leapfrog steps each time a chain is used (default 5). With 0 all chains move by draws of the
    /// flow alone, one energy each: where most of these are accepted, that gives the most new
    /// samples per energy.
    pub leapfrog_steps: usize,
    /// Times that each configuration of a chain is trained on, about (default 1). With more, a step
    /// moves fewer chains, and takes the rest from what they found in the last 64 steps: fewer
    /// energy evaluations for as many gradient steps.
    pub reuse: usize,
    /// Temperature at which they start, over that of the target (default 1: the target's own). Rare
    /// conformations are frequent when it is hot: the flow learns them there, and does not forget
    /// them while the walkers cool. Only with `start = "reference"`.
    pub start_temperature: f64,
    /// Training steps in which they cool from it, by the same factor in each (default 0).
    pub cooling_steps: usize,
    /// Share of the samples, at first, in which a molecule's dihedral angles keep the densities of
    /// the start: rare conformations stay frequent while the flow learns them. It falls to nothing
    /// by the last step (default 0). Only with `leapfrog_steps = 0`.
    pub hot_share: f64,
}

impl Default for WalkerOptions {
    fn default() -> Self {
        Self {
            count: 4096,
            start: WalkerStart::Flow,
            from_step: 200,
            leapfrog_steps: 5,
            reuse: 1,
            start_temperature: 1.0,
            cooling_steps: 0,
            hot_share: 0.0,
        }
    }
}

impl WalkerOptions {
    /// Checks every value; a training step uses `rows` different walkers.
    pub(super) fn validate(&self, rows: usize) -> Result<(), Error> {
        count("train.fab.walkers.count", self.count, rows..=100_000_000)?;
        let earliest = usize::from(self.start == WalkerStart::Flow);
        count("train.fab.walkers.from_step", self.from_step, earliest..=1_000_000_000)?;
        count("train.fab.walkers.leapfrog_steps", self.leapfrog_steps, 0..=1000)?;
        count("train.fab.walkers.reuse", self.reuse, 1..=rows)?;
        number("train.fab.walkers.start_temperature", self.start_temperature, 1.0..=4.0)?;
        count("train.fab.walkers.cooling_steps", self.cooling_steps, 0..=1_000_000_000)?;
        number("train.fab.walkers.hot_share", self.hot_share, 0.0..=0.9)?;
        if self.hot_share > 0.0 && (self.leapfrog_steps > 0 || self.start_temperature == 1.0) {
            let problem = "is over 0: use leapfrog_steps = 0 and a `start_temperature` over 1";
            return Err(Error::parameter("train.fab.walkers.hot_share", problem));
        }
        let problem = match (self.start_temperature > 1.0, self.cooling_steps > 0) {
            (true, false) => "is over 1: say in how many `cooling_steps` the walkers cool",
            (true, true) if self.start == WalkerStart::Flow => {
                "is over 1: use start = \"reference\", which samples at that temperature"
            }
            (true, true) if self.reuse > 1 => {
                "is over 1: use reuse = 1, as samples of another temperature cannot be used again"
            }
            _ => return Ok(()),
        };
        Err(Error::parameter("train.fab.walkers.start_temperature", problem))
    }

    /// 1/temperature at a training step, over that of the target.
    fn beta(&self, step: u64) -> f64 {
        let since = step.saturating_sub(self.from_step as u64) as f64;
        let left = 1.0 - (since / self.cooling_steps.max(1) as f64).min(1.0);
        self.start_temperature.powf(-left)
    }
}

/// Where the walkers stand.
#[derive(Debug, Clone, PartialEq)]
pub struct Walkers {
    /// [walkers, particles, dimension]; empty before they start.
    pub positions: Vec<f64>,
    /// The leapfrog step size of their transitions.
    pub step_size: StepSize,
    /// What they found in earlier steps, where it is used again.
    pub past: Option<Past>,
    /// log p(x) of each, where they do not move by themselves.
    pub known: Option<Vec<f64>>,
    /// What keeps rare conformations frequent.
    pub hot: Option<HotAngles>,
    /// 1/temperature at which they are, over that of the target: it follows from the step.
    pub beta: f64,
}

/// Rows that walkers gave, and what they cost.
#[derive(Debug, Clone, Default)]
pub struct Visit {
    /// Joint configurations, [rows, width].
    pub joint: Vec<f64>,
    /// log p(x, a) at them, `[rows]`.
    pub log_p: Vec<f64>,
    /// Mean acceptance of the Hamiltonian transitions.
    pub acceptance: f64,
    /// Share of the flow's proposals that were taken.
    pub flow_acceptance: f64,
    /// Cost of the potential.
    pub effort: Effort,
    /// Thread seconds in the flow.
    pub flow_seconds: f64,
}

/// The same of one tile of them, with counts and the sum of the acceptance probabilities.
struct Tile {
    joint: Vec<f64>,
    log_p: Vec<f64>,
    acceptance: f64,
    offered: usize,
    taken: usize,
    flow_seconds: f64,
    effort: Effort,
}

message!(Tile { joint, log_p, acceptance, offered, taken, flow_seconds, effort });

/// log p(x) of a tile of walkers.
struct Known {
    log_p: Vec<f64>,
    effort: Effort,
}

message!(Known { log_p, effort });

impl Walkers {
    /// No walkers yet.
    pub fn none(initial_step_size: f64) -> Self {
        let step_size = StepSize::new(initial_step_size);
        Self { positions: Vec::new(), step_size, past: None, known: None, hot: None, beta: 1.0 }
    }

    /// The same, which keep what these options need.
    pub fn with_options(self, options: Option<&WalkerOptions>) -> Self {
        let past = options.filter(|options| options.reuse > 1).map(|_| Past::default());
        let known = options.filter(|options| options.leapfrog_steps == 0).map(|_| Vec::new());
        let hot = options.filter(|options| options.hot_share > 0.0).map(|_| HotAngles::default());
        Self { past, known, hot, ..self }
    }

    /// Lists what is saved; a joint configuration of the flow has `width` numbers.
    pub(super) fn list(&mut self, walk: &mut Walk<'_>, width: usize) -> Result<(), String> {
        walk.double("walkers", &mut self.positions)?;
        walk.value("walkers.step_size", &mut self.step_size)?;
        self.past.iter_mut().try_for_each(|past| past.list(walk))?;
        self.known.iter_mut().try_for_each(|known| walk.double("walkers.known", known))?;
        self.hot.iter_mut().try_for_each(|hot| hot.list(walk))?;
        // A joint configuration is x alone, or with its augmented copies.
        if (2 * self.positions.len()).is_multiple_of(width) {
            Ok(())
        } else {
            Err("the walkers of the checkpoint do not fit the flow of this recipe".into())
        }
    }

    /// Whether they have started.
    pub fn started(&self) -> bool {
        !self.positions.is_empty()
    }

    /// Starts `count` walkers: annealed importance sampling from the flow to exp(−U), resampled.
    ///
    /// # Errors
    /// [`Error::Evaluation`]; [`Error::Run`] if no sample has a finite weight.
    pub fn start(
        &mut self,
        problem: &Problem,
        theta: &[f32],
        count: usize,
        annealing: Annealing,
        step_sizes: &StepSizes,
    ) -> Result<Effort, Error> {
        let (streams, mut sizes) = ((Purpose::Walkers, ONCE), step_sizes.clone());
        let annealed = problem.anneal(theta, annealing, count, streams, &mut sizes)?;
        let mut rng = stream(problem.seed, Purpose::Walkers, ONCE, ALL_SAMPLES);
        let chosen =
            resample_systematically(&annealed.log_weights, rng.gen()).ok_or_else(|| {
                Error::Run("no walker could start: no annealed sample has a finite weight".into())
            })?;
        let coordinates = problem.flow.system().coordinates();
        let positions = annealed.positions(coordinates);
        self.positions = chosen
            .into_iter()
            .flat_map(|index| &positions[index * coordinates..(index + 1) * coordinates])
            .copied()
            .collect();
        Ok(annealed.effort[1])
    }

    /// Cools them to the temperature of a step of a training of `steps`.
    pub(super) fn cool(&mut self, options: &WalkerOptions, step: u64, steps: usize) {
        self.beta = options.beta(step);
        if let Some(hot) = &mut self.hot {
            hot.share = options.hot_share * (1.0 - step as f64 / steps as f64).max(0.0);
        }
    }

    /// ln p′/p of joint configurations, where rare ones are kept frequent.
    fn favour(&self, problem: &Problem, joint: &[f64]) -> Vec<f64> {
        match &self.hot {
            Some(hot) => hot.log_factors(problem, joint),
            None => vec![0.0; joint.len() / problem.flow.width()],
        }
    }

    /// Puts walkers where they were found, each at its `place`.
    fn settle(&mut self, problem: &Problem, visit: &Visit, place: impl Fn(usize) -> usize) {
        let coordinates = problem.flow.system().coordinates();
        let favour = match &mut self.hot {
            Some(hot) => hot.follow(problem, &visit.joint),
            None => vec![0.0; visit.log_p.len()],
        };
        for (row, joint) in visit.joint.chunks_exact(problem.flow.width()).enumerate() {
            let at = place(row) * coordinates;
            self.positions[at..at + coordinates].copy_from_slice(&joint[..coordinates]);
            if let Some(known) = &mut self.known {
                let log_p = visit.log_p[row] - favour[row] - problem.target.log_conditional(joint);
                known[place(row)] = log_p / self.beta;
            }
        }
        if self.known.is_none() {
            self.step_size.adapt(visit.acceptance);
        }
    }

    /// Starts `count` walkers by the reference sampler, at their temperature.
    ///
    /// # Errors
    /// Those of [`sample_reference_at`](crate::sampling::sample_reference_at).
    pub fn start_by_reference(&mut self, problem: &Problem, count: usize) -> Result<Effort, Error> {
        let (positions, effort) = problem.sample_reference(count, 1.0 / self.beta)?;
        if let Some(hot) = &mut self.hot {
            hot.start(problem, &positions);
        }
        self.positions = positions;
        Ok(effort)
    }

    /// Moves the next `rows` walkers in turn and returns them with new a; one in `proposals_every`
    /// is first offered a draw of the flow. `step` is the training step.
    ///
    /// # Errors
    /// [`Error::Evaluation`].
    pub fn visit(
        &mut self,
        problem: &Problem,
        theta: &[f32],
        leapfrog_steps: usize,
        rows: usize,
        proposals_every: usize,
        step: u64,
    ) -> Result<Visit, Error> {
        let target = &problem.target.heated(self.beta);
        let width = problem.flow.width();
        let coordinates = problem.flow.system().coordinates();
        let count = self.positions.len() / coordinates;
        let begun = self.know(&problem.target)?;
        let visits = step * rows as u64;
        let place = |row: usize| ((visits + row as u64) % count as u64) as usize;
        // Alone, without augmented copies; the Gaussian has weight zero.
        let alone = AugmentedTarget::new(target.potential().clone(), 1, 1.0)?;
        let unit = Gaussian::new(alone.subspace(), 1.0, 1.0)?;
        let path = GeometricPath { densities: [&unit, &alone], subspace: alone.subspace() };
        let leapfrog = Leapfrog { step_size: self.step_size.get(), steps: leapfrog_steps };
        let flow = FlowDensity { flow: &problem.flow, theta };
        let streams = Streams { seed: problem.seed, purpose: Purpose::Walkers, step };
        let positions = &self.positions;

        let tile_size = alone.batch_size().max(TILE);
        let tiles = team().map(rows.div_ceil(tile_size), |tile| {
            let first = tile * tile_size;
            let size = tile_size.min(rows - first);
            let mut rngs = streams.range(first, size);
            let start: Vec<f64> = (first..first + size)
                .flat_map(|row| {
                    let at = place(row) * coordinates;
                    &positions[at..at + coordinates]
                })
                .copied()
                .collect();
            let known = self.known.as_ref().map(|known| {
                (first..first + size).map(|row| self.beta * known[place(row)]).collect()
            });
            let Moved { x, log_p: of_x, acceptance, mut effort } =
                moved(start, known, &path, leapfrog, &mut rngs)?;
            let mut joint = vec![0.0; size * width];
            target.augment(&x, &mut rngs, &mut joint);
            let mut log_p: Vec<f64> = joint
                .chunks_exact(width)
                .zip(of_x.iter().zip(self.favour(problem, &joint)))
                .map(|(row, (log_p, favour))| log_p + favour + target.log_conditional(row))
                .collect();

            // In every round of the walkers another part of them gets a proposal.
            let offered: Vec<usize> = (0..size)
                .filter(|row| {
                    let visit = visits + (first + row) as u64;
                    (visit + visit / count as u64).is_multiple_of(proposals_every as u64)
                })
                .collect();
            let (start, before) = (Instant::now(), effort.seconds);
            let mut taken = 0;
            for rows in offered.chunks(alone.batch_size()) {
                let favour = |joint: &[f64]| self.favour(problem, joint);
                let to = (&mut joint[..], &mut log_p[..]);
                taken += propose(&flow, target, favour, rows, &mut rngs, to, &mut effort)?;
            }
            Ok(Tile {
                joint,
                log_p,
                acceptance,
                offered: offered.len(),
                taken,
                flow_seconds: start.elapsed().as_secs_f64() - (effort.seconds - before),
                effort,
            })
        })?;

        let mut visit = Visit { effort: begun, ..Visit::default() };
        let (mut offered, mut taken) = (0, 0);
        for tile in tiles {
            visit.joint.extend(tile.joint);
            visit.log_p.extend(tile.log_p);
            visit.acceptance += tile.acceptance / rows as f64;
            (offered, taken) = (offered + tile.offered, taken + tile.taken);
            visit.flow_seconds += tile.flow_seconds;
            visit.effort += tile.effort;
        }
        visit.flow_acceptance = taken as f64 / offered.max(1) as f64;
        self.settle(problem, &visit, place);
        Ok(visit)
    }

    /// Finds log p(x) of all walkers where it is to be known and is not yet.
    fn know(&mut self, target: &AugmentedTarget) -> Result<Effort, Error> {
        let coordinates = target.subspace().system().coordinates();
        let count = self.positions.len() / coordinates;
        let Some(known) = self.known.as_mut().filter(|known| known.len() != count) else {
            return Ok(Effort::default());
        };
        known.clear();
        let alone = AugmentedTarget::new(target.potential().clone(), 1, 1.0)?;
        let rows = alone.batch_size().max(TILE) * coordinates;
        let tiles = team().map(self.positions.len().div_ceil(rows), |tile| {
            let x = &self.positions[tile * rows..self.positions.len().min((tile + 1) * rows)];
            let mut log_p = vec![0.0; x.len() / coordinates];
            let mut gradient = vec![0.0; x.len()];
            let start = Instant::now();
            let failures = alone.log_density_and_gradient(x, &mut log_p, &mut gradient)?;
            let effort = Effort::of(&log_p, &gradient, failures, start);
            Ok(Known { log_p, effort })
        })?;
        let mut effort = Effort::default();
        for tile in tiles {
            known.extend(tile.log_p);
            effort += tile.effort;
        }
        Ok(effort)
    }
}

/// Walkers after their own moves, with log p(x).
struct Moved {
    x: Vec<f64>,
    log_p: Vec<f64>,
    acceptance: f64,
    effort: Effort,
}

/// Moves walkers by a Hamiltonian transition, unless log p of them is `known`, and they stay.
fn moved(
    x: Vec<f64>,
    known: Option<Vec<f64>>,
    path: &GeometricPath<'_>,
    leapfrog: Leapfrog,
    rngs: &mut [rand_chacha::ChaCha8Rng],
) -> Result<Moved, EvaluationError> {
    if let Some(log_p) = known {
        return Ok(Moved { x, log_p, acceptance: 0.0, effort: Effort::default() });
    }
    let mut chains = Chains::new(path, x)?;
    let mut work = Workspace::default();
    let taken = transition(path, [0.0, 1.0], leapfrog, &mut chains, rngs, &mut work)?;
    Ok(Moved {
        x: chains.position().to_vec(),
        log_p: chains.log_density(1).to_vec(),
        acceptance: taken.iter().sum(),
        effort: chains.effort()[1],
    })
}

/// Offers each of `rows` a draw of the flow, taken with probability min(1, w′/w), w = p/q; returns
/// how many took it.
fn propose(
    flow: &FlowDensity<'_>,
    target: &AugmentedTarget,
    favour: impl Fn(&[f64]) -> Vec<f64>,
    rows: &[usize],
    rngs: &mut [rand_chacha::ChaCha8Rng],
    (joint, log_p): (&mut [f64], &mut [f64]),
    effort: &mut Effort,
) -> Result<usize, EvaluationError> {
    let width = target.width();
    let mut own: Vec<_> = rows.iter().map(|&row| rngs[row].clone()).collect();
    let current: Vec<f64> =
        rows.iter().flat_map(|&row| &joint[row * width..(row + 1) * width]).copied().collect();
    let mut log_q = vec![0.0; rows.len()];
    flow.flow.log_prob(flow.theta, &current, &mut log_q);
    let mut proposed = vec![0.0; current.len()];
    let (mut proposed_log_q, mut proposed_log_p) = (log_q.clone(), log_q.clone());
    flow.draw(&mut own, &mut proposed, &mut proposed_log_q);
    let mut gradient = vec![0.0; proposed.len()];
    let start = Instant::now();
    let failures =
        target.log_density_and_gradient(&proposed, &mut proposed_log_p, &mut gradient)?;
    *effort += Effort::of(&proposed_log_p, &gradient, failures, start);
    for (log_p, favour) in proposed_log_p.iter_mut().zip(favour(&proposed)) {
        *log_p += favour;
    }
    let mut taken = 0;
    for (index, &row) in rows.iter().enumerate() {
        let uniform: f64 = own[index].gen();
        let gain = proposed_log_p[index] - proposed_log_q[index] - (log_p[row] - log_q[index]);
        if proposed_log_q[index].is_finite() && uniform < gain.exp() {
            joint[row * width..(row + 1) * width]
                .copy_from_slice(&proposed[index * width..(index + 1) * width]);
            log_p[row] = proposed_log_p[index];
            taken += 1;
        }
        rngs[row] = own[index].clone();
    }
    Ok(taken)
}
