//! Two particles with a double well between them, in the plane: averages by quadrature, and a small
//! flow that a few steps of FAB train.

use std::sync::Arc;

use boltzflow::config::Recipe;
use boltzflow::potential::{DoubleWell, DoubleWellParameters, Potential};
use boltzflow::train::{Problem, Verdict};

/// 40 steps of FAB.
const RECIPE: &str = r#"
format = 1
target = "pair"
[flow]
augmentation_scale = 0.4
base_scale = 1.3
[[flow.layers]]
coupling = "pairwise"
repeat = 2
width = 8
basis = 8
cutoff = 5.0
[train]
steps = 40
batch_size = 64
learning_rate = { initial = 1e-3, peak = 1e-2, final = 1e-3, warm_up_steps = 5 }
ema_decay = 0.95
[train.fab]
updates_per_annealing = 4
buffer = { min_batches = 4, max_batches = 16 }
"#;

pub fn pair() -> DoubleWell {
    let parameters =
        DoubleWellParameters { b: -1.0, c: 0.5, r0: 2.0, ..DoubleWellParameters::new(2, 2) };
    DoubleWell::new(parameters).unwrap()
}

/// log Z and ⟨r⟩ by quadrature. With y = r/√2 the length in the plane of zero centre of mass,
/// Z = ∫ 2π y exp(−U) dy = π ∫ r exp(−U(r)) dr.
pub fn truth() -> [f64; 2] {
    let potential = pair();
    let (mut z, mut first, step) = (0.0, 0.0, 1e-4);
    for k in 0..100_000 {
        let r = (f64::from(k) + 0.5) * step;
        let energy = potential.energy_and_gradient(&[r, 0.0, 0.0, 0.0], &mut [0.0; 4]).unwrap();
        let density = std::f64::consts::PI * r * (-energy).exp() * step;
        z += density;
        first += r * density;
    }
    [z.ln(), first / z]
}

/// The recipe of 40 steps with this seed, and its problem.
pub fn problem(seed: u64) -> (Recipe, Problem) {
    let mut recipe = Recipe::from_text(RECIPE, "recipe".as_ref()).unwrap();
    recipe.seed = seed;
    let problem = recipe.problem(Arc::new(pair())).unwrap();
    (recipe, problem)
}

/// A problem, and the averaged parameters after these steps.
pub fn trained(seed: u64) -> (Problem, Vec<f32>) {
    let (recipe, problem) = problem(seed);
    let trainer = recipe.trainer(&problem, problem.flow.system()).unwrap();
    let mut state = trainer.start(&problem);
    for _ in 0..recipe.train.descent.steps {
        let report = trainer.step(&problem, &mut state).unwrap();
        state.step += 1;
        assert_eq!(state.judge(&report), Verdict::Continue);
    }
    (problem, state.average)
}
