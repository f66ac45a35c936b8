//! Recipes: everything that determines a training run, in one file.

use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::folders::Folders;
use super::read::{config_error, from_table, in_file, parse_table, read, FORMAT};
use super::target::{is_path, Registry, Target};
use crate::error::Error;
use crate::flow::{Flow, FlowOptions, Skeleton};
use crate::limits::{count, positive};
use crate::potential::{second_derivatives, Potential};
use crate::samples::{read_equal_samples, Particles};
use crate::sampling::AugmentedTarget;
use crate::train::{Problem, TrainOptions, Trainer};

/// A training run: target, flow, training, evaluation. Lengths are in the target's units, energies
/// in kT.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// Name of a built-in target (`boltzflow targets` lists them), or path of a target file.
    pub target: String,
    /// Folders in which relative paths are looked up before the current folder (default: that of
    /// the recipe); relative ones start at the recipe's folder. The recipe in a run's folder has
    /// those of the one that it comes from.
    #[serde(default, skip_serializing)]
    pub folders: Folders,
    /// Seed of every random number of the run (default 0).
    #[serde(default)]
    pub seed: u64,
    /// The flow.
    #[serde(default)]
    pub flow: FlowOptions,
    /// The training.
    #[serde(default)]
    pub train: TrainOptions,
    /// The evaluation, during training and after it.
    #[serde(default)]
    pub evaluate: EvaluateOptions,
    /// When the state is saved for a later resumption.
    #[serde(default)]
    pub checkpoint: CheckpointOptions,
}

/// Evaluations, during training and after it: `[evaluate]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EvaluateOptions {
    /// Training steps between evaluations (default 500).
    pub every_steps: usize,
    /// Samples of the flow, each with its augmented copies, for the reverse effective sample size
    /// and log Z (default 10 000). A tenth of them, at most 10 000, is also annealed to the target.
    pub samples: usize,
    /// Draws of the augmented copies per reference sample for the likelihood; more make it
    /// sharper (default 20).
    pub draws: usize,
    /// Samples of the reference sampler, Monte Carlo without a flow, for the forward effective
    /// sample size and the likelihood (default 0: none). They never enter the training.
    pub reference_samples: usize,
    /// Chains of the reference sampler, at least as many as samples; more find rare wells (default
    /// four a sample, from 4096 to 32 768, fewer for more than 13 particles).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reference_chains: Option<usize>,
}

impl Default for EvaluateOptions {
    fn default() -> Self {
        Self {
            every_steps: 500,
            samples: 10_000,
            draws: 20,
            reference_samples: 0,
            reference_chains: None,
        }
    }
}

impl EvaluateOptions {
    fn validate(&self) -> Result<(), Error> {
        count("every_steps", self.every_steps, 1..=1_000_000_000)?;
        count("samples", self.samples, 2..=100_000_000)?;
        count("draws", self.draws, 1..=100_000)?;
        count("reference_samples", self.reference_samples, 0..=100_000_000)?;
        match self.reference_chains {
            Some(chains) => count("reference_chains", chains, self.reference_samples..=10_000_000),
            None => Ok(()),
        }
    }
}

/// When the state is saved, so that a training that was stopped goes on: `[checkpoint]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CheckpointOptions {
    /// Seconds between checkpoints (default 60).
    pub every_seconds: f64,
}

impl Default for CheckpointOptions {
    fn default() -> Self {
        Self { every_seconds: 60.0 }
    }
}

impl CheckpointOptions {
    fn validate(&self) -> Result<(), Error> {
        positive("every_seconds", self.every_seconds, 1e9)
    }
}

/// The base densities of molecules and crystals need no augmented copies and no layers: what a
/// recipe with one of them leaves out is none of those.
fn complete_for_base(recipe: &mut toml::Table) {
    let Some(flow) = recipe.get_mut("flow").and_then(toml::Value::as_table_mut) else { return };
    let kind = flow.get("base").and_then(|base| base.get("kind"));
    if matches!(kind.and_then(toml::Value::as_str), Some("molecule" | "crystal")) {
        let has_layers = flow.contains_key("layers");
        flow.entry("layers").or_insert_with(|| toml::Value::Array(Vec::new()));
        flow.entry("augmented_copies").or_insert_with(|| i64::from(has_layers).into());
    }
}

impl Default for Recipe {
    /// Every option at its default, for a target that is given as a potential and not by name.
    fn default() -> Self {
        Self {
            target: "custom".to_string(),
            folders: Folders::default(),
            seed: 0,
            flow: FlowOptions::default(),
            train: TrainOptions::default(),
            evaluate: EvaluateOptions::default(),
            checkpoint: CheckpointOptions::default(),
        }
    }
}

impl Recipe {
    /// Reads and checks a recipe; keys that it lacks get their defaults.
    ///
    /// # Errors
    /// [`Error::Read`], or [`Error::Config`] with the key and what would be right.
    pub fn load(path: impl AsRef<Path>) -> Result<Self, Error> {
        let path = path.as_ref();
        Self::from_text(&read(path)?, path)
    }

