//! Options of the radial conditioner: those of the pairwise coupling, whose conditioner it is.

use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::limits::{count, number, positive};

/// Pairwise layers: sizes of the network on distances that makes their parameters.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PairwiseOptions {
    /// Number of layers; more fit better, in proportion to the time (default 6).
    pub repeat: usize,
    /// Hidden features of particles and pairs (default 32).
    pub width: usize,
    /// Gaussian basis functions of a pair distance (default 16).
    pub basis: usize,
    /// Centre of the last basis function, a length: the largest distance that is resolved
    /// (default 8). In a crystal pairs are those of sites nearer than this, at most half an edge of
    /// the box, such as one or two shells of neighbours.
    pub cutoff: f64,
    /// Angular features of a pair, which depend on the directions of the neighbours (default 0:
    /// distances alone, which are cheaper, and enough for a few particles).
    pub angular: usize,
    /// Rounds in which particles collect features of their neighbours before parameters are made
    /// (default 1).
    pub message_passes: usize,
    /// Length c that keeps distances √(r² + c²) and pair directions smooth at overlap
    /// (default 0.1).
    pub core: f64,
}

impl Default for PairwiseOptions {
    fn default() -> Self {
        Self {
            repeat: 6,
            width: 32,
            basis: 16,
            cutoff: 8.0,
            angular: 0,
            message_passes: 1,
            core: 0.1,
        }
    }
}

impl PairwiseOptions {
    /// Checks every value.
    pub(in crate::flow) fn validate(&self) -> Result<(), Error> {
        count("width", self.width, 1..=4096)?;
        count("angular", self.angular, 0..=64)?;
        count("message_passes", self.message_passes, 0..=16)?;
        validate_distances(self.basis, self.cutoff, self.core)
    }
}

/// Checks what a radial network makes of distances: `basis`, `cutoff` and `core`.
pub(in crate::flow) fn validate_distances(
    basis: usize,
    cutoff: f64,
    core: f64,
) -> Result<(), Error> {
    count("basis", basis, 2..=1024)?;
    positive("cutoff", cutoff, 1e6)?;
    number("core", core, 1e-6..=cutoff)
}
