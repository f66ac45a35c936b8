//! The `[train]` section of a recipe: objective, schedule, and the options of each objective.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::limits::{count, number, positive};
use crate::train::{Method, WalkerStart};

/// How the flow is trained.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Section", into = "Section")]
pub struct TrainOptions {
    /// What is minimised, with its own options (default: FAB).
    pub objective: Objective,
    /// Training steps; one of FAB is an annealing pass with `updates_per_annealing` gradient steps
    /// (default 10 000).
    pub steps: usize,
    /// Samples per gradient step (default 128).
    pub batch_size: usize,
    /// How a gradient becomes a step (default "adam").
    pub optimizer: Method,
    /// Step size of the optimizer.
    pub learning_rate: LearningRate,
    /// Decay per gradient step of the averaged weights that evaluation uses; 0 uses the weights
    /// themselves (default 0.999).
    pub ema_decay: f64,
    /// What happens to a gradient that is far larger than the last ones.
    pub gradient_clip: GradientClip,
}

/// What is minimised. A recipe says `objective = "fab"` and has the options in `[train.fab]`.
#[derive(Debug, Clone, PartialEq)]
pub enum Objective {
    /// `"fab"`: the α-divergence ∫ p²/q (α = 2), estimated by annealed importance sampling.
    Fab(FabOptions),
    /// `"reverse_kl"`: KL(flow ‖ target) on samples of the flow.
    ReverseKl(ReverseKlOptions),
    /// `"max_likelihood"`: KL(data ‖ flow) on samples from elsewhere.
    MaxLikelihood(MaxLikelihoodOptions),
}

/// A linear warm-up from `initial` to `peak`, then a cosine down to `final` at the last step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LearningRate {
    /// At the first step (default 2e-5).
    pub initial: f64,
    /// After the warm-up (default 2e-4).
    pub peak: f64,
    /// At the last step (default 2e-5). In a recipe: `final`.
    #[serde(rename = "final")]
    pub last: f64,
    /// Length of the warm-up in training steps, cut at the end of the training (default 200).
    pub warm_up_steps: usize,
}

impl Default for LearningRate {
    fn default() -> Self {
        Self { initial: 2e-5, peak: 2e-4, last: 2e-5, warm_up_steps: 200 }
    }
}

/// Gradients are compared with the median norm of the last ones (the published FAB settings).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GradientClip {
    /// Number of norms the median is taken over (default 100).
    pub window: usize,
    /// A norm over this multiple of the median is scaled down to it (default 2).
    pub clip: f64,
    /// A gradient whose norm is over this multiple of the median is dropped (default 10).
    pub drop: f64,
}

impl Default for GradientClip {
    fn default() -> Self {
        Self { window: 100, clip: 2.0, drop: 10.0 }
    }
}

/// `[train.fab]`: flow annealed importance sampling bootstrap (Midgley et al., ICLR 2023).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FabOptions {
    /// The α of the divergence; annealing goes to pᵅ q^(1−α) (default 2).
    pub alpha: f64,
    /// Densities between the flow and the annealing's target (default 2).
    pub intermediate_distributions: usize,
    /// Leapfrog steps of the Hamiltonian Monte Carlo transition at each of them (default 5).
    pub leapfrog_steps: usize,
    /// Leapfrog step size, a length, before it adapts (default 0.1).
    pub initial_step_size: f64,
    /// Gradient steps on batches from the buffer after each annealing pass (default 8).
    pub updates_per_annealing: usize,
    /// Upper limit of the weight that corrects for the flow's change since a sample was annealed
    /// (default 10).
    pub weight_clip: f64,
    /// The prioritised replay buffer.
    pub buffer: BufferOptions,
    /// Markov chains on the target that take over from annealing (default: none).
    pub walkers: Option<WalkerOptions>,
}

impl Default for FabOptions {
    fn default() -> Self {
        Self {
            alpha: 2.0,
            intermediate_distributions: 2,
            leapfrog_steps: 5,
            initial_step_size: 0.1,
            updates_per_annealing: 8,
            weight_clip: 10.0,
            buffer: BufferOptions::default(),
            walkers: None,
        }
    }
}

/// `[train.fab.buffer]`: sizes of the replay buffer in batches.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BufferOptions {
    /// Training starts when it holds this many (default 64).
    pub min_batches: usize,
    /// The oldest samples leave when it would hold more (default 512).
    pub max_batches: usize,
}

impl Default for BufferOptions {
    fn default() -> Self {
        Self { min_batches: 64, max_batches: 512 }
    }
}

/// `[train.fab.walkers]`: long-lived Markov chains on the target. They need no gradient of the flow, so
/// a step is several times faster than with annealing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WalkerOptions {
    /// Number of chains (default 4096).
    pub count: usize,
    /// Where they come from: `"flow"`, annealing from the flow as it is then, or `"reference"`, sequential Monte
    /// Carlo from a Gaussian, which takes longer and needs no flow (default "flow").
    pub start: WalkerStart,
    /// The training step at which they start; from the flow, which should by then reach all that matters, not
    /// before 1 (default 200).
    pub from_step: usize,
    /// Leapfrog steps each time a chain is used (default 5).
    pub leapfrog_steps: usize,
}

