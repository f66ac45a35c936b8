//! Samples to and from files: `.npz`, `.npy` or `.csv`, chosen by the extension.
//!
//! | extension | holds |
//! |---|---|
//! | `.npz` | `positions` [samples, particles, dimension]; `log_weights` and `energies` [samples] where known |
//! | `.npy` | positions alone |
//! | `.csv` | a row per sample: `x0,y0,z0,x1,…`, then `log_weight` and `energy` where known |
//!
//! Extended `.xyz` is read, too.
//!
//! Numbers are written as f64. Positions are in the target's unit of length, energies in kT.

use std::fs::File;
use std::io::{BufReader, Read, Seek};
use std::path::Path;

use npyz::npz::{file_name_from_array_name, NpzArchive, NpzWriter};
use npyz::zip::{read::ZipFile, write::FileOptions, CompressionMethod, DateTime};
use npyz::{WriteOptions, WriterBuilder};

use super::atomic::AtomicFile;
use super::npy::read_array;
use super::xyz::read_xyz;
use crate::error::Error;
use crate::system::System;

/// Configurations, with what is known about each.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Samples {
    /// Row-major [samples, particles, dimension].
    pub positions: Vec<f64>,
    /// log w of each sample; −∞ is weight zero. `None` for samples that all count the same.
    pub log_weights: Option<Vec<f64>>,
    /// U/kT of each sample; +∞ where the potential had no number.
    pub energies: Option<Vec<f64>>,
}

impl Samples {
    /// Number of samples of `system`.
    pub fn count(&self, system: System) -> usize {
        self.positions.len() / system.coordinates()
    }
}

enum Format {
    Npz,
    Npy,
    Csv,
}

impl Format {
    fn of(path: &Path) -> Result<Self, Error> {
        match path.extension().and_then(|e| e.to_str()) {
            Some("npz") => Ok(Self::Npz),
            Some("npy") => Ok(Self::Npy),
            Some("csv") => Ok(Self::Csv),
            _ => Err(Error::parameter(
                path.display().to_string(),
                "does not say a format for samples: let the name end in .npz, .npy or .csv",
            )),
        }
    }
}

/// Whether samples can be written to `path`, for a look before the work that makes them.
///
/// # Errors
/// [`Error::Parameter`] when the extension is unknown or the folder does not exist.
pub fn check_destination(path: impl AsRef<Path>) -> Result<(), Error> {
    let path = path.as_ref();
    Format::of(path)?;
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    match parent.filter(|parent| !parent.is_dir()) {
        Some(parent) => {
            let problem = format!("is in {}, which is no folder: make it first", parent.display());
            Err(Error::parameter(path.display().to_string(), problem))
        }
        None => Ok(()),
    }
}

