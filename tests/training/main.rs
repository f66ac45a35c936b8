//! Trainers: gradients without bias, descent, faulty potentials, reproducibility. Each statistical
//! check has a fixed seed, a bound from its standard error, and a planted error that it must catch.

#[path = "../counted/mod.rs"]
mod counted;
mod gradients;
#[path = "../harmonic/mod.rs"]
mod harmonic;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;

use boltzflow::diagnostics::mean_and_error;
use boltzflow::error::{Error, EvaluationError};
use boltzflow::evaluation::{draw_weighted, evaluate, Evaluation, EvaluationOptions};
use boltzflow::flow::{
    Flow, FlowOptions, LayerGroup, NonequivariantOptions, PairwiseOptions, ProjectedOptions,
};
use boltzflow::potential::{DoubleWell, DoubleWellParameters, Potential};
use boltzflow::random::{stream, Purpose};
use boltzflow::sampling::AugmentedTarget;
use boltzflow::system::System;
use boltzflow::train::{
    BufferOptions, DescentOptions, Estimator, Fab, FabOptions, GradientClip, LearningRate, Method,
    Problem, ReplayBuffer, ReverseKl, ReverseKlOptions, Trainer, TrainingState,
};
use counted::Counted;
use harmonic::Harmonic;
use rand_distr::{Distribution, StandardNormal};

// ---------------------------------------------------------------- the pieces of a small problem

fn descent(batch_size: usize, rate: f64) -> DescentOptions {
    DescentOptions {
        steps: 1000,
        batch_size,
        optimizer: Method::Adam,
        learning_rate: LearningRate { initial: rate, peak: rate, last: rate, warm_up_steps: 0 },
        ema_decay: 0.9,
        gradient_clip: GradientClip { window: 100, clip: 1e3, drop: 1e6 },
    }
}

fn fab(batch_size: usize, rate: f64) -> Fab {
    Fab {
        descent: descent(batch_size, rate),
        options: FabOptions {
            alpha: 2.0,
            intermediate_distributions: 1,
            leapfrog_steps: 3,
            initial_step_size: 0.1,
            updates_per_annealing: 4,
            weight_clip: 10.0,
            buffer: BufferOptions { min_batches: 4, max_batches: 16 },
            walkers: None,
        },
    }
}

fn reverse_kl(estimator: Estimator, batch_size: usize, rate: f64) -> ReverseKl {
    let options = ReverseKlOptions { estimator, energy_clip: None, core: None };
    ReverseKl { descent: descent(batch_size, rate), options }
}

fn harmonic(scale: f64) -> Harmonic {
    Harmonic { system: System::new(3, 2).unwrap(), scale }
}

/// Three particles, every pair in a double well.
fn wells() -> DoubleWell {
    let parameters =
        DoubleWellParameters { b: -1.0, c: 0.5, r0: 2.0, ..DoubleWellParameters::new(3, 2) };
    DoubleWell::new(parameters).unwrap()
}

const BASE_SCALE: f64 = 1.3;
const AUGMENTATION_SCALE: f64 = 0.4;

fn problem(potential: impl Potential + 'static, seed: u64) -> Problem {
    let pairwise =
        PairwiseOptions { repeat: 1, width: 6, basis: 5, cutoff: 4.0, ..Default::default() };
    let vector = ProjectedOptions {
        repeat: 1,
        bins: 4,
        range: 6.0,
        blocks: 1,
        features: 6,
        edge_hidden: vec![5],
        node_hidden: vec![5],
        head_hidden: vec![5],
        ..ProjectedOptions::default()
    };
    let options = FlowOptions {
        base_scale: BASE_SCALE,
        augmentation_scale: AUGMENTATION_SCALE,
        layers: vec![LayerGroup::Pairwise(pairwise), LayerGroup::Vector(vector)],
        ..FlowOptions::default()
    };
    let flow = Arc::new(Flow::new(potential.system(), &options).unwrap());
    let target =
        AugmentedTarget::new(Arc::new(potential), flow.copies(), AUGMENTATION_SCALE).unwrap();
    Problem { flow, target, seed }
}

