//! Checkpoints: the whole training state, so that a run resumes as if it had never stopped.
//!
//! A checkpoint of step S is `checkpoint-S.safetensors` (arrays) and `checkpoint-S.json` (counters
//! and the arrays' checksum). The JSON is written last, so that it vouches for complete arrays; the
//! last two checkpoints are kept, so that a damaged one costs little.

mod content;

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use crate::error::Error;
use crate::files::write_atomically;
use crate::parallel::team;
use crate::train::{Saved, TrainingState};

use content::{decode, encode, Head};

pub use content::{Checkpoint, SessionTotals};

/// Checkpoints that stay.
const KEPT: usize = 2;

impl Checkpoint {
    /// Writes this checkpoint into `folder` and removes all but the last two. A collective
    /// operation: rank 0 writes, and its error is that of all.
    ///
    /// # Errors
    /// [`Error::Write`]; earlier checkpoints are untouched then.
    pub fn save(&mut self, folder: &Path) -> Result<(), Error> {
        let saved = Saved::of(|walk| self.state.list(walk));
        let team = team();
        team.agree(if team.leads() { self.write(folder, saved) } else { Ok(()) })
    }

    fn write(&self, folder: &Path, saved: Result<Saved, String>) -> Result<(), Error> {
        let [arrays_path, head_path] = paths(folder, self.state.step);
        let (arrays, head) = saved.and_then(|saved| encode(self, saved)).map_err(|what| {
            Error::Write { path: head_path.clone(), source: std::io::Error::other(what) }
        })?;
        write_atomically(&arrays_path, |file| file.write_all(&arrays))?;
        write_atomically(&head_path, |file| file.write_all(head.as_bytes()))?;
        remove(folder, KEPT);
        Ok(())
    }

    /// Whether there is a checkpoint in `folder`, good or not.
    pub fn exists(folder: &Path) -> bool {
        !steps_in(folder, "json").is_empty()
    }

    /// Removes all checkpoints in `folder`, as far as that is possible.
    pub fn remove_all(folder: &Path) {
        remove(folder, 0);
    }

    /// The latest good checkpoint in `folder` for a training that starts as `start`, and a sentence
    /// for every damaged one that was skipped; `None` where there is no checkpoint. A
    /// collective operation: rank 0 reads.
    ///
    /// # Errors
    /// [`Error::Data`] when there are checkpoints and none is good.
    pub fn load(
        folder: &Path,
        start: &TrainingState,
    ) -> Result<(Option<Self>, Vec<String>), Error> {
        let (mut damaged, mut checkpoint) = (Vec::new(), None);
        let (head, bytes) = team().broadcast(|| {
            for step in steps_in(folder, "json") {
                let found = read(folder, step).and_then(|(head, bytes)| {
                    let text = serde_json::to_vec(&head).unwrap_or_default();
                    let arrays_path = path(folder, step, "safetensors");
                    checkpoint = Some(decode(head, &bytes, &arrays_path, start)?);
                    Ok((text, bytes))
                });
                match found {
                    Ok(found) => return Ok(found),
                    Err(error) => damaged.push(error.to_string()),
                }
            }
            let Some(last) = damaged.last() else { return Ok((Vec::new(), Vec::new())) };
            let problem = format!(
                "has no good checkpoint ({last}): start again in another folder, or remove this one"
            );
            Err(Error::Data { file: folder.to_path_buf(), problem })
        })?;
        // Other ranks get what rank 0 has read; each keeps its part of the buffer.
        let mut received = Ok(());
        if checkpoint.is_none() && !head.is_empty() {
            let wrong = |e: serde_json::Error| Error::Data {
                file: folder.to_path_buf(),
                problem: format!("its checkpoint did not arrive: {e}"),
            };
            received = serde_json::from_slice(&head)
                .map_err(wrong)
                .and_then(|head| decode(head, &bytes, folder, start))
                .map(|decoded| checkpoint = Some(decoded));
        }
        team().agree(received)?;
        Ok((checkpoint, damaged))
    }

    /// What the head of the latest checkpoint in `folder` holds, without reading its arrays.
    pub fn peek(folder: &Path) -> Option<Latest> {
        steps_in(folder, "json").into_iter().find_map(|step| {
            let [_, head] = paths(folder, step);
            let Head { recipe, step, totals, .. } = Head::peek(&fs::read(head).ok()?)?;
            Some(Latest { recipe, step, is_open: totals.is_open })
        })
    }
}

/// What the latest checkpoint of a run contains.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Latest {
    /// The resolved recipe, as TOML.
    pub recipe: String,
    /// Training steps done.
    pub step: u64,
    /// [`SessionTotals::is_open`].
    pub is_open: bool,
}

impl Latest {
    /// Whether nothing is left to do of `steps` in all.
    pub fn is_finished(&self, steps: usize) -> bool {
        self.step >= steps as u64 && !self.is_open
    }
}

/// Removes all but the latest `kept`, and arrays whose head was never written.
fn remove(folder: &Path, kept: usize) {
    let mut stay = steps_in(folder, "json");
    stay.truncate(kept);
    // Heads first: arrays without a head are not a checkpoint. A leftover does no harm.
    for end in ["json", "safetensors"] {
        for step in steps_in(folder, end).into_iter().filter(|step| !stay.contains(step)) {
            let _ = fs::remove_file(path(folder, step, end));
        }
    }
}

fn path(folder: &Path, step: u64, end: &str) -> PathBuf {
    folder.join(format!("checkpoint-{step:010}.{end}"))
}

fn paths(folder: &Path, step: u64) -> [PathBuf; 2] {
    ["safetensors", "json"].map(|end| path(folder, step, end))
}

/// Steps that have a checkpoint's file with this extension, latest first.
fn steps_in(folder: &Path, end: &str) -> Vec<u64> {
    let mut steps: Vec<u64> = fs::read_dir(folder)
        .into_iter()
        .flatten()
        .filter_map(|entry| {
            let name = entry.ok()?.file_name();
            let name = name.to_str()?.strip_prefix("checkpoint-")?.strip_suffix(end)?;
            name.strip_suffix('.')?.parse().ok()
        })
        .collect();
    steps.sort_unstable_by(|a, b| b.cmp(a));
    steps
}

/// Head and arrays of the checkpoint of `step`, as far as their checksums say.
fn read(folder: &Path, step: u64) -> Result<(Head, Vec<u8>), Error> {
    let [arrays_path, head_path] = paths(folder, step);
    let unreadable = |path: &Path| {
        let path = path.to_path_buf();
        move |source| Error::Read { path, source }
    };
    let text = fs::read(&head_path).map_err(unreadable(&head_path))?;
    let head =
        Head::unseal(&text).map_err(|problem| Error::Data { file: head_path.clone(), problem })?;

    let wrong = |problem: String| Error::Data { file: arrays_path.clone(), problem };
    let found = fs::metadata(&arrays_path).map_err(unreadable(&arrays_path))?.len();
    if found != head.arrays_bytes {
        return Err(wrong(format!("has {found} bytes and should have {}", head.arrays_bytes)));
    }
    let bytes = fs::read(&arrays_path).map_err(unreadable(&arrays_path))?;
    if crc32fast::hash(&bytes) != head.arrays_crc32 {
        return Err(wrong("is damaged: its checksum does not fit".to_string()));
    }
    Ok((head, bytes))
}

#[cfg(test)]
mod tests;
