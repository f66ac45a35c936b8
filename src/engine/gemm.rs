//! Matrix products between parameters and lanes, register-blocked.
//!
//! Activations are `[rows, items]` of lanes, so a product `C = A·B` with parameters A needs no
//! packing: the samples of a lane are the vector, and A's entries are broadcast.

use super::{Kernel, Lane, Real, Vector, LANES};

/// A matrix of parameters: entry (i, k) is `data[i * row_stride + k * column_stride]`.
#[derive(Debug, Clone, Copy)]
pub struct Matrix<'a, T> {
    data: &'a [T],
    rows: usize,
    columns: usize,
    row_stride: usize,
    column_stride: usize,
}

impl<'a, T> Matrix<'a, T> {
    /// A row-major matrix.
    #[inline(always)]
    pub fn new(data: &'a [T], rows: usize, columns: usize) -> Self {
        assert_eq!(data.len(), rows * columns, "matrix data does not fill {rows} x {columns}");
        Self { data, rows, columns, row_stride: columns, column_stride: 1 }
    }

    /// A matrix whose rows lie in lanes, each filled up to whole ones.
    #[inline(always)]
    pub fn of_lanes(lanes: &'a [Lane<T>], rows: usize, columns: usize) -> Self {
        let row_stride = columns.div_ceil(LANES) * LANES;
        let len = lanes.len() * LANES;
        assert_eq!(len, rows * row_stride, "lanes do not hold {rows} x {columns}");
        // SAFETY: a lane is its numbers, without padding: [T; LANES] of 64 or 128 bytes, aligned to
        // 64.
        let data = unsafe { std::slice::from_raw_parts(lanes.as_ptr().cast::<T>(), len) };
        Self { data, rows, columns, row_stride, column_stride: 1 }
    }

    /// The same numbers with rows and columns exchanged.
    #[inline(always)]
    pub fn transposed(self) -> Self {
        Self {
            rows: self.columns,
            columns: self.rows,
            row_stride: self.column_stride,
            column_stride: self.row_stride,
            ..self
        }
    }

    /// Number of rows.
    #[inline(always)]
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Columns `from .. from + count`.
    #[inline(always)]
    pub fn columns(self, from: usize, count: usize) -> Self {
        assert!(from + count <= self.columns);
        let start = (from * self.column_stride).min(self.data.len());
        Self { data: &self.data[start..], columns: count, ..self }
    }
}

/// C = A·B, or C += A·B when `accumulate`: A is [m, k] parameters, B is [k, items] and C is
/// [m, items] of lanes.
#[inline(always)]
pub fn matrix_product<V: Vector>(
    a: Matrix<'_, V::Scalar>,
    b: &[Lane<V::Scalar>],
    c: &mut [Lane<V::Scalar>],
    items: usize,
    accumulate: bool,
) {
    V::call(Product { a, b, c, items, accumulate });
}

/// G += C·Bᵀ summed over items and samples: C is [m, items], B is [k, items] of lanes; entry (i, k)
/// of the gradient is `gradient[i * row_stride + k]`.
#[inline(always)]
pub fn outer_product<V: Vector>(
    c: &[Lane<V::Scalar>],
    b: &[Lane<V::Scalar>],
    gradient: &mut [V::Scalar],
    row_stride: usize,
    items: usize,
) {
    V::call(Outer { c, b, gradient, row_stride, items });
}

struct Product<'a, T> {
    a: Matrix<'a, T>,
    b: &'a [Lane<T>],
    c: &'a mut [Lane<T>],
    items: usize,
    accumulate: bool,
}

impl<T: Real> Kernel<T> for Product<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector<Scalar = T>>(self) {
        assert_eq!(self.b.len(), self.a.columns * self.items, "right factor of a product");
        assert_eq!(self.c.len(), self.a.rows * self.items, "result of a product");
        if self.items == 0 || self.a.rows == 0 {
            return;
        }
        // Register blocks: 24 accumulators of 32 registers, or 12 of 16 (a lane being two).
        if V::WIDE {
            self.panels::<V, 8, 3>();
        } else {
            self.panels::<V, 6, 1>();
        }
    }
}

