//! What a trained flow is worth: effective sample sizes, log Z, likelihood.

use std::time::Instant;

use super::anneal::AnnealedDraws;
use super::contradiction::Weighted;
use super::distances::distances;
use super::draw::{density_ratios, draw_weighted, energies, marginal_log_weights};
use super::figures::{Evaluation, Figure, Level};
use crate::diagnostics::{
    bennett_log_z, effective_sample_size, forward_effective_sample_size, largest_weight_share,
    log_mean_exp, log_z_and_error, negative_log_likelihood, pareto_k,
};
use crate::error::Error;
use crate::parallel::team;
use crate::random::{first_sample, second_series, step_before, Purpose};
use crate::samples::Samples;
use crate::sampling::StepSizes;
use crate::train::Problem;
use crate::work;

/// Reference samples whose spread is known well enough for an error of log Z by them.
const FEWEST: usize = 30;

/// How much an evaluation does.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct EvaluationOptions {
    /// Joint samples N of the flow.
    pub samples: usize,
    /// Draws K of the augmented copies per reference sample for the likelihood.
    pub draws: usize,
    /// Samples that are annealed to the target; 0 for none.
    pub annealed_samples: usize,
    /// Densities between flow and target for these.
    pub intermediate_distributions: usize,
    /// Which random numbers: an evaluation at another step uses others.
    pub step: u64,
    /// Samples N whose distances from as many reference samples are computed; 0 for none.
    pub distances: usize,
    /// Whether the weights on x alone are computed for the flow's samples, at the cost of K − 1
    /// densities each; for reference samples they come with the likelihood.
    pub marginal: bool,
    /// Seconds to measure what Monte Carlo without the flow costs, from reference samples; 0 for
    /// none.
    pub cost_seconds: f64,
    /// log Z of the target and its standard error from elsewhere, which the evaluation's own is
    /// compared with.
    pub known_log_z: Option<[f64; 2]>,
}

/// Evaluates the flow with parameters `theta`; `reference` are unbiased samples of the target,
/// [samples, particles, dimension], with zero centre of mass. Cost and time of the training are
/// left at zero for the caller.
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
    let _work = work::begin("evaluating");
    // Without augmented copies all weights are on x alone.
    let has_copies = problem.flow.copies() > 1;
    let draws = if has_copies { options.draws } else { 1 };
    let options = EvaluationOptions { draws, marginal: options.marginal && has_copies, ..options };
    let start = Instant::now();
    let streams = (Purpose::Evaluation, options.step);
    let drawn = draw_weighted(problem, theta, streams, 0, options.samples)?;
    let seconds = start.elapsed().as_secs_f64();
    let samples_per_second = options.samples as f64 / seconds;
    if !problem.target.potential().has_energy() {
        let reference = reference.filter(|r| !r.is_empty());
        let found = evaluate_without_weights(problem, theta, (reference, &drawn), options)?;
        return Ok((Evaluation { samples_per_second, ..found }, drawn));
    }
    let (log_z, log_z_error) = log_z_and_error(&drawn.log_weights);
    let k = pareto_k(&drawn.log_weights);
    let mut evaluation = Evaluation {
        samples: options.samples,
        reverse_ess: effective_sample_size(&drawn.log_weights).fraction,
        log_z,
        log_z_error,
        largest_weight_share: largest_weight_share(&drawn.log_weights),
        pareto_k: k.is_finite().then_some(k),
        zero_weights: drawn.log_weights.iter().filter(|w| **w == f64::NEG_INFINITY).count(),
        draws: options.draws,
        samples_per_second,
        ..Evaluation::default()
    };
    evaluation.mark(&[Figure::ReverseEss, Figure::LogZ], &drawn.log_weights);
    evaluation.add_crystal(&**problem.target.potential(), &drawn);
    if let Some(reference) = reference.filter(|r| !r.is_empty()) {
        let of_flow = &drawn.log_weights;
        evaluate_on_reference(problem, theta, (reference, of_flow), options, &mut evaluation)?;
    }
    evaluation.compare(Weighted::Flow, [log_z, log_z_error], options.known_log_z);
    if options.marginal {
        let marginal = marginal_log_weights(problem, theta, &drawn, options.draws, streams, 0)?;
        evaluation.marginal_reverse_ess = Some(effective_sample_size(&marginal).fraction);
        evaluation.mark(&[Figure::MarginalReverseEss], &marginal);
    }
    if let Some(reference) = reference.filter(|r| options.cost_seconds > 0.0 && !r.is_empty()) {
        evaluation.add_cost(problem, reference, options.cost_seconds)?;
        evaluation.mark(Figure::COST, &drawn.log_weights);
    }
    let mut annealed = None;
    if options.annealed_samples > 0 {
        annealed = Some(anneal(problem, theta, step_sizes, options, &mut evaluation)?);
    }
    if let (Some(reference), 1..) = (reference, options.distances) {
        if let Some(annealed) = &mut annealed {
            annealed.energies = energies(&**problem.target.potential(), &annealed.positions)?;
        }
        evaluation.distances =
            distances(problem, &drawn, annealed.as_ref(), reference, options.distances)?;
    }
    Ok((evaluation, drawn))
}

