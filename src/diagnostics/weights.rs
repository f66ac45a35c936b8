//! Effective sample sizes, normalising constants and likelihoods from log weights.
//!
//! Everywhere a weight whose logarithm is −∞ or not a number counts as zero.

use serde::{Deserialize, Serialize};

/// How many equally weighted samples a weighted set is worth.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct EffectiveSampleSize {
    /// Share of all samples, between 0 and 1.
    pub fraction: f64,
    /// Number of samples.
    pub count: f64,
}

impl EffectiveSampleSize {
    fn new(fraction: f64, samples: usize) -> Self {
        let fraction = if fraction.is_finite() { fraction.clamp(0.0, 1.0) } else { 0.0 };
        Self { fraction, count: fraction * samples as f64 }
    }
}

/// log Σ exp(v), without overflow; −∞ of nothing.
pub fn log_sum_exp(values: &[f64]) -> f64 {
    let largest = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if !largest.is_finite() {
        return largest;
    }
    let sum: f64 = values.iter().filter(|v| !v.is_nan()).map(|v| (v - largest).exp()).sum();
    largest + sum.ln()
}

/// log of the mean of exp(v), without overflow.
pub fn log_mean_exp(values: &[f64]) -> f64 {
    log_sum_exp(values) - (values.len() as f64).ln()
}

/// Kish's (Σw)² / Σw²; for weights p/q of draws from q it is the reverse effective sample size.
///
/// 0 if every weight is zero.
pub fn effective_sample_size(log_weights: &[f64]) -> EffectiveSampleSize {
    let doubled: Vec<f64> = log_weights.iter().map(|w| 2.0 * w).collect();
    let log_count = 2.0 * log_sum_exp(log_weights) - log_sum_exp(&doubled);
    EffectiveSampleSize::new(log_count.exp() / log_weights.len() as f64, log_weights.len())
}

/// 1 / (mean(w) · mean(1/w)) over samples of the target, w = p/q: the forward effective sample
/// size.
///
/// It falls when q misses parts of p, which the reverse one does not show; 0 if some sample of p
/// has no density under q or the other way round.
pub fn forward_effective_sample_size(log_weights: &[f64]) -> EffectiveSampleSize {
    if log_weights.iter().any(|w| !w.is_finite()) {
        return EffectiveSampleSize::new(0.0, log_weights.len());
    }
    let inverse: Vec<f64> = log_weights.iter().map(|w| -w).collect();
    let fraction = (-log_mean_exp(log_weights) - log_mean_exp(&inverse)).exp();
    EffectiveSampleSize::new(fraction, log_weights.len())
}

/// log Z = log mean(w) and its standard error by the delta method,
/// √(Σ(w/w̄ − 1)² / (N(N − 1))), for log weights of draws from a normalised density.
pub fn log_z_and_error(log_weights: &[f64]) -> (f64, f64) {
    let log_z = log_mean_exp(log_weights);
    if !log_z.is_finite() {
        return (log_z, f64::NAN);
    }
    let n = log_weights.len() as f64;
    let squares: f64 = log_weights
        .iter()
        .map(|w| if w.is_nan() { -1.0 } else { (w - log_z).exp() - 1.0 })
        .map(|deviation| deviation * deviation)
        .sum();
    (log_z, (squares / (n * (n - 1.0))).sqrt())
}

/// Mean negative log-likelihood of data points and its standard error over them.
///
/// `log_ratios` is [points, draws], log q(x, a_k) − log π(a_k | x) for draws a_k ~ π(· | x); log
/// q(x) is estimated by their log-mean-exp, which is biased low (the result is high) by an amount
/// that falls with the number of draws.
///
/// # Panics
/// If `draws` is 0.
pub fn negative_log_likelihood(log_ratios: &[f64], draws: usize) -> (f64, f64) {
    let per_point: Vec<f64> =
        log_ratios.chunks_exact(draws).map(|point| -log_mean_exp(point)).collect();
    mean_and_error(&per_point)
}

