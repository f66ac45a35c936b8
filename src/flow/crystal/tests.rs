//! The base density of a crystal in f64, as a flow by itself.

use rand_distr::{Distribution, StandardNormal};

use crate::crystal::Lattice;
use crate::flow::{BaseKind, BaseOptions, Displacements, Flow, FlowOptions, Skeleton};
use crate::random::{stream, Purpose};
use crate::system::System;

fn system() -> System {
    System::new(8, 3).unwrap().in_box(&[1.5, 1.5, 3.0]).unwrap()
}

fn normal(count: usize, number: u64) -> Vec<f64> {
    let mut rng = stream(6, Purpose::Data, number, 0);
    (0..count).map(|_| StandardNormal.sample(&mut rng)).collect()
}

/// Springs of random stiffness between all coordinates: positive definite but for translations.
fn stiffness() -> Vec<f64> {
    let (n, d) = (8, 3);
    let width = n * d;
    let mut k = vec![0.0; width * width];
    for (pair, [i, j]) in (0..n).flat_map(|i| (0..i).map(move |j| [i, j])).enumerate() {
        let axis = normal(3, pair as u64);
        for a in 0..d {
            for b in 0..d {
                let entry = 50.0 * axis[a] * axis[b];
                for (row, column, sign) in [(i, i, 1.0), (j, j, 1.0), (i, j, -1.0), (j, i, -1.0)] {
                    k[(row * d + a) * width + column * d + b] += sign * entry;
                }
            }
        }
    }
    k
}

fn flow_with(displacements: Displacements) -> Result<Flow<f64>, crate::Error> {
    let base = BaseOptions { kind: BaseKind::Crystal, displacements, ..BaseOptions::default() };
    let base_scale = if displacements == Displacements::Harmonic { 1.2 } else { 0.07 };
    let options = FlowOptions {
        base,
        base_scale,
        layers: Vec::new(),
        augmented_copies: 0,
        ..FlowOptions::default()
    };
    let (sites, stiffness) = (Lattice::Fcc.sites(system()).unwrap(), stiffness());
    let skeleton = Skeleton { bonds: &[], structure: &sites, stiffness: &stiffness };
    Flow::of_molecule(system(), &[], Some(skeleton), &options)
}

const BOTH: [Displacements; 2] = [Displacements::Harmonic, Displacements::Independent];

#[test]
fn samples_have_the_density_that_is_stated() {
    for displacements in BOTH {
        let flow = flow_with(displacements).unwrap();
        let theta = flow.layout().initialize::<f64>(0);
        let samples = 70;
        let noise = normal(samples * flow.width(), 100);
        let (mut joint, mut log_prob) = (vec![0.0; noise.len()], vec![0.0; samples]);
        flow.sample_and_log_prob(&theta, &noise, &mut joint, &mut log_prob);
        let mut again = vec![0.0; samples];
        flow.log_prob(&theta, &joint, &mut again);
        let largest = |again: &[f64]| {
            log_prob.iter().zip(again).fold(0.0f64, |most, (a, b)| most.max((a - b).abs()))
        };
        assert!(largest(&again) < 1e-9, "{}", largest(&again));
        // All of a crystal may be moved, and no particle of it.
        joint.iter_mut().for_each(|x| *x += 0.3);
        flow.log_prob(&theta, &joint, &mut again);
        assert!(largest(&again) < 1e-9, "{}", largest(&again));
        joint.iter_mut().step_by(flow.width()).for_each(|x| *x += 1e-3);
        flow.log_prob(&theta, &joint, &mut again);
        assert!(largest(&again) > 1e-4, "{}", largest(&again));
    }
}

/// On the subspace ∫ p = 1: p is the largest at the sites, (2π)^(−f/2) √det(K/σ²), and the exponent
/// has the mean f/2 with f degrees of freedom.
#[test]
fn the_density_is_normalised_and_drawn_from() {
    for displacements in BOTH {
        let flow = flow_with(displacements).unwrap();
        let theta = flow.layout().initialize::<f64>(0);
        let freedom = system().degrees_of_freedom();
        let sites = flow.crystal.as_ref().unwrap().sites().to_vec();
        let mut at_sites = [0.0];
        flow.log_prob(&theta, &sites, &mut at_sites);
        let sigma: f64 = if displacements == Displacements::Harmonic { 1.2 } else { 0.07 };
        let determinant = match displacements {
            Displacements::Harmonic => log_determinant(&stiffness()),
            Displacements::Independent => 0.0,
        };
        let expected = 0.5 * determinant
            - freedom as f64 * (sigma.ln() + 0.5 * (2.0 * std::f64::consts::PI).ln());
        assert!((at_sites[0] - expected).abs() < 1e-8, "{} {expected}", at_sites[0]);
        let samples = 4000;
        let noise = normal(samples * flow.width(), 101);
        let (mut joint, mut log_prob) = (vec![0.0; noise.len()], vec![0.0; samples]);
        flow.sample_and_log_prob(&theta, &noise, &mut joint, &mut log_prob);
        let mean = log_prob.iter().map(|p| at_sites[0] - p).sum::<f64>() / samples as f64;
        // The standard error is √(f/2N) = 0.05.
        assert!((mean - 0.5 * freedom as f64).abs() < 0.23, "{mean}");
    }
}

