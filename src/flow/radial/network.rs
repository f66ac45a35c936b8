//! The radial conditioner as the network of a projection coupling: vectors and parameters of every node, for a
//! fraction of a graph network's arithmetic, since nothing of `width` × `width` is done per pair.
//!
//! ```text
//! v_i = Σ_j φ_ij r_ij/ρ_ij + g_i (y_i − ȳ)        for each vector
//! ```
//!
//! With several copies in each half, y is their mean.

use super::copies::mean;
use super::{displacement, displacement_vjp, Outputs, PairwiseOptions, RadialConditioner};
use crate::engine::{Arena, Lane, Real, Vector};
use crate::flow::vector_network::{NetworkVjp, VectorNetwork};
use crate::flow::{HalfShape, Initial, ParameterLayout};

/// Standard deviation of the initial vectors' weights, times √width: a frame needs vectors to start with.
const INITIAL_VECTORS: f64 = 0.03;

/// See the module's head.
#[derive(Debug, Clone)]
pub(in crate::flow) struct RadialNetwork {
    copies: usize,
    /// Vectors of a node, over all copies.
    channels: usize,
    /// Parameters of a node, over all copies.
    outputs: usize,
    conditioner: RadialConditioner,
}

impl RadialNetwork {
    /// Registers the parameters; those of the parameters' last layer start at zero.
    pub fn new(
        layout: &mut ParameterLayout,
        half: HalfShape,
        species: &[usize],
        sizes: &PairwiseOptions,
        (channels, outputs): (usize, usize),
    ) -> Self {
        let HalfShape { copies, particles, dimension } = half;
        let says = Outputs {
            powers: &vec![1; channels],
            pairs: Initial::Normal(INITIAL_VECTORS / (sizes.width as f64).sqrt()),
            nodes: channels + outputs,
            last_offset: None,
        };
        let conditioner =
            RadialConditioner::new((particles, dimension), species, sizes, &says, layout);
        Self { copies, channels, outputs, conditioner }
    }

    /// Lanes of one copy.
    fn width(&self) -> usize {
        self.conditioner.particles * self.conditioner.dimension
    }
}

impl VectorNetwork for RadialNetwork {
    fn vector_lanes(&self) -> usize {
        self.channels * self.width()
    }

    fn output_lanes(&self) -> usize {
        self.outputs * self.conditioner.particles
    }

    /// It always keeps them all.
    fn tape_lanes(&self, _keep: bool) -> usize {
        let conditioner = &self.conditioner;
        self.width() + conditioner.tape_lanes::<f32>().max(conditioner.tape_lanes::<f64>())
    }

    fn scratch_lanes(&self) -> usize {
        let (n, p) = (self.conditioner.particles, self.conditioner.pairs);
        let conditioner = &self.conditioner;
        let own = self.channels * p + (self.channels + self.outputs) * n + 3 * self.width();
        own + conditioner.vjp_scratch::<f32>().max(conditioner.vjp_scratch::<f64>())
    }

    #[inline(always)]
    fn forward<V: Vector>(
        &self,
        theta: &[V::Scalar],
        positions: &[Lane<V::Scalar>],
        vectors: &mut [Lane<V::Scalar>],
        tape: &mut [Lane<V::Scalar>],
        scratch: &mut [Lane<V::Scalar>],
        _keep: bool,
    ) {
        let conditioner = &self.conditioner;
        let (n, p, d) = (conditioner.particles, conditioner.pairs, conditioner.dimension);
        let mut arena = Arena::new(tape);
        let y = arena.take(self.width());
        mean::<V>(positions, y);
        let mut tape = conditioner.tape(&mut arena);
        conditioner.forward::<V>(theta, y, &mut tape);
        let v = &mut scratch[..self.width()];
        let scalars = tape.pair_outputs.chunks_exact(p).zip(tape.node_outputs.chunks_exact(n));
        for (scalars, vectors) in scalars.zip(vectors.chunks_exact_mut(n * d)) {
            displacement::<V>(conditioner, scalars, tape.centered, v);
            for (axis, row) in vectors.chunks_exact_mut(n).enumerate() {
                for (lane, v) in row.iter_mut().zip(v[axis..].iter().step_by(d)) {
                    *lane = *v;
                }
            }
        }
    }

    #[inline(always)]
    fn outputs<'a, T: Real>(&self, tape: &'a [Lane<T>], _keep: bool) -> &'a [Lane<T>] {
        // After y, the centred positions, the outputs of pairs, and the nodes' share in the vectors.
        let (n, p) = (self.conditioner.particles, self.conditioner.pairs);
        &tape[2 * self.width() + self.channels * (p + n)..][..self.output_lanes()]
    }

    #[inline(always)]
    fn vjp<V: Vector>(&self, call: NetworkVjp<'_, V::Scalar>, scratch: &mut [Lane<V::Scalar>]) {
        let NetworkVjp { theta, tape, outputs_cotangent, gradient, .. } = call;
        let (conditioner, width) = (&self.conditioner, self.width());
        let (n, p, d) = (conditioner.particles, conditioner.pairs, conditioner.dimension);
        let mut tape = conditioner.tape(&mut Arena::new(&mut tape[width..]));
        let mut arena = Arena::new(scratch);
        let pair_cotangent = arena.take_zeroed(self.channels * p);
        let node_cotangent = arena.take_zeroed((self.channels + self.outputs) * n);
        let centered_cotangent = arena.take_zeroed(width);
        let y_cotangent = arena.take_zeroed(width);
        let back = arena.take(width);
        node_cotangent[self.channels * n..].copy_from_slice(outputs_cotangent);
        let scalars = tape.pair_outputs.chunks_exact(p).zip(tape.node_outputs.chunks_exact(n));
        let to = pair_cotangent.chunks_exact_mut(p).zip(node_cotangent.chunks_exact_mut(n));
        let cotangents = call.vectors_cotangent.chunks_exact(n * d).zip(to);
        for (scalars, (vectors, (to_phi, to_g))) in scalars.zip(cotangents) {
            for (axis, row) in vectors.chunks_exact(n).enumerate() {
                for (lane, v) in row.iter().zip(back[axis..].iter_mut().step_by(d)) {
                    *v = *lane;
                }
            }
            let to = (to_phi, to_g, &mut *centered_cotangent);
            displacement_vjp::<V>(conditioner, scalars, tape.centered, back, to);
        }
        conditioner.vjp::<V>(
            theta,
            &mut tape,
            pair_cotangent,
            node_cotangent,
            centered_cotangent,
            y_cotangent,
            gradient,
            &mut arena,
        );
        let share = V::constant(1.0 / self.copies as f64);
        for copy in call.positions_cotangent.chunks_exact_mut(width) {
            for (to, y) in copy.iter_mut().zip(&*y_cotangent) {
                (V::load(y) * share).accumulate(to);
            }
        }
    }
}
