//! One round of message passing: edges, shifts of the channels, and the update of the features.

use super::edges::{falloff_of, Edges, EDGES};
use super::{Shape, Sizes};
use crate::engine::{sigmoid, Arena, Lane, Real, Vector};
use crate::flow::linear::Linear;
use crate::flow::mlp::{Memory, Mlp};
use crate::flow::ParameterLayout;

/// Variance of the last weights of what moves positions, relative to the others'.
const SHIFT_SCALE: f64 = 1e-3;

/// The networks of one block, with h [features, n] and x [channels · d, n]:
///
/// ```text
/// m    = φ_e([h_s, h_r, channel distances² at s and at r, ‖x_r − x_s‖² of each channel])
/// x_r += Σ_s φ_x(m) (x_r − x_s)/(1 + ‖x_r − x_s‖)/(n − 1)
/// x_rv += Σ_w φ_cross(Σ_s m/(n − 1))_vw (x_rv − x_rw)/(1 + ‖x_rv − x_rw‖)
/// h_r += φ_h([Σ_s m·sigmoid(Linear m)/√(n − 1), h_r])
/// ```
///
/// All right-hand sides are those before the block. φ_e's first map takes the parts of its input in
/// this order.
#[derive(Debug, Clone)]
pub(super) struct Layers {
    pub(super) message: Mlp,
    pub(super) gate: Linear,
    pub(super) shift: Mlp,
    pub(super) cross: Mlp,
    pub(super) update: Mlp,
    /// Whether all nodes and channels come in alike, as into the first block where particles are alike:
    /// the messages of an edge and of its opposite are then the same.
    pub(super) alike: bool,
}

/// What a block reads and changes, and the sums over its messages.
pub(super) struct State<'a, T> {
    /// [features, n].
    pub features: &'a mut [Lane<T>],
    /// [channels · d, n].
    pub positions: &'a mut [Lane<T>],
    /// Plain, then gated sums of messages, [2 · message width, n].
    pub sums: &'a mut [Lane<T>],
}

impl<'a, T: Real> State<'a, T> {
    /// The three parts of `space`.
    #[inline(always)]
    pub fn of(space: &'a mut [Lane<T>], layers: &Layers, shape: &Shape) -> Self {
        let mut space = Arena::new(space);
        Self {
            features: space.take(shape.features * shape.particles),
            positions: space.take(shape.axes() * shape.particles),
            sums: space.take(2 * layers.message.outputs() * shape.particles),
        }
    }
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

    /// The part of a block's memory that belongs to a chunk of edges; nothing of nothing.
    pub fn memory_of(&self, edges: &Edges, lanes: usize) -> std::ops::Range<usize> {
        let per_edge = if lanes == 0 { 0 } else { self.edge_memory() };
        per_edge * edges.first..per_edge * (edges.first + edges.count)
    }

    pub fn state_lanes(&self, shape: &Shape) -> usize {
        (shape.features + shape.axes() + 2 * self.message.outputs()) * shape.particles
    }

    /// Lanes of what an edge chunk keeps.
    fn chunk_lanes(&self, shape: &Shape) -> usize {
        let per_edge = shape.axes() + shape.channels + 1;
        per_edge * EDGES + self.message.tape_lanes(EDGES) + self.shift.tape_lanes(EDGES)
    }

    pub fn forward_lanes(&self, shape: &Shape) -> usize {
        let n = shape.particles;
        let own = shape.pairs() + 2 * self.message.first.outputs() + shape.axes();
        let inner =
            self.chunk_lanes(shape).max(self.cross.tape_lanes(n)).max(self.update.tape_lanes(n));
        own * n + inner
    }

    pub fn vjp_lanes(&self, shape: &Shape) -> usize {
        let n = shape.particles;
        let (entry, width) = (self.message.first.outputs(), self.message.outputs());
        let own = 2 * shape.pairs() + 4 * entry + shape.axes() + 2 * width;
        let chunk = self.chunk_lanes(shape)
            + (2 * shape.channels + width + self.shift.first.outputs() + entry) * EDGES
            + self.message.scratch_lanes(EDGES).max(self.shift.scratch_lanes(EDGES));
        let node = |mlp: &Mlp| {
            mlp.tape_lanes(n) + (mlp.first.outputs() + mlp.outputs()) * n + mlp.scratch_lanes(n)
        };
        own * n + chunk.max(node(&self.cross)).max(node(&self.update))
    }

