//! `boltzflow plot`, and the figures at the end of a training.

use std::path::{Path, PathBuf};

use crate::config::{Recipe, Registry, Target};
use crate::diagnostics::pair_distances;
use crate::error::Error;
use crate::evaluation::draw_weighted;
use crate::parallel::team;
use crate::plot::{distribution_figure, ess_figure, log_weight_figure, loss_figure, Distribution};
use crate::random::Purpose;
use crate::run::{load_model_on_all_ranks, read_metrics, RunFolder};
use crate::train::Problem;

use super::args::PlotArgs;
use super::compare;
use super::evaluate::open;
use super::output::say;
use super::train::reference_samples;

/// The figure that is drawn last.
const LAST: &str = "pair_distances";

pub(super) fn run(args: &PlotArgs, registry: &Registry) -> Result<(), Error> {
    for run in &args.runs {
        let trained = open(run, registry)?;
        let path = trained.folder.path();
        let own = args.output.as_deref().map(|output| match path.file_name() {
            Some(name) if args.runs.len() > 1 => output.join(name),
            _ => output.to_path_buf(),
        });
        let output = folder_for(path, own.as_deref());
        draw(&trained.folder, &trained.problem, &trained.target, &trained.recipe, &output)?;
    }
    if let (Some(first), true) = (args.runs.first(), args.runs.len() > 1) {
        let beside = || folder_for(first, None).parent().map(Path::to_path_buf).unwrap_or_default();
        let path = args.output.clone().unwrap_or_else(beside).join("comparison");
        if team().leads() {
            compare::figure(&args.runs, registry, &path)?;
            say!("their ESS curves in {0}.svg and {0}.png", path.display())?;
        }
    }
    Ok(())
}

/// `plots/NAME` beside a folder `runs/NAME`, else the run's own folder.
pub(super) fn folder_for(path: &Path, output: Option<&Path>) -> PathBuf {
    if let Some(output) = output {
        return output.to_path_buf();
    }
    match (path.file_name(), path.parent()) {
        (Some(name), Some(runs)) if runs.file_name().is_some_and(|runs| runs == "runs") => {
            runs.with_file_name("plots").join(name)
        }
        _ => path.to_path_buf(),
    }
}

/// Whether the run in `path` has its last figure.
pub(super) fn are_drawn(path: &Path) -> bool {
    folder_for(path, None).join(LAST).with_extension("png").exists()
}

/// Draws all figures of a trained run.
pub(super) fn draw(
    folder: &RunFolder,
    problem: &Problem,
    target: &Target,
    recipe: &Recipe,
    output: &Path,
) -> Result<(), Error> {
    let team = team();
    let made = if team.leads() { std::fs::create_dir_all(output) } else { Ok(()) };
    team.agree(made.map_err(|source| Error::Write { path: output.to_path_buf(), source }))?;
    let (theta, _) = load_model_on_all_ranks(folder.model(), problem.flow.layout(), None)?;
    let samples = recipe.evaluate.samples;
    let drawn = draw_weighted(problem, &theta, (Purpose::Sampling, 1), 0, samples)?;
    let reference = reference_samples(folder, target, recipe, false)?;
    if !team.leads() {
        return Ok(());
    }
    let rows = read_metrics(folder.metrics())?;
    let name = folder.path().file_name().map_or(String::new(), |n| n.to_string_lossy().into());
    ess_figure(&rows, &format!("{name}: effective sample size"), output.join("ess"))?;
    loss_figure(&rows, &format!("{name}: training loss"), output.join("loss"))?;

    let system = problem.flow.system();
    log_weight_figure(
        &drawn.log_weights,
        &format!("{name}: log weights of {samples} samples"),
        output.join("log_weights"),
    )?;
    distribution_figure(
        &Distribution {
            flow: &drawn.energies,
            log_weights: &drawn.log_weights,
            reference: reference.as_ref().map(|r| r.energies.as_slice()),
        },
        "energy U / kT",
        &format!("{name}: energies of {samples} samples"),
        output.join("energy"),
    )?;
    let distances = reference.as_ref().map(|r| pair_distances(system, &r.positions));
    distribution_figure(
        &Distribution {
            flow: &pair_distances(system, &drawn.positions),
            log_weights: &drawn.log_weights,
            reference: distances.as_deref(),
        },
        "pair distance r",
        &format!("{name}: pair distances of {samples} samples"),
        output.join(LAST),
    )?;
    say!("figures in {}", output.display())?;
    Ok(())
}
