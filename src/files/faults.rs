//! Files on a disk that fails where a test wants it, in place of `std::fs` in unit tests.
//!
//! Everything that [`AtomicFile`](super::AtomicFile) does to the disk is counted; from the chosen
//! operation on, every one fails, as on a disk that is full and stays so. Files can still be
//! removed.

use std::cell::Cell;
use std::io::{self, ErrorKind, Seek, SeekFrom, Write};
use std::path::Path;

/// What happens at the chosen operation.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Fault {
    /// Nothing is written.
    Full,
    /// A write takes half of its bytes, and the next one none.
    Short,
}

thread_local! {
    /// Operations until the first that fails, and how.
    static PLAN: Cell<Option<(u64, Fault)>> = const { Cell::new(None) };
}

/// Runs `body` on a disk that fails from operation `after` on (counted from 0); also returns
/// whether it came to that.
pub fn with_fault<R>(after: u64, fault: Fault, body: impl FnOnce() -> R) -> (R, bool) {
    PLAN.set(Some((after, fault)));
    let result = body();
    let happened = matches!(PLAN.take(), Some((0, _)));
    (result, happened)
}

fn operation() -> io::Result<Option<Fault>> {
    match PLAN.get() {
        None => Ok(None),
        Some((0, Fault::Full)) => Err(ErrorKind::StorageFull.into()),
        Some((0, Fault::Short)) => {
            PLAN.set(Some((0, Fault::Full)));
            Ok(Some(Fault::Short))
        }
        Some((left, fault)) => {
            PLAN.set(Some((left - 1, fault)));
            Ok(None)
        }
    }
}

/// An operation that is either done or not.
fn whole<R>(does: impl FnOnce() -> io::Result<R>) -> io::Result<R> {
    match operation()? {
        None => does(),
        Some(_) => Err(ErrorKind::StorageFull.into()),
    }
}

#[derive(Debug)]
pub struct File(std::fs::File);

impl File {
    pub fn create(path: impl AsRef<Path>) -> io::Result<Self> {
        whole(|| std::fs::File::create(path).map(Self))
    }

    pub fn open(path: impl AsRef<Path>) -> io::Result<Self> {
        whole(|| std::fs::File::open(path).map(Self))
    }

    pub fn sync_all(&self) -> io::Result<()> {
        whole(|| self.0.sync_all())
    }
}

impl Write for File {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match operation()? {
            None => self.0.write(bytes),
            Some(_) => self.0.write(&bytes[..bytes.len() / 2]),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

impl Seek for File {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.0.seek(to)
    }
}

pub fn rename(from: impl AsRef<Path>, to: impl AsRef<Path>) -> io::Result<()> {
    whole(|| std::fs::rename(from, to))
}
