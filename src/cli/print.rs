//! An evaluation as text on standard output.

use crate::config::Target;
use crate::error::Error;
use crate::evaluation::{
    Contradiction, Distances, Evaluation, Facts, Figure, SetDistances, Unit, Weighted,
};

use super::output::say;

/// Prints all figures that were computed.
pub(super) fn print_evaluation(evaluation: &Evaluation, target: &Target) -> Result<(), Error> {
    let mut few = false;
    for figure in Figure::ALL {
        let Facts { label, unit, line, decimals, .. } = figure.facts();
        let decimals = match unit {
            Unit::Fraction => 2,
            _ => decimals.unwrap_or(0).max(4),
        };
        let text = figure.text(evaluation, decimals);
        let (Some(mut text), Some(line)) = (text, line) else { continue };
        if figure.value(evaluation).is_some() {
            text += &line(evaluation);
        }
        match (figure, target.known.log_z, target.known.entropy) {
            (Figure::LogZ, Some(log_z), _) => text += &format!("  (known: {log_z:.3})"),
            (Figure::Nll, _, Some(entropy)) => {
                text += &format!("  (lowest possible: {entropy:.3})")
            }
            _ => {}
        }
        if figure.value(evaluation).is_some() && evaluation.is_marked(*figure) {
            few |= evaluation.rests_on_few(*figure);
            text += "  (!)";
        }
        say!("{label:<11}  {text}")?;
    }
    if let Some(distances) = &evaluation.distances {
        print_distances(distances, evaluation)?;
    }
    let energies = match evaluation.has_weights() {
        true => format!(", {:.3e} energies", evaluation.energy_evaluations as f64),
        false => String::new(),
    };
    say!(
        "training     {:.0} s{energies}; drawing {:.0} samples/s with log q",
        evaluation.train_seconds,
        evaluation.samples_per_second
    )?;
    if !evaluation.has_weights() {
        say!("the target has no energy: the flow's samples have no weights")?;
    }
    print_worth(evaluation)?;
    if evaluation.zero_weights > 0 {
        say!("{} samples had no finite energy and have weight zero", evaluation.zero_weights)?;
    }
    if evaluation.has_no_weight() {
        say!("(!) none of the samples has a finite energy: do not rely on it")?;
    } else if few {
        say!("(!) rests on few samples with large weights: do not rely on it")?;
    }
    print_contradictions(&evaluation.contradictions)
}

/// Whether the training was worth it, where the cost of Monte Carlo was asked for.
fn print_worth(evaluation: &Evaluation) -> Result<(), Error> {
    if let Some(worth) = evaluation.worth() {
        say!("worth it     {}", worth.replace("; ", ";\n             "))?;
        return say!("             (chains start from reference samples and give no log Z)");
    }
    match evaluation.effective_per_second {
        Some(_) => say!(
            "             no figure for Monte Carlo: its chains forget too slowly, or an energy\n\
             {:13}takes too long, for this time; give more seconds by --cost=SECONDS",
            ""
        ),
        None => Ok(()),
    }
}

/// Why figures are marked that do not agree with others.
pub(super) fn print_contradictions(found: &[Contradiction]) -> Result<(), Error> {
    found.iter().try_for_each(|found| say!("(!) {found}. Do not rely on what is marked"))
}

fn print_distances(distances: &Distances, evaluation: &Evaluation) -> Result<(), Error> {
    let (n, found) = (distances.samples, &evaluation.contradictions);
    say!("distances    of N = {n} samples from {n} reference samples")?;
    say!("             energy W2   geometric W2   pair-distance W2   pair-distance TV")?;
    let text = |value: Option<f64>| value.map_or("infinite".to_string(), |v| format!("{v:.4}"));
    let sets: [(&str, Option<&SetDistances>, Option<Weighted>); 4] = [
        ("flow", Some(&distances.flow), None),
        ("reweighted", distances.reweighted.as_ref(), Some(Weighted::Flow)),
        ("after AIS", distances.annealed.as_ref(), Some(Weighted::Annealed)),
        ("floor", Some(&distances.floor), None),
    ];
    for (name, set, weights) in sets {
        if let Some(set) = set {
            let [mut e, g, d, tv] =
                [set.energy_w2, set.geometric_w2, set.distance_w2, set.distance_tv].map(text);
            if !evaluation.has_weights() {
                e = "no energy".to_string();
            }
            let is_marked = found.iter().any(|found| Some(found.weights) == weights);
            let mark = if is_marked { "  (!)" } else { "" };
            say!("  {name:<10} {e:>9} {g:>14} {d:>18} {tv:>18}{mark}")?;
        }
    }
    Ok(())
}
