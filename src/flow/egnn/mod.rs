//! The E(n)-equivariant graph network as the conditioner of a coupling. The formulas stand at
//! [`Network::Graph`](super::Network::Graph).

mod block;
mod edges;
mod shape;
#[cfg(test)]
mod tests;
mod vjp;

use block::{Block, Layers, State};
use shape::Shape;
pub(super) use shape::Sizes;
use vjp::{BlockVjp, StateCotangents};

use super::linear::Linear;
use super::mlp::Mlp;
use super::species::SpeciesFeatures;
use super::vector_network::{NetworkForward, NetworkVjp, VectorNetwork};
use super::{rows, Initial, ParameterLayout};
use crate::engine::{buffers, exp, Arena, Lane, Real, Vector};

/// Products on edges are kept for the vector-Jacobian product where all of a network's come to no
/// more lanes than this, 8 MiB in f32: reading more would take longer than computing them again.
const MOST_MEMORY: usize = 1 << 17;

/// The network: invariant outputs and equivariant vectors per node, from positions.
#[derive(Debug, Clone)]
pub(super) struct Egnn {
    shape: Shape,
    embedding: super::Block,
    lift: Linear,
    species: Option<SpeciesFeatures>,
    blocks: Vec<Layers>,
    readout: Linear,
    head: Mlp,
    /// Whether products on edges are kept for the vector-Jacobian product; the result is the same.
    keeps: bool,
}

impl Egnn {
    /// Registers the parameters; the head's last layer starts at zero.
    pub fn new(
        layout: &mut ParameterLayout,
        particles: usize,
        dimension: usize,
        species: &[usize],
        sizes: &Sizes<'_>,
    ) -> Self {
        let shape = Shape::new(particles, dimension, sizes);
        let f = sizes.features;
        let mut network = Self {
            embedding: layout.vector("embedding", 1, Initial::Normal(1.0)),
            lift: Linear::new(layout, "lift", f, 1, 1.0),
            species: SpeciesFeatures::new(layout, "species", f, species, Initial::Normal(1.0)),
            blocks: (0..sizes.blocks)
                .map(|b| {
                    // With several copies a pair's channels differ between its two ends.
                    let alike =
                        b == 0 && sizes.copies == 1 && species.iter().all(|&s| s == species[0]);
                    Layers::new(layout, b, &shape, sizes, alike)
                })
                .collect(),
            readout: Linear::new(layout, "readout", f, f, 1.0),
            head: Mlp::new(layout, "head", f, sizes.head_hidden, Some((sizes.outputs, 0.0))),
            shape,
            keeps: true,
        };
        network.keeps = network.memory_lanes() <= MOST_MEMORY;
        network
    }

    /// Lanes of the blocks' memories.
    fn memory_lanes(&self) -> usize {
        self.memory_before(self.blocks.len())
    }

    /// The part of the memory that belongs to a block.
    fn memory_of(&self, number: usize) -> std::ops::Range<usize> {
        self.memory_before(number)..self.memory_before(number + 1)
    }

    /// Lanes of the memories of the first blocks.
    fn memory_before(&self, number: usize) -> usize {
        let first = self.blocks[..number].iter().filter(|_| self.keeps);
        first.map(|block| block.memory_lanes(&self.shape)).sum()
    }

    /// A block of the network.
    #[inline(always)]
    fn block<'a, T>(&'a self, number: usize, theta: &'a [T]) -> Block<'a, T> {
        Block { layers: &self.blocks[number], shape: &self.shape, theta }
    }

    /// State number `number` of those on a tape.
    #[inline(always)]
    fn state<'a, T: Real>(&self, states: &'a mut [Lane<T>], number: usize) -> State<'a, T> {
        let lanes = self.state_lanes();
        let space = &mut states[number * lanes..(number + 1) * lanes];
        State::take(&mut Arena::new(space), &self.blocks[0], &self.shape)
    }

    fn state_lanes(&self) -> usize {
        Arena::<f32>::measure(|arena| {
            let _ = State::take(arena, &self.blocks[0], &self.shape);
        })
    }

    /// h and the positions in each channel, all shifted such that the first copy is centred.
    #[inline(always)]
    fn start<V: Vector>(
        &self,
        theta: &[V::Scalar],
        input: &[Lane<V::Scalar>],
        features: &mut [Lane<V::Scalar>],
        positions: &mut [Lane<V::Scalar>],
        scratch: &mut [Lane<V::Scalar>],
    ) {
        let (n, d) = (self.shape.particles, self.shape.dimension);
        let scalar = &mut scratch[..n];
        scalar.fill(Lane::splat(self.embedding.of(theta)[0]));
        self.lift.apply::<V>(theta, scalar, features, n);
        if let Some(species) = &self.species {
            species.add::<V>(theta, features);
        }
        for axis in 0..d {
            let mean = rows::mean::<V>(input, (n, d), axis);
            for i in 0..n {
                for channel in 0..self.shape.channels {
                    let centred = V::load(&input[self.shape.input(channel, i, axis)]) - mean;
                    centred.store(&mut positions[(channel * d + axis) * n + i]);
                }
            }
        }
    }
}

