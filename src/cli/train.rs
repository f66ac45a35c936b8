//! `boltzflow train`.

use std::path::{Path, PathBuf};

use crate::config::{Recipe, Registry};
use crate::error::Error;
use crate::evaluation::Evaluation;
use crate::parallel::team;
use crate::run::{Checkpoint, RunFolder};
use crate::session::{is_finished, Destination, Ending, Training};
use crate::train::{FabOptions, Objective};
use crate::work;

use super::args::{Seeds, TrainArgs};
use super::figures::draw;
use super::output::{announce_reference, say, warn};
use super::print::print_evaluation;
use super::progress::ProgressLine;

/// The recipe of `boltzflow` without a command; compiled in, for where there is no such file.
const DEFAULT_RECIPE: (&str, &str) = ("runs/dw4_fab.toml", include_str!("../../runs/dw4_fab.toml"));

pub(super) fn run(args: &TrainArgs, registry: &Registry) -> Result<(), Error> {
    let Some(args) = &super::choose::with_recipe(args, registry)? else { return Ok(()) };
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
    let path = args.recipe.clone().unwrap_or_else(|| DEFAULT_RECIPE.0.into());
    let text = match std::fs::read_to_string(&path) {
        Err(_) if args.recipe.is_none() && !path.exists() => DEFAULT_RECIPE.1.to_string(),
        read => read.map_err(|source| Error::Read { path: path.clone(), source })?,
    };
    let mut recipe = Recipe::from_text_with(&text, &path, &args.set)?;
    if let Some(seed) = args.seed {
        recipe.seed = seed;
    }
    let target = recipe.load_target(registry)?;
    if args.dry_run {
        return super::dry_run::run(&recipe, &target, runs);
    }
    // Whatever can be wrong with the input is found before there is a folder.
    let mut training = Training::new(recipe, target)?;
    let (recipe, target) = training.recipe();
    if let (Some(_), Some(folder)) = (&args.seeds, &args.output) {
        if is_finished(folder, recipe) {
            return say!("{} is finished", folder.display());
        }
    }
    let (folder, resumes) = if team().leads() {
        let destination = Destination {
            output: args.output.as_deref(),
            resume: args.resume,
            force: args.force,
            names: ["--output", "--resume --force"],
        };
        let chosen = team().agree(destination.choose(&path, recipe, &target.text))?;
        team().allgather(chosen.resumes.into());
        if let Some(remark) = &chosen.remark {
            say!("{remark}")?;
        }
        (chosen.folder, chosen.resumes)
    } else {
        team().agree(Ok(()))?;
        (RunFolder::elsewhere(&path), team().allgather(0).contains(&1))
    };
    if let Some(address) = args.serve.filter(|_| team().leads()) {
        let serving = super::report::live(address, &folder, &training)?;
        say!("live at http://{}/", serving.address)?;
    }
    match train_in(&mut training, folder, resumes) {
        // A failed potential leaves a checkpoint; before the first one there is nothing to keep.
        Err(error)
            if !resumes && (error.exit_code() == 2 || matches!(error, Error::Evaluation(_))) =>
        {
            if let Some(folder) = training.folder() {
                folder.discard();
            }
            Err(error)
        }
        Err(error @ Error::Write { .. }) if has_checkpoint(&training) => Err(Error::Run(format!(
            "{error}. The last checkpoint is kept: once this can be written again, the same \
             command goes on from there"
        ))),
        Err(Error::Stopped(why)) => {
            let (step, steps) = (training.state().step, training.recipe().0.train.descent.steps);
            Err(Error::Stopped(format!(
                "{why} after step {step} of {steps}, with a checkpoint: the same command goes on \
                 from there"
            )))
        }
        result => result,
    }
}

fn has_checkpoint(training: &Training) -> bool {
    training.folder().is_some_and(|folder| Checkpoint::peek(folder.path()).is_some())
}

fn train_in(training: &mut Training, folder: RunFolder, resumes: bool) -> Result<(), Error> {
    training.announce_reference(announce_reference);
    if resumes {
        for damage in training.resume_in(folder)? {
            warn(&format!("skipping a damaged checkpoint: {damage}"));
        }
    } else {
        training.create_in(folder)?;
    }
    introduce(training)?;
    if resumes {
        say!("resuming after step {}", training.state().step)?;
    }
    let steps = training.recipe().0.train.descent.steps;
    let mut line = ProgressLine::new(steps as u64);
    let ending = training.run(|progress| line.update(progress))?;
    drop(line);
    if ending == Ending::Stopped {
        // Any rank may have got the signal.
        let signals = team().allgather(work::signal() as u64);
        let signal = signals.into_iter().max().unwrap_or_default();
        return Err(Error::Stopped(work::stopped_by(signal as usize)));
    }
    let trained = training.trained()?;
    let evaluation = training.evaluation()?;
    print_evaluation(&evaluation, &trained.target)?;
    let counters = training.state().counters;
    // In a few configurations, far off, the gradient overflows.
    if counters.without_gradient > counters.energy_evaluations / 1000 {
        warn(&format!(
            "{} of {} energy evaluations gave a finite energy whose gradient is not a number: \
             chains cannot move from there, and reverse KL leaves them out. Correct the \
             gradient: `boltzflow check` looks for it",
            counters.without_gradient, counters.energy_evaluations
        ));
    }
    if let Some(folder) = training.folder() {
        draw(&trained, folder.path())?;
        suggest(folder, &evaluation)?;
    }
    training.close()
}

/// What can be done with a trained flow.
fn suggest(folder: &RunFolder, evaluation: &Evaluation) -> Result<(), Error> {
    let folder = folder.path().display();
    if evaluation.has_no_weight() {
        return say!(
            "next: train again with a lower train.learning_rate.peak; if the flow continues that \
             of another run by FAB, set train.fab.alpha = 1.0, too\n  boltzflow report {folder} \
             shows when the loss rose"
        );
    }
    say!(
        "next:\n  boltzflow sample {folder} -n 10000 -o samples.xyz\n  boltzflow estimate \
         {folder}\n  boltzflow evaluate {folder} -n 100000\n  boltzflow report {folder}"
    )
}

/// Two lines about what is trained and where.
fn introduce(training: &Training) -> Result<(), Error> {
    let flow = &training.problem().flow;
    let (recipe, target) = training.recipe();
    say!(
        "target {}: {} particles in {} dimensions\nflow: {}; {} on {} \
         threads ({}){}",
        target.name,
        flow.system().particles(),
        flow.system().dimension(),
        flow.summary(),
        recipe.train.objective.name(),
        rayon::current_num_threads(),
        crate::engine::instruction_set().name(),
        match team().size() {
            1 => String::new(),
            ranks => format!(" on each of {ranks} ranks"),
        },
    )?;
    let folder = training.folder().map_or(Path::new("").display(), |f| f.path().display());
    say!("run folder {folder}")?;
    if let Objective::Fab(FabOptions { walkers: Some(walkers), .. }) = &recipe.train.objective {
        let steps = recipe.train.descent.steps;
        if walkers.from_step >= steps {
            warn(&format!(
                "there will be no walkers: train.fab.walkers.from_step is {}, and the training \
                 ends after {steps} steps",
                walkers.from_step
            ));
        }
    }
    Ok(())
}
