//! A trained flow.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use boltzflow::evaluation::{log_prob, Weights};
use boltzflow::run::{metrics_columns, read_model_metadata, save_model, MetricsWriter};
use boltzflow::{
    is_interrupted, sample_reference, Error, Evaluation, EvaluationOptions, Problem, Recipe,
    ReferenceOptions, Registry, RunFolder, Samples, System, Target, Trained,
};
use numpy::ndarray::Axis;
use numpy::{PyArray1, PyReadonlyArray3};
use pyo3::prelude::*;

use crate::desk::{Desk, Shows};
use crate::energy::FUNCTION;
use crate::errors::{exception, recipe_error, to_json, About};
use crate::samples::Drawn;
use crate::target::Source;

/// A trained flow. It does not change, so any number of threads may use it at once.
#[pyclass(frozen, module = "boltzflow._boltzflow")]
pub struct Flow {
    trained: Arc<Trained>,
    /// That of the end of its training.
    evaluation: Option<Evaluation>,
    source: Source,
    /// Whether it is opened with another energy than that of its training.
    is_other: bool,
}

/// Particles and dimension of a function that a run was trained on, by the text of its target.
fn system_of_function(text: &str) -> Option<System> {
    let table: toml::Table = text.parse().ok()?;
    if table.get("kind")?.as_str()? != FUNCTION {
        return None;
    }
    let number = |key: &str| usize::try_from(table.get(key)?.as_integer()?).ok();
    System::new(number("particles")?, number("dimension")?).ok()
}

/// Opens the run in the folder `path`; `energy` is what it was trained on, where that was not a
/// target of its own.
#[pyfunction]
pub fn load(py: Python<'_>, path: PathBuf, energy: Option<&Bound<'_, PyAny>>) -> PyResult<Flow> {
    let failed = |error| exception(py, error, About::Files);
    let source = energy.map(Source::read).transpose()?;
    let trained = match &source {
        Some(source) => {
            let target = source.target(&Desk::closed());
            check_particles(py, &path, &target)?;
            Trained::open_with(&path, target)
        }
        None => {
            if is_of_function(&path) {
                let problem =
                    "is missing: this run was trained on a function, which is not in its \
                               folder. Give it again, as boltzflow.Potential(function, …)";
                return Err(recipe_error(py, "energy", problem));
            }
            Trained::open(&path, &Registry::builtin())
        }
    };
    let trained = trained.map_err(failed)?;
    let folder = RunFolder::read_only(&path).map_err(failed)?;
    let own = folder.read_target().map_err(failed)?;
    // The energies of a function are told from another one's by some of them, in the text.
    let is_other = own.is_some_and(|own| own != trained.target.text);
    let evaluation = match !is_other && folder.evaluation().exists() {
        true => Some(folder.read_evaluation().map_err(failed)?),
        false => None,
    };
    let source = source.unwrap_or_else(|| Source::Target(Box::new(trained.target.clone())));
    Ok(Flow { is_other, ..Flow::new(trained, evaluation, source) })
}

/// Refuses a target of other particles than those of the run's own, if its folder has one: a flow
/// whose parameters belong to no particle would take them.
fn check_particles(py: Python<'_>, path: &Path, target: &Target) -> PyResult<()> {
    let folder = RunFolder::read_only(path).map_err(|e| exception(py, e, About::Files))?;
    let text = folder.read_target().map_err(|e| exception(py, e, About::Files))?;
    let own = text.and_then(|text| {
        system_of_function(&text).or_else(|| {
            let own = Registry::builtin().target_from_text(&text, &folder.target()).ok()?;
            Some(own.potential.system())
        })
    });
    let system = target.potential.system();
    match own.filter(|own| *own != system) {
        None => Ok(()),
        Some(own) => {
            let problem = format!(
                "has {} particles in {} dimensions, and the run's target {} in {}: give one of the \
                 same particles",
                system.particles(),
                system.dimension(),
                own.particles(),
                own.dimension()
            );
            Err(recipe_error(py, "energy", &problem))
        }
    }
}

