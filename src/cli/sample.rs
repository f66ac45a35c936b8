//! `boltzflow sample`.

use crate::config::Registry;
use crate::error::Error;
use crate::random::Purpose;
use crate::run::{check_destination, draw_weighted, write_samples, Samples};

use super::args::SampleArgs;
use super::evaluate::open;
use super::output::say;

/// Samples in memory at a time.
const BATCH: usize = 4096;

pub(super) fn run(args: &SampleArgs, registry: &Registry) -> Result<(), Error> {
    check_destination(&args.output)?;
    let mut trained = open(&args.run, registry)?;
    trained.problem.seed = args.seed;
    let count = args.samples.get();
    let batches = (0..count.div_ceil(BATCH)).map(|batch| {
        let first = batch * BATCH;
        let streams = (Purpose::Sampling, 0);
        let samples = BATCH.min(count - first);
        let drawn =
            draw_weighted(&trained.problem, &trained.theta, streams, first as u64, samples)?;
        Ok(Samples {
            positions: drawn.positions,
            log_weights: Some(drawn.log_weights),
            energies: Some(drawn.energies),
        })
    });
    write_samples(&args.output, trained.problem.flow.system(), count, batches)?;
    say!("{count} samples with log weights and energies in {}", args.output.display())?;
    Ok(())
}
