//! A run folder: resolved config, metrics, model, evaluation and samples, each written so that a
//! crash leaves the last good version.

mod annealed;
pub mod benchmark;
mod checkpoint;
mod distances;
mod estimate;
mod evaluate;
mod folder;
mod metrics;
mod model;
mod observable;
mod session;

pub use annealed::AnnealedDraws;
pub use checkpoint::{Checkpoint, SessionTotals};
pub use distances::{Distances, SetDistances};
pub use estimate::{estimate, Average, Estimates, FreeEnergy, Profile};
pub use evaluate::{draw_weighted, evaluate, likelihood, Evaluation, EvaluationOptions, Level};
pub use folder::RunFolder;
pub use metrics::{
    metrics_columns, read_metrics, truncate_metrics, MetricsColumn, MetricsRow, MetricsWriter,
};
pub use model::{
    load_model, load_model_on_all_ranks, read_model_metadata, save_model, ModelMetadata,
};
pub use observable::Observable;
pub use session::{train, Ending, Progress, SessionOptions};
