//! Lines on standard output.
//!
//! `println!` panics when the pipe is closed (`boltzflow … | head`); here that is not an error,
//! since nothing reads the rest. A full disk behind a redirection is one.

use std::fmt::Arguments;
use std::io::{stderr, stdout, ErrorKind, IsTerminal, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::error::Error;
use crate::parallel::team;

/// Columns of a line on a terminal.
const WIDTH: usize = 80;

/// Writes a line, on rank 0. A terminal gets it in lines of at most [`WIDTH`] columns; a pipe as it
/// is, for programs that look for it.
///
/// # Errors
/// [`Error::Write`], unless the reader has gone.
pub(super) fn line(text: Arguments<'_>) -> Result<(), Error> {
    if stdout().is_terminal() {
        return unfolded(&folded(&text.to_string(), WIDTH));
    }
    unfolded(&text.to_string())
}

/// Writes text for a program to read, such as a recipe, on rank 0.
///
/// # Errors
/// [`Error::Write`], unless the reader has gone.
pub(super) fn unfolded(text: &str) -> Result<(), Error> {
    if !team().leads() {
        return Ok(());
    }
    let mut out = stdout().lock();
    match writeln!(out, "{text}").and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(Error::Write { path: "standard output".into(), source: error })
        }
        _ => Ok(()),
    }
}

/// Writes a line on standard error, which may be closed.
pub(super) fn complain(text: &str) {
    let mut out = stderr();
    let _ = match out.is_terminal() {
        true => writeln!(out, "{}", folded(text, WIDTH)),
        false => writeln!(out, "{text}"),
    };
}

/// Writes a warning on standard error.
pub(super) fn warn(text: &str) {
    complain(&format!("warning: {text}"));
}

/// A text with lines of at most `width` characters, or one word: longer ones go on in the next
/// line, further right by two columns. Spaces within a line stay as they are.
fn folded(text: &str, width: usize) -> String {
    let mut out = String::new();
    for (number, line) in text.split('\n').enumerate() {
        if number > 0 {
            out.push('\n');
        }
        let indent = line.len() - line.trim_start().len();
        let (mut rest, mut margin) = (line, String::new());
        loop {
            let room = width.saturating_sub(margin.len());
            // Where a line of this length ends, if it is longer.
            let end = rest.char_indices().nth(room).map(|(end, _)| end);
            let first = rest.len() - rest.trim_start().len();
            let cut = end.and_then(|end| {
                let space = |at: &usize| *at > first;
                let before = rest[..=end].rfind(' ').filter(space);
                before.or_else(|| rest[end..].find(' ').map(|after| end + after))
            });
            out.push_str(&margin);
            let Some(cut) = cut else {
                out.push_str(rest);
                break;
            };
            out.push_str(rest[..cut].trim_end());
            out.push('\n');
            rest = rest[cut..].trim_start();
            margin = " ".repeat(indent + 2);
        }
    }
    out
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
/// Those of [`unfolded`].
pub(super) fn json(value: &impl Serialize) -> Result<(), Error> {
    let text = serde_json::to_string_pretty(value)
        .map_err(|e| Error::Run(format!("the result has no JSON form: {e}")))?;
    unfolded(&text)
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

#[cfg(test)]
mod tests {
    use super::folded;

    #[test]
    fn long_lines_go_on_below_and_columns_stay() {
        let text = "one  two\nthree four five six seven\n  far in, and on\nétéétéétéété";
        let want = "one  two\nthree four\n  five six\n  seven\n  far in,\n    and on\n\
                    étéétéétéété";
        assert_eq!(folded(text, 10), want);
        assert_eq!(folded("exactly 10", 10), "exactly 10");
        assert_eq!(folded("longer_than_ten a", 10), "longer_than_ten\n  a");
        assert_eq!(folded("", 10), "");
    }
}
