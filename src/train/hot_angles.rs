//! Rare conformations, kept frequent: a defensive mixture (Hesterberg, Technometrics 37, 185, 1995)
//! of the target with what its dihedral angles do where it is hot.
//!
//! ```text
//! p′(x) ∝ p(x) (1 − λ + λ/K Σ_k h_k(φ_k)/ρ_k(φ_k))
//! ```
//!
//! h_k is the density of dihedral angle k at the temperature that the walkers started at, and ρ_k
//! that under p. As ∫ p h_k/ρ_k = 1, λ is a share of the samples, and p′ is never below (1 − λ) p:
//! a flow with the density p′ has a reverse ESS of 1 − λ at least, and in a well that p hardly
//! visits many more samples to learn it from.

use std::f64::consts::PI;

use rayon::prelude::*;

use super::problem::Problem;
use super::saved::Walk;

/// Bins of an angle's histogram.
const BINS: usize = 72;
/// What all bins of it have in addition, as a part of the whole.
const FLOOR: f64 = 1e-4;
/// What is left of a histogram's samples after a step.
const KEEP: f64 = 0.99;

/// Densities of the dihedral angles that turn, from the walkers themselves.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct HotAngles {
    /// λ: it follows from the step.
    pub(super) share: f64,
    /// Samples in each bin when the walkers started, [angles, bins].
    hot: Vec<f64>,
    /// The same at the temperature of the last steps, each sample with its weight p/p′.
    seen: Vec<f64>,
}

impl HotAngles {
    /// Lists what is saved.
    pub(super) fn list(&mut self, walk: &mut Walk<'_>) -> Result<(), String> {
        walk.double("walkers.hot_angles", &mut self.hot)?;
        walk.double("walkers.seen_angles", &mut self.seen)
    }

    /// Begins with walkers x, [walkers, particles, dimension], that are hot.
    pub(super) fn start(&mut self, problem: &Problem, x: &[f64]) {
        let angles = problem.flow.turning_angles(x);
        let walkers = x.len() / problem.flow.system().coordinates();
        self.hot = vec![0.0; angles.len() / walkers.max(1) * BINS];
        count(&mut self.hot, &angles, &vec![1.0; walkers]);
        self.seen = self.hot.clone();
    }

    /// ln p′/p of joint configurations, [samples, width].
    pub(super) fn log_factors(&self, problem: &Problem, joint: &[f64]) -> Vec<f64> {
        self.of_angles(&angles_of(problem, joint), joint.len() / problem.flow.width())
    }

    fn of_angles(&self, angles: &[f64], samples: usize) -> Vec<f64> {
        let count = self.hot.len() / BINS;
        // A file may hold those of another molecule.
        if count == 0 || angles.len() != samples * count || self.seen.len() != self.hot.len() {
            return vec![0.0; samples];
        }
        let [hot, seen] = [&self.hot, &self.seen].map(|counts| smooth(counts));
        let factor = |angles: &[f64]| {
            let ratio = |(k, angle): (usize, &f64)| {
                let at = k * BINS + bin(*angle);
                hot[at] / seen[at]
            };
            let mean = angles.iter().enumerate().map(ratio).sum::<f64>() / count as f64;
            (1.0 - self.share + self.share * mean).ln()
        };
        angles.chunks_exact(count).map(factor).collect()
    }

    /// Takes joint configurations of p′ into the densities under p; returns what ln p′/p of them
    /// was before.
    pub(super) fn follow(&mut self, problem: &Problem, joint: &[f64]) -> Vec<f64> {
        self.follow_angles(&angles_of(problem, joint), joint.len() / problem.flow.width())
    }

    fn follow_angles(&mut self, angles: &[f64], samples: usize) -> Vec<f64> {
        let factors = self.of_angles(angles, samples);
        let weights: Vec<f64> = factors.iter().map(|factor| (-factor).exp()).collect();
        self.seen.iter_mut().for_each(|bin| *bin *= KEEP);
        count(&mut self.seen, angles, &weights);
        factors
    }
}

/// [samples, angles] of joint configurations.
fn angles_of(problem: &Problem, joint: &[f64]) -> Vec<f64> {
    let coordinates = problem.flow.system().coordinates();
    let rows = joint.par_chunks_exact(problem.flow.width());
    rows.flat_map_iter(|row| problem.flow.turning_angles(&row[..coordinates])).collect()
}

fn bin(angle: f64) -> usize {
    (((angle + PI) / (2.0 * PI) * BINS as f64) as usize).min(BINS - 1)
}

