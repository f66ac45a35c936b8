//! boltzflow trains samplers from an energy function alone.
//!
//! A person brings a [`potential::Potential`] and no data; the library trains an SE(3)- and
//! permutation-equivariant augmented coupling flow on it and hands back independent weighted
//! configurations, free energies, and the effective sample sizes that say whether to trust them.
//!
//! Modules import only those above them in this list (see CONTRIBUTING.md).

#![deny(unsafe_code)]

pub mod error;
pub mod random;
pub mod system;

pub mod potential;

pub mod engine;

pub mod flow;

pub mod diagnostics;

pub mod sampling;

pub mod train;

pub mod run;

pub mod plot;

pub mod config;

pub mod cli;