/// A flow that is not equivariant under rotations is trained on samples that are rotated as a
/// whole, uniformly; others on the samples as they are.
#[test]
fn samples_are_turned_where_the_flow_does_not_know_rotations() {
    let plain = problem(wells(), 3);
    let options = FlowOptions {
        base_scale: BASE_SCALE,
        augmentation_scale: AUGMENTATION_SCALE,
        layers: vec![LayerGroup::Nonequivariant(NonequivariantOptions {
            repeat: 1,
            blocks: 1,
            features: 4,
            heads: 2,
            hidden: vec![4],
            head_hidden: vec![4],
        })],
        ..FlowOptions::default()
    };
    let target = AugmentedTarget::new(Arc::new(wells()), 2, AUGMENTATION_SCALE).unwrap();
    let system = wells().system();
    let baseline =
        Problem { flow: Arc::new(Flow::new(system, &options).unwrap()), target, seed: 3 };
    assert!(plain.flow.is_rotation_invariant() && !baseline.flow.is_rotation_invariant());

    let width = baseline.flow.width();
    let samples = 4000;
    let one: Vec<f64> = (0..width).map(|k| (1.3 * k as f64).sin()).collect();
    let rows = one.repeat(samples);
    let mut same = rows.clone();
    plain.turn(&mut same, 5, 0);
    assert_eq!(same, rows);

    let mut turned = rows.clone();
    baseline.turn(&mut turned, 5, 0);
    let overlap = |row: &[f64], from: usize| -> f64 {
        let points = row[..width / 2].iter().zip(&row[width / 2..]);
        points.skip(from).map(|(x, a)| x * a).sum()
    };
    for row in turned.chunks_exact(width) {
        // Both copies turn together.
        assert!((overlap(row, 0) - overlap(&one, 0)).abs() < 1e-12);
        assert!((overlap(row, 2) - overlap(&one, 2)).abs() < 1e-12);
    }
    // No direction is preferred; planted: a turn that stays under half a circle.
    let means = |rows: &[f64]| {
        let rows: Vec<Vec<f64>> = rows.chunks_exact(width).map(<[f64]>::to_vec).collect();
        worst_deviation(&rows)
    };
    assert!(means(&turned) < 4.5, "{}", means(&turned));
    let half: Vec<f64> = turned
        .chunks_exact(width)
        .filter(|row| row[0] * one[0] + row[1] * one[1] > 0.0)
        .flatten()
        .copied()
        .collect();
    assert!(means(&half) > 9.0);
    // The next step rotates differently.
    let mut other = rows;
    baseline.turn(&mut other, 6, 0);
    assert!(other != turned);
}

fn evaluation(problem: &Problem, theta: &[f32], samples: usize) -> Evaluation {
    let options = EvaluationOptions {
        samples,
        draws: 1,
        annealed_samples: 0,
        intermediate_distributions: 0,
        ..EvaluationOptions::default()
    };
    evaluate(problem, theta, None, None, options).unwrap().0
}

fn steps(trainer: &dyn Trainer, problem: &Problem, count: usize) -> TrainingState {
    let mut state = trainer.start(problem);
    for _ in 0..count {
        trainer.step(problem, &mut state).unwrap();
        state.step += 1;
    }
    state
}

/// Largest |mean|/error over the columns of `rows`.
fn worst_deviation(rows: &[Vec<f64>]) -> f64 {
    (0..rows[0].len())
        .map(|column| {
            let values: Vec<f64> = rows.iter().map(|row| row[column]).collect();
            let (mean, error) = mean_and_error(&values);
            mean.abs() / error
        })
        .fold(0.0, f64::max)
}

// ----------------------------------------------------------------------------------- exact flows

#[test]
fn a_flow_that_equals_its_target_has_the_whole_effective_sample_size() {
    let exact = problem(harmonic(BASE_SCALE), 1);
    let theta = exact.flow.layout().initialize::<f32>(1);
    let found = evaluation(&exact, &theta, 1000);
    assert!((found.reverse_ess - 1.0).abs() < 1e-9, "{}", found.reverse_ess);
    let log_z = 4.0 * (BASE_SCALE * std::f64::consts::TAU.sqrt()).ln();
    assert!((found.log_z - log_z).abs() < 1e-5, "{} {log_z}", found.log_z);
    // Planted: a scale that is off by 3 %.
    let off = problem(harmonic(1.03 * BASE_SCALE), 1);
    let found = evaluation(&off, &theta, 1000);
    assert!(found.reverse_ess < 0.999 && found.reverse_ess > 0.9, "{}", found.reverse_ess);
}

