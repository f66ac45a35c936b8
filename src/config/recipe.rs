//! Recipes: everything that determines a training run, in one file.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::read::{config_error, from_table, in_file, parse_table, read, FORMAT};
use super::train::TrainOptions;
use super::validate::{count, layer_widths, number, positive};
use crate::error::Error;

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
}

impl Default for FlowOptions {
    fn default() -> Self {
        Self {
            augmentation_scale: 0.1,
            base_augmentation_scale: None,
            base_scale: 1.0,
            augmented_copies: 1,
            layers: vec![LayerGroup::Pairwise(PairwiseLayers::default())],
        }
    }
}

/// `[[flow.layers]]`: layers of one kind; `coupling = "pairwise"` or `"vector"`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "coupling", rename_all = "snake_case", try_from = "toml::Table")]
pub enum LayerGroup {
    /// The pairwise matrix exponential with a radial conditioner.
    Pairwise(PairwiseLayers),
    /// The vector projection of Midgley et al. (NeurIPS 2023): splines of the distance to an origin,
    /// with an E(n)-equivariant graph network.
    Vector(VectorLayers),
}

impl LayerGroup {
    /// Number of layers.
    pub fn repeat(&self) -> usize {
        match self {
            Self::Pairwise(layers) => layers.repeat,
            Self::Vector(layers) => layers.repeat,
        }
    }
}

/// Pairwise layers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PairwiseLayers {
    /// Number of layers (default 6).
    pub repeat: usize,
    /// Hidden features of the conditioner (default 32).
    pub width: usize,
    /// Radial basis functions of a pair distance (default 16).
    pub basis: usize,
    /// Centre of the last basis function, a length: the largest distance that is resolved
    /// (default 8).
    pub cutoff: f64,
    /// Rounds of message passing (default 1).
    pub message_passes: usize,
    /// Length over which pair directions are smoothed at overlap (default 0.1).
    pub core: f64,
}

impl Default for PairwiseLayers {
    fn default() -> Self {
        Self { repeat: 6, width: 32, basis: 16, cutoff: 8.0, message_passes: 1, core: 0.1 }
    }
}

/// Vector layers; the defaults are the published sizes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct VectorLayers {
    /// Number of layers (default 12).
    pub repeat: usize,
    /// Bins of the rational-quadratic spline (default 8).
    pub bins: usize,
    /// The spline ends at this distance, beyond which it is the identity (default 10).
    pub range: f64,
    /// Message-passing blocks of the network (default 3).
    pub blocks: usize,
    /// Features per particle (default 128).
    pub features: usize,
    /// Hidden layers of the edge network (default [64, 64]).
    pub edge_hidden: Vec<usize>,
    /// Hidden layers of the node network (default [64, 64]).
    pub node_hidden: Vec<usize>,
    /// Hidden layers of the network that makes the spline (default [64, 64]).
    pub head_hidden: Vec<usize>,
    /// Vectors per particle (default: as many as there are dimensions).
    pub vector_channels: Option<usize>,
}

impl Default for VectorLayers {
    fn default() -> Self {
        Self {
            repeat: 12,
            bins: 8,
            range: 10.0,
            blocks: 3,
            features: 128,
            edge_hidden: vec![64, 64],
            node_hidden: vec![64, 64],
            head_hidden: vec![64, 64],
            vector_channels: None,
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
            let key = |name: &str| format!("flow.layers[{index}].{name}");
            count(&key("repeat"), group.repeat(), 1..=1000)?;
            match group {
                LayerGroup::Pairwise(layers) => {
                    count(&key("width"), layers.width, 1..=4096)?;
                    count(&key("basis"), layers.basis, 2..=1024)?;
                    positive(&key("cutoff"), layers.cutoff, 1e6)?;
                    count(&key("message_passes"), layers.message_passes, 0..=16)?;
                    number(&key("core"), layers.core, 1e-6..=layers.cutoff)?;
                }
                LayerGroup::Vector(layers) => {
                    count(&key("bins"), layers.bins, 2..=256)?;
                    positive(&key("range"), layers.range, 1e6)?;
                    count(&key("blocks"), layers.blocks, 1..=64)?;
                    count(&key("features"), layers.features, 1..=4096)?;
                    layer_widths(&key("edge_hidden"), &layers.edge_hidden)?;
                    layer_widths(&key("node_hidden"), &layers.node_hidden)?;
                    layer_widths(&key("head_hidden"), &layers.head_hidden)?;
                    if let Some(channels) = layers.vector_channels {
                        count(&key("vector_channels"), channels, 1..=64)?;
                    }
                }
            }
        }
        Ok(())
    }
}

/// By hand, because serde's tagged enums lose the name of an offending key.
impl TryFrom<toml::Table> for LayerGroup {
    type Error = String;

    fn try_from(mut table: toml::Table) -> Result<Self, String> {
        let say = |e: toml::de::Error| e.to_string();
        match table.remove("coupling") {
            Some(toml::Value::String(name)) => match name.as_str() {
                "pairwise" => Ok(Self::Pairwise(table.try_into().map_err(say)?)),
                "vector" => Ok(Self::Vector(table.try_into().map_err(say)?)),
                _ => Err(format!(
                    "unknown variant `{name}`, expected `pairwise` or `vector`\nin `coupling`"
                )),
            },
            Some(other) => {
                Err(format!("is {other}, expected \"pairwise\" or \"vector\"\nin `coupling`"))
            }
            None => {
                Err("missing field `coupling`, expected \"pairwise\" or \"vector\"".to_string())
            }
        }
    }
}
