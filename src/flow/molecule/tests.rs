//! Inverse, log-determinant and every vector-Jacobian product of the base density of a molecule.

use rand::Rng;
use rand_distr::{Distribution, StandardNormal};

use super::*;
use crate::flow::{Flow, FlowOptions, LayerGroup, PairwiseOptions};
use crate::random::{stream, Purpose};
use crate::system::System;

/// A chiral centre with a methyl and a ring of four beside it.
const BONDS: [[usize; 2]; 12] = [
    [0, 1],
    [0, 2],
    [0, 3],
    [0, 4],
    [1, 5],
    [1, 6],
    [1, 7],
    [2, 8],
    [8, 9],
    [9, 10],
    [10, 11],
    [11, 8],
];
const SPECIES: [usize; 12] = [0, 1, 2, 3, 4, 5, 5, 5, 6, 7, 8, 9];

fn structure() -> Vec<f64> {
    let mut rng = stream(1, Purpose::Data, 0, 0);
    let mut x = vec![0.0; 36];
    let at =
        |x: &mut Vec<f64>, atom: usize, p: [f64; 3]| x[3 * atom..3 * atom + 3].copy_from_slice(&p);
    at(&mut x, 1, [1.0, 0.9, 0.8]);
    at(&mut x, 2, [-0.9, -0.8, 1.0]);
    at(&mut x, 3, [-0.8, 0.7, -0.9]);
    at(&mut x, 4, [0.9, -0.7, -0.8]);
    at(&mut x, 5, [2.0, 0.8, 0.7]);
    at(&mut x, 6, [0.8, 2.0, 0.9]);
    at(&mut x, 7, [0.9, 0.7, 1.9]);
    at(&mut x, 8, [-1.0, -2.0, 1.7]);
    at(&mut x, 9, [-0.25, -2.6, 2.16]);
    at(&mut x, 10, [-1.1, -3.2, 2.4]);
    at(&mut x, 11, [-1.85, -2.6, 1.94]);
    x.iter_mut().for_each(|x| *x += 0.05 * rng.gen::<f64>());
    x
}

fn flow_with(layers: usize, pairwise: bool) -> Flow<f64> {
    let base = BaseOptions {
        kind: crate::flow::BaseKind::Molecule,
        layers,
        width: 5,
        // Splines and affine maps, or these alone.
        bins: if pairwise { 1 } else { 3 },
        torsion_bins: 4,
        ..BaseOptions::default()
    };
    let pair = PairwiseOptions { repeat: 1, width: 4, basis: 3, ..PairwiseOptions::default() };
    let layers = if pairwise { vec![LayerGroup::Pairwise(pair)] } else { Vec::new() };
    let copies = usize::from(pairwise);
    let options = FlowOptions { base, layers, augmented_copies: copies, ..FlowOptions::default() };
    let structure = structure();
    let skeleton = Skeleton { bonds: &BONDS, structure: &structure, stiffness: &[] };
    let system = System::new(12, 3).unwrap();
    Flow::of_molecule(system, &SPECIES, Some(skeleton), &options).unwrap()
}

/// Parameters that are not those of the start; fitted ones move little.
fn parameters(flow: &Flow<f64>) -> Vec<f64> {
    let mut rng = stream(2, Purpose::Data, 0, 0);
    let mut theta = flow.layout().initialize::<f64>(3);
    for tensor in flow.layout().tensors() {
        for (k, value) in theta[tensor.offset..tensor.offset + tensor.len()].iter_mut().enumerate()
        {
            let normal: f64 = StandardNormal.sample(&mut rng);
            let upper =
                tensor.name.ends_with("factor") && k % tensor.shape[1] > k / tensor.shape[1];
            *value += match (tensor.fitted, upper) {
                (true, true) => 0.0,
                (true, false) => 0.01 * normal,
                _ => 0.1 * normal,
            };
        }
    }
    theta
}

fn noise(flow: &Flow<f64>, samples: usize) -> Vec<f64> {
    let mut rng = stream(4, Purpose::Data, 0, 0);
    (0..samples * flow.width()).map(|_| StandardNormal.sample(&mut rng)).collect()
}

fn drawn(flow: &Flow<f64>, theta: &[f64], noise: &[f64]) -> (Vec<f64>, Vec<f64>) {
    let samples = noise.len() / flow.width();
    let (mut joint, mut log_prob) = (vec![0.0; noise.len()], vec![0.0; samples]);
    flow.sample_and_log_prob(theta, noise, &mut joint, &mut log_prob);
    (joint, log_prob)
}

