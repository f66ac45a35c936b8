//! An evaluation as text on standard output.

use crate::config::Target;
use crate::error::Error;
use crate::run::{Distances, Evaluation};

use super::output::say;

/// The figures for a person.
pub(super) fn print_evaluation(evaluation: &Evaluation, target: &Target) -> Result<(), Error> {
    let percent = |fraction: f64| format!("{:.2} %", 100.0 * fraction);
    let mark = |figure: &str| {
        let few = evaluation.resting_on_few_samples.iter().any(|name| name == figure);
        if few {
            "  (!)"
        } else {
            ""
        }
    };
    say!(
        "reverse ESS  {} of {} joint samples (largest weight {}, Pareto k {}){}",
        percent(evaluation.reverse_ess),
        evaluation.samples,
        percent(evaluation.largest_weight_share),
        evaluation.pareto_k.map_or("unknown".into(), |k| format!("{k:.2}")),
        mark("reverse_ess"),
    )?;
    if let Some(forward) = evaluation.forward_ess {
        say!(
            "forward ESS  {} of {} reference samples{}",
            percent(forward),
            evaluation.reference_samples,
            mark("forward_ess"),
        )?;
    }
    let marginal = [
        ("reverse", evaluation.marginal_reverse_ess, evaluation.samples, "marginal_reverse_ess"),
        (
            "forward",
            evaluation.marginal_forward_ess,
            evaluation.reference_samples,
            "marginal_forward_ess",
        ),
    ];
    for (name, ess, samples, figure) in marginal {
        if let Some(ess) = ess {
            say!(
                "  on x alone, {name}  {} of {samples}, copies averaged out with K = {}{}",
                percent(ess),
                evaluation.draws,
                mark(figure),
            )?;
        }
    }
    if let Some(ais) = evaluation.ais_ess {
        let samples = evaluation.annealed_samples;
        say!("AIS ESS      {} of {samples} annealed samples{}", percent(ais), mark("ais_ess"))?;
    }
    let known = target.known.log_z.map_or(String::new(), |z| format!("  (known: {z:.3})"));
    let (log_z, error) = (evaluation.log_z, evaluation.log_z_error);
    say!("log Z        {log_z:.4} ± {error:.4}{known}{}", mark("log_z"))?;
    if let (Some(nll), Some(error)) = (evaluation.nll, evaluation.nll_error) {
        let known =
            target.known.entropy.map_or(String::new(), |s| format!("  (lowest possible: {s:.3})"));
        say!("NLL          {nll:.4} ± {error:.4}, K = {}{known}", evaluation.draws)?;
    }
    if let Some(distances) = &evaluation.distances {
        print_distances(distances)?;
    }
    say!(
        "training     {:.0} s, {:.3e} energy evaluations; drawing {:.0} samples/s with log q",
        evaluation.train_seconds,
        evaluation.energy_evaluations as f64,
        evaluation.samples_per_second
    )?;
    if evaluation.zero_weights > 0 {
        say!("{} samples had no finite energy and weigh nothing", evaluation.zero_weights)?;
    }
    if !evaluation.resting_on_few_samples.is_empty() {
        say!("(!) rests on few samples with large weights: do not rely on it")?;
    }
    Ok(())
}

fn print_distances(distances: &Distances) -> Result<(), Error> {
    let n = distances.samples;
    say!("distances    of N = {n} samples from {n} reference samples")?;
    say!("             energy W2   geometric W2   pair-distance W2   pair-distance TV")?;
    let text = |value: Option<f64>| value.map_or("infinite".to_string(), |v| format!("{v:.4}"));
    for (name, set) in [
        ("flow", Some(&distances.flow)),
        ("reweighted", distances.reweighted.as_ref()),
        ("after AIS", distances.annealed.as_ref()),
        ("floor", Some(&distances.floor)),
    ] {
        if let Some(set) = set {
            let [e, g, d, tv] =
                [set.energy_w2, set.geometric_w2, set.distance_w2, set.distance_tv].map(text);
            say!("  {name:<10} {e:>9} {g:>14} {d:>18} {tv:>18}")?;
        }
    }
    Ok(())
}
