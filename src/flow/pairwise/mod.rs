//! The pairwise matrix-exponential coupling, which moves the noise of all particles by one matrix.

mod exponential;

use crate::engine::{Arena, Lane, Real, Vector};
use crate::error::Error;

use super::coupling::VectorCoupling;
use super::radial::{
    displacement, displacement_vjp, mean, total, DisplacementCotangents, Outputs, PairwiseOptions,
    RadialConditioner, RadialCotangents, RadialTape,
};
use super::rows::in_dimension;
use super::{Apply, CouplingContext, Direction, Initial, ParameterLayout, Vjp};
use exponential::{PairMatrix, PairMatrixCotangent, Scratch, Series};

/// Outputs per pair, φ/ρ, α and β/ρ²: the powers of ρ by which φ, α and β are divided.
const PAIR_OUTPUTS: [usize; 3] = [1, 0, 2];
/// Outputs per node: g, s.
const NODE_OUTPUTS: usize = 2;

/// The pairwise matrix-exponential coupling, which moves the noise of all particles by one matrix.
///
/// The moved half x is noise around the conditioning half y. A collective displacement v(y)
/// distorts this noise by its Jacobian, whose off-diagonal blocks are as large as its diagonal
/// ones. A transform of each particle alone keeps the diagonal blocks only; this coupling
/// multiplies the noise with the exponential of a full symmetric matrix of pair terms:
///
/// ```text
/// x′ = y + v(y) + exp(H(y)) (x − y)
/// v_i = Σ_j φ_ij u_ij + g_i (y_i − ȳ)
/// (H z)_i = s_i z_i + Σ_j (α_ij I + β_ij u_ij u_ijᵀ) (z_i − z_j)
/// log |det ∂x′/∂x| = tr H
/// ```
///
/// where u_ij = r_ij/ρ_ij, r_ij = y_i − y_j and ρ_ij = √(‖r_ij‖² + c²). The inverse map has −H in
/// place of H: x = y + exp(−H(y)) (x′ − y − v(y)). The map is O(d)- and permutation-equivariant,
/// has no frames and no singularities.
///
/// In a crystal all positions are displacements from its sites, ȳ is the mean of those, and pairs
/// are those of sites nearer than [`PairwiseOptions::cutoff`], with r_ij = y_i − y_j + R_i − R_j
/// for sites R at their nearest images; in place of n − 1 below stand the neighbours of a site. The
/// map has the symmetries of the lattice: translations that carry sites into sites and its point
/// group.
///
/// With C copies in each half, y is the mean of the conditioning copies, which are noise around the
/// same configuration, and every copy of the moved half takes the place of x: log |det| = C tr H.
///
/// # The conditioner
/// The scalars of pairs φ, α, β and of particles g, s are invariant functions of y, made from
/// Gaussian features of distances, e_k(ρ) = exp(−(γ_k (ρ − μ_k))²), with trained centres μ and
/// sharpnesses γ. A stage is one layer for each unordered pair,
///
/// ```text
/// t_ij = SiLU(A e(ρ_ij) + (U h)_i + (U h)_j + b)
/// h_i ← h_i + SiLU(M Σ_j t_ij/√(n − 1) + d)         (a message pass)
/// ```
///
/// and the last stage is read out: (φ, α, β)_ij = P t_ij, and (g, s)_i by one hidden layer of h_i.
/// The features h start from those of the distance to the centre, e(√(‖y_i − ȳ‖² + c²)), and, where
/// particles are unlike, a column for the species. With C angular channels
/// ([`PairwiseOptions::angular`]), vectors V_i = Σ_j w_ij r_ij with w_ij = B e(ρ_ij) give each pair
/// further features q_ij = (V_i − V_j)·r_ij/ρ_ij, which tell a bent triplet from a stretched one at
/// the cost of pairs.
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
        let copies = context.half.copies;
        let noise_factor = context.noise_factor;
        // The map starts as the identity, or multiplies the noise: the last layers start at zero.
        let outputs = Outputs {
            powers: &PAIR_OUTPUTS,
            pairs: Initial::Constant(0.0),
            nodes: NODE_OUTPUTS,
            last_offset: (noise_factor != 1.0).then(|| ("log_noise_factor", noise_factor.ln())),
        };
        let conditioner = RadialConditioner::new(context, options, &outputs, layout)?;
        Ok(Self { copies, conditioner })
    }
}

fn sign(direction: Direction) -> f64 {
    match direction {
        Direction::Forward => 1.0,
        Direction::Inverse => -1.0,
    }
}

