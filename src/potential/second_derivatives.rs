//! Second derivatives of an energy.

use rayon::prelude::*;

use super::{EvaluationError, Potential};

/// Steps of the differences are this part of the shortest distance.
const STEP: f64 = 1e-4;

/// ∂²U/∂x² at `x` ([particles, dimension]): [coordinates, coordinates], symmetric, in kT over
/// squared length. By central differences of fourth order of the gradient; not a number where a
/// configuration beside x has no energy.
///
/// # Errors
/// Only [`EvaluationError::Fatal`].
///
/// # Examples
/// Two particles at the minimum of a pair, along their axis: u″(r_m) = 72 ε/r_m².
/// ```
/// use boltzflow::potential::{second_derivatives, LennardJones, LennardJonesParameters};
/// let parameters = LennardJonesParameters { trap: 0.0, ..LennardJonesParameters::new(2, 2, 1.5) };
/// let k = second_derivatives(&LennardJones::new(parameters)?, &[0.0, 0.0, 1.0, 0.0])?;
/// assert!((k[0] - 108.0).abs() < 1e-6 && (k[2] + 108.0).abs() < 1e-6 && k[5].abs() < 1e-6);
/// # Ok::<(), boltzflow::Error>(())
/// ```
pub fn second_derivatives(
    potential: &dyn Potential,
    x: &[f64],
) -> Result<Vec<f64>, EvaluationError> {
    let (system, width) = (potential.system(), x.len());
    let d = system.dimension();
    let mut nearest = f64::INFINITY;
    for (i, a) in x.chunks_exact(d).enumerate() {
        for b in x.chunks_exact(d).take(i) {
            let squared: f64 = system.separation(a, b).iter().map(|r| r * r).sum();
            nearest = nearest.min(squared);
        }
    }
    let h = STEP * nearest.sqrt();
    let column = |i: usize| -> Result<Vec<f64>, EvaluationError> {
        let mut column = vec![0.0; width];
        let (mut moved, mut gradient) = (x.to_vec(), vec![0.0; width]);
        for (steps, weight) in [(1.0, 8.0), (-1.0, -8.0), (2.0, -1.0), (-2.0, 1.0)] {
            moved[i] = x[i] + steps * h;
            match potential.energy_and_gradient(&moved, &mut gradient) {
                Ok(_) => {}
                Err(EvaluationError::Recoverable(_)) => gradient.fill(f64::NAN),
                Err(fatal) => return Err(fatal),
            }
            column.iter_mut().zip(&gradient).for_each(|(k, g)| *k += weight * g / (12.0 * h));
        }
        Ok(column)
    };
    let columns: Vec<Vec<f64>> =
        (0..width).into_par_iter().map(column).collect::<Result<_, _>>()?;
    let mut matrix = vec![0.0; width * width];
    for i in 0..width {
        for j in 0..width {
            matrix[i * width + j] = 0.5 * (columns[i][j] + columns[j][i]);
        }
    }
    Ok(matrix)
}
