//! The whole flow: inverse, density, symmetries, gradients, batches and threads, in f64 and f32,
//! with both couplings mixed. Each check is shown to catch a planted error.

mod vector;

use boltzflow::engine::Real;
use boltzflow::flow::{Flow, FlowOptions, LayerGroup, PairwiseOptions, ProjectedOptions};
use boltzflow::random::{stream, Purpose};
use boltzflow::system::System;
use rand_distr::{Distribution, StandardNormal};

const HALF_LOG_TAU: f64 = 0.918_938_533_204_672_8;

fn normal(count: usize, seed: u64) -> Vec<f64> {
    StandardNormal.sample_iter(stream(seed, Purpose::Evaluation, 0, 0)).take(count).collect()
}

/// A flow of mixed layers with random parameters, in both precisions.
struct Case {
    system: System,
    exact: Flow<f64>,
    single: Flow<f32>,
    theta: Vec<f64>,
}

impl Case {
    fn new(particles: usize, dimension: usize) -> Self {
        Self::with_copies(particles, dimension, 1, &[LayerGroup::Vector])
    }

    /// M augmented copies, and a layer of each of these projections.
    fn with_copies(
        particles: usize,
        dimension: usize,
        augmented_copies: usize,
        projections: &[fn(ProjectedOptions) -> LayerGroup],
    ) -> Self {
        let pairwise =
            PairwiseOptions { repeat: 1, width: 6, basis: 5, cutoff: 4.0, ..Default::default() };
        let projected = ProjectedOptions {
            repeat: 1,
            bins: 4,
            range: 6.0,
            blocks: 1,
            features: 6,
            edge_hidden: vec![5, 5],
            node_hidden: vec![5],
            head_hidden: vec![5],
            ..ProjectedOptions::default()
        };
        let mut layers = vec![LayerGroup::Pairwise(pairwise)];
        layers.extend(projections.iter().map(|group| group(projected.clone())));
        layers.push(layers[0].clone());
        let options = FlowOptions {
            augmented_copies,
            base_scale: 1.2,
            augmentation_scale: 0.4,
            layers,
            ..FlowOptions::default()
        };
        let system = System::new(particles, dimension).unwrap();
        let exact = Flow::<f64>::new(system, &options).unwrap();
        let single = Flow::<f32>::new(system, &options).unwrap();
        // Both precisions are given the same numbers.
        let theta: Vec<f64> = exact.layout().initialize::<f64>(3);
        let theta = theta.iter().zip(normal(theta.len(), 11)).map(|(t, z)| t + 0.1 * z);
        let theta = theta.map(|t| f64::from(t as f32)).collect();
        Self { system, exact, single, theta }
    }

    fn theta_single(&self) -> Vec<f32> {
        self.theta.iter().map(|&t| t as f32).collect()
    }

    fn width(&self) -> usize {
        self.exact.width()
    }

    fn noise(&self, samples: usize) -> Vec<f64> {
        normal(samples * self.width(), 5)
    }

    fn sample(&self, noise: &[f64]) -> (Vec<f64>, Vec<f64>) {
        sample(&self.exact, &self.theta, noise)
    }

    fn log_prob(&self, joint: &[f64]) -> Vec<f64> {
        log_prob(&self.exact, &self.theta, joint)
    }

    /// log q and its gradient in the joint configurations.
    fn gradient(&self, joint: &[f64]) -> (Vec<f64>, Vec<f64>) {
        let mut log_q = vec![0.0; joint.len() / self.width()];
        let mut gradient = vec![0.0; joint.len()];
        self.exact.log_prob_and_gradient(&self.theta, joint, &mut log_q, &mut gradient);
        (log_q, gradient)
    }
}

fn cases() -> [Case; 3] {
    let all = [LayerGroup::Vector, LayerGroup::Cartesian, LayerGroup::Spherical];
    [Case::new(4, 2), Case::new(5, 3), Case::with_copies(4, 3, 3, &all)]
}

fn sample<T: Real>(flow: &Flow<T>, theta: &[T], noise: &[f64]) -> (Vec<f64>, Vec<f64>) {
    let mut joint = vec![0.0; noise.len()];
    let mut log_q = vec![0.0; noise.len() / flow.width()];
    flow.sample_and_log_prob(theta, noise, &mut joint, &mut log_q);
    (joint, log_q)
}

