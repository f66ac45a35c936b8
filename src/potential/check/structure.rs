//! Whether the known structures are where the energy wants them.

use super::finding::{in_kt, listed, Finding, Severity};
use super::probe::{normal, Probe};
use crate::potential::EvaluationError;
use crate::random::{stream, Purpose};

/// Products of the Hessian matrix with a vector, after which its largest eigenvalue is known well
/// enough.
const PRODUCTS: usize = 30;
/// A structure whose forces are spent after so many standard deviations of its stiffest mode was
/// made for this energy; beyond, its unit or the molecule may be another one.
const FARTHEST: f64 = 100.0;
/// Steps down from the structure.
const STEPS: usize = 300;
/// A structure that loses more than so many kT for each degree of freedom on the way down is
/// another molecule's; models that nobody has minimised lose one or two.
const LOSS: f64 = 10.0;

/// The first structure: its energy, its largest gradient, its stiffest mode, and atoms without a
/// bond; `None` where no structure is known.
pub(super) fn structure(probe: &mut Probe<'_>) -> Result<Option<Finding>, EvaluationError> {
    let potential = probe.potential;
    let Some(x) = potential.structures().first() else { return Ok(None) };
    probe.begin(1);
    let Some((energy, gradient)) = probe.ask(x)? else { return Ok(None) };
    let d = potential.system().dimension();
    let length = |g: &[f64]| g.iter().map(|g| g * g).sum::<f64>().sqrt();
    let lengths = gradient.chunks_exact(d).map(length);
    let (atom, largest) =
        lengths.enumerate().fold(
            (0, 0.0),
            |most, (atom, length)| {
                if length > most.1 {
                    (atom, length)
                } else {
                    most
                }
            },
        );
    let stiffness = stiffest(probe, x)?;
    let width = 1.0 / stiffness.max(f64::MIN_POSITIVE).sqrt();
    let mut text = format!("{} kT at the structure", in_kt(energy));
    let mut severity = Severity::Fine;
    if stiffness > 0.0 {
        text += &format!("; its stiffest mode has a standard deviation of {width:.2e}");
    }
    // The force, in units of what a fluctuation of the stiffest mode makes.
    if stiffness > 0.0 && largest * width > FARTHEST {
        severity = Severity::Caution;
        text += &format!(
            "; it is far from a minimum, with a force of {largest:.1e} kT over length on particle \
             {atom}: is its unit right, and the order of its atoms? Else minimise it"
        );
    }
    let freedom = potential.system().degrees_of_freedom() as f64;
    let loss = energy - relaxed(probe, x, (energy, &gradient), stiffness)?;
    if loss > LOSS * freedom {
        let text = format!(
            "{} kT at the structure, {} more than a little way off: it is another molecule's, in \
             another unit, or has its atoms in another order; or it is no model of a molecule yet, \
             and needs to be minimised",
            in_kt(energy),
            in_kt(loss)
        );
        return Ok(Some(Finding { what: "structure", severity: Severity::Wrong, text }));
    }
    if !potential.bonds().is_empty() {
        let bonded = |atom: &usize| potential.bonds().iter().any(|bond| bond.contains(atom));
        let free: Vec<usize> =
            (0..potential.system().particles()).filter(|atom| !bonded(atom)).collect();
        if !free.is_empty() {
            severity = Severity::Caution;
            text += &format!("; without a bond are {}: is the molecule whole?", listed(&free));
        }
    }
    Ok(Some(Finding { what: "structure", severity, text }))
}

