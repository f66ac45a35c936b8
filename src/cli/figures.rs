//! `boltzflow plot`, and the figures at the end of a training.

use std::path::{Path, PathBuf};

use crate::config::Registry;
use crate::error::Error;
use crate::evaluation::Weighted;
use crate::parallel::team;
use crate::session::Trained;

use super::args::PlotArgs;
use super::compare;
use super::output::{announce_reference, of_each, say, warn};

pub(super) fn run(args: &PlotArgs, registry: &Registry) -> Result<(), Error> {
    let drawn = of_each(&args.runs, |run| {
        let trained = Trained::open(run, registry)?;
        let own = args.output.as_deref().map(|output| match run.file_name() {
            Some(name) if args.runs.len() > 1 => output.join(name),
            _ => output.to_path_buf(),
        });
        draw(&trained, &folder_for(run, own.as_deref()))?;
        if team().leads() {
            for found in trained.contradictions(Weighted::Flow) {
                warn(&format!("{}: {found}. Do not rely on what is reweighted", run.display()));
            }
        }
        Ok(run.to_path_buf())
    })?;
    if let (Some(first), true) = (drawn.first(), drawn.len() > 1) {
        let beside = || folder_for(first, None).parent().map(Path::to_path_buf).unwrap_or_default();
        let path = args.output.clone().unwrap_or_else(beside).join("comparison");
        compare::figure(&drawn, registry, &path)?;
        say!("their ESS curves in {0}.svg and {0}.png", path.display())?;
    }
    Ok(())
}

/// `plots/NAME` for a folder `runs/NAME`, else the run's own folder.
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

/// Draws all figures of a trained run.
pub(super) fn draw(trained: &Trained, output: &Path) -> Result<(), Error> {
    trained.draw(output, announce_reference)?;
    say!("figures in {}", output.display())
}
