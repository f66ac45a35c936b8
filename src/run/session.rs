//! A training from its first step to its last: metrics, evaluations and the model.
//!
//! All ranks go through the same steps; rank 0 writes. After each step they agree on what only one of them
//! knows: a signal, the time for a checkpoint, a file that could not be written.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use crate::error::Error;
use crate::evaluation::{evaluate, likelihood, Evaluation, EvaluationOptions};
use crate::parallel::{team, Traffic};
use crate::train::{Problem, StepReport, Trainer, TrainingState, Verdict};

use super::checkpoint::{Checkpoint, SessionTotals};
use super::{save_model, MetricsRow, MetricsWriter, ModelMetadata, RunFolder};

/// What a training session does besides its steps.
#[derive(Debug, Clone, PartialEq)]
pub struct SessionOptions {
    /// Training steps in all.
    pub steps: u64,
    /// Steps between evaluations.
    pub evaluate_every: u64,
    /// The evaluations; their `step` is set here.
    pub evaluation: EvaluationOptions,
    /// Seconds between checkpoints.
    pub checkpoint_seconds: f64,
    /// The resolved recipe, which model and checkpoints carry.
    pub recipe: String,
}

/// Rows of metrics between two evaluations.
const ROWS_PER_EVALUATION: u64 = 10;

/// What an observer is told after every step.
pub struct Progress<'a> {
    /// The step's report.
    pub report: &'a StepReport,
    /// The state after it.
    pub state: &'a TrainingState,
    /// Seconds of training so far.
    pub train_seconds: f64,
    /// The evaluation, after a step that has one.
    pub evaluation: Option<&'a Evaluation>,
    /// What was done about a divergence, after a step that was taken for one.
    pub rollback: Option<&'a str>,
}

/// How a session ended.
pub enum Ending {
    /// All steps are done.
    Finished(Box<TrainingState>, Box<Evaluation>),
    /// It was told to stop, after this step; a checkpoint holds the rest.
    Stopped(u64),
}

