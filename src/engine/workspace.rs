//! Scratch memory that a thread keeps, and its division into named pieces.

use std::cell::{Cell, RefCell};
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

/// Hands out pieces of a workspace one after the other, or [measures](Arena::measure) how large the
/// workspace must be for the same requests.
pub struct Arena<'a, T> {
    space: &'a mut [Lane<T>],
    /// While measuring: the lanes in use, and the most that there have been.
    measured: Option<(usize, &'a Cell<usize>)>,
}

impl<'a, T: Real> Arena<'a, T> {
    /// An arena over the whole of `space`.
    #[inline(always)]
    pub fn new(space: &'a mut [Lane<T>]) -> Self {
        Self { space, measured: None }
    }

    /// The most lanes in use at a time during `requests`, which get empty pieces.
    pub fn measure(requests: impl FnOnce(&mut Arena<'_, T>)) -> usize {
        let most = Cell::new(0);
        requests(&mut Arena { space: &mut [], measured: Some((0, &most)) });
        most.get()
    }

    /// The next `lanes` lanes, with whatever was in them.
    #[inline(always)]
    pub fn take(&mut self, lanes: usize) -> &'a mut [Lane<T>] {
        if let Some((used, most)) = &mut self.measured {
            *used += lanes;
            most.set(most.get().max(*used));
            return &mut [];
        }
        let (piece, rest) = std::mem::take(&mut self.space).split_at_mut(lanes);
        self.space = rest;
        piece
    }

    /// The next `lanes` lanes, set to zero.
    #[inline(always)]
    pub fn take_zeroed(&mut self, lanes: usize) -> &'a mut [Lane<T>] {
        let piece = self.take(lanes);
        piece.fill(Lane::zero());
        piece
    }

    /// An arena over what is left, all of which is free again after it.
    #[inline(always)]
    pub fn inner(&mut self) -> Arena<'_, T> {
        Arena { space: self.space, measured: self.measured }
    }

    /// What is left, for an inner arena.
    pub fn rest(&mut self) -> &mut [Lane<T>] {
        self.space
    }
}

/// A struct of named buffers, `name: lanes` for each, and its function `take`, which takes them of
/// an arena, one after the other, given the arguments that stand after the struct's name.
macro_rules! buffers {
    ($(#[$doc:meta])* $vis:vis struct $name:ident($($argument:ident: $type:ty),* $(,)?) {
        $($(#[$field_doc:meta])* $field:ident: $lanes:expr),* $(,)?
    }) => {
        $(#[$doc])*
        $vis struct $name<'a, T> {
            $($(#[$field_doc])* pub $field: &'a mut [$crate::engine::Lane<T>],)*
        }

        impl<'a, T: $crate::engine::Real> $name<'a, T> {
            #[inline(always)]
            $vis fn take(arena: &mut $crate::engine::Arena<'a, T>, $($argument: $type),*) -> Self {
                Self { $($field: arena.take($lanes)),* }
            }
        }
    };
}
pub(crate) use buffers;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_measured_size_is_the_least_that_suffices() {
        let requests = |arena: &mut Arena<'_, f32>| {
            arena.take(3);
            for lanes in [5, 7, 2] {
                arena.inner().take(lanes);
            }
            let mut inner = arena.inner();
            inner.take_zeroed(1);
            inner.inner().take(4);
            arena.take(6);
        };
        assert_eq!(Arena::measure(requests), 10);
        let mut space = [Lane::zero(); 10];
        requests(&mut Arena::new(&mut space));
        let short = std::panic::catch_unwind(move || requests(&mut Arena::new(&mut space[..9])));
        assert!(short.is_err());
    }
}
