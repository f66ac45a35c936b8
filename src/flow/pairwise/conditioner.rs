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
//! The products with `width` inputs are done per node, never per pair.

use crate::engine::{
    matrix_product, outer_product, silu_and_derivative, Arena, Lane, Real, Vector,
};
use crate::flow::{Block, Initial, ParameterLayout};

use super::exponential::{dot, load};
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
    passes: Vec<MessagePass>,
    readout: PairStage,
    pair_out: Block,
    node_hidden: Block,
    node_hidden_bias: Block,
    node_out: Block,
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

    /// Fills the tape from the conditioning half `y`.
    #[inline(always)]
    pub fn forward<V: Vector>(
        &self,
        theta: &[V::Scalar],
        y: &[Lane<V::Scalar>],
        tape: &mut Tape<'_, V::Scalar>,
    ) {
        let (n, p, w) = (self.particles, self.pairs, self.width);
        self.geometry::<V>(y, tape);
        let (pair_distance, node_distance) = tape.distance.split_at(p);
        self.features::<V>(theta, pair_distance, tape.pair_features);
        self.features::<V>(theta, node_distance, tape.node_features);

        let first = &mut tape.h[..w * n];
        fill_rows::<V>(self.embed_bias.of(theta), first, n);
        matrix_product::<V>(self.embed.matrix(theta), tape.node_features, first, n, true);

        for (k, pass) in self.passes.iter().enumerate() {
            self.pair_stage::<V>(theta, &pass.pair, k, tape);
            let message = &mut tape.message[k * w * n..(k + 1) * w * n];
            self.sum_pairs::<V>(&tape.activation[k * w * p..(k + 1) * w * p], message);
            let slope = &mut tape.update_slope[k * w * n..(k + 1) * w * n];
            fill_rows::<V>(pass.update_bias.of(theta), slope, n);
            matrix_product::<V>(pass.update.matrix(theta), message, slope, n, true);
            let (before, after) = tape.h[k * w * n..(k + 2) * w * n].split_at_mut(w * n);
            for ((slope, before), after) in slope.iter_mut().zip(before).zip(after) {
                let (value, derivative) = silu_and_derivative(V::load(slope));
                derivative.store(slope);
                V::load(before).add(value).store(after);
            }
        }

        let last = self.passes.len();
        self.pair_stage::<V>(theta, &self.readout, last, tape);
        let t = &tape.activation[last * w * p..(last + 1) * w * p];
        matrix_product::<V>(self.pair_out.matrix(theta), t, tape.pair_outputs, p, false);

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
    }

    /// Centred positions, ρ and u.
    #[inline(always)]
    fn geometry<V: Vector>(&self, y: &[Lane<V::Scalar>], tape: &mut Tape<'_, V::Scalar>) {
        let (n, d) = (self.particles, self.dimension);
        for axis in 0..d {
            let mut mean = V::zero();
            for i in 0..n {
                mean = mean.add(V::load(&y[i * d + axis]));
            }
            let mean = mean.mul(V::constant(1.0 / n as f64));
            for i in 0..n {
                V::load(&y[i * d + axis]).sub(mean).store(&mut tape.centered[i * d + axis]);
            }
        }
        match d {
            2 => self.distances::<V, 2>(tape),
            _ => self.distances::<V, 3>(tape),
        }
    }

    #[inline(always)]
    fn distances<V: Vector, const D: usize>(&self, tape: &mut Tape<'_, V::Scalar>) {
        let floor = V::constant(self.core * self.core);
        let one = V::constant(1.0);
        let mut p = 0;
        for i in 0..self.particles {
            let here = load::<V, D>(tape.centered, i);
            let radius = dot(here, here).add(floor).sqrt();
            radius.store(&mut tape.distance[self.pairs + i]);
            for j in i + 1..self.particles {
                let r = super::exponential::subtract(here, load::<V, D>(tape.centered, j));
                let rho = dot(r, r).add(floor).sqrt();
                rho.store(&mut tape.distance[p]);
                let inverse = one.div(rho);
                for (k, r) in r.into_iter().enumerate() {
                    r.mul(inverse).store(&mut tape.direction[p * D + k]);
                }
                p += 1;
            }
        }
    }

    /// e_k(ρ) for all k: `features` is [basis, distances].
    #[inline(always)]
    fn features<V: Vector>(
        &self,
        theta: &[V::Scalar],
        distance: &[Lane<V::Scalar>],
        features: &mut [Lane<V::Scalar>],
    ) {
        let parameters = self.centers.of(theta).iter().zip(self.sharpness.of(theta));
        for (row, (center, sharpness)) in features.chunks_exact_mut(distance.len()).zip(parameters)
        {
            let (center, sharpness) = (V::splat(*center), V::splat(*sharpness));
            for (e, rho) in row.iter_mut().zip(distance) {
                let x = V::load(rho).sub(center).mul(sharpness);
                x.mul(x).neg().exp().store(e);
            }
        }
    }

    /// t and its slope of pair stage number `k`.
    #[inline(always)]
    fn pair_stage<V: Vector>(
        &self,
        theta: &[V::Scalar],
        stage: &PairStage,
        k: usize,
        tape: &mut Tape<'_, V::Scalar>,
    ) {
        let (n, p, w) = (self.particles, self.pairs, self.width);
        let h = &tape.h[k * w * n..(k + 1) * w * n];
        matrix_product::<V>(stage.node.matrix(theta), h, tape.per_node, n, false);
        let slope = &mut tape.slope[k * w * p..(k + 1) * w * p];
        matrix_product::<V>(stage.feature.matrix(theta), tape.pair_features, slope, p, false);
        let value = &mut tape.activation[k * w * p..(k + 1) * w * p];
        for (row, bias) in stage.bias.of(theta).iter().enumerate() {
            let bias = V::splat(*bias);
            let slope = &mut slope[row * p..(row + 1) * p];
            let value = &mut value[row * p..(row + 1) * p];
            let node = &tape.per_node[row * n..(row + 1) * n];
            let mut pair = 0;
            for i in 0..n {
                let here = V::load(&node[i]).add(bias);
                for there in &node[i + 1..] {
                    let x = V::load(&slope[pair]).add(here).add(V::load(there));
                    let (v, derivative) = silu_and_derivative(x);
                    v.store(&mut value[pair]);
                    derivative.store(&mut slope[pair]);
                    pair += 1;
                }
            }
        }
    }

    /// Σ_j t_ij per node, over √(n − 1): `pairs` is [width, pairs], `nodes` [width, particles].
    #[inline(always)]
    fn sum_pairs<V: Vector>(&self, pairs: &[Lane<V::Scalar>], nodes: &mut [Lane<V::Scalar>]) {
        let (n, p) = (self.particles, self.pairs);
        let scale = V::constant(self.message_scale());
        for (pairs, nodes) in pairs.chunks_exact(p).zip(nodes.chunks_exact_mut(n)) {
            nodes.fill(Lane::zero());
            let mut pair = 0;
            for i in 0..n {
                let (here, others) = nodes[i..].split_at_mut(1);
                let mut total = V::load(&here[0]);
                for other in others {
                    let t = V::load(&pairs[pair]);
                    total = total.add(t);
                    t.accumulate(other);
                    pair += 1;
                }
                total.mul(scale).store(&mut here[0]);
            }
        }
    }

    fn message_scale(&self) -> f64 {
        1.0 / ((self.particles - 1) as f64).sqrt()
    }

    /// The backward pass. `pair_cotangent` ([3, pairs]), `node_cotangent` ([2, particles]),
    /// `direction_cotangent` ([pairs, dimension]) and `centered_cotangent` ([particles, dimension],
    /// what the caller owes to y − ȳ directly) come in; ∂L/∂y is added to `y_cotangent`.
    #[allow(clippy::too_many_arguments)]
    #[inline(always)]
    pub fn backward<V: Vector>(
        &self,
        theta: &[V::Scalar],
        tape: &mut Tape<'_, V::Scalar>,
        pair_cotangent: &[Lane<V::Scalar>],
        node_cotangent: &[Lane<V::Scalar>],
        direction_cotangent: &[Lane<V::Scalar>],
        centered_cotangent: &mut [Lane<V::Scalar>],
        y_cotangent: &mut [Lane<V::Scalar>],
        mut gradient: Option<&mut [V::Scalar]>,
        arena: &mut Arena<'_, V::Scalar>,
    ) {
        let (n, p, w, f) = (self.particles, self.pairs, self.width, self.basis);
        let last = self.passes.len();
        let pair_features = arena.take_zeroed(f * p);
        let node_features = arena.take(f * n);
        let per_pair = arena.take(w * p);
        let h = arena.take(w * n);
        let (node, message) = (arena.take(w * n), arena.take(w * n));

        // Node read-out.
        let out = self.node_out.matrix(theta).transposed();
        matrix_product::<V>(out, node_cotangent, node, n, false);
        multiply::<V>(node, tape.node_slope);
        let input = &tape.h[last * w * n..(last + 1) * w * n];
        if let Some(gradient) = gradient.as_deref_mut() {
            add_outer::<V>(self.node_out, node_cotangent, tape.node_activation, gradient, n);
            add_outer::<V>(self.node_hidden, node, input, gradient, n);
            add_sums::<V>(self.node_hidden_bias, node, gradient, n);
        }
        matrix_product::<V>(self.node_hidden.matrix(theta).transposed(), node, h, n, false);

        // Pair read-out.
        let out = self.pair_out.matrix(theta).transposed();
        matrix_product::<V>(out, pair_cotangent, per_pair, p, false);
        if let Some(gradient) = gradient.as_deref_mut() {
            let t = &tape.activation[last * w * p..(last + 1) * w * p];
            add_outer::<V>(self.pair_out, pair_cotangent, t, gradient, p);
        }
        let space = (&mut *per_pair, &mut *node);
        self.pair_stage_backward::<V>(
            theta,
            &self.readout,
            last,
            tape,
            space,
            (h, pair_features),
            gradient.as_deref_mut(),
        );

        for (k, pass) in self.passes.iter().enumerate().rev() {
            // h' = h + SiLU(M m + d): h's cotangent goes on unchanged and through the update.
            node.copy_from_slice(h);
            multiply::<V>(node, &tape.update_slope[k * w * n..(k + 1) * w * n]);
            if let Some(gradient) = gradient.as_deref_mut() {
                let m = &tape.message[k * w * n..(k + 1) * w * n];
                add_outer::<V>(pass.update, node, m, gradient, n);
                add_sums::<V>(pass.update_bias, node, gradient, n);
            }
            matrix_product::<V>(pass.update.matrix(theta).transposed(), node, message, n, false);
            let scale = V::constant(self.message_scale());
            for (row, message) in per_pair.chunks_exact_mut(p).zip(message.chunks_exact(n)) {
                let mut pair = 0;
                for i in 0..n {
                    let here = V::load(&message[i]);
                    for there in &message[i + 1..] {
                        here.add(V::load(there)).mul(scale).store(&mut row[pair]);
                        pair += 1;
                    }
                }
            }
            let space = (&mut *per_pair, &mut *node);
            self.pair_stage_backward::<V>(
                theta,
                &pass.pair,
                k,
                tape,
                space,
                (h, pair_features),
                gradient.as_deref_mut(),
            );
        }

        matrix_product::<V>(self.embed.matrix(theta).transposed(), h, node_features, n, false);
        if let Some(gradient) = gradient.as_deref_mut() {
            add_outer::<V>(self.embed, h, tape.node_features, gradient, n);
            add_sums::<V>(self.embed_bias, h, gradient, n);
        }

        // Features to distances; the tape's distances turn into their cotangents over ρ.
        let (pair_distance, node_distance) = tape.distance.split_at_mut(p);
        let mut gradient = gradient;
        self.features_backward::<V>(
            theta,
            pair_features,
            tape.pair_features,
            pair_distance,
            gradient.as_deref_mut(),
        );
        self.features_backward::<V>(
            theta,
            node_features,
            tape.node_features,
            node_distance,
            gradient,
        );
        match self.dimension {
            2 => self.geometry_backward::<V, 2>(
                tape,
                (pair_features, node_features),
                direction_cotangent,
                centered_cotangent,
                y_cotangent,
            ),
            _ => self.geometry_backward::<V, 3>(
                tape,
                (pair_features, node_features),
                direction_cotangent,
                centered_cotangent,
                y_cotangent,
            ),
        }
    }

    /// Back through t = SiLU(A e + (U h)_i + (U h)_j + b): `space.0` holds ∂L/∂t, `space.1` is scratch;
    /// adds to the cotangents of h and of the features.
    #[allow(clippy::too_many_arguments)]
    #[inline(always)]
    fn pair_stage_backward<V: Vector>(
        &self,
        theta: &[V::Scalar],
        stage: &PairStage,
        k: usize,
        tape: &Tape<'_, V::Scalar>,
        space: (&mut [Lane<V::Scalar>], &mut [Lane<V::Scalar>]),
        to: (&mut [Lane<V::Scalar>], &mut [Lane<V::Scalar>]),
        gradient: Option<&mut [V::Scalar]>,
    ) {
        let (n, p, w) = (self.particles, self.pairs, self.width);
        let (per_pair, per_node) = space;
        let (h, features) = to;
        multiply::<V>(per_pair, &tape.slope[k * w * p..(k + 1) * w * p]);
        for (row, node) in per_pair.chunks_exact(p).zip(per_node.chunks_exact_mut(n)) {
            node.fill(Lane::zero());
            let mut pair = 0;
            for i in 0..n {
                let (here, others) = node[i..].split_at_mut(1);
                let mut total = V::load(&here[0]);
                for other in others {
                    let t = V::load(&row[pair]);
                    total = total.add(t);
                    t.accumulate(other);
                    pair += 1;
                }
                total.store(&mut here[0]);
            }
        }
        if let Some(gradient) = gradient {
            let input = &tape.h[k * w * n..(k + 1) * w * n];
            add_outer::<V>(stage.feature, per_pair, tape.pair_features, gradient, p);
            add_outer::<V>(stage.node, per_node, input, gradient, n);
            add_sums::<V>(stage.bias, per_pair, gradient, p);
        }
        matrix_product::<V>(stage.feature.matrix(theta).transposed(), per_pair, features, p, true);
        matrix_product::<V>(stage.node.matrix(theta).transposed(), per_node, h, n, true);
    }

    /// `cotangent` is ∂L/∂e ([basis, distances]); its first row becomes ∂L/∂ρ.
    #[inline(always)]
    fn features_backward<V: Vector>(
        &self,
        theta: &[V::Scalar],
        cotangent: &mut [Lane<V::Scalar>],
        features: &[Lane<V::Scalar>],
        distance: &[Lane<V::Scalar>],
        mut gradient: Option<&mut [V::Scalar]>,
    ) {
        let count = distance.len();
        let minus_two = V::constant(-2.0);
        for k in 0..self.basis {
            let (center, sharpness) = (self.centers.of(theta)[k], self.sharpness.of(theta)[k]);
            let (center, sharpness) = (V::splat(center), V::splat(sharpness));
            let (mut to_center, mut to_sharpness) = (V::zero(), V::zero());
            for i in 0..count {
                let offset = V::load(&distance[i]).sub(center);
                let e = V::load(&cotangent[k * count + i]).mul(V::load(&features[k * count + i]));
                // ∂e/∂x·e⁻¹ = −2x with x = γ(ρ − μ).
                let slope = e.mul(minus_two).mul(offset.mul(sharpness));
                let to_rho = slope.mul(sharpness);
                to_center = to_center.sub(to_rho);
                to_sharpness = slope.mul_add(offset, to_sharpness);
                if k == 0 {
                    to_rho.store(&mut cotangent[i]);
                } else {
                    to_rho.accumulate(&mut cotangent[i]);
                }
            }
            if let Some(gradient) = gradient.as_deref_mut() {
                self.centers.of_mut(gradient)[k] += to_center.sum();
                self.sharpness.of_mut(gradient)[k] += to_sharpness.sum();
            }
        }
    }

    /// From ∂L/∂ρ, ∂L/∂u and ∂L/∂(y − ȳ) to ∂L/∂y.
    #[inline(always)]
    fn geometry_backward<V: Vector, const D: usize>(
        &self,
        tape: &Tape<'_, V::Scalar>,
        distance_cotangent: (&[Lane<V::Scalar>], &[Lane<V::Scalar>]),
        direction_cotangent: &[Lane<V::Scalar>],
        centered_cotangent: &mut [Lane<V::Scalar>],
        y_cotangent: &mut [Lane<V::Scalar>],
    ) {
        let n = self.particles;
        let one = V::constant(1.0);
        let mut p = 0;
        for i in 0..n {
            let factor =
                V::load(&distance_cotangent.1[i]).div(V::load(&tape.distance[self.pairs + i]));
            let here = load::<V, D>(tape.centered, i);
            let mut total = load::<V, D>(centered_cotangent, i);
            for k in 0..D {
                total[k] = here[k].mul_add(factor, total[k]);
            }
            for j in i + 1..n {
                let u = load::<V, D>(tape.direction, p);
                let back = load::<V, D>(direction_cotangent, p);
                let inverse = one.div(V::load(&tape.distance[p]));
                // du = (dr − u (u·dr))/ρ and dρ = u·dr.
                let along = V::load(&distance_cotangent.0[p]).sub(dot(u, back).mul(inverse));
                for k in 0..D {
                    let r = u[k].mul_add(along, back[k].mul(inverse));
                    total[k] = total[k].add(r);
                    let other = &mut centered_cotangent[j * D + k];
                    V::load(other).sub(r).store(other);
                }
                p += 1;
            }
            super::exponential::store(total, centered_cotangent, i);
        }
        for axis in 0..D {
            let mut mean = V::zero();
            for i in 0..n {
                mean = mean.add(V::load(&centered_cotangent[i * D + axis]));
            }
            let mean = mean.mul(V::constant(1.0 / n as f64));
            for i in 0..n {
                let c = V::load(&centered_cotangent[i * D + axis]).sub(mean);
                c.accumulate(&mut y_cotangent[i * D + axis]);
            }
        }
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

/// Sets every item of row r to `values[r]`.
#[inline(always)]
fn fill_rows<V: Vector>(values: &[V::Scalar], rows: &mut [Lane<V::Scalar>], items: usize) {
    for (row, value) in rows.chunks_exact_mut(items).zip(values) {
        row.fill(Lane::splat(*value));
    }
}

/// a ← a·b elementwise.
#[inline(always)]
fn multiply<V: Vector>(a: &mut [Lane<V::Scalar>], b: &[Lane<V::Scalar>]) {
    for (a, b) in a.iter_mut().zip(b) {
        V::load(a).mul(V::load(b)).store(a);
    }
}

#[inline(always)]
fn add_outer<V: Vector>(
    block: Block,
    outputs: &[Lane<V::Scalar>],
    inputs: &[Lane<V::Scalar>],
    gradient: &mut [V::Scalar],
    items: usize,
) {
    outer_product::<V>(outputs, inputs, block.of_mut(gradient), block.columns(), items);
}

#[inline(always)]
fn add_sums<V: Vector>(
    block: Block,
    outputs: &[Lane<V::Scalar>],
    gradient: &mut [V::Scalar],
    items: usize,
) {
    for (row, gradient) in outputs.chunks_exact(items).zip(block.of_mut(gradient)) {
        let mut sum = V::zero();
        for value in row {
            sum = sum.add(V::load(value));
        }
        *gradient += sum.sum();
    }
}
