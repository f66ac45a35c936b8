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
