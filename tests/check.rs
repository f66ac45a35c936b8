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
    OverflowFarAway,
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
        let held = ![Mistake::NoTrap, Mistake::OverflowFarAway].contains(&self.0);
        let trap = if held { 1.0 } else { 0.0 };
        let charge = if self.0 == Mistake::Attraction { -3.0 } else { 3.0 };
        let mut closest = f64::INFINITY;
        let mut farthest = 0.0f64;
        let mut u = sum_over_pairs(self.system(), x, g, trap, |r2| {
            if self.0 == Mistake::OverflowFarAway {
                // The slope is ∞/∞ at a distance of 10²⁰, where no particle belongs.
                return (r2.powi(-8), -16.0 * r2.powi(7) / r2.powi(16));
            }
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
        (Mistake::OverflowFarAway, &["infinity"], "add a trap"),
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

/// What is wrong with a formula in three dimensions; all findings besides.
fn formula(particles: &str, rest: &str) -> (Vec<&'static str>, Vec<Finding>) {
    let text = format!(
        "format = 1\nname = 't'\nkind = 'formula'\ndimension = 3\nparticles = {particles}\n{rest}"
    );
    let target = Registry::builtin().target_from_text(&text, Path::new("t.toml")).unwrap();
    let findings = check(&*target.potential).unwrap();
    (wrong(&findings), findings)
}

/// A list of names: each with how many there are.
fn names(kinds: &[(&str, usize)]) -> String {
    let each = kinds.iter().flat_map(|(name, count)| vec![*name; *count]);
    format!("{:?}", each.collect::<Vec<_>>())
}

#[test]
fn a_repulsion_that_only_shrinks_on_the_way_is_no_collapse() {
    let beside_a_core =
        "external = 'r_com^2/2'\npair = { A-C = '(3/r)^12', A-B = '0', B-C = '0' }\n\
        bonds = [{ atoms = [[0, 1]], energy = '100*(r - 1)^2' }]";
    let beside_a_hill = "external = 'r_com^2/2'\n\
        pair = { A-C = '1e7*exp(-r^2/4)', A-B = '0', B-C = '0' }\n\
        bonds = [{ atoms = [[0, 1]], energy = '100*(r - 1)^2' }]";
    // Four in a chain, whose end is bent back through a steep core.
    let chain = "external = 'r_com^2/2'\npair = { A-A = '0', A-B = '0', B-B = '(3/r)^12' }\n\
        bonds = [{ atoms = [[0, 1], [1, 2], [2, 3]], energy = '100*(r - 1)^2' }]";
    // A deep well that ends, and a logarithm that can be integrated.
    let well = "external = 'r_com^2/2'\npair = '-50*exp(-r^2/0.01)'";
    let logarithm = "external = 'r_com^2/2'\npair = '2.5*ln(r)'";
    for (particles, rest) in [
        ("['A', 'B', 'C']", beside_a_core),
        ("['A', 'B', 'C']", beside_a_hill),
        ("['B', 'A', 'A', 'B']", chain),
        ("3", well),
        ("2", logarithm),
    ] {
        let (found, findings) = formula(particles, rest);
        assert_eq!(found, Vec::<&str>::new(), "{rest}: {findings:#?}");
    }
}

#[test]
fn every_collapse_is_found_wherever_it_is() {
    let ions = "external = 'r_com^2/2'\n[pair]\nAr-Ar = '(1/r)^12 - 2*(1/r)^6'\n\
        Ar-Cl = '(1/r)^12'\nAr-Na = '(1/r)^12'\nCl-Na = '-0.5/r'";
    let alike = "external = 'r_com^2/2'\n[pair]\nAr-Ar = '(1/r)^12'\nAr-Cl = '(1/r)^12'\n\
        Cl-Cl = '-0.5/r'";
    let overflow = "external = 'r_com^2/2'\npair = '-exp(1/r)'";
    let logarithm = "external = 'r_com^2/2'\npair = '3.2*ln(r)'";
    // What two of them repel three attract: -18/r^12 in an even triangle.
    let three = "external = 'r_com^2/2'\npair = '10/r^12'\n\
        embedding = { density = '1/r^3', energy = '-rho^4' }";
    // ... and four, by a density of a third power.
    let four = "external = 'r_com^2/2'\npair = '9/r^9'\n\
        embedding = { density = '1/r^3', energy = '-0.7*rho^3' }";
    let triples = "external = 'r_com^2/2'\npair = '1/r^6'\n\
        triples = [{ energy = '-3/(r_ab*r_bc*r_ac)^3' }]";
    let center = "external = 'r_com^2 - 0.5/r_com'\npair = '1/r^12'";
    let many = names(&[("Ar", 18), ("Cl", 1), ("Na", 1)]);
    let first = names(&[("Cl", 1), ("Ar", 40), ("Na", 1)]);
    let two = names(&[("Ar", 29), ("Cl", 2)]);
    for (particles, rest, hint) in [
        (&*many, ions, "18 and 19 meet"),
        (&*first, ions, "0 and 41 meet"),
        (&*two, alike, "29 and 30 meet"),
        ("4", overflow, "meet"),
        ("2", logarithm, "0 and 1 meet"),
        ("4", three, "in one place"),
        ("6", four, "in one place"),
        ("5", triples, "meet"),
        ("4", center, "the centre of mass"),
    ] {
        let (found, findings) = formula(particles, rest);
        let overlap = findings.iter().find(|f| f.what == "overlap").unwrap();
        assert!(found.contains(&"overlap") && overlap.text.contains(hint), "{rest}: {findings:#?}");
        // A collapse is no fault of the gradient.
        assert!(rest == overflow || !found.contains(&"forces"), "{rest}: {findings:#?}");
    }
}

/// Two hydroxyl groups on an atom, whose hydrogens have a charge and no core, as in AMBER.
#[test]
fn a_collapse_behind_a_barrier_is_a_caution_for_a_molecule_with_a_structure() {
    let molecule = "external = '0.1*r_com^2'\n\
        bonds = [{ atoms = [[0, 1], [0, 2], [1, 3], [2, 4]], energy = '1000*(r - 1)^2' }]\n\
        [pair]\nC-C = '0'\nC-O = '0'\nC-H = '0'\nO-O = '(2/r)^12'\nH-H = '5/r'\nH-O = '-9/r'\n";
    let structure = "[[structure]]\npositions = [[[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], \
        [-1.0, 0.0, 0.0], [1.0, 1.0, 0.0], [-1.0, -1.0, 0.0]]]\n";
    let particles = "['C', 'O', 'O', 'H', 'H']";
    let (found, findings) = formula(particles, &format!("{molecule}{structure}"));
    assert!(found.is_empty(), "{findings:#?}");
    let overlap = findings.iter().find(|f| f.what == "overlap").unwrap();
    assert_eq!(overlap.severity, Severity::Caution);
    assert!(overlap.text.contains("behind a barrier"), "{}", overlap.text);
    // Samples from a Gaussian may lie anywhere.
    assert_eq!(formula(particles, molecule).0, ["overlap"]);
    // Without a core of the oxygens, the hydrogen falls in at once: a hydrogen bond pulls it.
    let open = molecule.replace("1000*", "1*").replace("(2/r)^12", "-9/r");
    assert!(formula(particles, &format!("{open}{structure}")).0.contains(&"overlap"));
}

#[test]
fn what_no_bond_holds_together_is_found() {
    let lennard_jones = "pair = '4*((1/r)^12 - (1/r)^6)'\n";
    let bonds = |count: usize, length: usize, trap: &str| {
        let each =
            (0..count).flat_map(|m| (1..length).map(move |k| [m * length + k - 1, m * length + k]));
        let atoms: Vec<[usize; 2]> = each.collect();
        format!("{lennard_jones}{trap}bonds = [{{ atoms = {atoms:?}, energy = '50*(r - 1.1)^2' }}]")
    };
    let waters = |count: usize| {
        let each: Vec<[usize; 2]> =
            (0..count).flat_map(|m| [[3 * m, 3 * m + 1], [3 * m, 3 * m + 2]]).collect();
        let particles = names(&[("O", 1), ("H", 2)].repeat(count));
        (
            particles,
            format!(
                "external = '0'\n\
             pair = {{ O-O = '4*0.26*((3.166/r)^12-(3.166/r)^6)', O-H = '0', H-H = '0' }}\n\
             bonds = [{{ atoms = {each:?}, energy = '880*(r - 1.012)^2' }}]"
            ),
        )
    };
    let (four, eight) = (waters(4), waters(8));
    let ions = "[pair]\nA-A = '100/r + 1/r^12'\nA-B = '1/r^12 - 100/r'\nB-B = '100/r + 1/r^12'";
    // Each particle alone is held by 2*1.8 > 3, all of them by 3*1.8 < 6.
    let logarithm = "pair = '1.8*ln(r) + 0.1/r^6'";
    for (particles, rest, expected) in [
        ("10", &*bonds(2, 5, ""), &["infinity"][..]),
        ("20", &*bonds(1, 20, ""), &[]),
        ("20", &*bonds(4, 5, "external = '0.01*r_com^2'\n"), &[]),
        ("21", &*bonds(3, 7, ""), &["infinity"]),
        (&four.0, &four.1, &["infinity"]),
        (&eight.0, &eight.1, &["infinity"]),
        ("['A', 'A', 'B', 'B']", ions, &["infinity"]),
        ("3", logarithm, &["infinity"]),
        ("3", &logarithm.replace("1.8", "2.2"), &[]),
        ("3", "pair = '-exp(r)'", &["infinity"]),
    ] {
        let (found, findings) = formula(particles, rest);
        assert!(
            found.contains(&"infinity") == expected.contains(&"infinity"),
            "{rest}: {findings:#?}"
        );
        assert!(found.len() == expected.len() || rest.contains("-exp"), "{rest}: {findings:#?}");
    }
}
