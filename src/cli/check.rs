//! `boltzflow check`.

use std::collections::BTreeSet;

use crate::config::{Registry, Target};
use crate::error::Error;
use crate::potential::{check, Severity};
use crate::work;

use super::args::CheckArgs;
use super::output::{lines, say};

pub(super) fn run(args: &CheckArgs, registry: &Registry) -> Result<(), Error> {
    let target = registry.load(&args.target)?;
    target.require_energy("TARGET")?;
    let potential = &*target.potential;
    let (system, species) = (potential.system(), potential.species());
    let kinds = species.iter().collect::<BTreeSet<_>>().len().max(1);
    say!(
        "target {}: {} particles in {} dimensions, {}",
        target.name,
        system.particles(),
        system.dimension(),
        if kinds == 1 { "all alike".to_string() } else { format!("of {kinds} kinds") }
    )?;
    if let Some(temperature) = target.temperature() {
        say!("temperature  {temperature}")?;
    }
    if !potential.structures().is_empty() {
        say!(
            "structures   {} known, where typical configurations begin",
            potential.structures().len()
        )?;
    }
    print_terms(&target)?;
    let work = work::begin("looking at energies and gradients");
    let findings = check(potential)?;
    drop(work);
    for finding in &findings {
        let severity = match finding.severity {
            Severity::Fine => "fine",
            Severity::Caution => "caution",
            Severity::Wrong => "WRONG",
        };
        let mut head = format!("{:<12} {severity:<8}", finding.what);
        for line in lines(&finding.text, 58) {
            say!("{head} {line}")?;
            head = " ".repeat(21);
        }
    }
    let wrong: Vec<&str> =
        findings.iter().filter(|f| f.severity == Severity::Wrong).map(|f| f.what).collect();
    if wrong.is_empty() {
        say!("verdict      ready for training")?;
        return Ok(());
    }
    Err(Error::Check(format!(
        "training on `{}` would be wrong, see above: {}",
        target.name,
        wrong.join(", ")
    )))
}

/// The parts of the energy at the structure, to compare with what another program has.
fn print_terms(target: &Target) -> Result<(), Error> {
    let Some(structure) = target.potential.structures().first() else { return Ok(()) };
    let terms = target.potential.terms(structure);
    if terms.is_empty() {
        return Ok(());
    }
    let (unit, size) = match target.kilojoules_per_mole() {
        Some(kt) => ("kJ/mol", kt),
        None => ("kT", 1.0),
    };
    say!("energies     at the structure, in {unit}")?;
    for (name, energy) in &terms {
        say!("  {name:<26} {}", fixed(energy * size))?;
    }
    let sum: f64 = terms.iter().map(|(_, energy)| energy * size).sum();
    say!("  {:<26} {}", "sum", fixed(sum))?;
    Ok(())
}

fn fixed(energy: f64) -> String {
    match energy.abs() < 1e8 {
        true => format!("{energy:>12.4}"),
        false => format!("{energy:>12.4e}"),
    }
}
