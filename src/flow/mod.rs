//! The augmented equivariant coupling flow: base density, couplings, and the flow as one fused,
//! sample-local map with hand-written vector-Jacobian products.

mod coupling;
mod egnn;
mod mlp;
mod parameters;
mod radial;
mod spline;
mod vector;

pub use coupling::{Coupling, Direction, HalfShape, Vjp};
pub use parameters::{Block, Initial, ParameterLayout, ParameterTensor};
pub use vector::{VectorCoupling, VectorOptions};
