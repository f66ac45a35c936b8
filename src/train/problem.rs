//! What a training is about, and what one of its steps reports.

use std::sync::Arc;

use crate::error::Error;
use crate::flow::Flow;
use crate::random::{stream, Purpose, WALKERS_SEED};
use crate::sampling::{
    sample_reference_at, Annealed, AnnealedImportanceSampling, Annealing, AugmentedTarget, Effort,
    FlowDensity, ReferenceOptions, StepSizes, Streams, Subspace,
};

/// A flow and the target that it is trained on.
#[derive(Clone)]
pub struct Problem {
    /// The flow.
    pub flow: Arc<Flow<f32>>,
    /// exp(−U(x)) ∏ N(a_k; x, η² I).
    pub target: AugmentedTarget,
    /// Seed of all random streams.
    pub seed: u64,
}

impl Problem {
    /// Turns joint configurations for training at random, each as a whole, if the flow has to learn
    /// that rotations change nothing; `first` is the number of the first one in the step.
    pub fn turn(&self, joint: &mut [f64], step: u64, first: usize) {
        if self.flow.is_rotation_invariant() {
            return;
        }
        let system = self.flow.system();
        for (row, joint) in joint.chunks_exact_mut(self.flow.width()).enumerate() {
            let mut rng = stream(self.seed, Purpose::Rotations, step, (first + row) as u64);
            system.rotate(&system.random_rotation(&mut rng), joint);
        }
    }

    /// Draws `samples` configurations of the flow and anneals them towards the target. The streams
    /// are those of a purpose and a step; `step_sizes`, one for each intermediate density, adapt.
    ///
    /// # Errors
    /// Only [`Error::Evaluation`], if the potential fails for good.
    pub fn anneal(
        &self,
        theta: &[f32],
        annealing: Annealing,
        samples: usize,
        (purpose, step): (Purpose, u64),
        step_sizes: &mut StepSizes,
    ) -> Result<Annealed, Error> {
        AnnealedImportanceSampling {
            proposal: &FlowDensity { flow: &self.flow, theta },
            target: &self.target,
            subspace: self.subspace(),
            annealing,
        }
        .run(samples, Streams { seed: self.seed, purpose, step }, step_sizes)
    }

    /// Positions, [count, particles, dimension], of the reference sampler at a temperature, over
    /// that of the target, to walk on from or to fit to.
    ///
    /// # Errors
    /// Those of [`sample_reference_at`].
    pub(super) fn sample_reference(
        &self,
        count: usize,
        temperature: f64,
    ) -> Result<(Vec<f64>, Effort), Error> {
        let potential = self.target.potential();
        let starts = ReferenceOptions::starts(&**potential, count);
        let options = ReferenceOptions { seed: self.seed ^ WALKERS_SEED, ..starts };
        let reference = sample_reference_at(potential.clone(), options, temperature)?;
        Ok((reference.samples.positions, reference.report.effort))
    }

    /// Where joint configurations live.
    pub fn subspace(&self) -> Subspace {
        self.target.subspace()
    }
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
