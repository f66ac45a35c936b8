//! Gradients without bias: FAB's estimator in one dimension, and both of reverse KL's.

use boltzflow::sampling::LogDensity;

use super::*;

// ------------------------------------------------------- the gradient of ∫ p²/q, in one dimension

/// A normal density with parameters (mean, log scale).
#[derive(Clone, Copy)]
struct Normal {
    mean: f64,
    log_scale: f64,
}

impl Normal {
    fn log_density(&self, x: f64) -> f64 {
        let z = (x - self.mean) * (-self.log_scale).exp();
        -0.5 * z * z - self.log_scale - 0.5 * std::f64::consts::TAU.ln()
    }

    /// ∇ log q in (mean, log scale).
    fn score(&self, x: f64) -> [f64; 2] {
        let z = (x - self.mean) * (-self.log_scale).exp();
        [z * (-self.log_scale).exp(), z * z - 1.0]
    }
}

const TARGET: Normal = Normal { mean: 0.5, log_scale: -0.35 };
const OLD: Normal = Normal { mean: 0.0, log_scale: 0.2 };
const MOVED: Normal = Normal { mean: 0.3, log_scale: 0.05 };

/// ∇_θ ∫ p²/q_θ over ∫ p²/q_old, by central differences of sums over a grid.
fn exact_gradient(theta: Normal, old: Normal) -> [f64; 2] {
    let integral = |q: Normal| -> f64 {
        (-4000..4000)
            .map(|k| f64::from(k) * 0.0025)
            .map(|x| (2.0 * TARGET.log_density(x) - q.log_density(x)).exp() * 0.0025)
            .sum()
    };
    let h = 1e-4;
    let slope = |change: fn(&mut Normal, f64)| {
        let at = |h: f64| {
            let mut q = theta;
            change(&mut q, h);
            integral(q)
        };
        (at(h) - at(-h)) / (2.0 * h) / integral(old)
    };
    [slope(|q, h| q.mean += h), slope(|q, h| q.log_scale += h)]
}

/// FAB's estimator minus the exact gradient, a row for every fresh buffer: samples of q_old with
/// weights p²/q², drawn by weight, −mean(w_adj ∇ log q_θ). With `refresh` the buffer gets θ
/// before the draw. `sign` plants an error.
fn fab_errors(theta: Normal, refresh: bool, sign: f64) -> Vec<Vec<f64>> {
    let trainer = fab(1, 0.0);
    let exact = exact_gradient(theta, if refresh { theta } else { OLD });
    (0..300)
        .map(|replicate| {
            let mut rng = stream(17, Purpose::Buffer, replicate, 0);
            let samples = 3000;
            let noise: Vec<f64> = StandardNormal.sample_iter(&mut rng).take(samples).collect();
            let x: Vec<f64> = noise.iter().map(|z| OLD.mean + OLD.log_scale.exp() * z).collect();
            let log_q: Vec<f64> = x.iter().map(|&x| OLD.log_density(x)).collect();
            let log_w: Vec<f64> =
                x.iter().zip(&log_q).map(|(&x, q)| 2.0 * (TARGET.log_density(x) - q)).collect();
            let mut buffer = ReplayBuffer::new(1, samples);
            buffer.push(&x, &log_w, &log_q);
            let adjustment = |buffer: &ReplayBuffer, index: usize| {
                let new = theta.log_density(buffer.joint(index)[0]);
                (new, sign * trainer.log_adjustment(new, buffer.log_q(index)))
            };
            if refresh {
                for index in 0..buffer.len() {
                    let (new, log_factor) = adjustment(&buffer, index);
                    buffer.adjust(index, log_factor, new);
                }
            }
            // Few of many: draws without replacement are then as good as independent.
            let chosen = buffer.draw(50, &mut rng);
            let mut row = exact.map(|g| -g).to_vec();
            for &index in &chosen {
                let weight = adjustment(&buffer, index).1.exp();
                let score = theta.score(buffer.joint(index)[0]);
                for (total, s) in row.iter_mut().zip(score) {
                    *total -= weight * s / chosen.len() as f64;
                }
            }
            row
        })
        .collect()
}

