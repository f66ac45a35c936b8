//! `[[structure]]` of a target file: configurations of the particles that are known.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Deserialize;
use toml::{Spanned, Table, Value};

use super::folders::Folders;
use super::read::{config_error, from_table};
use super::target::Target;
use crate::error::{Error, EvaluationError};
use crate::potential::WithStructures;
use crate::samples::read_samples;

/// More than so many are taken for a file of data.
const MOST_STRUCTURES: usize = 1000;

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

impl Target {
    /// This target, which `file` defines, with the configurations of its `sections`. Its text gets
    /// their positions, so that it does not depend on other files. `evaluate` says whether there
    /// are energies already.
    ///
    /// # Errors
    /// [`Error::Config`] or the error of reading samples, with the file.
    pub(super) fn with_structures(
        mut self,
        sections: Value,
        file: &Path,
        evaluate: bool,
    ) -> Result<Self, Error> {
        let table = Table::from_iter([("structure".to_string(), sections)]);
        let Sections { structure } = from_table(table, &[]).map_err(|e| config_error(file, e))?;
        let folders = Folders(vec![file.parent().unwrap_or(Path::new("")).to_path_buf()]);
        let (mut structures, mut read) = (Vec::new(), Vec::new());
        for section in structure {
            let (source, found) = match (section.file, section.positions) {
                (Some(name), None) => {
                    let path = folders.find(&name)?;
                    let found = from_file(&path, &self)?;
                    read.push(found.clone());
                    (path, found)
                }
                (None, Some(positions)) => (file.to_path_buf(), listed(&positions, &self, file)?),
                _ => {
                    let problem = "`structure` needs a key `file`, such as file = \"molecule.xyz\"";
                    return Err(config_error(file, problem));
                }
            };
            for (index, x) in found.iter().enumerate().filter(|_| evaluate) {
                check_energy(&self, x, index, &source)?;
            }
            structures.extend(found);
        }
        if structures.len() > MOST_STRUCTURES {
            let problem = format!(
                "`structure` has {} configurations: leave some out, {MOST_STRUCTURES} are taken",
                structures.len()
            );
            return Err(config_error(file, problem));
        }
        self.text = with_positions(&self.text, &read, self.potential.system().dimension());
        self.potential = Arc::new(WithStructures::new(self.potential, structures));
        Ok(self)
    }
}

fn from_file(path: &Path, target: &Target) -> Result<Vec<Vec<f64>>, Error> {
    let samples = read_samples(path, target.particles())?;
    let width = target.potential.system().coordinates();
    Ok(samples.positions.chunks_exact(width).map(<[f64]>::to_vec).collect())
}

fn listed(
    positions: &[Vec<Vec<f64>>],
    target: &Target,
    file: &Path,
) -> Result<Vec<Vec<f64>>, Error> {
    let system = target.potential.system();
    let (n, d) = (system.particles(), system.dimension());
    let fits = |x: &Vec<Vec<f64>>| {
        x.len() == n && x.iter().all(|x| x.len() == d && x.iter().all(|x| x.is_finite()))
    };
    match positions.iter().position(|x| !fits(x)) {
        None => Ok(positions.iter().map(|x| x.concat()).collect()),
        Some(index) => {
            let problem = format!(
                "`structure.positions` {index} (counted from 0) is not a list of {n} positions \
                 with {d} numbers each"
            );
            Err(config_error(file, problem))
        }
    }
}

fn check_energy(target: &Target, x: &[f64], index: usize, source: &Path) -> Result<(), Error> {
    let why = match target.potential.energy_and_gradient(x, &mut vec![0.0; x.len()]) {
        Ok(energy) if energy.is_finite() => return Ok(()),
        Ok(energy) => format!("the energy is {energy}"),
        Err(EvaluationError::Recoverable(why)) => why,
        Err(fatal) => return Err(fatal.into()),
    };
    let problem = format!(
        "sample {index} (counted from 0) is a structure of the target and has no finite energy \
         there ({why}): correct the file or its units"
    );
    Err(Error::Data { file: source.to_path_buf(), problem })
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

/// `text` with the positions that were `read` where it has files.
fn with_positions(text: &str, read: &[Vec<Vec<f64>>], dimension: usize) -> String {
    let names = toml::from_str(text).map_or(Vec::new(), |names: Names| names.structure);
    let places = names.into_iter().filter_map(|name| name.file).map(|name| name.span());
    let mut changed = String::new();
    let mut done = 0;
    for (place, structures) in places.zip(read) {
        // Nothing but blanks stands between a key, its `=` and its value.
        let before = text.get(done..place.start).unwrap_or_default().trim_end();
        let before = before.strip_suffix('=').unwrap_or(before).trim_end();
        let key = ["\"file\"", "'file'", "file"].iter().find_map(|key| before.strip_suffix(key));
        changed += key.unwrap_or(before);
        changed += "positions = [\n";
        for x in structures {
            changed += &format!("  {:?},\n", x.chunks(dimension).collect::<Vec<_>>());
        }
        changed += "]";
        done = place.end;
    }
    changed + text.get(done..).unwrap_or_default()
}
