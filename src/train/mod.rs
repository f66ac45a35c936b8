//! Training: its options, the trainer trait and its objectives, and the state that continues from
//! step to step.

mod buffer;
mod dense;
mod fab;
mod fit;
mod health;
mod hot_angles;
mod max_likelihood;
mod optimizer;
mod options;
mod orthonormal;
mod past;
mod problem;
mod reverse_kl;
mod saved;
mod soap;
mod state;
mod trainer;
mod walkers;

pub use buffer::ReplayBuffer;
pub use fab::{BufferOptions, Fab, FabOptions, FabState};
pub use health::{Health, Verdict};
pub use max_likelihood::{HeldBack, MaxLikelihood, MaxLikelihoodOptions};
pub use optimizer::{Adam, GradientClip, GradientGuard, LearningRate, Method, Outcome};
pub use options::{Objective, TrainOptions};
pub use problem::{Problem, StepReport};
pub use reverse_kl::{CoreSchedule, Estimator, ReverseKl, ReverseKlOptions};
pub use saved::{Array, ObjectiveState, Saved, Walk};
pub use soap::Rotations;
pub use state::{Counters, Descent, DescentOptions, TrainingState};
pub use trainer::{ObjectiveOptions, Trainer};
pub use walkers::{WalkerOptions, WalkerStart, Walkers};
