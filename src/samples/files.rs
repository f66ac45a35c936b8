//! Reading and writing of sample files, whatever their format.

use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};

use super::beside::{read_table, remove_table, table_of, Table};
use super::csv::Csv;
use super::dcd::Dcd;
use super::format::{Contents, Format, Particles, Samples};
use super::npy::Npy;
use super::npz::Npz;
use super::pdb::Pdb;
use super::xyz::Xyz;
use crate::error::Error;
use crate::files::AtomicFile;
use crate::system::System;

/// All formats.
pub(super) static FORMATS: [&dyn Format; 6] = [&Xyz, &Npz, &Npy, &Csv, &Pdb, &Dcd];

fn format_of(path: &Path) -> Result<&'static dyn Format, Error> {
    let ending = path.extension().and_then(|e| e.to_str()).unwrap_or_default();
    let ending = ending.to_ascii_lowercase();
    let found = FORMATS.into_iter().find(|format| format.endings().contains(&&*ending));
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
/// [`Error::Parameter`] when the ending is unknown, the folder does not exist, or `path` is one.
pub fn check_destination(path: impl AsRef<Path>) -> Result<(), Error> {
    let path = path.as_ref();
    format_of(path)?;
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let problem = match parent.filter(|parent| !parent.is_dir()) {
        Some(parent) => {
            format!("is in {}, which is not a folder: create it first", parent.display())
        }
        None if path.is_dir() => "is a folder: name a file".to_string(),
        None => return Ok(()),
    };
    Err(Error::parameter(path.display().to_string(), problem))
}

/// Whether a file of this name holds positions alone, without log weights and energies.
///
/// # Errors
/// [`Error::Parameter`] when the ending is unknown.
pub fn holds_positions_alone(path: impl AsRef<Path>) -> Result<bool, Error> {
    Ok(format_of(path.as_ref())?.positions_alone())
}

/// The table beside a file of this name that has the log weights and energies of its samples, in
/// kT; `None` for formats that hold them themselves.
///
/// # Errors
/// [`Error::Parameter`] when the ending is unknown.
pub fn weights_beside(path: impl AsRef<Path>) -> Result<Option<PathBuf>, Error> {
    let path = path.as_ref();
    Ok(format_of(path)?.weights_beside().then(|| table_of(path)))
}

/// The units of a file of this name, in words for a message.
///
/// # Errors
/// [`Error::Parameter`] when the ending is unknown.
pub fn units_in(path: impl AsRef<Path>, particles: &Particles) -> Result<String, Error> {
    let format = format_of(path.as_ref())?;
    let positions = positions_in(path.as_ref(), particles)?;
    let is_beside = format.weights_beside();
    Ok(match particles.units {
        _ if format.positions_alone() => positions,
        Some(_) if format.in_units() && !is_beside => format!("{positions}, energies in eV"),
        _ => format!("{positions}, energies in kT"),
    })
}

/// The unit of positions in a file of this name, in words for a message.
///
/// # Errors
/// [`Error::Parameter`] when the ending is unknown.
pub fn positions_in(path: impl AsRef<Path>, particles: &Particles) -> Result<String, Error> {
    let format = format_of(path.as_ref())?;
    let in_angstrom = format.weights_beside() || format.in_units() || particles.angstrom() == 1.0;
    Ok(match particles.units {
        Some(_) if in_angstrom => "positions in Å".to_string(),
        _ => "positions in the target's unit of length".to_string(),
    })
}

/// Writes `count` samples of `particles` that come in `batches`, such as those that a flow draws
/// one after the other; one batch is in memory at a time. The file appears only when it is
/// complete.
///
/// Extended XYZ and PDB have the names of the particles. With DCD they have positions in Å, and
/// extended XYZ energies in eV, if the particles have units; everything else is in the units of
/// [`Samples`]. Beside PDB and DCD the log weights and energies are in a table: see
/// [`weights_beside`].
///
/// # Errors
/// The first error of a batch; [`Error::Parameter`] when the ending is unknown, a batch does not
/// fit the system or the first batch, or there are not `count` samples; [`Error::Write`].
pub fn write_samples(
    path: impl AsRef<Path>,
    particles: impl Into<Particles>,
    count: usize,
    batches: impl IntoIterator<Item = Result<Samples, Error>>,
) -> Result<(), Error> {
    let path = path.as_ref();
    let format = format_of(path)?;
    let particles = &particles.into();
    particles.check()?;
    let system = particles.system;
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
    let contents = Contents { path, particles, count, weighted, with_energies };
    let mut table = match format.weights_beside() {
        true => Table::begin(&contents)?,
        false => None,
    };
    let mut batches = checked.by_ref().map(|batch| {
        let batch = batch?;
        if let Some(table) = &mut table {
            table.add(&batch)?;
        }
        Ok(batch)
    });
    format.write(&mut file, &contents, &mut batches)?;
    if remaining > 0 {
        return Err(Error::parameter(
            "samples",
            format!("are {} and {count} were announced", count - remaining),
        ));
    }
    match table {
        Some(table) => table.commit()?,
        None if format.weights_beside() => remove_table(path)?,
        None => {}
    }
    file.commit()
}

/// Reads samples of `particles`, such as a user's reference samples. Extended XYZ and PDB name
/// their particles, and these must agree; with DCD they are in Å if the particles have units, and
/// all other formats are in the target's unit of length. Log weights and energies of PDB and DCD
/// are read from the table that was written beside them, if it is there.
///
/// Arrays may be f32 or f64 of either byte order, row-major or Fortran-ordered, and positions may
/// have the shape [samples, particles, dimension] or [samples, particles · dimension]. The centre
/// of mass is left where the file has it.
///
/// # Errors
/// [`Error::Read`]; [`Error::Parameter`] for an unknown ending; [`Error::Data`] when shapes do
/// not fit the system, a file is cut off, a number is not finite, atoms change their order (with
/// the sample's and the particle's index), or frames are periodic.
pub fn read_samples(
    path: impl AsRef<Path>,
    particles: impl Into<Particles>,
) -> Result<Samples, Error> {
    let path = path.as_ref();
    let format = format_of(path)?;
    let particles = particles.into();
    particles.check()?;
    let file =
        File::open(path).map_err(|source| Error::Read { path: path.to_path_buf(), source })?;
    let wrong = |problem| Error::Data { file: path.to_path_buf(), problem };
    let mut samples = format.read(BufReader::new(file), &particles).map_err(wrong)?;
    if format.weights_beside() {
        read_table(path, samples.count(particles.system), &mut samples)?;
    }
    check_numbers(&samples, particles.system).map_err(wrong)?;
    Ok(samples)
}

/// [`read_samples`] where all samples must count the same: to train on, to validate or to test.
///
/// # Errors
/// Those of [`read_samples`]; [`Error::Data`] for samples with log weights.
pub fn read_equal_samples(
    path: impl AsRef<Path>,
    particles: impl Into<Particles>,
) -> Result<Samples, Error> {
    let path = path.as_ref();
    let samples = read_samples(path, particles)?;
    if samples.log_weights.is_empty() {
        return Ok(samples);
    }
    let problem = "has log weights, and here every sample must count the same: draw equally \
                   weighted ones by boltzflow sample RUN --resample N, or take the weights out of \
                   the file if they do not matter"
        .to_string();
    Err(Error::Data { file: path.to_path_buf(), problem })
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
