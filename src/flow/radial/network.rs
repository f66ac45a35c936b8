//! The radial conditioner as the network of a projection coupling: vectors and parameters of every
//! node, for a fraction of a graph network's arithmetic, since nothing of `width` × `width` is done
//! per pair.

use super::copies::mean;
use super::{
    displacement, displacement_vjp, DisplacementCotangents, Outputs, PairwiseOptions,
    RadialConditioner, RadialCotangents,
};
use crate::engine::{Arena, Lane, Real, Vector};
use crate::error::Error;
use crate::flow::rows::in_dimension;
use crate::flow::vector_network::{NetworkForward, NetworkVjp, VectorNetwork};
use crate::flow::{CouplingContext, Initial, ParameterLayout};

/// Standard deviation of the initial vectors' weights, times √width: a frame needs vectors to start
/// with.
const INITIAL_VECTORS: f64 = 0.03;

/// For each vector, v_i = Σ_j φ_ij r_ij/ρ_ij + g_i (y_i − ȳ) with outputs φ of pairs and g of
/// nodes; the parameters are further outputs of nodes. With several copies in each half, y is their
/// mean.
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
    ///
    /// # Errors
    /// Those of the conditioner.
    pub fn new(
        layout: &mut ParameterLayout,
        context: &CouplingContext<'_>,
        sizes: &PairwiseOptions,
        (channels, outputs): (usize, usize),
    ) -> Result<Self, Error> {
        let copies = context.half.copies;
        let made = Outputs {
            powers: &vec![1; channels],
            pairs: Initial::Normal(INITIAL_VECTORS / (sizes.width as f64).sqrt()),
            nodes: channels + outputs,
            last_offset: None,
        };
        let conditioner = RadialConditioner::new(context, sizes, &made, layout)?;
        Ok(Self { copies, channels, outputs, conditioner })
    }

    /// Lanes of one copy.
    fn width(&self) -> usize {
        self.conditioner.particles * self.conditioner.dimension
    }

    #[inline(always)]
    fn vjp_buffers<'a, T: Real>(&self, arena: &mut Arena<'a, T>) -> VjpBuffers<'a, T> {
        VjpBuffers {
            cotangents: self.conditioner.cotangents(arena),
            y_cotangent: arena.take_zeroed(self.width()),
            v_cotangent: arena.take(self.width()),
        }
    }

    /// Lanes of y and of the conditioner's tape.
    fn tape_size<T: Real>(&self) -> usize {
        Arena::<T>::measure(|arena| {
            arena.take(self.width());
            self.conditioner.tape(arena);
        })
    }

    /// Lanes that the vector-Jacobian product works in, which are more than a vector's.
    fn vjp_size<T: Real>(&self) -> usize {
        Arena::<T>::measure(|arena| {
            self.vjp_buffers(arena);
            self.conditioner.vjp_buffers(&mut [], arena);
        })
    }
}

/// What [`RadialNetwork::vjp`] works in.
struct VjpBuffers<'a, T> {
    cotangents: RadialCotangents<'a, T>,
    /// Of the mean of the copies, and of one vector of every particle: [particles, dimension].
    y_cotangent: &'a mut [Lane<T>],
    v_cotangent: &'a mut [Lane<T>],
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
        self.tape_size::<f32>().max(self.tape_size::<f64>())
    }

    fn scratch_lanes(&self) -> usize {
        self.vjp_size::<f32>().max(self.vjp_size::<f64>())
    }

    #[inline(always)]
    fn forward<V: Vector>(
        &self,
        call: NetworkForward<'_, V::Scalar>,
        scratch: &mut [Lane<V::Scalar>],
    ) {
        let NetworkForward { theta, positions, vectors, tape, .. } = call;
        let conditioner = &self.conditioner;
        let (n, d) = (conditioner.particles, conditioner.dimension);
        let mut arena = Arena::new(tape);
        let y = arena.take(self.width());
        mean::<V>(positions, y);
        let mut tape = conditioner.tape(&mut arena);
        conditioner.forward::<V>(theta, y, &mut tape);
        let v = &mut scratch[..self.width()];
        for (channel, vectors) in vectors.chunks_exact_mut(n * d).enumerate() {
            let scalars = conditioner.scalars(&tape, channel);
            let pairs = &conditioner.pairs;
            in_dimension!(d, D => displacement::<V, D>(pairs, scalars, tape.centered, v));
            for (axis, row) in vectors.chunks_exact_mut(n).enumerate() {
                for (lane, v) in row.iter_mut().zip(v[axis..].iter().step_by(d)) {
                    *lane = *v;
                }
            }
        }
    }

    #[inline(always)]
    fn outputs<'a, T: Real>(&self, tape: &'a [Lane<T>], _keep: bool) -> &'a [Lane<T>] {
        // After y, the centred positions, the outputs of pairs, and the nodes' share in the
        // vectors.
        let (n, p) = (self.conditioner.particles, self.conditioner.pairs.count());
        &tape[2 * self.width() + self.channels * (p + n)..][..self.output_lanes()]
    }

    #[inline(always)]
    fn vjp<V: Vector>(&self, call: NetworkVjp<'_, V::Scalar>, scratch: &mut [Lane<V::Scalar>]) {
        let NetworkVjp { theta, tape, outputs_cotangent, gradient, .. } = call;
        let (conditioner, width) = (&self.conditioner, self.width());
        let (n, p, d) = (conditioner.particles, conditioner.pairs.count(), conditioner.dimension);
        let mut tape = conditioner.tape(&mut Arena::new(&mut tape[width..]));
        let mut arena = Arena::new(scratch);
        let VjpBuffers { cotangents, y_cotangent, v_cotangent } = self.vjp_buffers(&mut arena);
        cotangents.nodes[self.channels * n..].copy_from_slice(outputs_cotangent);
        let to = cotangents.pairs.chunks_exact_mut(p).zip(cotangents.nodes.chunks_exact_mut(n));
        let vectors_cotangents = call.vectors_cotangent.chunks_exact(n * d).zip(to);
        for (channel, (vectors, (phi, g))) in vectors_cotangents.enumerate() {
            for (axis, row) in vectors.chunks_exact(n).enumerate() {
                for (lane, v) in row.iter().zip(v_cotangent[axis..].iter_mut().step_by(d)) {
                    *v = *lane;
                }
            }
            let scalars = conditioner.scalars(&tape, channel);
            let to = DisplacementCotangents { phi, g, centered: &mut *cotangents.centered };
            in_dimension!(d, D => {
                let pairs = &conditioner.pairs;
                displacement_vjp::<V, D>(pairs, scalars, tape.centered, v_cotangent, to);
            });
        }
        conditioner.vjp::<V>(theta, &mut tape, cotangents, y_cotangent, gradient, &mut arena);
        let share = V::constant(1.0 / self.copies as f64);
        for copy in call.positions_cotangent.chunks_exact_mut(width) {
            for (to, y) in copy.iter_mut().zip(&*y_cotangent) {
                (V::load(y) * share).accumulate(to);
            }
        }
    }
}
