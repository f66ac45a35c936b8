//! A transformer on the particles as the conditioner of the baseline without rotational symmetry.
//! The formulas stand at [`NonequivariantOptions`].

mod options;

use super::linear::Linear;
use super::mlp::Mlp;
use super::normalization::{normalize, normalize_vjp};
use super::species::SpeciesFeatures;
use super::vector_network::{NetworkForward, NetworkVjp, VectorNetwork};
use super::{rows, HalfShape, Initial, ParameterLayout};
use crate::engine::{buffers, exp, Arena, Lane, Vector};
pub use options::NonequivariantOptions;

#[derive(Debug, Clone)]
struct Layers {
    /// q, k and v.
    projections: Linear,
    mix: Linear,
    feed: Mlp,
}

/// The network: parameters of each node's inner transforms, and the vector from it to the centre.
#[derive(Debug, Clone)]
pub(super) struct Transformer {
    half: HalfShape,
    features: usize,
    heads: usize,
    embed: Linear,
    species: Option<SpeciesFeatures>,
    blocks: Vec<Layers>,
    head: Mlp,
}

buffers! {
    /// What a block leaves for its vector-Jacobian product.
    struct BlockTape(network: &Transformer) {
        /// Normalised features [features, n] and 1/deviation [n] that go into the attention.
        normal: network.features * network.half.particles,
        inverse_deviation: network.half.particles,
        /// Those that go into the perceptron.
        feed_normal: network.features * network.half.particles,
        feed_inverse_deviation: network.half.particles,
        /// q, k, v: [3 features, n].
        projections: 3 * network.features * network.half.particles,
        /// [heads, n, n].
        attention: network.heads * network.half.particles * network.half.particles,
        /// What the heads attend to, [features, n].
        attended: network.features * network.half.particles,
        /// All blocks have the same sizes.
        feed: network.blocks[0].feed.tape_lanes(network.half.particles),
    }
}

buffers! {
    /// What the network leaves.
    struct Tape(network: &Transformer) {
        /// y − ȳ, [copies · d, n].
        input: network.half.lanes(),
        /// h, [features, n].
        h: network.features * network.half.particles,
        blocks: network.blocks.len() * network.block_lanes(),
        head: network.head.tape_lanes(network.half.particles),
    }
}

buffers! {
    /// What the vector-Jacobian product of the attention works in.
    struct AttentionVjp(network: &Transformer) {
        /// Cotangents of what is attended to, [features, n], and of q, k, v, [3 features, n].
        attended: network.features * network.half.particles,
        projections: 3 * network.features * network.half.particles,
        /// Those of one row of scores, [n].
        scores: network.half.particles,
    }
}

buffers! {
    /// Cotangents of h, of normalised features, and of the input.
    struct VjpSpace(network: &Transformer) {
        h: network.features * network.half.particles,
        normal: network.features * network.half.particles,
        input: network.half.lanes(),
    }
}

impl Transformer {
    /// Registers the parameters; the head's last layer starts at zero.
    pub fn new(
        layout: &mut ParameterLayout,
        half: HalfShape,
        species: &[usize],
        options: &NonequivariantOptions,
        outputs: usize,
    ) -> Self {
        let f = options.features;
        let embed = Linear::new(layout, "embed", f, half.copies * half.dimension, 1.0);
        let species = SpeciesFeatures::new(layout, "species", f, species, Initial::Normal(1.0));
        let blocks = (0..options.blocks)
            .map(|block| {
                let name = |part: &str| format!("block.{block}.{part}");
                Layers {
                    projections: Linear::new(layout, &name("projections"), 3 * f, f, 1.0),
                    mix: Linear::new(layout, &name("mix"), f, f, 1.0),
                    feed: Mlp::new(layout, &name("feed"), f, &options.hidden, Some((f, 1.0))),
                }
            })
            .collect();
        let head = Mlp::new(layout, "head", f, &options.head_hidden, Some((outputs, 0.0)));
        Self { half, features: f, heads: options.heads, embed, species, blocks, head }
    }

    fn block_lanes(&self) -> usize {
        Arena::<f32>::measure(|arena| {
            let _ = BlockTape::take(arena, self);
        })
    }

