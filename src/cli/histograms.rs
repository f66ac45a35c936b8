//! Histograms as files and on the terminal.

use std::io::Write;
use std::path::Path;

use crate::error::Error;
use crate::evaluation::{Estimates, Histogram, Profile};
use crate::files::write_atomically;

use super::output::say;

/// Writes the only histogram in `found` to `path` as CSV.
pub(super) fn write(found: &Estimates, path: &Path) -> Result<(), Error> {
    write_atomically(path, |file| match (&found.histograms[..], &found.profiles[..]) {
        ([histogram, ..], _) => write_histogram(histogram, file),
        ([], [profile, ..]) => {
            writeln!(file, "r,density,error")?;
            rows(profile)
                .try_for_each(|(r, density, error)| writeln!(file, "{r:e},{density:e},{error:e}"))
        }
        ([], []) => Ok(()),
    })
}

/// A row for each bin, that of the last observable fastest; an empty bin has no free energy.
fn write_histogram(histogram: &Histogram, file: &mut dyn Write) -> std::io::Result<()> {
    let quoted = |name: &String| match name.contains([',', '"']) {
        true => format!("\"{}\"", name.replace('"', "\"\"")),
        false => name.clone(),
    };
    let named = named(histogram);
    let names: Vec<String> = named.iter().map(quoted).collect();
    write!(file, "{},density,error,free_energy_kT,free_energy_error_kT", names.join(","))?;
    let molar = histogram.kilojoules_per_mole;
    if molar.is_some() {
        write!(file, ",free_energy_kJ_per_mol,free_energy_error_kJ_per_mol")?;
    }
    writeln!(file)?;
    for (bin, centres) in places(histogram).enumerate() {
        for centre in centres {
            write!(file, "{centre},")?;
        }
        write!(file, "{:e},{:e}", histogram.density[bin], histogram.error[bin])?;
        let energy = [histogram.free_energy[bin], histogram.free_energy_error[bin]];
        for unit in [Some(1.0), molar].into_iter().flatten() {
            for value in energy {
                match value {
                    Some(value) => write!(file, ",{:e}", value * unit)?,
                    None => write!(file, ",")?,
                }
            }
        }
        writeln!(file)?;
    }
    Ok(())
}

/// The observables with their units.
fn named(histogram: &Histogram) -> Vec<String> {
    let names = histogram.observables.iter().zip(&histogram.units);
    names
        .map(|(name, unit)| match unit.is_empty() {
            true => name.clone(),
            false => format!("{name} / {unit}"),
        })
        .collect()
}

/// The centres of each bin along all axes.
fn places(histogram: &Histogram) -> impl Iterator<Item = Vec<f64>> + '_ {
    (0..histogram.density.len()).map(|bin| {
        let mut place = bin;
        let mut centres: Vec<f64> = histogram
            .centres
            .iter()
            .rev()
            .filter_map(|axis| {
                let centre = axis.get(place % axis.len().max(1)).copied();
                place /= axis.len().max(1);
                centre
            })
            .collect();
        centres.reverse();
        centres
    })
}

pub(super) fn rows(profile: &Profile) -> impl Iterator<Item = (f64, f64, f64)> + '_ {
    let values = profile.r.iter().zip(&profile.density).zip(&profile.error);
    values.map(|((r, density), error)| (*r, *density, *error))
}

/// Rows of a histogram in two dimensions that are printed.
const ROWS: usize = 20;

/// Prints the bins that were visited, with `mark` behind each; of two observables, those of the
/// lowest free energies.
pub(super) fn print(histogram: &Histogram, mark: &str) -> Result<(), Error> {
    let names = named(histogram).join(", ");
    let molar = histogram.kilojoules_per_mole;
    let unit = if molar.is_some() { "kJ/mol" } else { "kT" };
    say!("{names}: centre, density, free energy / {unit}")?;
    let energy = |bin: usize| histogram.free_energy[bin].unwrap_or(f64::INFINITY);
    let mut rows: Vec<(usize, Vec<f64>)> =
        places(histogram).enumerate().filter(|(bin, _)| energy(*bin).is_finite()).collect();
    let visited = rows.len();
    if histogram.centres.len() > 1 {
        rows.sort_by(|a, b| energy(a.0).total_cmp(&energy(b.0)));
        rows.truncate(ROWS);
    }
    let shown = rows.len();
    for (bin, centres) in rows {
        let (energy, error) = (energy(bin), histogram.free_energy_error[bin].unwrap_or(f64::NAN));
        let (density, density_error) = (histogram.density[bin], histogram.error[bin]);
        let (energy, error) = (energy * molar.unwrap_or(1.0), error * molar.unwrap_or(1.0));
        let place: Vec<String> = centres.iter().map(|c| format!("{c:>10.4}")).collect();
        say!(
            "{}  {density:.3e} ± {density_error:.1e}  {energy:>8.3} ± {error:.3}{mark}",
            place.join(" ")
        )?;
    }
    match visited - shown {
        0 => Ok(()),
        more => say!("… and {more} bins of higher free energy: --json prints all"),
    }
}
