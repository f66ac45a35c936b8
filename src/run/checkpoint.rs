//! Checkpoints: the whole training state, so that a run resumes as if it had never stopped.
//!
//! A checkpoint of step S is `checkpoint-S.safetensors` (arrays) and `checkpoint-S.json` (counters
//! and the arrays' checksum). The JSON is written last, so that it vouches for complete arrays; the
//! last two checkpoints are kept, so that a damaged one costs little.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::sampling::{StepSize, StepSizes};
use crate::train::{Adam, GradientGuard, ReplayBuffer, TrainingState, Walkers};

use super::atomic::write_atomically;

/// Version of the files' layout; another version is refused.
const FORMAT: u32 = 2;
/// Checkpoints that stay.
const KEPT: usize = 2;

/// What continues besides the training state.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct SessionTotals {
    /// Wall time of training so far, in seconds.
    pub train_seconds: f64,
    /// Sum of losses since the last row of metrics.
    pub loss: f64,
    /// Sum of gradient norms since the last row of metrics.
    pub gradient_norm: f64,
    /// Steps behind these two.
    pub steps: f64,
    /// Thread seconds in the flow so far.
    pub flow_seconds: f64,
    /// Thread seconds in the potential so far.
    pub potential_seconds: f64,
}

/// A training that can go on.
#[derive(Debug, Clone, PartialEq)]
pub struct Checkpoint {
    /// The training state.
    pub state: TrainingState,
    /// The session's own sums.
    pub totals: SessionTotals,
    /// The resolved recipe.
    pub recipe: String,
}

#[derive(Serialize, Deserialize)]
struct Head {
    format_version: u32,
    boltzflow_version: String,
    arrays_crc32: u32,
    arrays_bytes: u64,
    recipe: String,
    totals: SessionTotals,
    step: u64,
    updates: u64,
    guard: GradientGuard,
    step_sizes: StepSizes,
    walker_step_size: StepSize,
    buffer_next: usize,
    energy_evaluations: u64,
    recoverable_failures: u64,
    nonfinite_weights: u64,
    gradients_clipped: u64,
    gradients_dropped: u64,
}

fn bytes_of<T, const N: usize>(values: &[T], to: impl Fn(&T) -> [u8; N]) -> Vec<u8> {
    values.iter().flat_map(to).collect()
}

impl Checkpoint {
    /// Writes this checkpoint into `folder` and removes all but the last two.
    ///
    /// # Errors
    /// [`Error::Write`]; earlier checkpoints are untouched then.
    pub fn save(&self, folder: &Path) -> Result<(), Error> {
        let state = &self.state;
        let (joint, log_weights, log_q, buffer_next) = state.buffer.parts();
        let single = |v: &[f32]| bytes_of(v, |x: &f32| x.to_le_bytes());
        let double = |v: &[f64]| bytes_of(v, |x: &f64| x.to_le_bytes());
        let arrays = [
            ("average", Dtype::F32, single(&state.average)),
            ("buffer.joint", Dtype::F64, double(joint)),
            ("buffer.log_q", Dtype::F64, double(log_q)),
            ("buffer.log_weights", Dtype::F64, double(log_weights)),
            ("optimizer.mean", Dtype::F32, single(&state.optimizer.mean)),
            ("optimizer.averages", Dtype::F32, single(&state.optimizer.rotation.averages)),
            ("optimizer.bases", Dtype::F32, single(&state.optimizer.rotation.bases)),
            ("optimizer.square", Dtype::F32, single(&state.optimizer.square)),
            ("theta", Dtype::F32, single(&state.theta)),
            ("walkers", Dtype::F64, double(&state.walkers.positions)),
        ];
        let [arrays_path, head_path] = paths(folder, state.step);
        let failed = |path: &Path, what: String| Error::Write {
            path: path.to_path_buf(),
            source: std::io::Error::other(what),
        };
        let views = arrays
            .iter()
            .map(|(name, dtype, bytes)| {
                let size = if *dtype == Dtype::F32 { 4 } else { 8 };
                TensorView::new(*dtype, vec![bytes.len() / size], bytes).map(|view| (*name, view))
            })
            .collect::<Result<Vec<_>, _>>()
            .map_err(|e| failed(&arrays_path, e.to_string()))?;
        let bytes = safetensors::serialize(views, &None)
            .map_err(|e| failed(&arrays_path, e.to_string()))?;
        let head = Head {
            format_version: FORMAT,
            boltzflow_version: env!("CARGO_PKG_VERSION").to_string(),
            arrays_crc32: crc32fast::hash(&bytes),
            arrays_bytes: bytes.len() as u64,
            recipe: self.recipe.clone(),
            totals: self.totals.clone(),
            step: state.step,
            updates: state.optimizer.updates,
            guard: state.guard.clone(),
            step_sizes: state.step_sizes.clone(),
            walker_step_size: state.walkers.step_size,
            buffer_next,
            energy_evaluations: state.energy_evaluations,
            recoverable_failures: state.recoverable_failures,
            nonfinite_weights: state.nonfinite_weights,
            gradients_clipped: state.gradients_clipped,
            gradients_dropped: state.gradients_dropped,
        };
        let text =
            serde_json::to_string_pretty(&head).map_err(|e| failed(&head_path, e.to_string()))?;
        write_atomically(&arrays_path, |file| file.write_all(&bytes))?;
        write_atomically(&head_path, |file| file.write_all(text.as_bytes()))?;
        for step in steps_in(folder).into_iter().skip(KEPT) {
            let [arrays, head] = paths(folder, step);
            // The head first: arrays without a head are no checkpoint. A leftover does no harm.
            let _ = fs::remove_file(head);
            let _ = fs::remove_file(arrays);
        }
        Ok(())
    }

