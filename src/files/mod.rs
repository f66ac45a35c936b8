//! Files that appear complete or not at all.

mod atomic;
#[cfg(test)]
pub(crate) mod faults;

pub(crate) use atomic::PARTIAL;
pub use atomic::{write_atomically, AtomicFile};
