//! What a training leaves: the model that is kept, its evaluation and the history.

use crate::error::Error;
use crate::evaluation::Evaluation;
use crate::parallel::team;
use crate::run::{load_model_on_all_ranks, read_metrics, MetricsRow, RunFolder};

use super::super::trained::Trained;
use super::Training;

impl Training {
    /// Marks the run as finished in the last checkpoint. Until then, the same `boltzflow train`
    /// draws the figures that come after the last step.
    ///
    /// # Errors
    /// [`Error::Write`].
    pub fn close(&mut self) -> Result<(), Error> {
        self.now.totals.is_open = false;
        self.save()
    }

    /// The model that is kept: the last one that was evaluated, or the best on validation data.
    ///
    /// # Errors
    /// [`Error::Run`] before the first evaluation; those of reading it from the folder.
    pub fn trained(&self) -> Result<Trained, Error> {
        let (theta, metadata) = match (&self.best, self.folder()) {
            (Some(best), _) => (best.theta.clone(), best.metadata.clone()),
            (None, Some(folder)) if self.has_model => {
                load_model_on_all_ranks(folder.model(), self.problem.flow.layout(), None)?
            }
            _ => {
                let problem = "there is no model before the first evaluation: train until then";
                return Err(Error::Run(problem.to_string()));
            }
        };
        Ok(Trained {
            folder: self.folder().map(|folder| RunFolder::elsewhere(folder.path())),
            recipe: self.recipe.clone(),
            target: self.target.clone(),
            problem: self.problem.clone(),
            theta,
            metadata,
            chirality: Default::default(),
            rows: self.rows.clone(),
        })
    }

    /// The rows of metrics so far, those in the folder or, without one, all since the start.
    ///
    /// # Errors
    /// Those of reading the folder's.
    pub fn metrics(&self) -> Result<Vec<MetricsRow>, Error> {
        self.folder().map_or_else(|| Ok(self.rows.clone()), |f| read_metrics(f.metrics()))
    }

    /// The evaluation of the model that is kept.
    ///
    /// # Errors
    /// Those of [`trained`](Self::trained).
    pub fn evaluation(&self) -> Result<Evaluation, Error> {
        let invalid = |e: serde_json::Error| Error::Run(format!("the evaluation is damaged: {e}"));
        match (&self.best, self.folder()) {
            (Some(best), _) => Ok(best.evaluation.clone()),
            (None, Some(folder)) => {
                let text = team().broadcast(|| {
                    let evaluation: Evaluation = folder.read_evaluation()?;
                    serde_json::to_vec(&evaluation).map_err(invalid)
                })?;
                serde_json::from_slice(&text).map_err(invalid)
            }
            (None, None) => Err(Error::Run("there was no evaluation yet".to_string())),
        }
    }
}
