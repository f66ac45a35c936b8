//! Whether a batch gives what single calls give, and how fast.

use std::time::Instant;

use super::finding::{Finding, Severity};
use super::probe::{Probe, Typical};
use crate::potential::EvaluationError;

/// Seconds.
const PATIENCE: f64 = 5.0;

pub(super) fn batch(probe: &mut Probe<'_>, typical: &Typical) -> Result<Finding, EvaluationError> {
    let potential = probe.potential;
    let x = typical.configurations.concat();
    let (count, width) = (typical.configurations.len(), potential.system().coordinates());
    let (mut energies, mut gradients) = (vec![0.0; count], vec![0.0; x.len()]);
    let mut run = || {
        let start = Instant::now();
        let done = potential.energies_and_gradients(&x, &mut energies, &mut gradients);
        done.map(|_| start.elapsed().as_secs_f64())
    };
    // The first call of a shape may compile something; one that takes long is not done again.
    let first = run()?;
    let (mut seconds, mut runs) = (first, 1);
    if first < PATIENCE {
        (seconds, runs) = (run()?, 1);
        while seconds < 0.2 && runs < 100_000 {
            seconds += run()?;
            runs += 1;
        }
    }
    let speed = (count * runs) as f64 / seconds;
    probe.evaluations += count * (runs + 1);
    let mut worst = 0.0f64;
    for (s, x) in typical.configurations.iter().enumerate() {
        if let Some((energy, gradient)) = probe.ask(x)? {
            let size = gradient.iter().fold(1.0f64, |m, g| m.max(g.abs()));
            let both = gradient.iter().zip(&gradients[s * width..]);
            worst = both.fold(worst, |m, (a, b)| m.max((a - b).abs() / size));
            worst = worst.max((energy - energies[s]).abs() / (1.0 + energy.abs()));
        }
    }
    let (severity, advice) = match worst {
        worst if worst < 1e-8 => (Severity::Fine, String::new()),
        worst if worst < 1e-3 => {
            (Severity::Caution, format!("; repeated calls differ by {worst:.0e}"))
        }
        _ => (Severity::Wrong, format!("; a batch differs from single calls by {worst:.0e}")),
    };
    let text = format!("{speed:.2e} evaluations per second on one thread{advice}");
    Ok(Finding { what: "speed", severity, text })
}
