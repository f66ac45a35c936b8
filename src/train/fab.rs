//! Flow annealed importance sampling bootstrap: the α-divergence ∫ p^α q^{1−α} with α = 2.
//!
//! Midgley, Stimper, Simm, Schölkopf & Hernández-Lobato, ICLR 2023 (arXiv:2208.01893). Annealed
//! importance sampling from the flow q to g ∝ p²/q gives weighted samples where the flow's density
//! is too low; they go to a replay buffer, from which batches are drawn by weight. The gradient of
//! the divergence is −E_g[∇ log q_θ] up to a factor, so a step raises log q_θ on what was drawn.

use std::path::Path;

use dfdx::prelude::*;
use serde::{Deserialize, Serialize};

use crate::diagnostics::{effective_sample_size, log_sum_exp};
use crate::error::Error;
use crate::flow::op;
use crate::limits::{count, number, positive};
use crate::parallel::team;
use crate::random::{step_before, stream, Purpose};
use crate::sampling::{Annealed, Annealing, Effort, StepSizes};
use crate::work;

use super::buffer::ReplayBuffer;
use super::problem::{Problem, StepReport};
use super::saved::{ObjectiveState, Walk};
use super::state::{Descent, DescentOptions, TrainingState};
use super::trainer::{ObjectiveOptions, Trainer};
use super::walkers::{WalkerOptions, WalkerStart, Walkers};

/// Flow annealed importance sampling bootstrap (Midgley et al., ICLR 2023): `[train.fab]`. Samples
/// of the flow are annealed towards where its density is too low, by Hamiltonian Monte Carlo, and
/// the flow learns from them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FabOptions {
    /// The α of the divergence; annealing goes to pᵅ q^(1−α) (default 2).
    pub alpha: f64,
    /// Densities between the flow and the annealing's target (default 2).
    pub intermediate_distributions: usize,
    /// Leapfrog steps of the Hamiltonian Monte Carlo transition at each of them (default 5).
    pub leapfrog_steps: usize,
    /// Leapfrog step size, a length, before it adapts (default 0.1).
    pub initial_step_size: f64,
    /// Gradient steps on batches from the buffer after each annealing pass (default 8).
    pub updates_per_annealing: usize,
    /// Upper limit of the weight that corrects for the flow's change since a sample went into the
    /// buffer (default 10).
    pub weight_clip: f64,
    /// The prioritised replay buffer.
    pub buffer: BufferOptions,
    /// Markov chains on the target that take over from annealing (default: none).
    pub walkers: Option<WalkerOptions>,
}

impl Default for FabOptions {
    fn default() -> Self {
        Self {
            alpha: 2.0,
            intermediate_distributions: 2,
            leapfrog_steps: 5,
            initial_step_size: 0.1,
            updates_per_annealing: 8,
            weight_clip: 10.0,
            buffer: BufferOptions::default(),
            walkers: None,
        }
    }
}

/// Annealed samples wait in a replay buffer, whose sizes are in batches: `[train.fab.buffer]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BufferOptions {
    /// Gradient steps begin when it holds this many, at least `updates_per_annealing` (default 64).
    pub min_batches: usize,
    /// The oldest samples leave when it would hold more than this (default 512).
    pub max_batches: usize,
}

impl Default for BufferOptions {
    fn default() -> Self {
        Self { min_batches: 64, max_batches: 512 }
    }
}

