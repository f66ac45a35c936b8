//! Samples of a trained flow and what they are worth: evaluations, and averages over a target.

mod anneal;
mod contradiction;
mod cost;
mod crystal;
mod distances;
mod draw;
mod estimate;
mod evaluate;
mod figures;
mod histogram;
mod measure;
mod observable;
mod portrait;
mod unit;

pub use anneal::AnnealedDraws;
pub use contradiction::{Contradiction, Weighted, Witness};
pub use distances::{Distances, SetDistances};
pub use draw::{draw_marginal, draw_weighted, energies, log_prob, Weights};
pub use estimate::{estimate, estimate_of, Average, Estimates, FreeEnergy, OtherEnergies, Profile};
pub use evaluate::{evaluate, likelihood, EvaluationOptions};
pub use figures::{Evaluation, Facts, Figure, Level};
pub use histogram::Histogram;
pub use observable::Observable;
pub use portrait::{BackboneMap, Portrait, Spread};
pub use unit::Unit;