/// Whether the run in `path` was trained on a function.
fn is_of_function(path: &Path) -> bool {
    let Ok(folder) = RunFolder::read_only(path) else { return false };
    let is_custom = |text: &str| {
        Recipe::from_text(text, Path::new("")).is_ok_and(|recipe| recipe.target == "custom")
    };
    let metadata = read_model_metadata(folder.model());
    let target = folder.read_target().unwrap_or_default();
    metadata.is_ok_and(|found| is_custom(&found.recipe))
        && target.is_none_or(|text| system_of_function(&text).is_some())
}

impl Flow {
    pub fn new(trained: Trained, evaluation: Option<Evaluation>, source: Source) -> Self {
        Self { trained: Arc::new(trained), evaluation, source, is_other: false }
    }

    /// Does `work` with the flow, whose energies are asked for at the desk if they are Python's.
    fn serve<T: Send>(
        &self,
        py: Python<'_>,
        threads: usize,
        seed: Option<u64>,
        work: impl FnOnce(&Trained) -> Result<T, Error> + Send,
    ) -> PyResult<T> {
        let (trained, source) = (&self.trained, &self.source);
        let (done, trouble) = source.serve(py, threads, &Shows { progress: None }, |desk| {
            work(&bound(trained, source, seed, desk))
        })?;
        trouble.map_or(Ok(()), Err)?;
        done.map_err(|error| exception(py, error, About::Recipe))
    }
}

/// The same flow with another seed, whose target is `source` at this desk.
fn bound(trained: &Trained, source: &Source, seed: Option<u64>, desk: &Desk) -> Trained {
    let target = source.target(desk);
    let problem = Problem {
        flow: trained.problem.flow.clone(),
        target: trained.problem.target.with_potential(target.potential.clone()),
        seed: seed.unwrap_or(trained.problem.seed),
    };
    Trained {
        folder: trained.folder.as_ref().map(|folder| RunFolder::elsewhere(folder.path())),
        recipe: trained.recipe.clone(),
        target,
        problem,
        theta: trained.theta.clone(),
        metadata: trained.metadata.clone(),
        chirality: trained.chirality,
        rows: trained.rows.clone(),
    }
}

#[pymethods]
impl Flow {
    /// Particles and dimension.
    #[getter]
    fn system(&self) -> (usize, usize) {
        let system = self.trained.problem.flow.system();
        (system.particles(), system.dimension())
    }

    /// Augmented copies of the positions that the flow has besides them.
    #[getter]
    fn augmented_copies(&self) -> usize {
        self.trained.problem.flow.copies() - 1
    }

    /// Names of the particles in files; empty when all are alike.
    #[getter]
    fn names(&self) -> Vec<String> {
        self.trained.target.particles().names
    }

    /// The name of the target.
    #[getter]
    fn target(&self) -> String {
        self.trained.target.name.clone()
    }

    /// The folder of the run, if it has one.
    #[getter]
    fn folder(&self) -> Option<PathBuf> {
        self.trained.folder.as_ref().map(|folder| folder.path().to_path_buf())
    }

    /// The recipe with all defaults, as TOML.
    fn recipe(&self, py: Python<'_>) -> PyResult<String> {
        self.trained.recipe.to_toml().map_err(|error| exception(py, error, About::Recipe))
    }

    /// Training steps, seconds and energy evaluations.
    fn training(&self) -> (u64, f64, u64) {
        let metadata = &self.trained.metadata;
        (metadata.step, metadata.train_seconds, metadata.energy_evaluations)
    }

    /// Number of the flow's parameters.
    #[getter]
    fn parameters(&self) -> usize {
        self.trained.theta.len()
    }