/// Writes `count` samples that come in `batches`, such as those that a flow draws one after the
/// other; positions are never all in memory. The file appears only when everything is in it.
///
/// # Errors
/// The first error of a batch; [`Error::Parameter`] when the extension is unknown, a batch does not
/// fit the system or the first batch, or there are not `count` samples; [`Error::Write`].
pub fn write_samples(
    path: impl AsRef<Path>,
    system: System,
    count: usize,
    batches: impl IntoIterator<Item = Result<Samples, Error>>,
) -> Result<(), Error> {
    let path = path.as_ref();
    let format = Format::of(path)?;
    let mut batches = batches.into_iter().peekable();
    // What the first batch knows decides the columns.
    let (weighted, with_energies) = match batches.peek() {
        Some(Ok(first)) => (first.log_weights.is_some(), first.energies.is_some()),
        _ => (false, false),
    };
    let mut remaining = count;
    let mut checked = batches.map(|batch| {
        let batch = batch?;
        let samples = batch.count(system);
        let fits = |values: &Option<Vec<f64>>, wanted: bool| match values {
            Some(values) => wanted && values.len() == samples,
            None => !wanted,
        };
        if batch.positions.len() != samples * system.coordinates()
            || !fits(&batch.log_weights, weighted)
            || !fits(&batch.energies, with_energies)
        {
            return Err(Error::parameter("samples", "of one batch differ in number or kind"));
        }
        remaining = remaining.checked_sub(samples).ok_or_else(|| {
            Error::parameter("samples", format!("are more than the {count} announced"))
        })?;
        Ok(batch)
    });

    let mut file = AtomicFile::create(path)?;
    let failed = |source| Error::Write { path: path.to_path_buf(), source };
    let shape = [count as u64, system.particles() as u64, system.dimension() as u64];
    match format {
        Format::Npy => {
            let mut array = WriteOptions::new()
                .default_dtype()
                .shape(&shape)
                .writer(&mut file)
                .begin_nd()
                .map_err(failed)?;
            for batch in &mut checked {
                array.extend(batch?.positions).map_err(failed)?;
            }
            drop(array);
        }
        Format::Npz => {
            let mut archive = NpzWriter::new(&mut file);
            let (mut log_weights, mut energies) = (Vec::new(), Vec::new());
            let mut array = archive
                .array("positions", entry_options())
                .and_then(|entry| entry.default_dtype().shape(&shape).begin_nd())
                .map_err(failed)?;
            for batch in &mut checked {
                let batch = batch?;
                array.extend(batch.positions).map_err(failed)?;
                log_weights.extend(batch.log_weights.into_iter().flatten());
                energies.extend(batch.energies.into_iter().flatten());
            }
            drop(array);
            for (name, known, values) in
                [("log_weights", weighted, log_weights), ("energies", with_energies, energies)]
            {
                if known {
                    let shape = [values.len() as u64];
                    archive
                        .array(name, entry_options())
                        .and_then(|entry| entry.default_dtype().shape(&shape).begin_nd())
                        .and_then(|mut array| array.extend(values))
                        .map_err(failed)?;
                }
            }
            archive.zip_writer().finish().map_err(|e| failed(e.into()))?;
        }
        Format::Csv => {
            let mut writer = csv::Writer::from_writer(&mut file);
            let from_csv = |e: csv::Error| failed(e.into());
            writer.write_record(column_names(system, weighted, with_energies)).map_err(from_csv)?;
            for batch in &mut checked {
                let batch = batch?;
                for (index, x) in batch.positions.chunks_exact(system.coordinates()).enumerate() {
                    let extra = [&batch.log_weights, &batch.energies];
                    let extra = extra.into_iter().flatten().map(|values| values[index]);
                    let row = x.iter().copied().chain(extra).map(|value| value.to_string());
                    writer.write_record(row).map_err(from_csv)?;
                }
            }
            writer.flush().map_err(failed)?;
        }
    }
    drop(checked);
    if remaining > 0 {
        return Err(Error::parameter(
            "samples",
            format!("are {} and {count} were announced", count - remaining),
        ));
    }
    file.commit()
}

/// Positions compress badly; a fixed date makes the same samples the same bytes.
fn entry_options() -> FileOptions {
    FileOptions::default()
        .compression_method(CompressionMethod::Stored)
        .last_modified_time(DateTime::default())
        .large_file(true)
}

fn column_names(system: System, weighted: bool, with_energies: bool) -> Vec<String> {
    let axes = &["x", "y", "z"][..system.dimension()];
    (0..system.particles())
        .flat_map(|particle| axes.iter().map(move |axis| format!("{axis}{particle}")))
        .chain(weighted.then(|| "log_weight".to_string()))
        .chain(with_energies.then(|| "energy".to_string()))
        .collect()
}

/// Reads samples of `system`, such as a user's reference samples. `species` has a number for each
/// particle, none when all are alike; of the formats only extended `.xyz` says what its particles are, and is held
/// to it.
///
/// Arrays may be f32 or f64 of either byte order, row-major or Fortran-ordered, and positions may
/// have the shape [samples, particles, dimension] or [samples, particles · dimension]. The centre of
/// mass is left where the file has it.
///
/// # Errors
/// [`Error::Read`]; [`Error::Parameter`] for an unknown extension; [`Error::Data`] when shapes do
/// not fit the system, a file is cut off, a number is not finite or atoms change their order (with the
/// sample's and the particle's index).
pub fn read_samples(
    path: impl AsRef<Path>,
    system: System,
    species: &[usize],
) -> Result<Samples, Error> {
    let path = path.as_ref();
    let is_xyz = path.extension().is_some_and(|e| e == "xyz" || e == "extxyz");
    let format = if is_xyz { None } else { Some(Format::of(path)?) };
    let unreadable = |source| Error::Read { path: path.to_path_buf(), source };
    let mut reader = BufReader::new(File::open(path).map_err(unreadable)?);
    let samples = match format {
        None => read_xyz(&mut reader, system, species),
        Some(Format::Npy) => read_positions(&mut reader, system)
            .map(|positions| Samples { positions, ..Samples::default() }),
        Some(Format::Npz) => read_npz(&mut reader, system),
        Some(Format::Csv) => read_csv(&mut reader, system),
    };
    samples
        .and_then(|samples| check_numbers(&samples, system).map(|()| samples))
        .map_err(|problem| Error::Data { file: path.to_path_buf(), problem })
}

