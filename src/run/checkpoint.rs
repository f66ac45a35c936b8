//! Checkpoints: the whole training state, so that a run resumes as if it had never stopped.
//!
//! A checkpoint of step S is `checkpoint-S.safetensors` (arrays) and `checkpoint-S.json` (counters
//! and the arrays' checksum). The JSON is written last, so that it vouches for complete arrays; the
//! last two checkpoints are kept, so that a damaged one costs little.

use std::borrow::Cow;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::parallel::team;
use crate::sampling::{StepSize, StepSizes};
use crate::train::{Adam, GradientGuard, Health, ReplayBuffer, Rotations, TrainingState, Walkers};

use super::atomic::write_atomically;

/// Version of the files' layout, which goes up with every field; another version is refused.
const FORMAT: u32 = 3;
/// Checkpoints that stay.
const KEPT: usize = 2;
/// Arrays of the good states that a roll-back returns to.
const GOOD_ARRAYS: [[&str; 5]; 2] = [
    ["good.0.theta", "good.0.average", "good.0.mean", "good.0.square", "good.0.rotations"],
    ["good.1.theta", "good.1.average", "good.1.mean", "good.1.square", "good.1.rotations"],
];

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
    /// Time of all threads so far, in seconds; sessions may have had different numbers of them.
    pub thread_seconds: f64,
    /// Negative log-likelihood on validation data of the model that is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub best_validation: Option<f64>,
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

/// The JSON file: the head, with a checksum over its own text.
#[derive(Serialize, Deserialize)]
struct Sealed {
    format_version: u32,
    boltzflow_version: String,
    head_crc32: u32,
    head: Head,
}

#[derive(Serialize, Deserialize)]
struct Head {
    arrays_crc32: u32,
    arrays_bytes: u64,
    recipe: String,
    totals: SessionTotals,
    step: u64,
    updates: u64,
    guard: GradientGuard,
    health: Health,
    step_sizes: StepSizes,
    walker_step_size: StepSize,
    buffer_next: usize,
    energy_evaluations: u64,
    recoverable_failures: u64,
    nonfinite_weights: u64,
    gradients_clipped: u64,
    gradients_dropped: u64,
}

/// What [`ReplayBuffer::parts`] returns.
type BufferParts<'a> = (Cow<'a, [f64]>, &'a [f64], &'a [f64], usize);

fn bytes_of<T, const N: usize>(values: &[T], to: impl Fn(&T) -> [u8; N]) -> Vec<u8> {
    values.iter().flat_map(to).collect()
}

impl Checkpoint {
    /// Writes this checkpoint into `folder` and removes all but the last two. A collective operation: rank 0
    /// writes, and its error is that of all.
    ///
    /// # Errors
    /// [`Error::Write`]; earlier checkpoints are untouched then.
    pub fn save(&self, folder: &Path) -> Result<(), Error> {
        let buffer = self.state.buffer.parts();
        let team = team();
        team.agree(if team.leads() { self.write(folder, buffer) } else { Ok(()) })
    }

