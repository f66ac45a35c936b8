//! Weighted histograms and quantiles, as far as figures need them.

/// Relative weights exp(log w − max log w) for finite entries, 0 for the others.
pub(super) fn weights(log_weights: &[f64]) -> Vec<f64> {
    let largest = log_weights.iter().copied().filter(|w| w.is_finite()).fold(f64::MIN, f64::max);
    log_weights.iter().map(|w| if w.is_finite() { (w - largest).exp() } else { 0.0 }).collect()
}

/// Finite values with their positive weights, by value.
pub(super) struct WeightedValues {
    sorted: Vec<(f64, f64)>,
    total: f64,
}

impl WeightedValues {
    /// `values` may hold several values for each of the `weights`, sample by sample.
    pub fn new(values: &[f64], weights: Option<&[f64]>) -> Self {
        let each = weights.map_or(1, |w| values.len() / w.len().max(1)).max(1);
        let weight =
            |index: usize| weights.map_or(1.0, |w| w.get(index / each).map_or(0.0, |w| *w));
        let mut sorted: Vec<_> = values
            .iter()
            .enumerate()
            .map(|(index, value)| (*value, weight(index)))
            .filter(|(value, weight)| value.is_finite() && *weight > 0.0)
            .collect();
        sorted.sort_by(|a, b| a.0.total_cmp(&b.0));
        let total = sorted.iter().map(|(_, weight)| weight).sum();
        Self { sorted, total }
    }

    pub fn is_empty(&self) -> bool {
        self.sorted.is_empty()
    }

    pub fn len(&self) -> usize {
        self.sorted.len()
    }

    /// The value below which this share of the weight lies.
    pub fn quantile(&self, share: f64) -> f64 {
        let mut sum = 0.0;
        for (value, weight) in &self.sorted {
            sum += weight;
            if sum >= share * self.total {
                return *value;
            }
        }
        self.sorted.last().map_or(f64::NAN, |(value, _)| *value)
    }

    /// The share of the weight outside a range.
    pub fn outside(&self, (low, high): (f64, f64)) -> f64 {
        let out: f64 =
            self.sorted.iter().filter(|(v, _)| *v < low || *v > high).map(|(_, w)| w).sum();
        out / self.total
    }

    /// Probability density in equal bins over a range, as the outline of the bars. It is normalised
    /// by the total weight, including what lies outside the range.
    pub fn outline(&self, bins: usize, (low, high): (f64, f64)) -> Vec<(f64, f64)> {
        if self.is_empty() {
            return Vec::new();
        }
        let width = (high - low) / bins as f64;
        let mut density = vec![0.0; bins];
        for (value, weight) in self.sorted.iter().filter(|(v, _)| (low..=high).contains(v)) {
            let bin = (((value - low) / width) as usize).min(bins - 1);
            density[bin] += weight / (self.total * width);
        }
        let mut outline = vec![(low, 0.0)];
        for (bin, height) in density.into_iter().enumerate() {
            outline.push((low + bin as f64 * width, height));
            outline.push((low + (bin + 1) as f64 * width, height));
        }
        outline.push((high, 0.0));
        outline
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_weighted_histogram_is_that_of_repeated_values() {
        let (values, weights) = ([1.0, 2.0, 3.0, f64::NAN], [1.0, 2.0, 1.0, 1.0]);
        let weighted = WeightedValues::new(&values, Some(&weights));
        let repeated = WeightedValues::new(&[1.0, 2.0, 2.0, 3.0], None);
        let range = (0.0, 4.0);
        assert_eq!(weighted.outline(4, range), repeated.outline(4, range));
        assert_eq!(weighted.quantile(0.5), 2.0);
        assert_eq!(weighted.outside((1.5, 4.0)), 0.25);
        // Two values per sample share its weight; a wrong assignment would move the median.
        let pairs = WeightedValues::new(&[0.0, 1.0, 5.0, 6.0], Some(&[3.0, 1.0]));
        assert_eq!(pairs.quantile(0.5), 1.0);
    }
}