    /// Runs the block in place, and fills `memory` unless it is empty.
    #[inline(always)]
    pub fn forward<V: Vector>(
        &self,
        shape: &Shape,
        theta: &[V::Scalar],
        state: &mut State<'_, V::Scalar>,
        memory: &mut [Lane<V::Scalar>],
        scratch: &mut [Lane<V::Scalar>],
    ) {
        let n = shape.particles;
        let width = self.message.outputs();
        let mut arena = Arena::new(scratch);
        let node = self.node_terms::<V>(shape, theta, state.features, state.positions, &mut arena);
        let shifts = arena.take_zeroed(shape.axes() * n);
        state.sums.fill(Lane::zero());
        let (sums, gated) = state.sums.split_at_mut(width * n);
        let per_edge = V::constant(1.0 / shape.neighbours());
        let per_gated = V::constant(1.0 / shape.neighbours().sqrt());

        for edges in Edges::chunks(n, self.alike) {
            let mut inner = Arena::new(arena.rest());
            let own = self.memory_of(&edges, memory.len());
            let memory = match &mut memory[own] {
                [] => Memory::None,
                memory => Memory::Save(memory),
            };
            let given = &*state.positions;
            let chunk = self.chunk::<V>(shape, theta, &node, given, &edges, memory, &mut inner);
            let count = edges.count;
            let message = self.message.value(chunk.message, count);
            for (row, message) in message.chunks_exact(count).enumerate() {
                for ((message, gate), &r) in message.iter().zip(&*chunk.gate).zip(edges.receivers())
                {
                    let message = V::load(message);
                    message.accumulate(&mut sums[row * n + r]);
                    (message * V::load(gate)).accumulate(&mut gated[row * n + r]);
                }
                if edges.both_ways {
                    let gates = message.iter().zip(&*chunk.gate);
                    for ((message, gate), &s) in gates.zip(edges.senders()) {
                        let message = V::load(message);
                        message.accumulate(&mut sums[row * n + s]);
                        (message * V::load(gate)).accumulate(&mut gated[row * n + s]);
                    }
                }
            }
            let amount = self.shift.value(chunk.shift, count);
            for channel in 0..shape.channels {
                for (e, (&r, &s)) in edges.receivers().iter().zip(edges.senders()).enumerate() {
                    let at = channel * count + e;
                    let (_, falloff) = falloff_of(V::load(&chunk.squares[at]));
                    let c = V::load(&amount[at]) * falloff * per_edge;
                    for axis in shape.axes_of(channel) {
                        let shift = c * V::load(&chunk.vectors[axis * count + e]);
                        shift.accumulate(&mut shifts[axis * n + r]);
                        if edges.both_ways {
                            (-shift).accumulate(&mut shifts[axis * n + s]);
                        }
                    }
                }
            }
        }
        scale::<V>(sums, per_edge);
        scale::<V>(gated, per_gated);

        let tape = &mut arena.rest()[..self.cross.tape_lanes(n)];
        self.cross.first.product::<V>(theta, 0, sums, self.cross.entry(tape, n), n, false);
        self.cross.forward::<V>(theta, tape, n);
        let amount = self.cross.value(tape, n);
        for (number, &(v, w)) in shape.channel_crosses.iter().enumerate() {
            for i in 0..n {
                let (vector, square) = cross_vector::<V>(shape, state.positions, v, w, i);
                let c = V::load(&amount[number * n + i]) * falloff_of(square).1;
                for (axis, component) in shape.axes_of(v).zip(vector) {
                    (c * component).accumulate(&mut shifts[axis * n + i]);
                }
            }
        }

        let tape = &mut arena.rest()[..self.update.tape_lanes(n)];
        self.update_forward::<V>(theta, state.features, gated, tape, n);
        add::<V>(self.update.value(tape, n), state.features);
        add::<V>(shifts, state.positions);
    }

