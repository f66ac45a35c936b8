//! What a projection coupling asks of the network on its conditioning half.

use crate::engine::{Lane, Real, Vector};

/// A network on one half of the copies that makes vectors and parameters of every particle. The
/// vectors turn with the half, except those of the transformer.
pub(in crate::flow) trait VectorNetwork {
    /// Lanes of the vectors.
    fn vector_lanes(&self) -> usize;

    /// Lanes of the outputs.
    fn output_lanes(&self) -> usize;

    /// Lanes that [`forward`](Self::forward) leaves for [`vjp`](Self::vjp) when it is to `keep`
    /// what that needs, or works in when it is not.
    fn tape_lanes(&self, keep: bool) -> usize;

    /// Lanes that [`forward`](Self::forward) and [`vjp`](Self::vjp) work in besides the tape.
    fn scratch_lanes(&self) -> usize;

    /// From positions to vectors, and to outputs [outputs, n], which are on the tape
    /// ([`outputs`](Self::outputs)).
    fn forward<V: Vector>(
        &self,
        call: NetworkForward<'_, V::Scalar>,
        scratch: &mut [Lane<V::Scalar>],
    );

    /// The outputs [outputs, n] on a tape: its end, unless the network puts them elsewhere.
    #[inline(always)]
    fn outputs<'a, T: Real>(&self, tape: &'a [Lane<T>], keep: bool) -> &'a [Lane<T>] {
        let end = self.tape_lanes(keep);
        &tape[end - self.output_lanes()..end]
    }

    /// The vector-Jacobian product of [`forward`](Self::forward).
    fn vjp<V: Vector>(&self, call: NetworkVjp<'_, V::Scalar>, scratch: &mut [Lane<V::Scalar>]);
}

/// What a network is given and where its results go.
pub(in crate::flow) struct NetworkForward<'a, T> {
    pub theta: &'a [T],
    /// [copies, n, d].
    pub positions: &'a [Lane<T>],
    /// [channels · d, n].
    pub vectors: &'a mut [Lane<T>],
    pub tape: &'a mut [Lane<T>],
    /// Whether the tape is for a [`vjp`](VectorNetwork::vjp).
    pub keep: bool,
}

/// What the vector-Jacobian product of a network is given and where it goes.
pub(in crate::flow) struct NetworkVjp<'a, T> {
    pub theta: &'a [T],
    /// A tape that was kept; it may be changed.
    pub tape: &'a mut [Lane<T>],
    pub vectors_cotangent: &'a [Lane<T>],
    pub outputs_cotangent: &'a [Lane<T>],
    /// The cotangent of the positions is added here.
    pub positions_cotangent: &'a mut [Lane<T>],
    /// That of the parameters is added here, if it is asked for.
    pub gradient: Option<&'a mut [T]>,
}
