//! What an evaluation means, for a person.

use serde::Serialize;

use super::facts::Facts;
use crate::evaluation::{Evaluation, Figure, Unit};

/// An evaluation as a page shows it; empty before the first.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Verdict {
    /// The main figures.
    pub figures: Vec<VerdictFigure>,
    /// Why figures are marked (!).
    pub marks: Vec<String>,
    /// What a person should know, the most important first.
    pub sentences: Vec<String>,
    /// The verdict on the weights, and whether it is a warning.
    pub weights: Option<(String, bool)>,
}

/// A figure with its label.
#[derive(Debug, Clone, Serialize)]
pub struct VerdictFigure {
    /// What it is.
    pub label: String,
    /// Its value in words, with its error and unit.
    pub value: String,
}

impl Verdict {
    pub(crate) fn new(evaluation: &Evaluation, facts: &Facts) -> Self {
        Self {
            figures: Figure::ALL.iter().filter_map(|f| entry(*f, evaluation, facts)).collect(),
            marks: marks(evaluation),
            sentences: sentences(evaluation, facts),
            weights: evaluation.has_weights().then(|| weights(evaluation)),
        }
    }
}

/// A figure that has a line of its own and stands in tables.
fn entry(figure: Figure, evaluation: &Evaluation, facts: &Facts) -> Option<VerdictFigure> {
    let about = figure.facts();
    about.line.and(about.decimals)?;
    let decimals = if about.unit == Unit::Fraction { 1 } else { 3 };
    let mut value = figure.text(evaluation, decimals)?;
    if figure.value(evaluation).is_some() && evaluation.is_marked(figure) {
        value += " (!)";
    }
    let mut label = about.label.to_string();
    if let Some((_, samples)) = about.samples {
        label += &format!(", N = {}", samples(evaluation));
    }
    if let (Figure::LogZ, Some(known)) = (figure, facts.known_log_z) {
        label += &format!(" (known: {known})");
    }
    Some(VerdictFigure { label, value })
}

fn marks(evaluation: &Evaluation) -> Vec<String> {
    let few = !evaluation.resting_on_few_samples.is_empty() && !evaluation.has_no_weight();
    let few = few.then(|| "(!) Some figures rest on few samples with large weights.".to_string());
    let contradictions = evaluation.contradictions.iter().map(|found| {
        format!("(!) {found}. Do not rely on what is marked, nor on what is reweighted.")
    });
    few.into_iter().chain(contradictions).collect()
}

/// How far the weights can be trusted.
fn weights(evaluation: &Evaluation) -> (String, bool) {
    let share = Unit::Fraction.text(evaluation.largest_weight_share, 1);
    let k = evaluation.pareto_k.map_or("unknown".into(), |k| Unit::One.text(k, 2));
    let is_heavy =
        evaluation.pareto_k.is_some_and(|k| k > 0.7) || evaluation.rests_on_few(Figure::ReverseEss);
    let is_marked = evaluation.is_marked(Figure::ReverseEss);
    let advice = match (is_heavy, is_marked) {
        (true, _) => " – heavy tail: do not rely on the figures above.",
        (false, true) => " (reliable below 0.7), but other figures contradict the weights.",
        (false, false) => " (reliable below 0.7).",
    };
    (format!("Largest weight: {share} of the sum. Pareto k: {k}{advice}"), is_heavy || is_marked)
}

