//! The light radial conditioner: invariant pair and node outputs from smooth distance features.
//!
//! With ρ_ij = √(|y_i − y_j|² + c²), u_ij = (y_i − y_j)/ρ_ij and Gaussian features
//! e_k(ρ) = exp(−(γ_k (ρ − μ_k))²), a pair stage is one layer per unordered pair,
//!
//! ```text
//! t_ij = SiLU(A e(ρ_ij) + (U h)_i + (U h)_j + b)
//! ```
//!
//! whose sums over j update the node features h (a message pass) and whose last instance is read out.
//! h starts from features of the distance to the centre and, where particles are unlike, a column for
//! the species.
//! The products with `width` inputs are done per node, never per pair.

mod backward;
mod forward;

use crate::engine::{Arena, Lane, Real};
use crate::flow::species::SpeciesFeatures;
use crate::flow::{Block, Initial, ParameterLayout};

use super::PairwiseOptions;

/// Outputs per pair: φ, α, β.
pub(super) const PAIR_OUTPUTS: usize = 3;
/// Outputs per node: g, s.
pub(super) const NODE_OUTPUTS: usize = 2;

/// A pair stage's parameters.
#[derive(Debug, Clone, Copy)]
struct PairStage {
    feature: Block,
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
    pub pairs: usize,
    width: usize,
    basis: usize,
    core: f64,
    centers: Block,
    sharpness: Block,
    embed: Block,
    embed_bias: Block,
    species: Option<SpeciesFeatures>,
    passes: Vec<MessagePass>,
    readout: PairStage,
    pair_out: Block,
    node_hidden: Block,
    node_hidden_bias: Block,
    node_out: Block,
    /// Added to every s, where the coupling does not start as the identity.
    log_noise_factor: Option<Block>,
}

/// What the forward pass leaves for the couplings and for the backward pass.
pub(super) struct Tape<'a, T> {
    /// y − ȳ, [particles, dimension].
    pub centered: &'a mut [Lane<T>],
    /// u_ij, [pairs, dimension].
    pub direction: &'a mut [Lane<T>],
    /// φ, α, β: [3, pairs].
    pub pair_outputs: &'a mut [Lane<T>],
    /// g, s: [2, particles].
    pub node_outputs: &'a mut [Lane<T>],
    /// ρ of pairs, then of nodes to the centre.
    distance: &'a mut [Lane<T>],
    /// Features [basis, pairs] and [basis, particles].
    pair_features: &'a mut [Lane<T>],
    node_features: &'a mut [Lane<T>],
    /// h before every pass and after the last: [passes + 1, width, particles].
    h: &'a mut [Lane<T>],
    /// t and SiLU' of every pair stage: each [stages, width, pairs].
    activation: &'a mut [Lane<T>],
    slope: &'a mut [Lane<T>],
    /// Σ_j t of every pass: [passes, width, particles].
    message: &'a mut [Lane<T>],
    /// SiLU' of every node update, then activation and slope of the node read-out.
    update_slope: &'a mut [Lane<T>],
    node_activation: &'a mut [Lane<T>],
    node_slope: &'a mut [Lane<T>],
    /// Scratch [width, particles].
    per_node: &'a mut [Lane<T>],
}

