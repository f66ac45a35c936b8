//! Options of the projection couplings.

use serde::{Deserialize, Serialize};

use super::transform::MAX_TRANSFORMS;
use crate::error::Error;
use crate::flow::radial::check_distances;
use crate::flow::spline::MAX_BINS;
use crate::limits::{count, layer_widths, number, positive};

/// The coordinates in which a [`ProjectedCoupling`](super::ProjectedCoupling) moves a particle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Projection {
    /// The distance to an origin.
    Vector,
    /// Coordinates in a frame.
    Cartesian,
    /// Polar or spherical coordinates in a frame.
    Spherical,
}

/// How a Cartesian coordinate is transformed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Bend {
    /// Scaled and shifted (RealNVP).
    Affine,
    /// By a rational-quadratic spline between ± `range`.
    Spline,
}

/// What makes the vectors and parameters of a [`ProjectedCoupling`](super::ProjectedCoupling).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Network {
    /// The published equivariant graph network: a perceptron for every directed edge.
    Graph,
    /// A light network on Gaussians of distances, that of the pairwise coupling.
    Radial,
}

/// Layers of a projection coupling, `coupling = "vector"`, `"cartesian"` or `"spherical"`; the
/// defaults are the published sizes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ProjectedOptions {
    /// Number of layers (default 12).
    pub repeat: usize,
    /// How a Cartesian coordinate is transformed (default "affine"); the other projections have
    /// splines.
    pub bend: Option<Bend>,
    /// Inner transforms of a coupling, one after the other (default: as many as there are
    /// dimensions with the vector projection, else 1).
    pub transforms: Option<usize>,
    /// Bins of the rational-quadratic splines (default 8).
    pub bins: usize,
    /// The spline of a distance or of a coordinate ends here, a length, beyond which it is the
    /// identity (default 10).
    pub range: f64,
    /// What makes the vectors and parameters (default "graph", as published; "radial" learns more
    /// in a given time).
    pub network: Network,
    /// Message-passing blocks of the graph network; of the radial one, rounds over all pairs
    /// (default 3).
    pub blocks: usize,
    /// Features per particle (default 128).
    pub features: usize,
    /// Gaussians of a distance in the radial network, evenly spaced from 0 to `cutoff`
    /// (default 16).
    pub basis: usize,
    /// Centre of the last Gaussian, a length (default 8).
    pub cutoff: f64,
    /// Length c that keeps distances √(r² + c²) smooth at overlap in the radial network
    /// (default 0.1).
    pub core: f64,
    /// Hidden layers of the graph network on edges: messages, and shifts of vectors (default
    /// [64, 64]).
    pub edge_hidden: Vec<usize>,
    /// Hidden layers of the graph network that updates the features of a particle (default
    /// [64, 64]).
    pub node_hidden: Vec<usize>,
    /// Hidden layers of the graph network that makes the parameters of the inner transforms
    /// (default [64, 64]).
    pub head_hidden: Vec<usize>,
    /// Vectors per particle and copy (default: as many as the inner transforms need).
    pub vector_channels: Option<usize>,
    /// Weight of the loss −ln(1 − |cos ∠(v₁, v₂)|), averaged over particles, of the angle between
    /// the two vectors of a frame, for each coupling, which keeps the frames of the Cartesian and
    /// spherical projections in 3D from degenerating (default 0: none). For a training whose loss
    /// jumps; it is not part of the loss that is reported.
    pub frame_loss: f64,
}

impl Default for ProjectedOptions {
    fn default() -> Self {
        Self {
            repeat: 12,
            bend: None,
            transforms: None,
            bins: 8,
            range: 10.0,
            network: Network::Graph,
            blocks: 3,
            features: 128,
            basis: 16,
            cutoff: 8.0,
            core: 0.1,
            edge_hidden: vec![64, 64],
            node_hidden: vec![64, 64],
            head_hidden: vec![64, 64],
            vector_channels: None,
            frame_loss: 0.0,
        }
    }
}

impl ProjectedOptions {
    /// Checks every value for layers of `projection`.
    pub(in crate::flow) fn check(&self, projection: Projection) -> Result<(), Error> {
        if projection == Projection::Vector && self.frame_loss != 0.0 {
            let problem = "is for frames, which the vector coupling does without: remove it";
            return Err(Error::parameter("frame_loss", problem));
        }
        if projection != Projection::Cartesian && self.bend == Some(Bend::Affine) {
            let problem = "is \"affine\", which only the Cartesian coupling has: remove it";
            return Err(Error::parameter("bend", problem));
        }
        if let Some(transforms) = self.transforms {
            count("transforms", transforms, 1..=MAX_TRANSFORMS)?;
        }
        count("bins", self.bins, 2..=MAX_BINS)?;
        positive("range", self.range, 1e6)?;
        count("blocks", self.blocks, 1..=64)?;
        count("features", self.features, 1..=4096)?;
        check_distances(self.basis, self.cutoff, self.core)?;
        layer_widths("edge_hidden", &self.edge_hidden)?;
        layer_widths("node_hidden", &self.node_hidden)?;
        layer_widths("head_hidden", &self.head_hidden)?;
        number("frame_loss", self.frame_loss, 0.0..=1e6)?;
        match self.vector_channels {
            Some(channels) => count("vector_channels", channels, 1..=64),
            None => Ok(()),
        }
    }
}
