//! `boltzflow compare`: one table and one figure of several runs.

use std::path::{Path, PathBuf};

use crate::config::{Recipe, Registry, Target};
use crate::diagnostics::mean_and_error;
use crate::error::Error;
use crate::evaluation::{Evaluation, Facts, Figure, Unit};
use crate::files::write_atomically;
use crate::parallel::team;
use crate::plot::comparison_figure;
use crate::run::{read_metrics, MetricsRow, RunFolder};
use crate::session::Trained;

use super::args::CompareArgs;
use super::output::{of_each, say};

/// A run, as far as it is compared.
struct Run {
    name: String,
    path: PathBuf,
    seed: u64,
    /// What the seeds of a recipe share.
    shared: Shared,
    parameters: usize,
    evaluation: Evaluation,
    rows: Vec<MetricsRow>,
}

/// A recipe but for its seed, and a target but for what is said about it.
#[derive(PartialEq)]
struct Shared {
    recipe: Recipe,
    target: toml::Table,
}

impl Shared {
    fn new(recipe: &Recipe, target: &Target) -> Self {
        let mut table: toml::Table = target.text.parse().unwrap_or_default();
        table.retain(|key, _| !["description", "known"].contains(&key));
        Self { recipe: Recipe { seed: 0, ..recipe.clone() }, target: table }
    }
}

/// A figure of one run, or the mean over seeds, with its standard error.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Value {
    mean: f64,
    error: Option<f64>,
}

/// A run's value of a column, and its own standard error.
type ValueAndError = (Option<f64>, Option<f64>);

/// Behind what cannot be relied on.
const MARK: &str = " (!)";

/// A column: its name in the CSV, its head in the table, a run's value with its own error, and the
/// text of a value.
struct Column {
    name: &'static str,
    head: String,
    of: Box<dyn Fn(&Run) -> ValueAndError>,
    is_marked: Box<dyn Fn(&Run) -> bool>,
    text: Box<dyn Fn(f64) -> String>,
}

impl Column {
    fn new(
        name: &'static str,
        head: impl Into<String>,
        of: impl Fn(&Run) -> (Option<f64>, Option<f64>) + 'static,
        text: impl Fn(f64) -> String + 'static,
    ) -> Self {
        Self {
            name,
            head: head.into(),
            of: Box::new(of),
            is_marked: Box::new(|_| false),
            text: Box::new(text),
        }
    }

    fn marked(self, is_marked: impl Fn(&Run) -> bool + 'static) -> Self {
        Self { is_marked: Box::new(is_marked), ..self }
    }
}

/// What a run costs, then the figures that tables show, with the number of samples behind them.
fn columns() -> Vec<Column> {
    let whole = |v: f64| format!("{v:.0}");
    let count = |v: f64| if v == 0.0 { "0".to_string() } else { format!("{v:.2e}") };
    let cost = |of: fn(&Run) -> f64| move |run: &Run| (Some(of(run)), None);
    let mut columns = vec![
        Column::new("parameters", "parameters", cost(|run| run.parameters as f64), whole),
        Column::new(
            "train_seconds",
            "training / s",
            cost(|run| run.evaluation.train_seconds),
            whole,
        ),
        Column::new(
            "energy_evaluations",
            "energy evaluations",
            cost(|run| run.evaluation.energy_evaluations as f64),
            count,
        ),
    ];
    for &figure in Figure::ALL {
        let &Facts { name, label, unit, decimals, samples, .. } = figure.facts();
        let Some(decimals) = decimals else { continue };
        let (head, factor) = match unit {
            Unit::Fraction => (format!("{label} / %"), 100.0),
            _ => (label.to_string(), 1.0),
        };
        let of = move |run: &Run| (figure.value(&run.evaluation), figure.error(&run.evaluation));
        let text = move |v: f64| format!("{:.decimals$}", factor * v);
        let is_marked = move |run: &Run| run.evaluation.is_marked(figure);
        columns.push(Column::new(name, head, of, text).marked(is_marked));
        if let Some((name, samples)) = samples {
            let of = move |run: &Run| {
                let known = figure.value(&run.evaluation);
                (known.map(|_| samples(&run.evaluation) as f64), None)
            };
            columns.push(Column::new(name, "its N", of, whole));
        }
    }
    columns
}