    /// The latest good checkpoint in `folder` for a training that starts as `start`, and a sentence
    /// for every damaged one that was passed over; `None` where there is no checkpoint.
    ///
    /// # Errors
    /// [`Error::Data`] when there are checkpoints and none is good.
    pub fn load(
        folder: &Path,
        start: &TrainingState,
    ) -> Result<(Option<Self>, Vec<String>), Error> {
        let mut damaged = Vec::new();
        let steps = steps_in(folder);
        for step in &steps {
            match read(folder, *step, start) {
                Ok(checkpoint) => return Ok((Some(checkpoint), damaged)),
                Err(error) => damaged.push(error.to_string()),
            }
        }
        match damaged.pop() {
            None => Ok((None, damaged)),
            Some(last) => Err(Error::Data {
                file: folder.to_path_buf(),
                problem: format!(
                    "has no good checkpoint ({last}): start again in another folder, or remove this one"
                ),
            }),
        }
    }

    /// Recipe and step of the latest checkpoint in `folder`, without its arrays.
    pub fn peek(folder: &Path) -> Option<(String, u64)> {
        steps_in(folder).into_iter().find_map(|step| {
            let [_, head] = paths(folder, step);
            let head: Head = serde_json::from_slice(&fs::read(head).ok()?).ok()?;
            Some((head.recipe, head.step))
        })
    }
}

fn paths(folder: &Path, step: u64) -> [PathBuf; 2] {
    ["safetensors", "json"].map(|end| folder.join(format!("checkpoint-{step:010}.{end}")))
}

/// Steps that have a checkpoint's head, latest first.
fn steps_in(folder: &Path) -> Vec<u64> {
    let mut steps: Vec<u64> = fs::read_dir(folder)
        .into_iter()
        .flatten()
        .filter_map(|entry| {
            let name = entry.ok()?.file_name();
            let name = name.to_str()?.strip_prefix("checkpoint-")?.strip_suffix(".json")?;
            name.parse().ok()
        })
        .collect();
    steps.sort_unstable_by(|a, b| b.cmp(a));
    steps
}

