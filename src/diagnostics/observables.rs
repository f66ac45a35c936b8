//! Averages over a target from weighted samples, with their standard errors.
//!
//! All are ratios of sums over independent samples; the errors are those of the delta method, √(Σ
//! wᵢ² hᵢ²)/Σw with the influence hᵢ of a sample (Owen, Monte Carlo theory, 2013, ch. 9). Where
//! only populations of samples are independent, their influences are added first.

use super::weights::{error_of_populations, log_sum_exp, reweighted_mean_of, Independent};

/// Variance Σw(f − f̄)²/Σw and its standard error; of U/kT it is the configurational heat capacity
/// in units of k. Samples of weight zero do not count, whatever their value.
///
/// The influence of a sample on a variance V is (f − f̄)² − V: that of the mean vanishes.
pub fn reweighted_variance(
    log_weights: &[f64],
    values: &[f64],
    independent: Independent<'_>,
) -> (f64, f64) {
    let (mean, _) = reweighted_mean_of(log_weights, values, independent);
    let squares: Vec<f64> = values.iter().map(|f| (f - mean).powi(2)).collect();
    reweighted_mean_of(log_weights, &squares, independent)
}

/// −ln(Z_B/Z_A), the free energy of B over that of A in units of kT, and its standard error.
///
/// `log_weights` are those of samples towards A, and `changes` are log p_B − log p_A of each, such
/// as U_A/kT_A − U_B/kT_B, −∞ where B has no density.
pub fn free_energy_difference(log_weights: &[f64], changes: &[f64]) -> (f64, f64) {
    let towards_b = reweighted(log_weights, changes);
    let (total_a, total_b) = (log_sum_exp(log_weights), log_sum_exp(&towards_b));
    // Influence on ln(Σw_B/Σw_A): the difference of a sample's shares in the two sums.
    let share = |weight: f64, total: f64| match (weight - total).exp() {
        share if share.is_finite() => share,
        _ => 0.0,
    };
    let squares: f64 = log_weights
        .iter()
        .zip(&towards_b)
        .map(|(a, b)| (share(*b, total_b) - share(*a, total_a)).powi(2))
        .sum();
    if !(total_a.is_finite() && total_b.is_finite()) {
        return (f64::NAN, f64::NAN);
    }
    (total_a - total_b, squares.sqrt())
}

/// The log weights towards another density; a sample without a weight gets none by any change.
pub fn reweighted(log_weights: &[f64], changes: &[f64]) -> Vec<f64> {
    let changed = log_weights.iter().zip(changes).map(|(weight, change)| weight + change);
    changed.map(|weight| if weight.is_finite() { weight } else { f64::NEG_INFINITY }).collect()
}

/// A density in bins from several values of each sample, such as its pair distances, with the
/// standard error of each bin. Samples come one by one and are not kept.
#[derive(Debug, Clone)]
pub struct WeightedHistogram {
    range: [f64; 2],
    /// All sums are of weights over exp(`largest`).
    largest: f64,
    /// Σw and Σw².
    total: [f64; 2],
    /// Σwf, Σw²f and Σw²f², f being a sample's own density in the bin.
    sums: Vec<[f64; 3]>,
}

impl WeightedHistogram {
    /// An empty one with `bins` bins over `range`.
    pub fn new(range: [f64; 2], bins: usize) -> Self {
        Self { range, largest: f64::NEG_INFINITY, total: [0.0; 2], sums: vec![[0.0; 3]; bins] }
    }

    /// Width of a bin.
    pub fn bin_width(&self) -> f64 {
        (self.range[1] - self.range[0]) / self.sums.len() as f64
    }

    /// Adds the `values` of a sample; those outside the range count in the total only.
    pub fn add(&mut self, log_weight: f64, values: &[f64]) {
        if !log_weight.is_finite() || values.is_empty() {
            return;
        }
        if log_weight > self.largest {
            let shrink = (self.largest - log_weight).exp();
            let squared = shrink * shrink;
            self.total = [self.total[0] * shrink, self.total[1] * squared];
            for [first, second, third] in &mut self.sums {
                (*first, *second, *third) = (*first * shrink, *second * squared, *third * squared);
            }
            self.largest = log_weight;
        }
        let weight = (log_weight - self.largest).exp();
        self.total[0] += weight;
        self.total[1] += weight * weight;
        let (low, width) = (self.range[0], self.bin_width());
        let bin = |value: f64| ((value - low) / width).floor();
        let mut bins: Vec<usize> = values
            .iter()
            .map(|value| bin(*value))
            .filter(|bin| *bin >= 0.0 && *bin < self.sums.len() as f64)
            .map(|bin| bin as usize)
            .collect();
        bins.sort_unstable();
        for same in bins.chunk_by(|a, b| a == b) {
            let density = same.len() as f64 / (values.len() as f64 * width);
            if let Some([first, second, third]) = same.first().and_then(|&b| self.sums.get_mut(b)) {
                *first += weight * density;
                *second += weight * weight * density;
                *third += weight * weight * density * density;
            }
        }
    }

    /// (centre, density, standard error) of each bin.
    pub fn bins(&self) -> Vec<(f64, f64, f64)> {
        let [total, squares] = self.total;
        let centre = |bin: usize| self.range[0] + (bin as f64 + 0.5) * self.bin_width();
        let row = |(bin, [first, second, third]): (usize, &[f64; 3])| {
            let mean = first / total;
            // Σw²(f − m)².
            let variance = (third - 2.0 * mean * second + mean * mean * squares).max(0.0);
            (centre(bin), mean, variance.sqrt() / total)
        };
        self.sums.iter().enumerate().map(row).collect()
    }

    /// [`bins`](Self::bins) of all samples in histograms of one range, each of an independent
    /// population; in a single one all samples are independent.
    pub fn bins_of(populations: &[Self]) -> Vec<(f64, f64, f64)> {
        let [first, _, ..] = populations else {
            return populations.first().map(Self::bins).unwrap_or_default();
        };
        let largest = populations.iter().map(|p| p.largest).fold(f64::NEG_INFINITY, f64::max);
        // One without samples has no weight.
        let scale = |of: &Self| match (of.largest - largest).exp() {
            scale if scale.is_finite() => scale,
            _ => 0.0,
        };
        let total: f64 = populations.iter().map(|of| scale(of) * of.total[0]).sum();
        let row = |(bin, (centre, ..)): (usize, (f64, f64, f64))| {
            let sum = |of: &Self| scale(of) * of.sums[bin][0];
            let mean = populations.iter().map(sum).sum::<f64>() / total;
            let influence = |of: &Self| (sum(of) - mean * scale(of) * of.total[0]) / total;
            let influences: Vec<f64> = populations.iter().map(influence).collect();
            (centre, mean, error_of_populations(&influences))
        };
        first.bins().into_iter().enumerate().map(row).collect()
    }
}
