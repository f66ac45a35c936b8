//! The vector-Jacobian product: from the outputs' cotangents to those of the positions and of the
//! parameters, stage by stage from the last to the first.

use crate::engine::{matrix_product, Arena, Lane, Lanes, Real, Vector};
use crate::flow::rows::{self, add_scaled, in_dimension, load, push, scaled, store};

use super::angular::FeatureCotangents;
use super::pairs::PairBlock;
use super::{MessagePass, PairStage, RadialConditioner, RadialCotangents, RadialTape};

/// Where the cotangent of a pair stage's t comes from.
enum Source<'a, T> {
    /// The read-out: cotangents of the pairs' outputs, [outputs, pairs].
    Outputs(&'a [Lane<T>]),
    /// A message pass: ∂L/∂m, [width, particles], of the sums over pairs.
    Messages(&'a [Lane<T>]),
}

/// A vector-Jacobian product on its way through the conditioner.
struct RadialVjp<'a, 't, T> {
    conditioner: &'a RadialConditioner,
    theta: &'a [T],
    tape: &'a mut RadialTape<'t, T>,
    space: Workspace<'a, T>,
    gradient: Option<&'a mut [T]>,
}

/// What the stages work in, and where they collect.
struct Workspace<'a, T> {
    /// ∂L/∂h of the stage at hand, [width, particles].
    h: &'a mut [Lane<T>],
    /// ∂L/∂ρ, [pairs].
    distance: &'a mut [Lane<T>],
    /// ∂L/∂(y − ȳ), [particles, dimension], and of the vectors, [angular, particles, dimension].
    centered: &'a mut [Lane<T>],
    vectors: &'a mut [Lane<T>],
    /// ∂L/∂(features of a block), [basis + angular, pairs of the block].
    features: &'a mut [Lane<T>],
    /// ∂L/∂ of what went into a stage's SiLU, [width, pairs of the block], and its sums,
    /// [width, particles].
    per_pair: &'a mut [Lane<T>],
    per_node: &'a mut [Lane<T>],
}

/// All that [`RadialConditioner::vjp`] takes of an arena.
pub(in crate::flow) struct VjpBuffers<'a, T> {
    workspace: Workspace<'a, T>,
    /// ∂L/∂(features of nodes), [basis, particles].
    node_features: &'a mut [Lane<T>],
    /// ∂L/∂m of a pass, [width, particles].
    message: &'a mut [Lane<T>],
}

