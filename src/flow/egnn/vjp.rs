//! The vector-Jacobian product of one round of message passing.
//!
//! A block leaves no more of its edges than the results of products, and in a large system not even
//! those: each chunk of edges is computed again, and its cotangents are added up at once.

use super::block::{cross_vector, scale, Block, Chunk, Layers, NodeTerms, State};
use super::edges::{falloff_of, Edges, EDGES};
use super::shape::Shape;
use crate::engine::{buffers, Arena, Lane, Real, Vector};
use crate::flow::mlp::{Cotangents, Memory, Mlp};

buffers! {
    /// Cotangents of h and x: of the block's results at the start, of what it was given at the end.
    pub(super) struct StateCotangents(shape: &Shape) {
        /// [features, n].
        features: shape.features * shape.particles,
        /// [channels · d, n].
        positions: shape.axes() * shape.particles,
    }
}

/// The vector-Jacobian product of a block.
pub(super) struct BlockVjp<'a, 'b, T> {
    pub block: Block<'a, T>,
    /// What the block was given, and the sums over messages that it made of it.
    pub state: State<'b, T>,
    /// What the block wrote to memory; empty if it did not.
    pub memory: &'b [Lane<T>],
    pub cotangents: StateCotangents<'b, T>,
    pub gradient: Option<&'b mut [T]>,
}

buffers! {
    /// What lasts through the product.
    struct Space(layers: &Layers, shape: &Shape) {
        /// Cotangents of the plain and of the gated sums of messages, [message width, n].
        sums: layers.message.outputs() * shape.particles,
        gated: layers.message.outputs() * shape.particles,
        /// Those of what was added to the positions, [channels · d, n].
        shifts: shape.axes() * shape.particles,
        /// Those of the node terms, [entry, n] and [pairs of channels, n].
        senders: layers.message.first.outputs() * shape.particles,
        receivers: layers.message.first.outputs() * shape.particles,
        distances: shape.pairs() * shape.particles,
    }
}

buffers! {
    /// Cotangents along a chunk of edges.
    struct ChunkCotangents(layers: &Layers, shape: &Shape, count: usize) {
        /// Of the shifts' amounts and of the squared distances, [channels, edges].
        amounts: shape.channels * count,
        squares: shape.channels * count,
        /// Of the messages, [message width, edges].
        messages: layers.message.outputs() * count,
        /// Of φ_e's first map, [entry, edges].
        entry: layers.message.first.outputs() * count,
    }
}

buffers! {
    /// What a network on the nodes takes.
    struct NodeSpace(mlp: &Mlp, n: usize) {
        tape: mlp.tape_lanes(n),
        /// Cotangents of its outputs, [outputs, n].
        outputs: mlp.outputs() * n,
    }
}

impl Layers {
    /// Takes what [`BlockVjp::run`] works in.
    pub fn take_vjp_scratch<T: Real>(&self, shape: &Shape, mut arena: Arena<'_, T>) {
        Space::take(&mut arena, self, shape);
        NodeTerms::take(&mut arena, self, shape);
        for node in [&self.cross, &self.update] {
            let mut arena = arena.inner();
            NodeSpace::take(&mut arena, node, shape.particles);
            node.take_apply_vjp_scratch(arena, shape.particles);
        }
        Chunk::take(&mut arena, self, shape, EDGES);
        ChunkCotangents::take(&mut arena, self, shape, EDGES);
        for edge in [&self.message, &self.shift] {
            edge.take_apply_vjp_scratch(arena.inner(), EDGES);
        }
    }
}

impl<T: Real> BlockVjp<'_, '_, T> {
    /// Replaces the cotangents, and adds to the gradient where there is one.
    #[inline(always)]
    pub fn run<V: Vector<Scalar = T>>(mut self, scratch: &mut [Lane<T>]) {
        let Block { layers, shape, .. } = self.block;
        let mut arena = Arena::new(scratch);
        let mut space = Space::take(&mut arena, layers, shape);
        let mut node = NodeTerms::take(&mut arena, layers, shape);
        space.shifts.copy_from_slice(self.cotangents.positions);
        self.update::<V>(space.gated, arena.inner());
        self.cross::<V>(space.shifts, space.sums, arena.inner());

        let per_edge = V::constant(1.0 / shape.neighbours());
        scale::<V>(space.sums, per_edge);
        scale::<V>(space.gated, V::constant(1.0 / shape.neighbours().sqrt()));
        scale::<V>(space.shifts, per_edge);
        self.block.fill_node_terms::<V>(&self.state, &mut node);
        for terms in [&mut *space.senders, space.receivers, space.distances] {
            terms.fill(Lane::zero());
        }
        for edges in Edges::chunks(shape.particles, layers.alike) {
            self.edges::<V>(&edges, &node, &mut space, arena.inner());
        }
        if !self.ends_here() {
            self.nodes::<V>(&node, &mut space);
        }
    }

