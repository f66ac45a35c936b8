//! Chains keep their density, annealed weights have the right mean, and neither depends on threads.

mod reference;
mod round_trip;

use std::f64::consts::PI;
use std::sync::Arc;

use boltzflow::diagnostics::{
    effective_sample_size, integrated_autocorrelation_time, log_z_and_error,
};
use boltzflow::potential::{EvaluationError, Potential, WithStructures};
use boltzflow::random::{stream, Purpose};
use boltzflow::sampling::*;
use boltzflow::system::System;
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};

// ---------------------------------------------------------------------------------------------
// An asymmetric density: two particles in the plane, one copy. y = (x₁ − x₂)/√2 has a lopsided
// mixture of Gaussians, uncentred and of different widths.

const MIXTURE: [(f64, [f64; 2], f64); 2] = [(0.7, [-1.0, 0.5], 0.5), (0.3, [1.0, 1.0], 1.0)];

struct Lopsided;

impl Lopsided {
    fn value(z: &[f64], gradient: &mut [f64]) -> f64 {
        let y = [(z[0] - z[2]) / 2f64.sqrt(), (z[1] - z[3]) / 2f64.sqrt()];
        let (mut density, mut slope) = (0.0, [0.0; 2]);
        for (weight, mean, width) in MIXTURE {
            let u = [(y[0] - mean[0]) / width, (y[1] - mean[1]) / width];
            let term =
                weight * (-0.5 * (u[0] * u[0] + u[1] * u[1])).exp() / (2.0 * PI * width * width);
            density += term;
            for i in 0..2 {
                slope[i] -= term * u[i] / width;
            }
        }
        for i in 0..2 {
            gradient[i] = slope[i] / density / 2f64.sqrt();
            gradient[2 + i] = -gradient[i];
        }
        density.ln()
    }

    fn draw(rng: &mut ChaCha8Rng) -> [f64; 4] {
        let (_, mean, width) = MIXTURE[usize::from(rng.gen::<f64>() > MIXTURE[0].0)];
        let y = mean.map(|m| {
            let noise: f64 = StandardNormal.sample(rng);
            (m + width * noise) / 2f64.sqrt()
        });
        [y[0], y[1], -y[0], -y[1]]
    }
}

impl LogDensity for Lopsided {
    fn width(&self) -> usize {
        4
    }
    fn log_density_and_gradient(
        &self,
        z: &[f64],
        log_density: &mut [f64],
        gradient: &mut [f64],
    ) -> Result<usize, EvaluationError> {
        for ((z, g), l) in z.chunks(4).zip(gradient.chunks_mut(4)).zip(log_density) {
            *l = Self::value(z, g);
        }
        Ok(0)
    }
}

/// The largest deviation, in standard errors, of what chains started in the density should keep:
/// means, second moments, the share of each side, and the centre of mass.
fn deviation(before: &[f64], after: &[f64]) -> f64 {
    let statistics = |z: &[f64]| {
        let y = [(z[0] - z[2]) / 2f64.sqrt(), (z[1] - z[3]) / 2f64.sqrt()];
        let inside = |condition: bool| f64::from(u8::from(condition));
        [
            y[0],
            y[1],
            y[0] * y[0],
            y[0] * y[1],
            y[1] * y[1],
            y[0] * y[0] * y[0],
            inside(y[0] > 0.0),
            inside(y[0] < -1.5),
            inside(y[1] > 1.5),
            inside((z[0] + z[2]).abs() + (z[1] + z[3]).abs() > 1e-9),
        ]
    };
    let n = (before.len() / 4) as f64;
    (0..10)
        .map(|s| {
            let values = |z: &[f64]| z.chunks(4).map(|z| statistics(z)[s]).collect::<Vec<_>>();
            let (before, after) = (values(before), values(after));
            let moments = |v: &[f64]| {
                let mean = v.iter().sum::<f64>() / n;
                (mean, v.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n)
            };
            let ((a, va), (b, vb)) = (moments(&before), moments(&after));
            if a == b {
                0.0
            } else {
                (a - b).abs() / ((va + vb) / n).sqrt().max(1e-300)
            }
        })
        .fold(0.0, f64::max)
}

