//! What a trained flow is worth: effective sample sizes, log Z, likelihood.

use rand_distr::{Distribution, StandardNormal};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::distances::{distances, Distances};
use crate::diagnostics::{
    effective_sample_size, forward_effective_sample_size, largest_weight_share, log_mean_exp,
    log_z_and_error, negative_log_likelihood, pareto_k, rests_on_few,
};
use crate::error::Error;
use crate::parallel::team;
use crate::random::{stream, Purpose};
use crate::samples::Samples;
use crate::sampling::{AnnealedImportanceSampling, Annealing, FlowDensity, StepSizes, Streams};
use crate::train::Problem;

/// Samples of a task.
const PART: usize = 64;

/// How much an evaluation does.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct EvaluationOptions {
    /// Joint samples N of the flow.
    pub samples: usize,
    /// Draws K of the augmented copies per reference sample for the likelihood.
    pub draws: usize,
    /// Samples that are annealed to the target; 0 does without.
    pub annealed_samples: usize,
    /// Densities between flow and target for these.
    pub intermediate_distributions: usize,
    /// Which random numbers: an evaluation at another step uses others.
    pub step: u64,
    /// Samples N whose distances from as many reference samples are computed; 0 does without.
    pub distances: usize,
    /// Whether the weights on x alone are computed for the flow's samples, at the cost of K − 1 densities
    /// each; for reference samples they come with the likelihood.
    pub marginal: bool,
}

/// The figures of an evaluation; fractions, nats and counts. `None` where not computed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// Joint samples of the flow.
    pub samples: usize,
    /// (Σw)²/(N Σw²) over them.
    pub reverse_ess: f64,
    /// log Z, by the mean weight.
    pub log_z: f64,
    /// Its standard error.
    pub log_z_error: f64,
    /// Largest weight's share in their sum.
    pub largest_weight_share: f64,
    /// Shape of the weights' tail (Pareto k̂); the estimates are unreliable above 0.7.
    pub pareto_k: Option<f64>,
    /// Names of the figures above and below that rest on few samples and cannot be relied on.
    #[serde(default)]
    pub resting_on_few_samples: Vec<String>,
    /// Samples of the flow without a finite weight.
    pub zero_weights: usize,
    /// Reference samples.
    pub reference_samples: usize,
    /// 1/(⟨w⟩⟨1/w⟩) over reference samples, one draw of the augmented copies each.
    pub forward_ess: Option<f64>,
    /// −⟨log q(x)⟩ over reference samples, K draws of the augmented copies each.
    pub nll: Option<f64>,
    /// Its standard error.
    pub nll_error: Option<f64>,
    /// −⟨log q(x)⟩ over validation data, by which this model was chosen.
    pub validation_nll: Option<f64>,
    /// Draws K.
    pub draws: usize,
    /// Reverse effective sample size of the weights on x alone, w = p(x)/q̂(x), where q̂(x) is the mean of
    /// q(x, a_k)/π(a_k|x) over K draws: the a that x came with, and K − 1 of π(a|x). These are exact weights
    /// (they average to Z for every K) of x and all a_k together; their effective sample size grows with
    /// K towards that of p(x)/q(x), so it is never too high on average.
    pub marginal_reverse_ess: Option<f64>,
    /// Forward effective sample size of the same weights, over reference samples with K draws of π(a|x).
    pub marginal_forward_ess: Option<f64>,
    /// Samples annealed from the flow to the target.
    pub annealed_samples: usize,
    /// Their effective sample size.
    pub ais_ess: Option<f64>,
    /// Hamiltonian transitions at the densities between, from the flow to the target; none in files of
    /// earlier versions.
    #[serde(default)]
    pub annealing: Vec<Level>,
    /// Distances from reference samples.
    pub distances: Option<Distances>,
    /// Samples with log-density drawn a second, on this machine.
    pub samples_per_second: f64,
    /// Energy evaluations of the training.
    pub energy_evaluations: u64,
    /// Wall time of the training, in seconds.
    pub train_seconds: f64,
}

/// Hamiltonian transitions at one density of an annealing path.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Level {
    /// Mean acceptance probability.
    pub acceptance: f64,
    /// Leapfrog step size, a length.
    pub step_size: f64,
}

