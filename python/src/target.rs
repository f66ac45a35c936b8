//! Targets: by name, path, dictionary or function, and what is done with them alone.

use std::path::Path;

use boltzflow::config::builtin_targets;
use boltzflow::sampling::{sample_reference, ReferenceOptions};
use boltzflow::{potential, Registry, Severity, Target};
use numpy::{PyArray1, PyReadonlyArray3};
use pyo3::prelude::*;

use crate::desk::{serve, Desk, Shows};
use crate::energy::Energy;
use crate::errors::{exception, to_json, About};
use crate::samples::{Array1, Drawn};
use crate::toml::table;

/// Where energies come from.
#[derive(Clone)]
pub enum Source {
    /// A target of the library.
    Target(Box<Target>),
    /// A Python function, which has a target during a call.
    Function(Energy),
}

impl Source {
    /// Reads a name or path, a dictionary, or a `boltzflow.Potential`.
    pub fn read(energy: &Bound<'_, PyAny>) -> PyResult<Self> {
        let py = energy.py();
        let registry = Registry::builtin();
        let target = if let Ok(name) = energy.extract::<String>() {
            registry.load(&name)
        } else if energy.hasattr("items")? {
            let mut table = table(energy, "")?;
            table.entry("format").or_insert(1.into());
            table.entry("name").or_insert("custom".into());
            let text = toml::to_string(&table).map_err(|e| {
                crate::errors::recipe_error(py, "energy", &format!("has no TOML form: {e}"))
            })?;
            registry.target_from_text(&text, Path::new(""))
        } else {
            return Energy::read(energy).map(Self::Function);
        };
        let target = target.map_err(|error| exception(py, error, About::Target))?;
        Ok(Self::Target(Box::new(target)))
    }

    /// The target, whose energies are asked for at `desk` if they are Python's.
    pub fn target(&self, desk: &Desk) -> Target {
        match self {
            Self::Target(target) => (**target).clone(),
            Self::Function(energy) => energy.target(desk),
        }
    }

    /// [`serve`] for work with this source, of which 0 threads are all cores. Those that wait for a
    /// function leave their core to others: by default there are two for each core.
    pub fn serve<T: Send>(
        &self,
        py: Python<'_>,
        threads: usize,
        shows: &Shows<'_, '_>,
        work: impl FnOnce(&Desk) -> T + Send,
    ) -> PyResult<(T, Option<PyErr>)> {
        let is_open = threads == 0 && std::env::var_os("RAYON_NUM_THREADS").is_none();
        let threads = match self.is_function() && is_open {
            true => std::thread::available_parallelism().map_or(0, |cores| 2 * cores.get()),
            false => threads,
        };
        serve(py, threads, shows, work)
    }

    /// Whether energies are Python's.
    pub fn is_function(&self) -> bool {
        matches!(self, Self::Function(_))
    }
}

/// Name and description of the targets that come with boltzflow.
#[pyfunction]
pub fn targets(py: Python<'_>) -> PyResult<Vec<(String, String)>> {
    builtin_targets().map_err(|error| exception(py, error, About::Target))
}

/// What `boltzflow check` finds: a list of (what, severity, text).
#[pyfunction]
pub fn check(
    py: Python<'_>,
    energy: &Bound<'_, PyAny>,
    threads: usize,
) -> PyResult<Vec<(&'static str, &'static str, String)>> {
    let source = Source::read(energy)?;
    let (found, trouble) = source.serve(py, threads, &Shows { progress: None }, |desk| {
        potential::check(&*source.target(desk).potential)
    })?;
    trouble.map_or(Ok(()), Err)?;
    let found = found.map_err(|error| exception(py, error.into(), About::Target))?;
    let severity = |severity| match severity {
        Severity::Fine => "fine",
        Severity::Caution => "caution",
        Severity::Wrong => "wrong",
    };
    Ok(found.into_iter().map(|f| (f.what, severity(f.severity), f.text)).collect())
}

/// Energies in kT and gradients of `x`, [samples, particles, dimension], by the path that training
/// takes.
#[pyfunction]
pub fn evaluate_energy<'py>(
    py: Python<'py>,
    energy: &Bound<'py, PyAny>,
    x: PyReadonlyArray3<'py, f64>,
    threads: usize,
) -> PyResult<(Array1<'py>, Array1<'py>)> {
    let source = Source::read(energy)?;
    let x: Vec<f64> = x.as_array().iter().copied().collect();
    let (found, trouble) = source.serve(py, threads, &Shows { progress: None }, |desk| {
        let potential = source.target(desk).potential;
        let samples = x.len() / potential.system().coordinates();
        let (mut energies, mut gradients) = (vec![0.0; samples], vec![0.0; x.len()]);
        potential.energies_and_gradients(&x, &mut energies, &mut gradients)?;
        Ok((energies, gradients))
    })?;
    trouble.map_or(Ok(()), Err)?;
    let failed = |error: boltzflow::EvaluationError| exception(py, error.into(), About::Target);
    let (energies, gradients) = found.map_err(failed)?;
    Ok((PyArray1::from_vec(py, energies), PyArray1::from_vec(py, gradients)))
}

/// Samples of exp(−U) by the reference sampler, without a flow, their populations, and its report
/// as JSON.
#[pyfunction]
pub fn reference<'py>(
    py: Python<'py>,
    energy: &Bound<'py, PyAny>,
    samples: usize,
    chains: Option<usize>,
    seed: u64,
    threads: usize,
) -> PyResult<(Drawn<'py>, Bound<'py, PyArray1<usize>>, String)> {
    let source = Source::read(energy)?;
    let (found, trouble) = source.serve(py, threads, &Shows { progress: None }, |desk| {
        let potential = source.target(desk).potential;
        let usual = ReferenceOptions::of(&*potential, samples);
        let chains = chains.unwrap_or(usual.chains);
        let system = potential.system();
        sample_reference(potential, ReferenceOptions { chains, seed, ..usual })
            .map(|found| (found, system))
    })?;
    trouble.map_or(Ok(()), Err)?;
    let (found, system) = found.map_err(|error| exception(py, error, About::Recipe))?;
    let populations = PyArray1::from_vec(py, found.populations);
    Ok((Drawn::new(py, found.samples, system)?, populations, to_json(&found.report)?))
}
