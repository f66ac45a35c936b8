//! Sines, cosines and angles, written once over [`Vector`].

use super::Vector;

/// sin x and cos x for x in [−π, π], to rounding: folded to [0, π/4], where the Taylor series end
/// early.
#[inline(always)]
pub fn sin_cos<V: Vector>(x: V) -> (V, V) {
    use std::f64::consts::{FRAC_PI_2, FRAC_PI_4, PI};
    let c = V::constant;
    let a = x.abs();
    let beyond = c(FRAC_PI_2).lt(a);
    let a = V::select(beyond, c(PI) - a, a);
    let steep = c(FRAC_PI_4).lt(a);
    let a = V::select(steep, c(FRAC_PI_2) - a, a);
    let square = a * a;
    let (sine, cosine) = (a * alternating(square, 1), alternating(square, 0));
    let (sine, cosine) = (V::select(steep, cosine, sine), V::select(steep, sine, cosine));
    let negative = x.lt(c(0.0));
    (V::select(negative, -sine, sine), V::select(beyond, -cosine, cosine))
}

/// Σ (−1)^k square^k / (2k + first)!
#[inline(always)]
fn alternating<V: Vector>(square: V, first: u32) -> V {
    let mut sum = V::constant(1.0);
    for k in (0..9).rev() {
        let order = 2 * k + first;
        let ratio = f64::from((order + 1) * (order + 2));
        sum = (sum * square).mul_add(V::constant(-1.0 / ratio), V::constant(1.0));
    }
    sum
}

/// The angle of (x, y) in [−π, π], to rounding; `length` is √(x² + y²) > 0.
#[inline(always)]
pub fn angle<V: Vector>(x: V, y: V, length: V) -> V {
    let c = V::constant;
    // The tangent of half the angle to the x-axis is in [0, 1]; two more halvings leave a quick
    // series.
    let mut tangent = y.abs() / (length + x.abs());
    for _ in 0..2 {
        tangent = tangent / (tangent.mul_add(tangent, c(1.0)).sqrt() + c(1.0));
    }
    let square = tangent * tangent;
    let mut sum = c(0.0);
    for k in (0..12).rev() {
        sum = -(sum * square) + c(1.0 / f64::from(2 * k + 1));
    }
    let acute = tangent * sum * c(8.0);
    let angle = V::select(x.lt(c(0.0)), c(std::f64::consts::PI) - acute, acute);
    V::select(y.lt(c(0.0)), -angle, angle)
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
            let back = angle(cosine * radius, sine * radius, radius);
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
