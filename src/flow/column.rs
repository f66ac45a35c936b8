//! A node's numbers in the rows of a matrix [rows, n].

use crate::engine::{Lane, Real, Vector};

/// The entries of one node.
#[derive(Debug, Clone, Copy)]
pub(super) struct Column<'a, T> {
    /// From the node's entry of the first row on.
    lanes: &'a [Lane<T>],
    n: usize,
}

impl<'a, T: Real> Column<'a, T> {
    /// Of a matrix of `n` columns, from one of its lanes on.
    #[inline(always)]
    pub fn new(lanes: &'a [Lane<T>], n: usize) -> Self {
        Self { lanes, n }
    }

    /// Without the rows before this one.
    #[inline(always)]
    pub fn from(&self, row: usize) -> Self {
        Self { lanes: &self.lanes[row * self.n..], n: self.n }
    }

    /// The entry of a row.
    #[inline(always)]
    pub fn entry<V: Vector<Scalar = T>>(&self, row: usize) -> V {
        V::load(&self.lanes[row * self.n])
    }
}

/// A [`Column`] to be written.
pub(super) struct ColumnMut<'a, T> {
    lanes: &'a mut [Lane<T>],
    n: usize,
}

impl<'a, T: Real> ColumnMut<'a, T> {
    /// See [`Column::new`].
    #[inline(always)]
    pub fn new(lanes: &'a mut [Lane<T>], n: usize) -> Self {
        Self { lanes, n }
    }

    /// See [`Column::from`].
    #[inline(always)]
    pub fn from(&mut self, row: usize) -> ColumnMut<'_, T> {
        ColumnMut { lanes: &mut self.lanes[row * self.n..], n: self.n }
    }

    /// The entry of a row.
    #[inline(always)]
    pub fn entry<V: Vector<Scalar = T>>(&self, row: usize) -> V {
        V::load(&self.lanes[row * self.n])
    }

    /// Writes the entry of a row.
    #[inline(always)]
    pub fn store<V: Vector<Scalar = T>>(&mut self, row: usize, entry: V) {
        entry.store(&mut self.lanes[row * self.n]);
    }
}
