//! All that a resumed training needs, and the gradient step that every objective takes.

use std::any::Any;
use std::time::Instant;

use dfdx::prelude::*;
use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::flow::op;
use crate::limits::{count, number};
use crate::sampling::Effort;

use super::health::{Health, Verdict};
use super::optimizer::{
    update_average, Adam, GradientClip, GradientGuard, LearningRate, Method, Outcome,
};
use super::problem::{Problem, StepReport};
use super::saved::{ObjectiveState, Saved, Walk};

/// What all objectives share: the keys of `[train]` itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DescentOptions {
    /// Training steps; one of FAB draws new samples and does `updates_per_annealing` gradient steps
    /// (default 10 000).
    pub steps: usize,
    /// Samples per gradient step (default 128).
    pub batch_size: usize,
    /// How a gradient becomes a step (default "adam").
    pub optimizer: Method,
    /// Step size of the optimizer.
    pub learning_rate: LearningRate,
    /// Decay per gradient step of the moving average of the parameters that evaluations and the
    /// trained flow use; 0 uses the parameters themselves (default 0.999).
    pub ema_decay: f64,
    /// What happens to a gradient that is far larger than the last ones.
    pub gradient_clip: GradientClip,
}

impl Default for DescentOptions {
    fn default() -> Self {
        Self {
            steps: 10_000,
            batch_size: 128,
            optimizer: Method::default(),
            learning_rate: LearningRate::default(),
            ema_decay: 0.999,
            gradient_clip: GradientClip::default(),
        }
    }
}

impl DescentOptions {
    /// Checks every value.
    ///
    /// # Errors
    /// [`Error::Parameter`] with the full key and what would be right.
    pub fn validate(&self) -> Result<(), Error> {
        count("train.steps", self.steps, 1..=1_000_000_000)?;
        count("train.batch_size", self.batch_size, 1..=1_000_000)?;
        self.learning_rate.validate()?;
        number("train.ema_decay", self.ema_decay, 0.0..=0.999_999)?;
        self.gradient_clip.validate()
    }
}

/// Counts over a whole training.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Counters {
    /// Energy evaluations.
    pub energy_evaluations: u64,
    /// Configurations without a finite energy.
    pub recoverable_failures: u64,
    /// Samples whose weight was not finite.
    pub nonfinite_weights: u64,
    /// Gradients scaled down.
    pub gradients_clipped: u64,
    /// Gradients not used.
    pub gradients_dropped: u64,
    /// Configurations with a finite energy and without a finite gradient.
    pub without_gradient: u64,
}

impl Counters {
    /// Adds evaluations of the target.
    pub(super) fn add(&mut self, effort: Effort) {
        self.energy_evaluations += effort.evaluations;
        self.recoverable_failures += effort.failures;
        self.without_gradient += effort.without_gradient;
    }
}

/// Everything that carries over from step to step: with the recipe, it determines the rest of the
/// run. States are equal where all that they save is.
#[derive(Debug, Clone)]
pub struct TrainingState {
    /// Training steps done.
    pub step: u64,
    /// The flow's parameters.
    pub theta: Vec<f32>,
    /// Their exponential moving average, which evaluation and sampling use.
    pub average: Vec<f32>,
    /// The optimizer's moments.
    pub optimizer: Adam,
    /// Norms of the last gradients.
    pub guard: GradientGuard,
    /// What the objective alone needs.
    pub own: Box<dyn ObjectiveState>,
    /// Counts so far.
    pub counters: Counters,
    /// The losses so far and what they mean.
    pub health: Health,
    /// The older and the newer good state. A roll-back goes to the older one, since a divergence
    /// may have begun unseen before the newer one.
    pub good: [Saved; 2],
}

/// What a gradient step found.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Descent {
    /// The loss.
    pub loss: f64,
    /// The gradient's norm before clipping; not a number if the loss is not finite.
    pub gradient_norm: f64,
    /// Wall time of the loss and its gradient, in seconds: the rest is the optimizer's.
    pub seconds: f64,
}

impl PartialEq for TrainingState {
    fn eq(&self, other: &Self) -> bool {
        let all = |state: &Self| {
            let mut state = state.clone();
            Saved::of(|walk| state.list(walk))
        };
        all(self) == all(other)
    }
}

impl TrainingState {
    /// The state before the first step, `own` being what the objective alone needs.
    pub fn new(problem: &Problem, method: Method, own: impl ObjectiveState) -> Self {
        let theta = problem.flow.layout().initialize::<f32>(problem.seed);
        let mut state = Self {
            step: 0,
            average: theta.clone(),
            optimizer: Adam::new(method, problem.flow.layout()),
            guard: GradientGuard::default(),
            own: Box::new(own),
            counters: Counters::default(),
            health: Health::default(),
            good: Default::default(),
            theta,
        };
        state.good = state.two_good_copies();
        state
    }

    /// Replaces the initial parameters by these, before the first step.
    pub fn start_as(&mut self, theta: Vec<f32>) {
        self.average.clone_from(&theta);
        self.theta = theta;
        self.good = self.two_good_copies();
    }

