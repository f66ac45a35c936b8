//! From positions to outputs: geometry, features, message passes, read-out.

use crate::engine::{matrix_product, silu_and_derivative, Kernel, Lane, Real, Vector};

use super::pairs::PairBlock;
use super::{PairStage, RadialConditioner, RadialTape};
use crate::flow::rows::{self, dot, in_dimension, load};

/// A Gaussian ends at exp(−40) = 4e-18 instead of falling on: its products with weights would be
/// subnormal numbers, which cost many processors a hundred cycles each.
const FARTHEST: f64 = 40.0;

impl RadialConditioner {
    /// Fills the tape from the conditioning half `y`.
    #[inline(always)]
    pub fn forward<V: Vector>(
        &self,
        theta: &[V::Scalar],
        y: &[Lane<V::Scalar>],
        tape: &mut RadialTape<'_, V::Scalar>,
    ) {
        let (n, p, w) = (self.particles, self.pairs.count(), self.width);
        self.geometry::<V>(y, tape);
        self.features::<V>(theta, &tape.distance[p..], tape.node_features);
        in_dimension!(self.dimension, D => self.vectors::<V, D>(theta, tape));

        let first = &mut tape.h[..w * n];
        fill_rows::<V>(self.embed_bias.of(theta), first, n);
        matrix_product::<V>(self.embed.matrix(theta), tape.node_features, first, n, true);
        if let Some(species) = &self.species {
            species.add::<V>(theta, first);
        }

        for (k, pass) in self.passes.iter().enumerate() {
            self.node_terms::<V>(theta, &pass.pair, k, tape);
            let message = k * w * n..(k + 1) * w * n;
            tape.message[message.clone()].fill(Lane::zero());
            for block in self.blocks::<V::Scalar>() {
                self.pair_stage::<V>(theta, &pass.pair, k, &block, tape);
                let t = &tape.activation[k * w * block.count..(k + 1) * w * block.count];
                self.sum_pairs::<V>(&block, t, &mut tape.message[message.clone()]);
            }
            let message = &mut tape.message[message];
            let scale = V::constant(self.message_scale());
            for message in message.iter_mut() {
                (V::load(message) * scale).store(message);
            }
            let slope = &mut tape.update_slope[k * w * n..(k + 1) * w * n];
            fill_rows::<V>(pass.update_bias.of(theta), slope, n);
            matrix_product::<V>(pass.update.matrix(theta), message, slope, n, true);
            let (before, after) = tape.h[k * w * n..(k + 2) * w * n].split_at_mut(w * n);
            for ((slope, before), after) in slope.iter_mut().zip(before).zip(after) {
                let (value, derivative) = silu_and_derivative(V::load(slope));
                derivative.store(slope);
                (V::load(before) + value).store(after);
            }
        }

        let last = self.passes.len();
        self.node_terms::<V>(theta, &self.readout, last, tape);
        for block in self.blocks::<V::Scalar>() {
            self.pair_stage::<V>(theta, &self.readout, last, &block, tape);
            let count = block.count;
            let t = &tape.activation[last * w * count..(last + 1) * w * count];
            let outputs = &mut tape.block_outputs[..self.powers.len() * count];
            matrix_product::<V>(self.pair_out.matrix(theta), t, outputs, count, false);
            for (k, pair) in block.range().enumerate() {
                let inverse = V::constant(1.0) / V::load(&tape.distance[pair]);
                for (row, power) in self.powers.iter().enumerate() {
                    let mut value = V::load(&outputs[row * count + k]);
                    for _ in 0..*power {
                        value *= inverse;
                    }
                    value.store(&mut tape.pair_outputs[row * p + pair]);
                }
            }
        }

        let h = &tape.h[last * w * n..(last + 1) * w * n];
        fill_rows::<V>(self.node_hidden_bias.of(theta), tape.node_slope, n);
        matrix_product::<V>(self.node_hidden.matrix(theta), h, tape.node_slope, n, true);
        for (slope, value) in tape.node_slope.iter_mut().zip(tape.node_activation.iter_mut()) {
            let (v, derivative) = silu_and_derivative(V::load(slope));
            derivative.store(slope);
            v.store(value);
        }
        let t = &*tape.node_activation;
        matrix_product::<V>(self.node_out.matrix(theta), t, tape.node_outputs, n, false);
        if let Some(block) = &self.last_offset {
            let offset = V::splat(block.of(theta)[0]);
            for last in &mut tape.node_outputs[(self.outputs - 1) * n..] {
                (V::load(last) + offset).store(last);
            }
        }
    }

