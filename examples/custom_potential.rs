//! A potential of one's own, trained for a few steps: three Morse particles in a harmonic trap.
//! For every command on it: `boltzflow::cli::run(Registry::builtin().with("morse", factory))`.
use std::sync::Arc;

use boltzflow::config::Recipe;
use boltzflow::diagnostics::{effective_sample_size, log_z_and_error};
use boltzflow::error::{Error, EvaluationError};
use boltzflow::potential::Potential;
use boltzflow::random::Purpose;
use boltzflow::run::draw_weighted;
use boltzflow::system::System;

/// U(x) = Σ_{i<j} 4 [(1 − exp(1 − r))² − 1] + ½ Σ_i ‖x_i − x̄‖².
struct Morse(System);

impl Potential for Morse {
    fn system(&self) -> System {
        self.0
    }

    fn energy_and_gradient(&self, x: &[f64], gradient: &mut [f64]) -> Result<f64, EvaluationError> {
        let (n, d) = (self.0.particles(), self.0.dimension());
        gradient.copy_from_slice(x);
        self.0.remove_center_of_mass(gradient);
        let mut energy = 0.5 * gradient.iter().map(|g| g * g).sum::<f64>();
        for (i, j) in (0..n).flat_map(|i| (0..i).map(move |j| (i, j))) {
            let v: Vec<f64> = (0..d).map(|k| x[i * d + k] - x[j * d + k]).collect();
            let r = v.iter().map(|v| v * v).sum::<f64>().sqrt();
            // At r = 0 this is not a number: such a configuration gets weight zero and is counted.
            let e = (1.0 - r).exp();
            energy += 4.0 * ((1.0 - e) * (1.0 - e) - 1.0);
            for (k, v) in v.iter().enumerate() {
                gradient[i * d + k] += 8.0 * (1.0 - e) * e * v / r;
                gradient[j * d + k] -= 8.0 * (1.0 - e) * e * v / r;
            }
        }
        Ok(energy)
    }
}

fn main() -> Result<(), Error> {
    let recipe = "format = 1\n target = 'morse'\n flow = { augmentation_scale = 0.3 }\n\
        [train]\n steps = 40\n learning_rate = { peak = 5e-3, warm_up_steps = 5 }\n\
        fab.buffer = { min_batches = 8, max_batches = 32 }";
    let recipe = Recipe::from_text(recipe, "recipe".as_ref())?;
    let problem = recipe.problem(Arc::new(Morse(System::new(3, 2)?)))?;
    let trainer = recipe.trainer(problem.flow.system())?;
    let mut state = trainer.start(&problem);
    for step in 1..=recipe.train.steps as u64 {
        trainer.step(&problem, &mut state)?;
        if step.is_multiple_of(10) {
            let random = (Purpose::Evaluation, step);
            let log_w = draw_weighted(&problem, &state.average, random, 0, 2000)?.log_weights;
            let share = effective_sample_size(&log_w).fraction;
            let (log_z, error) = log_z_and_error(&log_w);
            println!("step {step}: ESS {:.1} %, log Z {log_z:.3} ± {error:.3}", 100.0 * share);
        }
    }
    Ok(())
}
