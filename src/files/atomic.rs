//! Files that appear complete or not at all: written to a temporary file, synced, then renamed.

use std::ffi::OsString;
use std::fs;
#[cfg(not(test))]
use std::fs::{rename, File};
use std::io::{self, BufWriter, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

#[cfg(test)]
use super::faults::{rename, File};
use crate::error::Error;

/// What a temporary file's name ends with; such a file is left only by a process that was killed.
pub(crate) const PARTIAL: &str = ".partial";

/// A buffered file that takes its place at `path` on [`commit`](Self::commit); dropped before that,
/// it leaves nothing and whatever was at `path` stays.
#[derive(Debug)]
pub struct AtomicFile {
    path: PathBuf,
    temporary: PathBuf,
    file: Option<BufWriter<File>>,
}

impl AtomicFile {
    /// Starts a file that will be at `path`, in a folder that exists.
    ///
    /// # Errors
    /// [`Error::Write`] naming `path`.
    pub fn create(path: impl AsRef<Path>) -> Result<Self, Error> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let path = path.as_ref();
        let failed = |source| Error::Write { path: path.to_path_buf(), source };
        let name = path.file_name().ok_or_else(|| {
            failed(io::Error::new(io::ErrorKind::InvalidInput, "the path names no file"))
        })?;
        let mut hidden = OsString::from(".");
        hidden.push(name);
        hidden.push(format!(
            ".{}-{}{PARTIAL}",
            std::process::id(),
            NEXT.fetch_add(1, Ordering::Relaxed)
        ));
        let temporary = path.with_file_name(hidden);
        let file = File::create(&temporary).map_err(failed)?;
        Ok(Self { path: path.to_path_buf(), temporary, file: Some(BufWriter::new(file)) })
    }

    /// Puts the file in its place, on disk before it is visible.
    ///
    /// # Errors
    /// [`Error::Write`] naming the path; the previous file, if any, is then untouched.
    pub fn commit(mut self) -> Result<(), Error> {
        self.put().map_err(|source| Error::Write { path: self.path.clone(), source })
    }

    fn put(&mut self) -> io::Result<()> {
        if let Some(writer) = self.file.take() {
            let file = writer.into_inner().map_err(io::IntoInnerError::into_error)?;
            file.sync_all()?;
        }
        rename(&self.temporary, &self.path)?;
        // The rename itself is durable only once the folder is synced. Not every system can open a
        // folder as a file, and then there is nothing more to do.
        if let Some(folder) = self.path.parent() {
            let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
            if let Ok(folder) = File::open(folder) {
                let _ = folder.sync_all();
            }
        }
        Ok(())
    }

    /// Where its bytes are until then.
    pub(crate) fn temporary(&self) -> &Path {
        &self.temporary
    }

    fn writer(&mut self) -> io::Result<&mut BufWriter<File>> {
        self.file.as_mut().ok_or_else(|| io::Error::other("the file is closed"))
    }
}

impl Write for AtomicFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.writer()?.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer()?.flush()
    }
}

impl Seek for AtomicFile {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.writer()?.seek(to)
    }
}

impl Drop for AtomicFile {
    fn drop(&mut self) {
        // After a successful rename there is nothing here to remove.
        let _ = fs::remove_file(&self.temporary);
    }
}

/// Writes a whole file with `write`; it replaces what is at `path` only when `write` succeeds.
///
/// # Errors
/// [`Error::Write`] naming `path`, with the error of `write` or of the system.
pub fn write_atomically(
    path: impl AsRef<Path>,
    write: impl FnOnce(&mut AtomicFile) -> io::Result<()>,
) -> Result<(), Error> {
    let mut file = AtomicFile::create(&path)?;
    write(&mut file)
        .map_err(|source| Error::Write { path: path.as_ref().to_path_buf(), source })?;
    file.commit()
}
