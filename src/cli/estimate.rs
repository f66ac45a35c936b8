//! `boltzflow estimate`.

use std::path::Path;

use crate::config::Registry;
use crate::error::Error;
use crate::evaluation::{energies, estimate, Estimates, Observable, OtherEnergies, Weights};
use crate::parallel::team;
use crate::samples::{FileUnits, Samples};
use crate::session::Trained;

use super::args::{AverageArgs, EstimateArgs, WeightArgs};
use super::histograms;
use super::output::{json, say};
use super::print::print_contradictions;

pub(super) fn run(args: &EstimateArgs, registry: &Registry) -> Result<(), Error> {
    let mut observables = args.averages.observables()?;
    let is_drawn = |o: &&Observable| o.is_of_all_pairs() || matches!(o, Observable::Histogram(_));
    let problem = match (&args.output, observables.iter().filter(is_drawn).count()) {
        (None, _) | (_, 1) => None,
        (_, 0) => Some(
            "is for a histogram: add --histogram or --observable pair_distances, or use --json",
        ),
        _ => Some("is for one histogram: ask for one at a time, or use --json for all"),
    };
    if let Some(problem) = problem {
        return Err(Error::parameter("--output", problem));
    }
    let weights = args.weights.checked()?;
    let mut trained = Trained::open(&args.run, registry)?;
    trained.problem.seed = args.seed;
    let has_energy = trained.target.potential.has_energy();
    if observables.is_empty() {
        observables = match has_energy {
            true => vec![Observable::Energy, Observable::HeatCapacity],
            false => vec![Observable::RadiusOfGyration],
        };
    }
    trained.target.require_energy_for([
        ("--observable", observables.iter().any(Observable::is_of_energies)),
        ("--temperature", args.temperature.is_some()),
        ("--target", args.target.is_some()),
        ("--ais", args.weights.ais),
        ("--marginal", args.weights.marginal.is_some()),
    ])?;
    let system = trained.problem.flow.system();
    let mut particles = trained.target.particles();
    observables.iter().try_for_each(|observable| observable.check(&particles))?;
    let other = args.target.as_deref().map(|name| registry.load(name)).transpose()?;
    if let Some(other) = &other {
        let theirs = other.potential.system();
        if theirs != system {
            let problem = format!(
                "has {} particles in {} dimensions, and the run's target {} in {}: give one of the \
                 same particles",
                theirs.particles(),
                theirs.dimension(),
                system.particles(),
                system.dimension()
            );
            return Err(Error::parameter("--target", problem));
        }
    }
    // Free energies are in those of the state that is averaged over.
    let kt = match (&other, args.temperature) {
        (Some(other), _) => other.particles().units.map(|units| units.electronvolt),
        (None, ratio) => particles.units.map(|u| u.electronvolt * ratio.unwrap_or(1.0)),
    };
    particles.units =
        particles.units.zip(kt).map(|(units, electronvolt)| FileUnits { electronvolt, ..units });
    let batches = trained.batches(args.samples.get(), weights)?;
    let mut reweigh = |batch: &Samples| match (&other, args.temperature) {
        (Some(other), _) => energies(&*other.potential, &batch.positions),
        (None, ratio) => Ok(batch.energies.iter().map(|u| u / ratio.unwrap_or(1.0)).collect()),
    };
    let elsewhere = other.is_some() || args.temperature.is_some();
    let change: Option<OtherEnergies<'_>> = if elsewhere { Some(&mut reweigh) } else { None };
    let found = estimate(&particles, &observables, args.averages.bins.get(), change, batches)?;
    let found = Estimates {
        contradictions: trained.contradictions(weights.compared()),
        marginal_draws: weights.draws().map(|k| k.get()),
        ..found
    };
    let output = args.output.as_ref().filter(|_| team().leads());
    if let Some(path) = output {
        histograms::write(&found, path)?;
    }
    if args.json {
        return json(&found);
    }
    let where_ = match (&other, args.temperature) {
        (Some(other), _) => format!("{}, reweighted from {}", other.name, trained.target.name),
        (None, Some(ratio)) => {
            let name = &trained.target.name;
            format!("{name} at {ratio} times the temperature; kT is that of the new temperature")
        }
        (None, None) if !has_energy => {
            format!("the flow of {}, which has no energy to weigh by", trained.target.name)
        }
        (None, None) => trained.target.name.clone(),
    };
    print(&found, &where_, args)
}

