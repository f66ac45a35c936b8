//! A trained flow, and what it is for.

use std::path::Path;
use std::sync::Once;

use crate::config::{Recipe, Registry, Target};
use crate::error::Error;
use crate::evaluation::{
    draw_marginal, draw_weighted, estimate, evaluate, log_prob, AnnealedDraws, Contradiction,
    Estimates, Evaluation, EvaluationOptions, Observable, Weighted, Weights,
};
use crate::molecule::Chirality;
use crate::random::Purpose;
use crate::report::{Facts, Verdict};
use crate::run::{
    load_model, read_metrics, read_model_metadata, MetricsRow, ModelMetadata, RunFolder,
};
use crate::samples::Samples;
use crate::train::{Objective, Problem};
use crate::work;

use super::reference::{self, Announce};

/// Samples in memory at a time; the same on any number of ranks, so that what is drawn and
/// estimated does not depend on it.
const BATCH: usize = 16_384;

/// A trained flow: from a folder by [`open`](Self::open), or from a
/// [`Training`](crate::Training::trained).
pub struct Trained {
    /// The folder that it comes from.
    pub folder: Option<RunFolder>,
    /// The recipe that made it.
    pub recipe: Recipe,
    /// The target that it was trained on.
    pub target: Target,
    /// Flow and target; the seed is that of all draws.
    pub problem: Problem,
    /// The flow's parameters.
    pub theta: Vec<f32>,
    /// Where the parameters come from.
    pub metadata: ModelMetadata,
    /// Which mirror images of a chiral molecule are drawn.
    pub chirality: Chirality,
    /// The training's rows of metrics, where they are in no folder.
    pub rows: Vec<MetricsRow>,
}

impl Trained {
    /// Opens the run in the folder `path`; its target is of a kind of `registry`.
    ///
    /// # Errors
    /// Those of reading; [`Error::Data`] when the model does not fit its recipe or target.
    pub fn open(path: impl AsRef<Path>, registry: &Registry) -> Result<Self, Error> {
        Self::open_for(path, |folder, recipe| match folder.read_target()? {
            Some(text) => registry.target_from_text(&text, &folder.target()),
            None => recipe.load_target(registry),
        })
    }

    /// Opens the run in the folder `path`, which was trained on `target`: a [`Target`] or a
    /// potential.
    ///
    /// # Errors
    /// Those of [`open`](Self::open).
    pub fn open_with(path: impl AsRef<Path>, target: impl Into<Target>) -> Result<Self, Error> {
        Self::open_for(path, |_, _| Ok(target.into()))
    }

    /// The model has the recipe of the flow to build.
    fn open_for(
        path: impl AsRef<Path>,
        target: impl FnOnce(&RunFolder, &Recipe) -> Result<Target, Error>,
    ) -> Result<Self, Error> {
        let folder = RunFolder::read_only(path)?;
        let metadata = read_model_metadata(folder.model())?;
        let mut recipe = Recipe::from_text(&metadata.recipe, &folder.model())?;
        // The model does not depend on where the recipe was; its copy beside the model does.
        let copy = folder.read_config().and_then(|text| Recipe::from_text(&text, &folder.config()));
        if let Ok(copy) = copy {
            recipe.folders = copy.folders;
        }
        let target = target(&folder, &recipe)?;
        let problem = recipe.problem(target.potential.clone())?;
        if metadata.species != problem.flow.species() {
            let problem = format!(
                "was trained for particles of species {:?} and the target has {:?} (none: all \
                 alike)",
                metadata.species,
                problem.flow.species()
            );
            return Err(Error::Data { file: folder.model(), problem });
        }
        let (theta, metadata) = load_model(folder.model(), problem.flow.layout())?;
        let rows = Vec::new();
        let (folder, chirality) = (Some(folder), Chirality::default());
        Ok(Self { folder, recipe, target, problem, theta, metadata, chirality, rows })
    }

