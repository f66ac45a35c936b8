//! Slopes of random formulas against differences of their energies, also where they are flat and at
//! kinks. Longer with `PROPTEST_CASES=1000000 cargo test --release --test formula slopes`.

use boltzflow::potential::Potential;
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

use super::pair_formula;

/// Formulas with flat branches, kinks, poles and saturations; constants put kinks at the distances
/// that are tried.
fn formulas() -> impl Strategy<Value = String> {
    let leaf = prop::sample::select(vec!["r", "r", "r", "1", "2", "0.5", "-1", "3", "0", "7"]);
    leaf.prop_map(str::to_string).prop_recursive(5, 24, 2, |inner| {
        let one = prop::sample::select(vec![
            "sqrt(#)",
            "exp(#)",
            "exp(-(#))",
            "ln(#)",
            "sin(#)",
            "cos(#)",
            "tanh(#)",
            "atan(#)",
            "asin(max(-1, min(1, #)))",
            "acos(min(1, abs(#)))",
            "abs(#)",
            "sinh(#)",
            "cosh(#)",
            "tan(#)",
            "-(#)",
            "1/(#)",
            "(#)^2",
            "(#)^3",
            "(#)^2.5",
            "(#)^0.3",
            "(#)^-1.5",
            "(#)^70",
            "max(0, #)",
            "max(#, 0)",
            "max(0, 1 - (#))",
            "min(1, #)",
            "max(-1, min(1, #))",
            "exp(-1/max(0, #))",
            "sqrt(max(0, #))",
            "(abs(#) + (#))",
            "2^(#)",
        ]);
        let two = prop::sample::select(vec![
            "(#) + (%)",
            "(#) - (%)",
            "(#)*(%)",
            "(#)/(%)",
            "max(#, %)",
            "min(#, %)",
            "(abs(#))^(%)",
        ]);
        prop_oneof![
            (one, inner.clone()).prop_map(|(form, a)| form.replace('#', &a)),
            (two, inner.clone(), inner).prop_map(|(form, a, b)| {
                form.split('#').collect::<Vec<_>>().join(&a).replace('%', &b)
            }),
        ]
    })
}

/// Energy at a distance, and the slope; `None` without an energy.
fn at(potential: &dyn Potential, r: f64) -> Option<(f64, f64)> {
    let mut gradient = [0.0; 4];
    let energy = potential.energy_and_gradient(&[0.0, 0.0, r, 0.0], &mut gradient).ok()?;
    Some((energy, gradient[2]))
}

/// The slope from `r` in the direction of `side`, if differences over four steps come to one value.
fn one_sided(potential: &dyn Potential, r: f64, side: f64) -> Option<f64> {
    let energy = |shift: f64| Some(at(potential, r + side * shift)?.0);
    let start = energy(0.0)?;
    let mut slopes = Vec::new();
    for h in [1e-3, 3e-4, 1e-4, 3e-5] {
        let (near, far) = (energy(h)?, energy(2.0 * h)?);
        // What differences of such numbers cannot show.
        if 1e-11 * (1.0 + start.abs().max(near.abs()).max(far.abs())) > 1e-6 * h * 1e3 {
            return None;
        }
        slopes.push(side * (4.0 * near - 3.0 * start - far) / (2.0 * h));
    }
    let last = slopes[3];
    let differ = |a: f64, b: f64| (a - b).abs() / (1.0 + a.abs().max(b.abs()));
    let steady = differ(slopes[1], slopes[2]) < 1e-4 && differ(slopes[2], last) < 2e-5;
    (steady && last.abs() < 1e6).then_some(last)
}

/// What is wrong with the slope of `formula` at `r`.
fn fault(formula: &str, r: f64) -> Option<String> {
    let potential = pair_formula(formula)?;
    let (energy, slope) = at(&*potential, r)?;
    let [left, right] = [one_sided(&*potential, r, -1.0)?, one_sided(&*potential, r, 1.0)?];
    let room = 1e-3 * (1.0 + left.abs().max(right.abs()));
    let between = slope >= left.min(right) - room && slope <= left.max(right) + room;
    // Several kinks or poles in one place may cancel, which none of their derivatives knows.
    let kinks: usize = ["max(", "min(", "abs("].map(|f| formula.matches(f).count()).iter().sum();
    let poles = ["/", "^-", "ln("].iter().any(|pole| formula.contains(pole));
    // r may be lost beside a large number, which then looks flat. (Rarely, what comes near a cusp
    // is rounded onto it: such formulas have an energy and no gradient.)
    let lost = left.abs().max(right.abs()) < 1e-6 && slope.is_finite();
    let fine = between || lost || (KINKS.contains(&r) && (kinks > 1 || poles));
    (!fine).then(|| {
        format!("{formula} at {r} is {energy}: slope {slope}, {left} to the left, {right} right")
    })
}

/// Distances where constants of the formulas are.
const KINKS: [f64; 4] = [0.5, 1.0, 2.0, 3.0];
const OTHERS: [f64; 4] = [0.3137, 0.7719, 1.4143, 2.6311];

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: None,
        rng_seed: RngSeed::Fixed(25),
        ..ProptestConfig::default()
    })]

    #[test]
    fn slopes_are_those_of_the_energy(formula in formulas()) {
        for r in KINKS.into_iter().chain(OTHERS) {
            if let Some(fault) = fault(&formula, r) {
                prop_assert!(false, "{}", fault);
            }
        }
    }
}

/// Planted: another formula's slope.
#[test]
fn a_wrong_slope_is_seen() {
    let potential = pair_formula("r^2").unwrap();
    let slope = one_sided(&*potential, 1.0, 1.0).unwrap();
    assert!((slope - 2.0).abs() < 1e-4 && (slope - 2.01).abs() > 1e-3);
    assert!(one_sided(&*pair_formula("sqrt(abs(r - 1))").unwrap(), 1.0, 1.0).is_none());
}
