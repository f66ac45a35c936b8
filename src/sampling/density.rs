//! Log densities on joint configurations: what chains walk on and what weights compare.

use std::cell::Cell;
use std::f64::consts::PI;
use std::sync::Arc;

use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};

use crate::engine::LANES;
use crate::error::{Error, EvaluationError};
use crate::potential::{Heated, Potential};
use crate::system::System;

/// A density over joint configurations, known up to a constant.
///
/// # Examples
/// The mass of exp(−2‖x‖²) for three particles in the plane, by annealing from a Gaussian:
/// ```
/// use boltzflow::diagnostics::log_z_and_error;
/// use boltzflow::sampling::{
///     AnnealedImportanceSampling, Annealing, Gaussian, LogDensity, StepSizes, Streams, Subspace,
/// };
/// use boltzflow::{random::Purpose, EvaluationError, System};
///
/// struct Narrow(Subspace);
///
/// impl LogDensity for Narrow {
///     fn width(&self) -> usize {
///         self.0.width()
///     }
///     fn log_density_and_gradient(
///         &self,
///         z: &[f64],
///         log_density: &mut [f64],
///         gradient: &mut [f64],
///     ) -> Result<usize, EvaluationError> {
///         for (row, out) in z.chunks_exact(self.width()).zip(log_density) {
///             *out = -2.0 * row.iter().map(|z| z * z).sum::<f64>();
///         }
///         z.iter().zip(gradient).for_each(|(z, out)| *out = -4.0 * z);
///         Ok(0)
///     }
/// }
///
/// let subspace = Subspace::new(System::new(3, 2)?, 1)?;
/// let sampling = AnnealedImportanceSampling {
///     proposal: &Gaussian::new(subspace, 1.0, 1.0)?,
///     target: &Narrow(subspace),
///     subspace,
///     annealing: Annealing { intermediate: 4, leapfrog_steps: 5, alpha: 1.0 },
/// };
/// let streams = Streams { seed: 0, purpose: Purpose::Sampling, step: 0 };
/// let drawn = sampling.run(1000, streams, &mut StepSizes::new(4, 0.1))?;
/// let (log_z, error) = log_z_and_error(&drawn.log_weights);
/// // √(π/2) for each of four degrees of freedom.
/// let exact = 2.0 * (std::f64::consts::PI / 2.0).ln();
/// assert!((log_z - exact).abs() < 5.0 * error && error < 0.1);
/// # Ok::<(), boltzflow::Error>(())
/// ```
pub trait LogDensity: Send + Sync {
    /// Numbers per configuration: copies · particles · dimension.
    fn width(&self) -> usize;

    /// Configurations that a call should have where there are so many at once; a tile of the
    /// engine by default.
    fn batch_size(&self) -> usize {
        LANES
    }

    /// Log densities of a small batch and their gradients, computed on the calling thread.
    ///
    /// `z` and `gradient` are [samples, width], `log_density` is `[samples]`; both outputs are
    /// overwritten. The gradient is that of the ambient space: callers project it on the subspace
    /// that their configurations live on. Returns how many rows failed recoverably; these have the
    /// log density −∞ and a zero gradient. A row with a finite log density and no gradient has NaN
    /// in its gradient: it has its weight, and chains do not move from it.
    ///
    /// # Errors
    /// Only [`EvaluationError::Fatal`].
    fn log_density_and_gradient(
        &self,
        z: &[f64],
        log_density: &mut [f64],
        gradient: &mut [f64],
    ) -> Result<usize, EvaluationError>;
}