impl RadialConditioner {
    /// `centered` is the cotangent of y − ȳ that the caller has collected.
    #[inline(always)]
    pub fn vjp_buffers<'a, T: Real>(
        &self,
        centered: &'a mut [Lane<T>],
        arena: &mut Arena<'a, T>,
    ) -> VjpBuffers<'a, T> {
        let (n, p, w, f) = (self.particles, self.pairs.count(), self.width, self.basis);
        let block = self.block_size::<T>();
        let workspace = Workspace {
            h: arena.take(w * n),
            distance: arena.take(p),
            centered,
            vectors: arena.take_zeroed(self.channels() * n * self.dimension),
            features: arena.take(self.pair_features() * block),
            per_pair: arena.take(w * block),
            per_node: arena.take(w * n),
        };
        VjpBuffers { workspace, node_features: arena.take(f * n), message: arena.take(w * n) }
    }

    /// The vector-Jacobian product of [`forward`](Self::forward): uses up the cotangents of what
    /// that made, adds ∂L/∂y to `y_cotangent` and ∂L/∂θ to `gradient`.
    #[inline(always)]
    pub fn vjp<V: Vector>(
        &self,
        theta: &[V::Scalar],
        tape: &mut RadialTape<'_, V::Scalar>,
        cotangents: RadialCotangents<'_, V::Scalar>,
        y_cotangent: &mut [Lane<V::Scalar>],
        gradient: Option<&mut [V::Scalar]>,
        arena: &mut Arena<'_, V::Scalar>,
    ) {
        let RadialCotangents { pairs, nodes, centered } = cotangents;
        let mut arena = arena.inner();
        let VjpBuffers { workspace: space, node_features, message } =
            self.vjp_buffers(centered, &mut arena);
        self.outputs_vjp::<V>(tape, pairs, space.distance);
        let mut pass = RadialVjp { conditioner: self, theta, tape, space, gradient };
        pass.node_outputs::<V>(nodes);
        pass.pair_stage::<V>(&self.readout, self.passes.len(), Source::Outputs(pairs));
        for (k, message_pass) in self.passes.iter().enumerate().rev() {
            pass.update::<V>(message_pass, k, message);
            pass.pair_stage::<V>(&message_pass.pair, k, Source::Messages(message));
        }
        in_dimension!(self.dimension, D => pass.vectors::<V, D>());
        pass.node_features::<V>(node_features);
        let RadialVjp { tape, space, .. } = pass;
        let at = (&*tape.centered, &*tape.distance);
        let distance = (&*space.distance, &tape.per_node[..self.particles]);
        in_dimension!(self.dimension, D => {
            self.geometry_vjp::<V, D>(at, distance, space.centered, y_cotangent);
        });
    }

    /// From the cotangents of outputs that were divided by powers of ρ to those of what was not, in
    /// place, and of ρ.
    #[inline(always)]
    fn outputs_vjp<V: Vector>(
        &self,
        tape: &RadialTape<'_, V::Scalar>,
        pair_cotangent: &mut [Lane<V::Scalar>],
        distance: &mut [Lane<V::Scalar>],
    ) {
        for (pair, distance) in distance.iter_mut().enumerate() {
            let inverse = V::constant(1.0) / V::load(&tape.distance[pair]);
            let mut slope = V::zero();
            for (row, power) in self.powers.iter().enumerate().rev() {
                let at = row * self.pairs.count() + pair;
                let value = V::load(&tape.pair_outputs[at]);
                let mut to = V::load(&pair_cotangent[at]);
                for _ in 0..*power {
                    slope = value.mul_add(to, slope);
                }
                for _ in 0..*power {
                    to *= inverse;
                }
                to.store(&mut pair_cotangent[at]);
            }
            (-(slope * inverse)).store(distance);
        }
    }

    /// Every pair gets what its two particles have, scaled as messages are.
    #[inline(always)]
    fn spread<V: Vector>(
        &self,
        block: &PairBlock<'_>,
        nodes: &[Lane<V::Scalar>],
        pairs: &mut [Lane<V::Scalar>],
    ) {
        let scale = V::constant(self.message_scale());
        let rows = pairs.chunks_exact_mut(block.count).zip(nodes.chunks_exact(self.particles));
        for (pairs, nodes) in rows {
            let mut pairs = pairs.iter_mut();
            for (i, run) in block.runs() {
                let here = V::load(&nodes[i]);
                for (p, pair) in run.zip(&mut pairs) {
                    ((here + V::load(&nodes[block.pairs.other(p)])) * scale).store(pair);
                }
            }
        }
    }

    /// From `cotangent`, ∂L/∂e ([basis, distances]), to ∂L/∂ρ, which is added.
    #[inline(always)]
    fn features_vjp<V: Vector>(
        &self,
        theta: &[V::Scalar],
        cotangent: &[Lane<V::Scalar>],
        features: &[Lane<V::Scalar>],
        distance: &[Lane<V::Scalar>],
        to: &mut [Lane<V::Scalar>],
        gradient: &mut Option<&mut [V::Scalar]>,
    ) {
        let count = distance.len();
        let minus_two = V::constant(-2.0);
        for k in 0..self.basis {
            let (center, sharpness) = (self.centers.of(theta)[k], self.sharpness.of(theta)[k]);
            let (center, sharpness) = (V::splat(center), V::splat(sharpness));
            let (mut to_center, mut to_sharpness) = (V::zero(), V::zero());
            for i in 0..count {
                let offset = V::load(&distance[i]) - center;
                let e = V::load(&cotangent[k * count + i]) * V::load(&features[k * count + i]);
                // ∂e/∂x·e⁻¹ = −2x with x = γ(ρ − μ).
                let slope = e * minus_two * (offset * sharpness);
                let to_rho = slope * sharpness;
                to_center -= to_rho;
                to_sharpness = slope.mul_add(offset, to_sharpness);
                to_rho.accumulate(&mut to[i]);
            }
            if let Some(gradient) = gradient {
                self.centers.of_mut(gradient)[k] += to_center.sum();
                self.sharpness.of_mut(gradient)[k] += to_sharpness.sum();
            }
        }
    }

    /// From ∂L/∂ρ, of pairs and of nodes, and ∂L/∂(y − ȳ) to ∂L/∂y, at these y − ȳ and ρ.
    #[inline(always)]
    fn geometry_vjp<V: Vector, const D: usize>(
        &self,
        (centered, distance): (Lanes<'_, V>, Lanes<'_, V>),
        distance_cotangent: (Lanes<'_, V>, Lanes<'_, V>),
        centered_cotangent: &mut [Lane<V::Scalar>],
        y_cotangent: &mut [Lane<V::Scalar>],
    ) {
        let n = self.particles;
        for i in 0..n {
            let radius = V::load(&distance[self.pairs.count() + i]);
            let factor = V::load(&distance_cotangent.1[i]) / radius;
            let here = load::<V, D>(centered, i);
            let mut total = load::<V, D>(centered_cotangent, i);
            add_scaled(&mut total, &here, factor);
            for p in self.pairs.of_first(i) {
                // dρ = r·dr/ρ.
                let along = V::load(&distance_cotangent.0[p]) / V::load(&distance[p]);
                let r = self.pairs.separation::<V, D>(p, here, centered);
                push(scaled(along, r), &mut total, centered_cotangent, self.pairs.other(p));
            }
            store(total, centered_cotangent, i);
        }
        for axis in 0..D {
            let mean = rows::mean::<V>(centered_cotangent, (n, D), axis);
            for i in 0..n {
                let c = V::load(&centered_cotangent[i * D + axis]) - mean;
                c.accumulate(&mut y_cotangent[i * D + axis]);
            }
        }
    }
}

