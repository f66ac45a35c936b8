//! The coupling trait: one half of the copies moves, given the other half.

use crate::crystal::Crystal;
use crate::engine::{Arena, Kernel, Lane, Real, Vector};

/// Shape of one half of the state: `copies` configurations of `particles` in `dimension`
/// dimensions. In lanes it is row-major [copies, particles, dimension].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HalfShape {
    /// (M + 1)/2 configurations, M being the number of augmented copies.
    pub copies: usize,
    /// Particles n.
    pub particles: usize,
    /// Dimensions d.
    pub dimension: usize,
}

impl HalfShape {
    /// Lanes of one half.
    pub fn lanes(&self) -> usize {
        self.copies * self.particles * self.dimension
    }
}

/// What a coupling is built for, whichever kind it is.
#[derive(Debug, Clone, Copy)]
pub struct CouplingContext<'a> {
    /// The halves of the state.
    pub half: HalfShape,
    /// The species of each particle, numbered from 0; empty when all are alike.
    pub species: &'a [usize],
    /// Of a crystal, from whose sites all positions count; `None` in open space.
    pub crystal: Option<&'a Crystal>,
    /// What a pairwise coupling multiplies the noise with at the start; 1 leaves it as it is.
    pub noise_factor: f64,
}

impl CouplingContext<'_> {
    /// Particles that are all alike, and noise that stays as it is.
    pub fn new(half: HalfShape) -> Self {
        Self { half, species: &[], crystal: None, noise_factor: 1.0 }
    }
}

/// Which of the two inverse maps a call computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From the base density to the target: sampling.
    Forward,
    /// From the target to the base density: density evaluation.
    Inverse,
}

/// A layer that moves one half of the state given the other, for a tile of samples.
///
/// To write a new coupling: put it in a file of its own with its options, which are a section of
/// recipes; register its parameters with the [`ParameterLayout`](super::ParameterLayout) in its
/// constructor such that the initial map is the identity; implement
/// `VectorCoupling` beside this trait, which makes it a coupling; add a line to the table of
/// `flow/layers.rs`, and one to that of `tests/couplings`, which checks all of this.
///
/// Both directions must be equivariant under joint rotations of both halves, under joint
/// permutations of the particles of a species, and under joint translations of both halves (the
/// flow never centres between couplings). They allocate nothing: all memory comes from `scratch`.
///
/// # Examples
/// A shear without parameters, moved′ = moved ± conditioning/2, whose determinant is 1:
/// ```
/// use boltzflow::engine::Lane;
/// use boltzflow::flow::{Apply, Coupling, Direction, Vjp};
///
/// /// to += sign · from/2
/// fn add(direction: Direction, from: &[Lane<f64>], to: &mut [Lane<f64>]) {
///     let factor = if direction == Direction::Forward { 0.5 } else { -0.5 };
///     for (to, from) in to.iter_mut().zip(from) {
///         to.0.iter_mut().zip(from.0).for_each(|(to, from)| *to += factor * from);
///     }
/// }
///
/// struct Shear;
///
/// impl Coupling<f64> for Shear {
///     fn scratch(&self) -> usize {
///         0
///     }
///     fn record_lanes(&self) -> usize {
///         0
///     }
///     fn is_rotation_equivariant(&self) -> bool {
///         true
///     }
///     fn apply(&self, call: Apply<'_, f64>, _: &mut [Lane<f64>]) {
///         add(call.direction, call.conditioning, call.moved);
///     }
///     fn vjp(&self, call: Vjp<'_, f64>, _: &mut [Lane<f64>]) {
///         add(call.direction, call.moved_cotangent, call.conditioning_cotangent);
///     }
/// }
///
/// let (mut moved, mut log_det) = ([Lane([1.0; 16])], Lane([0.0; 16]));
/// for (direction, expected) in [(Direction::Forward, 3.0), (Direction::Inverse, 1.0)] {
///     let (conditioning, record) = (&[Lane([4.0; 16])][..], &mut [][..]);
///     let (moved, log_det) = (&mut moved[..], &mut log_det);
///     Shear.apply(Apply { direction, theta: &[], conditioning, moved, log_det, record }, &mut []);
///     assert_eq!(moved[0].0, [expected; 16]);
/// }
/// ```
pub trait Coupling<T: Real>: Send + Sync {
    /// Lanes of scratch that [`apply`](Self::apply) and [`vjp`](Self::vjp) need.
    fn scratch(&self) -> usize;

    /// Lanes of a [record](Apply::record); 0 where computing it again is cheaper than keeping it.
    fn record_lanes(&self) -> usize;

