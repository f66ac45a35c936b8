//! Numbers that wait on disk, so that a stream of any length needs no memory.

use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::path::{Path, PathBuf};

use crate::error::Error;
use crate::files::AtomicFile;

/// Rows of numbers in a temporary file in the folder of the file that they are for; gone when
/// dropped.
pub(crate) struct Spool {
    path: PathBuf,
    file: AtomicFile,
}

impl Spool {
    /// An empty one, for the file that will be at `path`.
    pub fn beside(path: &Path) -> Result<Self, Error> {
        Ok(Self { path: path.to_path_buf(), file: AtomicFile::create(path)? })
    }

    /// Appends numbers.
    pub fn push(&mut self, values: &[f64]) -> Result<(), Error> {
        values
            .iter()
            .try_for_each(|value| self.file.write_all(&value.to_le_bytes()))
            .map_err(|source| Error::Write { path: self.path.clone(), source })
    }

    /// What was pushed, from the start.
    pub fn read(&mut self) -> Result<Numbers, Error> {
        let path = self.path.clone();
        match self.file.reopen() {
            Ok(file) => Ok(Numbers { path, file: BufReader::with_capacity(1 << 16, file) }),
            Err(source) => Err(Error::Read { path, source }),
        }
    }
}

/// The numbers of a [`Spool`].
pub(crate) struct Numbers {
    path: PathBuf,
    file: BufReader<File>,
}

impl Numbers {
    /// Fills `out` with the next numbers.
    pub fn next_into(&mut self, out: &mut [f64]) -> Result<(), Error> {
        let mut bytes = [0; 8];
        for value in out {
            self.file
                .read_exact(&mut bytes)
                .map_err(|source| Error::Read { path: self.path.clone(), source })?;
            *value = f64::from_le_bytes(bytes);
        }
        Ok(())
    }

    /// The rest, one by one, for writers that take an iterator; ends early only on a read error,
    /// which is left in `failure`.
    pub fn rest<'a>(
        &'a mut self,
        count: usize,
        failure: &'a mut Option<Error>,
    ) -> impl Iterator<Item = f64> + 'a {
        (0..count).map_while(move |_| {
            let mut value = [0.0];
            match self.next_into(&mut value) {
                Ok(()) => Some(value[0]),
                Err(error) => {
                    *failure = Some(error);
                    None
                }
            }
        })
    }
}

impl AtomicFile {
    /// The bytes written so far, to read while this is open.
    fn reopen(&mut self) -> io::Result<File> {
        self.flush()?;
        File::open(self.temporary())
    }
}
