//! Checks on a potential what training takes for granted.

mod batch;
mod failures;
mod finding;
mod forces;
mod infinity;
mod overlap;
mod probe;
mod structure;
mod symmetries;

use std::time::Duration;

use self::batch::batch;
use self::failures::failures;
pub use self::finding::{Finding, Severity};
use self::forces::forces;
use self::infinity::infinity;
use self::overlap::overlap;
use self::probe::{typical, Probe};
use self::structure::structure;
use self::symmetries::symmetries;
use super::{EvaluationError, Potential};

/// Examines known structures, forces, symmetries, overlap, infinity, speed and failures of
/// `potential`; the findings are in this order. In a periodic box there is no infinity, and no
/// symmetry under rotation and reflection. Random numbers are fixed. It takes some ten
/// thousand evaluations, or 20 seconds for each of six parts where an energy takes long.
///
/// # Errors
/// Only [`EvaluationError::Fatal`].
pub fn check(potential: &dyn Potential) -> Result<Vec<Finding>, EvaluationError> {
    check_within(potential, Duration::from_secs(20))
}

fn check_within(
    potential: &dyn Potential,
    time_of_a_part: Duration,
) -> Result<Vec<Finding>, EvaluationError> {
    let mut probe = Probe::new(potential, time_of_a_part);
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
    let mut findings = Vec::from_iter(structure(&mut probe)?);
    findings.push(forces(&mut probe, &typical)?);
    findings.extend(symmetries(&mut probe, &typical)?);
    findings.push(overlap(&mut probe, &typical)?);
    if potential.system().periodic_box().is_none() {
        findings.push(infinity(&mut probe, &typical)?);
    }
    findings.push(batch(&mut probe, &typical)?);
    findings.push(failures(&mut probe, &typical)?);
    Ok(findings)
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::potential::from_fn;
    use crate::system::System;

    /// Six particles in a trap, with an energy that takes a millisecond.
    #[test]
    fn a_costly_energy_is_looked_at_for_a_while() {
        let potential = from_fn(System::new(6, 3).unwrap(), |x, gradient| {
            std::thread::sleep(Duration::from_millis(1));
            gradient.copy_from_slice(x);
            Ok(0.5 * x.iter().map(|x| x * x).sum::<f64>())
        });
        let start = Instant::now();
        let findings = check_within(&potential, Duration::from_millis(60)).unwrap();
        // All that there is to look at would take ten seconds and more.
        assert!(start.elapsed() < Duration::from_secs(6), "{:?}", start.elapsed());
        for what in ["forces", "overlap", "infinity"] {
            let finding = findings.iter().find(|finding| finding.what == what).unwrap();
            assert!(finding.text.contains("an energy takes long, so only"), "{}", finding.text);
            assert_eq!(finding.severity, Severity::Fine, "{}", finding.text);
        }
        assert!(findings.iter().all(|finding| finding.severity != Severity::Wrong));
    }
}
