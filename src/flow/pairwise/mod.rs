//! The pairwise matrix-exponential coupling, which carries the whole Jacobian.
//!
//! A collective displacement v(y) distorts the noise x − y by its Jacobian, whose off-diagonal blocks
//! are as large as its diagonal ones. A per-particle transform keeps the diagonal blocks only; this
//! coupling multiplies the noise with the exponential of a full symmetric matrix of pair terms:
//!
//! ```text
//! x′ = y + v(y) + exp(H(y)) (x − y)
//! v_i = Σ_j φ_ij u_ij + g_i (y_i − ȳ)
//! (H z)_i = s_i z_i + Σ_j (α_ij I + β_ij u_ij u_ijᵀ) (z_i − z_j)
//! log |det ∂x′/∂x| = tr H
//! ```
//!
//! where u_ij = r_ij/ρ_ij, r_ij = y_i − y_j; what is kept of a pair are φ/ρ, α and β/ρ², which multiply r.
//! φ, α, β, g, s are invariant outputs of a light radial conditioner. The map is O(d)- and
//! permutation-equivariant, has no frames and no singularities.
//!
//! With C copies in each half, y is the mean of the conditioning copies, which holds all that they say of
//! the configuration that they are noise around, and every copy of the moved half takes the place of x:
//! log |det| = C tr H.

// Matrices come in twos here, one of pairs and one of particles; a name would hide that.
#![allow(clippy::type_complexity)]

mod exponential;

use crate::engine::{Arena, Kernel, Lane, Real, Vector};
use crate::error::Error;

use super::radial::{
    displacement, displacement_vjp, mean, total, Outputs, PairwiseOptions, RadialConditioner,
};
use super::{Coupling, CouplingContext, Direction, HalfShape, Initial, ParameterLayout, Vjp};
use exponential::{PairMatrix, PairMatrixCotangent};

/// Outputs per pair, φ/ρ, α and β/ρ²: the powers of ρ that they are divided by.
const PAIR_OUTPUTS: [usize; 3] = [1, 0, 2];
/// Outputs per node: g, s.
const NODE_OUTPUTS: usize = 2;

/// The pairwise matrix-exponential coupling (see the module's head).
#[derive(Debug, Clone)]
pub struct PairwiseCoupling {
    /// In each half.
    copies: usize,
    conditioner: RadialConditioner,
}

impl PairwiseCoupling {
    /// Registers the coupling's parameters in `layout`; it starts as the identity, or multiplies
    /// the noise with the context's factor.
    ///
    /// # Errors
    /// [`Error::Parameter`] for an option out of its limits.
    pub fn new(
        context: &CouplingContext<'_>,
        options: &PairwiseOptions,
        layout: &mut ParameterLayout,
    ) -> Result<Self, Error> {
        options.validate()?;
        let &CouplingContext { half: HalfShape { copies, particles, dimension }, .. } = context;
        let noise_factor = context.noise_factor;
        // The map starts as the identity, or multiplies the noise: the last layers start at zero.
        let outputs = Outputs {
            powers: &PAIR_OUTPUTS,
            pairs: Initial::Constant(0.0),
            nodes: NODE_OUTPUTS,
            last_offset: (noise_factor != 1.0).then(|| ("log_noise_factor", noise_factor.ln())),
        };
        let conditioner = RadialConditioner::new(
            (particles, dimension),
            context.species,
            options,
            &outputs,
            layout,
        );
        Ok(Self { copies, conditioner })
    }
}

fn sign(direction: Direction) -> f64 {
    match direction {
        Direction::Forward => 1.0,
        Direction::Inverse => -1.0,
    }
}

impl<T: Real> Coupling<T> for PairwiseCoupling {
    fn scratch(&self) -> usize {
        let c = &self.conditioner;
        let (n, d, p) = (c.particles, c.dimension, c.pairs);
        let cotangents = PAIR_OUTPUTS.len() * p + NODE_OUTPUTS * n + n * d;
        c.tape_lanes::<T>()
            + c.vjp_scratch::<T>()
            + exponential::scratch::<T>(n, d)
            + cotangents
            + 5 * n * d
    }