    /// Whether the features that the block was given depend on parameters alone, whose gradient is
    /// not asked for.
    fn ends_here(&self) -> bool {
        self.block.layers.alike && self.gradient.is_none()
    }

    /// φ_h, which sets the cotangent of the gated sums.
    #[inline(always)]
    fn update<V: Vector<Scalar = T>>(&mut self, gated: &mut [Lane<T>], mut arena: Arena<'_, T>) {
        let Block { layers: Layers { message, update, .. }, shape, theta } = self.block;
        let (n, width) = (shape.particles, message.outputs());
        let NodeSpace { tape, .. } = NodeSpace::take(&mut arena, update, n);
        let entry = arena.take(update.first.outputs() * n);
        self.block.update::<V>(&self.state, tape);
        let cotangents = Cotangents { value: self.cotangents.features, entry: &mut *entry };
        let gradient = self.gradient.as_deref_mut();
        update.vjp::<V>(theta, tape, cotangents, gradient, arena.rest(), n);
        if let Some(gradient) = self.gradient.as_deref_mut() {
            update.first.weight_gradient::<V>(gradient, 0, entry, self.state.gated, n);
            update.first.weight_gradient::<V>(gradient, width, entry, self.state.features, n);
        }
        update.first.transposed_product::<V>(theta, 0, entry, gated, n, false);
        if !self.ends_here() {
            let features = &mut *self.cotangents.features;
            update.first.transposed_product::<V>(theta, width, entry, features, n, true);
        }
    }