impl<T: Real> RadialVjp<'_, '_, T> {
    /// Through the outputs of nodes; sets ∂L/∂h of the last stage.
    #[inline(always)]
    fn node_outputs<V: Vector<Scalar = T>>(&mut self, cotangent: &[Lane<T>]) {
        let Self { conditioner: net, theta, tape, space, gradient } = self;
        let (n, w, last) = (net.particles, net.width, net.passes.len());
        let node = &mut *space.per_node;
        matrix_product::<V>(net.node_out.matrix(theta).transposed(), cotangent, node, n, false);
        multiply::<V>(node, tape.node_slope);
        if let Some(gradient) = gradient {
            let input = &tape.h[last * w * n..(last + 1) * w * n];
            net.node_out.add_outer::<V>(0, cotangent, tape.node_activation, gradient, n);
            if let Some(block) = net.last_offset {
                block.add_sums::<V>(&cotangent[(net.outputs - 1) * n..], gradient, n);
            }
            net.node_hidden.add_outer::<V>(0, node, input, gradient, n);
            net.node_hidden_bias.add_sums::<V>(node, gradient, n);
        }
        matrix_product::<V>(net.node_hidden.matrix(theta).transposed(), node, space.h, n, false);
    }

    /// Through h' = h + SiLU(M m + d) of pass number k: sets ∂L/∂m; that of h is passed on
    /// unchanged.
    #[inline(always)]
    fn update<V: Vector<Scalar = T>>(
        &mut self,
        pass: &MessagePass,
        k: usize,
        message: &mut [Lane<T>],
    ) {
        let Self { conditioner: net, theta, tape, space, gradient } = self;
        let n = net.particles;
        let rows = k * net.width * n..(k + 1) * net.width * n;
        let node = &mut *space.per_node;
        node.copy_from_slice(space.h);
        multiply::<V>(node, &tape.update_slope[rows.clone()]);
        if let Some(gradient) = gradient {
            pass.update.add_outer::<V>(0, node, &tape.message[rows], gradient, n);
            pass.update_bias.add_sums::<V>(node, gradient, n);
        }
        matrix_product::<V>(pass.update.matrix(theta).transposed(), node, message, n, false);
    }

