//! Hamiltonian Monte Carlo on a geometric mixture of densities, a small batch of chains at a time.
//!
//! Duane, Kennedy, Pendleton & Roweth, Phys. Lett. B 195 (1987); Neal, arXiv:1206.1901.

use std::time::Instant;

use rand::Rng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};
use serde::{Deserialize, Serialize};

use super::{LogDensity, Subspace};
use crate::error::EvaluationError;
use crate::parallel::message;
use crate::system::System;
use crate::work;

/// What evaluating one density has cost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Effort {
    /// Configurations evaluated.
    pub evaluations: u64,
    /// Evaluations that failed recoverably.
    pub failures: u64,
    /// Evaluations that gave a finite value without a finite gradient.
    pub without_gradient: u64,
    /// Seconds spent, summed over threads.
    pub seconds: f64,
}

message!(Effort { evaluations, failures, without_gradient, seconds });

impl Effort {
    /// What an evaluation since `start` has cost: it gave `log_density` (`[rows]`) and `gradient`
    /// ([rows, width]), and `failures` of the rows failed recoverably.
    pub fn of(log_density: &[f64], gradient: &[f64], failures: usize, start: Instant) -> Self {
        let width = gradient.len() / log_density.len().max(1);
        let rows = log_density.iter().zip(gradient.chunks_exact(width.max(1)));
        let lacks = |(log_density, gradient): (&f64, &[f64])| {
            log_density.is_finite() && !gradient.iter().all(|g| g.is_finite())
        };
        Self {
            evaluations: log_density.len() as u64,
            failures: failures as u64,
            without_gradient: rows.map(|row| u64::from(lacks(row))).sum(),
            seconds: start.elapsed().as_secs_f64(),
        }
    }
}

impl std::ops::AddAssign for Effort {
    fn add_assign(&mut self, other: Self) {
        self.evaluations += other.evaluations;
        self.failures += other.failures;
        self.without_gradient += other.without_gradient;
        self.seconds += other.seconds;
    }
}

/// The densities f_c that every point of an annealing path log γ = Σ_c λ_c log f_c is made of.
#[derive(Clone, Copy)]
pub struct GeometricPath<'a> {
    /// The densities; all are evaluated at every step, so that moving along the path is free.
    pub densities: [&'a dyn LogDensity; 2],
    /// Where the configurations live.
    pub subspace: Subspace,
}

/// One value and gradient of each density of a [`GeometricPath`] for a batch of configurations.
#[derive(Debug, Clone, Default)]
struct Values {
    /// `[rows]` for each density.
    log_density: [Vec<f64>; 2],
    /// [rows, width] for each density.
    gradient: [Vec<f64>; 2],
}

impl Values {
    fn resize(&mut self, rows: usize, width: usize) {
        for component in 0..2 {
            self.log_density[component].resize(rows, 0.0);
            self.gradient[component].resize(rows * width, 0.0);
        }
    }

    fn evaluate(
        &mut self,
        path: &GeometricPath<'_>,
        position: &[f64],
        effort: &mut [Effort; 2],
    ) -> Result<(), EvaluationError> {
        for (component, density) in path.densities.iter().enumerate() {
            let start = Instant::now();
            let log_density = &mut self.log_density[component];
            let gradient = &mut self.gradient[component];
            let failures = density.log_density_and_gradient(position, log_density, gradient)?;
            effort[component] += Effort::of(log_density, gradient, failures, start);
        }
        Ok(())
    }

    /// log γ of one row, −∞ unless everything that enters is finite.
    fn log_density(&self, coefficients: [f64; 2], row: usize) -> f64 {
        let mut total = 0.0;
        for (coefficient, values) in coefficients.into_iter().zip(&self.log_density) {
            if coefficient != 0.0 {
                if !values[row].is_finite() {
                    return f64::NEG_INFINITY;
                }
                total += coefficient * values[row];
            }
        }
        total
    }

    /// The gradient of log γ for all rows, not projected; NaN where one that enters is.
    fn gradient(&self, coefficients: [f64; 2], out: &mut [f64]) {
        out.fill(0.0);
        for (coefficient, gradient) in coefficients.into_iter().zip(&self.gradient) {
            if coefficient != 0.0 {
                add_scaled(coefficient, gradient, out);
            }
        }
    }

    fn copy_row(&mut self, row: usize, from: &Self, from_row: usize, width: usize) {
        for component in 0..2 {
            self.log_density[component][row] = from.log_density[component][from_row];
            self.gradient[component][row * width..(row + 1) * width].copy_from_slice(
                &from.gradient[component][from_row * width..(from_row + 1) * width],
            );
        }
    }
}

/// Where a batch of chains stands, with the log densities and gradients there, so that nothing is
/// evaluated twice.
#[derive(Debug, Clone)]
pub struct Chains {
    width: usize,
    position: Vec<f64>,
    values: Values,
    effort: [Effort; 2],
}

