//! The light radial conditioner: invariant outputs of pairs and particles from smooth features of
//! distances. Its mathematics stand at [`PairwiseCoupling`](super::PairwiseCoupling).
//!
//! Products with `width` inputs are done per node, never per pair. A stage takes the pairs in
//! blocks that go through all of it while they are in the cache. What it leaves of them for the
//! vector-Jacobian product is kept where all pairs are one block, and is computed again otherwise,
//! which takes less time than writing and reading it.

mod angular;
mod copies;
mod displacement;
mod forward;
mod network;
mod options;
mod pairs;
mod vjp;

use super::species::SpeciesFeatures;
use super::{Block, CouplingContext, HalfShape, Initial, ParameterLayout};
use crate::engine::{Arena, Lane, Real};
use crate::error::Error;

use angular::Angular;
pub(super) use copies::{mean, total};
pub(super) use displacement::{displacement, displacement_vjp, DisplacementCotangents};
pub(super) use network::RadialNetwork;
pub(super) use options::validate_distances;
pub use options::PairwiseOptions;
use pairs::Blocks;
pub(super) use pairs::Pairs;

/// As many pairs are one block as take no more bytes than this for all that is kept of them, …
const KEPT_BYTES: usize = 1 << 20;
/// … and more are taken in blocks of this size, which stay in a second-level cache of 512 KiB with
/// the weights.
const BLOCK_BYTES: usize = 1 << 18;

/// What the conditioner is to make.
pub(super) struct Outputs<'a> {
    /// For each output of a pair the power of ρ that it is divided by: 0, 1 or 2.
    pub powers: &'a [usize],
    /// What the weights of the pairs' outputs start as; those of the nodes' outputs start at zero.
    pub pairs: Initial,
    /// Outputs of a node.
    pub nodes: usize,
    /// Name and initial value of a parameter that is added to every node's last output.
    pub last_offset: Option<(&'a str, f64)>,
}

/// A pair stage's parameters.
#[derive(Debug, Clone, Copy)]
struct PairStage {
    feature: Block,
    /// Of the angular features, if there are any.
    angular: Option<Block>,
    node: Block,
    bias: Block,
}

/// A message pass: a pair stage and the node update h += SiLU(M Σ_j t_ij + d).
#[derive(Debug, Clone, Copy)]
struct MessagePass {
    pair: PairStage,
    update: Block,
    update_bias: Block,
}

/// Parameters and sizes of the conditioner.
#[derive(Debug, Clone)]
pub(super) struct RadialConditioner {
    pub particles: usize,
    pub dimension: usize,
    pub pairs: Pairs,
    width: usize,
    basis: usize,
    core: f64,
    centers: Block,
    sharpness: Block,
    angular: Option<Angular>,
    embed: Block,
    embed_bias: Block,
    species: Option<SpeciesFeatures>,
    passes: Vec<MessagePass>,
    readout: PairStage,
    pair_out: Block,
    node_hidden: Block,
    node_hidden_bias: Block,
    node_out: Block,
    /// See [`Outputs`].
    powers: Vec<usize>,
    outputs: usize,
    last_offset: Option<Block>,
}

/// What [`forward`](RadialConditioner::forward) leaves for the couplings and for its
/// vector-Jacobian product.
pub(super) struct RadialTape<'a, T> {
    /// y − ȳ, [particles, dimension].
    pub centered: &'a mut [Lane<T>],
    /// Outputs of pairs, divided by powers of ρ: [outputs, pairs].
    pub pair_outputs: &'a mut [Lane<T>],
    /// Outputs of nodes: [outputs, particles].
    pub node_outputs: &'a mut [Lane<T>],
    /// ρ of pairs, then of nodes to the centre.
    distance: &'a mut [Lane<T>],
    /// Features [basis + angular, pairs of a block] and [basis, particles].
    pair_features: &'a mut [Lane<T>],
    node_features: &'a mut [Lane<T>],
    /// Vectors [angular, particles, dimension] and what a block's pairs weigh in them.
    vectors: &'a mut [Lane<T>],
    weights: &'a mut [Lane<T>],
    /// h before every pass and after the last: [passes + 1, width, particles].
    h: &'a mut [Lane<T>],
    /// t and SiLU' of every pair stage: each [stages, width, pairs of a block].
    activation: &'a mut [Lane<T>],
    slope: &'a mut [Lane<T>],
    /// Σ_j t of every pass: [passes, width, particles].
    message: &'a mut [Lane<T>],
    /// SiLU' of every node update, then activation and slope of the node read-out.
    update_slope: &'a mut [Lane<T>],
    node_activation: &'a mut [Lane<T>],
    node_slope: &'a mut [Lane<T>],
    /// U h of the pair stage that was last: [width, particles].
    per_node: &'a mut [Lane<T>],
    /// Outputs of a block's pairs, not divided.
    block_outputs: &'a mut [Lane<T>],
}