impl<T: Real> Product<'_, T> {
    #[inline(always)]
    fn panels<V: Vector<Scalar = T>, const R: usize, const C: usize>(mut self) {
        let mut item = 0;
        while item < self.items {
            let width = (self.items - item).min(C);
            match width {
                3 => self.panel::<V, R, 3>(item),
                2 => self.panel::<V, R, 2>(item),
                _ => self.panel::<V, R, 1>(item),
            }
            item += width;
        }
    }

    #[inline(always)]
    fn panel<V: Vector<Scalar = T>, const R: usize, const C: usize>(&mut self, item: usize) {
        let rows = self.a.rows;
        let mut row = 0;
        while row + R <= rows {
            self.block::<V, R, C>(row, item);
            row += R;
        }
        if row + 4 <= rows {
            self.block::<V, 4, C>(row, item);
            row += 4;
        }
        if row + 2 <= rows {
            self.block::<V, 2, C>(row, item);
            row += 2;
        }
        if row < rows {
            self.block::<V, 1, C>(row, item);
            row += 1;
        }
        // R = 8 leaves at most 7 = 4 + 2 + 1 and R = 6 at most 5 = 4 + 1.
        debug_assert_eq!(row, rows);
    }

    #[inline(always)]
    fn block<V: Vector<Scalar = T>, const R: usize, const C: usize>(
        &mut self,
        row: usize,
        item: usize,
    ) {
        let (rs, cs, inner) = (self.a.row_stride, self.a.column_stride, self.a.columns);
        let items = self.items;
        let mut sum = [[V::zero(); C]; R];
        // SAFETY: `run` checked that B is inner x items and C is rows x items, the callers keep
        // row + R ≤ rows and item + C ≤ items, and `Matrix` holds every (row, column) it claims.
        unsafe {
            let mut a = self.a.data.as_ptr().add(row * rs);
            let mut b = self.b.as_ptr().add(item);
            for _ in 0..inner {
                let mut right = [V::zero(); C];
                for (j, r) in right.iter_mut().enumerate() {
                    *r = V::load(&*b.add(j));
                }
                for (i, sums) in sum.iter_mut().enumerate() {
                    let left = V::splat(*a.add(i * rs));
                    for j in 0..C {
                        sums[j] = left.mul_add(right[j], sums[j]);
                    }
                }
                a = a.wrapping_add(cs);
                b = b.wrapping_add(items);
            }
            let c = self.c.as_mut_ptr().add(row * items + item);
            for (i, sums) in sum.iter().enumerate() {
                for (j, s) in sums.iter().enumerate() {
                    let out = &mut *c.add(i * items + j);
                    if self.accumulate {
                        s.accumulate(out);
                    } else {
                        s.store(out);
                    }
                }
            }
        }
    }
}

struct Outer<'a, T> {
    c: &'a [Lane<T>],
    b: &'a [Lane<T>],
    gradient: &'a mut [T],
    row_stride: usize,
    items: usize,
}

impl<T: Real> Kernel<T> for Outer<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector<Scalar = T>>(self) {
        if self.items == 0 || self.b.is_empty() || self.c.is_empty() {
            return;
        }
        if V::WIDE {
            self.rows::<V, 4, 4>();
        } else {
            self.rows::<V, 3, 2>();
        }
    }
}