buffers! {
    /// What the network leaves for its vector-Jacobian product.
    struct Tape(network: &Egnn, keep: bool) {
        /// Results of products, for every block.
        memory: if keep { network.memory_lanes() } else { 0 },
        /// The state before each block, and the last one; only one where they are not to be kept.
        states: network.state_lanes() * if keep { network.blocks.len() + 1 } else { 1 },
        /// [features, n] each.
        softmax: network.shape.features * network.shape.particles,
        linear: network.shape.features * network.shape.particles,
        head: network.head.tape_lanes(network.shape.particles),
    }
}

impl VectorNetwork for Egnn {
    fn vector_lanes(&self) -> usize {
        self.shape.axes() * self.shape.particles
    }

    fn output_lanes(&self) -> usize {
        self.head.outputs() * self.shape.particles
    }

    fn tape_lanes(&self, keep: bool) -> usize {
        Arena::<f32>::measure(|arena| {
            let _ = Tape::take(arena, self, keep);
        })
    }

    fn scratch_lanes(&self) -> usize {
        let (n, block) = (self.shape.particles, &self.blocks[0]);
        Arena::<f32>::measure(|arena| {
            arena.inner().take(n);
            block.take_scratch(&self.shape, arena.inner());
            StateCotangents::take(arena, &self.shape);
            block.take_vjp_scratch(&self.shape, arena.inner());
            arena.take(self.shape.features * n);
            self.head.take_apply_vjp_scratch(arena.inner(), n);
        })
    }

    /// The vectors are the displacement of each channel.
    #[inline(always)]
    fn forward<V: Vector>(
        &self,
        call: NetworkForward<'_, V::Scalar>,
        scratch: &mut [Lane<V::Scalar>],
    ) {
        let NetworkForward { theta, positions, vectors, tape, keep } = call;
        let (n, lanes) = (self.shape.particles, self.state_lanes());
        let tape = Tape::take(&mut Arena::new(tape), self, keep);
        let state = self.state(tape.states, 0);
        self.start::<V>(theta, positions, state.features, state.positions, scratch);
        vectors.copy_from_slice(state.positions);
        for number in 0..self.blocks.len() {
            let block = self.block(number, theta);
            if keep {
                // The block works on the next state; the sums it makes belong to this one.
                let (before, next) = tape.states[number * lanes..].split_at_mut(lanes);
                next[..lanes].copy_from_slice(before);
                let mut state = self.state(next, 0);
                let memory = &mut tape.memory[self.memory_of(number)];
                block.forward::<V>(&mut state, memory, scratch);
                let before = self.state(before, 0);
                before.sums.copy_from_slice(state.sums);
                before.gated.copy_from_slice(state.gated);
            } else {
                block.forward::<V>(&mut self.state(tape.states, 0), &mut [], scratch);
            }
        }

        let last = if keep { self.blocks.len() } else { 0 };
        let state = self.state(tape.states, last);
        for (vector, position) in vectors.iter_mut().zip(&*state.positions) {
            (V::load(position) - V::load(vector)).store(vector);
        }
        softmax_over_rows::<V>(state.features, tape.softmax, n);
        self.readout.apply::<V>(theta, tape.softmax, tape.linear, n);
        self.head.apply::<V>(theta, tape.linear, tape.head, n);
    }

