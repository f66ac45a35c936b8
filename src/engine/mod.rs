//! The arithmetic below everything else, without physics: vectors of samples, matrix products,
//! elementary functions, scratch memory.
//!
//! Sixteen samples travel together: a [`Lane`] holds one number of each of them, every matrix is
//! `[rows, items]` of lanes, and one instruction works on the same number of all sixteen. So small
//! systems fill the machine as well as large ones, each sample's result depends on that sample
//! alone, and every formula is written once, as if for a single sample.
//!
//! Code that uses the engine writes a [`Kernel`]; [`Real::dispatch`] runs it with the widest
//! vectors of the CPU at hand. `unsafe` lives in this module only.
#![allow(unsafe_code)]
#![deny(clippy::undocumented_unsafe_blocks)]

mod circle;
mod counting;
mod dispatch;
mod double;
mod gemm;
mod math;
mod portable;
#[cfg(target_arch = "x86_64")]
mod series;
mod vector;
mod workspace;
#[cfg(target_arch = "x86_64")]
mod x86;
#[cfg(target_arch = "x86_64")]
mod x86_double;

pub use circle::{angle, sin_cos};
pub use counting::count_operations;
pub use dispatch::{instruction_set, InstructionSet};
pub use double::dispatch_double;
pub use gemm::{matrix_product, outer_product, Matrix};
pub use math::{exp, ln, sigmoid, silu, silu_and_derivative, tanh};
pub use portable::Portable;
pub use vector::{Kernel, Lane, Lanes, Real, Vector, LANES};
pub(crate) use workspace::buffers;
pub use workspace::{with_workspace, Arena};
