//! Maximum likelihood: −E[log q_θ(x, a)] over given configurations x, with fresh a ~ π(a|x).

use std::path::{Path, PathBuf};

use dfdx::prelude::*;
use rand::seq::SliceRandom;
use rand::Rng;
use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::flow::op;
use crate::limits::number;
use crate::parallel::team;
use crate::random::{stream, Purpose, ONCE};

use super::problem::{Problem, StepReport};
use super::state::{DescentOptions, TrainingState};
use super::trainer::{ObjectiveOptions, Trainer};

/// KL divergence of the target from the flow, on samples from elsewhere: `[train.max_likelihood]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MaxLikelihoodOptions {
    /// Training samples, all of one weight: .npz, .npy, .csv, extended .xyz, .pdb or .dcd.
    pub data: PathBuf,
    /// Share of them, drawn by the seed, that is held back to decide which model is kept: the one
    /// with the least negative log-likelihood there (default 0: the last model is kept).
    #[serde(default)]
    pub validation: f64,
    /// Samples for that from a file of their own (default: none).
    pub validation_data: Option<PathBuf>,
    /// Samples for the forward figures and the likelihood of evaluations (default: those of
    /// `evaluate.reference_samples`); they decide nothing.
    pub test_data: Option<PathBuf>,
}

impl ObjectiveOptions for MaxLikelihoodOptions {
    fn title(&self) -> &'static str {
        "maximum likelihood"
    }

    fn needs_energy(&self) -> bool {
        false
    }

    fn files(&self) -> Vec<&Path> {
        let others = [&self.validation_data, &self.test_data].into_iter().flatten();
        others.chain([&self.data]).map(PathBuf::as_path).collect()
    }

    fn validate(&self, _: &DescentOptions) -> Result<(), Error> {
        if self.data.as_os_str().is_empty() {
            return Err(Error::parameter(
                "train.max_likelihood.data",
                "is empty: name a file of samples",
            ));
        }
        number("train.max_likelihood.validation", self.validation, 0.0..=0.9)?;
        if self.validation > 0.0 && self.validation_data.is_some() {
            return Err(Error::parameter(
                "train.max_likelihood.validation",
                "is a share of the data and `validation_data` names a file: keep one of them",
            ));
        }
        let others = [("validation_data", &self.validation_data), ("test_data", &self.test_data)];
        match others.into_iter().find(|(_, file)| file.as_ref() == Some(&self.data)) {
            Some((key, _)) => Err(Error::parameter(
                format!("train.max_likelihood.{key}"),
                "is the training data, which cannot judge itself: name another file",
            )),
            None => Ok(()),
        }
    }

    fn trainer(
        &self,
        descent: &DescentOptions,
        problem: &Problem,
        read: &dyn Fn(&Path) -> Result<Vec<f64>, Error>,
    ) -> Result<Box<dyn Trainer>, Error> {
        let data = read(&self.data)?;
        let held_back = match &self.validation_data {
            Some(file) => HeldBack::Samples(read(file)?),
            None => HeldBack::Share(self.validation),
        };
        Ok(Box::new(MaxLikelihood::new(descent.clone(), problem, data, held_back)?))
    }
}

/// The maximum-likelihood trainer.
#[derive(Debug, Clone, PartialEq)]
pub struct MaxLikelihood {
    /// What all objectives share.
    pub descent: DescentOptions,
    /// Configurations with zero centre of mass, [samples, particles, dimension].
    data: Vec<f64>,
    /// Configurations that are not trained on.
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
                let mut order: Vec<usize> = (0..samples).collect();
                order.shuffle(&mut stream(problem.seed, Purpose::Data, ONCE, 0));
                let rows = |chosen: &[usize]| -> Vec<f64> {
                    chosen
                        .iter()
                        .flat_map(|&i| &data[i * width..(i + 1) * width])
                        .copied()
                        .collect()
                };
                let (held, kept) = order.split_at_mut(count);
                kept.sort_unstable();
                let held = rows(held);
                data = rows(kept);
                held
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
    fn validation(&self) -> &[f64] {
        &self.validation
    }

    fn start(&self, problem: &Problem) -> TrainingState {
        TrainingState::new(problem, self.descent.optimizer, ())
    }

    fn step(&self, problem: &Problem, state: &mut TrainingState) -> Result<StepReport, Error> {
        problem.fit_base(state, Some(&self.data))?;
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
            learning_rate: state.learning_rate(&self.descent),
            flow_seconds: descent.seconds * threads,
            ..StepReport::default()
        };
        Ok(report)
    }
}
