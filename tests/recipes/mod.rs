//! A recipe that takes seconds for every objective, and a potential that fails on the way.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;

use boltzflow::config::Recipe;
use boltzflow::error::EvaluationError;
use boltzflow::potential::Potential;
use boltzflow::samples::{write_samples, Samples};
use boltzflow::system::System;

pub const FLOW: &str = r#"
format = 1
target = "dw4"
seed = 3
[flow]
augmentation_scale = 0.3
base_scale = 2.0
[[flow.layers]]
coupling = "pairwise"
repeat = 1
width = 4
basis = 4
"#;

pub const OBJECTIVES: [(&str, &str); 4] = [
    (
        "fab",
        r#"
[train]
objective = "fab"
steps = 8
batch_size = 32
[train.fab]
updates_per_annealing = 2
[train.fab.buffer]
min_batches = 2
max_batches = 4
"#,
    ),
    (
        "fab on walkers by SOAP",
        r#"
[train]
objective = "fab"
steps = 8
batch_size = 32
optimizer = "soap"
[train.fab]
updates_per_annealing = 2
[train.fab.buffer]
min_batches = 2
max_batches = 4
[train.fab.walkers]
count = 100
from_step = 3
"#,
    ),
    (
        "reverse_kl",
        r#"
[train]
objective = "reverse_kl"
steps = 8
batch_size = 32
"#,
    ),
    (
        "max_likelihood by natural steps",
        r#"
[train]
objective = "max_likelihood"
steps = 8
batch_size = 32
optimizer = "natural"
[train.max_likelihood]
data = "DATA"
"#,
    ),
];

/// A recipe, with the data of maximum likelihood in `place`.
pub fn recipe(place: &Path, objective: &str) -> String {
    let data = place.join("data.npy");
    let system = System::new(4, 2).unwrap();
    let positions = (0..100 * 8).map(|k| 2.0 * (k as f64 * 0.7).sin()).collect();
    write_samples(&data, system, 100, [Ok(Samples { positions, ..Samples::default() })]).unwrap();
    format!("{FLOW}{objective}").replace("DATA", &data.display().to_string())
}

/// The recipe with evaluations of a blink, and no checkpoints but those at the ends.
pub fn small_evaluations(mut recipe: Recipe) -> Recipe {
    recipe.evaluate.every_steps = 3;
    recipe.evaluate.samples = 64;
    recipe.evaluate.draws = 2;
    recipe.checkpoint.every_seconds = 1e9;
    recipe
}

/// A potential that is gone after so many configurations.
pub struct Mortal(pub Arc<dyn Potential>, pub AtomicU64);

impl Potential for Mortal {
    fn system(&self) -> System {
        self.0.system()
    }

    fn energy_and_gradient(&self, x: &[f64], gradient: &mut [f64]) -> Result<f64, EvaluationError> {
        let one_less = |left: u64| left.checked_sub(1);
        match self.1.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less) {
            Ok(_) => self.0.energy_and_gradient(x, gradient),
            Err(_) => Err(EvaluationError::Fatal("the licence server is gone".into())),
        }
    }
}
