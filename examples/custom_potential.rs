//! A potential of one's own: Morse particles in a harmonic trap, written out against the trait.
//!
//! Any energy function works that returns U/kT and its gradient and does not change when the
//! particles are moved together, rotated or renumbered.

use std::path::Path;
use std::sync::Arc;

use boltzflow::config::{parameters, Registry};
use boltzflow::error::Error;
use boltzflow::potential::{EvaluationError, Potential};
use boltzflow::system::System;

/// U(x) = Σ_{i<j} depth [(1 − exp(1 − r))² − 1] + ½ Σ_i ‖x_i − x̄‖².
struct Morse {
    system: System,
    depth: f64,
}

impl Potential for Morse {
    fn system(&self) -> System {
        self.system
    }

    fn energy_and_gradient(&self, x: &[f64], gradient: &mut [f64]) -> Result<f64, EvaluationError> {
        let (n, d) = (self.system.particles(), self.system.dimension());
        let center = self.system.center_of_mass(x);
        let mut energy = 0.0;
        for i in 0..n * d {
            gradient[i] = x[i] - center[i % d];
            energy += 0.5 * gradient[i] * gradient[i];
        }
        for i in 0..n {
            for j in 0..i {
                let difference = |k: usize| x[i * d + k] - x[j * d + k];
                let r = (0..d).map(|k| difference(k).powi(2)).sum::<f64>().sqrt();
                if r == 0.0 {
                    // No direction to push in: this configuration gets weight zero.
                    return Err(EvaluationError::Recoverable(format!("{j} and {i} coincide")));
                }
                let e = (1.0 - r).exp();
                energy += self.depth * ((1.0 - e) * (1.0 - e) - 1.0);
                let slope = 2.0 * self.depth * (1.0 - e) * e;
                for k in 0..d {
                    gradient[i * d + k] += slope * difference(k) / r;
                    gradient[j * d + k] -= slope * difference(k) / r;
                }
            }
        }
        Ok(energy)
    }
}

/// The keys of a target file of this kind.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct MorseParameters {
    particles: usize,
    dimension: usize,
    depth: f64,
}

fn main() -> Result<(), Error> {
    // One line makes the kind known; then target files can name it.
    let registry = Registry::builtin().with("morse", |table| {
        let MorseParameters { particles, dimension, depth } = parameters(table)?;
        Ok(Arc::new(Morse { system: System::new(particles, dimension)?, depth }))
    });
    let text = r#"
        format = 1
        name = "morse3"
        kind = "morse"
        particles = 3
        dimension = 2
        depth = 4.0
    "#;
    let target = registry.target_from_text(text, Path::new("morse3.toml"))?;

    let x = [0.0, 0.0, 1.0, 0.0, 0.5, 0.8];
    let mut gradient = [0.0; 6];
    let energy = target.potential.energy_and_gradient(&x, &mut gradient)?;
    println!("{}: U = {energy:.4} kT, gradient {gradient:.4?}", target.name);
    Ok(())
}
