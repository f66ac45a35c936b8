//! The Gaussian of a harmonic crystal.

use rayon::prelude::*;

use crate::error::{refuse, Error};
use crate::system::System;

/// Rows and columns of a block of the factorisation.
const BLOCK: usize = 64;
/// A mode softer than this part of the mean stiffness holds nothing.
const SOFTEST: f64 = 1e-9;

/// The harmonic crystal of second derivatives K on the subspace of zero centre of mass.
pub(super) struct Modes {
    /// P B, [coordinates, coordinates], with P B Bᵀ P the inverse of K on the subspace.
    pub draw: Vec<f64>,
    /// P K P.
    pub stiffness: Vec<f64>,
    /// ½ log det K on the subspace.
    pub half_log_determinant: f64,
}

impl Modes {
    /// Of the second derivatives of U at the sites, [coordinates, coordinates] and symmetric.
    ///
    /// # Errors
    /// [`Error::Parameter`] if the sites are no minimum.
    pub fn of(system: System, second_derivatives: &[f64]) -> Result<Self, Error> {
        let (n, d, width) = (system.particles(), system.dimension(), system.coordinates());
        let mut stiffness = second_derivatives.to_vec();
        let fits = stiffness.len() == width * width && stiffness.iter().all(|k| k.is_finite());
        if !fits {
            return refuse("flow.base.displacements", NO_MINIMUM);
        }
        project(system, &mut stiffness);
        // Translations get the mean stiffness: K + κ (1 − P), which no other mode sees.
        let mean = (0..width).map(|i| stiffness[i * (width + 1)]).sum::<f64>() / width as f64;
        let mut factor = stiffness.clone();
        for i in 0..width {
            for j in (i % d..width).step_by(d) {
                factor[i * width + j] += mean / n as f64;
            }
        }
        let factor = cholesky(factor, width, SOFTEST * mean);
        let Some(factor) = factor.filter(|_| mean > 0.0) else {
            return refuse("flow.base.displacements", NO_MINIMUM);
        };
        let log_diagonal: f64 = (0..width).map(|i| factor[i * (width + 1)].ln()).sum();
        let mut draw = transposed_inverse(&factor, width);
        project_rows(system, &mut draw);
        let half_log_determinant = log_diagonal - 0.5 * d as f64 * mean.ln();
        Ok(Self { draw, stiffness, half_log_determinant })
    }
}

const NO_MINIMUM: &str = "is \"harmonic\", and the energy has no minimum at the sites: another \
                          lattice or density, or use \"independent\" with a `base_scale`";

/// A ← P A P.
fn project(system: System, a: &mut [f64]) {
    for row in a.chunks_exact_mut(system.coordinates()) {
        system.remove_center_of_mass(row);
    }
    project_rows(system, a);
}

/// A ← P A.
fn project_rows(system: System, a: &mut [f64]) {
    let (d, width) = (system.dimension(), system.coordinates());
    for axis in 0..d {
        let mut mean = vec![0.0; width];
        let share = 1.0 / system.particles() as f64;
        for row in a.chunks_exact(width).skip(axis).step_by(d) {
            mean.iter_mut().zip(row).for_each(|(mean, a)| *mean += share * a);
        }
        for row in a.chunks_exact_mut(width).skip(axis).step_by(d) {
            row.iter_mut().zip(&mean).for_each(|(a, mean)| *a -= mean);
        }
    }
}

/// The lower factor L of a symmetric matrix A = L Lᵀ; `None` if a pivot is not over `least`.
fn cholesky(mut a: Vec<f64>, n: usize, least: f64) -> Option<Vec<f64>> {
    for start in (0..n).step_by(BLOCK) {
        let end = n.min(start + BLOCK);
        let (done, rest) = a.split_at_mut(end * n);
        for i in start..end {
            for j in start..=i {
                let (row, other) = (&done[i * n..], &done[j * n..]);
                let sum = row[j] - dot(&row[start..j], &other[start..j]);
                if i == j && (sum.is_nan() || sum <= least) {
                    return None;
                }
                let pivot = done[j * (n + 1)];
                done[i * n + j] = if i == j { sum.sqrt() } else { sum / pivot };
            }
        }
        // The rows below, and then what they take from the square that is left.
        let diagonal = &*done;
        rest.par_chunks_exact_mut(n).for_each(|row| {
            for j in start..end {
                let other = &diagonal[j * n..];
                row[j] = (row[j] - dot(&row[start..j], &other[start..j])) / other[j];
            }
        });
        let columns: Vec<f64> =
            rest.chunks_exact(n).flat_map(|row| row[start..end].iter().copied()).collect();
        let size = end - start;
        rest.par_chunks_exact_mut(n).enumerate().for_each(|(i, row)| {
            let own = &columns[i * size..(i + 1) * size];
            for (j, other) in columns.chunks_exact(size).take(i + 1).enumerate() {
                row[end + j] -= dot(own, other);
            }
        });
    }
    for i in 0..n {
        a[i * n + i + 1..(i + 1) * n].fill(0.0);
    }
    Some(a)
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    let mut sums = [0.0; 8];
    let (whole, left) = a.as_chunks::<8>();
    let (other, other_left) = b.as_chunks::<8>();
    for (a, b) in whole.iter().zip(other) {
        for k in 0..8 {
            sums[k] += a[k] * b[k];
        }
    }
    let rest: f64 = left.iter().zip(other_left).map(|(a, b)| a * b).sum();
    sums.iter().sum::<f64>() + rest
}

/// L⁻ᵀ of a lower triangular matrix: row i of it is column i of L⁻¹.
fn transposed_inverse(lower: &[f64], n: usize) -> Vec<f64> {
    let mut inverse = vec![0.0; n * n];
    inverse.par_chunks_exact_mut(n).enumerate().for_each(|(i, column)| {
        column[i] = 1.0 / lower[i * (n + 1)];
        for j in i + 1..n {
            let row = &lower[j * n..(j + 1) * n];
            column[j] = -dot(&row[i..j], &column[i..j]) / row[j];
        }
    });
    inverse
}
