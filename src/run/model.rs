//! A trained flow as a safetensors file: the parameters by name, and the recipe that made them.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;

use safetensors::tensor::{Dtype, Metadata, TensorView};
use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::files::write_atomically;
use crate::flow::ParameterLayout;
use crate::parallel::team;

/// Version of the file's own layout; a file of another version is refused.
const FORMAT: u32 = 1;
/// Key of the safetensors metadata that holds everything below as JSON. One key, since the crate
/// writes keys in random order and the same model must give the same bytes.
const KEY: &str = "boltzflow";
/// No model has a longer header.
const LONGEST_HEADER: u64 = 100_000_000;

/// Where a model comes from; stored in its file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ModelMetadata {
    /// Version of boltzflow that trained it.
    pub boltzflow_version: String,
    /// The resolved recipe, by which the flow is built.
    pub recipe: String,
    /// Seed of the run.
    pub seed: u64,
    /// Training steps done.
    pub step: u64,
    /// Wall time of training, in seconds.
    pub train_seconds: f64,
    /// Energy evaluations of the target by training.
    pub energy_evaluations: u64,
    /// The species of each particle; empty, and not in the file, when all are alike.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub species: Vec<usize>,
}

impl Default for ModelMetadata {
    fn default() -> Self {
        Self {
            boltzflow_version: env!("CARGO_PKG_VERSION").to_string(),
            recipe: String::new(),
            seed: 0,
            step: 0,
            train_seconds: 0.0,
            energy_evaluations: 0,
            species: Vec::new(),
        }
    }
}

/// The metadata as stored, with the version of the file's layout first. The first files had no
/// checksums.
#[derive(Serialize, Deserialize)]
struct Stored {
    format_version: u32,
    metadata_crc32: Option<u32>,
    parameters_crc32: Option<u32>,
    #[serde(flatten)]
    metadata: ModelMetadata,
}

/// Writes the parameters `theta` of a flow with this layout. The same model gives the same bytes.
///
/// # Errors
/// [`Error::Parameter`] when `theta` is not as long as the layout, [`Error::Write`].
pub fn save_model(
    path: impl AsRef<Path>,
    layout: &ParameterLayout,
    theta: &[f32],
    metadata: &ModelMetadata,
) -> Result<(), Error> {
    if theta.len() != layout.total() {
        return Err(Error::parameter(
            "theta",
            format!("has {} entries and the flow {} parameters", theta.len(), layout.total()),
        ));
    }
    write_atomically(path, |file| {
        let bytes: Vec<u8> = theta.iter().flat_map(|value| value.to_le_bytes()).collect();
        let mut tensors = Vec::with_capacity(layout.tensors().len());
        for tensor in layout.tensors() {
            let entries = &bytes[4 * tensor.offset..4 * (tensor.offset + tensor.len())];
            let view = TensorView::new(Dtype::F32, tensor.shape.clone(), entries)
                .map_err(io::Error::other)?;
            tensors.push((tensor.name.as_str(), view));
        }
        let stored = Stored {
            format_version: FORMAT,
            metadata_crc32: Some(checksum(metadata)?),
            parameters_crc32: Some(crc32fast::hash(&bytes)),
            metadata: metadata.clone(),
        };
        let text = HashMap::from([(KEY.to_string(), serde_json::to_string(&stored)?)]);
        file.write_all(&safetensors::serialize(tensors, &Some(text)).map_err(io::Error::other)?)
    })
}

/// Of the metadata's text: numbers come back from JSON as they were, so it is always the same.
fn checksum(metadata: &ModelMetadata) -> Result<u32, serde_json::Error> {
    Ok(crc32fast::hash(serde_json::to_string(metadata)?.as_bytes()))
}

/// Reads where a model comes from, without its parameters: its recipe tells which flow to build.
///
/// # Errors
/// [`Error::Read`]; [`Error::Data`] when boltzflow did not write it, or in another format version.
pub fn read_model_metadata(path: impl AsRef<Path>) -> Result<ModelMetadata, Error> {
    let path = path.as_ref();
    Ok(read_header(&mut open(path)?, path)?.metadata)
}

