//! `structure = "molecule.pdb"` of a target file: the atoms of a molecule and where they begin.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use serde::Deserialize;
use toml::{Spanned, Value};

use super::folders::Folders;
use super::read::config_error;
use super::structures::{check_energies, MOST_STRUCTURES};
use crate::error::Error;
use crate::molecule::Molecule;
use crate::potential::Potential;
use crate::samples::{read_structure, Particles, Structure};

/// Larger files are no structure of a molecule.
const MOST_BYTES: u64 = 1 << 24;

/// What was read.
pub(super) struct Found {
    pub molecule: Molecule,
    /// Each [particles, 3] in the target's unit of length.
    pub structures: Vec<Vec<f64>>,
    /// Of the file.
    pub content: String,
}

/// Reads the structure that the key `structure` of `file` names or, in a run's copy, holds. The
/// energies of its configurations are looked at if there are any yet: those of `potential`.
///
/// # Errors
/// [`Error::Read`]; [`Error::Data`] with the structure's file, or [`Error::Config`] with `file`
/// where it holds the structure: what is wrong, and the way out.
pub(super) fn read_molecule(
    name_or_content: &str,
    particles: &Particles,
    potential: Option<&dyn Potential>,
    file: &Path,
) -> Result<Found, Error> {
    let (n, d) = (particles.system.particles(), particles.system.dimension());
    if d != 3 {
        let problem = format!("`structure` is for molecules in space, and this target has d = {d}");
        return Err(config_error(file, problem));
    }
    // A structure has several lines, and the name of a file has one.
    let (source, content) = match name_or_content.contains('\n') {
        true => (file.to_path_buf(), name_or_content.to_string()),
        false => {
            let folders = Folders(vec![file.parent().unwrap_or(Path::new("")).to_path_buf()]);
            let source = folders.find(Path::new(name_or_content))?;
            let content = read_text(&source)?;
            (source, content)
        }
    };
    let failed = |problem: String| match source == file {
        true => config_error(file, format!("`structure` {problem}")),
        false => Error::Data { file: source.clone(), problem },
    };
    let Structure { molecule, frames } = read_structure(&content).map_err(failed)?;
    let atoms = molecule.atoms.len();
    if atoms != n {
        let problem = format!(
            "has {atoms} atoms and the target {n}: both must be the same molecule, with all of its \
             hydrogens and without water (OpenMM: Modeller.addHydrogens, Modeller.deleteWater)"
        );
        return Err(failed(problem));
    }
    let unit = particles.angstrom();
    let frames = frames.chunks_exact(3 * n).take(MOST_STRUCTURES);
    let structures: Vec<Vec<f64>> = frames.map(|x| x.iter().map(|x| x / unit).collect()).collect();
    if let Some(potential) = potential {
        check_energies(potential, &structures, &source)?;
    }
    Ok(Found { molecule, structures, content })
}

fn read_text(path: &Path) -> Result<String, Error> {
    let failed = |source| Error::Read { path: path.to_path_buf(), source };
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(failed)?;
    file.take(MOST_BYTES + 1).read_to_end(&mut bytes).map_err(failed)?;
    let problem = match String::from_utf8(bytes) {
        Ok(text) if text.len() as u64 <= MOST_BYTES => return Ok(text),
        Ok(_) => format!("has over {MOST_BYTES} bytes: give the file of one molecule"),
        Err(_) => "is not a text: give a file in PDB, PDBx/mmCIF or extended XYZ".to_string(),
    };
    Err(Error::Data { file: path.to_path_buf(), problem })
}

/// The place of the file's name in a text.
#[derive(Deserialize)]
struct Name {
    structure: Spanned<String>,
}

/// `text` with the structure's `content` in place of its file's name, so that it depends on none.
pub(super) fn with_content(text: &str, content: &str) -> String {
    let Ok(Name { structure }) = toml::from_str::<Name>(text) else { return text.to_string() };
    if structure.get_ref().contains('\n') {
        return text.to_string();
    }
    // One line is always more than a name of a file has.
    let content = if content.ends_with('\n') { content.into() } else { format!("{content}\n") };
    let place = structure.span();
    let before = text.get(..place.start).unwrap_or_default();
    let after = text.get(place.end..).unwrap_or_default();
    format!("{before}{}{after}", Value::String(content))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_holds_the_content_of_its_structure_whatever_that_is() {
        for content in ["one\ntwo\n", "one", "'''\n\"\"\"\\\r\n\u{7}\n", "\nempty first\n\n"] {
            let text = "name = \"a\"\nstructure = \"b.pdb\" # by OpenMM\n[known]\nlog_z = 1.0\n";
            let held = with_content(text, content);
            let table: toml::Table = held.parse().unwrap();
            let found = table["structure"].as_str().unwrap();
            assert_eq!(found.trim_end_matches('\n'), content.trim_end_matches('\n'));
            assert!(found.contains('\n') && held.ends_with(" # by OpenMM\n[known]\nlog_z = 1.0\n"));
            assert_eq!(with_content(&held, "other\n"), held);
        }
    }
}
