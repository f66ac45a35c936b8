//! Configurations in memory and in files, whose format the ending of the name chooses.
//!
//! - `.npz`: arrays `positions` `[samples, particles, dimension]`, and `log_weights` and
//!   `energies` `[samples]` where known
//! - `.npy`: positions alone
//! - `.csv`: a row per sample with `x0,y0,z0,x1,…`, then `log_weight` and `energy` where known
//! - `.xyz`, `.extxyz`: extended XYZ, a frame per sample with `species` and `pos` (z = 0 in the
//!   plane), and `energy` and `log_weight` where known; names of particles that are no elements in
//!   the column `label`
//! - `.pdb`: a MODEL per sample with the names, residues and bonds of the target's structure, to
//!   three decimals
//! - `.dcd`: a frame per sample as f32, for MDTraj, MDAnalysis and VMD beside a structure file
//!
//! PDB and DCD have no place for weights and energies: these are in a table beside them, a row per
//! sample, in `samples.dcd.weights.csv` for `samples.dcd`.
//!
//! Other numbers are written as f64. Positions are in the target's unit of length, energies in kT,
//! but where the target has units, positions in extended XYZ, PDB and DCD are in Å and energies in
//! extended XYZ in eV.

mod beside;
mod chirality;
mod csv;
mod dcd;
mod files;
mod format;
mod npy;
mod npz;
mod pdb;
mod spool;
mod structure;
mod xyz;

pub use files::{
    check_destination, holds_positions_alone, positions_in, read_equal_samples, read_samples,
    units_in, weights_beside, write_samples,
};
pub use format::{FileUnits, Particles, Samples};
pub(crate) use spool::{Numbers, Spool};
pub(crate) use structure::{read_structure, Structure};