const CHAINS: usize = 20_000;

fn lopsided_start(purpose: Purpose) -> (Vec<f64>, Vec<ChaCha8Rng>) {
    let mut rngs: Vec<_> = (0..CHAINS as u64).map(|i| stream(3, purpose, 0, i)).collect();
    (rngs.iter_mut().flat_map(Lopsided::draw).collect(), rngs)
}

#[test]
fn hmc_leaves_an_asymmetric_density_invariant() {
    // The second density enters with λ = 0: it must not matter.
    let subspace = Subspace::new(System::new(2, 2).unwrap(), 1).unwrap();
    let other = Gaussian::new(subspace, 1.0, 1.0).unwrap();
    let path = GeometricPath { densities: [&Lopsided, &other], subspace };
    let exact = lopsided_start(Purpose::Evaluation).0;
    let (start, mut rngs) = lopsided_start(Purpose::Sampling);
    for step_size in [0.3, 0.9] {
        let mut chains = Chains::new(&path, start.clone()).unwrap();
        let mut workspace = Workspace::default();
        let leapfrog = Leapfrog { step_size, steps: 5 };
        let mut acceptance = 0.0;
        for _ in 0..20 {
            let probabilities =
                transition(&path, [1.0, 0.0], leapfrog, &mut chains, &mut rngs, &mut workspace)
                    .unwrap();
            acceptance = probabilities.iter().sum::<f64>() / CHAINS as f64;
        }
        let moved = chains.position().iter().zip(&start).filter(|(a, b)| a != b).count();
        assert!(moved > start.len() / 2, "chains must move; acceptance {acceptance}");
        assert!(acceptance < 0.999, "the correction must matter; acceptance {acceptance}");
        let deviation = deviation(&exact, chains.position());
        assert!(deviation < 4.5, "step {step_size}: {deviation} standard errors");
    }
}

/// A plain Hamiltonian Monte Carlo written apart from the library, with its two safeguards
/// optional.
fn plain_hmc(metropolis: bool, project: bool) -> f64 {
    let exact = lopsided_start(Purpose::Evaluation).0;
    let (mut z, mut rngs) = lopsided_start(Purpose::Sampling);
    for (z, rng) in z.chunks_mut(4).zip(&mut rngs) {
        for _ in 0..20 {
            let mut p: [f64; 4] = std::array::from_fn(|_| StandardNormal.sample(rng));
            if project {
                let mean = [(p[0] + p[2]) / 2.0, (p[1] + p[3]) / 2.0];
                p = [p[0] - mean[0], p[1] - mean[1], p[2] - mean[0], p[3] - mean[1]];
            }
            let kinetic = |p: &[f64; 4]| 0.5 * p.iter().map(|p| p * p).sum::<f64>();
            let mut x: [f64; 4] = std::array::from_fn(|i| z[i]);
            let mut g = [0.0; 4];
            let start = Lopsided::value(&x, &mut g) - kinetic(&p);
            let mut end = start;
            for _ in 0..5 {
                (0..4).for_each(|i| p[i] += 0.45 * g[i]);
                (0..4).for_each(|i| x[i] += 0.9 * p[i]);
                end = Lopsided::value(&x, &mut g);
                (0..4).for_each(|i| p[i] += 0.45 * g[i]);
            }
            if !metropolis || rng.gen::<f64>() < (end - kinetic(&p) - start).exp() {
                z.copy_from_slice(&x);
            }
        }
    }
    deviation(&exact, &z)
}

#[test]
fn a_missing_correction_and_a_missing_projection_are_caught() {
    assert!(plain_hmc(true, true) < 4.5, "the check itself is sound");
    assert!(plain_hmc(false, true) > 6.0, "no Metropolis correction");
    assert!(plain_hmc(true, false) > 6.0, "no projection on the subspace");
}

// ---------------------------------------------------------------------------------------------
// Potentials with known answers.

/// U = ½ κ Σ‖xᵢ − x̄‖² + c; fails recoverably where `forbidden` is true.
struct Harmonic {
    system: System,
    kappa: f64,
    constant: f64,
    forbidden: fn(&[f64]) -> bool,
}

