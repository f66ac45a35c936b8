//! `boltzflow estimate`.

use std::io::Write;
use std::path::Path;

use crate::config::Registry;
use crate::error::Error;
use crate::evaluation::{
    energies, estimate, Estimates, Observable, OtherEnergies, Profile, Weights,
};
use crate::files::write_atomically;
use crate::parallel::team;
use crate::samples::Samples;
use crate::session::Trained;

use super::args::{AverageArgs, EstimateArgs, WeightArgs};
use super::output::{json, say};
use super::print::print_contradictions;

pub(super) fn run(args: &EstimateArgs, registry: &Registry) -> Result<(), Error> {
    let mut observables = args.averages.observables()?;
    if observables.is_empty() {
        observables = vec![Observable::Energy, Observable::HeatCapacity];
    }
    let has_profile = observables.contains(&Observable::PairDistances);
    if args.output.is_some() && !has_profile {
        let problem = "is for a histogram: add --observable pair_distances, or use --json";
        return Err(Error::parameter("--output", problem));
    }
    let weights = args.weights.checked()?;
    let mut trained = Trained::open(&args.run, registry)?;
    trained.problem.seed = args.seed;
    let system = trained.problem.flow.system();
    for observable in &observables {
        observable.formula(system)?;
    }
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
    let batches = trained.batches(args.samples.get(), weights)?;
    let mut reweigh = |batch: &Samples| match (&other, args.temperature) {
        (Some(other), _) => energies(&*other.potential, &batch.positions),
        (None, ratio) => Ok(batch.energies.iter().map(|u| u / ratio.unwrap_or(1.0)).collect()),
    };
    let elsewhere = other.is_some() || args.temperature.is_some();
    let change: Option<OtherEnergies<'_>> = if elsewhere { Some(&mut reweigh) } else { None };
    let found = estimate(system, &observables, args.averages.bins.get(), change, batches)?;
    let found = Estimates {
        contradictions: trained.contradictions(weights.compared()),
        marginal_draws: weights.draws().map(|k| k.get()),
        ..found
    };
    let output = args.output.as_ref().filter(|_| team().leads());
    if let (Some(path), Some(profile)) = (output, found.profiles.first()) {
        write_atomically(path, |file| {
            writeln!(file, "r,density,error")?;
            rows(profile)
                .try_for_each(|(r, density, error)| writeln!(file, "{r:e},{density:e},{error:e}"))
        })?;
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
        (None, None) => trained.target.name.clone(),
    };
    print(&found, &where_, args)
}

fn rows(profile: &Profile) -> impl Iterator<Item = (f64, f64, f64)> + '_ {
    let values = profile.r.iter().zip(&profile.density).zip(&profile.error);
    values.map(|((r, density), error)| (*r, *density, *error))
}

fn print(found: &Estimates, target: &str, args: &EstimateArgs) -> Result<(), Error> {
    let mark = if found.is_marked() { "  (!)" } else { "" };
    say!("over {target}")?;
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
    /// The observables that are asked for.
    pub(super) fn observables(&self) -> Result<Vec<Observable>, Error> {
        self.observable.iter().map(|text| text.parse()).collect()
    }
}

/// Prints means and histograms; a histogram that is written to `file` is only named.
pub(super) fn print_averages(found: &Estimates, file: Option<&Path>) -> Result<(), Error> {
    let mark = if found.is_marked() { "  (!)" } else { "" };
    for average in &found.averages {
        let text = with_error(average.mean, average.error);
        let left_out = match average.undefined {
            0 => String::new(),
            count => format!("  without {count} samples where it is not a number"),
        };
        say!("{:<24} {text}{left_out}{mark}", average.observable)?;
    }
    match (found.profiles.first(), file) {
        (Some(_), Some(path)) => say!("pair_distances in {}{mark}", path.display()),
        (Some(profile), None) => {
            say!("pair_distances: r, density")?;
            let is_visited = |row: &(f64, f64, f64)| row.1 > 0.0;
            rows(profile).filter(is_visited).try_for_each(|(r, density, error)| {
                say!("{r:>10.4}  {density:.4} ± {error:.4}{mark}")
            })
        }
        (None, _) => Ok(()),
    }
}

/// Two digits of the error and as many places of the value.
fn with_error(value: f64, error: f64) -> String {
    if !value.is_finite() {
        return "no figure: not a finite number".into();
    }
    let digits = if error > 0.0 && error.is_finite() {
        (1.0 - error.log10().floor()).clamp(0.0, 12.0) as usize
    } else {
        6
    };
    format!("{value:.digits$} ± {error:.digits$}")
}