impl ObjectiveOptions for FabOptions {
    fn title(&self) -> &'static str {
        "flow annealed importance sampling bootstrap (FAB)"
    }

    fn validate(&self, descent: &DescentOptions) -> Result<(), Error> {
        let batch_size = descent.batch_size;
        number("train.fab.alpha", self.alpha, 1.0..=4.0)?;
        count("train.fab.intermediate_distributions", self.intermediate_distributions, 0..=1000)?;
        count("train.fab.leapfrog_steps", self.leapfrog_steps, 1..=1000)?;
        positive("train.fab.initial_step_size", self.initial_step_size, 100.0)?;
        count("train.fab.updates_per_annealing", self.updates_per_annealing, 1..=10_000)?;
        number("train.fab.weight_clip", self.weight_clip, 1.0..=1e9)?;
        let (enough, batches) = (self.updates_per_annealing, self.buffer.min_batches);
        if batches < enough {
            let problem = format!(
                "is {batches}: use at least {enough}, since `updates_per_annealing` takes as many \
                 batches out of the buffer at a time"
            );
            return Err(Error::parameter("train.fab.buffer.min_batches", problem));
        }
        count("train.fab.buffer.min_batches", batches, 1..=1_000_000)?;
        if let Some(walkers) = &self.walkers {
            walkers.validate(self.updates_per_annealing * batch_size)?;
        }
        let most = (100_000_000 / batch_size).max(self.buffer.min_batches);
        count(
            "train.fab.buffer.max_batches",
            self.buffer.max_batches,
            self.buffer.min_batches..=most,
        )
    }

    fn trainer(
        &self,
        descent: &DescentOptions,
        problem: &Problem,
        _: &dyn Fn(&Path) -> Result<Vec<f64>, Error>,
    ) -> Result<Box<dyn Trainer>, Error> {
        let hot = self.walkers.as_ref().is_some_and(|walkers| walkers.hot_share > 0.0);
        if hot && !problem.flow.layout().tensors().iter().any(|tensor| tensor.fitted) {
            let problem = "is over 0, which is for dihedral angles of a molecule: use [flow.base] \
                           kind = \"molecule\"";
            return Err(Error::parameter("train.fab.walkers.hot_share", problem));
        }
        Ok(Box::new(Fab { descent: descent.clone(), options: self.clone() }))
    }
}

/// What continues from step to step for FAB alone.
#[derive(Debug, Clone, PartialEq)]
pub struct FabState {
    /// Leapfrog step sizes of the annealing.
    pub step_sizes: StepSizes,
    /// Annealed samples.
    pub buffer: ReplayBuffer,
    /// Chains on the target, once they have started.
    pub walkers: Walkers,
}

impl ObjectiveState for FabState {
    fn list(&mut self, walk: &mut Walk<'_>) -> Result<(), String> {
        self.buffer.list(walk)?;
        self.walkers.list(walk, self.buffer.width())
    }

    fn list_restored(&mut self, walk: &mut Walk<'_>) -> Result<(), String> {
        walk.value("step_sizes", &mut self.step_sizes)
    }

    fn discard(&mut self) {
        self.buffer.clear();
    }

    fn step_sizes(&self) -> Option<&StepSizes> {
        Some(&self.step_sizes)
    }

    fn boxed(&self) -> Box<dyn ObjectiveState> {
        Box::new(self.clone())
    }
}

/// The FAB trainer.
#[derive(Debug, Clone, PartialEq)]
pub struct Fab {
    /// What all objectives share.
    pub descent: DescentOptions,
    /// FAB's own options.
    pub options: FabOptions,
}

impl Fab {
    /// log of w_adj = (q_old/q_θ)^{α−1}: what the change of the flow since the weight was set does
    /// to the weight of a sample towards g ∝ p^α q^{1−α}.
    pub fn log_adjustment(&self, log_q: f64, log_q_old: f64) -> f64 {
        (1.0 - self.options.alpha) * (log_q - log_q_old)
    }

    /// One annealing pass into the buffer.
    fn anneal(
        &self,
        problem: &Problem,
        state: &mut TrainingState,
        own: &mut FabState,
        pass: u64,
        report: &mut StepReport,
    ) -> Result<(), Error> {
        let (samples, streams) = (self.descent.batch_size, (Purpose::Annealing, pass));
        let (theta, sizes) = (&state.theta, &mut own.step_sizes);
        let annealed = problem.anneal(theta, self.annealing(), samples, streams, sizes)?;
        let Annealed { joint, shares, log_weights, log_q, .. } = &annealed;
        own.buffer.push_shares(joint, shares, log_weights, log_q);
        state.counters.add(annealed.effort[1]);
        state.counters.nonfinite_weights += annealed.zero_weights as u64;
        report.flow_seconds += annealed.effort[0].seconds;
        report.potential_seconds += annealed.effort[1].seconds;
        let levels = annealed.acceptance.len() as f64;
        if levels > 0.0 {
            report.acceptance = Some(annealed.acceptance.iter().sum::<f64>() / levels);
            let steps = own.step_sizes.0.iter().map(|s| s.get()).sum::<f64>();
            report.hmc_step_size = Some(steps / levels);
        }
        Ok(())
    }

