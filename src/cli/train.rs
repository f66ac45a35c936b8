//! `boltzflow train`.

use std::cell::OnceCell;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::Arc;

use crate::config::{Recipe, Registry, Target};
use crate::error::Error;
use crate::evaluation::{Evaluation, EvaluationOptions};
use crate::parallel::team;
use crate::run::{
    load_model_on_all_ranks, train, Checkpoint, Ending, Progress, RunFolder, SessionOptions,
    SessionTotals,
};
use crate::samples::{self, Samples};
use crate::sampling::{sample_reference, ReferenceOptions};
use crate::train::{MaxLikelihoodOptions, Objective, Problem, Trainer};

use super::args::{Seeds, TrainArgs};
use super::folder::Wanted;
use super::output::{say, warn};
use super::print::print_evaluation;
use super::{figures, progress::ProgressLine};

/// The recipe of a bare `boltzflow`, also where there is no such file.
const DEFAULT_RECIPE: (&str, &str) = ("runs/dw4_fab.toml", include_str!("../../runs/dw4_fab.toml"));

pub(super) fn run(args: &TrainArgs, registry: &Registry) -> Result<(), Error> {
    let Some(Seeds(seeds)) = &args.seeds else { return run_one(args, registry, 1) };
    let path = args.recipe.clone().unwrap_or_else(|| DEFAULT_RECIPE.0.into());
    let base = args.output.clone().unwrap_or_else(|| path.with_extension(""));
    for seed in seeds.clone() {
        let output = PathBuf::from(format!("{}_seed{seed}", base.display()));
        let one = TrainArgs { seed: Some(seed), output: Some(output), ..args.clone() };
        run_one(&one, registry, seeds.end - seeds.start)?;
        if args.dry_run {
            break;
        }
    }
    Ok(())
}

/// One training, of `runs` in all.
fn run_one(args: &TrainArgs, registry: &Registry, runs: u64) -> Result<(), Error> {
    let load = |path: &Path, text: &str| Recipe::from_text_with(text, path, &args.set);
    let read = |path: &Path| {
        std::fs::read_to_string(path)
            .map_err(|source| Error::Read { path: path.to_path_buf(), source })
    };
    let (path, mut recipe) = match &args.recipe {
        Some(path) => (path.clone(), load(path, &read(path)?)?),
        None => {
            let path = PathBuf::from(DEFAULT_RECIPE.0);
            let recipe = if path.exists() {
                load(&path, &read(&path)?)?
            } else {
                load(&path, DEFAULT_RECIPE.1)?
            };
            (path, recipe)
        }
    };
    if let Some(seed) = args.seed {
        recipe.seed = seed;
    }
    let target = registry.load(&recipe.target)?;
    let problem = recipe.problem(target.potential.clone())?;
    if args.dry_run {
        return super::dry_run::run(&recipe, &problem, runs);
    }
    super::memory::check_training(&recipe, &problem)?;
    let trainer = recipe.trainer(&problem)?;
    // Whatever can be wrong with the input is found before there is a folder.
    let text = recipe.to_toml()?;
    same_on_all_ranks(&[&text, &target.text])?;
    let wanted =
        Wanted { recipe: &text, target: &target.text, steps: recipe.train.descent.steps as u64 };
    if let (Some(_), Some(folder)) = (&args.seeds, &args.output) {
        if super::folder::is_finished(folder, &wanted) {
            return say!("{} is finished", folder.display());
        }
    }
    let (folder, resumes) = if team().leads() {
        let chosen = team().agree(super::folder::choose(args, &path, &wanted))?;
        team().allgather(chosen.1.into());
        chosen
    } else {
        team().agree(Ok::<_, Error>(()))?;
        (RunFolder::elsewhere(&path), team().allgather(0).contains(&1))
    };
    let run = Run { folder: &folder, recipe: &recipe, target: &target, problem: &problem };
    if let Some(address) = args.serve.filter(|_| team().leads()) {
        let serving = super::report::live(address, &folder, &recipe, &target, &problem)?;
        say!("live at http://{}/", serving.address)?;
    }
    match run.go(trainer.as_ref(), text, resumes) {
        // The session keeps what a failed potential leaves; before it, there is nothing to keep.
        Err(error)
            if !resumes && (error.exit_code() == 2 || matches!(error, Error::Evaluation(_))) =>
        {
            folder.discard();
            Err(error)
        }
        Err(error @ Error::Write { .. }) if Checkpoint::peek(folder.path()).is_some() => {
            Err(Error::Run(format!(
                "{error}. The last checkpoint is kept: once this can be written again, the same \
                 command goes on from there"
            )))
        }
        result => result,
    }
}

