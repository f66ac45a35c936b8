//! Configurations in memory and in files, whose format the ending of the name chooses.
//!
//! - `.npz`: arrays `positions` `[samples, particles, dimension]`, and `log_weights` and
//!   `energies` `[samples]` where known
//! - `.npy`: positions alone
//! - `.csv`: a row per sample with `x0,y0,z0,x1,…`, then `log_weight` and `energy` where known
//! - `.xyz`, `.extxyz`: extended XYZ, a frame per sample with `species` and `pos` (z = 0 in the
//!   plane), and `energy` and `log_weight` where known
//!
//! Numbers are written as f64. Positions are in the target's unit of length, energies in kT.

mod csv;
mod files;
mod format;
mod npy;
mod npz;
mod spool;
mod xyz;

pub use files::{check_destination, read_samples, write_samples, write_samples_of};
pub use format::Samples;
pub(crate) use spool::{Numbers, Spool};
