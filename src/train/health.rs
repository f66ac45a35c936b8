//! Divergence: seen in the loss, answered by the last good parameters and smaller steps.
//!
//! A step is suspicious when its loss or gradient is not finite, or its loss lies far above the
//! median of the last unsuspicious ones in units of their spread (or absurdly far below). Suspicious losses do not enter
//! that median, so it cannot follow a divergence up. Enough of them in a row are a divergence; single
//! outliers, which heavy-tailed energies have, are none.
//!
//! All of this counts steps and is saved with the training state, so an interruption changes nothing.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::optimizer::{Adam, GradientGuard};
use super::problem::StepReport;
use super::state::{DescentOptions, TrainingState};
use crate::sampling::StepSizes;

/// Losses that a new one is compared with, at most and at least.
const WINDOW: usize = 100;
const ENOUGH: usize = 10;
/// Spreads above the median from which on a loss is suspicious, and below it: a fast descent is
/// welcome, one without end is a flow that has lost its numbers.
const FAR: [f64; 2] = [10.0, 1000.0];
/// A spread is taken for no less than this, in nats.
const LEAST_SPREAD: f64 = 0.1;
/// Suspicious steps in a row that are a divergence.
const PATIENCE: u32 = 20;
/// Steps between two saved good states.
const SAVE_EVERY: u64 = 100;
/// A state whose losses lie this many spreads above those of the last good one is not good.
const WORSE: f64 = 3.0;
/// Roll-backs of a run; the next divergence ends it.
const MOST_ROLLBACKS: u32 = 5;
/// Each of them multiplies the learning rate by this.
const SLOWER: f64 = 0.5;

/// What a roll-back restores.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GoodState {
    /// The flow's parameters.
    #[serde(skip)]
    pub theta: Vec<f32>,
    /// Their moving average.
    #[serde(skip)]
    pub average: Vec<f32>,
    /// The optimizer.
    pub optimizer: Adam,
    guard: GradientGuard,
    step_sizes: StepSizes,
    losses: VecDeque<f64>,
}

/// The losses that were seen, and the way back.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Health {
    /// Last unsuspicious losses, oldest first.
    losses: VecDeque<f64>,
    /// Suspicious steps up to now, without a break.
    suspicious: u32,
    /// Roll-backs so far.
    pub rollbacks: u32,
    /// The step after which the newer good state was saved or restored.
    saved_at: u64,
    /// The older and the newer good state. A roll-back goes to the older one, since a divergence may
    /// have begun unseen before the newer one.
    pub good: [GoodState; 2],
}

/// What a training step means for the training.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    /// Nothing is to be done.
    Continue,
    /// The state is worth keeping: [`TrainingState::save_good`].
    Good,
    /// The training has diverged, as the sentence says: [`TrainingState::roll_back`].
    Diverged(String),
    /// It has diverged too often, as the sentence says, and must end.
    Hopeless(String),
}

impl Health {
    /// The way back to the start of a training.
    pub(super) fn new(theta: &[f32], optimizer: &Adam, step_sizes: &StepSizes) -> Self {
        let good = GoodState {
            theta: theta.to_vec(),
            average: theta.to_vec(),
            optimizer: optimizer.clone(),
            guard: GradientGuard::default(),
            step_sizes: step_sizes.clone(),
            losses: VecDeque::new(),
        };
        let good = [good.clone(), good];
        Self { losses: VecDeque::new(), suspicious: 0, rollbacks: 0, saved_at: 0, good }
    }

    /// Median and spread (1.4826 × the median deviation, as σ of a normal distribution) of losses, once
    /// there are enough.
    fn usual(losses: &VecDeque<f64>) -> Option<(f64, f64)> {
        let median = |mut values: Vec<f64>| {
            values.sort_by(f64::total_cmp);
            values[values.len() / 2]
        };
        (losses.len() >= ENOUGH).then(|| {
            let center = median(losses.iter().copied().collect());
            let deviation = median(losses.iter().map(|l| (l - center).abs()).collect());
            (center, (1.4826 * deviation).max(LEAST_SPREAD))
        })
    }

    /// Losses from now on are of another kind: those so far do not tell what is usual.
    pub(super) fn forget(&mut self) {
        self.losses.clear();
        for good in &mut self.good {
            good.losses.clear();
        }
    }