/// ∂L/∂ of what [`RadialConditioner::forward`] made.
pub(super) struct RadialCotangents<'a, T> {
    /// Of outputs of pairs as they are on the tape, divided by powers of ρ: [outputs, pairs].
    pub pairs: &'a mut [Lane<T>],
    /// Of outputs of nodes, [outputs, particles].
    pub nodes: &'a mut [Lane<T>],
    /// Of y − ȳ apart from the outputs, [particles, dimension].
    pub centered: &'a mut [Lane<T>],
}

impl RadialConditioner {
    /// # Errors
    /// [`Error::Parameter`] on `cutoff`, for a crystal whose sites it gives no neighbours.
    pub fn new(
        context: &CouplingContext<'_>,
        options: &PairwiseOptions,
        outputs: &Outputs<'_>,
        layout: &mut ParameterLayout,
    ) -> Result<Self, Error> {
        let &CouplingContext { half: HalfShape { particles, dimension, .. }, species, .. } =
            context;
        let pairs = match context.crystal {
            Some(crystal) => Pairs::of_neighbours(crystal, options.cutoff)?,
            None => Pairs::all(particles),
        };
        let (width, basis) = (options.width, options.basis);
        let spacing = options.cutoff / (basis - 1) as f64;
        let stage = |layout: &mut ParameterLayout, name: &str| PairStage {
            feature: layout.matrix(
                &format!("{name}.feature"),
                width,
                basis,
                Initial::Normal(1.0 / (2.0_f64).sqrt()),
            ),
            // They come in as training asks for them.
            angular: (options.angular > 0).then(|| {
                let start = Initial::Constant(0.0);
                layout.added_matrix(&format!("{name}.angular"), width, options.angular, start)
            }),
            node: layout.matrix(
                &format!("{name}.node"),
                width,
                width,
                Initial::Normal(0.5 / (width as f64).sqrt()),
            ),
            bias: layout.vector(&format!("{name}.bias"), width, Initial::Normal(0.5)),
        };
        let scale = 1.0 / (width as f64).sqrt();
        Ok(Self {
            particles,
            dimension,
            width,
            basis,
            core: options.core,
            centers: layout.vector(
                "basis.centers",
                basis,
                Initial::Values((0..basis).map(|k| k as f64 * spacing).collect()),
            ),
            // Neighbouring Gaussians meet at exp(−1/4) of their height.
            sharpness: layout.vector("basis.sharpness", basis, Initial::Constant(1.0 / spacing)),
            angular: Angular::new(layout, options.angular, basis, &pairs),
            embed: layout.matrix("embed.weight", width, basis, Initial::Normal(0.5)),
            embed_bias: layout.vector("embed.bias", width, Initial::Normal(0.5)),
            species: SpeciesFeatures::new(
                layout,
                "embed.species",
                width,
                species,
                Initial::Normal(0.5),
            ),
            passes: (0..options.message_passes)
                .map(|k| MessagePass {
                    pair: stage(layout, &format!("message.{k}")),
                    update: layout.matrix(
                        &format!("message.{k}.update"),
                        width,
                        width,
                        Initial::Normal(scale),
                    ),
                    update_bias: layout.vector(
                        &format!("message.{k}.update_bias"),
                        width,
                        Initial::Constant(0.0),
                    ),
                })
                .collect(),
            readout: stage(layout, "readout"),
            pair_out: layout.matrix(
                "readout.pair_out",
                outputs.powers.len(),
                width,
                outputs.pairs.clone(),
            ),
            node_hidden: layout.matrix("readout.hidden", width, width, Initial::Normal(scale)),
            node_hidden_bias: layout.vector("readout.hidden_bias", width, Initial::Constant(0.0)),
            node_out: layout.matrix(
                "readout.node_out",
                outputs.nodes,
                width,
                Initial::Constant(0.0),
            ),
            powers: outputs.powers.to_vec(),
            outputs: outputs.nodes,
            last_offset: outputs
                .last_offset
                .map(|(name, start)| layout.vector(name, 1, Initial::Constant(start))),
            pairs,
        })
    }

