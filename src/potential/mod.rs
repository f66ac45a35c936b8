//! Energy functions: the trait that a user implements, and the built-in functional forms.

mod cells;
mod check;
mod double_well;
mod formula;
mod from_fn;
mod heated;
mod ipi;
mod lennard_jones;
mod near;
mod no_energy;
mod one_handed;
mod openmm;
mod pairs;
mod second_derivatives;
mod softened;
mod structures;
pub mod units;

use std::sync::Arc;

use crate::crystal::Crystal;
pub use crate::error::EvaluationError;
use crate::error::{refuse, Error};
use crate::system::System;

pub use check::{check, Finding, Severity};
pub use double_well::{DoubleWell, DoubleWellParameters};
pub use formula::{
    EmbeddingFormulas, Formula, FormulaParameters, OverAtoms, OverTriples, Particles, PerSpecies,
};
pub use from_fn::{from_fn, FnPotential};
pub use ipi::{Ipi, IpiParameters};
pub use lennard_jones::{LennardJones, LennardJonesParameters};
pub(crate) use near::cut_off;
pub use near::sum_over_near_pairs;
pub use no_energy::{NoEnergy, NoEnergyParameters};
pub use one_handed::OneHanded;
pub use openmm::{OpenMm, OpenMmParameters};
pub use pairs::{settle, sum_over_pairs};
pub use second_derivatives::second_derivatives;
pub use softened::LinearCore;
pub use structures::WithStructures;

pub(crate) use heated::Heated;

/// An energy function U(x)/kT of n particles in d dimensions, with its gradient.
///
/// The density that boltzflow samples is exp(−U(x)) on the subspace of configurations whose centre
/// of mass is at the origin. U must not change under translation, rotation, reflection and the
/// exchange of particles of the same [species](Self::species), and must grow as particles leave
/// each other. In a [periodic box](System::in_box) it need not grow, and only shifts and exchanges
/// leave it as it is.
///
/// # How to write one
/// 1. A struct with the [`System`] and the parameters. Its constructor checks them and returns
///    [`Error::Parameter`] with the name of the field.
/// 2. [`system`](Self::system) returns the system; write [`species`](Self::species) if there are
///    unlike particles.
/// 3. [`energy_and_gradient`](Self::energy_and_gradient): divide by kT, and return ∂U/∂x, not the
///    force. A pair potential is one call of [`sum_over_pairs`] or, with a cut-off, of
///    [`sum_over_near_pairs`].
/// 4. Where the energy is not finite, as at an overlap, return [`EvaluationError::Recoverable`]
///    with the reason. [`EvaluationError::Fatal`] is for what would fail for every configuration,
///    such as a lost server.
/// 5. `Registry::with("mine", factory)` gives it a `kind` in target files, and
///    [`run_command_line`](crate::run_command_line) all commands: see
///    `examples/custom_potential.rs`. The command `check` then looks for mistakes.
///
/// It is called from several threads at once, on batches of some dozens of configurations, or of as
/// many as [`batch_size`](Self::batch_size) asks for.
///
/// # Examples
/// Particles on springs to their centre, U = ½ Σ ‖x_i − x̄‖², whose gradient is x_i − x̄:
/// ```
/// use boltzflow::potential::{check, EvaluationError, Potential, Severity};
/// use boltzflow::system::System;
///
/// struct Springs(System);
///
/// impl Potential for Springs {
///     fn system(&self) -> System {
///         self.0
///     }
///     fn energy_and_gradient(&self, x: &[f64], g: &mut [f64]) -> Result<f64, EvaluationError> {
///         g.copy_from_slice(x);
///         self.0.remove_center_of_mass(g);
///         Ok(0.5 * g.iter().map(|g| g * g).sum::<f64>())
///     }
/// }
///
/// let findings = check(&Springs(System::new(3, 2)?))?;
/// assert!(findings.iter().all(|finding| finding.severity == Severity::Fine));
/// # Ok::<(), boltzflow::error::Error>(())
/// ```
pub trait Potential: Send + Sync {
    /// Number of particles and dimensions.
    fn system(&self) -> System;

