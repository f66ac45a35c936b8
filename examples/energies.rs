//! Energies and gradients of configurations by any target as JSON, to compare with another program.
//!
//! ```sh
//! cargo run --release --example energies -- aldp configurations.npy
//! ```
//! Positions are in the target's unit of length, energies in kT and gradients in kT over that unit;
//! `terms` has the parts of the energy of the first configuration, where the target has some.

use std::path::Path;
use std::process::ExitCode;

use boltzflow::samples::read_samples;
use boltzflow::{Error, Registry};

fn energies(target: &str, file: &str) -> Result<serde_json::Value, Error> {
    let target = Registry::builtin().load(target)?;
    let samples = read_samples(Path::new(file), target.particles())?;
    let width = target.potential.system().coordinates();
    let mut energies = vec![0.0; samples.positions.len() / width];
    let mut gradients = vec![0.0; samples.positions.len()];
    target.potential.energies_and_gradients(&samples.positions, &mut energies, &mut gradients)?;
    let start = std::time::Instant::now();
    target.potential.energies_and_gradients(&samples.positions, &mut energies, &mut gradients)?;
    let seconds = start.elapsed().as_secs_f64() / energies.len() as f64;
    let gradients: Vec<&[f64]> = gradients.chunks_exact(width).collect();
    let terms = target.potential.terms(samples.positions.get(..width).unwrap_or(&[]));
    Ok(serde_json::json!({
        "energies": energies, "gradients": gradients, "terms": terms, "seconds": seconds,
    }))
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [target, file] = &arguments[..] else {
        eprintln!("usage: energies TARGET FILE");
        return ExitCode::from(2);
    };
    match energies(target, file) {
        Ok(found) => {
            println!("{found}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(error.exit_code())
        }
    }
}