fn print(found: &Estimates, target: &str, args: &EstimateArgs) -> Result<(), Error> {
    let mark = if found.is_marked() { "  (!)" } else { "" };
    say!("averages over {target}")?;
    let kind =
        found.marginal_draws.map_or(String::new(), |k| format!(", weights on x alone (K = {k})"));
    say!("ESS {:.0} of {} samples{kind}{mark}", found.effective_samples, found.samples)?;
    if let Some(free) = &found.free_energy {
        say!("{:<24} {}{mark}", "free energy / kT", with_error(free.difference, free.error))?;
    }
    print_averages(found, args.output.as_deref())?;
    if found.rests_on_few_samples {
        say!("(!) rests on few samples with large weights: do not rely on it")?;
    }
    print_contradictions(&found.contradictions)
}

impl WeightArgs {
    /// The weights that are asked for.
    pub(super) fn checked(&self) -> Result<Weights, Error> {
        match (self.marginal, self.ais) {
            (None, false) => Ok(Weights::Joint),
            (None, true) => Ok(Weights::Annealed),
            (Some(draws), false) => Ok(Weights::Marginal(draws)),
            (Some(_), true) => Err(Error::parameter(
                "--marginal",
                "cannot go with --ais: annealed samples are no longer distributed as the flow's, \
                 so its density averaged over the copies does not weigh them: use one of both",
            )),
        }
    }
}

impl AverageArgs {
    /// The observables and histograms that are asked for.
    pub(super) fn observables(&self) -> Result<Vec<Observable>, Error> {
        let histograms = self.histogram.iter().map(|text| Observable::histogram(text));
        self.observable.iter().map(|text| text.parse()).chain(histograms).collect()
    }
}

/// Prints means and histograms; a histogram that is written to `file` is only named.
pub(super) fn print_averages(found: &Estimates, file: Option<&Path>) -> Result<(), Error> {
    let mark = if found.is_marked() { "  (!)" } else { "" };
    for average in &found.averages {
        let mut text = with_error(average.mean, average.error);
        if !average.unit.is_empty() {
            text += &format!(" {}", average.unit);
        }
        let left_out = match average.undefined {
            0 => String::new(),
            count => format!("  without {count} samples where it is not a number"),
        };
        let circular = average.resultant.map_or(String::new(), |length| {
            format!("  (circular mean, resultant length {length:.3}: see --histogram)")
        });
        say!("{:<24} {text}{circular}{left_out}{mark}", average.observable)?;
    }
    if let Some(path) = file {
        let histograms = found.histograms.iter().map(|h| h.observables.join(", "));
        let mut names = histograms.chain(found.profiles.iter().map(|p| p.observable.clone()));
        return names.try_for_each(|name| say!("{name} in {}{mark}", path.display()));
    }
    for profile in &found.profiles {
        say!("{}: r, density", profile.observable)?;
        let is_visited = |row: &(f64, f64, f64)| row.1 > 0.0;
        histograms::rows(profile).filter(is_visited).try_for_each(|(r, density, error)| {
            say!("{r:>10.4}  {density:.4} ± {error:.4}{mark}")
        })?;
    }
    found.histograms.iter().try_for_each(|histogram| histograms::print(histogram, mark))
}

/// Two digits of the error and as many places of the value.
fn with_error(value: f64, error: f64) -> String {
    if !value.is_finite() {
        return "no figure: not a finite number".into();
    }
    if error.is_nan() {
        return format!("{value:.6} ± unknown");
    }
    let digits = if error > 0.0 && error.is_finite() {
        (1.0 - error.log10().floor()).clamp(0.0, 12.0) as usize
    } else {
        6
    };
    format!("{value:.digits$} ± {error:.digits$}")
}
