//! Maximum likelihood: −E[log q_θ(x, a)] over given configurations x, with fresh a ~ π(a|x).

use dfdx::prelude::*;
use rand::seq::SliceRandom;
use rand::Rng;

use crate::error::Error;
use crate::flow::op;
use crate::parallel::team;
use crate::random::{stream, Purpose};

use super::{DescentOptions, Problem, StepReport, Trainer, TrainingState};

/// The maximum-likelihood trainer.
#[derive(Debug, Clone, PartialEq)]
pub struct MaxLikelihood {
    /// What all objectives share.
    pub descent: DescentOptions,
    /// Configurations with zero centre of mass, [samples, particles, dimension].
    data: Vec<f64>,
    /// Configurations that the training does not see.
    validation: Vec<f64>,
}

/// What decides which model of a training is kept.
#[derive(Debug, Clone, PartialEq)]
pub enum HeldBack {
    /// This share of the data, drawn by the seed; 0 for nothing.
    Share(f64),
    /// These samples.
    Samples(Vec<f64>),
}

impl MaxLikelihood {
    /// A trainer on `data`, [samples, particles, dimension]; centres of mass are removed.
    ///
    /// # Errors
    /// [`Error::Parameter`] if there is no sample, or none in one of the parts.
    pub fn new(
        descent: DescentOptions,
        problem: &Problem,
        mut data: Vec<f64>,
        held_back: HeldBack,
    ) -> Result<Self, Error> {
        let system = problem.flow.system();
        let width = system.coordinates();
        let samples = data.len() / width;
        let mut validation = match held_back {
            HeldBack::Samples(samples) => samples,
            HeldBack::Share(share) => {
                let count = (share * samples as f64).round() as usize;
                if share > 0.0 && (count == 0 || count >= samples) {
                    let problem = format!("of {samples} samples leaves a part without any");
                    return Err(Error::parameter("train.max_likelihood.validation", problem));
                }
                // Its own step, far from those of the training.
                let mut order: Vec<usize> = (0..samples).collect();
                order.shuffle(&mut stream(problem.seed, Purpose::Data, u64::MAX, 0));
                let rows = |chosen: &[usize]| -> Vec<f64> {
                    chosen
                        .iter()
                        .flat_map(|&i| &data[i * width..(i + 1) * width])
                        .copied()
                        .collect()
                };
                if count > 0 {
                    let (held, kept) = order.split_at_mut(count);
                    kept.sort_unstable();
                    let held = rows(held);
                    data = rows(kept);
                    held
                } else {
                    Vec::new()
                }
            }
        };
        if data.len() < width {
            return Err(Error::parameter("train.max_likelihood.data", "has no sample"));
        }
        for x in data.chunks_exact_mut(width).chain(validation.chunks_exact_mut(width)) {
            system.remove_center_of_mass(x);
        }
        Ok(Self { descent, data, validation })
    }
}

impl Trainer for MaxLikelihood {
    fn objective(&self) -> &'static str {
        "max_likelihood"
    }

    fn validation(&self) -> &[f64] {
        &self.validation
    }

    fn start(&self, problem: &Problem) -> TrainingState {
        TrainingState::new(problem, self.descent.method, 0, 1.0, 0)
    }

    fn step(&self, problem: &Problem, state: &mut TrainingState) -> Result<StepReport, Error> {
        let coordinates = problem.flow.system().coordinates();
        let samples = self.data.len() / coordinates;
        let batch = self.descent.batch_size;
        let mut rngs: Vec<_> = (0..batch as u64)
            .map(|sample| stream(problem.seed, Purpose::Data, state.step, sample))
            .collect();
        let x: Vec<f64> = rngs
            .iter_mut()
            .flat_map(|rng| {
                let index = rng.gen_range(0..samples);
                &self.data[index * coordinates..(index + 1) * coordinates]
            })
            .copied()
            .collect();
        let mut joint = vec![0.0; batch * problem.flow.width()];
        problem.target.augment(&x, &mut rngs, &mut joint);
        problem.turn(&mut joint, state.step, 0);
        let descent = state.descend(&self.descent, |theta| {
            Ok(-op::log_prob(&problem.flow, theta, &joint).mean())
        })?;
        let threads = team().threads() as f64;
        let report = StepReport {
            loss: descent.loss,
            gradient_norm: descent.gradient_norm,
            learning_rate: state.learning_rate(&self.descent.schedule),
            flow_seconds: descent.seconds * threads,
            ..StepReport::default()
        };
        Ok(report)
    }
}
