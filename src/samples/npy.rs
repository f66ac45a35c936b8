//! NumPy's arrays of floating-point numbers.
//!
//! The reader is our own, because that of the npyz crate (which writes our files) panics or
//! exhausts the memory on headers that claim absurd sizes, and reference samples are files of
//! unknown origin. Format:
//! <https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html>.

use std::fs::File;
use std::io::{BufReader, Read};

use npyz::{WriteOptions, WriterBuilder};

use super::format::{Contents, Format, Particles, Samples};
use crate::error::Error;
use crate::files::AtomicFile;
use crate::system::System;

/// NumPy's own headers are under 200 bytes for plain arrays.
const LONGEST_HEADER: usize = 1 << 16;

/// Positions alone.
pub(super) struct Npy;

impl Format for Npy {
    fn endings(&self) -> &'static [&'static str] {
        &["npy"]
    }

    fn write(
        &self,
        file: &mut AtomicFile,
        contents: &Contents<'_>,
        batches: &mut dyn Iterator<Item = Result<Samples, Error>>,
    ) -> Result<(), Error> {
        let mut array = WriteOptions::new()
            .default_dtype()
            .shape(&contents.shape())
            .writer(file)
            .begin_nd()
            .map_err(|source| contents.failed(source))?;
        for batch in batches {
            array.extend(batch?.positions).map_err(|source| contents.failed(source))?;
        }
        Ok(())
    }

    fn read(&self, file: BufReader<File>, particles: &Particles) -> Result<Samples, String> {
        Ok(Samples { positions: read_positions(file, particles.system)?, ..Samples::default() })
    }

    fn positions_alone(&self) -> bool {
        true
    }
}

/// Reads [samples, particles, dimension] or [samples, particles · dimension].
pub(super) fn read_positions(reader: impl Read, system: System) -> Result<Vec<f64>, String> {
    let (n, d) = (system.particles(), system.dimension());
    read_array(reader, |shape| match *shape {
        [samples, particles, dimension] if samples > 0 && [particles, dimension] == [n, d] => {
            Ok(())
        }
        [samples, coordinates] if samples > 0 && coordinates == n * d => Ok(()),
        _ => Err(format!("has shape {shape:?} and should have [samples, {n}, {d}]")),
    })
}

/// Reads an array whose shape `accept` agrees to, in row-major (C) order, whatever the file's;
/// memory grows only with data that really come.
pub(super) fn read_array(
    mut reader: impl Read,
    accept: impl FnOnce(&[usize]) -> Result<(), String>,
) -> Result<Vec<f64>, String> {
    let header = read_header(&mut reader)?;
    let (width, decode) = decoder(&header.kind)?;
    let count = header
        .shape
        .iter()
        .try_fold(1usize, |product, &size| product.checked_mul(size))
        .filter(|count| count.checked_mul(width).is_some())
        .ok_or_else(|| format!("claims the impossible shape {:?}", header.shape))?;
    accept(&header.shape)?;

    let mut bytes = Vec::new();
    let mut data = reader.take((count * width) as u64);
    data.read_to_end(&mut bytes).map_err(|e| e.to_string())?;
    if bytes.len() != count * width {
        return Err(format!(
            "ends after {} of the {count} numbers of its shape {:?}: it was cut off",
            bytes.len() / width,
            header.shape
        ));
    }
    // To the very end, where an archive looks at its checksum.
    if data.into_inner().read(&mut [0]).map_err(|e| e.to_string())? > 0 {
        return Err(format!("has more numbers than its shape {:?} claims", header.shape));
    }
    let stored: Vec<f64> = bytes.chunks_exact(width).map(decode).collect();
    Ok(if header.fortran { to_row_major(&header.shape, &stored) } else { stored })
}

struct Header {
    kind: String,
    fortran: bool,
    shape: Vec<usize>,
}

fn read_header(reader: &mut impl Read) -> Result<Header, String> {
    let mut start = [0; 8];
    reader.read_exact(&mut start).map_err(|_| "is not a .npy array".to_string())?;
    if start[..6] != *b"\x93NUMPY" {
        return Err("is not a .npy array".to_string());
    }
    let mut length = [0; 4];
    let field = match start[6] {
        1 => &mut length[..2],
        2 | 3 => &mut length[..],
        version => return Err(format!("has the unknown .npy version {version}")),
    };
    let cut = |_| "its header was cut off".to_string();
    reader.read_exact(field).map_err(cut)?;
    let length = u32::from_le_bytes(length) as usize;
    if length > LONGEST_HEADER {
        return Err(format!("claims a header of {length} bytes: it is damaged"));
    }
    let mut text = vec![0; length];
    reader.read_exact(&mut text).map_err(cut)?;
    let text = String::from_utf8_lossy(&text).replace('"', "'");
    parse_header(&text).ok_or_else(|| {
        let start: String = text.trim().chars().take(100).collect();
        format!("has the unreadable .npy header {start:?}")
    })
}

/// `{'descr': '<f8', 'fortran_order': False, 'shape': (100, 13, 3), }`
fn parse_header(text: &str) -> Option<Header> {
    let value = |key: &str| {
        let (_, rest) = text.split_once(&format!("'{key}'"))?;
        Some(rest.trim_start().strip_prefix(':')?.trim_start())
    };
    let kind = match value("descr")?.strip_prefix('\'') {
        Some(rest) => rest.split_once('\'')?.0.to_string(),
        None => "a structure".to_string(),
    };
    let order = value("fortran_order")?;
    let fortran = order.starts_with("True");
    if !fortran && !order.starts_with("False") {
        return None;
    }
    let shape = value("shape")?.strip_prefix('(')?.split_once(')')?.0;
    let shape = shape
        .split(',')
        .map(str::trim)
        .filter(|size| !size.is_empty())
        .map(|size| size.parse().ok())
        .collect::<Option<Vec<usize>>>()?;
    Some(Header { kind, fortran, shape })
}

type Decode = fn(&[u8]) -> f64;

fn decoder(kind: &str) -> Result<(usize, Decode), String> {
    fn four(b: &[u8]) -> [u8; 4] {
        [b[0], b[1], b[2], b[3]]
    }
    fn eight(b: &[u8]) -> [u8; 8] {
        [b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7]]
    }
    Ok(match kind {
        "<f4" => (4, |b| f64::from(f32::from_le_bytes(four(b)))),
        ">f4" => (4, |b| f64::from(f32::from_be_bytes(four(b)))),
        "<f8" => (8, |b| f64::from_le_bytes(eight(b))),
        ">f8" => (8, |b| f64::from_be_bytes(eight(b))),
        other => {
            return Err(format!("holds numbers of type {other}: save it as float64 or float32"))
        }
    })
}

/// Entries stored with the first index running fastest, in the order where the last one does.
fn to_row_major(shape: &[usize], stored: &[f64]) -> Vec<f64> {
    let mut index = vec![0; shape.len()];
    let mut values = Vec::with_capacity(stored.len());
    for _ in 0..stored.len() {
        let place = index.iter().zip(shape).rev().fold(0, |place, (i, size)| place * size + i);
        values.push(stored[place]);
        for (i, size) in index.iter_mut().zip(shape).rev() {
            *i += 1;
            if *i < *size {
                break;
            }
            *i = 0;
        }
    }
    values
}