fn sentences(evaluation: &Evaluation, facts: &Facts) -> Vec<String> {
    if !evaluation.has_weights() {
        let unweighted = "The target has no energy: the flow's samples have no weights, and how \
                          near they are to the target is told by the likelihood of test data and \
                          by distributions alone.";
        return [Some(unweighted.to_string()), likelihood(evaluation, facts)]
            .into_iter()
            .flatten()
            .collect();
    }
    if evaluation.has_no_weight() {
        return vec![format!(
            "None of the {} samples has a finite energy: there is nothing to weigh. Look at the \
             target by boltzflow check, and let the flow start nearer by `base_scale`.",
            evaluation.samples
        )];
    }
    let percent = |fraction: f64| Unit::Fraction.text(fraction, 1);
    let n = evaluation.samples;
    let reverse = evaluation.reverse_ess;
    let mut say = vec![format!(
        "{n} weighted samples of the flow are worth about {:.0} independent ones of the target: \
         the reverse effective sample size is {}.",
        reverse * n as f64,
        percent(reverse)
    )];
    say.push(match facts.known_log_z {
        Some(known) => {
            let sigmas = (evaluation.log_z - known).abs() / evaluation.log_z_error.max(1e-300);
            format!(
                "log Z = {:.4} ± {:.4}; an independent calculation gave {known:.3}, {sigmas:.1} \
                 standard errors away.",
                evaluation.log_z, evaluation.log_z_error
            )
        }
        None => format!("log Z = {:.4} ± {:.4}.", evaluation.log_z, evaluation.log_z_error),
    });
    if let Some(forward) = evaluation.forward_ess {
        let m = evaluation.reference_samples;
        say.push(if forward < 0.5 * reverse {
            format!(
                "The forward effective sample size, {} of {m} reference samples, is far below the \
                 reverse one: the flow has too little density where some of the target's samples \
                 are. Averages over what it draws may miss those; anneal the samples, or train by \
                 FAB.",
                percent(forward)
            )
        } else {
            format!(
                "Forward and reverse agree ({} of {m} reference samples): nothing that is in the \
                 reference samples is missing from the flow.",
                percent(forward)
            )
        });
    } else {
        say.push(
            "There are no reference samples: a part of the target that the flow never visits would \
             not show in these figures."
                .to_string(),
        );
    }
    if evaluation.rests_on_few(Figure::ReverseEss) {
        say.push(format!(
            "Careful: a few samples carry much of the weight (the largest {}). The figures above \
             rest on them; draw more samples, or train longer.",
            percent(evaluation.largest_weight_share)
        ));
    }
    match evaluation.pareto_k {
        Some(k) if k > 0.7 => say.push(format!(
            "The weights have a heavy tail (Pareto k = {k:.2}, above 0.7): their mean and spread \
             cannot be relied on, however many samples are drawn."
        )),
        Some(k) if k > 0.5 => say.push(format!(
            "The weights' tail is long (Pareto k = {k:.2}): errors shrink more slowly than \
             with the square root of the number of samples."
        )),
        _ => {}
    }
    if let (Some(joint), Some(marginal)) = (evaluation.forward_ess, evaluation.marginal_forward_ess)
    {
        if marginal > joint + 0.02 {
            say.push(format!(
                "With the augmented copies averaged out the forward figure is {}: part of what \
                 is lost lies in the copies, not in the configurations.",
                percent(marginal)
            ));
        }
    }
    say.extend(likelihood(evaluation, facts).filter(|_| facts.known_entropy.is_some()));
    say.extend(besides(evaluation));
    say
}

/// The negative log-likelihood, beside the lowest possible one where that is known.
fn likelihood(evaluation: &Evaluation, facts: &Facts) -> Option<String> {
    let nll = evaluation.nll?;
    let (samples, draws) = (evaluation.reference_samples, evaluation.draws);
    Some(match facts.known_entropy {
        Some(lowest) => {
            let above = nll - lowest;
            format!(
                "The negative log-likelihood {nll:.3} is {above:.3} above the lowest possible one."
            )
        }
        None => format!(
            "The negative log-likelihood of {samples} test samples is {nll:.3} nats, by {draws} \
             draws of the augmented copies: an upper bound, which falls with more draws."
        ),
    })
}

/// What else was computed.
fn besides(evaluation: &Evaluation) -> Vec<String> {
    let mut say = Vec::new();
    if let Some(annealed) = evaluation.ais_ess.filter(|a| *a > evaluation.reverse_ess + 0.02) {
        let samples = evaluation.annealed_samples;
        say.push(format!(
            "Annealed importance sampling lifts the effective sample size to {} of {samples}.",
            Unit::Fraction.text(annealed, 1)
        ));
    }
    if let Some(worth) = evaluation.worth() {
        say.push(format!(
            "When the training has paid, against Monte Carlo chains that start from reference \
             samples: {worth}."
        ));
    }
    if evaluation.zero_weights > 0 {
        let zero = evaluation.zero_weights;
        say.push(format!("{zero} samples had no finite energy and have weight zero."));
    }
    say
}
