//! Recipes to the objects that do the work: one line of registration a coupling and a trainer.

use std::path::Path;
use std::sync::Arc;

use super::{CoreSchedule, Estimator, Objective, Recipe, ReverseKlOptions};
use crate::error::Error;
use crate::flow::Flow;
use crate::potential::Potential;
use crate::samples::read_samples;
use crate::sampling::AugmentedTarget;
use crate::train::{
    self, DescentOptions, Fab, GuardOptions, HeldBack, MaxLikelihood, Problem, ReverseKl, Schedule,
    Trainer,
};

impl Recipe {
    /// The flow and the target of this recipe.
    ///
    /// # Errors
    /// [`Error::Parameter`] for what the flow cannot do.
    pub fn problem(&self, potential: Arc<dyn Potential>) -> Result<Problem, Error> {
        let flow = Flow::with_species(potential.system(), potential.species(), &self.flow)?;
        let flow = Arc::new(flow);
        let copies = flow.copies();
        let target = AugmentedTarget::new(potential, copies, self.flow.augmentation_scale)?;
        Ok(Problem { flow, target, seed: self.seed })
    }

    /// The trainer of this recipe, for the problem that it makes.
    ///
    /// # Errors
    /// Those of reading the data of maximum likelihood.
    pub fn trainer(&self, problem: &Problem) -> Result<Box<dyn Trainer>, Error> {
        let train = &self.train;
        let descent = DescentOptions {
            batch_size: train.batch_size,
            method: train.optimizer,
            schedule: Schedule {
                initial: train.learning_rate.initial,
                peak: train.learning_rate.peak,
                last: train.learning_rate.last,
                warm_up_steps: train.learning_rate.warm_up_steps as u64,
                steps: train.steps as u64,
            },
            ema_decay: train.ema_decay,
            guard: GuardOptions {
                window: train.gradient_clip.window,
                clip: train.gradient_clip.clip,
                drop: train.gradient_clip.drop,
            },
        };
        Ok(match &train.objective {
            Objective::Fab(fab) => Box::new(Fab {
                descent,
                options: train::FabOptions {
                    alpha: fab.alpha,
                    intermediate_distributions: fab.intermediate_distributions,
                    leapfrog_steps: fab.leapfrog_steps,
                    initial_step_size: fab.initial_step_size,
                    updates_per_annealing: fab.updates_per_annealing,
                    weight_clip: fab.weight_clip,
                    min_batches: fab.buffer.min_batches,
                    max_batches: fab.buffer.max_batches,
                    walkers: fab.walkers.as_ref().map(|walkers| train::WalkerOptions {
                        count: walkers.count,
                        from_step: walkers.from_step as u64,
                        leapfrog_steps: walkers.leapfrog_steps,
                        start: walkers.start,
                    }),
                },
            }),
            Objective::ReverseKl(options) => {
                Box::new(ReverseKl { descent, options: options.resolve() })
            }
            Objective::MaxLikelihood(options) => {
                let read = |file: &Path| unweighted_samples(file, problem);
                let data = read(&options.data)?;
                let held_back = match &options.validation_data {
                    Some(file) => HeldBack::Samples(read(file)?),
                    None => HeldBack::Share(options.validation),
                };
                Box::new(MaxLikelihood::new(descent, problem, data, held_back)?)
            }
        })
    }
}

/// Samples of the problem's particles for training.
fn unweighted_samples(file: &Path, problem: &Problem) -> Result<Vec<f64>, Error> {
    let samples = read_samples(file, problem.flow.system(), problem.flow.species())?;
    if !samples.log_weights.is_empty() {
        return Err(Error::Data {
            file: file.to_path_buf(),
            problem: "has log weights, and likelihood is taken over samples of one weight: resample them \
                      first, or save the positions alone if the weights do not matter"
                .to_string(),
        });
    }
    Ok(samples.positions)
}

impl ReverseKlOptions {
    fn resolve(&self) -> train::ReverseKlOptions {
        train::ReverseKlOptions {
            estimator: match self.estimator {
                Estimator::Path => train::Estimator::Path,
                Estimator::Total => train::Estimator::Total,
            },
            energy_clip: self.energy_clip,
            core: self.core.as_ref().map(|core: &CoreSchedule| train::CoreSchedule {
                radius: core.radius,
                final_radius: core.final_radius,
                steps: core.steps as u64,
            }),
        }
    }
}
