//! A handful of directed edges of the complete graph at a time: who they join, and their geometry.

use crate::engine::{Lane, Vector};

use super::shape::Shape;

/// Edges handled together. The activations of a message network of width 64 for twelve edges are
/// 48 KiB each, so that all of them with their cotangents stay in the second-level cache.
pub(super) const EDGES: usize = 12;

/// Added to squared lengths, so that a length has a derivative at coincidence.
const LENGTH_FLOOR: f64 = 1e-12;

/// Edges `first .. first + count` in an order by receiver, then by sender.
///
/// Where the messages of an edge and of its opposite are the same, one stands for both: then edges
/// are the pairs s > r.
pub(super) struct Edges {
    pub count: usize,
    /// Index of the first of them.
    pub first: usize,
    /// Whether each stands for its opposite, too.
    pub both_ways: bool,
    receivers: [usize; EDGES],
    senders: [usize; EDGES],
}

impl Edges {
    /// Number of edges of the complete graph of `particles` nodes.
    pub fn total(particles: usize, both_ways: bool) -> usize {
        particles * (particles - 1) / if both_ways { 2 } else { 1 }
    }

    /// All chunks of the complete graph of `particles` nodes.
    #[inline(always)]
    pub fn chunks(particles: usize, both_ways: bool) -> impl Iterator<Item = Self> {
        let total = Self::total(particles, both_ways);
        let mut pairs = (0..particles).flat_map(move |receiver| {
            let first = if both_ways { receiver + 1 } else { 0 };
            (first..particles).filter(move |&s| s != receiver).map(move |s| (receiver, s))
        });
        (0..total).step_by(EDGES).map(move |first| {
            let count = EDGES.min(total - first);
            let (mut receivers, mut senders) = ([0; EDGES], [0; EDGES]);
            let places = receivers.iter_mut().zip(&mut senders).take(count);
            for ((receiver, sender), pair) in places.zip(&mut pairs) {
                (*receiver, *sender) = pair;
            }
            Self { count, first, both_ways, receivers, senders }
        })
    }

    #[inline(always)]
    pub fn receivers(&self) -> &[usize] {
        &self.receivers[..self.count]
    }

    #[inline(always)]
    pub fn senders(&self) -> &[usize] {
        &self.senders[..self.count]
    }

    /// The nodes that a message arrives at: the receivers, and the senders where an edge stands for
    /// its opposite.
    #[inline(always)]
    pub fn ends(&self) -> impl Iterator<Item = &[usize]> {
        [self.receivers(), self.senders()].into_iter().take(1 + usize::from(self.both_ways))
    }

    /// out[f, e] = of_sender[f, s] + of_receiver[f, r].
    #[inline(always)]
    pub fn gather<V: Vector>(
        &self,
        of_sender: &[Lane<V::Scalar>],
        of_receiver: &[Lane<V::Scalar>],
        out: &mut [Lane<V::Scalar>],
        nodes: usize,
    ) {
        for (row, out) in out.chunks_exact_mut(self.count).enumerate() {
            let of_sender = &of_sender[row * nodes..(row + 1) * nodes];
            let of_receiver = &of_receiver[row * nodes..(row + 1) * nodes];
            for ((out, &s), &r) in out.iter_mut().zip(self.senders()).zip(self.receivers()) {
                (V::load(&of_sender[s]) + V::load(&of_receiver[r])).store(out);
            }
        }
    }

    /// The vector-Jacobian product of [`gather`](Self::gather), added.
    #[inline(always)]
    pub fn scatter<V: Vector>(
        &self,
        cotangent: &[Lane<V::Scalar>],
        of_sender: &mut [Lane<V::Scalar>],
        of_receiver: &mut [Lane<V::Scalar>],
        nodes: usize,
    ) {
        for (row, cotangent) in cotangent.chunks_exact(self.count).enumerate() {
            let of_sender = &mut of_sender[row * nodes..(row + 1) * nodes];
            let of_receiver = &mut of_receiver[row * nodes..(row + 1) * nodes];
            for ((cotangent, &s), &r) in cotangent.iter().zip(self.senders()).zip(self.receivers())
            {
                let cotangent = V::load(cotangent);
                cotangent.accumulate(&mut of_sender[s]);
                cotangent.accumulate(&mut of_receiver[r]);
            }
        }
    }

    /// vectors[v, k, e] = x_r − x_s for each channel v and axis k, and their squares[v, e].
    #[inline(always)]
    pub fn geometry<V: Vector>(
        &self,
        shape: &Shape,
        x: &[Lane<V::Scalar>],
        vectors: &mut [Lane<V::Scalar>],
        squares: &mut [Lane<V::Scalar>],
    ) {
        let (n, d, count) = (shape.particles, shape.dimension, self.count);
        for channel in 0..shape.channels {
            for e in 0..count {
                let (s, r) = (self.senders[e], self.receivers[e]);
                let mut square = V::zero();
                for axis in channel * d..(channel + 1) * d {
                    let difference = V::load(&x[axis * n + r]) - V::load(&x[axis * n + s]);
                    difference.store(&mut vectors[axis * count + e]);
                    square = difference.mul_add(difference, square);
                }
                square.store(&mut squares[channel * count + e]);
            }
        }
    }
}

/// (‖v‖, 1/(1 + ‖v‖)) from ‖v‖².
#[inline(always)]
pub(super) fn falloff_of<V: Vector>(square: V) -> (V, V) {
    let length = (square + V::constant(LENGTH_FLOOR)).sqrt();
    (length, V::constant(1.0) / (length + V::constant(1.0)))
}