#[test]
fn fab_estimates_the_gradient_of_the_alpha_2_divergence() {
    assert!(worst_deviation(&fab_errors(OLD, false, 1.0)) < 4.5);
    assert!(worst_deviation(&fab_errors(MOVED, false, 1.0)) < 4.5);
    assert!(worst_deviation(&fab_errors(MOVED, true, 1.0)) < 4.5);
    // Planted: the adjustment of the weights with the wrong sign.
    assert!(worst_deviation(&fab_errors(MOVED, false, -1.0)) > 9.0);
    assert!(worst_deviation(&fab_errors(MOVED, true, -1.0)) > 9.0);
}

// ------------------------------------------------------------------------- reverse KL's gradients

/// The first gradient of `estimator`, for each of `seeds` with other random numbers, at parameters
/// off the identity.
fn first_gradients(
    estimator: Estimator,
    potential: fn() -> Harmonic,
    push: f32,
    seeds: std::ops::Range<u64>,
) -> Vec<Vec<f64>> {
    let trainer = reverse_kl(estimator, 64, 0.0);
    let pushes: Vec<f32> =
        StandardNormal.sample_iter(stream(2, Purpose::Evaluation, 0, 0)).take(100_000).collect();
    seeds
        .map(|seed| {
            let problem = problem(potential(), seed);
            let mut state = trainer.start(&problem);
            // The same parameters, whatever the seed.
            state.theta = problem.flow.layout().initialize::<f32>(1);
            for (t, z) in state.theta.iter_mut().zip(&pushes) {
                *t += push * z;
            }
            trainer.step(&problem, &mut state).unwrap();
            // Adam's first moment after one step is a tenth of the gradient.
            state.optimizer.mean.iter().map(|m| 10.0 * f64::from(*m)).collect()
        })
        .collect()
}

/// Random combinations of the differences of two sets of gradients.
fn combinations(a: &[Vec<f64>], b: &[Vec<f64>]) -> Vec<Vec<f64>> {
    let directions: Vec<Vec<f64>> = (0..8)
        .map(|k| {
            StandardNormal
                .sample_iter(stream(3, Purpose::Evaluation, k, 0))
                .take(a[0].len())
                .collect()
        })
        .collect();
    a.iter()
        .zip(b)
        .map(|(a, b)| {
            directions
                .iter()
                .map(|v| v.iter().zip(a.iter().zip(b)).map(|(v, (a, b))| v * (a - b)).sum())
                .collect()
        })
        .collect()
}

#[test]
fn path_and_total_gradients_have_the_same_mean() {
    let stiff = || harmonic(0.9);
    let path = first_gradients(Estimator::Path, stiff, 0.1, 0..80);
    let total = first_gradients(Estimator::Total, stiff, 0.1, 0..80);
    assert!(worst_deviation(&combinations(&path, &total)) < 4.5);
    // Planted: one of them for another temperature.
    let wrong = first_gradients(Estimator::Path, || harmonic(1.0), 0.1, 0..80);
    assert!(worst_deviation(&combinations(&wrong, &total)) > 9.0);
}

#[test]
fn the_gradient_in_the_base_scale_is_the_exact_one_and_path_has_no_variance_at_the_optimum() {
    // KL(N(0, σ²) ‖ N(0, s²)) over 4 dimensions: ∂/∂ log σ = 4 (σ²/s² − 1).
    let exact = 4.0 * ((BASE_SCALE / 0.9f64).powi(2) - 1.0);
    for estimator in [Estimator::Path, Estimator::Total] {
        let deviation = |exact: f64| {
            let rows = first_gradients(estimator, || harmonic(0.9), 0.0, 0..80);
            worst_deviation(&rows.iter().map(|g| vec![g[0] - exact]).collect::<Vec<_>>())
        };
        assert!(deviation(exact) < 4.5);
        assert!(deviation(0.8 * exact) > 9.0);
    }
    let at_optimum = first_gradients(Estimator::Path, || harmonic(BASE_SCALE), 0.0, 0..2);
    assert!(at_optimum.iter().flatten().all(|g| g.abs() < 1e-4));
    let total = first_gradients(Estimator::Total, || harmonic(BASE_SCALE), 0.0, 0..2);
    assert!(total.iter().flatten().any(|g| g.abs() > 1e-2));
}