    fn write(
        &self,
        folder: &Path,
        (joint, log_weights, log_q, buffer_next): BufferParts<'_>,
    ) -> Result<(), Error> {
        let state = &self.state;
        let single = |v: &[f32]| bytes_of(v, |x: &f32| x.to_le_bytes());
        let double = |v: &[f64]| bytes_of(v, |x: &f64| x.to_le_bytes());
        let mut arrays = vec![
            ("average", Dtype::F32, single(&state.average)),
            ("buffer.joint", Dtype::F64, double(&joint)),
            ("buffer.log_q", Dtype::F64, double(log_q)),
            ("buffer.log_weights", Dtype::F64, double(log_weights)),
            ("optimizer.mean", Dtype::F32, single(&state.optimizer.mean)),
            ("optimizer.rotations", Dtype::F32, single(&state.optimizer.rotations.numbers())),
            ("optimizer.square", Dtype::F32, single(&state.optimizer.square)),
            ("theta", Dtype::F32, single(&state.theta)),
            ("walkers", Dtype::F64, double(&state.walkers.positions)),
        ];
        for (names, good) in GOOD_ARRAYS.iter().zip(&state.health.good) {
            let rotations = good.optimizer.rotations.numbers();
            let moments = [&good.optimizer.mean, &good.optimizer.square];
            let parts = [&good.theta, &good.average, moments[0], moments[1], &rotations];
            arrays.extend(names.iter().zip(parts).map(|(name, v)| (*name, Dtype::F32, single(v))));
        }
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
            arrays_crc32: crc32fast::hash(&bytes),
            arrays_bytes: bytes.len() as u64,
            recipe: self.recipe.clone(),
            totals: self.totals.clone(),
            step: state.step,
            updates: state.optimizer.updates,
            guard: state.guard.clone(),
            health: state.health.clone(),
            step_sizes: state.step_sizes.clone(),
            walker_step_size: state.walkers.step_size,
            buffer_next,
            energy_evaluations: state.energy_evaluations,
            recoverable_failures: state.recoverable_failures,
            nonfinite_weights: state.nonfinite_weights,
            gradients_clipped: state.gradients_clipped,
            gradients_dropped: state.gradients_dropped,
        };
        let unsayable = |e: serde_json::Error| failed(&head_path, e.to_string());
        let sealed = Sealed {
            format_version: FORMAT,
            boltzflow_version: env!("CARGO_PKG_VERSION").to_string(),
            head_crc32: head.checksum().map_err(unsayable)?,
            head,
        };
        let text = serde_json::to_string_pretty(&sealed).map_err(unsayable)?;
        write_atomically(&arrays_path, |file| file.write_all(&bytes))?;
        write_atomically(&head_path, |file| file.write_all(text.as_bytes()))?;
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
    /// for every damaged one that was passed over; `None` where there is no checkpoint. A collective
    /// operation: rank 0 reads.
    ///
    /// # Errors
    /// [`Error::Data`] when there are checkpoints and none is good.
    pub fn load(
        folder: &Path,
        start: &TrainingState,
    ) -> Result<(Option<Self>, Vec<String>), Error> {
        let team = team();
        let mut damaged = Vec::new();
        let steps = if team.leads() { steps_in(folder, "json") } else { Vec::new() };
        let mut found = None;
        for step in steps {
            match read(folder, step).and_then(|(head, bytes)| {
                // Each rank keeps its part of the buffer, so that this looks at everything at once.
                let head_text = serde_json::to_vec(&head).unwrap_or_default();
                Ok((
                    decode(head, &bytes, &path(folder, step, "safetensors"), start)?,
                    head_text,
                    bytes,
                ))
            }) {
                Ok(good) => {
                    found = Some(good);
                    break;
                }
                Err(error) => damaged.push(error.to_string()),
            }
        }
        let nothing_good = match damaged.pop() {
            Some(last) if found.is_none() => Err(Error::Data {
                file: folder.to_path_buf(),
                problem: format!(
                    "has no good checkpoint ({last}): start again in another folder, or remove this one"
                ),
            }),
            Some(last) => {
                damaged.push(last);
                Ok(())
            }
            None => Ok(()),
        };
        team.agree(nothing_good)?;
        let (checkpoint, head, bytes) = match found {
            Some((checkpoint, head, bytes)) => (Some(checkpoint), head, bytes),
            None => (None, Vec::new(), Vec::new()),
        };
        if team.is_alone() {
            return Ok((checkpoint, damaged));
        }
        let head = team.from_leader(|| Ok::<_, Error>(head))?;
        let bytes = team.from_leader(|| Ok::<_, Error>(bytes))?;
        let checkpoint = match checkpoint {
            None if !head.is_empty() => {
                let wrong = |e: serde_json::Error| Error::Data {
                    file: folder.to_path_buf(),
                    problem: format!("its checkpoint did not arrive: {e}"),
                };
                let head = serde_json::from_slice(&head).map_err(wrong);
                Some(head.and_then(|head| decode(head, &bytes, folder, start)))
            }
            checkpoint => checkpoint.map(Ok),
        };
        Ok((team.agree(checkpoint.transpose())?, damaged))
    }

