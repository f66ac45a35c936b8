//! The augmented equivariant coupling flow: base density, couplings, and the flow as one fused,
//! sample-local map with hand-written vector-Jacobian products.

mod attention;
mod batch;
mod column;
mod coupling;
mod egnn;
mod linear;
mod mlp;
mod model;
mod normalization;
pub mod op;
mod pairwise;
mod parameters;
mod projected;
mod radial;
mod reduce;
mod rows;
mod species;
mod spline;
mod vector_network;

pub use batch::Trajectory;
pub use coupling::{Coupling, Direction, HalfShape, Vjp};
pub use model::{CouplingOptions, Flow, FlowOptions};
pub use pairwise::{PairwiseCoupling, PairwiseOptions};
pub use parameters::{Block, Initial, ParameterLayout, ParameterTensor};
pub use projected::{
    Bend, Network, NonequivariantOptions, ProjectedCoupling, ProjectedOptions, Projection,
};