    /// Which particles are alike: a number for each particle, the same for particles that may be
    /// exchanged without changing U. Empty, the default, when all are alike.
    fn species(&self) -> &[usize] {
        &[]
    }

    /// Known configurations from which sampling may start, each [particles, dimension] with its
    /// centre of mass at the origin; none by default. A molecule needs one: a random cloud of its
    /// atoms rarely finds its bonds.
    fn structures(&self) -> &[Vec<f64>] {
        &[]
    }

    /// Bonded particles, each pair once; none by default. They tell pictures, stereocentres and
    /// files what the energy holds together.
    fn bonds(&self) -> &[[usize; 2]] {
        &[]
    }

    /// Whether there is an energy at all, as there is by default. Without one a flow learns from
    /// samples, whose draws then have no weights: see [`NoEnergy`].
    fn has_energy(&self) -> bool {
        true
    }

    /// Parts of the energy by name, in kT, at `x` ([particles, dimension]); none by default.
    fn terms(&self, x: &[f64]) -> Vec<(String, f64)> {
        let _ = x;
        Vec::new()
    }

    /// Distance of a particle from the centre of mass up to which there are energies, +∞ by
    /// default. A failure within it is a wall; one beyond it says nothing about the energy.
    fn reach(&self) -> f64 {
        f64::INFINITY
    }

    /// How many configurations a call should have where there are so many at once; 1, the default,
    /// leaves that to callers. A potential with a cost for each call, such as one that another
    /// language computes, asks for more, and is then called less often with whole batches.
    fn batch_size(&self) -> usize {
        1
    }

    /// Energy of one configuration and its gradient.
    ///
    /// `x` and `gradient` are row-major [particles, dimension]; the energy is in units of kT, the
    /// gradient in kT per unit of length, ∂U/∂x (the force is its negative). `gradient` is
    /// overwritten.
    ///
    /// Where the energy is finite and has no gradient, as at a cusp, the gradient is not a number
    /// (NaN): such a configuration has its weight, but nothing can move it.
    ///
    /// # Errors
    /// [`EvaluationError::Recoverable`] when this configuration has no finite energy (it gets
    /// weight zero and is counted), [`EvaluationError::Fatal`] when the run must stop.
    fn energy_and_gradient(&self, x: &[f64], gradient: &mut [f64]) -> Result<f64, EvaluationError>;

    /// The energy of `x` where it is, to see whether its place matters. To be overridden by
    /// potentials that move configurations to the origin before they are evaluated.
    ///
    /// # Errors
    /// Those of [`energy_and_gradient`](Self::energy_and_gradient).
    fn energy_in_place(&self, x: &[f64]) -> Result<f64, EvaluationError> {
        self.energy_and_gradient(x, &mut vec![0.0; x.len()])
    }

    /// ∂U/∂ln L at `x` in kT, where L scales all positions and the periodic box: Σ r u′(r) over
    /// pairs. It gives the pressure. `None`, the default, where it is not known.
    fn virial(&self, x: &[f64]) -> Option<f64> {
        let _ = x;
        None
    }

    /// Energies and gradients of a batch: `x` and `gradients` are [samples, particles, dimension],
    /// `energies` is `[samples]`. Returns how many configurations failed recoverably, which are
    /// those without a finite energy; they get the energy +∞ and a zero gradient. A finite energy
    /// without a finite gradient stays and gets a gradient of NaN.
    ///
    /// The default evaluates one after the other on the calling thread: callers already work on
    /// small batches in parallel. Override it when the potential has a batch version of its own.
    ///
    /// # Errors
    /// Only [`EvaluationError::Fatal`].
    fn energies_and_gradients(
        &self,
        x: &[f64],
        energies: &mut [f64],
        gradients: &mut [f64],
    ) -> Result<usize, EvaluationError> {
        let width = self.system().coordinates();
        let mut failures = 0;
        for ((x, gradient), energy) in
            x.chunks_exact(width).zip(gradients.chunks_exact_mut(width)).zip(energies)
        {
            *energy = match self.energy_and_gradient(x, gradient) {
                Ok(u) => u,
                Err(EvaluationError::Recoverable(_)) => f64::INFINITY,
                Err(fatal) => return Err(fatal),
            };
            failures += usize::from(!pairs::settle(energy, gradient));
        }
        Ok(failures)
    }

