//! The augmented equivariant coupling flow: base density, couplings, and the flow as one fused,
//! sample-local map with hand-written vector-Jacobian products.

mod coupling;
mod parameters;

pub use coupling::{Coupling, Direction, HalfShape, Vjp};
pub use parameters::{Block, Initial, ParameterLayout, ParameterTensor};
