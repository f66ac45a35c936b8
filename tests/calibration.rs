//! The stated standard errors are right: over 50 short trainings with different seeds, the interval
//! of two of them holds the true log Z, and the true mean distance, in 90 to 99 % of the cases (95
//! % if errors are normal).

mod pair;

use boltzflow::diagnostics::{log_z_and_error, pair_distances, reweighted_mean};
use boltzflow::evaluation::draw_weighted;
use boltzflow::random::Purpose;
use rayon::prelude::*;

use pair::{trained, truth};

const SEEDS: u64 = 50;
/// Those of a training.
const STEPS: u64 = 40;

/// (error made, error stated) of log Z and of ⟨r⟩ for every seed.
fn errors() -> Vec<[(f64, f64); 2]> {
    let [log_z, distance] = truth();
    (0..SEEDS)
        .into_par_iter()
        .map(|seed| {
            let (problem, theta) = trained(seed);
            let system = problem.flow.system();
            let random = (Purpose::Evaluation, STEPS);
            let drawn = draw_weighted(&problem, &theta, random, 0, 2000).unwrap();
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
