//! TOML files to objects: targets, and the recipes of runs.

mod contents;
mod folders;
mod molecules;
mod overrides;
mod particles;
mod quantities;
mod read;
mod recipe;
mod structures;
mod target;

pub(crate) use folders::relative;
pub use folders::Folders;
pub use quantities::{parameters, parameters_with};
pub use recipe::{CheckpointOptions, EvaluateOptions, Recipe};
pub use target::{builtin_targets, load_target, Known, Registry, Target};
pub(crate) use target::{is_path, is_target_file};
