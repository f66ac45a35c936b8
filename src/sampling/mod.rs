//! Transition kernels, annealed importance sampling, and the reference sampler.

mod annealing;
mod density;
mod flow_density;
mod gaussian;
mod hmc;
mod op;
mod reference;
mod resample;
mod resampling;

pub use annealing::{Annealed, AnnealedImportanceSampling, Annealing, StepSizes, Streams};
pub use density::{AugmentedTarget, LogDensity, Proposal, Subspace};
pub use flow_density::FlowDensity;
pub use gaussian::Gaussian;
pub use hmc::{transition, Chains, Effort, GeometricPath, Leapfrog, StepSize, Workspace};
pub use op::log_density;
pub use reference::{
    energy_chains, is_molecule, reference_seconds, sample_reference, sample_reference_at,
    EnergyChains, ExchangeReport, Reference, ReferenceOptions, ReferenceReport,
};
pub use resample::{resample, Resampled};
pub use resampling::{resample_systematically, Systematic};
