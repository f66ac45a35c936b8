//! What an objective is to the rest of the program.

use std::path::Path;

use super::problem::{Problem, StepReport};
use super::state::{DescentOptions, TrainingState};
use crate::error::Error;

/// An objective, as a sequence of training steps.
///
/// Everything that continues from step to step lives in [`TrainingState`], every random number
/// comes from a stream of (seed, purpose, step, sample): so a run resumes exactly and gives the
/// same result on any number of threads.
///
/// # Examples
/// Maximum likelihood on configurations in memory, in the place of a recipe's objective:
/// ```
/// use boltzflow::random::{stream, Purpose};
/// use boltzflow::train::{DescentOptions, StepReport, TrainingState};
/// use boltzflow::{flow::op, Error, Problem, Recipe, Registry, Trainer, Training};
/// use dfdx::prelude::*;
///
/// struct OnData(DescentOptions, Vec<f64>);
///
/// impl Trainer for OnData {
///     fn start(&self, problem: &Problem) -> TrainingState {
///         TrainingState::new(problem, self.0.optimizer, ())
///     }
///     fn step(&self, problem: &Problem, state: &mut TrainingState) -> Result<StepReport, Error> {
///         let samples = self.1.len() / problem.flow.system().coordinates();
///         let rng = |sample| stream(problem.seed, Purpose::Data, state.step, sample);
///         let mut rngs: Vec<_> = (0..samples as u64).map(rng).collect();
///         let mut joint = vec![0.0; samples * problem.flow.width()];
///         problem.target.augment(&self.1, &mut rngs, &mut joint);
///         let found = state.descend(&self.0, |theta| {
///             Ok(-op::log_prob(&problem.flow, theta, &joint).mean())
///         })?;
///         let (loss, gradient_norm) = (found.loss, found.gradient_norm);
///         Ok(StepReport { loss, gradient_norm, ..StepReport::default() })
///     }
/// }
///
/// let mut recipe = Recipe::default();
/// recipe.train.descent.steps = 3;
/// recipe.evaluate.samples = 100;
/// let target = Registry::builtin().load("dw4")?;
/// let square = vec![1.0, 1.0, 1.0, -1.0, -1.0, 1.0, -1.0, -1.0];
/// let mut training = Training::with_trainer(recipe, target, |recipe, _| {
///     Ok(Box::new(OnData(recipe.train.descent.clone(), square)))
/// })?;
/// training.run(|_| {})?;
/// assert_eq!(training.state().step, 3);
/// # Ok::<(), Error>(())
/// ```
pub trait Trainer: Send + Sync {
    /// Configurations, [samples, particles, dimension], on which the model with the least negative
    /// log-likelihood is kept; none, the default, to keep the last model.
    fn validation(&self) -> &[f64] {
        &[]
    }

    /// The state before the first step.
    fn start(&self, problem: &Problem) -> TrainingState;

    /// Does training step number `state.step`; its caller counts the step afterwards.
    ///
    /// # Errors
    /// When the potential fails for good. From the second step on, `state` is then as it was
    /// before: a checkpoint of it loses nothing.
    fn step(&self, problem: &Problem, state: &mut TrainingState) -> Result<StepReport, Error>;
}

/// The options of an objective, a section of recipes.
///
/// # Examples
/// ```
/// use boltzflow::train::{FabOptions, ObjectiveOptions};
/// use boltzflow::DescentOptions;
///
/// let options = FabOptions { alpha: 0.5, ..FabOptions::default() };
/// let refused = options.validate(&DescentOptions::default()).unwrap_err();
/// assert!(refused.to_string().contains("train.fab.alpha"));
/// ```
pub trait ObjectiveOptions {
    /// What reports call the objective.
    fn title(&self) -> &'static str;

    /// Whether it asks the target for energies, as it does by default.
    fn needs_energy(&self) -> bool {
        true
    }

    /// The files that these options name; by default none.
    fn files(&self) -> Vec<&Path> {
        Vec::new()
    }

    /// Checks every value; those that all objectives share have been checked.
    ///
    /// # Errors
    /// [`Error::Parameter`] with the full key and what would be right.
    fn validate(&self, descent: &DescentOptions) -> Result<(), Error>;

    /// The trainer of these options; `read` gives the samples of a file, [samples, particles,
    /// dimension].
    ///
    /// # Errors
    /// Those of `read`, and of what the objective makes of its data.
    fn trainer(
        &self,
        descent: &DescentOptions,
        problem: &Problem,
        read: &dyn Fn(&Path) -> Result<Vec<f64>, Error>,
    ) -> Result<Box<dyn Trainer>, Error>;
}
