//! NumPy's archives of arrays.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, Write};

use npyz::{WriteOptions, WriterBuilder};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, DateTime, ZipArchive, ZipWriter};

use super::format::{Contents, Format, Particles, Samples};
use super::npy::{read_array, read_positions};
use super::spool::Spool;
use crate::error::Error;
use crate::files::AtomicFile;

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
        let mut archive = ZipWriter::new(file);
        // An archive takes one array after the other, but a batch has rows of all three.
        let spool = || Spool::beside(contents.path);
        let (mut log_weights, mut energies) = (spool()?, spool()?);
        begin(&mut archive, "positions").map_err(failed)?;
        let options = WriteOptions::new().default_dtype();
        let array = options.clone().shape(&shape).writer(&mut archive).begin_nd();
        let mut array = array.map_err(failed)?;
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
                let options = options.clone().shape(&shape[..1]);
                begin(&mut archive, name)
                    .and_then(|()| options.writer(&mut archive).begin_nd())
                    .and_then(|mut array| array.extend(values.rest(contents.count, &mut failure)))
                    .map_err(|source| failure.take().unwrap_or_else(|| failed(source)))?;
            }
        }
        archive.finish().map_err(|e| failed(e.into()))?;
        Ok(())
    }

    fn read(&self, file: BufReader<File>, particles: &Particles) -> Result<Samples, String> {
        let system = particles.system;
        let mut archive =
            ZipArchive::new(file).map_err(|e| format!("is not a .npz archive: {e}"))?;
        let names = archive.file_names().flatten();
        let names: Vec<String> =
            names.filter_map(|name| name.strip_suffix(".npy").map(str::to_string)).collect();
        let has = |array: &str| names.iter().any(|name| name == array);
        if !has("positions") {
            return Err(format!(
                "holds the arrays {names:?} and no `positions`: save it with \
                 np.savez(file, positions=x)"
            ));
        }
        let weights = |name: &&String| name.contains("weight") && *name != "log_weights";
        if let Some(other) = names.iter().find(weights) {
            return Err(format!(
                "holds the array `{other}`: save the logarithms of weights as `log_weights`, or \
                 leave them out if they do not matter"
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

/// Begins an array. Positions compress badly; a fixed date makes the same samples the same bytes.
fn begin(archive: &mut ZipWriter<impl Write + Seek>, array: &str) -> io::Result<()> {
    let options = SimpleFileOptions::default()
        .compression_method(CompressionMethod::Stored)
        .last_modified_time(DateTime::default())
        .large_file(true);
    archive.start_file(format!("{array}.npy"), options).map_err(io::Error::from)
}

fn read_entry<T>(
    archive: &mut ZipArchive<BufReader<File>>,
    name: &str,
    read: impl FnOnce(&mut dyn Read) -> Result<T, String>,
) -> Result<T, String> {
    let entry = archive.by_name(&format!("{name}.npy"));
    let mut entry = entry.map_err(|e| format!("array `{name}` cannot be read: {e}"))?;
    read(&mut entry).map_err(|problem| format!("array `{name}` {problem}"))
}
