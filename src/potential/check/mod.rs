//! Checks on a potential what training takes for granted.

mod batch;
mod failures;
mod finding;
mod forces;
mod infinity;
mod overlap;
mod probe;
mod symmetries;

use self::batch::batch;
use self::failures::failures;
pub use self::finding::{Finding, Severity};
use self::forces::forces;
use self::infinity::infinity;
use self::overlap::overlap;
use self::probe::{typical, Probe};
use self::symmetries::symmetries;
use super::{EvaluationError, Potential};

/// Examines forces, symmetries, overlap, infinity, speed and failures of `potential`; the findings
/// are in this order. Random numbers are fixed. It takes some ten thousand evaluations, or
/// 20 seconds for each of five parts where an energy takes long.
///
/// # Errors
/// Only [`EvaluationError::Fatal`].
pub fn check(potential: &dyn Potential) -> Result<Vec<Finding>, EvaluationError> {
    let mut probe = Probe::new(potential);
    let Some(typical) = typical(&mut probe)? else {
        let tried = match potential.structures().len() {
            0 => {
                let clouds = probe.evaluations;
                format!("{clouds} random configurations of sizes from 0.001 to 1000")
            }
            known => format!("any of {known} known structures"),
        };
        let text = format!("no finite energy in {tried}: {}", probe.last_failure);
        return Ok(vec![Finding { what: "energy", severity: Severity::Wrong, text }]);
    };
    let mut findings = vec![forces(&mut probe, &typical)?];
    findings.extend(symmetries(&mut probe, &typical)?);
    findings.push(overlap(&mut probe, &typical)?);
    findings.push(infinity(&mut probe, &typical)?);
    findings.push(batch(&mut probe, &typical)?);
    findings.push(failures(&mut probe, &typical)?);
    Ok(findings)
}