/// Reads the parameters of a flow with this layout.
///
/// # Errors
/// [`Error::Read`]; [`Error::Data`] naming the tensor, what was expected and what came.
pub fn load_model(
    path: impl AsRef<Path>,
    layout: &ParameterLayout,
) -> Result<(Vec<f32>, ModelMetadata), Error> {
    load(path.as_ref(), layout, None)
}

fn load(
    path: &Path,
    layout: &ParameterLayout,
    initial: Option<Vec<f32>>,
) -> Result<(Vec<f32>, ModelMetadata), Error> {
    let mut file = open(path)?;
    let header = read_header(&mut file, path)?;
    let wrong = |problem| Error::Data { file: path.to_path_buf(), problem };
    check_tensors(&header, layout, initial.is_some()).map_err(wrong)?;

    let mut theta = initial.unwrap_or_else(|| vec![0.0; layout.total()]);
    let infos = header.tensors.tensors();
    let mut bytes = Vec::new();
    let mut hasher = crc32fast::Hasher::new();
    for tensor in layout.tensors() {
        let Some(info) = infos.get(&tensor.name) else { continue };
        let start = info.data_offsets.0 as u64;
        bytes.resize(4 * tensor.len(), 0);
        file.seek(SeekFrom::Start(header.data + start))
            .and_then(|_| file.read_exact(&mut bytes))
            .map_err(|source| Error::Read { path: path.to_path_buf(), source })?;
        hasher.update(&bytes);
        let entries = &mut theta[tensor.offset..tensor.offset + tensor.len()];
        for (index, (entry, b)) in entries.iter_mut().zip(bytes.chunks_exact(4)).enumerate() {
            *entry = f32::from_le_bytes([b[0], b[1], b[2], b[3]]);
            if !entry.is_finite() {
                return Err(wrong(format!(
                    "tensor `{}` has the entry {entry} at {index}: this model is damaged",
                    tensor.name
                )));
            }
        }
    }
    if header.parameters_crc32.is_some_and(|crc| crc != hasher.finalize()) {
        return Err(wrong("is damaged: the checksum of its parameters does not match".to_string()));
    }
    Ok((theta, header.metadata))
}

/// [`load_model`] by rank 0, which may be the only one with access to the file, for all ranks. With
/// `initial` parameters given, the flow may have
/// [additions](crate::flow::ParameterTensor::addition) which the model's has not: they stay
/// initial.
///
/// # Errors
/// Those of [`load_model`], on every rank.
pub fn load_model_on_all_ranks(
    path: impl AsRef<Path>,
    layout: &ParameterLayout,
    initial: Option<Vec<f32>>,
) -> Result<(Vec<f32>, ModelMetadata), Error> {
    let wrong = |e: serde_json::Error| Error::Run(format!("metadata cannot be passed on: {e}"));
    let (theta, metadata) = team().broadcast(|| {
        let (theta, metadata) = load(path.as_ref(), layout, initial)?;
        Ok((theta, serde_json::to_vec(&metadata).map_err(wrong)?))
    })?;
    Ok((theta, serde_json::from_slice(&metadata).map_err(wrong)?))
}

struct Header {
    tensors: Metadata,
    metadata: ModelMetadata,
    parameters_crc32: Option<u32>,
    /// Where the tensors' bytes start in the file, and how many there are.
    data: u64,
    data_len: u64,
}

fn open(path: &Path) -> Result<File, Error> {
    File::open(path).map_err(|source| Error::Read { path: path.to_path_buf(), source })
}

