//! Adam over the flat parameter vector, its learning rate, the guard against outlying gradients,
//! and the averaged weights.
//!
//! dfdx's own Adam keeps its moments private, so it could not be checkpointed.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::saved::Walk;
use super::soap::{Rotations, Rule};
use crate::error::Error;
use crate::flow::ParameterLayout;
use crate::limits::{count, number, positive};

/// Step size of the optimizer: a linear warm-up from `initial` to `peak`, then a cosine down to
/// `final` at the last step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LearningRate {
    /// At the first step (default 2e-5).
    pub initial: f64,
    /// After the warm-up (default 2e-4).
    pub peak: f64,
    // `final` is a reserved word of Rust.
    /// At the last step (default 2e-5).
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

impl LearningRate {
    /// The learning rate of `step`, counted from 0, of a training of `steps`.
    pub fn at(&self, step: u64, steps: u64) -> f64 {
        let warm_up = (self.warm_up_steps as u64).min(steps);
        if step < warm_up {
            return self.initial + (self.peak - self.initial) * step as f64 / warm_up as f64;
        }
        let rest = (steps - warm_up).saturating_sub(1).max(1) as f64;
        let done = ((step - warm_up) as f64 / rest).min(1.0);
        let cosine = 0.5 * (1.0 + (std::f64::consts::PI * done).cos());
        self.last + (self.peak - self.last) * cosine
    }

    pub(super) fn validate(&self) -> Result<(), Error> {
        number("train.learning_rate.initial", self.initial, 0.0..=1.0)?;
        positive("train.learning_rate.peak", self.peak, 1.0)?;
        number("train.learning_rate.final", self.last, 0.0..=1.0)?;
        count("train.learning_rate.warm_up_steps", self.warm_up_steps, 0..=1_000_000_000)
    }
}

/// How a gradient becomes a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// Adam (Kingma & Ba, arXiv:1412.6980).
    #[default]
    Adam,
    /// SOAP: Adam in the eigenbases of each weight matrix's gradients (Vyas et al.,
    /// arXiv:2409.11321).
    Soap,
    /// SOAP, halfway to the natural gradient: steps are longer where gradients are small, and
    /// shorter where they are large.
    Natural,
}

impl Method {
    /// The bases of the weight matrices of a flow that it works in.
    fn rotations(self, layout: &ParameterLayout) -> Rotations {
        match self {
            Self::Adam => Rotations::default(),
            Self::Soap | Self::Natural => Rotations::new(layout),
        }
    }
}

/// Adam (Kingma & Ba, arXiv:1412.6980), in the bases of [`Rotations`] if there are any: SOAP.
///
/// With the moments m and v of gradients, a step is along m/√v. The natural gradient is m/F, with
/// the Fisher information F that the second moments of gradients are in proportion to: m/v in their
/// eigenbases. [`Method::Natural`] steps along m/√v · (s/√v)^½, where s² is the mean of v over all
/// parameters and s/√v counts as 1/30 to 30: m/v^¾, in proportion to what Adam does where gradients
/// are as large as most.
#[derive(Debug, Clone, PartialEq)]
pub struct Adam {
    method: Method,
    /// First moments.
    pub mean: Vec<f32>,
    /// Second moments, in the bases of `rotations`.
    pub square: Vec<f32>,
    /// Bases of the weight matrices.
    pub rotations: Rotations,
    /// Updates so far.
    pub updates: u64,
}

impl Adam {
    const BETAS: [f64; 2] = [0.9, 0.999];
    /// Those of the article on SOAP.
    const ROTATED_BETAS: [f64; 2] = [0.95, 0.95];
    const EPSILON: f64 = 1e-8;

    /// Moments at zero for the parameters of `layout`.
    pub fn new(method: Method, layout: &ParameterLayout) -> Self {
        let zeros = vec![0.0; layout.total()];
        let rotations = method.rotations(layout);
        Self { method, mean: zeros.clone(), square: zeros, rotations, updates: 0 }
    }

