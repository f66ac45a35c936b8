//! What a projection coupling asks of the network on its conditioning half.

use crate::engine::{Lane, Real, Vector};

/// A network on one half of the copies that makes vectors, which turn with the half unless the network says
/// otherwise, and parameters of every particle. What it leaves on its tape, the way back reads.
pub(in crate::flow) trait VectorNetwork {
    /// Lanes of the vectors.
    fn vector_lanes(&self) -> usize;

    /// Lanes of the outputs.
    fn output_lanes(&self) -> usize;

    /// Lanes that [`forward`](Self::forward) leaves for [`vjp`](Self::vjp) when it is to `keep` what
    /// that needs, or works in when it is not.
    fn tape_lanes(&self, keep: bool) -> usize;

    /// Lanes that [`forward`](Self::forward) works in beside its tape.
    fn forward_scratch(&self) -> usize;

    /// Lanes that [`vjp`](Self::vjp) works in beside its tape.
    fn vjp_scratch(&self) -> usize;

    /// From positions [copies, n, d] to vectors [channels · d, n], which are written, and outputs
    /// [outputs, n], which are on the tape ([`outputs`](Self::outputs)).
    fn forward<V: Vector>(
        &self,
        theta: &[V::Scalar],
        positions: &[Lane<V::Scalar>],
        vectors: &mut [Lane<V::Scalar>],
        tape: &mut [Lane<V::Scalar>],
        scratch: &mut [Lane<V::Scalar>],
        keep: bool,
    );

    /// The outputs [outputs, n] on a tape: its end, unless the network puts them elsewhere.
    #[inline(always)]
    fn outputs<'a, T: Real>(&self, tape: &'a [Lane<T>], keep: bool) -> &'a [Lane<T>] {
        let end = self.tape_lanes(keep);
        &tape[end - self.output_lanes()..end]
    }

    /// From the cotangents of the vectors and the outputs to that of the positions, which is added, and that of
    /// the parameters, which is added where it is asked for. The tape is one that was kept.
    fn vjp<V: Vector>(
        &self,
        theta: &[V::Scalar],
        tape: &mut [Lane<V::Scalar>],
        cotangents: [&[Lane<V::Scalar>]; 2],
        positions_cotangent: &mut [Lane<V::Scalar>],
        gradient: Option<&mut [V::Scalar]>,
        scratch: &mut [Lane<V::Scalar>],
    );
}
