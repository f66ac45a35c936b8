//! Exponential and logarithm of f64 on vectors.

use super::Vector;

/// Parts of a number that [`exp_series`] and [`ln_series`] need from the hardware.
pub(super) trait Float64: Vector<Scalar = f64> {
    /// Nearest integer.
    fn round(self) -> Self;
    /// self · 2^n for integral n in [−1022, 1023].
    fn scale_by_power_of_two(self, n: Self) -> Self;
    /// (m, e) with self = m·2^e and m in [½, 1), for a positive normal number.
    fn mantissa_and_exponent(self) -> (Self, Self);
}

/// ln 2 in two parts, the first exact in few bits.
const LN_2: [f64; 2] = [0.693_147_180_369_123_8, 1.908_214_929_270_587_7e-10];

/// e^x, at most 2 units in the last place: Taylor's series about the nearest multiple of ln 2.
#[inline(always)]
pub(super) fn exp_series<V: Float64>(x: V) -> V {
    let c = V::splat;
    let x = x.min(c(709.0)).max(c(-708.0));
    let n = (x * c(std::f64::consts::LOG2_E)).round();
    let r = n.mul_add(c(-LN_2[0]), x);
    let r = n.mul_add(c(-LN_2[1]), r);
    let mut sum = c(1.0 / 6_227_020_800.0);
    let mut factorial = 6_227_020_800.0;
    for k in (3..=13).rev() {
        factorial /= f64::from(k);
        sum = sum.mul_add(r, c(1.0 / factorial));
    }
    let y = sum.mul_add(r * r, r) + c(1.0);
    y.scale_by_power_of_two(n)
}

/// ln x of a positive normal number, to rounding: twice the series of artanh((m − 1)/(m + 1)), with
/// m in [√½, √2).
#[inline(always)]
pub(super) fn ln_series<V: Float64>(x: V) -> V {
    let c = V::splat;
    let (m, e) = x.max(c(f64::MIN_POSITIVE)).mantissa_and_exponent();
    let small = m.lt(c(std::f64::consts::FRAC_1_SQRT_2));
    let e = V::select(small, e - c(1.0), e);
    let f = V::select(small, m + m, m) - c(1.0);
    let s = f * (f + c(2.0)).reciprocal();
    let z = s * s;
    let mut sum = c(2.0 / 21.0);
    for k in (1..10).rev() {
        sum = sum.mul_add(z, c(2.0 / f64::from(2 * k + 1)));
    }
    let y = (sum * z).mul_add(s, s + s);
    e.mul_add(c(LN_2[0]), e.mul_add(c(LN_2[1]), y))
}
