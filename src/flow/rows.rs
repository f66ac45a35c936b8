//! Vectors of space: out of rows [particles, dimension] and back, and their arithmetic.

use crate::engine::{Lane, Vector};

/// Does something with the dimension, 2 or 3, as a constant.
macro_rules! in_dimension {
    ($dimension:expr, $d:ident => $body:expr) => {
        if $dimension == 2 {
            const $d: usize = 2;
            $body
        } else {
            const $d: usize = 3;
            $body
        }
    };
}
pub(super) use in_dimension;

// Rows are worked on in loops and not in closures, which would not be compiled for the kernel's
// instruction set.

/// Row `i` of a `[…, D]` matrix.
#[inline(always)]
pub(super) fn load<V: Vector, const D: usize>(from: &[Lane<V::Scalar>], i: usize) -> [V; D] {
    let mut row = [V::zero(); D];
    for (v, lane) in row.iter_mut().zip(&from[i * D..(i + 1) * D]) {
        *v = V::load(lane);
    }
    row
}

/// Mean of one component over the first `n` rows of a `[…, d]` matrix.
#[inline(always)]
pub(super) fn mean<V: Vector>(
    rows: &[Lane<V::Scalar>],
    (n, d): (usize, usize),
    component: usize,
) -> V {
    let mut sum = V::zero();
    for i in 0..n {
        sum += V::load(&rows[i * d + component]);
    }
    sum * V::constant(1.0 / n as f64)
}

/// Sets row `i` of a `[…, D]` matrix.
#[inline(always)]
pub(super) fn store<V: Vector, const D: usize>(row: [V; D], to: &mut [Lane<V::Scalar>], i: usize) {
    for (to, v) in to[i * D..(i + 1) * D].iter_mut().zip(row) {
        v.store(to);
    }
}

/// The term of a pair in a sum over pairs: added to particle i's `total`, subtracted from row `j`
/// of `others`.
#[inline(always)]
pub(super) fn push<V: Vector, const D: usize>(
    row: [V; D],
    total: &mut [V; D],
    others: &mut [Lane<V::Scalar>],
    j: usize,
) {
    for ((row, total), other) in row.into_iter().zip(total).zip(&mut others[j * D..(j + 1) * D]) {
        *total += row;
        (V::load(other) - row).store(other);
    }
}

#[inline(always)]
pub(super) fn subtract<V: Vector, const D: usize>(mut a: [V; D], b: [V; D]) -> [V; D] {
    for (a, b) in a.iter_mut().zip(b) {
        *a -= b;
    }
    a
}

#[inline(always)]
pub(super) fn scaled<V: Vector, const D: usize>(factor: V, mut row: [V; D]) -> [V; D] {
    for v in &mut row {
        *v *= factor;
    }
    row
}

/// a·b, its products added from the first on.
#[inline(always)]
pub(super) fn dot<V: Vector, const D: usize>(a: [V; D], b: [V; D]) -> V {
    let mut sum = a[0] * b[0];
    for k in 1..D {
        sum = a[k].mul_add(b[k], sum);
    }
    sum
}

/// [`dot`] in three dimensions, its products added from the last on.
#[inline(always)]
pub(super) fn dot_from_last<V: Vector>(a: &[V; 3], b: &[V; 3]) -> V {
    a[0].mul_add(b[0], a[1].mul_add(b[1], a[2] * b[2]))
}

/// to += factor·v.
#[inline(always)]
pub(super) fn add_scaled<V: Vector, const D: usize>(to: &mut [V; D], v: &[V; D], factor: V) {
    for (to, v) in to.iter_mut().zip(v) {
        *to = factor.mul_add(*v, *to);
    }
}
