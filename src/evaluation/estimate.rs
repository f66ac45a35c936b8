//! Averages over the target of a trained flow, or over another one, from a stream of weighted
//! samples.

use std::f64::consts::PI;

use serde::Serialize;

use super::contradiction::Contradiction;
use super::histogram::{Collected, Histogram};
use super::measure::Measure;
use super::observable::Observable;
use crate::diagnostics::{
    effective_sample_size, free_energy_difference, pair_distances, rests_on_few, reweighted,
    reweighted_mean_of, reweighted_variance, Independent, WeightedHistogram,
};
use crate::error::Error;
use crate::samples::{Particles, Samples};
use crate::system::System;

/// A mean over the target.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Average {
    /// The observable.
    pub observable: String,
    /// Reweighted mean; the variance for `heat_capacity`; for dihedral angles the direction of the
    /// mean of e^{iφ}, in degrees.
    pub mean: f64,
    /// Its standard error.
    pub error: f64,
    /// What both are in; empty for numbers without a unit and for other units of length.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub unit: &'static str,
    /// |⟨e^{iφ}⟩| of a dihedral angle: 1 where all are the same, and near 0 the mean says nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resultant: Option<f64>,
    /// Samples where the observable is not a number; they are left out.
    pub undefined: usize,
}

/// A density in bins.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Profile {
    /// The observable.
    pub observable: String,
    /// Centres of the bins.
    pub r: Vec<f64>,
    /// Density in each bin; its integral is 1.
    pub density: Vec<f64>,
    /// Its standard errors.
    pub error: Vec<f64>,
}

/// Free energy of another state over the trained target's.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FreeEnergy {
    /// −ln(Z/Z_trained), in kT.
    pub difference: f64,
    /// Its standard error.
    pub error: f64,
}

/// All that was asked for.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Estimates {
    /// Samples drawn.
    pub samples: usize,
    /// Draws K of the augmented copies behind each weight, for weights on x alone.
    pub marginal_draws: Option<usize>,
    /// Equally weighted samples that they are worth.
    pub effective_samples: f64,
    /// Whether that rests on few samples, and all else with it.
    pub rests_on_few_samples: bool,
    /// What an evaluation found to speak against the weights, and so against all else.
    pub contradictions: Vec<Contradiction>,
    /// Means.
    pub averages: Vec<Average>,
    /// Histograms of pair distances.
    pub profiles: Vec<Profile>,
    /// Histograms of one or two other observables, with free energies.
    pub histograms: Vec<Histogram>,
    /// Against the trained target, when another one was asked for.
    pub free_energy: Option<FreeEnergy>,
}

impl Estimates {
    /// Whether they are not to be relied on.
    pub fn is_marked(&self) -> bool {
        self.rests_on_few_samples || !self.contradictions.is_empty()
    }
}

/// Energies over another density for a batch of samples.
pub type OtherEnergies<'a> = &'a mut dyn FnMut(&Samples) -> Result<Vec<f64>, Error>;

/// Estimates `observables` over exp(−U) from weighted `batches` of samples of it, or over
/// exp(−U_other) where `other` gives that energy for a batch. Samples without weights count the
/// same: their averages are over what drew them. What is kept of a sample are its
/// weight and a number for each observable. Dihedral angles of a chiral molecule are those of its
/// structure if the samples have its handedness: see [`Samples::match_structure`].
///
/// # Errors
/// The first error of a batch; [`Error::Parameter`] for a formula that cannot be evaluated or an
/// atom that `particles` do not have;
/// [`Error::Run`] when no sample has a weight.
pub fn estimate(
    particles: impl Into<Particles>,
    observables: &[Observable],
    bins: usize,
    other: Option<OtherEnergies<'_>>,
    batches: impl IntoIterator<Item = Result<Samples, Error>>,
) -> Result<Estimates, Error> {
    estimate_of(Independent::Samples, particles, observables, bins, other, batches)
}