/// log det on the subspace, of all other coordinates less the last particle's: det of that minor is
/// the determinant on the subspace over n^d.
fn log_determinant(k: &[f64]) -> f64 {
    let (width, minor) = (24, 21);
    let mut a: Vec<Vec<f64>> =
        (0..minor).map(|i| k[i * width..i * width + minor].to_vec()).collect();
    let mut log_det = 0.0;
    for pivot in 0..minor {
        log_det += a[pivot][pivot].ln();
        for i in pivot + 1..minor {
            let factor = a[i][pivot] / a[pivot][pivot];
            let (above, below) = a.split_at_mut(i);
            let row = below[0].iter_mut().zip(&above[pivot]).skip(pivot);
            row.for_each(|(entry, pivot)| *entry -= factor * pivot);
        }
    }
    log_det + 3.0 * 8f64.ln()
}

#[test]
fn vector_jacobian_products_are_those_of_differences() {
    for displacements in BOTH {
        let flow = flow_with(displacements).unwrap();
        let theta = flow.layout().initialize::<f64>(0);
        let scale = flow.layout().tensors().iter().find(|t| t.name == "base.log_scale").unwrap();
        let (samples, width) = (5, flow.width());
        let noise = normal(samples * width, 102);
        let weights = normal(samples * width, 103);
        let of_log_prob = normal(samples, 104);
        // L = Σ w·x + Σ c log p of draws.
        let loss = |theta: &[f64]| {
            let (mut joint, mut log_prob) = (vec![0.0; noise.len()], vec![0.0; samples]);
            flow.sample_and_log_prob(theta, &noise, &mut joint, &mut log_prob);
            let of_x: f64 = joint.iter().zip(&weights).map(|(x, w)| x * w).sum();
            of_x + log_prob.iter().zip(&of_log_prob).map(|(p, c)| p * c).sum::<f64>()
        };
        let shifted = |by: f64| {
            let mut theta = theta.clone();
            theta[scale.offset] += by;
            theta
        };
        let slope = |f: &dyn Fn(f64) -> f64| (f(1e-5) - f(-1e-5)) / 2e-5;
        let (mut joint, mut log_prob) = (vec![0.0; noise.len()], vec![0.0; samples]);
        let trajectory = flow.sample_recorded(&theta, &noise, &mut joint, &mut log_prob);
        let mut gradient = vec![0.0; theta.len()];
        flow.sample_vjp(&theta, &noise, &trajectory, &weights, &of_log_prob, &mut gradient);
        let expected = slope(&|by| loss(&shifted(by)));
        let found = gradient[scale.offset];
        assert!((found - expected).abs() < 1e-6 * expected.abs().max(1.0), "{found} {expected}");
        // log p of given configurations, off the subspace.
        joint.iter_mut().zip(&weights).for_each(|(x, w)| *x += 0.01 * w);
        let total = |theta: &[f64], joint: &[f64]| {
            let mut log_prob = vec![0.0; samples];
            flow.log_prob(theta, joint, &mut log_prob);
            log_prob.iter().zip(&of_log_prob).map(|(p, c)| p * c).sum::<f64>()
        };
        let trajectory = flow.log_prob_recorded(&theta, &joint, &mut log_prob);
        gradient.fill(0.0);
        flow.log_prob_vjp(&theta, &trajectory, &of_log_prob, &mut gradient);
        let expected = slope(&|by| total(&shifted(by), &joint));
        let found = gradient[scale.offset];
        assert!((found - expected).abs() < 1e-6 * expected.abs().max(1.0), "{found} {expected}");
        let mut in_x = vec![0.0; joint.len()];
        flow.log_prob_and_gradient(&theta, &joint, &mut log_prob, &mut in_x);
        for place in [0, 7, width + 3, 4 * width + 11] {
            let expected = slope(&|by| {
                let mut moved = joint.clone();
                moved[place] += by;
                total(&theta, &moved)
            });
            let found = of_log_prob[place / width] * in_x[place];
            assert!(
                (found - expected).abs() < 1e-5 * expected.abs().max(1.0),
                "{found} {expected}"
            );
            // Half of it is not it.
            assert!((0.5 * found - expected).abs() > 1e-3);
        }
    }
}

#[test]
fn sites_that_are_no_minimum_are_refused() {
    let options = FlowOptions {
        base: BaseOptions { kind: BaseKind::Crystal, ..BaseOptions::default() },
        layers: Vec::new(),
        augmented_copies: 0,
        ..FlowOptions::default()
    };
    let sites = Lattice::Fcc.sites(system()).unwrap();
    let held = stiffness();
    let skeleton = |stiffness| Skeleton { bonds: &[], structure: &sites, stiffness };
    assert!(Flow::<f64>::of_molecule(system(), &[], Some(skeleton(&held)), &options).is_ok());
    // One particle is pushed from its site.
    let mut stiffness = held.clone();
    for k in 0..3 {
        stiffness[k * 25] -= 2000.0;
    }
    for (stiffness, system, hint) in [
        (&stiffness[..], system(), "no minimum"),
        (&[][..], system(), "no minimum"),
        (&stiffness[..], System::new(8, 3).unwrap(), "no periodic box"),
        (&held[..], System::new(9, 3).unwrap().in_box(&[2.0; 3]).unwrap(), "8 sites for 9"),
    ] {
        let flow = Flow::<f64>::of_molecule(system, &[], Some(skeleton(stiffness)), &options);
        let message = flow.err().unwrap().to_string();
        assert!(message.contains(hint), "{message}");
    }
    let flow = Flow::<f64>::new(system(), &FlowOptions::default());
    assert!(flow.err().unwrap().to_string().contains("must be \"crystal\""));
}
