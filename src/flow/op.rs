//! The whole flow as one operation on a dfdx tape.
//!
//! dfdx gets log-densities (or samples) from the flat parameter vector; they and their
//! vector-Jacobian products are computed by the fused, sample-local engine.

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

/// Joint configurations x_θ(ε), [samples, width], which hold θ's tape, and log q_θ at them,
/// `[samples]`. `noise` is standard normal [samples, width].
pub fn sample_and_log_prob(
    flow: &Arc<Flow<f32>>,
    theta: Vector<OwnedTape<f32, Cpu>>,
    noise: Vec<f64>,
) -> (Rows<OwnedTape<f32, Cpu>>, Vector) {
    let width = flow.width();
    let samples = noise.len() / width;
    let values = theta.as_vec();
    let (mut joint, mut log_prob) = (vec![0.0; samples * width], vec![0.0; samples]);
    let trajectory = flow.sample_recorded(&values, &noise, &mut joint, &mut log_prob);
    let device = theta.device().clone();
    let log_prob = device.tensor_from_vec(single(&log_prob), (samples,));
    let joint = device.tensor_from_vec(single(&joint), (samples, width));
    let flow = Arc::clone(flow);
    let (theta, mut tape) = theta.split_tape();
    let (theta, to_joint, to_log_prob) = (theta.ghost(), joint.ghost(), log_prob.ghost());
    tape.add_backward_op(move |gradients| {
        let to_joint = double(gradients.get_or_alloc_mut(&to_joint)?);
        let to_log_prob = double(gradients.get_or_alloc_mut(&to_log_prob)?);
        let gradient = gradients.get_or_alloc_mut(&theta)?;
        flow.sample_vjp(&values, &noise, &trajectory, &to_joint, &to_log_prob, gradient);
        Ok(())
    });
    (joint.put_tape(tape), log_prob)
}

fn double(values: &[f32]) -> Vec<f64> {
    values.iter().map(|&v| f64::from(v)).collect()
}

fn single(values: &[f64]) -> Vec<f32> {
    values.iter().map(|&v| v as f32).collect()
}

/// Puts `out` on the tape of `input`; `vjp` is given ∂L/∂out and adds to ∂L/∂input.
pub(crate) fn on_tape<I: Shape, S: Shape>(
    input: Tensor<I, f32, Cpu, OwnedTape<f32, Cpu>>,
    out: Tensor<S, f32, Cpu>,
    vjp: impl FnOnce(Vec<f64>, &mut [f32]) + 'static,
) -> Tensor<S, f32, Cpu, OwnedTape<f32, Cpu>> {
    let (input, mut tape) = input.split_tape();
    let (input, to_out) = (input.ghost(), out.ghost());
    tape.add_backward_op(move |gradients| {
        let cotangent = double(gradients.get_or_alloc_mut(&to_out)?);
        vjp(cotangent, gradients.get_or_alloc_mut(&input)?);
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
        let (joint_on_tape, log_prob_there) =
            sample_and_log_prob(&flow, leaf.leaky_trace(), noise.clone());
        let (to_joint, to_log_prob) = weights.split_at(samples * width);
        let weight = device.tensor_from_vec(single(to_joint), (samples, width));
        let sum = (joint_on_tape * weight).sum();
        let weight = device.tensor_from_vec(single(to_log_prob), (samples,));
        let sum = sum + (log_prob_there.retaped::<OwnedTape<f32, Cpu>>() * weight).sum();
        let to_theta = sum.backward().get(&leaf).as_vec();
        let leaf_two = start();
        let values = log_prob_of(&flow, leaf_two.leaky_trace(), &joint);
        let weight = device.tensor_from_vec(single(&weights[..samples]), (samples,));
        let to_theta_two = (values * weight).sum().backward().get(&leaf_two).as_vec();

        let mut value = |theta: &[f64]| -> [f64; 2] {
            exact.sample_and_log_prob(theta, &noise, &mut joint, &mut log_prob);
            let first = joint.iter().chain(&log_prob).zip(&weights).map(|(v, w)| v * w).sum();
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
