//! `[[flow.layers]]`: the couplings of a recipe.

use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::flow::{
    Bend, CouplingOptions, Network, NonequivariantOptions, PairwiseOptions, ProjectedOptions,
    Projection,
};
use crate::limits::{count, layer_widths, number, positive};

/// `[[flow.layers]]`: layers of one kind, which `coupling` names.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "coupling", rename_all = "snake_case", try_from = "toml::Table")]
pub enum LayerGroup {
    /// The pairwise matrix exponential with a radial conditioner.
    Pairwise(PairwiseLayers),
    /// The vector projection of Midgley et al. (NeurIPS 2023): splines of the distance to an origin,
    /// with an E(n)-equivariant graph network.
    Vector(ProjectedLayers),
    /// Their Cartesian projection: affine maps or splines of coordinates in a frame, with the same
    /// network. Equivariant under rotations, not under reflections.
    Cartesian(ProjectedLayers),
    /// Their spherical projection: splines of distance and angles in a frame, with the same network.
    /// Equivariant under rotations, not under reflections.
    Spherical(ProjectedLayers),
    /// Their baseline: affine maps of Cartesian coordinates with a transformer. Equivariant under
    /// translations and permutations only, not under rotations: training turns its samples at random.
    Nonequivariant(NonequivariantLayers),
}

/// Names of the couplings, as an error lists them.
const COUPLINGS: [&str; 5] = ["pairwise", "vector", "cartesian", "spherical", "nonequivariant"];

impl LayerGroup {
    /// Number of layers.
    pub fn repeat(&self) -> usize {
        match self {
            Self::Pairwise(layers) => layers.repeat,
            Self::Vector(layers) | Self::Cartesian(layers) | Self::Spherical(layers) => {
                layers.repeat
            }
            Self::Nonequivariant(layers) => layers.repeat,
        }
    }

    /// What one layer is built from; pairwise ones multiply the noise with `noise_factor`.
    pub(super) fn coupling(&self, noise_factor: f64) -> CouplingOptions {
        match self {
            Self::Pairwise(layers) => CouplingOptions::Pairwise(PairwiseOptions {
                width: layers.width,
                basis: layers.basis,
                cutoff: layers.cutoff,
                angular: layers.angular,
                message_passes: layers.message_passes,
                core: layers.core,
                noise_factor,
            }),
            Self::Vector(layers) => layers.coupling(Projection::Vector),
            Self::Cartesian(layers) => layers.coupling(Projection::Cartesian(match layers.bend {
                Some(BendName::Spline) => Bend::Spline,
                Some(BendName::Affine) | None => Bend::Affine,
            })),
            Self::Spherical(layers) => layers.coupling(Projection::Spherical),
            Self::Nonequivariant(layers) => {
                CouplingOptions::Nonequivariant(NonequivariantOptions {
                    blocks: layers.blocks,
                    features: layers.features,
                    heads: layers.heads,
                    hidden: layers.hidden.clone(),
                    head_hidden: layers.head_hidden.clone(),
                })
            }
        }
    }

