//! Sixteen numbers in an array: the path for any CPU, and the f64 reference.

use super::math::{exp_polynomial, ln_polynomial, Float32};
use super::vector::derived_operators;
use super::{Kernel, Lane, Vector, LANES};

/// Sixteen numbers in an array.
#[derive(Debug, Clone, Copy)]
pub struct Portable<T>([T; LANES]);

#[inline(always)]
fn map<T: Copy, U>(a: [T; LANES], f: impl Fn(T) -> U) -> [U; LANES] {
    std::array::from_fn(|i| f(a[i]))
}

#[inline(always)]
fn zip<T: Copy, U>(a: [T; LANES], b: [T; LANES], f: impl Fn(T, T) -> U) -> [U; LANES] {
    std::array::from_fn(|i| f(a[i], b[i]))
}

macro_rules! operators {
    ($real:ty: $($operator:ident $method:ident $symbol:tt),*) => {
        $(
            impl std::ops::$operator for Portable<$real> {
                type Output = Self;
                #[inline(always)]
                fn $method(self, other: Self) -> Self {
                    Self(zip(self.0, other.0, |a, b| a $symbol b))
                }
            }
        )*
    };
}

macro_rules! portable {
    ($real:ty, $exp:expr, $ln:expr) => {
        operators!($real: Add add +, Sub sub -, Mul mul *, Div div /);
        derived_operators!(Portable<$real>);

        impl Vector for Portable<$real> {
            type Scalar = $real;
            type Mask = [bool; LANES];
            const WIDE: bool = false;

            fn call<K: Kernel<$real>>(kernel: K) -> K::Output {
                kernel.run::<Self>()
            }
            #[inline(always)]
            fn load(lane: &Lane<$real>) -> Self {
                Self(lane.0)
            }
            #[inline(always)]
            fn store(self, lane: &mut Lane<$real>) {
                lane.0 = self.0;
            }
            #[inline(always)]
            fn splat(value: $real) -> Self {
                Self([value; LANES])
            }
            #[inline(always)]
            fn mul_add(self, b: Self, c: Self) -> Self {
                // Not fused: without the hardware, a fused one is a call into the C library.
                Self(std::array::from_fn(|i| self.0[i] * b.0[i] + c.0[i]))
            }
            #[inline(always)]
            fn sqrt(self) -> Self {
                Self(map(self.0, <$real>::sqrt))
            }
            #[inline(always)]
            fn min(self, other: Self) -> Self {
                Self(zip(self.0, other.0, |a, b| if a < b { a } else { b }))
            }
            #[inline(always)]
            fn max(self, other: Self) -> Self {
                Self(zip(self.0, other.0, |a, b| if a > b { a } else { b }))
            }
            #[inline(always)]
            fn lt(self, other: Self) -> Self::Mask {
                zip(self.0, other.0, |a, b| a < b)
            }
            #[inline(always)]
            fn select(mask: Self::Mask, a: Self, b: Self) -> Self {
                Self(std::array::from_fn(|i| if mask[i] { a.0[i] } else { b.0[i] }))
            }
            #[inline(always)]
            fn sum(self) -> $real {
                let mut v = self.0;
                let mut half = LANES / 2;
                while half > 0 {
                    for i in 0..half {
                        v[i] += v[i + half];
                    }
                    half /= 2;
                }
                v[0]
            }
            #[inline(always)]
            fn exp(self) -> Self {
                $exp(self)
            }
            #[inline(always)]
            fn ln(self) -> Self {
                $ln(self)
            }
        }
    };
}

portable!(f32, exp_polynomial, ln_polynomial);
portable!(f64, |v: Self| Self(map(v.0, f64::exp)), |v: Self| Self(map(v.0, f64::ln)));

impl Float32 for Portable<f32> {
    #[inline(always)]
    fn round(self) -> Self {
        // Adding 1.5·2²³ leaves no fraction bits; exact for |x| < 2²².
        const SHIFT: f32 = 12_582_912.0;
        Self(map(self.0, |x| (x + SHIFT) - SHIFT))
    }
    #[inline(always)]
    fn scale_by_power_of_two(self, n: Self) -> Self {
        Self(zip(self.0, n.0, |x, n| x * f32::from_bits((((n as i32) + 127).max(0) as u32) << 23)))
    }
    #[inline(always)]
    fn mantissa_and_exponent(self) -> (Self, Self) {
        let bits = map(self.0, f32::to_bits);
        (
            Self(map(bits, |b| f32::from_bits((b & 0x007f_ffff) | 0x3f00_0000))),
            Self(map(bits, |b| ((b >> 23) as i32 - 126) as f32)),
        )
    }
}
