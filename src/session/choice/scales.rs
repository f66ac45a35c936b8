//! The lengths of a target, from a first short sampling of it.

use crate::config::Target;
use crate::diagnostics::pair_distances;
use crate::error::Error;
use crate::sampling::{reference_seconds, sample_reference, ReferenceOptions};
use crate::work;

/// Samples that are looked at, if there is time for as many.
const SAMPLES: usize = 512;
const LEAST_SAMPLES: usize = 32;
/// The part of the time that this may take.
const SHARE: f64 = 0.15;

/// What the samples say; lengths in the target's unit.
pub(super) struct Scales {
    /// Standard deviation of a coordinate.
    pub spread: f64,
    /// The least width of a coordinate with all others held, 1/√⟨(∂U/∂x)²⟩: the mean over a
    /// particle's coordinates, of the stiffest particle. ⟨(∂U/∂x)²⟩ is the mean curvature.
    pub stiffest: f64,
    /// A distance of two particles that one in a thousand is beyond.
    pub largest: f64,
}

impl Scales {
    /// Draws samples and measures them, within a part of `seconds`.
    ///
    /// # Errors
    /// Those of the reference sampler; [`Error::Parameter`] on `--minutes` if it takes too long.
    pub fn of(target: &Target, seconds: f64) -> Result<Self, Error> {
        let potential = target.potential.clone();
        let look = |samples: usize| -> Result<_, Error> {
            let options = ReferenceOptions::look(&*potential, samples);
            Ok((options, reference_seconds(potential.clone(), options)?))
        };
        let (mut options, mut needed) = look(SAMPLES)?;
        while needed > SHARE * seconds && options.samples > LEAST_SAMPLES {
            (options, needed) = look(options.samples / 4)?;
        }
        if needed > SHARE * seconds {
            let problem = format!(
                "is {:.1}: energies of this target are slow, and a first short sampling alone \
                 takes about {:.1} minutes. Use at least {:.0}",
                seconds / 60.0,
                needed / 60.0,
                (needed / SHARE / 60.0).ceil()
            );
            return Err(Error::parameter("--minutes", problem));
        }
        let work = work::begin("looking at the target");
        let found = sample_reference(potential.clone(), options)?;
        drop(work);
        let (system, x) = (potential.system(), &found.samples.positions);
        let width = system.coordinates();
        let mut gradients = vec![0.0; x.len()];
        let mut energies = vec![0.0; x.len() / width];
        potential.energies_and_gradients(x, &mut energies, &mut gradients)?;
        let square = |values: &[f64]| values.iter().map(|v| v * v).sum::<f64>();
        let freedom = (energies.len() * system.degrees_of_freedom()) as f64;
        let spread = (square(x) / freedom).sqrt();
        // [particles], sums over samples and dimensions. Like particles take each other's place.
        let mut curvature = vec![0.0; system.particles()];
        for gradient in gradients.chunks_exact(width).filter(|g| g.iter().all(|g| g.is_finite())) {
            for (sum, g) in curvature.iter_mut().zip(gradient.chunks_exact(system.dimension())) {
                *sum += square(g);
            }
        }
        let most = curvature.iter().copied().fold(0.0, f64::max);
        let each = most / (energies.len() * system.dimension()) as f64;
        let stiffest = if each > 0.0 { each.sqrt().recip().min(spread) } else { spread };
        let mut distances = pair_distances(system, x);
        distances.retain(|r| r.is_finite());
        distances.sort_by(f64::total_cmp);
        let largest = distances.get(distances.len() * 999 / 1000).copied().unwrap_or(spread);
        Ok(Self { spread, stiffest, largest: largest.max(spread) })
    }
}