    /// Checks the values of group number `index`.
    pub(super) fn validate(&self, index: usize) -> Result<(), Error> {
        let key = |name: &str| format!("flow.layers[{index}].{name}");
        count(&key("repeat"), self.repeat(), 1..=1000)?;
        match self {
            Self::Pairwise(layers) => {
                count(&key("width"), layers.width, 1..=4096)?;
                count(&key("basis"), layers.basis, 2..=1024)?;
                positive(&key("cutoff"), layers.cutoff, 1e6)?;
                count(&key("angular"), layers.angular, 0..=64)?;
                count(&key("message_passes"), layers.message_passes, 0..=16)?;
                number(&key("core"), layers.core, 1e-6..=layers.cutoff)
            }
            Self::Nonequivariant(layers) => {
                count(&key("blocks"), layers.blocks, 1..=64)?;
                count(&key("heads"), layers.heads, 1..=64)?;
                count(&key("features"), layers.features, 1..=4096)?;
                if !layers.features.is_multiple_of(layers.heads) {
                    let problem = format!(
                        "is {}: use a multiple of heads, {}",
                        layers.features, layers.heads
                    );
                    return Err(Error::parameter(key("features"), problem));
                }
                layer_widths(&key("hidden"), &layers.hidden)?;
                layer_widths(&key("head_hidden"), &layers.head_hidden)
            }
            Self::Cartesian(layers) => layers.validate(key),
            Self::Vector(layers) | Self::Spherical(layers) => {
                if layers.frame_loss != 0.0 && matches!(self, Self::Vector(_)) {
                    return Err(Error::parameter(
                        key("frame_loss"),
                        "is for frames, which the vector coupling does without: remove it",
                    ));
                }
                if layers.bend == Some(BendName::Affine) {
                    return Err(Error::parameter(
                        key("bend"),
                        "is \"affine\", which only the Cartesian coupling has: remove it",
                    ));
                }
                layers.validate(key)
            }
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
    /// Angular features of a pair, which see the neighbours' directions; distances alone are cheaper, and enough for
    /// a few particles (default 0).
    pub angular: usize,
    /// Rounds of message passing (default 1).
    pub message_passes: usize,
    /// Length over which pair directions are smoothed at overlap (default 0.1).
    pub core: f64,
}

impl Default for PairwiseLayers {
    fn default() -> Self {
        let PairwiseOptions {
            width,
            basis,
            cutoff,
            angular,
            message_passes,
            core,
            noise_factor: _,
        } = PairwiseOptions::default();
        Self { repeat: 6, width, basis, cutoff, angular, message_passes, core }
    }
}

/// Layers of a projection coupling; the defaults are the published sizes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ProjectedLayers {
    /// Number of layers (default 12).
    pub repeat: usize,
    /// How a Cartesian coordinate is transformed (default "affine"); the other projections have splines.
    pub bend: Option<BendName>,
    /// Inner transforms of a coupling, one after the other (default: as many as there are dimensions
    /// with the vector projection, else 1).
    pub transforms: Option<usize>,
    /// Bins of the rational-quadratic splines (default 8).
    pub bins: usize,
    /// The spline of a distance or of a coordinate ends here, beyond which it is the identity
    /// (default 10).
    pub range: f64,
    /// What makes the vectors and parameters (default "graph", as published; "radial" learns more in a given time).
    pub network: NetworkName,
    /// Message-passing blocks of the graph network, rounds over all pairs of the radial one (default 3).
    pub blocks: usize,
    /// Features per particle (default 128).
    pub features: usize,
    /// Gaussians of a distance that the radial network sees, evenly spaced from 0 to `cutoff` (default 16).
    pub basis: usize,
    /// Centre of the last Gaussian (default 8).
    pub cutoff: f64,
    /// Length c that keeps distances √(r² + c²) smooth at overlap in the radial network (default 0.1).
    pub core: f64,
    /// Hidden layers of the graph network on edges (default [64, 64]).
    pub edge_hidden: Vec<usize>,
    /// Hidden layers of the graph network on nodes (default [64, 64]).
    pub node_hidden: Vec<usize>,
    /// Hidden layers of the graph network that makes the spline (default [64, 64]).
    pub head_hidden: Vec<usize>,
    /// Vectors per particle and copy (default: as many as the inner transforms need).
    pub vector_channels: Option<usize>,
    /// Weight of the loss −ln(1 − |cos|) of the angle between the two vectors of a frame, for each
    /// coupling, which keeps the frames of the Cartesian and spherical projections in 3D from
    /// degenerating (default 0: none). For a training whose loss jumps.
    pub frame_loss: f64,
}

impl Default for ProjectedLayers {
    fn default() -> Self {
        let ProjectedOptions {
            projection: _,
            transforms,
            bins,
            range,
            network: _,
            blocks,
            features,
            basis,
            cutoff,
            core,
            edge_hidden,
            node_hidden,
            head_hidden,
            vector_channels,
            frame_loss,
        } = ProjectedOptions::default();
        Self {
            repeat: 12,
            bend: None,
            transforms,
            bins,
            range,
            network: NetworkName::Graph,
            blocks,
            features,
            basis,
            cutoff,
            core,
            edge_hidden,
            node_hidden,
            head_hidden,
            vector_channels,
            frame_loss,
        }
    }
}

/// `network`: what makes the vectors and the parameters of a projection coupling.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NetworkName {
    /// The published equivariant graph network.
    Graph,
    /// The light network of the pairwise coupling.
    Radial,
}

