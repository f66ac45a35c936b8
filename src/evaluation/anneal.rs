//! Samples that are annealed from a trained flow to its target.

use crate::error::Error;
use crate::random::{step_before, Purpose};
use crate::samples::Samples;
use crate::sampling::{Annealed, Annealing, StepSizes};
use crate::train::Problem;

/// Leapfrog step size from which adaptation starts.
const FIRST_STEP_SIZE: f64 = 0.05;

/// Annealed importance sampling from a trained flow, part after part with the same step sizes:
/// weights are right only with step sizes that do not depend on the samples.
pub struct AnnealedDraws<'a> {
    problem: &'a Problem,
    theta: &'a [f32],
    purpose: Purpose,
    /// One for each density between flow and target.
    pub(super) step_sizes: StepSizes,
}

impl<'a> AnnealedDraws<'a> {
    /// Finds the step sizes of `levels` densities between flow and target, by rounds of samples of
    /// their own.
    ///
    /// # Errors
    /// [`Error::Evaluation`] if the potential fails for good.
    pub fn new(problem: &'a Problem, theta: &'a [f32], levels: usize) -> Result<Self, Error> {
        let mut draws = Self::starting_at(problem, theta, Purpose::Sampling, levels, None);
        for round in 1..=16 {
            draws.adapt(128, step_before(round))?;
        }
        Ok(draws)
    }

    /// With `step_sizes` where these are of as many levels, and otherwise with those from which
    /// adaptation starts.
    pub(super) fn starting_at(
        problem: &'a Problem,
        theta: &'a [f32],
        purpose: Purpose,
        levels: usize,
        step_sizes: Option<&StepSizes>,
    ) -> Self {
        let step_sizes = step_sizes
            .filter(|sizes| sizes.0.len() == levels)
            .cloned()
            .unwrap_or_else(|| StepSizes::new(levels, FIRST_STEP_SIZE));
        Self { problem, theta, purpose, step_sizes }
    }

    /// Adapts the step sizes by `count` samples.
    pub(super) fn adapt(&mut self, count: usize, step: u64) -> Result<(), Error> {
        let mut adapted = self.step_sizes.clone();
        self.run(count, step, &mut adapted)?;
        self.step_sizes = adapted;
        Ok(())
    }

    /// `count` samples of `step` with the present step sizes.
    pub(super) fn anneal(&self, count: usize, step: u64) -> Result<Annealed, Error> {
        self.run(count, step, &mut self.step_sizes.clone())
    }

    /// Part number `part`, of `count` samples. Every part has random numbers of its own.
    ///
    /// # Errors
    /// [`Error::Evaluation`] if the potential fails for good.
    pub fn draw(&self, part: u64, count: usize) -> Result<Samples, Error> {
        // Steps 0 and 1 are the plain draws of a user and of the figures.
        let annealed = self.anneal(count, 2 + part)?;
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

    fn run(&self, count: usize, step: u64, sizes: &mut StepSizes) -> Result<Annealed, Error> {
        let intermediate = self.step_sizes.0.len();
        let annealing = Annealing { intermediate, leapfrog_steps: 5, alpha: 1.0 };
        let streams = (self.purpose, step);
        self.problem.anneal(self.theta, annealing, count, streams, sizes)
    }
}
