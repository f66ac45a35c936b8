//! Lines on standard output.
//!
//! `println!` panics when the pipe is closed (`boltzflow … | head`); here that is not an error,
//! since nothing reads the rest. A full disk behind a redirection is one.

use std::fmt::Arguments;
use std::io::{stderr, stdout, ErrorKind, Write};

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

/// Says that reference samples are about to be drawn.
pub(super) fn announce_reference(samples: usize) -> Result<(), Error> {
    line(format_args!("drawing {samples} reference samples, for the forward figures only"))
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
