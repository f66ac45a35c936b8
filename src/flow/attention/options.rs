//! Options of the transformer: those of the baseline without rotational symmetry.

use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::limits::{count, layer_widths};

/// Layers without rotational symmetry: affine maps of Cartesian coordinates z about the centre ȳ of
/// the conditioning half, whose scales and shifts a transformer (Vaswani et al.,
/// [arXiv 1706.03762](https://arxiv.org/abs/1706.03762)) makes of that half's coordinates y:
///
/// ```text
/// h_i  = Linear(y_i − ȳ) + species
/// h_i += Linear(Σ_j softmax_j(q_i·k_j/√w) v_j),   (q, k, v) = Linear(LayerNorm(h))    (each block)
/// h_i += MLP(LayerNorm(h_i))
/// (s_i, t_i) = MLP(h_i),   z′_i = ȳ + (z_i − ȳ) e^{s_i} + t_i,   log det = Σ s
/// ```
///
/// with heads of width w. Particles have no numbers in it: it commutes with permutations within a
/// species, and not with rotations.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NonequivariantOptions {
    /// Number of layers (default 12).
    pub repeat: usize,
    /// Blocks of attention (default 3).
    pub blocks: usize,
    /// Features per particle, a multiple of `heads` (default 128).
    pub features: usize,
    /// Heads of the attention (default 4).
    pub heads: usize,
    /// Hidden layers of the network after the attention of a block (default `[128]`).
    pub hidden: Vec<usize>,
    /// Hidden layers of the network that makes scales and shifts (default [64, 64]).
    pub head_hidden: Vec<usize>,
}

impl Default for NonequivariantOptions {
    fn default() -> Self {
        Self {
            repeat: 12,
            blocks: 3,
            features: 128,
            heads: 4,
            hidden: vec![128],
            head_hidden: vec![64, 64],
        }
    }
}

impl NonequivariantOptions {
    /// Checks every value.
    pub(in crate::flow) fn validate(&self) -> Result<(), Error> {
        count("blocks", self.blocks, 1..=64)?;
        count("heads", self.heads, 1..=64)?;
        count("features", self.features, 1..=4096)?;
        if !self.features.is_multiple_of(self.heads) {
            let problem = format!("is {}: use a multiple of heads, {}", self.features, self.heads);
            return Err(Error::parameter("features", problem));
        }
        layer_widths("hidden", &self.hidden)?;
        layer_widths("head_hidden", &self.head_hidden)
    }
}
