//! What a page knows of a run from the start.

use serde::Serialize;

/// What a run is, as far as it does not change.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Facts {
    /// Name of its folder.
    pub name: String,
    /// Name of the target, and a line about it.
    pub target: String,
    /// See `target`.
    pub description: String,
    /// Particles n.
    pub particles: usize,
    /// Dimensions d.
    pub dimension: usize,
    /// What was minimised.
    pub objective: String,
    /// What the flow is made of.
    pub flow: String,
    /// Training steps of the recipe.
    pub steps: usize,
    /// Seed.
    pub seed: u64,
    /// Name of the run whose flow the training starts from.
    pub start_from: Option<String>,
    /// Version of the program that trained it.
    pub trained_by: String,
    /// The resolved recipe.
    pub recipe: String,
    /// log Z of the target, where it is known.
    pub known_log_z: Option<f64>,
    /// Entropy of the target, the lowest possible NLL, where it is known.
    pub known_entropy: Option<f64>,
}
