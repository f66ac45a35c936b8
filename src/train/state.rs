//! What training is about, and all that a resumed training needs.

use std::sync::Arc;
use std::time::Instant;

use dfdx::prelude::*;

use crate::error::Error;
use crate::flow::{op, Flow};
use crate::random::{stream, Purpose};
use crate::sampling::{AugmentedTarget, StepSizes, Subspace};

use super::health::Health;
use super::optimizer::{
    update_average, Adam, GradientGuard, GuardOptions, Method, Outcome, Schedule,
};
use super::soap::Rotations;
use super::{ReplayBuffer, Walkers};

/// A flow and the target that it is trained on.
pub struct Problem {
    /// The flow.
    pub flow: Arc<Flow<f32>>,
    /// exp(−U(x)) ∏ N(a_k; x, η² I).
    pub target: AugmentedTarget,
    /// Seed of all random streams.
    pub seed: u64,
}

impl Problem {
    /// Turns joint configurations for training at random, each as a whole, if the flow has to learn that
    /// rotations change nothing; `first` is the number of the first one in the step.
    pub fn turn(&self, joint: &mut [f64], step: u64, first: usize) {
        if self.flow.knows_rotations() {
            return;
        }
        let system = self.flow.system();
        for (row, joint) in joint.chunks_exact_mut(self.flow.width()).enumerate() {
            let mut rng = stream(self.seed, Purpose::Rotations, step, (first + row) as u64);
            system.rotate(&system.random_rotation(&mut rng), joint);
        }
    }

    /// Where joint configurations live.
    pub fn subspace(&self) -> Subspace {
        self.target.subspace()
    }
}

/// Options that every objective shares.
#[derive(Debug, Clone, PartialEq)]
pub struct DescentOptions {
    /// Samples of a gradient step.
    pub batch_size: usize,
    /// How a gradient becomes a step.
    pub method: Method,
    /// Learning rate over training steps.
    pub schedule: Schedule,
    /// Decay per gradient step of the averaged weights.
    pub ema_decay: f64,
    /// Guard against outlying gradients.
    pub guard: GuardOptions,
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

/// What one training step did, for metrics.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct StepReport {
    /// Mean loss of its gradient steps.
    pub loss: f64,
    /// Mean gradient norm of its gradient steps, before clipping.
    pub gradient_norm: f64,
    /// Learning rate.
    pub learning_rate: f64,
    /// Mean acceptance of the annealing, or of the walkers.
    pub acceptance: Option<f64>,
    /// Share of the flow's proposals that walkers took.
    pub flow_acceptance: Option<f64>,
    /// Mean leapfrog step size of the annealing.
    pub hmc_step_size: Option<f64>,
    /// Thread seconds in the flow and its gradients.
    pub flow_seconds: f64,
    /// Thread seconds in the potential.
    pub potential_seconds: f64,
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
        let (scale, outcome) = self.guard.judge(norm, &options.guard);
        match outcome {
            Outcome::Dropped => self.gradients_dropped += 1,
            Outcome::Clipped => self.gradients_clipped += 1,
            Outcome::Applied => {}
        }
        if outcome != Outcome::Dropped {
            let rate = self.learning_rate(&options.schedule);
            self.optimizer.update(&mut self.theta, &gradient, scale, rate);
            let updates = self.optimizer.updates;
            update_average(&mut self.average, &self.theta, options.ema_decay, updates);
        }
        Ok(Descent { loss: value, gradient_norm: norm, seconds })
    }
}
