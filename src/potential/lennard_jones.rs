//! Lennard-Jones particles in a harmonic trap around their centre of mass.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{sum_over_pairs, EvaluationError, LinearCore, Potential};
use crate::error::Error;
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
    /// normalised.
    #[serde(default = "one")]
    pub trap: f64,
    /// Temperature kT in the units of ε (default 1). It divides the trap's energy, too.
    #[serde(default = "one")]
    pub temperature: f64,
}

fn one() -> f64 {
    1.0
}

impl LennardJonesParameters {
    /// n particles in d dimensions with depth ε, and r_m, trap and temperature 1.
    pub fn new(particles: usize, dimension: usize, epsilon: f64) -> Self {
        Self { particles, dimension, epsilon, r_m: 1.0, trap: 1.0, temperature: 1.0 }
    }
}

/// U(x) = { Σ_{i<j} ε [(r_m/r)¹² − 2 (r_m/r)⁶] + ½ k Σ_i ‖x_i − x̄‖² } / T.
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
}

impl LennardJones {
    /// Checks `parameters`.
    ///
    /// # Errors
    /// [`Error::Parameter`] with the name of the offending field.
    pub fn new(parameters: LennardJonesParameters) -> Result<Self, Error> {
        let LennardJonesParameters { particles, dimension, epsilon, r_m, trap, temperature } =
            parameters;
        let system = System::new(particles, dimension)?;
        for (field, value) in [("epsilon", epsilon), ("r_m", r_m), ("temperature", temperature)] {
            super::require_positive(field, value)?;
        }
        super::require_not_negative("trap", trap)?;
        Ok(Self {
            system,
            epsilon: epsilon / temperature,
            r_m_squared: r_m * r_m,
            trap: trap / temperature,
            core: LinearCore::default(),
        })
    }

    /// The same potential whose pair term is linear below `radius`, value and slope continuous;
    /// exact when it is 0.
    ///
    /// # Errors
    /// [`Error::Parameter`] when the radius is not between 0 and r_m, where the pair repels.
    pub fn with_linear_core(mut self, radius: f64) -> Result<Self, Error> {
        let r_m = self.r_m_squared.sqrt();
        if !(0.0..r_m).contains(&radius) {
            return Err(Error::parameter(
                "core_radius",
                format!("is {radius}: use a length from 0 to below r_m = {r_m}"),
            ));
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
        sum_over_pairs(self.system, x, gradient, self.trap, |squared| {
            self.core.apply(squared, |squared| self.pair(squared))
        })
    }

    fn softened(&self, core_radius: f64) -> Option<Arc<dyn Potential>> {
        Some(Arc::new(self.clone().with_linear_core(core_radius).ok()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dimer(parameters: LennardJonesParameters) -> LennardJones {
        LennardJones::new(LennardJonesParameters { particles: 2, ..parameters }).unwrap()
    }

    fn at(potential: &LennardJones, r: f64) -> (f64, f64) {
        let mut gradient = [0.0; 6];
        let x = [0.3, 0.0, -0.1, 0.3, r, -0.1];
        let u = potential.energy_and_gradient(&x, &mut gradient).unwrap();
        (u, gradient[4])
    }

    #[test]
    fn the_dimer_has_depth_epsilon_at_r_m_and_energy_zero_at_sigma() {
        let parameters = LennardJonesParameters {
            r_m: 1.3,
            trap: 0.0,
            ..LennardJonesParameters::new(2, 3, 2.5)
        };
        let potential = dimer(parameters);
        let (u, slope) = at(&potential, 1.3);
        assert!((u + 2.5).abs() < 1e-12 && slope.abs() < 1e-12);
        // r_m = 2^(1/6) σ
        let (u, slope) = at(&potential, 1.3 * 2f64.powf(-1.0 / 6.0));
        assert!(u.abs() < 1e-10 && slope < 0.0);
    }

    #[test]
    fn trap_and_temperature_enter() {
        let parameters = LennardJonesParameters {
            trap: 3.0,
            temperature: 0.5,
            ..LennardJonesParameters::new(2, 3, 1.0)
        };
        // ½ k Σ ‖x_i − x̄‖² = ½ · 3 · 2 · (½)² at r = 1.
        let (u, slope) = at(&dimer(parameters), 1.0);
        assert!((u - (-1.0 + 0.75) / 0.5).abs() < 1e-12);
        assert!((slope - 1.5 / 0.5).abs() < 1e-12);
    }

    #[test]
    fn the_linear_core_continues_value_and_slope_and_is_finite() {
        let exact = dimer(LennardJonesParameters::new(2, 3, 1.0));
        let soft = exact.clone().with_linear_core(0.8).unwrap();
        for r in [0.8, 0.9, 1.0, 2.0] {
            assert_eq!(at(&exact, r), at(&soft, r));
        }
        let (below, above) = (at(&soft, 0.8 - 1e-9), at(&soft, 0.8 + 1e-9));
        assert!((below.0 - above.0).abs() < 1e-5 && (below.1 - above.1).abs() < 1e-5);
        assert!(at(&soft, 1e-3).0 < 1e3 && at(&exact, 1e-3).0 > 1e30);
        // The pair's slope is constant inside; the trap adds ½ r.
        assert!((at(&soft, 0.4).1 - 0.2 - (at(&soft, 0.1).1 - 0.05)).abs() < 1e-9);
        let r = 0.37;
        assert_eq!(at(&exact, r), at(&exact.clone().with_linear_core(0.0).unwrap(), r));
    }

    #[test]
    fn an_exact_overlap_is_recoverable_and_names_the_pair() {
        let potential = LennardJones::new(LennardJonesParameters::new(3, 2, 1.0)).unwrap();
        for potential in [potential.clone(), potential.with_linear_core(0.8).unwrap()] {
            let error = potential
                .energy_and_gradient(&[0.0, 1.0, 2.0, 2.0, 0.0, 1.0], &mut [0.0; 6])
                .unwrap_err();
            assert!(matches!(&error, EvaluationError::Recoverable(m) if m.contains("0 and 2")));
        }
    }

    #[test]
    fn wrong_parameters_are_refused_by_name() {
        let good = LennardJonesParameters::new(13, 3, 1.0);
        for (field, parameters) in [
            ("particles", LennardJonesParameters { particles: 0, ..good.clone() }),
            ("dimension", LennardJonesParameters { dimension: 1, ..good.clone() }),
            ("epsilon", LennardJonesParameters { epsilon: -1.0, ..good.clone() }),
            ("r_m", LennardJonesParameters { r_m: 0.0, ..good.clone() }),
            ("trap", LennardJonesParameters { trap: -0.1, ..good.clone() }),
            ("temperature", LennardJonesParameters { temperature: f64::NAN, ..good.clone() }),
        ] {
            let message = LennardJones::new(parameters).unwrap_err().to_string();
            assert!(message.starts_with(&format!("`{field}`")), "{message}");
        }
        let good = LennardJones::new(good).unwrap();
        for radius in [-0.1, 1.0, f64::NAN] {
            assert!(good.clone().with_linear_core(radius).is_err());
            assert!(good.softened(radius).is_none());
        }
    }
}
