//! Densities of one or two observables, and the free energies −ln p.

use serde::Serialize;

use super::measure::Measure;
use super::observable::Observable;
use crate::diagnostics::{Independent, WeightedHistogram};
use crate::samples::{FileUnits, Particles};

/// A density in bins, in one or two dimensions, and its free energy.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Histogram {
    /// The one or two.
    pub observables: Vec<String>,
    /// The unit of each; empty for numbers without one and for other units of length.
    pub units: Vec<&'static str>,
    /// Centres of the bins of each.
    pub centres: Vec<Vec<f64>>,
    /// Density per unit of each in the bins, of which those of the last observable run fastest.
    /// Its integral is 1.
    pub density: Vec<f64>,
    /// Its standard errors.
    pub error: Vec<f64>,
    /// −ln p in kT, the least of them being 0; `None` in an empty bin.
    pub free_energy: Vec<Option<f64>>,
    /// The standard errors of −ln p.
    pub free_energy_error: Vec<Option<f64>>,
    /// kT in kJ/mol, where the target has units.
    pub kilojoules_per_mole: Option<f64>,
}

/// The values of one or two observables for each sample.
pub(super) struct Collected<'a> {
    pub observable: &'a Observable,
    pub measures: &'a [Measure],
    pub values: &'a [Vec<f64>],
}

impl Collected<'_> {
    /// Their density in `bins` bins along each. The ends are those of angles, otherwise the least
    /// and the largest value with a weight; a sample where one is not a number is left out.
    pub fn histogram(
        &self,
        log_weights: &[f64],
        independent: Independent<'_>,
        bins: usize,
        particles: &Particles,
    ) -> Histogram {
        let axes: Vec<Axis> = self
            .measures
            .iter()
            .zip(self.values)
            .map(|(measure, values)| Axis::new(measure.range(), log_weights, values, bins))
            .collect();
        // A bin of all axes is one of the whole numbers.
        let cells = axes.iter().map(|axis| axis.bins).product::<usize>();
        let empty = WeightedHistogram::new([0.0, cells as f64], cells);
        let mut counted = vec![empty; independent.populations()];
        for (sample, weight) in log_weights.iter().enumerate() {
            let place = axes.iter().zip(self.values).try_fold(0, |place, (axis, values)| {
                Some(place * axis.bins + axis.bin(*values.get(sample)?)?)
            });
            if let Some(place) = place {
                counted[independent.population(sample)].add(*weight, &[place as f64 + 0.5]);
            }
        }
        let size: f64 = axes.iter().map(|axis| axis.width).product();
        let rows = WeightedHistogram::bins_of(&counted);
        let density: Vec<f64> = rows.iter().map(|row| row.1 / size).collect();
        let error: Vec<f64> = rows.iter().map(|row| row.2 / size).collect();
        let most = density.iter().copied().fold(0.0, f64::max);
        let filled = |p: &f64| *p > 0.0;
        Histogram {
            observables: match self.observable {
                Observable::Histogram(of) => of.iter().map(Observable::name).collect(),
                one => vec![one.name()],
            },
            units: self.measures.iter().map(Measure::unit).collect(),
            centres: axes.iter().map(Axis::centres).collect(),
            free_energy: density.iter().map(|p| filled(p).then(|| (most / p).ln())).collect(),
            // Of −ln p, to first order.
            free_energy_error: density
                .iter()
                .zip(&error)
                .map(|(p, error)| filled(p).then(|| error / p))
                .collect(),
            density,
            error,
            kilojoules_per_mole: particles.units.map(FileUnits::kilojoules_per_mole),
        }
    }
}

struct Axis {
    low: f64,
    width: f64,
    bins: usize,
}

impl Axis {
    fn new(range: Option<[f64; 2]>, log_weights: &[f64], values: &[f64], bins: usize) -> Self {
        let [low, high] = range.unwrap_or_else(|| {
            let weighted = log_weights.iter().zip(values);
            let counts = weighted.filter(|(w, v)| w.is_finite() && v.is_finite());
            let ends = [f64::INFINITY, f64::NEG_INFINITY];
            let [low, high] = counts.fold(ends, |[low, high], (_, v)| [low.min(*v), high.max(*v)]);
            match low < high {
                true => [low, high],
                // All values are the same, or there is none.
                false if low.is_finite() => [low - 0.5, low + 0.5],
                false => [0.0, 1.0],
            }
        });
        Self { low, width: (high - low) / bins as f64, bins }
    }

    fn bin(&self, value: f64) -> Option<usize> {
        let place = (value - self.low) / self.width;
        // Its upper end belongs to the last bin.
        (place >= 0.0 && place <= self.bins as f64 * (1.0 + 1e-12))
            .then(|| (place as usize).min(self.bins - 1))
    }

    fn centres(&self) -> Vec<f64> {
        (0..self.bins).map(|bin| self.low + (bin as f64 + 0.5) * self.width).collect()
    }
}