/// ∂/∂θ Σ c · (x, log q) of reverse KL's first step, with c from the gradients of log p and log q,
/// without a tape.
fn by_coefficients(
    problem: &Problem,
    theta: &[f32],
    batch: usize,
    estimator: Estimator,
) -> Vec<f32> {
    let (flow, width) = (&problem.flow, problem.flow.width());
    let noise: Vec<f64> = (0..batch as u64)
        .flat_map(|sample| {
            let rng = stream(problem.seed, Purpose::Training, 0, sample);
            StandardNormal.sample_iter(rng).take(width).collect::<Vec<f64>>()
        })
        .collect();
    let (mut joint, mut log_density) = (noise.clone(), vec![0.0; batch]);
    let trajectory = flow.sample_recorded(theta, &noise, &mut joint, &mut log_density);
    joint.iter_mut().for_each(|x| *x = f64::from(*x as f32));
    let (mut to_p, mut to_q) = (joint.clone(), joint.clone());
    problem.target.log_density_and_gradient(&joint, &mut log_density, &mut to_p).unwrap();
    flow.log_prob_and_gradient(theta, &joint, &mut log_density, &mut to_q);
    let path = estimator == Estimator::Path;
    let slope = |(p, q): (&f64, &f64)| (if path { q - p } else { -p }) / batch as f64;
    let to_joint: Vec<f64> = to_p.iter().zip(&to_q).map(slope).collect();
    let to_log_q = vec![if path { 0.0 } else { 1.0 / batch as f64 }; batch];
    let mut gradient = vec![0.0; theta.len()];
    flow.sample_vjp(theta, &noise, &trajectory, &to_joint, &to_log_q, &mut gradient);
    gradient
}

#[test]
fn the_gradient_of_reverse_kl_on_the_tape_is_that_of_its_coefficients() {
    let (batch, problem) = (37, problem(wells(), 3));
    let pushes = StandardNormal.sample_iter(stream(2, Purpose::Evaluation, 1, 0));
    let mut theta = problem.flow.layout().initialize::<f32>(1);
    theta.iter_mut().zip(pushes).for_each(|(t, z): (_, f32)| *t += 0.1 * z);
    for (estimator, other) in
        [(Estimator::Path, Estimator::Total), (Estimator::Total, Estimator::Path)]
    {
        let trainer = reverse_kl(estimator, batch, 0.0);
        let mut state = trainer.start(&problem);
        state.theta.clone_from(&theta);
        trainer.step(&problem, &mut state).unwrap();
        // Adam's first moment after one step is a tenth of the gradient, as f32 rounds a tenth.
        let tenth = f64::from(1.0 - 0.9f32);
        let found = || state.optimizer.mean.iter().map(|m| f64::from(*m) / tenth);
        let distance = |estimator| {
            let wanted = by_coefficients(&problem, &theta, batch, estimator);
            let wanted = || wanted.iter().map(|g| f64::from(*g));
            let off: f64 = found().zip(wanted()).map(|(a, b)| (a - b).powi(2)).sum();
            (off / wanted().map(|g| g * g).sum::<f64>()).sqrt()
        };
        let right = distance(estimator);
        assert!(right < 1e-6, "{estimator:?}: {right}");
        // Planted: the other estimator.
        let wrong = distance(other);
        assert!(wrong > 1e-2, "{estimator:?}: {wrong}");
    }
}
