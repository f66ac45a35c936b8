//! Reverse KL: E_q[log q(x, a) − log p(x) π(a|x)] on the flow's own samples.

use std::path::Path;
use std::sync::Arc;

use dfdx::prelude::*;
use rand_distr::{Distribution, StandardNormal};
use serde::{Deserialize, Serialize};

use crate::engine::LANES;
use crate::error::Error;
use crate::flow::{op, Flow};
use crate::limits::{count, number, positive};
use crate::parallel::team;
use crate::potential::Potential;
use crate::random::{stream, Purpose};
use crate::sampling::{AugmentedTarget, LogDensity};

use super::problem::{Problem, StepReport};
use super::state::{DescentOptions, TrainingState};
use super::trainer::{ObjectiveOptions, Trainer};

/// `[train.reverse_kl]`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ReverseKlOptions {
    /// How the gradient is estimated (default "path").
    pub estimator: Estimator,
    /// Energies over this, in kT, count as this and push no more (default: no limit).
    pub energy_clip: Option<f64>,
    /// Starts with a soft core and hardens it (default: the potential as it is).
    pub core: Option<CoreSchedule>,
}

/// Estimators of the reverse KL divergence's gradient.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Estimator {
    /// Without the score term: its variance vanishes at the optimum (Roeder, Wu &
    /// Duvenaud, arXiv:1703.09194).
    #[default]
    Path,
    /// The whole derivative of the reparametrised objective.
    Total,
}

/// `[train.reverse_kl.core]`: pair terms are linear below a radius that shrinks linearly in time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CoreSchedule {
    /// Radius at the first step, a length.
    pub radius: f64,
    /// Radius from step `steps` on; 0 is the exact potential (default 0).
    #[serde(default)]
    pub final_radius: f64,
    /// Training steps until `final_radius` is reached.
    pub steps: usize,
}

impl CoreSchedule {
    fn at(&self, step: u64) -> f64 {
        let done = (step as f64 / self.steps.max(1) as f64).min(1.0);
        self.radius + (self.final_radius - self.radius) * done
    }
}

impl ObjectiveOptions for ReverseKlOptions {
    fn title(&self) -> &'static str {
        "reverse KL"
    }

    fn validate(&self, _: &DescentOptions) -> Result<(), Error> {
        if let Some(clip) = self.energy_clip {
            number("train.reverse_kl.energy_clip", clip, -1e12..=1e12)?;
        }
        if let Some(core) = &self.core {
            positive("train.reverse_kl.core.radius", core.radius, 1000.0)?;
            number("train.reverse_kl.core.final_radius", core.final_radius, 0.0..=core.radius)?;
            count("train.reverse_kl.core.steps", core.steps, 1..=1_000_000_000)?;
        }
        Ok(())
    }

    fn trainer(
        &self,
        descent: &DescentOptions,
        _: &Problem,
        _: &dyn Fn(&Path) -> Result<Vec<f64>, Error>,
    ) -> Result<Box<dyn Trainer>, Error> {
        Ok(Box::new(ReverseKl { descent: descent.clone(), options: self.clone() }))
    }
}

/// The reverse KL trainer.
#[derive(Debug, Clone, PartialEq)]
pub struct ReverseKl {
    /// What all objectives share.
    pub descent: DescentOptions,
    /// Its own options.
    pub options: ReverseKlOptions,
}

impl ReverseKl {
    /// The target at this step, with its core softened or not.
    fn target(&self, problem: &Problem, step: u64) -> Result<AugmentedTarget, Error> {
        let radius = self.options.core.as_ref().map_or(0.0, |core| core.at(step));
        if radius <= 0.0 {
            return Ok(problem.target.clone());
        }
        let potential: Arc<dyn Potential> =
            problem.target.potential().softened(radius).ok_or_else(|| {
                Error::parameter(
                    "train.reverse_kl.core",
                    format!("cannot be used: this potential has no soft core of radius {radius}"),
                )
            })?;
        Ok(problem.target.with_potential(potential))
    }
}

