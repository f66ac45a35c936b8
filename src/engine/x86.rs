//! AVX2 and AVX-512 vectors of f32.
//!
//! Every method is `inline(always)` and ends up inside [`Vector::call`]'s function, which is
//! compiled with the features it needs; `call` itself is only reached through `Real::dispatch`,
//! which has asked the CPU for them. The functions marked `unsafe` below are called from there
//! only.

use std::arch::x86_64::*;

use super::math::{exp_polynomial, ln_polynomial, Float32};
use super::vector::derived_operators;
use super::{Kernel, Lane, Vector};

/// One 512-bit register.
#[derive(Clone, Copy)]
pub(super) struct Avx512(__m512);

#[target_feature(enable = "avx512f,avx512dq,avx2,fma")]
unsafe fn run_avx512<K: Kernel<f32>>(kernel: K) -> K::Output {
    kernel.run::<Avx512>()
}

/// Sixteen reductions as one transposition with additions on the way: 15 additions and 30 shuffles
/// instead of 16 times four of each.
#[inline]
#[target_feature(enable = "avx512f,avx512dq,avx2,fma")]
fn sums_512(v: [__m512; 16]) -> [f32; 16] {
    let first = quarters(four(v[0], v[1], v[2], v[3]), four(v[4], v[5], v[6], v[7]));
    let second = quarters(four(v[8], v[9], v[10], v[11]), four(v[12], v[13], v[14], v[15]));
    let mut out = [0.0; 16];
    // SAFETY: `out` holds sixteen numbers.
    unsafe { _mm512_storeu_ps(out.as_mut_ptr(), quarters(first, second)) };
    out
}

/// In every quarter: a₀ + a₂, b₀ + b₂, a₁ + a₃, b₁ + b₃.
#[inline]
#[target_feature(enable = "avx512f,avx512dq,avx2,fma")]
fn halves(a: __m512, b: __m512) -> __m512 {
    _mm512_add_ps(_mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b))
}

/// In every quarter: its sum of a, of b, of c, of d.
#[inline]
#[target_feature(enable = "avx512f,avx512dq,avx2,fma")]
fn four(a: __m512, b: __m512, c: __m512, d: __m512) -> __m512 {
    let first = _mm512_castps_pd(halves(a, b));
    let second = _mm512_castps_pd(halves(c, d));
    _mm512_add_ps(
        _mm512_castpd_ps(_mm512_unpacklo_pd(first, second)),
        _mm512_castpd_ps(_mm512_unpackhi_pd(first, second)),
    )
}

/// Quarters a₀ + a₁, a₂ + a₃, b₀ + b₁, b₂ + b₃.
#[inline]
#[target_feature(enable = "avx512f,avx512dq,avx2,fma")]
fn quarters(a: __m512, b: __m512) -> __m512 {
    _mm512_add_ps(
        _mm512_shuffle_f32x4::<0b10_00_10_00>(a, b),
        _mm512_shuffle_f32x4::<0b11_01_11_01>(a, b),
    )
}

macro_rules! binary_512 {
    ($name:ident, $intrinsic:ident) => {
        #[inline(always)]
        fn $name(self, other: Self) -> Self {
            // SAFETY: registers only; the features are there (see the top of the file).
            Self(unsafe { $intrinsic(self.0, other.0) })
        }
    };
}

macro_rules! binary_256 {
    ($name:ident, $intrinsic:ident) => {
        #[inline(always)]
        fn $name(self, other: Self) -> Self {
            // SAFETY: registers only; the features are there (see the top of the file).
            unsafe { Self($intrinsic(self.0, other.0), $intrinsic(self.1, other.1)) }
        }
    };
}

macro_rules! operators {
    ($vector:ty, $binary:ident: $($operator:ident $method:ident $intrinsic:ident),*) => {
        $(
            impl std::ops::$operator for $vector {
                type Output = Self;
                $binary!($method, $intrinsic);
            }
        )*
        derived_operators!($vector);
    };
}

operators!(Avx512, binary_512: Add add _mm512_add_ps, Sub sub _mm512_sub_ps,
    Mul mul _mm512_mul_ps, Div div _mm512_div_ps);
operators!(Avx2, binary_256: Add add _mm256_add_ps, Sub sub _mm256_sub_ps,
    Mul mul _mm256_mul_ps, Div div _mm256_div_ps);

impl Vector for Avx512 {
    type Scalar = f32;
    type Mask = __mmask16;
    const WIDE: bool = true;

