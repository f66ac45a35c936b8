//! What a training writes into its folder: rows of metrics and the model with its evaluation.

use std::time::Instant;

use crate::error::Error;
use crate::evaluation::Evaluation;
use crate::parallel::{team, Traffic};
use crate::run::{save_model, MetricsRow, MetricsWriter, ModelMetadata, RunFolder, SessionTotals};
use crate::train::{Problem, StepReport, TrainingState};

/// A folder that a training writes to, on rank 0.
pub(super) struct Record {
    pub folder: RunFolder,
    /// On rank 0, once it is [started](Self::start).
    metrics: Option<MetricsWriter>,
    since_row: SinceRow,
    /// When the last checkpoint was written.
    pub saved: Instant,
}

impl Record {
    pub fn new(folder: RunFolder) -> Self {
        Self { folder, metrics: None, since_row: SinceRow::new(0), saved: Instant::now() }
    }

    /// Writes recipe and target; a potential from Rust has no text. A collective operation.
    ///
    /// # Errors
    /// [`Error::Write`].
    pub fn write_input(&self, recipe: &str, target: &str) -> Result<(), Error> {
        let written = on_leader(|| match target {
            "" => self.folder.write_config(recipe),
            _ => self.folder.write_config(recipe).and_then(|()| self.folder.write_target(target)),
        });
        team().agree(written).map(drop)
    }

    /// Whether rank 0 has a model in the folder. A collective operation.
    pub fn has_model(&self) -> bool {
        team().allgather(self.folder.model().exists().into())[0] == 1
    }

    /// Starts the metrics, or continues them after `step`. A collective operation.
    ///
    /// # Errors
    /// Those of [`MetricsWriter`].
    pub fn start(&mut self, step: u64) -> Result<(), Error> {
        self.metrics = team().agree(on_leader(|| match step {
            0 => MetricsWriter::create(self.folder.metrics()),
            step => MetricsWriter::resume(self.folder.metrics(), step),
        }))?;
        self.since_row = SinceRow::new(step);
        Ok(())
    }

    /// Appends a row of what the last steps did.
    ///
    /// # Errors
    /// [`Error::Write`].
    pub fn append(&mut self, row: MetricsRow) -> Result<(), Error> {
        let row = MetricsRow {
            bytes_per_step: self.since_row.bytes_per_step(row.step),
            waiting_share: self.since_row.waiting_share(),
            ..row
        };
        self.since_row = SinceRow::new(row.step);
        self.metrics.as_mut().map_or(Ok(()), |metrics| metrics.append(&row))
    }

    /// Makes sure that all rows are on disk. A collective operation.
    ///
    /// # Errors
    /// [`Error::Write`].
    pub fn sync(&self) -> Result<(), Error> {
        team().agree(self.metrics.as_ref().map_or(Ok(()), MetricsWriter::sync))
    }

    /// Writes the model and its evaluation.
    ///
    /// # Errors
    /// [`Error::Write`].
    pub fn write_model(
        &self,
        problem: &Problem,
        theta: &[f32],
        metadata: &ModelMetadata,
        evaluation: &Evaluation,
    ) -> Result<(), Error> {
        on_leader(|| {
            save_model(self.folder.model(), problem.flow.layout(), theta, metadata)?;
            self.folder.write_evaluation(evaluation)
        })
        .map(|_| ())
    }
}

/// What `work` makes on rank 0; nothing elsewhere.
fn on_leader<T>(work: impl FnOnce() -> Result<T, Error>) -> Result<Option<T>, Error> {
    team().leads().then(work).transpose()
}

/// How much ranks had exchanged at the last row of metrics.
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

/// A row of metrics, without what [`Record::append`] adds.
pub(super) fn row(
    state: &TrainingState,
    report: &StepReport,
    totals: &SessionTotals,
    evaluation: Option<&Evaluation>,
) -> MetricsRow {
    let mean = |total: f64| (totals.steps > 0.0).then(|| total / totals.steps);
    // The threads' time that no evaluation took.
    let overhead = totals.thread_seconds - totals.flow_seconds - totals.potential_seconds;
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
        without_gradient: state.counters.without_gradient,
        rollbacks: state.health.rollbacks.into(),
        flow_seconds: totals.flow_seconds,
        potential_seconds: totals.potential_seconds,
        overhead_seconds: overhead.max(0.0),
        ..MetricsRow::default()
    };
    if let Some(evaluation) = evaluation {
        row.record(evaluation);
    }
    row
}
