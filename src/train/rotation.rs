//! Eigenbases of the gradients of the flow's matrices, in which Adam runs: the SOAP optimizer.
//!
//! Vyas, Morwani, Zhao, Kwun, Shapira, Brandfonbrener, Janson & Kakade, "SOAP: Improving and
//! Stabilizing Shampoo using Adam" (arXiv:2409.11321). For every matrix the averages of G Gᵀ and Gᵀ G
//! are kept; their eigenvectors Q_L and Q_R turn a gradient into Q_Lᵀ G Q_R, whose entries are nearly
//! uncorrelated, so that Adam's scaling of single entries is nearly Newton's.

use rayon::prelude::*;

/// Decay of the averages per update.
const DECAY: f64 = 0.99;
/// Updates between two improvements of the bases.
const EVERY: u64 = 10;
/// Power iterations of the first bases; later ones improve by one each time.
const FIRST: usize = 10;
/// Added to the averages, relative to their mean eigenvalue, to keep them invertible.
const RIDGE: f64 = 1e-8;

/// A matrix of parameters in the flat vector.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    offset: usize,
    rows: usize,
    columns: usize,
}

/// Averages and bases of all matrices; parameters outside of matrices are not rotated.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Rotation {
    places: Vec<Place>,
    /// G Gᵀ [rows, rows] and Gᵀ G [columns, columns] of every matrix in turn.
    pub averages: Vec<f32>,
    /// Their eigenvectors as columns, in the same places.
    pub bases: Vec<f32>,
}

impl Rotation {
    /// Bases at the identity for matrices given as (offset, rows, columns), ordered by offset.
    pub fn new(matrices: impl IntoIterator<Item = (usize, usize, usize)>) -> Self {
        let places: Vec<Place> = matrices
            .into_iter()
            .map(|(offset, rows, columns)| Place { offset, rows, columns })
            .collect();
        let mut bases = Vec::new();
        for place in &places {
            for size in [place.rows, place.columns] {
                bases.extend((0..size * size).map(|k| f32::from(u8::from(k % (size + 1) == 0))));
            }
        }
        Self { places, averages: vec![0.0; bases.len()], bases }
    }

    /// Whether nothing is rotated.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// Each matrix of the flat vector `values` to Q_Lᵀ V Q_R.
    pub fn into_basis(&self, values: &mut [f32]) {
        self.for_each(values, |place, left, right, v| {
            let half = product(&transposed(left, place.rows), v, place.rows, place.columns);
            v.copy_from_slice(&product(&half, right, place.columns, place.columns));
        });
    }

    /// Each matrix of the flat vector `values` to Q_L V Q_Rᵀ.
    pub fn out_of_basis(&self, values: &mut [f32]) {
        self.for_each(values, |place, left, right, v| {
            let half = product(left, v, place.rows, place.columns);
            v.copy_from_slice(&product(
                &half,
                &transposed(right, place.columns),
                place.columns,
                place.columns,
            ));
        });
    }

    /// Takes a gradient into the averages and improves the bases when it is their turn; `update`
    /// counts from 1.
    pub fn learn(&mut self, gradient: &[f32], update: u64) {
        let iterations = match update {
            1 => FIRST,
            _ if update.is_multiple_of(EVERY) => 1,
            _ => 0,
        };
        let (mut averages, mut bases) = (self.averages.as_mut_slice(), self.bases.as_mut_slice());
        let mut work = Vec::with_capacity(self.places.len());
        for place in &self.places {
            let len = place.rows * place.rows + place.columns * place.columns;
            let (average, rest) = averages.split_at_mut(len);
            let (basis, others) = bases.split_at_mut(len);
            (averages, bases) = (rest, others);
            work.push((place, average, basis));
        }
        work.into_par_iter().for_each(|(place, average, basis)| {
            let Place { offset, rows, columns } = *place;
            let g = &gradient[offset..offset + rows * columns];
            let t = transposed_matrix(g, rows, columns);
            let (left, right) = average.split_at_mut(rows * rows);
            let (left_basis, right_basis) = basis.split_at_mut(rows * rows);
            take_in(left, &product(g, &t, columns, rows));
            take_in(right, &product(&t, g, rows, columns));
            for _ in 0..iterations {
                power_iteration(left, left_basis, rows);
                power_iteration(right, right_basis, columns);
            }
        });
    }

    fn for_each(&self, values: &mut [f32], f: impl Fn(&Place, &[f32], &[f32], &mut [f32]) + Sync) {
        let mut rest = values;
        let (mut at, mut base) = (0, 0);
        let mut work = Vec::with_capacity(self.places.len());
        for place in &self.places {
            let (_, tail) = rest.split_at_mut(place.offset - at);
            let (own, tail) = tail.split_at_mut(place.rows * place.columns);
            (rest, at) = (tail, place.offset + place.rows * place.columns);
            let middle = base + place.rows * place.rows;
            let end = middle + place.columns * place.columns;
            work.push((place, &self.bases[base..middle], &self.bases[middle..end], own));
            base = end;
        }
        work.into_par_iter().for_each(|(place, left, right, own)| f(place, left, right, own));
    }
}