/// Adds samples with these angles, [samples, angles], and weights.
fn count(bins: &mut [f64], angles: &[f64], weights: &[f64]) {
    let each = bins.len() / BINS;
    for (angles, weight) in angles.chunks_exact(each.max(1)).zip(weights) {
        for (bins, angle) in bins.chunks_exact_mut(BINS).zip(angles) {
            bins[bin(*angle)] += weight;
        }
    }
}

/// Densities over bins, of mean one: each bin counts for its neighbours, too.
fn smooth(counts: &[f64]) -> Vec<f64> {
    let of_one = |bins: &[f64]| -> Vec<f64> {
        let mean = bins.iter().sum::<f64>() / BINS as f64;
        let at = |k: usize| bins[k % BINS] / mean;
        let density = |k| 0.25 * at(k + BINS - 1) + 0.5 * at(k) + 0.25 * at(k + 1);
        (0..BINS).map(|k| (density(k) + FLOOR) / (1.0 + FLOOR)).collect()
    };
    counts.chunks_exact(BINS).flat_map(of_one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The middle of a bin.
    fn middle(bin: usize) -> f64 {
        (2.0 * PI) * (bin as f64 + 0.5) / BINS as f64 - PI
    }

    /// 10⁵ samples of one angle, of which `rare` are in a second well.
    fn wells(rare: f64) -> Vec<f64> {
        let density = |k: usize, at: f64| (-0.5 * ((k as f64 - at) / 4.0).powi(2)).exp();
        let well = |at: f64| -> Vec<f64> {
            let sum: f64 = (0..BINS).map(|k| density(k, at)).sum();
            (0..BINS).map(|k| density(k, at) / sum).collect()
        };
        let (first, second) = (well(20.0), well(50.0));
        first.iter().zip(second).map(|(a, b)| 1e5 * ((1.0 - rare) * a + rare * b)).collect()
    }

    /// The mixture's factor at a bin.
    fn factor(angles: &HotAngles, bin: usize) -> f64 {
        angles.of_angles(&[middle(bin)], 1)[0].exp()
    }

    #[test]
    fn the_mixture_has_the_rare_well_more_often_and_loses_no_more_than_its_share() {
        let mixture = HotAngles { share: 0.2, hot: wells(0.3), seen: wells(1e-3) };
        let density = smooth(&mixture.seen);
        let share = |bins: std::ops::Range<usize>| {
            bins.map(|k| density[k] * factor(&mixture, k)).sum::<f64>() / BINS as f64
        };
        assert!((share(0..BINS) - 1.0).abs() < 1e-12, "a density");
        let rare = share(36..BINS);
        let expected = 0.8 * 1e-3 + 0.2 * 0.3;
        assert!((rare / expected - 1.0).abs() < 0.01, "{rare} {expected}");
        assert!((0..BINS).all(|k| factor(&mixture, k) >= 0.8 - 1e-12));
        // Planted: without the share there is nothing of it.
        let none = HotAngles { share: 0.0, ..mixture };
        assert!((0..BINS).all(|k| (factor(&none, k) - 1.0).abs() < 1e-12));
        assert_eq!(HotAngles::default().of_angles(&[0.3], 1), [0.0], "before the start");
    }

    #[test]
    fn densities_of_the_target_follow_from_samples_of_the_mixture() {
        let (hot, target) = (wells(0.3), wells(1e-3));
        let mut mixture = HotAngles { share: 0.2, seen: hot.clone(), hot };
        let mut unweighted = mixture.seen.clone();
        let mut rng = crate::random::stream(4, crate::random::Purpose::Walkers, 0, 0);
        for _ in 0..1500 {
            // Samples of the mixture as it is.
            let weights: Vec<f64> =
                (0..BINS).map(|k| target[k] * factor(&mixture, k) / 1e5).collect();
            let choice = rand_distr::WeightedAliasIndex::new(weights).unwrap();
            let angles: Vec<f64> = (0..2000)
                .map(|_| middle(rand_distr::Distribution::sample(&choice, &mut rng)))
                .collect();
            mixture.follow_angles(&angles, angles.len());
            unweighted.iter_mut().for_each(|bin| *bin *= KEEP);
            count(&mut unweighted, &angles, &vec![1.0; angles.len()]);
        }
        let rare = |bins: &[f64]| bins[36..].iter().sum::<f64>() / bins.iter().sum::<f64>();
        // Some 10⁴ samples are remembered there, whose factors are a tenth off.
        assert!((rare(&mixture.seen) / 1e-3 - 1.0).abs() < 0.1, "{}", rare(&mixture.seen));
        // Planted: without the weights it is the mixture's.
        assert!(rare(&unweighted) > 0.03, "{}", rare(&unweighted));
    }
}
