//! Unbiased samples of the target, which the forward figures of evaluations need.

use crate::config::{Recipe, Target};
use crate::error::Error;
use crate::parallel::team;
use crate::potential::Potential;
use crate::run::RunFolder;
use crate::samples::{read_equal_samples, write_samples, Samples};
use crate::sampling::{reference_seconds, sample_reference, ReferenceOptions};
use crate::train::{MaxLikelihoodOptions, Objective};
use crate::work;

/// Called with the number of samples before they are drawn, which takes time.
pub(super) type Announce = fn(usize) -> Result<(), Error>;

/// The samples of a file, with their centres of mass at the origin.
///
/// # Errors
/// Those of [`read_equal_samples`].
pub(super) fn from_file(file: &std::path::Path, target: &Target) -> Result<Samples, Error> {
    let mut samples = read_equal_samples(file, target.particles())?;
    samples.center(target.potential.system());
    Ok(samples)
}

/// Whether there are samples already: in a file that the recipe names, or in rank 0's folder. A
/// collective operation.
pub(super) fn exist(folder: &RunFolder, recipe: &Recipe) -> bool {
    let in_folder = team().allgather(folder.reference().exists().into())[0] == 1;
    in_folder || test_data(recipe).is_some()
}

/// Whether a recipe has reference samples: test data, or such as are drawn.
pub(super) fn has_any(recipe: &Recipe) -> bool {
    recipe.evaluate.reference_samples > 0 || test_data(recipe).is_some()
}

fn test_data(recipe: &Recipe) -> Option<&std::path::Path> {
    match &recipe.train.objective {
        Objective::MaxLikelihood(MaxLikelihoodOptions { test_data, .. }) => test_data.as_deref(),
        _ => None,
    }
}

/// Refuses what asks a target without an energy for one: the objective, or samples of the
/// reference sampler.
///
/// # Errors
/// [`Error::Parameter`] with the key of the recipe.
pub(super) fn check_energy(recipe: &Recipe, target: &Target) -> Result<(), Error> {
    if recipe.train.objective.options().needs_energy() && !target.potential.has_energy() {
        let problem = format!(
            "is \"{}\", which needs an energy, and {} is known by its samples alone: use \
             \"max_likelihood\", with train.max_likelihood.data",
            recipe.train.objective.name(),
            target.name
        );
        return Err(Error::parameter("train.objective", problem));
    }
    if recipe.evaluate.reference_samples > 0 && test_data(recipe).is_none() {
        target.require_energy("evaluate.reference_samples")?;
    }
    Ok(())
}

/// How the reference samples of this recipe are drawn.
fn options(recipe: &Recipe, potential: &dyn Potential) -> ReferenceOptions {
    let usual = ReferenceOptions::of(potential, recipe.evaluate.reference_samples);
    ReferenceOptions { chains: recipe.evaluate.reference_chains.unwrap_or(usual.chains), ..usual }
}

/// About how many seconds it takes to draw the reference samples of this recipe; `None` if it
/// draws none.
///
/// # Errors
/// [`Error::Evaluation`] if the potential fails fatally.
pub(crate) fn time_to_draw(recipe: &Recipe, target: &Target) -> Result<Option<f64>, Error> {
    if recipe.evaluate.reference_samples == 0 || test_data(recipe).is_some() {
        return Ok(None);
    }
    let options = options(recipe, &*target.potential);
    reference_seconds(target.potential.clone(), options).map(Some)
}

/// The reference samples of this recipe: its test data, else those in the run's folder, else new
/// ones, which are written there; none if the recipe asks for none. A collective operation.
///
/// # Errors
/// Those of reading and of drawing; if they cannot be written, that is only a warning.
pub(super) fn samples(
    folder: Option<&RunFolder>,
    target: &Target,
    recipe: &Recipe,
    announce: Announce,
) -> Result<Option<Samples>, Error> {
    let system = target.potential.system();
    if let Some(file) = test_data(recipe) {
        return from_file(&recipe.folders.find(file)?, target).map(Some);
    }
    let samples = recipe.evaluate.reference_samples;
    if samples == 0 {
        return Ok(None);
    }
    let file = folder.map(RunFolder::reference);
    // Only rank 0 may have access to the folder.
    let (positions, energies) = team().broadcast(|| {
        let Some(file) = file.as_ref().filter(|file| file.exists()) else {
            return Ok(Default::default());
        };
        let found = read_equal_samples(file, system)?;
        Ok((found.positions, found.energies))
    })?;
    if !positions.is_empty() {
        return Ok(Some(Samples { positions, log_weights: Vec::new(), energies }));
    }
    announce(samples)?;
    let _work = work::begin("drawing reference samples");
    let options = options(recipe, &*target.potential);
    let drawn = sample_reference(target.potential.clone(), options)?.samples;
    // A folder that somebody else wrote may be read-only.
    if let Some(file) = file.filter(|_| team().leads()) {
        if let Err(error) = write_samples(&file, system, samples, [Ok(drawn.clone())]) {
            tracing::warn!("reference samples are not written: {error}");
        }
    }
    Ok(Some(drawn))
}
