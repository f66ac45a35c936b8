//! Where a formula is flat, and where it has an energy and no gradient.

use boltzflow::potential::Potential;

use super::{batch, pair_formula, worst};

/// Pair formulas with their slopes where a branch is flat, or so nearly that it underflows.
const FLAT: [(&str, f64, f64); 24] = [
    ("20*max(0, 1 - r)^2.5 + r^2/4", 1.5, 0.75),
    ("sqrt(max(0, 1 - r))", 1.5, 0.0),
    ("max(0, r - 2)^1.5", 1.5, 0.0),
    ("max(0, r - 2)^0.3 + r", 1.5, 1.0),
    ("max(0, 2 - r)^r", 2.5, 0.0),
    ("exp(-1/max(0, 1 - r^2))", 1.5, 0.0),
    ("exp(-1/max(0, 1 - r)^40)", 1.0 - 1e-9, 0.0),
    ("(1/r^4 - 1)*exp(-1/max(1.8 - r, 0))", 1.9, 0.0),
    ("acos(min(1, r/2))", 2.5, 0.0),
    ("asin(max(-1, 1 - r))", 2.5, 0.0),
    ("min(10, 1/max(0, r - 1))", 0.5, 0.0),
    ("min(3, 1/abs(r - 1))", 1.0, 0.0),
    ("sqrt(abs(r - 1) + (r - 1))", 0.5, 0.0),
    ("ln(1 + max(0, 1 - r)^0.5)", 1.5, 0.0),
    // Intermediate results that overflow, and slopes that are 0 for it.
    ("-50/(1 + exp((r - 2)/0.01)) + r", 12.0, 1.0),
    ("1/(1 + r^64)", 1e6, 0.0),
    ("tanh(exp(r))", 800.0, 0.0),
    ("atan(1/max(0, 1 - r))", 1.5, 0.0),
    // Kinks: the mean of both sides, so that what is smooth stays smooth.
    ("max(r, 1)", 1.0, 0.5),
    ("min(2*r, 2)", 1.0, 1.0),
    ("max(r, 3)*min(r, 3)", 3.0, 3.0),
    ("abs(r - 1)", 1.0, 0.0),
    // At r = 0, where the gradient has a direction only if there is a slope.
    ("r^2", 0.0, 0.0),
    ("exp(-r^2)", 0.0, 0.0),
];

#[test]
fn a_flat_branch_has_no_slope_and_its_energy_counts() {
    for (formula, r, slope) in FLAT {
        let potential = pair_formula(formula).unwrap();
        let x = [0.0, 0.0, r, 0.0];
        let mut gradient = [7.0; 4];
        let u = potential.energy_and_gradient(&x, &mut gradient).unwrap();
        assert!(u.is_finite(), "{formula}: {u}");
        let expected = [-slope, 0.0, slope, 0.0];
        assert!(worst(&gradient, &expected) < 1e-12, "{formula} at {r}: {gradient:?}");
        // In a batch beside a configuration where it is not flat, and without the gradient.
        let pair = [x, [0.0, 0.0, 0.3, 0.4]].concat();
        let (energies, gradients) = batch(&*potential, &pair);
        let mut alone = [0.0; 2];
        assert_eq!(potential.energies(&pair, &mut alone).unwrap(), 0, "{formula}");
        assert_eq!((&alone[..], u), (&energies[..], energies[0]), "{formula}");
        assert_eq!(gradients[..4], gradient, "{formula}");
    }
}

#[test]
fn a_finite_energy_without_a_gradient_is_no_overflow() {
    for (formula, r, energy) in
        [("r^2 + sqrt(r - 1)", 1.0, 1.0), ("acos(r/2)", 2.0, 0.0), ("r", 0.0, 0.0)]
    {
        let potential = pair_formula(formula).unwrap();
        let x = [0.0, 0.0, r, 0.0];
        let mut gradient = [0.0; 4];
        assert_eq!(potential.energy_and_gradient(&x, &mut gradient).unwrap(), energy, "{formula}");
        assert!(gradient.iter().all(|g| g.is_nan()), "{formula}: {gradient:?}");
        let (mut energies, mut gradients) = ([7.0], [7.0; 4]);
        let failures = potential.energies_and_gradients(&x, &mut energies, &mut gradients);
        assert_eq!((failures.unwrap(), energies), (0, [energy]), "{formula}");
        assert!(gradients.iter().all(|g| g.is_nan()), "{formula}");
    }
    // No energy is no energy, and a gradient that overflows beside a huge one is an overlap.
    for (formula, r) in
        [("1/r", 0.0), ("ln(1 - r)", 2.0), ("-ln(max(0, 1 - r))", 2.0), ("1/r", 1e-160)]
    {
        let potential = pair_formula(formula).unwrap();
        let (mut energies, mut gradients) = ([7.0], [7.0; 4]);
        let x = [0.0, 0.0, r, 0.0];
        let failures = potential.energies_and_gradients(&x, &mut energies, &mut gradients);
        assert_eq!((failures.unwrap(), energies), (1, [f64::INFINITY]), "{formula}");
        assert_eq!(gradients, [0.0; 4], "{formula}");
        let error = potential.energy_and_gradient(&x, &mut gradients).unwrap_err().to_string();
        let says = if formula.starts_with("ln") { "not a number" } else { "" };
        assert!(error.contains(says), "{formula}: {error}");
    }
}
