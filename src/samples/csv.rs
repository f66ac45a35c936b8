//! Tables of comma-separated values.

use std::fs::File;
use std::io::BufReader;

use super::format::{Contents, Format, Particles, Samples};
use crate::error::Error;
use crate::files::AtomicFile;
use crate::system::System;

/// A row per sample.
pub(super) struct Csv;

impl Format for Csv {
    fn endings(&self) -> &'static [&'static str] {
        &["csv"]
    }

    fn write(
        &self,
        file: &mut AtomicFile,
        contents: &Contents<'_>,
        batches: &mut dyn Iterator<Item = Result<Samples, Error>>,
    ) -> Result<(), Error> {
        let &Contents { particles, weighted, with_energies, .. } = contents;
        let system = particles.system;
        let failed = |e: csv::Error| contents.failed(e.into());
        let mut writer = csv::Writer::from_writer(file);
        writer.write_record(column_names(system, weighted, with_energies)).map_err(failed)?;
        for batch in batches {
            let batch = batch?;
            for (index, x) in batch.positions.chunks_exact(system.coordinates()).enumerate() {
                let more = [&batch.log_weights, &batch.energies];
                let more = more.into_iter().filter_map(|values| values.get(index));
                let row = x.iter().chain(more).map(f64::to_string);
                writer.write_record(row).map_err(failed)?;
            }
        }
        writer.flush().map_err(|source| contents.failed(source))
    }

    fn read(&self, file: BufReader<File>, particles: &Particles) -> Result<Samples, String> {
        let system = particles.system;
        let mut reader = csv::Reader::from_reader(file);
        let header = reader.headers().map_err(|e| e.to_string())?.clone();
        let has = |column: &str| header.iter().any(|name| name.trim() == column);
        let (weighted, with_energies) = (has("log_weight"), has("energy"));
        let names = column_names(system, weighted, with_energies);
        if !header.iter().map(str::trim).eq(names.iter()) {
            return Err(format!("should have the columns {} in this order", names.join(",")));
        }
        let mut samples = Samples::default();
        for (index, record) in reader.records().enumerate() {
            let record = record.map_err(|e| e.to_string())?;
            let mut values = Vec::new();
            for (name, cell) in names.iter().zip(&record) {
                values.push(cell.trim().parse::<f64>().map_err(|_| {
                    format!("sample {index} has `{cell}` in column {name}: that is not a number")
                })?);
            }
            let mut rest = values.into_iter();
            samples.positions.extend(rest.by_ref().take(system.coordinates()));
            if weighted {
                samples.log_weights.extend(rest.next());
            }
            samples.energies.extend(rest.next());
        }
        if samples.positions.is_empty() {
            return Err("has no samples".to_string());
        }
        Ok(samples)
    }
}

fn column_names(system: System, weighted: bool, with_energies: bool) -> Vec<String> {
    let axes = &["x", "y", "z"][..system.dimension()];
    (0..system.particles())
        .flat_map(|particle| axes.iter().map(move |axis| format!("{axis}{particle}")))
        .chain(weighted.then(|| "log_weight".to_string()))
        .chain(with_energies.then(|| "energy".to_string()))
        .collect()
}
