//! What a checkpoint is, and what its two files hold.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::Path;

use safetensors::tensor::{Dtype, SafeTensors, View};
use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::train::{Array, Saved, TrainingState, Walk};

/// Version of the files' layout, which goes up with every change; another version is refused.
const FORMAT: u32 = 4;

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
    /// Whether all steps are done and what comes after them, the figures, is not.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_open: bool,
}

/// A training that can continue.
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
pub(super) struct Head {
    pub arrays_crc32: u32,
    pub arrays_bytes: u64,
    pub recipe: String,
    pub step: u64,
    pub totals: SessionTotals,
    /// Those of [`Saved`].
    values: BTreeMap<String, serde_json::Value>,
}

impl Head {
    /// Over the text that it is written as: numbers come back from JSON as they were, so that the
    /// same head always has the same text.
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

/// An array as it is in the file, which is little-endian like the machines that this runs on.
struct Stored<'a>(&'a Array, [usize; 1]);

impl<'a> Stored<'a> {
    fn new(array: &'a Array) -> Self {
        let len = match array {
            Array::Single(values) => values.len(),
            Array::Double(values) => values.len(),
        };
        Self(array, [len])
    }
}

impl View for Stored<'_> {
    fn dtype(&self) -> Dtype {
        match self.0 {
            Array::Single(_) => Dtype::F32,
            Array::Double(_) => Dtype::F64,
        }
    }

    fn shape(&self) -> &[usize] {
        &self.1
    }

    fn data(&self) -> Cow<'_, [u8]> {
        match self.0 {
            Array::Single(values) => bytemuck::cast_slice(values).into(),
            Array::Double(values) => bytemuck::cast_slice(values).into(),
        }
    }

    fn data_len(&self) -> usize {
        self.data().len()
    }
}

/// The bytes of the arrays and the text of the head, or why there are none; `saved` is what the
/// checkpoint's state lists.
pub(super) fn encode(checkpoint: &Checkpoint, saved: Saved) -> Result<(Vec<u8>, String), String> {
    let arrays = saved.arrays.iter().map(|(name, array)| (name, Stored::new(array)));
    let bytes = safetensors::serialize(arrays, &None).map_err(|e| e.to_string())?;
    let head = Head {
        arrays_crc32: crc32fast::hash(&bytes),
        arrays_bytes: bytes.len() as u64,
        recipe: checkpoint.recipe.clone(),
        step: checkpoint.state.step,
        totals: checkpoint.totals.clone(),
        values: saved.values,
    };
    let unwritable = |e: serde_json::Error| e.to_string();
    let sealed = Sealed {
        format_version: FORMAT,
        boltzflow_version: env!("CARGO_PKG_VERSION").to_string(),
        head_crc32: head.checksum().map_err(unwritable)?,
        head,
    };
    Ok((bytes, serde_json::to_string_pretty(&sealed).map_err(unwritable)?))
}

/// The numbers in `bytes`, of N bytes each.
fn numbers<T, const N: usize>(bytes: &[u8], number: impl Fn([u8; N]) -> T) -> Vec<T> {
    bytes.chunks_exact(N).filter_map(|bytes| bytes.try_into().ok()).map(number).collect()
}

/// The checkpoint of which `bytes` are the arrays, from the file `arrays_path`, of a training that
/// starts as `start`.
pub(super) fn decode(
    head: Head,
    bytes: &[u8],
    arrays_path: &Path,
    start: &TrainingState,
) -> Result<Checkpoint, Error> {
    let wrong = |problem: String| Error::Data { file: arrays_path.to_path_buf(), problem };
    let tensors = SafeTensors::deserialize(bytes).map_err(|e| wrong(format!("{e:?}")))?;
    let mut saved = Saved { values: head.values, ..Saved::default() };
    for (name, view) in tensors.tensors() {
        let array = match view.dtype() {
            Dtype::F32 => Array::Single(numbers(view.data(), f32::from_le_bytes)),
            Dtype::F64 => Array::Double(numbers(view.data(), f64::from_le_bytes)),
            other => return Err(wrong(format!("array `{name}` is of type {other:?}"))),
        };
        saved.arrays.insert(name, array);
    }
    let mut state = start.clone();
    state.list(&mut Walk::Load(&saved)).map_err(wrong)?;
    Ok(Checkpoint { state, totals: head.totals, recipe: head.recipe })
}
