//! Lines on standard output.
//!
//! `println!` panics when the pipe is closed (`boltzflow … | head`); here that is not an error,
//! since nothing reads the rest. A full disk behind a redirection is one.

use std::fmt::Arguments;
use std::io::{stderr, stdout, ErrorKind, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::error::Error;
use crate::parallel::team;

/// Writes a line, on rank 0.
///
/// # Errors
/// [`Error::Write`], unless the reader has gone.
pub(super) fn line(text: Arguments<'_>) -> Result<(), Error> {
    if !team().leads() {
        return Ok(());
    }
    let mut out = stdout().lock();
    match out.write_fmt(text).and_then(|()| out.write_all(b"\n")).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(Error::Write { path: "standard output".into(), source: error })
        }
        _ => Ok(()),
    }
}

/// Writes a warning on standard error, which may be closed.
pub(super) fn warn(text: &str) {
    let _ = writeln!(stderr(), "warning: {text}");
}

/// What `work` makes of each run. One that it can make nothing of is named on standard error and
/// left out, as long as there is another one. A collective operation.
///
/// # Errors
/// That of the last run, if there is none left; at once where no run is to blame.
pub(super) fn of_each<T>(
    runs: &[PathBuf],
    mut work: impl FnMut(&Path) -> Result<T, Error>,
) -> Result<Vec<T>, Error> {
    let (mut found, mut failed) = (Vec::new(), Vec::new());
    for run in runs {
        match team().agree(work(run)) {
            Ok(made) => found.push(made),
            Err(error @ (Error::Write { .. } | Error::Stopped(_))) => return Err(error),
            Err(error) => failed.push((run, error)),
        }
    }
    let last = if found.is_empty() { failed.pop() } else { None };
    for (run, error) in failed.iter().filter(|_| team().leads()) {
        warn(&format!("{} is left out: {error}", run.display()));
    }
    last.map_or(Ok(found), |(_, error)| Err(error))
}

/// Says that reference samples are about to be drawn.
pub(super) fn announce_reference(samples: usize) -> Result<(), Error> {
    line(format_args!("drawing {samples} reference samples, for the forward figures only"))
}

/// A command other than a training leaves nothing when it is stopped.
pub(super) fn stopped_early(why: &str) -> Error {
    Error::Stopped(format!("{why} before it was done: the same command begins again"))
}

/// Writes `value` as one JSON object.
///
/// # Errors
/// Those of [`line`].
pub(super) fn json(value: &impl Serialize) -> Result<(), Error> {
    let text = serde_json::to_string_pretty(value)
        .map_err(|e| Error::Run(format!("the result has no JSON form: {e}")))?;
    line(format_args!("{text}"))
}

/// [`line`] with a format string, as `println!`; the result is a `Result`.
macro_rules! say {
    ($($argument:tt)*) => { $crate::cli::output::line(format_args!($($argument)*)) };
}
pub(super) use say;

/// The words of a text in lines of at most `width` characters, or one word.
pub(super) fn lines(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.is_empty() => line.push_str(word),
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_string()),
        }
    }
    lines
}
