//! `boltzflow report`, and the page of a training that goes on.

use std::net::SocketAddr;
use std::path::Path;

use crate::config::{Recipe, Registry, Target};
use crate::error::Error;
use crate::evaluation::draw_weighted;
use crate::files::write_atomically;
use crate::random::Purpose;
use crate::report::{page, serve, Facts, Pictures, Report, RunReport, Serving};
use crate::run::RunFolder;
use crate::sampling::resample_systematically;
use crate::train::Problem;

use super::args::ReportArgs;
use super::evaluate::{open, Trained};
use super::output::say;
use super::train::reference_samples;

const VERSION: &str = env!("CARGO_PKG_VERSION");

pub(super) fn run(args: &ReportArgs, registry: &Registry) -> Result<(), Error> {
    let runs = args.runs.iter().map(|path| read(path, registry)).collect::<Result<_, _>>()?;
    let page = page(&Report { version: VERSION, live: false, runs })?;
    write_atomically(&args.output, |file| std::io::Write::write_all(file, page.as_bytes()))?;
    say!("report in {} ({} kB)", args.output.display(), page.len().div_ceil(1000))
}

fn read(path: &Path, registry: &Registry) -> Result<RunReport, Error> {
    let Trained { folder, recipe, target, problem, theta, metadata } = open(path, registry)?;
    let system = problem.flow.system();
    let samples = recipe.evaluate.samples;
    // The samples of `boltzflow plot`.
    let drawn = draw_weighted(&problem, &theta, (Purpose::Sampling, 1), 0, samples)?;
    let mut chosen = resample_systematically(&drawn.log_weights, 0.5).unwrap_or_default();
    // Spread over all, since those of one weight stand together.
    let stride = (chosen.len() / 12).max(1);
    chosen = chosen.into_iter().step_by(stride).collect();
    let reference = reference_samples(&folder, &target, &recipe, false)?;
    let reference = reference.as_ref().filter(|r| !r.energies.is_empty());
    let pictures = Pictures::new(system, &drawn, &chosen, reference)?;
    let facts = Facts {
        trained_by: metadata.boltzflow_version,
        ..facts(&folder, &recipe, &target, &problem)?
    };
    RunReport::read(&folder, facts, Some(pictures))
}

/// The page of the training in `folder`, at `address` as long as the process lives.
pub(super) fn live(
    address: SocketAddr,
    folder: &RunFolder,
    recipe: &Recipe,
    target: &Target,
    problem: &Problem,
) -> Result<Serving, Error> {
    let facts = facts(folder, recipe, target, problem)?;
    let folder = RunFolder::read_only(folder.path())?;
    serve(address, move || {
        let run = RunReport::read(&folder, facts.clone(), None)?;
        Ok(Report { version: VERSION, live: true, runs: vec![run] })
    })
}

fn facts(
    folder: &RunFolder,
    recipe: &Recipe,
    target: &Target,
    problem: &Problem,
) -> Result<Facts, Error> {
    let system = problem.flow.system();
    Ok(Facts {
        name: folder.path().file_name().map_or(String::new(), |n| n.to_string_lossy().into()),
        target: target.name.clone(),
        description: target.description.clone(),
        particles: system.particles(),
        dimension: system.dimension(),
        objective: recipe.train.objective.options().title().to_string(),
        couplings: problem.flow.couplings(),
        parameters: problem.flow.layout().total(),
        steps: recipe.train.descent.steps,
        seed: recipe.seed,
        trained_by: VERSION.to_string(),
        recipe: recipe.to_toml()?,
        known_log_z: target.known.log_z,
        known_entropy: target.known.entropy,
    })
}
