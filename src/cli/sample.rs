//! `boltzflow sample`.

use crate::config::Registry;
use crate::error::Error;
use crate::parallel::team;
use crate::random::Purpose;
use crate::run::{check_destination, draw_weighted, write_samples, Samples};

use super::args::SampleArgs;
use super::evaluate::open;
use super::output::say;

/// Samples in memory at a time, for each rank.
const BATCH: usize = 4096;

pub(super) fn run(args: &SampleArgs, registry: &Registry) -> Result<(), Error> {
    check_destination(&args.output)?;
    let mut trained = open(&args.run, registry)?;
    trained.problem.seed = args.seed;
    let count = args.samples.get();
    let most = BATCH * team().size();
    let batches = (0..count.div_ceil(most)).map(|batch| {
        let first = batch * most;
        let streams = (Purpose::Sampling, 0);
        let samples = most.min(count - first);
        let drawn =
            draw_weighted(&trained.problem, &trained.theta, streams, first as u64, samples)?;
        Ok(Samples {
            positions: drawn.positions,
            log_weights: Some(drawn.log_weights),
            energies: Some(drawn.energies),
        })
    });
    if team().leads() {
        write_samples(&args.output, trained.problem.flow.system(), count, batches)?;
    } else {
        batches.map(|batch| batch.map(|_| ())).collect::<Result<(), Error>>()?;
    }
    say!("{count} samples with log weights and energies in {}", args.output.display())?;
    Ok(())
}
