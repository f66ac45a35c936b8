//! How often random clouds have no finite energy.

use super::finding::{in_kt, Finding, Severity};
use super::probe::{normal, Probe, Typical};
use crate::potential::EvaluationError;
use crate::random::{stream, Purpose};

/// Clouds of the typical size.
pub(super) fn failures(
    probe: &mut Probe<'_>,
    typical: &Typical,
) -> Result<Finding, EvaluationError> {
    const CLOUDS: usize = 64;
    const LEAST_CLOUDS: usize = 8;
    let width = probe.potential.system().coordinates();
    let mut failed = 0;
    let mut clouds = 0;
    probe.begin(1);
    while clouds < CLOUDS && (clouds < LEAST_CLOUDS || probe.has_time()) {
        let mut rng = stream(0, Purpose::Evaluation, 15, clouds as u64);
        clouds += 1;
        let d = probe.potential.system().dimension() as f64;
        let scale = typical.size / d.sqrt();
        let x: Vec<f64> = (0..width).map(|_| scale * normal(&mut rng)).collect();
        failed += usize::from(!probe.energy(&x)?.is_finite());
    }
    let severity = if 2 * failed > clouds { Severity::Caution } else { Severity::Fine };
    let last =
        if failed > 0 { format!(" (the last: {})", probe.last_failure) } else { String::new() };
    let text = format!(
        "{failed} of {clouds} random clouds of the typical size {:.2} have no finite energy{last}; \
         typical energies from {} to {} kT",
        typical.size,
        in_kt(typical.energies.iter().copied().fold(f64::INFINITY, f64::min)),
        in_kt(typical.energies.iter().copied().fold(f64::NEG_INFINITY, f64::max))
    );
    Ok(Finding { what: "failures", severity, text })
}