pub(super) fn run(args: &CompareArgs, registry: &Registry) -> Result<(), Error> {
    let figure = args.output.as_deref().map(figure_path).transpose()?;
    let runs = of_each(&args.runs, |path| read(path, registry))?;
    let groups = grouped(&runs);
    table(&groups)?;
    for (again, first) in repeated(&groups) {
        let (again, first) = (again.display(), first.display());
        say!("\n{again} has recipe, target and seed of {first}: it is not another seed.")?;
    }
    if let Some(path) = &args.csv {
        write_csv(&groups, path)?;
        say!("\ntable in {}", path.display())?;
    }
    if let Some(path) = figure {
        draw(&groups, &path)?;
        say!("\nfigure in {0}.svg and {0}.png", path.display())?;
    }
    Ok(())
}

/// The curves of several runs in one figure, `path` without its extension. A collective operation.
pub(super) fn figure(paths: &[PathBuf], registry: &Registry, path: &Path) -> Result<(), Error> {
    let runs = of_each(paths, |path| read(path, registry))?;
    match team().leads() {
        true => draw(&grouped(&runs), path),
        false => Ok(()),
    }
}

fn draw(groups: &[Vec<&Run>], path: &Path) -> Result<(), Error> {
    let curves: Vec<(String, Vec<&[MetricsRow]>)> = groups
        .iter()
        .map(|group| (name(group, groups), group.iter().map(|run| &run.rows[..]).collect()))
        .collect();
    comparison_figure(&curves, "effective sample size", path)
}

/// The figure's path without its extension.
fn figure_path(path: &Path) -> Result<PathBuf, Error> {
    match path.extension().and_then(|e| e.to_str()) {
        Some("svg" | "png") => Ok(path.with_extension("")),
        _ => Err(Error::parameter(
            "--output",
            "is not the name of a figure: let it end in .svg or .png",
        )),
    }
}

fn read(path: &Path, registry: &Registry) -> Result<Run, Error> {
    let trained = Trained::open(path, registry)?;
    let folder = RunFolder::read_only(path)?;
    if !folder.evaluation().exists() {
        return Err(Error::Data {
            file: folder.evaluation(),
            problem: format!("is missing: boltzflow evaluate {} --save", path.display()),
        });
    }
    let name = folder.path().canonicalize().unwrap_or_else(|_| path.to_path_buf());
    Ok(Run {
        name: name.file_name().map_or(String::new(), |n| n.to_string_lossy().into()),
        path: path.to_path_buf(),
        seed: trained.recipe.seed,
        shared: Shared::new(&trained.recipe, &trained.target),
        parameters: trained.problem.flow.layout().total(),
        evaluation: folder.read_evaluation()?,
        rows: read_metrics(folder.metrics())?,
    })
}

/// The seeds of one recipe on one target together, in the order of the first of each. The same seed
/// again stands for itself.
fn grouped(runs: &[Run]) -> Vec<Vec<&Run>> {
    let mut groups: Vec<Vec<&Run>> = Vec::new();
    for run in runs {
        let takes = |group: &&mut Vec<&Run>| {
            group.iter().all(|other| other.shared == run.shared && other.seed != run.seed)
        };
        match groups.iter_mut().find(takes) {
            Some(group) => group.push(run),
            None => groups.push(vec![run]),
        }
    }
    groups
}

/// Runs that are in a group of their own only for their seed, with the run that has it.
fn repeated<'a>(groups: &[Vec<&'a Run>]) -> Vec<(&'a Path, &'a Path)> {
    let all: Vec<&Run> = groups.iter().flatten().copied().collect();
    let pairs = all.iter().enumerate().filter_map(|(index, run)| {
        let same = |other: &&&Run| other.shared == run.shared && other.seed == run.seed;
        let first = all[..index].iter().find(same)?;
        Some((run.path.as_path(), first.path.as_path()))
    });
    pairs.collect()
}

