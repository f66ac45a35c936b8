//! Path gradients: the divergence's gradient through where the flow puts its noise.
//!
//! With x = T_θ(z), f = log p − log q and w = p/q, the gradient of an α-divergence is, up to a factor,
//!
//! ```text
//! −E_p[w^{α−1} ∇_x f · ∂_θ T_θ(z)],   z = T_θ⁻¹(x).
//! ```
//!
//! The usual form, −E_p[w^{α−1} ∇_θ log q_θ(x)], has the same mean, but its noise stays when q = p, whereas
//! ∇f and all of this vanish there. For α = 0 it is Roeder, Wu & Duvenaud (arXiv:1703.09194), for α = 1
//! Vaitl, Winkler, Richter & Kessel (arXiv:2403.15881).

use dfdx::prelude::*;
use rayon::prelude::*;

use crate::engine::LANES;
use crate::error::Error;
use crate::flow::op;
use crate::sampling::{AugmentedTarget, LogDensity};

use super::{Descent, DescentOptions, Problem, TrainingState};

/// Joint configurations with log p and its gradient.
pub(super) struct Batch<'a> {
    /// [samples, width].
    pub joint: &'a [f64],
    /// `[samples]`.
    pub log_p: &'a [f64],
    /// [samples, width].
    pub slope: &'a [f64],
}

/// One gradient step on configurations drawn from p, with weights that `weigh` makes of log p − log q.
/// The loss is −mean(weight · log q).
pub(super) fn descend(
    problem: &Problem,
    state: &mut TrainingState,
    options: &DescentOptions,
    batch: Batch<'_>,
    weigh: impl FnOnce(&[f64]) -> Vec<f64>,
) -> Result<Descent, Error> {
    let (flow, width) = (&problem.flow, problem.flow.width());
    let samples = batch.log_p.len();
    let parameters = state.theta.clone();
    state.descend(options, |theta| {
        let mut log_q = vec![0.0; samples];
        let (mut slope, mut noise) = (vec![0.0; samples * width], vec![0.0; samples * width]);
        let trajectory = flow.retrace(&parameters, batch.joint, &mut log_q, &mut slope, &mut noise);
        let logs: Vec<f64> = batch.log_p.iter().zip(&log_q).map(|(p, q)| p - q).collect();
        let weights = weigh(&logs);
        let mut offset = 0.0;
        for (sample, weight) in weights.iter().enumerate() {
            let rows = sample * width..(sample + 1) * width;
            let usable = log_q[sample].is_finite()
                && noise[rows.clone()].iter().all(|z| z.is_finite())
                && slope[rows.clone()].iter().all(|s| s.is_finite());
            // A sample that the flow has no number for teaches nothing.
            let weight = if usable { weight / samples as f64 } else { 0.0 };
            let row = &mut slope[rows.clone()];
            for (slope, p) in row.iter_mut().zip(&batch.slope[rows.clone()]) {
                *slope = if usable { weight * (*slope - p) } else { 0.0 };
            }
            if usable {
                offset -= weight * log_q[sample];
            } else {
                noise[rows.clone()].fill(0.0);
            }
            offset -= row.iter().zip(&batch.joint[rows]).map(|(c, x)| c * x).sum::<f64>();
        }
        let rows = op::redrawn(flow, theta, batch.joint, noise, trajectory);
        let coefficients: Vec<f32> = slope.iter().map(|&c| c as f32).collect();
        let coefficients = rows.device().tensor_from_vec(coefficients, (samples, width));
        // The sum's gradient is the one wanted; the offset makes its value the loss.
        Ok((rows * coefficients).sum() + offset as f32)
    })
}

/// log p and its gradient for a batch, in parallel; also how many had no finite energy.
pub(super) fn log_densities(
    target: &AugmentedTarget,
    joint: &[f64],
    samples: usize,
) -> Result<(Vec<f64>, Vec<f64>, u64), Error> {
    let width = target.width();
    let (mut log_p, mut gradient) = (vec![0.0; samples], vec![0.0; joint.len()]);
    let failures = (joint.par_chunks(LANES * width), gradient.par_chunks_mut(LANES * width))
        .into_par_iter()
        .zip(log_p.par_chunks_mut(LANES))
        .map(|((joint, gradient), log_p)| target.log_density_and_gradient(joint, log_p, gradient))
        .collect::<Result<Vec<usize>, _>>()?;
    Ok((log_p, gradient, failures.iter().sum::<usize>() as u64))
}
