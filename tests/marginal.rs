//! Weights on x alone, the augmented copies averaged out: exact for every K, of a flow that is
//! trained and of one that is not, with a higher effective sample size, and the same however the
//! work is divided.

mod pair;

use std::num::NonZeroUsize;
use std::sync::Arc;

use boltzflow::diagnostics::{
    effective_sample_size, log_mean_exp, log_z_and_error, mean_and_error, pair_distances,
    reweighted_mean,
};
use boltzflow::evaluation::{draw_marginal, draw_weighted, log_prob};
use boltzflow::parallel::run_in_threads;
use boltzflow::random::{stream, Purpose};
use boltzflow::samples::Samples;
use boltzflow::sampling::AugmentedTarget;
use boltzflow::train::Problem;

use pair::{pair, problem, trained, truth};

const STREAMS: (Purpose, u64) = (Purpose::Sampling, 0);
const SAMPLES: usize = 12_000;
const DRAWS: usize = 8;
const SEED: u64 = 4;

/// A flow at its start, whose copies are wider than the target's by half.
fn untrained() -> (Problem, Vec<f32>) {
    let (_, mut problem) = problem(SEED);
    problem.target = AugmentedTarget::new(Arc::new(pair()), problem.flow.copies(), 0.27).unwrap();
    let theta = problem.flow.layout().initialize::<f32>(0);
    (problem, theta)
}

fn marginal(problem: &Problem, theta: &[f32], draws: usize) -> Samples {
    let draws = NonZeroUsize::new(draws).unwrap();
    draw_marginal(problem, theta, STREAMS, 0, SAMPLES, draws).unwrap()
}

/// (value, error) of log Z and ⟨r⟩ by these weights.
fn averages(problem: &Problem, samples: &Samples) -> [(f64, f64); 2] {
    let r = pair_distances(problem.flow.system(), &samples.positions);
    [log_z_and_error(&samples.log_weights), reweighted_mean(&samples.log_weights, &r)]
}

/// Mean and error of how much higher the effective sample size is, over groups of samples.
fn gain(marginal: &[f64], joint: &[f64]) -> (f64, f64) {
    let groups = marginal.chunks(SAMPLES / 20).zip(joint.chunks(SAMPLES / 20));
    let gains = groups.map(|(marginal, joint)| {
        effective_sample_size(marginal).fraction - effective_sample_size(joint).fraction
    });
    mean_and_error(&gains.collect::<Vec<f64>>())
}

#[test]
fn they_are_exact_and_worth_no_less_than_the_joint_ones() {
    for (name, (problem, theta)) in [("trained", trained(SEED)), ("untrained", untrained())] {
        let joint = draw_weighted(&problem, &theta, STREAMS, 0, SAMPLES).unwrap();
        assert_eq!(marginal(&problem, &theta, 1), joint, "{name}: K = 1");
        let many = marginal(&problem, &theta, DRAWS);
        assert_eq!((&many.positions, &many.energies), (&joint.positions, &joint.energies));
        let both = averages(&problem, &many).into_iter().zip(averages(&problem, &joint));
        for (((value, error), (of_joint, joint_error)), truth) in both.zip(truth()) {
            assert!((value - truth).abs() < 4.5 * error, "{name}: {value} ± {error}, {truth}");
            let spread = error.hypot(joint_error);
            assert!((value - of_joint).abs() < 4.5 * spread, "{name}: {value} and {of_joint}");
            assert!(error < 1.05 * joint_error && error < 0.05, "{name}: {error} {joint_error}");
        }
        let (more, error) = gain(&many.log_weights, &joint.log_weights);
        assert!(more > -4.5 * error, "{name}: {more} ± {error}");
        if name == "untrained" {
            assert!(more > 9.0 * error && more > 0.1, "{more} ± {error}");
        }
    }
}

/// Mistakes that one could make with these weights, each of which moves log Z.
#[test]
fn planted_mistakes_move_log_z() {
    let (problem, theta) = untrained();
    let joint = draw_weighted(&problem, &theta, STREAMS, 0, SAMPLES).unwrap();
    let right = marginal(&problem, &theta, DRAWS);
    let width = problem.flow.width();
    let mut z = vec![0.0; SAMPLES * width];
    let (mut log_q, mut of_others) = (vec![0.0; SAMPLES], vec![Vec::new(); SAMPLES]);
    for draw in 0..DRAWS as u64 - 1 {
        let mut rngs: Vec<_> =
            (0..SAMPLES as u64).map(|i| stream(9, Purpose::Data, draw, i)).collect();
        problem.target.augment(&joint.positions, &mut rngs, &mut z);
        problem.flow.log_prob(&theta, &z, &mut log_q);
        for ((row, log_q), others) in z.chunks_exact(width).zip(&log_q).zip(&mut of_others) {
            others.push((*log_q, problem.target.log_conditional(row)));
        }
    }
    let log_z_with = |ratio: &dyn Fn(&(f64, f64)) -> f64| {
        let rows = joint.energies.iter().zip(&joint.log_weights).zip(&of_others);
        let log_weights = rows.map(|((energy, log_weight), others)| {
            let all = std::iter::once(-energy - log_weight).chain(others.iter().map(ratio));
            -energy - log_mean_exp(&all.collect::<Vec<f64>>())
        });
        log_z_and_error(&log_weights.collect::<Vec<f64>>())
    };
    let [expected, _] = truth();
    let (log_z, error) = log_z_with(&|(q, pi)| q - pi);
    assert!((log_z - expected).abs() < 4.5 * error, "{log_z} ± {error}, {expected}");
    let only_others = log_prob(&problem, &theta, &joint.positions, DRAWS - 1);
    let only_others: Vec<f64> =
        joint.energies.iter().zip(&only_others).map(|(energy, log_q)| -energy - log_q).collect();
    let sign: Vec<f64> =
        joint.log_weights.iter().zip(&right.log_weights).map(|(w, m)| 2.0 * w - m).collect();
    for (name, (log_z, error)) in [
        ("π forgotten", log_z_with(&|(q, _)| *q)),
        ("π with the wrong sign", log_z_with(&|(q, pi)| q + pi)),
        ("q̂ with the wrong sign", log_z_and_error(&sign)),
        ("without the copy that x came with", log_z_and_error(&only_others)),
    ] {
        let away = (log_z - expected).abs() / error;
        println!("{name}: {log_z} ± {error}, {away:.1}");
        assert!(away > 9.0 || !away.is_finite(), "{name}: {log_z} ± {error}, {expected}");
    }
}

#[test]
fn threads_ranks_and_batches_change_nothing() {
    let count = 300;
    let draws = NonZeroUsize::new(3).unwrap();
    let draw = |first: usize, count: usize| {
        let (problem, theta) = untrained();
        draw_marginal(&problem, &theta, STREAMS, first as u64, count, draws).unwrap()
    };
    let whole = draw(0, count);
    for ranks in [2, 3] {
        for found in run_in_threads(ranks, || draw(0, count)) {
            assert_eq!(found, whole, "{ranks} ranks");
        }
    }
    for threads in [1, 4] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        assert_eq!(pool.install(|| draw(0, count)), whole, "{threads} threads");
    }
    let (first, rest) = (draw(0, 128), draw(128, count - 128));
    assert_eq!([first.log_weights, rest.log_weights].concat(), whole.log_weights);
    // Planted: streams that begin anew with every batch.
    assert_ne!(draw(0, 64).log_weights, draw(64, 64).log_weights);
}
