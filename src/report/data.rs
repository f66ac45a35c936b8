//! What a page shows, as numbers.

use serde::Serialize;

use super::facts::Facts;
use super::molecules::MoleculePictures;
use super::numbers::{shortened, Picture, Short};
use super::verdict::Verdict;
use crate::diagnostics::pair_distances;
use crate::error::Error;
use crate::evaluation::Evaluation;
use crate::plot::{distance_label, log_weight_outline, outlines, Distribution};
use crate::run::{read_metrics, MetricsRow, RunFolder};
use crate::samples::{Particles, Samples};

/// Several runs on one page.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// Version of the program that made the page.
    pub version: &'static str,
    /// Whether the page asks for new data every few seconds.
    pub live: bool,
    /// The runs, in the order in which they were named.
    pub runs: Vec<RunReport>,
}

/// One run.
#[derive(Debug, Clone, Serialize)]
pub struct RunReport {
    /// What does not change.
    pub facts: Facts,
    /// The last evaluation; `None` before the first.
    pub evaluation: Option<Evaluation>,
    /// What the evaluation means.
    pub verdict: Verdict,
    /// `metrics.csv` by columns.
    pub curves: Curves,
    /// What explains dips and jumps of the curves.
    pub remarks: Vec<String>,
    /// Distributions and configurations; `None` while it is trained.
    pub pictures: Option<Pictures>,
}

/// The columns of `metrics.csv` that are drawn; not a number (NaN) where a row has no value.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Curves {
    step: Vec<u64>,
    seconds: Vec<Short>,
    evaluations: Vec<u64>,
    loss: Vec<Short>,
    reverse: Vec<Short>,
    forward: Vec<Short>,
    nll: Vec<Short>,
    validation_nll: Vec<Short>,
    annealed: Vec<Short>,
    acceptance: Vec<Short>,
    step_size: Vec<Short>,
    flow: Vec<Short>,
    potential: Vec<Short>,
    overhead: Vec<Short>,
}

/// What samples show.
#[derive(Debug, Clone, Serialize)]
pub struct Pictures {
    samples: usize,
    /// None, as of log weights, where the target has no energy.
    energy: Option<Picture>,
    distance: Picture,
    distance_label: String,
    log_weight: Vec<[Short; 2]>,
    /// Configurations of the flow, drawn by weight, and of the reference: [samples, particles ·
    /// dimension].
    drawn: Vec<Vec<Short>>,
    reference: Vec<Vec<Short>>,
    /// What else there is of a molecule.
    molecule: Option<MoleculePictures>,
}

/// Configurations of each kind on a page.
const SHOWN: usize = 12;

impl RunReport {
    /// The run in `folder` as it is now; `samples` of the flow and of the target make the pictures.
    ///
    /// # Errors
    /// Those of reading `metrics.csv` and `evaluation.json`, which a new run may not have yet.
    pub fn read(
        folder: &RunFolder,
        facts: Facts,
        pictures: Option<Pictures>,
    ) -> Result<Self, Error> {
        let evaluation =
            if folder.evaluation().exists() { Some(folder.read_evaluation()?) } else { None };
        let rows = if folder.metrics().exists() { read_metrics(folder.metrics())? } else { vec![] };
        let verdict = evaluation.as_ref().map(|e| Verdict::new(e, &facts)).unwrap_or_default();
        let (curves, remarks) = (Curves::new(&rows), remarks(&rows, &facts));
        Ok(Self { facts, evaluation, verdict, curves, remarks, pictures })
    }
}

/// What explains dips and jumps of the curves of `rows`.
fn remarks(rows: &[MetricsRow], facts: &Facts) -> Vec<String> {
    const NAMED: usize = 8;
    const DIP: f64 = 0.1;
    let listed = |steps: &[u64]| {
        let named: Vec<String> = steps.iter().take(NAMED).map(u64::to_string).collect();
        let all = if steps.len() > NAMED { ", …" } else { "" };
        let plural = if steps.len() > 1 { "s" } else { "" };
        format!("step{plural} {}{all}", named.join(", "))
    };
    let mut say = Vec::new();
    if let Some(from) = &facts.start_from {
        say.push(format!(
            "The training starts from the flow of {from}, whose time and energy evaluations count; \
             its learning rate begins anew."
        ));
    }
    let few: Vec<u64> = rows.iter().filter(|row| row.rests_on_few()).map(|row| row.step).collect();
    if !few.is_empty() {
        say.push(format!(
            "At {} the reverse figure rests on few samples: one with a large weight can pull it \
             far down.",
            listed(&few)
        ));
    }
    let annealed: Vec<(u64, f64)> =
        rows.iter().filter_map(|row| Some((row.step, row.ais_ess?))).collect();
    let dips: Vec<u64> = annealed
        .windows(3)
        .filter(|near| near[1].1 < near[0].1.min(near[2].1) - DIP)
        .map(|near| near[1].0)
        .collect();
    if !dips.is_empty() {
        say.push(format!(
            "At {} the figure after annealing is far below those before and after: it is of fewer \
             samples, and one with a large weight can pull it down.",
            listed(&dips)
        ));
    }
    let after = rows.iter().skip(1).zip(rows).filter(|(row, last)| row.rollbacks > last.rollbacks);
    let returns: Vec<u64> = after.map(|(row, _)| row.step).collect();
    if !returns.is_empty() {
        say.push(format!(
            "By {} the training had diverged and went back to earlier parameters, with half the \
             learning rate.",
            listed(&returns)
        ));
    }
    say
}

