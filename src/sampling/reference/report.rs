//! What the reference sampler is asked for, and what it found.

use serde::Serialize;

use crate::potential::Potential;
use crate::random::{step_before, stream, Purpose};
use crate::samples::Samples;
use crate::sampling::Effort;

/// Populations; enough for an error of the mean that is itself known to about a sixth.
pub(super) const POPULATIONS: usize = 16;

/// How much work the reference sampler does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReferenceOptions {
    /// Configurations to return.
    pub samples: usize,
    /// Chains in all populations together, at least `samples`. Errors fall with its square root.
    pub chains: usize,
    /// Transitions of every chain after annealing: the first fifth equilibrates, the rest enters
    /// the means.
    pub transitions: usize,
    /// Seed of all random numbers.
    pub seed: u64,
}

impl Default for ReferenceOptions {
    fn default() -> Self {
        Self { samples: 10_000, chains: 32_768, transitions: 50, seed: 0 }
    }
}

/// What the reference sampler found; energies in kT, errors are standard errors.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ReferenceReport {
    /// Configurations returned.
    pub samples: usize,
    /// Independent populations.
    pub populations: usize,
    /// How many of them the means rest on, (Σ Z)²/Σ Z²: few if some populations found wells that
    /// others missed.
    pub effective_populations: f64,
    /// Chains in all populations together.
    pub chains: usize,
    /// Mean number of temperatures from the Gaussian to exp(−U).
    pub temperatures: f64,
    /// Standard deviation of a coordinate of the starting Gaussian.
    pub start_scale: f64,
    /// log ∫ exp(−U) over the zero-centre-of-mass subspace.
    pub log_z: f64,
    /// Standard error of `log_z`.
    pub log_z_error: f64,
    /// ⟨U⟩.
    pub energy: f64,
    /// Standard error of `energy`.
    pub energy_error: f64,
    /// Standard deviation of U.
    pub energy_std: f64,
    /// ⟨U⟩ + log Z, the lowest possible negative log-likelihood.
    pub entropy: f64,
    /// Standard error of `entropy`.
    pub entropy_error: f64,
    /// ⟨x·∇U⟩, which must equal `degrees_of_freedom`.
    pub virial: f64,
    /// Standard error of `virial`.
    pub virial_error: f64,
    /// (n − 1) d.
    pub degrees_of_freedom: usize,
    /// Mean acceptance after annealing.
    pub acceptance: f64,
    /// Mean step size after annealing.
    pub step_size: f64,
    /// Cost of the potential.
    pub effort: Effort,
    /// Of a molecule, which is sampled by replica exchange.
    pub exchange: Option<ExchangeReport>,
}

impl ReferenceReport {
    /// Whether the populations disagree so much that errors are not reliable.
    pub fn rests_on_few(&self) -> bool {
        self.effective_populations < 0.5 * self.populations as f64
    }
}

/// Samples of exp(−U) and what is known of it.
#[derive(Debug, Clone)]
pub struct Reference {
    /// Configurations, randomly rotated and permuted within species, with their energies.
    pub samples: Samples,
    /// The population that each sample is from. Samples of one may depend on each other.
    pub populations: Vec<usize>,
    /// Summary.
    pub report: ReferenceReport,
}

/// What replica exchange has to say.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ExchangeReport {
    /// Temperatures over that of the target, from 1 on.
    pub temperatures: Vec<f64>,
    /// Share of exchanges that were made between each two neighbours.
    pub exchanges: Vec<f64>,
    /// Ways of replicas from the coldest temperature to the hottest and back.
    pub round_trips: u64,
    /// Integrated autocorrelation time of U in sweeps; `None` if chains are too short for it.
    pub autocorrelation_time: Option<f64>,
    /// Sweeps of all chains over that time: how many independent samples means rest on.
    pub effective_samples: Option<f64>,
    /// Whether an atom with four bonds has turned inside out now and then at the hottest
    /// temperature: log Z is that of the structure's side and of those that exchanges of like atoms
    /// and reflection make of it.
    pub has_unclear_parts: bool,
    /// Whether there were too few configurations at the hottest temperature, or sweeps, for log Z.
    pub log_z_rests_on_few: bool,
    /// Dihedral angles, by atoms, and the degrees around which only one chain has seen them: their
    /// share is not known.
    pub seen_once: Vec<([usize; 4], f64)>,
}

/// A configuration with a random orientation and, within a species, order; in a periodic box as it
/// is, since its particles are tied to their sites.
pub(super) fn orient(potential: &dyn Potential, x: &[f64], seed: u64, sample: u64) -> Vec<f64> {
    let system = potential.system();
    if system.periodic_box().is_some() {
        return x.to_vec();
    }
    let mut rng = stream(seed, Purpose::Reference, step_before(1), sample);
    let permutation = system.random_permutation_within(potential.species(), &mut rng);
    let mut x = system.permute(&permutation, x);
    system.rotate(&system.random_rotation(&mut rng), &mut x);
    x
}
