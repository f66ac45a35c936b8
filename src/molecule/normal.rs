//! The normal distribution of stiff internal coordinates, from samples of them.

use super::tree::wrapped;

/// How much of the correlations counts: with fewer samples than this for each coordinate, less than
/// half.
const SAMPLES_FOR_HALF: f64 = 1.0;

/// N(mean, L Lᵀ).
#[derive(Debug, Clone)]
pub(crate) struct Normal {
    pub mean: Vec<f64>,
    /// L, lower, [row, column].
    pub factor: Vec<f64>,
}

impl Normal {
    /// That of `rows`, of `n` coordinates each.
    pub fn of(rows: &[Vec<f64>], n: usize) -> Self {
        let count = rows.len().max(1) as f64;
        let mut mean = vec![0.0; n];
        rows.iter().for_each(|row| mean.iter_mut().zip(row).for_each(|(m, v)| *m += v / count));
        let mut covariance = vec![0.0; n * n];
        for row in rows {
            for i in 0..n {
                for j in 0..=i {
                    covariance[i * n + j] += (row[i] - mean[i]) * (row[j] - mean[j]) / count;
                }
            }
        }
        // Few samples make a covariance that is too narrow somewhere: correlations shrink.
        let kept = count / (count + SAMPLES_FOR_HALF * n as f64);
        for i in 0..n {
            covariance[i * n..i * n + i].iter_mut().for_each(|c| *c *= kept);
        }
        Self { mean, factor: cholesky(covariance, n) }
    }
}

/// Coordinates counted from those of a `first` sample, so that angles, where `is_turn`, are not cut
/// at ±π.
pub(crate) fn counted_from(
    first: &[f64],
    row: &[f64],
    is_turn: impl Fn(usize) -> bool,
) -> Vec<f64> {
    let each = row.iter().zip(first).enumerate();
    each.map(|(k, (v, f))| if is_turn(k) { wrapped(v - f) } else { v - f }).collect()
}

/// The lower factor of a symmetric matrix, of which the lower half is given. What has no spread in
/// the samples gets a little.
pub(crate) fn cholesky(mut a: Vec<f64>, n: usize) -> Vec<f64> {
    for i in 0..n {
        let least = 1e-6 * a[i * n + i].abs() + 1e-12;
        for j in 0..=i {
            let mut sum = a[i * n + j];
            for k in 0..j {
                sum -= a[i * n + k] * a[j * n + k];
            }
            a[i * n + j] = if i == j { sum.max(least).sqrt() } else { sum / a[j * n + j] };
        }
        a[i * n + i + 1..(i + 1) * n].fill(0.0);
    }
    a
}
