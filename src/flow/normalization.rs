//! Normalisation of the features of every item (LayerNorm), and its vector-Jacobian product.
//!
//! It has no gain and no offset of its own: the linear map that follows has them.

use crate::engine::{Lane, Vector};

/// Added to the variance.
const VARIANCE_FLOOR: f64 = 1e-5;

/// normal = (x − mean)/deviation over the features of each item.
#[inline(always)]
pub(super) fn normalize<V: Vector>(
    x: &[Lane<V::Scalar>],
    normal: &mut [Lane<V::Scalar>],
    inverse_deviation: &mut [Lane<V::Scalar>],
) {
    let items = inverse_deviation.len();
    let share = V::constant(items as f64 / x.len() as f64);
    for (item, inverse_deviation) in inverse_deviation.iter_mut().enumerate() {
        let mut mean = V::zero();
        for lane in x[item..].iter().step_by(items) {
            mean += V::load(lane);
        }
        let mean = mean * share;
        let mut variance = V::zero();
        for lane in x[item..].iter().step_by(items) {
            let deviation = V::load(lane) - mean;
            variance = deviation.mul_add(deviation, variance);
        }
        let variance = variance.mul_add(share, V::constant(VARIANCE_FLOOR));
        let inverse = V::constant(1.0) / variance.sqrt();
        inverse.store(inverse_deviation);
        let rows = x[item..].iter().step_by(items);
        for (lane, normal) in rows.zip(normal[item..].iter_mut().step_by(items)) {
            ((V::load(lane) - mean) * inverse).store(normal);
        }
    }
}

/// x̄ = (n̄ − mean(n̄) − n·mean(n̄·n))/deviation, added to what `x_cotangent` holds or in its
/// place.
#[inline(always)]
pub(super) fn normalize_vjp<V: Vector>(
    normal: &[Lane<V::Scalar>],
    inverse_deviation: &[Lane<V::Scalar>],
    normal_cotangent: &[Lane<V::Scalar>],
    x_cotangent: &mut [Lane<V::Scalar>],
    accumulate: bool,
) {
    let items = inverse_deviation.len();
    let share = V::constant(items as f64 / normal.len() as f64);
    for (item, inverse) in inverse_deviation.iter().enumerate() {
        let inverse = V::load(inverse);
        let (mut mean, mut slope) = (V::zero(), V::zero());
        let rows = normal[item..].iter().step_by(items);
        for (n, g) in rows.clone().zip(normal_cotangent[item..].iter().step_by(items)) {
            let g = V::load(g);
            mean += g;
            slope = g.mul_add(V::load(n), slope);
        }
        let (mean, slope) = (mean * share, slope * share);
        let cotangents = normal_cotangent[item..].iter().step_by(items);
        let into = x_cotangent[item..].iter_mut().step_by(items);
        for ((n, g), x) in rows.zip(cotangents).zip(into) {
            let g = (V::load(g) - mean - V::load(n) * slope) * inverse;
            if accumulate {
                g.accumulate(x);
            } else {
                g.store(x);
            }
        }
    }
}