    /// Shifts across channels, which set the cotangent of the plain sums.
    #[inline(always)]
    fn cross<V: Vector<Scalar = T>>(
        &mut self,
        shifts: &[Lane<T>],
        sums: &mut [Lane<T>],
        mut arena: Arena<'_, T>,
    ) {
        let Block { layers: Layers { cross, .. }, shape, theta } = self.block;
        let n = shape.particles;
        let NodeSpace { tape, outputs, .. } = NodeSpace::take(&mut arena, cross, n);
        cross.apply::<V>(theta, self.state.sums, tape, n);
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
                amount.store(&mut outputs[number * n + i]);
                for ((a, b), g) in shape.axes_of(v).zip(shape.axes_of(w)).zip(vector) {
                    add_difference(g, self.cotangents.positions, a * n + i, b * n + i);
                }
            }
        }
        let (x, gradient) = (&*self.state.sums, self.gradient.as_deref_mut());
        cross.apply_vjp::<V>(theta, tape, [x, outputs], sums, gradient, arena, n);
    }

    /// A chunk of edges; adds to the cotangents of the node terms.
    #[inline(always)]
    fn edges<V: Vector<Scalar = T>>(
        &mut self,
        edges: &Edges,
        node: &NodeTerms<'_, T>,
        space: &mut Space<'_, T>,
        mut arena: Arena<'_, T>,
    ) {
        let Block { layers, shape, theta } = self.block;
        let (count, from) = (edges.count, shape.node_inputs());
        let mut chunk = Chunk::take(&mut arena, layers, shape, count);
        let to = ChunkCotangents::take(&mut arena, layers, shape, count);
        let memory = match &self.memory[layers.memory_of(edges, self.memory.len())] {
            [] => Memory::None,
            memory => Memory::Restore(memory),
        };
        let positions = &*self.state.positions;
        self.block.fill_chunk::<V>(node, positions, edges, memory, &mut chunk);
        let Layers { message, gate, shift, .. } = layers;

        self.shifts::<V>(edges, space.shifts, &chunk, to.amounts);
        let x = message.value(chunk.message, count);
        let (given, gradient) = ([x, &*to.amounts], self.gradient.as_deref_mut());
        let (tape, inner) = (&*chunk.shift, arena.inner());
        shift.apply_vjp::<V>(theta, tape, given, to.messages, gradient, inner, count);

        self.messages::<V>(edges, space, &mut chunk, to.messages);
        let (x, slope) = (message.value(chunk.message, count), &*chunk.gate);
        let gradient = self.gradient.as_deref_mut();
        gate.apply_vjp::<V>(theta, x, slope, to.messages, gradient, count, true);
        let cotangents = Cotangents { value: to.messages, entry: &mut *to.entry };
        let gradient = self.gradient.as_deref_mut();
        let (tape, inner) = (&*chunk.message, arena.rest());
        message.vjp::<V>(theta, tape, cotangents, gradient, inner, count);
        // An edge that stands for its opposite as well adds all to one end: for nodes that are
        // alike only the sum over all matters.
        if !self.ends_here() {
            edges.scatter::<V>(to.entry, space.senders, space.receivers, shape.particles);
        }
        if let Some(gradient) = self.gradient.as_deref_mut() {
            message.first.weight_gradient::<V>(gradient, from, to.entry, chunk.squares, count);
        }
        message.first.transposed_product::<V>(theta, from, to.entry, to.squares, count, false);
        self.squares::<V>(edges, chunk.vectors, to.squares);
    }

    /// The shifts by a chunk of edges: cotangents of their amounts, and of the positions.
    #[inline(always)]
    fn shifts<V: Vector<Scalar = T>>(
        &mut self,
        edges: &Edges,
        shifts: &[Lane<T>],
        chunk: &Chunk<'_, T>,
        amounts: &mut [Lane<T>],
    ) {
        let Block { layers, shape, .. } = self.block;
        let (n, count) = (shape.particles, edges.count);
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
                    add_difference(g, self.cotangents.positions, axis * n + r, axis * n + s);
                }
            }
        }
    }

    /// The two sums over messages; the cotangent of the gate's logit takes the place of the gate.
    #[inline(always)]
    fn messages<V: Vector<Scalar = T>>(
        &self,
        edges: &Edges,
        space: &Space<'_, T>,
        chunk: &mut Chunk<'_, T>,
        messages: &mut [Lane<T>],
    ) {
        let Block { layers, shape, .. } = self.block;
        let (n, count) = (shape.particles, edges.count);
        let message = layers.message.value(chunk.message, count);
        for (e, gate) in chunk.gate.iter_mut().enumerate() {
            let (r, s) = (edges.receivers()[e], edges.senders()[e]);
            let value = V::load(gate);
            let mut slope = V::zero();
            for row in 0..layers.message.outputs() {
                let mut outer = V::load(&space.gated[row * n + r]);
                let mut plain = V::load(&space.sums[row * n + r]);
                if edges.both_ways {
                    outer += V::load(&space.gated[row * n + s]);
                    plain += V::load(&space.sums[row * n + s]);
                }
                slope = outer.mul_add(V::load(&message[row * count + e]), slope);
                outer.mul_add(value, plain).accumulate(&mut messages[row * count + e]);
            }
            (slope * value * (V::constant(1.0) - value)).store(gate);
        }
    }

    /// The squared distances along a chunk of edges.
    #[inline(always)]
    fn squares<V: Vector<Scalar = T>>(
        &mut self,
        edges: &Edges,
        vectors: &[Lane<T>],
        squares: &[Lane<T>],
    ) {
        let shape = self.block.shape;
        let (n, count) = (shape.particles, edges.count);
        for channel in 0..shape.channels {
            for (e, (&r, &s)) in edges.receivers().iter().zip(edges.senders()).enumerate() {
                let g = V::load(&squares[channel * count + e]);
                let twice = g + g;
                for axis in shape.axes_of(channel) {
                    let g = twice * V::load(&vectors[axis * count + e]);
                    add_difference(g, self.cotangents.positions, axis * n + r, axis * n + s);
                }
            }
        }
    }

    /// The parts of φ_e's first map that belong to the nodes.
    #[inline(always)]
    fn nodes<V: Vector<Scalar = T>>(&mut self, node: &NodeTerms<'_, T>, space: &mut Space<'_, T>) {
        let Block { layers, shape, theta } = self.block;
        let (n, f, p) = (shape.particles, shape.features, shape.pairs());
        let first = &layers.message.first;
        let distances = &mut *space.distances;
        let ends = [(&*space.senders, 0, 2 * f), (&*space.receivers, f, 2 * f + p)];
        for (terms, from, from_distances) in ends {
            if let Some(gradient) = self.gradient.as_deref_mut() {
                let (features, given) = (&*self.state.features, &*node.distances);
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

/// Cotangents of the amount and of v, from that of amount·v/(1 + ‖v‖).
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