    /// Centred positions and ρ.
    #[inline(always)]
    fn geometry<V: Vector>(&self, y: &[Lane<V::Scalar>], tape: &mut RadialTape<'_, V::Scalar>) {
        let (n, d) = (self.particles, self.dimension);
        for axis in 0..d {
            let mean = rows::mean::<V>(y, (n, d), axis);
            for i in 0..n {
                (V::load(&y[i * d + axis]) - mean).store(&mut tape.centered[i * d + axis]);
            }
        }
        in_dimension!(d, D => self.distances::<V, D>(tape));
    }

    #[inline(always)]
    fn distances<V: Vector, const D: usize>(&self, tape: &mut RadialTape<'_, V::Scalar>) {
        let floor = V::constant(self.core * self.core);
        for i in 0..self.particles {
            let here = load::<V, D>(tape.centered, i);
            let radius = (dot(here, here) + floor).sqrt();
            radius.store(&mut tape.distance[self.pairs.count() + i]);
            for p in self.pairs.of_first(i) {
                let r = self.pairs.separation::<V, D>(p, here, tape.centered);
                (dot(r, r) + floor).sqrt().store(&mut tape.distance[p]);
            }
        }
    }

    /// e_k(ρ) for all k: `features` is [basis, distances].
    #[inline(always)]
    pub(super) fn features<V: Vector>(
        &self,
        theta: &[V::Scalar],
        distance: &[Lane<V::Scalar>],
        features: &mut [Lane<V::Scalar>],
    ) {
        let farthest = V::constant(FARTHEST);
        let parameters = self.centers.of(theta).iter().zip(self.sharpness.of(theta));
        for (row, (center, sharpness)) in features.chunks_exact_mut(distance.len()).zip(parameters)
        {
            let (center, sharpness) = (V::splat(*center), V::splat(*sharpness));
            for (e, rho) in row.iter_mut().zip(distance) {
                let x = (V::load(rho) - center) * sharpness;
                (-(x * x).min(farthest)).exp().store(e);
            }
        }
    }

    /// Vectors of the particles for their angular features.
    #[inline(always)]
    fn vectors<V: Vector, const D: usize>(
        &self,
        theta: &[V::Scalar],
        tape: &mut RadialTape<'_, V::Scalar>,
    ) {
        let Some(angular) = &self.angular else { return };
        tape.vectors.fill(Lane::zero());
        for block in self.blocks::<V::Scalar>() {
            let features = &mut tape.pair_features[..self.basis * block.count];
            self.features::<V>(theta, &tape.distance[block.range()], features);
            let weights = &mut tape.weights[..angular.channels * block.count];
            angular.weights::<V>(theta, features, weights);
            angular.add_vectors::<V, D>(&block, weights, tape.centered, tape.vectors);
        }
    }

    /// Features of a block's pairs; where they are kept, those of distances have been made with the
    /// vectors.
    #[inline(always)]
    fn block_features<V: Vector>(
        &self,
        theta: &[V::Scalar],
        block: &PairBlock<'_>,
        tape: &mut RadialTape<'_, V::Scalar>,
    ) {
        let (radial, angular) = tape.pair_features[..self.pair_features() * block.count]
            .split_at_mut(self.basis * block.count);
        let distance = &tape.distance[block.range()];
        if self.angular.is_none() || !self.keeps::<V::Scalar>() {
            self.features::<V>(theta, distance, radial);
        }
        if let Some(own) = &self.angular {
            let geometry = (&*tape.centered, distance);
            in_dimension!(self.dimension, D => {
                own.features::<V, D>(block, geometry, tape.vectors, angular);
            });
        }
    }