/// As [`estimate`], with the errors of samples that may depend on each other, such as those of a
/// [`Reference`](crate::sampling::Reference). That of the free energy of another density is still
/// the one of independent samples.
///
/// # Errors
/// Those of [`estimate`].
pub fn estimate_of(
    independent: Independent<'_>,
    particles: impl Into<Particles>,
    observables: &[Observable],
    bins: usize,
    mut other: Option<OtherEnergies<'_>>,
    batches: impl IntoIterator<Item = Result<Samples, Error>>,
) -> Result<Estimates, Error> {
    let particles = particles.into();
    let system = particles.system;
    let measures: Vec<Vec<Measure>> =
        observables.iter().map(|o| o.measures(&particles)).collect::<Result<_, _>>()?;
    let mut values: Vec<Vec<Vec<f64>>> =
        measures.iter().map(|measures| vec![Vec::new(); measures.len()]).collect();
    let (mut trained_weights, mut changes, mut log_weights) = (vec![], vec![], vec![]);
    let mut distances = Distances::new(independent);
    for batch in batches {
        let mut batch = batch?;
        if batch.log_weights.is_empty() {
            batch.log_weights = vec![0.0; batch.count(system)];
        }
        if let Some(other) = &mut other {
            let energies = other(&batch)?;
            let change: Vec<f64> =
                batch.energies.iter().zip(&energies).map(|(u, other)| u - other).collect();
            let weights = reweighted(&batch.log_weights, &change);
            trained_weights.append(&mut batch.log_weights);
            changes.extend(change);
            (batch.log_weights, batch.energies) = (weights, energies);
        }
        if observables.iter().any(Observable::is_of_all_pairs) {
            distances.add(system, bins, &batch);
        }
        let each = measures.iter().flatten().zip(values.iter_mut().flatten());
        each.into_iter().try_for_each(|(measure, values)| {
            values.extend(measure.values(&batch)?);
            Ok::<(), Error>(())
        })?;
        log_weights.append(&mut batch.log_weights);
    }
    let effective = effective_sample_size(&log_weights);
    if effective.count == 0.0 {
        return Err(Error::Run(
            "no sample has a finite weight: there is nothing to average, train the flow longer or \
             ask for a nearer target"
                .into(),
        ));
    }
    let free_energy = other.map(|_| {
        let (difference, error) = free_energy_difference(&trained_weights, &changes);
        FreeEnergy { difference, error }
    });
    let (mut averages, mut profiles, mut histograms) = (Vec::new(), Vec::new(), Vec::new());
    for ((observable, measures), values) in observables.iter().zip(&measures).zip(&values) {
        match (observable, &measures[..], &values[..]) {
            (Observable::Histogram(_), _, _) => {
                let collected = Collected { observable, measures, values };
                histograms.push(collected.histogram(&log_weights, independent, bins, &particles));
            }
            (_, [measure], [values]) => {
                averages.push(average(observable, measure, &log_weights, independent, values));
            }
            _ => profiles.push(distances.profile(observable, system)),
        }
    }
    Ok(Estimates {
        samples: log_weights.len(),
        marginal_draws: None,
        effective_samples: effective.count,
        rests_on_few_samples: rests_on_few(&log_weights),
        contradictions: Vec::new(),
        averages,
        profiles,
        histograms,
        free_energy,
    })
}

/// The pair distances of samples, over a range that the first batch decides.
struct Distances<'a> {
    independent: Independent<'a>,
    /// Samples so far.
    samples: usize,
    /// One, or one for each population.
    counted: Vec<WeightedHistogram>,
}

impl<'a> Distances<'a> {
    fn new(independent: Independent<'a>) -> Self {
        Self { independent, samples: 0, counted: Vec::new() }
    }

