//! Lanes, and the traits of the numbers and vectors that kernels are written for.

use std::ops::{Add, AddAssign, Div, Mul, MulAssign, Neg, Sub, SubAssign};

/// Samples that travel together.
pub const LANES: usize = 16;

/// One number of each of [`LANES`] samples.
#[repr(C, align(64))]
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Lane<T>(pub [T; LANES]);

/// A matrix or vector of lanes, of the precision of the vectors `V` that work on it.
pub type Lanes<'a, V> = &'a [Lane<<V as Vector>::Scalar>];

impl<T: Real> Lane<T> {
    /// The same number for every sample.
    pub fn splat(value: T) -> Self {
        Self([value; LANES])
    }

    /// Zero for every sample.
    pub fn zero() -> Self {
        Self::splat(T::ZERO)
    }
}

/// f32 for runs, f64 for checks.
///
/// # Examples
/// ```
/// use boltzflow::engine::Real;
///
/// fn mean<T: Real>(values: &[T]) -> T {
///     let mut sum = T::ZERO;
///     values.iter().for_each(|&value| sum += value);
///     sum / T::of(values.len() as f64)
/// }
/// assert_eq!(mean(&[1.0f32, 2.0]), 1.5);
/// assert_eq!(mean(&[1.0f64, 2.0]), 1.5);
/// ```
pub trait Real:
    Copy
    + Send
    + Sync
    + PartialOrd
    + std::fmt::Debug
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Div<Output = Self>
    + Neg<Output = Self>
    + AddAssign
    + bytemuck::Pod
    + 'static
{
    /// 0.
    const ZERO: Self;
    /// 1.
    const ONE: Self;
    /// Distance from 1 to the next number.
    const EPSILON: Self;
    /// Rounds to this precision.
    fn of(value: f64) -> Self;
    /// Exact widening.
    fn to_f64(self) -> f64;
    /// Runs `kernel` with the widest vectors of this CPU.
    fn dispatch<K: Kernel<Self>>(kernel: K) -> K::Output;
    /// Hands this thread's workspace of at least `lanes` lanes to `body`; see
    /// [`with_workspace`](super::with_workspace).
    fn with_workspace<R>(lanes: usize, body: impl FnOnce(&mut [Lane<Self>]) -> R) -> R;
}

/// Work that is written once for any vector type.
///
/// `run` must be `#[inline(always)]`, as must everything it calls that works on vectors, so that it
/// is compiled with the instruction set it is dispatched to. Large inner parts can be kernels of
/// their own, called by [`Vector::call`].
///
/// # Examples
/// ```
/// use boltzflow::engine::{Kernel, Lane, Real, Vector};
///
/// /// x² + 1/x of lanes, in place.
/// struct Formula<'a, T>(&'a mut [Lane<T>]);
///
/// impl<T: Real> Kernel<T> for Formula<'_, T> {
///     type Output = ();
///
///     #[inline(always)]
///     fn run<V: Vector<Scalar = T>>(self) {
///         for lane in self.0 {
///             let x = V::load(lane);
///             (x * x + V::constant(1.0) / x).store(lane);
///         }
///     }
/// }
///
/// let mut lanes = [Lane::splat(2.0f32)];
/// f32::dispatch(Formula(&mut lanes));
/// assert_eq!(lanes[0].0, [4.5; 16]);
/// ```
pub trait Kernel<T: Real> {
    /// What the work returns.
    type Output;
    /// Does the work.
    fn run<V: Vector<Scalar = T>>(self) -> Self::Output;
}

