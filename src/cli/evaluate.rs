//! `boltzflow evaluate`.

use crate::config::Registry;
use crate::error::Error;
use crate::evaluation::{EvaluationOptions, Figure};
use crate::run::RunFolder;
use crate::session::{annealed_samples, check_evaluation, Trained};

use super::args::EvaluateArgs;
use super::output::{announce_reference, json, say};
use super::print::print_evaluation;

/// An effective sample size of weights on x alone that is higher by this is worth its time where
/// energies are slow.
const WORTH_SAYING: f64 = 0.05;

pub(super) fn run(args: &EvaluateArgs, registry: &Registry) -> Result<(), Error> {
    let mut trained = Trained::open(&args.run, registry)?;
    trained.problem.seed = args.seed.unwrap_or(trained.problem.seed);
    trained.target.require_energy_for([
        ("--annealed", args.annealed.is_some_and(|samples| samples > 0)),
        ("--marginal", args.marginal),
        ("--cost", args.cost.is_some()),
    ])?;
    let mut section = trained.recipe.evaluate.clone();
    let mut options = trained.evaluation_options();
    if let Some(samples) = args.samples {
        if samples.get() < 2 {
            return Err(Error::parameter(
                "--samples",
                "is 1: a weight needs others, use 2 or more",
            ));
        }
        section.samples = samples.get();
        options.samples = samples.get();
        options.annealed_samples = annealed_samples(samples.get());
    }
    let distances = args.distances.map_or(0, |n| usize::try_from(n).unwrap_or(0));
    let annealed = match args.annealed {
        Some(samples) => usize::try_from(samples).unwrap_or(0),
        None => options.annealed_samples.max(distances),
    };
    let options = EvaluationOptions {
        distances,
        annealed_samples: annealed,
        marginal: args.marginal,
        cost_seconds: args.cost.unwrap_or(0.0),
        ..options
    };
    section.samples = section.samples.max(annealed);
    check_evaluation(&section, &trained.problem)?;
    let needs_reference = match (args.distances, args.cost) {
        (Some(_), _) => Some("--distances"),
        (None, cost) => cost.map(|_| "--cost"),
    };
    let reference = match (&args.reference, needs_reference) {
        (Some(file), _) => Some(trained.reference_from(file)?),
        (None, Some(flag)) if !trained.has_reference() => {
            return Err(Error::parameter(
                flag,
                "needs reference samples and the recipe has none: give --reference FILE, such as \
                 one of boltzflow reference",
            ));
        }
        (None, _) if args.json => trained.reference(|_| Ok(()))?,
        (None, _) => trained.reference(announce_reference)?,
    };
    let reference = reference.as_ref().map(|r| r.positions.as_slice());
    let evaluation = trained.evaluate(reference, options)?;
    if args.save {
        RunFolder::open(&args.run)?.write_evaluation(&evaluation)?;
    }
    if args.json {
        return json(&evaluation);
    }
    print_evaluation(&evaluation, &trained.target)?;
    let [joint, alone] = [Figure::ForwardEss, Figure::MarginalForwardEss]
        .map(|figure| figure.value(&evaluation).filter(|_| !evaluation.is_marked(figure)));
    match (joint, alone) {
        (Some(joint), Some(alone)) if !args.marginal && alone > joint + WORTH_SAYING => say!(
            "weights on x alone have a higher ESS: --marginal evaluates them, for samples there is \
             `sample --marginal K`"
        ),
        _ => Ok(()),
    }
}
