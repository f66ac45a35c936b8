//! Weighted samples that are annealed from the flow to the target before they are handed out.

use crate::error::Error;
use crate::random::Purpose;
use crate::samples::Samples;
use crate::sampling::{AnnealedImportanceSampling, Annealing, FlowDensity, StepSizes, Streams};
use crate::train::Problem;

/// Annealed importance sampling from a trained flow, part after part with the same step sizes.
pub struct AnnealedDraws<'a> {
    problem: &'a Problem,
    theta: &'a [f32],
    levels: usize,
    step_sizes: StepSizes,
}

impl<'a> AnnealedDraws<'a> {
    /// Finds the step sizes of `levels` densities between flow and target, by rounds of samples of
    /// their own: weights are right only with step sizes that do not depend on the samples.
    ///
    /// # Errors
    /// [`Error::Evaluation`] if the potential fails for good.
    pub fn new(problem: &'a Problem, theta: &'a [f32], levels: usize) -> Result<Self, Error> {
        let mut draws = Self { problem, theta, levels, step_sizes: StepSizes::new(levels, 0.05) };
        for round in 1..=16 {
            let mut adapted = draws.step_sizes.clone();
            draws.run(128, u64::MAX - round, &mut adapted)?;
            draws.step_sizes = adapted;
        }
        Ok(draws)
    }

    /// Part number `part`, of `count` samples. Every part has random numbers of its own.
    ///
    /// # Errors
    /// [`Error::Evaluation`] if the potential fails for good.
    pub fn draw(&self, part: u64, count: usize) -> Result<Samples, Error> {
        // Steps 0 and 1 are the plain draws of a user and of the figures.
        let annealed = self.run(count, 2 + part, &mut self.step_sizes.clone())?;
        let target = &self.problem.target;
        let coordinates = target.subspace().system().coordinates();
        let positions = annealed.positions(coordinates);
        let log_conditional = annealed.of_all(1, |row| vec![target.log_conditional(row)]);
        let energies = log_conditional
            .iter()
            .zip(&annealed.log_p)
            .map(|(log_conditional, log_p)| match log_conditional - log_p {
                energy if energy.is_finite() => energy,
                _ => f64::INFINITY,
            })
            .collect();
        Ok(Samples { positions, log_weights: annealed.log_weights, energies })
    }

    fn run(
        &self,
        count: usize,
        step: u64,
        step_sizes: &mut StepSizes,
    ) -> Result<crate::sampling::Annealed, Error> {
        let flow = FlowDensity { flow: &self.problem.flow, theta: self.theta };
        let annealing = AnnealedImportanceSampling {
            proposal: &flow,
            target: &self.problem.target,
            subspace: self.problem.target.subspace(),
            annealing: Annealing { intermediate: self.levels, leapfrog_steps: 5, alpha: 1.0 },
        };
        let streams = Streams { seed: self.problem.seed, purpose: Purpose::Sampling, step };
        Ok(annealing.run(count, streams, step_sizes)?)
    }
}
