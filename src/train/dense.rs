//! Small dense matrices whose rows lie in lanes, so that the engine multiplies them as they are.

use crate::engine::{matrix_product, Lane, Matrix, Vector, LANES};

/// [rows, columns], every row filled up with zeros to whole lanes.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Dense {
    rows: usize,
    columns: usize,
    lanes: Vec<Lane<f32>>,
}

impl Dense {
    /// Zero everywhere.
    pub fn zeros(rows: usize, columns: usize) -> Self {
        let mut zeros = Self::default();
        zeros.clear(rows, columns);
        zeros
    }

    /// One on the diagonal.
    pub fn identity(n: usize) -> Self {
        let mut identity = Self::zeros(n, n);
        (0..n).for_each(|k| *identity.entry_mut(k, k) = 1.0);
        identity
    }

    /// From its rows, one after the other; at least one.
    pub fn from_rows(entries: &[f32], columns: usize) -> Self {
        let mut matrix = Self::default();
        matrix.set_rows(entries, columns);
        matrix
    }

    /// Becomes the matrix of these rows, one after the other; at least one.
    pub fn set_rows(&mut self, entries: &[f32], columns: usize) {
        self.clear(entries.len() / columns, columns);
        let rows = entries.chunks(columns).flat_map(|row| row.chunks(LANES));
        self.pieces_mut().zip(rows).for_each(|(piece, row)| piece.copy_from_slice(row));
    }

    /// Becomes zero everywhere, in the memory that it has.
    fn clear(&mut self, rows: usize, columns: usize) {
        (self.rows, self.columns) = (rows, columns);
        self.lanes.clear();
        self.lanes.resize(rows * self.items(), Lane::splat(0.0));
    }

    /// Writes its rows, one after the other.
    pub fn write_rows(&self, entries: &mut [f32]) {
        let rows = entries.chunks_mut(self.columns).flat_map(|row| row.chunks_mut(LANES));
        self.pieces().zip(rows).for_each(|(piece, row)| row.copy_from_slice(piece));
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Number of entries.
    pub fn len(&self) -> usize {
        self.rows * self.columns
    }

    /// Its rows, one after the other.
    pub fn entries(&self) -> impl Iterator<Item = f32> + '_ {
        self.pieces().flatten().copied()
    }

    fn pieces(&self) -> impl Iterator<Item = &[f32]> {
        let (items, columns) = (self.items(), self.columns);
        self.lanes.iter().enumerate().map(move |(k, lane)| {
            let before = k % items * LANES;
            &lane.0[..LANES.min(columns - before)]
        })
    }

    fn pieces_mut(&mut self) -> impl Iterator<Item = &mut [f32]> {
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

    /// Number of columns.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// The rows' lanes, one after the other.
    pub fn lanes(&self) -> &[Lane<f32>] {
        &self.lanes
    }

    /// Lanes to be changed; what fills up a row stays zero.
    pub fn lanes_mut(&mut self) -> &mut [Lane<f32>] {
        &mut self.lanes
    }

    /// As a left factor.
    pub fn matrix(&self) -> Matrix<'_, f32> {
        Matrix::of_lanes(&self.lanes, self.rows, self.columns)
    }

    /// Rows as columns.
    pub fn transposed(&self) -> Self {
        let mut out = Self::default();
        out.set_transposed(self);
        out
    }

    /// Becomes the transpose of another.
    pub fn set_transposed(&mut self, of: &Self) {
        self.clear(of.columns, of.rows);
        let (items, to_items) = (of.items(), self.items());
        for (lane, rows) in of.lanes.chunks(items * LANES).enumerate() {
            for (c, to) in self.lanes.chunks_exact_mut(to_items).enumerate() {
                for (row, entry) in rows.chunks_exact(items).zip(&mut to[lane].0) {
                    *entry = row[c / LANES].0[c % LANES];
                }
            }
        }
    }

    /// Becomes A · B.
    #[inline(always)]
    pub fn set_product<V: Vector<Scalar = f32>>(&mut self, a: Matrix<'_, f32>, b: &Self) {
        self.clear(a.rows(), b.columns);
        matrix_product::<V>(a, &b.lanes, &mut self.lanes, b.items(), false);
    }

    /// Adds A · B.
    #[inline(always)]
    pub fn add_product<V: Vector<Scalar = f32>>(&mut self, a: Matrix<'_, f32>, b: &Self) {
        matrix_product::<V>(a, &b.lanes, &mut self.lanes, b.items(), true);
    }

    /// Multiplies all entries.
    #[inline(always)]
    pub fn scale<V: Vector<Scalar = f32>>(&mut self, by: f32) {
        for lane in &mut self.lanes {
            V::load(lane).mul(V::splat(by)).store(lane);
        }
    }

    /// Lanes of a row.
    fn items(&self) -> usize {
        self.columns.div_ceil(LANES)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::engine::{Kernel, Real};

    struct Times<'a>(Matrix<'a, f32>, &'a Dense);

    impl Kernel<f32> for Times<'_> {
        type Output = Dense;

        #[inline(always)]
        fn run<V: Vector<Scalar = f32>>(self) -> Dense {
            let mut product = Dense::default();
            product.set_product::<V>(self.0, self.1);
            product
        }
    }

    /// A · B.
    pub fn product(a: Matrix<'_, f32>, b: &Dense) -> Dense {
        f32::dispatch(Times(a, b))
    }

    /// Small whole numbers, of which sums are exact.
    fn matrix(rows: usize, columns: usize) -> Dense {
        let entries: Vec<f32> = (0..rows * columns).map(|k| (k * k % 7) as f32 - 3.0).collect();
        Dense::from_rows(&entries, columns)
    }

    #[test]
    fn products_and_transposed_matrices_are_those_of_the_entries() {
        for (m, k, n) in [(1, 1, 1), (3, 16, 17), (20, 33, 5), (24, 12, 24)] {
            let (a, b) = (matrix(m, k), matrix(k, n));
            let entries = |matrix: &Dense| matrix.entries().collect::<Vec<f32>>();
            let (rows_a, rows_b) = (entries(&a), entries(&b));
            let want: Vec<f32> = (0..m * n)
                .map(|at| (0..k).map(|l| rows_a[at / n * k + l] * rows_b[l * n + at % n]).sum())
                .collect();
            assert_eq!(entries(&product(a.matrix(), &b)), want);
            let turned = a.transposed();
            assert_eq!(entries(&product(turned.matrix().transposed(), &b)), want);
            assert_eq!(turned.transposed(), a);
            let mut written = vec![0.0; a.len()];
            a.write_rows(&mut written);
            assert_eq!(written, rows_a);
        }
    }

    #[test]
    fn what_fills_up_a_row_stays_zero() {
        let mut matrix = matrix(3, 17);
        matrix.pieces_mut().for_each(|piece| piece.fill(2.0));
        let product = product(Dense::identity(3).matrix(), &matrix);
        assert_eq!(product, matrix);
        assert_eq!(product.lanes[1].0, std::array::from_fn(|k| if k == 0 { 2.0 } else { 0.0 }));
    }
}
