//! The way back through one round of message passing.
//!
//! Of an edge, no more is stored on the way there than the results of products, and in a large system
//! not even those: each chunk of edges is computed again, and its cotangents are added up at once.

use super::block::{cross_vector, scale, Layers, NodeTerms, State};
use super::edges::{falloff_of, Edges};
use super::Shape;
use crate::engine::{Arena, Lane, Real, Vector};
use crate::flow::mlp::{Cotangents, Memory};

/// Cotangents of h and x: of what a block left when it starts, of what it was given when it is done.
pub(super) struct StateCotangents<'a, T> {
    /// [features, n].
    pub features: &'a mut [Lane<T>],
    /// [channels · d, n].
    pub positions: &'a mut [Lane<T>],
}

/// A block on its way back.
pub(super) struct BlockVjp<'a, 'b, T> {
    pub layers: &'a Layers,
    pub shape: &'a Shape,
    pub theta: &'a [T],
    /// What the block was given, and the sums over messages that it made of it.
    pub state: State<'b, T>,
    /// What the block wrote to memory; empty if it did not.
    pub memory: &'b [Lane<T>],
    pub cotangents: StateCotangents<'b, T>,
    pub gradient: Option<&'b mut [T]>,
}

impl<T: Real> BlockVjp<'_, '_, T> {
    /// Replaces the cotangents, and adds to the gradient where there is one.
    #[inline(always)]
    pub fn run<V: Vector<Scalar = T>>(mut self, scratch: &mut [Lane<T>]) {
        let Self { layers, shape, .. } = self;
        let n = shape.particles;
        let (entry, width) = (layers.message.first.outputs(), layers.message.outputs());
        let mut arena = Arena::new(scratch);
        let sums = arena.take(width * n);
        let gated = arena.take(width * n);
        let shifts = arena.take(shape.axes() * n);
        shifts.copy_from_slice(self.cotangents.positions);
        self.update::<V>(gated, arena.rest());
        self.cross::<V>(shifts, sums, arena.rest());

        let per_edge = V::constant(1.0 / shape.neighbours());
        scale::<V>(sums, per_edge);
        scale::<V>(gated, V::constant(1.0 / shape.neighbours().sqrt()));
        scale::<V>(shifts, per_edge);
        let (features, positions) = (&*self.state.features, &*self.state.positions);
        let node = layers.node_terms::<V>(shape, self.theta, features, positions, &mut arena);
        let senders = arena.take_zeroed(entry * n);
        let receivers = arena.take_zeroed(entry * n);
        let outer = [&*sums, &*gated, &*shifts];
        for edges in Edges::chunks(n, layers.alike) {
            self.edges::<V>(&edges, &node, outer, [&mut *senders, &mut *receivers], arena.rest());
        }
        if !self.ends_here() {
            self.nodes::<V>(&node, senders, receivers, arena.rest());
        }
    }

    /// Whether the features that the block was given depend on parameters alone, and those are of no
    /// interest.
    fn ends_here(&self) -> bool {
        self.layers.alike && self.gradient.is_none()
    }

    /// φ_h, which sets the cotangent of the gated sums.
    #[inline(always)]
    fn update<V: Vector<Scalar = T>>(&mut self, gated: &mut [Lane<T>], scratch: &mut [Lane<T>]) {
        let (n, theta) = (self.shape.particles, self.theta);
        let update = &self.layers.update;
        let width = self.layers.message.outputs();
        let features = &*self.state.features;
        let gated_sums = &self.state.sums[width * n..];
        let mut arena = Arena::new(scratch);
        let tape = arena.take(update.tape_lanes(n));
        let inside = arena.take(update.first.outputs() * n);
        self.layers.update_forward::<V>(theta, features, gated_sums, tape, n);
        let cotangents = Cotangents { value: self.cotangents.features, entry: inside };
        let gradient = self.gradient.as_deref_mut();
        update.vjp::<V>(theta, tape, cotangents, gradient, arena.rest(), n);
        if let Some(gradient) = self.gradient.as_deref_mut() {
            update.first.weight_gradient::<V>(gradient, 0, inside, gated_sums, n);
            update.first.weight_gradient::<V>(gradient, width, inside, features, n);
        }
        update.first.transposed_product::<V>(theta, 0, inside, gated, n, false);
        if !self.ends_here() {
            let features = &mut *self.cotangents.features;
            update.first.transposed_product::<V>(theta, width, inside, features, n, true);
        }
    }

