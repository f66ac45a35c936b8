//! Small dense matrices whose rows lie in lanes, so that the engine multiplies them as they are.

use crate::engine::{matrix_product, Lane, Matrix, Vector, LANES};

/// [rows, columns], every row filled up with zeros to whole lanes.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Dense {
    rows: usize,
    columns: usize,
    lanes: Vec<Lane<f32>>,
}

impl Dense {
    /// Zero everywhere.
    pub fn zeros(rows: usize, columns: usize) -> Self {
        Self { rows, columns, lanes: vec![Lane::splat(0.0); rows * columns.div_ceil(LANES)] }
    }

    /// One on the diagonal.
    pub fn identity(n: usize) -> Self {
        let mut identity = Self::zeros(n, n);
        (0..n).for_each(|k| *identity.entry_mut(k, k) = 1.0);
        identity
    }

    /// From its rows, one after the other; at least one.
    pub fn from_rows(entries: &[f32], columns: usize) -> Self {
        let mut matrix = Self::zeros(entries.len() / columns, columns);
        matrix.set_rows(entries);
        matrix
    }

    /// Takes other entries.
    pub fn set_rows(&mut self, entries: &[f32]) {
        let items = self.items();
        let rows = entries.chunks_exact(self.columns);
        for (row, lanes) in rows.zip(self.lanes.chunks_exact_mut(items)) {
            for (entries, lane) in row.chunks(LANES).zip(lanes) {
                lane.0[..entries.len()].copy_from_slice(entries);
            }
        }
    }

    /// Its rows, one after the other, in pieces.
    pub fn pieces(&self) -> impl Iterator<Item = &[f32]> {
        let (items, columns) = (self.items(), self.columns);
        self.lanes.iter().enumerate().map(move |(k, lane)| {
            let before = k % items * LANES;
            &lane.0[..LANES.min(columns - before)]
        })
    }

    /// The same, to change them.
    pub fn pieces_mut(&mut self) -> impl Iterator<Item = &mut [f32]> {
        let (items, columns) = (self.items(), self.columns);
        self.lanes.iter_mut().enumerate().map(move |(k, lane)| {
            let before = k % items * LANES;
            &mut lane.0[..LANES.min(columns - before)]
        })
    }

    fn entry_mut(&mut self, row: usize, column: usize) -> &mut f32 {
        let items = self.items();
        &mut self.lanes[row * items + column / LANES].0[column % LANES]
    }

    /// Rows as columns.
    pub fn transposed(&self) -> Self {
        let mut out = Self::zeros(self.columns, self.rows);
        let (items, to_items) = (self.items(), out.items());
        for (r, row) in self.lanes.chunks_exact(items).enumerate() {
            let (lane, place) = (r / LANES, r % LANES);
            for (c, entry) in row.iter().flat_map(|lane| &lane.0).take(self.columns).enumerate() {
                out.lanes[c * to_items + lane].0[place] = *entry;
            }
        }
        out
    }

    /// As a left factor.
    pub fn matrix(&self) -> Matrix<'_, f32> {
        Matrix::of_lanes(&self.lanes, self.rows, self.columns)
    }

    /// A · self.
    #[inline(always)]
    pub fn times<V: Vector<Scalar = f32>>(&self, a: Matrix<'_, f32>) -> Self {
        let mut out = Self::zeros(a.rows(), self.columns);
        matrix_product::<V>(a, &self.lanes, &mut out.lanes, self.items(), false);
        out
    }

    /// keep · self + (1 − keep) · other.
    #[inline(always)]
    pub fn follow(&mut self, other: &Self, keep: f32) {
        for (old, new) in self.lanes.iter_mut().zip(&other.lanes) {
            for (old, new) in old.0.iter_mut().zip(&new.0) {
                *old = keep * *old + (1.0 - keep) * new;
            }
        }
    }

    /// Lanes of a row.
    fn items(&self) -> usize {
        self.columns.div_ceil(LANES)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{Kernel, Real};

    struct Times<'a>(Matrix<'a, f32>, &'a Dense);

    impl Kernel<f32> for Times<'_> {
        type Output = Dense;

        #[inline(always)]
        fn run<V: Vector<Scalar = f32>>(self) -> Dense {
            self.1.times::<V>(self.0)
        }
    }

    /// Small whole numbers, of which sums are exact.
    fn matrix(rows: usize, columns: usize) -> Dense {
        let entries: Vec<f32> = (0..rows * columns).map(|k| (k * k % 7) as f32 - 3.0).collect();
        Dense::from_rows(&entries, columns)
    }

    fn entries(matrix: &Dense) -> Vec<f32> {
        matrix.pieces().flatten().copied().collect()
    }

    #[test]
    fn products_and_transposed_matrices_are_those_of_the_entries() {
        for (m, k, n) in [(1, 1, 1), (3, 16, 17), (20, 33, 5), (24, 12, 24)] {
            let (a, b) = (matrix(m, k), matrix(k, n));
            let (rows_a, rows_b) = (entries(&a), entries(&b));
            let want: Vec<f32> = (0..m * n)
                .map(|at| (0..k).map(|l| rows_a[at / n * k + l] * rows_b[l * n + at % n]).sum())
                .collect();
            assert_eq!(entries(&f32::dispatch(Times(a.matrix(), &b))), want);
            let turned = a.transposed();
            assert_eq!(entries(&f32::dispatch(Times(turned.matrix().transposed(), &b))), want);
            assert_eq!(turned.transposed(), a);
        }
    }

    #[test]
    fn what_fills_up_a_row_stays_zero() {
        let mut matrix = matrix(3, 17);
        matrix.pieces_mut().for_each(|piece| piece.fill(2.0));
        let product = f32::dispatch(Times(Dense::identity(3).matrix(), &matrix));
        assert_eq!(product, matrix);
        assert_eq!(product.lanes[1].0, std::array::from_fn(|k| if k == 0 { 2.0 } else { 0.0 }));
    }
}