impl Trainer for ReverseKl {
    fn objective(&self) -> &'static str {
        "reverse_kl"
    }

    fn start(&self, problem: &Problem) -> TrainingState {
        TrainingState::new(problem, self.descent.optimizer, ())
    }

    fn step(&self, problem: &Problem, state: &mut TrainingState) -> Result<StepReport, Error> {
        let mut report = StepReport {
            learning_rate: state.learning_rate(&self.descent),
            ..StepReport::default()
        };
        let target = self.target(problem, state.step)?;
        let (flow, width) = (&problem.flow, problem.flow.width());
        let batch = self.descent.batch_size;
        let mut noise = vec![0.0; batch * width];
        for sample in flow.share(batch) {
            let rng = stream(problem.seed, Purpose::Training, state.step, sample as u64);
            let numbers = StandardNormal.sample_iter(rng);
            noise[sample * width..(sample + 1) * width]
                .iter_mut()
                .zip(numbers)
                .for_each(|(to, number)| *to = number);
        }

        let path = self.options.estimator == Estimator::Path;
        let weights = state.theta.clone();
        let (mut failures, mut potential_seconds) = (0, 0.0);
        let descent = state.descend(&self.descent, |theta| {
            let rows = op::sample_and_log_prob(flow, theta, noise);
            let values: Vec<f64> = rows.as_vec().iter().map(|&v| f64::from(v)).collect();
            let joint: Vec<f64> =
                values.chunks_exact(width + 1).flat_map(|row| &row[..width]).copied().collect();
            let began = std::time::Instant::now();
            let (log_p, to_joint, failed) = log_densities(&target, &joint)?;
            potential_seconds = began.elapsed().as_secs_f64();
            failures = failed;
            let slope = if path { slopes(flow, &weights, &joint)? } else { vec![0.0; joint.len()] };
            // The surrogate Σ c · row has the estimator's gradient; its value is the loss itself.
            let mut coefficients = vec![0.0f32; batch * (width + 1)];
            let (mut offset, mut used) = (0.0, 0.0);
            for sample in 0..batch {
                let row = &values[sample * (width + 1)..(sample + 1) * (width + 1)];
                let place = sample * width..(sample + 1) * width;
                let out = &mut coefficients[sample * (width + 1)..(sample + 1) * (width + 1)];
                let to_row = to_joint[place.clone()].iter().zip(&slope[place]);
                for (c, (p, q)) in out.iter_mut().zip(to_row) {
                    *c = (if path { q - p } else { -p }) as f32;
                }
                out[width] = if path { 0.0 } else { 1.0 };
                let limit = self.options.energy_clip.unwrap_or(f64::INFINITY);
                let usable = log_p[sample].is_finite()
                    && -log_p[sample] < limit
                    && row.iter().all(|v| v.is_finite())
                    && out.iter().all(|c| c.is_finite());
                if !usable {
                    out.fill(0.0);
                    continue;
                }
                used += 1.0;
                let surrogate: f64 = row.iter().zip(&*out).map(|(v, c)| v * f64::from(*c)).sum();
                offset += row[width] - log_p[sample] - surrogate;
            }
            if used == 0.0 {
                used = 1.0;
            }
            let device = rows.device().clone();
            let coefficients = device.tensor_from_vec(coefficients, (batch, width + 1));
            Ok(((rows * coefficients).sum() + offset as f32) / used as f32)
        })?;
        let threads = team().threads() as f64;
        report.flow_seconds = (descent.seconds - potential_seconds) * threads;
        report.potential_seconds = potential_seconds * threads;
        (report.loss, report.gradient_norm) = (descent.loss, descent.gradient_norm);
        state.counters.energy_evaluations += batch as u64;
        state.counters.recoverable_failures += failures;
        state.counters.nonfinite_weights += failures;
        Ok(report)
    }
}

/// log p and its gradient for a batch, in parallel; also how many had no finite energy.
fn log_densities(
    target: &AugmentedTarget,
    joint: &[f64],
) -> Result<(Vec<f64>, Vec<f64>, u64), Error> {
    let width = target.width();
    let tiles: Vec<&[f64]> = joint.chunks(LANES * width).collect();
    let done = team().map(tiles.len(), |tile| {
        let mut log_p = vec![0.0; tiles[tile].len() / width];
        let mut gradient = vec![0.0; tiles[tile].len()];
        let failures = target.log_density_and_gradient(tiles[tile], &mut log_p, &mut gradient)?;
        Ok::<_, Error>(((log_p, gradient), failures as u64))
    })?;
    let (mut log_p, mut gradient, mut failures) = (Vec::new(), Vec::new(), 0);
    for ((densities, to_joint), failed) in done {
        gradient.extend(to_joint);
        log_p.extend(densities);
        failures += failed;
    }
    Ok((log_p, gradient, failures))
}

/// ∂ log q/∂(x, a) of a batch.
fn slopes(flow: &Flow<f32>, theta: &[f32], joint: &[f64]) -> Result<Vec<f64>, Error> {
    let width = flow.width();
    let tiles: Vec<&[f64]> = joint.chunks(LANES * width).collect();
    let slopes = team().map(tiles.len(), |tile| {
        let mut log_q = vec![0.0; tiles[tile].len() / width];
        let mut slope = vec![0.0; tiles[tile].len()];
        flow.log_prob_and_gradient(theta, tiles[tile], &mut log_q, &mut slope);
        Ok::<_, Error>(slope)
    })?;
    Ok(slopes.concat())
}
