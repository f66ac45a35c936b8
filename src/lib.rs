//! boltzflow trains samplers of Boltzmann distributions from an energy function alone.
//!
//! You bring a [`Potential`] U(x)/kT and no data; the library trains an augmented coupling
//! flow on it, equivariant under rotations, reflections and the exchange of equal particles, and
//! returns independent configurations with weights, free energies, and the effective sample
//! sizes that say whether to trust them.
//!
//! From a closure to samples in memory:
//! ```
//! use boltzflow::{from_fn, sum_over_pairs, Error, System, Training};
//! use boltzflow::{DescentOptions, EvaluateOptions, Objective, Recipe, TrainOptions};
//!
//! // Three particles in the plane repel each other in a trap: u(r) = 5 exp(−r²), in kT.
//! let system = System::new(3, 2)?;
//! let potential = from_fn(system, move |x, gradient| {
//!     sum_over_pairs(system, x, gradient, 1.0, |squared| {
//!         let u = 5.0 * (-squared).exp();
//!         (u, -2.0 * u) // u(r) and u′(r)/r
//!     })
//! });
//! let objective = Objective::ReverseKl(Default::default());
//! let descent = DescentOptions { steps: 20, batch_size: 64, ..Default::default() };
//! let recipe = Recipe {
//!     train: TrainOptions { objective, descent },
//!     evaluate: EvaluateOptions { samples: 1000, ..Default::default() },
//!     ..Default::default()
//! };
//! let mut training = Training::new(recipe, potential)?;
//! training.run(|progress| println!("step {}: {:.2}", progress.step, progress.report.loss))?;
//! println!("{:.1} % effective samples", 100.0 * training.evaluation()?.reverse_ess);
//! let samples = training.trained()?.sample(1000)?;
//! assert_eq!((samples.positions.len(), samples.log_weights.len()), (1000 * 6, 1000));
//! # Ok::<(), Error>(())
//! ```
//! A type with the trait [`Potential`] takes the closure's place, and so does a target by its name
//! or file:
//! ```
//! use boltzflow::{EvaluationError, Potential, Recipe, Registry, System, Training};
//!
//! /// Particles on springs to their centre: U = ½ Σ ‖x_i − x̄‖².
//! struct Springs(System);
//!
//! impl Potential for Springs {
//!     fn system(&self) -> System {
//!         self.0
//!     }
//!     fn energy_and_gradient(&self, x: &[f64], g: &mut [f64]) -> Result<f64, EvaluationError> {
//!         g.copy_from_slice(x);
//!         self.0.remove_center_of_mass(g);
//!         Ok(0.5 * g.iter().map(|g| g * g).sum::<f64>())
//!     }
//! }
//!
//! let of_a_type = Training::new(Recipe::default(), Springs(System::new(3, 2)?))?;
//! let of_a_name = Training::new(Recipe::default(), Registry::builtin().load("dw4")?)?;
//! # Ok::<(), boltzflow::Error>(())
//! ```
//! [`Training`] can write into a folder and resume there; [`Trained`] opens what it leaves, also
//! what the program `boltzflow train` left. [`run_command_line`] gives that program to a binary of
//! one's own.
//!
//! Modules import only those above them in the source of this file (see CONTRIBUTING.md).

#![deny(unsafe_code)]

#[forbid(unsafe_code)]
pub mod error;
#[forbid(unsafe_code)]
mod limits;

#[forbid(unsafe_code)]
mod work;

#[forbid(unsafe_code)]
pub mod parallel;
#[forbid(unsafe_code)]
pub mod random;
#[forbid(unsafe_code)]
pub mod system;

#[forbid(unsafe_code)]
pub mod crystal;

#[forbid(unsafe_code)]
pub mod files;

#[forbid(unsafe_code)]
pub mod molecule;

#[forbid(unsafe_code)]
pub mod samples;

// The only `unsafe`; a comment at every block explains why it is sound.
pub mod engine;

#[forbid(unsafe_code)]
pub mod potential;

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
mod plot;

#[forbid(unsafe_code)]
mod report;

#[forbid(unsafe_code)]
pub mod config;

#[forbid(unsafe_code)]
pub mod session;

#[forbid(unsafe_code)]
mod cli;

pub use cli::run_command_line;
pub use config::{parameters, EvaluateOptions, Recipe, Registry, Target};
pub use error::{Error, EvaluationError};
pub use evaluation::{Estimates, Evaluation, EvaluationOptions, Observable};
pub use flow::FlowOptions;
pub use potential::{check, Finding, Severity};
pub use potential::{from_fn, sum_over_near_pairs, sum_over_pairs, FnPotential, Potential};
pub use report::{Verdict, VerdictFigure};
pub use run::RunFolder;
pub use samples::Samples;
pub use sampling::{sample_reference, ReferenceOptions};
pub use session::{Ending, Progress, Trained, Training};
pub use system::System;
pub use train::{DescentOptions, Objective, Problem, TrainOptions, Trainer};
pub use work::{
    end_interrupt, interrupt, is_stopped as is_interrupted, now as current_work, State as WorkState,
};

/// README's code.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
