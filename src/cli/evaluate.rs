//! `boltzflow evaluate`, and opening a trained run.

use std::path::Path;

use crate::config::{Recipe, Registry, Target};
use crate::error::Error;
use crate::evaluation::{evaluate, Evaluation, EvaluationOptions};
use crate::run::{load_model, read_model_metadata, ModelMetadata, RunFolder};
use crate::samples::read_samples;
use crate::train::Problem;

use super::args::EvaluateArgs;
use super::output::say;
use super::print::print_evaluation;
use super::train::{evaluation_options, reference_samples};

/// A trained run: its folder, recipe, target, flow and weights.
pub(super) struct Trained {
    pub folder: RunFolder,
    pub recipe: Recipe,
    pub target: Target,
    pub problem: Problem,
    pub theta: Vec<f32>,
    pub metadata: ModelMetadata,
}

/// Opens the run in `path`; the model says which flow to build.
pub(super) fn open(path: &Path, registry: &Registry) -> Result<Trained, Error> {
    let folder = RunFolder::read_only(path)?;
    let metadata = read_model_metadata(folder.model())?;
    let recipe = Recipe::from_text(&metadata.recipe, &folder.model())?;
    let target = match folder.read_target()? {
        Some(text) => registry.target_from_text(&text, &folder.target())?,
        None => registry.load(&recipe.target)?,
    };
    let problem = recipe.problem(target.potential.clone())?;
    if metadata.species != problem.flow.species() {
        let problem = format!(
            "was trained for particles of species {:?} and the target has {:?} (none: all alike)",
            metadata.species,
            problem.flow.species()
        );
        return Err(Error::Data { file: folder.model(), problem });
    }
    let (theta, metadata) = load_model(folder.model(), problem.flow.layout())?;
    Ok(Trained { folder, recipe, target, problem, theta, metadata })
}

pub(super) fn run(args: &EvaluateArgs, registry: &Registry) -> Result<(), Error> {
    let trained = open(&args.run, registry)?;
    let Trained { folder, mut recipe, target, problem, theta, metadata } = trained;
    let mut options = EvaluationOptions { step: metadata.step, ..evaluation_options(&recipe) };
    if let Some(samples) = args.samples {
        if samples.get() < 2 {
            return Err(Error::parameter(
                "--samples",
                "is 1: a weight needs others, use 2 or more",
            ));
        }
        options.samples = samples.get();
        recipe.evaluate.samples = samples.get();
        options.annealed_samples = samples.get().div_ceil(10);
    }
    options.distances = args.distances.map_or(0, |n| usize::try_from(n).unwrap_or(0));
    options.annealed_samples = options.annealed_samples.max(options.distances);
    options.marginal = args.marginal;
    super::memory::check_evaluation(&recipe, &problem)?;
    let system = problem.flow.system();
    let reference = match &args.reference {
        Some(file) => {
            let mut samples = read_samples(file, system, problem.flow.species())?;
            samples.center(system);
            Some(samples)
        }
        None if args.distances.is_some() && recipe.evaluate.reference_samples == 0 => {
            return Err(Error::parameter(
                "--distances",
                "needs reference samples and the recipe has none: give --reference FILE, such as one of \
                 boltzflow reference",
            ));
        }
        None => reference_samples(&folder, &target, &recipe, args.json)?,
    };
    let reference = reference.as_ref().map(|r| r.positions.as_slice());
    let (evaluation, _) = evaluate(&problem, &theta, reference, None, options)?;
    let evaluation = Evaluation {
        energy_evaluations: metadata.energy_evaluations,
        train_seconds: metadata.train_seconds,
        ..evaluation
    };
    if args.save {
        RunFolder::open(folder.path())?.write_evaluation(&evaluation)?;
    }
    if args.json {
        let text = serde_json::to_string_pretty(&evaluation)
            .map_err(|e| Error::Run(format!("the evaluation has no JSON form: {e}")))?;
        say!("{text}")?;
    } else {
        print_evaluation(&evaluation, &target)?;
    }
    Ok(())
}