/// Mean and its standard error, of independent values.
pub fn mean_and_error(values: &[f64]) -> (f64, f64) {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let squares: f64 = values.iter().map(|v| (v - mean) * (v - mean)).sum();
    (mean, (squares / (n * (n - 1.0))).sqrt())
}

/// Share of the largest weight in the sum of all; 1/N for equal weights, 0 if all are zero.
pub fn largest_weight_share(log_weights: &[f64]) -> f64 {
    let largest = log_weights.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if largest == f64::NEG_INFINITY {
        return 0.0;
    }
    (-log_sum_exp(&log_weights.iter().map(|w| w - largest).collect::<Vec<_>>())).exp()
}

/// Which samples do not depend on each other.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Independent<'a> {
    /// All of them.
    Samples,
    /// Those of different populations; the population of each sample is given.
    Populations(&'a [usize]),
}

impl Independent<'_> {
    /// Populations that there are, one where all samples are independent.
    pub fn populations(self) -> usize {
        match self {
            Self::Samples => 1,
            Self::Populations(of) => of.iter().max().map_or(1, |last| last + 1),
        }
    }

    /// That of a sample; the first where all samples are independent.
    pub fn population(self, sample: usize) -> usize {
        match self {
            Self::Samples => 0,
            Self::Populations(of) => of.get(sample).copied().unwrap_or(0),
        }
    }

    /// Standard error of a statistic from the influence of each sample on it: √(Σ hᵢ²), or √(G/(G −
    /// 1) Σ_g (Σ_{i∈g} hᵢ)²) over G populations (Liang & Zeger, Biometrika 73 (1986)).
    pub fn error(self, influences: &[f64]) -> f64 {
        match self {
            Self::Samples => influences.iter().map(|h| h * h).sum::<f64>().sqrt(),
            Self::Populations(of) => {
                let mut sums = vec![0.0; self.populations()];
                of.iter().zip(influences).for_each(|(population, h)| sums[*population] += h);
                error_of_populations(&sums)
            }
        }
    }
}

/// √(G/(G − 1) Σ s²) over the G sums of influences of independent populations; not a number for a
/// single one.
pub(super) fn error_of_populations(sums: &[f64]) -> f64 {
    let count = sums.len() as f64;
    (count / (count - 1.0) * sums.iter().map(|sum| sum * sum).sum::<f64>()).sqrt()
}

/// A set whose Σw²/(Σw)² is larger is a single sample.
const ALONE: f64 = 0.999;

/// Self-normalised mean Σwf / Σw and its standard error √(Σw²(f − mean)²) / Σw for independent
/// samples (Owen, Monte Carlo theory, 2013, ch. 9). Samples of weight zero do not count, whatever
/// their value; the error of a single sample is not a number.
pub fn reweighted_mean(log_weights: &[f64], values: &[f64]) -> (f64, f64) {
    reweighted_mean_of(log_weights, values, Independent::Samples)
}

/// As [`reweighted_mean`], with the error of samples that may depend on each other.
pub fn reweighted_mean_of(
    log_weights: &[f64],
    values: &[f64],
    independent: Independent<'_>,
) -> (f64, f64) {
    let total = log_sum_exp(log_weights);
    if !total.is_finite() {
        return (f64::NAN, f64::NAN);
    }
    let share = |weight: f64| match (weight - total).exp() {
        share if share > 0.0 => share,
        _ => 0.0,
    };
    let weighted = |f: &dyn Fn(f64) -> f64| -> Vec<f64> {
        let each = log_weights.iter().zip(values).map(|(w, value)| (share(*w), *value));
        each.map(|(w, value)| if w > 0.0 { w * f(value) } else { 0.0 }).collect()
    };
    let mean: f64 = weighted(&|f| f).iter().sum();
    // One sample does not say how far it is from the mean.
    let squares: f64 = log_weights.iter().map(|w| share(*w).powi(2)).sum();
    let error = independent.error(&weighted(&|f| f - mean));
    (mean, if squares > ALONE { f64::NAN } else { error })
}
