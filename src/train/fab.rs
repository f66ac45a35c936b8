//! Flow annealed importance sampling bootstrap: the α-divergence ∫ p^α q^{1−α} with α = 2.
//!
//! Midgley, Stimper, Simm, Schölkopf & Hernández-Lobato, ICLR 2023 (arXiv:2208.01893). Annealed
//! importance sampling from the flow q to g ∝ p²/q gives weighted samples where the flow is too thin;
//! they go to a replay buffer, from which batches are drawn by weight. The gradient of the divergence
//! is −E_g[∇ log q_θ] up to a factor, so a step raises log q_θ on what was drawn.

use dfdx::prelude::*;

use crate::error::Error;
use crate::flow::op;
use crate::random::{stream, Purpose};
use crate::sampling::{AnnealedImportanceSampling, Annealing, FlowDensity, Streams};

use super::{DescentOptions, Problem, StepReport, Trainer, TrainingState};

/// Options of FAB.
#[derive(Debug, Clone, PartialEq)]
pub struct FabOptions {
    /// α of the divergence.
    pub alpha: f64,
    /// Densities between q and g, one HMC transition each.
    pub intermediate_distributions: usize,
    /// Leapfrog steps of a transition.
    pub leapfrog_steps: usize,
    /// Leapfrog step size before it adapts, a length.
    pub initial_step_size: f64,
    /// Gradient steps after each annealing pass.
    pub updates_per_annealing: usize,
    /// Upper limit of the weight that corrects for the flow's change since a sample was annealed.
    pub weight_clip: f64,
    /// Training starts when the buffer holds this many batches.
    pub min_batches: usize,
    /// The buffer holds at most this many batches.
    pub max_batches: usize,
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
    /// log of w_adj = (q_old/q_θ)^{α−1}: what the change of the flow since the weight was set does to
    /// the weight of a sample towards g ∝ p^α q^{1−α}.
    pub fn log_adjustment(&self, log_q: f64, log_q_old: f64) -> f64 {
        (1.0 - self.options.alpha) * (log_q - log_q_old)
    }

    /// One annealing pass into the buffer.
    fn anneal(
        &self,
        problem: &Problem,
        state: &mut TrainingState,
        pass: u64,
        report: &mut StepReport,
    ) -> Result<(), Error> {
        let flow = FlowDensity { flow: &problem.flow, theta: &state.theta };
        let annealing = AnnealedImportanceSampling {
            proposal: &flow,
            target: &problem.target,
            subspace: problem.subspace(),
            annealing: Annealing {
                intermediate: self.options.intermediate_distributions,
                leapfrog_steps: self.options.leapfrog_steps,
                alpha: self.options.alpha,
            },
        };
        let streams = Streams { seed: problem.seed, purpose: Purpose::Annealing, step: pass };
        let samples = self.descent.batch_size;
        let annealed = annealing.run(samples, streams, &mut state.step_sizes)?;
        state.buffer.push(&annealed.joint, &annealed.log_weights, &annealed.log_q);
        state.energy_evaluations += annealed.effort[1].evaluations;
        state.recoverable_failures += annealed.effort[1].failures;
        state.nonfinite_weights += annealed.zero_weights as u64;
        report.flow_seconds += annealed.effort[0].seconds;
        report.potential_seconds += annealed.effort[1].seconds;
        let levels = annealed.acceptance.len() as f64;
        if levels > 0.0 {
            report.acceptance = Some(annealed.acceptance.iter().sum::<f64>() / levels);
            let steps = state.step_sizes.0.iter().map(|s| s.get()).sum::<f64>();
            report.hmc_step_size = Some(steps / levels);
        }
        Ok(())
    }

    /// One gradient step on the buffer's samples `chosen`.
    fn update(
        &self,
        problem: &Problem,
        state: &mut TrainingState,
        chosen: &[usize],
    ) -> Result<(f64, f64), Error> {
        let joint: Vec<f64> =
            chosen.iter().flat_map(|&index| state.buffer.joint(index)).copied().collect();
        let old: Vec<f64> = chosen.iter().map(|&index| state.buffer.log_q(index)).collect();
        let mut new = Vec::new();
        let result = state.descend(&self.descent, |theta| {
            let log_q = op::log_prob(&problem.flow, theta, &joint);
            new = log_q.as_vec();
            let weights: Vec<f32> = new
                .iter()
                .zip(&old)
                .map(|(&log_q, &old)| {
                    let weight = self.log_adjustment(f64::from(log_q), old).exp();
                    // A sample that the flow has no number for teaches nothing.
                    if weight.is_finite() {
                        weight.min(self.options.weight_clip) as f32
                    } else {
                        0.0
                    }
                })
                .collect();
            let weights = log_q.device().tensor_from_vec(weights, (chosen.len(),));
            Ok(-(log_q * weights).mean())
        })?;
        for ((&index, &log_q), &old) in chosen.iter().zip(&new).zip(&old) {
            let log_q = f64::from(log_q);
            state.buffer.adjust(index, self.log_adjustment(log_q, old), log_q);
        }
        Ok(result)
    }
}

impl Trainer for Fab {
    fn objective(&self) -> &'static str {
        "fab"
    }

    fn start(&self, problem: &Problem) -> TrainingState {
        TrainingState::new(
            problem,
            self.options.intermediate_distributions,
            self.options.initial_step_size,
            self.options.max_batches * self.descent.batch_size,
        )
    }

    fn step(&self, problem: &Problem, state: &mut TrainingState) -> Result<StepReport, Error> {
        let mut report = StepReport {
            learning_rate: state.learning_rate(&self.descent.schedule),
            ..StepReport::default()
        };
        // An empty buffer, at the start or after a roll-back, is filled; the extra passes count as
        // steps before zero.
        let batch = self.descent.batch_size;
        if state.buffer.is_empty() {
            for extra in 1..self.options.min_batches as u64 {
                let before = u64::MAX - extra - state.step * self.options.min_batches as u64;
                self.anneal(problem, state, before, &mut report)?;
            }
        }
        self.anneal(problem, state, state.step, &mut report)?;

        let updates = self.options.updates_per_annealing;
        let mut rng = stream(problem.seed, Purpose::Buffer, state.step, 0);
        let chosen = state.buffer.draw(updates * batch, &mut rng);
        let start = std::time::Instant::now();
        let (mut loss, mut norm, mut done) = (0.0, 0.0, 0.0);
        for chosen in chosen.chunks(batch) {
            let (l, n) = self.update(problem, state, chosen)?;
            if l.is_finite() && n.is_finite() {
                (loss, norm, done) = (loss + l, norm + n, done + 1.0);
            }
        }
        let threads = rayon::current_num_threads() as f64;
        report.flow_seconds += start.elapsed().as_secs_f64() * threads;
        report.loss = if done > 0.0 { loss / done } else { f64::NAN };
        report.gradient_norm = if done > 0.0 { norm / done } else { f64::NAN };
        state.step += 1;
        Ok(report)
    }
}
