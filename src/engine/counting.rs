//! How many operations a kernel needs, counted by running it on vectors that hold no numbers.

use std::cell::Cell;

use super::math::{exp_polynomial, ln_polynomial, Float32};
use super::vector::derived_operators;
use super::{Kernel, Lane, Vector};

thread_local! {
    static COUNT: Cell<u64> = const { Cell::new(0) };
    static ACTIVE: Cell<bool> = const { Cell::new(false) };
}

/// Floating-point operations that `work` does in f32 kernels on this thread, for one sample of
/// every tile; what it makes is of no use. Additions, subtractions, products, quotients and roots
/// are one each, a multiply-add is two, an exponential or a logarithm is its polynomial;
/// comparisons and choices are none. Work that depends on the numbers counts as
/// [`Vector::COUNTS`] says.
pub fn count_operations(work: impl FnOnce()) -> u64 {
    COUNT.set(0);
    ACTIVE.set(true);
    work();
    ACTIVE.set(false);
    COUNT.get()
}

/// Whether kernels of this thread are to run on [`Counter`].
pub(super) fn is_active() -> bool {
    ACTIVE.get()
}

/// The vector that only counts.
#[derive(Debug, Clone, Copy)]
pub(super) struct Counter;

impl Counter {
    #[inline(always)]
    fn after(operations: u64) -> Self {
        COUNT.set(COUNT.get() + operations);
        Self
    }
}

macro_rules! operators {
    ($($operator:ident $method:ident),*) => {
        $(
            impl std::ops::$operator for Counter {
                type Output = Self;
                #[inline(always)]
                fn $method(self, _: Self) -> Self {
                    Self::after(1)
                }
            }
        )*
    };
}

operators!(Add add, Sub sub, Mul mul, Div div);
derived_operators!(Counter);

impl Vector for Counter {
    type Scalar = f32;
    type Mask = ();
    const WIDE: bool = false;
    const COUNTS: bool = true;

    fn call<K: Kernel<f32>>(kernel: K) -> K::Output {
        kernel.run::<Self>()
    }
    #[inline(always)]
    fn load(_: &Lane<f32>) -> Self {
        Self
    }
    #[inline(always)]
    fn store(self, _: &mut Lane<f32>) {}
    #[inline(always)]
    fn splat(_: f32) -> Self {
        Self
    }
    #[inline(always)]
    fn mul_add(self, _: Self, _: Self) -> Self {
        Self::after(2)
    }
    #[inline(always)]
    fn sqrt(self) -> Self {
        Self::after(1)
    }
    #[inline(always)]
    fn min(self, _: Self) -> Self {
        self
    }
    #[inline(always)]
    fn max(self, _: Self) -> Self {
        self
    }
    #[inline(always)]
    fn lt(self, _: Self) {}
    #[inline(always)]
    fn select((): (), a: Self, _: Self) -> Self {
        a
    }
    #[inline(always)]
    fn sum(self) -> f32 {
        Self::after(1);
        0.0
    }
    #[inline(always)]
    fn exp(self) -> Self {
        exp_polynomial(self)
    }
    #[inline(always)]
    fn ln(self) -> Self {
        ln_polynomial(self)
    }
}

impl Float32 for Counter {
    #[inline(always)]
    fn round(self) -> Self {
        self
    }
    #[inline(always)]
    fn scale_by_power_of_two(self, _: Self) -> Self {
        Self::after(1)
    }
    #[inline(always)]
    fn mantissa_and_exponent(self) -> (Self, Self) {
        (self, self)
    }
}