/// Runs all steps from the start or from a checkpoint, which may be one of before the first step; writes `metrics.csv` as it goes, the model and its figures
/// at every evaluation (where the trainer has validation data, at those that are the best so far), and checkpoints at intervals of time, at the end and when `stop` turns true.
/// `reference` gives unbiased samples of the target for the forward figures, which do not enter the
/// training; it is asked at evaluations only, so that drawing them delays no step before.
///
/// # Errors
/// When the potential fails for good, which leaves a checkpoint from before that step; when the
/// folder cannot be written, or the training has stopped making sense. The last model written stays.
// The session is where everything meets; a struct of these would be read once.
#[allow(clippy::too_many_arguments)]
pub fn train<'r>(
    folder: &RunFolder,
    problem: &Problem,
    trainer: &dyn Trainer,
    options: &SessionOptions,
    reference: &dyn Fn() -> Result<Option<&'r [f64]>, Error>,
    resume: Option<Checkpoint>,
    stop: &AtomicBool,
    observe: &mut dyn FnMut(Progress<'_>),
) -> Result<Ending, Error> {
    let team = team();
    let (mut state, mut totals, mut metrics) = match resume {
        Some(checkpoint) if checkpoint.state.step > 0 => {
            let step = checkpoint.state.step;
            let metrics =
                team.agree(on_leader(|| MetricsWriter::resume(folder.metrics(), step)))?;
            (checkpoint.state, checkpoint.totals, metrics)
        }
        before => {
            let metrics = team.agree(on_leader(|| MetricsWriter::create(folder.metrics())))?;
            // From the start: a folder without a checkpoint is one where nothing was done yet.
            let mut checkpoint = before.unwrap_or_else(|| Checkpoint {
                state: trainer.start(problem),
                totals: SessionTotals::default(),
                recipe: options.recipe.clone(),
            });
            checkpoint.save(folder.path())?;
            (checkpoint.state, checkpoint.totals, metrics)
        }
    };
    let mut saved = Instant::now();
    let mut since_row = SinceRow::new(state.step);
    let row_every = (options.evaluate_every / ROWS_PER_EVALUATION).max(1);
    loop {
        let next = state.step + 1;
        let last = next >= options.steps;
        let evaluates = last || next.is_multiple_of(options.evaluate_every);
        // A step that fails leaves the state alone, but for the first one, which fills the buffer; an
        // evaluation comes after its step.
        let before = (evaluates || next == 1).then(|| (state.clone(), totals.clone()));
        let start = Instant::now();
        let report = match trainer.step(problem, &mut state) {
            Ok(report) => report,
            Err(error) => {
                let (state, totals) = before.unwrap_or((state, totals));
                return Err(keep(folder, options, state, totals, error));
            }
        };
        let seconds = start.elapsed().as_secs_f64();
        totals.train_seconds += seconds;
        totals.thread_seconds += seconds * team.threads() as f64;
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

        let mut evaluated = None;
        if let Some((state_before, totals_before)) = before.filter(|_| evaluates) {
            let evaluation = EvaluationOptions { step: state.step, ..options.evaluation };
            let step_sizes = state.own.step_sizes();
            match reference().and_then(|reference| {
                evaluate(problem, &state.average, reference, step_sizes, evaluation)
            }) {
                Ok((evaluation, _)) => {
                    // The same draws each time, so that models differ by themselves alone.
                    let draws = evaluation.draws.max(1);
                    let nll = |x| likelihood(problem, &state.average, x, draws, 0).0;
                    let held_back = Some(trainer.validation()).filter(|x| !x.is_empty());
                    evaluated = Some(Evaluation {
                        energy_evaluations: state.counters.energy_evaluations,
                        train_seconds: totals.train_seconds,
                        validation_nll: held_back.map(nll),
                        ..evaluation
                    });
                }
                Err(error) => {
                    return Err(keep(folder, options, state_before, totals_before, error))
                }
            }
        }
        let mut written = Ok(());
        if evaluated.is_some() || state.step.is_multiple_of(row_every) {
            let row = MetricsRow {
                bytes_per_step: since_row.bytes_per_step(state.step),
                waiting_share: since_row.waiting_share(),
                ..row(&state, &report, &totals, evaluated.as_ref())
            };
            since_row = SinceRow::new(state.step);
            written = metrics.as_mut().map_or(Ok(()), |metrics| metrics.append(&row));
            (totals.loss, totals.gradient_norm, totals.steps) = (0.0, 0.0, 0.0);
        }
        let mut is_kept = false;
        if team.leads() && written.is_ok() {
            observe(Progress {
                report: &report,
                state: &state,
                train_seconds: totals.train_seconds,
                evaluation: evaluated.as_ref(),
                rollback: rollback.as_deref(),
            });
            let best = totals.best_validation;
            let kept = evaluated.as_ref().filter(|evaluation| {
                let (now, best) = (evaluation.validation_nll, best.unwrap_or(f64::INFINITY));
                // The first one is kept whatever it is, so that there is a model.
                now.is_none_or(|now| now < best) || !folder.model().exists()
            });
            if let Some(evaluation) = kept {
                is_kept = true;
                totals.best_validation = evaluation.validation_nll.filter(|nll| nll.is_finite());
                written = write_model(folder, problem, options, &state, evaluation);
            }
        }
        let due = last || saved.elapsed().as_secs_f64() >= options.checkpoint_seconds;
        let words = team.allgather(
            u64::from(stop.load(Ordering::Relaxed)) * STOP
                + u64::from(team.leads() && due) * SAVE
                + u64::from(written.is_err()) * FAILED,
        );
        let said = |word| words.iter().any(|said| said & word != 0);
        if said(FAILED) {
            team.agree(written)?;
        }
        let stopping = said(STOP);
        if said(SAVE) || stopping {
            let recipe = options.recipe.clone();
            team.agree(metrics.as_ref().map_or(Ok(()), MetricsWriter::sync))?;
            let mut checkpoint = Checkpoint { state, totals, recipe };
            checkpoint.save(folder.path())?;
            Checkpoint { state, totals, .. } = checkpoint;
            saved = Instant::now();
        }
        match evaluated {
            Some(evaluation) if last => {
                let known = is_kept || !team.leads();
                let evaluation = if known { evaluation } else { folder.read_evaluation()? };
                return Ok(Ending::Finished(Box::new(state), Box::new(evaluation)));
            }
            _ if stopping => return Ok(Ending::Stopped(state.step)),
            _ => {}
        }
    }
}

