//! What projection couplings are made of.

/// In which coordinates a node moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Projection {
    /// The distance to the origin.
    Vector,
    /// Coordinates in a frame.
    Cartesian(Bend),
    /// Polar or spherical coordinates in a frame.
    Spherical,
}

/// How a Cartesian coordinate is transformed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bend {
    /// Scaled and shifted (RealNVP).
    Affine,
    /// By a rational-quadratic spline between ± range.
    Spline,
}

/// What makes the vectors and the parameters of a [`ProjectedCoupling`](super::ProjectedCoupling).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Network {
    /// The published equivariant graph network: a perceptron for every directed edge.
    Graph,
    /// A light network on Gaussians of distances, that of the pairwise coupling.
    Radial,
}

/// Sizes of a [`ProjectedCoupling`](super::ProjectedCoupling); the default is the published vector projection.
#[derive(Debug, Clone, PartialEq)]
pub struct ProjectedOptions {
    /// In which coordinates a node moves.
    pub projection: Projection,
    /// Inner transforms, one after the other; `None` is d with the vector projection, else 1.
    pub transforms: Option<usize>,
    /// Bins of a spline.
    pub bins: usize,
    /// Distance (or coordinate) from which on nothing moves, in units of length.
    pub range: f64,
    /// What makes vectors and parameters.
    pub network: Network,
    /// Rounds over all pairs; the radial network reads out in the last one.
    pub blocks: usize,
    /// Invariant features of a node.
    pub features: usize,
    /// Gaussians of a distance that the radial network sees, at least 2, evenly spaced from 0 to `cutoff`.
    pub basis: usize,
    /// Centre of the last Gaussian, in units of length.
    pub cutoff: f64,
    /// Length c that keeps distances √(r² + c²) smooth at overlap, in the radial network.
    pub core: f64,
    /// Hidden widths of the graph network on edges: messages, shifts, shifts across channels.
    pub edge_hidden: Vec<usize>,
    /// Hidden widths of the graph network that updates the features.
    pub node_hidden: Vec<usize>,
    /// Hidden widths of the graph network that makes the parameters of the inner transforms.
    pub head_hidden: Vec<usize>,
    /// Position channels of a copy; `None` is what the inner transforms need.
    pub vector_channels: Option<usize>,
    /// Weight of the loss −ln(1 − |cos ∠(v1, v2)|), averaged over nodes, that keeps the frames of 3D
    /// from degenerating. It is added to the loss of training, for each coupling, and not to what is
    /// reported of it.
    pub frame_loss: f64,
}

impl Default for ProjectedOptions {
    fn default() -> Self {
        Self {
            projection: Projection::Vector,
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

/// Sizes of the coupling without rotational symmetry ([`ProjectedCoupling::nonequivariant`]).
///
/// [`ProjectedCoupling::nonequivariant`]: super::ProjectedCoupling::nonequivariant
#[derive(Debug, Clone, PartialEq)]
pub struct NonequivariantOptions {
    /// Blocks of attention.
    pub blocks: usize,
    /// Features of a node, a multiple of `heads`.
    pub features: usize,
    /// Heads of the attention.
    pub heads: usize,
    /// Hidden widths of the network that follows the attention in a block.
    pub hidden: Vec<usize>,
    /// Hidden widths of the network that makes the scales and shifts.
    pub head_hidden: Vec<usize>,
}

impl Default for NonequivariantOptions {
    fn default() -> Self {
        Self { blocks: 3, features: 128, heads: 4, hidden: vec![128], head_hidden: vec![64, 64] }
    }
}
