//! Detection of the CPU, and kernels run with its widest vectors.

use std::cell::RefCell;

use super::counting::{self, Counter};
use super::{Kernel, Lane, Portable, Real, Vector};

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
real!(f64, dispatch_reference);

fn dispatch_single<K: Kernel<f32>>(kernel: K) -> K::Output {
    if counting::is_active() {
        return Counter::call(kernel);
    }
    match instruction_set() {
        #[cfg(target_arch = "x86_64")]
        InstructionSet::Avx512 => super::x86::Avx512::call(kernel),
        #[cfg(target_arch = "x86_64")]
        InstructionSet::Avx2 => super::x86::Avx2::call(kernel),
        _ => Portable::<f32>::call(kernel),
    }
}

fn dispatch_reference<K: Kernel<f64>>(kernel: K) -> K::Output {
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
