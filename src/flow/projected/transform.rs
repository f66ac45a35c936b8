//! How the nodes of the moved half go through the inner transforms, whatever the projection is.

use super::super::column::{Column, ColumnMut};
use super::super::spline::MOST_LANES;
use super::super::Direction;
use crate::engine::{Kernel, Lane, Real, Vector};

/// The most inner transforms of a coupling.
pub(super) const MAX_TRANSFORMS: usize = 8;

/// What an inner transform works in: the lanes of a spline for each coordinate.
pub(super) type Scratch<V> = [Lane<<V as Vector>::Scalar>; 3 * MOST_LANES];

/// An inner transform: a map of one node, by vectors and parameters from the conditioner.
pub(super) trait Transform: Copy {
    /// Vectors that it takes of the conditioner; the first one leads from y_i to the origin.
    fn vectors(&self, dimension: usize) -> usize;

    /// Raw parameters that it takes of the conditioner.
    fn parameters(&self, dimension: usize) -> usize;

    /// The new position and the log-determinant of the call.
    fn apply<V: Vector>(&self, given: &Given<'_, V>, scratch: &mut Scratch<V>) -> ([V; 3], V);

    /// Cotangents of everything that was given.
    fn vjp<V: Vector>(&self, given: &Given<'_, V>, outer: Outer<'_, V>) -> Cotangents<V>;

    /// Adds to the cotangents of v_1 and v_2 those of `weight` times the loss that keeps them
    /// apart, where there is one.
    #[inline(always)]
    fn keep_apart<V: Vector>(
        &self,
        _given: &Given<'_, V>,
        _weight: V,
        _cotangents: &mut [[V; 3]; 2],
    ) {
    }
}

/// What an inner transform of one node is given. Components beyond the dimension are zero.
#[derive(Clone, Copy)]
pub(super) struct Given<'a, V: Vector> {
    pub direction: Direction,
    pub dimension: usize,
    /// z_i, or its coordinates where a transform works on these.
    pub position: [V; 3],
    /// y_i + v_0.
    pub origin: [V; 3],
    /// v_1 and v_2, where the transform takes them.
    pub axes: [[V; 3]; 2],
    /// The raw parameters.
    pub raw: Column<'a, V::Scalar>,
}

/// Cotangents of what a transform returns, where those of its raw parameters are stored, and
/// scratch.
pub(super) struct Outer<'a, V: Vector> {
    pub moved: [V; 3],
    pub log_det: V,
    pub raw: ColumnMut<'a, V::Scalar>,
    pub scratch: &'a mut Scratch<V>,
}

/// Cotangents of what was given, but for the raw parameters.
pub(super) struct Cotangents<V> {
    pub position: [V; 3],
    pub origin: [V; 3],
    pub axes: [[V; 3]; 2],
}

/// Shape of what moves, and of what the conditioner makes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Plan {
    /// Copies in each half.
    pub copies: usize,
    pub particles: usize,
    pub dimension: usize,
    /// Inner transforms, one after the other.
    pub transforms: usize,
    /// Vectors of the conditioner for each copy.
    pub channels: usize,
}

/// A transform of a node of a copy.
#[derive(Clone, Copy)]
struct Place {
    copy: usize,
    node: usize,
    /// Number of the transform.
    stage: usize,
}

impl Plan {
    /// Node `number` of all copies, at a step of a direction.
    #[inline(always)]
    fn place(&self, number: usize, direction: Direction, step: usize) -> Place {
        let stage = match direction {
            Direction::Forward => step,
            Direction::Inverse => self.transforms - 1 - step,
        };
        Place { copy: number / self.particles, node: number % self.particles, stage }
    }

    /// Lane of a component of a vector of a node, among the vectors [copies, channels, d, n].
    #[inline(always)]
    fn vector_lane(&self, at: Place, channel: usize, axis: usize) -> usize {
        ((at.copy * self.channels + channel) * self.dimension + axis) * self.particles + at.node
    }

    /// Lane of the first raw parameter among the outputs [copies, transforms, parameters, n].
    #[inline(always)]
    fn outputs_from(&self, transform: &impl Transform, at: Place) -> usize {
        let row = (at.copy * self.transforms + at.stage) * transform.parameters(self.dimension);
        row * self.particles + at.node
    }
}

/// The conditioning half, and what the conditioner made of it except the vectors.
#[derive(Clone, Copy)]
pub(super) struct Conditioned<'a, T, P> {
    pub plan: &'a Plan,
    pub transform: P,
    pub direction: Direction,
    pub conditioning: &'a [Lane<T>],
    pub outputs: &'a [Lane<T>],
}

impl<'a, T: Real, P: Transform> Conditioned<'a, T, P> {
    /// What a transform of a node is given.
    #[inline(always)]
    fn given<V: Vector<Scalar = T>>(
        &self,
        vectors: &[Lane<T>],
        at: Place,
        position: [V; 3],
    ) -> Given<'a, V> {
        let Self { plan, transform, direction, conditioning, outputs } = *self;
        let (n, d) = (plan.particles, plan.dimension);
        let count = transform.vectors(d);
        let first = at.stage * count;
        let mut origin = [V::zero(); 3];
        let mut axes = [[V::zero(); 3]; 2];
        for k in 0..d {
            let vector = |number| V::load(&vectors[plan.vector_lane(at, first + number, k)]);
            origin[k] = V::load(&conditioning[(at.copy * n + at.node) * d + k]) + vector(0);
            for (number, axis) in axes.iter_mut().enumerate().take(count - 1) {
                axis[k] = vector(number + 1);
            }
        }
        let raw = Column::new(&outputs[plan.outputs_from(&transform, at)..], n);
        Given { direction, dimension: d, position, origin, axes, raw }
    }
}

