//! A potential of one's own: Morse particles in a harmonic trap. Without arguments it trains three of
//! them for a few steps; with arguments it is the whole command line, for target files with
//! `kind = "morse"`: `cargo run --release --example custom_potential -- check my_target.toml`.
use std::{process::ExitCode, sync::Arc};

use boltzflow::config::{parameters, Recipe, Registry};
use boltzflow::diagnostics::{effective_sample_size, log_z_and_error};
use boltzflow::error::{Error, EvaluationError};
use boltzflow::potential::{sum_over_pairs, Potential};
use boltzflow::{evaluation::draw_weighted, random::Purpose, system::System};

/// U(x) = Σ_{i<j} depth [(1 − exp(1 − r))² − 1] + ½ Σ_i ‖x_i − x̄‖².
struct Morse(System, f64);

impl Potential for Morse {
    fn system(&self) -> System {
        self.0
    }

    fn energy_and_gradient(&self, x: &[f64], gradient: &mut [f64]) -> Result<f64, EvaluationError> {
        sum_over_pairs(self.0, x, gradient, 1.0, |squared| {
            let r = squared.sqrt();
            let e = (1.0 - r).exp();
            // u and u′(r)/r
            (self.1 * ((1.0 - e).powi(2) - 1.0), self.1 * 2.0 * (1.0 - e) * e / r)
        })
    }
}

/// The keys of a target file.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Keys {
    particles: usize,
    depth: f64,
}

fn main() -> Result<ExitCode, Error> {
    if std::env::args().len() > 1 {
        return Ok(boltzflow::cli::run(Registry::builtin().with("morse", |table| {
            let Keys { particles, depth } = parameters(table)?;
            Ok(Arc::new(Morse(System::new(particles, 2)?, depth)))
        })));
    }
    let recipe = "format = 1\n target = 'morse'\n flow = { augmentation_scale = 0.3 }\n\
        [train]\n steps = 40\n learning_rate = { peak = 5e-3, warm_up_steps = 5 }\n\
        fab.buffer = { min_batches = 8, max_batches = 32 }";
    let recipe = Recipe::from_text(recipe, "recipe".as_ref())?;
    let problem = recipe.problem(Arc::new(Morse(System::new(3, 2)?, 4.0)))?;
    let trainer = recipe.trainer(&problem)?;
    let mut state = trainer.start(&problem);
    for _ in 0..recipe.train.descent.steps {
        trainer.step(&problem, &mut state)?;
        state.step += 1;
    }
    let drawn = draw_weighted(&problem, &state.average, (Purpose::Evaluation, 0), 0, 2000)?;
    let share = effective_sample_size(&drawn.log_weights).fraction;
    let (log_z, error) = log_z_and_error(&drawn.log_weights);
    println!("ESS {:.1} %, log Z {log_z:.3} ± {error:.3}", 100.0 * share);
    Ok(ExitCode::SUCCESS)
}
