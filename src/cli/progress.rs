//! One line that follows a training, or other work that takes long, on a terminal; plain lines
//! elsewhere.

use std::io::{stderr, IsTerminal, Write};
use std::sync::mpsc::{channel, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use super::output::{say, stopped_early, warn, BARS};
use crate::error::Error;
use crate::evaluation::{Figure, Unit};
use crate::parallel::team;
use crate::session::Progress;
use crate::work;

/// Time between plain lines that have no evaluation.
const PLAIN_EVERY: Duration = Duration::from_secs(20);
/// Work that is done by then is not shown.
const SHOWN_AFTER: Duration = Duration::from_secs(2);
/// Between two looks at the work.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// Time for work to stop by itself; by then nothing that it does is of use.
const PATIENCE: Duration = Duration::from_millis(1500);

/// A line of `parts` on a terminal.
fn bar(parts: u64) -> ProgressBar {
    let bar = BARS.add(ProgressBar::new(parts));
    // What does not fit into the terminal's width is cut off.
    if let Ok(style) = ProgressStyle::with_template("{bar:12} {pos}/{len} {wide_msg}") {
        bar.set_style(style);
    }
    bar
}

pub(super) struct ProgressLine {
    steps: u64,
    bar: Option<ProgressBar>,
    found: String,
    last: Instant,
    first: Option<(Instant, u64)>,
}

impl ProgressLine {
    pub fn new(steps: u64) -> Self {
        let bar = stderr().is_terminal().then(|| bar(steps));
        Self { steps, bar, found: String::new(), last: Instant::now(), first: None }
    }

    pub fn update(&mut self, progress: &Progress) {
        let step = progress.step;
        let (start, first) = *self.first.get_or_insert((Instant::now(), step));
        let pace = (step - first) as f64 / start.elapsed().as_secs_f64().max(1e-9);
        if let Some(rollback) = &progress.rollback {
            warn(rollback);
        }
        if let Some(evaluation) = &progress.evaluation {
            let text = |figure: Figure| {
                let mark = if evaluation.is_marked(figure) { " (!)" } else { "" };
                figure.value(evaluation).map(|ess| Unit::Fraction.text(ess, 1) + mark)
            };
            let both = [Figure::ReverseEss, Figure::ForwardEss].into_iter().filter_map(text);
            self.found = match Figure::Nll.text(evaluation, 2) {
                Some(nll) if !evaluation.has_weights() => format!("NLL {nll}  "),
                _ => format!("ESS {}  ", both.collect::<Vec<_>>().join(" / ")),
            };
        }
        let left = self.steps.saturating_sub(step) as f64 / pace;
        let left = if left.is_finite() { time(left) } else { "?".into() };
        let message = format!(
            "{}loss {:.3}  {pace:.1} steps/s  {left} left",
            self.found, progress.report.loss
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
}

impl Drop for ProgressLine {
    /// Whatever comes next starts on a line of its own.
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// Shows long work while it lives.
pub(super) struct Watch {
    /// Whose end ends the thread.
    life: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Watch {
    fn drop(&mut self) {
        drop(self.life.take());
        self.thread.take().map(JoinHandle::join);
    }
}

/// Shows on rank 0 how far long work is. Where `may_end`, the process ends if the work does not
/// stop by itself soon after a signal.
///
/// # Errors
/// [`Error::Run`] if there are no threads left.
pub(super) fn watch(may_end: bool) -> Result<Watch, Error> {
    let (life, death) = channel();
    let shows = team().leads();
    let follow = move || {
        let (mut line, mut stopped) = (WorkLine::default(), None);
        while death.recv_timeout(LOOK_EVERY) == Err(RecvTimeoutError::Timeout) {
            if work::is_stopped() && may_end {
                let since: &mut Instant = stopped.get_or_insert_with(Instant::now);
                if since.elapsed() > PATIENCE {
                    line.update(None);
                    let why = stopped_early(&work::stopped_by(work::signal()));
                    let _ = writeln!(stderr(), "{why}");
                    std::process::exit(why.exit_code().into());
                }
            }
            if shows {
                line.update(work::now());
            }
        }
        line.update(None);
    };
    let thread = std::thread::Builder::new().name("progress".into()).spawn(follow);
    let thread = thread.map_err(|e| Error::Run(format!("cannot start a thread: {e}")))?;
    Ok(Watch { life: Some(life), thread: Some(thread) })
}

/// The line of work that takes long.
#[derive(Default)]
struct WorkLine {
    bar: Option<ProgressBar>,
    /// Since when there was what was printed last, and when that was, where there is no terminal.
    printed: Option<[Instant; 2]>,
}

impl WorkLine {
    fn update(&mut self, now: Option<work::State>) {
        let Some(now) = now.filter(|now| now.since.elapsed() > SHOWN_AFTER) else {
            if let Some(bar) = self.bar.take() {
                bar.finish_and_clear();
            }
            return;
        };
        let (done, parts) = now.parts;
        let after = time(now.since.elapsed().as_secs_f64());
        if stderr().is_terminal() {
            let bar = self.bar.get_or_insert_with(|| bar(0));
            bar.set_length(parts as u64);
            bar.set_position(done as u64);
            bar.set_message(format!("{}  {after}", now.what));
            return;
        }
        let is_new =
            |[since, when]: &[Instant; 2]| *since != now.since || when.elapsed() > PLAIN_EVERY;
        if self.printed.as_ref().is_none_or(is_new) {
            let parts = match parts {
                0 => String::new(),
                _ => format!(": {done} of {parts} parts"),
            };
            let _ = writeln!(stderr(), "{}{parts} after {after}", now.what);
            self.printed = Some([now.since, Instant::now()]);
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