#[inline(always)]
fn load<V: Vector>(lanes: &[Lane<V::Scalar>]) -> [V; 3] {
    let mut position = [V::zero(); 3];
    for (position, lane) in position.iter_mut().zip(lanes) {
        *position = V::load(lane);
    }
    position
}

#[inline(always)]
fn store<V: Vector>(position: &[V; 3], lanes: &mut [Lane<V::Scalar>]) {
    for (position, lane) in position.iter().zip(lanes) {
        position.store(lane);
    }
}

/// Moves every node through the inner transforms.
pub(super) struct Move<'a, T, P> {
    pub given: Conditioned<'a, T, P>,
    pub vectors: &'a [Lane<T>],
    pub moved: &'a mut [Lane<T>],
    pub log_det: &'a mut Lane<T>,
}

impl<T: Real, P: Transform> Kernel<T> for Move<'_, T, P> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector<Scalar = T>>(self) {
        let Conditioned { plan, transform, direction, .. } = self.given;
        let mut scratch: Scratch<V> = [Lane::zero(); 3 * MOST_LANES];
        let mut total = V::zero();
        for (number, z) in self.moved.chunks_exact_mut(plan.dimension).enumerate() {
            let mut position = load::<V>(z);
            for step in 0..plan.transforms {
                let at = plan.place(number, direction, step);
                let given = self.given.given(self.vectors, at, position);
                let (next, log_det) = transform.apply(&given, &mut scratch);
                position = next;
                total += log_det;
            }
            store(&position, z);
        }
        total.accumulate(self.log_det);
    }
}

/// The vector-Jacobian product of [`Move`]; the vectors are replaced by their cotangents.
pub(super) struct MoveVjp<'a, T, P> {
    pub given: Conditioned<'a, T, P>,
    pub moved: &'a [Lane<T>],
    pub log_det_cotangent: &'a Lane<T>,
    /// Weight of the loss that keeps a frame's vectors apart, for each frame.
    pub frame_loss: Option<Lane<T>>,
    pub vectors: &'a mut [Lane<T>],
    pub outputs_cotangent: &'a mut [Lane<T>],
    pub moved_cotangent: &'a mut [Lane<T>],
    pub conditioning_cotangent: &'a mut [Lane<T>],
}

impl<T: Real, P: Transform> Kernel<T> for MoveVjp<'_, T, P> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector<Scalar = T>>(self) {
        let Conditioned { plan, transform, direction, .. } = self.given;
        let (n, d) = (plan.particles, plan.dimension);
        let count = transform.vectors(d);
        let log_det = V::load(self.log_det_cotangent);
        let mut scratch: Scratch<V> = [Lane::zero(); 3 * MOST_LANES];
        for number in 0..plan.copies * n {
            let own = number * d..(number + 1) * d;
            // The positions before each inner transform.
            let mut positions = [[V::zero(); 3]; MAX_TRANSFORMS];
            positions[0] = load(&self.moved[own.clone()]);
            for step in 0..plan.transforms - 1 {
                let at = plan.place(number, direction, step);
                let given = self.given.given(self.vectors, at, positions[step]);
                positions[step + 1] = transform.apply(&given, &mut scratch).0;
            }
            let mut cotangent = load::<V>(&self.moved_cotangent[own.clone()]);
            for step in (0..plan.transforms).rev() {
                let at = plan.place(number, direction, step);
                let given = self.given.given(self.vectors, at, positions[step]);
                let from = plan.outputs_from(&transform, at);
                let raw = ColumnMut::new(&mut self.outputs_cotangent[from..], n);
                let outer = Outer { moved: cotangent, log_det, raw, scratch: &mut scratch };
                let mut inner = transform.vjp(&given, outer);
                if let Some(weight) = &self.frame_loss {
                    transform.keep_apart(&given, V::load(weight), &mut inner.axes);
                }
                let first = at.stage * count;
                for (k, origin) in inner.origin.iter().enumerate().take(d) {
                    origin.accumulate(&mut self.conditioning_cotangent[number * d + k]);
                    origin.store(&mut self.vectors[plan.vector_lane(at, first, k)]);
                    for (axis, vector) in inner.axes.iter().enumerate().take(count - 1) {
                        let lane = plan.vector_lane(at, first + axis + 1, k);
                        vector[k].store(&mut self.vectors[lane]);
                    }
                }
                cotangent = inner.position;
            }
            store(&cotangent, &mut self.moved_cotangent[own]);
        }
        // Channels without an inner transform are not read.
        for copy in self.vectors.chunks_exact_mut(plan.channels * d * n) {
            copy[plan.transforms * count * d * n..].fill(Lane::zero());
        }
    }
}
