//! Lines on standard output.
//!
//! `println!` panics when the pipe is closed (`boltzflow … | head`); here that is not an error,
//! since nothing reads the rest. A full disk behind a redirection is one.

use std::fmt::Arguments;
use std::io::{stderr, stdout, ErrorKind, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use indicatif::MultiProgress;
use serde::Serialize;

use crate::error::Error;
use crate::parallel::team;

/// Columns of a line on a terminal.
const WIDTH: usize = 80;

/// The lines of progress on a terminal. Other lines go above them: what writes one hides them
/// until it is done.
pub(super) static BARS: LazyLock<MultiProgress> = LazyLock::new(MultiProgress::new);

/// Writes a line, on rank 0. A terminal gets it in lines of at most [`WIDTH`] columns; a pipe as it
/// is, for programs that look for it.
///
/// # Errors
/// [`Error::Write`], unless the reader has gone.
pub(super) fn line(text: Arguments<'_>) -> Result<(), Error> {
    unfolded(&fitted(text.to_string(), &stdout()))
}

/// Writes text for a program to read, such as a recipe, on rank 0.
///
/// # Errors
/// [`Error::Write`], unless the reader has gone.
pub(super) fn unfolded(text: &str) -> Result<(), Error> {
    if !team().leads() {
        return Ok(());
    }
    let write = || {
        let mut out = stdout().lock();
        writeln!(out, "{text}").and_then(|()| out.flush())
    };
    match BARS.suspend(write) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(Error::Write { path: "standard output".into(), source: error })
        }
        _ => Ok(()),
    }
}

/// Writes a line on standard error, which may be closed.
pub(super) fn complain(text: &str) {
    let _ = BARS.suspend(|| writeln!(stderr(), "{}", fitted(text.to_string(), &stderr())));
}

/// Writes a warning on standard error.
pub(super) fn warn(text: &str) {
    complain(&format!("warning: {text}"));
}

/// `text` as it is written to `out`.
fn fitted(text: String, out: &impl IsTerminal) -> String {
    if out.is_terminal() {
        folded(&text, WIDTH)
    } else {
        text
    }
}

/// A text with lines of at most `width` characters, or one word: longer ones go on in the next
/// line, further right by two columns. Spaces within a line stay as they are.
fn folded(text: &str, width: usize) -> String {
    let fold = |line: &str| {
        let indent = line.len() - line.trim_start().len();
        let (first, mut left) = begin(line, width);
        let mut out = first.to_string();
        while let Some(rest) = left {
            let (next, more) = begin(rest, width.saturating_sub(indent + 2));
            out += &format!("\n{:1$}{next}", "", indent + 2);
            left = more;
        }
        out
    };
    text.split('\n').map(fold).collect::<Vec<_>>().join("\n")
}

/// What of `text` stands in a line of at most `width` characters, or its first word; and the rest
/// of its words.
fn begin(text: &str, width: usize) -> (&str, Option<&str>) {
    let Some((end, _)) = text.char_indices().nth(width) else { return (text, None) };
    let indent = text.len() - text.trim_start().len();
    let spaces = || text.match_indices(' ').map(|(at, _)| at).filter(|at| *at > indent);
    let cut = spaces().take_while(|at| *at <= end).last().or_else(|| spaces().find(|at| *at > end));
    cut.map_or((text, None), |cut| (text[..cut].trim_end(), Some(text[cut..].trim_start())))
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
    let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let (first, mut left) = begin(&words, width);
    let mut lines = vec![first.to_string()];
    while let Some(rest) = left {
        let (next, more) = begin(rest, width);
        lines.push(next.to_string());
        left = more;
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::{folded, lines};

    #[test]
    fn long_lines_go_on_below_and_columns_stay() {
        let text = "one  two\nthree four five six seven\n  far in, and on\nétéétéétéété";
        let want = "one  two\nthree four\n  five six\n  seven\n  far in,\n    and on\n\
                    étéétéétéété";
        assert_eq!(folded(text, 10), want);
        assert_eq!(folded("exactly 10", 10), "exactly 10");
        assert_eq!(folded("longer_than_ten a", 10), "longer_than_ten\n  a");
        assert_eq!(folded("", 10), "");
        // What is longer than a byte stands where a line ends.
        assert_eq!(folded("energy 1.±2 kT", 9), "energy\n  1.±2 kT");
        assert_eq!(lines("energy   1.±2\nkT", 9), ["energy", "1.±2 kT"]);
    }
}