/// What [`apply`](VectorCoupling::apply) works in.
struct ApplyBuffers<'a, T> {
    /// The mean of the conditioning copies, [particles, dimension].
    y: &'a mut [Lane<T>],
    tape: RadialTape<'a, T>,
    /// v, [particles, dimension].
    shift: &'a mut [Lane<T>],
}

/// What [`vjp`](VectorCoupling::vjp) works in; shapes are those of [`ApplyBuffers`].
struct VjpBuffers<'a, T> {
    y: &'a mut [Lane<T>],
    y_cotangent: &'a mut [Lane<T>],
    tape: RadialTape<'a, T>,
    cotangents: RadialCotangents<'a, T>,
    /// The input of the exponential, for one copy.
    noise: &'a mut [Lane<T>],
    /// v of the inverse map, and then ∂L/∂v of either.
    shift: &'a mut [Lane<T>],
}

impl PairwiseCoupling {
    /// Lanes of one copy.
    fn width(&self) -> usize {
        self.conditioner.particles * self.conditioner.dimension
    }

    #[inline(always)]
    fn apply_buffers<'a, T: Real>(&self, arena: &mut Arena<'a, T>) -> ApplyBuffers<'a, T> {
        ApplyBuffers {
            y: arena.take(self.width()),
            tape: self.conditioner.tape(arena),
            shift: arena.take(self.width()),
        }
    }

    #[inline(always)]
    fn vjp_buffers<'a, T: Real>(&self, arena: &mut Arena<'a, T>) -> VjpBuffers<'a, T> {
        VjpBuffers {
            y: arena.take(self.width()),
            y_cotangent: arena.take(self.width()),
            tape: self.conditioner.tape(arena),
            cotangents: self.conditioner.cotangents(arena),
            noise: arena.take(self.width()),
            shift: arena.take(self.width()),
        }
    }

    /// H of what the conditioner left on its tape.
    #[inline(always)]
    fn matrix<'a, T, const D: usize>(
        &'a self,
        tape: &'a RadialTape<'_, T>,
    ) -> PairMatrix<'a, T, D> {
        let pairs = &self.conditioner.pairs;
        let (isotropic, radial) = tape.pair_outputs[pairs.count()..].split_at(pairs.count());
        let diagonal = &tape.node_outputs[pairs.particles..];
        PairMatrix { pairs, diagonal, isotropic, radial, position: tape.centered }
    }
}

impl VectorCoupling for PairwiseCoupling {
    fn scratch<T: Real>(&self) -> usize {
        let width = self.width();
        Arena::<T>::measure(|arena| {
            let mut inner = arena.inner();
            self.apply_buffers(&mut inner);
            Scratch::take(&mut inner, width);
            self.vjp_buffers(arena);
            let mut inner = arena.inner();
            Scratch::take(&mut inner, width);
            Series::take_longest(&mut inner, width);
            self.conditioner.vjp_buffers(&mut [], &mut arena.inner());
        })
    }

    #[inline(always)]
    fn apply<V: Vector>(&self, call: Apply<'_, V::Scalar>, mut arena: Arena<'_, V::Scalar>) {
        let mut buffers = self.apply_buffers(&mut arena);
        mean::<V>(call.conditioning, buffers.y);
        self.conditioner.forward::<V>(call.theta, buffers.y, &mut buffers.tape);
        in_dimension!(self.conditioner.dimension, D => self.copies::<V, D>(call, buffers, arena));
    }

    #[inline(always)]
    fn vjp<V: Vector>(&self, mut call: Vjp<'_, V::Scalar>, mut arena: Arena<'_, V::Scalar>) {
        let conditioner = &self.conditioner;
        let mut buffers = self.vjp_buffers(&mut arena);
        mean::<V>(call.conditioning, buffers.y);
        conditioner.forward::<V>(call.theta, buffers.y, &mut buffers.tape);
        let inner = arena.inner();
        in_dimension!(conditioner.dimension, D => {
            self.copies_vjp::<V, D>(&mut call, &mut buffers, inner);
        });
        let VjpBuffers { y_cotangent, mut tape, cotangents, .. } = buffers;
        conditioner.vjp::<V>(
            call.theta,
            &mut tape,
            cotangents,
            y_cotangent,
            call.gradient,
            &mut arena,
        );
        let share = V::constant(1.0 / self.copies as f64);
        for copy in call.conditioning_cotangent.chunks_exact_mut(self.width()) {
            for (to, y) in copy.iter_mut().zip(&*y_cotangent) {
                (V::load(y) * share).accumulate(to);
            }
        }
    }
}

