//! The sum over pairs without an energy.

use boltzflow::potential::{sum_over_pairs, EvaluationError};
use boltzflow::system::System;

fn message(x: &[f64]) -> String {
    let system = System::new(3, 2).unwrap();
    let mut gradient = [0.0; 6];
    // Finite at r = 0, with a kink there: the overlap must still be found.
    sum_over_pairs(system, x, &mut gradient, 0.0, |r2| (r2.sqrt(), 1.0 / r2.sqrt()))
        .unwrap_err()
        .to_string()
}

#[test]
fn an_overlap_and_a_lost_particle_are_named() {
    assert!(message(&[0.0, 0.0, 1.0, 1.0, 1.0, 1.0]).contains("particles 1 and 2"));
    assert!(message(&[0.0, 0.0, f64::NAN, 1.0, 1.0, 1.0]).contains("particle 1 is at"));
    assert!(message(&[0.0, 0.0, 1e200, 1.0, 1.0, 1.0]).contains("overflows"));
}

#[test]
fn slices_of_the_wrong_length_are_fatal() {
    let system = System::new(3, 2).unwrap();
    let result = sum_over_pairs(system, &[0.0; 5], &mut [0.0; 6], 0.0, |_| (0.0, 0.0));
    assert!(matches!(result, Err(EvaluationError::Fatal(_))));
}
