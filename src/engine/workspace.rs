//! Scratch memory that a thread keeps, and its division into named pieces.

use std::cell::RefCell;
use std::thread::LocalKey;

use super::{Lane, Real};

/// Runs `body` with at least `lanes` lanes of this thread's workspace. The memory stays with the
/// thread, so that nothing is allocated after the first call; its content is left over from earlier
/// work. Must not be nested.
pub fn with_workspace<T: Real, R>(lanes: usize, body: impl FnOnce(&mut [Lane<T>]) -> R) -> R {
    T::with_workspace(lanes, body)
}

pub(super) fn borrow<T: Real, R>(
    space: &'static LocalKey<RefCell<Vec<Lane<T>>>>,
    lanes: usize,
    body: impl FnOnce(&mut [Lane<T>]) -> R,
) -> R {
    space.with(|space| {
        let mut space = space.borrow_mut();
        if space.len() < lanes {
            space.resize(lanes, Lane::zero());
        }
        body(&mut space[..lanes])
    })
}

/// Hands out pieces of a workspace one after the other.
pub struct Arena<'a, T>(&'a mut [Lane<T>]);

impl<'a, T: Real> Arena<'a, T> {
    /// An arena over the whole of `space`.
    pub fn new(space: &'a mut [Lane<T>]) -> Self {
        Self(space)
    }

    /// The next `lanes` lanes, with whatever was in them.
    #[inline(always)]
    pub fn take(&mut self, lanes: usize) -> &'a mut [Lane<T>] {
        let (piece, rest) = std::mem::take(&mut self.0).split_at_mut(lanes);
        self.0 = rest;
        piece
    }

    /// The next `lanes` lanes, set to zero.
    #[inline(always)]
    pub fn take_zeroed(&mut self, lanes: usize) -> &'a mut [Lane<T>] {
        let piece = self.take(lanes);
        piece.fill(Lane::zero());
        piece
    }

    /// What is left, for an inner arena.
    pub fn rest(&mut self) -> &mut [Lane<T>] {
        self.0
    }
}