fn log_prob<T: Real>(flow: &Flow<T>, theta: &[T], joint: &[f64]) -> Vec<f64> {
    let mut log_q = vec![0.0; joint.len() / flow.width()];
    flow.log_prob(theta, joint, &mut log_q);
    log_q
}

fn largest_difference(a: &[f64], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len());
    assert!(a.iter().chain(b).all(|v| v.is_finite()));
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// Slopes at 0 of functions of h by the central stencil of fourth order, whose own error is far
/// under the bounds here although random splines bend sharply.
fn slopes(h: f64, at: impl Fn(f64) -> Vec<f64>) -> Vec<f64> {
    let (near, far) = ((at(h), at(-h)), (at(2.0 * h), at(-2.0 * h)));
    (0..near.0.len())
        .map(|k| (8.0 * (near.0[k] - near.1[k]) - (far.0[k] - far.1[k])) / (12.0 * h))
        .collect()
}

/// |got − want| against their size.
fn relative_error(got: f64, want: f64) -> f64 {
    (got - want).abs() / (1.0 + want.abs())
}

#[test]
fn a_drawn_sample_has_the_same_log_density_on_the_way_back() {
    for case in cases() {
        let noise = case.noise(40);
        let (joint, there) = case.sample(&noise);
        assert!(largest_difference(&there, &case.log_prob(&joint)) < 1e-9);
        for x in joint.chunks_exact(case.width()) {
            assert!(case
                .system
                .center_of_mass(&x[..case.system.coordinates()])
                .iter()
                .all(|m| m.abs() < 1e-12));
        }
        let theta = case.theta_single();
        let (joint, there) = sample(&case.single, &theta, &noise);
        let back = log_prob(&case.single, &theta, &joint);
        assert!(largest_difference(&there, &back) < 1e-3);
        // Planted: another augmentation scale on the way back.
        let mut other = case.theta.clone();
        other[1] += 1e-3;
        let (joint, there) = case.sample(&noise);
        let back = log_prob(&case.exact, &other, &joint);
        assert!(largest_difference(&there, &back) > 1e-4);
    }
}

/// Orthonormal basis of joint configurations whose copy 0 has zero centre of mass, a row a vector.
fn subspace_basis(system: System) -> Vec<Vec<f64>> {
    let (x, d) = (system.coordinates(), system.dimension());
    let unit = |k: usize| (0..2 * x).map(|i| f64::from(u8::from(i == k))).collect::<Vec<f64>>();
    let mut basis: Vec<Vec<f64>> = Vec::new();
    for k in (0..x - d).chain(x..2 * x) {
        let mut v = unit(k);
        system.remove_center_of_mass(&mut v[..x]);
        for b in &basis {
            let overlap = dot(&v, b);
            v.iter_mut().zip(b).for_each(|(v, b)| *v -= overlap * b);
        }
        let norm = dot(&v, &v).sqrt();
        basis.push(v.iter().map(|v| v / norm).collect());
    }
    basis
}

/// log |det| by Gaussian elimination with pivots.
fn log_abs_det(mut m: Vec<Vec<f64>>) -> f64 {
    let mut log_det = 0.0;
    for k in 0..m.len() {
        let pivot = (k..m.len()).max_by(|&i, &j| m[i][k].abs().total_cmp(&m[j][k].abs()));
        m.swap(k, pivot.unwrap());
        log_det += m[k][k].abs().ln();
        let row = m[k].clone();
        for below in &mut m[k + 1..] {
            let factor = below[k] / row[k];
            below.iter_mut().zip(&row).for_each(|(b, r)| *b -= factor * r);
        }
    }
    log_det
}

#[test]
fn log_density_is_that_of_the_noise_over_the_numerical_jacobian() {
    let case = Case::new(3, 2);
    let basis = subspace_basis(case.system);
    assert_eq!(basis.len(), 10);
    for seed in 0..4 {
        let coefficients = normal(basis.len(), 100 + seed);
        let mut noise = vec![0.0; case.width()];
        for (c, b) in coefficients.iter().zip(&basis) {
            noise.iter_mut().zip(b).for_each(|(n, b)| *n += c * b);
        }
        let step = 1e-5;
        let along = |b: &[f64], h: f64| {
            let moved: Vec<f64> = noise.iter().zip(b).map(|(n, b)| n + h * b).collect();
            case.sample(&moved).0
        };
        let jacobian: Vec<Vec<f64>> = basis
            .iter()
            .map(|b| {
                let (up, down) = (along(b, step), along(b, -step));
                let column: Vec<f64> =
                    up.iter().zip(&down).map(|(u, d)| (u - d) / (2.0 * step)).collect();
                basis.iter().map(|b| dot(b, &column)).collect()
            })
            .collect();
        let log_noise =
            -0.5 * dot(&coefficients, &coefficients) - basis.len() as f64 * HALF_LOG_TAU;
        let log_det = log_abs_det(jacobian);
        let log_q = case.sample(&noise).1[0];
        assert!((log_q - (log_noise - log_det)).abs() < 1e-7, "{log_q} {log_noise} {log_det}");
        // Planted: the other sign of the log-determinant.
        assert!((log_q - (log_noise + log_det)).abs() > 1e-2);
    }
}

