//! The compiled half of the Python package `boltzflow`: arrays, dictionaries and exceptions in
//! place of slices, recipes and errors. What users see is in `python/boltzflow`.
//!
//! Work runs on rayon's threads, which never touch the interpreter. The Python thread that calls
//! waits at a desk (`desk.rs`): there it evaluates the user's energy whenever the work asks for
//! one, shows progress, and looks for signals.

#![deny(unsafe_code)]

// Each uses those above it.
mod errors;

mod toml;

mod pool;

mod desk;

mod energy;

mod samples;

mod target;

mod recipe;

mod flow;

mod train;

use pyo3::prelude::*;

/// The compiled half of boltzflow.
#[pymodule]
mod _boltzflow {
    use super::*;

    #[pymodule_export]
    use super::flow::{load, Flow};
    #[pymodule_export]
    use super::recipe::choose_recipe;
    #[pymodule_export]
    use super::samples::{effective_sample_size, log_mean_exp, reweighted_mean, write_samples};
    #[pymodule_export]
    use super::target::{check, evaluate_energy, reference, targets};
    #[pymodule_export]
    use super::train::train;

    /// NumPy is looked up now: later, a signal at that moment would end in a panic.
    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        numpy::PyArray1::<f64>::zeros(module.py(), 0, false);
        Ok(())
    }

    #[pymodule_export]
    #[allow(non_upper_case_globals)]
    const __version__: &str = env!("CARGO_PKG_VERSION");
}
