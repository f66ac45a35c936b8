//! Reference samples of molecules by replica exchange, against integrals that are known.

use std::sync::Arc;

use boltzflow::potential::{Formula, Potential, WithStructures};
use boltzflow::sampling::{sample_reference, ReferenceOptions};

/// ∫ f(r) 4πr² exp(−u(r)) dr by Simpson's rule.
fn radial(u: impl Fn(f64) -> f64, f: impl Fn(f64) -> f64) -> f64 {
    const STEPS: usize = 4000;
    let h = 10.0 / STEPS as f64;
    let term = |k: usize| {
        let r = k as f64 * h;
        let weight = if k == 0 || k == STEPS { 1.0 } else { [2.0, 4.0][k % 2] };
        weight * f(r) * 4.0 * std::f64::consts::PI * r * r * (-u(r)).exp()
    };
    (0..=STEPS).map(term).sum::<f64>() * h / 3.0
}

fn molecule(text: &str, structure: Vec<f64>) -> Arc<dyn Potential> {
    let formula = Formula::new(toml::from_str(text).unwrap()).unwrap();
    Arc::new(WithStructures::new(formula, vec![structure]))
}

fn options(seed: u64) -> ReferenceOptions {
    ReferenceOptions { samples: 500, chains: 256, transitions: 150, seed }
}

/// Springs in a tree: bond vectors are independent, and Z = n^(−3/2) ∏ ∫ 4πr² exp(−u(r)) dr.
fn tree(bonds: usize) -> [f64; 2] {
    let u = |r: f64| 50.0 * (r - 1.5).powi(2);
    let z = radial(u, |_| 1.0);
    let n = (bonds + 1) as f64;
    [bonds as f64 * z.ln() - 1.5 * n.ln(), bonds as f64 * radial(u, u) / z]
}

#[test]
fn a_chain_of_springs_has_its_log_z_and_energy() {
    let text =
        "dimension = 3\nparticles = 5\n[[bonds]]\natoms = [[0, 1], [1, 2], [2, 3], [3, 4]]\n\
        energy = \"50*(r - 1.5)^2\"\n";
    let zigzag = |k: usize| [1.2 * k as f64, 0.9 * (k % 2) as f64, 0.1 * (k * k) as f64];
    let potential = molecule(text, (0..5).flat_map(zigzag).collect());
    let report = sample_reference(potential, options(1)).unwrap().report;
    let exchange = report.exchange.unwrap();
    let [log_z, energy] = tree(4);
    let off = (report.log_z - log_z).abs() / report.log_z_error;
    assert!(off < 4.5, "{} ± {}, {log_z}", report.log_z, report.log_z_error);
    assert!(report.log_z_error < 0.05, "an error of 0.5 would be seen: {}", report.log_z_error);
    let off = (report.energy - energy).abs() / report.energy_error;
    assert!(off < 4.5, "{} ± {}, {energy}", report.energy, report.energy_error);
    let freedom = report.degrees_of_freedom as f64;
    assert!((report.virial - freedom).abs() < 4.5 * report.virial_error);
    assert!(exchange.round_trips > 20 && exchange.exchanges.iter().all(|share| *share > 0.2));
}

/// Four like atoms around a fifth, without angles: it turns inside out freely, so that there is one
/// part; with stiff angles there are two.
#[test]
fn parts_that_no_chain_goes_between_are_counted() {
    let bonds =
        "dimension = 3\nparticles = 5\n[[bonds]]\natoms = [[0, 1], [0, 2], [0, 3], [0, 4]]\n\
        energy = \"50*(r - 1.5)^2\"\n";
    let corner = [0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 1.0, -1.0, -1.0, -1.0, 1.0, -1.0, -1.0, -1.0, 1.0];
    let structure: Vec<f64> = corner.iter().map(|x| x * 1.5 / 3f64.sqrt()).collect();
    let free = sample_reference(molecule(bonds, structure.clone()), options(2)).unwrap().report;
    let [log_z, _] = tree(4);
    let off = (free.log_z - log_z).abs();
    assert!(off < 4.5 * free.log_z_error, "{} ± {}, {log_z}", free.log_z, free.log_z_error);
    assert!(9.0 * free.log_z_error < 2f64.ln(), "a factor of 2 would be seen");

    // Harmonic in all distances of the ends: a stiff body, of which normal modes give Z.
    let stiff = "[[bonds]]\natoms = [[1, 2], [1, 3], [1, 4], [2, 3], [2, 4], [3, 4]]\n\
        energy = \"2000*(r - 2.449489742783178)^2\"\n";
    let text = format!("{}{stiff}", bonds.replace("50*", "2000*"));
    let potential = molecule(&text, structure.clone());
    let body = sample_reference(potential.clone(), options(3)).unwrap().report;
    let log_z = rigid_log_z(&*potential, &structure) + 2f64.ln();
    // The harmonic approximation itself is good to about kT over the stiffness.
    let off = (body.log_z - log_z).abs();
    assert!(off < 0.05 + 4.5 * body.log_z_error, "{} {log_z}", body.log_z);
    assert!(0.05 + 9.0 * body.log_z_error < 2f64.ln(), "a factor of 2 would be seen");
}

/// log Z of one part of a stiff body: its modes as Gaussians, and all of its orientations.
fn rigid_log_z(potential: &dyn Potential, x: &[f64]) -> f64 {
    let n = x.len();
    let gradient = |x: &[f64]| {
        let mut gradient = vec![0.0; n];
        potential.energy_and_gradient(x, &mut gradient).unwrap();
        gradient
    };
    let h = 1e-4;
    let mut hessian = vec![vec![0.0; n]; n];
    for k in 0..n {
        let moved = |shift: f64| {
            let mut x = x.to_vec();
            x[k] += shift;
            gradient(&x)
        };
        let (above, below) = (moved(h), moved(-h));
        for (row, (a, b)) in hessian.iter_mut().zip(above.iter().zip(&below)) {
            row[k] = (a - b) / (2.0 * h);
        }
    }
    // Rotations are vectors without stiffness, as long as the root of the moment of inertia; with
    // those and translations made stiff, the determinant is that of all.
    let atoms = n / 3;
    let mut log_inertia = 0.0;
    for axis in 0..3 {
        let mut turn = vec![0.0; n];
        let mut shift = vec![0.0; n];
        for atom in 0..atoms {
            let (b, c) = ((axis + 1) % 3, (axis + 2) % 3);
            turn[3 * atom + b] = -x[3 * atom + c];
            turn[3 * atom + c] = x[3 * atom + b];
            shift[3 * atom + axis] = 1.0;
        }
        for v in [&turn, &shift] {
            let square: f64 = v.iter().map(|v| v * v).sum();
            for (i, row) in hessian.iter_mut().enumerate() {
                row.iter_mut().zip(v).for_each(|(h, w)| *h += v[i] * w / square);
            }
        }
        log_inertia += 0.5 * turn.iter().map(|v| v * v).sum::<f64>().ln();
    }
    let mut log_determinant = 0.0;
    for k in 0..n {
        let pivot = hessian[k].clone();
        log_determinant += pivot[k].ln();
        for row in &mut hessian[k + 1..] {
            let factor = row[k] / pivot[k];
            row.iter_mut().zip(&pivot).for_each(|(h, p)| *h -= factor * p);
        }
    }
    let pi = std::f64::consts::PI;
    let modes = (n - 6) as f64;
    0.5 * modes * (2.0 * pi).ln() - 0.5 * log_determinant + (8.0 * pi * pi).ln() + log_inertia
}