fn harmonic(kappa: f64, constant: f64) -> Harmonic {
    Harmonic { system: System::new(3, 2).unwrap(), kappa, constant, forbidden: |_| false }
}

impl Potential for Harmonic {
    fn system(&self) -> System {
        self.system
    }
    fn energy_and_gradient(&self, x: &[f64], g: &mut [f64]) -> Result<f64, EvaluationError> {
        if (self.forbidden)(x) {
            return Err(EvaluationError::Recoverable("forbidden".into()));
        }
        g.copy_from_slice(x);
        self.system.remove_center_of_mass(g);
        let squares: f64 = g.iter().map(|x| x * x).sum();
        g.iter_mut().for_each(|g| *g *= self.kappa);
        Ok(0.5 * self.kappa * squares + self.constant)
    }
}

/// U = Σ_{i<j} u(r) + ½ k Σ‖xᵢ − x̄‖².
struct Pairs {
    system: System,
    harmonic: f64,
    /// u and du/dr.
    pair: fn(f64) -> (f64, f64),
}

impl Potential for Pairs {
    fn system(&self) -> System {
        self.system
    }
    fn energy_and_gradient(&self, x: &[f64], g: &mut [f64]) -> Result<f64, EvaluationError> {
        let (n, d) = (self.system.particles(), self.system.dimension());
        g.copy_from_slice(x);
        self.system.remove_center_of_mass(g);
        let mut energy = 0.5 * self.harmonic * g.iter().map(|x| x * x).sum::<f64>();
        g.iter_mut().for_each(|g| *g *= self.harmonic);
        for i in 0..n {
            for j in 0..i {
                let mut r2 = 0.0;
                for k in 0..d {
                    r2 += (x[i * d + k] - x[j * d + k]).powi(2);
                }
                let r = r2.sqrt();
                let (u, slope) = (self.pair)(r);
                energy += u;
                for k in 0..d {
                    let f = slope / r * (x[i * d + k] - x[j * d + k]);
                    g[i * d + k] += f;
                    g[j * d + k] -= f;
                }
            }
        }
        Ok(energy)
    }
}

fn dw4() -> Pairs {
    Pairs {
        system: System::new(4, 2).unwrap(),
        harmonic: 0.0,
        pair: |r| {
            let t = r - 4.0;
            (-4.0 * t * t + 0.9 * t.powi(4), -8.0 * t + 3.6 * t.powi(3))
        },
    }
}

fn lj13() -> Pairs {
    Pairs {
        system: System::new(13, 3).unwrap(),
        harmonic: 1.0,
        pair: |r| {
            let s6 = r.powi(-6);
            (s6 * s6 - 2.0 * s6, 12.0 * (s6 - s6 * s6) / r)
        },
    }
}

#[test]
fn the_augmented_target_has_the_gradient_of_its_value() {
    let target = AugmentedTarget::new(Arc::new(dw4()), 2, 0.3).unwrap();
    let mut rng = stream(1, Purpose::Evaluation, 0, 0);
    let z: Vec<f64> = (0..16).map(|_| 2.0 * rng.gen::<f64>()).collect();
    let value = |z: &[f64]| {
        let (mut l, mut g) = ([0.0], [0.0; 16]);
        assert_eq!(target.log_density_and_gradient(z, &mut l, &mut g).unwrap(), 0);
        (l[0], g)
    };
    let gradient = value(&z).1;
    for i in 0..16 {
        let shifted = |h: f64| {
            let mut z = z.clone();
            z[i] += h;
            value(&z).0
        };
        let numeric = (shifted(1e-5) - shifted(-1e-5)) / 2e-5;
        assert!((numeric - gradient[i]).abs() < 1e-6 * (1.0 + numeric.abs()));
    }
}

