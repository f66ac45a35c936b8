//! The bases in which SOAP runs Adam: for every weight matrix, the eigenvectors of its gradient's covariance over
//! outputs and over inputs.
//!
//! Vyas, Morwani, Zhao, Kwun, Shapira, Brandfonbrener, Janson & Kakade, "SOAP: improving and stabilizing Shampoo
//! using Adam", arXiv:2409.11321. The bases follow by one step of orthogonal iteration every few updates.

use rayon::prelude::*;

use crate::engine::{matrix_product, Kernel, Lane, Matrix, Real, Vector, LANES};
use crate::flow::ParameterLayout;

/// Memory of the covariances, per update.
const KEEP: f32 = 0.95;
/// Updates at the start after each of which the bases are turned, and between turns from then on.
const TURN_EVERY: u64 = 10;
/// A side longer than this keeps the standard basis.
const LONGEST: usize = 256;

/// The rotations of a flow's weight matrices; none for plain Adam.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Rotations {
    matrices: Vec<Rotation>,
}

/// Covariances and bases of one matrix.
#[derive(Debug, Clone, PartialEq)]
struct Rotation {
    offset: usize,
    /// Over the outputs, then over the inputs.
    sides: [Side; 2],
}

/// Covariance of a gradient along one of its sides, [len, len], and its eigenvectors as columns. Empty where the
/// side is too long.
#[derive(Debug, Clone, PartialEq)]
struct Side {
    len: usize,
    covariance: Vec<f32>,
    basis: Vec<f32>,
}

impl Side {
    fn new(len: usize) -> Self {
        if len > LONGEST {
            return Self { len, covariance: Vec::new(), basis: Vec::new() };
        }
        Self { len, covariance: vec![0.0; len * len], basis: identity(len) }
    }

    fn basis(&self) -> Option<Matrix<'_, f32>> {
        (!self.basis.is_empty()).then(|| Matrix::new(&self.basis, self.len, self.len))
    }

    /// Covariance of a gradient whose rows (`transposed`: columns) belong to this side.
    fn remember(&mut self, rows: &[f32], columns: &[f32]) {
        if self.basis.is_empty() {
            return;
        }
        let other = rows.len() / self.len;
        let outer = product(Matrix::new(rows, self.len, other), columns, self.len);
        for (old, new) in self.covariance.iter_mut().zip(outer) {
            *old = KEEP * *old + (1.0 - KEEP) * new;
        }
    }

    /// Orthogonal iteration: the basis becomes that of covariance · basis.
    fn turn(&mut self) {
        if self.basis.is_empty() || self.covariance.iter().any(|c| !c.is_finite()) {
            return;
        }
        let n = self.len;
        let covariance = Matrix::new(&self.covariance, n, n);
        orthonormalize(&product(covariance, &self.basis, n), n, &mut self.basis);
    }
}

impl Rotations {
    /// Standard bases for every weight matrix of a flow.
    pub fn new(layout: &ParameterLayout) -> Self {
        let matrices = layout.tensors().iter().filter(|tensor| tensor.shape.len() == 2);
        let matrices = matrices
            .filter(|tensor| !tensor.is_empty())
            .map(|tensor| Rotation {
                offset: tensor.offset,
                sides: [Side::new(tensor.shape[0]), Side::new(tensor.shape[1])],
            })
            .collect();
        Self { matrices }
    }

    /// Whether there is nothing to rotate.
    pub fn is_empty(&self) -> bool {
        self.matrices.is_empty()
    }

    /// A flat vector as the bases see it.
    pub(super) fn rotated(&self, flat: &[f32]) -> Vec<f32> {
        self.apply(flat, |[left, right], entries| {
            let (rows, columns) = (left.len, right.len);
            let mut out = entries.to_vec();
            if let Some(basis) = left.basis() {
                out = product(basis.transposed(), &out, columns);
            }
            if right.basis().is_some() {
                out = product(Matrix::new(&out, rows, columns), &right.basis, columns);
            }
            out
        })
    }

