//! `boltzflow sample`.

use rand::Rng;

use crate::config::Registry;
use crate::error::Error;
use crate::evaluation::{draw_weighted, AnnealedDraws};
use crate::parallel::team;
use crate::random::{stream, Purpose, ONCE};
use crate::samples::{check_destination, write_samples_of, Samples};
use crate::sampling::resample;

use super::args::SampleArgs;
use super::evaluate::{open, Trained};
use super::output::{say, warn};
use super::train::evaluation_options;

/// Samples in memory at a time. Not more for more ranks: what is drawn and estimated does not
/// depend on their number.
const BATCH: usize = 16_384;

pub(super) fn run(args: &SampleArgs, registry: &Registry) -> Result<(), Error> {
    check_destination(&args.output)?;
    let mut trained = open(&args.run, registry)?;
    trained.problem.seed = args.seed;
    let (system, labels) = (trained.problem.flow.system(), trained.target.labels());
    let place = args.output.display();
    let drawn = args.samples.get();
    let mut batches = weighted_batches(&trained, drawn, args.ais)?;
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

/// `count` weighted samples of a trained flow, batch after batch.
pub(super) fn weighted_batches(
    trained: &Trained,
    count: usize,
    annealed: bool,
) -> Result<impl Iterator<Item = Result<Samples, Error>> + '_, Error> {
    let (problem, theta) = (&trained.problem, trained.theta.as_slice());
    let levels = evaluation_options(&trained.recipe).intermediate_distributions;
    let annealed = match annealed {
        true => Some(AnnealedDraws::new(problem, theta, levels)?),
        false => None,
    };
    Ok((0..count.div_ceil(BATCH)).map(move |batch| {
        let first = batch * BATCH;
        let samples = BATCH.min(count - first);
        match &annealed {
            Some(draws) => draws.draw(batch as u64, samples),
            None => {
                let streams = (Purpose::Sampling, 0);
                draw_weighted(problem, theta, streams, first as u64, samples)
            }
        }
    }))
}