/// A normalised density that can be drawn from: a flow, or a [`Gaussian`](super::Gaussian).
///
/// # Examples
/// An exponential distribution of each coordinate, a density that needs no subspace:
/// ```
/// use boltzflow::random::{stream, Purpose};
/// use boltzflow::sampling::{LogDensity, Proposal};
/// use boltzflow::EvaluationError;
/// use rand::Rng;
/// use rand_chacha::ChaCha8Rng;
///
/// struct Exponential(usize);
///
/// impl LogDensity for Exponential {
///     fn width(&self) -> usize {
///         self.0
///     }
///     fn log_density_and_gradient(
///         &self,
///         z: &[f64],
///         log_density: &mut [f64],
///         gradient: &mut [f64],
///     ) -> Result<usize, EvaluationError> {
///         for (row, out) in z.chunks_exact(self.0).zip(log_density) {
///             *out = -row.iter().sum::<f64>();
///         }
///         gradient.fill(-1.0);
///         Ok(0)
///     }
/// }
///
/// impl Proposal for Exponential {
///     fn draw(&self, rngs: &mut [ChaCha8Rng], z: &mut [f64], log_density: &mut [f64]) {
///         let rows = z.chunks_exact_mut(self.0);
///         for ((rng, row), out) in rngs.iter_mut().zip(rows).zip(log_density) {
///             row.fill_with(|| -(1.0 - rng.gen::<f64>()).ln());
///             *out = -row.iter().sum::<f64>();
///         }
///     }
/// }
///
/// let mut rngs = [stream(0, Purpose::Sampling, 0, 0), stream(0, Purpose::Sampling, 0, 1)];
/// let (mut z, mut log_density) = ([0.0; 6], [0.0; 2]);
/// Exponential(3).draw(&mut rngs, &mut z, &mut log_density);
/// assert!(z.iter().all(|z| *z >= 0.0) && z[..3] != z[3..]);
/// ```
pub trait Proposal: LogDensity {
    /// Draws one configuration from each stream, on the calling thread: `z` is [streams, width],
    /// `log_density` is `[streams]`. A configuration depends on its own stream alone.
    fn draw(&self, rngs: &mut [ChaCha8Rng], z: &mut [f64], log_density: &mut [f64]);
}

/// The space of joint configurations: copy 0 has its centre of mass at the origin, the augmented
/// copies are free.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Subspace {
    system: System,
    copies: usize,
}

impl Subspace {
    /// Joint configurations of `copies` copies of `system`; one copy is the system alone.
    ///
    /// # Errors
    /// [`Error::Parameter`] if there is no copy.
    pub fn new(system: System, copies: usize) -> Result<Self, Error> {
        if copies == 0 {
            return Err(Error::parameter("copies", "is 0: use 1 for the system alone"));
        }
        Ok(Self { system, copies })
    }

    /// The system that each copy is one configuration of.
    pub fn system(&self) -> System {
        self.system
    }

    /// Number of copies, the augmented ones and x.
    pub fn copies(&self) -> usize {
        self.copies
    }

    /// Numbers per joint configuration: copies · particles · dimension.
    pub fn width(&self) -> usize {
        self.copies * self.system.coordinates()
    }

    /// Orthogonal projection of positions, momenta or gradients, `rows` being [samples, width].
    pub fn project(&self, rows: &mut [f64]) {
        let coordinates = self.system.coordinates();
        for row in rows.chunks_exact_mut(self.width()) {
            self.system.remove_center_of_mass(&mut row[..coordinates]);
        }
    }
}

/// The target of training and annealing: exp(−U(x)) ∏ₖ N(aₖ; x, η²I).
///
/// The Gaussians are normalised over all n·d coordinates, exp(−U) is not; the normalising constant
/// is Z = ∫ exp(−U(x)) dx over the zero-centre-of-mass subspace whatever the number of copies. With
/// one copy it is the potential alone.
#[derive(Clone)]
pub struct AugmentedTarget {
    potential: Arc<dyn Potential>,
    subspace: Subspace,
    eta: f64,
}

/// Configurations of a call at most, whatever a potential asks for.
const MOST_AT_ONCE: usize = 1 << 16;

thread_local! {
    /// Rows of copy 0 and their gradients. Taken out while in use, so that a potential which works
    /// through rayon may come back here on the same thread.
    static SCRATCH: Cell<Vec<f64>> = const { Cell::new(Vec::new()) };
}

impl AugmentedTarget {
    /// The target of `potential` with `copies` copies in all (x and the augmented ones), the
    /// augmented ones spread by `eta` around x.
    ///
    /// # Errors
    /// [`Error::Parameter`] if there is no copy or `eta` is not a positive number.
    pub fn new(potential: Arc<dyn Potential>, copies: usize, eta: f64) -> Result<Self, Error> {
        let subspace = Subspace::new(potential.system(), copies)?;
        if !(eta.is_finite() && eta > 0.0) {
            return Err(Error::parameter("eta", format!("is {eta}: use a positive length")));
        }
        Ok(Self { potential, subspace, eta })
    }

    /// The potential.
    pub fn potential(&self) -> &Arc<dyn Potential> {
        &self.potential
    }

    /// The same target with another potential of the same system.
    pub fn with_potential(&self, potential: Arc<dyn Potential>) -> Self {
        Self { potential, ..self.clone() }
    }

