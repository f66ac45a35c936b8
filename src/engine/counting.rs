//! How many operations a kernel needs, counted by running it.

use std::cell::Cell;

thread_local! {
    static COUNT: Cell<u64> = const { Cell::new(0) };
    static ACTIVE: Cell<bool> = const { Cell::new(false) };
}

/// Floating-point operations that `work` does in f32 kernels on this thread, for one sample of
/// every tile. Additions, subtractions, products, quotients and roots are one each, a multiply-add
/// is two, an exponential or a logarithm is its polynomial; comparisons and choices are none.
pub fn count_operations(work: impl FnOnce()) -> u64 {
    COUNT.set(0);
    ACTIVE.set(true);
    work();
    ACTIVE.set(false);
    COUNT.get()
}

/// Whether kernels of this thread are to run on vectors that count.
pub(super) fn is_active() -> bool {
    ACTIVE.get()
}

/// Adds to the count of this thread, on vectors that count.
#[inline(always)]
pub(super) fn count<const COUNTS: bool>(operations: u64) {
    if COUNTS {
        COUNT.set(COUNT.get() + operations);
    }
}
