//! boltzflow trains samplers from an energy function alone.
//!
//! A person brings a [`potential::Potential`] and no data; the library trains an SE(3)- and
//! permutation-equivariant augmented coupling flow on it and hands back independent weighted
//! configurations, free energies, and the effective sample sizes that say whether to trust them.
//!
//! Modules import only those above them in this list (see CONTRIBUTING.md).

#![deny(unsafe_code)]

#[forbid(unsafe_code)]
pub mod error;
#[forbid(unsafe_code)]
mod limits;
#[forbid(unsafe_code)]
pub mod parallel;
#[forbid(unsafe_code)]
pub mod random;
#[forbid(unsafe_code)]
pub mod system;

#[forbid(unsafe_code)]
pub mod files;

#[forbid(unsafe_code)]
pub mod samples;

#[forbid(unsafe_code)]
pub mod potential;

// The only `unsafe`; every block says why it is sound.
pub mod engine;

#[forbid(unsafe_code)]
pub mod flow;

#[forbid(unsafe_code)]
pub mod diagnostics;

#[forbid(unsafe_code)]
pub mod sampling;

#[forbid(unsafe_code)]
pub mod train;

#[forbid(unsafe_code)]
pub mod evaluation;

#[forbid(unsafe_code)]
pub mod run;

#[forbid(unsafe_code)]
pub mod plot;

#[forbid(unsafe_code)]
pub mod report;

#[forbid(unsafe_code)]
pub mod config;

#[forbid(unsafe_code)]
pub mod cli;
