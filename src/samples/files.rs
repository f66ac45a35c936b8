//! Reading and writing of sample files, whatever their format.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use super::csv::Csv;
use super::format::{Contents, Format, Samples};
use super::npy::Npy;
use super::npz::Npz;
use super::xyz::Xyz;
use crate::error::Error;
use crate::files::AtomicFile;
use crate::system::System;

/// All formats.
pub(super) static FORMATS: [&dyn Format; 4] = [&Xyz, &Npz, &Npy, &Csv];

fn format_of(path: &Path) -> Result<&'static dyn Format, Error> {
    let ending = path.extension().and_then(|e| e.to_str()).unwrap_or_default();
    let found = FORMATS.into_iter().find(|format| format.endings().contains(&ending));
    found.ok_or_else(|| {
        let mut endings: Vec<String> = FORMATS
            .iter()
            .flat_map(|format| format.endings())
            .map(|ending| format!(".{ending}"))
            .collect();
        let last = endings.pop().unwrap_or_default();
        let problem = format!(
            "has no ending of a format for samples: let the name end in {} or {last}",
            endings.join(", ")
        );
        Error::parameter(path.display().to_string(), problem)
    })
}

/// Checks, before the work that makes them, that samples can be written to `path`.
///
/// # Errors
/// [`Error::Parameter`] when the ending is unknown or the folder does not exist.
pub fn check_destination(path: impl AsRef<Path>) -> Result<(), Error> {
    let path = path.as_ref();
    format_of(path)?;
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    match parent.filter(|parent| !parent.is_dir()) {
        Some(parent) => {
            let problem =
                format!("is in {}, which is not a folder: create it first", parent.display());
            Err(Error::parameter(path.display().to_string(), problem))
        }
        None => Ok(()),
    }
}

/// [`write_samples_of`] particles that are all alike.
///
/// # Errors
/// Those of [`write_samples_of`].
pub fn write_samples(
    path: impl AsRef<Path>,
    system: System,
    count: usize,
    batches: impl IntoIterator<Item = Result<Samples, Error>>,
) -> Result<(), Error> {
    write_samples_of(path, system, &[], count, batches)
}

/// Writes `count` samples that come in `batches`, such as those that a flow draws one after the
/// other; one batch is in memory at a time. The file appears only when it is complete. `labels`
/// names the species of each particle for extended XYZ; it is empty when all are alike.
///
/// # Errors
/// The first error of a batch; [`Error::Parameter`] when the ending is unknown, a batch does not
/// fit the system or the first batch, or there are not `count` samples; [`Error::Write`].
pub fn write_samples_of(
    path: impl AsRef<Path>,
    system: System,
    labels: &[String],
    count: usize,
    batches: impl IntoIterator<Item = Result<Samples, Error>>,
) -> Result<(), Error> {
    let path = path.as_ref();
    let format = format_of(path)?;
    let mut batches = batches.into_iter().peekable();
    // The first batch decides the columns.
    let (weighted, with_energies) = match batches.peek() {
        Some(Ok(first)) => (!first.log_weights.is_empty(), !first.energies.is_empty()),
        _ => (false, false),
    };
    let mut remaining = count;
    let mut checked = batches.map(|batch| {
        let batch = batch?;
        let samples = batch.count(system);
        let fits = |values: &[f64], wanted| values.len() == if wanted { samples } else { 0 };
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
    let contents = Contents { path, system, labels, count, weighted, with_energies };
    format.write(&mut file, &contents, &mut checked)?;
    if remaining > 0 {
        return Err(Error::parameter(
            "samples",
            format!("are {} and {count} were announced", count - remaining),
        ));
    }
    file.commit()
}

/// Reads samples of `system`, such as a user's reference samples. `species` has a number for each
/// particle and is empty when all are alike; only extended XYZ names the species of its particles,
/// and these must agree.
///
/// Arrays may be f32 or f64 of either byte order, row-major or Fortran-ordered, and positions may
/// have the shape [samples, particles, dimension] or [samples, particles · dimension]. The centre
/// of mass is left where the file has it.
///
/// # Errors
/// [`Error::Read`]; [`Error::Parameter`] for an unknown ending; [`Error::Data`] when shapes do
/// not fit the system, a file is cut off, a number is not finite or atoms change their order (with
/// the sample's and the particle's index).
pub fn read_samples(
    path: impl AsRef<Path>,
    system: System,
    species: &[usize],
) -> Result<Samples, Error> {
    let path = path.as_ref();
    let format = format_of(path)?;
    let file =
        File::open(path).map_err(|source| Error::Read { path: path.to_path_buf(), source })?;
    format
        .read(BufReader::new(file), system, species)
        .and_then(|samples| check_numbers(&samples, system).map(|()| samples))
        .map_err(|problem| Error::Data { file: path.to_path_buf(), problem })
}

fn check_numbers(samples: &Samples, system: System) -> Result<(), String> {
    let bad = |index, what: &str, value: f64| {
        Err(format!("sample {index} (counted from 0) has {what} {value}: remove or correct it"))
    };
    for (index, x) in samples.positions.chunks_exact(system.coordinates()).enumerate() {
        if let Some(place) = x.iter().position(|value| !value.is_finite()) {
            let atom = place / system.dimension();
            return bad(index, &format!("at atom {atom} the coordinate"), x[place]);
        }
    }
    for (what, values, forbidden) in [
        ("the log weight", &samples.log_weights, f64::INFINITY),
        ("the energy", &samples.energies, f64::NEG_INFINITY),
    ] {
        let wrong = |value: &f64| value.is_nan() || *value == forbidden;
        if let Some(index) = values.iter().position(wrong) {
            return bad(index, what, values[index]);
        }
    }
    Ok(())
}
