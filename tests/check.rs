//! `check` finds what would make a training wrong, and nothing else; each mistake is planted once.

use std::path::Path;

use boltzflow::config::{load_target, Registry};
use boltzflow::error::EvaluationError;
use boltzflow::potential::{check, sum_over_pairs, Finding, Potential, Severity};
use boltzflow::system::System;

#[derive(Debug, Clone, Copy, PartialEq)]
enum Mistake {
    None,
    WrongSign,
    MissingFactor,
    OneTermMissing,
    Field,
    AbsolutePosition,
    Chiral,
    UnlikeParticle,
    NanAtOverlap,
    Attraction,
    NoTrap,
    NanFarAway,
    AlwaysFails,
    BatchDiffers,
}

/// Five particles that repel, in a trap.
struct Planted(Mistake);

impl Potential for Planted {
    fn system(&self) -> System {
        System::new(5, 3).unwrap()
    }

    fn energy_and_gradient(&self, x: &[f64], g: &mut [f64]) -> Result<f64, EvaluationError> {
        let trap = if self.0 == Mistake::NoTrap { 0.0 } else { 1.0 };
        let charge = if self.0 == Mistake::Attraction { -3.0 } else { 3.0 };
        let mut closest = f64::INFINITY;
        let mut farthest = 0.0f64;
        let mut u = sum_over_pairs(self.system(), x, g, trap, |r2| {
            let u = charge / r2.sqrt();
            (u, -u / r2)
        })?;
        for i in 0..5 {
            for j in 0..i {
                let r2: f64 = (0..3).map(|k| (x[3 * i + k] - x[3 * j + k]).powi(2)).sum();
                closest = closest.min(r2.sqrt());
                farthest = farthest.max(r2.sqrt());
            }
        }
        match self.0 {
            Mistake::WrongSign => g.iter_mut().for_each(|g| *g = -*g),
            Mistake::MissingFactor => g.iter_mut().for_each(|g| *g *= 0.5),
            Mistake::OneTermMissing => u += 0.1 * (x[0] - x[3]).powi(2),
            Mistake::Field => {
                let center = self.system().center_of_mass(x);
                u += 0.2 * (0..5).map(|i| (x[3 * i + 2] - center[2]).powi(2)).sum::<f64>();
                (0..5).for_each(|i| g[3 * i + 2] += 0.4 * (x[3 * i + 2] - center[2]));
            }
            Mistake::AbsolutePosition => {
                u += 0.1 * x[0] * x[0];
                g[0] += 0.2 * x[0];
            }
            Mistake::Chiral => {
                // The volume that four particles span, with its sign.
                let e = |i: usize, k: usize| x[3 * i + k] - x[k];
                u += 0.3
                    * (e(1, 0) * (e(2, 1) * e(3, 2) - e(2, 2) * e(3, 1))
                        - e(1, 1) * (e(2, 0) * e(3, 2) - e(2, 2) * e(3, 0))
                        + e(1, 2) * (e(2, 0) * e(3, 1) - e(2, 1) * e(3, 0)));
            }
            Mistake::UnlikeParticle => {
                for k in 0..3 {
                    u += 0.1 * (x[k] - x[3 + k]).powi(2);
                    g[k] += 0.2 * (x[k] - x[3 + k]);
                    g[3 + k] -= 0.2 * (x[k] - x[3 + k]);
                }
            }
            Mistake::NanAtOverlap if closest < 0.05 => u = f64::NAN,
            Mistake::NanFarAway if farthest > 50.0 => u = f64::NAN,
            Mistake::AlwaysFails => {
                return Err(EvaluationError::Recoverable("the server is not running".into()))
            }
            _ => {}
        }
        Ok(u)
    }

