//! Where the files are that a recipe names.

use std::io;
use std::path::{Component, Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::Error;

/// Folders in which relative paths of a recipe are looked up, in this order, before the current
/// folder. They are where a recipe is, not what it says: any two are equal.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Folders(pub Vec<PathBuf>);

impl PartialEq for Folders {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Folders {
    /// These as `file` has them: relative ones start at its own folder, which is the default.
    pub(super) fn of_file(self, file: &Path) -> Self {
        let own = file.parent().unwrap_or(Path::new(""));
        match &self.0[..] {
            [] => Self(vec![own.to_path_buf()]),
            folders => Self(folders.iter().map(|folder| own.join(folder)).collect()),
        }
    }

    /// The first place at which there is something called `path`.
    ///
    /// # Errors
    /// [`Error::Read`] with all folders that were looked at.
    pub fn find(&self, path: &Path) -> Result<PathBuf, Error> {
        if let Some(found) = self.within(path) {
            return Ok(found);
        }
        // What cannot be looked at is left to its reader, who says why.
        if path.is_absolute() || !matches!(path.try_exists(), Ok(false)) {
            return Ok(path.to_path_buf());
        }
        let mut looked_at: Vec<String> = Vec::new();
        for folder in self.0.iter().map(PathBuf::as_path).chain([Path::new("")]) {
            let name = real(folder).unwrap_or_else(|_| folder.to_path_buf()).display().to_string();
            if !looked_at.contains(&name) {
                looked_at.push(name);
            }
        }
        let problem = format!("it is not in {}", looked_at.join(" and not in "));
        let source = io::Error::new(io::ErrorKind::NotFound, problem);
        Err(Error::Read { path: path.to_path_buf(), source })
    }

    /// The place of `path`, if it is relative to one of these folders.
    pub(super) fn within(&self, path: &Path) -> Option<PathBuf> {
        let mut places = self.0.iter().map(|folder| folder.join(path));
        places.find(|place| path.is_relative() && place.exists())
    }

    /// As a file in the folder `run` has them: in full, so that they are found if the run is moved,
    /// then from there, so that they are found if both are moved.
    pub(super) fn seen_from(&self, run: &Path) -> Self {
        let full: Vec<PathBuf> = self.0.iter().filter_map(|folder| real(folder).ok()).collect();
        let run = real(run).ok();
        let from_run = full.iter().filter_map(|folder| relative(folder, run.as_deref()?));
        let mut folders: Vec<PathBuf> = full.iter().cloned().chain(from_run).collect();
        // A recipe is text.
        folders.retain(|folder| folder.to_str().is_some());
        Self(folders)
    }
}

/// The folder without links or detours.
fn real(folder: &Path) -> io::Result<PathBuf> {
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    folder.canonicalize()
}

/// The way to one place from the folder `from`, both in full; none if they share only the root.
pub(crate) fn relative(to: &Path, from: &Path) -> Option<PathBuf> {
    let shared = to.components().zip(from.components()).take_while(|(a, b)| a == b).count();
    let up = from.components().skip(shared).map(|_| Component::ParentDir);
    let way: PathBuf = up.chain(to.components().skip(shared)).collect();
    let here = PathBuf::from(".");
    (shared > 1).then_some(if way.as_os_str().is_empty() { here } else { way })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ways_lead_from_one_folder_to_another() {
        for (to, from, way) in [
            ("/home/me/recipes", "/home/me/recipes/run", Some("..")),
            ("/home/me/recipes", "/home/me/runs/one", Some("../../recipes")),
            ("/home/me", "/home/me", Some(".")),
            ("/home/me", "/scratch/run", None),
        ] {
            assert_eq!(relative(Path::new(to), Path::new(from)), way.map(PathBuf::from));
        }
    }
}