    /// Softmax over j of q_i·k_j/√w, and the sums of v_j by it.
    #[inline(always)]
    fn attend<V: Vector>(
        &self,
        projections: &[Lane<V::Scalar>],
        attention: &mut [Lane<V::Scalar>],
        attended: &mut [Lane<V::Scalar>],
    ) {
        let (n, f) = (self.half.particles, self.features);
        let width = f / self.heads;
        let scale = V::constant(1.0 / (width as f64).sqrt());
        let entry =
            |part: usize, row: usize, i: usize| V::load(&projections[(part * f + row) * n + i]);
        for head in 0..self.heads {
            let rows = head * width..(head + 1) * width;
            for i in 0..n {
                let share = &mut attention[(head * n + i) * n..][..n];
                let mut top = V::constant(-1e30);
                for (j, share) in share.iter_mut().enumerate() {
                    let mut score = V::zero();
                    for row in rows.clone() {
                        score = entry(0, row, i).mul_add(entry(1, row, j), score);
                    }
                    let score = score * scale;
                    top = top.max(score);
                    score.store(share);
                }
                let mut sum = V::zero();
                for share in share.iter_mut() {
                    let e = exp(V::load(share) - top);
                    sum += e;
                    e.store(share);
                }
                let inverse = V::constant(1.0) / sum;
                for share in share.iter_mut() {
                    (V::load(share) * inverse).store(share);
                }
                for row in rows.clone() {
                    let mut sum = V::zero();
                    for (j, share) in share.iter().enumerate() {
                        sum = V::load(share).mul_add(entry(2, row, j), sum);
                    }
                    sum.store(&mut attended[row * n + i]);
                }
            }
        }
    }

    /// From the cotangent of what is attended to, writes that of q, k and v.
    #[inline(always)]
    fn attend_vjp<V: Vector>(
        &self,
        tape: &BlockTape<'_, V::Scalar>,
        space: &mut AttentionVjp<'_, V::Scalar>,
    ) {
        let AttentionVjp { attended, projections, scores } = space;
        let (n, f) = (self.half.particles, self.features);
        let width = f / self.heads;
        let scale = V::constant(1.0 / (width as f64).sqrt());
        let at = |part: usize, row: usize, i: usize| (part * f + row) * n + i;
        projections.fill(Lane::zero());
        for head in 0..self.heads {
            let rows = head * width..(head + 1) * width;
            for i in 0..n {
                let share = &tape.attention[(head * n + i) * n..][..n];
                let mut mean = V::zero();
                for (j, score) in scores.iter_mut().enumerate() {
                    let p = V::load(&share[j]);
                    let mut slope = V::zero();
                    for row in rows.clone() {
                        let outer = V::load(&attended[row * n + i]);
                        slope = outer.mul_add(V::load(&tape.projections[at(2, row, j)]), slope);
                        (outer * p).accumulate(&mut projections[at(2, row, j)]);
                    }
                    mean = slope.mul_add(p, mean);
                    slope.store(score);
                }
                for (j, score) in scores.iter().enumerate() {
                    let g = (V::load(score) - mean) * V::load(&share[j]) * scale;
                    for row in rows.clone() {
                        let (q, k) = (at(0, row, i), at(1, row, j));
                        (g * V::load(&tape.projections[k])).accumulate(&mut projections[q]);
                        (g * V::load(&tape.projections[q])).accumulate(&mut projections[k]);
                    }
                }
            }
        }
    }
}

impl VectorNetwork for Transformer {
    fn vector_lanes(&self) -> usize {
        self.half.lanes()
    }

    fn output_lanes(&self) -> usize {
        self.head.outputs() * self.half.particles
    }

    /// It always keeps them all.
    fn tape_lanes(&self, _keep: bool) -> usize {
        Arena::<f32>::measure(|arena| {
            let _ = Tape::take(arena, self);
        })
    }

    fn scratch_lanes(&self) -> usize {
        Arena::<f32>::measure(|arena| {
            VjpSpace::take(arena, self);
            for mlp in self.blocks.iter().map(|block| &block.feed).chain([&self.head]) {
                mlp.take_apply_vjp_scratch(arena.inner(), self.half.particles);
            }
            AttentionVjp::take(&mut arena.inner(), self);
        })
    }