impl Chains {
    /// Chains at `position` ([rows, width]), evaluated on the calling thread.
    ///
    /// # Errors
    /// Only [`EvaluationError::Fatal`].
    pub fn new(path: &GeometricPath<'_>, position: Vec<f64>) -> Result<Self, EvaluationError> {
        let width = path.subspace.width();
        let mut values = Values::default();
        values.resize(position.len() / width, width);
        let mut effort = [Effort::default(); 2];
        values.evaluate(path, &position, &mut effort)?;
        Ok(Self { width, position, values, effort })
    }

    /// Number of chains.
    pub fn rows(&self) -> usize {
        self.position.len() / self.width
    }

    /// Positions, [rows, width].
    pub fn position(&self) -> &[f64] {
        &self.position
    }

    /// Positions alone.
    pub fn into_position(self) -> Vec<f64> {
        self.position
    }

    /// Log densities of one of the path's two densities, `[rows]`.
    pub fn log_density(&self, component: usize) -> &[f64] {
        &self.values.log_density[component]
    }

    /// Gradients of one of the path's two log densities, [rows, width], not projected.
    pub fn gradient(&self, component: usize) -> &[f64] {
        &self.values.gradient[component]
    }

    /// What the evaluations of each density have cost so far.
    pub fn effort(&self) -> [Effort; 2] {
        self.effort
    }

    /// Puts chain `row` at `x`, where it comes by a rotation, which leaves the second of the path's
    /// densities as it is; `log_density` and `gradient` are those of the first.
    pub(super) fn turn(
        &mut self,
        (system, rotation): (System, &[f64]),
        row: usize,
        x: &[f64],
        log_density: f64,
        gradient: &[f64],
    ) {
        let place = row * self.width..(row + 1) * self.width;
        self.position[place.clone()].copy_from_slice(x);
        system.rotate(rotation, &mut self.values.gradient[1][place.clone()]);
        self.values.log_density[0][row] = log_density;
        self.values.gradient[0][place].copy_from_slice(gradient);
    }

    /// Puts chain `row` where chain `from_row` of `from` stands.
    pub fn copy_row(&mut self, row: usize, from: &Self, from_row: usize) {
        let width = self.width;
        self.position[row * width..(row + 1) * width]
            .copy_from_slice(&from.position[from_row * width..(from_row + 1) * width]);
        self.values.copy_row(row, &from.values, from_row, width);
    }
}

/// Memory of a transition, to be used again; what is in it between calls does not matter.
#[derive(Debug, Default)]
pub struct Workspace {
    position: Vec<f64>,
    momentum: Vec<f64>,
    force: Vec<f64>,
    values: Values,
    /// log γ − kinetic energy at the start.
    start: Vec<f64>,
    alive: Vec<bool>,
    /// Acceptance probability of each row.
    acceptance: Vec<f64>,
}

impl Workspace {
    fn resize(&mut self, rows: usize, width: usize) {
        for vector in [&mut self.position, &mut self.momentum, &mut self.force] {
            vector.resize(rows * width, 0.0);
        }
        self.values.resize(rows, width);
        self.start.resize(rows, 0.0);
        self.acceptance.resize(rows, 0.0);
        self.alive.resize(rows, true);
    }

    /// Puts rows that have run away back to their start, before anything is evaluated there.
    fn stop_runaway(&mut self, chains: &Chains) {
        for row in 0..self.alive.len() {
            let span = row * chains.width..(row + 1) * chains.width;
            // Written such that a position that is not a number stops, too.
            if !self.position[span].iter().all(|z| z.abs() < FARTHEST) {
                self.stop(chains, row);
            }
        }
    }

    /// Stops rows without a finite density or force.
    fn stop_divergent(&mut self, chains: &Chains, coefficients: [f64; 2]) {
        for row in 0..self.alive.len() {
            let span = row * chains.width..(row + 1) * chains.width;
            if !self.alive[row]
                || !self.values.log_density(coefficients, row).is_finite()
                || !self.force[span].iter().all(|f| f.is_finite())
            {
                self.stop(chains, row);
            }
        }
    }

    /// Rests a row at its starting point; it will be rejected. What stops a trajectory is seen on
    /// the way there if and only if it is seen on the way back, so the chain stays reversible.
    fn stop(&mut self, chains: &Chains, row: usize) {
        let span = row * chains.width..(row + 1) * chains.width;
        self.alive[row] = false;
        self.force[span.clone()].fill(0.0);
        self.momentum[span.clone()].fill(0.0);
        self.position[span.clone()].copy_from_slice(&chains.position[span]);
    }
}

/// A trajectory whose coordinates pass this has diverged: it is stopped before an energy or a flow
/// in single precision overflows there.
const FARTHEST: f64 = 1e6;

