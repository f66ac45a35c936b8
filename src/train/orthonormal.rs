//! Orthonormal bases by Gram-Schmidt, in f64. All is inlined into the kernels that call it, for the
//! CPU's vectors.

use super::dense::Dense;

/// Gram-Schmidt on the columns of [n, n]; where a column has nothing left of its own, the one that
/// `basis` had stays if it can.
#[inline(always)]
pub(super) fn orthonormalize(matrix: &Dense, basis: &mut Dense) {
    let columns =
        |from: &Dense| -> Vec<f64> { from.transposed().entries().map(f64::from).collect() };
    let (new, old, n) = (columns(matrix), columns(basis), matrix.rows());
    let mut done: Vec<f64> = Vec::with_capacity(n * n);
    for c in 0..n {
        let place = c * n..(c + 1) * n;
        let unit = |e: usize| (0..n).map(|i| f64::from(i == e)).collect();
        let candidates = [new[place.clone()].to_vec(), old[place].to_vec()];
        let mut candidates = candidates.into_iter().chain((0..n).map(unit));
        let Some(next) = candidates.find_map(|v: Vec<f64>| independent(v, &done)) else {
            return;
        };
        done.extend(next);
    }
    let done: Vec<f32> = done.into_iter().map(|value| value as f32).collect();
    *basis = Dense::from_rows(&done, n).transposed();
}

/// The part of a vector orthogonal to orthonormal ones, of length 1; `None` if it almost vanishes.
#[inline(always)]
fn independent(mut v: Vec<f64>, others: &[f64]) -> Option<Vec<f64>> {
    let start = dot(&v, &v).sqrt();
    // Again where rounding has left much of the others: "twice is enough" (Kahan).
    for _ in 0..2 {
        let before = dot(&v, &v).sqrt();
        for other in others.chunks_exact(v.len()) {
            let along = dot(&v, other);
            v.iter_mut().zip(other).for_each(|(v, o)| *v -= along * o);
        }
        if dot(&v, &v).sqrt() > 0.1 * before {
            break;
        }
    }
    let left = dot(&v, &v).sqrt();
    if left.is_nan() || left <= 1e-7 * start || start == 0.0 {
        return None;
    }
    v.iter_mut().for_each(|x| *x /= left);
    Some(v)
}

/// Scalar product, in eight sums that vectors can hold.
#[inline(always)]
fn dot(a: &[f64], b: &[f64]) -> f64 {
    let mut sums = [0.0; 8];
    let (parts_a, parts_b) = (a.chunks_exact(8), b.chunks_exact(8));
    let rest = parts_a.remainder().iter().zip(parts_b.remainder()).map(|(a, b)| a * b).sum::<f64>();
    for (a, b) in parts_a.zip(parts_b) {
        for k in 0..8 {
            sums[k] += a[k] * b[k];
        }
    }
    sums.iter().sum::<f64>() + rest
}
