//! An evaluation as text on standard output.

use crate::config::Target;
use crate::error::Error;
use crate::evaluation::{Distances, Evaluation, Facts, Figure, Unit};

use super::output::say;

/// Prints all figures that were computed.
pub(super) fn print_evaluation(evaluation: &Evaluation, target: &Target) -> Result<(), Error> {
    for figure in Figure::ALL {
        let Facts { label, unit, error, line, .. } = figure.facts();
        let (Some(value), Some(line)) = (figure.value(evaluation), line) else { continue };
        let decimals = if *unit == Unit::Fraction { 2 } else { 4 };
        let mut text = unit.text(value, decimals);
        if let Some(error) = error(evaluation) {
            text += &format!(" ± {}", unit.text(error, decimals));
        }
        text += &line(evaluation);
        match (figure, target.known.log_z, target.known.entropy) {
            (Figure::LogZ, Some(log_z), _) => text += &format!("  (known: {log_z:.3})"),
            (Figure::Nll, _, Some(entropy)) => {
                text += &format!("  (lowest possible: {entropy:.3})")
            }
            _ => {}
        }
        if evaluation.rests_on_few(*figure) {
            text += "  (!)";
        }
        say!("{label:<11}  {text}")?;
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
        say!("{} samples had no finite energy and have weight zero", evaluation.zero_weights)?;
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