    fn apply(
        &self,
        direction: Direction,
        theta: &[T],
        conditioning: &[Lane<T>],
        moved: &mut [Lane<T>],
        log_det: &mut Lane<T>,
        scratch: &mut [Lane<T>],
    ) {
        let coupling = self;
        T::dispatch(Apply { coupling, direction, theta, conditioning, moved, log_det, scratch });
    }

    fn vjp(&self, call: Vjp<'_, T>, scratch: &mut [Lane<T>]) {
        T::dispatch(Back { coupling: self, call, scratch });
    }
}

struct Apply<'a, T> {
    coupling: &'a PairwiseCoupling,
    direction: Direction,
    theta: &'a [T],
    conditioning: &'a [Lane<T>],
    moved: &'a mut [Lane<T>],
    log_det: &'a mut Lane<T>,
    scratch: &'a mut [Lane<T>],
}

impl<T: Real> Kernel<T> for Apply<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector<Scalar = T>>(self) {
        let Self { coupling, direction, theta, conditioning, moved, log_det, scratch } = self;
        let PairwiseCoupling { copies, conditioner } = coupling;
        let width = conditioning.len() / copies;
        let mut arena = Arena::new(scratch);
        let y = arena.take(width);
        mean::<V>(conditioning, y);
        let mut tape = conditioner.tape(&mut arena);
        conditioner.forward::<V>(theta, y, &mut tape);
        let (phi, alpha_beta) = tape.pair_outputs.split_at(conditioner.pairs);
        let (g, s) = tape.node_outputs.split_at(conditioner.particles);
        let shift = arena.take(width);
        displacement::<V>(conditioner, (phi, g), tape.centered, shift);
        let matrix = pair_matrix(conditioner, alpha_beta, s, tape.centered);
        let sign = sign(direction);

        for moved in moved.chunks_exact_mut(width) {
            for ((z, y), v) in moved.iter_mut().zip(&*y).zip(shift.iter()) {
                let difference = V::load(z) - V::load(y);
                match direction {
                    Direction::Forward => difference.store(z),
                    Direction::Inverse => (difference - V::load(v)).store(z),
                }
            }
            matrix.exponential::<V>(sign, moved, arena.rest());
            for ((z, y), v) in moved.iter_mut().zip(&*y).zip(shift.iter()) {
                let sum = V::load(z) + V::load(y);
                match direction {
                    Direction::Forward => (sum + V::load(v)).store(z),
                    Direction::Inverse => sum.store(z),
                }
            }
        }
        (matrix.trace::<V>() * V::constant(*copies as f64 * sign)).accumulate(log_det);
    }
}

struct Back<'a, T> {
    coupling: &'a PairwiseCoupling,
    call: Vjp<'a, T>,
    scratch: &'a mut [Lane<T>],
}

impl<T: Real> Kernel<T> for Back<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector<Scalar = T>>(self) {
        let Self { coupling, call, scratch } = self;
        let PairwiseCoupling { copies, conditioner } = coupling;
        let (pairs, n) = (conditioner.pairs, conditioner.particles);
        let width = call.conditioning.len() / copies;
        let mut arena = Arena::new(scratch);
        let (y, y_cotangent) = (arena.take(width), arena.take(width));
        mean::<V>(call.conditioning, y);
        let mut tape = conditioner.tape(&mut arena);
        conditioner.forward::<V>(call.theta, y, &mut tape);
        let sign = sign(call.direction);

