//! A run folder: resolved config, metrics, model, evaluation and samples, each written so that a
//! crash leaves the last good version.

pub mod benchmark;
mod checkpoint;
mod folder;
mod metrics;
mod model;

pub use checkpoint::{Checkpoint, Latest, SessionTotals};
pub use folder::RunFolder;
pub use metrics::{
    metrics_columns, read_metrics, truncate_metrics, MetricsColumn, MetricsRow, MetricsWriter,
};
pub use model::{
    load_model, load_model_on_all_ranks, read_model_metadata, save_model, ModelMetadata,
};