    /// The reverse of [`Rotations::rotated`].
    pub(super) fn rotated_back(&self, flat: &[f32]) -> Vec<f32> {
        self.apply(flat, |[left, right], entries| {
            let (rows, columns) = (left.len, right.len);
            let mut out = entries.to_vec();
            if let Some(basis) = left.basis() {
                out = product(basis, &out, columns);
            }
            if right.basis().is_some() {
                let back = transpose(&right.basis, columns);
                out = product(Matrix::new(&out, rows, columns), &back, columns);
            }
            out
        })
    }

    fn apply(
        &self,
        flat: &[f32],
        turn: impl Fn(&[Side; 2], &[f32]) -> Vec<f32> + Sync,
    ) -> Vec<f32> {
        let parts: Vec<Vec<f32>> =
            self.matrices.par_iter().map(|matrix| turn(&matrix.sides, matrix.of(flat))).collect();
        let mut out = flat.to_vec();
        for (matrix, part) in self.matrices.iter().zip(parts) {
            out[matrix.offset..matrix.offset + part.len()].copy_from_slice(&part);
        }
        out
    }

    /// Takes a gradient into the covariances and, when it is time, turns the bases; `updates` counts this one.
    pub(super) fn follow(&mut self, gradient: &[f32], updates: u64) {
        let turn = updates <= TURN_EVERY || updates.is_multiple_of(TURN_EVERY);
        self.matrices.par_iter_mut().for_each(|matrix| {
            let entries = matrix.of(gradient);
            let [left, right] = &mut matrix.sides;
            let transposed = transpose(entries, right.len);
            left.remember(entries, &transposed);
            right.remember(&transposed, entries);
            if turn {
                left.turn();
                right.turn();
            }
        });
    }

    /// All numbers in a fixed order, for checkpoints.
    pub fn numbers(&self) -> Vec<f32> {
        let sides = self.matrices.iter().flat_map(|matrix| &matrix.sides);
        sides.flat_map(|side| side.covariance.iter().chain(&side.basis).copied()).collect()
    }

    /// Takes numbers that [`Rotations::numbers`] gave for the same flow; false, and nothing taken, if there are
    /// not as many as needed.
    pub fn set_numbers(&mut self, numbers: &[f32]) -> bool {
        let sides = || self.matrices.iter().flat_map(|matrix| &matrix.sides);
        if numbers.len() != sides().map(|side| 2 * side.basis.len()).sum::<usize>() {
            return false;
        }
        let mut rest = numbers;
        for side in self.matrices.iter_mut().flat_map(|matrix| &mut matrix.sides) {
            for part in [&mut side.covariance, &mut side.basis] {
                let (taken, left) = rest.split_at(part.len());
                part.copy_from_slice(taken);
                rest = left;
            }
        }
        true
    }
}

impl Rotation {
    fn of<'a>(&self, flat: &'a [f32]) -> &'a [f32] {
        &flat[self.offset..self.offset + self.sides[0].len * self.sides[1].len]
    }
}

/// The standard basis, [n, n].
fn identity(n: usize) -> Vec<f32> {
    let mut basis = vec![0.0; n * n];
    basis.iter_mut().step_by(n + 1).for_each(|entry| *entry = 1.0);
    basis
}

/// [rows, columns] as [columns, rows].
fn transpose(matrix: &[f32], columns: usize) -> Vec<f32> {
    let rows = matrix.len() / columns;
    let mut out = vec![0.0; matrix.len()];
    for (r, row) in matrix.chunks_exact(columns).enumerate() {
        for (c, entry) in row.iter().enumerate() {
            out[c * rows + r] = *entry;
        }
    }
    out
}

