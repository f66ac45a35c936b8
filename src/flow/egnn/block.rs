//! One round of message passing: edges, shifts of the channels, and the update of the features.

use super::edges::{falloff_of, Edges, EDGES};
use super::shape::{Shape, Sizes};
use crate::engine::{buffers, sigmoid, Arena, Lane, Real, Vector};
use crate::flow::linear::Linear;
use crate::flow::mlp::{Memory, Mlp};
use crate::flow::ParameterLayout;

/// Variance of the last weights of φ_x and φ_cross, relative to that of all others.
const SHIFT_SCALE: f64 = 1e-3;

/// The networks of one block: φ_e, the gate, φ_x, φ_cross and φ_h. φ_e's first map takes the parts
/// of its input in the order of the formulas.
#[derive(Debug, Clone)]
pub(super) struct Layers {
    pub(super) message: Mlp,
    pub(super) gate: Linear,
    pub(super) shift: Mlp,
    pub(super) cross: Mlp,
    pub(super) update: Mlp,
    /// Whether the input is the same for all nodes and channels, as in the first block where
    /// particles are alike: the messages of an edge and of its opposite are then the same.
    pub(super) alike: bool,
}

impl Layers {
    pub fn new(
        layout: &mut ParameterLayout,
        block: usize,
        shape: &Shape,
        sizes: &Sizes<'_>,
        alike: bool,
    ) -> Self {
        let width = sizes.edge_hidden[sizes.edge_hidden.len() - 1];
        let name = |part: &str| format!("block.{block}.{part}");
        let inputs = 2 * shape.features + 2 * shape.pairs() + shape.channels;
        let crosses = 2 * shape.pairs();
        let update = Some((shape.features, 1.0));
        let edge = sizes.edge_hidden;
        let shifts = |outputs| Some((outputs, SHIFT_SCALE));
        Self {
            message: Mlp::new(layout, &name("message"), inputs, edge, None),
            gate: Linear::new(layout, &name("gate"), 1, width, 1.0),
            shift: Mlp::new(layout, &name("shift"), width, edge, shifts(shape.channels)),
            cross: Mlp::new(layout, &name("cross"), width, edge, shifts(crosses)),
            update: Mlp::new(
                layout,
                &name("update"),
                width + shape.features,
                sizes.node_hidden,
                update,
            ),
            alike,
        }
    }

    /// Lanes of a [`Memory`] for the results of all products on edges but the first map's, whose
    /// inputs are too few to matter.
    pub fn memory_lanes(&self, shape: &Shape) -> usize {
        self.edge_memory() * Edges::total(shape.particles, self.alike)
    }

    fn edge_memory(&self) -> usize {
        self.message.memory_lanes(1) + self.shift.first.outputs() + self.shift.memory_lanes(1)
    }

    /// The part of a block's memory that belongs to a chunk of edges; empty where nothing is kept.
    pub fn memory_of(&self, edges: &Edges, lanes: usize) -> std::ops::Range<usize> {
        let per_edge = if lanes == 0 { 0 } else { self.edge_memory() };
        per_edge * edges.first..per_edge * (edges.first + edges.count)
    }

    /// Takes what [`Block::forward`] works in.
    pub fn take_scratch<T: Real>(&self, shape: &Shape, mut arena: Arena<'_, T>) {
        NodeTerms::take(&mut arena, self, shape);
        arena.take(shape.axes() * shape.particles);
        Chunk::take(&mut arena.inner(), self, shape, EDGES);
        for node in [&self.cross, &self.update] {
            arena.inner().take(node.tape_lanes(shape.particles));
        }
    }
}

buffers! {
    /// What a block reads and changes, and the sums over its messages.
    pub(super) struct State(layers: &Layers, shape: &Shape) {
        /// [features, n].
        features: shape.features * shape.particles,
        /// [channels · d, n].
        positions: shape.axes() * shape.particles,
        /// Sums of messages and of gated messages, [message width, n].
        sums: layers.message.outputs() * shape.particles,
        gated: layers.message.outputs() * shape.particles,
    }
}

buffers! {
    /// What φ_e's first map makes of the nodes as senders and as receivers, [entry, n], and the
    /// squared distances between the channels of each node, [pairs of channels, n].
    pub(super) struct NodeTerms(layers: &Layers, shape: &Shape) {
        distances: shape.pairs() * shape.particles,
        sender: layers.message.first.outputs() * shape.particles,
        receiver: layers.message.first.outputs() * shape.particles,
    }
}