    /// Lists what is saved.
    pub(super) fn list(&mut self, walk: &mut Walk<'_>) -> Result<(), String> {
        walk.single("optimizer.mean", &mut self.mean)?;
        walk.single("optimizer.square", &mut self.square)?;
        let mut numbers = self.rotations.numbers();
        walk.single("optimizer.rotations", &mut numbers)?;
        if walk.is_loading() {
            self.rotations.set_numbers(&numbers);
        }
        walk.value("optimizer.updates", &mut self.updates)
    }

    /// One update; `scale` multiplies the gradient first.
    pub fn update(&mut self, theta: &mut [f32], gradient: &[f32], scale: f64, learning_rate: f64) {
        self.updates += 1;
        let turned = !self.rotations.is_empty();
        let [beta_1, beta_2] = if turned { Self::ROTATED_BETAS } else { Self::BETAS };
        let time = self.updates.min(i32::MAX as u64) as i32;
        let correction_1 = 1.0 - beta_1.powi(time);
        let correction_2 = 1.0 - beta_2.powi(time);
        let step = (learning_rate * correction_2.sqrt() / correction_1) as f32;
        let epsilon = (Self::EPSILON * correction_2.sqrt()) as f32;
        let (keep_1, keep_2) = (beta_1 as f32, beta_2 as f32);
        let scale = scale as f32;
        let gradient: Vec<f32> = gradient.iter().map(|g| g * scale).collect();
        for (mean, g) in self.mean.iter_mut().zip(&gradient) {
            *mean = keep_1 * *mean + (1.0 - keep_1) * g;
        }
        let typical = (self.method == Method::Natural).then(|| root_mean(&self.square));
        let rule = Rule { keep: keep_2, epsilon, typical };
        let direction =
            self.rotations.direct(&gradient, &self.mean, &mut self.square, rule, self.updates);
        for (theta, direction) in theta.iter_mut().zip(direction) {
            *theta -= step * direction;
        }
    }
}

fn root_mean(squares: &[f32]) -> f32 {
    let sum: f64 = squares.iter().map(|square| f64::from(*square)).sum();
    (sum / squares.len() as f64).sqrt() as f32
}

/// What became of a gradient.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Used as it is.
    Applied,
    /// Scaled down to the limit.
    Clipped,
    /// Not used: far too large, or not a number.
    Dropped,
}

/// What happens to a gradient that is far larger than the last ones: its norm is compared with the
/// median of theirs (the published FAB settings).
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

impl GradientClip {
    pub(super) fn validate(&self) -> Result<(), Error> {
        count("train.gradient_clip.window", self.window, 1..=100_000)?;
        number("train.gradient_clip.clip", self.clip, 1.0..=1e6)?;
        number("train.gradient_clip.drop", self.drop, self.clip..=1e9)
    }
}

/// The norms of the last gradients.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct GradientGuard {
    /// Oldest first.
    pub norms: VecDeque<f64>,
}

impl GradientGuard {
    /// Norms needed before anything is compared with them.
    const ENOUGH: usize = 10;

    /// The factor that a gradient of this norm is used with, and what that means. A finite norm is
    /// remembered, even of a dropped gradient: a lasting change of scale must move the median.
    pub fn judge(&mut self, norm: f64, options: &GradientClip) -> (f64, Outcome) {
        if !norm.is_finite() {
            return (0.0, Outcome::Dropped);
        }
        let median = (self.norms.len() >= Self::ENOUGH).then(|| self.median());
        self.norms.push_back(norm);
        while self.norms.len() > options.window {
            self.norms.pop_front();
        }
        match median {
            Some(median) if norm > options.drop * median => (0.0, Outcome::Dropped),
            Some(median) if norm > options.clip * median => {
                (options.clip * median / norm, Outcome::Clipped)
            }
            _ => (1.0, Outcome::Applied),
        }
    }

    fn median(&self) -> f64 {
        let mut sorted: Vec<f64> = self.norms.iter().copied().collect();
        sorted.sort_by(f64::total_cmp);
        let middle = sorted.len() / 2;
        if sorted.len().is_multiple_of(2) {
            0.5 * (sorted[middle - 1] + sorted[middle])
        } else {
            sorted[middle]
        }
    }
}