/// A · B for a row-major B of this many columns.
fn product(a: Matrix<'_, f32>, b: &[f32], columns: usize) -> Vec<f32> {
    let items = columns.div_ceil(LANES);
    let rows = b.len() / columns;
    let mut lanes = vec![Lane::splat(0.0f32); rows * items];
    for (row, lanes) in b.chunks_exact(columns).zip(lanes.chunks_exact_mut(items)) {
        for (entries, lane) in row.chunks(LANES).zip(lanes) {
            lane.0[..entries.len()].copy_from_slice(entries);
        }
    }
    let lanes = f32::dispatch(Product { a, b: &lanes, items });
    let mut out = Vec::with_capacity(lanes.len() / items * columns);
    for row in lanes.chunks_exact(items) {
        let mut left = columns;
        for lane in row {
            let count = left.min(LANES);
            out.extend_from_slice(&lane.0[..count]);
            left -= count;
        }
    }
    out
}

struct Product<'a> {
    a: Matrix<'a, f32>,
    b: &'a [Lane<f32>],
    items: usize,
}

impl Kernel<f32> for Product<'_> {
    type Output = Vec<Lane<f32>>;

    #[inline(always)]
    fn run<V: Vector<Scalar = f32>>(self) -> Self::Output {
        let mut out = vec![Lane::splat(0.0); self.a.rows() * self.items];
        matrix_product::<V>(self.a, self.b, &mut out, self.items, false);
        out
    }
}

/// Gram-Schmidt on the columns of [n, n]; where a column has nothing left of its own, the one that
/// `basis` had stays if it can.
fn orthonormalize(matrix: &[f32], n: usize, basis: &mut [f32]) {
    let columns =
        |from: &[f32]| -> Vec<f64> { transpose(from, n).into_iter().map(f64::from).collect() };
    let (new, old) = (columns(matrix), columns(basis));
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
    for (c, column) in done.chunks_exact(n).enumerate() {
        for (r, value) in column.iter().enumerate() {
            basis[r * n + c] = *value as f32;
        }
    }
}

/// What is left of a vector beside orthonormal ones, of length 1; none if that is hardly anything.
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

#[cfg(test)]
mod tests {
    use rand_distr::{Distribution, StandardNormal};

    use super::*;
    use crate::flow::Initial;
    use crate::random::{stream, Purpose};
    use crate::train::Adam;

    fn layout(rows: usize, columns: usize) -> ParameterLayout {
        let mut layout = ParameterLayout::default();
        layout.vector("before", 3, Initial::Constant(0.0));
        layout.matrix("weight", rows, columns, Initial::Constant(0.0));
        layout.vector("after", 2, Initial::Constant(0.0));
        layout
    }

    fn noise(len: usize, number: u64) -> Vec<f32> {
        let mut rng = stream(3, Purpose::Initialization, number, 0);
        (0..len).map(|_| StandardNormal.sample(&mut rng)).collect()
    }

    /// Gradients [rows, columns] of rank one along fixed directions, weaker from one to the next.
    fn along(directions: &[Vec<f32>], columns: usize, number: u64) -> Vec<f32> {
        let mut gradient = vec![0.0; directions[0].len() * columns];
        for (k, direction) in directions.iter().enumerate() {
            let other = noise(columns, 100 * number + k as u64);
            for (row, d) in gradient.chunks_exact_mut(columns).zip(direction) {
                row.iter_mut().zip(&other).for_each(|(g, o)| *g += d * o / (1 << (2 * k)) as f32);
            }
        }
        gradient
    }

