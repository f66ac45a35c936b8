//! Translation, rotation, reflection, and exchange of like particles.

use super::finding::{Finding, Severity};
use super::probe::{direction, Probe, Typical};
use crate::potential::EvaluationError;
use crate::random::{stream, Purpose};

/// A change of U under a symmetry that matters in a weight, in kT.
const BROKEN: f64 = 1e-2;
/// A change that rounding explains.
const ROUNDING: f64 = 1e-6;
/// A net force that rounding explains, even in single precision, as a share of all forces.
const NET_ROUNDING: f64 = 1e-6;

pub(super) fn symmetries(
    probe: &mut Probe<'_>,
    typical: &Typical,
) -> Result<Vec<Finding>, EvaluationError> {
    let system = probe.potential.system();
    let (d, species) = (system.dimension(), probe.potential.species().to_vec());
    // A shift must not lead out of where there are energies.
    let far = (10.0 * typical.size).min(0.3 * probe.potential.reach());
    let mut changes = [0.0f64; 4];
    for (number, x) in typical.configurations.iter().enumerate() {
        let mut rng = stream(0, Purpose::Evaluation, 12, number as u64);
        let shift = direction(d, &mut rng);
        let shifted: Vec<f64> =
            x.iter().zip(shift.iter().cycle()).map(|(x, s)| x + far * s).collect();
        let mut rotated = x.clone();
        system.rotate(&system.random_rotation(&mut rng), &mut rotated);
        let mut mirrored = x.clone();
        mirrored.iter_mut().step_by(d).for_each(|x| *x = -*x);
        let order = system.random_permutation_within(&species, &mut rng);
        let exchanged = system.permute(&order, x);
        let Some((energy, gradient)) = probe.ask(x)? else { continue };
        let unit = 1.0 + 1e-4 * energy.abs();
        let moved = [
            probe.energy_in_place(&shifted)?,
            probe.energy(&rotated)?,
            probe.energy(&mirrored)?,
            probe.energy(&exchanged)?,
        ];
        for (change, moved) in changes.iter_mut().zip(moved) {
            let difference = (moved - energy).abs() / unit;
            *change = change.max(if difference.is_nan() { f64::INFINITY } else { difference });
        }
        // What is always at the origin still has a net force in a field.
        changes[0] = changes[0].max(net_force(d, &gradient) * typical.size / unit);
    }
    let described = [
        (
            "translation",
            "write U in distances, or from the centre of mass; a client of another program must \
             have no field or wall that is fixed in space",
        ),
        ("rotation", "write U in distances and angles: the flow cannot prefer a direction"),
        (
            "reflection",
            "the flow makes both mirror images alike: leave out terms odd in a dihedral",
        ),
        ("exchange", "give particles that differ different species"),
    ];
    let holds =
        |what: &str| system.periodic_box().is_none() || !["rotation", "reflection"].contains(&what);
    Ok(changes
        .into_iter()
        .zip(described)
        .filter(|(_, (what, _))| holds(what))
        .map(|(change, (what, advice))| {
            let severity = match change {
                change if change < ROUNDING => Severity::Fine,
                change if change < BROKEN => Severity::Caution,
                _ => Severity::Wrong,
            };
            let advice = if severity == Severity::Fine { "" } else { advice };
            let colon = if advice.is_empty() { "" } else { ": " };
            let most = match change {
                0.0 => "does not change U".to_string(),
                _ => format!("changes U by {change:.0e} kT at most"),
            };
            let text = format!("{most}{colon}{advice}");
            Finding { what, severity, text }
        })
        .collect())
}

/// The size of the sum of all forces, 0 if rounding explains it.
fn net_force(d: usize, gradient: &[f64]) -> f64 {
    let net = (0..d).map(|k| gradient.iter().skip(k).step_by(d).sum::<f64>().powi(2)).sum::<f64>();
    let all: f64 = gradient.iter().map(|g| g.abs()).sum();
    match net.sqrt() {
        net if net > NET_ROUNDING * all => net,
        _ => 0.0,
    }
}
