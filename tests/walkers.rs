//! Walkers: they start on the target's distribution, stay on it, and training on them works. Every
//! statistical check has a fixed seed, a bound from its standard error, and a planted error.

mod harmonic;

use std::sync::Arc;

use boltzflow::diagnostics::mean_and_error;
use boltzflow::evaluation::{evaluate, EvaluationOptions};
use boltzflow::flow::{Flow, FlowOptions, LayerGroup, PairwiseOptions};
use boltzflow::potential::Potential;
use boltzflow::sampling::{Annealing, AugmentedTarget, StepSizes};
use boltzflow::system::System;
use boltzflow::train::{
    BufferOptions, DescentOptions, Fab, FabOptions, GradientClip, LearningRate, Method, Problem,
    Trainer, TrainingState, WalkerOptions, WalkerStart, Walkers,
};
use harmonic::Harmonic;

const BASE_SCALE: f64 = 1.3;
const ETA: f64 = 0.4;
const COUNT: usize = 4096;

/// A harmonic target of scale 1 and a flow whose base is wider: the proposals are not exact.
fn problem() -> Problem {
    let pairwise =
        PairwiseOptions { repeat: 1, width: 6, basis: 5, cutoff: 4.0, ..Default::default() };
    let options = FlowOptions {
        base_scale: BASE_SCALE,
        augmentation_scale: ETA,
        layers: vec![LayerGroup::Pairwise(pairwise)],
        ..FlowOptions::default()
    };
    let potential = Harmonic { system: System::new(3, 2).unwrap(), scale: 1.0 };
    let flow = Arc::new(Flow::new(potential.system(), &options).unwrap());
    let target = AugmentedTarget::new(Arc::new(potential), flow.copies(), ETA).unwrap();
    Problem { flow, target, seed: 5 }
}

fn started(problem: &Problem, alpha: f64, step_size: f64) -> Walkers {
    let theta = problem.flow.layout().initialize::<f32>(1);
    let annealing = Annealing { intermediate: 2, leapfrog_steps: 3, alpha };
    let mut walkers = Walkers::none(step_size);
    walkers.start(problem, &theta, COUNT, annealing, &StepSizes::new(2, 0.3)).unwrap();
    walkers
}

/// How many standard errors the walkers' mean energy is from `expected`.
fn deviation(walkers: &Walkers, expected: f64) -> f64 {
    let energies: Vec<f64> = walkers
        .positions
        .chunks_exact(6)
        .map(|x| 0.5 * x.iter().map(|v| v * v).sum::<f64>())
        .collect();
    assert_eq!(energies.len(), COUNT);
    let (mean, error) = mean_and_error(&energies);
    // Resampling makes copies, so that the error right after the start is larger than of
    // independent ones.
    (mean - expected).abs() / (error * 2f64.sqrt())
}

#[test]
fn walkers_start_on_the_target_and_stay_there() {
    let problem = problem();
    let theta = problem.flow.layout().initialize::<f32>(1);
    let mut walkers = started(&problem, 1.0, 0.3);
    assert!(deviation(&walkers, 2.0) < 4.5);
    // Planted: annealed to p²/q instead of p.
    assert!(deviation(&started(&problem, 2.0, 0.3), 2.0) > 9.0);

    let mut taken = 0.0;
    for step in 0..40 {
        let visit = walkers.visit(&problem, &theta, 3, COUNT / 2, 2, step).unwrap();
        taken += visit.flow_acceptance / 40.0;
        assert_eq!(visit.log_p.len(), COUNT / 2);
    }
    assert!(deviation(&walkers, 2.0) < 4.5);
    assert!(taken > 0.3 && taken < 0.99, "{taken}");
}

#[test]
fn walkers_start_on_the_target_without_a_flow() {
    let mut walkers = Walkers::none(0.3);
    let effort = walkers.start_by_reference(&problem(), COUNT).unwrap();
    assert!(effort.evaluations > COUNT as u64);
    assert!(deviation(&walkers, 2.0) < 4.5);
    // Planted: coordinates a twentieth too large.
    walkers.positions.iter_mut().for_each(|x| *x *= 1.05);
    assert!(deviation(&walkers, 2.0) > 4.5);
}

