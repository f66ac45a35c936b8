//! What can go wrong in a way that a user can act on, and the exit code that each failure maps to.

use std::path::PathBuf;

/// Every failure that reaches a user. The message names the file, field or configuration and the
/// way out.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A recipe or target file with wrong content.
    #[error("{}: {problem}", file.display())]
    Config {
        /// The file that was read.
        file: PathBuf,
        /// What is wrong in it, with the key, and what would be right.
        problem: String,
    },
    /// A value that a constructor cannot accept.
    #[error("`{field}` {problem}")]
    Parameter {
        /// The name of the value, as a recipe or the API spells it.
        field: String,
        /// What is wrong with it and what would be right.
        problem: String,
    },
    /// A data or model file whose content is not what it claims.
    #[error("{}: {problem}", file.display())]
    Data {
        /// The file that was read.
        file: PathBuf,
        /// What is wrong in it, and what would be right.
        problem: String,
    },
    /// A file that could not be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file or folder.
        path: PathBuf,
        /// The error of the operating system.
        source: std::io::Error,
    },
    /// A file that could not be written.
    #[error("cannot write {}: {source}", path.display())]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// The error of the operating system.
        source: std::io::Error,
    },
    /// The potential stopped the run.
    #[error(transparent)]
    Evaluation(EvaluationError),
    /// A signal stopped it: by which one, and how to go on.
    #[error("{0}")]
    Stopped(String),
    /// A check failed; its findings have been printed.
    #[error("{0}")]
    Check(String),
    /// An error on another rank.
    #[error("{message}")]
    Elsewhere {
        /// Its exit code.
        exit_code: u8,
        /// Its message.
        message: String,
    },
    /// A run that cannot continue: what happened, and what to try.
    #[error("{0}")]
    Run(String),
}

impl Error {
    /// A [`Error::Parameter`] for `field`.
    pub fn parameter(field: impl Into<String>, problem: impl Into<String>) -> Self {
        Self::Parameter { field: field.into(), problem: problem.into() }
    }

    /// The same error where a [`Error::Parameter`] is about a value in `section`: its name gets
    /// that of the section before it.
    pub(crate) fn within(self, section: &str) -> Self {
        match self {
            Self::Parameter { field, problem } => {
                Self::Parameter { field: format!("{section}.{field}"), problem }
            }
            other => other,
        }
    }

    /// Process exit code: 1 for a failed check, 2 for wrong input, 3 for a fault while running and
    /// for a signal.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Check(_) => 1,
            Self::Config { .. }
            | Self::Parameter { .. }
            | Self::Data { .. }
            | Self::Read { .. } => 2,
            Self::Elsewhere { exit_code, .. } => *exit_code,
            Self::Write { .. } | Self::Evaluation(_) | Self::Stopped(_) | Self::Run(_) => 3,
        }
    }
}

impl From<EvaluationError> for Error {
    fn from(error: EvaluationError) -> Self {
        match error {
            EvaluationError::Stopped(why) => Self::Stopped(why),
            other => Self::Evaluation(other),
        }
    }
}

/// Refuses the value of `field`: an [`Error::Parameter`] as the result of whatever was asked for.
pub(crate) fn refuse<T>(field: impl Into<String>, problem: impl Into<String>) -> Result<T, Error> {
    Err(Error::parameter(field, problem))
}

/// Why a potential has no energy for a configuration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EvaluationError {
    /// This configuration has no finite energy: it gets weight zero and is counted.
    #[error("no finite energy for this configuration: {0}")]
    Recoverable(String),
    /// The potential cannot continue: the run saves a checkpoint and stops with this message.
    #[error("the potential failed: {0}")]
    Fatal(String),
    /// The program is to stop, which has nothing to do with the potential.
    #[error("{0}")]
    Stopped(String),
}

/// "did you mean …" when a known word is similar, the known words otherwise.
pub(crate) fn suggest(word: &str, known: &[&str]) -> String {
    let distance = |k: &str| {
        let any_case = edit_distance(&word.to_lowercase(), &k.to_lowercase());
        (any_case, edit_distance(word, k))
    };
    match known.iter().map(|k| (distance(k), k)).min() {
        // A word of one or two letters must not be replaced as a whole.
        Some(((distance, _), near))
            if distance <= near.len() / 2 && distance <= 1 + near.len() / 4 =>
        {
            format!("did you mean `{near}`?")
        }
        _ => format!("use one of `{}`", known.join("`, `")),
    }
}

/// Levenshtein distance, by characters.
fn edit_distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, ca) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, cb) in b.iter().enumerate() {
            let substitution = diagonal + usize::from(ca != *cb);
            diagonal = row[j + 1];
            row[j + 1] = substitution.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edit_distances_of_known_pairs() {
        for (a, b, distance) in
            [("", "abc", 3), ("kitten", "sitting", 3), ("steps", "steps", 0), ("stpes", "steps", 2)]
        {
            assert_eq!(edit_distance(a, b), distance);
            assert_eq!(edit_distance(b, a), distance);
        }
    }

    #[test]
    fn a_near_word_is_suggested_and_a_far_one_gets_the_list() {
        assert_eq!(suggest("stpes", &["steps", "seed"]), "did you mean `steps`?");
        assert_eq!(suggest("colour", &["steps", "seed"]), "use one of `steps`, `seed`");
    }
}