    /// What φ_e's first map makes of the nodes, once as senders and once as receivers, and the
    /// squared distances between the channels of each.
    #[inline(always)]
    pub(super) fn node_terms<'a, V: Vector>(
        &self,
        shape: &Shape,
        theta: &[V::Scalar],
        features: &[Lane<V::Scalar>],
        positions: &[Lane<V::Scalar>],
        arena: &mut Arena<'a, V::Scalar>,
    ) -> NodeTerms<'a, V::Scalar> {
        let n = shape.particles;
        let (f, p) = (shape.features, shape.pairs());
        let first = &self.message.first;
        let distances = arena.take(p * n);
        for (number, &(v, w)) in shape.channel_pairs.iter().enumerate() {
            for i in 0..n {
                let (_, square) = cross_vector::<V>(shape, positions, v, w, i);
                square.store(&mut distances[number * n + i]);
            }
        }
        let sender = arena.take(first.outputs() * n);
        let receiver = arena.take(first.outputs() * n);
        first.product::<V>(theta, 0, features, sender, n, false);
        first.product::<V>(theta, f, features, receiver, n, false);
        first.product::<V>(theta, 2 * f, distances, sender, n, true);
        first.product::<V>(theta, 2 * f + p, distances, receiver, n, true);
        NodeTerms { distances, sender, receiver }
    }

    /// Everything about a chunk of edges that the sums and the adjoint need.
    #[allow(clippy::too_many_arguments)]
    #[inline(always)]
    pub(super) fn chunk<'a, V: Vector>(
        &self,
        shape: &Shape,
        theta: &[V::Scalar],
        node: &NodeTerms<'_, V::Scalar>,
        positions: &[Lane<V::Scalar>],
        edges: &Edges,
        mut memory: Memory<'_, V::Scalar>,
        arena: &mut Arena<'a, V::Scalar>,
    ) -> Chunk<'a, V::Scalar> {
        let count = edges.count;
        let vectors = arena.take(shape.axes() * count);
        let squares = arena.take(shape.channels * count);
        edges.geometry::<V>(shape, positions, vectors, squares);

        let message = arena.take(self.message.tape_lanes(count));
        let entry = self.message.entry(message, count);
        edges.gather::<V>(node.sender, node.receiver, entry, shape.particles);
        let from = 2 * (shape.features + shape.pairs());
        self.message.first.product::<V>(theta, from, squares, entry, count, true);
        self.message.forward_with::<V>(theta, message, count, &mut memory);
        let value = self.message.value(message, count);

        let gate = arena.take(count);
        self.gate.product::<V>(theta, 0, value, gate, count, false);
        let bias = V::splat(self.gate.bias(theta)[0]);
        for gate in gate.iter_mut() {
            sigmoid(V::load(gate) + bias).store(gate);
        }

        let shift = arena.take(self.shift.tape_lanes(count));
        let entry = self.shift.entry(shift, count);
        memory.product(entry, |entry| {
            self.shift.first.product::<V>(theta, 0, value, entry, count, false);
        });
        self.shift.forward_with::<V>(theta, shift, count, &mut memory);
        Chunk { vectors, squares, message, gate, shift }
    }

    #[inline(always)]
    pub(super) fn update_forward<V: Vector>(
        &self,
        theta: &[V::Scalar],
        features: &[Lane<V::Scalar>],
        gated: &[Lane<V::Scalar>],
        tape: &mut [Lane<V::Scalar>],
        n: usize,
    ) {
        let entry = self.update.entry(tape, n);
        self.update.first.product::<V>(theta, 0, gated, entry, n, false);
        self.update.first.product::<V>(theta, self.message.outputs(), features, entry, n, true);
        self.update.forward::<V>(theta, tape, n);
    }
}

/// See [`Layers::node_terms`].
pub(super) struct NodeTerms<'a, T> {
    pub distances: &'a [Lane<T>],
    pub sender: &'a [Lane<T>],
    pub receiver: &'a [Lane<T>],
}

/// See [`Layers::chunk`]: geometry [channels · d, edges] and [channels, edges], the tapes of φ_e and
/// φ_x, and the gates [edges].
pub(super) struct Chunk<'a, T> {
    pub vectors: &'a [Lane<T>],
    pub squares: &'a [Lane<T>],
    pub message: &'a [Lane<T>],
    pub gate: &'a mut [Lane<T>],
    pub shift: &'a [Lane<T>],
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