#[test]
fn samples_have_the_density_that_is_stated() {
    for (layers, pairwise) in [(0, false), (4, false), (3, true)] {
        let flow = flow_with(layers, pairwise);
        let theta = parameters(&flow);
        let (joint, log_prob) = drawn(&flow, &theta, &noise(&flow, 40));
        let mut again = vec![0.0; log_prob.len()];
        flow.log_prob(&theta, &joint, &mut again);
        for (a, b) in log_prob.iter().zip(&again) {
            assert!((a - b).abs() < 1e-7, "{layers} {pairwise}: {a} {b}");
        }
        // Rotated, mirrored, with hydrogens exchanged, or moved, it is the same.
        let mut other = joint.clone();
        let system = flow.system();
        let mut rng = stream(5, Purpose::Data, 0, 0);
        for row in other.chunks_exact_mut(flow.width()) {
            system.rotate(&system.random_rotation(&mut rng), row);
            row.iter_mut().for_each(|x| *x = 1.0 - *x);
            for copy in row.chunks_exact_mut(36) {
                (0..3).for_each(|axis| copy.swap(15 + axis, 18 + axis));
            }
        }
        flow.log_prob(&theta, &other, &mut again);
        for (a, b) in log_prob.iter().zip(&again) {
            assert!((a - b).abs() < 1e-7, "{layers} {pairwise}: {a} {b}");
        }
        // A planted move of one atom is seen.
        other.iter_mut().skip(10).step_by(flow.width()).for_each(|x| *x += 1e-4);
        flow.log_prob(&theta, &other, &mut again);
        assert!(log_prob.iter().zip(&again).any(|(a, b)| (a - b).abs() > 1e-5));
        // Both sides of the mirror and both orders of hydrogens are drawn.
        let volume = |x: &[f64], four| crate::molecule::signed_volume(x, four) > 0.0;
        for four in [[1, 2, 3, 4], [0, 5, 6, 7]] {
            let positive = joint.chunks_exact(flow.width()).filter(|x| volume(x, four)).count();
            assert!((8..33).contains(&positive), "{positive} of 40");
        }
    }
}

/// ∫ p over a box around one configuration, by its own draws, is 1 to first order: the density is
/// that of the change of variables, with a Jacobian by finite differences.
#[test]
fn the_density_is_that_of_the_change_of_variables() {
    let flow = flow_with(3, false);
    let theta = parameters(&flow);
    let start = noise(&flow, 1);
    let (_, log_prob) = drawn(&flow, &theta, &start);
    // From 36 normal numbers to 33 internal coordinates and an orientation: distances of all atoms
    // from four of them tell internal coordinates; here the Jacobian of the whole is taken, on the
    // subspace without centre of mass and with rotations by infinitesimal generators.
    let width = flow.width();
    let internal = width - 6;
    let step = 1e-5;
    let mut columns: Vec<Vec<f64>> = Vec::new();
    let (x, _) = drawn(&flow, &theta, &start);
    for k in 0..internal {
        let at = |by: f64| {
            let mut noise = start.clone();
            noise[k] += by;
            drawn(&flow, &theta, &noise).0
        };
        let (up, down) = (at(step), at(-step));
        columns.push(up.iter().zip(&down).map(|(a, b)| (a - b) / (2.0 * step)).collect());
    }
    for axis in 0..3 {
        let (i, j) = ((axis + 1) % 3, (axis + 2) % 3);
        let mut column = vec![0.0; width];
        for atom in 0..12 {
            column[3 * atom + i] = -x[3 * atom + j];
            column[3 * atom + j] = x[3 * atom + i];
        }
        columns.push(column);
    }
    // √det(JᵀJ) by Gram and Schmidt.
    let mut log_volume = 0.0;
    for k in 0..columns.len() {
        let (done, rest) = columns.split_at_mut(k);
        for _ in 0..2 {
            for other in done.iter() {
                let dot: f64 = other.iter().zip(&rest[0]).map(|(a, b)| a * b).sum();
                rest[0].iter_mut().zip(other).for_each(|(a, b)| *a -= dot * b);
            }
        }
        let norm = rest[0].iter().map(|a| a * a).sum::<f64>().sqrt();
        log_volume += norm.ln();
        rest[0].iter_mut().for_each(|a| *a /= norm);
    }
    // Density of the noise, 8π² orientations, two sides of the mirror, two orders of hydrogens.
    let normal: f64 = start[..internal].iter().map(|z| -0.5 * z * z - HALF_LOG_TAU).sum();
    let want = normal - log_volume - (8.0 * PI * PI).ln() - 2.0 * 2f64.ln();
    assert!((want - log_prob[0]).abs() < 1e-4, "{want} {}", log_prob[0]);
}