#[test]
fn log_density_does_not_change_under_rotations_and_permutations() {
    for case in cases() {
        let (joint, log_q) = case.sample(&case.noise(17));
        let mut rng = stream(9, Purpose::Evaluation, 0, 0);
        let rotation = case.system.random_rotation(&mut rng);
        let mut permutation = case.system.random_permutation(&mut rng);
        permutation.swap(0, 1);
        let x = case.system.coordinates();
        // `copies` of the copies are turned and renumbered.
        let change = |copies: usize, rotate: bool, permute: bool| {
            let mut changed = joint.clone();
            for row in changed.chunks_exact_mut(case.width()) {
                for copy in row.chunks_exact_mut(x).take(copies) {
                    if rotate {
                        case.system.rotate(&rotation, copy);
                    }
                    if permute {
                        copy.copy_from_slice(&case.system.permute(&permutation, copy));
                    }
                }
            }
            largest_difference(&log_q, &case.log_prob(&changed))
        };
        for (rotate, permute) in [(true, false), (false, true), (true, true)] {
            assert!(change(case.exact.copies(), rotate, permute) < 1e-9);
            // Planted: x alone is changed.
            assert!(change(1, rotate, permute) > 0.1);
        }
    }
}

#[test]
fn gradient_in_the_inputs_is_the_slope_of_the_log_density() {
    for case in cases() {
        let samples = 17;
        let (joint, log_q) = case.sample(&case.noise(samples));
        let (again, gradient) = case.gradient(&joint);
        assert!(largest_difference(&again, &log_q) < 1e-9);
        for seed in 0..3 {
            let direction = normal(joint.len(), 20 + seed);
            let at = |h: f64| {
                let moved: Vec<f64> =
                    joint.iter().zip(&direction).map(|(z, v)| z + h * v).collect();
                case.log_prob(&moved)
            };
            let slopes = slopes(1e-6, at);
            for (s, &want) in slopes.iter().enumerate() {
                let row = s * case.width()..(s + 1) * case.width();
                let got = dot(&gradient[row.clone()], &direction[row]);
                assert!(relative_error(got, want) < 1e-6, "sample {s}: {got} against {want}");
            }
        }
        // Planted: a step so long that the slope is not that of the tangent.
        let moved: Vec<f64> = joint.iter().map(|z| z * 1.05).collect();
        let slope = (case.log_prob(&moved)[0] - log_q[0]) / 0.05;
        let row = 0..case.width();
        assert!(relative_error(dot(&gradient[row.clone()], &joint[row]), slope) > 1e-3);
    }
}

#[test]
fn gradients_in_the_parameters_are_slopes() {
    for case in cases() {
        let samples = 19;
        let noise = case.noise(samples);
        let (joint, _) = case.sample(&noise);
        let to_log_q = normal(samples, 31);
        let to_joint = normal(joint.len(), 32);

        let mut of_log_prob = vec![0.0; case.theta.len()];
        let mut log_q = vec![0.0; samples];
        let trajectory = case.exact.log_prob_recorded(&case.theta, &joint, &mut log_q);
        case.exact.log_prob_vjp(&case.theta, &trajectory, &to_log_q, &mut of_log_prob);

        let mut of_sample = vec![0.0; case.theta.len()];
        let mut drawn = vec![0.0; joint.len()];
        let trajectory = case.exact.sample_recorded(&case.theta, &noise, &mut drawn, &mut log_q);
        case.exact.sample_vjp(
            &case.theta,
            &noise,
            &trajectory,
            &to_joint,
            &to_log_q,
            &mut of_sample,
        );
        assert_eq!(drawn, joint);

        for seed in 0..6 {
            let direction = normal(case.theta.len(), 40 + seed);
            let at = |h: f64| {
                let theta: Vec<f64> =
                    case.theta.iter().zip(&direction).map(|(t, v)| t + h * v).collect();
                let log_q = log_prob(&case.exact, &theta, &joint);
                let (drawn, drawn_log_q) = sample(&case.exact, &theta, &noise);
                vec![
                    dot(&log_q, &to_log_q),
                    dot(&drawn, &to_joint) + dot(&drawn_log_q, &to_log_q),
                    dot(&drawn, &to_joint),
                ]
            };
            let slopes = slopes(1e-7, at);
            let got = [dot(&of_log_prob, &direction), dot(&of_sample, &direction)];
            assert!(relative_error(got[0], slopes[0]) < 1e-6, "{} {}", got[0], slopes[0]);
            assert!(relative_error(got[1], slopes[1]) < 1e-6, "{} {}", got[1], slopes[1]);
            // Planted: the part through log q is left out.
            assert!(relative_error(got[1], slopes[2]) > 1e-3);
        }
    }
}

