//! Elementary functions on vectors, written once over [`Vector`].
//!
//! exp and ln of f32 are the polynomials of the Cephes library (S. L. Moshier) evaluated by
//! Horner's rule; f64 uses the standard library, because it is the reference.

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
    one / (one + (-x).exp())
}

/// x·sigmoid(x).
#[inline(always)]
pub fn silu<V: Vector>(x: V) -> V {
    x * sigmoid(x)
}

/// x·sigmoid(x) and its derivative, sigmoid(x)·(1 + x·(1 − sigmoid(x))).
#[inline(always)]
pub fn silu_and_derivative<V: Vector>(x: V) -> (V, V) {
    let s = sigmoid(x);
    let y = x * s;
    // y' = s + y·(1 − s)
    (y, y * (V::constant(1.0) - s) + s)
}

/// Hyperbolic tangent.
#[inline(always)]
pub fn tanh<V: Vector>(x: V) -> V {
    let two = V::constant(2.0);
    // 1 − 2/(e^{2x} + 1): saturates without overflow.
    V::constant(1.0) - two / ((x * two).exp() + V::constant(1.0))
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
    let n = (x * c(std::f32::consts::LOG2_E)).round();
    // ln 2 in two parts, the first exact in few bits.
    let r = n.mul_add(c(-0.693_359_4), x);
    let r = n.mul_add(c(2.121_944_4e-4), r);
    let mut p = c(1.987_569_1e-4);
    for coefficient in [1.398_2e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5] {
        p = p.mul_add(r, c(coefficient));
    }
    let y = p.mul_add(r * r, r) + c(1.0);
    y.scale_by_power_of_two(n)
}

/// ln x for positive normal f32.
#[inline(always)]
pub(super) fn ln_polynomial<V: Float32>(x: V) -> V {
    let c = V::splat;
    let (m, e) = x.max(c(f32::MIN_POSITIVE)).mantissa_and_exponent();
    // m in [√½, √2), so that the polynomial is centred.
    let small = m.lt(c(std::f32::consts::FRAC_1_SQRT_2));
    let e = V::select(small, e - c(1.0), e);
    let f = V::select(small, m + m, m) - c(1.0);
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
    let z = f * f;
    let y = p * f * z;
    let y = e.mul_add(c(-2.121_944_4e-4), y);
    let y = z.mul_add(c(-0.5), y);
    e.mul_add(c(0.693_359_4), f + y)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::dispatch::on_every_set;
    use crate::engine::{Kernel, Lane, Real, LANES};
    use proptest::prelude::*;

    /// Every elementary function of sixteen numbers, and their sums.
    #[derive(Clone, Copy)]
    struct Functions([f32; LANES]);

    impl<T: Real> Kernel<T> for Functions {
        type Output = Vec<[f64; LANES]>;

        #[inline(always)]
        fn run<V: Vector<Scalar = T>>(self) -> Self::Output {
            let x = V::load(&Lane(self.0.map(|x| T::of(x.into()))));
            let (y, slope) = silu_and_derivative(x);
            // Sixteen vectors at once are summed by another way than one is.
            let rows = V::sums(std::array::from_fn(|i| x * V::constant(i as f64 - 7.0)));
            let all = [
                exp(x),
                ln(x.abs() + V::constant(1e-3)),
                sigmoid(x),
                silu(x),
                y,
                slope,
                tanh(x),
                V::splat(x.sum()),
            ];
            let stored = all.map(|v| {
                let mut lane = Lane::zero();
                v.store(&mut lane);
                lane.0.map(Real::to_f64)
            });
            stored.into_iter().chain([rows.map(Real::to_f64)]).collect()
        }
    }

    /// To 1e-5 relative; what is a difference of larger numbers, relative to those.
    fn bound(function: usize, want: f64, x: [f32; LANES]) -> f64 {
        let sum: f64 = x.iter().map(|x| f64::from(x.abs())).sum();
        let larger = [0.0, 1.0, 0.0, 0.0, 0.0, 1.0, 1.0, sum, 8.0 * sum];
        1e-5 * (larger[function] + want.abs())
    }

    fn agree(got: &[[f64; LANES]], want: &[[f64; LANES]], x: [f32; LANES]) -> bool {
        got.iter().zip(want).enumerate().all(|(function, (got, want))| {
            got.iter().zip(want).all(|(g, w)| (g - w).abs() <= bound(function, *w, x))
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig {
            failure_persistence: None,
            ..ProptestConfig::default()
        })]
        #[test]
        fn every_path_agrees_with_the_f64_reference(
            x in prop_oneof![
                prop::array::uniform16(-86.0f32..86.0),
                prop::array::uniform16(-4.0f32..4.0),
                prop::array::uniform16(-1e-3f32..1e-3),
            ],
        ) {
            let reference = f64::dispatch(Functions(x));
            for (set, got) in on_every_set(|| Functions(x)) {
                prop_assert!(agree(&got, &reference, x), "{set:?} at {x:?}: {got:?}");
                for function in 0..got.len() {
                    let mut planted = got.clone();
                    planted[function] = planted[function].map(|v| v + 10.0 * bound(function, v, x));
                    prop_assert!(!agree(&planted, &reference, x), "{set:?}: function {function}");
                }
            }
        }
    }
}