    /// The same target at another temperature, `beta` being its own over that.
    pub(crate) fn heated(&self, beta: f64) -> Self {
        if beta == 1.0 {
            return self.clone();
        }
        self.with_potential(Arc::new(Heated { potential: self.potential.clone(), beta }))
    }

    /// Where the joint configurations live.
    pub fn subspace(&self) -> Subspace {
        self.subspace
    }

    /// Draws a ~ π(a | x) for every row of `x` ([samples, particles, dimension]) from its stream;
    /// `z` ([samples, width]) gets x and a. Returns nothing but `z`; log π(a | x) is
    /// [`log_conditional`](Self::log_conditional).
    pub fn augment(&self, x: &[f64], rngs: &mut [ChaCha8Rng], z: &mut [f64]) {
        let coordinates = self.subspace.system.coordinates();
        for ((x, row), rng) in
            x.chunks_exact(coordinates).zip(z.chunks_exact_mut(self.width())).zip(rngs)
        {
            for (copy, out) in row.chunks_exact_mut(coordinates).enumerate() {
                out.copy_from_slice(x);
                if copy > 0 {
                    for value in out {
                        let noise: f64 = StandardNormal.sample(rng);
                        *value += self.eta * noise;
                    }
                }
            }
        }
    }

    /// log π(a | x) of one joint configuration (`[width]`).
    pub fn log_conditional(&self, row: &[f64]) -> f64 {
        let (x, augmented) = row.split_at(self.subspace.system.coordinates());
        log_normal(x, augmented, self.eta)
    }
}

/// Σₖ log N(aₖ; x, scale² I).
pub(super) fn log_normal(x: &[f64], augmented: &[f64], scale: f64) -> f64 {
    let squares: f64 = augmented
        .chunks_exact(x.len())
        .flat_map(|copy| copy.iter().zip(x))
        .map(|(a, x)| (a - x) * (a - x))
        .sum();
    -0.5 * squares / (scale * scale) - augmented.len() as f64 * (scale * (2.0 * PI).sqrt()).ln()
}

/// Adds the gradient of [`log_normal`] with respect to x, and writes those with respect to a.
pub(super) fn log_normal_gradient(
    row: &[f64],
    scale: f64,
    coordinates: usize,
    gradient: &mut [f64],
) {
    let (x, augmented) = row.split_at(coordinates);
    let (gradient_x, gradient_a) = gradient.split_at_mut(coordinates);
    let precision = 1.0 / (scale * scale);
    for (copy, out) in
        augmented.chunks_exact(coordinates).zip(gradient_a.chunks_exact_mut(coordinates))
    {
        for (((a, x), out), gradient_x) in copy.iter().zip(x).zip(out).zip(gradient_x.iter_mut()) {
            let pull = precision * (a - x);
            *out = -pull;
            *gradient_x += pull;
        }
    }
}

impl LogDensity for AugmentedTarget {
    fn width(&self) -> usize {
        self.subspace.width()
    }

    /// Of the potential, in whole tiles.
    fn batch_size(&self) -> usize {
        self.potential.batch_size().clamp(1, MOST_AT_ONCE).next_multiple_of(LANES)
    }

    fn log_density_and_gradient(
        &self,
        z: &[f64],
        log_density: &mut [f64],
        gradient: &mut [f64],
    ) -> Result<usize, EvaluationError> {
        let coordinates = self.subspace.system.coordinates();
        let width = self.width();
        let samples = log_density.len();
        let mut scratch = SCRATCH.take();
        scratch.resize(2 * samples * coordinates, 0.0);
        let (x, slope) = scratch.split_at_mut(samples * coordinates);
        for (x, row) in x.chunks_exact_mut(coordinates).zip(z.chunks_exact(width)) {
            x.copy_from_slice(&row[..coordinates]);
        }
        let failures = self.potential.energies_and_gradients(x, log_density, slope)?;
        for (((row, out), slope), log_density) in z
            .chunks_exact(width)
            .zip(gradient.chunks_exact_mut(width))
            .zip(slope.chunks_exact(coordinates))
            .zip(log_density)
        {
            *log_density = self.log_conditional(row) - *log_density;
            if log_density.is_finite() {
                for (out, slope) in out.iter_mut().zip(slope) {
                    *out = -slope;
                }
                log_normal_gradient(row, self.eta, coordinates, out);
            } else {
                *log_density = f64::NEG_INFINITY;
                out.fill(0.0);
            }
        }
        SCRATCH.set(scratch);
        Ok(failures)
    }
}