/// Reads the header alone, since the crate's reader wants the whole file in memory and trusts
/// the sums of the sizes that the file claims.
fn read_header(file: &mut File, path: &Path) -> Result<Header, Error> {
    let unreadable = |source| Error::Read { path: path.to_path_buf(), source };
    let wrong = |problem: String| Error::Data { file: path.to_path_buf(), problem };

    let length = file.metadata().map_err(unreadable)?.len();
    if length < 8 {
        return Err(wrong(format!("has {length} bytes: this is not a safetensors file")));
    }
    let mut size = [0; 8];
    file.read_exact(&mut size).map_err(unreadable)?;
    let size = u64::from_le_bytes(size);
    if size > (length - 8).min(LONGEST_HEADER) {
        return Err(wrong(format!(
            "claims a header of {size} bytes and has {length} in all: this is not a safetensors \
             file, or it was cut off"
        )));
    }
    let mut header = vec![0; size as usize];
    file.read_exact(&mut header).map_err(unreadable)?;
    let tensors: Metadata = serde_json::from_slice(&header)
        .map_err(|e| wrong(format!("its header is not a safetensors header: {e}")))?;

    let text = tensors.metadata().as_ref().and_then(|map| map.get(KEY)).ok_or_else(|| {
        wrong(format!("has no metadata `{KEY}`: boltzflow did not write this model"))
    })?;
    #[derive(Deserialize)]
    struct Version {
        format_version: u32,
    }
    let damaged = |e| wrong(format!("its metadata `{KEY}` is damaged: {e}"));
    let Version { format_version } = serde_json::from_str(text).map_err(damaged)?;
    if format_version != FORMAT {
        return Err(wrong(format!(
            "has format version {format_version} and this boltzflow reads {FORMAT}: use the \
             version of boltzflow that wrote it"
        )));
    }
    let Stored { metadata, metadata_crc32, parameters_crc32, .. } =
        serde_json::from_str(text).map_err(damaged)?;
    if metadata_crc32.is_some_and(|crc| checksum(&metadata).is_ok_and(|found| found != crc)) {
        return Err(wrong(format!("its metadata `{KEY}` is damaged: the checksum does not match")));
    }
    Ok(Header { tensors, metadata, parameters_crc32, data: 8 + size, data_len: length - 8 - size })
}

/// Names, shapes, types and sizes against the flow's, before anything is allocated.
fn check_tensors(header: &Header, layout: &ParameterLayout, may_grow: bool) -> Result<(), String> {
    let infos = header.tensors.tensors();
    for tensor in layout.tensors() {
        let name = &tensor.name;
        if may_grow && tensor.addition && !infos.contains_key(name) {
            continue;
        }
        let info = infos.get(name).ok_or_else(|| {
            format!(
                "has no tensor `{name}`, which the flow has with shape {:?}: the model belongs to \
                 another architecture",
                tensor.shape
            )
        })?;
        if info.shape != tensor.shape {
            return Err(format!(
                "tensor `{name}` has shape {:?} and the flow expects {:?}: the model belongs to \
                 another architecture",
                info.shape, tensor.shape
            ));
        }
        if info.dtype != Dtype::F32 {
            return Err(format!("tensor `{name}` is {:?} and should be F32", info.dtype));
        }
        let (start, end) = info.data_offsets;
        if end.checked_sub(start) != Some(4 * tensor.len()) {
            return Err(format!(
                "tensor `{name}` lies at bytes {start} to {end}, which is not {} entries of F32",
                tensor.len()
            ));
        }
    }
    if let Some(name) = infos.keys().find(|&n| layout.tensors().iter().all(|t| t.name != *n)) {
        return Err(format!(
            "has a tensor `{name}`, which the flow does not have: the model belongs to another \
             architecture"
        ));
    }
    // Each size is right; together the tensors must also cover the data exactly.
    let mut places: Vec<_> = infos.iter().map(|(name, info)| (info.data_offsets, name)).collect();
    places.sort();
    let mut end = 0;
    for ((start, stop), name) in places {
        if start != end {
            return Err(format!("tensor `{name}` starts at byte {start} and should at {end}"));
        }
        end = stop;
    }
    if end as u64 != header.data_len {
        return Err(format!(
            "has {} bytes of parameters and should have {end}: it was cut off or added to",
            header.data_len
        ));
    }
    Ok(())
}
