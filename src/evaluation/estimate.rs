//! Averages over the target of a trained flow, or over another one, from a stream of weighted
//! samples.

use serde::Serialize;

use super::contradiction::Contradiction;
use super::observable::{formula_values, radii_of_gyration, Observable};
use crate::diagnostics::{
    effective_sample_size, free_energy_difference, pair_distances, rests_on_few, reweighted,
    reweighted_mean, reweighted_variance, WeightedHistogram,
};
use crate::error::Error;
use crate::potential::Formula;
use crate::samples::Samples;
use crate::system::System;

/// A mean over the target.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Average {
    /// The observable.
    pub observable: String,
    /// Reweighted mean; the variance for `heat_capacity`.
    pub mean: f64,
    /// Its standard error.
    pub error: f64,
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
    /// Histograms.
    pub profiles: Vec<Profile>,
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
/// exp(−U_other) where `other` gives that energy for a batch. What is kept of a sample are its
/// weight and a number for each observable.
///
/// # Errors
/// The first error of a batch; [`Error::Parameter`] for a formula that cannot be evaluated;
/// [`Error::Run`] when no sample has a weight.
pub fn estimate(
    system: System,
    observables: &[Observable],
    bins: usize,
    mut other: Option<OtherEnergies<'_>>,
    batches: impl IntoIterator<Item = Result<Samples, Error>>,
) -> Result<Estimates, Error> {
    let formulas: Vec<Option<Formula>> =
        observables.iter().map(|o| o.formula(system)).collect::<Result<_, _>>()?;
    let mut values: Vec<Vec<f64>> = vec![Vec::new(); observables.len()];
    let (mut trained_weights, mut changes, mut log_weights) = (vec![], vec![], vec![]);
    let mut distances: Option<WeightedHistogram> = None;
    for batch in batches {
        let mut batch = batch?;
        if let Some(other) = &mut other {
            let energies = other(&batch)?;
            let change: Vec<f64> =
                batch.energies.iter().zip(&energies).map(|(u, other)| u - other).collect();
            let weights = reweighted(&batch.log_weights, &change);
            trained_weights.append(&mut batch.log_weights);
            changes.extend(change);
            (batch.log_weights, batch.energies) = (weights, energies);
        }
        for ((observable, formula), values) in observables.iter().zip(&formulas).zip(&mut values) {
            match observable {
                Observable::Energy | Observable::HeatCapacity => values.extend(&batch.energies),
                Observable::RadiusOfGyration => {
                    values.extend(radii_of_gyration(system, &batch.positions));
                }
                Observable::PairDistances => add_distances(&mut distances, system, bins, &batch),
                Observable::Pair(_) | Observable::External(_) => {
                    if let Some(formula) = formula {
                        values.extend(formula_values(formula, &batch.positions)?);
                    }
                }
            }
        }
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
    let (mut averages, mut profiles) = (Vec::new(), Vec::new());
    for (observable, values) in observables.iter().zip(values) {
        match observable {
            Observable::PairDistances => profiles.push(profile(observable, distances.as_ref())),
            _ => averages.push(average(observable, &log_weights, &values)),
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
        free_energy,
    })
}

/// Counts the pair distances of a batch in, over a range that the first batch decides.
fn add_distances(
    histogram: &mut Option<WeightedHistogram>,
    system: System,
    bins: usize,
    batch: &Samples,
) {
    let all = pair_distances(system, &batch.positions);
    let histogram = histogram.get_or_insert_with(|| {
        // A tenth beyond the largest.
        let largest = all.iter().copied().filter(|r| r.is_finite());
        let largest = largest.fold(0.0, f64::max).max(f64::MIN_POSITIVE);
        WeightedHistogram::new([0.0, 1.1 * largest], bins)
    });
    let pairs = system.particles() * (system.particles() - 1) / 2;
    for (weight, row) in batch.log_weights.iter().zip(all.chunks_exact(pairs)) {
        histogram.add(*weight, row);
    }
}

fn profile(observable: &Observable, histogram: Option<&WeightedHistogram>) -> Profile {
    let rows = histogram.map(WeightedHistogram::bins).unwrap_or_default();
    Profile {
        observable: observable.name(),
        r: rows.iter().map(|row| row.0).collect(),
        density: rows.iter().map(|row| row.1).collect(),
        error: rows.iter().map(|row| row.2).collect(),
    }
}

fn average(observable: &Observable, log_weights: &[f64], values: &[f64]) -> Average {
    // A sample with a weight and without a value, such as 1/r at an overlap.
    let is_undefined = |(w, v): &(&f64, &f64)| **w > f64::NEG_INFINITY && !v.is_finite();
    let undefined = log_weights.iter().zip(values).filter(is_undefined).count();
    let defined: (Vec<f64>, Vec<f64>) =
        log_weights.iter().zip(values).filter(|(_, v)| v.is_finite()).unzip();
    let (log_weights, values) = (&defined.0, &defined.1);
    let (mean, error) = match observable {
        Observable::HeatCapacity => reweighted_variance(log_weights, values),
        _ => reweighted_mean(log_weights, values),
    };
    Average { observable: observable.name(), mean, error, undefined }
}
