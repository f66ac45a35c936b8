//! The Gaussian proposal: where the reference sampler starts, and a flow's base density.

use std::f64::consts::PI;

use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};

use super::density::{log_normal, log_normal_gradient};
use super::{LogDensity, Proposal, Subspace};
use crate::error::{Error, EvaluationError};

/// x ~ N(0, scale² I) on the zero-centre-of-mass subspace, aₖ | x ~ N(x, spread² I).
#[derive(Debug, Clone, Copy)]
pub struct Gaussian {
    subspace: Subspace,
    scale: f64,
    spread: f64,
}

impl Gaussian {
    /// A Gaussian over `subspace`; `scale` and `spread` are lengths.
    ///
    /// # Errors
    /// [`Error::Parameter`] if a length is not a positive number.
    pub fn new(subspace: Subspace, scale: f64, spread: f64) -> Result<Self, Error> {
        for (field, value) in [("scale", scale), ("spread", spread)] {
            if !(value.is_finite() && value > 0.0) {
                return Err(Error::parameter(field, format!("is {value}: use a positive length")));
            }
        }
        Ok(Self { subspace, scale, spread })
    }

    fn log_density(&self, row: &[f64]) -> f64 {
        let system = self.subspace.system();
        let (x, augmented) = row.split_at(system.coordinates());
        let squares: f64 = x.iter().map(|x| x * x).sum();
        log_normal(x, augmented, self.spread)
            - 0.5 * squares / (self.scale * self.scale)
            - system.degrees_of_freedom() as f64 * (self.scale * (2.0 * PI).sqrt()).ln()
    }
}

impl LogDensity for Gaussian {
    fn width(&self) -> usize {
        self.subspace.width()
    }

    fn log_density_and_gradient(
        &self,
        z: &[f64],
        log_density: &mut [f64],
        gradient: &mut [f64],
    ) -> Result<usize, EvaluationError> {
        let coordinates = self.subspace.system().coordinates();
        let width = self.width();
        for ((row, out), log_density) in
            z.chunks_exact(width).zip(gradient.chunks_exact_mut(width)).zip(log_density)
        {
            *log_density = self.log_density(row);
            for (out, x) in out[..coordinates].iter_mut().zip(row) {
                *out = -x / (self.scale * self.scale);
            }
            log_normal_gradient(row, self.spread, coordinates, out);
        }
        Ok(0)
    }
}

impl Proposal for Gaussian {
    fn draw(&self, rngs: &mut [ChaCha8Rng], z: &mut [f64], log_density: &mut [f64]) {
        let system = self.subspace.system();
        let coordinates = system.coordinates();
        for ((row, rng), log_density) in z.chunks_exact_mut(self.width()).zip(rngs).zip(log_density)
        {
            for value in row.iter_mut() {
                *value = StandardNormal.sample(rng);
            }
            let (x, augmented) = row.split_at_mut(coordinates);
            system.remove_center_of_mass(x);
            for value in x.iter_mut() {
                *value *= self.scale;
            }
            for copy in augmented.chunks_exact_mut(coordinates) {
                for (a, x) in copy.iter_mut().zip(x.iter()) {
                    *a = x + self.spread * *a;
                }
            }
            *log_density = self.log_density(row);
        }
    }
}
