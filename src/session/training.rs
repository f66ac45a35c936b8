//! A training that counts its steps, watches its health, and evaluates, writes and resumes itself.
//!
//! All ranks go through the same steps; rank 0 writes. After each step they agree on what only one
//! of them knows: a signal, the time for a checkpoint, a file that could not be written.

mod outcome;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::time::Instant;

use crate::config::{Recipe, Target};
use crate::error::Error;
use crate::evaluation::{evaluate, likelihood, Evaluation, EvaluationOptions};
use crate::parallel::team;
use crate::run::{
    load_model_on_all_ranks, Checkpoint, MetricsRow, ModelMetadata, RunFolder, SessionTotals,
};
use crate::samples::Samples;
use crate::train::{Problem, StepReport, Trainer, TrainingState, Verdict};
use crate::work;

use super::memory;
use super::progress::{Ending, Progress};
use super::ranks::same_on_all_ranks;
use super::record::{row, Record};
use super::reference::{self, Announce};
use super::trained::evaluation_options;

/// Rows of metrics between two evaluations.
const ROWS_PER_EVALUATION: u64 = 10;

/// What ranks exchange after a step.
const STOP: u64 = 1;
const SAVE: u64 = 2;

/// A training: in memory, or in a folder from which it can be resumed.
///
/// It alone counts steps, watches the loss and returns to earlier parameters when that diverges.
/// A step is the same however it is called: [`step`](Self::step) does one, [`run`](Self::run) all
/// that are left. Under MPI every method is a collective operation.
pub struct Training {
    recipe: Recipe,
    target: Target,
    problem: Problem,
    trainer: Box<dyn Trainer>,
    /// Everything that carries over from step to step.
    now: Checkpoint,
    /// Until then, the state can still be replaced by that of another run.
    has_begun: bool,
    record: Option<Record>,
    /// Rows of metrics, kept here where there is no run folder.
    rows: Vec<MetricsRow>,
    /// Reference samples, once asked for; the inner `None` if the recipe has none.
    reference: Option<Option<Samples>>,
    announce: Announce,
    best: Option<Best>,
    /// Whether the next step may fill the replay buffer; one that fails then does not leave the
    /// state as it was.
    fills: bool,
    /// Whether there is a model, in the folder or here.
    has_model: bool,
    stop: Arc<AtomicBool>,
}

/// The model that is kept.
struct Best {
    theta: Vec<f32>,
    metadata: ModelMetadata,
    evaluation: Evaluation,
}

impl Training {
    /// The training of this recipe on `target`, a [`Target`] or a potential; nothing is written.
    ///
    /// # Errors
    /// [`Error::Parameter`] with the key of the recipe that is wrong, does not fit the target, or
    /// needs more memory than there is; those of reading data.
    pub fn new(recipe: Recipe, target: impl Into<Target>) -> Result<Self, Error> {
        let target = target.into();
        let particles = target.particles();
        Self::with_trainer(recipe, target, |recipe, problem| recipe.trainer(problem, particles))
    }

    /// [`new`](Self::new) with a trainer of one's own, in the place of the recipe's objective.
    ///
    /// # Errors
    /// Those of [`new`](Self::new) and of `trainer`.
    pub fn with_trainer(
        recipe: Recipe,
        target: impl Into<Target>,
        trainer: impl FnOnce(&Recipe, &Problem) -> Result<Box<dyn Trainer>, Error>,
    ) -> Result<Self, Error> {
        recipe.validate()?;
        let target = target.into();
        reference::check_energy(&recipe, &target)?;
        memory::check_training(&recipe, &recipe.problem(target.potential.clone())?)?;
        same_on_all_ranks(&[&recipe.to_toml()?, &target.text])?;
        Self::unchecked(recipe, target, trainer)
    }

    fn unchecked(
        recipe: Recipe,
        target: Target,
        trainer: impl FnOnce(&Recipe, &Problem) -> Result<Box<dyn Trainer>, Error>,
    ) -> Result<Self, Error> {
        let problem = recipe.problem(target.potential.clone())?;
        let trainer = trainer(&recipe, &problem)?;
        let now = Checkpoint {
            state: trainer.start(&problem),
            totals: SessionTotals::default(),
            recipe: recipe.to_toml()?,
        };
        Ok(Self {
            recipe,
            target,
            problem,
            trainer,
            now,
            has_begun: false,
            record: None,
            rows: Vec::new(),
            reference: None,
            announce: |_| Ok(()),
            best: None,
            fills: true,
            has_model: false,
            stop: Arc::default(),
        })
    }

