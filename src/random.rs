//! Random streams as a function of (seed, purpose, step, sample).
//!
//! Nothing in a run depends on how many numbers some other part of it drew, so results are the same
//! for any number of threads and after any interruption.

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

/// What a stream is used for; two purposes never share numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Initial values of the flow's parameters.
    Initialization,
    /// Draws from the flow while training.
    Training,
    /// Annealed importance sampling and its Markov chains.
    Annealing,
    /// Draws from the replay buffer.
    Buffer,
    /// Evaluation during and after training.
    Evaluation,
    /// Draws that a user asks for.
    Sampling,
    /// The reference sampler.
    Reference,
    /// Order of data points.
    Data,
    /// Markov chains that live as long as a training.
    Walkers,
    /// Rotations of training samples.
    Rotations,
}

/// The stream of `sample` at `step` for `purpose` under `seed`.
pub fn stream(seed: u64, purpose: Purpose, step: u64, sample: u64) -> ChaCha8Rng {
    let mut key = [0u8; 32];
    key[0..8].copy_from_slice(&seed.to_le_bytes());
    key[8..16].copy_from_slice(&(purpose as u64).to_le_bytes());
    key[16..24].copy_from_slice(&step.to_le_bytes());
    key[24..32].copy_from_slice(&sample.to_le_bytes());
    ChaCha8Rng::from_seed(key)
}

/// The step of what is drawn once in a run, besides the steps 0, 1, … of the same purpose.
pub const ONCE: u64 = u64::MAX;

/// The sample of what concerns all samples 0, 1, … of a step.
pub const ALL_SAMPLES: u64 = u64::MAX;

/// Step −`number` − 1 of a purpose: for draws that come before its steps 0, 1, …, such as those
/// that fill a buffer or adapt step sizes.
pub fn step_before(number: u64) -> u64 {
    ONCE - number
}

/// A second series of steps of a purpose, counted down from the middle of all, where neither the
/// steps 0, 1, … nor those of [`step_before`] come.
pub fn second_series(step: u64) -> u64 {
    u64::MAX / 2 - step
}

/// Changes the seed ("walkers!" in ASCII) of the reference sampler that starts walkers: with the
/// seed of the run, an evaluation would judge the flow by the very chains that it was trained on.
pub const WALKERS_SEED: u64 = 0x7761_6c6b_6572_7321;

/// Samples at which the uses of a flow's density in one evaluation start, far from each other and
/// from the flow's own samples, which start at 0.
pub mod first_sample {
    /// Reference samples.
    pub const REFERENCE: u64 = 1 << 40;
    /// Weights on x alone.
    pub const MARGINAL: u64 = 2 << 40;
    /// Likelihood of any data.
    pub const LIKELIHOOD: u64 = 3 << 40;
    /// Log densities of any configurations.
    pub const LOG_PROB: u64 = 4 << 40;
}
