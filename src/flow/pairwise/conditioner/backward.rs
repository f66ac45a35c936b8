//! The backward pass, in the opposite order, from the outputs' cotangents to those of the positions and
//! of the parameters.

use crate::engine::{matrix_product, outer_product, Arena, Lane, Vector};
use crate::flow::Block;

use super::super::exponential::{dot, load, store};
use super::{PairStage, RadialConditioner, Tape};

impl RadialConditioner {
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
            if let Some(block) = self.log_noise_factor {
                add_sums::<V>(block, &node_cotangent[n..], gradient, n);
            }
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
            if let Some(species) = &self.species {
                species.add_gradient::<V>(gradient, h);
            }
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
        self.sum_pairs::<V>(1.0, per_pair, per_node);
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
            store(total, centered_cotangent, i);
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