#[test]
fn gradients_are_those_of_finite_differences() {
    for pairwise in [false, true] {
        let flow = flow_with(3, pairwise);
        let theta = parameters(&flow);
        let noise = noise(&flow, 20);
        let (joint, _) = drawn(&flow, &theta, &noise);
        let mut rng = stream(7, Purpose::Data, 0, 0);
        let mut normal = |_| -> f64 { StandardNormal.sample(&mut rng) };
        let to_joint: Vec<f64> = (0..joint.len()).map(&mut normal).collect();
        let to_log_prob: Vec<f64> = (0..20).map(&mut normal).collect();
        let sum = |values: &[f64], weights: &[f64]| -> f64 {
            values.iter().zip(weights).map(|(v, w)| v * w).sum()
        };
        // Of log q at fixed configurations.
        let mut log_prob = vec![0.0; 20];
        let trajectory = flow.log_prob_recorded(&theta, &joint, &mut log_prob);
        let mut gradient = vec![0.0; theta.len()];
        flow.log_prob_vjp(&theta, &trajectory, &to_log_prob, &mut gradient);
        // Of draws with fixed noise.
        let mut draws = vec![0.0; joint.len()];
        let trajectory = flow.sample_recorded(&theta, &noise, &mut draws, &mut log_prob);
        let mut of_draws = vec![0.0; theta.len()];
        let given = (&to_joint, &to_log_prob);
        flow.sample_vjp(&theta, &noise, &trajectory, given.0, given.1, &mut of_draws);
        let mut checked = 0;
        let ours = |name: &str| name.starts_with("base.molecule") || name.starts_with("base.layer");
        let tensors = flow.layout().tensors().iter().filter(|t| !t.fitted && ours(&t.name));
        for tensor in tensors {
            for entry in (0..tensor.len()).step_by(tensor.len() / 3 + 1) {
                let k = tensor.offset + entry;
                let at = |by: f64| {
                    let mut theta = theta.clone();
                    theta[k] += by;
                    let mut log_prob = vec![0.0; 20];
                    flow.log_prob(&theta, &joint, &mut log_prob);
                    let first = sum(&log_prob, &to_log_prob);
                    let (x, log_prob) = drawn(&flow, &theta, &noise);
                    [first, sum(&x, &to_joint) + sum(&log_prob, &to_log_prob)]
                };
                let h = 1e-4;
                let values = [at(2.0 * h), at(h), at(-h), at(-2.0 * h)];
                for (which, got) in [gradient[k], of_draws[k]].into_iter().enumerate() {
                    let [a, b, c, d] = values.map(|v| v[which]);
                    let want = (8.0 * (b - c) - (a - d)) / (12.0 * h);
                    let close = |got: f64| (got - want).abs() < 2e-5 * (10.0 + want.abs());
                    assert!(close(got), "{} {entry} {which}: {got} {want}", tensor.name);
                    assert!(!close(got + 0.01 * (1.0 + want.abs())), "planted");
                }
                checked += 1;
            }
        }
        assert!(checked > 20);
        // Of log q in the configuration.
        let mut of_x = vec![0.0; joint.len()];
        flow.log_prob_and_gradient(&theta, &joint, &mut log_prob, &mut of_x);
        for k in 0..flow.width() {
            let at = |by: f64| {
                let mut joint = joint.clone();
                joint[k] += by;
                let mut log_prob = vec![0.0; 20];
                flow.log_prob(&theta, &joint, &mut log_prob);
                log_prob[0]
            };
            let h = 1e-5;
            let want = (8.0 * (at(h) - at(-h)) - (at(2.0 * h) - at(-2.0 * h))) / (12.0 * h);
            let got = of_x[k];
            assert!((got - want).abs() < 1e-4 * (10.0 + want.abs()), "x {k}: {got} {want}");
        }
    }
}

/// Three atoms have no angle that turns: there is nothing to regress on, and still a fit.
#[test]
fn a_fit_is_done_once() {
    let structure = [0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0, 0.0];
    let bonds = [[0, 1], [0, 2]];
    let mut options = FlowOptions { layers: Vec::new(), augmented_copies: 0, ..Default::default() };
    options.base.kind = crate::flow::BaseKind::Molecule;
    let skeleton = Skeleton { bonds: &bonds, structure: &structure, stiffness: &[] };
    let system = System::new(3, 3).unwrap();
    let flow = Flow::<f64>::of_molecule(system, &[], Some(skeleton), &options).unwrap();
    let mut theta = flow.layout().initialize::<f64>(0);
    assert!(flow.needs_fit(&theta));
    let (x, _) = drawn(&flow, &theta, &noise(&flow, 100));
    flow.fit(&mut theta, &x);
    assert!(!flow.needs_fit(&theta));
    // A flow without such a density needs none.
    let plain = Flow::<f64>::new(system, &FlowOptions::default()).unwrap();
    assert!(!plain.needs_fit(&plain.layout().initialize::<f64>(0)));
}

#[test]
fn a_fit_makes_the_samples_likelier() {
    let flow = flow_with(2, false);
    // Samples of another flow: the same layout without layers, other parameters.
    let other = flow_with(0, false);
    let truth = parameters(&other);
    let mut rng = stream(9, Purpose::Data, 0, 0);
    let noise: Vec<f64> = (0..4000 * 36).map(|_| StandardNormal.sample(&mut rng)).collect();
    let (x, log_prob) = drawn(&other, &truth, &noise);
    let mut theta = flow.layout().initialize::<f64>(0);
    let mean_of = |theta: &[f64]| {
        let mut log_prob = vec![0.0; 4000];
        flow.log_prob(theta, &x, &mut log_prob);
        log_prob.iter().sum::<f64>() / 4000.0
    };
    let before = mean_of(&theta);
    assert!(flow.needs_fit(&theta));
    flow.fit(&mut theta, &x);
    assert!(!flow.needs_fit(&theta));
    let (after, best) = (mean_of(&theta), log_prob.iter().sum::<f64>() / 4000.0);
    assert!(after > best - 1.0 && before < best - 3.0, "{before} {after} {best}");
}
