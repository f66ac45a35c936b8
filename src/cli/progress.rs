//! One line that follows a training on a terminal, plain lines elsewhere.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use super::output::{say, warn};
use crate::evaluation::{Figure, Unit};
use crate::session::Progress;

/// Time between plain lines that have no evaluation.
const PLAIN_EVERY: Duration = Duration::from_secs(20);

pub(super) struct ProgressLine {
    steps: u64,
    bar: Option<ProgressBar>,
    ess: String,
    last: Instant,
    first: Option<(Instant, u64)>,
}

impl ProgressLine {
    pub fn new(steps: u64) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::new(steps);
            // What does not fit into the terminal's width is cut off.
            if let Ok(style) = ProgressStyle::with_template("{bar:12} {pos}/{len} {wide_msg}") {
                bar.set_style(style);
            }
            bar
        });
        Self { steps, bar, ess: String::new(), last: Instant::now(), first: None }
    }

    pub fn update(&mut self, progress: &Progress) {
        let step = progress.step;
        let (start, first) = *self.first.get_or_insert((Instant::now(), step));
        let pace = (step - first) as f64 / start.elapsed().as_secs_f64().max(1e-9);
        if let Some(rollback) = &progress.rollback {
            match &self.bar {
                Some(bar) => bar.suspend(|| warn(rollback)),
                None => warn(rollback),
            }
        }
        if let Some(evaluation) = &progress.evaluation {
            let text = |figure: Figure| {
                let mark = if evaluation.is_marked(figure) { " (!)" } else { "" };
                figure.value(evaluation).map(|ess| Unit::Fraction.text(ess, 1) + mark)
            };
            let both = [Figure::ReverseEss, Figure::ForwardEss].into_iter().filter_map(text);
            self.ess = format!("ESS {}  ", both.collect::<Vec<_>>().join(" / "));
        }
        let left = self.steps.saturating_sub(step) as f64 / pace;
        let left = if left.is_finite() { time(left) } else { "?".into() };
        let message =
            format!("{}loss {:.3}  {pace:.1} steps/s  {left} left", self.ess, progress.report.loss);
        match &self.bar {
            Some(bar) => {
                bar.set_position(step);
                bar.set_message(message);
            }
            None if progress.evaluation.is_some() || self.last.elapsed() > PLAIN_EVERY => {
                self.last = Instant::now();
                // A training does not stop when its output cannot be written.
                let _ = say!("step {step}/{}  {message}", self.steps);
            }
            None => {}
        }
    }
}

impl Drop for ProgressLine {
    /// Whatever comes next starts on a line of its own.
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// 75 → "1 min 15 s".
pub(super) fn time(seconds: f64) -> String {
    let seconds = seconds.round() as u64;
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, s) => format!("{s} s"),
        (0, m, s) => format!("{m} min {s:02} s"),
        (h, m, _) => format!("{h} h {m:02} min"),
    }
}