    /// Whether it commutes with joint rotations of both halves, whatever its parameters are.
    fn is_rotation_equivariant(&self) -> bool;

    /// Moves one half in place.
    fn apply(&self, call: Apply<'_, T>, scratch: &mut [Lane<T>]);

    /// The vector-Jacobian product of [`apply`](Self::apply).
    fn vjp(&self, call: Vjp<'_, T>, scratch: &mut [Lane<T>]);
}

/// What the author of a [`Coupling`] writes: its methods, generic over the type of SIMD vectors.
pub(super) trait VectorCoupling: Send + Sync {
    fn scratch<T: Real>(&self) -> usize;

    fn record_lanes<T: Real>(&self) -> usize {
        0
    }

    fn is_rotation_equivariant(&self) -> bool {
        true
    }

    /// Must be `#[inline(always)]`, as [`vjp`](Self::vjp) must be.
    fn apply<V: Vector>(&self, call: Apply<'_, V::Scalar>, arena: Arena<'_, V::Scalar>);

    fn vjp<V: Vector>(&self, call: Vjp<'_, V::Scalar>, arena: Arena<'_, V::Scalar>);
}

impl<T: Real, C: VectorCoupling> Coupling<T> for C {
    fn scratch(&self) -> usize {
        VectorCoupling::scratch::<T>(self)
    }

    fn record_lanes(&self) -> usize {
        VectorCoupling::record_lanes::<T>(self)
    }

    fn is_rotation_equivariant(&self) -> bool {
        VectorCoupling::is_rotation_equivariant(self)
    }

    fn apply(&self, call: Apply<'_, T>, scratch: &mut [Lane<T>]) {
        T::dispatch(OnVectors { coupling: self, call, scratch });
    }

    fn vjp(&self, call: Vjp<'_, T>, scratch: &mut [Lane<T>]) {
        T::dispatch(OnVectors { coupling: self, call, scratch });
    }
}

/// A call of a coupling, as a kernel.
struct OnVectors<'a, C, T, Call> {
    coupling: &'a C,
    call: Call,
    scratch: &'a mut [Lane<T>],
}

impl<T: Real, C: VectorCoupling> Kernel<T> for OnVectors<'_, C, T, Apply<'_, T>> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector<Scalar = T>>(self) {
        VectorCoupling::apply::<V>(self.coupling, self.call, Arena::new(self.scratch));
    }
}

impl<T: Real, C: VectorCoupling> Kernel<T> for OnVectors<'_, C, T, Vjp<'_, T>> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector<Scalar = T>>(self) {
        VectorCoupling::vjp::<V>(self.coupling, self.call, Arena::new(self.scratch));
    }
}

/// What a coupling is given, and what it changes.
pub struct Apply<'a, T> {
    /// Which of the two maps this is.
    pub direction: Direction,
    /// The flat parameter vector of the whole flow.
    pub theta: &'a [T],
    /// The conditioning half.
    pub conditioning: &'a [Lane<T>],
    /// The half that moves.
    pub moved: &'a mut [Lane<T>],
    /// log |det ∂(moved output)/∂(moved input)| of this very call is added here.
    pub log_det: &'a mut Lane<T>,
    /// Gets what [`Coupling::vjp`] would compute again: [`Coupling::record_lanes`] lanes, or none
    /// to keep nothing.
    pub record: &'a mut [Lane<T>],
}

/// What a vector-Jacobian product is given and where it goes. The scalar L depends on the outputs
/// of the call: the moved half and the log-determinant.
pub struct Vjp<'a, T> {
    /// The call's direction.
    pub direction: Direction,
    /// The flat parameter vector of the whole flow.
    pub theta: &'a [T],
    /// The conditioning half of the call.
    pub conditioning: &'a [Lane<T>],
    /// The moved half as it went into the call.
    pub moved: &'a [Lane<T>],
    /// ∂L/∂(moved output) on entry, ∂L/∂(moved input) on return.
    pub moved_cotangent: &'a mut [Lane<T>],
    /// ∂L/∂conditioning is added here.
    pub conditioning_cotangent: &'a mut [Lane<T>],
    /// ∂L/∂log_det.
    pub log_det_cotangent: &'a Lane<T>,
    /// ∂L/∂(what the coupling adds to the training loss for a sample), as those in a frame of three
    /// particles do where it is badly conditioned; all others leave it alone.
    pub frame_loss_cotangent: &'a Lane<T>,
    /// ∂L/∂θ, summed over the samples of the tile, is added here; `None` skips that work.
    pub gradient: Option<&'a mut [T]>,
    /// What the call left in its record, which may be overwritten; empty if it kept nothing.
    pub record: &'a mut [Lane<T>],
}