/// One number of each sample of a tile, in registers.
///
/// Implementations are private to the engine: a value of a hardware vector type only ever exists
/// inside a kernel that was dispatched to that hardware.
///
/// # Examples
/// The smallest kernel is at [`Kernel`]; a function for kernels:
/// ```
/// use boltzflow::engine::{exp, Vector};
///
/// /// e^(−x²/2).
/// #[inline(always)]
/// fn gaussian<V: Vector>(x: V) -> V {
///     exp(x * x * V::constant(-0.5))
/// }
/// ```
pub trait Vector:
    Copy
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Div<Output = Self>
    + Neg<Output = Self>
    + AddAssign
    + SubAssign
    + MulAssign
{
    /// Precision.
    type Scalar: Real;
    /// Result of a comparison.
    type Mask: Copy;
    /// Whether a register file of 32 full-width vectors is there (sets the shape of the GEMM
    /// block).
    const WIDE: bool;
    /// Whether there are no numbers, only a count of the operations with them
    /// ([`count_operations`](super::count_operations)). A kernel whose work depends on the numbers
    /// then does what is usual.
    const COUNTS: bool = false;

    /// Calls an inner kernel, compiled for the same instruction set but not inlined.
    fn call<K: Kernel<Self::Scalar>>(kernel: K) -> K::Output;

    /// Reads a lane.
    fn load(lane: &Lane<Self::Scalar>) -> Self;
    /// Writes a lane.
    fn store(self, lane: &mut Lane<Self::Scalar>);
    /// The same number for every sample.
    fn splat(value: Self::Scalar) -> Self;
    /// `self` · `b` + `c`, fused where the hardware has it.
    fn mul_add(self, b: Self, c: Self) -> Self;
    /// √self.
    fn sqrt(self) -> Self;
    /// 1/self, to rounding.
    #[inline(always)]
    fn reciprocal(self) -> Self {
        Self::constant(1.0) / self
    }
    /// 1/√self, to rounding.
    #[inline(always)]
    fn inverse_sqrt(self) -> Self {
        Self::constant(1.0) / self.sqrt()
    }
    /// The smaller; `other` where `self` is not a number.
    fn min(self, other: Self) -> Self;
    /// The larger; `other` where `self` is not a number.
    fn max(self, other: Self) -> Self;
    /// Whether `self` < `other`.
    fn lt(self, other: Self) -> Self::Mask;
    /// `a` where the mask holds, else `b`.
    fn select(mask: Self::Mask, a: Self, b: Self) -> Self;
    /// Sum over the samples, pairwise in a fixed order.
    fn sum(self) -> Self::Scalar;
    /// The sums of sixteen vectors over the samples.
    #[inline(always)]
    fn sums(values: [Self; 16]) -> [Self::Scalar; 16] {
        values.map(Self::sum)
    }
    /// e^self to rounding; the result for very negative numbers is 0, for very large ones huge.
    fn exp(self) -> Self;
    /// Natural logarithm of a positive number, to rounding.
    fn ln(self) -> Self;

    /// 0.
    #[inline(always)]
    fn zero() -> Self {
        Self::splat(Self::Scalar::ZERO)
    }
    /// A constant.
    #[inline(always)]
    fn constant(value: f64) -> Self {
        Self::splat(Self::Scalar::of(value))
    }
    /// |self|.
    #[inline(always)]
    fn abs(self) -> Self {
        self.max(-self)
    }
    /// `lane` += self.
    #[inline(always)]
    fn accumulate(self, lane: &mut Lane<Self::Scalar>) {
        (Self::load(lane) + self).store(lane);
    }
}

/// The operators that follow from the four of arithmetic. Negation is 0 − self, so that −0 is 0.
macro_rules! derived_operators {
    ($vector:ty) => {
        impl std::ops::Neg for $vector {
            type Output = Self;
            #[inline(always)]
            fn neg(self) -> Self {
                <Self as crate::engine::Vector>::zero() - self
            }
        }
        derived_operators!($vector: AddAssign add_assign +);
        derived_operators!($vector: SubAssign sub_assign -);
        derived_operators!($vector: MulAssign mul_assign *);
    };
    ($vector:ty: $assign:ident $method:ident $operator:tt) => {
        impl std::ops::$assign for $vector {
            #[inline(always)]
            fn $method(&mut self, other: Self) {
                *self = *self $operator other;
            }
        }
    };
}
pub(super) use derived_operators;
