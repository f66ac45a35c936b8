//! Files that appear complete or not at all: written to a temporary file, synced, then renamed.
//!
//! As with other programs that write files, a symbolic link stays and the file that it names is
//! written, a file keeps its permissions, and a pipe or a device gets the bytes.

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
    /// What errors name.
    path: PathBuf,
    place: Place,
    temporary: PathBuf,
    file: Option<BufWriter<File>>,
}

/// Where the bytes go in the end.
#[derive(Debug)]
enum Place {
    /// A file of this path, which is no link.
    File(PathBuf),
    /// Something that cannot be replaced, such as a pipe.
    Stream(PathBuf),
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
        let (place, permissions) = place_of(path).map_err(failed)?;
        let beside = match &place {
            Place::File(file) => file.clone(),
            Place::Stream(stream) => {
                std::env::temp_dir().join(stream.file_name().unwrap_or_default())
            }
        };
        let name = beside.file_name().ok_or_else(|| {
            failed(io::Error::new(io::ErrorKind::InvalidInput, "the path names no file"))
        })?;
        let mut hidden = OsString::from(".");
        hidden.push(name);
        hidden.push(format!(
            ".{}-{}{PARTIAL}",
            std::process::id(),
            NEXT.fetch_add(1, Ordering::Relaxed)
        ));
        let temporary = beside.with_file_name(hidden);
        let file = File::create(&temporary).map_err(failed)?;
        let file =
            Self { path: path.to_path_buf(), place, temporary, file: Some(BufWriter::new(file)) };
        if let Some(permissions) = permissions {
            fs::set_permissions(&file.temporary, permissions).map_err(failed)?;
        }
        Ok(file)
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
        let place = match &self.place {
            Place::File(place) => place,
            Place::Stream(stream) => {
                let mut to = fs::OpenOptions::new().write(true).open(stream)?;
                return io::copy(&mut fs::File::open(&self.temporary)?, &mut to).map(drop);
            }
        };
        rename(&self.temporary, place)?;
        // The rename itself is durable only once the folder is synced. Not every system can open a
        // folder as a file, and then there is nothing more to do.
        if let Some(folder) = place.parent() {
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

/// Where a file at `path` belongs, and the permissions of the one that is there.
fn place_of(path: &Path) -> io::Result<(Place, Option<fs::Permissions>)> {
    match fs::metadata(path) {
        Ok(found) if found.is_file() => {
            // Who may not write to a file may not replace it either.
            fs::OpenOptions::new().append(true).open(path)?;
            Ok((Place::File(fs::canonicalize(path)?), Some(found.permissions())))
        }
        Ok(found) if !found.is_dir() => Ok((Place::Stream(path.to_path_buf()), None)),
        _ => Ok((Place::File(behind_links(path)?), None)),
    }
}

/// What the symbolic links at `path` name, where there may be nothing yet.
fn behind_links(path: &Path) -> io::Result<PathBuf> {
    let mut place = path.to_path_buf();
    for _ in 0..40 {
        match fs::read_link(&place) {
            Ok(next) => place = place.parent().unwrap_or(Path::new("")).join(next),
            Err(_) => return Ok(place),
        }
    }
    Err(io::Error::other("its symbolic links go round in a circle"))
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