    /// A training that is only tried for its speed.
    pub(crate) fn trial(recipe: Recipe, target: Target) -> Result<Self, Error> {
        let particles = target.particles();
        Self::unchecked(recipe, target, |recipe, problem| recipe.trainer(problem, particles))
    }

    /// Calls `announce` with the number of reference samples before they are drawn.
    pub fn announce_reference(&mut self, announce: fn(usize) -> Result<(), Error>) {
        self.announce = announce;
    }

    /// Writes into `folder` from here on: recipe and target, metrics, checkpoints, and after each
    /// evaluation the model with its evaluation; where there are validation data, only the best
    /// one.
    ///
    /// # Errors
    /// Those of writing, of reading the model that the recipe starts from, or of reading the
    /// reference samples that are there.
    pub fn create_in(&mut self, folder: RunFolder) -> Result<(), Error> {
        self.record = Some(Record::new(folder));
        self.begin()?;
        self.start_record()
    }

    /// Continues from the last good checkpoint in `folder`, and writes there as by
    /// [`create_in`](Self::create_in). Returns a sentence for each damaged checkpoint.
    ///
    /// # Errors
    /// [`Error::Data`] when there are checkpoints and none is good; those of
    /// [`create_in`](Self::create_in).
    pub fn resume_in(&mut self, folder: RunFolder) -> Result<Vec<String>, Error> {
        let (found, damaged) = Checkpoint::load(folder.path(), &self.now.state)?;
        self.record = Some(Record::new(folder));
        match found {
            Some(found) => {
                let recipe = std::mem::take(&mut self.now.recipe);
                self.now = Checkpoint { recipe, ..found };
                self.has_begun = true;
            }
            None => self.begin()?,
        }
        self.start_record()?;
        Ok(damaged)
    }

    fn start_record(&mut self) -> Result<(), Error> {
        let Some(record) = &mut self.record else { return Ok(()) };
        let recipe = self.recipe.to_toml_in(record.folder.path())?;
        record.write_input(&recipe, &self.target.text)?;
        self.has_model = record.has_model();
        // Files are read, and refused, at once; drawing waits for the first evaluation.
        if reference::exist(&record.folder, &self.recipe) {
            let folder = Some(&record.folder);
            let found = reference::samples(folder, &self.target, &self.recipe, self.announce)?;
            self.reference = Some(found);
        }
        record.start(self.now.state.step)?;
        if self.now.state.step == 0 {
            // A folder without a checkpoint is one where nothing was done yet.
            self.save()?;
        }
        Ok(())
    }

    /// Before the first step: becomes the flow that another run ended with, if the recipe names
    /// one.
    fn begin(&mut self) -> Result<(), Error> {
        let from = self.recipe.flow.start_from.as_ref().filter(|_| !self.has_begun);
        self.has_begun = true;
        let Some(path) = from else { return Ok(()) };
        let model = RunFolder::elsewhere(path).model();
        // Only rank 0 may have access to it.
        let find = || self.recipe.folders.find(&model);
        let file = team().agree(team().leads().then(find).transpose())?.unwrap_or_default();
        let initial = Some(self.now.state.theta.clone());
        let (theta, metadata) =
            load_model_on_all_ranks(&file, self.problem.flow.layout(), initial)?;
        self.now.state.start_as(theta);
        self.now.state.counters.energy_evaluations = metadata.energy_evaluations;
        self.now.totals.train_seconds = metadata.train_seconds;
        Ok(())
    }

    /// What it trains on.
    pub fn problem(&self) -> &Problem {
        &self.problem
    }

    /// Recipe and target.
    pub fn recipe(&self) -> (&Recipe, &Target) {
        (&self.recipe, &self.target)
    }

    /// The objective.
    pub fn trainer(&self) -> &dyn Trainer {
        &*self.trainer
    }

    /// Everything that continues from step to step.
    pub fn state(&self) -> &TrainingState {
        &self.now.state
    }

    /// The folder that it writes to.
    pub fn folder(&self) -> Option<&RunFolder> {
        self.record.as_ref().map(|record| &record.folder)
    }

    /// Whether all steps are done.
    pub fn is_finished(&self) -> bool {
        self.now.state.step >= self.steps()
    }

