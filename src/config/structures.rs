//! `[[structure]]` of a target file: configurations of the particles that are known.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use toml::{Spanned, Table, Value};

use super::folders::Folders;
use super::read::{config_error, from_table, in_file};
use crate::crystal::{Crystal, Lattice};
use crate::error::{Error, EvaluationError};
use crate::potential::Potential;
use crate::samples::{read_samples, Particles};
use crate::system::System;

/// More than so many are taken for a file of data.
pub(super) const MOST_STRUCTURES: usize = 1000;

/// Energy of each particle, in kT, that no crystal has: where neighbours are at half their distance
/// of no energy, a Lennard-Jones pair has 16 000 ε.
const OVERLAP: f64 = 1e5;

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
    /// Or the sites of a lattice that fills the target's periodic box.
    lattice: Option<Lattice>,
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
        let Section { file: name, positions, lattice } = section;
        let (source, structures, from_file) = match (name, positions, lattice) {
            (Some(name), None, None) => {
                let path = folders.find(&name)?;
                let samples = read_samples(&path, particles)?.positions;
                (path, samples.chunks_exact(width).map(<[f64]>::to_vec).collect(), true)
            }
            (None, Some(positions), None) => {
                let listed = listed(&positions, particles.system);
                (file.to_path_buf(), listed.map_err(|e| config_error(file, e))?, false)
            }
            (None, None, Some(lattice)) => {
                let sites = lattice.sites(particles.system);
                let sites = sites.map_err(|e| in_file(file, e.within("structure")))?;
                (file.to_path_buf(), vec![sites], false)
            }
            _ => {
                let problem =
                    "`structure` needs a key `file`, such as file = \"molecule.xyz\", or \
                               `lattice` in a periodic box, such as lattice = \"fcc\"";
                return Err(config_error(file, problem));
            }
        };
        if particles.system.periodic_box().is_some() {
            let check = |x: &Vec<f64>| Crystal::new(particles.system, x).map(drop);
            structures.iter().try_for_each(check).map_err(|e| in_file(&source, e))?;
        }
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
            Ok(energy) if is_crushed(potential.system(), energy) => {
                let of_each = energy / potential.system().particles() as f64;
                let problem = format!(
                    "`structure`: the energy at the sites is {of_each:.1e} kT a particle, as where \
                     particles overlap: correct the box, or the units"
                );
                return Err(config_error(source, problem));
            }
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

/// Whether the particles at the sites of a crystal overlap, by its energy in kT.
fn is_crushed(system: System, energy: f64) -> bool {
    system.periodic_box().is_some() && energy > OVERLAP * system.particles() as f64
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
