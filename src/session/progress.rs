//! What a training reports.

use crate::evaluation::Evaluation;
use crate::train::StepReport;

/// What one step did.
#[derive(Debug, Clone)]
pub struct Progress {
    /// Steps done.
    pub step: u64,
    /// Steps in all.
    pub steps: u64,
    /// The step's report.
    pub report: StepReport,
    /// Seconds of training so far.
    pub train_seconds: f64,
    /// Energy evaluations of the training so far.
    pub energy_evaluations: u64,
    /// The evaluation, after a step that has one.
    pub evaluation: Option<Evaluation>,
    /// What was done about a divergence, after a step that was taken for one.
    pub rollback: Option<String>,
}

/// How [`Training::run`](crate::Training::run) ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// All steps are done.
    Finished,
    /// Its [stop flag](crate::Training::stop_flag) was set; a checkpoint in the folder holds the
    /// rest.
    Stopped,
}
