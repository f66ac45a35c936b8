//! TOML files to objects: targets, and the recipes of runs.

mod overrides;
mod particles;
mod read;
mod recipe;
mod target;

pub use recipe::{CheckpointOptions, EvaluateOptions, Recipe};
pub use target::{builtin_targets, load_target, parameters, Known, Registry, Target};