/// `bend`: what happens to a Cartesian coordinate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BendName {
    /// Scaled and shifted.
    Affine,
    /// A rational-quadratic spline between ± `range`.
    Spline,
}

impl ProjectedLayers {
    fn coupling(&self, projection: Projection) -> CouplingOptions {
        CouplingOptions::Projected(ProjectedOptions {
            projection,
            transforms: self.transforms,
            bins: self.bins,
            range: self.range,
            network: match self.network {
                NetworkName::Graph => Network::Graph,
                NetworkName::Radial => Network::Radial,
            },
            blocks: self.blocks,
            features: self.features,
            basis: self.basis,
            cutoff: self.cutoff,
            core: self.core,
            edge_hidden: self.edge_hidden.clone(),
            node_hidden: self.node_hidden.clone(),
            head_hidden: self.head_hidden.clone(),
            vector_channels: self.vector_channels,
            frame_loss: self.frame_loss,
        })
    }

    fn validate(&self, key: impl Fn(&str) -> String) -> Result<(), Error> {
        if let Some(transforms) = self.transforms {
            count(&key("transforms"), transforms, 1..=8)?;
        }
        count(&key("bins"), self.bins, 2..=256)?;
        positive(&key("range"), self.range, 1e6)?;
        count(&key("blocks"), self.blocks, 1..=64)?;
        count(&key("features"), self.features, 1..=4096)?;
        count(&key("basis"), self.basis, 2..=256)?;
        positive(&key("cutoff"), self.cutoff, 1e6)?;
        positive(&key("core"), self.core, 1e6)?;
        layer_widths(&key("edge_hidden"), &self.edge_hidden)?;
        layer_widths(&key("node_hidden"), &self.node_hidden)?;
        layer_widths(&key("head_hidden"), &self.head_hidden)?;
        number(&key("frame_loss"), self.frame_loss, 0.0..=1e6)?;
        match self.vector_channels {
            Some(channels) => count(&key("vector_channels"), channels, 1..=64),
            None => Ok(()),
        }
    }
}

/// Layers without rotational symmetry.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NonequivariantLayers {
    /// Number of layers (default 12).
    pub repeat: usize,
    /// Blocks of attention (default 3).
    pub blocks: usize,
    /// Features per particle, a multiple of `heads` (default 128).
    pub features: usize,
    /// Heads of the attention (default 4).
    pub heads: usize,
    /// Hidden layers of the network after the attention (default `[128]`).
    pub hidden: Vec<usize>,
    /// Hidden layers of the network that makes scales and shifts (default [64, 64]).
    pub head_hidden: Vec<usize>,
}

impl Default for NonequivariantLayers {
    fn default() -> Self {
        let NonequivariantOptions { blocks, features, heads, hidden, head_hidden } =
            NonequivariantOptions::default();
        Self { repeat: 12, blocks, features, heads, hidden, head_hidden }
    }
}

/// By hand, because serde's tagged enums lose the name of an offending key.
impl TryFrom<toml::Table> for LayerGroup {
    type Error = String;

    fn try_from(mut table: toml::Table) -> Result<Self, String> {
        let expected = format!("expected one of `{}`", COUPLINGS.join("`, `"));
        let name = match table.remove("coupling") {
            Some(toml::Value::String(name)) => name,
            Some(other) => return Err(format!("is {other}, {expected}\nin `coupling`")),
            None => return Err(format!("missing field `coupling`, {expected}")),
        };
        let group = match name.as_str() {
            "pairwise" => table.try_into().map(Self::Pairwise),
            "vector" => table.try_into().map(Self::Vector),
            "cartesian" => table.try_into().map(Self::Cartesian),
            "spherical" => table.try_into().map(Self::Spherical),
            "nonequivariant" => table.try_into().map(Self::Nonequivariant),
            _ => return Err(format!("unknown variant `{name}`, {expected}\nin `coupling`")),
        };
        group.map_err(|e| e.to_string())
    }
}
