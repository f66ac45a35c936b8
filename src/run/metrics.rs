//! `metrics.csv`: one row per logged step, on disk as soon as it is known.
//!
//! Columns, units and meanings are listed by [`metrics_columns`]; a value that was not computed in
//! a row is an empty cell. Counts and times are totals since the start of training, so that a
//! resumed run continues them; means are over the steps since the previous row.

use std::fs::{self, File, OpenOptions};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::diagnostics::are_few;
use crate::error::Error;
use crate::evaluation::{Evaluation, Figure};
use crate::files::write_atomically;

/// Declares the row and, from the same text, the list of its columns. A column is described here,
/// and then possibly taken `from` an evaluation, or it is a [`Figure`].
macro_rules! metrics {
    ($($(#[unit = $unit:literal])? $name:ident: $type:ty =
        $(Figure::$figure:ident)? $($meaning:literal)? $(from $source:expr)?,)*) => {
        /// One row of `metrics.csv`; see [`metrics_columns`].
        #[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
        #[serde(default)]
        pub struct MetricsRow {
            $(
                #[doc = concat!($($meaning)? $("[`Figure::", stringify!($figure), "`].")?)]
                pub $name: $type,
            )*
        }

        impl MetricsRow {
            /// Fills in the columns that an evaluation has.
            pub fn record(&mut self, evaluation: &Evaluation) {
                $(
                    $(self.$name = Some(evaluation).and_then($source);)?
                    $(self.$name = Figure::$figure.value(evaluation);)?
                )*
            }
        }

        const COLUMNS: &[MetricsColumn] = &[$(MetricsColumn {
            name: stringify!($name),
            unit: last(&[concat!($($unit)?) $(, Figure::$figure.facts().unit.symbol())?]),
            meaning: $($meaning)? $(Figure::$figure.facts().meaning)?,
        },)*];
    };
}

impl MetricsRow {
    /// Whether there is a reverse effective sample size that rests on few samples.
    pub fn rests_on_few(&self) -> bool {
        let figures = (self.reverse_ess, self.ess_samples, self.largest_weight_share);
        let (Some(ess), Some(samples), Some(share)) = figures else { return false };
        // N · ESS is (Σw)²/Σw².
        let of_squares = share * share * samples as f64 * ess;
        are_few(share, of_squares, self.pareto_k.unwrap_or(f64::NAN))
    }
}

const fn last(texts: &[&'static str]) -> &'static str {
    texts[texts.len() - 1]
}

/// A column of `metrics.csv`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MetricsColumn {
    /// Its header.
    pub name: &'static str,
    /// Its unit; empty for a count or a pure number.
    pub unit: &'static str,
    /// What it means.
    pub meaning: &'static str,
}

metrics! {
    step: u64 = "Training steps done.",
    #[unit = "s"]
    train_seconds: f64 = "Wall time of training so far, without evaluations.",
    energy_evaluations: u64 = "Energy (and gradient) evaluations of the target by training so far.",
    learning_rate: f64 = "Learning rate of the last step.",
    loss: Option<f64> = "Mean training loss since the previous row.",
    gradient_norm: Option<f64> = "Mean norm of the loss's gradient before clipping.",
    gradients_dropped: u64 = "Steps so far whose gradient was too large and was dropped.",
    gradients_clipped: u64 = "Steps so far whose gradient was scaled down.",
    acceptance: Option<f64> =
        "Mean acceptance probability of the HMC transitions of annealing or walkers.",
    hmc_step_size: Option<f64> = "Mean leapfrog step size over the annealing's densities.",
    recoverable_failures: u64 = "Configurations so far without a finite energy.",
    nonfinite_weights: u64 = "Samples so far whose log weight was not finite; their weight is 0.",
    reverse_ess: Option<f64> = Figure::ReverseEss,
    forward_ess: Option<f64> = Figure::ForwardEss,
    ais_ess: Option<f64> = Figure::AisEss,
    ess_samples: Option<u64> =
        "Number N of samples behind the effective sample sizes." from
        |e| Some(e.samples as u64).filter(|samples| *samples > 0),
    log_z: Option<f64> = Figure::LogZ,
    log_z_error: Option<f64> = "Standard error of log_z." from |e| Figure::LogZ.error(e),
    nll: Option<f64> = Figure::Nll,
    #[unit = "nat"]
    nll_error: Option<f64> = "Standard error of nll." from |e| Figure::Nll.error(e),
    largest_weight_share: Option<f64> = Figure::LargestWeightShare,
    pareto_k: Option<f64> = Figure::ParetoK,
    #[unit = "s"]
    flow_seconds: f64 = "Time in the flow and its gradients so far, summed over threads.",
    #[unit = "s"]
    potential_seconds: f64 = "Time in the target's energy so far, summed over threads.",
    samples_per_second: Option<f64> = Figure::SamplesPerSecond,
    rollbacks: u64 =
        "Returns so far to earlier parameters, with half the learning rate, from a divergence.",
    flow_acceptance: Option<f64> =
        "Share of the flow's draws that walkers accepted as their next place.",
    #[unit = "s"]
    overhead_seconds: f64 =
        "Time so far in neither flow nor energy, summed over threads: buffer, optimizer, waiting.",
    validation_nll: Option<f64> = Figure::ValidationNll,
    #[unit = "B"]
    bytes_per_step: Option<f64> =
        "Bytes per step that rank 0 sent and received since the previous row; empty if alone.",
    #[unit = "s/s"]
    waiting_share: Option<f64> =
        "Share of rank 0's time since the previous row that it waited for others and the network.",
    without_gradient: u64 =
        "Configurations so far with a finite energy whose gradient is not a number.",
    bennett_log_z: Option<f64> = Figure::BennettLogZ,
    contradictions: Option<u64> =
        "Number of comparisons that contradict log_z or ais_ess, which then cannot be relied on."
        from |e| Some(e.contradictions.len() as u64),
}

/// Columns of the first files; a file may end with these, and later ones have their defaults.
const FIRST_COLUMNS: usize = 25;

/// All columns in order, with units and meanings.
pub fn metrics_columns() -> &'static [MetricsColumn] {
    COLUMNS
}

/// Appends rows to a `metrics.csv`; every row is flushed.
#[derive(Debug)]
pub struct MetricsWriter {
    path: PathBuf,
    writer: csv::Writer<File>,
}

impl MetricsWriter {
    /// Starts a file with its header; an existing one is replaced.
    ///
    /// # Errors
    /// [`Error::Write`].
    pub fn create(path: impl AsRef<Path>) -> Result<Self, Error> {
        write_rows(path.as_ref(), &[])?;
        Self::append_to(path.as_ref())
    }

    /// Continues the file of a run that resumes after `step`: later rows are removed.
    ///
    /// # Errors
    /// Those of [`truncate_metrics`].
    pub fn resume(path: impl AsRef<Path>, step: u64) -> Result<Self, Error> {
        truncate_metrics(&path, step)?;
        Self::append_to(path.as_ref())
    }

    fn append_to(path: &Path) -> Result<Self, Error> {
        let file = OpenOptions::new()
            .append(true)
            .open(path)
            .map_err(|source| Error::Write { path: path.to_path_buf(), source })?;
        let writer = csv::WriterBuilder::new().has_headers(false).from_writer(file);
        Ok(Self { path: path.to_path_buf(), writer })
    }

    /// Puts all rows on disk, which a checkpoint relies on.
    ///
    /// # Errors
    /// [`Error::Write`].
    pub fn sync(&self) -> Result<(), Error> {
        let synced = self.writer.get_ref().sync_data();
        synced.map_err(|source| Error::Write { path: self.path.clone(), source })
    }

    /// Writes one row.
    ///
    /// # Errors
    /// [`Error::Write`].
    pub fn append(&mut self, row: &MetricsRow) -> Result<(), Error> {
        self.writer
            .serialize(row)
            .map_err(std::io::Error::from)
            .and_then(|()| self.writer.flush())
            .map_err(|source| Error::Write { path: self.path.clone(), source })
    }
}

/// Reads all rows. A last line without its line end was cut off by a crash and is left out.
///
/// # Errors
/// [`Error::Read`]; [`Error::Data`] with the line, or with the first column that differs.
pub fn read_metrics(path: impl AsRef<Path>) -> Result<Vec<MetricsRow>, Error> {
    let path = path.as_ref();
    let mut text =
        fs::read(path).map_err(|source| Error::Read { path: path.to_path_buf(), source })?;
    let complete = text.iter().rposition(|&b| b == b'\n').map_or(0, |end| end + 1);
    text.truncate(complete);
    let wrong = |problem| Error::Data { file: path.to_path_buf(), problem };

    let mut reader = csv::Reader::from_reader(text.as_slice());
    let header = reader.headers().map_err(|e| wrong(e.to_string()))?.clone();
    for (index, column) in COLUMNS.iter().enumerate() {
        match header.get(index) {
            Some(name) if name == column.name => {}
            None if index >= FIRST_COLUMNS => break,
            found => {
                return Err(wrong(format!(
                    "column {} should be `{}` and is {}: this is not a metrics.csv of boltzflow {}",
                    index + 1,
                    column.name,
                    found.map_or("missing".to_string(), |name| format!("`{name}`")),
                    env!("CARGO_PKG_VERSION")
                )))
            }
        }
    }
    reader.deserialize().collect::<Result<_, _>>().map_err(|e| wrong(e.to_string()))
}

/// Removes the rows of steps after `step`, such as those that a resumed run will do again.
///
/// # Errors
/// Those of [`read_metrics`], and [`Error::Write`].
pub fn truncate_metrics(path: impl AsRef<Path>, step: u64) -> Result<(), Error> {
    let mut rows = read_metrics(&path)?;
    rows.retain(|row| row.step <= step);
    write_rows(path.as_ref(), &rows)
}

fn write_rows(path: &Path, rows: &[MetricsRow]) -> Result<(), Error> {
    write_atomically(path, |file| {
        let mut writer = csv::WriterBuilder::new().has_headers(false).from_writer(file);
        writer.write_record(COLUMNS.iter().map(|column| column.name))?;
        for row in rows {
            writer.serialize(row)?;
        }
        writer.flush()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_of_columns_is_the_header_that_serde_writes() {
        let mut writer = csv::Writer::from_writer(Vec::new());
        writer.serialize(MetricsRow::default()).unwrap();
        let text = String::from_utf8(writer.into_inner().unwrap()).unwrap();
        let names: Vec<_> = metrics_columns().iter().map(|c| c.name).collect();
        assert_eq!(text.lines().next().unwrap(), names.join(","));
        assert!(metrics_columns().iter().all(|c| !c.meaning.is_empty()));
    }
}