#[test]
fn augmenting_keeps_x_and_draws_the_conditional() {
    let target = AugmentedTarget::new(Arc::new(harmonic(1.0, 0.0)), 2, 0.2).unwrap();
    let samples = 5000;
    let mut rngs: Vec<_> =
        (0..samples as u64).map(|i| stream(5, Purpose::Evaluation, 0, i)).collect();
    let x = vec![1.5; samples * 6];
    let mut z = vec![0.0; samples * 12];
    target.augment(&x, &mut rngs, &mut z);
    // −2 (log π + n d log(η √2π)) is χ² with n d degrees of freedom.
    let mean = z
        .chunks(12)
        .map(|row| {
            assert_eq!(row[..6], x[..6]);
            -2.0 * (target.log_conditional(row) + 6.0 * (0.2 * (2.0 * PI).sqrt()).ln())
        })
        .sum::<f64>()
        / samples as f64;
    assert!((mean - 6.0).abs() < 4.5 * (12.0 / samples as f64).sqrt(), "{mean}");
}

// ---------------------------------------------------------------------------------------------
// Annealed importance sampling between Gaussians.

const SCALE: f64 = 1.0;
const SPREAD: f64 = 0.35;
const ETA: f64 = 0.3;
const KAPPA: f64 = 1.6;
const CONSTANT: f64 = 2.5;

/// log ∫ q^{1−α} p^α for q = Gaussian(SCALE, SPREAD) and the harmonic target, one augmented copy.
fn known_log_z(alpha: f64) -> f64 {
    let normal = |variance: f64| -0.5 * (2.0 * PI * variance).ln();
    // Per dimension: q^{1−α} p^α = exp(constant) exp(−½ precision y²).
    let integral = |log_q: f64, q: f64, log_p: f64, p: f64| {
        let precision = (1.0 - alpha) * q + alpha * p;
        (1.0 - alpha) * log_q + alpha * log_p + 0.5 * (2.0 * PI / precision).ln()
    };
    4.0 * integral(normal(SCALE * SCALE), 1.0 / (SCALE * SCALE), 0.0, KAPPA)
        + 6.0
            * integral(
                normal(SPREAD * SPREAD),
                1.0 / (SPREAD * SPREAD),
                normal(ETA * ETA),
                1.0 / (ETA * ETA),
            )
        - alpha * CONSTANT
}

fn anneal(potential: Harmonic, annealing: Annealing, samples: usize, passes: usize) -> Annealed {
    let target = AugmentedTarget::new(Arc::new(potential), 2, ETA).unwrap();
    let proposal = Gaussian::new(target.subspace(), SCALE, SPREAD).unwrap();
    let ais = AnnealedImportanceSampling {
        proposal: &proposal,
        target: &target,
        subspace: target.subspace(),
        annealing,
    };
    let mut step_sizes = StepSizes::new(annealing.intermediate, 0.05);
    let mut run = |samples, step| {
        let streams = Streams { seed: 11, purpose: Purpose::Annealing, step };
        ais.run(samples, streams, &mut step_sizes).unwrap()
    };
    for pass in 1..passes {
        run(256, pass as u64);
    }
    run(samples, 0)
}

#[test]
fn annealed_weights_have_the_normaliser_as_their_mean() {
    for alpha in [1.0, 2.0] {
        for intermediate in [0, 1, 4] {
            let annealing = Annealing { intermediate, leapfrog_steps: 5, alpha };
            let out = anneal(harmonic(KAPPA, CONSTANT), annealing, 20_000, 30);
            let (log_z, error) = log_z_and_error(&out.log_weights);
            let expected = known_log_z(alpha);
            assert!(
                (log_z - expected).abs() < 4.5 * error && error < 0.05,
                "α = {alpha}, {intermediate} intermediate: {log_z} ± {error} against {expected}"
            );
            assert_eq!(out.zero_weights, 0);
            for acceptance in &out.acceptance {
                assert!((acceptance - 0.65).abs() < 0.1, "adapted acceptance is {acceptance}");
            }
            let evaluations = 20_000 * (1 + 5 * intermediate as u64);
            assert!(out.effort.iter().all(|e| e.evaluations == evaluations), "{:?}", out.effort);
        }
    }
}