impl Default for WalkerOptions {
    fn default() -> Self {
        Self { count: 4096, start: WalkerStart::Flow, from_step: 200, leapfrog_steps: 5 }
    }
}

/// `[train.reverse_kl]`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ReverseKlOptions {
    /// How the gradient is estimated (default "path").
    pub estimator: Estimator,
    /// Energies over this, in kT, count as this and push no more (default: no limit).
    pub energy_clip: Option<f64>,
    /// Starts with a soft core and hardens it (default: the potential as it is).
    pub core: Option<CoreSchedule>,
}

/// Estimators of the reverse KL divergence's gradient.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Estimator {
    /// Without the score term: its variance vanishes at the optimum (Roeder et al., NeurIPS 2017).
    #[default]
    Path,
    /// The whole derivative of the reparametrised objective.
    Total,
}

/// `[train.reverse_kl.core]`: pair terms are linear below a radius that shrinks linearly in time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CoreSchedule {
    /// Radius at the first step, a length.
    pub radius: f64,
    /// Radius from step `steps` on; 0 is the exact potential (default 0).
    #[serde(default)]
    pub final_radius: f64,
    /// Training steps until `final_radius` is reached.
    pub steps: usize,
}

/// `[train.max_likelihood]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MaxLikelihoodOptions {
    /// Training samples, all of one weight: .npz, .npy, .csv or extended .xyz.
    pub data: PathBuf,
    /// Share of them, drawn by the seed, that is held back to decide which model is kept: the one with the least
    /// negative log-likelihood there (default 0: the last model is kept).
    #[serde(default)]
    pub validation: f64,
    /// Samples for that from a file of their own.
    pub validation_data: Option<PathBuf>,
    /// Samples for the forward figures and the likelihood of evaluations, in place of
    /// `evaluate.reference_samples`; they decide nothing.
    pub test_data: Option<PathBuf>,
}

impl MaxLikelihoodOptions {
    fn validate(&self) -> Result<(), Error> {
        if self.data.as_os_str().is_empty() {
            return Err(Error::parameter(
                "train.max_likelihood.data",
                "is empty: name a file of samples",
            ));
        }
        number("train.max_likelihood.validation", self.validation, 0.0..=0.9)?;
        if self.validation > 0.0 && self.validation_data.is_some() {
            return Err(Error::parameter(
                "train.max_likelihood.validation",
                "is a share of the data and `validation_data` names a file: keep one of them",
            ));
        }
        let others = [("validation_data", &self.validation_data), ("test_data", &self.test_data)];
        match others.into_iter().find(|(_, file)| file.as_ref() == Some(&self.data)) {
            Some((key, _)) => Err(Error::parameter(
                format!("train.max_likelihood.{key}"),
                "is the training data, which cannot judge itself: name another file",
            )),
            None => Ok(()),
        }
    }
}

impl Default for TrainOptions {
    fn default() -> Self {
        Self {
            objective: Objective::Fab(FabOptions::default()),
            steps: 10_000,
            batch_size: 128,
            optimizer: Method::default(),
            learning_rate: LearningRate::default(),
            ema_decay: 0.999,
            gradient_clip: GradientClip::default(),
        }
    }
}

impl TrainOptions {
    /// Checks every value.
    pub(super) fn validate(&self) -> Result<(), Error> {
        count("train.steps", self.steps, 1..=1_000_000_000)?;
        count("train.batch_size", self.batch_size, 1..=1_000_000)?;
        let rate = &self.learning_rate;
        number("train.learning_rate.initial", rate.initial, 0.0..=1.0)?;
        positive("train.learning_rate.peak", rate.peak, 1.0)?;
        number("train.learning_rate.final", rate.last, 0.0..=1.0)?;
        count("train.learning_rate.warm_up_steps", rate.warm_up_steps, 0..=1_000_000_000)?;
        number("train.ema_decay", self.ema_decay, 0.0..=0.999_999)?;
        let clip = &self.gradient_clip;
        count("train.gradient_clip.window", clip.window, 1..=100_000)?;
        number("train.gradient_clip.clip", clip.clip, 1.0..=1e6)?;
        number("train.gradient_clip.drop", clip.drop, clip.clip..=1e9)?;
        match &self.objective {
            Objective::Fab(fab) => fab.validate(self.batch_size),
            Objective::ReverseKl(options) => options.validate(),
            Objective::MaxLikelihood(options) => options.validate(),
        }
    }
}

