//! One line that follows a training on a terminal, plain lines elsewhere.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use super::output::{say, warn};
use crate::evaluation::{Figure, Unit};
use crate::session::Progress;

/// Seconds between plain lines that have no evaluation.
const PLAIN_EVERY: Duration = Duration::from_secs(60);

pub(super) struct ProgressLine {
    steps: u64,
    batch: usize,
    bar: Option<ProgressBar>,
    ess: String,
    last: Instant,
    first: Option<(Instant, u64)>,
}

impl ProgressLine {
    pub fn new(steps: u64, batch: usize) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::new(steps);
            if let Ok(style) = ProgressStyle::with_template("{bar:24} {pos}/{len} {msg}") {
                bar.set_style(style);
            }
            bar
        });
        Self { steps, batch, bar, ess: "not yet known".into(), last: Instant::now(), first: None }
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
                let mark = if evaluation.rests_on_few(figure) { "(!)" } else { "" };
                figure.value(evaluation).map(|ess| Unit::Fraction.text(ess, 2) + mark)
            };
            self.ess = text(Figure::ReverseEss).unwrap_or_default();
            if let Some(forward) = text(Figure::ForwardEss) {
                self.ess += &format!(" (forward {forward})");
            }
        }
        let left = if pace > 0.0 {
            time((self.steps.saturating_sub(step)) as f64 / pace)
        } else {
            "?".into()
        };
        let message = format!(
            "loss {:.3}  ESS {}  {:.2} steps/s of {}  {left} left",
            progress.report.loss, self.ess, pace, self.batch,
        );
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

    pub fn finish(self) {
        if let Some(bar) = self.bar {
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
