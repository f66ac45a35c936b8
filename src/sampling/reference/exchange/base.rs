//! A density over a molecule's positions that can be drawn from, fitted to samples: Z of the
//! hottest temperature follows from both by Bennett's acceptance ratio.
//!
//! Stiff internal coordinates are a Gaussian with their full covariance, dihedral angles about
//! bonds that can turn are histograms, each by itself.

use std::f64::consts::PI;

use rand::Rng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};

use crate::molecule::{counted_from, wrapped, Internal, Normal, Tree};

/// Bins of a dihedral angle.
const BINS: usize = 72;
/// What every bin of a histogram has in addition, as a part of the mean.
const FLOOR: f64 = 0.05;

/// A fitted density.
#[derive(Debug, Clone)]
pub(super) struct Base<'a> {
    tree: &'a Tree,
    mean: Vec<f64>,
    /// Cholesky factor of the covariance, lower, [row, column].
    factor: Vec<f64>,
    log_determinant: f64,
    /// Probability of each bin of each soft angle.
    bins: Vec<[f64; BINS]>,
}

impl<'a> Base<'a> {
    /// Fits samples, each [atoms, 3].
    pub fn fit<'x>(tree: &'a Tree, samples: impl Iterator<Item = &'x [f64]>) -> Self {
        let [stiff, soft] = tree.sizes();
        let all: Vec<Internal> = samples.map(|x| tree.internal(x).0).collect();
        let mut bins = vec![[0.0; BINS]; soft];
        for internal in &all {
            for (bins, angle) in bins.iter_mut().zip(&internal.soft) {
                bins[bin(*angle)] += 1.0;
            }
        }
        for bins in &mut bins {
            let floor = FLOOR * all.len().max(1) as f64 / BINS as f64;
            let sum = bins.iter().sum::<f64>() + floor * BINS as f64;
            bins.iter_mut().for_each(|bin| *bin = (*bin + floor) / sum);
        }
        let first = all.first().map_or(vec![0.0; stiff], |internal| internal.stiff.clone());
        let turns = tree.first_turn();
        let apart = |internal: &Internal| counted_from(&first, &internal.stiff, |k| k >= turns);
        let rows: Vec<Vec<f64>> = all.iter().map(apart).collect();
        let Normal { mean, factor } = Normal::of(&rows, stiff);
        let log_determinant = factor.iter().step_by(stiff + 1).map(|l| 2.0 * l.ln()).sum();
        let mean = mean.iter().zip(&first).map(|(mean, first)| mean + first).collect();
        Self { tree, mean, factor, log_determinant, bins }
    }

    /// Draws a configuration, [atoms, 3]; `None` where a length or an angle is
    /// impossible, and for an angle more than half a turn from the mean, which counts as another.
    pub fn draw(&self, rng: &mut ChaCha8Rng) -> Option<Vec<f64>> {
        let n = self.mean.len();
        let normal: Vec<f64> = (0..n).map(|_| StandardNormal.sample(rng)).collect();
        let part = |i: usize| (0..=i).map(|j| self.factor[i * n + j] * normal[j]).sum::<f64>();
        let apart: Vec<f64> = (0..n).map(part).collect();
        if apart[self.tree.first_turn()..].iter().any(|turn| turn.abs() > PI) {
            return None;
        }
        let stiff = apart.iter().zip(&self.mean).map(|(apart, mean)| mean + apart).collect();
        let soft = self.bins.iter().map(|bins| {
            let mut rest: f64 = rng.gen();
            let chosen = bins.iter().position(|bin| {
                rest -= bin;
                rest < 0.0
            });
            let place = chosen.unwrap_or(BINS - 1) as f64 + rng.gen::<f64>();
            2.0 * PI * place / BINS as f64 - PI
        });
        self.tree.positions(&Internal { stiff, soft: soft.collect() })
    }

    /// log of the density at `x` on the subspace of zero centre of mass; the mirror image of what
    /// is drawn has none.
    pub fn log_density(&self, x: &[f64]) -> f64 {
        let (internal, volume) = self.tree.internal(x);
        let n = self.mean.len();
        let turns = self.tree.first_turn();
        let mut solved = vec![0.0; n];
        let mut square = 0.0;
        for i in 0..n {
            let apart = internal.stiff[i] - self.mean[i];
            let mut rest = if i < turns { apart } else { wrapped(apart) };
            for (j, solved) in solved[..i].iter().enumerate() {
                rest -= self.factor[i * n + j] * solved;
            }
            solved[i] = rest / self.factor[i * n + i];
            square += solved[i] * solved[i];
        }
        let gaussian = -0.5 * (square + n as f64 * (2.0 * PI).ln() + self.log_determinant);
        let width = (2.0 * PI / BINS as f64).ln();
        let turned = self.bins.iter().zip(&internal.soft);
        let soft: f64 = turned.map(|(bins, angle)| bins[bin(*angle)].ln() - width).sum();
        // 8π² orientations, and n^(−3/2) as the subspace has an orthonormal basis.
        let atoms = (x.len() / 3) as f64;
        gaussian + soft + 1.5 * atoms.ln() - (8.0 * PI * PI).ln() - volume
    }
}

fn bin(angle: f64) -> usize {
    (((angle + PI) / (2.0 * PI) * BINS as f64) as usize).min(BINS - 1)
}