fn read(folder: &Path, step: u64, start: &TrainingState) -> Result<Checkpoint, Error> {
    let [arrays_path, head_path] = paths(folder, step);
    let unreadable = |path: &Path| {
        let path = path.to_path_buf();
        move |source| Error::Read { path, source }
    };
    let wrong = |problem: String| Error::Data { file: head_path.clone(), problem };
    let text = fs::read(&head_path).map_err(unreadable(&head_path))?;
    #[derive(Deserialize)]
    struct Version {
        format_version: u32,
        boltzflow_version: String,
    }
    let damaged = |e: serde_json::Error| wrong(format!("is damaged: {e}"));
    let version: Version = serde_json::from_slice(&text).map_err(damaged)?;
    if version.format_version != FORMAT {
        return Err(wrong(format!(
            "has format version {} and this boltzflow reads {FORMAT}: resume with boltzflow {}",
            version.format_version, version.boltzflow_version
        )));
    }
    let head: Head = serde_json::from_slice(&text).map_err(damaged)?;

    let wrong = |problem: String| Error::Data { file: arrays_path.clone(), problem };
    let found = fs::metadata(&arrays_path).map_err(unreadable(&arrays_path))?.len();
    if found != head.arrays_bytes {
        return Err(wrong(format!("has {found} bytes and should have {}", head.arrays_bytes)));
    }
    let bytes = fs::read(&arrays_path).map_err(unreadable(&arrays_path))?;
    if crc32fast::hash(&bytes) != head.arrays_crc32 {
        return Err(wrong("is damaged: its checksum does not fit".to_string()));
    }
    let tensors = SafeTensors::deserialize(&bytes).map_err(|e| wrong(format!("{e:?}")))?;
    let array = |name: &str, dtype: Dtype| {
        let view = tensors.tensor(name).map_err(|_| wrong(format!("has no array `{name}`")))?;
        if view.dtype() != dtype {
            return Err(wrong(format!("array `{name}` is {:?}, not {dtype:?}", view.dtype())));
        }
        Ok(view.data().to_vec())
    };
    let single = |name: &str, expected: usize| -> Result<Vec<f32>, Error> {
        let bytes = array(name, Dtype::F32)?;
        let values: Vec<f32> =
            bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
        if values.len() != expected {
            return Err(wrong(format!(
                "array `{name}` has {} entries and this recipe needs {expected}",
                values.len()
            )));
        }
        Ok(values)
    };
    let double = |name: &str| -> Result<Vec<f64>, Error> {
        Ok(array(name, Dtype::F64)?
            .chunks_exact(8)
            .map(|b| f64::from_le_bytes([b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7]]))
            .collect())
    };
    let buffer = ReplayBuffer::from_parts(
        start.buffer.width(),
        start.buffer.capacity(),
        double("buffer.joint")?,
        double("buffer.log_weights")?,
        double("buffer.log_q")?,
        head.buffer_next,
    )
    .ok_or_else(|| wrong("its buffer does not fit this recipe".to_string()))?;
    let parameters = start.theta.len();
    let mut rotation = start.optimizer.rotation.clone();
    rotation.averages = single("optimizer.averages", rotation.averages.len())?;
    rotation.bases = single("optimizer.bases", rotation.bases.len())?;
    let walkers = double("walkers")?;
    // A joint configuration is x and its augmented copies, at least one.
    if !(2 * walkers.len()).is_multiple_of(start.buffer.width()) {
        return Err(wrong("its walkers do not fit this recipe".to_string()));
    }
    Ok(Checkpoint {
        state: TrainingState {
            step: head.step,
            theta: single("theta", parameters)?,
            average: single("average", parameters)?,
            optimizer: Adam {
                mean: single("optimizer.mean", parameters)?,
                square: single("optimizer.square", parameters)?,
                updates: head.updates,
                rotation,
            },
            guard: head.guard,
            step_sizes: head.step_sizes,
            buffer,
            walkers: Walkers { positions: walkers, step_size: head.walker_step_size },
            energy_evaluations: head.energy_evaluations,
            recoverable_failures: head.recoverable_failures,
            nonfinite_weights: head.nonfinite_weights,
            gradients_clipped: head.gradients_clipped,
            gradients_dropped: head.gradients_dropped,
        },
        totals: head.totals,
        recipe: head.recipe,
    })
}