/// What a training works on.
struct Run<'a> {
    folder: &'a RunFolder,
    recipe: &'a Recipe,
    target: &'a Target,
    problem: &'a Problem,
}

impl Run<'_> {
    fn go(&self, trainer: &dyn Trainer, text: String, resumes: bool) -> Result<(), Error> {
        let Self { folder, recipe, target, problem } = self;
        let resume = if resumes { self.checkpoint(trainer)? } else { None };
        let start = match &recipe.flow.start_from {
            Some(path) if resume.is_none() => Some(self.started_from(path, trainer, &text)?),
            _ => None,
        };
        let written = if team().leads() {
            folder.write_config(&text).and_then(|()| folder.write_target(&target.text))
        } else {
            Ok(())
        };
        team().agree(written)?;
        let system = problem.flow.system();
        say!(
            "target {}: {} particles in {} dimensions; flow: {} couplings, {} parameters; {} on {} \
             threads ({}){}",
            target.name,
            system.particles(),
            system.dimension(),
            problem.flow.couplings(),
            problem.flow.layout().total(),
            trainer.objective(),
            rayon::current_num_threads(),
            crate::engine::instruction_set().name(),
            match team().size() {
                1 => String::new(),
                ranks => format!(" on each of {ranks} ranks"),
            },
        )?;
        say!("run folder {}", folder.path().display())?;
        if let Some(Checkpoint { state, .. }) = &resume {
            say!("resuming after step {}", state.step)?;
            if state.step >= recipe.train.descent.steps as u64 {
                // It was stopped while its figures were drawn.
                let text = team().broadcast(|| {
                    let evaluation: Evaluation = folder.read_evaluation()?;
                    serde_json::to_vec(&evaluation).map_err(|e| Error::Run(e.to_string()))
                })?;
                let evaluation = serde_json::from_slice(&text);
                return self.finish(&evaluation.map_err(|e| Error::Run(e.to_string()))?);
            }
        }
        // What is there is read at once and refused at once; drawing waits for the first evaluation.
        let samples: OnceCell<Option<Samples>> = OnceCell::new();
        let reference = || {
            let samples = match samples.get() {
                Some(samples) => samples,
                None => {
                    let found = reference_samples(folder, target, recipe, false)?;
                    samples.get_or_init(|| found)
                }
            };
            Ok(samples.as_ref().map(|samples| samples.positions.as_slice()))
        };
        let of_data = matches!(
            &recipe.train.objective,
            Objective::MaxLikelihood(MaxLikelihoodOptions { test_data: Some(_), .. })
        );
        if of_data || folder.reference().exists() {
            reference()?;
        }

        let options = SessionOptions {
            steps: recipe.train.descent.steps as u64,
            evaluate_every: recipe.evaluate.every_steps as u64,
            evaluation: evaluation_options(recipe),
            checkpoint_seconds: recipe.checkpoint.every_seconds,
            recipe: text,
        };
        let stop = stop_on_signals()?;
        let from = resume.or(start);
        let mut line = ProgressLine::new(options.steps, recipe.train.descent.batch_size);
        let mut observe = |progress: Progress<'_>| line.update(&progress);
        let ending =
            train(folder, problem, trainer, &options, &reference, from, &stop, &mut observe)?;
        line.finish();
        match ending {
            Ending::Finished(_, evaluation) => self.finish(&evaluation),
            Ending::Stopped(step) => Err(Error::Run(format!(
                "stopped by a signal after step {step} of {}, with a checkpoint: the same command \
                 goes on from there",
                options.steps
            ))),
        }
    }

    fn finish(&self, evaluation: &Evaluation) -> Result<(), Error> {
        let Self { folder, recipe, target, problem } = self;
        print_evaluation(evaluation, target)?;
        figures::draw(folder, problem, target, recipe, &figures::folder_for(folder.path(), None))
    }

    /// The state before the first step, of the flow that another run ended with.
    fn started_from(
        &self,
        path: &Path,
        trainer: &dyn Trainer,
        recipe: &str,
    ) -> Result<Checkpoint, Error> {
        let file = RunFolder::elsewhere(path).model();
        let mut state = trainer.start(self.problem);
        let initial = Some(state.theta.clone());
        let (theta, metadata) =
            load_model_on_all_ranks(&file, self.problem.flow.layout(), initial)?;
        state.start_as(theta);
        state.counters.energy_evaluations = metadata.energy_evaluations;
        let totals =
            SessionTotals { train_seconds: metadata.train_seconds, ..SessionTotals::default() };
        Ok(Checkpoint { state, totals, recipe: recipe.into() })
    }

    /// The latest good checkpoint.
    fn checkpoint(&self, trainer: &dyn Trainer) -> Result<Option<Checkpoint>, Error> {
        let (checkpoint, damaged) =
            Checkpoint::load(self.folder.path(), &trainer.start(self.problem))?;
        for damage in damaged {
            warn(&format!("a damaged checkpoint is passed over: {damage}"));
        }
        Ok(checkpoint)
    }
}