// ------------------------------------------------------------------------------- training works

/// KL(flow ‖ target) − log Z, the mean of −log w over the flow's samples, and its standard error.
fn reverse_divergence(problem: &Problem, theta: &[f32]) -> (f64, f64) {
    let drawn = draw_weighted(problem, theta, (Purpose::Evaluation, 7), 0, 4000).unwrap();
    mean_and_error(&drawn.log_weights.iter().map(|w| -w).collect::<Vec<f64>>())
}

#[test]
fn a_few_steps_of_fab_raise_the_effective_sample_size() {
    let problem = problem(wells(), 4);
    let before = evaluation(&problem, &problem.flow.layout().initialize::<f32>(4), 2000);
    let state = steps(&fab(128, 5e-3), &problem, 25);
    let after = evaluation(&problem, &state.average, 2000);
    assert!(after.reverse_ess > 1.3 * before.reverse_ess, "{before:?} {after:?}");
    // Planted: a learning rate of zero trains nothing.
    let state = steps(&fab(32, 0.0), &problem, 2);
    let after = evaluation(&problem, &state.average, 2000);
    assert!((after.reverse_ess - before.reverse_ess).abs() < 1e-6);
}

/// The divergence itself, since reverse KL may well lower the effective sample size on its way.
#[test]
fn both_estimators_of_reverse_kl_lower_the_divergence() {
    let problem = problem(wells(), 4);
    let theta = problem.flow.layout().initialize::<f32>(4);
    let (before, error) = reverse_divergence(&problem, &theta);
    for estimator in [Estimator::Path, Estimator::Total] {
        let state = steps(&reverse_kl(estimator, 128, 5e-3), &problem, 40);
        let (after, too) = reverse_divergence(&problem, &state.average);
        assert!(after < before - 9.0 * error.hypot(too), "{estimator:?}: {before} to {after}");
    }
    // Planted: a step up the slope.
    let mut state = steps(&reverse_kl(Estimator::Path, 128, 5e-3), &problem, 1);
    for (t, start) in state.theta.iter_mut().zip(&theta) {
        *t = start + 20.0 * (start - *t);
    }
    assert!(reverse_divergence(&problem, &state.theta).0 > before + 9.0 * error);
}

// ------------------------------------------------------------------------------ faulty potentials

/// A potential that fails for some configurations, by a hash of their bits: the same on any thread.
struct Faulty<P> {
    inner: P,
    /// This call fails for good.
    fatal_at: u64,
    calls: AtomicU64,
}

impl<P: Potential> Potential for Faulty<P> {
    fn system(&self) -> System {
        self.inner.system()
    }

    fn energy_and_gradient(&self, x: &[f64], gradient: &mut [f64]) -> Result<f64, EvaluationError> {
        if self.calls.fetch_add(1, Ordering::Relaxed) >= self.fatal_at {
            return Err(EvaluationError::Fatal("the licence server is gone".into()));
        }
        let mut hash = 0u64;
        for v in x {
            hash = (hash ^ v.to_bits()).wrapping_mul(0x9E37_79B9_7F4A_7C15);
            hash ^= hash >> 29;
        }
        match hash % 1000 {
            0..=9 => Ok(f64::NAN),
            10 => Err(EvaluationError::Recoverable("no convergence".into())),
            _ => self.inner.energy_and_gradient(x, gradient),
        }
    }
}

fn faulty(fatal_at: u64) -> Faulty<DoubleWell> {
    Faulty { inner: wells(), fatal_at, calls: AtomicU64::new(0) }
}

#[test]
fn training_goes_on_when_a_potential_has_no_number_now_and_then() {
    let trainers: [(&str, Box<dyn Trainer>); 2] = [
        ("fab", Box::new(fab(64, 1e-3))),
        ("reverse_kl", Box::new(reverse_kl(Estimator::Path, 64, 1e-3))),
    ];
    for (name, trainer) in trainers {
        let counted = Counted::new(faulty(u64::MAX));
        let counts = counted.counts().clone();
        let problem = problem(counted, 6);
        let start = trainer.start(&problem).theta;
        let state = steps(trainer.as_ref(), &problem, 12);
        assert!(state.theta.iter().chain(&state.average).all(|t| t.is_finite()), "{name}");
        assert_ne!(state.theta, start, "{name}");
        assert_eq!(state.counters.energy_evaluations, counts.evaluations(), "{name}");
        assert_eq!(state.counters.recoverable_failures, counts.failures(), "{name}");
        assert!(
            state.counters.recoverable_failures > 0 && state.counters.nonfinite_weights > 0,
            "{name}"
        );
        let share =
            state.counters.recoverable_failures as f64 / state.counters.energy_evaluations as f64;
        assert!((share - 0.011).abs() < 0.011, "{name}: {share}");
        assert!(state.counters.gradients_dropped == 0, "{name}");
        // The evaluation counts them, too, and gives numbers.
        let found = evaluation(&problem, &state.average, 2000);
        assert!(found.zero_weights > 5 && found.log_z.is_finite() && found.reverse_ess > 0.0);
    }
}

