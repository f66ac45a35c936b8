//! Recipes to the objects that do the work: one line of registration a coupling and a trainer.

use std::path::Path;
use std::sync::Arc;

use super::Recipe;
use crate::error::Error;
use crate::flow::Flow;
use crate::potential::Potential;
use crate::samples::read_samples;
use crate::sampling::AugmentedTarget;
use crate::train::{Problem, Trainer};

impl Recipe {
    /// The flow and the target of this recipe.
    ///
    /// # Errors
    /// [`Error::Parameter`] for what the flow cannot do.
    pub fn problem(&self, potential: Arc<dyn Potential>) -> Result<Problem, Error> {
        let flow = Flow::with_species(potential.system(), potential.species(), &self.flow)?;
        let flow = Arc::new(flow);
        let copies = flow.copies();
        let target = AugmentedTarget::new(potential, copies, self.flow.augmentation_scale)?;
        Ok(Problem { flow, target, seed: self.seed })
    }

    /// The trainer of this recipe, for the problem that it makes.
    ///
    /// # Errors
    /// Those of reading the data of maximum likelihood.
    pub fn trainer(&self, problem: &Problem) -> Result<Box<dyn Trainer>, Error> {
        self.train.trainer(problem, &|file| unweighted_samples(file, problem))
    }
}

/// Samples of the problem's particles for training.
fn unweighted_samples(file: &Path, problem: &Problem) -> Result<Vec<f64>, Error> {
    let samples = read_samples(file, problem.flow.system(), problem.flow.species())?;
    if !samples.log_weights.is_empty() {
        return Err(Error::Data {
            file: file.to_path_buf(),
            problem: "has log weights, and likelihood is taken over samples of one weight: resample them \
                      first, or save the positions alone if the weights do not matter"
                .to_string(),
        });
    }
    Ok(samples.positions)
}
