//! Training.

use std::path::{Path, PathBuf};

use boltzflow::session::Destination;
use boltzflow::{Ending, Error, Evaluation, Recipe, Registry, Trained, Training};
use pyo3::prelude::*;

use crate::desk::{Desk, Shows};
use crate::errors::{exception, About};
use crate::flow::Flow;
use crate::target::Source;

/// What `boltzflow.train` calls the folder, and how a change of the recipe is accepted.
const NAMES: [&str; 2] = ["output", "`force=True`"];

/// Trains a flow and returns it, or nothing if `progress` stopped it by an exception.
#[pyfunction]
#[allow(clippy::too_many_arguments)]
pub fn train(
    py: Python<'_>,
    energy: Option<&Bound<'_, PyAny>>,
    recipe: Option<&Bound<'_, PyAny>>,
    options: &Bound<'_, PyAny>,
    seed: Option<u64>,
    threads: usize,
    output: Option<PathBuf>,
    force: bool,
    progress: Option<&Bound<'_, PyAny>>,
) -> PyResult<Flow> {
    let name = energy.and_then(|energy| energy.extract::<String>().ok());
    let source = energy.map(Source::read).transpose()?;
    let custom = source.is_some().then_some("custom");
    let (recipe, file) = crate::recipe::read(recipe, options, name.as_deref().or(custom), seed)?;
    let source = match source {
        Some(source) => source,
        None => {
            let target = recipe.load_target(&Registry::builtin());
            Source::Target(Box::new(target.map_err(|e| exception(py, e, About::Target))?))
        }
    };
    let job = Job { recipe, file: &file, source: &source, output: output.as_deref(), force };
    let (done, trouble) = source.serve(py, threads, &Shows { progress }, |desk| job.run(desk))?;
    let Outcome { result, kept } = done;
    match (trouble, result) {
        (Some(trouble), _) => Err(with_note(py, trouble, kept)),
        (None, Ok(Some((trained, evaluation)))) => Ok(Flow::new(trained, Some(evaluation), source)),
        // Another thread's call was interrupted.
        (None, Ok(None)) => {
            Err(with_note(py, exception(py, Error::Stopped(String::new()), About::Recipe), kept))
        }
        (None, Err(error)) => Err(with_note(py, exception(py, error, About::Recipe), kept)),
    }
}

/// Says below an exception, where Python can do that, how to go on.
fn with_note(py: Python<'_>, error: PyErr, kept: Option<(u64, PathBuf)>) -> PyErr {
    let Some((step, folder)) = kept else { return error };
    let note = format!(
        "boltzflow: a checkpoint of step {step} is kept in {}: the same call goes on from there",
        folder.display()
    );
    let _ = error.value(py).call_method1("add_note", (note,));
    error
}

/// A training to be done.
struct Job<'a> {
    recipe: Recipe,
    file: &'a Path,
    source: &'a Source,
    output: Option<&'a Path>,
    force: bool,
}

/// How it ended.
struct Outcome {
    /// The flow, or nothing if it was stopped.
    result: Result<Option<(Trained, Evaluation)>, Error>,
    /// The step and the folder of the checkpoint from which it can go on.
    kept: Option<(u64, PathBuf)>,
}

impl Job<'_> {
    fn run(self, desk: &Desk) -> Outcome {
        let failed = |error| Outcome { result: Err(error), kept: None };
        let training = Training::new(self.recipe.clone(), self.source.target(desk));
        let mut training = match training {
            Ok(training) => training,
            Err(error) => return failed(error),
        };
        let resumes = match self.open(&mut training) {
            Ok(resumes) => resumes,
            Err(error) => return failed(error),
        };
        let result = finish(&mut training, desk);
        let ended = matches!(result, Ok(Some(_)));
        let folder = training.folder();
        if let (Err(error), Some(folder), false) = (&result, folder, resumes) {
            // Before the first step there is nothing to keep.
            if error.exit_code() == 2 || matches!(error, Error::Evaluation(_)) {
                folder.discard();
                return Outcome { result, kept: None };
            }
        }
        let kept =
            folder.filter(|_| !ended).map(|f| (training.state().step, f.path().to_path_buf()));
        Outcome { result, kept }
    }

    /// Opens the folder, if there is one; whether the training goes on from a checkpoint.
    fn open(&self, training: &mut Training) -> Result<bool, Error> {
        let Some(output) = self.output else { return Ok(false) };
        let destination =
            Destination { output: Some(output), resume: false, force: self.force, names: NAMES };
        let (recipe, target) = training.recipe();
        let chosen = destination.choose(self.file, recipe, &target.text)?;
        if chosen.resumes {
            training.resume_in(chosen.folder)?;
        } else {
            training.create_in(chosen.folder)?;
        }
        Ok(chosen.resumes)
    }
}

/// Does all steps; nothing if it was stopped.
fn finish(training: &mut Training, desk: &Desk) -> Result<Option<(Trained, Evaluation)>, Error> {
    let stop = training.stop_flag();
    while !training.is_finished() {
        let ending = training.run(|progress| {
            if !desk.progress(progress) {
                stop.store(true, std::sync::atomic::Ordering::Relaxed);
            }
        })?;
        if ending == Ending::Stopped {
            return Ok(None);
        }
    }
    let found = (training.trained()?, training.evaluation()?);
    if let Some(folder) = training.folder() {
        found.0.draw(folder.path(), |_| Ok(()))?;
        training.close()?;
    }
    Ok(Some(found))
}