/// Refuses to go on where ranks read different files.
fn same_on_all_ranks(texts: &[&str]) -> Result<(), Error> {
    let mine = crc32fast::hash(texts.concat().as_bytes());
    let said = team().allgather(mine.into());
    match said.iter().position(|other| *other != said[0]) {
        None => Ok(()),
        Some(rank) => Err(Error::parameter(
            "recipe",
            format!(
                "or target differs between rank 0 and rank {rank}: let all read the same files"
            ),
        )),
    }
}

/// True from the first SIGINT, SIGTERM or SIGUSR1 on; a second SIGINT ends the process at once.
fn stop_on_signals() -> Result<Arc<AtomicBool>, Error> {
    use signal_hook::consts::{SIGINT, SIGTERM};
    let stop = Arc::new(AtomicBool::new(false));
    let failed = |e| Error::Run(format!("cannot listen to signals: {e}"));
    signal_hook::flag::register_conditional_shutdown(SIGINT, 3, Arc::clone(&stop))
        .map_err(failed)?;
    #[cfg(unix)]
    let signals = [SIGINT, SIGTERM, signal_hook::consts::SIGUSR1];
    #[cfg(not(unix))]
    let signals = [SIGINT, SIGTERM];
    for signal in signals {
        signal_hook::flag::register(signal, Arc::clone(&stop)).map_err(failed)?;
    }
    Ok(stop)
}

/// Options of evaluations by this recipe.
pub(super) fn evaluation_options(recipe: &Recipe) -> EvaluationOptions {
    let intermediate_distributions = match &recipe.train.objective {
        Objective::Fab(fab) => fab.intermediate_distributions,
        _ => 4,
    };
    EvaluationOptions {
        samples: recipe.evaluate.samples,
        draws: recipe.evaluate.draws,
        annealed_samples: recipe.evaluate.samples.div_ceil(10),
        intermediate_distributions,
        ..EvaluationOptions::default()
    }
}

/// Unbiased samples for the forward figures, kept in the run folder once made. A collective operation;
/// where they were kept, only rank 0 has their energies.
pub(super) fn reference_samples(
    folder: &RunFolder,
    target: &Target,
    recipe: &Recipe,
    quiet: bool,
) -> Result<Option<Samples>, Error> {
    let (system, species) = (target.potential.system(), target.potential.species());
    if let Objective::MaxLikelihood(MaxLikelihoodOptions { test_data: Some(file), .. }) =
        &recipe.train.objective
    {
        let mut samples = samples::read_samples(file, system, species)?;
        samples.center(system);
        return Ok(Some(samples));
    }
    let samples = recipe.evaluate.reference_samples;
    if samples == 0 {
        return Ok(None);
    }
    let file = folder.reference();
    // Rank 0 may be the only one that sees the folder.
    let mut energies = Vec::new();
    let positions = team().broadcast(|| {
        if !file.exists() {
            return Ok(Vec::new());
        }
        let kept = samples::read_samples(&file, system, species)?;
        energies = kept.energies;
        Ok::<_, Error>(kept.positions)
    })?;
    if !positions.is_empty() {
        return Ok(Some(Samples { positions, log_weights: Vec::new(), energies }));
    }
    if !quiet {
        say!("drawing {samples} reference samples, for the forward figures only")?;
    }
    let options = ReferenceOptions::of(system, samples);
    let reference = sample_reference(target.potential.clone(), options)?;
    let drawn = reference.samples;
    // Kept where the folder can be written; a committed run may be read-only.
    if team().leads() {
        if let Err(error) = samples::write_samples(&file, system, samples, [Ok(drawn.clone())]) {
            tracing::warn!("reference samples are not kept: {error}");
        }
    }
    Ok(Some(drawn))
}
