//! Options of the projection couplings.

use serde::{Deserialize, Serialize};

use super::transform::MAX_TRANSFORMS;
use crate::error::Error;
use crate::flow::radial::validate_distances;
use crate::flow::spline::MAX_BINS;
use crate::limits::{count, layer_widths, number, positive};

/// The coordinates in which a [`ProjectedCoupling`](super::ProjectedCoupling) moves a particle z
/// about its origin o, in d dimensions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Projection {
    /// The distance to the origin:
    ///
    /// ```text
    /// r = ‖z − o‖,   r′ = S(r),   z′ = o + (z − o) r′/r,   log det = ln S′(r) + (d − 1) ln(r′/r)
    /// ```
    ///
    /// S is a [spline](InnerTransform::Spline) on [0, `range`] and the identity beyond it; its
    /// slope is free at 0.
    Vector,
    /// Coordinates in a frame of two vectors of the network:
    ///
    /// ```text
    /// e1 = v1/‖v1‖,   e2 ∝ v2 − (v2·e1) e1,   e3 = e1 × e2       (2D: e2 is e1 turned by 90°)
    /// c_k = e_k·(z − o),   c′_k = f_k(c_k),   z′ = o + Σ_k c′_k e_k,   log det = Σ_k ln f_k′(c_k)
    /// ```
    ///
    /// with f_k an [`InnerTransform`]. The cross product (2D: the turn) has a handedness: the map
    /// commutes with rotations and not with reflections.
    Cartesian,
    /// Distance r, polar angle θ to e1 and azimuth φ about it, in the same frame, each by a
    /// [spline](InnerTransform::Spline); in 2D the distance and the angle φ to e1:
    ///
    /// ```text
    /// log det = Σ ln S′ + ln[(r′/r)² sin θ′/sin θ]      (2D: r′/r)
    /// ```
    ///
    /// The slopes of the spline of θ are free at 0 and π; those of φ are the same at both ends.
    Spherical,
}

/// How a Cartesian coordinate c is transformed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InnerTransform {
    /// c′ = c eˢ + t (RealNVP, Dinh et al., [arXiv 1605.08803](https://arxiv.org/abs/1605.08803)).
    Affine,
    /// A monotone rational-quadratic spline between ± `range`, the identity outside (Durkan et al.,
    /// [arXiv 1906.04032](https://arxiv.org/abs/1906.04032)). With ξ = (c − x)/w in the bin at (x,
    /// y) of width w and height h, s = h/w, slopes δ₀ and δ₁ at its ends and q = ξ(1 − ξ),
    ///
    /// ```text
    /// S(c)  = y + h (s ξ² + δ₀ q)/D,    D = s + (δ₀ + δ₁ − 2s) q
    /// S′(c) = s² M/D²,                  M = δ₁ ξ² + 2 s q + δ₀ (1 − ξ)²
    /// ```
    ///
    /// Widths and heights are a softmax, slopes a softplus of the network's parameters.
    Spline,
}

/// What makes the vectors and parameters of a [`ProjectedCoupling`](super::ProjectedCoupling) from
/// the conditioning half.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Network {
    /// The published E(n)-equivariant graph network with several position channels (Satorras et
    /// al., [arXiv 2102.09844](https://arxiv.org/abs/2102.09844)). Features h and positions x of n
    /// nodes go through blocks; φ are perceptrons, r and s are the receiver and the sender of an
    /// edge, v and w are channels, and all right-hand sides are those before the block:
    ///
    /// ```text
    /// m     = φ_e([h_s, h_r, channel distances² at s and at r, ‖x_r − x_s‖² of each channel])
    /// x_r  += Σ_s φ_x(m) (x_r − x_s)/(1 + ‖x_r − x_s‖)/(n − 1)
    /// x_rv += Σ_w φ_cross(Σ_s m/(n − 1))_vw (x_rv − x_rw)/(1 + ‖x_rv − x_rw‖)
    /// h_r  += φ_h([Σ_s m·sigmoid(Linear m)/√(n − 1), h_r])
    /// ```
    ///
    /// h starts as a learned scalar through a linear map, the same for all nodes, plus a column for
    /// the species where particles are unlike. The vectors are the displacements of the channels,
    /// the parameters a perceptron of Linear(softmax(h)).
    ///
    /// Where the paper's text leaves room: the squared distances between a node's channels are
    /// taken once for each unordered pair, φ_cross reads the mean of the messages, initial weights
    /// of the shifts have a variance of 0.001/inputs, and normalisations have no gain and offset.
    Graph,
    /// A light network on Gaussians of distances, that of the pairwise coupling.
    Radial,
}

/// Layers of a projection coupling. The defaults are the published sizes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ProjectedOptions {
    /// Number of layers (default 12).
    pub repeat: usize,
    /// How a coordinate is transformed; a choice only for Cartesian ones (default: affine there,
    /// splines with the other projections).
    pub bend: Option<InnerTransform>,
    /// Inner transforms of a coupling, one after the other (default: as many as there are
    /// dimensions with the vector projection, else 1).
    pub transforms: Option<usize>,
    /// Bins of the rational-quadratic splines (default 8).
    pub bins: usize,
    /// The spline of a distance or of a coordinate ends here, a length, beyond which it is the
    /// identity (default 10).
    pub range: f64,
    /// What makes the vectors and parameters; "graph" is as published, and "radial" learns more in
    /// a given time (default "graph").
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
    /// [64, 64]). A list has the width of each layer.
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
    pub(in crate::flow) fn validate(&self, projection: Projection) -> Result<(), Error> {
        if projection == Projection::Vector && self.frame_loss != 0.0 {
            let problem = "is for frames, which the vector coupling does without: remove it";
            return Err(Error::parameter("frame_loss", problem));
        }
        if projection != Projection::Cartesian && self.bend == Some(InnerTransform::Affine) {
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
        validate_distances(self.basis, self.cutoff, self.core)?;
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
