//! The loop over pairs that every pair potential shares: a radial form becomes an energy and a
//! gradient.

use super::EvaluationError;
use crate::system::System;

/// Energy Σ_{i<j} u(r_ij) + ½ k Σ_i ‖x_i − x̄‖² and its gradient, in one pass over the pairs.
///
/// `radial` maps the squared distance r² to (u, u′(r)/r), u in units of kT, so that a form in even
/// powers of r needs no square root. `trap` is k in kT per squared length, 0 for none. `x` and
/// `gradient` are row-major [particles, dimension]; `gradient` is overwritten.
///
/// # Errors
/// [`EvaluationError::Recoverable`] when two particles coincide (there the gradient has no
/// direction), when the sum is not finite, or when a coordinate is not finite; it names the closest
/// pair. A finite energy whose gradient is not finite gets a gradient of NaN.
/// [`EvaluationError::Fatal`] when the slices do not fit `system`, or when that is in a periodic
/// box, where pairs need a cut-off: [`sum_over_near_pairs`](super::sum_over_near_pairs).
///
/// # Examples
/// A soft repulsion u = 5 exp(−r²), u′(r)/r = −2u, in a harmonic trap:
/// ```
/// use boltzflow::{potential::sum_over_pairs, system::System};
/// let system = System::new(3, 2)?;
/// let x = [0.0, 0.0, 1.0, 0.0, 0.0, 1.0];
/// let mut gradient = [0.0; 6];
/// let energy = sum_over_pairs(system, &x, &mut gradient, 1.0, |r2| {
///     let u = 5.0 * (-r2).exp();
///     (u, -2.0 * u)
/// })?;
/// assert!(energy > 0.0);
/// # Ok::<(), boltzflow::error::Error>(())
/// ```
#[inline]
pub fn sum_over_pairs(
    system: System,
    x: &[f64],
    gradient: &mut [f64],
    trap: f64,
    radial: impl Fn(f64) -> (f64, f64),
) -> Result<f64, EvaluationError> {
    check_lengths(system.coordinates(), x, gradient)?;
    if system.periodic_box().is_some() {
        let problem = "a sum over all pairs has no meaning in a periodic box: use a cut-off";
        return Err(EvaluationError::Fatal(problem.to_string()));
    }
    let (energy, closest) = match system.dimension() {
        2 => sum::<2>(x, gradient, trap, radial),
        _ => sum::<3>(x, gradient, trap, radial),
    };
    // A form that is finite at r = 0 still has no gradient there.
    let mut settled = energy;
    if closest > 0.0 && settle(&mut settled, gradient) {
        Ok(energy)
    } else {
        Err(EvaluationError::Recoverable(explain(system, x, energy)))
    }
}

/// The sums in D dimensions, and the smallest squared distance.
#[inline(always)]
fn sum<const D: usize>(
    x: &[f64],
    gradient: &mut [f64],
    trap: f64,
    radial: impl Fn(f64) -> (f64, f64),
) -> (f64, f64) {
    let mut mean = [0.0; D];
    for xi in x.chunks_exact(D) {
        for k in 0..D {
            mean[k] += xi[k];
        }
    }
    let particles = x.len() / D;
    let mean = mean.map(|m| m / particles as f64);

    let mut energy = 0.0;
    let mut closest = f64::INFINITY;
    for (i, xi) in x.chunks_exact(D).enumerate() {
        let mut own = [0.0; D];
        for k in 0..D {
            let from_center = xi[k] - mean[k];
            own[k] = trap * from_center;
            energy += 0.5 * trap * from_center * from_center;
        }
        let (before, from_i) = gradient.split_at_mut(i * D);
        for (xj, gj) in x.chunks_exact(D).zip(before.chunks_exact_mut(D)) {
            let mut difference = [0.0; D];
            let mut squared = 0.0;
            for k in 0..D {
                difference[k] = xi[k] - xj[k];
                squared += difference[k] * difference[k];
            }
            closest = closest.min(squared);
            let (u, slope_over_r) = radial(squared);
            energy += u;
            for k in 0..D {
                let pull = slope_over_r * difference[k];
                own[k] += pull;
                gj[k] -= pull;
            }
        }
        from_i[..D].copy_from_slice(&own);
    }
    (energy, closest)
}

/// An energy from here on, in kT, is taken for an overlap on its way to infinity: a gradient that
/// is not finite has overflowed there.
const OVERFLOWING: f64 = 1e100;

/// Brings what was computed for a configuration to what [`Potential`](super::Potential) promises:
/// without a finite energy, +∞ and no slope; without a finite gradient, a gradient of NaN. Returns
/// whether there is an energy.
#[inline(always)]
pub fn settle(energy: &mut f64, gradient: &mut [f64]) -> bool {
    if energy.is_finite() && gradient.iter().all(|g| g.is_finite()) {
        return true;
    }
    if energy.is_finite() && *energy < OVERFLOWING {
        gradient.fill(f64::NAN);
        return true;
    }
    *energy = f64::INFINITY;
    gradient.fill(0.0);
    false
}

/// Refuses slices that do not fit the system.
#[inline(always)]
pub(super) fn check_lengths(
    expected: usize,
    x: &[f64],
    gradient: &[f64],
) -> Result<(), EvaluationError> {
    let (x, gradient) = (x.len(), gradient.len());
    if x == expected && gradient == expected {
        return Ok(());
    }
    Err(EvaluationError::Fatal(format!(
        "{x} coordinates and a gradient of {gradient} were given where {expected} are expected"
    )))
}

/// Why this configuration has no finite energy.
#[cold]
pub(super) fn explain(system: System, x: &[f64], energy: f64) -> String {
    let dimension = system.dimension();
    let position = |i: usize| &x[i * dimension..(i + 1) * dimension];
    let particles = x.len() / dimension;
    if let Some(i) = (0..particles).find(|&i| position(i).iter().any(|v| !v.is_finite())) {
        return format!("particle {i} is at {:?}", position(i));
    }
    let distance = |i: usize, j: usize| {
        let separation = system.separation(position(i), position(j));
        separation.iter().map(|r| r * r).sum::<f64>().sqrt()
    };
    let closest = (0..particles)
        .flat_map(|i| (0..i).map(move |j| (j, i)))
        .min_by(|a, b| distance(a.0, a.1).total_cmp(&distance(b.0, b.1)));
    match closest {
        Some((j, i)) if distance(i, j) == 0.0 => {
            format!("particles {j} and {i} (counted from 0) coincide")
        }
        Some((j, i)) => format!(
            "the energy {}; particles {j} and {i} (counted from 0) are closest, {:e} apart",
            if energy.is_nan() { "is not a number" } else { "overflows or is infinite" },
            distance(i, j)
        ),
        None => "the energy is not finite".to_string(),
    }
}
