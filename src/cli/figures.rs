//! `boltzflow plot`, and the figures at the end of a training.

use std::path::Path;

use crate::config::Registry;
use crate::error::Error;
use crate::evaluation::Weighted;
use crate::parallel::team;
use crate::session::Trained;

use super::args::PlotArgs;
use super::compare;
use super::output::{announce_reference, of_each, say, warn};

pub(super) fn run(args: &PlotArgs, registry: &Registry) -> Result<(), Error> {
    if let Some(file) = args.output.as_ref().filter(|output| output.is_file()) {
        let problem = format!("is {}, a file: name a folder for the figures", file.display());
        return Err(Error::parameter("--output", problem));
    }
    let drawn = of_each(&args.runs, |run| {
        let trained = Trained::open(run, registry)?;
        let folder = match (&args.output, run.file_name()) {
            (None, _) => run.to_path_buf(),
            (Some(output), Some(name)) if args.runs.len() > 1 => output.join(name),
            (Some(output), _) => output.clone(),
        };
        draw(&trained, &folder)?;
        if team().leads() {
            for found in trained.contradictions(Weighted::Flow) {
                warn(&format!("{}: {found}. Do not rely on what is reweighted", run.display()));
            }
        }
        Ok(run.to_path_buf())
    })?;
    if let (Some(first), true) = (drawn.first(), drawn.len() > 1) {
        let path = args.output.as_ref().unwrap_or(first).join("comparison");
        compare::figure(&drawn, registry, &path)?;
        say!("their ESS curves in {0}.svg and {0}.png", path.display())?;
    }
    Ok(())
}

/// Draws all figures of a trained run.
pub(super) fn draw(trained: &Trained, output: &Path) -> Result<(), Error> {
    trained.draw(output, announce_reference)?;
    say!("figures in {}", output.display())
}
