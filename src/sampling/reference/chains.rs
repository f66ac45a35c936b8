//! Monte Carlo without a flow, timed: the reference sampler's chains, going on from samples.

use std::sync::Arc;
use std::time::Instant;

use super::population::{tile_size, Population};
use crate::error::{Error, EvaluationError};
use crate::parallel::message;
use crate::potential::Potential;
use crate::sampling::{AugmentedTarget, Chains, GeometricPath, LogDensity, Subspace};

/// Transitions that find the step size and are not counted.
const WARM_UP: usize = 20;
/// Transitions that the time should suffice for; with less time there are fewer chains.
const FEWEST: usize = 100;
/// Transitions that are enough.
const MOST: usize = 2000;

/// The energies along Hamiltonian chains, and how long they took.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct EnergyChains {
    /// U/kT after every transition, [chains, transitions]; none where the time was too short.
    pub energies: Vec<f64>,
    /// Transitions of each chain.
    pub transitions: usize,
    /// Wall time of these on all threads of this process.
    pub seconds: f64,
}

message!(EnergyChains { energies, transitions, seconds });

/// Runs the reference sampler's chains from `starts` ([samples, particles, dimension], samples of
/// exp(−U) with zero centre of mass) for about so many `seconds`, with trajectories of
/// `leapfrog_steps` steps, each of which takes one energy with its gradient. Threads have equal
/// numbers of chains, so that all are busy, and costly energies have fewer chains.
///
/// # Errors
/// [`Error::Evaluation`] if the potential fails for good.
pub fn energy_chains(
    potential: Arc<dyn Potential>,
    starts: &[f64],
    leapfrog_steps: usize,
    seconds: f64,
    seed: u64,
) -> Result<EnergyChains, Error> {
    let target = AugmentedTarget::new(potential, 1, 1.0)?;
    let subspace = target.subspace();
    let path = GeometricPath { densities: [&Flat(subspace), &target], subspace };
    let Some(first) = starts.get(..subspace.width()) else { return Ok(EnergyChains::default()) };
    let begin = Instant::now();
    // The fastest of a few: other programs may be in the way.
    let (mut fastest, mut tries) = (f64::INFINITY, 0);
    while tries == 0 || (tries < 10 && begin.elapsed().as_secs_f64() < 0.01 * seconds) {
        let start = Instant::now();
        Chains::new(&path, first.to_vec())?;
        fastest = fastest.min(start.elapsed().as_secs_f64());
        tries += 1;
    }
    let needed = fastest * (leapfrog_steps * (WARM_UP + FEWEST)) as f64;
    let rows = (seconds / needed).min(tile_size(&target) as f64) as usize;
    if rows == 0 {
        return Ok(EnergyChains::default());
    }
    let chains = rows * rayon::current_num_threads();
    let positions = starts.chunks_exact(subspace.width()).cycle().take(chains);
    let positions: Vec<f64> = positions.flatten().copied().collect();
    let mut population = Population::at(&path, &positions, rows, leapfrog_steps, seed)?;
    for _ in 0..WARM_UP {
        population.step()?;
    }
    let (start, mut energies) = (Instant::now(), Vec::new());
    while energies.len() < MOST && begin.elapsed().as_secs_f64() < seconds {
        population.step()?;
        energies.push(population.energies());
    }
    let seconds = start.elapsed().as_secs_f64();
    let transitions = energies.len();
    // A chain from where the potential has no energy this time stands still.
    let walks = |chain: &usize| energies.iter().all(|all: &Vec<f64>| all[*chain].is_finite());
    let walking = (0..chains).filter(walks);
    let energies = walking.flat_map(|chain| energies.iter().map(move |all| all[chain])).collect();
    Ok(EnergyChains { energies, transitions, seconds })
}

/// A density of 1, for a path that has only its other end.
struct Flat(Subspace);

impl LogDensity for Flat {
    fn width(&self) -> usize {
        self.0.width()
    }

    fn log_density_and_gradient(
        &self,
        _: &[f64],
        log_density: &mut [f64],
        gradient: &mut [f64],
    ) -> Result<usize, EvaluationError> {
        log_density.fill(0.0);
        gradient.fill(0.0);
        Ok(0)
    }
}