    /// Lists all that is saved.
    ///
    /// # Errors
    /// A message that says what is missing or does not fit. A collective operation.
    pub fn list(&mut self, walk: &mut Walk<'_>) -> Result<(), String> {
        walk.value("step", &mut self.step)?;
        self.list_restored(walk)?;
        self.own.list(walk)?;
        walk.value("counters", &mut self.counters)?;
        walk.value("health", &mut self.health)?;
        let [older, newer] = &mut self.good;
        walk.nested("good.0", older)?;
        walk.nested("good.1", newer)
    }

    /// Lists what a roll-back restores.
    fn list_restored(&mut self, walk: &mut Walk<'_>) -> Result<(), String> {
        walk.single("theta", &mut self.theta)?;
        walk.single("average", &mut self.average)?;
        self.optimizer.list(walk)?;
        walk.value("guard", &mut self.guard)?;
        self.own.list_restored(walk)
    }

    fn two_good_copies(&mut self) -> [Saved; 2] {
        // That an objective's state cannot be saved is reported by the first checkpoint.
        let good = Saved::of(|walk| self.list_restored(walk)).unwrap_or_default();
        [good.clone(), good]
    }

    /// Learning rate of the next step: that of the options, halved by every roll-back.
    pub fn learning_rate(&self, options: &DescentOptions) -> f64 {
        let steps = options.steps as u64;
        options.learning_rate.at(self.step, steps) * self.health.slow_down()
    }

    /// Judges the last step. Changes only the record of losses.
    pub fn judge(&mut self, report: &StepReport) -> Verdict {
        self.health.judge(self.step, report, self.counters.nonfinite_weights)
    }

    /// Keeps the state as one that a later roll-back may return to, after [`Verdict::Good`].
    ///
    /// # Errors
    /// [`Error::Run`] if something cannot be saved.
    pub fn save_good(&mut self) -> Result<(), Error> {
        let good = Saved::of(|walk| self.list_restored(walk)).map_err(Error::Run)?;
        self.good.swap(0, 1);
        self.good[1] = good;
        self.health.saved(self.step);
        Ok(())
    }

    /// Goes back to the older good state, after [`Verdict::Diverged`]: parameters, moments, step
    /// sizes. The objective discards what is spoiled, and the learning rate is halved; steps and
    /// counters continue.
    ///
    /// # Errors
    /// [`Error::Run`] if something cannot be restored.
    pub fn roll_back(&mut self) -> Result<(), Error> {
        let good = self.good[0].clone();
        self.list_restored(&mut Walk::Load(&good)).map_err(Error::Run)?;
        self.good[1] = good;
        self.health.rolled_back(self.step);
        self.own.discard();
        Ok(())
    }

    /// The objective's own state, if it is of this type.
    pub fn own<S: ObjectiveState>(&self) -> Option<&S> {
        (self.own.as_ref() as &dyn Any).downcast_ref()
    }

    /// Does `work` on this state and on the objective's own.
    ///
    /// # Errors
    /// Those of `work`; [`Error::Run`] if the state is another objective's.
    pub fn with_own<S: ObjectiveState, R>(
        &mut self,
        work: impl FnOnce(&mut Self, &mut S) -> Result<R, Error>,
    ) -> Result<R, Error> {
        let mut own = std::mem::replace(&mut self.own, Box::new(()));
        let result = match (own.as_mut() as &mut dyn Any).downcast_mut() {
            Some(own) => work(self, own),
            None => Err(Error::Run("the training state belongs to another objective".into())),
        };
        self.own = own;
        result
    }

    /// One gradient step on the loss that `loss` computes from θ on a tape. A loss or gradient that
    /// is not finite changes nothing and is counted.
    pub fn descend(
        &mut self,
        options: &DescentOptions,
        loss: impl FnOnce(
            op::Vector<OwnedTape<f32, Cpu>>,
        ) -> Result<Tensor<(), f32, Cpu, OwnedTape<f32, Cpu>>, Error>,
    ) -> Result<Descent, Error> {
        let device = Cpu::default();
        let theta = device.tensor_from_vec(self.theta.clone(), (self.theta.len(),));
        let start = Instant::now();
        let loss = loss(theta.leaky_trace())?;
        let value = f64::from(loss.array());
        let gradients = loss
            .try_backward()
            .map_err(|e| Error::Run(format!("the backward pass failed: {e:?}")))?;
        let seconds = start.elapsed().as_secs_f64();
        let gradient = gradients.get(&theta).as_vec();
        let norm = gradient.iter().map(|g| f64::from(*g) * f64::from(*g)).sum::<f64>().sqrt();
        let norm = if value.is_finite() { norm } else { f64::NAN };
        let (scale, outcome) = self.guard.judge(norm, &options.gradient_clip);
        match outcome {
            Outcome::Dropped => self.counters.gradients_dropped += 1,
            Outcome::Clipped => self.counters.gradients_clipped += 1,
            Outcome::Applied => {}
        }
        if outcome != Outcome::Dropped {
            let rate = self.learning_rate(options);
            self.optimizer.update(&mut self.theta, &gradient, scale, rate);
            let updates = self.optimizer.updates;
            update_average(&mut self.average, &self.theta, options.ema_decay, updates);
        }
        Ok(Descent { loss: value, gradient_norm: norm, seconds })
    }
}
