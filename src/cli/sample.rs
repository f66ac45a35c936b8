//! `boltzflow sample`.

use rand::Rng;

use crate::config::Registry;
use crate::error::Error;
use crate::molecule::Chirality;
use crate::parallel::team;
use crate::random::{stream, Purpose, ONCE};
use crate::samples::{
    check_destination, holds_positions_alone, positions_in, units_in, weights_beside, write_samples,
};
use crate::sampling::resample;
use crate::session::Trained;

use super::args::{ChiralityArg, SampleArgs};
use super::output::{say, warn};

pub(super) fn run(args: &SampleArgs, registry: &Registry) -> Result<(), Error> {
    check_destination(&args.output)?;
    let weights = args.weights.checked()?;
    let mut trained = Trained::open(&args.run, registry)?;
    trained.problem.seed = args.seed;
    trained.chirality = match args.chirality {
        ChiralityArg::Structure => Chirality::Structure,
        ChiralityArg::Any => Chirality::Any,
    };
    trained.target.require_energy_for([
        ("--ais", args.weights.ais),
        ("--marginal", args.weights.marginal.is_some()),
        ("--resample", args.resample.is_some()),
    ])?;
    let particles = trained.target.particles();
    let has_energy = trained.target.potential.has_energy();
    let units = units_in(&args.output, &particles)?;
    let place = match weights_beside(&args.output)? {
        Some(table) => format!("{} and {}", args.output.display(), table.display()),
        None => args.output.display().to_string(),
    };
    let drawn = args.samples.get();
    let mut batches = trained.batches(drawn, weights)?;
    // Every rank takes part in the draws; rank 0 writes.
    if !team().leads() {
        return batches.try_for_each(|batch| batch.map(drop));
    }
    for found in trained.contradictions(weights.compared()) {
        warn(&format!("{found}. Do not rely on these samples or their weights"));
    }
    let handed = said_of_handedness(&trained);
    let Some(places) = args.resample else {
        write_samples(&args.output, &particles, drawn, batches)?;
        if !has_energy {
            let output = args.output.display();
            let positions = positions_in(&args.output, &particles)?;
            return say!(
                "{drawn} samples of the flow in {output}: {positions}; without weights, as the \
                 target has no energy{handed}"
            );
        }
        if holds_positions_alone(&args.output)? {
            say!("{drawn} samples in {place}: {units}, without weights{handed}")?;
            warn("they do not count the same: write .npz for their weights, or use --resample");
            return Ok(());
        }
        let kind = weights.draws().map_or(String::new(), |k| format!(" on x alone (K = {k})"));
        return say!(
            "{drawn} samples with log weights{kind} and energies in {place}: {units}{handed}"
        );
    };
    let places = places.get();
    let offset = stream(args.seed, Purpose::Sampling, ONCE, 0).gen();
    let mut resampled = resample(&args.output, particles.system, places, offset, batches)?;
    write_samples(&args.output, &particles, places, &mut resampled)?;
    let distinct = resampled.distinct();
    say!(
        "{places} equally weighted samples in {place}, {distinct} of them different, out of \
         {drawn}: {units}{handed}"
    )?;
    if 2 * distinct < places {
        warn("most are copies: draw more by -n, refine by --ais, or resample fewer");
    }
    Ok(())
}

/// That configurations are mirrored, where they are.
fn said_of_handedness(trained: &Trained) -> String {
    let Some(molecule) = &trained.target.molecule else { return String::new() };
    let centres: Vec<String> =
        molecule.stereocentres.iter().map(|c| molecule.atoms[c.centre].label()).collect();
    match (&centres[..], trained.chirality) {
        ([], _) => String::new(),
        (_, Chirality::Any) => "; of both mirror images".to_string(),
        (centres, Chirality::Structure) => {
            format!("; mirrored to the structure's handedness at {}", centres.join(", "))
        }
    }
}
