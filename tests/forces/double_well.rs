//! The double well against its formula.

use boltzflow::potential::{DoubleWell, DoubleWellParameters, Potential};

#[test]
fn a_pair_in_a_well_has_the_depth_of_the_formula() {
    let pair = DoubleWell::new(DoubleWellParameters::new(2, 2)).unwrap();
    // u′ = 2b s + 4c s³ = 0 at s² = −b/2c, where u = −b²/4c.
    let s = (4.0f64 / 1.8).sqrt();
    let mut gradient = [0.0; 4];
    for r in [4.0 - s, 4.0 + s] {
        let u = pair.energy_and_gradient(&[0.0, 0.0, 0.0, r], &mut gradient).unwrap();
        assert!((u + 16.0 / 3.6).abs() < 1e-12);
        assert!(gradient.iter().all(|g| g.abs() < 1e-12));
    }
}

#[test]
fn the_linear_term_and_the_temperature_enter() {
    let parameters =
        DoubleWellParameters { a: 3.0, temperature: 2.0, ..DoubleWellParameters::new(2, 3) };
    let pair = DoubleWell::new(parameters).unwrap();
    let mut gradient = [0.0; 6];
    let u = pair.energy_and_gradient(&[0.0, 0.0, 0.0, 5.0, 0.0, 0.0], &mut gradient).unwrap();
    assert!((u - (3.0 - 4.0 + 0.9) / 2.0).abs() < 1e-12);
    assert!((gradient[3] - (3.0 - 8.0 + 3.6) / 2.0).abs() < 1e-12);
}

#[test]
fn wrong_parameters_are_refused_by_name() {
    let good = DoubleWellParameters::new(4, 2);
    for (field, parameters) in [
        ("particles", DoubleWellParameters { particles: 1, ..good.clone() }),
        ("dimension", DoubleWellParameters { dimension: 4, ..good.clone() }),
        ("a", DoubleWellParameters { a: f64::NAN, ..good.clone() }),
        ("b", DoubleWellParameters { b: f64::INFINITY, ..good.clone() }),
        ("c", DoubleWellParameters { c: 0.0, ..good.clone() }),
        ("r0", DoubleWellParameters { r0: -1.0, ..good.clone() }),
        ("temperature", DoubleWellParameters { temperature: -1.0, ..good.clone() }),
    ] {
        let message = DoubleWell::new(parameters).unwrap_err().to_string();
        assert!(message.starts_with(&format!("`{field}`")), "{message}");
    }
}