    /// While it is true, [`run`](Self::run) stops after the step it is at, with a checkpoint. On
    /// the command line, a signal also ends a step that draws or waits, which is then done again.
    pub fn stop_flag(&self) -> Arc<AtomicBool> {
        self.stop.clone()
    }

    fn steps(&self) -> u64 {
        self.recipe.train.descent.steps as u64
    }

    /// Does all steps that are left, and calls `observe` after each on rank 0. In a folder it
    /// writes checkpoints at intervals of time, at the end and where it stops.
    ///
    /// # Errors
    /// Those of [`step`](Self::step), and of writing.
    pub fn run(&mut self, mut observe: impl FnMut(&Progress)) -> Result<Ending, Error> {
        let team = team();
        while !self.is_finished() {
            let progress = match self.step() {
                Err(Error::Stopped(_)) => return Ok(Ending::Stopped),
                result => result?,
            };
            if team.leads() {
                observe(&progress);
            }
            let seconds = self.recipe.checkpoint.every_seconds;
            let is_due = |record: &Record| record.saved.elapsed().as_secs_f64() >= seconds;
            let due = team.leads() && self.record.as_ref().is_some_and(is_due);
            let stop = self.stop.load(Ordering::Relaxed) || work::is_stopped();
            let words = team.allgather(u64::from(stop) * STOP + u64::from(due) * SAVE);
            let any = |word| words.iter().any(|words| words & word != 0);
            if any(STOP) || any(SAVE) || self.is_finished() {
                self.now.totals.is_open = self.is_finished();
                self.save()?;
            }
            if any(STOP) && !self.is_finished() {
                return Ok(Ending::Stopped);
            }
        }
        Ok(Ending::Finished)
    }

    /// Does one training step, and at intervals what follows it: an evaluation, a row of metrics,
    /// the model.
    ///
    /// # Errors
    /// When the potential fails for good, or at a signal: the state is then that before the step,
    /// and in a folder there is a checkpoint of it. When the folder cannot be written, or the
    /// training diverges for good.
    pub fn step(&mut self) -> Result<Progress, Error> {
        self.begin()?;
        let (next, every) = (self.now.state.step + 1, self.recipe.evaluate.every_steps as u64);
        let evaluates = next >= self.steps() || next.is_multiple_of(every);
        // A step that fails does not change the state, except for one that fills the buffer; an
        // evaluation comes after its step.
        let before =
            (evaluates || self.fills).then(|| (self.now.state.clone(), self.now.totals.clone()));
        let progress = match self.advance_and_evaluate(evaluates) {
            Ok(progress) => progress,
            Err(error) => {
                if let Some(before) = before {
                    (self.now.state, self.now.totals) = before;
                }
                return Err(self.keep_what_is_left(error));
            }
        };
        drop(before);
        self.fills = progress.rollback.is_some();
        if evaluates || next.is_multiple_of((every / ROWS_PER_EVALUATION).max(1)) {
            let written = self.write(&progress);
            team().agree(written)?;
        }
        Ok(progress)
    }

    fn advance_and_evaluate(&mut self, evaluates: bool) -> Result<Progress, Error> {
        let (report, rollback) = self.advance()?;
        let evaluation = if evaluates { Some(self.evaluate()?) } else { None };
        Ok(Progress {
            step: self.now.state.step,
            steps: self.steps(),
            report,
            train_seconds: self.now.totals.train_seconds,
            energy_evaluations: self.now.state.counters.energy_evaluations,
            evaluation,
            rollback,
        })
    }

    /// The step itself, and the verdict of its loss on the training's health.
    pub(crate) fn advance(&mut self) -> Result<(StepReport, Option<String>), Error> {
        let Checkpoint { state, totals, .. } = &mut self.now;
        let start = Instant::now();
        let report = self.trainer.step(&self.problem, state)?;
        let seconds = start.elapsed().as_secs_f64();
        totals.train_seconds += seconds;
        totals.thread_seconds += seconds * team().threads() as f64;
        totals.flow_seconds += report.flow_seconds;
        totals.potential_seconds += report.potential_seconds;
        if report.loss.is_finite() && report.gradient_norm.is_finite() {
            totals.loss += report.loss;
            totals.gradient_norm += report.gradient_norm;
            totals.steps += 1.0;
        }
        state.step += 1;
        let rollback = match state.judge(&report) {
            Verdict::Continue => None,
            Verdict::Good => {
                state.save_good()?;
                None
            }
            Verdict::Diverged(sentence) => {
                state.roll_back()?;
                Some(sentence)
            }
            Verdict::Hopeless(sentence) => return Err(Error::Run(sentence)),
        };
        Ok((report, rollback))
    }

