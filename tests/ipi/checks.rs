//! `check` on potentials behind a socket, whose clients have a limited cell and see positions
//! around the origin.

use std::sync::Arc;

use boltzflow::error::EvaluationError;
use boltzflow::potential::{
    check, Finding, Ipi, IpiParameters, Potential, Severity, WithStructures,
};
use boltzflow::system::System;

use super::fake::{Fake, Fault};
use super::{cluster, parameters, PARTICLES};

/// The findings on a server with this trap, whose client computes `potential`.
fn findings(potential: Arc<dyn Potential>, trap: f64, structures: Vec<Vec<f64>>) -> Vec<Finding> {
    let kind = |i: usize| format!("A{}", potential.species().get(i).unwrap_or(&0));
    let species = (0..PARTICLES).map(kind).collect();
    let server = Ipi::new(IpiParameters { trap, species, ..parameters("127.0.0.1:0") }).unwrap();
    Fake::new(&potential, Fault::None).start(server.address());
    if structures.is_empty() {
        return check(&server).unwrap();
    }
    check(&WithStructures::new(server, structures)).unwrap()
}

fn not_fine(findings: &[Finding]) -> Vec<&'static str> {
    findings.iter().filter(|f| f.severity != Severity::Fine).map(|f| f.what).collect()
}

fn text<'a>(findings: &'a [Finding], what: &str) -> &'a str {
    findings.iter().find(|f| f.what == what).map_or("", |f| &f.text)
}

#[test]
fn without_a_trap_the_parts_of_a_cluster_leave() {
    let [inner, _] = cluster();
    let held = findings(inner.clone(), 0.7, Vec::new());
    assert_eq!(not_fine(&held), Vec::<&str>::new(), "{held:#?}");
    let loose = findings(inner, 0.0, Vec::new());
    assert_eq!(not_fine(&loose), ["infinity"], "{loose:#?}");
    assert!(text(&loose, "infinity").contains("add a trap"), "{loose:#?}");
}

/// A cluster in a field that is fixed in space.
struct InField(Arc<dyn Potential>, fn(&[f64]) -> (f64, [f64; 3]));

impl Potential for InField {
    fn system(&self) -> System {
        self.0.system()
    }

    fn energy_and_gradient(&self, x: &[f64], gradient: &mut [f64]) -> Result<f64, EvaluationError> {
        let mut energy = self.0.energy_and_gradient(x, gradient)?;
        for (x, gradient) in x.chunks_exact(3).zip(gradient.chunks_exact_mut(3)) {
            let (u, slope) = self.1(x);
            energy += u;
            gradient.iter_mut().zip(slope).for_each(|(g, slope)| *g += slope);
        }
        Ok(energy)
    }
}

#[test]
fn a_field_that_is_fixed_in_space_is_named() {
    let [inner, _] = cluster();
    type Field = fn(&[f64]) -> (f64, [f64; 3]);
    let fields: [(Field, &[&str]); 3] = [
        // Gravity: nothing but the net force shows it around the origin.
        (|x| (0.3 * x[2], [0.0, 0.0, 0.3]), &["translation"]),
        // A trap around the origin: nothing but a shift shows it.
        (
            |x| (0.1 * x.iter().map(|x| x * x).sum::<f64>(), [0, 1, 2].map(|k| 0.2 * x[k])),
            &["translation"],
        ),
        // Walls.
        (|x| (0.01 * x[2].powi(4), [0.0, 0.0, 0.04 * x[2].powi(3)]), &["translation", "rotation"]),
    ];
    for (field, expected) in fields {
        let found = findings(Arc::new(InField(inner.clone(), field)), 0.7, Vec::new());
        assert_eq!(not_fine(&found), expected, "{found:#?}");
        assert!(text(&found, "translation").contains("fixed in space"), "{found:#?}");
    }
}

/// A chain whose calculator has no energy where neighbours are near to each other, or farther apart
/// than this.
struct Molecule(f64);

impl Potential for Molecule {
    fn system(&self) -> System {
        System::new(PARTICLES, 3).unwrap()
    }

    fn species(&self) -> &[usize] {
        &[0, 1, 2, 3]
    }

    fn energy_and_gradient(&self, x: &[f64], gradient: &mut [f64]) -> Result<f64, EvaluationError> {
        let mut energy = 0.0;
        gradient.fill(0.0);
        for i in 0..PARTICLES - 1 {
            let (a, b) = (3 * i, 3 * i + 3);
            let v: [f64; 3] = std::array::from_fn(|k| x[b + k] - x[a + k]);
            let r = v.iter().map(|v| v * v).sum::<f64>().sqrt();
            if r < 0.7 || r > self.0 {
                return Err(EvaluationError::Recoverable("SCF not converged".into()));
            }
            // A Morse bond of 30 kT, which breaks.
            let e = (-6.0 * (r - 1.0)).exp();
            energy += 30.0 * ((1.0 - e).powi(2) - 1.0);
            for k in 0..3 {
                let pull = 360.0 * (1.0 - e) * e * v[k] / r;
                gradient[b + k] += pull;
                gradient[a + k] -= pull;
            }
        }
        Ok(energy)
    }
}

#[test]
fn a_molecule_that_dissociates_is_found_from_its_structure() {
    let molecule: Arc<dyn Potential> = Arc::new(Molecule(f64::INFINITY));
    let straight: Vec<f64> = (0..PARTICLES).flat_map(|i| [i as f64, 0.0, 0.0]).collect();
    let found = findings(molecule.clone(), 0.0, vec![straight.clone()]);
    let wrong: Vec<&str> =
        found.iter().filter(|f| f.severity == Severity::Wrong).map(|f| f.what).collect();
    assert_eq!(wrong, ["infinity"], "{found:#?}");
    // From the structure on, all bonds are there.
    let energies = text(&found, "failures").rsplit("typical energies").next().unwrap();
    assert!(energies.contains("from -8") || energies.contains("from -9"), "{found:#?}");
    let found = findings(molecule.clone(), 1.0, vec![straight]);
    assert!(found.iter().all(|f| f.severity != Severity::Wrong), "{found:#?}");
    // None of the structures has an energy.
    let found = findings(molecule, 0.0, vec![vec![0.0; 3 * PARTICLES]]);
    assert_eq!(not_fine(&found), ["energy"]);
    assert!(found[0].text.contains("any of 1 known structures"), "{found:#?}");
}

#[test]
fn a_calculator_that_fails_far_away_leaves_it_open_whether_a_molecule_holds_together() {
    let straight: Vec<f64> = (0..PARTICLES).flat_map(|i| [i as f64, 0.0, 0.0]).collect();
    let found = findings(Arc::new(Molecule(3.0)), 0.0, vec![straight]);
    let infinity = found.iter().find(|f| f.what == "infinity").unwrap();
    assert_eq!(infinity.severity, Severity::Caution, "{found:#?}");
    assert!(infinity.text.contains("is not known"), "{found:#?}");
}
