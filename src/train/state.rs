//! All that a resumed training needs, and the gradient step that every objective takes.

use std::time::Instant;

use dfdx::prelude::*;
use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::flow::op;
use crate::limits::{count, number};
use crate::sampling::StepSizes;

use super::buffer::ReplayBuffer;
use super::health::Health;
use super::optimizer::{
    update_average, Adam, GradientClip, GradientGuard, LearningRate, Method, Outcome,
};
use super::problem::Problem;
use super::soap::Rotations;
use super::walkers::Walkers;

/// What all objectives share: the keys of `[train]` itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DescentOptions {
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

/// All that continues: with the recipe, it determines the rest of the run.
#[derive(Debug, Clone, PartialEq)]
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
    /// Leapfrog step sizes of the annealing.
    pub step_sizes: StepSizes,
    /// Annealed samples.
    pub buffer: ReplayBuffer,
    /// Chains on the target, once they have started.
    pub walkers: Walkers,
    /// The losses so far and the way back from a divergence.
    pub health: Health,
    /// Energy evaluations of the training so far.
    pub energy_evaluations: u64,
    /// Configurations without a finite energy so far.
    pub recoverable_failures: u64,
    /// Samples whose weight was not finite so far.
    pub nonfinite_weights: u64,
    /// Gradients scaled down so far.
    pub gradients_clipped: u64,
    /// Gradients not used so far.
    pub gradients_dropped: u64,
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

impl TrainingState {
    /// The state before the first step. `intermediate` densities and `capacity` of the buffer are
    /// zero for objectives without annealing.
    pub fn new(
        problem: &Problem,
        method: Method,
        intermediate: usize,
        initial_step_size: f64,
        capacity: usize,
    ) -> Self {
        let theta = problem.flow.layout().initialize::<f32>(problem.seed);
        let rotations = match method {
            Method::Adam => Rotations::default(),
            Method::Soap => Rotations::new(problem.flow.layout()),
        };
        let optimizer = Adam::new(theta.len(), rotations);
        let step_sizes = StepSizes::new(intermediate, initial_step_size);
        Self {
            step: 0,
            average: theta.clone(),
            health: Health::new(&theta, &optimizer, &step_sizes),
            optimizer,
            guard: GradientGuard::default(),
            step_sizes,
            buffer: ReplayBuffer::new(problem.flow.width(), capacity),
            walkers: Walkers::none(initial_step_size),
            energy_evaluations: 0,
            recoverable_failures: 0,
            nonfinite_weights: 0,
            gradients_clipped: 0,
            gradients_dropped: 0,
            theta,
        }
    }

    /// Starts as a flow with these parameters, before the first step.
    pub fn start_as(&mut self, theta: Vec<f32>) {
        self.health = Health::new(&theta, &self.optimizer, &self.step_sizes);
        self.average.clone_from(&theta);
        self.theta = theta;
    }

    /// One gradient step on the loss that `loss` computes from θ on a tape. A loss or gradient that is
    /// not finite changes nothing and is counted.
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
            Outcome::Dropped => self.gradients_dropped += 1,
            Outcome::Clipped => self.gradients_clipped += 1,
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