#[test]
fn a_row_does_not_depend_on_the_batch_around_it() {
    for case in cases() {
        let width = case.width();
        let noise = case.noise(40);
        let single: Vec<(Vec<f64>, Vec<f64>)> =
            noise.chunks_exact(width).map(|row| case.sample(row)).collect();
        for samples in [1, 15, 16, 17, 40] {
            let (joint, log_q) = case.sample(&noise[..samples * width]);
            let (back, gradient) = case.gradient(&joint);
            for s in 0..samples {
                let row = &joint[s * width..(s + 1) * width];
                assert_eq!((row, log_q[s]), (&single[s].0[..], single[s].1[0]));
                let (alone, slope) = case.gradient(row);
                assert_eq!((alone[0], &slope[..]), (back[s], &gradient[s * width..][..width]));
                assert_eq!(case.log_prob(row)[0], back[s]);
            }
        }
        // Planted: rows differ from one another.
        assert_ne!(single[0], single[1]);
    }
}

#[test]
fn parameter_gradients_are_the_same_on_any_number_of_threads() {
    let case = Case::new(4, 2);
    let theta = case.theta_single();
    let samples = 600;
    let noise = case.noise(samples);
    let ones = vec![1.0; samples];
    let gradients = |threads: usize, noise: &[f64]| -> Vec<u32> {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let mut gradient = vec![0.0f32; theta.len()];
            let (mut joint, mut log_q) = (vec![0.0; noise.len()], vec![0.0; samples]);
            let trajectory = case.single.sample_recorded(&theta, noise, &mut joint, &mut log_q);
            case.single.sample_vjp(&theta, noise, &trajectory, &joint, &ones, &mut gradient);
            let trajectory = case.single.log_prob_recorded(&theta, &joint, &mut log_q);
            case.single.log_prob_vjp(&theta, &trajectory, &ones, &mut gradient);
            gradient.iter().map(|g| g.to_bits()).collect()
        })
    };
    let one = gradients(1, &noise);
    assert_eq!(one, gradients(2, &noise));
    assert_eq!(one, gradients(3, &noise));
    // Planted: the same samples summed in another order.
    let reversed: Vec<f64> = noise.chunks_exact(case.width()).rev().flatten().copied().collect();
    assert_ne!(one, gradients(1, &reversed));
}

#[test]
fn single_precision_agrees_with_double() {
    for case in cases() {
        let theta = case.theta_single();
        let noise = case.noise(40);
        let (joint, log_q) = case.sample(&noise);
        let (joint_single, log_q_single) = sample(&case.single, &theta, &noise);
        assert!(largest_difference(&joint, &joint_single) < 1e-4);
        assert!(largest_difference(&log_q, &log_q_single) < 5e-4);
        assert!(largest_difference(&log_q, &log_prob(&case.single, &theta, &joint)) < 5e-4);
        let (mut log_q_too, mut slope) = (log_q.clone(), vec![0.0; joint.len()]);
        case.single.log_prob_and_gradient(&theta, &joint, &mut log_q_too, &mut slope);
        let (_, exact) = case.gradient(&joint);
        let scale = dot(&exact, &exact).sqrt();
        let error = largest_difference(&exact, &slope) / scale;
        assert!(error < 1e-4, "{error}");
        // Planted: the last parameter differs in the third digit.
        let mut wrong = theta.clone();
        wrong[0] += 1e-3;
        assert!(largest_difference(&log_q, &log_prob(&case.single, &wrong, &joint)) > 1e-3);
    }
}
