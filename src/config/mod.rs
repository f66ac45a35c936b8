//! TOML files to objects: targets, and the recipes of runs.

mod build;
mod layers;
mod overrides;
mod read;
mod recipe;
mod target;
mod train;

pub use layers::{
    BendName, LayerGroup, NetworkName, NonequivariantLayers, PairwiseLayers, ProjectedLayers,
};
pub use recipe::{CheckpointOptions, EvaluateOptions, FlowOptions, Recipe};
pub use target::{builtin_targets, load_target, parameters, Known, Registry, Target};
pub use train::{
    BufferOptions, CoreSchedule, Estimator, FabOptions, GradientClip, LearningRate,
    MaxLikelihoodOptions, Objective, ReverseKlOptions, TrainOptions,
};