/// The figures where the target has no energy: those of its samples, and of samples `drawn` by the
/// flow.
fn evaluate_without_weights(
    problem: &Problem,
    theta: &[f32],
    (reference, drawn): (Option<&[f64]>, &Samples),
    options: EvaluationOptions,
) -> Result<Evaluation, Error> {
    let draws = options.draws.max(1);
    let mut evaluation = Evaluation {
        draws,
        reverse_ess: f64::NAN,
        log_z: f64::NAN,
        log_z_error: f64::NAN,
        largest_weight_share: f64::NAN,
        ..Evaluation::default()
    };
    if let Some(reference) = reference {
        let (nll, error) = likelihood(problem, theta, reference, draws, options.step);
        team().go_on()?;
        (evaluation.nll, evaluation.nll_error) = (Some(nll), Some(error));
        evaluation.reference_samples = reference.len() / problem.flow.system().coordinates();
        evaluation.distances = distances(problem, drawn, None, reference, options.distances)?;
    }
    Ok(evaluation)
}

/// The figures over samples of the target, and those that need the log weights of the flow's
/// samples, too.
fn evaluate_on_reference(
    problem: &Problem,
    theta: &[f32],
    (reference, of_flow): (&[f64], &[f64]),
    options: EvaluationOptions,
    evaluation: &mut Evaluation,
) -> Result<(), Error> {
    let draws = options.draws.max(1);
    let streams = (Purpose::Evaluation, options.step);
    let ratios = density_ratios(problem, theta, reference, draws, streams, first_sample::REFERENCE);
    team().go_on()?;
    // A sample whose energy the potential failed to compute this time is left out.
    let energies = energies(&**problem.target.potential(), reference)?;
    let known = || energies.iter().zip(ratios.chunks_exact(draws)).filter(|(u, _)| u.is_finite());
    let forward: Vec<f64> = known().map(|(u, ratios)| -u - ratios[0]).collect();
    evaluation.reference_samples = forward.len();
    evaluation.forward_ess = Some(forward_effective_sample_size(&forward).fraction);
    evaluation.mark(&[Figure::ForwardEss], &forward);
    if problem.flow.copies() > 1 {
        let marginal: Vec<f64> = known().map(|(u, ratios)| -u - log_mean_exp(ratios)).collect();
        evaluation.marginal_forward_ess = Some(forward_effective_sample_size(&marginal).fraction);
        evaluation.mark(&[Figure::MarginalForwardEss], &marginal);
    }
    if !evaluation.has_no_weight() && forward.len() >= FEWEST {
        let (log_z, error) = bennett_log_z(of_flow, &forward);
        (evaluation.bennett_log_z, evaluation.bennett_log_z_error) = (Some(log_z), Some(error));
    }
    let (nll, error) = negative_log_likelihood(&ratios, draws);
    (evaluation.nll, evaluation.nll_error) = (Some(nll), Some(error));
    Ok(())
}

/// The figures of annealed importance sampling, and its samples, without their energies.
fn anneal(
    problem: &Problem,
    theta: &[f32],
    step_sizes: Option<&StepSizes>,
    options: EvaluationOptions,
    evaluation: &mut Evaluation,
) -> Result<Samples, Error> {
    let _work = work::begin("evaluating by annealing");
    let (samples, step) = (options.annealed_samples, options.step);
    let levels = options.intermediate_distributions;
    let mut annealing =
        AnnealedDraws::starting_at(problem, theta, Purpose::Evaluation, levels, step_sizes);
    // As many as a sixteenth of the samples adapt the step sizes.
    for round in 1..=8 {
        annealing.adapt(samples.div_ceil(128), step_before(8 * step + round))?;
    }
    let annealed = annealing.anneal(samples, second_series(step))?;
    evaluation.annealed_samples = samples;
    evaluation.annealing = annealed
        .acceptance
        .iter()
        .zip(&annealing.step_sizes.0)
        .map(|(&acceptance, size)| Level { acceptance, step_size: size.get() })
        .collect();
    evaluation.ais_ess = Some(effective_sample_size(&annealed.log_weights).fraction);
    evaluation.mark(&[Figure::AisEss], &annealed.log_weights);
    let (log_z, error) = log_z_and_error(&annealed.log_weights);
    evaluation.compare(Weighted::Annealed, [log_z, error], options.known_log_z);
    let positions = match options.distances {
        0 => Vec::new(),
        _ => annealed.positions(problem.flow.system().coordinates()),
    };
    Ok(Samples { positions, log_weights: annealed.log_weights, energies: Vec::new() })
}

/// Mean of −log q(x) over `x` ([samples, particles, dimension]) with K = `draws` draws of the
/// augmented copies each, and its standard error; the draws are those of `step`.
pub fn likelihood(
    problem: &Problem,
    theta: &[f32],
    x: &[f64],
    draws: usize,
    step: u64,
) -> (f64, f64) {
    let streams = (Purpose::Evaluation, step);
    let ratios = density_ratios(problem, theta, x, draws, streams, first_sample::LIKELIHOOD);
    negative_log_likelihood(&ratios, draws)
}