    #[inline(always)]
    fn call<K: Kernel<f32>>(kernel: K) -> K::Output {
        // SAFETY: reached through `Real::dispatch` after detection (see the top of the file).
        unsafe { run_avx512(kernel) }
    }
    #[inline(always)]
    fn load(lane: &Lane<f32>) -> Self {
        // SAFETY: a lane is 64 bytes, aligned to 64.
        Self(unsafe { _mm512_load_ps(lane.0.as_ptr()) })
    }
    #[inline(always)]
    fn store(self, lane: &mut Lane<f32>) {
        // SAFETY: as in `load`.
        unsafe { _mm512_store_ps(lane.0.as_mut_ptr(), self.0) }
    }
    #[inline(always)]
    fn splat(value: f32) -> Self {
        // SAFETY: registers only; the features are there (see the top of the file).
        Self(unsafe { _mm512_set1_ps(value) })
    }
    #[inline(always)]
    fn mul_add(self, b: Self, c: Self) -> Self {
        // SAFETY: registers only; the features are there (see the top of the file).
        Self(unsafe { _mm512_fmadd_ps(self.0, b.0, c.0) })
    }
    #[inline(always)]
    fn sqrt(self) -> Self {
        // SAFETY: registers only; the features are there (see the top of the file).
        Self(unsafe { _mm512_sqrt_ps(self.0) })
    }
    binary_512!(min, _mm512_min_ps);
    binary_512!(max, _mm512_max_ps);
    #[inline(always)]
    fn lt(self, other: Self) -> Self::Mask {
        // SAFETY: registers only; the features are there (see the top of the file).
        unsafe { _mm512_cmp_ps_mask::<_CMP_LT_OQ>(self.0, other.0) }
    }
    #[inline(always)]
    fn select(mask: Self::Mask, a: Self, b: Self) -> Self {
        // SAFETY: registers only; the features are there (see the top of the file).
        Self(unsafe { _mm512_mask_blend_ps(mask, b.0, a.0) })
    }
    #[inline(always)]
    fn sum(self) -> f32 {
        // SAFETY: registers only.
        unsafe {
            let low = _mm512_castps512_ps256(self.0);
            let high = _mm512_extractf32x8_ps::<1>(self.0);
            sum_256(_mm256_add_ps(low, high))
        }
    }
    #[inline(always)]
    fn sums(v: [Self; 16]) -> [f32; 16] {
        // SAFETY: inside a kernel that was dispatched to these features.
        unsafe { sums_512(v.map(|v| v.0)) }
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

impl Float32 for Avx512 {
    #[inline(always)]
    fn round(self) -> Self {
        // SAFETY: registers only; the features are there (see the top of the file).
        Self(unsafe {
            _mm512_roundscale_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(self.0)
        })
    }
    #[inline(always)]
    fn scale_by_power_of_two(self, n: Self) -> Self {
        // SAFETY: registers only; the features are there (see the top of the file).
        Self(unsafe { _mm512_scalef_ps(self.0, n.0) })
    }
    #[inline(always)]
    fn mantissa_and_exponent(self) -> (Self, Self) {
        // SAFETY: registers only; the features are there (see the top of the file).
        unsafe {
            let m = _mm512_getmant_ps::<_MM_MANT_NORM_P5_1, _MM_MANT_SIGN_SRC>(self.0);
            let e = _mm512_add_ps(_mm512_getexp_ps(self.0), _mm512_set1_ps(1.0));
            (Self(m), Self(e))
        }
    }
}

/// Two 256-bit registers.
#[derive(Clone, Copy)]
pub(super) struct Avx2(__m256, __m256);

#[target_feature(enable = "avx2,fma")]
unsafe fn run_avx2<K: Kernel<f32>>(kernel: K) -> K::Output {
    kernel.run::<Avx2>()
}

/// Sum of eight numbers, halves added pairwise.
#[inline(always)]
unsafe fn sum_256(v: __m256) -> f32 {
    let v = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps::<1>(v));
    let v = _mm_add_ps(v, _mm_movehl_ps(v, v));
    _mm_cvtss_f32(_mm_add_ss(v, _mm_shuffle_ps::<1>(v, v)))
}

impl Vector for Avx2 {
    type Scalar = f32;
    type Mask = (__m256, __m256);
    const WIDE: bool = false;