impl FabOptions {
    fn validate(&self, batch_size: usize) -> Result<(), Error> {
        number("train.fab.alpha", self.alpha, 1.0..=4.0)?;
        count("train.fab.intermediate_distributions", self.intermediate_distributions, 0..=1000)?;
        count("train.fab.leapfrog_steps", self.leapfrog_steps, 1..=1000)?;
        positive("train.fab.initial_step_size", self.initial_step_size, 100.0)?;
        count("train.fab.updates_per_annealing", self.updates_per_annealing, 1..=10_000)?;
        number("train.fab.weight_clip", self.weight_clip, 1.0..=1e9)?;
        // Batches of one annealing pass are drawn without replacement.
        let enough = self.updates_per_annealing;
        count("train.fab.buffer.min_batches", self.buffer.min_batches, enough..=1_000_000)?;
        if let Some(walkers) = &self.walkers {
            let rows = self.updates_per_annealing * batch_size;
            count("train.fab.walkers.count", walkers.count, rows..=100_000_000)?;
            let earliest = usize::from(walkers.start == WalkerStart::Flow);
            count("train.fab.walkers.from_step", walkers.from_step, earliest..=1_000_000_000)?;
            count("train.fab.walkers.leapfrog_steps", walkers.leapfrog_steps, 1..=1000)?;
        }
        let most = (100_000_000 / batch_size).max(self.buffer.min_batches);
        count(
            "train.fab.buffer.max_batches",
            self.buffer.max_batches,
            self.buffer.min_batches..=most,
        )
    }
}

impl ReverseKlOptions {
    fn validate(&self) -> Result<(), Error> {
        if let Some(clip) = self.energy_clip {
            number("train.reverse_kl.energy_clip", clip, -1e12..=1e12)?;
        }
        if let Some(core) = &self.core {
            positive("train.reverse_kl.core.radius", core.radius, 1000.0)?;
            number("train.reverse_kl.core.final_radius", core.final_radius, 0.0..=core.radius)?;
            count("train.reverse_kl.core.steps", core.steps, 1..=1_000_000_000)?;
        }
        Ok(())
    }
}

/// `[train]` as it is written: the objective's name, and its options in a section of that name.
#[derive(Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Section {
    objective: ObjectiveName,
    steps: usize,
    batch_size: usize,
    optimizer: Method,
    learning_rate: LearningRate,
    ema_decay: f64,
    gradient_clip: GradientClip,
    fab: Option<FabOptions>,
    reverse_kl: Option<ReverseKlOptions>,
    max_likelihood: Option<MaxLikelihoodOptions>,
}

#[derive(Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum ObjectiveName {
    Fab,
    ReverseKl,
    MaxLikelihood,
}

impl Default for Section {
    fn default() -> Self {
        // A recipe that names another objective has no `[train.fab]`.
        let mut section = Self::from(TrainOptions::default());
        section.fab = None;
        section
    }
}

impl TryFrom<Section> for TrainOptions {
    type Error = String;

    fn try_from(section: Section) -> Result<Self, String> {
        let Section { objective, steps, batch_size, optimizer, learning_rate, .. } = section;
        let present = [
            ("fab", ObjectiveName::Fab, section.fab.is_some()),
            ("reverse_kl", ObjectiveName::ReverseKl, section.reverse_kl.is_some()),
            ("max_likelihood", ObjectiveName::MaxLikelihood, section.max_likelihood.is_some()),
        ];
        if let Some((name, ..)) = present.iter().find(|(_, n, there)| *there && *n != objective) {
            return Err(format!(
                "the section [train.{name}] is not used by this `objective`: remove it or change \
                 the objective to \"{name}\""
            ));
        }
        let objective = match objective {
            ObjectiveName::Fab => Objective::Fab(section.fab.unwrap_or_default()),
            ObjectiveName::ReverseKl => {
                Objective::ReverseKl(section.reverse_kl.unwrap_or_default())
            }
            ObjectiveName::MaxLikelihood => {
                Objective::MaxLikelihood(section.max_likelihood.ok_or(
                    "\"max_likelihood\" needs a section [train.max_likelihood] with `data`, a file \
                     of samples",
                )?)
            }
        };
        let (ema_decay, gradient_clip) = (section.ema_decay, section.gradient_clip);
        Ok(Self {
            objective,
            steps,
            batch_size,
            optimizer,
            learning_rate,
            ema_decay,
            gradient_clip,
        })
    }
}

impl From<TrainOptions> for Section {
    fn from(options: TrainOptions) -> Self {
        let TrainOptions { objective, steps, batch_size, optimizer, learning_rate, .. } = options;
        let (ema_decay, gradient_clip) = (options.ema_decay, options.gradient_clip);
        let mut section = Self {
            objective: ObjectiveName::Fab,
            steps,
            batch_size,
            optimizer,
            learning_rate,
            ema_decay,
            gradient_clip,
            fab: None,
            reverse_kl: None,
            max_likelihood: None,
        };
        match objective {
            Objective::Fab(options) => section.fab = Some(options),
            Objective::ReverseKl(options) => {
                section.objective = ObjectiveName::ReverseKl;
                section.reverse_kl = Some(options);
            }
            Objective::MaxLikelihood(options) => {
                section.objective = ObjectiveName::MaxLikelihood;
                section.max_likelihood = Some(options);
            }
        }
        section
    }
}
