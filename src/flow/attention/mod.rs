//! A transformer on the particles (Vaswani et al., arXiv 1706.03762) as the conditioner of the baseline
//! that knows nothing of rotations: it reads Cartesian coordinates.
//!
//! With u = LayerNorm(h), heads of width w, and softmax over j,
//!
//! ```text
//! h_i  = Linear(y_i − ȳ) + species
//! h_i += Linear(Σ_j softmax_j(q_i·k_j/√w) v_j),   (q, k, v) = Linear(u)
//! h_i += MLP(LayerNorm(h_i))
//! ```
//!
//! Particles have no numbers in it: it is equivariant under permutations within a species, and not under
//! rotations.

mod options;

use super::linear::Linear;
use super::mlp::{Cotangents, Mlp};
use super::normalization::{normalize, normalize_vjp};
use super::species::SpeciesFeatures;
use super::vector_network::VectorNetwork;
use super::{rows, HalfShape, Initial, ParameterLayout};
use crate::engine::{exp, Arena, Lane, Real, Vector};
pub use options::NonequivariantOptions;

#[derive(Debug, Clone)]
struct Layers {
    /// q, k and v.
    projections: Linear,
    mix: Linear,
    feed: Mlp,
}

/// The network: parameters of each node's inner transforms, and the way from each node to the centre.
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

