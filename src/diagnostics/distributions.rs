//! Distributions of energies and distances, and how far two of them are apart.

use crate::system::System;

/// A one-dimensional density in bins of equal width.
#[derive(Debug, Clone, PartialEq)]
pub struct Histogram {
    /// Bin edges, `[bins + 1]`.
    pub edges: Vec<f64>,
    /// Density in each bin, `[bins]`; its integral is the share of the weight within the range.
    pub density: Vec<f64>,
}

/// Histogram of `values` over `range`, weighted by exp(`log_weights`) if given.
///
/// The density is that of the whole distribution: what lies outside of the range counts in the total.
/// Two histograms can therefore be compared whatever their range.
pub fn histogram(
    values: &[f64],
    log_weights: Option<&[f64]>,
    range: [f64; 2],
    bins: usize,
) -> Histogram {
    let [low, high] = range;
    let bin_width = (high - low) / bins as f64;
    let edges = (0..=bins).map(|i| low + bin_width * i as f64).collect();
    let mut density = vec![0.0; bins];
    let log_total = match log_weights {
        Some(log_weights) => super::log_sum_exp(log_weights),
        None => (values.len() as f64).ln(),
    };
    for (index, value) in values.iter().enumerate() {
        if !(low..high).contains(value) {
            continue;
        }
        let log_weight = log_weights.map_or(0.0, |w| w[index]);
        let share = (log_weight - log_total).exp();
        if share.is_finite() {
            let bin = (((value - low) / bin_width) as usize).min(bins.saturating_sub(1));
            density[bin] += share / bin_width;
        }
    }
    Histogram { edges, density }
}

/// Distances of all pairs i < j of each configuration: [samples, n(n − 1)/2] from `x`
/// [samples, particles, dimension].
pub fn pair_distances(system: System, x: &[f64]) -> Vec<f64> {
    let (n, d) = (system.particles(), system.dimension());
    let mut distances = Vec::with_capacity(x.len() / (n * d) * n * (n - 1) / 2);
    for row in x.chunks_exact(n * d) {
        for (i, a) in row.chunks_exact(d).enumerate() {
            for b in row[(i + 1) * d..].chunks_exact(d) {
                let squares: f64 = a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum();
                distances.push(squares.sqrt());
            }
        }
    }
    distances
}

/// Wasserstein-2 distance of two samples of a real number, such as energies: the root mean square
/// difference of their quantiles, which is the optimal coupling in one dimension. The samples may
/// differ in size. Not a number if one is empty.
pub fn energy_wasserstein(first: &[f64], second: &[f64]) -> f64 {
    if first.is_empty() || second.is_empty() {
        return f64::NAN;
    }
    let sorted = |values: &[f64]| {
        let mut values = values.to_vec();
        values.sort_by(f64::total_cmp);
        values
    };
    let (first, second) = (sorted(first), sorted(second));
    let (n, m) = (first.len(), second.len());
    // Both quantile functions are steps; n·m units of probability make every step a whole number.
    let (mut i, mut j, mut done, mut sum) = (0, 0, 0, 0.0);
    while i < n && j < m {
        let next = ((i + 1) * m).min((j + 1) * n);
        sum += (next - done) as f64 * (first[i] - second[j]).powi(2);
        done = next;
        i += usize::from((i + 1) * m == next);
        j += usize::from((j + 1) * n == next);
    }
    (sum / (n as f64 * m as f64)).sqrt()
}
