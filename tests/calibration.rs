//! The stated standard errors are right: over 50 short trainings with different seeds, the interval
//! of two of them holds the true log Z, and the true mean distance, in 90 to 99 % of the cases (95
//! % if errors are normal).

use std::sync::Arc;

use boltzflow::config::Recipe;
use boltzflow::diagnostics::{log_z_and_error, pair_distances, reweighted_mean};
use boltzflow::evaluation::draw_weighted;
use boltzflow::potential::{DoubleWell, DoubleWellParameters, Potential};
use boltzflow::random::Purpose;
use boltzflow::train::Verdict;
use rayon::prelude::*;

const SEEDS: u64 = 50;

/// A small flow on two particles, FAB for 40 steps.
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

fn pair() -> DoubleWell {
    let parameters =
        DoubleWellParameters { b: -1.0, c: 0.5, r0: 2.0, ..DoubleWellParameters::new(2, 2) };
    DoubleWell::new(parameters).unwrap()
}

/// log Z and ⟨r⟩ by quadrature. With y = r/√2 the length in the plane of zero centre of mass,
/// Z = ∫ 2π y exp(−U) dy = π ∫ r exp(−U(r)) dr.
fn truth() -> (f64, f64) {
    let potential = pair();
    let (mut z, mut first, step) = (0.0, 0.0, 1e-4);
    for k in 0..100_000 {
        let r = (f64::from(k) + 0.5) * step;
        let energy = potential.energy_and_gradient(&[r, 0.0, 0.0, 0.0], &mut [0.0; 4]).unwrap();
        let density = std::f64::consts::PI * r * (-energy).exp() * step;
        z += density;
        first += r * density;
    }
    (z.ln(), first / z)
}

/// (error made, error stated) of log Z and of ⟨r⟩ for every seed.
fn errors() -> Vec<[(f64, f64); 2]> {
    let (log_z, distance) = truth();
    (0..SEEDS)
        .into_par_iter()
        .map(|seed| {
            let mut recipe = Recipe::from_text(RECIPE, "recipe".as_ref()).unwrap();
            recipe.seed = seed;
            let problem = recipe.problem(Arc::new(pair())).unwrap();
            let system = problem.flow.system();
            let trainer = recipe.trainer(&problem, problem.flow.system()).unwrap();
            let mut state = trainer.start(&problem);
            for _ in 0..recipe.train.descent.steps {
                let report = trainer.step(&problem, &mut state).unwrap();
                state.step += 1;
                assert_eq!(state.judge(&report), Verdict::Continue);
            }
            let random = (Purpose::Evaluation, state.step);
            let drawn = draw_weighted(&problem, &state.average, random, 0, 2000).unwrap();
            let z = log_z_and_error(&drawn.log_weights);
            let r = reweighted_mean(&drawn.log_weights, &pair_distances(system, &drawn.positions));
            [(z.0 - log_z, z.1), (r.0 - distance, r.1)]
        })
        .collect()
}

#[test]
fn stated_errors_cover_the_truth() {
    let errors = errors();
    for (quantity, name) in ["log Z", "mean distance"].iter().enumerate() {
        let covered = |scale: f64| {
            let inside =
                |row: &&[(f64, f64); 2]| row[quantity].0.abs() <= 2.0 * scale * row[quantity].1;
            errors.iter().filter(inside).count() as f64 / errors.len() as f64
        };
        let spread =
            (errors.iter().map(|row| (row[quantity].0 / row[quantity].1).powi(2)).sum::<f64>()
                / errors.len() as f64)
                .sqrt();
        println!("{name}: covered {}, spread {spread:.2} of the stated errors", covered(1.0));
        assert!((0.9..=0.99).contains(&covered(1.0)), "{name}: {}", covered(1.0));
        // Planted: errors of half and of double the size.
        assert!(covered(0.5) < 0.9, "{name}: {}", covered(0.5));
        assert!(covered(2.0) > 0.99, "{name}: {}", covered(2.0));
    }
}