fn read_positions(reader: impl Read, system: System) -> Result<Vec<f64>, String> {
    let (n, d) = (system.particles(), system.dimension());
    let array = read_array(reader, |shape| match *shape {
        [samples, particles, dimension] if samples > 0 && [particles, dimension] == [n, d] => {
            Ok(())
        }
        [samples, coordinates] if samples > 0 && coordinates == n * d => Ok(()),
        _ => Err(format!("has shape {shape:?} and should have [samples, {n}, {d}]")),
    })?;
    Ok(array.values)
}

fn read_npz(reader: impl Read + Seek, system: System) -> Result<Samples, String> {
    let mut archive = NpzArchive::new(reader).map_err(|e| format!("is no .npz archive: {e}"))?;
    let names: Vec<String> = archive.array_names().map(str::to_string).collect();
    if !names.iter().any(|name| name == "positions") {
        return Err(format!(
            "holds the arrays {names:?} and no `positions`: save it with np.savez(file, positions=x)"
        ));
    }
    let positions = read_entry(&mut archive, "positions", |file| read_positions(file, system))?;
    let samples = positions.len() / system.coordinates();
    let mut column = |name: &str| {
        if !names.iter().any(|known| known == name) {
            return Ok(None);
        }
        let one_each = |shape: &[usize]| {
            (*shape == [samples]).then_some(()).ok_or_else(|| {
                format!("has shape {shape:?} and should have [{samples}], one per sample")
            })
        };
        read_entry(&mut archive, name, |file| Ok(Some(read_array(file, one_each)?.values)))
    };
    let (log_weights, energies) = (column("log_weights")?, column("energies")?);
    Ok(Samples { positions, log_weights, energies })
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

fn read_csv(reader: impl Read, system: System) -> Result<Samples, String> {
    let mut reader = csv::Reader::from_reader(reader);
    let header = reader.headers().map_err(|e| e.to_string())?.clone();
    let weighted = header.iter().any(|name| name.trim() == "log_weight");
    let with_energies = header.iter().any(|name| name.trim() == "energy");
    let names = column_names(system, weighted, with_energies);
    if !header.iter().map(str::trim).eq(names.iter()) {
        return Err(format!("should have the columns {} in this order", names.join(",")));
    }
    let mut samples = Samples {
        positions: Vec::new(),
        log_weights: weighted.then(Vec::new),
        energies: with_energies.then(Vec::new),
    };
    for (index, record) in reader.records().enumerate() {
        let record = record.map_err(|e| e.to_string())?;
        let mut values = Vec::new();
        for (name, cell) in names.iter().zip(&record) {
            values.push(cell.trim().parse::<f64>().map_err(|_| {
                format!("sample {index} has `{cell}` in column {name}: that is no number")
            })?);
        }
        let mut rest = values.into_iter();
        samples.positions.extend(rest.by_ref().take(system.coordinates()));
        for column in [&mut samples.log_weights, &mut samples.energies].into_iter().flatten() {
            column.extend(rest.next());
        }
    }
    if samples.positions.is_empty() {
        return Err("has no samples".to_string());
    }
    Ok(samples)
}

fn check_numbers(samples: &Samples, system: System) -> Result<(), String> {
    let bad = |index, what: &str, value: f64| {
        Err(format!("sample {index} (counted from 0) has {what} {value}: remove or mend it"))
    };
    for (index, x) in samples.positions.chunks_exact(system.coordinates()).enumerate() {
        if let Some(place) = x.iter().position(|value| !value.is_finite()) {
            let atom = place / system.dimension();
            return bad(index, &format!("at atom {atom} the coordinate"), x[place]);
        }
    }
    for (index, &value) in samples.log_weights.iter().flatten().enumerate() {
        if value.is_nan() || value == f64::INFINITY {
            return bad(index, "the log weight", value);
        }
    }
    for (index, &value) in samples.energies.iter().flatten().enumerate() {
        if value.is_nan() || value == f64::NEG_INFINITY {
            return bad(index, "the energy", value);
        }
    }
    Ok(())
}