impl Curves {
    /// At most this many rows without an evaluation are kept, evenly; more cannot be seen.
    const MOST_ROWS: usize = 600;

    fn new(rows: &[MetricsRow]) -> Self {
        let stride = rows.len().div_ceil(Self::MOST_ROWS).max(1);
        let mut curves = Self::default();
        let is_evaluated = |row: &MetricsRow| row.reverse_ess.or(row.nll).is_some();
        for (index, row) in rows.iter().enumerate() {
            let last = index + 1 == rows.len();
            if !(index.is_multiple_of(stride) || is_evaluated(row) || last) {
                continue;
            }
            curves.step.push(row.step);
            curves.evaluations.push(row.energy_evaluations);
            for (column, value) in [
                (&mut curves.seconds, Some(row.train_seconds)),
                (&mut curves.loss, row.loss),
                (&mut curves.reverse, row.reverse_ess),
                (&mut curves.forward, row.forward_ess),
                (&mut curves.nll, row.nll),
                (&mut curves.validation_nll, row.validation_nll),
                (&mut curves.annealed, row.ais_ess),
                (&mut curves.acceptance, row.acceptance),
                (&mut curves.step_size, row.hmc_step_size),
                (&mut curves.flow, Some(row.flow_seconds)),
                (&mut curves.potential, Some(row.potential_seconds)),
                (&mut curves.overhead, Some(row.overhead_seconds)),
            ] {
                column.push(Short(value.unwrap_or(f64::NAN)));
            }
        }
        curves
    }
}

impl Pictures {
    /// Distributions of the flow's weighted samples `drawn` and of reference samples, and the first
    /// few configurations of both; `chosen` are numbers of flow samples that were drawn by weight.
    /// A molecule has more.
    ///
    /// # Errors
    /// [`Error::Parameter`] when energies and weights differ in number.
    pub fn new(
        particles: &Particles,
        drawn: &Samples,
        chosen: &[usize],
        reference: Option<&Samples>,
        molecule: Option<MoleculePictures>,
    ) -> Result<Self, Error> {
        let system = particles.system;
        let picture = |flow: &[f64], reference: Option<&[f64]>| {
            let log_weights = &drawn.log_weights;
            outlines(&Distribution { flow, log_weights, reference }).map(Picture::from)
        };
        let distances = |samples: &Samples| pair_distances(system, &samples.positions);
        let rows = |samples: &Samples| -> Vec<Vec<Short>> {
            let rows = samples.positions.chunks_exact(system.coordinates()).take(SHOWN);
            rows.map(|row| row.iter().map(|v| Short(*v)).collect()).collect()
        };
        Ok(Self {
            samples: drawn.count(system),
            energy: (!drawn.energies.is_empty())
                .then(|| picture(&drawn.energies, reference.map(|r| r.energies.as_slice())))
                .transpose()?,
            distance: picture(&distances(drawn), reference.map(distances).as_deref())?,
            distance_label: distance_label(particles.length_unit()),
            log_weight: shortened(&log_weight_outline(&drawn.log_weights)),
            drawn: rows(&drawn.pick(system, chosen.iter().copied().take(SHOWN))),
            reference: reference.map(rows).unwrap_or_default(),
            molecule,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remarks_explain_dips_and_jumps() {
        let row = |step, share, rollbacks| MetricsRow {
            step,
            reverse_ess: Some(0.4),
            ess_samples: Some(10_000),
            largest_weight_share: Some(share),
            rollbacks,
            ..MetricsRow::default()
        };
        let mut rows = [row(10, 0.002, 0), row(20, 0.01, 0), row(30, 0.002, 1), row(40, 0.002, 1)];
        for (row, annealed) in rows.iter_mut().zip([0.8, 0.82, 0.5, 0.81]) {
            row.ais_ess = Some(annealed);
        }
        let from = Facts { start_from: Some("warm".to_string()), ..Facts::default() };
        let said = remarks(&rows, &from).join(" ");
        for words in ["flow of warm", "At step 20 the", "At step 30 the", "By step 30 the"] {
            assert!(said.contains(words), "{words}: {said}");
        }
        assert_eq!(remarks(&rows[..1], &Facts::default()), [""; 0]);
    }

    #[test]
    fn thousands_of_rows_are_thinned_but_evaluations_stay() {
        let rows: Vec<MetricsRow> = (0..10_000)
            .map(|step| MetricsRow {
                step,
                reverse_ess: (step == 4321).then_some(0.5),
                ..MetricsRow::default()
            })
            .collect();
        let curves = Curves::new(&rows);
        assert!(curves.step.len() < 700 && curves.step.contains(&4321));
        assert_eq!(curves.step.last(), Some(&9999));
    }
}