/// The energy that some steps down the gradient from `x` lead to, the first one as long as the
/// stiffest mode allows.
fn relaxed(
    probe: &mut Probe<'_>,
    x: &[f64],
    (mut energy, gradient): (f64, &[f64]),
    stiffness: f64,
) -> Result<f64, EvaluationError> {
    let (mut x, mut gradient) = (x.to_vec(), gradient.to_vec());
    let mut step = 1.0 / stiffness.max(1e-6);
    for _ in 0..STEPS {
        if !probe.has_time() {
            break;
        }
        let moved: Vec<f64> = x.iter().zip(&gradient).map(|(x, g)| x - step * g).collect();
        match probe.ask(&moved)? {
            Some((lower, next)) if lower < energy => {
                (energy, gradient, x) = (lower, next, moved);
                step *= 1.2;
            }
            _ => step *= 0.3,
        }
    }
    Ok(energy)
}

/// The largest eigenvalue of the Hessian matrix at `x`, by powers of it: of gradients a little way
/// off.
fn stiffest(probe: &mut Probe<'_>, x: &[f64]) -> Result<f64, EvaluationError> {
    let mut rng = stream(0, Purpose::Evaluation, 14, 0);
    let mut v: Vec<f64> = x.iter().map(|_| normal(&mut rng)).collect();
    probe.potential.system().remove_center_of_mass(&mut v);
    let mut largest = 0.0;
    for product in 0..PRODUCTS {
        if product > 0 && !probe.has_time() {
            break;
        }
        let length = v.iter().map(|v| v * v).sum::<f64>().sqrt();
        if !(length.is_finite() && length > 0.0) {
            return Ok(0.0);
        }
        v.iter_mut().for_each(|v| *v /= length);
        let size = x.iter().map(|x| x * x).sum::<f64>().sqrt();
        let h = 1e-5 * size / (x.len() as f64).sqrt();
        let mut at = |shift: f64| {
            let moved: Vec<f64> = x.iter().zip(&v).map(|(x, v)| x + shift * v).collect();
            Ok::<_, EvaluationError>(probe.ask(&moved)?.map(|(_, gradient)| gradient))
        };
        let (Some(above), Some(below)) = (at(h)?, at(-h)?) else { return Ok(0.0) };
        let image: Vec<f64> =
            above.iter().zip(&below).map(|(above, below)| (above - below) / (2.0 * h)).collect();
        largest = image.iter().zip(&v).map(|(image, v)| image * v).sum();
        v = image;
    }
    Ok(if largest.is_finite() { f64::max(largest, 0.0) } else { 0.0 })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::potential::{from_fn, WithStructures};
    use crate::system::System;

    /// Four particles on springs to the corners of a square, of stiffness 400 along x for one.
    #[test]
    fn the_stiffest_mode_and_a_structure_elsewhere_are_found() {
        let system = System::new(2, 2).unwrap();
        let spring = move || {
            from_fn(system, |x, gradient| {
                // ½ 200 (x₁ − x₀ − 1)² + ½ (y₁ − y₀)²: eigenvalues 400 and 2.
                let (dx, dy) = (x[2] - x[0] - 1.0, x[3] - x[1]);
                gradient.copy_from_slice(&[-200.0 * dx, -dy, 200.0 * dx, dy]);
                Ok(100.0 * dx * dx + 0.5 * dy * dy)
            })
        };
        let look = |x: Vec<f64>| {
            let potential = WithStructures::new(spring(), vec![x]);
            structure(&mut Probe::new(&potential, Duration::from_secs(20))).unwrap().unwrap()
        };
        let fine = look(vec![-0.5, 0.0, 0.5, 0.0]);
        assert_eq!(fine.severity, Severity::Fine, "{}", fine.text);
        assert!(fine.text.contains("standard deviation of 5.00e-2"), "{}", fine.text);
        let unrelaxed = look(vec![-0.6, 0.0, 0.6, 0.0]);
        assert_eq!(unrelaxed.severity, Severity::Fine, "{}", unrelaxed.text);
        // In another unit.
        let planted = look(vec![-50.0, 0.0, 50.0, 0.0]);
        assert_eq!(planted.severity, Severity::Wrong);
        assert!(planted.text.contains("another unit"), "{}", planted.text);
    }
}