    fn stages(&self) -> usize {
        self.passes.len() + 1
    }

    /// Features of a pair.
    fn pair_features(&self) -> usize {
        self.basis + self.channels()
    }

    /// Angular ones among them.
    fn channels(&self) -> usize {
        self.angular.map_or(0, |angular| angular.channels)
    }

    /// Pairs of a block.
    fn block_size<T>(&self) -> usize {
        let lanes = 2 * self.pair_features() + (2 * self.stages() + 1) * self.width;
        let bytes = lanes * std::mem::size_of::<Lane<T>>();
        let pairs = self.pairs.count();
        if pairs * bytes <= KEPT_BYTES {
            pairs
        } else {
            (BLOCK_BYTES / bytes).clamp(1, pairs)
        }
    }

    #[inline(always)]
    fn blocks<T>(&self) -> Blocks<'_> {
        self.pairs.blocks(self.block_size::<T>())
    }

    /// Whether what a stage leaves of its pairs is kept.
    #[inline(always)]
    fn keeps<T>(&self) -> bool {
        self.block_size::<T>() == self.pairs.count()
    }

    /// A tape in `arena`.
    #[inline(always)]
    pub fn tape<'a, T: Real>(&self, arena: &mut Arena<'a, T>) -> RadialTape<'a, T> {
        let (n, d, w, f) = (self.particles, self.dimension, self.width, self.basis);
        let p = self.pairs.count();
        let (stages, block) = (self.stages(), self.block_size::<T>());
        RadialTape {
            centered: arena.take(n * d),
            pair_outputs: arena.take(self.powers.len() * p),
            node_outputs: arena.take(self.outputs * n),
            distance: arena.take(p + n),
            pair_features: arena.take(self.pair_features() * block),
            node_features: arena.take(f * n),
            vectors: arena.take(self.channels() * n * d),
            weights: arena.take(self.channels() * block),
            h: arena.take(stages * w * n),
            activation: arena.take(stages * w * block),
            slope: arena.take(stages * w * block),
            message: arena.take((stages - 1) * w * n),
            update_slope: arena.take((stages - 1) * w * n),
            node_activation: arena.take(w * n),
            node_slope: arena.take(w * n),
            per_node: arena.take(w * n),
            block_outputs: arena.take(self.powers.len() * block),
        }
    }

    /// Cotangents of the outputs in `arena`, all zero.
    #[inline(always)]
    pub fn cotangents<'a, T: Real>(&self, arena: &mut Arena<'a, T>) -> RadialCotangents<'a, T> {
        RadialCotangents {
            pairs: arena.take_zeroed(self.powers.len() * self.pairs.count()),
            nodes: arena.take_zeroed(self.outputs * self.particles),
            centered: arena.take_zeroed(self.particles * self.dimension),
        }
    }

    /// An output of the pairs, and that of the particles with the same number.
    #[inline(always)]
    pub fn scalars<'a, T>(
        &self,
        tape: &'a RadialTape<'_, T>,
        number: usize,
    ) -> (&'a [Lane<T>], &'a [Lane<T>]) {
        let (n, p) = (self.particles, self.pairs.count());
        (&tape.pair_outputs[number * p..][..p], &tape.node_outputs[number * n..][..n])
    }

    fn message_scale(&self) -> f64 {
        1.0 / self.pairs.neighbours().sqrt()
    }
}
