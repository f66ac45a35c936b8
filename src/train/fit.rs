//! The fit that some base densities start from.

use crate::error::Error;
use crate::random::WALKERS_SEED;
use crate::sampling::{sample_reference, Effort, ReferenceOptions};
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
    /// Those of [`sample_reference`].
    pub(super) fn fit_base(
        &self,
        state: &mut TrainingState,
        x: Option<&[f64]>,
    ) -> Result<(), Error> {
        if !self.flow.needs_fit(&state.theta) {
            return Ok(());
        }
        let _work = work::begin("fitting the base density");
        let (x, effort) = match x {
            Some(x) => (x.to_vec(), Effort::default()),
            None => {
                let potential = self.target.potential();
                let options = ReferenceOptions::starts(&**potential, SAMPLES);
                let options = ReferenceOptions { seed: self.seed ^ WALKERS_SEED, ..options };
                let reference = sample_reference(potential.clone(), options)?;
                (reference.samples.positions, reference.report.effort)
            }
        };
        let mut theta = state.theta.clone();
        self.flow.fit(&mut theta, &x);
        state.start_as(theta);
        state.counters.add(effort);
        Ok(())
    }
}
