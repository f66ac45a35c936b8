//! The vector abstraction, run-time CPU detection and dispatch.

use std::cell::RefCell;
use std::ops::{Add, AddAssign, Div, Mul, MulAssign, Neg, Sub, SubAssign};

use super::counting::{self, Counting};
use super::{Lane, Portable};

/// f32 for runs, f64 for checks.
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
        derived_operators!($vector: AddAssign add_assign +, SubAssign sub_assign -,
            MulAssign mul_assign *);
    };
    ($vector:ty: $($assign:ident $method:ident $operator:tt),*) => {
        $(
            impl std::ops::$assign for $vector {
                #[inline(always)]
                fn $method(&mut self, other: Self) {
                    *self = *self $operator other;
                }
            }
        )*
    };
}
pub(super) use derived_operators;

/// Instruction sets that kernels are compiled for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InstructionSet {
    /// Plain Rust on arrays of sixteen.
    Portable,
    /// AVX2 with fused multiply-add.
    Avx2,
    /// AVX-512 F and DQ.
    Avx512,
}

impl InstructionSet {
    /// The name that reports use.
    pub fn name(self) -> &'static str {
        match self {
            Self::Portable => "portable",
            Self::Avx2 => "AVX2+FMA",
            Self::Avx512 => "AVX-512",
        }
    }
}

/// The widest instruction set of this CPU, or what `BOLTZFLOW_ISA` (`portable`, `avx2`) limits it
/// to.
pub fn instruction_set() -> InstructionSet {
    static FOUND: std::sync::OnceLock<InstructionSet> = std::sync::OnceLock::new();
    *FOUND.get_or_init(|| {
        let limit = std::env::var("BOLTZFLOW_ISA").unwrap_or_default();
        if limit == "portable" {
            return InstructionSet::Portable;
        }
        #[cfg(target_arch = "x86_64")]
        {
            if limit != "avx2"
                && is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512dq")
            {
                return InstructionSet::Avx512;
            }
            if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
                return InstructionSet::Avx2;
            }
        }
        InstructionSet::Portable
    })
}

macro_rules! real {
    ($real:ty, $dispatch:ident) => {
        impl Real for $real {
            const ZERO: Self = 0.0;
            const ONE: Self = 1.0;
            const EPSILON: Self = <$real>::EPSILON;
            #[inline(always)]
            fn of(value: f64) -> Self {
                value as $real
            }
            #[inline(always)]
            fn to_f64(self) -> f64 {
                self.into()
            }
            fn dispatch<K: Kernel<Self>>(kernel: K) -> K::Output {
                $dispatch(kernel)
            }
            fn with_workspace<R>(lanes: usize, body: impl FnOnce(&mut [Lane<Self>]) -> R) -> R {
                thread_local! {
                    static SPACE: RefCell<Vec<Lane<$real>>> = const { RefCell::new(Vec::new()) };
                }
                super::workspace::borrow(&SPACE, lanes, body)
            }
        }
    };
}

real!(f32, dispatch_single);
real!(f64, dispatch_double);

fn dispatch_single<K: Kernel<f32>>(kernel: K) -> K::Output {
    if counting::is_active() {
        return Counting::call(kernel);
    }
    match instruction_set() {
        #[cfg(target_arch = "x86_64")]
        InstructionSet::Avx512 => super::x86::Avx512::call(kernel),
        #[cfg(target_arch = "x86_64")]
        InstructionSet::Avx2 => super::x86::Avx2::call(kernel),
        _ => Portable::<f32>::call(kernel),
    }
}

fn dispatch_double<K: Kernel<f64>>(kernel: K) -> K::Output {
    Portable::<f64>::call(kernel)
}

/// What a kernel makes on every instruction set that this CPU has.
#[cfg(test)]
pub(super) fn on_every_set<K: Kernel<f32>>(
    kernel: impl Fn() -> K,
) -> Vec<(InstructionSet, K::Output)> {
    let mut made = vec![(InstructionSet::Portable, Portable::<f32>::call(kernel()))];
    #[cfg(target_arch = "x86_64")]
    {
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            made.push((InstructionSet::Avx2, super::x86::Avx2::call(kernel())));
        }
        if is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512dq") {
            made.push((InstructionSet::Avx512, super::x86::Avx512::call(kernel())));
        }
    }
    made
}
