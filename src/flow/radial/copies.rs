//! Several copies of the configuration in one half.

use crate::engine::{Lane, Vector};

/// The mean of the copies in a half.
#[inline(always)]
pub(in crate::flow) fn mean<V: Vector>(half: &[Lane<V::Scalar>], mean: &mut [Lane<V::Scalar>]) {
    let width = mean.len();
    let share = V::constant(width as f64 / half.len() as f64);
    for (k, mean) in mean.iter_mut().enumerate() {
        (total::<V>(half, k, width) * share).store(mean);
    }
}

/// The sum over copies, `width` lanes each, of entry k.
#[inline(always)]
pub(in crate::flow) fn total<V: Vector>(half: &[Lane<V::Scalar>], k: usize, width: usize) -> V {
    let mut sum = V::zero();
    for lane in half[k..].iter().step_by(width) {
        sum += V::load(lane);
    }
    sum
}