/// Draws `count` samples of a flow with their energies and joint log weights,
/// log p(x) π(a|x) − log q(x, a), which are −∞ where the energy is not finite. `first` is the number
/// of the first one: sample i uses the stream (seed, purpose, step, i), however a job is divided.
///
/// # Errors
/// [`Error::Evaluation`] if the potential fails for good.
pub fn draw_weighted(
    problem: &Problem,
    theta: &[f32],
    (purpose, step): (Purpose, u64),
    first: u64,
    count: usize,
) -> Result<Samples, Error> {
    let flow = &problem.flow;
    let (width, coordinates) = (flow.width(), flow.system().coordinates());
    // Tiles of the flow are fixed, so that a part has the bytes that the whole would have.
    let told = team().map(count.div_ceil(PART), |part| {
        let samples = part * PART..((part + 1) * PART).min(count);
        let noise: Vec<f64> = samples
            .clone()
            .flat_map(|sample| {
                let rng = stream(problem.seed, purpose, step, first + sample as u64);
                StandardNormal.sample_iter(rng).take(width).collect::<Vec<f64>>()
            })
            .collect();
        let (mut joint, mut log_q) = (vec![0.0; noise.len()], vec![0.0; samples.len()]);
        flow.sample_and_log_prob(theta, &noise, &mut joint, &mut log_q);
        let mut x: Vec<f64> =
            joint.chunks_exact(width).flat_map(|row| &row[..coordinates]).copied().collect();
        let (mut energies, mut gradients) = (log_q.clone(), x.clone());
        problem.target.potential().energies_and_gradients(&x, &mut energies, &mut gradients)?;
        let log_weights =
            joint.chunks_exact(width).zip(&energies).zip(&log_q).map(|((row, energy), log_q)| {
                let log_weight = problem.target.log_conditional(row) - energy - log_q;
                if log_weight.is_finite() {
                    log_weight
                } else {
                    f64::NEG_INFINITY
                }
            });
        x.extend(log_weights);
        x.extend(energies);
        Ok::<_, Error>(x)
    })?;
    let mut drawn = Samples {
        positions: Vec::with_capacity(count * coordinates),
        log_weights: Vec::with_capacity(count),
        energies: Vec::with_capacity(count),
    };
    for part in told {
        let samples = part.len() / (coordinates + 2);
        let (x, rest) = part.split_at(samples * coordinates);
        let (log_weights, energies) = rest.split_at(samples);
        drawn.positions.extend_from_slice(x);
        drawn.log_weights.extend_from_slice(log_weights);
        drawn.energies.extend_from_slice(energies);
    }
    Ok(drawn)
}

/// U/kT of `positions` ([samples, particles, dimension]); +∞ where there is none.
pub(super) fn energies(problem: &Problem, positions: &[f64]) -> Result<Vec<f64>, Error> {
    let coordinates = problem.flow.system().coordinates();
    let parts: Vec<&[f64]> = positions.chunks(PART * coordinates).collect();
    let told = team().map(parts.len(), |part| {
        let mut energies = vec![0.0; parts[part].len() / coordinates];
        let mut gradients = vec![0.0; parts[part].len()];
        let potential = problem.target.potential();
        potential.energies_and_gradients(parts[part], &mut energies, &mut gradients)?;
        Ok::<_, Error>(energies)
    })?;
    Ok(told.concat())
}

