//! The shape of the weights' tail: whether an effective sample size can be believed.

use super::weights::largest_weight_share;

/// Pareto k̂ of the largest min(N/5, 3√N) weights.
///
/// Under about 0.7 the weights have moments enough for importance sampling to converge; over 1 they
/// have no mean. ∞ if the tail is too short for a fit. Generalised Pareto fit by Zhang & Stephens,
/// Technometrics 51 (2009), with the weak prior and the tail length of Vehtari, Simpson, Gelman,
/// Yao & Gabry, arXiv:1507.02646.
pub fn pareto_k(log_weights: &[f64]) -> f64 {
    let mut sorted: Vec<f64> = log_weights.iter().copied().filter(|w| !w.is_nan()).collect();
    sorted.sort_by(f64::total_cmp);
    let n = sorted.len();
    let tail = (0.2 * n as f64).min(3.0 * (n as f64).sqrt()).ceil() as usize;
    if tail < 5 || tail >= n || !sorted[n - 1].is_finite() {
        return f64::INFINITY;
    }
    let largest = sorted[n - 1];
    let cutoff = (sorted[n - tail - 1] - largest).max(f64::MIN_POSITIVE.ln()).exp();
    let exceedances: Vec<f64> = sorted[n - tail..]
        .iter()
        .map(|w| (w - largest).exp() - cutoff)
        .filter(|excess| *excess > 0.0)
        .collect();
    if exceedances.len() < 5 {
        return f64::INFINITY;
    }
    generalised_pareto_shape(&exceedances)
}

/// Whether the effective sample size and the averages by these weights rest on few samples: there
/// is no weight at all, the largest has over 5 % of their sum or over a fifth of the sum of their
/// squares, or the tail is too heavy to have a variance (k̂ > 0.7).
///
/// The squares are what an effective sample size is made of: without that one sample it would be a
/// quarter larger.
pub fn rests_on_few(log_weights: &[f64]) -> bool {
    let doubled: Vec<f64> = log_weights.iter().map(|w| 2.0 * w).collect();
    let of_squares = largest_weight_share(&doubled);
    are_few(largest_weight_share(log_weights), of_squares, pareto_k(log_weights))
}

/// [`rests_on_few`], from the largest weight's share in the sum of the weights and in that of their
/// squares, and k̂, which may be unknown: not a number.
pub fn are_few(share: f64, of_squares: f64, k: f64) -> bool {
    share == 0.0 || share > 0.05 || of_squares > 0.2 || (k.is_finite() && k > 0.7)
}

/// Posterior-mean shape of a generalised Pareto distribution for ascending positive `x`, shrunk
/// towards 1/2 with the weight of ten observations.
fn generalised_pareto_shape(x: &[f64]) -> f64 {
    let n = x.len() as f64;
    let quartile = x[((n / 4.0 + 0.5) as usize).saturating_sub(1)];
    let points = 30 + n.sqrt() as usize;
    let shape = |b: f64| x.iter().map(|x| (-b * x).ln_1p()).sum::<f64>() / n;
    let (mut candidates, mut log_likelihoods) = (Vec::new(), Vec::new());
    for index in 1..=points {
        let b = 1.0 / x[x.len() - 1]
            + (1.0 - (points as f64 / (index as f64 - 0.5)).sqrt()) / (3.0 * quartile);
        let k = shape(b);
        let log_likelihood = n * ((-b / k).ln() - k - 1.0);
        if log_likelihood.is_finite() {
            candidates.push(b);
            log_likelihoods.push(log_likelihood);
        }
    }
    let total = super::log_sum_exp(&log_likelihoods);
    let b: f64 = candidates.iter().zip(&log_likelihoods).map(|(b, l)| b * (l - total).exp()).sum();
    (n * shape(b) + 5.0) / (n + 10.0)
}