/// A tenth of all configurations has an energy and no gradient.
struct WithoutGradient(DoubleWell);

impl Potential for WithoutGradient {
    fn system(&self) -> System {
        self.0.system()
    }

    fn energy_and_gradient(&self, x: &[f64], gradient: &mut [f64]) -> Result<f64, EvaluationError> {
        let energy = self.0.energy_and_gradient(x, gradient)?;
        if (10.0 * x[0].abs()).fract() < 0.1 {
            gradient[1] = f64::NAN;
        }
        Ok(energy)
    }
}

#[test]
fn a_finite_energy_without_a_gradient_is_counted_as_such_and_keeps_its_weight() {
    let trainers: [(&str, Box<dyn Trainer>); 2] = [
        ("fab", Box::new(fab(64, 1e-3))),
        ("reverse_kl", Box::new(reverse_kl(Estimator::Path, 64, 1e-3))),
    ];
    for (name, trainer) in trainers {
        let problem_without = problem(WithoutGradient(wells()), 6);
        let state = steps(trainer.as_ref(), &problem_without, 4);
        let counters = state.counters;
        assert_eq!((counters.recoverable_failures, counters.nonfinite_weights), (0, 0), "{name}");
        let share = counters.without_gradient as f64 / counters.energy_evaluations as f64;
        assert!(share > 0.02 && share < 0.3, "{name}: {share}");
        assert!(state.theta.iter().all(|t| t.is_finite()), "{name}");
        // An evaluation needs energies alone.
        let found = evaluation(&problem_without, &state.average, 1000);
        let same = evaluation(&problem(wells(), 6), &state.average, 1000);
        assert_eq!((found.zero_weights, found.log_z), (0, same.log_z), "{name}");
    }
}

#[test]
fn a_fatal_error_of_the_potential_ends_the_training_with_its_message() {
    let trainers: [Box<dyn Trainer>; 2] =
        [Box::new(fab(64, 1e-3)), Box::new(reverse_kl(Estimator::Path, 64, 1e-3))];
    for trainer in trainers {
        let problem = problem(faulty(2000), 6);
        let mut state = trainer.start(&problem);
        let error = (0..100)
            .find_map(|_| {
                let result = trainer.step(&problem, &mut state);
                state.step += 1;
                result.err()
            })
            .unwrap();
        assert!(matches!(error, Error::Evaluation(EvaluationError::Fatal(_))));
        assert_eq!(error.exit_code(), 3);
        assert!(error.to_string().contains("the licence server is gone"));
        assert!(state.theta.iter().all(|t| t.is_finite()));
    }
}

// ------------------------------------------------------------------------------- reproducibility

#[test]
fn the_same_seed_gives_the_same_bytes_on_any_number_of_threads() {
    let trainers: [(&str, Box<dyn Trainer>); 2] = [
        ("fab", Box::new(fab(96, 2e-3))),
        ("reverse_kl", Box::new(reverse_kl(Estimator::Path, 96, 2e-3))),
    ];
    for (name, trainer) in trainers {
        let run = |threads: usize, seed: u64| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| steps(trainer.as_ref(), &problem(wells(), seed), 4))
        };
        let one = run(1, 8);
        let bits = |state: &TrainingState| -> Vec<u32> {
            state.theta.iter().chain(&state.average).map(|t| t.to_bits()).collect()
        };
        for again in [run(1, 8), run(2, 8), run(3, 8)] {
            assert_eq!(bits(&one), bits(&again));
            assert!(one == again, "{name}: buffer, moments or counts differ");
        }
        // Planted: another seed.
        assert_ne!(bits(&one), bits(&run(1, 9)));
    }
}
