//! A first fit to samples, in closed form: means, linear regression on the angles that turn, full
//! covariance of what is left, and the distribution of each angle.

use std::f64::consts::PI;

use super::{MoleculeBase, MARGINAL_BINS};
use crate::engine::Real;
use crate::molecule::{cholesky, counted_from, Normal};

/// Bins of the histogram of an angle.
const BINS: usize = 90;
/// What every bin of it has in addition, as a part of the mean.
const FLOOR: f64 = 0.01;
/// The share of the knots of a spline that are spread over the circle, whatever the density is.
const SPREAD: f64 = 0.35;
/// Ridge of the regression for each feature and sample.
const RIDGE: f64 = 0.1;

impl MoleculeBase {
    /// Fits samples x, [samples, n, 3].
    pub(super) fn fit_to<T: Real>(&self, theta: &mut [T], x: &[f64]) {
        let soft = self.coordinates.soft.len();
        let mut rows: Vec<Vec<f64>> = Vec::new();
        for x in x.chunks_exact(3 * self.coordinates.particles) {
            rows.push(self.measured(x));
        }
        rows.retain(|row| row.iter().all(|value| value.is_finite()));
        let Some(first) = rows.first().cloned() else { return };
        let count = self.marginal.parameters();
        let into = self.marginals.of_mut(theta);
        for (angle, raw) in into.chunks_exact_mut(count).enumerate() {
            let samples = rows.iter().map(|row| row[angle]);
            let fitted = self.marginal_of(samples);
            write(raw, fitted.into_iter());
        }
        let features: Vec<Vec<f64>> =
            rows.iter().map(|row| self.affine.features_of(&row[..soft])).collect();
        let is_turn = |k: usize| self.coordinates.is_turn[k];
        let apart = |row: &Vec<f64>| counted_from(&first[soft..], &row[soft..], is_turn);
        let rows: Vec<Vec<f64>> = rows.iter().map(apart).collect();
        let fit = Regression::of(&rows, &features);
        let mean = fit.left.mean.iter().zip(&first[soft..]).map(|(mean, first)| mean + first);
        write(self.affine.mean.of_mut(theta), mean);
        write(self.affine.regression.of_mut(theta), fit.weights.iter().copied());
        write(self.affine.factor.of_mut(theta), fit.left.factor.iter().copied());
    }

    /// Raw parameters of the circular spline that takes a uniform angle to one distributed as
    /// `samples`. Half of its knots are where the samples are.
    fn marginal_of(&self, samples: impl Iterator<Item = f64>) -> Vec<f64> {
        let mut bins = [0.0; BINS];
        let mut count = 0.0;
        for angle in samples {
            let bin = ((angle + PI) / (2.0 * PI) * BINS as f64) as usize;
            // The samples of a bin count for its neighbours, too.
            bins[bin.min(BINS - 1)] += 0.5;
            bins[(bin + 1) % BINS] += 0.25;
            bins[(bin + BINS - 1) % BINS] += 0.25;
            count += 1.0;
        }
        let floor = FLOOR * count / BINS as f64;
        let density: Vec<f64> =
            bins.iter().map(|b| (b + floor) / (count + FLOOR * count)).collect();
        // Knots at equal steps of a mixture with the uniform distribution.
        let mixed = |density: f64| (1.0 - SPREAD) * density + SPREAD / BINS as f64;
        let (mut widths, mut heights) = (Vec::new(), Vec::new());
        let (mut reached, mut mass, mut length) = (0.0, 0.0, 0.0);
        let step = 1.0 / MARGINAL_BINS as f64;
        for density in density {
            let mut left = 1.0;
            while widths.len() + 1 < MARGINAL_BINS && reached + left * mixed(density) >= step {
                let part = (step - reached) / mixed(density);
                widths.push(mass + part * density);
                heights.push(length + part / BINS as f64);
                (reached, mass, length) = (0.0, 0.0, 0.0);
                left -= part;
            }
            reached += left * mixed(density);
            mass += left * density;
            length += left / BINS as f64;
        }
        widths.push(mass);
        heights.push(length);
        self.marginal.raw_of(&widths, &heights)
    }
}

fn write<T: Real>(into: &mut [T], from: impl Iterator<Item = f64>) {
    into.iter_mut().zip(from).for_each(|(into, from)| *into = T::of(from));
}

/// q = W f + what is left.
struct Regression {
    /// [coordinates, features].
    weights: Vec<f64>,
    left: Normal,
}

impl Regression {
    fn of(rows: &[Vec<f64>], features: &[Vec<f64>]) -> Self {
        let samples = rows.len() as f64;
        let (n, m) = (rows[0].len(), features[0].len());
        let mean_of = |rows: &[Vec<f64>], width: usize| {
            let mut mean = vec![0.0; width];
            for row in rows {
                mean.iter_mut().zip(row).for_each(|(mean, value)| *mean += value / samples);
            }
            mean
        };
        let (row_mean, feature_mean) = (mean_of(rows, n), mean_of(features, m));
        let mut square = vec![0.0; m * m];
        let mut product = vec![0.0; m * n];
        for (row, features) in rows.iter().zip(features) {
            for i in 0..m {
                let own = (features[i] - feature_mean[i]) / samples;
                for j in 0..=i {
                    square[i * m + j] += own * (features[j] - feature_mean[j]);
                }
                for j in 0..n {
                    product[i * n + j] += own * (row[j] - row_mean[j]);
                }
            }
        }
        let ridge = RIDGE * m as f64 / samples + 1e-9;
        (0..m).for_each(|i| square[i * (m + 1)] += ridge);
        let factor = cholesky(square, m);
        let mut weights = vec![0.0; n * m];
        for k in 0..n {
            let mut right: Vec<f64> = (0..m).map(|i| product[i * n + k]).collect();
            solve(&factor, &mut right);
            weights[k * m..(k + 1) * m].copy_from_slice(&right);
        }
        let left: Vec<Vec<f64>> = rows
            .iter()
            .zip(features)
            .map(|(row, features)| {
                let part = |k: usize| -> f64 {
                    weights[k * m..(k + 1) * m].iter().zip(features).map(|(w, f)| w * f).sum()
                };
                (0..n).map(|k| row[k] - part(k)).collect()
            })
            .collect();
        Self { weights, left: Normal::of(&left, n) }
    }
}

/// x of L Lᵀ x = b, in place of b.
fn solve(factor: &[f64], b: &mut [f64]) {
    let n = b.len();
    for i in 0..n {
        for j in 0..i {
            b[i] -= factor[i * n + j] * b[j];
        }
        b[i] /= factor[i * (n + 1)];
    }
    for i in (0..n).rev() {
        for j in i + 1..n {
            b[i] -= factor[j * n + i] * b[j];
        }
        b[i] /= factor[i * (n + 1)];
    }
}