    #[inline(always)]
    fn vjp<V: Vector>(&self, call: NetworkVjp<'_, V::Scalar>, scratch: &mut [Lane<V::Scalar>]) {
        let NetworkVjp { theta, vectors_cotangent, positions_cotangent, mut gradient, .. } = call;
        let Shape { particles: n, dimension: d, channels, .. } = self.shape;
        let Tape { memory, states, softmax, linear, head } =
            Tape::take(&mut Arena::new(call.tape), self, true);
        let mut arena = Arena::new(scratch);
        let StateCotangents { features, positions } =
            StateCotangents::take(&mut arena, &self.shape);
        positions.copy_from_slice(vectors_cotangent);
        let mut inner = arena.inner();
        let linear_cotangent = inner.take(features.len());
        let given = [&*linear, call.outputs_cotangent];
        let into = &mut *linear_cotangent;
        self.head.apply_vjp::<V>(theta, head, given, into, gradient.as_deref_mut(), inner, n);
        let (into, given) = (&mut *features, &*linear_cotangent);
        self.readout.apply_vjp::<V>(theta, softmax, given, into, gradient.as_deref_mut(), n, false);
        softmax_vjp::<V>(softmax, features, n);
        for number in (0..self.blocks.len()).rev() {
            let call = BlockVjp {
                block: self.block(number, theta),
                state: self.state(states, number),
                memory: &memory[self.memory_of(number)],
                cotangents: StateCotangents { features, positions },
                gradient: gradient.as_deref_mut(),
            };
            call.run::<V>(arena.rest());
        }

        // The vectors are final minus initial positions; those are the input minus the mean of its
        // first copy.
        for (position, vector) in positions.iter_mut().zip(vectors_cotangent) {
            (V::load(position) - V::load(vector)).store(position);
        }
        for axis in 0..d {
            let mut mean = V::zero();
            for channel in 0..channels {
                for lane in &positions[(channel * d + axis) * n..][..n] {
                    mean += V::load(lane);
                }
            }
            let mean = mean * V::constant(1.0 / n as f64);
            for i in 0..n {
                (-mean).accumulate(&mut positions_cotangent[i * d + axis]);
                for channel in 0..channels {
                    V::load(&positions[(channel * d + axis) * n + i])
                        .accumulate(&mut positions_cotangent[self.shape.input(channel, i, axis)]);
                }
            }
        }
        if let Some(gradient) = gradient {
            let scalar = arena.take(n);
            scalar.fill(Lane::splat(self.embedding.of(theta)[0]));
            self.lift.weight_gradient::<V>(gradient, 0, features, scalar, n);
            self.lift.bias_gradient::<V>(gradient, features, n);
            if let Some(species) = &self.species {
                species.add_gradient::<V>(gradient, features);
            }
            self.lift.transposed_product::<V>(theta, 0, features, scalar, n, false);
            let mut sum = V::zero();
            for lane in scalar {
                sum += V::load(lane);
            }
            self.embedding.of_mut(gradient)[0] += sum.sum();
        }
    }
}

/// Softmax over the rows, for each item.
#[inline(always)]
fn softmax_over_rows<V: Vector>(x: &[Lane<V::Scalar>], out: &mut [Lane<V::Scalar>], items: usize) {
    for item in 0..items {
        let mut top = V::load(&x[item]);
        for lane in x[item..].iter().step_by(items) {
            top = top.max(V::load(lane));
        }
        let mut sum = V::zero();
        let rows = x[item..].iter().step_by(items);
        for (lane, out) in rows.zip(out[item..].iter_mut().step_by(items)) {
            let y = exp(V::load(lane) - top);
            sum += y;
            y.store(out);
        }
        let inverse = V::constant(1.0) / sum;
        for out in out[item..].iter_mut().step_by(items) {
            (V::load(out) * inverse).store(out);
        }
    }
}

/// Replaces the cotangent of a softmax's result by that of its input, p·(p̄ − Σ p·p̄).
#[inline(always)]
fn softmax_vjp<V: Vector>(
    softmax: &[Lane<V::Scalar>],
    cotangent: &mut [Lane<V::Scalar>],
    items: usize,
) {
    for item in 0..items {
        let rows = softmax[item..].iter().step_by(items);
        let mut mean = V::zero();
        for (p, g) in rows.clone().zip(cotangent[item..].iter().step_by(items)) {
            mean = V::load(p).mul_add(V::load(g), mean);
        }
        for (p, g) in rows.zip(cotangent[item..].iter_mut().step_by(items)) {
            (V::load(p) * (V::load(g) - mean)).store(g);
        }
    }
}
