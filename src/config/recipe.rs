//! Recipes: everything that determines a training run, in one file.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::layers::{LayerGroup, PairwiseLayers};
use super::read::{config_error, from_table, in_file, parse_table, read, FORMAT};
use super::train::TrainOptions;
use crate::error::Error;
use crate::limits::{count, positive};

/// A training run: target, flow, training, evaluation. Lengths are in the target's units, energies
/// in kT.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// Name of a built-in target, or path of a target file relative to the current folder.
    pub target: String,
    /// Seed of every random number of the run (default 0).
    #[serde(default)]
    pub seed: u64,
    /// The flow.
    #[serde(default)]
    pub flow: FlowOptions,
    /// The training.
    #[serde(default)]
    pub train: TrainOptions,
    /// The evaluation, during training and after it.
    #[serde(default)]
    pub evaluate: EvaluateOptions,
    /// When the state is saved for a later resumption.
    #[serde(default)]
    pub checkpoint: CheckpointOptions,
}

/// `[flow]`: the augmented coupling flow.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FlowOptions {
    /// Standard deviation η of the augmented copies around x in the target (default 0.1).
    pub augmentation_scale: f64,
    /// Initial standard deviation of the augmented copies around x in the base density; trainable
    /// (default: `augmentation_scale`). A larger one lets the noise shrink on the way, a little in every
    /// pairwise coupling, so that a small η resolves hard cores and the first layers still take
    /// large steps.
    pub base_augmentation_scale: Option<f64>,
    /// Initial standard deviation of x in the base density; trainable (default 1).
    pub base_scale: f64,
    /// Number M of augmented copies, odd (default 1).
    pub augmented_copies: usize,
    /// The layers from the base density to the target (default: 6 pairwise layers). One layer is two
    /// couplings: the copies a given x, then x given a.
    pub layers: Vec<LayerGroup>,
    /// Folder of a run whose trained flow this one starts as, in place of the identity (default: none): a flow of
    /// the same layers, for another temperature, potential or objective; its pairwise layers may have `angular` features
    /// in addition. The time and the energy evaluations of
    /// that run are counted.
    pub start_from: Option<PathBuf>,
}

impl Default for FlowOptions {
    fn default() -> Self {
        Self {
            augmentation_scale: 0.1,
            base_augmentation_scale: None,
            base_scale: 1.0,
            augmented_copies: 1,
            layers: vec![LayerGroup::Pairwise(PairwiseLayers::default())],
            start_from: None,
        }
    }
}

/// `[evaluate]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EvaluateOptions {
    /// Training steps between evaluations (default 500).
    pub every_steps: usize,
    /// Joint samples of the flow for the reverse effective sample size and log Z (default 10 000).
    pub samples: usize,
    /// Draws of the augmented copies per reference sample for the likelihood (default 20).
    pub draws: usize,
    /// Samples of the reference sampler for the forward effective sample size and the likelihood; 0
    /// goes without (default 0). They never enter the training.
    pub reference_samples: usize,
}

impl Default for EvaluateOptions {
    fn default() -> Self {
        Self { every_steps: 500, samples: 10_000, draws: 20, reference_samples: 0 }
    }
}

/// `[checkpoint]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CheckpointOptions {
    /// Seconds between checkpoints (default 60).
    pub every_seconds: f64,
}

impl Default for CheckpointOptions {
    fn default() -> Self {
        Self { every_seconds: 60.0 }
    }
}

impl Recipe {
    /// Reads and checks a recipe; what it does not say gets its default.
    ///
    /// # Errors
    /// [`Error::Read`], or [`Error::Config`] with the key and what would be right.
    pub fn load(path: impl AsRef<Path>) -> Result<Self, Error> {
        let path = path.as_ref();
        Self::from_text(&read(path)?, path)
    }

    /// The checked recipe in `text`; `file` is named in errors.
    ///
    /// # Errors
    /// [`Error::Config`] with the key and what would be right.
    pub fn from_text(text: &str, file: &Path) -> Result<Self, Error> {
        Self::from_text_with(text, file, &[])
    }

    /// The checked recipe in `text` with `settings` of the form `key=value` on top, such as
    /// `train.steps=100` or `flow.layers.0.repeat=4`.
    ///
    /// # Errors
    /// [`Error::Config`] as for [`from_text`](Self::from_text), [`Error::Parameter`] for a setting
    /// that leads nowhere.
    pub fn from_text_with(text: &str, file: &Path, settings: &[String]) -> Result<Self, Error> {
        let mut table = parse_table(text).map_err(|e| config_error(file, e))?;
        for setting in settings {
            super::overrides::apply(&mut table, setting)?;
        }
        let recipe: Self = from_table(table, &["format"]).map_err(|e| config_error(file, e))?;
        recipe.validate().map_err(|e| in_file(file, e))?;
        Ok(recipe)
    }

    /// The whole recipe with every default spelled out; [`Recipe::from_text`] reads it back
    /// unchanged.
    ///
    /// # Errors
    /// [`Error::Parameter`] when a value has no TOML form, such as a seed over 2⁶³.
    pub fn to_toml(&self) -> Result<String, Error> {
        let text = toml::to_string(self)
            .map_err(|e| Error::parameter("recipe", format!("has no TOML form: {e}")))?;
        Ok(format!("format = {FORMAT}\n{text}"))
    }

    /// Checks every value; what a recipe file says has been checked when it was read.
    ///
    /// # Errors
    /// [`Error::Parameter`] with the full key and what would be right.
    pub fn validate(&self) -> Result<(), Error> {
        if self.target.trim().is_empty() {
            return Err(Error::parameter("target", "is empty: name a target or a target file"));
        }
        self.flow.validate()?;
        self.train.validate()?;
        let evaluate = &self.evaluate;
        count("evaluate.every_steps", evaluate.every_steps, 1..=1_000_000_000)?;
        count("evaluate.samples", evaluate.samples, 2..=100_000_000)?;
        count("evaluate.draws", evaluate.draws, 1..=100_000)?;
        count("evaluate.reference_samples", evaluate.reference_samples, 0..=100_000_000)?;
        positive("checkpoint.every_seconds", self.checkpoint.every_seconds, 1e9)
    }
}

impl FlowOptions {
    fn validate(&self) -> Result<(), Error> {
        positive("flow.augmentation_scale", self.augmentation_scale, 1e3)?;
        positive("flow.base_scale", self.base_scale, 1e3)?;
        if let Some(scale) = self.base_augmentation_scale {
            positive("flow.base_augmentation_scale", scale, 1e3)?;
            if !self.layers.iter().any(|group| matches!(group, LayerGroup::Pairwise(_))) {
                return Err(Error::parameter(
                    "flow.base_augmentation_scale",
                    "needs pairwise layers, which the noise shrinks in: remove it",
                ));
            }
        }
        count("flow.augmented_copies", self.augmented_copies, 1..=15)?;
        if self.augmented_copies.is_multiple_of(2) {
            let problem = format!(
                "is {}: use an odd number, so that copies and x split into equal halves",
                self.augmented_copies
            );
            return Err(Error::parameter("flow.augmented_copies", problem));
        }
        count("flow.layers (number of groups)", self.layers.len(), 1..=1000)?;
        for (index, group) in self.layers.iter().enumerate() {
            group.validate(index)?;
        }
        Ok(())
    }
}