    /// The annealing pass of a step. An empty buffer, at the start or after a roll-back, is filled:
    /// the extra passes draw from streams of steps below zero.
    fn fill_buffer(
        &self,
        problem: &Problem,
        state: &mut TrainingState,
        own: &mut FabState,
        report: &mut StepReport,
    ) -> Result<(), Error> {
        if own.buffer.is_empty() {
            let passes = self.options.buffer.min_batches as u64;
            let work = work::begin("filling the replay buffer");
            for extra in 1..passes {
                work.rename(format!("filling the replay buffer, pass {extra} of {passes}"));
                let before = step_before(extra + state.step * passes);
                self.anneal(problem, state, own, before, report)?;
            }
        }
        self.anneal(problem, state, own, state.step, report)
    }

    /// One gradient step on `joint`: a loss −mean(weight · log q), the weights being `weigh` of log
    /// q. Returns log q, too.
    fn update(
        &self,
        problem: &Problem,
        state: &mut TrainingState,
        joint: &[f64],
        weigh: impl FnOnce(&[f32]) -> Vec<f64>,
    ) -> Result<(Descent, Vec<f32>), Error> {
        let mut values = Vec::new();
        let descent = state.descend(&self.descent, |theta| {
            let log_q = op::log_prob(&problem.flow, theta, joint);
            values = log_q.as_vec();
            let clip = self.options.weight_clip;
            let weights: Vec<f32> = weigh(&values)
                .into_iter()
                // A sample whose density under the flow is not finite does not count.
                .map(|weight| if weight.is_finite() { weight.min(clip) as f32 } else { 0.0 })
                .collect();
            let weights = log_q.device().tensor_from_vec(weights, (values.len(),));
            Ok(-(log_q * weights).mean())
        })?;
        Ok((descent, values))
    }

    /// Gradient steps on the buffer's samples.
    fn learn_from_buffer(
        &self,
        problem: &Problem,
        state: &mut TrainingState,
        own: &mut FabState,
        report: &mut StepReport,
    ) -> Result<(), Error> {
        let batch = self.descent.batch_size;
        let mut rng = stream(problem.seed, Purpose::Buffer, state.step, 0);
        let chosen = own.buffer.draw(self.options.updates_per_annealing * batch, &mut rng);
        // Each configuration goes to the rank whose share of the batch it is in.
        let receivers: Vec<usize> = chosen
            .chunks(batch)
            .flat_map(|chosen| {
                let share = |rank| problem.flow.share_of(rank, chosen.len()).map(move |_| rank);
                (0..team().size()).flat_map(share)
            })
            .collect();
        let mut fetched = own.buffer.fetch(&chosen, &receivers);
        // A rotated sample has the weight towards g that the ratio of its new and its old density
        // gives it, like any other: p does not change, and all rotations are as likely.
        problem.turn(&mut fetched, state.step, 0);
        let mut means = Means::default();
        let rows = fetched.chunks(batch * own.buffer.width());
        for (chosen, joint) in chosen.chunks(batch).zip(rows) {
            let old: Vec<f64> = chosen.iter().map(|&index| own.buffer.log_q(index)).collect();
            let adjustment = |log_q: f32, old: f64| self.log_adjustment(f64::from(log_q), old);
            let (descent, new) = self.update(problem, state, joint, |log_q| {
                log_q.iter().zip(&old).map(|(&q, &old)| adjustment(q, old).exp()).collect()
            })?;
            means.add(descent);
            for ((&index, &log_q), &old) in chosen.iter().zip(&new).zip(&old) {
                own.buffer.adjust(index, adjustment(log_q, old), f64::from(log_q));
            }
        }
        means.report(report);
        Ok(())
    }