/// Moves `average` towards `theta`; early updates weigh more, so that the start is forgotten.
pub(super) fn update_average(average: &mut [f32], theta: &[f32], decay: f64, updates: u64) {
    let decay = decay.min((1.0 + updates as f64) / (10.0 + updates as f64)) as f32;
    for (average, theta) in average.iter_mut().zip(theta) {
        *average = decay * *average + (1.0 - decay) * theta;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::Initial;

    #[test]
    fn the_learning_rate_warms_up_and_ends_at_its_last_rate() {
        let rate = LearningRate { initial: 0.1, peak: 1.0, last: 0.2, warm_up_steps: 10 };
        assert_eq!(rate.at(0, 111), 0.1);
        assert!((rate.at(10, 111) - 1.0).abs() < 1e-12);
        assert!((rate.at(110, 111) - 0.2).abs() < 1e-12);
        assert!((rate.at(60, 111) - 0.6).abs() < 1e-12);
        let short = LearningRate { warm_up_steps: 1000, ..rate };
        assert!(short.at(110, 111) <= 1.0);
    }

    /// One vector of two parameters.
    fn both() -> ParameterLayout {
        let mut layout = ParameterLayout::default();
        layout.vector("both", 2, Initial::Constant(0.0));
        layout
    }

    #[test]
    fn adam_finds_the_minimum_of_a_badly_scaled_quadratic() {
        let mut theta = [3.0f32, -2.0];
        let mut adam = Adam::new(Method::Adam, &both());
        for _ in 0..3000 {
            let gradient = [200.0 * theta[0], 0.02 * (theta[1] - 1.0)];
            adam.update(&mut theta, &gradient, 1.0, 1e-2);
        }
        assert!(theta[0].abs() < 1e-3 && (theta[1] - 1.0).abs() < 1e-3, "{theta:?}");
    }

    /// Steps of gradients that are ±`sizes`, after their moments have settled.
    fn steps(method: Method, sizes: [f32; 2]) -> [f32; 2] {
        let mut adam = Adam::new(method, &both());
        let mut theta = [0.0; 2];
        for _ in 0..20_000 {
            theta = [0.0; 2];
            adam.update(&mut theta, &sizes, 1.0, 1.0);
        }
        theta.map(|step| -step)
    }

    #[test]
    fn steps_of_the_natural_kind_are_longer_where_gradients_are_small() {
        for size in [1e-3, 1.0, 1e3] {
            // s² is the mean of v: (s/√v)^½ for gradients in the ratio 1 to 16.
            let s = (0.5 * (1.0 + 256.0f32)).sqrt();
            let [soft, stiff] = steps(Method::Natural, [size, 16.0 * size]);
            let near = |step: f32, expected: f32| (step / expected - 1.0).abs() < 1e-3;
            assert!(near(soft, s.sqrt()) && near(stiff, (s / 16.0).sqrt()), "{soft} {stiff}");
            // Planted: Adam's, which do not depend on the size.
            let [soft, stiff] = steps(Method::Adam, [size, 16.0 * size]);
            assert!(near(soft, 1.0) && near(stiff, 1.0));
        }
        // No step is longer than this.
        assert!((steps(Method::Natural, [1e-3, 1.0])[0] / 30.0f32.sqrt() - 1.0).abs() < 1e-3);
        assert_eq!(steps(Method::Natural, [0.0, 1.0])[0], 0.0);
    }

    #[test]
    fn the_guard_drops_clips_and_forgets() {
        let options = GradientClip { window: 20, clip: 2.0, drop: 10.0 };
        let mut guard = GradientGuard::default();
        for _ in 0..20 {
            assert_eq!(guard.judge(1.0, &options).1, Outcome::Applied);
        }
        assert_eq!(guard.judge(f64::NAN, &options).1, Outcome::Dropped);
        assert_eq!(guard.judge(11.0, &options).1, Outcome::Dropped);
        let (factor, outcome) = guard.judge(4.0, &options);
        assert_eq!(outcome, Outcome::Clipped);
        assert!((factor * 4.0 - 2.0).abs() < 1e-12);
        for _ in 0..20 {
            guard.judge(100.0, &options);
        }
        assert_eq!(guard.judge(100.0, &options).1, Outcome::Applied);
    }
}
