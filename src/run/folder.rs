//! The folder of one run: which file is where, and the lock that keeps a second process out.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use serde::{de::DeserializeOwned, Serialize};

use crate::error::Error;
use crate::files::{write_atomically, PARTIAL};

/// A run's folder `runs/NAME/`. While a value made by [`create`](Self::create) or
/// [`open`](Self::open) lives, no other process can write the same folder.
#[derive(Debug)]
pub struct RunFolder {
    path: PathBuf,
    /// Held for its lock, which ends with this value or with the process, however it ends.
    _lock: Option<File>,
}

impl RunFolder {
    /// Makes the folder of a new run and locks it.
    ///
    /// # Errors
    /// [`Error::Parameter`] when it already holds a run or another process writes it;
    /// [`Error::Write`].
    pub fn create(path: impl AsRef<Path>) -> Result<Self, Error> {
        let path = path.as_ref();
        if path.exists() && !path.is_dir() {
            let problem = format!("is {}, which is a file: name a folder", path.display());
            return Err(Error::parameter("output", problem));
        }
        fs::create_dir_all(path)
            .map_err(|source| Error::Write { path: path.to_path_buf(), source })?;
        let folder = Self::locked(path)?;
        for file in [folder.config(), folder.metrics(), folder.model()] {
            if file.exists() {
                let problem = format!(
                    "is {}, which already holds a run ({} is there): choose another name, or \
                     remove the folder",
                    path.display(),
                    file.file_name().unwrap_or_default().to_string_lossy()
                );
                return Err(Error::parameter("output", problem));
            }
        }
        Ok(folder)
    }

    /// Opens the folder of an existing run for writing and locks it.
    ///
    /// # Errors
    /// [`Error::Read`] when there is no such run, [`Error::Parameter`] when another process writes
    /// it.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, Error> {
        Self::read_only(&path)?;
        Self::locked(path.as_ref())
    }

    /// Opens the folder of an existing run for reading, also while it is being written.
    ///
    /// # Errors
    /// [`Error::Read`] when there is no folder.
    pub fn read_only(path: impl AsRef<Path>) -> Result<Self, Error> {
        let path = path.as_ref().to_path_buf();
        match fs::read_dir(&path) {
            Ok(_) => Ok(Self { path, _lock: None }),
            Err(source) => Err(Error::Read { path, source }),
        }
    }

    /// The folder of a run that another rank writes; it may be out of sight here.
    pub fn elsewhere(path: impl AsRef<Path>) -> Self {
        Self { path: path.as_ref().to_path_buf(), _lock: None }
    }

    /// Takes back what a run wrote before it turned out that its input was wrong: everything that a
    /// run without a model has, and the folder if that leaves nothing. A run with a model stays.
    pub fn discard(&self) {
        if self._lock.is_none() || self.model().exists() {
            return;
        }
        let lock = self.path.join("lock");
        for file in [self.config(), self.target(), self.metrics(), self.reference(), lock] {
            let _ = fs::remove_file(file);
        }
        super::Checkpoint::remove_all(&self.path);
        let _ = fs::remove_dir(&self.path);
    }

    fn locked(path: &Path) -> Result<Self, Error> {
        let file = path.join("lock");
        let failed = |source| Error::Write { path: file.clone(), source };
        let mut lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(&file)
            .map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut owner = String::new();
                let _ = lock.read_to_string(&mut owner);
                let owner = match owner.trim() {
                    "" => String::new(),
                    pid => format!(" ({pid})"),
                };
                let problem = format!(
                    "is {}, which is being written by another process{owner}: wait for it or stop \
                     it, or choose another name for this run",
                    path.display()
                );
                return Err(Error::parameter("output", problem));
            }
            Err(TryLockError::Error(source))
                if source.kind() == std::io::ErrorKind::Unsupported =>
            {
                tracing::warn!(
                    "{}: this file system has no locks; do not start a second process on this run",
                    path.display()
                );
            }
            Err(TryLockError::Error(source)) => return Err(failed(source)),
        }
        lock.set_len(0).map_err(failed)?;
        write!(lock, "process {}", std::process::id()).map_err(failed)?;
        remove_partial_files(path);
        Ok(Self { path: path.to_path_buf(), _lock: Some(lock) })
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// `config.toml`, the resolved recipe.
    pub fn config(&self) -> PathBuf {
        self.path.join("config.toml")
    }

    /// `metrics.csv`, one row per logged step.
    pub fn metrics(&self) -> PathBuf {
        self.path.join("metrics.csv")
    }

    /// `model.safetensors`, the trained parameters.
    pub fn model(&self) -> PathBuf {
        self.path.join("model.safetensors")
    }

    /// `evaluation.json`, the final figures.
    pub fn evaluation(&self) -> PathBuf {
        self.path.join("evaluation.json")
    }

    /// Writes the resolved recipe.
    ///
    /// # Errors
    /// [`Error::Write`].
    pub fn write_config(&self, text: &str) -> Result<(), Error> {
        write_atomically(self.config(), |file| file.write_all(text.as_bytes()))
    }

    /// `target.toml`, the target that was trained on.
    pub fn target(&self) -> PathBuf {
        self.path.join("target.toml")
    }

    /// `reference.npz`, samples of the target for the forward figures.
    pub fn reference(&self) -> PathBuf {
        self.path.join("reference.npz")
    }

    /// Writes the text of the target.
    ///
    /// # Errors
    /// [`Error::Write`].
    pub fn write_target(&self, text: &str) -> Result<(), Error> {
        write_atomically(self.target(), |file| file.write_all(text.as_bytes()))
    }

    /// Reads the text of the target, if there is one.
    ///
    /// # Errors
    /// [`Error::Read`].
    pub fn read_target(&self) -> Result<Option<String>, Error> {
        match fs::read_to_string(self.target()) {
            Ok(text) => Ok(Some(text)),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(Error::Read { path: self.target(), source }),
        }
    }

    /// Reads the resolved recipe.
    ///
    /// # Errors
    /// [`Error::Read`].
    pub fn read_config(&self) -> Result<String, Error> {
        read_text(&self.config())
    }

    /// Writes the evaluation as JSON.
    ///
    /// # Errors
    /// [`Error::Write`].
    pub fn write_evaluation(&self, evaluation: &impl Serialize) -> Result<(), Error> {
        write_atomically(self.evaluation(), |file| {
            serde_json::to_writer_pretty(&mut *file, evaluation)?;
            file.write_all(b"\n")
        })
    }

    /// Reads the evaluation.
    ///
    /// # Errors
    /// [`Error::Read`], or [`Error::Data`] with the line that does not fit.
    pub fn read_evaluation<T: DeserializeOwned>(&self) -> Result<T, Error> {
        let file = self.evaluation();
        let text = read_text(&file)?;
        serde_json::from_str(&text).map_err(|e| Error::Data {
            file,
            problem: format!("{e}; evaluate the run again to write it anew"),
        })
    }
}

fn read_text(path: &Path) -> Result<String, Error> {
    fs::read_to_string(path).map_err(|source| Error::Read { path: path.to_path_buf(), source })
}

/// Removes what a killed process left half-written; only the lock's holder may.
fn remove_partial_files(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with('.') && name.ends_with(PARTIAL) {
            let _ = fs::remove_file(entry.path());
        }
    }
}