    /// Gradient steps on what the walkers, distributed as p, find: with weights (p/q)^{α−1} they
    /// stand for g ∝ p^α q^{1−α}. While the flow is far from p, the weights are [`tempered`].
    fn learn_from_walkers(
        &self,
        problem: &Problem,
        state: &mut TrainingState,
        own: &mut FabState,
        options: &WalkerOptions,
        report: &mut StepReport,
    ) -> Result<(), Error> {
        // A potential that fails for good must leave the state as it was.
        let mut walkers = own.walkers.clone();
        walkers.cool(options, state.step, self.descent.steps);
        let mut effort = Effort::default();
        if !walkers.started() {
            let _work = work::begin("starting the walkers");
            effort += match options.start {
                WalkerStart::Flow => {
                    let annealing = Annealing { alpha: 1.0, ..self.annealing() };
                    let (theta, step_sizes) = (&state.theta, &own.step_sizes);
                    walkers.start(problem, theta, options.count, annealing, step_sizes)?
                }
                WalkerStart::Reference => walkers.start_by_reference(problem, options.count)?,
            };
        }
        problem.fit_base(state, Some(&walkers.positions))?;
        let (batch, updates) = (self.descent.batch_size, self.options.updates_per_annealing);
        let samples = updates * batch;
        // The averaged parameters make the better proposals.
        let theta = &state.average;
        let (leapfrog, step) = (options.leapfrog_steps, state.step);
        let rows = samples.div_ceil(options.reuse);
        let every = if leapfrog == 0 { 1 } else { updates.div_ceil(options.reuse) };
        let mut visit = walkers.visit(problem, theta, leapfrog, rows, every, step)?;
        effort += visit.effort;
        if let Some(past) = &mut walkers.past {
            let found = (visit.joint, visit.log_p);
            (visit.joint, visit.log_p) = past.mix(problem, found, samples, step);
        }
        problem.turn(&mut visit.joint, step, 0);

        if !own.walkers.started() {
            state.health.forget();
        }
        own.walkers = walkers;
        state.counters.add(effort);
        report.potential_seconds += effort.seconds;
        report.flow_seconds += visit.flow_seconds;
        report.acceptance = (leapfrog > 0).then_some(visit.acceptance);
        report.flow_acceptance = Some(visit.flow_acceptance);
        report.hmc_step_size = Some(own.walkers.step_size.get());

        let mut means = Means::default();
        let rows = visit.joint.chunks(batch * problem.flow.width());
        for (joint, log_p) in rows.zip(visit.log_p.chunks(batch)) {
            let (descent, _) = self.update(problem, state, joint, |log_q| {
                let logs: Vec<f64> = log_q
                    .iter()
                    .zip(log_p)
                    .map(|(&log_q, log_p)| (self.options.alpha - 1.0) * (log_p - f64::from(log_q)))
                    .collect();
                tempered(&logs)
            })?;
            means.add(descent);
        }
        means.report(report);
        Ok(())
    }

    fn annealing(&self) -> Annealing {
        Annealing {
            intermediate: self.options.intermediate_distributions,
            leapfrog_steps: self.options.leapfrog_steps,
            alpha: self.options.alpha,
        }
    }
}

/// Weights of mean 1 from their logarithms, each raised to the largest power β ≤ 1 at which their
/// effective sample size is half of their number.
///
/// Where the flow is far from p, the weights (p/q)^{α−1} leave one sample of a batch, and the
/// gradient is noise. β = 0 is maximum likelihood on the walkers, β = 1 the α-divergence, which is
/// reached when the flow comes near p.
fn tempered(logs: &[f64]) -> Vec<f64> {
    let finite: Vec<f64> = logs.iter().copied().filter(|w| w.is_finite()).collect();
    let scaled = |power: f64| finite.iter().map(|log| power * log).collect::<Vec<f64>>();
    let counts_half =
        |power: f64| effective_sample_size(&scaled(power)).count >= 0.5 * finite.len() as f64;
    let mut power = 1.0;
    if !counts_half(power) {
        // The effective sample size falls with the power.
        let mut range = [0.0, 1.0];
        for _ in 0..20 {
            power = 0.5 * (range[0] + range[1]);
            range[usize::from(!counts_half(power))] = power;
        }
        power = range[0];
    }
    let mean = log_sum_exp(&scaled(power)) - (finite.len() as f64).ln();
    // A sample without a finite log weight has no weight either.
    let weight = |log: &f64| if log.is_finite() { (power * log - mean).exp() } else { f64::NAN };
    logs.iter().map(weight).collect()
}