    /// The training's rows of metrics; none where the folder has none.
    ///
    /// # Errors
    /// Those of reading the folder's.
    pub fn metrics(&self) -> Result<Vec<MetricsRow>, Error> {
        match &self.folder {
            Some(folder) if folder.metrics().exists() => read_metrics(folder.metrics()),
            _ => Ok(self.rows.clone()),
        }
    }

    /// `count` independent samples with their log weights and energies; others with another seed of
    /// the [`problem`](Self::problem).
    ///
    /// # Errors
    /// [`Error::Evaluation`] if the potential fails for good.
    pub fn sample(&self, count: usize) -> Result<Samples, Error> {
        let streams = (Purpose::Sampling, 0);
        draw_weighted(&self.problem, &self.theta, streams, 0, count).map(|drawn| self.hand(drawn))
    }

    /// `drawn` samples with the handedness that is asked for. Reference samples get it only where
    /// they are shown: the likelihood of a flow that reflection changes is over both.
    pub(crate) fn hand(&self, mut drawn: Samples) -> Samples {
        if self.chirality == Chirality::Structure {
            let others = self.target.match_structure(&mut drawn);
            if others > 0 {
                static SAY: Once = Once::new();
                SAY.call_once(|| {
                    tracing::warn!(
                        "{others} of {} configurations are of a diastereomer: some stereocentres \
                         are as in the structure and some are not. They have weight zero, here and \
                         in what follows",
                        drawn.count(self.problem.flow.system())
                    );
                });
            }
        }
        drawn
    }