fn take_in(average: &mut [f32], new: &[f32]) {
    for (average, new) in average.iter_mut().zip(new) {
        *average = DECAY as f32 * *average + (1.0 - DECAY) as f32 * new;
    }
}

/// A [rows, inner] times B [inner, columns], where `rows` is the length of A over `inner`.
fn product(a: &[f32], b: &[f32], inner: usize, columns: usize) -> Vec<f32> {
    let mut out = vec![0.0; a.len() / inner * columns];
    for (a, out) in a.chunks_exact(inner).zip(out.chunks_exact_mut(columns)) {
        for (a, b) in a.iter().zip(b.chunks_exact(columns)) {
            for (out, b) in out.iter_mut().zip(b) {
                *out += a * b;
            }
        }
    }
    out
}

fn transposed(square: &[f32], size: usize) -> Vec<f32> {
    transposed_matrix(square, size, size)
}

fn transposed_matrix(matrix: &[f32], rows: usize, columns: usize) -> Vec<f32> {
    (0..rows * columns).map(|k| matrix[k % rows * columns + k / rows]).collect()
}

/// Q ← orthogonal factor of (A + ridge) Q, by Gram-Schmidt done twice. A that is zero or not finite
/// says nothing and changes nothing.
fn power_iteration(average: &[f32], basis: &mut [f32], size: usize) {
    let trace: f64 = (0..size).map(|k| f64::from(average[k * size + k])).sum();
    if !(trace.is_finite() && trace > 0.0) {
        return;
    }
    let ridge = (RIDGE * trace / size as f64) as f32;
    // Rows of the transposed product are the columns to orthogonalise.
    let moved = product(average, basis, size, size);
    let mut columns: Vec<f64> = (0..size * size)
        .map(|k| {
            let at = k % size * size + k / size;
            f64::from(moved[at]) + f64::from(ridge * basis[at])
        })
        .collect();
    for k in 0..size {
        let (done, rest) = columns.split_at_mut(k * size);
        let own = &mut rest[..size];
        for _ in 0..2 {
            let before = own.iter().map(|v| v * v).sum::<f64>().sqrt();
            if before == 0.0 {
                return;
            }
            own.iter_mut().for_each(|v| *v /= before);
            for other in done.chunks_exact(size) {
                let along: f64 = own.iter().zip(other).map(|(a, b)| a * b).sum();
                own.iter_mut().zip(other).for_each(|(a, b)| *a -= along * b);
            }
        }
        let norm = own.iter().map(|v| v * v).sum::<f64>().sqrt();
        if norm.is_nan() || norm < 0.5 {
            return;
        }
        own.iter_mut().for_each(|v| *v /= norm);
    }
    for (k, basis) in basis.iter_mut().enumerate() {
        *basis = columns[k % size * size + k / size] as f32;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(count: usize, seed: u64) -> Vec<f32> {
        (0..count as u64)
            .map(|k| {
                let hash = (k + 1 + seed * 7919).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 40;
                hash as f32 / (1 << 23) as f32 - 1.0
            })
            .collect()
    }

    /// Vectors outside of matrices stay, rotating there and back is the identity, and lengths stay.
    #[test]
    fn rotations_are_orthogonal() {
        let mut rotation = Rotation::new([(2, 3, 5), (17, 4, 4)]);
        for update in 1..=40 {
            rotation.learn(&numbers(35, update), update);
        }
        let start = numbers(35, 99);
        let mut values = start.clone();
        rotation.into_basis(&mut values);
        let length = |v: &[f32]| v.iter().map(|x| x * x).sum::<f32>();
        assert!((length(&values) - length(&start)).abs() < 1e-4);
        assert!(values[..2] == start[..2] && values[33..] == start[33..]);
        assert!(values[2..17].iter().zip(&start[2..17]).any(|(a, b)| (a - b).abs() > 0.1));
        rotation.out_of_basis(&mut values);
        for (got, want) in values.iter().zip(&start) {
            assert!((got - want).abs() < 1e-5);
        }
    }

    /// Gradients whose entries are correlated by fixed rotations of rows and columns become, in the
    /// bases, uncorrelated.
    #[test]
    fn bases_are_eigenvectors() {
        let (mix_left, mix_right) = ([0.8, -0.6, 0.6, 0.8], [0.28, -0.96, 0.96, 0.28]);
        let mut rotation = Rotation::new([(0, 2, 2)]);
        for update in 1..=2000 {
            let mut g = numbers(4, update);
            for (k, g) in g.iter_mut().enumerate() {
                *g *= [8.0, 2.0, 3.0, 0.7][k];
            }
            let turned = product(&product(&mix_left, &g, 2, 2), &mix_right, 2, 2);
            rotation.learn(&turned, update);
        }
        for (at, mix) in [(0, mix_left.to_vec()), (4, transposed(&mix_right, 2))] {
            let basis = &rotation.bases[at..at + 4];
            let overlap = product(&transposed(basis, 2), &mix, 2, 2);
            assert!(overlap.iter().all(|o| o.abs() < 0.12 || o.abs() > 0.99), "{overlap:?}");
        }
    }
}