        let pair_cotangent = arena.take_zeroed(PAIR_OUTPUTS.len() * pairs);
        let node_cotangent = arena.take_zeroed(NODE_OUTPUTS * n);
        let centered_cotangent = arena.take_zeroed(width);
        let (noise, shift) = (arena.take(width), arena.take(width));
        let (phi, alpha_beta) = tape.pair_outputs.split_at(pairs);
        let (g, s) = tape.node_outputs.split_at(n);
        let inverse = call.direction == Direction::Inverse;
        if inverse {
            displacement::<V>(conditioner, (phi, g), tape.centered, shift);
        }

        // The mean of one copy is that copy: sums then go on from its cotangent, in the order that trainings
        // of that kind have always had.
        if *copies == 1 {
            y_cotangent.copy_from_slice(call.conditioning_cotangent);
            call.conditioning_cotangent.fill(Lane::zero());
        } else {
            y_cotangent.fill(Lane::zero());
        }
        // The output is y + exp(±H)·noise, plus v when forward.
        for (k, y) in y_cotangent.iter_mut().enumerate() {
            let output = total::<V>(call.moved_cotangent, k, width);
            output.accumulate(y);
            if !inverse {
                output.store(&mut shift[k]);
            }
        }
        let matrix = pair_matrix(conditioner, alpha_beta, s, tape.centered);
        let (phi_cotangent, alpha_beta_cotangent) = pair_cotangent.split_at_mut(pairs);
        let (alpha_cotangent, beta_cotangent) = alpha_beta_cotangent.split_at_mut(pairs);
        let (g_cotangent, s_cotangent) = node_cotangent.split_at_mut(n);
        let mut to = PairMatrixCotangent {
            diagonal: s_cotangent,
            isotropic: alpha_cotangent,
            radial: beta_cotangent,
            position: centered_cotangent,
        };
        let log_det = V::load(call.log_det_cotangent) * V::constant(*copies as f64 * sign);
        matrix.trace_vjp::<V>(log_det, &mut to);
        let cotangents = call.moved_cotangent.chunks_exact_mut(width);
        for (moved, cotangent) in call.moved.chunks_exact(width).zip(cotangents) {
            // The input of the exponential: x − y, or x′ − y − v.
            for (((noise, x), y), v) in noise.iter_mut().zip(moved).zip(&*y).zip(shift.iter()) {
                let difference = V::load(x) - V::load(y);
                let z = if inverse { difference - V::load(v) } else { difference };
                z.store(noise);
            }
            matrix.exponential_vjp::<V>(sign, noise, cotangent, &mut to, arena.rest());
        }
        for (k, y) in y_cotangent.iter_mut().enumerate() {
            let noise = total::<V>(call.moved_cotangent, k, width);
            (V::load(y) - noise).store(y);
            // ∂L/∂v: the output's cotangent when forward, minus the noise's when inverse.
            if inverse {
                (-noise).store(&mut shift[k]);
            }
        }
        let to = (phi_cotangent, g_cotangent, &mut *centered_cotangent);
        displacement_vjp::<V>(conditioner, (phi, g), tape.centered, shift, to);
        conditioner.vjp::<V>(
            call.theta,
            &mut tape,
            pair_cotangent,
            node_cotangent,
            centered_cotangent,
            y_cotangent,
            call.gradient,
            &mut arena,
        );
        let share = V::constant(1.0 / *copies as f64);
        for copy in call.conditioning_cotangent.chunks_exact_mut(width) {
            for (to, y) in copy.iter_mut().zip(&*y_cotangent) {
                (V::load(y) * share).accumulate(to);
            }
        }
    }
}

#[inline(always)]
fn pair_matrix<'a, T>(
    conditioner: &RadialConditioner,
    alpha_beta: &'a [Lane<T>],
    s: &'a [Lane<T>],
    position: &'a [Lane<T>],
) -> PairMatrix<'a, T> {
    let (isotropic, radial) = alpha_beta.split_at(conditioner.pairs);
    let (particles, dimension) = (conditioner.particles, conditioner.dimension);
    PairMatrix { particles, dimension, diagonal: s, isotropic, radial, position }
}