    fn energies_and_gradients(
        &self,
        x: &[f64],
        energies: &mut [f64],
        gradients: &mut [f64],
    ) -> Result<usize, EvaluationError> {
        let mut failures = 0;
        let width = self.system().coordinates();
        let rows = x.chunks_exact(width).zip(gradients.chunks_exact_mut(width));
        for ((x, g), energy) in rows.zip(energies.iter_mut()) {
            match self.energy_and_gradient(x, g) {
                Ok(u) => *energy = u,
                Err(_) => failures += 1,
            }
        }
        if self.0 == Mistake::BatchDiffers {
            energies.rotate_left(1);
        }
        Ok(failures)
    }
}

fn wrong(findings: &[Finding]) -> Vec<&'static str> {
    findings.iter().filter(|f| f.severity == Severity::Wrong).map(|f| f.what).collect()
}

#[test]
fn every_planted_mistake_is_found_and_nothing_else() {
    for (mistake, expected, hint) in [
        (Mistake::None, &[][..], ""),
        (Mistake::WrongSign, &["forces"], "wrong sign"),
        (Mistake::MissingFactor, &["forces"], "factor 2 is missing"),
        (Mistake::OneTermMissing, &["forces", "exchange"], "not that of the energy"),
        (Mistake::Field, &["rotation"], "a direction"),
        (Mistake::AbsolutePosition, &["translation", "rotation", "exchange"], "distances"),
        (Mistake::Chiral, &["forces", "reflection", "exchange"], "mirror"),
        (Mistake::UnlikeParticle, &["exchange"], "different species"),
        (Mistake::NanAtOverlap, &["overlap"], "not a number"),
        (Mistake::Attraction, &["overlap"], "cannot be normalised"),
        (Mistake::NoTrap, &["infinity"], "add a trap"),
        (Mistake::NanFarAway, &["infinity"], "not a number"),
        (Mistake::AlwaysFails, &["energy"], "the server is not running"),
        (Mistake::BatchDiffers, &["speed"], "a batch differs"),
    ] {
        let findings = check(&Planted(mistake)).unwrap();
        let found = wrong(&findings);
        assert!(expected.iter().all(|e| found.contains(e)), "{mistake:?}: {findings:#?}");
        // Where U falls without end, differences of it are off as well.
        if expected.len() < 2 && mistake != Mistake::Attraction {
            assert_eq!(found, expected, "{mistake:?}: {findings:#?}");
        }
        let told = findings.iter().any(|f| f.severity == Severity::Wrong && f.text.contains(hint));
        assert!(expected.is_empty() || told, "{mistake:?}: {findings:#?}");
    }
}

#[test]
fn the_targets_that_come_with_the_program_pass() {
    for name in ["dw4", "harmonic", "lj13", "mueller_brown", "three_species"] {
        let findings = check(&*load_target(name).unwrap().potential).unwrap();
        assert!(findings.iter().all(|f| f.severity == Severity::Fine), "{name}: {findings:#?}");
    }
}

/// The forces of a formula cannot be wrong, but everything else can.
#[test]
fn a_formula_that_breaks_a_symmetry_is_found() {
    for (text, expected) in [
        ("external = 'x^2 + 2*y^2'\npair = '1/r'", vec!["rotation"]),
        ("pair = '4*((1/r)^12 - (1/r)^6)'", vec!["infinity"]),
        ("pair = 'r^2 - 1/r^3'", vec!["overlap"]),
        ("external = 'x^2 + y^2'", Vec::<&str>::new()),
        ("pair = '(r - 1)^2'", vec![]),
    ] {
        let text = format!(
            "format = 1\nname = 't'\nkind = 'formula'\ndimension = 2\nparticles = 3\n{text}"
        );
        let target = Registry::builtin().target_from_text(&text, Path::new("t.toml")).unwrap();
        let found = wrong(&check(&*target.potential).unwrap());
        if expected == ["overlap"] {
            assert!(found.contains(&"overlap"), "{text}: {found:?}");
        } else {
            assert_eq!(found, expected, "{text}");
        }
    }
}
