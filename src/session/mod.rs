//! A training from its first step to its last, and the trained flow that it leaves: what a program and
//! the command line do alike.

mod figures;
mod memory;
mod record;
mod reference;
mod trained;
mod training;

pub use trained::Trained;
pub use training::{Ending, Progress, Training};

pub(crate) use memory::{check_evaluation, of_training};
