//! NumPy's archives of arrays.

use std::fs::File;
use std::io::{BufReader, Read, Seek};

use npyz::npz::{file_name_from_array_name, NpzArchive, NpzWriter};
use npyz::zip::{read::ZipFile, write::FileOptions, CompressionMethod, DateTime};
use npyz::WriterBuilder;

use super::format::{Contents, Format, Samples};
use super::npy::{read_array, read_positions};
use super::spool::Spool;
use crate::error::Error;
use crate::files::AtomicFile;
use crate::system::System;

/// `positions`, and `log_weights` and `energies` where known.
pub(super) struct Npz;

impl Format for Npz {
    fn endings(&self) -> &'static [&'static str] {
        &["npz"]
    }

    fn write(
        &self,
        file: &mut AtomicFile,
        contents: &Contents<'_>,
        batches: &mut dyn Iterator<Item = Result<Samples, Error>>,
    ) -> Result<(), Error> {
        let failed = |source| contents.failed(source);
        let shape = contents.shape();
        let mut archive = NpzWriter::new(file);
        // An archive takes one array after the other, but a batch has rows of all three.
        let spool = || Spool::beside(contents.path);
        let (mut log_weights, mut energies) = (spool()?, spool()?);
        let mut array = archive
            .array("positions", entry_options())
            .and_then(|entry| entry.default_dtype().shape(&shape).begin_nd())
            .map_err(failed)?;
        for batch in batches {
            let batch = batch?;
            array.extend(batch.positions).map_err(failed)?;
            log_weights.push(&batch.log_weights)?;
            energies.push(&batch.energies)?;
        }
        drop(array);
        for (name, is_known, spool) in [
            ("log_weights", contents.weighted, &mut log_weights),
            ("energies", contents.with_energies, &mut energies),
        ] {
            if is_known {
                let (mut values, mut failure) = (spool.read()?, None);
                archive
                    .array(name, entry_options())
                    .and_then(|entry| entry.default_dtype().shape(&shape[..1]).begin_nd())
                    .and_then(|mut array| array.extend(values.rest(contents.count, &mut failure)))
                    .map_err(|source| failure.take().unwrap_or_else(|| failed(source)))?;
            }
        }
        archive.zip_writer().finish().map_err(|e| failed(e.into()))?;
        Ok(())
    }

    fn read(&self, file: BufReader<File>, system: System, _: &[usize]) -> Result<Samples, String> {
        let mut archive =
            NpzArchive::new(file).map_err(|e| format!("is not a .npz archive: {e}"))?;
        let names: Vec<String> = archive.array_names().map(str::to_string).collect();
        let has = |array: &str| names.iter().any(|name| name == array);
        if !has("positions") {
            return Err(format!(
                "holds the arrays {names:?} and no `positions`: save it with \
                 np.savez(file, positions=x)"
            ));
        }
        let positions = read_entry(&mut archive, "positions", |file| read_positions(file, system))?;
        let samples = positions.len() / system.coordinates();
        let one_each = |shape: &[usize]| {
            (*shape == [samples]).then_some(()).ok_or_else(|| {
                format!("has shape {shape:?} and should have [samples] = [{samples}]")
            })
        };
        let mut column = |name: &str| match has(name) {
            true => read_entry(&mut archive, name, |file| read_array(file, one_each)),
            false => Ok(Vec::new()),
        };
        let (log_weights, energies) = (column("log_weights")?, column("energies")?);
        Ok(Samples { positions, log_weights, energies })
    }
}

/// Positions compress badly; a fixed date makes the same samples the same bytes.
fn entry_options() -> FileOptions {
    FileOptions::default()
        .compression_method(CompressionMethod::Stored)
        .last_modified_time(DateTime::default())
        .large_file(true)
}

fn read_entry<R: Read + Seek, T>(
    archive: &mut NpzArchive<R>,
    name: &str,
    read: impl FnOnce(ZipFile<'_>) -> Result<T, String>,
) -> Result<T, String> {
    let file = file_name_from_array_name(name);
    let entry = archive.zip_archive().by_name(&file);
    let entry = entry.map_err(|e| format!("array `{name}` cannot be read: {e}"))?;
    read(entry).map_err(|problem| format!("array `{name}` {problem}"))
}
