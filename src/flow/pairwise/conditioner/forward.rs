//! The forward pass: geometry, features, message passes, read-out.

use crate::engine::{matrix_product, silu_and_derivative, Lane, Vector};

use super::super::exponential::{dot, load, subtract};
use super::{PairStage, RadialConditioner, Tape};

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
        if let Some(species) = &self.species {
            species.add::<V>(theta, first);
        }

        for (k, pass) in self.passes.iter().enumerate() {
            self.pair_stage::<V>(theta, &pass.pair, k, tape);
            let message = &mut tape.message[k * w * n..(k + 1) * w * n];
            self.sum_pairs::<V>(
                self.message_scale(),
                &tape.activation[k * w * p..(k + 1) * w * p],
                message,
            );
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
        if let Some(block) = &self.log_noise_factor {
            let factor = V::splat(block.of(theta)[0]);
            for s in &mut tape.node_outputs[n..] {
                V::load(s).add(factor).store(s);
            }
        }
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
                let r = subtract(here, load::<V, D>(tape.centered, j));
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
        let farthest = V::constant(FARTHEST);
        let parameters = self.centers.of(theta).iter().zip(self.sharpness.of(theta));
        for (row, (center, sharpness)) in features.chunks_exact_mut(distance.len()).zip(parameters)
        {
            let (center, sharpness) = (V::splat(*center), V::splat(*sharpness));
            for (e, rho) in row.iter_mut().zip(distance) {
                let x = V::load(rho).sub(center).mul(sharpness);
                x.mul(x).min(farthest).neg().exp().store(e);
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

    /// Σ_j t_ij per node, times `scale`: `pairs` is [width, pairs], `nodes` [width, particles].
    #[inline(always)]
    pub(super) fn sum_pairs<V: Vector>(
        &self,
        scale: f64,
        pairs: &[Lane<V::Scalar>],
        nodes: &mut [Lane<V::Scalar>],
    ) {
        let (n, p) = (self.particles, self.pairs);
        let scale = V::constant(scale);
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
}

/// Sets every item of row r to `values[r]`.
#[inline(always)]
fn fill_rows<V: Vector>(values: &[V::Scalar], rows: &mut [Lane<V::Scalar>], items: usize) {
    for (row, value) in rows.chunks_exact_mut(items).zip(values) {
        row.fill(Lane::splat(*value));
    }
}