/// Evaluates the flow with parameters `theta`; `reference` are unbiased samples of the target,
/// [samples, particles, dimension], with zero centre of mass. Cost and time of the training are left
/// at zero for the caller.
///
/// # Errors
/// [`Error::Evaluation`] if the potential fails for good.
pub fn evaluate(
    problem: &Problem,
    theta: &[f32],
    reference: Option<&[f64]>,
    step_sizes: Option<&StepSizes>,
    options: EvaluationOptions,
) -> Result<(Evaluation, Samples), Error> {
    let start = std::time::Instant::now();
    let streams = (Purpose::Evaluation, options.step);
    let drawn = draw_weighted(problem, theta, streams, 0, options.samples)?;
    let seconds = start.elapsed().as_secs_f64();
    let (log_z, log_z_error) = log_z_and_error(&drawn.log_weights);
    let k = pareto_k(&drawn.log_weights);
    let mut evaluation = Evaluation {
        samples: options.samples,
        reverse_ess: effective_sample_size(&drawn.log_weights).fraction,
        log_z,
        log_z_error,
        largest_weight_share: largest_weight_share(&drawn.log_weights),
        pareto_k: k.is_finite().then_some(k),
        resting_on_few_samples: Vec::new(),
        zero_weights: drawn.log_weights.iter().filter(|w| **w == f64::NEG_INFINITY).count(),
        reference_samples: 0,
        forward_ess: None,
        nll: None,
        nll_error: None,
        validation_nll: None,
        draws: options.draws,
        marginal_reverse_ess: None,
        marginal_forward_ess: None,
        annealed_samples: 0,
        annealing: Vec::new(),
        ais_ess: None,
        distances: None,
        samples_per_second: options.samples as f64 / seconds,
        energy_evaluations: 0,
        train_seconds: 0.0,
    };
    let mut few = Vec::new();
    if rests_on_few(&drawn.log_weights) {
        few.extend(["reverse_ess", "log_z"]);
    }
    if let Some(reference) = reference.filter(|r| !r.is_empty()) {
        let draws = options.draws.max(1);
        // Far from the streams of the flow's samples at this step.
        let streams = (options.step, 1 << 40);
        let ratios = density_ratios(problem, theta, reference, draws, streams);
        // A sample whose energy the potential did not give now says nothing.
        let energies = energies(problem, reference)?;
        let known =
            || energies.iter().zip(ratios.chunks_exact(draws)).filter(|(u, _)| u.is_finite());
        let forward: Vec<f64> = known().map(|(u, ratios)| -u - ratios[0]).collect();
        let marginal: Vec<f64> = known().map(|(u, ratios)| -u - log_mean_exp(ratios)).collect();
        evaluation.reference_samples = forward.len();
        evaluation.forward_ess = Some(forward_effective_sample_size(&forward).fraction);
        evaluation.marginal_forward_ess = Some(forward_effective_sample_size(&marginal).fraction);
        if rests_on_few(&forward) {
            few.push("forward_ess");
        }
        if rests_on_few(&marginal) {
            few.push("marginal_forward_ess");
        }
        let (nll, error) = negative_log_likelihood(&ratios, draws);
        (evaluation.nll, evaluation.nll_error) = (Some(nll), Some(error));
    }
    if options.marginal {
        let marginal = marginal_log_weights(problem, theta, &drawn, options);
        evaluation.marginal_reverse_ess = Some(effective_sample_size(&marginal).fraction);
        if rests_on_few(&marginal) {
            few.push("marginal_reverse_ess");
        }
    }
    let mut annealed_set = None;
    if options.annealed_samples > 0 {
        let levels = options.intermediate_distributions;
        let flow = FlowDensity { flow: &problem.flow, theta };
        let annealing = AnnealedImportanceSampling {
            proposal: &flow,
            target: &problem.target,
            subspace: problem.target.subspace(),
            annealing: Annealing { intermediate: levels, leapfrog_steps: 5, alpha: 1.0 },
        };
        let mut step_sizes = step_sizes
            .filter(|s| s.0.len() == levels)
            .cloned()
            .unwrap_or_else(|| StepSizes::new(levels, 0.05));
        // A sixteenth of the samples adapts the step sizes; weights must come from fixed ones.
        let run = |step_sizes: &mut StepSizes, samples: usize, step: u64| {
            let streams = Streams { seed: problem.seed, purpose: Purpose::Evaluation, step };
            annealing.run(samples, streams, step_sizes)
        };
        for round in 1..=8 {
            let samples = options.annealed_samples.div_ceil(128);
            run(&mut step_sizes, samples, u64::MAX - 8 * options.step - round)?;
        }
        let used: Vec<f64> = step_sizes.0.iter().map(|step| step.get()).collect();
        let annealed = run(&mut step_sizes, options.annealed_samples, u64::MAX / 2 - options.step)?;
        evaluation.annealed_samples = options.annealed_samples;
        let level = |(&acceptance, step_size)| Level { acceptance, step_size };
        evaluation.annealing = annealed.acceptance.iter().zip(used).map(level).collect();
        evaluation.ais_ess = Some(effective_sample_size(&annealed.log_weights).fraction);
        if rests_on_few(&annealed.log_weights) {
            few.push("ais_ess");
        }
        if options.distances > 0 {
            let coordinates = problem.flow.system().coordinates();
            let positions = annealed.positions(coordinates);
            let energies = energies(problem, &positions)?;
            let log_weights = annealed.log_weights;
            annealed_set = Some(Samples { positions, log_weights, energies });
        }
    }
    if let (Some(reference), 1..) = (reference, options.distances) {
        evaluation.distances =
            distances(problem, &drawn, annealed_set.as_ref(), reference, options.distances)?;
    }
    evaluation.resting_on_few_samples = few.into_iter().map(str::to_string).collect();
    Ok((evaluation, drawn))
}