    /// Shifts across channels, which set the cotangent of the plain sums.
    #[inline(always)]
    fn cross<V: Vector<Scalar = T>>(
        &mut self,
        shifts: &[Lane<T>],
        sums: &mut [Lane<T>],
        scratch: &mut [Lane<T>],
    ) {
        let Self { layers, shape, theta, .. } = *self;
        let n = shape.particles;
        let cross = &layers.cross;
        let plain_sums = &self.state.sums[..layers.message.outputs() * n];
        let mut arena = Arena::new(scratch);
        let tape = arena.take(cross.tape_lanes(n));
        let inside = arena.take(cross.first.outputs() * n);
        let amounts = arena.take(cross.outputs() * n);
        cross.first.product::<V>(theta, 0, plain_sums, cross.entry(tape, n), n, false);
        cross.forward::<V>(theta, tape, n);
        let given = cross.value(tape, n);
        for (number, &(v, w)) in shape.channel_crosses.iter().enumerate() {
            for i in 0..n {
                let (vector, square) = cross_vector::<V>(shape, self.state.positions, v, w, i);
                let mut outer = [V::zero(); 3];
                for (outer, axis) in outer.iter_mut().zip(shape.axes_of(v)) {
                    *outer = V::load(&shifts[axis * n + i]);
                }
                let amount = V::load(&given[number * n + i]);
                let (amount, vector) = shift_vjp(amount, vector, square, outer);
                amount.store(&mut amounts[number * n + i]);
                for ((a, b), g) in shape.axes_of(v).zip(shape.axes_of(w)).zip(vector) {
                    add_difference(g, self.cotangents.positions, a * n + i, b * n + i);
                }
            }
        }
        let cotangents = Cotangents { value: amounts, entry: inside };
        let gradient = self.gradient.as_deref_mut();
        cross.vjp::<V>(theta, tape, cotangents, gradient, arena.rest(), n);
        if let Some(gradient) = self.gradient.as_deref_mut() {
            cross.first.weight_gradient::<V>(gradient, 0, inside, plain_sums, n);
        }
        cross.first.transposed_product::<V>(theta, 0, inside, sums, n, false);
    }

    /// A chunk of edges, given the cotangents of the plain sums, of the gated ones and of the shifts;
    /// adds to those of the node terms.
    #[inline(always)]
    fn edges<V: Vector<Scalar = T>>(
        &mut self,
        edges: &Edges,
        node: &NodeTerms<'_, T>,
        [sums, gated, shifts]: [&[Lane<T>]; 3],
        [senders, receivers]: [&mut [Lane<T>]; 2],
        scratch: &mut [Lane<T>],
    ) {
        let Self { layers, shape, theta, .. } = *self;
        let (n, count, ends_here) = (shape.particles, edges.count, self.ends_here());
        let (entry, width) = (layers.message.first.outputs(), layers.message.outputs());
        let mut arena = Arena::new(scratch);
        let given = &*self.state.positions;
        let memory = match &self.memory[layers.memory_of(edges, self.memory.len())] {
            [] => Memory::None,
            memory => Memory::Restore(memory),
        };
        let chunk = layers.chunk::<V>(shape, theta, node, given, edges, memory, &mut arena);
        let amounts = arena.take(shape.channels * count);
        let squares = arena.take(shape.channels * count);
        let messages = arena.take(width * count);
        let shift_inside = arena.take(layers.shift.first.outputs() * count);
        let inside = arena.take(entry * count);
        let scratch = arena.rest();
        let message = layers.message.value(chunk.message, count);
        let positions = &mut *self.cotangents.positions;

        let given = layers.shift.value(chunk.shift, count);
        for channel in 0..shape.channels {
            for (e, (&r, &s)) in edges.receivers().iter().zip(edges.senders()).enumerate() {
                let at = channel * count + e;
                let (mut vector, mut outer) = ([V::zero(); 3], [V::zero(); 3]);
                for (k, axis) in shape.axes_of(channel).enumerate() {
                    vector[k] = V::load(&chunk.vectors[axis * count + e]);
                    outer[k] = V::load(&shifts[axis * n + r]);
                    if edges.both_ways {
                        outer[k] -= V::load(&shifts[axis * n + s]);
                    }
                }
                let square = V::load(&chunk.squares[at]);
                let (amount, vector) = shift_vjp(V::load(&given[at]), vector, square, outer);
                amount.store(&mut amounts[at]);
                for (axis, g) in shape.axes_of(channel).zip(vector) {
                    add_difference(g, positions, axis * n + r, axis * n + s);
                }
            }
        }
        let cotangents = Cotangents { value: amounts, entry: shift_inside };
        let gradient = self.gradient.as_deref_mut();
        layers.shift.vjp::<V>(theta, chunk.shift, cotangents, gradient, scratch, count);
        let first = &layers.shift.first;
        first.transposed_product::<V>(theta, 0, shift_inside, messages, count, false);

        // The two sums; the cotangent of the gate's logit takes the place of the gate.
        for (e, gate) in chunk.gate.iter_mut().enumerate() {
            let (r, s) = (edges.receivers()[e], edges.senders()[e]);
            let value = V::load(gate);
            let mut slope = V::zero();
            for row in 0..width {
                let mut outer = V::load(&gated[row * n + r]);
                let mut plain = V::load(&sums[row * n + r]);
                if edges.both_ways {
                    outer += V::load(&gated[row * n + s]);
                    plain += V::load(&sums[row * n + s]);
                }
                slope = outer.mul_add(V::load(&message[row * count + e]), slope);
                outer.mul_add(value, plain).accumulate(&mut messages[row * count + e]);
            }
            (slope * value * (V::constant(1.0) - value)).store(gate);
        }
        let gate = &*chunk.gate;
        layers.gate.transposed_product::<V>(theta, 0, gate, messages, count, true);
        if let Some(gradient) = self.gradient.as_deref_mut() {
            first.weight_gradient::<V>(gradient, 0, shift_inside, message, count);
            layers.gate.weight_gradient::<V>(gradient, 0, gate, message, count);
            layers.gate.bias_gradient::<V>(gradient, gate, count);
        }

        let cotangents = Cotangents { value: messages, entry: inside };
        let gradient = self.gradient.as_deref_mut();
        layers.message.vjp::<V>(theta, chunk.message, cotangents, gradient, scratch, count);
        // An edge that stands for its opposite gives all to one of them: nodes that are alike need no
        // more than the sum over all.
        if !ends_here {
            edges.scatter::<V>(inside, senders, receivers, n);
        }
        let first = &layers.message.first;
        let from = 2 * (shape.features + shape.pairs());
        if let Some(gradient) = self.gradient.as_deref_mut() {
            first.weight_gradient::<V>(gradient, from, inside, chunk.squares, count);
        }
        first.transposed_product::<V>(theta, from, inside, squares, count, false);
        for channel in 0..shape.channels {
            for (e, (&r, &s)) in edges.receivers().iter().zip(edges.senders()).enumerate() {
                let g = V::load(&squares[channel * count + e]);
                let twice = g + g;
                for axis in shape.axes_of(channel) {
                    let g = twice * V::load(&chunk.vectors[axis * count + e]);
                    add_difference(g, positions, axis * n + r, axis * n + s);
                }
            }
        }
    }