/// Means over the gradient steps of a training step that have a finite loss.
#[derive(Default)]
struct Means {
    loss: f64,
    norm: f64,
    terms: f64,
    seconds: f64,
}

impl Means {
    fn add(&mut self, descent: Descent) {
        self.seconds += descent.seconds;
        if descent.loss.is_finite() && descent.gradient_norm.is_finite() {
            self.loss += descent.loss;
            self.norm += descent.gradient_norm;
            self.terms += 1.0;
        }
    }

    /// Not a number if there were none.
    fn report(&self, report: &mut StepReport) {
        report.loss = self.loss / self.terms;
        report.gradient_norm = self.norm / self.terms;
        report.flow_seconds += self.seconds * team().threads() as f64;
    }
}

impl Trainer for Fab {
    fn start(&self, problem: &Problem) -> TrainingState {
        let (levels, step) =
            (self.options.intermediate_distributions, self.options.initial_step_size);
        let capacity = self.options.buffer.max_batches * self.descent.batch_size;
        let own = FabState {
            step_sizes: StepSizes::new(levels, step),
            buffer: ReplayBuffer::new(problem.flow.width(), capacity),
            walkers: Walkers::none(step).with_options(self.options.walkers.as_ref()),
        };
        TrainingState::new(problem, self.descent.optimizer, own)
    }

    fn step(&self, problem: &Problem, state: &mut TrainingState) -> Result<StepReport, Error> {
        let mut report = StepReport {
            learning_rate: state.learning_rate(&self.descent),
            ..StepReport::default()
        };
        let walkers = self.options.walkers.as_ref();
        let walkers = walkers.filter(|w| state.step >= w.from_step as u64);
        state.with_own(|state, own: &mut FabState| match walkers {
            Some(options) => self.learn_from_walkers(problem, state, own, options, &mut report),
            None => {
                problem.fit_base(state, None)?;
                self.fill_buffer(problem, state, own, &mut report)?;
                self.learn_from_buffer(problem, state, own, &mut report)
            }
        })?;
        Ok(report)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_are_tempered_until_they_are_worth_half_of_their_number() {
        // log p/q of a flow that is near, and of one that is far.
        for (spread, as_they_are) in [(0.3, true), (30.0, false)] {
            let logs: Vec<f64> = (0..256).map(|i| spread * (f64::from(i) * 0.77).sin()).collect();
            let weights = tempered(&logs);
            let mean = weights.iter().sum::<f64>() / 256.0;
            assert!((mean - 1.0).abs() < 1e-9, "mean {mean}");
            let worth = 256.0 / weights.iter().map(|w| w * w).sum::<f64>();
            let power = (weights[1] / weights[0]).ln() / (logs[1] - logs[0]);
            if as_they_are {
                assert!((power - 1.0).abs() < 1e-9 && worth >= 0.5, "power {power}, {worth}");
            } else {
                assert!((worth - 0.5).abs() < 1e-3, "power {power} leaves {worth}");
            }
        }
    }

    #[test]
    fn a_sample_without_a_number_keeps_none_and_spoils_no_other() {
        let weights = tempered(&[0.1, f64::NAN, 0.3, f64::NEG_INFINITY]);
        assert!(weights[1].is_nan() && weights[3].is_nan());
        assert!((weights[0] + weights[2] - 2.0).abs() < 1e-9);
        assert!(tempered(&[f64::NAN]).iter().all(|w| w.is_nan()));
    }
}
