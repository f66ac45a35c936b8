//! The fit that some base densities start from.

use crate::error::Error;
use crate::work;

use super::problem::Problem;
use super::state::TrainingState;

/// Samples of the reference sampler that a base density is fitted to.
const SAMPLES: usize = 4096;

impl Problem {
    /// Fits the base density to `x`, [samples, particles, dimension], or to samples of the
    /// reference sampler, if it needs a fit and has none yet.
    ///
    /// # Errors
    /// Those of [`sample_reference`](Problem::sample_reference).
    pub(super) fn fit_base(
        &self,
        state: &mut TrainingState,
        x: Option<&[f64]>,
    ) -> Result<(), Error> {
        if !self.flow.needs_fit(&state.theta) {
            return Ok(());
        }
        let _work = work::begin("fitting the base density");
        let mut theta = state.theta.clone();
        match x {
            Some(x) => self.flow.fit(&mut theta, x),
            None => {
                let (x, effort) = self.sample_reference(SAMPLES, 1.0)?;
                self.flow.fit(&mut theta, &x);
                state.counters.add(effort);
            }
        }
        state.start_as(theta);
        Ok(())
    }
}