    /// Through t = SiLU(A e + (U h)_i + (U h)_j + b) of pair stage number k, block by block: adds
    /// to the cotangents of h and of the distances.
    #[inline(always)]
    fn pair_stage<V: Vector<Scalar = T>>(
        &mut self,
        stage: &PairStage,
        k: usize,
        source: Source<'_, T>,
    ) {
        let Self { conditioner: net, theta, tape, space, gradient } = self;
        let (n, p) = (net.particles, net.pairs.count());
        let (w, f) = (net.width, net.pair_features());
        let keeps = net.keeps::<T>();
        if !keeps {
            net.node_terms::<V>(theta, stage, k, tape);
        }
        space.per_node.fill(Lane::zero());
        for block in net.blocks::<T>() {
            if !keeps {
                net.pair_stage::<V>(theta, stage, k, &block, tape);
            }
            let count = block.count;
            let rows = k * w * count..(k + 1) * w * count;
            let per_pair = &mut space.per_pair[..w * count];
            match source {
                Source::Outputs(cotangent) => {
                    let outputs = &mut tape.block_outputs[..net.powers.len() * count];
                    let from = cotangent.chunks_exact(p);
                    for (row, from) in outputs.chunks_exact_mut(count).zip(from) {
                        row.copy_from_slice(&from[block.range()]);
                    }
                    let out = net.pair_out.matrix(theta).transposed();
                    matrix_product::<V>(out, outputs, per_pair, count, false);
                    if let Some(gradient) = gradient {
                        let t = &tape.activation[rows.clone()];
                        net.pair_out.add_outer::<V>(0, outputs, t, gradient, count);
                    }
                }
                Source::Messages(cotangent) => net.spread::<V>(&block, cotangent, per_pair),
            }
            multiply::<V>(per_pair, &tape.slope[rows]);
            net.sum_pairs::<V>(&block, per_pair, space.per_node);
            let features = &tape.pair_features[..f * count];
            if let Some(gradient) = gradient {
                let (radial, angular) = features.split_at(net.basis * count);
                stage.feature.add_outer::<V>(0, per_pair, radial, gradient, count);
                if let Some(weights) = stage.angular {
                    weights.add_outer::<V>(0, per_pair, angular, gradient, count);
                }
                stage.bias.add_sums::<V>(per_pair, gradient, count);
            }
            // Where features are kept, their cotangents are collected over the stages.
            let to = &mut space.features[..f * count];
            let add = keeps && k < net.passes.len();
            let weights = stage.feature.matrix(theta).transposed();
            let (radial, angular) = to.split_at_mut(net.basis * count);
            matrix_product::<V>(weights, per_pair, radial, count, add);
            if let Some(block) = stage.angular {
                let weights = block.matrix(theta).transposed();
                matrix_product::<V>(weights, per_pair, angular, count, add);
            }
            if keeps && k > 0 {
                continue;
            }
            let distance = &tape.distance[block.range()];
            let to_distance = &mut space.distance[block.range()];
            net.features_vjp::<V>(theta, to, features, distance, to_distance, gradient);
            if let Some(angular) = &net.angular {
                let at = (&*tape.centered, distance);
                let first = net.basis * count;
                let q = (&features[first..], &to[first..]);
                let to = FeatureCotangents {
                    vectors: &mut *space.vectors,
                    centered: &mut *space.centered,
                    distance: to_distance,
                };
                in_dimension!(net.dimension, D => {
                    angular.features_vjp::<V, D>(&block, at, tape.vectors, q, to);
                });
            }
        }
        if let Some(gradient) = gradient {
            let input = &tape.h[k * w * n..(k + 1) * w * n];
            stage.node.add_outer::<V>(0, space.per_node, input, gradient, n);
        }
        let weights = stage.node.matrix(theta).transposed();
        matrix_product::<V>(weights, space.per_node, space.h, n, true);
    }

    /// Through the vectors, whose cotangents all stages have collected.
    #[inline(always)]
    fn vectors<V: Vector<Scalar = T>, const D: usize>(&mut self) {
        let Self { conditioner: net, theta, tape, space, gradient } = self;
        let Some(angular) = &net.angular else { return };
        for block in net.blocks::<T>() {
            let count = block.count;
            let distance = &tape.distance[block.range()];
            let features = &mut tape.pair_features[..net.basis * count];
            if !net.keeps::<T>() {
                net.features::<V>(theta, distance, features);
            }
            let weights = &mut tape.weights[..angular.channels * count];
            angular.weights::<V>(theta, features, weights);
            let (at, to) = (&*tape.centered, &mut *space.centered);
            angular.vectors_vjp::<V, D>(&block, at, space.vectors, weights, to);
            let to = &mut space.features[..net.basis * count];
            let own = gradient.as_deref_mut();
            angular.weights_vjp::<V>(theta, (features, weights), to, own);
            let to_distance = &mut space.distance[block.range()];
            net.features_vjp::<V>(theta, to, features, distance, to_distance, gradient);
        }
    }

    /// Through the features that h starts from, with `features` for their cotangents; those of the
    /// nodes' distances take the place of U h on the tape.
    #[inline(always)]
    fn node_features<V: Vector<Scalar = T>>(&mut self, features: &mut [Lane<T>]) {
        let Self { conditioner: net, theta, tape, space, gradient } = self;
        let (n, h) = (net.particles, &*space.h);
        matrix_product::<V>(net.embed.matrix(theta).transposed(), h, features, n, false);
        if let Some(gradient) = gradient {
            net.embed.add_outer::<V>(0, h, tape.node_features, gradient, n);
            net.embed_bias.add_sums::<V>(h, gradient, n);
            if let Some(species) = &net.species {
                species.add_gradient::<V>(gradient, h);
            }
        }
        let (distance, to) = (&tape.distance[net.pairs.count()..], &mut tape.per_node[..n]);
        to.fill(Lane::zero());
        net.features_vjp::<V>(theta, features, tape.node_features, distance, to, gradient);
    }
}

/// a ← a·b elementwise.
#[inline(always)]
fn multiply<V: Vector>(a: &mut [Lane<V::Scalar>], b: &[Lane<V::Scalar>]) {
    for (a, b) in a.iter_mut().zip(b) {
        (V::load(a) * V::load(b)).store(a);
    }
}