impl<T: Real> Outer<'_, T> {
    #[inline(always)]
    fn rows<V: Vector<Scalar = T>, const R: usize, const C: usize>(mut self) {
        let rows = self.c.len() / self.items;
        let mut row = 0;
        while row + R <= rows {
            self.columns::<V, R, C>(row);
            row += R;
        }
        while row + 2 <= rows {
            self.columns::<V, 2, C>(row);
            row += 2;
        }
        while row < rows {
            self.columns::<V, 1, C>(row);
            row += 1;
        }
    }

    #[inline(always)]
    fn columns<V: Vector<Scalar = T>, const R: usize, const C: usize>(&mut self, row: usize) {
        let columns = self.b.len() / self.items;
        let mut column = 0;
        while column + C <= columns {
            if R == 4 && C == 4 {
                self.square::<V>(row, column);
            } else {
                self.block::<V, R, C>(row, column);
            }
            column += C;
        }
        while column < columns {
            self.block::<V, R, 1>(row, column);
            column += 1;
        }
    }

    #[inline(always)]
    fn block<V: Vector<Scalar = T>, const R: usize, const C: usize>(
        &mut self,
        row: usize,
        column: usize,
    ) {
        let items = self.items;
        let left = &self.c[row * items..(row + R) * items];
        let right = &self.b[column * items..(column + C) * items];
        let mut sum = [[V::zero(); C]; R];
        for item in 0..items {
            let mut b = [V::zero(); C];
            for (j, b) in b.iter_mut().enumerate() {
                // SAFETY: item < items and j < C, so the index is inside `right`.
                *b = V::load(unsafe { right.get_unchecked(j * items + item) });
            }
            for (i, sums) in sum.iter_mut().enumerate() {
                // SAFETY: item < items and i < R, so the index is inside `left`.
                let c = V::load(unsafe { left.get_unchecked(i * items + item) });
                for j in 0..C {
                    sums[j] = c.mul_add(b[j], sums[j]);
                }
            }
        }
        for (i, sums) in sum.iter().enumerate() {
            for (j, s) in sums.iter().enumerate() {
                self.gradient[(row + i) * self.row_stride + column + j] += s.sum();
            }
        }
    }

    /// A block of 4 x 4 entries, whose sixteen sums over the samples are made together.
    #[inline(always)]
    fn square<V: Vector<Scalar = T>>(&mut self, row: usize, column: usize) {
        let items = self.items;
        let left = &self.c[row * items..(row + 4) * items];
        let right = &self.b[column * items..(column + 4) * items];
        let mut sum = [V::zero(); 16];
        for item in 0..items {
            let mut b = [V::zero(); 4];
            for (j, b) in b.iter_mut().enumerate() {
                // SAFETY: item < items and j < 4, so the index is inside `right`.
                *b = V::load(unsafe { right.get_unchecked(j * items + item) });
            }
            for i in 0..4 {
                // SAFETY: item < items and i < 4, so the index is inside `left`.
                let c = V::load(unsafe { left.get_unchecked(i * items + item) });
                for j in 0..4 {
                    sum[4 * i + j] = c.mul_add(b[j], sum[4 * i + j]);
                }
            }
        }
        let sums = V::sums(sum);
        for i in 0..4 {
            let start = (row + i) * self.row_stride + column;
            let to = &mut self.gradient[start..start + 4];
            for j in 0..4 {
                to[j] += sums[4 * i + j];
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::dispatch::on_every_set;
    use proptest::prelude::*;

    /// A product and an outer product with some columns of a matrix of parameters.
    #[derive(Debug, Clone, Copy)]
    struct Products {
        m: usize,
        k: usize,
        items: usize,
        /// Columns of the parameters on either side of those that are used.
        margins: (usize, usize),
        transpose: bool,
        /// Whether the rows of parameters are filled up to lanes.
        in_lanes: bool,
        accumulate: bool,
        /// Added to one parameter.
        planted: f64,
    }

    fn number(seed: usize) -> f64 {
        ((seed as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 40) as f64 / f64::from(1 << 24) - 0.5
    }

    impl<T: Real> Kernel<T> for Products {
        type Output = (Vec<f64>, Vec<f64>);

        #[inline(always)]
        fn run<V: Vector<Scalar = T>>(self) -> Self::Output {
            let Self { m, k, items, margins: (from, after), .. } = self;
            let all = from + k + after;
            let mut a: Vec<T> = (0..m * all).map(|i| T::of(number(i + 1))).collect();
            a[if self.transpose { from * m } else { from }] += T::of(self.planted);
            let lane = |s: usize| Lane(std::array::from_fn(|l| T::of(number(s * LANES + l + 7))));
            let b: Vec<Lane<T>> = (0..k * items).map(lane).collect();
            let mut c: Vec<Lane<T>> = (0..m * items).map(|i| lane(i + 1000)).collect();
            let (rows, columns) = if self.transpose { (all, m) } else { (m, all) };
            // What fills up a row must not be read.
            let filled: Vec<Lane<T>> = a
                .chunks(columns)
                .flat_map(|row| row.chunks(LANES))
                .map(|part| Lane(std::array::from_fn(|l| *part.get(l).unwrap_or(&T::of(f64::NAN)))))
                .collect();
            let a = if self.in_lanes {
                Matrix::of_lanes(&filled, rows, columns)
            } else {
                Matrix::new(&a, rows, columns)
            };
            let a = if self.transpose { a.transposed() } else { a };
            matrix_product::<V>(a.columns(from, k), &b, &mut c, items, self.accumulate);
            let mut gradient: Vec<T> = (0..m * all).map(|i| T::of(number(i + 5))).collect();
            outer_product::<V>(&c, &b, &mut gradient[from..], all, items);
            (
                c.iter().flat_map(|l| l.0.map(Real::to_f64)).collect(),
                gradient.iter().map(|g| g.to_f64()).collect(),
            )
        }
    }

    /// To 1e-5, relative to the terms of the sums.
    fn agree(got: &(Vec<f64>, Vec<f64>), want: &(Vec<f64>, Vec<f64>), items: usize) -> bool {
        let within = |got: &[f64], want: &[f64], scale: f64| {
            got.iter().zip(want).all(|(g, w)| (g - w).abs() < 1e-5 * (scale + w.abs()))
        };
        within(&got.0, &want.0, 1.0) && within(&got.1, &want.1, items as f64)
    }

    proptest! {
        #![proptest_config(ProptestConfig {
            failure_persistence: None,
            ..ProptestConfig::with_cases(64)
        })]
        #[test]
        fn every_path_agrees_with_the_f64_reference(
            m in 1usize..40, k in 1usize..40, items in 1usize..14,
            margins in (0usize..3, 0usize..3), transpose: bool, in_lanes: bool,
            accumulate: bool,
        ) {
            let products =
                Products { m, k, items, margins, transpose, in_lanes, accumulate, planted: 0.0 };
            let reference = f64::dispatch(Products { in_lanes: false, ..products });
            for (set, got) in on_every_set(|| products) {
                prop_assert!(agree(&got, &reference, items), "{set:?}");
            }
            for (set, got) in on_every_set(|| Products { planted: 1e-2, ..products }) {
                prop_assert!(!agree(&got, &reference, items), "{set:?} with a planted error");
            }
        }
    }
}