    /// The samples of [`sample`](Self::sample) in batches, with `weights`; annealed ones are moved
    /// from the flow to the target.
    ///
    /// # Errors
    /// [`Error::Evaluation`] if the potential fails for good.
    pub fn batches(
        &self,
        count: usize,
        weights: Weights,
    ) -> Result<impl Iterator<Item = Result<Samples, Error>> + '_, Error> {
        let work = work::begin("drawing samples");
        let (problem, theta) = (&self.problem, self.theta.as_slice());
        let levels = evaluation_options(&self.recipe, &self.target).intermediate_distributions;
        let annealed = match weights {
            Weights::Annealed => Some(AnnealedDraws::new(problem, theta, levels)?),
            Weights::Joint | Weights::Marginal(_) => None,
        };
        Ok((0..count.div_ceil(BATCH)).map(move |batch| {
            let first = batch * BATCH;
            let samples = BATCH.min(count - first);
            let (from, to) = (first + 1, first + samples);
            work.rename(format!("drawing samples {from} to {to} of {count}"));
            let (streams, first) = ((Purpose::Sampling, 0), first as u64);
            let drawn = match (&annealed, weights.draws()) {
                (Some(draws), _) => draws.draw(batch as u64, samples),
                (None, Some(k)) => draw_marginal(problem, theta, streams, first, samples, k),
                (None, None) => draw_weighted(problem, theta, streams, first, samples),
            };
            drawn.map(|drawn| self.hand(drawn))
        }))
    }

    /// log q(x) in nats of each configuration of `x` ([samples, particles, dimension]): the
    /// logarithm of the mean of q(x, a)/π(a|x) over `draws` draws a ~ π(a|x) of the augmented
    /// copies. It is too low on average, less so for more draws (Jensen's inequality).
    pub fn log_prob(&self, x: &[f64], draws: usize) -> Vec<f64> {
        log_prob(&self.problem, &self.theta, x, draws)
    }

    /// What an evaluation does by the recipe.
    pub fn evaluation_options(&self) -> EvaluationOptions {
        EvaluationOptions {
            step: self.metadata.step,
            ..evaluation_options(&self.recipe, &self.target)
        }
    }

    /// What the evaluation in the run's folder found to speak against `weights`; nothing where
    /// there is none.
    pub fn contradictions(&self, weights: Weighted) -> Vec<Contradiction> {
        let evaluation = self.folder.as_ref().map(RunFolder::read_evaluation::<Evaluation>);
        let found = evaluation.and_then(Result::ok).unwrap_or_default().contradictions;
        found.into_iter().filter(|found| found.weights == weights).collect()
    }

    /// Effective sample sizes, log Z and, where there are unbiased `reference` samples ([samples,
    /// particles, dimension]) of the target, the likelihood.
    ///
    /// # Errors
    /// [`Error::Evaluation`] if the potential fails for good.
    pub fn evaluate(
        &self,
        reference: Option<&[f64]>,
        options: EvaluationOptions,
    ) -> Result<Evaluation, Error> {
        let (evaluation, _) = evaluate(&self.problem, &self.theta, reference, None, options)?;
        let ModelMetadata { train_seconds, energy_evaluations, .. } = self.metadata;
        Ok(evaluation.of_training(train_seconds, energy_evaluations))
    }

    /// What `evaluation` means, in words for a person.
    pub fn verdict(&self, evaluation: &Evaluation) -> Verdict {
        let known = &self.target.known;
        let (known_log_z, known_entropy) = (known.log_z, known.entropy);
        Verdict::new(evaluation, &Facts { known_log_z, known_entropy, ..Facts::default() })
    }

    /// Averages over the target with their errors, from `count` samples.
    ///
    /// # Errors
    /// [`Error::Evaluation`] if the potential fails for good; [`Error::Parameter`] for an
    /// observable that does not fit the target.
    pub fn estimate(&self, observables: &[Observable], count: usize) -> Result<Estimates, Error> {
        if observables.iter().any(Observable::is_of_energies) {
            self.target.require_energy("observables")?;
        }
        let batches = self.batches(count, Weights::Joint)?;
        let found = estimate(self.target.particles(), observables, 60, None, batches)?;
        Ok(Estimates { contradictions: self.contradictions(Weighted::Flow), ..found })
    }

    /// Unbiased samples of the target by the recipe: its test data, those in the folder, or new
    /// ones, which are written there. `announce` is called with their number before they are drawn.
    ///
    /// # Errors
    /// Those of reading and of drawing.
    pub fn reference(&self, announce: Announce) -> Result<Option<Samples>, Error> {
        let found = reference::samples(self.folder.as_ref(), &self.target, &self.recipe, announce)?;
        Ok(found.map(|samples| self.hand(samples)))
    }

    /// Whether the recipe has any.
    pub fn has_reference(&self) -> bool {
        reference::has_any(&self.recipe)
    }

    /// Unbiased samples of the target from a file.
    ///
    /// # Errors
    /// Those of reading.
    pub fn reference_from(&self, file: &Path) -> Result<Samples, Error> {
        reference::from_file(file, &self.target)
    }
}

/// How many samples are annealed beside so many of the flow: a tenth, since each costs far more,
/// and never more than tell their effective sample size.
pub(crate) fn annealed_samples(samples: usize) -> usize {
    samples.div_ceil(10).min(10_000)
}

/// Options of evaluations by this recipe on `target`.
pub(super) fn evaluation_options(recipe: &Recipe, target: &Target) -> EvaluationOptions {
    let intermediate_distributions = match &recipe.train.objective {
        Objective::Fab(fab) => fab.intermediate_distributions,
        _ => 4,
    };
    EvaluationOptions {
        samples: recipe.evaluate.samples,
        draws: recipe.evaluate.draws,
        annealed_samples: annealed_samples(recipe.evaluate.samples),
        intermediate_distributions,
        known_log_z: target.known.log_z.map(|v| [v, target.known.log_z_error.unwrap_or(0.0)]),
        ..EvaluationOptions::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenth_is_annealed_up_to_a_limit() {
        for (samples, annealed) in [(2, 1), (10_000, 1000), (300_000, 10_000)] {
            assert_eq!(annealed_samples(samples), annealed);
        }
    }
}