/// What ranks tell each other after a step.
const STOP: u64 = 1;
const SAVE: u64 = 2;
const FAILED: u64 = 4;

/// What `work` makes on rank 0; nothing elsewhere.
fn on_leader<T>(work: impl FnOnce() -> Result<T, Error>) -> Result<Option<T>, Error> {
    if team().leads() {
        work().map(Some)
    } else {
        Ok(None)
    }
}

/// Where the talk between ranks stood at the last row of metrics.
struct SinceRow {
    step: u64,
    start: Instant,
    traffic: Traffic,
}

impl SinceRow {
    fn new(step: u64) -> Self {
        Self { step, start: Instant::now(), traffic: team().traffic() }
    }

    fn bytes_per_step(&self, step: u64) -> Option<f64> {
        let bytes = team().traffic().bytes - self.traffic.bytes;
        (!team().is_alone()).then(|| bytes as f64 / (step - self.step).max(1) as f64)
    }

    fn waiting_share(&self) -> Option<f64> {
        let seconds = team().traffic().seconds - self.traffic.seconds;
        (!team().is_alone()).then(|| seconds / self.start.elapsed().as_secs_f64().max(1e-9))
    }
}

fn write_model(
    folder: &RunFolder,
    problem: &Problem,
    options: &SessionOptions,
    state: &TrainingState,
    evaluation: &Evaluation,
) -> Result<(), Error> {
    let metadata = ModelMetadata {
        recipe: options.recipe.clone(),
        seed: problem.seed,
        step: state.step,
        train_seconds: evaluation.train_seconds,
        energy_evaluations: state.counters.energy_evaluations,
        species: problem.flow.species().to_vec(),
        ..ModelMetadata::default()
    };
    save_model(folder.model(), problem.flow.layout(), &state.average, &metadata)?;
    folder.write_evaluation(evaluation)
}

/// The threads' time that no evaluation took.
fn overhead(totals: &SessionTotals) -> f64 {
    (totals.thread_seconds - totals.flow_seconds - totals.potential_seconds).max(0.0)
}

/// Keeps what a failed potential leaves of a training, and says so.
fn keep(
    folder: &RunFolder,
    options: &SessionOptions,
    state: TrainingState,
    totals: SessionTotals,
    error: Error,
) -> Error {
    let Error::Evaluation(fault) = error else { return error };
    let step = state.step;
    let mut checkpoint = Checkpoint { state, totals, recipe: options.recipe.clone() };
    match checkpoint.save(folder.path()) {
        Ok(()) => Error::Run(format!(
            "{fault}. A checkpoint of step {step} is kept: the same command goes on from there"
        )),
        Err(error) => Error::Run(format!("{fault}; and no checkpoint of step {step}: {error}")),
    }
}

fn row(
    state: &TrainingState,
    report: &StepReport,
    totals: &SessionTotals,
    evaluation: Option<&Evaluation>,
) -> MetricsRow {
    let mean = |total: f64| (totals.steps > 0.0).then(|| total / totals.steps);
    let mut row = MetricsRow {
        step: state.step,
        train_seconds: totals.train_seconds,
        energy_evaluations: state.counters.energy_evaluations,
        learning_rate: report.learning_rate,
        loss: mean(totals.loss),
        gradient_norm: mean(totals.gradient_norm),
        gradients_dropped: state.counters.gradients_dropped,
        gradients_clipped: state.counters.gradients_clipped,
        acceptance: report.acceptance,
        flow_acceptance: report.flow_acceptance,
        hmc_step_size: report.hmc_step_size,
        recoverable_failures: state.counters.recoverable_failures,
        nonfinite_weights: state.counters.nonfinite_weights,
        rollbacks: state.health.rollbacks.into(),
        flow_seconds: totals.flow_seconds,
        potential_seconds: totals.potential_seconds,
        overhead_seconds: overhead(totals),
        ..MetricsRow::default()
    };
    if let Some(evaluation) = evaluation {
        row.record(evaluation);
    }
    row
}