    fn add(&mut self, system: System, bins: usize, batch: &Samples) {
        let all = pair_distances(system, &batch.positions);
        if self.counted.is_empty() {
            let end = match system.periodic_box() {
                // Beyond half an edge only the corners of the box are left.
                Some(_) => system.half_edge(),
                None => {
                    // A tenth beyond the largest.
                    let largest = all.iter().copied().filter(|r| r.is_finite());
                    1.1 * largest.fold(0.0, f64::max).max(f64::MIN_POSITIVE)
                }
            };
            let empty = WeightedHistogram::new([0.0, end], bins);
            self.counted = vec![empty; self.independent.populations()];
        }
        let pairs = system.particles() * (system.particles() - 1) / 2;
        for (weight, row) in batch.log_weights.iter().zip(all.chunks_exact(pairs)) {
            self.counted[self.independent.population(self.samples)].add(*weight, row);
            self.samples += 1;
        }
    }

    fn profile(&self, observable: &Observable, system: System) -> Profile {
        let mut rows = WeightedHistogram::bins_of(&self.counted);
        if let (Observable::RadialDistribution, Some(volume)) = (observable, system.volume()) {
            // (n − 1) p(r) dr particles are in a shell where n/V · dV would be.
            let n = system.particles() as f64;
            for (r, density, error) in &mut rows {
                let shell = match system.dimension() {
                    2 => 2.0 * PI * *r,
                    _ => 4.0 * PI * *r * *r,
                };
                let over_mean = (n - 1.0) / n * volume / shell;
                *density *= over_mean;
                *error *= over_mean;
            }
        }
        Profile {
            observable: observable.name(),
            r: rows.iter().map(|row| row.0).collect(),
            density: rows.iter().map(|row| row.1).collect(),
            error: rows.iter().map(|row| row.2).collect(),
        }
    }
}

fn average(
    observable: &Observable,
    measure: &Measure,
    log_weights: &[f64],
    independent: Independent<'_>,
    values: &[f64],
) -> Average {
    // A sample with a weight and without a value, such as 1/r at an overlap.
    let is_undefined = |(w, v): &(&f64, &f64)| **w > f64::NEG_INFINITY && !v.is_finite();
    let undefined = log_weights.iter().zip(values).filter(is_undefined).count();
    let weight = |(w, v): (&f64, &f64)| if v.is_finite() { *w } else { f64::NEG_INFINITY };
    let log_weights: Vec<f64> = log_weights.iter().zip(values).map(weight).collect();
    let mut resultant = None;
    let (mean, error) = match observable {
        Observable::HeatCapacity => reweighted_variance(&log_weights, values, independent),
        _ if measure.is_circular() => {
            let (mean, error, length) = mean_direction(&log_weights, values, independent);
            resultant = Some(length);
            (mean, error)
        }
        _ => reweighted_mean_of(&log_weights, values, independent),
    };
    let (observable, unit) = (observable.name(), measure.unit());
    Average { observable, mean, error, unit, resultant, undefined }
}

/// The direction of ⟨e^{iφ}⟩ of angles in degrees, its standard error and |⟨e^{iφ}⟩|.
///
/// The influence of a sample on the direction μ is sin(φ − μ)/|⟨e^{iφ}⟩| (Fisher, Statistical
/// analysis of circular data, 1993, ch. 4).
fn mean_direction(
    log_weights: &[f64],
    degrees: &[f64],
    independent: Independent<'_>,
) -> (f64, f64, f64) {
    let mean = |f: &dyn Fn(f64) -> f64| {
        let values: Vec<f64> = degrees.iter().map(|angle| f(angle.to_radians())).collect();
        reweighted_mean_of(log_weights, &values, independent)
    };
    let ((cos, _), (sin, _)) = (mean(&f64::cos), mean(&f64::sin));
    let (direction, length) = (sin.atan2(cos), sin.hypot(cos));
    let (_, error) = mean(&|angle| (angle - direction).sin());
    (direction.to_degrees(), (error / length).to_degrees(), length)
}
