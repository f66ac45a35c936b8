//! `boltzflow sample`.

use rand::Rng;

use crate::config::Registry;
use crate::error::Error;
use crate::parallel::team;
use crate::random::{stream, Purpose, ONCE};
use crate::samples::{check_destination, write_samples_of};
use crate::sampling::resample;
use crate::session::Trained;

use super::args::SampleArgs;
use super::output::{say, warn};

pub(super) fn run(args: &SampleArgs, registry: &Registry) -> Result<(), Error> {
    check_destination(&args.output)?;
    let mut trained = Trained::open(&args.run, registry)?;
    trained.problem.seed = args.seed;
    let (system, labels) = (trained.problem.flow.system(), trained.target.labels());
    let place = args.output.display();
    let drawn = args.samples.get();
    let mut batches = trained.batches(drawn, args.ais)?;
    // Every rank takes part in the draws; rank 0 writes.
    if !team().leads() {
        return batches.try_for_each(|batch| batch.map(drop));
    }
    let Some(places) = args.resample else {
        write_samples_of(&args.output, system, &labels, drawn, batches)?;
        return say!("{drawn} samples with log weights and energies in {place}");
    };
    let places = places.get();
    let offset = stream(args.seed, Purpose::Sampling, ONCE, 0).gen();
    let mut resampled = resample(&args.output, system, places, offset, batches)?;
    write_samples_of(&args.output, system, &labels, places, &mut resampled)?;
    let distinct = resampled.distinct();
    say!(
        "{places} equally weighted samples in {place}, {distinct} of them different, out of {drawn}"
    )?;
    if 2 * distinct < places {
        warn("most are copies: draw more by -n, refine by --ais, or resample fewer");
    }
    Ok(())
}
