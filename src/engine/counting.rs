//! Arithmetic that counts itself: how many operations a kernel needs is measured by running it.

use std::cell::Cell;
use std::ops::{Add, Div, Mul, Sub};

use super::math::{exp_polynomial, ln_polynomial, Float32};
use super::vector::derived_operators;
use super::{Kernel, Lane, Portable, Vector};

thread_local! {
    static COUNT: Cell<u64> = const { Cell::new(0) };
    static ACTIVE: Cell<bool> = const { Cell::new(false) };
}

/// Floating-point operations that `work` does in f32 kernels on this thread, for one sample of
/// every tile. Additions, subtractions, products, quotients and roots are one each, a multiply-add
/// is two, an exponential or a logarithm is its polynomial; comparisons and choices are none. Only
/// the first sample of a tile is computed: the results of the others mean nothing.
pub fn count_operations(work: impl FnOnce()) -> u64 {
    COUNT.set(0);
    ACTIVE.set(true);
    work();
    ACTIVE.set(false);
    COUNT.get()
}

/// Whether kernels of this thread are to be run on [`Counting`].
pub(super) fn is_active() -> bool {
    ACTIVE.get()
}

#[inline(always)]
fn count(operations: u64) {
    COUNT.set(COUNT.get() + operations);
}

/// The first sample's number.
#[derive(Debug, Clone, Copy)]
pub(super) struct Counting(f32);

macro_rules! counted {
    ($($operator:ident $method:ident $symbol:tt),*) => {
        $(
            impl $operator for Counting {
                type Output = Self;
                #[inline(always)]
                fn $method(self, other: Self) -> Self {
                    count(1);
                    Self(self.0 $symbol other.0)
                }
            }
        )*
    };
}

counted!(Add add +, Sub sub -, Mul mul *, Div div /);
derived_operators!(Counting);

impl Vector for Counting {
    type Scalar = f32;
    type Mask = bool;
    const WIDE: bool = false;

    fn call<K: Kernel<f32>>(kernel: K) -> K::Output {
        kernel.run::<Self>()
    }
    #[inline(always)]
    fn load(lane: &Lane<f32>) -> Self {
        Self(lane.0[0])
    }
    #[inline(always)]
    fn store(self, lane: &mut Lane<f32>) {
        lane.0[0] = self.0;
    }
    #[inline(always)]
    fn splat(value: f32) -> Self {
        Self(value)
    }
    #[inline(always)]
    fn mul_add(self, b: Self, c: Self) -> Self {
        self * b + c
    }
    #[inline(always)]
    fn sqrt(self) -> Self {
        count(1);
        Self(self.0.sqrt())
    }
    #[inline(always)]
    fn min(self, other: Self) -> Self {
        Self(if self.0 < other.0 { self.0 } else { other.0 })
    }
    #[inline(always)]
    fn max(self, other: Self) -> Self {
        Self(if self.0 > other.0 { self.0 } else { other.0 })
    }
    #[inline(always)]
    fn lt(self, other: Self) -> bool {
        self.0 < other.0
    }
    #[inline(always)]
    fn select(mask: bool, a: Self, b: Self) -> Self {
        if mask {
            a
        } else {
            b
        }
    }
    #[inline(always)]
    fn sum(self) -> f32 {
        count(1);
        self.0
    }
    // Functions of their own, because speed does not matter here and the size of the program does.
    #[inline(never)]
    fn exp(self) -> Self {
        exp_polynomial(self)
    }
    #[inline(never)]
    fn ln(self) -> Self {
        ln_polynomial(self)
    }
}

impl Float32 for Counting {
    #[inline(always)]
    fn round(self) -> Self {
        Self(self.0.round_ties_even())
    }
    #[inline(always)]
    fn scale_by_power_of_two(self, n: Self) -> Self {
        count(1);
        first(Portable::splat(self.0).scale_by_power_of_two(Portable::splat(n.0)))
    }
    #[inline(always)]
    fn mantissa_and_exponent(self) -> (Self, Self) {
        let (mantissa, exponent) = Portable::splat(self.0).mantissa_and_exponent();
        (first(mantissa), first(exponent))
    }
}

#[inline(always)]
fn first(vector: Portable<f32>) -> Counting {
    let mut lane = Lane::zero();
    vector.store(&mut lane);
    Counting(lane.0[0])
}
