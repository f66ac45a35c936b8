//! Lennard-Jones particles, in a harmonic trap around their centre of mass or in a periodic box.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::units::Dimension;
use super::{cut_off, sum_over_near_pairs, sum_over_pairs, EvaluationError, LinearCore, Potential};
use crate::error::{refuse, Error};
use crate::system::System;

/// What defines a [`LennardJones`], unchecked; the keys of a target file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LennardJonesParameters {
    /// Number of particles n ≥ 2.
    pub particles: usize,
    /// Number of dimensions, 2 or 3.
    pub dimension: usize,
    /// Depth ε of the well of a pair counted once. No default: the literature has two conventions.
    pub epsilon: f64,
    /// Distance r_m of the minimum (default 1).
    #[serde(default = "one")]
    pub r_m: f64,
    /// Stiffness k of the trap (default 1). With 0 the particles evaporate and exp(−U) cannot be
    /// normalised, unless they are in a box, where it must be 0.
    #[serde(default = "one")]
    pub trap: f64,
    /// Edges of a periodic box, one for each dimension (default: none, open space).
    #[serde(default, rename = "box")]
    pub edges: Option<Vec<f64>>,
    /// Distance r_c from which on a pair has no energy; within it the energy is shifted by that at
    /// r_c, so that it is continuous (default: none, but a box needs one, of at most half its
    /// shortest edge).
    #[serde(default)]
    pub cutoff: Option<f64>,
    /// Temperature kT in the units of ε (default 1). It divides the trap's energy, too.
    #[serde(default = "one")]
    pub temperature: f64,
}

fn one() -> f64 {
    1.0
}

impl LennardJonesParameters {
    /// What has a unit, where a target file has units.
    pub const DIMENSIONS: &'static [(&'static str, Dimension)] = &[
        ("epsilon", Dimension::ENERGY),
        ("r_m", Dimension::LENGTH),
        ("trap", Dimension::energy_over_length(2)),
        ("cutoff", Dimension::LENGTH),
        ("temperature", Dimension::ENERGY),
    ];

    /// n particles in d dimensions with depth ε, and r_m, trap and temperature 1, without a box
    /// and a cut-off.
    pub fn new(particles: usize, dimension: usize, epsilon: f64) -> Self {
        Self {
            particles,
            dimension,
            epsilon,
            r_m: 1.0,
            trap: 1.0,
            edges: None,
            cutoff: None,
            temperature: 1.0,
        }
    }
}

/// U(x) = { Σ_{i<j} ε [(r_m/r)¹² − 2 (r_m/r)⁶] + ½ k Σ_i ‖x_i − x̄‖² } / T.
///
/// With a cut-off the sum is over pairs with r < r_c, each less what it is at r_c; in a periodic
/// box r is the distance to the nearest image, and the cost grows with n.
///
/// The pair term is that of Lennard-Jones (Proc. Phys. Soc. 43, 461, 1931), with its minimum −ε at
/// r_m = 2^(1/6) σ. LJ13 of Midgley et al. ([arXiv 2308.10364](https://arxiv.org/abs/2308.10364))
/// has ε = 1. iDEM ([arXiv 2402.06121](https://arxiv.org/abs/2402.06121)), equivariant flow
/// matching and bgflow sum over ordered pairs, which is ε = 2 here. Results of the two cannot be
/// compared.
///
/// # Examples
/// Two particles at the minimum, and the trap:
/// ```
/// use boltzflow::potential::{LennardJones, LennardJonesParameters, Potential};
/// let epsilon = 3.0;
/// let pair = LennardJones::new(LennardJonesParameters::new(2, 3, epsilon))?;
/// let energy = pair.energy_and_gradient(&[0.0, 0.0, 0.0, 1.0, 0.0, 0.0], &mut [0.0; 6])?;
/// assert!((energy - (-epsilon + 0.25)).abs() < 1e-12);
/// # Ok::<(), boltzflow::error::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct LennardJones {
    system: System,
    // ε/kT, r_m², k/kT.
    epsilon: f64,
    r_m_squared: f64,
    trap: f64,
    core: LinearCore,
    /// r_c, and the energy of a pair there.
    cutoff: Option<(f64, f64)>,
}

