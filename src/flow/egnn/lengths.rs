//! What a message sees of the length of an edge.

use super::edges::LENGTH_FLOOR;
use crate::engine::{exp, Lane, Vector};

/// Gaussians exp(−((r − μ_k)/σ)²) of a length r, their centres μ_k = kσ evenly spaced from 0 to a cutoff, in
/// place of its square.
///
/// A square grows to tens of units where a message should tell apart tenths of a unit, so that a network
/// spends its first thousands of steps on the scale of its input.
#[derive(Debug, Clone, Copy)]
pub(super) struct Gaussians {
    count: usize,
    spacing: f64,
    /// Of every Gaussian: one of unit mean square over the inputs, as the first map expects of its inputs.
    height: f64,
}

impl Gaussians {
    /// At least two, and a positive cutoff.
    pub fn new(count: usize, cutoff: f64) -> Self {
        Self { count, spacing: cutoff / (count - 1) as f64, height: (count as f64).sqrt() }
    }

    pub fn count(&self) -> usize {
        self.count
    }

    /// features[(v, k), e] of squares[v, e].
    #[inline(always)]
    pub fn of<V: Vector>(
        &self,
        squares: &[Lane<V::Scalar>],
        features: &mut [Lane<V::Scalar>],
        edges: usize,
    ) {
        let (height, inverse) = (V::constant(self.height), V::constant(1.0 / self.spacing));
        let rows = features.chunks_exact_mut(self.count * edges);
        for (squares, rows) in squares.chunks_exact(edges).zip(rows) {
            for (e, square) in squares.iter().enumerate() {
                let x = V::load(square).add(V::constant(LENGTH_FLOOR)).sqrt().mul(inverse);
                for k in 0..self.count {
                    let x = x.sub(V::constant(k as f64));
                    let falling = x.mul(x).min(V::constant(FARTHEST)).neg();
                    exp(falling).mul(height).store(&mut rows[k * edges + e]);
                }
            }
        }
    }

    /// Cotangents of the squares from those of the features.
    #[inline(always)]
    pub fn adjoint<V: Vector>(
        &self,
        [squares, features, cotangents]: [&[Lane<V::Scalar>]; 3],
        of_squares: &mut [Lane<V::Scalar>],
        edges: usize,
    ) {
        let inverse = V::constant(1.0 / self.spacing);
        let rows = self.count * edges;
        let given = features.chunks_exact(rows).zip(cotangents.chunks_exact(rows));
        let squares = squares.chunks_exact(edges).zip(of_squares.chunks_exact_mut(edges));
        for ((features, cotangents), (squares, out)) in given.zip(squares) {
            for (e, (square, out)) in squares.iter().zip(out).enumerate() {
                let length = V::load(square).add(V::constant(LENGTH_FLOOR)).sqrt();
                let x = length.mul(inverse);
                let mut sum = V::zero();
                for k in 0..self.count {
                    let at = k * edges + e;
                    let x = x.sub(V::constant(k as f64));
                    let slope = V::load(&features[at]).mul(x);
                    sum = slope.mul_add(V::load(&cotangents[at]), sum);
                }
                // df/dr = −2 f x/σ, dr/d(r²) = 1/(2 r)
                sum.mul(inverse).div(length).neg().store(out);
            }
        }
    }

    /// Arithmetic of [`of`](Self::of) and of [`adjoint`](Self::adjoint) for one edge and channel.
    pub fn operations(&self) -> [f64; 2] {
        [3.0 + (4.0 + EXP_OPERATIONS) * self.count as f64, 6.0 + 4.0 * self.count as f64]
    }
}

/// A Gaussian ends at exp(−40) = 4e-18 instead of falling on to numbers that take long to multiply.
const FARTHEST: f64 = 40.0;
/// Arithmetic of an exponential.
const EXP_OPERATIONS: f64 = 14.0;