    /// Recipe and step of the latest checkpoint in `folder`, without its arrays.
    pub fn peek(folder: &Path) -> Option<(String, u64)> {
        steps_in(folder, "json").into_iter().find_map(|step| {
            let [_, head] = paths(folder, step);
            let Sealed { head, .. } = serde_json::from_slice(&fs::read(head).ok()?).ok()?;
            Some((head.recipe, head.step))
        })
    }
}

impl Head {
    /// Over the text that it is written as: numbers come back from JSON as they were, so that the same
    /// head always has the same text.
    fn checksum(&self) -> Result<u32, serde_json::Error> {
        Ok(crc32fast::hash(serde_json::to_string(self)?.as_bytes()))
    }
}

/// Removes all but the latest `kept`, and arrays whose head was never written.
fn remove(folder: &Path, kept: usize) {
    let mut stay = steps_in(folder, "json");
    stay.truncate(kept);
    // Heads first: arrays without a head are no checkpoint. A leftover does no harm.
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
    let sealed: Sealed = serde_json::from_slice(&text).map_err(damaged)?;
    let head = sealed.head;
    if head.checksum().map_err(damaged)? != sealed.head_crc32 {
        return Err(wrong("is damaged: its checksum does not fit".to_string()));
    }

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

/// The checkpoint of which `bytes` are the arrays, from the file `arrays_path`.
fn decode(
    mut head: Head,
    bytes: &[u8],
    arrays_path: &Path,
    start: &TrainingState,
) -> Result<Checkpoint, Error> {
    let wrong = |problem: String| Error::Data { file: arrays_path.to_path_buf(), problem };
    let tensors = SafeTensors::deserialize(bytes).map_err(|e| wrong(format!("{e:?}")))?;
    let array = |name: &str, dtype: Dtype| {
        let view = tensors.tensor(name).map_err(|_| wrong(format!("has no array `{name}`")))?;
        if view.dtype() != dtype {
            return Err(wrong(format!("array `{name}` is {:?}, not {dtype:?}", view.dtype())));
        }
        Ok(view.data().to_vec())
    };
    let floats = |name: &str| -> Result<Vec<f32>, Error> {
        let bytes = array(name, Dtype::F32)?;
        Ok(bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect())
    };
    let single = |name: &str| -> Result<Vec<f32>, Error> {
        let values = floats(name)?;
        if values.len() != start.theta.len() {
            return Err(wrong(format!(
                "array `{name}` has {} entries and the flow {} parameters",
                values.len(),
                start.theta.len()
            )));
        }
        Ok(values)
    };
    let turned = |name: &str| -> Result<Rotations, Error> {
        let mut rotations = start.optimizer.rotations.clone();
        if !rotations.set_numbers(&floats(name)?) {
            return Err(wrong(format!("array `{name}` is not of this recipe's optimizer")));
        }
        Ok(rotations)
    };
    let double = |name: &str| -> Result<Vec<f64>, Error> {
        Ok(array(name, Dtype::F64)?
            .chunks_exact(8)
            .map(|b| f64::from_le_bytes([b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7]]))
            .collect())
    };
    for (names, good) in GOOD_ARRAYS.iter().zip(&mut head.health.good) {
        let [theta, average, mean, square, rotations] = *names;
        good.theta = single(theta)?;
        good.average = single(average)?;
        good.optimizer.mean = single(mean)?;
        good.optimizer.square = single(square)?;
        good.optimizer.rotations = turned(rotations)?;
    }
    let buffer = ReplayBuffer::from_parts(
        start.buffer.width(),
        start.buffer.capacity(),
        double("buffer.joint")?,
        double("buffer.log_weights")?,
        double("buffer.log_q")?,
        head.buffer_next,
    )
    .ok_or_else(|| wrong("its buffer does not fit this recipe".to_string()))?;
    let walkers = double("walkers")?;
    // A joint configuration is x and its augmented copies, at least one.
    if !(2 * walkers.len()).is_multiple_of(start.buffer.width()) {
        return Err(wrong("its walkers do not fit this recipe".to_string()));
    }
    Ok(Checkpoint {
        state: TrainingState {
            step: head.step,
            theta: single("theta")?,
            average: single("average")?,
            optimizer: Adam {
                mean: single("optimizer.mean")?,
                square: single("optimizer.square")?,
                rotations: turned("optimizer.rotations")?,
                updates: head.updates,
            },
            guard: head.guard,
            health: head.health,
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use super::super::faults::{with_fault, Fault};
    use super::*;
    use crate::flow::{CouplingOptions, Flow, FlowOptions, PairwiseOptions};
    use crate::potential::{DoubleWell, DoubleWellParameters};
    use crate::sampling::AugmentedTarget;
    use crate::train::Method;
    use crate::train::Problem;

    fn start() -> TrainingState {
        let parameters = DoubleWellParameters {
            particles: 3,
            dimension: 2,
            a: 0.0,
            b: -1.0,
            c: 0.5,
            r0: 2.0,
            temperature: 1.0,
        };
        let potential = Arc::new(DoubleWell::new(parameters).unwrap());
        let layer = PairwiseOptions { width: 4, basis: 4, ..PairwiseOptions::default() };
        let options = FlowOptions {
            augmented_copies: 1,
            base_scale: 1.0,
            augmentation_scale: 0.3,
            layers: vec![CouplingOptions::Pairwise(layer)],
        };
        let flow =
            Arc::new(Flow::new(crate::system::System::new(3, 2).unwrap(), &options).unwrap());
        let target = AugmentedTarget::new(potential, flow.copies(), 0.3).unwrap();
        let problem = Problem { flow, target, seed: 5 };
        let mut state = TrainingState::new(&problem, Method::Soap, 2, 0.1, 900);
        let rows = 800;
        let joint: Vec<f64> = (0..rows * 12).map(f64::from).collect();
        state.buffer.push(&joint, &vec![0.5; rows as usize], &vec![-1.5; rows as usize]);
        state
    }

    fn checkpoint(step: u64) -> Checkpoint {
        let mut state = start();
        state.step = step;
        state.theta[0] = step as f32;
        Checkpoint { state, totals: SessionTotals::default(), recipe: "seed = 5\n".into() }
    }

    fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
        let entries = fs::read_dir(folder).unwrap().map(Result::unwrap);
        entries
            .map(|e| (e.file_name().into_string().unwrap(), fs::read(e.path()).unwrap()))
            .collect()
    }

    /// Every file is one that a sound disk would hold; nothing is half-written.
    fn are_whole(found: &BTreeMap<String, Vec<u8>>, sound: &BTreeMap<String, Vec<u8>>) -> bool {
        found.iter().all(|(name, bytes)| sound.get(name) == Some(bytes))
    }

    #[test]
    fn whatever_operation_of_a_checkpoint_fails_the_last_good_one_loads() {
        let mut sound = BTreeMap::new();
        let place = tempfile::tempdir().unwrap();
        for step in 1..=3 {
            checkpoint(step).save(place.path()).unwrap();
            sound.extend(files(place.path()));
        }
        assert_eq!(sound.len(), 6);
        for fault in [Fault::Full, Fault::Short] {
            let mut failed = 0;
            for after in 0.. {
                let place = tempfile::tempdir().unwrap();
                let folder = place.path();
                (1..=2).for_each(|step| checkpoint(step).save(folder).unwrap());
                let (result, happened) = with_fault(after, fault, || checkpoint(3).save(folder));
                let found = files(folder);
                assert!(are_whole(&found, &sound), "{fault:?} at operation {after}");
                let (loaded, damaged) = Checkpoint::load(folder, &start()).unwrap();
                assert_eq!(damaged, [""; 0], "{fault:?} at operation {after}");
                let good = if result.is_ok() { 3 } else { 2 };
                assert!(loaded.unwrap() == checkpoint(good), "{fault:?} at operation {after}");
                if let Err(error) = result {
                    failed += 1;
                    assert!(error.to_string().contains("checkpoint-0000000003"), "{error}");
                    assert_eq!(error.exit_code(), 3);
                }
                if !happened {
                    break;
                }
            }
            // Two files, each created, written, synced and renamed.
            assert!(failed >= 8, "{fault:?}: {failed}");
        }
        // Planted: a file that was written straight to its place.
        let mut found = sound.clone();
        found.values_mut().for_each(|bytes| bytes.truncate(bytes.len() / 2));
        assert!(!are_whole(&found, &sound));
    }
}