/// The name of a group is that of its first run; its path where another group has that name.
fn name(group: &[&Run], groups: &[Vec<&Run>]) -> String {
    let first = group[0];
    match groups.iter().filter(|other| other[0].name == first.name).count() {
        1 => first.name.clone(),
        _ => first.path.display().to_string(),
    }
}

/// One run's value with its own error; the mean over several with the standard error of the mean.
/// `None` if a run has none.
fn value(column: &Column, group: &[&Run]) -> Option<Value> {
    if let [run] = group {
        let (mean, error) = (column.of)(run);
        return Some(Value { mean: mean?, error });
    }
    let values: Vec<f64> = group.iter().map(|run| (column.of)(run).0).collect::<Option<_>>()?;
    let (mean, error) = mean_and_error(&values);
    Some(Value { mean, error: (error != 0.0).then_some(error) })
}

fn table(groups: &[Vec<&Run>]) -> Result<(), Error> {
    let mut columns = columns();
    // Not what none of them has.
    columns.retain(|column| groups.iter().flatten().any(|run| (column.of)(run).0.is_some()));
    let heads: Vec<&str> = columns.iter().map(|column| column.head.as_str()).collect();
    say!("| recipe | seeds | {} |", heads.join(" | "))?;
    say!("|---|---{}|", "|---".repeat(columns.len()))?;
    for group in groups {
        let cell = |column: &Column| {
            let mark = if group.iter().any(|run| (column.is_marked)(run)) { MARK } else { "" };
            match value(column, group) {
                Some(Value { mean, error: Some(error) }) => {
                    format!("{} ± {}{mark}", (column.text)(mean), (column.text)(error))
                }
                Some(Value { mean, error: None }) => (column.text)(mean) + mark,
                None => "–".to_string(),
            }
        };
        let cells: Vec<String> = columns.iter().map(cell).collect();
        say!("| {} | {} | {} |", name(group, groups), group.len(), cells.join(" | "))?;
    }
    if groups.iter().any(|group| group.len() > 1) {
        say!("\nSeveral seeds: mean ± standard error of the mean over them.")?;
    }
    for run in groups.iter().flatten().filter(|run| run.evaluation.has_no_weight()) {
        say!("\nCaution: in {}, none of the samples has a finite energy.", run.name)?;
    }
    for run in groups.iter().flatten() {
        for found in &run.evaluation.contradictions {
            say!("\nCaution: in {}, {found}.", run.name)?;
        }
    }
    let few = |run: &&&Run| {
        !run.evaluation.has_no_weight() && !run.evaluation.resting_on_few_samples.is_empty()
    };
    for run in groups.iter().flatten().filter(few) {
        let figures = run.evaluation.resting_on_few_samples.iter();
        let figures: Vec<&str> = figures.map(|figure| figure.facts().name).collect();
        say!("\nCaution: {} of {} rests on few samples.", figures.join(", "), run.name)?;
    }
    Ok(())
}

fn write_csv(groups: &[Vec<&Run>], path: &Path) -> Result<(), Error> {
    let columns = columns();
    let mut head = vec!["recipe".to_string(), "seeds".to_string()];
    for column in &columns {
        head.extend([column.name.to_string(), format!("{}_error", column.name)]);
    }
    head.push("marked".to_string());
    write_atomically(path, |file| {
        let mut writer = csv::Writer::from_writer(file);
        writer.write_record(&head)?;
        for group in groups {
            let text = |number: Option<f64>| number.map_or(String::new(), |v| v.to_string());
            let mut row = vec![name(group, groups), group.len().to_string()];
            for column in &columns {
                let value = value(column, group);
                row.extend([text(value.map(|v| v.mean)), text(value.and_then(|v| v.error))]);
            }
            let marked = |column: &&Column| group.iter().any(|run| (column.is_marked)(run));
            let marked: Vec<&str> = columns.iter().filter(marked).map(|c| c.name).collect();
            row.push(marked.join(" "));
            writer.write_record(&row)?;
        }
        writer.flush()
    })
}
