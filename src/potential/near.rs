//! The loop over pairs nearer than a cut-off, in open space or in a periodic box.

use super::cells::Cells;
use super::pairs::{check_lengths, explain, settle};
use super::EvaluationError;
use crate::error::{refuse, Error};
use crate::system::System;

/// `system` in a periodic box with these edges, if there are any, and a cut-off that fits it: a box
/// needs one of at most half its shortest edge, so that a pair has one image within it.
///
/// # Errors
/// [`Error::Parameter`] on `box` or `cutoff`.
pub fn cut_off(
    system: System,
    edges: Option<&[f64]>,
    cutoff: Option<f64>,
) -> Result<(System, Option<f64>), Error> {
    if let Some(cutoff) = cutoff {
        super::require_positive("cutoff", cutoff)?;
    }
    let Some(edges) = edges else { return Ok((system, cutoff)) };
    let system = system.in_box(edges)?;
    let half = system.half_edge();
    match cutoff {
        None => refuse(
            "cutoff",
            format!("is missing: a periodic box needs one, of at most half its edge, {half}"),
        ),
        Some(cutoff) if cutoff > half => refuse(
            "cutoff",
            format!(
                "is {cutoff}, over half an edge of the box, {half}, where a pair has more than \
                 one image: use less, or more particles in a larger box"
            ),
        ),
        _ => Ok((system, cutoff)),
    }
}

/// Energy Σ u(r_ij) + ½ k Σ_i ‖x_i − x̄‖² and its gradient, over the pairs i < j with r_ij < r_c,
/// in a periodic box with r_ij to the nearest image. The cost grows with n.
///
/// `radial` maps the squared distance r² to (u, u′(r)/r), u in units of kT; u should be 0 at r_c,
/// as a jump there has no force. `trap` is k in kT per squared length, 0 for none and in a box.
/// `x` and `gradient` are row-major [particles, dimension]; `gradient` is overwritten.
///
/// # Errors
/// Those of [`sum_over_pairs`](super::sum_over_pairs).
///
/// # Examples
/// A pair through the wall of a box, u = (1 − r)² within 1, u′(r)/r = −2 (1 − r)/r:
/// ```
/// use boltzflow::{sum_over_near_pairs, System};
/// let system = System::new(2, 2)?.in_box(&[4.0, 4.0])?;
/// let mut gradient = [0.0; 4];
/// let x = [-1.75, 0.0, 1.75, 0.0];
/// let energy = sum_over_near_pairs(system, &x, &mut gradient, (0.0, 1.0), |r2| {
///     let r = r2.sqrt();
///     ((1.0 - r).powi(2), -2.0 * (1.0 - r) / r)
/// })?;
/// assert_eq!(energy, 0.25);
/// assert_eq!(gradient, [-1.0, 0.0, 1.0, 0.0]);
/// # Ok::<(), boltzflow::Error>(())
/// ```
pub fn sum_over_near_pairs(
    system: System,
    x: &[f64],
    gradient: &mut [f64],
    (trap, cutoff): (f64, f64),
    radial: impl Fn(f64) -> (f64, f64),
) -> Result<f64, EvaluationError> {
    check_lengths(system.coordinates(), x, gradient)?;
    if !x.iter().all(|x| x.is_finite()) {
        return Err(EvaluationError::Recoverable(explain(system, x, f64::NAN)));
    }
    let (energy, closest) = match system.dimension() {
        2 => sum::<2>(system, x, gradient, cutoff, radial),
        _ => sum::<3>(system, x, gradient, cutoff, radial),
    };
    let energy = energy + add_trap(system, x, gradient, trap);
    let mut settled = energy;
    if closest > 0.0 && settle(&mut settled, gradient) {
        Ok(energy)
    } else {
        Err(EvaluationError::Recoverable(explain(system, x, energy)))
    }
}

/// The sum over pairs, and the smallest squared distance.
fn sum<const D: usize>(
    system: System,
    x: &[f64],
    gradient: &mut [f64],
    cutoff: f64,
    radial: impl Fn(f64) -> (f64, f64),
) -> (f64, f64) {
    let cells = Cells::<D>::new(system, x, cutoff);
    let (mut energy, mut closest) = (0.0, f64::INFINITY);
    let mut slopes = vec![[0.0; D]; system.particles()];
    cells.for_each_pair(|i, j, difference, squared| {
        closest = closest.min(squared);
        let (u, slope_over_r) = radial(squared);
        energy += u;
        for k in 0..D {
            let pull = slope_over_r * difference[k];
            slopes[i][k] += pull;
            slopes[j][k] -= pull;
        }
    });
    for (particle, slope) in cells.particles.iter().zip(&slopes) {
        gradient[particle * D..(particle + 1) * D].copy_from_slice(slope);
    }
    (energy, closest)
}

/// Adds the gradient of ½ k Σ_i ‖x_i − x̄‖², and returns that.
fn add_trap(system: System, x: &[f64], gradient: &mut [f64], trap: f64) -> f64 {
    if trap == 0.0 {
        return 0.0;
    }
    let d = system.dimension();
    let mean = system.center_of_mass(x);
    let mut energy = 0.0;
    for (x, gradient) in x.chunks_exact(d).zip(gradient.chunks_exact_mut(d)) {
        for ((x, gradient), mean) in x.iter().zip(gradient).zip(&mean) {
            energy += 0.5 * trap * (x - mean) * (x - mean);
            *gradient += trap * (x - mean);
        }
    }
    energy
}
