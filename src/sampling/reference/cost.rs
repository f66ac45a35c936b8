//! What the reference sampler will take, from a few transitions of it.

use std::sync::Arc;
use std::time::Instant;

use rayon::prelude::*;

use super::exchange;
use super::population::{tile_size, Population};
use super::start::Start;
use super::ReferenceOptions;
use crate::engine::LANES;
use crate::error::Error;
use crate::potential::Potential;
use crate::sampling::{AugmentedTarget, GeometricPath};

/// Transitions are timed for about this long.
const SECONDS: f64 = 0.5;

/// About how many seconds [`sample_reference`](super::sample_reference) takes on the threads of
/// this process: the time of a transition, times the transitions of all chains. How many
/// temperatures annealing needs is known only afterwards; here it is a mean over clusters, which
/// is right within a factor of two or so.
///
/// # Errors
/// [`Error::Evaluation`] if the potential fails fatally.
pub fn reference_seconds(
    potential: Arc<dyn Potential>,
    options: ReferenceOptions,
) -> Result<f64, Error> {
    if exchange::is_molecule(&*potential) {
        return seconds_of_molecule(&*potential, options);
    }
    let target = AugmentedTarget::new(potential, 1, 1.0)?;
    let start = Start::around_origin(target.subspace(), 1.0);
    let path = GeometricPath { densities: [&start, &target], subspace: target.subspace() };
    // A costly energy is timed on few chains, one that is soon computed on full tiles.
    let mut seconds = time(&path, &start, 2)?;
    let many = tile_size(&target) * rayon::current_num_threads();
    if seconds * (many as f64) < SECONDS {
        seconds = time(&path, &start, many)?;
    }
    let freedom = target.subspace().system().degrees_of_freedom() as f64;
    let transitions = temperatures(freedom) + options.transitions as f64;
    Ok(seconds * transitions * options.chains as f64)
}

/// The time of an energy near the structure, times the energies of replica exchange.
fn seconds_of_molecule(potential: &dyn Potential, options: ReferenceOptions) -> Result<f64, Error> {
    let Some(structure) = potential.structures().first() else { return Ok(0.0) };
    let tile = LANES.max(potential.batch_size());
    let rows = tile * rayon::current_num_threads();
    let x = structure.repeat(rows);
    let (begin, mut rounds) = (Instant::now(), 0);
    while rounds == 0 || begin.elapsed().as_secs_f64() < SECONDS {
        x.par_chunks(tile * structure.len()).try_for_each(|x| {
            let mut energies = vec![0.0; x.len() / structure.len()];
            let mut gradients = vec![0.0; x.len()];
            potential.energies_and_gradients(x, &mut energies, &mut gradients).map(|_| ())
        })?;
        rounds += 1;
    }
    let each = begin.elapsed().as_secs_f64() / (rounds * rows) as f64;
    Ok(each * exchange::evaluations(potential, options) as f64)
}

/// Seconds of one transition of one chain.
fn time(path: &GeometricPath<'_>, start: &Start, chains: usize) -> Result<f64, Error> {
    let mut population = Population::draw(path, start, chains, 0, 0)?;
    let (begin, mut steps) = (Instant::now(), 0);
    while steps == 0 || begin.elapsed().as_secs_f64() < SECONDS {
        population.step()?;
        steps += 1;
    }
    Ok(begin.elapsed().as_secs_f64() / (steps * chains) as f64)
}

/// Temperatures from the Gaussian to exp(−U), about: 51 for `dw4`, 76 for `lj13`, 101 for
/// `lj13_eps2`.
fn temperatures(freedom: f64) -> f64 {
    15.0 * freedom.sqrt()
}