    /// The vectors go from each position to the centre of the first copy.
    #[inline(always)]
    fn forward<V: Vector>(
        &self,
        call: NetworkForward<'_, V::Scalar>,
        _scratch: &mut [Lane<V::Scalar>],
    ) {
        let NetworkForward { theta, positions, vectors, tape, .. } = call;
        let HalfShape { copies, particles: n, dimension: d } = self.half;
        let Tape { input, h, blocks, head } = Tape::take(&mut Arena::new(tape), self);
        for axis in 0..d {
            let mean = rows::mean::<V>(positions, (n, d), axis);
            for copy in 0..copies {
                for i in 0..n {
                    let y = V::load(&positions[(copy * n + i) * d + axis]);
                    let at = (copy * d + axis) * n + i;
                    (y - mean).store(&mut input[at]);
                    (mean - y).store(&mut vectors[at]);
                }
            }
        }
        self.embed.apply::<V>(theta, input, h, n);
        if let Some(species) = &self.species {
            species.add::<V>(theta, h);
        }
        for (block, tape) in self.blocks.iter().zip(blocks.chunks_exact_mut(self.block_lanes())) {
            let tape = BlockTape::take(&mut Arena::new(tape), self);
            normalize::<V>(h, tape.normal, tape.inverse_deviation);
            block.projections.apply::<V>(theta, tape.normal, tape.projections, n);
            self.attend::<V>(tape.projections, tape.attention, tape.attended);
            block.mix.product::<V>(theta, 0, tape.attended, h, n, true);
            block.mix.add_bias::<V>(theta, h, n);
            normalize::<V>(h, tape.feed_normal, tape.feed_inverse_deviation);
            block.feed.apply::<V>(theta, tape.feed_normal, tape.feed, n);
            for (h, fed) in h.iter_mut().zip(block.feed.value(tape.feed, n)) {
                V::load(fed).accumulate(h);
            }
        }
        self.head.apply::<V>(theta, h, head, n);
    }

    #[inline(always)]
    fn vjp<V: Vector>(&self, call: NetworkVjp<'_, V::Scalar>, scratch: &mut [Lane<V::Scalar>]) {
        let NetworkVjp { theta, vectors_cotangent, positions_cotangent, mut gradient, .. } = call;
        let HalfShape { copies, particles: n, dimension: d } = self.half;
        let Tape { input, h, blocks, head } = Tape::take(&mut Arena::new(call.tape), self);
        let mut arena = Arena::new(scratch);
        let to = VjpSpace::take(&mut arena, self);
        let given = [&*h, call.outputs_cotangent];
        let inner = arena.inner();
        self.head.apply_vjp::<V>(theta, head, given, to.h, gradient.as_deref_mut(), inner, n);
        let tapes = blocks.chunks_exact_mut(self.block_lanes());
        for (block, tape) in self.blocks.iter().zip(tapes).rev() {
            let tape = BlockTape::take(&mut Arena::new(tape), self);
            let (given, inner) = ([&*tape.feed_normal, &*to.h], arena.inner());
            let inner_gradient = gradient.as_deref_mut();
            block.feed.apply_vjp::<V>(theta, tape.feed, given, to.normal, inner_gradient, inner, n);
            let (normal, deviation) = (&*tape.feed_normal, &*tape.feed_inverse_deviation);
            normalize_vjp::<V>(normal, deviation, to.normal, to.h, true);

            let mut attention = AttentionVjp::take(&mut arena.inner(), self);
            let (into, inner_gradient) = (&mut *attention.attended, gradient.as_deref_mut());
            block.mix.apply_vjp::<V>(theta, tape.attended, to.h, into, inner_gradient, n, false);
            self.attend_vjp::<V>(&tape, &mut attention);
            let (given, inner_gradient) = (&*attention.projections, gradient.as_deref_mut());
            block.projections.apply_vjp::<V>(
                theta,
                tape.normal,
                given,
                to.normal,
                inner_gradient,
                n,
                false,
            );
            normalize_vjp::<V>(tape.normal, tape.inverse_deviation, to.normal, to.h, true);
        }
        if let (Some(gradient), Some(species)) = (gradient.as_deref_mut(), &self.species) {
            species.add_gradient::<V>(gradient, to.h);
        }
        self.embed.apply_vjp::<V>(theta, input, to.h, to.input, gradient, n, false);
        for axis in 0..d {
            let mut mean = V::zero();
            for copy in 0..copies {
                for i in 0..n {
                    let at = (copy * d + axis) * n + i;
                    // The vector is minus the input.
                    let g = V::load(&to.input[at]) - V::load(&vectors_cotangent[at]);
                    g.accumulate(&mut positions_cotangent[(copy * n + i) * d + axis]);
                    mean += g;
                }
            }
            let mean = mean * V::constant(-1.0 / n as f64);
            for i in 0..n {
                mean.accumulate(&mut positions_cotangent[i * d + axis]);
            }
        }
    }
}