    /// Energies alone of a batch, for averages and weights, which need no gradient: `x` is
    /// [samples, particles, dimension], `energies` is `[samples]`. Returns how many configurations
    /// failed recoverably; those get the energy +∞.
    ///
    /// The default computes the gradients and drops them. Override it when energies alone cost
    /// less.
    ///
    /// # Errors
    /// Only [`EvaluationError::Fatal`].
    fn energies(&self, x: &[f64], energies: &mut [f64]) -> Result<usize, EvaluationError> {
        self.energies_and_gradients(x, energies, &mut vec![0.0; x.len()])
    }

    /// A version of this potential without the steep core at short distances, for trainers that
    /// start with a soft core and harden it: what repels more steeply than at `core_radius` (a
    /// length) is continued linearly below it. A radius of 0 is the potential itself. `None`, the
    /// default, when the potential has no such version or the radius makes no sense for it.
    fn softened(&self, core_radius: f64) -> Option<Arc<dyn Potential>> {
        let _ = core_radius;
        None
    }
}

/// A pointer to a potential is a potential.
macro_rules! delegate_to_pointee {
    ($($pointer:ty),*) => {$(
        impl<P: Potential + ?Sized> Potential for $pointer {
            fn system(&self) -> System {
                (**self).system()
            }

            fn species(&self) -> &[usize] {
                (**self).species()
            }

            fn structures(&self) -> &[Vec<f64>] {
                (**self).structures()
            }

            fn bonds(&self) -> &[[usize; 2]] {
                (**self).bonds()
            }

            fn has_energy(&self) -> bool {
                (**self).has_energy()
            }

            fn terms(&self, x: &[f64]) -> Vec<(String, f64)> {
                (**self).terms(x)
            }

            fn reach(&self) -> f64 {
                (**self).reach()
            }

            fn batch_size(&self) -> usize {
                (**self).batch_size()
            }

            fn energy_in_place(&self, x: &[f64]) -> Result<f64, EvaluationError> {
                (**self).energy_in_place(x)
            }

            fn energy_and_gradient(
                &self,
                x: &[f64],
                gradient: &mut [f64],
            ) -> Result<f64, EvaluationError> {
                (**self).energy_and_gradient(x, gradient)
            }

            fn virial(&self, x: &[f64]) -> Option<f64> {
                (**self).virial(x)
            }

            fn energies_and_gradients(
                &self,
                x: &[f64],
                energies: &mut [f64],
                gradients: &mut [f64],
            ) -> Result<usize, EvaluationError> {
                (**self).energies_and_gradients(x, energies, gradients)
            }

            fn energies(&self, x: &[f64], energies: &mut [f64]) -> Result<usize, EvaluationError> {
                (**self).energies(x, energies)
            }

            fn softened(&self, core_radius: f64) -> Option<Arc<dyn Potential>> {
                (**self).softened(core_radius)
            }
        }
    )*};
}

delegate_to_pointee!(&P, Box<P>, Arc<P>);

/// The crystal of a potential in a periodic box, whose first structure are its sites; `None` in
/// open space, without a structure, and where particles overlap there.
pub fn crystal_of(potential: &dyn Potential) -> Option<Crystal> {
    let sites = potential.structures().first()?;
    Crystal::new(potential.system(), sites).ok()
}

/// Refuses a parameter that is negative or not finite.
fn require_not_negative(field: &str, value: f64) -> Result<(), Error> {
    if value.is_finite() && value >= 0.0 {
        Ok(())
    } else {
        refuse(field, format!("is {value}: use a number of 0 or more"))
    }
}

/// Refuses a parameter that is not a positive number.
fn require_positive(field: &str, value: f64) -> Result<(), Error> {
    if value.is_finite() && value > 0.0 {
        Ok(())
    } else {
        refuse(field, format!("is {value}: use a number over 0"))
    }
}
