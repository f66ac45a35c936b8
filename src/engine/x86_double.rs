//! AVX2 and AVX-512 vectors of f64: sixteen numbers in two or four registers.
//!
//! As in `x86.rs`, every method is `inline(always)` and ends up inside [`Vector::call`]'s function,
//! which is compiled with the features it needs and is only reached after the CPU was asked for
//! them.

use std::arch::x86_64::*;

use super::series::{exp_series, ln_series, Float64};
use super::vector::derived_operators;
use super::{Kernel, Lane, Vector};

/// Two 512-bit registers.
#[derive(Clone, Copy)]
pub(super) struct Avx512([__m512d; 2]);

/// Four 256-bit registers.
#[derive(Clone, Copy)]
pub(super) struct Avx2([__m256d; 4]);

#[target_feature(enable = "avx512f,avx512dq,avx2,fma")]
unsafe fn run_avx512<K: Kernel<f64>>(kernel: K) -> K::Output {
    kernel.run::<Avx512>()
}

#[target_feature(enable = "avx2,fma")]
unsafe fn run_avx2<K: Kernel<f64>>(kernel: K) -> K::Output {
    kernel.run::<Avx2>()
}

/// What a method does, register by register. A loop and not a closure: see CONTRIBUTING.md.
macro_rules! each {
    ($vector:expr, $count:literal, |$k:ident| $value:expr) => {{
        let mut out = $vector;
        let mut $k = 0;
        while $k < $count {
            // SAFETY: registers only; the features are there (see the top of the file).
            out[$k] = unsafe { $value };
            $k += 1;
        }
        Self(out)
    }};
}

macro_rules! vectors {
    ($vector:ident, $count:literal, $width:literal, $mask:ty, $wide:literal, $run:ident:
        $add:ident $sub:ident $mul:ident $div:ident $min:ident $max:ident
        $fmadd:ident $sqrt:ident $set:ident $load:ident $store:ident $($more:item)*) => {
        vectors!($vector, $count: Add add $add, Sub sub $sub, Mul mul $mul, Div div $div);
        derived_operators!($vector);

        impl Vector for $vector {
            type Scalar = f64;
            type Mask = [$mask; $count];
            const WIDE: bool = $wide;

            #[inline(always)]
            fn call<K: Kernel<f64>>(kernel: K) -> K::Output {
                // SAFETY: reached after detection (see the top of the file).
                unsafe { $run(kernel) }
            }
            #[inline(always)]
            fn load(lane: &Lane<f64>) -> Self {
                let start = lane.0.as_ptr();
                // SAFETY: a lane is 128 bytes, aligned to 64, and holds all the registers.
                let first = unsafe { $load(start) };
                each!([first; $count], $count, |k| $load(start.add($width * k)))
            }
            #[inline(always)]
            fn store(self, lane: &mut Lane<f64>) {
                let start = lane.0.as_mut_ptr();
                let mut k = 0;
                while k < $count {
                    // SAFETY: as in `load`.
                    unsafe { $store(start.add($width * k), self.0[k]) };
                    k += 1;
                }
            }
            #[inline(always)]
            fn splat(value: f64) -> Self {
                // SAFETY: registers only; the features are there (see the top of the file).
                Self([unsafe { $set(value) }; $count])
            }
            #[inline(always)]
            fn mul_add(self, b: Self, c: Self) -> Self {
                each!(self.0, $count, |k| $fmadd(self.0[k], b.0[k], c.0[k]))
            }
            #[inline(always)]
            fn sqrt(self) -> Self {
                each!(self.0, $count, |k| $sqrt(self.0[k]))
            }
            #[inline(always)]
            fn min(self, other: Self) -> Self {
                each!(self.0, $count, |k| $min(self.0[k], other.0[k]))
            }
            #[inline(always)]
            fn max(self, other: Self) -> Self {
                each!(self.0, $count, |k| $max(self.0[k], other.0[k]))
            }
            #[inline(always)]
            fn lt(self, other: Self) -> Self::Mask {
                // SAFETY: registers only; the features are there (see the top of the file).
                unsafe { Self::less(self, other) }
            }
            #[inline(always)]
            fn select(mask: Self::Mask, a: Self, b: Self) -> Self {
                each!(b.0, $count, |k| Self::blend(mask[k], a.0[k], b.0[k]))
            }
            #[inline(always)]
            fn sum(self) -> f64 {
                let mut lane = Lane([0.0; 16]);
                self.store(&mut lane);
                let mut values = lane.0;
                let mut half = 8;
                while half > 0 {
                    for k in 0..half {
                        values[k] += values[k + half];
                    }
                    half /= 2;
                }
                values[0]
            }
            #[inline(always)]
            fn exp(self) -> Self {
                exp_series(self)
            }
            #[inline(always)]
            fn ln(self) -> Self {
                ln_series(self)
            }
            $($more)*
        }
    };
    ($vector:ident, $count:literal: $($operator:ident $method:ident $intrinsic:ident),*) => {
        $(
            impl std::ops::$operator for $vector {
                type Output = Self;
                #[inline(always)]
                fn $method(self, other: Self) -> Self {
                    each!(self.0, $count, |k| $intrinsic(self.0[k], other.0[k]))
                }
            }
        )*
    };
}