    #[inline(always)]
    fn call<K: Kernel<f32>>(kernel: K) -> K::Output {
        // SAFETY: reached through `Real::dispatch` after detection (see the top of the file).
        unsafe { run_avx2(kernel) }
    }
    #[inline(always)]
    fn load(lane: &Lane<f32>) -> Self {
        // SAFETY: a lane is 64 bytes, aligned to 64.
        unsafe { Self(_mm256_load_ps(lane.0.as_ptr()), _mm256_load_ps(lane.0.as_ptr().add(8))) }
    }
    #[inline(always)]
    fn store(self, lane: &mut Lane<f32>) {
        // SAFETY: as in `load`.
        unsafe {
            _mm256_store_ps(lane.0.as_mut_ptr(), self.0);
            _mm256_store_ps(lane.0.as_mut_ptr().add(8), self.1);
        }
    }
    #[inline(always)]
    fn splat(value: f32) -> Self {
        // SAFETY: registers only; the features are there (see the top of the file).
        unsafe { Self(_mm256_set1_ps(value), _mm256_set1_ps(value)) }
    }
    binary_256!(min, _mm256_min_ps);
    binary_256!(max, _mm256_max_ps);
    #[inline(always)]
    fn mul_add(self, b: Self, c: Self) -> Self {
        // SAFETY: registers only; the features are there (see the top of the file).
        unsafe { Self(_mm256_fmadd_ps(self.0, b.0, c.0), _mm256_fmadd_ps(self.1, b.1, c.1)) }
    }
    #[inline(always)]
    fn sqrt(self) -> Self {
        // SAFETY: registers only; the features are there (see the top of the file).
        unsafe { Self(_mm256_sqrt_ps(self.0), _mm256_sqrt_ps(self.1)) }
    }
    #[inline(always)]
    fn lt(self, other: Self) -> Self::Mask {
        // SAFETY: registers only; the features are there (see the top of the file).
        unsafe {
            (
                _mm256_cmp_ps::<_CMP_LT_OQ>(self.0, other.0),
                _mm256_cmp_ps::<_CMP_LT_OQ>(self.1, other.1),
            )
        }
    }
    #[inline(always)]
    fn select(mask: Self::Mask, a: Self, b: Self) -> Self {
        // SAFETY: registers only; the features are there (see the top of the file).
        unsafe { Self(_mm256_blendv_ps(b.0, a.0, mask.0), _mm256_blendv_ps(b.1, a.1, mask.1)) }
    }
    #[inline(always)]
    fn sum(self) -> f32 {
        // SAFETY: registers only.
        unsafe { sum_256(_mm256_add_ps(self.0, self.1)) }
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

#[inline(always)]
unsafe fn power_of_two_256(n: __m256) -> __m256 {
    let biased = _mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127));
    let biased = _mm256_max_epi32(biased, _mm256_setzero_si256());
    _mm256_castsi256_ps(_mm256_slli_epi32::<23>(biased))
}

#[inline(always)]
unsafe fn mantissa_256(x: __m256) -> __m256 {
    let fraction = _mm256_and_si256(_mm256_castps_si256(x), _mm256_set1_epi32(0x007f_ffff));
    _mm256_castsi256_ps(_mm256_or_si256(fraction, _mm256_set1_epi32(0x3f00_0000)))
}

#[inline(always)]
unsafe fn exponent_256(x: __m256) -> __m256 {
    let e = _mm256_srli_epi32::<23>(_mm256_castps_si256(x));
    _mm256_cvtepi32_ps(_mm256_sub_epi32(e, _mm256_set1_epi32(126)))
}

impl Float32 for Avx2 {
    #[inline(always)]
    fn round(self) -> Self {
        const NEAREST: i32 = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;
        // SAFETY: registers only; the features are there (see the top of the file).
        unsafe { Self(_mm256_round_ps::<NEAREST>(self.0), _mm256_round_ps::<NEAREST>(self.1)) }
    }
    #[inline(always)]
    fn scale_by_power_of_two(self, n: Self) -> Self {
        // SAFETY: registers only; the features are there (see the top of the file).
        unsafe {
            Self(
                _mm256_mul_ps(self.0, power_of_two_256(n.0)),
                _mm256_mul_ps(self.1, power_of_two_256(n.1)),
            )
        }
    }
    #[inline(always)]
    fn mantissa_and_exponent(self) -> (Self, Self) {
        // SAFETY: registers only; the features are there (see the top of the file).
        unsafe {
            (
                Self(mantissa_256(self.0), mantissa_256(self.1)),
                Self(exponent_256(self.0), exponent_256(self.1)),
            )
        }
    }
}
