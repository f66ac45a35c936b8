//! Where the reference sampler starts: Gaussians of one width, around the origin or around known
//! structures.

use rand::Rng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};

use super::population::{run_all, Run};
use crate::diagnostics::{log_mean_exp, log_sum_exp};
use crate::error::{Error, EvaluationError};
use crate::random::{stream, Purpose, ONCE};
use crate::sampling::{AugmentedTarget, LogDensity, Proposal, Subspace};

/// Populations, and chains of each, that find how far the target reaches.
const PILOT: Run = Run { populations: 4, chains: 64, first: 1 << 32 };

/// An equal mixture of Gaussians N(c, scale² I) around centres c, on the zero-centre-of-mass
/// subspace.
pub(super) struct Start {
    subspace: Subspace,
    /// One or more configurations.
    centres: Vec<Vec<f64>>,
    /// Standard deviation of a coordinate.
    pub(super) scale: f64,
}

impl Start {
    /// One Gaussian around the origin.
    pub(super) fn around_origin(subspace: Subspace, scale: f64) -> Self {
        Self { subspace, centres: vec![vec![0.0; subspace.width()]], scale }
    }

    /// The start for a target.
    ///
    /// Around known structures, the width is that of the Gaussian that fits best. Without any, a
    /// single Gaussian must cover all wells, and the one that fits best would lie in the deepest
    /// alone: a few chains are annealed from one twice as wide, and the width is that of what they
    /// find, which makes the Gaussian the nearest to the target in the forward Kullback-Leibler
    /// divergence. The widest of their populations counts.
    ///
    /// # Errors
    /// [`Error::Run`] if hardly any draw has a finite energy, and those of annealing.
    pub(super) fn of(target: &AugmentedTarget, seed: u64) -> Result<Self, Error> {
        let subspace = target.subspace();
        let mut start = Self::around_origin(subspace, 1.0);
        start.scale = start.best_scale(target, seed)?;
        let wide = Self { scale: 2.0 * start.scale, ..start };
        let freedom = subspace.system().degrees_of_freedom() as f64;
        let square = |x: &[f64]| x.iter().map(|x| x * x).sum::<f64>();
        let reach = run_all(target, &wide, PILOT, 1, seed)?
            .iter()
            .map(|found| (square(&found.positions) / (PILOT.chains as f64 * freedom)).sqrt())
            .fold(wide.scale / 2.0, f64::max);
        Ok(Self { scale: reach, ..wide })
    }

    /// The scale with the lowest median of log q + U: the variational free energy, with a median
    /// instead of a mean because a single pair at overlap has an energy past all bounds.
    fn best_scale(&mut self, target: &AugmentedTarget, seed: u64) -> Result<f64, Error> {
        const DRAWS: usize = 512;
        let mut best = (f64::INFINITY, 1.0);
        let mut x = vec![0.0; DRAWS * self.subspace.width()];
        let (mut log_q, mut log_p) = (vec![0.0; DRAWS], vec![0.0; DRAWS]);
        let mut gradient = vec![0.0; x.len()];
        for exponent in -24..=24 {
            self.scale = 2f64.powf(f64::from(exponent) / 4.0);
            let mut rngs: Vec<ChaCha8Rng> =
                (0..DRAWS as u64).map(|i| stream(seed, Purpose::Reference, ONCE, i)).collect();
            self.draw(&mut rngs, &mut x, &mut log_q);
            target.log_density_and_gradient(&x, &mut log_p, &mut gradient)?;
            let mut free: Vec<f64> = log_q.iter().zip(&log_p).map(|(q, p)| q - p).collect();
            free.sort_by(f64::total_cmp);
            if free[DRAWS / 2] < best.0 {
                best = (free[DRAWS / 2], self.scale);
            }
        }
        if best.0.is_finite() {
            return Ok(best.1);
        }
        Err(Error::Run(
            "the reference sampler found no Gaussian (scales 1/64 to 64) half of whose draws have \
             a finite energy: check the potential's unit of length"
                .into(),
        ))
    }

    /// The exponents −|x − c|²/2 scale² of all centres c.
    fn exponents(&self, x: &[f64]) -> Vec<f64> {
        let half = -0.5 / (self.scale * self.scale);
        let square = |c: &Vec<f64>| c.iter().zip(x).map(|(c, x)| (x - c) * (x - c)).sum::<f64>();
        self.centres.iter().map(|centre| half * square(centre)).collect()
    }

    fn log_density(&self, x: &[f64]) -> f64 {
        let freedom = self.subspace.system().degrees_of_freedom() as f64;
        let normalisation = freedom * (self.scale * (2.0 * std::f64::consts::PI).sqrt()).ln();
        log_mean_exp(&self.exponents(x)) - normalisation
    }
}

impl LogDensity for Start {
    fn width(&self) -> usize {
        self.subspace.width()
    }

    fn log_density_and_gradient(
        &self,
        z: &[f64],
        log_density: &mut [f64],
        gradient: &mut [f64],
    ) -> Result<usize, EvaluationError> {
        let width = self.width();
        let rows = z.chunks_exact(width).zip(gradient.chunks_exact_mut(width)).zip(log_density);
        for ((x, gradient), log_density) in rows {
            *log_density = self.log_density(x);
            let exponents = self.exponents(x);
            let total = log_sum_exp(&exponents);
            gradient.fill(0.0);
            for (centre, exponent) in self.centres.iter().zip(&exponents) {
                let share = (exponent - total).exp() / (self.scale * self.scale);
                for ((gradient, x), c) in gradient.iter_mut().zip(x).zip(centre) {
                    *gradient -= share * (x - c);
                }
            }
        }
        Ok(0)
    }
}

impl Proposal for Start {
    fn draw(&self, rngs: &mut [ChaCha8Rng], z: &mut [f64], log_density: &mut [f64]) {
        let rows = z.chunks_exact_mut(self.width()).zip(rngs).zip(log_density);
        for ((x, rng), log_density) in rows {
            let centre = &self.centres[rng.gen_range(0..self.centres.len())];
            for x in x.iter_mut() {
                *x = StandardNormal.sample(rng);
            }
            self.subspace.system().remove_center_of_mass(x);
            for (x, c) in x.iter_mut().zip(centre) {
                *x = c + self.scale * *x;
            }
            *log_density = self.log_density(x);
        }
    }
}