    /// What φ_e's first map takes from the nodes.
    #[inline(always)]
    fn nodes<V: Vector<Scalar = T>>(
        &mut self,
        node: &NodeTerms<'_, T>,
        senders: &[Lane<T>],
        receivers: &[Lane<T>],
        scratch: &mut [Lane<T>],
    ) {
        let Self { layers, shape, theta, .. } = *self;
        let (n, f, p) = (shape.particles, shape.features, shape.pairs());
        let first = &layers.message.first;
        let distances = &mut scratch[..p * n];
        distances.fill(Lane::zero());
        for (terms, from, from_distances) in [(senders, 0, 2 * f), (receivers, f, 2 * f + p)] {
            if let Some(gradient) = self.gradient.as_deref_mut() {
                let (features, given) = (&*self.state.features, node.distances);
                first.weight_gradient::<V>(gradient, from, terms, features, n);
                first.weight_gradient::<V>(gradient, from_distances, terms, given, n);
            }
            let features = &mut *self.cotangents.features;
            first.transposed_product::<V>(theta, from, terms, features, n, true);
            first.transposed_product::<V>(theta, from_distances, terms, distances, n, true);
        }
        for (number, &(v, w)) in shape.channel_pairs.iter().enumerate() {
            for i in 0..n {
                let g = V::load(&distances[number * n + i]);
                let twice = g + g;
                let (vector, _) = cross_vector::<V>(shape, self.state.positions, v, w, i);
                for ((a, b), x) in shape.axes_of(v).zip(shape.axes_of(w)).zip(vector) {
                    add_difference(twice * x, self.cotangents.positions, a * n + i, b * n + i);
                }
            }
        }
    }
}

/// The cotangent of x_a − x_b goes to both.
#[inline(always)]
fn add_difference<V: Vector>(g: V, x: &mut [Lane<V::Scalar>], a: usize, b: usize) {
    g.accumulate(&mut x[a]);
    (-g).accumulate(&mut x[b]);
}

/// The adjoint of amount·v/(1 + ‖v‖): cotangents of the amount and of v.
#[inline(always)]
fn shift_vjp<V: Vector>(amount: V, vector: [V; 3], square: V, outer: [V; 3]) -> (V, [V; 3]) {
    let (length, falloff) = falloff_of(square);
    let mut along = V::zero();
    for (o, v) in outer.iter().zip(&vector) {
        along = o.mul_add(*v, along);
    }
    let outward = -(amount * along * falloff * falloff / length);
    let straight = amount * falloff;
    let mut cotangent = vector;
    for (c, o) in cotangent.iter_mut().zip(&outer) {
        *c = o.mul_add(straight, *c * outward);
    }
    (along * falloff, cotangent)
}
