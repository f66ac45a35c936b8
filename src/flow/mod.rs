//! The augmented equivariant coupling flow: base density, couplings, and the flow as one fused,
//! sample-local map with hand-written vector-Jacobian products.

mod alone;
mod attention;
mod base;
mod batch;
mod centering;
mod column;
mod coupling;
mod crystal;
mod egnn;
mod layers;
mod linear;
mod mlp;
mod model;
mod molecule;
mod normalization;
pub mod op;
mod options;
mod pairwise;
mod parameters;
mod projected;
mod radial;
mod reduce;
mod rows;
mod species;
mod spline;
mod vector_network;

pub use attention::NonequivariantOptions;
pub use base::{BaseKind, BaseOptions, Displacements, Skeleton};
pub use batch::Trajectory;
pub use coupling::{Apply, Coupling, CouplingContext, Direction, HalfShape, Vjp};
pub use layers::{LayerGroup, Precision};
pub use model::Flow;
pub use options::FlowOptions;
pub use pairwise::PairwiseCoupling;
pub use parameters::{Block, Initial, ParameterLayout, ParameterTensor};
pub use projected::{InnerTransform, Network, ProjectedCoupling, ProjectedOptions, Projection};
pub use radial::PairwiseOptions;
