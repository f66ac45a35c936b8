//! How many transitions of a Markov chain are worth one independent sample.

/// The integrated autocorrelation time τ = 1 + 2 Σ_{t ≥ 1} ρ_t in transitions, and its standard
/// error: a mean over N transitions is as good as one over N/τ independent samples. `series` is
/// [chains, transitions], of chains that start in equilibrium, so that the mean over all of them
/// counts.
///
/// The sum ends where that of two neighbours, ρ_2m + ρ_2m+1, is no longer positive, as it always is
/// for reversible chains, and these pairs do not rise (Geyer, Statist. Sci. 7 (1992), the initial
/// monotone sequence). The error is that of Madras & Sokal, J. Stat. Phys. 50 (1988), as if the
/// sum's end were fixed. `None` if the sum has not ended after half of a chain: chains that are too
/// short, or that stay where they started.
pub fn integrated_autocorrelation_time(series: &[f64], transitions: usize) -> Option<(f64, f64)> {
    let count = series.len() as f64;
    let mean = series.iter().sum::<f64>() / count;
    let deviations: Vec<f64> = series.iter().map(|value| value - mean).collect();
    let covariance = |lag: usize| {
        let products = deviations.chunks_exact(transitions).flat_map(|chain| {
            chain.iter().zip(&chain[lag..]).map(|(earlier, later)| earlier * later)
        });
        let pairs = (series.len() / transitions * (transitions - lag)) as f64;
        products.sum::<f64>() / pairs
    };
    if transitions < 4 || series.len() < transitions {
        return None;
    }
    let variance = covariance(0);
    if !(variance.is_finite() && variance > 0.0) {
        return None;
    }
    let (mut sum, mut last) = (0.0, f64::INFINITY);
    for lag in (0..).step_by(2) {
        if 2 * (lag + 1) > transitions {
            return None;
        }
        let pair = (covariance(lag) + covariance(lag + 1)) / variance;
        if pair <= 0.0 {
            let time: f64 = 2.0 * sum - 1.0;
            let error = time * (2.0 * (2.0 * lag as f64 + 1.0) / count).sqrt();
            // Chains whose neighbours are almost opposite: no mean of them is that good.
            return (time > 0.0).then_some((time, error));
        }
        last = pair.min(last);
        sum += last;
    }
    None
}
