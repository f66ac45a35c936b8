//! Reverse KL: E_q[log q(x, a) − log p(x) π(a|x)] on the flow's own samples.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use dfdx::prelude::*;
use rand_distr::{Distribution, StandardNormal};
use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::flow::op;
use crate::limits::{count, number, positive};
use crate::parallel::team;
use crate::potential::Potential;
use crate::random::{stream, Purpose};
use crate::sampling::{log_density, AugmentedTarget, Effort, FlowDensity};

use super::problem::{Problem, StepReport};
use super::state::{DescentOptions, TrainingState};
use super::trainer::{ObjectiveOptions, Trainer};

/// KL divergence of the flow from the target, on samples of the flow: `[train.reverse_kl]`. A step
/// is fast, and a mode that the flow does not visit is never learnt.
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

/// Starts with a soft core and hardens it: `[train.reverse_kl.core]`. Pair terms are linear below a
/// radius that shrinks linearly in time. Without the section the potential is as it is.
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
    fn start(&self, problem: &Problem) -> TrainingState {
        TrainingState::new(problem, self.descent.optimizer, ())
    }

    fn step(&self, problem: &Problem, state: &mut TrainingState) -> Result<StepReport, Error> {
        problem.fit_base(state, None)?;
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

        let limit = self.options.energy_clip.map_or(f32::INFINITY, |clip| clip as f32);
        let frozen = state.theta.clone();
        let (mut effort, mut potential_seconds) = (Effort::default(), 0.0);
        let descent = state.descend(&self.descent, |theta| {
            let (z, log_q) = op::sample_and_log_prob(flow, theta, noise);
            let log_q = match self.options.estimator {
                // A density that does not depend on the parameters leaves the paths of z alone.
                Estimator::Path => {
                    let density = FlowDensity { flow, theta: &frozen };
                    log_density(&density, z.retaped())?.0
                }
                Estimator::Total => log_q.retaped(),
            };
            let began = Instant::now();
            let (log_p, spent) = log_density(&target, z)?;
            (effort, potential_seconds) = (spent, began.elapsed().as_secs_f64());
            let values = log_p.as_vec().into_iter().zip(log_q.as_vec());
            let usable: Vec<bool> = values
                .map(|(log_p, log_q)| (log_q - log_p).is_finite() && -log_p < limit)
                .collect();
            Ok(mean_where(usable, log_q - log_p))
        })?;
        let threads = team().threads() as f64;
        report.flow_seconds = (descent.seconds - potential_seconds) * threads;
        report.potential_seconds = potential_seconds * threads;
        (report.loss, report.gradient_norm) = (descent.loss, descent.gradient_norm);
        state.counters.add(effort);
        state.counters.nonfinite_weights += effort.failures;
        Ok(report)
    }
}

/// Mean of the values that are `usable`; 0 if none is.
fn mean_where(
    usable: Vec<bool>,
    values: op::Vector<OwnedTape<f32, Cpu>>,
) -> Tensor<(), f32, Cpu, OwnedTape<f32, Cpu>> {
    let device = values.device().clone();
    let shape = (usable.len(),);
    let count = usable.iter().filter(|&&usable| usable).count().max(1);
    let zeros = device.tensor_from_vec(vec![0.0; usable.len()], shape);
    device.tensor_from_vec(usable, shape).choose(values, zeros).sum() / count as f32
}
