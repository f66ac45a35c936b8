//! What the two files of a checkpoint hold.

use std::borrow::Cow;
use std::path::Path;

use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde::{Deserialize, Serialize};

use super::{Checkpoint, SessionTotals};
use crate::error::Error;
use crate::sampling::{StepSize, StepSizes};
use crate::train::{Adam, GradientGuard, Health, ReplayBuffer, Rotations, TrainingState, Walkers};

/// Version of the files' layout, which goes up with every field; another version is refused.
const FORMAT: u32 = 3;
/// Arrays of the good states that a roll-back returns to.
const GOOD_ARRAYS: [[&str; 5]; 2] = [
    ["good.0.theta", "good.0.average", "good.0.mean", "good.0.square", "good.0.rotations"],
    ["good.1.theta", "good.1.average", "good.1.mean", "good.1.square", "good.1.rotations"],
];

/// The JSON file: the head, with a checksum over its own text.
#[derive(Serialize, Deserialize)]
struct Sealed {
    format_version: u32,
    boltzflow_version: String,
    head_crc32: u32,
    head: Head,
}

#[derive(Serialize, Deserialize)]
pub(super) struct Head {
    pub arrays_crc32: u32,
    pub arrays_bytes: u64,
    pub recipe: String,
    totals: SessionTotals,
    pub step: u64,
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
pub(super) type BufferParts<'a> = (Cow<'a, [f64]>, &'a [f64], &'a [f64], usize);

fn bytes_of<T, const N: usize>(values: &[T], to: impl Fn(&T) -> [u8; N]) -> Vec<u8> {
    values.iter().flat_map(to).collect()
}

impl Head {
    /// Over the text that it is written as: numbers come back from JSON as they were, so that the same
    /// head always has the same text.
    fn checksum(&self) -> Result<u32, serde_json::Error> {
        Ok(crc32fast::hash(serde_json::to_string(self)?.as_bytes()))
    }

    /// From the text of its file, whatever its version and checksum.
    pub fn peek(text: &[u8]) -> Option<Self> {
        serde_json::from_slice::<Sealed>(text).ok().map(|sealed| sealed.head)
    }

    /// From the text of its file, or what is wrong with it.
    pub fn unseal(text: &[u8]) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct Version {
            format_version: u32,
            boltzflow_version: String,
        }
        let damaged = |e: serde_json::Error| format!("is damaged: {e}");
        let version: Version = serde_json::from_slice(text).map_err(damaged)?;
        if version.format_version != FORMAT {
            return Err(format!(
                "has format version {} and this boltzflow reads {FORMAT}: resume with boltzflow {}",
                version.format_version, version.boltzflow_version
            ));
        }
        let Sealed { head, head_crc32, .. } = serde_json::from_slice(text).map_err(damaged)?;
        if head.checksum().map_err(damaged)? != head_crc32 {
            return Err("is damaged: its checksum does not fit".to_string());
        }
        Ok(head)
    }
}

/// The bytes of the arrays and the text of the head, or why there are none.
pub(super) fn encode(
    checkpoint: &Checkpoint,
    (joint, log_weights, log_q, buffer_next): BufferParts<'_>,
) -> Result<(Vec<u8>, String), String> {
    let state = &checkpoint.state;
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
        let Adam { mean, square, rotations, .. } = &good.optimizer;
        let parts = [&good.theta, &good.average, mean, square, &rotations.numbers()];
        arrays.extend(names.iter().zip(parts).map(|(name, v)| (*name, Dtype::F32, single(v))));
    }
    let views = arrays
        .iter()
        .map(|(name, dtype, bytes)| {
            let size = if *dtype == Dtype::F32 { 4 } else { 8 };
            TensorView::new(*dtype, vec![bytes.len() / size], bytes).map(|view| (*name, view))
        })
        .collect::<Result<Vec<_>, _>>()
        .map_err(|e| e.to_string())?;
    let bytes = safetensors::serialize(views, &None).map_err(|e| e.to_string())?;
    let head = Head {
        arrays_crc32: crc32fast::hash(&bytes),
        arrays_bytes: bytes.len() as u64,
        recipe: checkpoint.recipe.clone(),
        totals: checkpoint.totals.clone(),
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
    let unsayable = |e: serde_json::Error| e.to_string();
    let sealed = Sealed {
        format_version: FORMAT,
        boltzflow_version: env!("CARGO_PKG_VERSION").to_string(),
        head_crc32: head.checksum().map_err(unsayable)?,
        head,
    };
    Ok((bytes, serde_json::to_string_pretty(&sealed).map_err(unsayable)?))
}

/// The checkpoint of which `bytes` are the arrays, from the file `arrays_path`.
pub(super) fn decode(
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
