//! Weights and energies in a table beside files of programs that have no place for them.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, BufReader};
use std::path::{Path, PathBuf};

use super::format::{Contents, Samples};
use crate::error::Error;
use crate::files::AtomicFile;

/// `samples.dcd.weights.csv` beside `samples.dcd`.
pub(super) fn table_of(path: &Path) -> PathBuf {
    let mut name = path.file_name().map_or_else(OsString::new, OsString::from);
    name.push(".weights.csv");
    path.with_file_name(name)
}

/// A table that is being written: a row for each sample, with a column `log_weight` and one
/// `energy`, in kT, where known.
pub(super) struct Table {
    path: PathBuf,
    writer: csv::Writer<AtomicFile>,
}

impl Table {
    /// For the samples that will be in `contents`; none where there is nothing to say.
    pub fn begin(contents: &Contents<'_>) -> Result<Option<Self>, Error> {
        let columns = [(contents.weighted, "log_weight"), (contents.with_energies, "energy")];
        let columns: Vec<&str> =
            columns.iter().filter(|(there, _)| *there).map(|(_, name)| *name).collect();
        if columns.is_empty() {
            return Ok(None);
        }
        let path = table_of(contents.path);
        let writer = csv::Writer::from_writer(AtomicFile::create(&path)?);
        let mut table = Self { path, writer };
        table.row(&columns)?;
        Ok(Some(table))
    }

    fn row<T: AsRef<[u8]>>(&mut self, cells: &[T]) -> Result<(), Error> {
        let failed = |e: csv::Error| Error::Write { path: self.path.clone(), source: e.into() };
        self.writer.write_record(cells).map_err(failed)
    }

    pub fn add(&mut self, batch: &Samples) -> Result<(), Error> {
        let count = batch.log_weights.len().max(batch.energies.len());
        (0..count).try_for_each(|sample| {
            let cells = [batch.log_weights.get(sample), batch.energies.get(sample)];
            let cells: Vec<String> = cells.into_iter().flatten().map(f64::to_string).collect();
            self.row(&cells)
        })
    }

    /// Puts it in its place.
    pub fn commit(self) -> Result<(), Error> {
        let failed = |source: io::Error| Error::Write { path: self.path.clone(), source };
        let file = self.writer.into_inner().map_err(|e| failed(io::Error::other(e.to_string())))?;
        file.commit()
    }
}

/// Removes the table of samples that are to be replaced, so that nobody takes it for that of the
/// new ones.
pub(super) fn remove_table(path: &Path) -> Result<(), Error> {
    let table = table_of(path);
    match fs::remove_file(&table) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            Err(Error::Write { path: table, source })
        }
        _ => Ok(()),
    }
}

/// Adds what the table beside `path` says about `count` samples, if there is one.
///
/// # Errors
/// [`Error::Read`] and [`Error::Data`] with the table's name.
pub(super) fn read_table(path: &Path, count: usize, samples: &mut Samples) -> Result<(), Error> {
    let table = table_of(path);
    let file = match File::open(&table) {
        Ok(file) => file,
        Err(source) if source.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(source) => return Err(Error::Read { path: table, source }),
    };
    columns(BufReader::new(file), count, samples)
        .map_err(|problem| Error::Data { file: table, problem })
}

fn columns(file: BufReader<File>, count: usize, samples: &mut Samples) -> Result<(), String> {
    let mut reader = csv::Reader::from_reader(file);
    let header = reader.headers().map_err(|e| e.to_string())?.clone();
    let names: Vec<&str> = header.iter().map(str::trim).collect();
    if !matches!(names[..], ["log_weight"] | ["energy"] | ["log_weight", "energy"]) {
        return Err("should have the columns log_weight, energy or both in this order".to_string());
    }
    let wrong_count = |rows: String| {
        format!("has {rows} rows for {count} samples: it belongs to others, remove it")
    };
    let mut rows = 0;
    for record in reader.records() {
        let record = record.map_err(|e| e.to_string())?;
        if rows == count {
            return Err(wrong_count(format!("over {count}")));
        }
        for (name, cell) in names.iter().zip(&record) {
            let value = cell.trim().parse::<f64>().map_err(|_| {
                format!("sample {rows} has {cell:.20} in column {name}: that is not a number")
            })?;
            match *name {
                "log_weight" => samples.log_weights.push(value),
                _ => samples.energies.push(value),
            }
        }
        rows += 1;
    }
    match rows == count {
        true => Ok(()),
        false => Err(wrong_count(rows.to_string())),
    }
}
