//! Maximum likelihood: −E[log q_θ(x, a)] over given configurations x, with fresh a ~ π(a|x).

use dfdx::prelude::*;
use rand::Rng;

use crate::error::Error;
use crate::flow::op;
use crate::random::{stream, Purpose};

use super::{DescentOptions, Problem, StepReport, Trainer, TrainingState};

/// The maximum-likelihood trainer.
#[derive(Debug, Clone, PartialEq)]
pub struct MaxLikelihood {
    /// What all objectives share.
    pub descent: DescentOptions,
    /// Configurations with zero centre of mass, [samples, particles, dimension].
    data: Vec<f64>,
}

impl MaxLikelihood {
    /// A trainer on `data`, [samples, particles, dimension]; centres of mass are removed.
    ///
    /// # Errors
    /// [`Error::Parameter`] if there is no sample.
    pub fn new(
        descent: DescentOptions,
        system: crate::system::System,
        mut data: Vec<f64>,
    ) -> Result<Self, Error> {
        if data.len() < system.coordinates() {
            return Err(Error::parameter("train.max_likelihood.data", "has no sample"));
        }
        for x in data.chunks_exact_mut(system.coordinates()) {
            system.remove_center_of_mass(x);
        }
        Ok(Self { descent, data })
    }
}

impl Trainer for MaxLikelihood {
    fn objective(&self) -> &'static str {
        "max_likelihood"
    }

    fn start(&self, problem: &Problem) -> TrainingState {
        TrainingState::new(problem, 0, 1.0, 0)
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
        let threads = rayon::current_num_threads() as f64;
        let report = StepReport {
            loss: descent.loss,
            gradient_norm: descent.gradient_norm,
            learning_rate: state.learning_rate(&self.descent.schedule),
            flow_seconds: descent.seconds * threads,
            ..StepReport::default()
        };
        state.step += 1;
        Ok(report)
    }
}
