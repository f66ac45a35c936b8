//! `boltzflow report`, and the page of a running training.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use crate::config::{Recipe, Registry, Target};
use crate::error::Error;
use crate::evaluation::Portrait;
use crate::files::write_atomically;
use crate::report::{page, serve, Facts, MoleculePictures, Pictures, Report, RunReport, Serving};
use crate::run::RunFolder;
use crate::sampling::resample_systematically;
use crate::session::{Trained, Training};
use crate::train::Problem;

use super::args::ReportArgs;
use super::output::{announce_reference, of_each, say};

const VERSION: &str = env!("CARGO_PKG_VERSION");
/// The name of a page in the folder of its run.
const PAGE: &str = "report.html";

pub(super) fn run(args: &ReportArgs, registry: &Registry) -> Result<(), Error> {
    let found = of_each(&args.runs, |path| Ok((path.join(PAGE), read(path, registry)?)))?;
    let (places, runs): (Vec<PathBuf>, Vec<RunReport>) = found.into_iter().unzip();
    let page = page(&Report { version: VERSION, live: false, runs })?;
    let output = args.output.as_ref().or(places.first()).cloned().unwrap_or_default();
    write_atomically(&output, |file| std::io::Write::write_all(file, page.as_bytes()))?;
    say!("report in {} ({} kB)", output.display(), page.len().div_ceil(1000))
}

fn read(path: &Path, registry: &Registry) -> Result<RunReport, Error> {
    let trained = Trained::open(path, registry)?;
    let particles = trained.target.particles();
    let drawn = trained.drawn_for_figures()?;
    let mut chosen = match trained.target.potential.has_energy() {
        true => resample_systematically(&drawn.log_weights, 0.5).unwrap_or_default(),
        false => (0..drawn.count(particles.system)).collect(),
    };
    // Spread over all, since those of one weight stand together.
    let stride = (chosen.len() / 12).max(1);
    chosen = chosen.into_iter().step_by(stride).collect();
    let reference = trained.reference(announce_reference)?.map(|drawn| trained.hand(drawn));
    let reference = reference.as_ref();
    let portrait = Portrait::new(&particles, &drawn, reference);
    let molecule = portrait.zip(trained.target.molecule.as_ref()).map(|(portrait, molecule)| {
        let kt = trained.target.kilojoules_per_mole();
        MoleculePictures::new(molecule, &portrait, &drawn.log_weights, kt)
    });
    let pictures = Pictures::new(&particles, &drawn, &chosen, reference, molecule.transpose()?)?;
    let folder = RunFolder::read_only(path)?;
    let facts = Facts {
        trained_by: trained.metadata.boltzflow_version.clone(),
        ..facts(&folder, &trained.recipe, &trained.target, &trained.problem)?
    };
    RunReport::read(&folder, facts, Some(pictures))
}

/// The page of `training` in `folder`, at `address` as long as the process lives.
pub(super) fn live(
    address: SocketAddr,
    folder: &RunFolder,
    training: &Training,
) -> Result<Serving, Error> {
    let (recipe, target) = training.recipe();
    let facts = facts(folder, recipe, target, training.problem())?;
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
        flow: problem.flow.summary(),
        steps: recipe.train.descent.steps,
        seed: recipe.seed,
        start_from: recipe.flow.start_name(),
        trained_by: VERSION.to_string(),
        recipe: recipe.to_toml()?,
        known_log_z: target.known.log_z,
        known_entropy: target.known.entropy,
    })
}
