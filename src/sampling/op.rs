//! Log densities as operations on a dfdx tape.

use std::time::Instant;

use dfdx::prelude::*;

use super::{Effort, LogDensity};
use crate::error::Error;
use crate::flow::op::{on_tape, Rows, Vector};
use crate::parallel::team;

/// log p of joint configurations `z` ([samples, width]) on their tape, `[samples]`; also what it
/// cost. A row without a finite log density and gradient has the value −∞ and no gradient.
///
/// # Errors
/// [`Error::Evaluation`], only if it is fatal.
pub fn log_density(
    density: &dyn LogDensity,
    z: Rows<OwnedTape<f32, Cpu>>,
) -> Result<(Vector<OwnedTape<f32, Cpu>>, Effort), Error> {
    let width = density.width();
    let joint: Vec<f64> = z.as_vec().into_iter().map(f64::from).collect();
    let tiles: Vec<&[f64]> = joint.chunks(density.batch_size() * width).collect();
    let done = team().map(tiles.len(), |tile| {
        let mut log_p = vec![0.0; tiles[tile].len() / width];
        let mut gradient = vec![0.0; tiles[tile].len()];
        let start = Instant::now();
        let failures = density.log_density_and_gradient(tiles[tile], &mut log_p, &mut gradient)?;
        let effort = Effort::of(&log_p, &gradient, failures, start);
        Ok(((log_p, gradient), effort))
    })?;
    let (mut values, mut slopes, mut effort) = (Vec::new(), Vec::new(), Effort::default());
    for ((log_p, gradient), own) in done {
        values.extend(log_p.into_iter().map(|log_p| log_p as f32));
        slopes.extend(gradient);
        effort += own;
    }
    for (value, slope) in values.iter_mut().zip(slopes.chunks_exact_mut(width)) {
        if !(value.is_finite() && slope.iter().all(|s| (*s as f32).is_finite())) {
            *value = f32::NEG_INFINITY;
            slope.fill(0.0);
        }
    }
    let samples = values.len();
    let values = z.device().tensor_from_vec(values, (samples,));
    let values = on_tape(z, values, move |cotangent, gradient| {
        let rows = gradient.chunks_exact_mut(width);
        for ((row, slope), c) in rows.zip(slopes.chunks_exact(width)).zip(cotangent) {
            row.iter_mut().zip(slope).for_each(|(to, s)| *to += (c * s) as f32);
        }
    });
    Ok((values, effort))
}