    /// U h of pair stage number `k`.
    #[inline(always)]
    pub(super) fn node_terms<V: Vector>(
        &self,
        theta: &[V::Scalar],
        stage: &PairStage,
        k: usize,
        tape: &mut RadialTape<'_, V::Scalar>,
    ) {
        let (n, w) = (self.particles, self.width);
        let h = &tape.h[k * w * n..(k + 1) * w * n];
        matrix_product::<V>(stage.node.matrix(theta), h, tape.per_node, n, false);
    }

    /// t and its slope of pair stage number `k` for a block of pairs, after
    /// [`node_terms`](Self::node_terms) of that stage. Features are taken from the stage before
    /// where all pairs are one block.
    #[inline(always)]
    pub(super) fn pair_stage<V: Vector>(
        &self,
        theta: &[V::Scalar],
        stage: &PairStage,
        k: usize,
        block: &PairBlock<'_>,
        tape: &mut RadialTape<'_, V::Scalar>,
    ) {
        V::call(BlockStage { conditioner: self, theta, stage, k, block, tape });
    }

    /// Adds Σ_j t_ij of a block's pairs to every node: `pairs` is [width, pairs of the block],
    /// `nodes` [width, particles].
    #[inline(always)]
    pub(super) fn sum_pairs<V: Vector>(
        &self,
        block: &PairBlock<'_>,
        pairs: &[Lane<V::Scalar>],
        nodes: &mut [Lane<V::Scalar>],
    ) {
        let rows = pairs.chunks_exact(block.count).zip(nodes.chunks_exact_mut(self.particles));
        for (pairs, nodes) in rows {
            let mut pairs = pairs.iter();
            for (i, run) in block.runs() {
                let mut total = V::load(&nodes[i]);
                for (p, t) in run.zip(&mut pairs) {
                    let t = V::load(t);
                    total += t;
                    t.accumulate(&mut nodes[block.pairs.other(p)]);
                }
                total.store(&mut nodes[i]);
            }
        }
    }
}

struct BlockStage<'a, 't, T> {
    conditioner: &'a RadialConditioner,
    theta: &'a [T],
    stage: &'a PairStage,
    k: usize,
    block: &'a PairBlock<'a>,
    tape: &'a mut RadialTape<'t, T>,
}

impl<T: Real> Kernel<T> for BlockStage<'_, '_, T> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector<Scalar = T>>(self) {
        let Self { conditioner, theta, stage, k, block, tape } = self;
        let (n, w, count) = (conditioner.particles, conditioner.width, block.count);
        if k == 0 || !conditioner.keeps::<T>() {
            conditioner.block_features::<V>(theta, block, tape);
        }
        let features = &tape.pair_features[..conditioner.pair_features() * count];
        let slope = &mut tape.slope[k * w * count..(k + 1) * w * count];
        let (radial, angular) = features.split_at(conditioner.basis * count);
        matrix_product::<V>(stage.feature.matrix(theta), radial, slope, count, false);
        if let Some(weights) = &stage.angular {
            matrix_product::<V>(weights.matrix(theta), angular, slope, count, true);
        }
        let value = &mut tape.activation[k * w * count..(k + 1) * w * count];
        for (row, bias) in stage.bias.of(theta).iter().enumerate() {
            let bias = V::splat(*bias);
            let slope = &mut slope[row * count..(row + 1) * count];
            let value = &mut value[row * count..(row + 1) * count];
            let node = &tape.per_node[row * n..(row + 1) * n];
            let mut pairs = slope.iter_mut().zip(value);
            for (i, run) in block.runs() {
                let here = V::load(&node[i]) + bias;
                for (p, (slope, value)) in run.zip(&mut pairs) {
                    let x = V::load(slope) + here + V::load(&node[block.pairs.other(p)]);
                    let (v, derivative) = silu_and_derivative(x);
                    v.store(value);
                    derivative.store(slope);
                }
            }
        }
    }
}

/// Sets every item of row r to `values[r]`.
#[inline(always)]
fn fill_rows<V: Vector>(values: &[V::Scalar], rows: &mut [Lane<V::Scalar>], items: usize) {
    for (row, value) in rows.chunks_exact_mut(items).zip(values) {
        row.fill(Lane::splat(*value));
    }
}