#[test]
fn annealing_raises_the_effective_sample_size() {
    let ess = |intermediate| {
        let annealing = Annealing { intermediate, leapfrog_steps: 5, alpha: 2.0 };
        let out = anneal(harmonic(KAPPA, CONSTANT), annealing, 10_000, 30);
        effective_sample_size(&out.log_weights).fraction
    };
    let (plain, annealed) = (ess(0), ess(8));
    assert!(annealed > 1.5 * plain, "{annealed} against {plain}");
}

#[test]
fn an_increment_of_the_wrong_sign_is_caught() {
    let annealing = Annealing { intermediate: 1, leapfrog_steps: 5, alpha: 2.0 };
    let out = anneal(harmonic(KAPPA, CONSTANT), annealing, 20_000, 30);
    let weights = |sign: f64| -> Vec<f64> {
        (0..20_000)
            .map(|i| {
                let first = out.initial_log_p[i] - out.initial_log_q[i];
                first + sign * (out.log_p[i] - out.log_q[i])
            })
            .collect()
    };
    for (a, b) in weights(1.0).iter().zip(&out.log_weights) {
        assert!((a - b).abs() < 1e-12 * (1.0 + b.abs()));
    }
    let (log_z, error) = log_z_and_error(&weights(-1.0));
    assert!((log_z - known_log_z(2.0)).abs() > 6.0 * error, "{log_z} ± {error}");
}

#[test]
fn configurations_without_an_energy_get_weight_zero_and_the_rest_stays_unbiased() {
    // Half of space is forbidden: Z halves.
    let potential = Harmonic { forbidden: |x| x[0] < x[2], ..harmonic(KAPPA, CONSTANT) };
    let annealing = Annealing { intermediate: 2, leapfrog_steps: 5, alpha: 1.0 };
    let out = anneal(potential, annealing, 20_000, 30);
    let share = out.zero_weights as f64 / 20_000.0;
    assert!((share - 0.5).abs() < 4.5 * (0.25f64 / 20_000.0).sqrt(), "{share}");
    assert!(out.effort[1].failures >= out.zero_weights as u64);
    let (log_z, error) = log_z_and_error(&out.log_weights);
    assert!((log_z - known_log_z(1.0) + 2f64.ln()).abs() < 4.5 * error, "{log_z} ± {error}");
    let allowed = |i: usize| out.joint[i * 12] >= out.joint[i * 12 + 2];
    assert!((0..20_000).all(|i| allowed(i) == out.log_weights[i].is_finite()));
}

#[test]
fn a_fatal_failure_of_the_potential_comes_back() {
    struct Broken;
    impl Potential for Broken {
        fn system(&self) -> System {
            System::new(3, 2).unwrap()
        }
        fn energy_and_gradient(&self, _: &[f64], _: &mut [f64]) -> Result<f64, EvaluationError> {
            Err(EvaluationError::Fatal("disk on fire".into()))
        }
    }
    let options = ReferenceOptions { samples: 10, chains: 32, transitions: 1, seed: 1 };
    let error = sample_reference(Arc::new(Broken), options).unwrap_err();
    assert!(error.to_string().contains("disk on fire"));
}

fn with_threads<R: Send>(threads: usize, body: impl FnOnce() -> R + Send) -> R {
    rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(body)
}

#[test]
fn results_do_not_depend_on_the_number_of_threads() {
    let annealing = Annealing { intermediate: 2, leapfrog_steps: 3, alpha: 2.0 };
    let options = ReferenceOptions { samples: 100, chains: 2048, transitions: 4, seed: 2 };
    let bytes = |threads| {
        with_threads(threads, || {
            let out = anneal(harmonic(KAPPA, CONSTANT), annealing, 100, 3);
            let reference = sample_reference(Arc::new(dw4()), options).unwrap();
            let mut numbers = [out.joint, out.log_weights, out.acceptance].concat();
            numbers.extend(reference.samples.positions);
            numbers.extend([reference.report.log_z, reference.report.energy]);
            numbers.iter().map(|v| v.to_bits()).collect::<Vec<_>>()
        })
    };
    let one = bytes(1);
    assert!(one == bytes(2) && one == bytes(3));
}