/// Length of one trajectory.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Leapfrog {
    /// Time step ε; the mass is 1.
    pub step_size: f64,
    /// Steps L; each costs one evaluation of every density.
    pub steps: usize,
}

/// One Hamiltonian transition of every chain, each from its own stream, that leaves
/// γ = ∏ f_c^λ_c invariant, λ being `coefficients`.
///
/// Momenta are N(0, I) on the subspace, positions stay on it. A trajectory that meets a non-finite
/// value, or runs a million units of length away, is a rejection. Returns each chain's acceptance
/// probability, `[rows]`.
///
/// # Errors
/// [`EvaluationError::Fatal`]; [`EvaluationError::Stopped`] if the program is to stop.
pub fn transition<'w>(
    path: &GeometricPath<'_>,
    coefficients: [f64; 2],
    leapfrog: Leapfrog,
    chains: &mut Chains,
    rngs: &mut [ChaCha8Rng],
    workspace: &'w mut Workspace,
) -> Result<&'w [f64], EvaluationError> {
    work::check()?;
    let width = chains.width;
    let ws = workspace;
    ws.resize(chains.rows(), width);
    ws.position.copy_from_slice(&chains.position);
    for (momentum, rng) in ws.momentum.chunks_exact_mut(width).zip(rngs.iter_mut()) {
        for p in momentum {
            *p = StandardNormal.sample(rng);
        }
    }
    path.subspace.project(&mut ws.momentum);
    for (row, momentum) in ws.momentum.chunks_exact(width).enumerate() {
        let log_density = chains.values.log_density(coefficients, row);
        ws.alive[row] = log_density.is_finite();
        ws.start[row] = log_density - kinetic_energy(momentum);
        ws.values.copy_row(row, &chains.values, row, width);
    }

    ws.values.gradient(coefficients, &mut ws.force);
    path.subspace.project(&mut ws.force);
    ws.stop_divergent(chains, coefficients);
    for _ in 0..leapfrog.steps {
        add_scaled(0.5 * leapfrog.step_size, &ws.force, &mut ws.momentum);
        add_scaled(leapfrog.step_size, &ws.momentum, &mut ws.position);
        // Exact arithmetic would stay on the subspace; this keeps rounding from adding up.
        path.subspace.project(&mut ws.position);
        ws.stop_runaway(chains);
        ws.values.evaluate(path, &ws.position, &mut chains.effort)?;
        ws.values.gradient(coefficients, &mut ws.force);
        path.subspace.project(&mut ws.force);
        ws.stop_divergent(chains, coefficients);
        add_scaled(0.5 * leapfrog.step_size, &ws.force, &mut ws.momentum);
    }

    for (row, rng) in rngs.iter_mut().enumerate().take(ws.alive.len()) {
        let uniform: f64 = rng.gen();
        let momentum = &ws.momentum[row * width..(row + 1) * width];
        let end = ws.values.log_density(coefficients, row) - kinetic_energy(momentum);
        let gain = end - ws.start[row];
        ws.acceptance[row] =
            if ws.alive[row] && !gain.is_nan() { gain.exp().min(1.0) } else { 0.0 };
        if uniform < ws.acceptance[row] {
            let span = row * width..(row + 1) * width;
            chains.position[span.clone()].copy_from_slice(&ws.position[span]);
            chains.values.copy_row(row, &ws.values, row, width);
        }
    }
    Ok(&ws.acceptance)
}

fn kinetic_energy(momentum: &[f64]) -> f64 {
    0.5 * momentum.iter().map(|p| p * p).sum::<f64>()
}

fn add_scaled(factor: f64, from: &[f64], to: &mut [f64]) {
    for (to, from) in to.iter_mut().zip(from) {
        *to += factor * from;
    }
}

/// A step size that follows a target acceptance: log ε ← log ε + g (acceptance − target).
///
/// The gain g decays as in Robbins & Monro (1951) to settle quickly, but not to zero: while a flow
/// trains, what the chains walk on keeps changing.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct StepSize {
    log_step: f64,
    updates: f64,
}

impl StepSize {
    /// The acceptance that is best for Hamiltonian Monte Carlo in high dimension
    /// (Beskos et al., Bernoulli 19 (2013)).
    pub const TARGET: f64 = 0.65;

    /// Starts at `step`.
    pub fn new(step: f64) -> Self {
        Self { log_step: step.ln(), updates: 0.0 }
    }

    /// The step size ε.
    pub fn get(&self) -> f64 {
        self.log_step.exp()
    }

    /// Moves towards the target, given the mean acceptance probability of a transition.
    pub fn adapt(&mut self, acceptance: f64) {
        if acceptance.is_finite() {
            let gain = (2.0 * (1.0 + self.updates).powf(-0.6)).max(0.1);
            self.log_step += gain * (acceptance - Self::TARGET);
            self.updates += 1.0;
        }
    }
}
