//! Systematic resampling (Carpenter, Clifford & Fearnhead, IEE Proc. 146 (1999)).

use crate::diagnostics::log_sum_exp;

/// For each of as many places as there are weights, the index of the sample that goes there: sample i
/// comes N wᵢ/Σw times, rounded up or down. `offset` is uniform on [0, 1). `None` if no weight is
/// finite.
pub fn resample_systematically(log_weights: &[f64], offset: f64) -> Option<Vec<usize>> {
    let size = log_weights.len();
    let log_total = log_sum_exp(log_weights);
    if !log_total.is_finite() {
        return None;
    }
    let weight = |index: usize| (log_weights[index] - log_total).exp();
    let (mut source, mut cumulative) = (0, weight(0));
    let chosen = (0..size).map(|place| {
        let quantile = (place as f64 + offset) / size as f64;
        while cumulative < quantile && source + 1 < size {
            source += 1;
            cumulative += weight(source);
        }
        source
    });
    Some(chosen.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_sample_comes_as_often_as_its_weight_says() {
        let logs: Vec<f64> = [1.0f64, 0.0, 2.5, 4.5].iter().map(|w| w.ln()).collect();
        for offset in [0.0, 0.3, 0.7, 0.999] {
            let chosen = resample_systematically(&logs, offset).unwrap();
            let count = |index| chosen.iter().filter(|&&c| c == index).count();
            assert!(count(0) <= 1 && count(1) == 0, "{chosen:?}");
            assert!((1..=2).contains(&count(2)) && (2..=3).contains(&count(3)), "{chosen:?}");
        }
        assert_eq!(resample_systematically(&[f64::NEG_INFINITY; 3], 0.5), None);
    }
}
