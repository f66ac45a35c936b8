//! Elementary functions on vectors, written once over [`Vector`].
//!
//! exp and ln of f32 are the polynomials of the Cephes library (S. L. Moshier) evaluated by Horner's
//! rule; f64 uses the standard library, because it is the reference.

use super::Vector;

/// e^x.
#[inline(always)]
pub fn exp<V: Vector>(x: V) -> V {
    x.exp()
}

/// Natural logarithm of a positive number.
#[inline(always)]
pub fn ln<V: Vector>(x: V) -> V {
    x.ln()
}

/// 1/(1 + e^−x).
#[inline(always)]
pub fn sigmoid<V: Vector>(x: V) -> V {
    let one = V::constant(1.0);
    one.div(one.add(x.neg().exp()))
}

/// x·sigmoid(x).
#[inline(always)]
pub fn silu<V: Vector>(x: V) -> V {
    x.mul(sigmoid(x))
}

/// x·sigmoid(x) and its derivative, sigmoid(x)·(1 + x·(1 − sigmoid(x))).
#[inline(always)]
pub fn silu_and_derivative<V: Vector>(x: V) -> (V, V) {
    let s = sigmoid(x);
    let y = x.mul(s);
    // y' = s + y·(1 − s)
    (y, y.mul(V::constant(1.0).sub(s)).add(s))
}

/// Hyperbolic tangent.
#[inline(always)]
pub fn tanh<V: Vector>(x: V) -> V {
    let two = V::constant(2.0);
    // 1 − 2/(e^{2x} + 1): saturates without overflow.
    V::constant(1.0).sub(two.div(x.mul(two).exp().add(V::constant(1.0))))
}

/// sin x and cos x for x in [−π, π], to rounding: folded to [0, π/4], where the Taylor series end early.
#[inline(always)]
pub fn sin_cos<V: Vector>(x: V) -> (V, V) {
    use std::f64::consts::{FRAC_PI_2, FRAC_PI_4, PI};
    let c = V::constant;
    let a = x.abs();
    let beyond = c(FRAC_PI_2).lt(a);
    let a = V::select(beyond, c(PI).sub(a), a);
    let steep = c(FRAC_PI_4).lt(a);
    let a = V::select(steep, c(FRAC_PI_2).sub(a), a);
    let square = a.mul(a);
    let (sine, cosine) = (a.mul(alternating(square, 1)), alternating(square, 0));
    let (sine, cosine) = (V::select(steep, cosine, sine), V::select(steep, sine, cosine));
    let negative = x.lt(c(0.0));
    (V::select(negative, sine.neg(), sine), V::select(beyond, cosine.neg(), cosine))
}

/// Σ (−1)^k square^k / (2k + first)!
#[inline(always)]
fn alternating<V: Vector>(square: V, first: u32) -> V {
    let mut sum = V::constant(1.0);
    for k in (0..9).rev() {
        let order = 2 * k + first;
        let ratio = f64::from((order + 1) * (order + 2));
        sum = sum.mul(square).mul_add(V::constant(-1.0 / ratio), V::constant(1.0));
    }
    sum
}

/// The angle of (x, y) in [−π, π], to rounding; `length` is √(x² + y²) > 0.
#[inline(always)]
pub fn angle<V: Vector>(x: V, y: V, length: V) -> V {
    let c = V::constant;
    // The tangent of half the angle to the x-axis is in [0, 1]; two more halvings leave a quick series.
    let mut tangent = y.abs().div(length.add(x.abs()));
    for _ in 0..2 {
        tangent = tangent.div(tangent.mul_add(tangent, c(1.0)).sqrt().add(c(1.0)));
    }
    let square = tangent.mul(tangent);
    let mut sum = c(0.0);
    for k in (0..12).rev() {
        sum = sum.mul(square).neg().add(c(1.0 / f64::from(2 * k + 1)));
    }
    let acute = tangent.mul(sum).mul(c(8.0));
    let angle = V::select(x.lt(c(0.0)), c(std::f64::consts::PI).sub(acute), acute);
    V::select(y.lt(c(0.0)), angle.neg(), angle)
}