    /// Weighted samples; `weights` is "joint", "marginal" with `draws`, or "annealed".
    fn sample<'py>(
        &self,
        py: Python<'py>,
        count: usize,
        seed: u64,
        weights: &str,
        draws: usize,
        threads: usize,
    ) -> PyResult<Drawn<'py>> {
        let weights = match (weights, NonZeroUsize::new(draws)) {
            ("joint", _) => Weights::Joint,
            ("annealed", _) => Weights::Annealed,
            ("marginal", Some(draws)) => Weights::Marginal(draws),
            ("marginal", None) => return Err(recipe_error(py, "draws", "is 0: use 1 or more")),
            (other, _) => {
                let problem =
                    format!("is \"{other}\": use \"joint\", \"marginal\" or \"annealed\"");
                return Err(recipe_error(py, "weights", &problem));
            }
        };
        let drawn = self.serve(py, threads, Some(seed), |trained| {
            let mut all = Samples::default();
            for batch in trained.batches(count, weights)? {
                let batch = batch?;
                all.positions.extend(batch.positions);
                all.log_weights.extend(batch.log_weights);
                all.energies.extend(batch.energies);
            }
            Ok(all)
        })?;
        Drawn::new(py, drawn, self.trained.problem.flow.system())
    }

    /// log q(x) of each of `x`, [samples, particles, dimension], over `draws` augmented copies.
    fn log_prob<'py>(
        &self,
        py: Python<'py>,
        x: PyReadonlyArray3<'py, f64>,
        draws: usize,
        seed: u64,
        threads: usize,
    ) -> PyResult<Bound<'py, PyArray1<f64>>> {
        let x = self.centred(&x);
        let found = self.serve(py, threads, Some(seed), |trained| {
            let found = log_prob(&trained.problem, &trained.theta, &x, draws);
            match is_interrupted() {
                true => Err(Error::Stopped(String::new())),
                false => Ok(found),
            }
        })?;
        Ok(PyArray1::from_vec(py, found))
    }

    /// log q(x, a) of joint configurations, [samples, (1 + copies) particles, dimension].
    fn log_prob_joint<'py>(
        &self,
        py: Python<'py>,
        joint: PyReadonlyArray3<'py, f64>,
        threads: usize,
    ) -> PyResult<Bound<'py, PyArray1<f64>>> {
        let joint = self.centred(&joint);
        let found = self.serve(py, threads, None, |trained| {
            let flow = &trained.problem.flow;
            let mut found = vec![0.0; joint.len() / flow.width()];
            flow.log_prob(&trained.theta, &joint, &mut found);
            Ok(found)
        })?;
        Ok(PyArray1::from_vec(py, found))
    }

    /// An evaluation as JSON.
    #[allow(clippy::too_many_arguments)]
    fn evaluate(
        &self,
        py: Python<'_>,
        samples: Option<usize>,
        annealed: Option<usize>,
        marginal: bool,
        reference: Option<PyReadonlyArray3<'_, f64>>,
        seed: Option<u64>,
        threads: usize,
    ) -> PyResult<String> {
        let reference = reference.map(|x| self.centred(&x));
        let found = self.serve(py, threads, seed, |trained| {
            let usual = trained.evaluation_options();
            let samples = samples.unwrap_or(usual.samples);
            let annealed = annealed.unwrap_or(match samples == usual.samples {
                true => usual.annealed_samples,
                false => samples.div_ceil(10).min(10_000),
            });
            let options =
                EvaluationOptions { samples, annealed_samples: annealed, marginal, ..usual };
            let own = match &reference {
                Some(_) => None,
                None if self.is_other => None,
                None => trained.reference(|_| Ok(()))?.map(|own| own.positions),
            };
            trained.evaluate(reference.as_deref().or(own.as_deref()), options)
        })?;
        to_json(&found)
    }

    /// The evaluation at the end of the training as JSON; `None` where there is none.
    fn evaluation(&self) -> PyResult<Option<String>> {
        self.evaluation.as_ref().map(to_json).transpose()
    }

    /// What that means, as JSON; `None` where there is none.
    fn verdict(&self) -> PyResult<Option<String>> {
        let found = self.evaluation.as_ref();
        found.map(|evaluation| to_json(&self.trained.verdict(evaluation))).transpose()
    }

    /// Whether it is opened with another energy than that of its training.
    #[getter]
    fn is_other(&self) -> bool {
        self.is_other
    }

    /// Metrics as columns: name, unit, meaning, and rows, with NaN where there is no value.
    #[allow(clippy::type_complexity)]
    fn metrics<'py>(
        &self,
        py: Python<'py>,
    ) -> PyResult<Vec<(&'static str, &'static str, &'static str, Bound<'py, PyArray1<f64>>)>> {
        let rows = self.trained.metrics().map_err(|error| exception(py, error, About::Files))?;
        let rows = serde_json::to_value(&rows).unwrap_or_default();
        let rows = rows.as_array().map(Vec::as_slice).unwrap_or_default();
        let column = |name| {
            let values = rows.iter().map(|row| row[name].as_f64().unwrap_or(f64::NAN));
            PyArray1::from_vec(py, values.collect())
        };
        let columns = metrics_columns().iter();
        Ok(columns.map(|c| (c.name, c.unit, c.meaning, column(c.name))).collect())
    }

    /// Draws the figures of the run into a folder.
    fn draw(&self, py: Python<'_>, folder: PathBuf, threads: usize) -> PyResult<()> {
        self.serve(py, threads, None, |trained| trained.draw(&folder, |_| Ok(())))
    }

    /// The energies and log weights that those figures show.
    fn drawn_for_figures<'py>(&self, py: Python<'py>, threads: usize) -> PyResult<Drawn<'py>> {
        let drawn = self.serve(py, threads, None, Trained::drawn_for_figures)?;
        Drawn::new(py, drawn, self.trained.problem.flow.system())
    }

    /// Samples of the target by the reference sampler, and their populations.
    fn reference<'py>(
        &self,
        py: Python<'py>,
        count: usize,
        seed: u64,
        threads: usize,
    ) -> PyResult<(Drawn<'py>, Bound<'py, PyArray1<usize>>)> {
        let system = self.trained.problem.flow.system();
        let drawn = self.serve(py, threads, None, |trained| {
            let potential = trained.target.potential.clone();
            let options = ReferenceOptions { seed, ..ReferenceOptions::of(&*potential, count) };
            sample_reference(potential, options)
        })?;
        let populations = PyArray1::from_vec(py, drawn.populations);
        Ok((Drawn::new(py, drawn.samples, system)?, populations))
    }

    /// Writes the flow into a new folder, from which it can be loaded.
    fn save(&self, py: Python<'_>, folder: PathBuf) -> PyResult<()> {
        let evaluation = self.evaluation.as_ref();
        let written = || -> Result<(), Error> {
            let trained = &self.trained;
            let folder = RunFolder::create(folder)?;
            folder.write_config(&trained.recipe.to_toml()?)?;
            if !trained.target.text.is_empty() {
                folder.write_target(&trained.target.text)?;
            }
            let mut metrics = MetricsWriter::create(folder.metrics())?;
            trained.metrics()?.iter().try_for_each(|row| metrics.append(row))?;
            let layout = trained.problem.flow.layout();
            save_model(folder.model(), layout, &trained.theta, &trained.metadata)?;
            evaluation.map_or(Ok(()), |evaluation| folder.write_evaluation(evaluation))
        };
        py.detach(written).map_err(|error| exception(py, error, About::Recipe))
    }
}

impl Flow {
    /// Configurations, each with the centre of mass of its positions at the origin; augmented
    /// copies are moved along.
    fn centred(&self, x: &PyReadonlyArray3<'_, f64>) -> Vec<f64> {
        let system = self.trained.problem.flow.system();
        let width = x.as_array().len_of(Axis(1)) * system.dimension();
        let mut rows: Vec<f64> = x.as_array().iter().copied().collect();
        for row in rows.chunks_exact_mut(width.max(1)) {
            let centre = system.center_of_mass(&row[..system.coordinates().min(width)]);
            for particle in row.chunks_exact_mut(system.dimension()) {
                particle.iter_mut().zip(&centre).for_each(|(x, centre)| *x -= centre);
            }
        }
        rows
    }
}
