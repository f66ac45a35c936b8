//! Every double well on a bad day: 1 % of the calls return not a number, 0.1 % fail.
//!
//! All commands, with this potential in the place of the built-in one:
//!
//! ```sh
//! cargo run --release --example faulty_potential -- train runs/dw4_fab.toml -o dw4_faulty
//! boltzflow evaluate dw4_faulty      # the same flow by the sound potential
//! ```
//!
//! `metrics.csv` counts what failed in `recoverable_failures`.
use std::process::ExitCode;
use std::sync::Arc;

use boltzflow::potential::DoubleWell;
use boltzflow::{parameters, run_command_line, EvaluationError, Potential, Registry, System};

/// A potential that fails now and then.
struct Faulty<P>(P);

impl<P: Potential> Potential for Faulty<P> {
    fn system(&self) -> System {
        self.0.system()
    }

    fn energy_and_gradient(&self, x: &[f64], gradient: &mut [f64]) -> Result<f64, EvaluationError> {
        // By a hash of the configuration and not by a counter, so that a run still gives the same
        // bytes on any number of threads and after any interruption.
        let hash = x.iter().fold(0u64, |hash, x| {
            let mixed = (hash ^ x.to_bits()).wrapping_mul(0x9E37_79B9_7F4A_7C15);
            mixed ^ (mixed >> 29)
        });
        match hash % 1000 {
            0..=9 => Ok(f64::NAN),
            10 => Err(EvaluationError::Recoverable("no convergence".into())),
            _ => self.0.energy_and_gradient(x, gradient),
        }
    }
}

fn main() -> ExitCode {
    run_command_line(
        Registry::builtin().with("double_well", |table| {
            Ok(Arc::new(Faulty(DoubleWell::new(parameters(table)?)?)))
        }),
    )
}