impl PairwiseCoupling {
    /// Moves every copy.
    #[inline(always)]
    fn copies<V: Vector, const D: usize>(
        &self,
        call: Apply<'_, V::Scalar>,
        buffers: ApplyBuffers<'_, V::Scalar>,
        mut arena: Arena<'_, V::Scalar>,
    ) {
        let Apply { direction, moved, log_det, .. } = call;
        let ApplyBuffers { y, tape, shift } = buffers;
        let pairs = &self.conditioner.pairs;
        displacement::<V, D>(pairs, self.conditioner.scalars(&tape, 0), tape.centered, shift);
        let matrix = self.matrix::<V::Scalar, D>(&tape);
        let sign = sign(direction);
        for moved in moved.chunks_exact_mut(self.width()) {
            for ((z, y), v) in moved.iter_mut().zip(&*y).zip(shift.iter()) {
                let difference = V::load(z) - V::load(y);
                match direction {
                    Direction::Forward => difference.store(z),
                    Direction::Inverse => (difference - V::load(v)).store(z),
                }
            }
            matrix.exponential::<V>(sign, moved, arena.inner());
            for ((z, y), v) in moved.iter_mut().zip(&*y).zip(shift.iter()) {
                let sum = V::load(z) + V::load(y);
                match direction {
                    Direction::Forward => (sum + V::load(v)).store(z),
                    Direction::Inverse => sum.store(z),
                }
            }
        }
        let copies = V::constant(self.copies as f64 * sign);
        (matrix.trace::<V>() * copies).accumulate(log_det);
    }

    /// From the cotangents of the moved copies to those of the copies as they came in, of y and of
    /// what the conditioner made.
    #[inline(always)]
    fn copies_vjp<V: Vector, const D: usize>(
        &self,
        call: &mut Vjp<'_, V::Scalar>,
        buffers: &mut VjpBuffers<'_, V::Scalar>,
        mut arena: Arena<'_, V::Scalar>,
    ) {
        let (width, sign) = (self.width(), sign(call.direction));
        let pairs = &self.conditioner.pairs;
        let (particles, count) = (pairs.particles, pairs.count());
        let inverse = call.direction == Direction::Inverse;
        let VjpBuffers { y, y_cotangent, tape, cotangents, noise, shift } = buffers;
        if inverse {
            displacement::<V, D>(pairs, self.conditioner.scalars(tape, 0), tape.centered, shift);
        }

        // The mean of one copy is that copy: sums then continue from its cotangent, in the
        // original order, so that earlier runs keep their exact bytes.
        if self.copies == 1 {
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
        let matrix = self.matrix::<V::Scalar, D>(tape);
        let (phi_cotangent, matrix_cotangent) = cotangents.pairs.split_at_mut(count);
        let (isotropic, radial) = matrix_cotangent.split_at_mut(count);
        let (g_cotangent, diagonal) = cotangents.nodes.split_at_mut(particles);
        let position = &mut *cotangents.centered;
        let mut to = PairMatrixCotangent { diagonal, isotropic, radial, position };
        let copies = V::constant(self.copies as f64 * sign);
        matrix.trace_vjp::<V>(V::load(call.log_det_cotangent) * copies, &mut to);
        let moved_cotangents = call.moved_cotangent.chunks_exact_mut(width);
        for (moved, cotangent) in call.moved.chunks_exact(width).zip(moved_cotangents) {
            // The input of the exponential: x − y, or x′ − y − v.
            for (((noise, x), y), v) in noise.iter_mut().zip(moved).zip(&**y).zip(shift.iter()) {
                let difference = V::load(x) - V::load(y);
                let z = if inverse { difference - V::load(v) } else { difference };
                z.store(noise);
            }
            matrix.exponential_vjp::<V>(sign, noise, cotangent, &mut to, arena.inner());
        }
        for (k, y) in y_cotangent.iter_mut().enumerate() {
            let noise = total::<V>(call.moved_cotangent, k, width);
            (V::load(y) - noise).store(y);
            // ∂L/∂v: the output's cotangent when forward, minus the noise's when inverse.
            if inverse {
                (-noise).store(&mut shift[k]);
            }
        }
        let to = DisplacementCotangents {
            phi: phi_cotangent,
            g: g_cotangent,
            centered: &mut *cotangents.centered,
        };
        let scalars = self.conditioner.scalars(tape, 0);
        displacement_vjp::<V, D>(pairs, scalars, tape.centered, shift, to);
    }
}