vectors!(Avx512, 2, 8, __mmask8, true, run_avx512:
_mm512_add_pd _mm512_sub_pd _mm512_mul_pd _mm512_div_pd _mm512_min_pd _mm512_max_pd
_mm512_fmadd_pd _mm512_sqrt_pd _mm512_set1_pd _mm512_load_pd _mm512_store_pd
// Fourteen bits and two steps of Newton's take a third of the time of a quotient, and of a
// root a fifth.
#[inline(always)]
fn reciprocal(self) -> Self {
    let mut y = each!(self.0, 2, |k| _mm512_rcp14_pd(self.0[k]));
    for _ in 0..2 {
        let error = (-self).mul_add(y, Self::splat(1.0));
        y = error.mul_add(y, y);
    }
    y
}
#[inline(always)]
fn inverse_sqrt(self) -> Self {
    let mut y = each!(self.0, 2, |k| _mm512_rsqrt14_pd(self.0[k]));
    let half = self * Self::splat(-0.5);
    for _ in 0..2 {
        let error = (half * y).mul_add(y, Self::splat(0.5));
        y = error.mul_add(y, y);
    }
    y
});
vectors!(Avx2, 4, 4, __m256d, false, run_avx2:
    _mm256_add_pd _mm256_sub_pd _mm256_mul_pd _mm256_div_pd _mm256_min_pd _mm256_max_pd
    _mm256_fmadd_pd _mm256_sqrt_pd _mm256_set1_pd _mm256_load_pd _mm256_store_pd);

impl Avx512 {
    #[inline(always)]
    unsafe fn less(a: Self, b: Self) -> [__mmask8; 2] {
        [
            _mm512_cmp_pd_mask::<_CMP_LT_OQ>(a.0[0], b.0[0]),
            _mm512_cmp_pd_mask::<_CMP_LT_OQ>(a.0[1], b.0[1]),
        ]
    }

    #[inline(always)]
    unsafe fn blend(mask: __mmask8, a: __m512d, b: __m512d) -> __m512d {
        _mm512_mask_blend_pd(mask, b, a)
    }
}

impl Float64 for Avx512 {
    #[inline(always)]
    fn round(self) -> Self {
        const NEAREST: i32 = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;
        each!(self.0, 2, |k| _mm512_roundscale_pd::<NEAREST>(self.0[k]))
    }
    #[inline(always)]
    fn scale_by_power_of_two(self, n: Self) -> Self {
        each!(self.0, 2, |k| _mm512_scalef_pd(self.0[k], n.0[k]))
    }
    #[inline(always)]
    fn mantissa_and_exponent(self) -> (Self, Self) {
        let m = each!(self.0, 2, |k| _mm512_getmant_pd::<_MM_MANT_NORM_P5_1, _MM_MANT_SIGN_SRC>(
            self.0[k]
        ));
        let e = each!(self.0, 2, |k| _mm512_getexp_pd(self.0[k]));
        (m, e + Self::splat(1.0))
    }
}

impl Avx2 {
    #[inline(always)]
    unsafe fn less(a: Self, b: Self) -> [__m256d; 4] {
        let mut mask = a.0;
        let mut k = 0;
        while k < 4 {
            mask[k] = _mm256_cmp_pd::<_CMP_LT_OQ>(a.0[k], b.0[k]);
            k += 1;
        }
        mask
    }

    #[inline(always)]
    unsafe fn blend(mask: __m256d, a: __m256d, b: __m256d) -> __m256d {
        _mm256_blendv_pd(b, a, mask)
    }
}

#[inline(always)]
unsafe fn power_of_two(n: __m256d) -> __m256d {
    let whole = _mm256_cvtepi32_epi64(_mm256_cvtpd_epi32(n));
    let biased = _mm256_add_epi64(whole, _mm256_set1_epi64x(1023));
    _mm256_castsi256_pd(_mm256_slli_epi64::<52>(biased))
}

#[inline(always)]
unsafe fn mantissa(x: __m256d) -> __m256d {
    let fraction =
        _mm256_and_si256(_mm256_castpd_si256(x), _mm256_set1_epi64x(0x000f_ffff_ffff_ffff));
    _mm256_castsi256_pd(_mm256_or_si256(fraction, _mm256_set1_epi64x(0x3fe0_0000_0000_0000)))
}

#[inline(always)]
unsafe fn exponent(x: __m256d) -> __m256d {
    // The number 2⁵² + e has the bits of e at its end.
    let biased = _mm256_srli_epi64::<52>(_mm256_castpd_si256(x));
    let shifted = _mm256_or_si256(biased, _mm256_set1_epi64x(0x4330_0000_0000_0000));
    _mm256_sub_pd(_mm256_castsi256_pd(shifted), _mm256_set1_pd(4_503_599_627_370_496.0 + 1022.0))
}

impl Float64 for Avx2 {
    #[inline(always)]
    fn round(self) -> Self {
        const NEAREST: i32 = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;
        each!(self.0, 4, |k| _mm256_round_pd::<NEAREST>(self.0[k]))
    }
    #[inline(always)]
    fn scale_by_power_of_two(self, n: Self) -> Self {
        each!(self.0, 4, |k| _mm256_mul_pd(self.0[k], power_of_two(n.0[k])))
    }
    #[inline(always)]
    fn mantissa_and_exponent(self) -> (Self, Self) {
        let m = each!(self.0, 4, |k| mantissa(self.0[k]));
        let e = each!(self.0, 4, |k| exponent(self.0[k]));
        (m, e)
    }
}