impl RadialConditioner {
    pub fn new(
        particles: usize,
        dimension: usize,
        species: &[usize],
        options: &PairwiseOptions,
        layout: &mut ParameterLayout,
    ) -> Self {
        let (width, basis) = (options.width, options.basis);
        let spacing = options.cutoff / (basis - 1) as f64;
        let stage = |layout: &mut ParameterLayout, name: &str| PairStage {
            feature: layout.matrix(
                &format!("{name}.feature"),
                width,
                basis,
                Initial::Normal(1.0 / (2.0_f64).sqrt()),
            ),
            node: layout.matrix(
                &format!("{name}.node"),
                width,
                width,
                Initial::Normal(0.5 / (width as f64).sqrt()),
            ),
            bias: layout.vector(&format!("{name}.bias"), width, Initial::Normal(0.5)),
        };
        let scale = 1.0 / (width as f64).sqrt();
        Self {
            particles,
            dimension,
            pairs: particles * (particles - 1) / 2,
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
            // The map starts as the identity: the last layers start at zero.
            pair_out: layout.matrix(
                "readout.pair_out",
                PAIR_OUTPUTS,
                width,
                Initial::Constant(0.0),
            ),
            node_hidden: layout.matrix("readout.hidden", width, width, Initial::Normal(scale)),
            node_hidden_bias: layout.vector("readout.hidden_bias", width, Initial::Constant(0.0)),
            node_out: layout.matrix(
                "readout.node_out",
                NODE_OUTPUTS,
                width,
                Initial::Constant(0.0),
            ),
            log_noise_factor: (options.noise_factor != 1.0).then(|| {
                let start = Initial::Constant(options.noise_factor.ln());
                layout.vector("log_noise_factor", 1, start)
            }),
        }
    }

    fn stages(&self) -> usize {
        self.passes.len() + 1
    }

    /// Lanes of a tape plus the backward pass' scratch.
    pub fn scratch(&self) -> usize {
        let (n, d, p, w, f) = (self.particles, self.dimension, self.pairs, self.width, self.basis);
        let tape = n * d
            + p * d
            + PAIR_OUTPUTS * p
            + NODE_OUTPUTS * n
            + (p + n)
            + f * (p + n)
            + self.stages() * (w * n + 2 * w * p + 2 * w * n)
            + 4 * w * n;
        tape + f * (p + n) + w * p + 3 * w * n
    }

    /// A tape in `arena`.
    #[inline(always)]
    pub fn tape<'a, T: Real>(&self, arena: &mut Arena<'a, T>) -> Tape<'a, T> {
        let (n, d, p, w, f) = (self.particles, self.dimension, self.pairs, self.width, self.basis);
        let stages = self.stages();
        Tape {
            centered: arena.take(n * d),
            direction: arena.take(p * d),
            pair_outputs: arena.take(PAIR_OUTPUTS * p),
            node_outputs: arena.take(NODE_OUTPUTS * n),
            distance: arena.take(p + n),
            pair_features: arena.take(f * p),
            node_features: arena.take(f * n),
            h: arena.take(stages * w * n),
            activation: arena.take(stages * w * p),
            slope: arena.take(stages * w * p),
            message: arena.take((stages - 1) * w * n),
            update_slope: arena.take((stages - 1) * w * n),
            node_activation: arena.take(w * n),
            node_slope: arena.take(w * n),
            per_node: arena.take(w * n),
        }
    }

    fn message_scale(&self) -> f64 {
        1.0 / ((self.particles - 1) as f64).sqrt()
    }

    /// Arithmetic per sample of `forward`, and of `backward` without and with parameter gradients.
    pub fn operations(&self) -> [f64; 3] {
        let [n, d, p, w, f] = [self.particles, self.dimension, self.pairs, self.width, self.basis]
            .map(|count| count as f64);
        let (passes, stages) = (self.passes.len() as f64, self.stages() as f64);
        let products = 2.0
            * (w * f * n
                + stages * (w * f * p + w * w * n)
                + passes * w * w * n
                + 3.0 * w * p
                + w * w * n
                + 2.0 * w * n);
        let special = f * (p + n) * (EXPONENTIAL + 3.0)
            + (stages * w * p + (passes + 1.0) * w * n) * (SILU + 2.0);
        let geometry = p * (4.0 * d + 20.0) + n * (3.0 * d + 16.0);
        let forward = products + special + geometry;
        let elementwise = f * (p + n) * 8.0 + stages * w * p * 4.0 + p * (10.0 * d + 12.0);
        [forward, products + elementwise, 2.0 * products + elementwise]
    }
}

/// Arithmetic of one exponential: range reduction, six terms, scaling.
pub(super) const EXPONENTIAL: f64 = 18.0;
/// Arithmetic of one SiLU with its derivative: an exponential, a division and four more.
pub(super) const SILU: f64 = EXPONENTIAL + 6.0;
