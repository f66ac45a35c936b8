//! Long work: what it is, how far it is, and whether it is to stop.
//!
//! All that is here belongs to the process. Nothing that is computed depends on it.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crate::error::{Error, EvaluationError};

static STOP: LazyLock<Arc<AtomicBool>> = LazyLock::new(Arc::default);
static SIGNAL: LazyLock<Arc<AtomicUsize>> = LazyLock::new(Arc::default);
static NOW: Mutex<Option<Job>> = Mutex::new(None);
static DONE: AtomicUsize = AtomicUsize::new(0);
static PARTS: AtomicUsize = AtomicUsize::new(0);

/// Lets all work stop at the first of `signals`; a second SIGINT ends the process at once with
/// `exit_code`.
///
/// # Errors
/// [`Error::Run`] if the system refuses.
pub fn stop_at(signals: &[i32], exit_code: u8) -> Result<(), Error> {
    let failed = |e| Error::Run(format!("cannot listen to signals: {e}"));
    let interrupt = signal_hook::consts::SIGINT;
    signal_hook::flag::register_conditional_shutdown(interrupt, exit_code.into(), STOP.clone())
        .map_err(failed)?;
    for &signal in signals {
        signal_hook::flag::register_usize(signal, SIGNAL.clone(), signal as usize)
            .map_err(failed)?;
        signal_hook::flag::register(signal, STOP.clone()).map_err(failed)?;
    }
    Ok(())
}

/// Ends all work of this process soon, on whatever thread it is: trainings stop with a checkpoint,
/// everything else with [`Error::Stopped`], until [`end_interrupt`]. For programs that get signals
/// in their own way, such as an interpreter.
pub fn interrupt() {
    STOP.store(true, Ordering::Relaxed);
}

/// Lets work go on again after [`interrupt`].
pub fn end_interrupt() {
    STOP.store(false, Ordering::Relaxed);
}

/// Whether work is to stop.
pub fn is_stopped() -> bool {
    STOP.load(Ordering::Relaxed)
}

/// The number of the signal at which work is to stop; 0 if there was none.
pub fn signal() -> usize {
    SIGNAL.load(Ordering::Relaxed)
}

/// "stopped by SIGINT", for the number of a signal.
pub fn stopped_by(signal: usize) -> String {
    let name = i32::try_from(signal).ok().and_then(signal_hook::low_level::signal_name);
    format!("stopped by {}", name.unwrap_or("a signal"))
}

/// For loops that take long, wherever a failed evaluation may end them, too.
///
/// # Errors
/// [`EvaluationError::Stopped`] if work is to stop.
pub fn check() -> Result<(), EvaluationError> {
    if is_stopped() {
        return Err(EvaluationError::Stopped(stopped_by(signal())));
    }
    Ok(())
}

/// What is being done, until this value is dropped.
#[must_use]
pub struct Work {
    before: Option<Job>,
}

#[derive(Clone)]
struct Job {
    what: String,
    since: Instant,
}

fn job() -> MutexGuard<'static, Option<Job>> {
    NOW.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Begins `what`, "drawing samples" for example; what was being done goes on afterwards.
pub fn begin(what: impl Into<String>) -> Work {
    let job_now = Job { what: what.into(), since: Instant::now() };
    begin_parts(0);
    Work { before: job().replace(job_now) }
}

impl Work {
    /// Says anew what is being done, "drawing samples 1 to 100" for example.
    pub fn rename(&self, what: String) {
        if let Some(job) = job().as_mut() {
            job.what = what;
        }
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        begin_parts(0);
        *job() = self.before.take();
    }
}

/// The work of this process now has so many parts, none of which is done.
pub fn begin_parts(parts: usize) {
    DONE.store(0, Ordering::Relaxed);
    PARTS.store(parts, Ordering::Relaxed);
}

/// Another part is done.
pub fn part_done() {
    DONE.fetch_add(1, Ordering::Relaxed);
}

/// How far the work is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    /// What is being done.
    pub what: String,
    /// Since when.
    pub since: Instant,
    /// Parts that are done, and all parts; 0 where there are none.
    pub parts: (usize, usize),
}

/// What is being done, if anything is.
pub fn now() -> Option<State> {
    let Job { what, since } = job().clone()?;
    let parts = (DONE.load(Ordering::Relaxed), PARTS.load(Ordering::Relaxed));
    Some(State { what, since, parts })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_signals() {
        assert_eq!(stopped_by(signal_hook::consts::SIGTERM as usize), "stopped by SIGTERM");
        assert_eq!(stopped_by(0), "stopped by a signal");
    }
}
