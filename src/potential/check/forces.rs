//! Whether the gradient is that of the energy.

use super::finding::{Finding, Severity};
use super::probe::{normal, Probe, Typical};
use crate::potential::EvaluationError;
use crate::random::{stream, Purpose};
use crate::system::System;

/// Directions at each configuration.
const DIRECTIONS: usize = 8;

/// Compares gradients along random directions with central differences of fourth order. The closest
/// of several step sizes counts, since no single one suits every potential; all are small beside
/// the shortest distance. The directions leave the centre of mass where it is: what moves it is a
/// matter of translation.
pub(super) fn forces(probe: &mut Probe<'_>, typical: &Typical) -> Result<Finding, EvaluationError> {
    let system = probe.potential.system();
    let (mut worst, mut products, mut squares) = (0.0f64, 0.0, 0.0);
    let mut rng = stream(0, Purpose::Evaluation, 11, 0);
    let mut count = 0;
    probe.begin(1);
    for x in &typical.configurations {
        let Some((_, gradient)) = probe.ask(x)? else { continue };
        let length = gradient.iter().map(|g| g * g).sum::<f64>().sqrt();
        let scale = shortest_distance(x, system).min(typical.size);
        let typical_slope = (length / (x.len() as f64).sqrt()).max(1e-3 / typical.size);
        for _ in 0..DIRECTIONS {
            if count > 0 && !probe.has_time() {
                break;
            }
            count += 1;
            let mut direction: Vec<f64> = x.iter().map(|_| normal(&mut rng)).collect();
            system.remove_center_of_mass(&mut direction);
            let slope: f64 = gradient.iter().zip(&direction).map(|(g, v)| g * v).sum();
            let (mut least, mut closest) = (f64::INFINITY, 0.0);
            for step in [1e-2, 1e-3, 1e-4, 1e-5] {
                let h = step * scale;
                let mut at = |shift: f64| {
                    let moved: Vec<f64> =
                        x.iter().zip(&direction).map(|(x, v)| x + shift * v).collect();
                    probe.energy(&moved)
                };
                let (near, far) = (at(h)? - at(-h)?, at(2.0 * h)? - at(-2.0 * h)?);
                let numerical = (8.0 * near - far) / (12.0 * h);
                let error = (numerical - slope).abs() / (slope.abs() + typical_slope);
                if error < least {
                    (least, closest) = (error, numerical);
                }
            }
            worst = worst.max(least);
            products += closest * slope;
            squares += slope * slope;
        }
    }
    let ratio = products / squares;
    let near = |value: f64| (ratio - value).abs() < 0.05 * value.abs();
    let all = DIRECTIONS * typical.configurations.len();
    let (severity, advice) = match worst {
        worst if worst < 1e-4 => (Severity::Fine, ""),
        _ if near(-1.0) => {
            (Severity::Wrong, ": they have the wrong sign, return ∂U/∂x, not the force")
        }
        _ if near(2.0) => (Severity::Wrong, ": a factor 2 is missing in the gradient"),
        _ if near(0.5) => (Severity::Wrong, ": the gradient has a factor 2 too much"),
        worst if worst < 1e-2 => (Severity::Caution, ": single precision, or a kink?"),
        _ => (Severity::Wrong, ": the gradient is not that of the energy"),
    };
    let text = format!(
        "{count} directional derivatives are off by at most {worst:.0e} of their size{advice}{}",
        probe.out_of_time(count, all)
    );
    Ok(Finding { what: "forces", severity, text })
}

/// Between two particles or, in open space, of one from the centre of mass, which is the origin.
fn shortest_distance(x: &[f64], system: System) -> f64 {
    let particles: Vec<&[f64]> = x.chunks_exact(system.dimension()).collect();
    let squared = |a: &[f64], b: &[f64]| system.separation(a, b).iter().map(|r| r * r).sum::<f64>();
    let mut shortest = f64::INFINITY;
    for (i, a) in particles.iter().enumerate() {
        if system.periodic_box().is_none() {
            shortest = shortest.min(squared(a, &[0.0; 3]));
        }
        shortest = particles[..i].iter().fold(shortest, |least, b| least.min(squared(a, b)));
    }
    shortest.sqrt()
}
