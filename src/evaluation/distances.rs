//! How far the samples of a flow are from those of the target, compared with how far two sets of
//! the target's own samples are apart.

use serde::{Deserialize, Serialize};

use super::draw::energies;
use crate::diagnostics::{
    energy_wasserstein, geometric_wasserstein, pair_distances, total_variation, Symmetries,
};
use crate::error::Error;
use crate::samples::Samples;
use crate::sampling::resample_systematically;
use crate::train::Problem;

/// Distances of sets of N samples from N reference samples; they mean nothing without the floor
/// beside them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Distances {
    /// N, the size of every set.
    pub samples: usize,
    /// The flow's samples as they come.
    pub flow: SetDistances,
    /// Resampled by their weights from all samples of the evaluation.
    pub reweighted: Option<SetDistances>,
    /// Annealed to the target, resampled by the weights.
    pub annealed: Option<SetDistances>,
    /// Other reference samples: what a perfect sampler would get.
    pub floor: SetDistances,
}

/// Distances of one set from the reference.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SetDistances {
    /// Wasserstein-2 distance of the energies, in kT; `None` if some sample has no finite energy,
    /// or the target has none.
    pub energy_w2: Option<f64>,
    /// Wasserstein-2 distance of configurations after alignment over rotations, reflections and
    /// permutations within species; a length. An upper bound, see
    /// [`geometric_wasserstein`](crate::diagnostics::geometric_wasserstein). `None` in a periodic
    /// box, which those change.
    pub geometric_w2: Option<f64>,
    /// Wasserstein-2 distance of the pair distances of all samples together; a length.
    pub distance_w2: Option<f64>,
    /// Total variation distance of the same, over 200 bins that span the reference.
    pub distance_tv: Option<f64>,
}

/// Distances of at most `wanted` samples of each kind from as many of `reference`, of which as many
/// again give the floor. `None` for fewer than two reference samples.
///
/// # Errors
/// [`Error::Evaluation`] if the potential fails for good.
pub(super) fn distances(
    problem: &Problem,
    drawn: &Samples,
    annealed: Option<&Samples>,
    reference: &[f64],
    wanted: usize,
) -> Result<Option<Distances>, Error> {
    let system = problem.flow.system();
    // Halves, since neighbours may descend from the same chain.
    let half = reference.len() / system.coordinates() / 2;
    let samples = wanted.min(half).min(drawn.count(system));
    if samples == 0 {
        return Ok(None);
    }
    let potential = &**problem.target.potential();
    let energies = match potential.has_energy() {
        true => energies(potential, reference)?,
        false => Vec::new(),
    };
    let all = Samples { positions: reference.to_vec(), energies, log_weights: Vec::new() };
    let spread =
        |first: usize, total: usize| (0..samples).map(move |k| first + k * total / samples);
    let target = all.pick(system, spread(0, half));
    let other = all.pick(system, spread(half, half));
    let resampled = |drawn: &Samples| {
        // Every so many places of a systematic resampling are one of fewer places.
        let chosen = resample_systematically(&drawn.log_weights, 0.5)?;
        Some(drawn.pick(system, spread(0, chosen.len()).map(|place| chosen[place])))
    };
    let compare = |set: &Samples| between(problem, set, &target);
    Ok(Some(Distances {
        samples,
        flow: compare(&drawn.pick(system, 0..samples)),
        reweighted: resampled(drawn).map(|set| compare(&set)),
        annealed: annealed.and_then(resampled).map(|set| compare(&set)),
        floor: compare(&other),
    }))
}

fn between(problem: &Problem, set: &Samples, target: &Samples) -> SetDistances {
    let system = problem.flow.system();
    // A potential's contract has all three symmetries.
    let symmetries = Symmetries { system, species: problem.flow.species(), reflections: true };
    let [first, second] = [set, target].map(|set| pair_distances(system, &set.positions));
    let known = |value: f64| value.is_finite().then_some(value);
    let aligned = match system.periodic_box() {
        Some(_) => f64::NAN,
        None => geometric_wasserstein(symmetries, &set.positions, &target.positions),
    };
    SetDistances {
        energy_w2: known(energy_wasserstein(&set.energies, &target.energies)),
        geometric_w2: known(aligned),
        distance_w2: known(energy_wasserstein(&first, &second)),
        distance_tv: known(total_variation(&first, &second)),
    }
}
