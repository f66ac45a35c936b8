//! Lennard-Jones particles against their formula, and their linear core.

use boltzflow::potential::{EvaluationError, LennardJones, LennardJonesParameters, Potential};

fn dimer(parameters: LennardJonesParameters) -> LennardJones {
    LennardJones::new(LennardJonesParameters { particles: 2, ..parameters }).unwrap()
}

fn at(potential: &LennardJones, r: f64) -> (f64, f64) {
    let mut gradient = [0.0; 6];
    let x = [0.3, 0.0, -0.1, 0.3, r, -0.1];
    let u = potential.energy_and_gradient(&x, &mut gradient).unwrap();
    (u, gradient[4])
}

#[test]
fn the_dimer_has_depth_epsilon_at_r_m_and_energy_zero_at_sigma() {
    let parameters =
        LennardJonesParameters { r_m: 1.3, trap: 0.0, ..LennardJonesParameters::new(2, 3, 2.5) };
    let potential = dimer(parameters);
    let (u, slope) = at(&potential, 1.3);
    assert!((u + 2.5).abs() < 1e-12 && slope.abs() < 1e-12);
    // r_m = 2^(1/6) σ
    let (u, slope) = at(&potential, 1.3 * 2f64.powf(-1.0 / 6.0));
    assert!(u.abs() < 1e-10 && slope < 0.0);
}

#[test]
fn trap_and_temperature_enter() {
    let parameters = LennardJonesParameters {
        trap: 3.0,
        temperature: 0.5,
        ..LennardJonesParameters::new(2, 3, 1.0)
    };
    // ½ k Σ ‖x_i − x̄‖² = ½ · 3 · 2 · (½)² at r = 1.
    let (u, slope) = at(&dimer(parameters), 1.0);
    assert!((u - (-1.0 + 0.75) / 0.5).abs() < 1e-12);
    assert!((slope - 1.5 / 0.5).abs() < 1e-12);
}

#[test]
fn the_linear_core_continues_value_and_slope_and_is_finite() {
    let exact = dimer(LennardJonesParameters::new(2, 3, 1.0));
    let soft = exact.clone().with_linear_core(0.8).unwrap();
    for r in [0.8, 0.9, 1.0, 2.0] {
        assert_eq!(at(&exact, r), at(&soft, r));
    }
    let (below, above) = (at(&soft, 0.8 - 1e-9), at(&soft, 0.8 + 1e-9));
    assert!((below.0 - above.0).abs() < 1e-5 && (below.1 - above.1).abs() < 1e-5);
    assert!(at(&soft, 1e-3).0 < 1e3 && at(&exact, 1e-3).0 > 1e30);
    // The pair's slope is constant inside; the trap adds ½ r.
    assert!((at(&soft, 0.4).1 - 0.2 - (at(&soft, 0.1).1 - 0.05)).abs() < 1e-9);
    let r = 0.37;
    assert_eq!(at(&exact, r), at(&exact.clone().with_linear_core(0.0).unwrap(), r));
}

#[test]
fn an_exact_overlap_is_recoverable_and_names_the_pair() {
    let potential = LennardJones::new(LennardJonesParameters::new(3, 2, 1.0)).unwrap();
    for potential in [potential.clone(), potential.with_linear_core(0.8).unwrap()] {
        let error = potential
            .energy_and_gradient(&[0.0, 1.0, 2.0, 2.0, 0.0, 1.0], &mut [0.0; 6])
            .unwrap_err();
        assert!(matches!(&error, EvaluationError::Recoverable(m) if m.contains("0 and 2")));
    }
}

#[test]
fn wrong_parameters_are_refused_by_name() {
    let good = LennardJonesParameters::new(13, 3, 1.0);
    for (field, parameters) in [
        ("particles", LennardJonesParameters { particles: 0, ..good.clone() }),
        ("dimension", LennardJonesParameters { dimension: 1, ..good.clone() }),
        ("epsilon", LennardJonesParameters { epsilon: -1.0, ..good.clone() }),
        ("r_m", LennardJonesParameters { r_m: 0.0, ..good.clone() }),
        ("trap", LennardJonesParameters { trap: -0.1, ..good.clone() }),
        ("temperature", LennardJonesParameters { temperature: f64::NAN, ..good.clone() }),
    ] {
        let message = LennardJones::new(parameters).unwrap_err().to_string();
        assert!(message.starts_with(&format!("`{field}`")), "{message}");
    }
    let good = LennardJones::new(good).unwrap();
    for radius in [-0.1, 1.0, f64::NAN] {
        assert!(good.clone().with_linear_core(radius).is_err());
        assert!(good.softened(radius).is_none());
    }
}