    fn judge(&mut self, step: u64, report: &StepReport, nonfinite_weights: u64) -> Verdict {
        let finite = report.loss.is_finite() && report.gradient_norm.is_finite();
        let usual = Self::usual(&self.losses);
        let far = usual.is_some_and(|(center, spread)| {
            let distance = (report.loss - center) / spread;
            !(-FAR[1]..=FAR[0]).contains(&distance)
        });
        if finite && !far {
            self.suspicious = 0;
            self.losses.push_back(report.loss);
            if self.losses.len() > WINDOW {
                self.losses.pop_front();
            }
            // At the start the usual losses are not known yet.
            if self.losses.len() == ENOUGH {
                for start in self.good.iter_mut().filter(|good| good.losses.is_empty()) {
                    start.losses = self.losses.clone();
                }
            }
            let due = step >= self.saved_at + SAVE_EVERY && self.is_good();
            return if due { Verdict::Good } else { Verdict::Continue };
        }
        self.suspicious += 1;
        if self.suspicious < PATIENCE {
            return Verdict::Continue;
        }
        let seen = match usual {
            Some((center, spread)) if finite => format!(
                "the loss was {center:.2} ± {spread:.2} and is {:.4e} after {PATIENCE} steps that far \
                 off",
                report.loss
            ),
            _ => format!(
                "no usable loss or gradient in the last {PATIENCE} steps; {nonfinite_weights} samples \
                 had no finite weight so far"
            ),
        };
        if self.rollbacks == MOST_ROLLBACKS {
            return Verdict::Hopeless(format!(
                "the training diverges at step {step}, after {MOST_ROLLBACKS} returns to earlier \
                 parameters with an ever smaller learning rate, now {:.1e}: {seen}. Lower \
                 train.learning_rate.peak, or soften the start",
                report.learning_rate
            ));
        }
        Verdict::Diverged(format!(
            "diverged at step {step}: {seen}. Back to the last good parameters, with half the learning \
             rate (roll-back {} of at most {MOST_ROLLBACKS})",
            self.rollbacks + 1
        ))
    }

    /// Whether the losses are no worse than when the last good state was saved.
    fn is_good(&self) -> bool {
        match (Self::usual(&self.losses), Self::usual(&self.good[1].losses)) {
            (Some((now, _)), Some((then, spread))) => now <= then + WORSE * spread,
            _ => true,
        }
    }
}

impl TrainingState {
    /// Learning rate of the next step: that of the options, halved by every roll-back.
    pub fn learning_rate(&self, options: &DescentOptions) -> f64 {
        options.learning_rate.at(self.step, options.steps as u64)
            * SLOWER.powi(self.health.rollbacks as i32)
    }

    /// What the step that was just done, and is counted in `step`, means: only the losses that the verdict
    /// rests on change.
    pub fn judge(&mut self, report: &StepReport) -> Verdict {
        self.health.judge(self.step, report, self.nonfinite_weights)
    }

    /// Keeps the state as the one that a later roll-back returns to, after [`Verdict::Good`].
    pub fn save_good(&mut self) {
        let good = GoodState {
            theta: self.theta.clone(),
            average: self.average.clone(),
            optimizer: self.optimizer.clone(),
            guard: self.guard.clone(),
            step_sizes: self.step_sizes.clone(),
            losses: self.health.losses.clone(),
        };
        self.health.good.swap(0, 1);
        self.health.good[1] = good;
        self.health.saved_at = self.step;
    }

    /// Goes back to the last good parameters, moments and step sizes, after [`Verdict::Diverged`]. The
    /// buffer is emptied and the learning rate halved; steps and counts go on.
    pub fn roll_back(&mut self) {
        let GoodState { theta, average, optimizer, guard, step_sizes, losses } =
            self.health.good[0].clone();
        self.health.good[1] = self.health.good[0].clone();
        self.health.saved_at = self.step;
        self.health.losses = losses;
        self.health.suspicious = 0;
        self.health.rollbacks += 1;
        (self.theta, self.average, self.optimizer) = (theta, average, optimizer);
        (self.guard, self.step_sizes) = (guard, step_sizes);
        self.buffer.clear();
    }
}
