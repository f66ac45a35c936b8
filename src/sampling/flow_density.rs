//! A flow with its parameters as a density that chains walk on and that can be drawn from.

use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};

use crate::error::EvaluationError;
use crate::flow::Flow;

use super::{LogDensity, Proposal};

/// log q_θ over joint configurations.
#[derive(Clone, Copy)]
pub struct FlowDensity<'a> {
    /// The flow.
    pub flow: &'a Flow<f32>,
    /// Its parameters.
    pub theta: &'a [f32],
}

impl LogDensity for FlowDensity<'_> {
    fn width(&self) -> usize {
        self.flow.width()
    }

    fn log_density_and_gradient(
        &self,
        z: &[f64],
        log_density: &mut [f64],
        gradient: &mut [f64],
    ) -> Result<usize, EvaluationError> {
        self.flow.log_prob_and_gradient(self.theta, z, log_density, gradient);
        let mut failures = 0;
        let rows = log_density.iter_mut().zip(gradient.chunks_exact_mut(self.flow.width()));
        for (log_density, gradient) in rows {
            if !(log_density.is_finite() && gradient.iter().all(|g| g.is_finite())) {
                *log_density = f64::NEG_INFINITY;
                gradient.fill(0.0);
                failures += 1;
            }
        }
        Ok(failures)
    }
}

impl Proposal for FlowDensity<'_> {
    fn draw(&self, rngs: &mut [ChaCha8Rng], z: &mut [f64], log_density: &mut [f64]) {
        let noise: Vec<f64> = rngs
            .iter_mut()
            .flat_map(|rng| StandardNormal.sample_iter(rng).take(self.flow.width()))
            .collect();
        self.flow.sample_and_log_prob(self.theta, &noise, z, log_density);
        for log_density in log_density {
            if !log_density.is_finite() {
                *log_density = f64::NEG_INFINITY;
            }
        }
    }
}