/// Parts of a number that [`exp_polynomial`] and [`ln_polynomial`] need from the hardware.
pub(super) trait Float32: Vector<Scalar = f32> {
    /// Nearest integer.
    fn round(self) -> Self;
    /// self · 2^n for integral n in [−150, 128].
    fn scale_by_power_of_two(self, n: Self) -> Self;
    /// (m, e) with self = m·2^e and m in [½, 1), for a positive normal number.
    fn mantissa_and_exponent(self) -> (Self, Self);
}

/// e^x for f32, at most 2 units in the last place.
#[inline(always)]
pub(super) fn exp_polynomial<V: Float32>(x: V) -> V {
    let c = V::splat;
    let x = x.min(c(88.0)).max(c(-87.3));
    let n = x.mul(c(std::f32::consts::LOG2_E)).round();
    // ln 2 in two parts, the first exact in few bits.
    let r = n.mul_add(c(-0.693_359_4), x);
    let r = n.mul_add(c(2.121_944_4e-4), r);
    let mut p = c(1.987_569_1e-4);
    for coefficient in [1.398_2e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5] {
        p = p.mul_add(r, c(coefficient));
    }
    let y = p.mul_add(r.mul(r), r).add(c(1.0));
    y.scale_by_power_of_two(n)
}

/// ln x for positive normal f32.
#[inline(always)]
pub(super) fn ln_polynomial<V: Float32>(x: V) -> V {
    let c = V::splat;
    let (m, e) = x.max(c(f32::MIN_POSITIVE)).mantissa_and_exponent();
    // m in [√½, √2), so that the polynomial is centred.
    let small = m.lt(c(std::f32::consts::FRAC_1_SQRT_2));
    let e = V::select(small, e.sub(c(1.0)), e);
    let f = V::select(small, m.add(m), m).sub(c(1.0));
    let mut p = c(7.037_683_6e-2);
    for coefficient in [
        -1.151_461e-1,
        1.167_699_9e-1,
        -1.242_014_1e-1,
        1.424_932_3e-1,
        -1.666_805_8e-1,
        2.000_071_5e-1,
        -2.499_999_4e-1,
        3.333_333e-1,
    ] {
        p = p.mul_add(f, c(coefficient));
    }
    let z = f.mul(f);
    let y = p.mul(f).mul(z);
    let y = e.mul_add(c(-2.121_944_4e-4), y);
    let y = z.mul_add(c(-0.5), y);
    e.mul_add(c(0.693_359_4), f.add(y))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{Kernel, Lane, Real, LANES};

    struct Circle(Lane<f64>);

    impl<T: Real> Kernel<T> for Circle {
        type Output = [Lane<T>; 3];

        #[inline(always)]
        fn run<V: Vector<Scalar = T>>(self) -> Self::Output {
            let x = V::load(&Lane(self.0 .0.map(T::of)));
            let (sine, cosine) = sin_cos(x);
            let radius = V::constant(3.0);
            let back = angle(cosine.mul(radius), sine.mul(radius), radius);
            let mut out = [Lane::zero(); 3];
            for (out, v) in out.iter_mut().zip([sine, cosine, back]) {
                v.store(out);
            }
            out
        }
    }

    fn worst<T: Real>(planted: f64) -> f64 {
        let count = 64 * LANES;
        let mut worst = 0.0_f64;
        for tile in 0..64 {
            let x = |l: usize| {
                let share = (tile * LANES + l) as f64 / (count - 1) as f64;
                std::f64::consts::PI * (2.0 * share - 1.0) * 0.999_999
            };
            let [sine, cosine, back] = T::dispatch(Circle(Lane(std::array::from_fn(x))));
            for l in 0..LANES {
                for (got, want) in [
                    (sine.0[l], x(l).sin()),
                    (cosine.0[l], x(l).cos()),
                    (back.0[l], x(l) + planted),
                ] {
                    worst = worst.max((got.to_f64() - want).abs());
                }
            }
        }
        worst
    }

    #[test]
    fn sines_and_angles_are_right_to_rounding() {
        assert!(worst::<f64>(0.0) < 2e-15, "{:e}", worst::<f64>(0.0));
        assert!(worst::<f32>(0.0) < 1e-6, "{:e}", worst::<f32>(0.0));
        assert!(worst::<f64>(1e-12) > 1e-13 && worst::<f32>(1e-4) > 1e-5);
    }
}