    #[test]
    fn bases_are_orthonormal_and_find_the_directions_of_the_gradients() {
        let (rows, columns) = (5, 19);
        let mut rotations = Rotations::new(&layout(rows, columns));
        let mut basis = identity(rows);
        orthonormalize(&noise(rows * rows, 7), rows, &mut basis);
        let directions: Vec<Vec<f32>> =
            (0..rows).map(|c| basis.iter().skip(c).step_by(rows).copied().collect()).collect();
        let flat = |matrix: Vec<f32>| [&[1.0, 2.0, 3.0], &matrix[..], &[4.0, 5.0]].concat();
        for update in 1..=400 {
            rotations.follow(&flat(along(&directions, columns, update)), update);
        }
        for (k, direction) in directions.iter().enumerate().take(3) {
            let mut matrix = vec![0.0; rows * columns];
            matrix.iter_mut().step_by(columns).zip(direction).for_each(|(m, d)| *m = *d);
            let seen = rotations.rotated(&flat(matrix));
            let (first, last) = (&seen[..3], &seen[seen.len() - 2..]);
            assert_eq!((first, last), (&[1.0, 2.0, 3.0][..], &[4.0, 5.0][..]));
            let row = |r: usize| &seen[3 + r * columns..3 + (r + 1) * columns];
            let size = row(k).iter().map(|x| x * x).sum::<f32>();
            assert!((size - 1.0).abs() < 0.02, "direction {k} keeps {size}");
        }
        let any = flat(noise(rows * columns, 9));
        let back = rotations.rotated_back(&rotations.rotated(&any));
        for (a, b) in any.iter().zip(back) {
            assert!((a - b).abs() < 1e-5, "{a} came back as {b}");
        }
    }

    #[test]
    fn numbers_go_there_and_back() {
        let mut rotations = Rotations::new(&layout(4, 3));
        rotations.follow(&noise(17, 1), 1);
        let mut other = Rotations::new(&layout(4, 3));
        assert!(other.set_numbers(&rotations.numbers()));
        assert_eq!(other, rotations);
        assert!(!other.set_numbers(&rotations.numbers()[1..]));
        assert!(!Rotations::default().set_numbers(&rotations.numbers()));
    }

    #[test]
    fn a_side_that_is_too_long_keeps_its_basis() {
        let mut rotations = Rotations::new(&layout(2, LONGEST + 1));
        let len = 5 + 2 * (LONGEST + 1);
        rotations.follow(&noise(len, 1), 1);
        assert_eq!(rotations.numbers().len(), 8);
        let any = noise(len, 2);
        let back = rotations.rotated_back(&rotations.rotated(&any));
        assert!(any.iter().zip(back).all(|(a, b)| (a - b).abs() < 1e-5));
    }

    /// f(W) = ½ ‖A W B‖² with badly conditioned A and B in general position: Adam sees no scale in it,
    /// SOAP does.
    #[test]
    fn a_rotated_valley_is_no_obstacle() {
        let n = 8;
        let factor = |number: u64| {
            let mut basis = identity(n);
            orthonormalize(&noise(n * n, number), n, &mut basis);
            // Scales times the transposed basis.
            let mut rows = transpose(&basis, n);
            for (k, row) in rows.chunks_exact_mut(n).enumerate() {
                row.iter_mut().for_each(|x| *x *= 0.5f32.powi(k as i32));
            }
            rows
        };
        let (a, b) = (factor(1), transpose(&factor(2), n));
        let value_and_gradient = |w: &[f32]| {
            let residual = product(Matrix::new(&product(Matrix::new(&a, n, n), w, n), n, n), &b, n);
            let value = 0.5 * residual.iter().map(|r| r * r).sum::<f32>();
            let back = product(Matrix::new(&a, n, n).transposed(), &residual, n);
            (value, product(Matrix::new(&back, n, n), &transpose(&b, n), n))
        };
        let layout = {
            let mut layout = ParameterLayout::default();
            layout.matrix("weight", n, n, Initial::Constant(0.0));
            layout
        };
        let end = |rotations: Rotations| {
            let mut w = noise(n * n, 5);
            let mut adam = Adam::new(n * n, rotations);
            for step in 0..600 {
                let (_, gradient) = value_and_gradient(&w);
                adam.update(&mut w, &gradient, 1.0, 0.03 * (1.0 - f64::from(step) / 600.0));
            }
            value_and_gradient(&w).0
        };
        let (plain, rotated) = (end(Rotations::default()), end(Rotations::new(&layout)));
        assert!(rotated < 0.1 * plain, "Adam ends at {plain:.3e}, SOAP at {rotated:.3e}");
    }
}
