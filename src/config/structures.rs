//! `[[structure]]` of a target file: configurations of the particles that are known.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use toml::{Spanned, Table, Value};

use super::folders::Folders;
use super::read::{config_error, from_table};
use crate::error::{Error, EvaluationError};
use crate::potential::Potential;
use crate::samples::{read_samples, Particles};
use crate::system::System;

/// More than so many are taken for a file of data.
pub(super) const MOST_STRUCTURES: usize = 1000;

/// The sections as a file has them.
#[derive(Deserialize)]
struct Sections {
    structure: Vec<Section>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Section {
    /// A file of samples.
    file: Option<PathBuf>,
    /// [samples, particles, dimension], which a run's copy of the target has in place of `file`.
    positions: Option<Vec<Vec<Vec<f64>>>>,
}

/// What was read for a section.
pub(super) struct Found {
    /// Each [particles, dimension].
    pub structures: Vec<Vec<f64>>,
    dimension: usize,
    from_file: bool,
}

/// Reads the `sections` of `file`. Their energies are looked at if there are any yet: those of
/// `potential`.
///
/// # Errors
/// [`Error::Config`] or the error of reading samples, with the file.
pub(super) fn read_structures(
    sections: Value,
    particles: &Particles,
    potential: Option<&dyn Potential>,
    file: &Path,
) -> Result<Vec<Found>, Error> {
    let table = Table::from_iter([("structure".to_string(), sections)]);
    let Sections { structure } = from_table(table, &[]).map_err(|e| config_error(file, e))?;
    let folders = Folders(vec![file.parent().unwrap_or(Path::new("")).to_path_buf()]);
    let (width, dimension) = (particles.system.coordinates(), particles.system.dimension());
    let mut found: Vec<Found> = Vec::new();
    for section in structure {
        let (source, structures, from_file) = match (section.file, section.positions) {
            (Some(name), None) => {
                let path = folders.find(&name)?;
                let samples = read_samples(&path, particles)?.positions;
                (path, samples.chunks_exact(width).map(<[f64]>::to_vec).collect(), true)
            }
            (None, Some(positions)) => {
                let listed = listed(&positions, particles.system);
                (file.to_path_buf(), listed.map_err(|e| config_error(file, e))?, false)
            }
            _ => {
                let problem = "`structure` needs a key `file`, such as file = \"molecule.xyz\"";
                return Err(config_error(file, problem));
            }
        };
        if let Some(potential) = potential {
            check_energies(potential, &structures, &source)?;
        }
        found.push(Found { structures, dimension, from_file });
    }
    match found.iter().map(|section| section.structures.len()).sum() {
        0..=MOST_STRUCTURES => Ok(found),
        all => {
            let problem = format!(
                "`structure` has {all} configurations: leave some out, {MOST_STRUCTURES} are taken"
            );
            Err(config_error(file, problem))
        }
    }
}

fn listed(positions: &[Vec<Vec<f64>>], system: System) -> Result<Vec<Vec<f64>>, String> {
    let (n, d) = (system.particles(), system.dimension());
    let fits = |x: &Vec<Vec<f64>>| {
        x.len() == n && x.iter().all(|x| x.len() == d && x.iter().all(|x| x.is_finite()))
    };
    match positions.iter().position(|x| !fits(x)) {
        None => Ok(positions.iter().map(|x| x.concat()).collect()),
        Some(index) => Err(format!(
            "`structure.positions` {index} (counted from 0) is not a list of {n} positions with \
             {d} numbers each"
        )),
    }
}

/// Checks that the potential has a finite energy at each of `structures`, which are from `source`.
pub(super) fn check_energies(
    potential: &dyn Potential,
    structures: &[Vec<f64>],
    source: &Path,
) -> Result<(), Error> {
    for (index, x) in structures.iter().enumerate() {
        let why = match potential.energy_and_gradient(x, &mut vec![0.0; x.len()]) {
            Ok(energy) if energy.is_finite() => continue,
            Ok(energy) => format!("the energy is {energy}"),
            Err(EvaluationError::Recoverable(why)) => why,
            Err(fatal) => return Err(fatal.into()),
        };
        let problem = format!(
            "sample {index} (counted from 0) is a structure of the target and has no finite \
             energy there ({why}): correct the file or its units"
        );
        return Err(Error::Data { file: source.to_path_buf(), problem });
    }
    Ok(())
}

/// The places of the files' names in a text.
#[derive(Deserialize)]
struct Names {
    structure: Vec<Name>,
}

#[derive(Deserialize)]
struct Name {
    file: Option<Spanned<String>>,
}

/// `text` with the positions that were `found` where it has files, so that it depends on none.
pub(super) fn with_positions(text: &str, found: &[Found]) -> String {
    let names = toml::from_str(text).map_or(Vec::new(), |names: Names| names.structure);
    let places = names.into_iter().filter_map(|name| name.file).map(|name| name.span());
    let mut changed = String::new();
    let mut done = 0;
    for (place, section) in places.zip(found.iter().filter(|section| section.from_file)) {
        // Nothing but blanks stands between a key, its `=` and its value.
        let before = text.get(done..place.start).unwrap_or_default().trim_end();
        let before = before.strip_suffix('=').unwrap_or(before).trim_end();
        let key = ["\"file\"", "'file'", "file"].iter().find_map(|key| before.strip_suffix(key));
        changed += key.unwrap_or(before);
        changed += "positions = [\n";
        for x in &section.structures {
            changed += &format!("  {:?},\n", x.chunks(section.dimension).collect::<Vec<_>>());
        }
        changed += "]";
        done = place.end;
    }
    changed + text.get(done..).unwrap_or_default()
}
