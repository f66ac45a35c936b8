//! `boltzflow reference`.

use serde::Serialize;

use crate::config::{Registry, Target};
use crate::diagnostics::Independent;
use crate::error::Error;
use crate::evaluation::{estimate_of, Average, Estimates, Histogram, Profile};
use crate::parallel::team;
use crate::potential::crystal_of;
use crate::samples::{check_destination, units_in, write_samples};
use crate::sampling::{
    sample_reference, ExchangeReport, Reference, ReferenceOptions, ReferenceReport,
};
use crate::work;

use super::args::ReferenceArgs;
use super::estimate::print_averages;
use super::output::{json, say};

pub(super) fn run(args: &ReferenceArgs, registry: &Registry) -> Result<(), Error> {
    let target = registry.load(&args.target)?;
    target.require_energy("TARGET")?;
    if let Some(output) = &args.output {
        check_destination(output)?;
    }
    let observables = args.averages.observables()?;
    let particles = target.particles();
    observables.iter().try_for_each(|observable| observable.check(&particles))?;
    let samples = args.samples.get();
    let usual = ReferenceOptions::of(&*target.potential, samples);
    let chains = args.chains.map_or(usual.chains, |c| c.get());
    let transitions = args.transitions.map_or(usual.transitions, |t| t.get());
    let options = ReferenceOptions { chains, transitions, seed: args.seed, ..usual };
    let work = work::begin("drawing reference samples");
    let Reference { samples: mut drawn, populations, report } =
        sample_reference(target.potential.clone(), options)?;
    drop(work);
    if !team().leads() {
        return Ok(());
    }
    target.match_structure(&mut drawn);
    if let Some(output) = &args.output {
        write_samples(output, &particles, samples, [Ok(drawn.clone())])?;
    }
    let independent = Independent::Populations(&populations);
    let bins = args.averages.bins.get();
    let found = estimate_of(independent, &particles, &observables, bins, None, [Ok(drawn)])?;
    if args.json {
        let Estimates { averages, profiles, histograms, .. } = &found;
        return json(&Output { report: &report, averages, profiles, histograms });
    }
    print(&report, &target)?;
    print_averages(&found, None)?;
    if let Some(output) = &args.output {
        say!("samples in {}: {}", output.display(), units_in(output, &particles)?)?;
    }
    Ok(())
}

/// What is printed as JSON.
#[derive(Serialize)]
struct Output<'a> {
    #[serde(flatten)]
    report: &'a ReferenceReport,
    averages: &'a [Average],
    profiles: &'a [Profile],
    histograms: &'a [Histogram],
}

fn print(report: &ReferenceReport, target: &Target) -> Result<(), Error> {
    let known = |value: Option<f64>| value.map_or(String::new(), |v| format!("  (known: {v:.3})"));
    let z = known(target.known.log_z);
    say!("log Z        {:.4} ± {:.4}{z}", report.log_z, report.log_z_error)?;
    if let Some(crystal) = crystal_of(&*target.potential) {
        let (value, error) =
            (crystal.free_energy(report.log_z), crystal.free_energy_error(report.log_z_error));
        say!("beta F/N     {value:.6} ± {error:.6}")?;
    }
    let u = known(target.known.mean_energy);
    say!(
        "mean energy  {:.4} ± {:.4} kT{u}, standard deviation {:.3}",
        report.energy,
        report.energy_error,
        report.energy_std
    )?;
    say!(
        "entropy      {:.4} ± {:.4} k{}",
        report.entropy,
        report.entropy_error,
        known(target.known.entropy)
    )?;
    say!(
        "virial       {:.4} ± {:.4} kT, to be the degrees of freedom, {}",
        report.virial,
        report.virial_error,
        report.degrees_of_freedom
    )?;
    say!(
        "{} samples from {} chains; {:.3e} energy evaluations",
        report.samples,
        report.chains,
        report.effort.evaluations as f64
    )?;
    if let Some(exchange) = &report.exchange {
        print_exchange(exchange, target)?;
    }
    if report.effort.without_gradient > 0 {
        say!(
            "caution: {} evaluations gave a finite energy whose gradient is not a number; chains \
             cannot move from there",
            report.effort.without_gradient
        )?;
    }
    if report.rests_on_few() {
        say!(
            "caution: the samples rest on {:.1} of {} populations, whose estimates of Z differ \
             much: errors are not reliable; use more --chains",
            report.effective_populations,
            report.populations
        )?;
    }
    if (report.virial - report.degrees_of_freedom as f64).abs() > 4.0 * report.virial_error {
        say!("caution: the virial is not at the degrees of freedom; use more --chains")?;
    }
    Ok(())
}

/// What only molecules have: temperatures, and what chains have seen of torsions.
fn print_exchange(exchange: &ExchangeReport, target: &Target) -> Result<(), Error> {
    let least = exchange.exchanges.iter().copied().fold(1.0, f64::min);
    let hottest = exchange.temperatures.last().copied().unwrap_or(1.0);
    say!(
        "replica exchange: {} temperatures up to {hottest:.1} T; {:.0} % or more of exchanges made",
        exchange.temperatures.len(),
        100.0 * least
    )?;
    let worth = match (exchange.autocorrelation_time, exchange.effective_samples) {
        (Some(time), Some(samples)) => {
            format!("energies are worth {samples:.0} independent samples (one in {time:.1} sweeps)")
        }
        _ => "too few sweeps to tell how many samples are independent".to_string(),
    };
    say!("{worth}")?;
    say!("{} ways to the hottest temperature and back", exchange.round_trips)?;
    if exchange.has_unclear_parts {
        say!(
            "caution: an atom with four bonds has turned inside out at times; log Z is that of the \
             structure's side and its images by symmetry"
        )?;
    }
    if exchange.log_z_rests_on_few {
        say!("caution: log Z rests on too few configurations; use more --transitions")?;
    }
    let label = |atom: usize| match &target.molecule {
        Some(molecule) => molecule.atoms[atom].label(),
        None => atom.to_string(),
    };
    for (atoms, degrees) in &exchange.seen_once {
        let names = atoms.map(label).join(" ");
        say!(
            "caution: only one chain has been at {degrees:.0} ± 45 degrees of {names}: its share \
             is not known; use more --transitions"
        )?;
    }
    Ok(())
}
