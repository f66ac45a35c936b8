//! Means over populations in proportion to their Z, with jackknife errors.

use crate::diagnostics::{log_mean_exp, log_sum_exp};
use crate::sampling::Systematic;

/// The log Z of every population, of which some may be left out.
#[derive(Clone)]
pub(super) struct Pool {
    log_zs: Vec<f64>,
    without: Option<usize>,
}

impl Pool {
    /// All populations.
    pub(super) fn of(log_zs: Vec<f64>) -> Self {
        Self { log_zs, without: None }
    }

    fn kept(&self) -> impl Iterator<Item = (usize, f64)> + '_ {
        let all = self.log_zs.iter().copied().enumerate();
        all.filter(|(index, _)| Some(*index) != self.without)
    }

    /// The log of the mean of Z.
    pub(super) fn log_mean(&self) -> f64 {
        log_mean_exp(&self.kept().map(|(_, log_z)| log_z).collect::<Vec<_>>())
    }

    /// Σ Z f / Σ Z for a value of each population.
    pub(super) fn mean_value(&self, values: &[f64]) -> f64 {
        let total = log_sum_exp(&self.kept().map(|(_, log_z)| log_z).collect::<Vec<_>>());
        self.kept().map(|(index, log_z)| (log_z - total).exp() * values[index]).sum()
    }

    /// The jackknife error of a function of the populations (Efron & Stein, Ann. Stat. 9 (1981)).
    pub(super) fn error(&self, value: impl Fn(&Self) -> f64) -> f64 {
        let count = self.log_zs.len();
        let without = |index| Self { without: Some(index), ..self.clone() };
        let values: Vec<f64> = (0..count).map(|index| value(&without(index))).collect();
        let mean = values.iter().sum::<f64>() / count as f64;
        let squares: f64 = values.iter().map(|v| (v - mean) * (v - mean)).sum();
        (squares * (count as f64 - 1.0) / count as f64).sqrt()
    }

    /// A mean and its error.
    pub(super) fn mean(&self, values: &[f64]) -> (f64, f64) {
        (self.mean_value(values), self.error(|pool| pool.mean_value(values)))
    }

    /// log Z and its error.
    pub(super) fn log_z(&self) -> (f64, f64) {
        (self.log_mean(), self.error(Self::log_mean))
    }

    /// (Σ Z)²/Σ Z².
    pub(super) fn effective(&self) -> f64 {
        let twice: Vec<f64> = self.log_zs.iter().map(|z| 2.0 * z).collect();
        (2.0 * log_sum_exp(&self.log_zs) - log_sum_exp(&twice)).exp()
    }

    /// (population, chain) of `samples` samples, from populations of `chains` chains each in
    /// proportion to their Z. Every part of the list has all populations in proportion; a chain
    /// comes twice only if its population has to give more than it has. `offset` is uniform on
    /// [0, 1).
    pub(super) fn choose(&self, samples: usize, chains: usize, offset: f64) -> Vec<(usize, usize)> {
        let mut systematic = Systematic::new(samples, offset);
        self.log_zs.iter().for_each(|log_z| systematic.add(*log_z));
        let mut chosen = Vec::with_capacity(samples);
        for (population, log_z) in self.log_zs.iter().enumerate() {
            let copies = systematic.copies(*log_z, population + 1 == self.log_zs.len());
            chosen.extend((0..copies).map(|copy| {
                // Neighbouring chains may have the same ancestor: those chosen lie far apart.
                let chain = if copies <= chains { copy * chains / copies } else { copy % chains };
                ((copy as f64 + 0.5) / copies as f64, population, chain)
            }));
        }
        chosen.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        chosen.into_iter().map(|(_, population, chain)| (population, chain)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_come_from_populations_in_proportion_to_their_z() {
        let pool = Pool::of([1.0, 2.0, 5.0].map(f64::ln).to_vec());
        let chosen = pool.choose(80, 40, 0.5);
        for (population, expected) in [(0, 10), (1, 20), (2, 50)] {
            let of = chosen.iter().filter(|chosen| chosen.0 == population);
            assert_eq!(of.clone().count(), expected);
            assert!(of.clone().all(|chosen| chosen.1 < 40));
            let first_half = chosen[..40].iter().filter(|chosen| chosen.0 == population).count();
            assert!(first_half.abs_diff(expected / 2) <= 1);
        }
        let mut distinct: Vec<_> = chosen.iter().filter(|chosen| chosen.0 < 2).collect();
        distinct.sort_unstable();
        distinct.dedup();
        assert_eq!(distinct.len(), 30);
        assert!((pool.mean_value(&[8.0, 0.0, 0.0]) - 1.0).abs() < 1e-12);
        assert!((pool.effective() - 64.0 / 30.0).abs() < 1e-12);
    }

    #[test]
    fn errors_of_equal_populations_are_those_of_a_mean() {
        let values = [1.0, 4.0, 2.0, 0.0, 3.0];
        let (mean, error) = Pool::of(vec![7.0; 5]).mean(&values);
        let expected = crate::diagnostics::mean_and_error(&values);
        assert!((mean - expected.0).abs() < 1e-12 && (error - expected.1).abs() < 1e-12);
    }
}
