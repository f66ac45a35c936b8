//! Options of a flow.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{BaseOptions, LayerGroup, PairwiseOptions};
use crate::error::Error;
use crate::limits::{count, positive};

/// What a flow is made of: `[flow]`. It moves the particles x together with augmented copies a of
/// them, which are x plus Gaussian noise. Lengths are in the target's units.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FlowOptions {
    /// Standard deviation η of the noise, that of the copies around x in the target: a fraction of
    /// the smallest distance that matters (default 0.1).
    pub augmentation_scale: f64,
    /// Standard deviation of the noise in the base density, at the start; it is trained (default:
    /// `augmentation_scale`). A larger one lets the noise shrink on the way, a little in every
    /// pairwise coupling, so that a small η resolves hard cores and the first layers still take
    /// large steps.
    pub base_augmentation_scale: Option<f64>,
    /// Standard deviation of a coordinate of x in the base density, the Gaussian that samples start
    /// from, at the start; it is trained (default 1). About that of the target is right.
    pub base_scale: f64,
    /// Number M of augmented copies, odd, or 0 where there are no layers (default 1: 0 with the
    /// base density of a molecule or a crystal).
    pub augmented_copies: usize,
    /// What samples start from.
    #[serde(skip_serializing_if = "BaseOptions::is_default")]
    pub base: BaseOptions,
    /// The layers from the base density to the target, in groups of one kind each (default: 6
    /// pairwise layers; with the base density of a molecule or a crystal none). One layer is two
    /// couplings: the copies a given x, then x given a.
    pub layers: Vec<LayerGroup>,
    /// Folder of a run whose trained flow a training starts from (default: none, it starts as the
    /// identity): a flow of the same layers, for another temperature, potential or objective; the
    /// new pairwise layers may have `angular` features in addition. The time and the energy
    /// evaluations of that run are counted.
    pub start_from: Option<PathBuf>,
}

impl Default for FlowOptions {
    fn default() -> Self {
        Self {
            augmentation_scale: 0.1,
            base_augmentation_scale: None,
            base_scale: 1.0,
            augmented_copies: 1,
            base: BaseOptions::default(),
            layers: vec![LayerGroup::Pairwise(PairwiseOptions::default())],
            start_from: None,
        }
    }
}

impl FlowOptions {
    /// Checks every value.
    pub(crate) fn validate(&self) -> Result<(), Error> {
        positive("augmentation_scale", self.augmentation_scale, 1e3)?;
        positive("base_scale", self.base_scale, 1e3)?;
        if let Some(scale) = self.base_augmentation_scale {
            positive("base_augmentation_scale", scale, 1e3)?;
            if self.pairwise_couplings() == 0 {
                let problem = "needs pairwise layers, which the noise shrinks in: remove it";
                return Err(Error::parameter("base_augmentation_scale", problem));
            }
        }
        let copies = self.augmented_copies;
        self.base.validate().map_err(|e| e.within("base"))?;
        if !self.base.is_gaussian() && self.layers.is_empty() && copies == 0 {
            return Ok(());
        }
        count("augmented_copies", copies, 1..=15)?;
        if copies.is_multiple_of(2) {
            let problem = format!(
                "is {copies}: use an odd number, so that copies and x split into equal halves"
            );
            return Err(Error::parameter("augmented_copies", problem));
        }
        count("layers (number of groups)", self.layers.len(), 1..=1000)?;
        let mut groups = self.layers.iter().enumerate();
        groups.try_for_each(|(i, group)| group.validate().map_err(|e| e.within(&layer_key(i))))
    }

    /// The name of the run whose flow a training starts from.
    pub(crate) fn start_name(&self) -> Option<String> {
        let name = self.start_from.as_deref()?.file_name()?;
        Some(name.to_string_lossy().into())
    }

    /// The initial standard deviation of the augmented copies in the base density.
    pub(super) fn initial_augmentation_scale(&self) -> f64 {
        self.base_augmentation_scale.unwrap_or(self.augmentation_scale)
    }

    /// What each pairwise coupling multiplies the noise with at the start: the same factor in all
    /// of them takes it from the base density's standard deviation to the target's.
    pub(super) fn noise_factor(&self) -> f64 {
        let ratio = self.augmentation_scale / self.initial_augmentation_scale();
        ratio.powf(1.0 / self.pairwise_couplings() as f64)
    }

    fn pairwise_couplings(&self) -> usize {
        let pairwise = self.layers.iter().filter(|group| matches!(group, LayerGroup::Pairwise(_)));
        2 * pairwise.map(LayerGroup::repeat).sum::<usize>()
    }
}

/// The key of group number `index` within `[flow]`.
pub(super) fn layer_key(index: usize) -> String {
    format!("layers[{index}]")
}
