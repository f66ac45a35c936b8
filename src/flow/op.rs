//! The whole flow as one operation on a dfdx tape.
//!
//! For dfdx the flat parameter vector goes in and log densities (or samples) come out; forward and
//! backward run on the fused, sample-local engine.

use std::sync::Arc;

use dfdx::prelude::*;

use super::Flow;

/// A device tensor of the flat parameter vector or of one number a sample.
pub type Vector<T = NoneTape> = Tensor<(usize,), f32, Cpu, T>;
/// Rows on the device.
pub type Rows<T = NoneTape> = Tensor<(usize, usize), f32, Cpu, T>;

/// log q_θ(x, a) of joint configurations ([samples, width]): `[samples]` on θ's tape.
pub fn log_prob(
    flow: &Arc<Flow<f32>>,
    theta: Vector<OwnedTape<f32, Cpu>>,
    joint: &[f64],
) -> Vector<OwnedTape<f32, Cpu>> {
    let samples = joint.len() / flow.width();
    let values = theta.as_vec();
    let mut log_prob = vec![0.0; samples];
    let trajectory = flow.log_prob_recorded(&values, joint, &mut log_prob);
    let out = theta.device().tensor_from_vec(single(&log_prob), (samples,));
    let flow = Arc::clone(flow);
    on_tape(theta, out, move |cotangent, gradient| {
        flow.log_prob_vjp(&values, &trajectory, &cotangent, gradient);
    })
}

/// Joint configurations x_θ(ε) with their log-densities: [samples, width + 1] on θ's tape, the last
/// column being log q_θ. `noise` is standard normal [samples, width].
pub fn sample_and_log_prob(
    flow: &Arc<Flow<f32>>,
    theta: Vector<OwnedTape<f32, Cpu>>,
    noise: Vec<f64>,
) -> Rows<OwnedTape<f32, Cpu>> {
    let width = flow.width();
    let samples = noise.len() / width;
    let values = theta.as_vec();
    let (mut joint, mut log_prob) = (vec![0.0; samples * width], vec![0.0; samples]);
    let trajectory = flow.sample_recorded(&values, &noise, &mut joint, &mut log_prob);
    let rows: Vec<f64> = joint
        .chunks_exact(width)
        .zip(&log_prob)
        .flat_map(|(row, log_prob)| row.iter().chain([log_prob]).copied())
        .collect();
    let out = theta.device().tensor_from_vec(single(&rows), (samples, width + 1));
    let flow = Arc::clone(flow);
    on_tape(theta, out, move |cotangent, gradient| {
        let rows = cotangent.chunks_exact(width + 1);
        let to_joint: Vec<f64> = rows.clone().flat_map(|row| &row[..width]).copied().collect();
        let to_log_prob: Vec<f64> = rows.map(|row| row[width]).collect();
        flow.sample_vjp(&values, &noise, &trajectory, &to_joint, &to_log_prob, gradient);
    })
}

fn single(values: &[f64]) -> Vec<f32> {
    values.iter().map(|&v| v as f32).collect()
}

/// Puts `out` on θ's tape; `backward` is given ∂L/∂out and adds to ∂L/∂θ.
fn on_tape<S: Shape>(
    theta: Vector<OwnedTape<f32, Cpu>>,
    out: Tensor<S, f32, Cpu>,
    backward: impl FnOnce(Vec<f64>, &mut [f32]) + 'static,
) -> Tensor<S, f32, Cpu, OwnedTape<f32, Cpu>> {
    let (theta, mut tape) = theta.split_tape();
    let (theta_ghost, out_ghost) = (theta.ghost(), out.ghost());
    tape.add_backward_op(move |gradients| {
        let cotangent: Vec<f64> =
            gradients.get_or_alloc_mut(&out_ghost)?.iter().map(|&c| f64::from(c)).collect();
        backward(cotangent, gradients.get_or_alloc_mut(&theta_ghost)?);
        Ok(())
    });
    out.put_tape(tape)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::{FlowOptions, LayerGroup, PairwiseOptions};
    use crate::random::{stream, Purpose};
    use crate::system::System;
    use rand_distr::{Distribution, StandardNormal};

    /// Gradients through the tape agree with finite differences of the f64 flow.
    #[test]
    fn gradients_on_the_tape_are_those_of_the_flow() {
        let system = System::new(4, 2).unwrap();
        let pairwise =
            PairwiseOptions { repeat: 2, width: 6, basis: 5, ..PairwiseOptions::default() };
        let options = FlowOptions {
            base_scale: 1.2,
            augmentation_scale: 0.4,
            layers: vec![LayerGroup::Pairwise(pairwise)],
            ..FlowOptions::default()
        };
        let flow = Arc::new(Flow::<f32>::new(system, &options).unwrap());
        let exact = Flow::<f64>::new(system, &options).unwrap();
        let mut rng = stream(4, Purpose::Evaluation, 0, 0);
        let mut normal = || -> f64 { StandardNormal.sample(&mut rng) };
        let theta: Vec<f64> =
            flow.layout().initialize::<f64>(1).iter().map(|t| t + 0.1 * normal()).collect();
        let (width, samples) = (flow.width(), 37);
        let noise: Vec<f64> = (0..samples * width).map(|_| normal()).collect();
        let weights: Vec<f64> = (0..samples * (width + 1)).map(|_| normal()).collect();
        let (mut joint, mut log_prob) = (vec![0.0; samples * width], vec![0.0; samples]);
        exact.sample_and_log_prob(&theta, &noise, &mut joint, &mut log_prob);
        let joint_fixed = joint.clone();

        let device = Cpu::default();
        let start = || device.tensor_from_vec(single(&theta), (theta.len(),));
        let leaf = start();
        let rows = sample_and_log_prob(&flow, leaf.leaky_trace(), noise.clone());
        let weight = device.tensor_from_vec(single(&weights), (samples, width + 1));
        let to_theta = (rows * weight).sum().backward().get(&leaf).as_vec();
        let leaf_two = start();
        let values = log_prob_of(&flow, leaf_two.leaky_trace(), &joint);
        let weight = device.tensor_from_vec(single(&weights[..samples]), (samples,));
        let to_theta_two = (values * weight).sum().backward().get(&leaf_two).as_vec();

        let mut value = |theta: &[f64]| -> [f64; 2] {
            exact.sample_and_log_prob(theta, &noise, &mut joint, &mut log_prob);
            let rows = joint.chunks(width).zip(&log_prob);
            let first = rows
                .flat_map(|(row, l)| row.iter().chain([l]))
                .zip(&weights)
                .map(|(v, w)| v * w)
                .sum();
            exact.log_prob(theta, &joint_fixed, &mut log_prob);
            [first, log_prob.iter().zip(&weights).map(|(v, w)| v * w).sum()]
        };
        for k in (0..theta.len()).step_by(17).chain([0, 1]) {
            let mut at = |by: f64| {
                let mut theta = theta.clone();
                theta[k] += by;
                value(&theta)
            };
            let (up, down) = (at(1e-5), at(-1e-5));
            for (which, got) in [to_theta[k], to_theta_two[k]].into_iter().enumerate() {
                let want = (up[which] - down[which]) / 2e-5;
                assert!(
                    (f64::from(got) - want).abs() < 2e-3 * (1.0 + want.abs()),
                    "parameter {k}, output {which}: {got} against {want}"
                );
            }
        }
    }

    use super::log_prob as log_prob_of;
}