    /// The checked recipe in `text`; `file` is named in errors.
    ///
    /// # Errors
    /// [`Error::Config`] with the key and what would be right.
    pub fn from_text(text: &str, file: &Path) -> Result<Self, Error> {
        Self::from_text_with(text, file, &[])
    }

    /// The checked recipe in `text` with `settings` of the form `key=value` on top, such as
    /// `train.steps=100` or `flow.layers.0.repeat=4`.
    ///
    /// # Errors
    /// [`Error::Config`] as for [`from_text`](Self::from_text), [`Error::Parameter`] for a setting
    /// whose key or value cannot be.
    pub fn from_text_with(text: &str, file: &Path, settings: &[String]) -> Result<Self, Error> {
        let mut table = parse_table(text).map_err(|e| config_error(file, e))?;
        for setting in settings {
            super::overrides::apply(&mut table, setting)?;
        }
        complete_for_base(&mut table);
        let mut recipe: Self = from_table(table, &["format"]).map_err(|e| config_error(file, e))?;
        recipe.validate().map_err(|e| in_file(file, e))?;
        recipe.folders = recipe.folders.of_file(file);
        Ok(recipe)
    }

    /// The whole recipe with every default spelled out but for `folders`; [`Recipe::from_text`]
    /// reads it back unchanged.
    ///
    /// # Errors
    /// [`Error::Parameter`] when a value has no TOML form, such as a seed over 2⁶³.
    pub fn to_toml(&self) -> Result<String, Error> {
        let text = toml::to_string(self)
            .map_err(|e| Error::parameter("recipe", format!("has no TOML form: {e}")))?;
        Ok(format!("format = {FORMAT}\n{text}"))
    }

    /// [`to_toml`](Self::to_toml) for the folder `run`, with the folders of the files that it names
    /// by their place in one of them.
    ///
    /// # Errors
    /// Those of [`to_toml`](Self::to_toml).
    pub(crate) fn to_toml_in(&self, run: &Path) -> Result<String, Error> {
        let text = self.to_toml()?;
        let target = is_path(&self.target).then(|| Path::new(&self.target));
        let mut files = self.train.objective.options().files();
        files.extend(self.flow.start_from.as_deref().into_iter().chain(target));
        if files.into_iter().all(|file| self.folders.within(file).is_none()) {
            return Ok(text);
        }
        let folders = toml::Value::try_from(self.folders.seen_from(run))
            .map_err(|e| Error::parameter("folders", format!("have no TOML form: {e}")))?;
        Ok(text.replacen('\n', &format!("\nfolders = {folders}\n"), 1))
    }

    /// The target that it names, of a kind of `registry`; a file is looked up in its
    /// [`folders`](Self::folders).
    ///
    /// # Errors
    /// Those of [`Registry::load`].
    pub fn load_target(&self, registry: &Registry) -> Result<Target, Error> {
        if is_path(&self.target) {
            registry.load_file(&self.folders.find(Path::new(&self.target))?)
        } else {
            registry.load(&self.target)
        }
    }

    /// Checks every value, as [`load`](Self::load) and [`from_text`](Self::from_text) do.
    ///
    /// # Errors
    /// [`Error::Parameter`] with the full key and what would be right.
    pub fn validate(&self) -> Result<(), Error> {
        if self.target.trim().is_empty() {
            return Err(Error::parameter("target", "is empty: name a target or a target file"));
        }
        self.flow.validate().map_err(|e| e.within("flow"))?;
        self.train.validate()?;
        self.evaluate.validate().map_err(|e| e.within("evaluate"))?;
        self.checkpoint.validate().map_err(|e| e.within("checkpoint"))
    }

    /// The flow and the target of this recipe.
    ///
    /// # Errors
    /// [`Error::Parameter`] for options or particles that the flow cannot have,
    /// [`Error::Evaluation`] if the potential fails for good where a base density asks for it.
    pub fn problem(&self, potential: Arc<dyn Potential>) -> Result<Problem, Error> {
        let structure = potential.structures().first();
        let stiffness = match structure.filter(|_| self.flow.base.needs_stiffness()) {
            Some(structure) => second_derivatives(&*potential, structure)?,
            None => Vec::new(),
        };
        let bonds = potential.bonds();
        let skeleton =
            structure.map(|structure| Skeleton { bonds, structure, stiffness: &stiffness });
        let (system, species) = (potential.system(), potential.species());
        let flow = Flow::of_molecule(system, species, skeleton, &self.flow)?;
        let flow = Arc::new(flow);
        let copies = flow.copies();
        let target = AugmentedTarget::new(potential, copies, self.flow.augmentation_scale)?;
        Ok(Problem { flow, target, seed: self.seed })
    }

    /// The trainer of this recipe, for the problem that it makes; files of data are of `particles`,
    /// such as those of the [`Target`](super::Target).
    ///
    /// # Errors
    /// Those of reading the training data of maximum likelihood.
    pub fn trainer(
        &self,
        problem: &Problem,
        particles: impl Into<Particles>,
    ) -> Result<Box<dyn Trainer>, Error> {
        let particles = particles.into();
        let read = |file: &Path| {
            let file = self.folders.find(file)?;
            read_equal_samples(&file, &particles).map(|samples| samples.positions)
        };
        self.train.trainer(problem, &read)
    }
}