    pub(super) fn evaluate(&mut self) -> Result<Evaluation, Error> {
        let reference = match self.reference.take() {
            Some(reference) => reference,
            None => reference::samples(self.folder(), &self.target, &self.recipe, self.announce)?,
        };
        let Checkpoint { state, totals, .. } = &self.now;
        let positions = reference.as_ref().map(|samples| samples.positions.as_slice());
        let options = evaluation_options(&self.recipe, &self.target);
        let options = EvaluationOptions { step: state.step, ..options };
        let (theta, step_sizes) = (&state.average, state.own.step_sizes());
        let found = evaluate(&self.problem, theta, positions, step_sizes, options);
        self.reference = Some(reference);
        let (evaluation, _) = found?;
        // The same draws each time, so that differences come from the models alone.
        let draws = options.draws.max(1);
        let nll = |x| likelihood(&self.problem, theta, x, draws, 0).0;
        let held_back = Some(self.trainer.validation()).filter(|x| !x.is_empty());
        let validation_nll = held_back.map(nll);
        team().go_on()?;
        Ok(Evaluation {
            energy_evaluations: state.counters.energy_evaluations,
            train_seconds: totals.train_seconds,
            validation_nll,
            ..evaluation
        })
    }

    /// A row of metrics; after an evaluation the model, if it is the best so far.
    fn write(&mut self, progress: &Progress) -> Result<(), Error> {
        let Checkpoint { state, totals, recipe } = &mut self.now;
        let evaluation = progress.evaluation.as_ref();
        let row = row(state, &progress.report, totals, evaluation);
        (totals.loss, totals.gradient_norm, totals.steps) = (0.0, 0.0, 0.0);
        match &mut self.record {
            Some(record) => record.append(row)?,
            None => self.rows.push(row),
        }
        let Some(evaluation) = evaluation else { return Ok(()) };
        let least = totals.best_validation.unwrap_or(f64::INFINITY);
        // The first one is kept whatever it is, so that there is a model.
        if self.has_model
            && evaluation.validation_nll.is_some_and(|now| now.is_nan() || now >= least)
        {
            return Ok(());
        }
        totals.best_validation = evaluation.validation_nll.filter(|nll| nll.is_finite());
        let metadata = ModelMetadata {
            recipe: recipe.clone(),
            seed: self.problem.seed,
            step: state.step,
            train_seconds: evaluation.train_seconds,
            energy_evaluations: state.counters.energy_evaluations,
            species: self.problem.flow.species().to_vec(),
            ..ModelMetadata::default()
        };
        let theta = state.average.clone();
        self.has_model = true;
        let written = self.record.as_ref().map_or(Ok(()), |record| {
            record.write_model(&self.problem, &theta, &metadata, evaluation)
        });
        self.best = Some(Best { theta, metadata, evaluation: evaluation.clone() });
        written
    }

    /// After an error: where a potential failed for good, or at a signal, a checkpoint keeps the
    /// training.
    fn keep_what_is_left(&mut self, error: Error) -> Error {
        let fault = match error {
            Error::Evaluation(fault) => fault,
            Error::Stopped(_) => return self.save().err().unwrap_or(error),
            other => return other,
        };
        let Some(record) = &self.record else { return Error::Evaluation(fault) };
        let step = self.now.state.step;
        match self.now.save(record.folder.path()) {
            Ok(()) => Error::Run(format!(
                "{fault}. A checkpoint of step {step} is kept: the same command goes on from there"
            )),
            Err(error) => Error::Run(format!("{fault}; and no checkpoint of step {step}: {error}")),
        }
    }

    /// Writes a checkpoint, if there is a folder.
    ///
    /// # Errors
    /// [`Error::Write`]; earlier checkpoints are untouched then.
    pub fn save(&mut self) -> Result<(), Error> {
        let Some(record) = &mut self.record else { return Ok(()) };
        record.sync()?;
        self.now.save(record.folder.path())?;
        record.saved = Instant::now();
        Ok(())
    }
}