/// What a block leaves for the way back.
struct BlockTape<'a, T> {
    /// Normalised features [features, n] and 1/deviation [n], before the attention and after it.
    normal: [&'a mut [Lane<T>]; 2],
    inverse_deviation: [&'a mut [Lane<T>]; 2],
    /// q, k, v: [3 features, n].
    projections: &'a mut [Lane<T>],
    /// [heads, n, n].
    attention: &'a mut [Lane<T>],
    /// What the heads attend to, [features, n].
    attended: &'a mut [Lane<T>],
    feed: &'a mut [Lane<T>],
}

/// What the network leaves.
struct Tape<'a, T> {
    /// y − ȳ, [copies · d, n].
    input: &'a mut [Lane<T>],
    /// h, [features, n].
    h: &'a mut [Lane<T>],
    blocks: &'a mut [Lane<T>],
    head: &'a mut [Lane<T>],
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
        let n = self.half.particles;
        let feed = self.blocks.first().map_or(0, |block| block.feed.tape_lanes(n));
        (6 * self.features + 2 + self.heads * n) * n + feed
    }

    #[inline(always)]
    fn tape<'a, T: Real>(&self, tape: &'a mut [Lane<T>]) -> Tape<'a, T> {
        let n = self.half.particles;
        let mut tape = Arena::new(tape);
        Tape {
            input: tape.take(self.half.lanes()),
            h: tape.take(self.features * n),
            blocks: tape.take(self.blocks.len() * self.block_lanes()),
            head: tape.take(self.head.tape_lanes(n)),
        }
    }

    #[inline(always)]
    fn block_tape<'a, T: Real>(&self, tape: &'a mut [Lane<T>]) -> BlockTape<'a, T> {
        let (n, f) = (self.half.particles, self.features);
        let mut tape = Arena::new(tape);
        BlockTape {
            normal: [tape.take(f * n), tape.take(f * n)],
            inverse_deviation: [tape.take(n), tape.take(n)],
            projections: tape.take(3 * f * n),
            attention: tape.take(self.heads * n * n),
            attended: tape.take(f * n),
            feed: tape.take(self.blocks.first().map_or(0, |block| block.feed.tape_lanes(n))),
        }
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

    /// From the cotangent of what is attended to to that of q, k and v, which is written.
    #[inline(always)]
    fn attend_vjp<V: Vector>(
        &self,
        tape: &BlockTape<'_, V::Scalar>,
        attended: &[Lane<V::Scalar>],
        projections: &mut [Lane<V::Scalar>],
        scores: &mut [Lane<V::Scalar>],
    ) {
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

    /// Back through a perceptron: from its outputs' cotangent, with its inputs, to its inputs' cotangent.
    #[allow(clippy::too_many_arguments)]
    #[inline(always)]
    fn mlp_vjp<V: Vector>(
        &self,
        mlp: &Mlp,
        theta: &[V::Scalar],
        tape: &[Lane<V::Scalar>],
        [value, inputs]: [&[Lane<V::Scalar>]; 2],
        inputs_cotangent: &mut [Lane<V::Scalar>],
        mut gradient: Option<&mut [V::Scalar]>,
        scratch: &mut [Lane<V::Scalar>],
    ) {
        let n = self.half.particles;
        let (entry, scratch) = scratch.split_at_mut(mlp.first.outputs() * n);
        let cotangents = Cotangents { value, entry: &mut *entry };
        mlp.vjp::<V>(theta, tape, cotangents, gradient.as_deref_mut(), scratch, n);
        if let Some(gradient) = gradient {
            mlp.first.weight_gradient::<V>(gradient, 0, entry, inputs, n);
        }
        mlp.first.transposed_product::<V>(theta, 0, entry, inputs_cotangent, n, false);
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
        let n = self.half.particles;
        let head = self.head.tape_lanes(n);
        self.half.lanes() + self.features * n + self.blocks.len() * self.block_lanes() + head
    }

    fn forward_scratch(&self) -> usize {
        0
    }

    fn vjp_scratch(&self) -> usize {
        let n = self.half.particles;
        let inner = |mlp: &Mlp| mlp.first.outputs() * n + mlp.scratch_lanes(n);
        let mlps = self.blocks.iter().map(|block| &block.feed).chain([&self.head]);
        let attention = (4 * self.features + self.half.particles) * n;
        let own = 2 * self.features * n + self.half.lanes();
        own + mlps.map(inner).fold(attention, usize::max)
    }

    /// The vectors go from each position to the centre of the first copy.
    #[inline(always)]
    fn forward<V: Vector>(
        &self,
        theta: &[V::Scalar],
        positions: &[Lane<V::Scalar>],
        vectors: &mut [Lane<V::Scalar>],
        tape: &mut [Lane<V::Scalar>],
        _scratch: &mut [Lane<V::Scalar>],
        _keep: bool,
    ) {
        let HalfShape { copies, particles: n, dimension: d } = self.half;
        let Tape { input, h, blocks, head } = self.tape(tape);
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
        self.embed.product::<V>(theta, 0, input, h, n, false);
        self.embed.add_bias::<V>(theta, h, n);
        if let Some(species) = &self.species {
            species.add::<V>(theta, h);
        }
        for (block, tape) in self.blocks.iter().zip(blocks.chunks_exact_mut(self.block_lanes())) {
            let tape = self.block_tape(tape);
            let [first, second] = tape.normal;
            let [first_inverse, second_inverse] = tape.inverse_deviation;
            normalize::<V>(h, first, first_inverse);
            block.projections.product::<V>(theta, 0, first, tape.projections, n, false);
            block.projections.add_bias::<V>(theta, tape.projections, n);
            self.attend::<V>(tape.projections, tape.attention, tape.attended);
            block.mix.product::<V>(theta, 0, tape.attended, h, n, true);
            block.mix.add_bias::<V>(theta, h, n);
            normalize::<V>(h, second, second_inverse);
            let entry = block.feed.entry(tape.feed, n);
            block.feed.first.product::<V>(theta, 0, second, entry, n, false);
            block.feed.forward::<V>(theta, tape.feed, n);
            for (h, fed) in h.iter_mut().zip(block.feed.value(tape.feed, n)) {
                V::load(fed).accumulate(h);
            }
        }
        self.head.first.product::<V>(theta, 0, h, self.head.entry(head, n), n, false);
        self.head.forward::<V>(theta, head, n);
    }

    #[inline(always)]
    fn vjp<V: Vector>(
        &self,
        theta: &[V::Scalar],
        tape: &mut [Lane<V::Scalar>],
        [vectors_cotangent, outputs_cotangent]: [&[Lane<V::Scalar>]; 2],
        positions_cotangent: &mut [Lane<V::Scalar>],
        mut gradient: Option<&mut [V::Scalar]>,
        scratch: &mut [Lane<V::Scalar>],
    ) {
        let HalfShape { copies, particles: n, dimension: d } = self.half;
        let f = self.features;
        let Tape { input, h, blocks, head } = self.tape(tape);
        let mut arena = Arena::new(scratch);
        let h_cotangent = arena.take(f * n);
        let normal_cotangent = arena.take(f * n);
        let input_cotangent = arena.take(self.half.lanes());
        let scratch = arena.rest();
        let given: [&[Lane<V::Scalar>]; 2] = [outputs_cotangent, h];
        self.mlp_vjp::<V>(
            &self.head,
            theta,
            head,
            given,
            h_cotangent,
            gradient.as_deref_mut(),
            scratch,
        );
        let tapes = blocks.chunks_exact_mut(self.block_lanes());
        for (block, tape) in self.blocks.iter().zip(tapes).rev() {
            let tape = self.block_tape(tape);
            let given: [&[Lane<V::Scalar>]; 2] = [h_cotangent, tape.normal[1]];
            let into = &mut *normal_cotangent;
            self.mlp_vjp::<V>(
                &block.feed,
                theta,
                tape.feed,
                given,
                into,
                gradient.as_deref_mut(),
                scratch,
            );
            let [first, second] = &tape.normal;
            let [first_inverse, second_inverse] = &tape.inverse_deviation;
            normalize_vjp::<V>(second, second_inverse, normal_cotangent, h_cotangent, true);

            let mut inner = Arena::new(scratch);
            let attended = inner.take(f * n);
            let projections = inner.take(3 * f * n);
            let scores = inner.take(n);
            block.mix.transposed_product::<V>(theta, 0, h_cotangent, attended, n, false);
            self.attend_vjp::<V>(&tape, attended, projections, scores);
            if let Some(gradient) = gradient.as_deref_mut() {
                block.mix.weight_gradient::<V>(gradient, 0, h_cotangent, tape.attended, n);
                block.mix.bias_gradient::<V>(gradient, h_cotangent, n);
                block.projections.weight_gradient::<V>(gradient, 0, projections, first, n);
                block.projections.bias_gradient::<V>(gradient, projections, n);
            }
            block.projections.transposed_product::<V>(
                theta,
                0,
                projections,
                normal_cotangent,
                n,
                false,
            );
            normalize_vjp::<V>(first, first_inverse, normal_cotangent, h_cotangent, true);
        }
        if let Some(gradient) = gradient {
            self.embed.weight_gradient::<V>(gradient, 0, h_cotangent, input, n);
            self.embed.bias_gradient::<V>(gradient, h_cotangent, n);
            if let Some(species) = &self.species {
                species.add_gradient::<V>(gradient, h_cotangent);
            }
        }
        self.embed.transposed_product::<V>(theta, 0, h_cotangent, input_cotangent, n, false);
        for axis in 0..d {
            let mut mean = V::zero();
            for copy in 0..copies {
                for i in 0..n {
                    let at = (copy * d + axis) * n + i;
                    // The vector is minus the input.
                    let g = V::load(&input_cotangent[at]) - V::load(&vectors_cotangent[at]);
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
