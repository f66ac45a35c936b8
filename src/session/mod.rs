//! A training from its first step to its last, and the trained flow that it leaves: for programs
//! and for the command line.

mod choice;
mod destination;
mod figures;
mod memory;
mod progress;
mod ranks;
mod record;
mod reference;
mod trained;
mod training;
mod trial;

pub use choice::{choose_recipe, ChosenRecipe};
pub use destination::{Chosen, Destination};
pub use progress::{Ending, Progress};
pub use trained::Trained;
pub use training::Training;

pub(crate) use destination::is_finished;
pub(crate) use memory::{check_evaluation, of_training};
pub(crate) use reference::time_to_draw;
pub(crate) use trained::annealed_samples;
pub(crate) use trial::costs;
