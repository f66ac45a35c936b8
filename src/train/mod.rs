//! Training: the trainer trait, its objectives, and the state that continues from step to step.

mod buffer;
mod dense;
mod fab;
mod health;
mod max_likelihood;
mod optimizer;
mod orthonormal;
mod reverse_kl;
mod soap;
mod state;
mod walkers;

pub use buffer::ReplayBuffer;
pub use fab::{Fab, FabOptions};
pub use health::{GoodState, Health, Verdict};
pub use max_likelihood::{HeldBack, MaxLikelihood};
pub use optimizer::{Adam, GradientGuard, GuardOptions, Method, Outcome, Schedule};
pub use reverse_kl::{CoreSchedule, Estimator, ReverseKl, ReverseKlOptions};
pub use soap::Rotations;
pub use state::{Descent, DescentOptions, Problem, StepReport, TrainingState};
pub use walkers::{WalkerOptions, WalkerStart, Walkers};

use crate::error::Error;

/// An objective, as a sequence of training steps.
///
/// To write a new one: a file with a struct of options and this trait, and a line of registration in
/// `config`. Everything that continues from step to step lives in [`TrainingState`], every random
/// number comes from a stream of (seed, purpose, step, sample): so a run resumes exactly and gives
/// the same result on any number of threads.
pub trait Trainer: Send + Sync {
    /// The name that recipes use.
    fn objective(&self) -> &'static str;

    /// Configurations, [samples, particles, dimension], on which the model with the least negative
    /// log-likelihood is kept; none, the default, to keep the last model.
    fn validation(&self) -> &[f64] {
        &[]
    }

    /// The state before the first step.
    fn start(&self, problem: &Problem) -> TrainingState;

    /// Does training step number `state.step`; whoever calls it counts the step afterwards.
    ///
    /// # Errors
    /// When the potential fails for good. From the second step on, `state` is then as it was before:
    /// a checkpoint of it loses nothing.
    fn step(&self, problem: &Problem, state: &mut TrainingState) -> Result<StepReport, Error>;
}
