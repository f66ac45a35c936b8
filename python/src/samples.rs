//! Samples as arrays, and figures of their weights.

use std::path::PathBuf;

use boltzflow::diagnostics::{self, Independent};
use boltzflow::{Samples, System};
use numpy::{PyArray1, PyArray3, PyArrayMethods, PyReadonlyArray1, PyReadonlyArray3};
use pyo3::prelude::*;

use crate::errors::{exception, About};

/// An array of one dimension.
pub type Array1<'py> = Bound<'py, PyArray1<f64>>;

/// Positions [samples, particles, dimension], log weights and energies; the last two may be empty.
#[derive(IntoPyObject)]
pub struct Drawn<'py>(Bound<'py, PyArray3<f64>>, Array1<'py>, Array1<'py>);

impl<'py> Drawn<'py> {
    /// The arrays of `samples`, which are not copied.
    pub fn new(py: Python<'py>, samples: Samples, system: System) -> PyResult<Self> {
        let shape = [samples.count(system), system.particles(), system.dimension()];
        let positions = PyArray1::from_vec(py, samples.positions).reshape(shape)?;
        let log_weights = PyArray1::from_vec(py, samples.log_weights);
        Ok(Self(positions, log_weights, PyArray1::from_vec(py, samples.energies)))
    }
}

fn numbers(array: &PyReadonlyArray1<'_, f64>) -> Vec<f64> {
    array.as_array().iter().copied().collect()
}

/// Self-normalised mean and its standard error; samples of a population may depend on each other.
#[pyfunction]
pub fn reweighted_mean(
    log_weights: PyReadonlyArray1<'_, f64>,
    values: PyReadonlyArray1<'_, f64>,
    populations: Option<PyReadonlyArray1<'_, usize>>,
) -> (f64, f64) {
    let populations: Option<Vec<usize>> =
        populations.map(|array| array.as_array().iter().copied().collect());
    let independent = populations.as_deref().map_or(Independent::Samples, Independent::Populations);
    diagnostics::reweighted_mean_of(&numbers(&log_weights), &numbers(&values), independent)
}

/// Kish's effective sample size, in samples, and whether it rests on few of them.
#[pyfunction]
pub fn effective_sample_size(log_weights: PyReadonlyArray1<'_, f64>) -> (f64, bool) {
    let log_weights = numbers(&log_weights);
    let size = diagnostics::effective_sample_size(&log_weights).count;
    (size, diagnostics::rests_on_few(&log_weights))
}

/// log of the mean of exp(v), and its standard error.
#[pyfunction]
pub fn log_mean_exp(values: PyReadonlyArray1<'_, f64>) -> (f64, f64) {
    diagnostics::log_z_and_error(&numbers(&values))
}

/// Writes samples into a file whose format its ending says.
#[pyfunction]
pub fn write_samples(
    py: Python<'_>,
    path: PathBuf,
    names: Vec<String>,
    positions: PyReadonlyArray3<'_, f64>,
    log_weights: PyReadonlyArray1<'_, f64>,
    energies: PyReadonlyArray1<'_, f64>,
) -> PyResult<()> {
    let failed = |error| exception(py, error, About::Recipe);
    let positions = positions.as_array();
    let shape = positions.shape();
    let system = System::new(shape[1], shape[2]).map_err(failed)?;
    let samples = Samples {
        positions: positions.iter().copied().collect(),
        log_weights: numbers(&log_weights),
        energies: numbers(&energies),
    };
    let particles = boltzflow::samples::Particles { names, ..system.into() };
    let (count, batches) = (shape[0], [Ok(samples)]);
    py.detach(|| boltzflow::samples::write_samples(path, particles, count, batches)).map_err(failed)
}
