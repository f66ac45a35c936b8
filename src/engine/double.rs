//! f64 kernels on the widest vectors of the CPU.
//!
//! [`Real::dispatch`](super::Real::dispatch) runs f64 kernels on plain arrays, where they are the
//! reference of the flow's. Kernels whose results are f64 in runs, as those of force fields, take
//! [`dispatch_double`].

use super::{instruction_set, InstructionSet, Kernel, Portable, Vector};

/// Runs an f64 `kernel` with the widest vectors of this CPU. Results of the instruction sets differ
/// by rounding.
///
/// # Examples
/// ```
/// use boltzflow::engine::{dispatch_double, Kernel, Lane, Vector};
///
/// /// e^x of a lane.
/// struct Exponential(Lane<f64>);
///
/// impl Kernel<f64> for Exponential {
///     type Output = Lane<f64>;
///
///     #[inline(always)]
///     fn run<V: Vector<Scalar = f64>>(mut self) -> Lane<f64> {
///         V::load(&self.0).exp().store(&mut self.0);
///         self.0
///     }
/// }
///
/// let e = dispatch_double(Exponential(Lane::splat(1.0)));
/// assert!((e.0[0] - 1f64.exp()).abs() < 1e-15);
/// ```
pub fn dispatch_double<K: Kernel<f64>>(kernel: K) -> K::Output {
    match instruction_set() {
        #[cfg(target_arch = "x86_64")]
        InstructionSet::Avx512 => super::x86_double::Avx512::call(kernel),
        #[cfg(target_arch = "x86_64")]
        InstructionSet::Avx2 => super::x86_double::Avx2::call(kernel),
        _ => Portable::<f64>::call(kernel),
    }
}

/// What an f64 kernel makes on every instruction set that this CPU has.
#[cfg(test)]
fn on_every_set<K: Kernel<f64>>(kernel: impl Fn() -> K) -> Vec<(InstructionSet, K::Output)> {
    let mut made = vec![(InstructionSet::Portable, Portable::<f64>::call(kernel()))];
    #[cfg(target_arch = "x86_64")]
    {
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            made.push((InstructionSet::Avx2, super::x86_double::Avx2::call(kernel())));
        }
        if is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512dq") {
            made.push((InstructionSet::Avx512, super::x86_double::Avx512::call(kernel())));
        }
    }
    made
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{Lane, LANES};
    use proptest::prelude::*;

    /// Every operation on sixteen numbers and their mirror images.
    #[derive(Clone, Copy)]
    struct Operations([f64; LANES]);

    impl Kernel<f64> for Operations {
        type Output = Vec<[f64; LANES]>;

        #[inline(always)]
        fn run<V: Vector<Scalar = f64>>(self) -> Self::Output {
            let x = V::load(&Lane(self.0));
            let mut reversed = self.0;
            reversed.reverse();
            let y = V::load(&Lane(reversed));
            let size = x.abs() + V::constant(1e-3);
            let all = [
                x.exp(),
                size.ln(),
                size.sqrt(),
                size.reciprocal(),
                size.inverse_sqrt(),
                x + y,
                x - y,
                x * y,
                x / (y.abs() + V::constant(1.0)),
                x.mul_add(y, x),
                x.min(y),
                x.max(y),
                V::select(x.lt(y), x, -y),
                V::splat(x.sum()),
            ];
            let stored = all.map(|v| {
                let mut lane = Lane::zero();
                v.store(&mut lane);
                lane.0
            });
            stored.to_vec()
        }
    }

    fn wanted(x: [f64; LANES]) -> Vec<[f64; LANES]> {
        let mut y = x;
        y.reverse();
        let each = |f: &dyn Fn(f64, f64) -> f64| std::array::from_fn(|l| f(x[l], y[l]));
        vec![
            each(&|x, _| x.exp()),
            each(&|x, _| (x.abs() + 1e-3).ln()),
            each(&|x, _| (x.abs() + 1e-3).sqrt()),
            each(&|x, _| 1.0 / (x.abs() + 1e-3)),
            each(&|x, _| 1.0 / (x.abs() + 1e-3).sqrt()),
            each(&|x, y| x + y),
            each(&|x, y| x - y),
            each(&|x, y| x * y),
            each(&|x, y| x / (y.abs() + 1.0)),
            each(&|x, y| x.mul_add(y, x)),
            each(&|x, y| x.min(y)),
            each(&|x, y| x.max(y)),
            each(&|x, y| if x < y { x } else { -y }),
            each(&|_, _| x.iter().sum()),
        ]
    }

    fn agree(got: &[[f64; LANES]], want: &[[f64; LANES]], scale: f64) -> bool {
        got.iter().zip(want).all(|(got, want)| {
            got.iter().zip(want).all(|(g, w)| (g - w).abs() <= 4e-15 * (w.abs() + scale))
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig {
            failure_persistence: None,
            ..ProptestConfig::default()
        })]
        #[test]
        fn every_set_agrees_with_the_standard_library(
            x in prop_oneof![
                prop::array::uniform16(-700.0f64..700.0),
                prop::array::uniform16(-4.0f64..4.0),
                prop::array::uniform16(-1e-3f64..1e-3),
            ],
        ) {
            let want = wanted(x);
            let largest = x.iter().fold(0.0_f64, |most, x| most.max(x.abs()));
            // Sums and products of both signs are right to the size of what they are made of.
            let scale = largest * (1.0 + largest);
            let scale_of = |row: usize| if row < 5 { 0.1 } else { scale };
            for (set, got) in on_every_set(|| Operations(x)) {
                prop_assert!(agree(&got[..5], &want[..5], 0.1), "{set:?} at {x:?}: {got:?}");
                prop_assert!(agree(&got[5..], &want[5..], scale), "{set:?} at {x:?}: {got:?}");
                for row in 0..got.len() {
                    let mut planted = got.clone();
                    planted[row][7] += 1e-13 * (planted[row][7].abs() + scale + 1.0);
                    prop_assert!(
                        !agree(&planted[row..=row], &want[row..=row], scale_of(row)),
                        "{set:?}: row {row}"
                    );
                }
            }
        }
    }
}
