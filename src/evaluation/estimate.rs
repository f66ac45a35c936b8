//! Averages over the target of a trained flow, or over another one, from a stream of weighted samples.

use rayon::prelude::*;
use serde::Serialize;

use super::observable::{formula_values, radii_of_gyration, Observable};
use crate::diagnostics::{
    effective_sample_size, free_energy_difference, pair_distances, rests_on_few, reweighted,
    reweighted_mean, reweighted_variance, WeightedHistogram,
};
use crate::error::Error;
use crate::potential::{Formula, Potential};
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
    /// Samples where the observable has no number; they are left out.
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
    /// Samples samples drawn.
    pub samples: usize,
    /// Equally weighted samples that they are worth.
    pub effective_samples: f64,
    /// Whether that rests on few samples, and all else with it.
    pub rests_on_few_samples: bool,
    /// Means.
    pub averages: Vec<Average>,
    /// Histograms.
    pub profiles: Vec<Profile>,
    /// Against the trained target, when another one was asked for.
    pub free_energy: Option<FreeEnergy>,
}

/// Estimates `observables` over exp(−U) from weighted `batches` of samples of it, or over exp(−U_other)
/// where `other` gives that energy for a batch of positions and their energies U. What is kept of a
/// sample are its weight and a number for each observable.
///
/// # Errors
/// The first error of a batch; [`Error::Parameter`] for an observable that makes no sense;
/// [`Error::Run`] when no sample has a weight.
// The closure is called once a batch; a name for its type would say no more.
#[allow(clippy::type_complexity)]
pub fn estimate(
    system: System,
    observables: &[Observable],
    bins: usize,
    mut other: Option<&mut dyn FnMut(&Samples) -> Result<Vec<f64>, Error>>,
    batches: impl IntoIterator<Item = Result<Samples, Error>>,
) -> Result<Estimates, Error> {
    let formulas: Vec<Option<Formula>> =
        observables.iter().map(|o| o.formula(system)).collect::<Result<_, _>>()?;
    let mut values: Vec<Vec<f64>> = vec![Vec::new(); observables.len()];
    let (mut trained_weights, mut changes, mut log_weights) = (vec![], vec![], vec![]);
    let mut distances: Option<WeightedHistogram> = None;
    for batch in batches {
        let batch = batch?;
        let mut weights = batch.log_weights.clone();
        let mut energies = batch.energies.clone();
        if let Some(other) = &mut other {
            energies = other(&batch)?;
            let change: Vec<f64> =
                batch.energies.iter().zip(&energies).map(|(u, other)| u - other).collect();
            weights = reweighted(&batch.log_weights, &change);
            trained_weights.extend_from_slice(&batch.log_weights);
            changes.extend(change);
        }
        for ((observable, formula), values) in observables.iter().zip(&formulas).zip(&mut values) {
            match (observable, formula) {
                (Observable::Energy | Observable::HeatCapacity, _) => values.extend(&energies),
                (Observable::RadiusOfGyration, _) => {
                    values.extend(radii_of_gyration(system, &batch.positions));
                }
                (_, Some(formula)) => {
                    let part = 256 * formula.system().coordinates();
                    let parts: Vec<Vec<f64>> = batch
                        .positions
                        .par_chunks(part)
                        .map(|x| formula_values(formula, x))
                        .collect::<Result<_, _>>()?;
                    values.extend(parts.concat());
                }
                (_, None) => {
                    let all = pair_distances(system, &batch.positions);
                    let histogram = distances.get_or_insert_with(|| {
                        // A tenth beyond the largest of the first batch.
                        let largest = all.iter().copied().filter(|r| r.is_finite());
                        let largest = largest.fold(0.0, f64::max).max(f64::MIN_POSITIVE);
                        WeightedHistogram::new([0.0, 1.1 * largest], bins)
                    });
                    let pairs = system.particles() * (system.particles() - 1) / 2;
                    for (weight, row) in weights.iter().zip(all.chunks_exact(pairs)) {
                        histogram.add(*weight, row);
                    }
                }
            }
        }
        log_weights.extend(weights);
    }
    let effective = effective_sample_size(&log_weights);
    if effective.count == 0.0 {
        return Err(Error::Run(
            "no sample has a finite weight: there is nothing to average, train the flow longer or \
             ask for a nearer target"
                .into(),
        ));
    }
    let mut estimates = Estimates {
        samples: log_weights.len(),
        effective_samples: effective.count,
        rests_on_few_samples: rests_on_few(&log_weights),
        averages: Vec::new(),
        profiles: Vec::new(),
        free_energy: None,
    };
    if other.is_some() {
        let (difference, error) = free_energy_difference(&trained_weights, &changes);
        estimates.free_energy = Some(FreeEnergy { difference, error });
    }
    for (observable, values) in observables.iter().zip(values) {
        let name = observable.name();
        if *observable == Observable::PairDistances {
            let rows = distances.as_ref().map(WeightedHistogram::bins).unwrap_or_default();
            estimates.profiles.push(Profile {
                observable: name,
                r: rows.iter().map(|row| row.0).collect(),
                density: rows.iter().map(|row| row.1).collect(),
                error: rows.iter().map(|row| row.2).collect(),
            });
            continue;
        }
        estimates.averages.push(average(observable, name, &log_weights, &values));
    }
    Ok(estimates)
}

fn average(observable: &Observable, name: String, log_weights: &[f64], values: &[f64]) -> Average {
    // A sample that weighs something and has no value, such as 1/r at an overlap.
    let is_undefined = |(w, v): &(&f64, &f64)| **w > f64::NEG_INFINITY && !v.is_finite();
    let undefined = log_weights.iter().zip(values).filter(is_undefined).count();
    let defined: (Vec<f64>, Vec<f64>) =
        log_weights.iter().zip(values).filter(|(_, v)| v.is_finite()).unzip();
    let (log_weights, values) = (&defined.0, &defined.1);
    let (mean, error) = match observable {
        Observable::HeatCapacity => reweighted_variance(log_weights, values),
        _ => reweighted_mean(log_weights, values),
    };
    Average { observable: name, mean, error, undefined }
}