impl LennardJones {
    /// Checks `parameters`.
    ///
    /// # Errors
    /// [`Error::Parameter`] with the name of the offending field.
    pub fn new(parameters: LennardJonesParameters) -> Result<Self, Error> {
        let LennardJonesParameters { particles, dimension, epsilon, r_m, trap, .. } = parameters;
        let temperature = parameters.temperature;
        let system = System::new(particles, dimension)?;
        let (system, cutoff) = cut_off(system, parameters.edges.as_deref(), parameters.cutoff)?;
        for (field, value) in [("epsilon", epsilon), ("r_m", r_m), ("temperature", temperature)] {
            super::require_positive(field, value)?;
        }
        super::require_not_negative("trap", trap)?;
        if system.periodic_box().is_some() && trap != 0.0 {
            let problem = "in a box, which holds the particles by itself: use 0";
            return refuse("trap", format!("is {trap} {problem}"));
        }
        let mut potential = Self {
            system,
            epsilon: epsilon / temperature,
            r_m_squared: r_m * r_m,
            trap: trap / temperature,
            core: LinearCore::default(),
            cutoff: None,
        };
        potential.cutoff = cutoff.map(|cutoff| (cutoff, potential.pair(cutoff * cutoff).0));
        Ok(potential)
    }

    /// The same potential whose pair term is linear below `radius`, value and slope continuous;
    /// exact when it is 0.
    ///
    /// # Errors
    /// [`Error::Parameter`] when the radius is not between 0 and r_m, where the pair repels, or
    /// not below the cut-off.
    pub fn with_linear_core(mut self, radius: f64) -> Result<Self, Error> {
        let r_m = self.r_m_squared.sqrt();
        let end = self.cutoff.map_or(r_m, |(cutoff, _)| r_m.min(cutoff));
        if !(0.0..end).contains(&radius) {
            return refuse(
                "core_radius",
                format!("is {radius}: use a length from 0 to below r_m or the cut-off, {end}"),
            );
        }
        self.core = LinearCore::of(|squared| self.pair(squared), radius);
        Ok(self)
    }

    /// (u, u′(r)/r) of one pair at r² = `squared`, without the linear core.
    #[inline(always)]
    fn pair(&self, squared: f64) -> (f64, f64) {
        let inverse = 1.0 / squared;
        let s = self.r_m_squared * inverse;
        let s3 = s * s * s;
        let well = self.epsilon * s3;
        (well * (s3 - 2.0), 12.0 * well * (1.0 - s3) * inverse)
    }
}

impl Potential for LennardJones {
    fn system(&self) -> System {
        self.system
    }

    fn energy_and_gradient(&self, x: &[f64], gradient: &mut [f64]) -> Result<f64, EvaluationError> {
        let radial = |squared| self.core.apply(squared, |squared| self.pair(squared));
        match self.cutoff {
            None => sum_over_pairs(self.system, x, gradient, self.trap, radial),
            Some((cutoff, shift)) => {
                let radial = |squared| {
                    let (u, slope_over_r) = radial(squared);
                    (u - shift, slope_over_r)
                };
                sum_over_near_pairs(self.system, x, gradient, (self.trap, cutoff), radial)
            }
        }
    }

    fn virial(&self, x: &[f64]) -> Option<f64> {
        let (cutoff, _) = self.cutoff.filter(|_| self.system.periodic_box().is_some())?;
        let radial = |squared| {
            let (_, slope_over_r) = self.core.apply(squared, |squared| self.pair(squared));
            (slope_over_r * squared, 0.0)
        };
        sum_over_near_pairs(self.system, x, &mut vec![0.0; x.len()], (0.0, cutoff), radial).ok()
    }

    fn softened(&self, core_radius: f64) -> Option<Arc<dyn Potential>> {
        Some(Arc::new(self.clone().with_linear_core(core_radius).ok()?))
    }
}
