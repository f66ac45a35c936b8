//! Systematic resampling (Carpenter, Clifford & Fearnhead, IEE Proc. 146 (1999)).

/// Systematic resampling in two passes over a stream of weights: [`add`](Self::add) all of them,
/// then ask for the [`copies`](Self::copies) of each in the same order.
#[derive(Debug, Clone)]
pub struct Systematic {
    places: usize,
    offset: f64,
    /// The sum of all weights is `sum` · exp(`largest`).
    largest: f64,
    sum: f64,
    /// Share of the weights so far in the second pass, and places that are taken.
    cumulative: f64,
    taken: usize,
}

impl Systematic {
    /// For so many `places`; `offset` is uniform on [0, 1).
    pub fn new(places: usize, offset: f64) -> Self {
        let largest = f64::NEG_INFINITY;
        Self { places, offset, largest, sum: 0.0, cumulative: 0.0, taken: 0 }
    }

    /// Counts a weight in, in the first pass; one that is −∞ or not a number counts as zero.
    pub fn add(&mut self, log_weight: f64) {
        if log_weight > self.largest {
            self.sum *= (self.largest - log_weight).exp();
            self.largest = log_weight;
        }
        if log_weight > f64::NEG_INFINITY {
            self.sum += (log_weight - self.largest).exp();
        }
    }

    /// Whether there is any finite weight.
    pub fn is_possible(&self) -> bool {
        self.largest.is_finite() && self.sum.is_finite()
    }

    /// How many places the next sample of the second pass gets: places · w/Σw, rounded up or down.
    /// The last one takes what rounding of the sums may have left.
    pub fn copies(&mut self, log_weight: f64, is_last: bool) -> usize {
        if log_weight > f64::NEG_INFINITY {
            self.cumulative += (log_weight - self.largest).exp() / self.sum;
        }
        let below = (self.places as f64 * self.cumulative - self.offset).ceil().max(0.0) as usize;
        let end = if is_last { self.places } else { below.clamp(self.taken, self.places) };
        let copies = end - self.taken;
        self.taken = end;
        copies
    }
}

/// For each of as many places as there are weights, the index of the sample that goes there: sample
/// i comes N wᵢ/Σw times, rounded up or down. `offset` is uniform on [0, 1). `None` if no weight is
/// finite.
pub fn resample_systematically(log_weights: &[f64], offset: f64) -> Option<Vec<usize>> {
    let mut systematic = Systematic::new(log_weights.len(), offset);
    log_weights.iter().for_each(|weight| systematic.add(*weight));
    let mut chosen = Vec::with_capacity(log_weights.len());
    for (index, weight) in log_weights.iter().enumerate() {
        let copies = systematic.copies(*weight, index + 1 == log_weights.len());
        chosen.extend(std::iter::repeat_n(index, copies));
    }
    systematic.is_possible().then_some(chosen)
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

    #[test]
    fn a_stream_gives_other_numbers_of_places_than_weights_and_each_its_expectation() {
        let logs = [-700.0, 900.0, 901.0, f64::NEG_INFINITY, f64::NAN, 899.5];
        let total: f64 = [0.0f64, 1.0, -0.5].iter().map(|w| w.exp()).sum();
        let shares = [0.0, 1.0 / total, 1f64.exp() / total, 0.0, 0.0, (-0.5f64).exp() / total];
        for places in [1, 3, 1000] {
            let mut counts = [0; 6];
            let offsets = 1000;
            for k in 0..offsets {
                let mut systematic = Systematic::new(places, (k as f64 + 0.5) / offsets as f64);
                logs.iter().for_each(|w| systematic.add(*w));
                let copies: Vec<usize> =
                    (0..6).map(|i| systematic.copies(logs[i], i == 5)).collect();
                assert_eq!(copies.iter().sum::<usize>(), places);
                for ((count, copies), share) in counts.iter_mut().zip(&copies).zip(shares) {
                    assert!((*copies as f64 - places as f64 * share).abs() <= 1.0);
                    *count += copies;
                }
            }
            for (count, share) in counts.iter().zip(shares) {
                let mean = *count as f64 / offsets as f64;
                assert!((mean - places as f64 * share).abs() < 2e-3, "{mean} {share}");
            }
        }
    }
}
