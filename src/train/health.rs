//! Divergence of a training: it is detected from the loss, and the training then returns to good
//! parameters and takes smaller steps.
//!
//! A step is suspicious when its loss or gradient is not finite, or its loss lies far above the
//! median of the last unsuspicious ones in units of their spread (or absurdly far below).
//! Suspicious losses do not enter that median, so it cannot rise with a divergence. Enough of them
//! in a row are a divergence; single outliers, which heavy-tailed energies have, are not.
//!
//! All of this counts steps and is saved with the training state, so an interruption changes
//! nothing.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::problem::StepReport;

/// Losses that a new one is compared with, at most and at least.
const WINDOW: usize = 100;
const ENOUGH: usize = 10;
/// Spreads above the median from which on a loss is suspicious, and below it: a fast descent is
/// welcome, one without end is that of a flow whose densities mean nothing.
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

/// The losses so far, and what they mean for the training.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Health {
    /// Last unsuspicious losses, oldest first.
    losses: VecDeque<f64>,
    /// Suspicious steps up to now, without a break.
    suspicious: u32,
    /// Roll-backs so far.
    pub rollbacks: u32,
    /// The step after which the newer good state was saved or restored.
    saved_at: u64,
    /// The losses before each of the two good states.
    good_losses: [VecDeque<f64>; 2],
}

/// What a training step means for the training.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    /// Nothing is to be done.
    Continue,
    /// The state is worth keeping: `TrainingState::save_good`.
    Good,
    /// The training has diverged, for this reason: `TrainingState::roll_back`.
    Diverged(String),
    /// It has diverged too often and must end, for this reason.
    Hopeless(String),
}

impl Health {
    /// Median and spread (1.4826 × the median deviation, as σ of a normal distribution) of losses,
    /// once there are enough.
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

    /// Losses from now on are of another kind, so earlier ones cannot be compared with them.
    pub(super) fn forget(&mut self) {
        self.losses.clear();
        self.good_losses.iter_mut().for_each(VecDeque::clear);
    }

    /// What the step that has just been done, the last of `step`, means; only the memory of losses
    /// changes.
    pub(super) fn judge(
        &mut self,
        step: u64,
        report: &StepReport,
        nonfinite_weights: u64,
    ) -> Verdict {
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
                for start in self.good_losses.iter_mut().filter(|losses| losses.is_empty()) {
                    start.clone_from(&self.losses);
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
                "the loss was {center:.2} ± {spread:.2} and is {:.4e} after {PATIENCE} steps that \
                 far off",
                report.loss
            ),
            _ => format!(
                "no usable loss or gradient in the last {PATIENCE} steps; {nonfinite_weights} \
                 samples had no finite weight so far"
            ),
        };
        if self.rollbacks == MOST_ROLLBACKS {
            return Verdict::Hopeless(format!(
                "the training diverges at step {step}, after {MOST_ROLLBACKS} returns to earlier \
                 parameters with an ever smaller learning rate, now {:.1e}: {seen}. Lower \
                 train.learning_rate.peak; for reverse KL, set train.reverse_kl.core",
                report.learning_rate
            ));
        }
        Verdict::Diverged(format!(
            "diverged at step {step}: {seen}. Back to the last good parameters, with half the \
             learning rate (roll-back {} of at most {MOST_ROLLBACKS})",
            self.rollbacks + 1
        ))
    }

    /// Whether the losses are no worse than when the last good state was saved.
    fn is_good(&self) -> bool {
        match (Self::usual(&self.losses), Self::usual(&self.good_losses[1])) {
            (Some((now, _)), Some((then, spread))) => now <= then + WORSE * spread,
            _ => true,
        }
    }

    /// The state after `step` was saved as a good one.
    pub(super) fn saved(&mut self, step: u64) {
        self.good_losses.swap(0, 1);
        self.good_losses[1].clone_from(&self.losses);
        self.saved_at = step;
    }

    /// The older good state was restored after `step`.
    pub(super) fn rolled_back(&mut self, step: u64) {
        self.good_losses[1] = self.good_losses[0].clone();
        self.losses.clone_from(&self.good_losses[0]);
        self.saved_at = step;
        self.suspicious = 0;
        self.rollbacks += 1;
    }

    /// What the roll-backs so far multiply the learning rate by.
    pub(super) fn slow_down(&self) -> f64 {
        SLOWER.powi(self.rollbacks as i32)
    }
}