/// With a step size of almost zero only the flow's proposals move the walkers.
#[test]
fn proposals_of_the_flow_leave_the_target_invariant() {
    let problem = problem();
    let moved = |theta: &[f32]| {
        let mut walkers = started(&problem, 1.0, 1e-4);
        let before = walkers.positions.clone();
        for step in 0..30 {
            walkers.visit(&problem, theta, 1, COUNT, 1, step).unwrap();
        }
        let apart = walkers.positions.iter().zip(&before).filter(|(a, b)| (*a - *b).abs() > 1e-2);
        assert!(apart.count() * 10 > 9 * before.len(), "the proposals moved the walkers");
        walkers
    };
    let theta = problem.flow.layout().initialize::<f32>(1);
    assert!(deviation(&moved(&theta), 2.0) < 4.5);
    // Planted: ⟨U⟩ of proposals that are always taken, those of the base itself.
    assert!(deviation(&moved(&theta), 2.0 * BASE_SCALE * BASE_SCALE) > 9.0);
}

/// Joint samples are x and a ~ N(x, η²), and log p agrees.
#[test]
fn visits_carry_new_noise_and_the_density_of_the_joint_target() {
    use boltzflow::sampling::LogDensity;
    let problem = problem();
    let theta = problem.flow.layout().initialize::<f32>(1);
    let mut walkers = started(&problem, 1.0, 0.3);
    let visit = walkers.visit(&problem, &theta, 3, COUNT, 4, 0).unwrap();
    let mut log_p = vec![0.0; COUNT];
    let mut gradient = vec![0.0; visit.joint.len()];
    problem.target.log_density_and_gradient(&visit.joint, &mut log_p, &mut gradient).unwrap();
    for (got, want) in visit.log_p.iter().zip(&log_p) {
        assert!((got - want).abs() < 1e-9 * (1.0 + want.abs()));
    }
    let squares: Vec<f64> = visit
        .joint
        .chunks_exact(12)
        .map(|row| (0..6).map(|k| (row[6 + k] - row[k]).powi(2)).sum::<f64>() / 6.0)
        .collect();
    let (mean, error) = mean_and_error(&squares);
    assert!((mean - ETA * ETA).abs() < 4.5 * error, "{mean}");
    assert!((mean - 1.1 * ETA * ETA).abs() > 9.0 * error, "{mean}");
}

fn trainer(walkers: Option<WalkerOptions>, rate: f64) -> Fab {
    Fab {
        descent: DescentOptions {
            steps: 1000,
            batch_size: 128,
            optimizer: Method::Adam,
            learning_rate: LearningRate { initial: rate, peak: rate, last: rate, warm_up_steps: 0 },
            ema_decay: 0.9,
            gradient_clip: GradientClip { window: 100, clip: 1e3, drop: 1e6 },
        },
        options: FabOptions {
            alpha: 2.0,
            intermediate_distributions: 1,
            leapfrog_steps: 3,
            initial_step_size: 0.1,
            updates_per_annealing: 4,
            weight_clip: 10.0,
            buffer: BufferOptions { min_batches: 4, max_batches: 16 },
            walkers,
        },
    }
}

fn trained(problem: &Problem, rate: f64, threads: usize, start: WalkerStart) -> TrainingState {
    let from_step = if start == WalkerStart::Flow { 2 } else { 0 };
    let walkers =
        WalkerOptions { count: 1024, from_step, leapfrog_steps: 3, start, ..Default::default() };
    let trainer = trainer(Some(walkers), rate);
    rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(|| {
        let mut state = trainer.start(problem);
        for _ in 0..20 {
            trainer.step(problem, &mut state).unwrap();
            state.step += 1;
        }
        state
    })
}

#[test]
fn training_on_walkers_raises_the_effective_sample_size_on_any_number_of_threads() {
    let problem = problem();
    let ess = |state: &TrainingState| {
        let options = EvaluationOptions {
            samples: 2000,
            draws: 1,
            annealed_samples: 0,
            intermediate_distributions: 0,
            ..EvaluationOptions::default()
        };
        evaluate(&problem, &state.average, None, None, options).unwrap().0.reverse_ess
    };
    for start in [WalkerStart::Flow, WalkerStart::Reference] {
        let state = trained(&problem, 5e-3, 1, start);
        assert!(state == trained(&problem, 5e-3, 3, start), "threads change the result");
        assert!(state.counters.energy_evaluations > 20 * 8 * 128, "{start:?} counts its start");
        // Planted: a learning rate of zero trains nothing.
        let (after, before) = (ess(&state), ess(&trained(&problem, 0.0, 2, start)));
        assert!(after > before + 0.5 * (1.0 - before), "{start:?}: {before} to {after}");
    }
}