/// Mean of −log q(x) over `x` ([samples, particles, dimension]) with K = `draws` draws of the augmented copies
/// each, and its standard error; the draws are those of `step`.
pub fn likelihood(
    problem: &Problem,
    theta: &[f32],
    x: &[f64],
    draws: usize,
    step: u64,
) -> (f64, f64) {
    let ratios = density_ratios(problem, theta, x, draws, (step, 3 << 40));
    negative_log_likelihood(&ratios, draws)
}

/// log p(x)/q̂(x) of samples of the flow; see [`Evaluation::marginal_reverse_ess`].
fn marginal_log_weights(
    problem: &Problem,
    theta: &[f32],
    drawn: &Samples,
    options: EvaluationOptions,
) -> Vec<f64> {
    let others = options.draws.max(1) - 1;
    let streams = (options.step, 2 << 40);
    let ratios = density_ratios(problem, theta, &drawn.positions, others, streams);
    let joint = drawn.energies.iter().zip(&drawn.log_weights).enumerate();
    joint
        .map(|(sample, (energy, log_weight))| {
            if !log_weight.is_finite() {
                return f64::NEG_INFINITY;
            }
            // log q(x, a) − log π(a|x) for the a that x came with.
            let mut all = vec![-energy - log_weight];
            all.extend(&ratios[sample * others..(sample + 1) * others]);
            -energy - log_mean_exp(&all)
        })
        .collect()
}

/// log q(x, a_k) − log π(a_k|x), [samples, draws], for draws a_k ~ π(a|x): their mean exponential is q(x).
/// `streams` are the step and the number of the first sample's stream.
fn density_ratios(
    problem: &Problem,
    theta: &[f32],
    x: &[f64],
    draws: usize,
    (step, first): (u64, u64),
) -> Vec<f64> {
    let flow = &problem.flow;
    let (width, coordinates) = (flow.width(), flow.system().coordinates());
    let samples = x.len() / coordinates;
    let mut ratios = vec![0.0; samples * draws];
    if draws == 0 {
        return ratios;
    }
    let team = team();
    let rows = |rank| {
        let parts = team.block_of(rank, samples.div_ceil(PART));
        (parts.start * PART).min(samples)..(parts.end * PART).min(samples)
    };
    let own = rows(team.rank());
    let x = &x[own.start * coordinates..own.end * coordinates];
    let to = &mut ratios[own.start * draws..own.end * draws];
    let parts = x.par_chunks(PART * coordinates).zip(to.par_chunks_mut(PART * draws));
    parts.enumerate().for_each(|(part, (x, ratios))| {
        let samples = x.len() / coordinates;
        let mut rngs: Vec<_> = (0..samples)
            .map(|s| {
                let sample = (own.start + part * PART + s) as u64;
                stream(problem.seed, Purpose::Evaluation, step, first + sample)
            })
            .collect();
        let (mut joint, mut log_q) = (vec![0.0; samples * width], vec![0.0; samples]);
        for draw in 0..draws {
            problem.target.augment(x, &mut rngs, &mut joint);
            flow.log_prob(theta, &joint, &mut log_q);
            for (s, (row, log_q)) in joint.chunks_exact(width).zip(&log_q).enumerate() {
                ratios[s * draws + draw] = log_q - problem.target.log_conditional(row);
            }
        }
    });
    team.complete(&mut ratios, |rank| rows(rank).start * draws..rows(rank).end * draws);
    ratios
}