buffers! {
    /// Everything about a chunk of edges that the sums and their vector-Jacobian products need.
    pub(super) struct Chunk(layers: &Layers, shape: &Shape, count: usize) {
        /// [channels · d, edges].
        vectors: shape.axes() * count,
        /// [channels, edges].
        squares: shape.channels * count,
        /// The tape of φ_e.
        message: layers.message.tape_lanes(count),
        gate: count,
        /// The tape of φ_x.
        shift: layers.shift.tape_lanes(count),
    }
}

/// A block with the parameters of its networks.
#[derive(Clone, Copy)]
pub(super) struct Block<'a, T> {
    pub layers: &'a Layers,
    pub shape: &'a Shape,
    pub theta: &'a [T],
}

impl<T: Real> Block<'_, T> {
    /// Runs the block in place, and fills `memory` unless it is empty.
    #[inline(always)]
    pub fn forward<V: Vector<Scalar = T>>(
        &self,
        state: &mut State<'_, T>,
        memory: &mut [Lane<T>],
        scratch: &mut [Lane<T>],
    ) {
        let Self { layers, shape, theta } = *self;
        let n = shape.particles;
        let mut arena = Arena::new(scratch);
        let mut node = NodeTerms::take(&mut arena, layers, shape);
        let shifts = arena.take_zeroed(shape.axes() * n);
        self.fill_node_terms::<V>(state, &mut node);
        state.sums.fill(Lane::zero());
        state.gated.fill(Lane::zero());
        for edges in Edges::chunks(n, layers.alike) {
            let mut chunk = Chunk::take(&mut arena.inner(), layers, shape, edges.count);
            let own = layers.memory_of(&edges, memory.len());
            let memory = match &mut memory[own] {
                [] => Memory::None,
                memory => Memory::Save(memory),
            };
            self.fill_chunk::<V>(&node, state.positions, &edges, memory, &mut chunk);
            self.add_messages::<V>(&edges, &chunk, state);
            self.add_shifts::<V>(&edges, &chunk, shifts);
        }
        scale::<V>(state.sums, V::constant(1.0 / shape.neighbours()));
        scale::<V>(state.gated, V::constant(1.0 / shape.neighbours().sqrt()));

        let tape = arena.inner().take(layers.cross.tape_lanes(n));
        layers.cross.apply::<V>(theta, state.sums, tape, n);
        let amount = layers.cross.value(tape, n);
        for (number, &(v, w)) in shape.channel_crosses.iter().enumerate() {
            for i in 0..n {
                let (vector, square) = cross_vector::<V>(shape, state.positions, v, w, i);
                let c = V::load(&amount[number * n + i]) * falloff_of(square).1;
                for (axis, component) in shape.axes_of(v).zip(vector) {
                    (c * component).accumulate(&mut shifts[axis * n + i]);
                }
            }
        }

        let tape = arena.inner().take(layers.update.tape_lanes(n));
        self.update::<V>(state, tape);
        add::<V>(layers.update.value(tape, n), state.features);
        add::<V>(shifts, state.positions);
    }

    /// Adds the messages of a chunk of edges to the sums.
    #[inline(always)]
    fn add_messages<V: Vector<Scalar = T>>(
        &self,
        edges: &Edges,
        chunk: &Chunk<'_, T>,
        state: &mut State<'_, T>,
    ) {
        let n = self.shape.particles;
        let message = self.layers.message.value(chunk.message, edges.count);
        for (row, message) in message.chunks_exact(edges.count).enumerate() {
            for nodes in edges.ends() {
                for ((message, gate), &i) in message.iter().zip(&*chunk.gate).zip(nodes) {
                    let message = V::load(message);
                    message.accumulate(&mut state.sums[row * n + i]);
                    (message * V::load(gate)).accumulate(&mut state.gated[row * n + i]);
                }
            }
        }
    }

    /// Adds the shifts by a chunk of edges.
    #[inline(always)]
    fn add_shifts<V: Vector<Scalar = T>>(
        &self,
        edges: &Edges,
        chunk: &Chunk<'_, T>,
        shifts: &mut [Lane<T>],
    ) {
        let (n, count) = (self.shape.particles, edges.count);
        let per_edge = V::constant(1.0 / self.shape.neighbours());
        let amount = self.layers.shift.value(chunk.shift, count);
        for channel in 0..self.shape.channels {
            for (e, (&r, &s)) in edges.receivers().iter().zip(edges.senders()).enumerate() {
                let at = channel * count + e;
                let (_, falloff) = falloff_of(V::load(&chunk.squares[at]));
                let c = V::load(&amount[at]) * falloff * per_edge;
                for axis in self.shape.axes_of(channel) {
                    let shift = c * V::load(&chunk.vectors[axis * count + e]);
                    shift.accumulate(&mut shifts[axis * n + r]);
                    if edges.both_ways {
                        (-shift).accumulate(&mut shifts[axis * n + s]);
                    }
                }
            }
        }
    }

    #[inline(always)]
    pub fn fill_node_terms<V: Vector<Scalar = T>>(
        &self,
        state: &State<'_, T>,
        node: &mut NodeTerms<'_, T>,
    ) {
        let Self { layers, shape, theta } = *self;
        let (n, f, p) = (shape.particles, shape.features, shape.pairs());
        for (number, &(v, w)) in shape.channel_pairs.iter().enumerate() {
            for i in 0..n {
                let (_, square) = cross_vector::<V>(shape, state.positions, v, w, i);
                square.store(&mut node.distances[number * n + i]);
            }
        }
        let first = &layers.message.first;
        let ends = [(&mut *node.sender, 0, 2 * f), (&mut *node.receiver, f, 2 * f + p)];
        for (terms, from, from_distances) in ends {
            first.product::<V>(theta, from, state.features, terms, n, false);
            first.product::<V>(theta, from_distances, node.distances, terms, n, true);
        }
    }

    #[inline(always)]
    pub fn fill_chunk<V: Vector<Scalar = T>>(
        &self,
        node: &NodeTerms<'_, T>,
        positions: &[Lane<T>],
        edges: &Edges,
        mut memory: Memory<'_, T>,
        chunk: &mut Chunk<'_, T>,
    ) {
        let Self { layers, shape, theta } = *self;
        let (n, count) = (shape.particles, edges.count);
        edges.geometry::<V>(shape, positions, chunk.vectors, chunk.squares);

        let message = &layers.message;
        let entry = message.entry(chunk.message, count);
        edges.gather::<V>(node.sender, node.receiver, entry, n);
        message.first.product::<V>(theta, shape.node_inputs(), chunk.squares, entry, count, true);
        message.forward_with::<V>(theta, chunk.message, count, &mut memory);
        let value = message.value(chunk.message, count);

        layers.gate.product::<V>(theta, 0, value, chunk.gate, count, false);
        let bias = V::splat(layers.gate.bias(theta)[0]);
        for gate in chunk.gate.iter_mut() {
            sigmoid(V::load(gate) + bias).store(gate);
        }

        let shift = &layers.shift;
        memory.product(shift.entry(chunk.shift, count), |entry| {
            shift.first.product::<V>(theta, 0, value, entry, count, false);
        });
        shift.forward_with::<V>(theta, chunk.shift, count, &mut memory);
    }

    /// φ_h.
    #[inline(always)]
    pub fn update<V: Vector<Scalar = T>>(&self, state: &State<'_, T>, tape: &mut [Lane<T>]) {
        let Self { layers: Layers { message, update, .. }, shape, theta } = *self;
        let n = shape.particles;
        let entry = update.entry(tape, n);
        update.first.product::<V>(theta, 0, state.gated, entry, n, false);
        update.first.product::<V>(theta, message.outputs(), state.features, entry, n, true);
        update.forward::<V>(theta, tape, n);
    }
}

/// x_v − x_w of node i, and its square.
#[inline(always)]
pub(super) fn cross_vector<V: Vector>(
    shape: &Shape,
    positions: &[Lane<V::Scalar>],
    v: usize,
    w: usize,
    i: usize,
) -> ([V; 3], V) {
    let n = shape.particles;
    let mut vector = [V::zero(); 3];
    let mut square = V::zero();
    for ((a, b), component) in shape.axes_of(v).zip(shape.axes_of(w)).zip(&mut vector) {
        *component = V::load(&positions[a * n + i]) - V::load(&positions[b * n + i]);
        square = component.mul_add(*component, square);
    }
    (vector, square)
}

#[inline(always)]
pub(super) fn scale<V: Vector>(x: &mut [Lane<V::Scalar>], factor: V) {
    for lane in x {
        (V::load(lane) * factor).store(lane);
    }
}

#[inline(always)]
fn add<V: Vector>(x: &[Lane<V::Scalar>], to: &mut [Lane<V::Scalar>]) {
    for (x, to) in x.iter().zip(to) {
        V::load(x).accumulate(to);
    }
}
