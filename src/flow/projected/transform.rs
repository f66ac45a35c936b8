//! How the nodes of the moved half go through the inner transforms, there and back, whatever the
//! projection is.

use super::super::column::{Column, ColumnMut};
use super::super::Direction;
use crate::engine::{Kernel, Lane, Real, Vector};

/// The most inner transforms of a coupling.
pub(super) const MAX_TRANSFORMS: usize = 8;

/// An inner transform: a map of one node, given what the conditioner says about it.
pub(super) trait Transform: Copy {
    /// Vectors that it takes of the conditioner; the first one leads from y_i to the origin.
    fn vectors(&self, dimension: usize) -> usize;

    /// Raw parameters that it takes of the conditioner.
    fn parameters(&self, dimension: usize) -> usize;

    /// Lanes that [`apply`](Self::apply) and [`adjoint`](Self::adjoint) work in.
    fn scratch(&self, dimension: usize) -> usize;

    /// The new position and the log-determinant of the call.
    fn apply<V: Vector>(
        &self,
        given: &Given<'_, V>,
        scratch: &mut [Lane<V::Scalar>],
    ) -> ([V; 3], V);

    /// From the cotangents of the new position and of the log-determinant to those of everything that
    /// was given; those of the raw parameters are stored in `raw`.
    fn adjoint<V: Vector>(
        &self,
        given: &Given<'_, V>,
        moved: &[V; 3],
        log_det: V,
        raw: &mut ColumnMut<'_, V::Scalar>,
        scratch: &mut [Lane<V::Scalar>],
    ) -> Cotangents<V>;

    /// Adds to the cotangents of v_1 and v_2 those of `weight` times the loss that keeps them apart,
    /// where there is one.
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
pub(super) struct Given<'a, V: Vector> {
    pub direction: Direction,
    pub dimension: usize,
    /// z_i.
    pub position: [V; 3],
    /// y_i + v_0.
    pub origin: [V; 3],
    /// v_1 and v_2, where the transform takes them.
    pub axes: [[V; 3]; 2],
    /// The raw parameters.
    pub raw: Column<'a, V::Scalar>,
}

/// Cotangents of what was given.
pub(super) struct Cotangents<V> {
    pub position: [V; 3],
    pub origin: [V; 3],
    pub axes: [[V; 3]; 2],
}

/// Shape of what moves, and of what the conditioner says.
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

impl Plan {
    /// The transforms in the order of a direction.
    #[inline(always)]
    fn stage(&self, direction: Direction, step: usize) -> usize {
        match direction {
            Direction::Forward => step,
            Direction::Inverse => self.transforms - 1 - step,
        }
    }

    /// Lane of a component of a vector of a node, among the vectors [copies, channels, d, n].
    #[inline(always)]
    fn vector_lane(&self, copy: usize, channel: usize, axis: usize, node: usize) -> usize {
        ((copy * self.channels + channel) * self.dimension + axis) * self.particles + node
    }

    /// What transform number `stage` of a node is given.
    #[inline(always)]
    fn given<'a, V: Vector, P: Transform>(
        &self,
        transform: &P,
        says: &Says<'a, V::Scalar>,
        direction: Direction,
        (copy, node, stage): (usize, usize, usize),
        position: [V; 3],
    ) -> Given<'a, V> {
        let (n, d) = (self.particles, self.dimension);
        let count = transform.vectors(d);
        let first = stage * count;
        let mut origin = [V::zero(); 3];
        let mut axes = [[V::zero(); 3]; 2];
        for k in 0..d {
            let vector =
                |number| V::load(&says.vectors[self.vector_lane(copy, first + number, k, node)]);
            origin[k] = V::load(&says.conditioning[(copy * n + node) * d + k]) + vector(0);
            for (number, axis) in axes.iter_mut().enumerate().take(count - 1) {
                axis[k] = vector(number + 1);
            }
        }
        let from = self.outputs_from(transform, (copy, node, stage));
        let raw = Column::new(&says.outputs[from..], n);
        Given { direction, dimension: d, position, origin, axes, raw }
    }

    /// Lane of the first raw parameter among the outputs [copies, transforms, parameters, n].
    #[inline(always)]
    fn outputs_from<P: Transform>(
        &self,
        transform: &P,
        (copy, node, stage): (usize, usize, usize),
    ) -> usize {
        let row = (copy * self.transforms + stage) * transform.parameters(self.dimension);
        row * self.particles + node
    }
}

/// The conditioning half and what the conditioner made of it.
#[derive(Clone, Copy)]
struct Says<'a, T> {
    conditioning: &'a [Lane<T>],
    vectors: &'a [Lane<T>],
    outputs: &'a [Lane<T>],
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
    pub plan: &'a Plan,
    pub transform: P,
    pub direction: Direction,
    pub conditioning: &'a [Lane<T>],
    pub vectors: &'a [Lane<T>],
    pub outputs: &'a [Lane<T>],
    pub moved: &'a mut [Lane<T>],
    pub log_det: &'a mut Lane<T>,
    pub scratch: &'a mut [Lane<T>],
}

impl<T: Real, P: Transform> Kernel<T> for Move<'_, T, P> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector<Scalar = T>>(self) {
        let Self { plan, transform, direction, conditioning, vectors, outputs, .. } = self;
        let says = Says { conditioning, vectors, outputs };
        let mut total = V::zero();
        for (number, z) in self.moved.chunks_exact_mut(plan.dimension).enumerate() {
            let (copy, node) = (number / plan.particles, number % plan.particles);
            let mut position = load::<V>(z);
            for step in 0..plan.transforms {
                let at = (copy, node, plan.stage(direction, step));
                let given = plan.given(&transform, &says, direction, at, position);
                let (next, log_det) = transform.apply(&given, self.scratch);
                position = next;
                total += log_det;
            }
            store(&position, z);
        }
        total.accumulate(self.log_det);
    }
}

/// The adjoint of [`Move`]; the vectors are replaced by their cotangents.
pub(super) struct MoveBack<'a, T, P> {
    pub plan: &'a Plan,
    pub transform: P,
    pub direction: Direction,
    pub conditioning: &'a [Lane<T>],
    pub outputs: &'a [Lane<T>],
    pub moved: &'a [Lane<T>],
    pub log_det_cotangent: &'a Lane<T>,
    /// Weight of the loss that keeps a frame's vectors apart, for each frame.
    pub frame_loss: Option<Lane<T>>,
    pub vectors: &'a mut [Lane<T>],
    pub outputs_cotangent: &'a mut [Lane<T>],
    pub moved_cotangent: &'a mut [Lane<T>],
    pub conditioning_cotangent: &'a mut [Lane<T>],
    pub scratch: &'a mut [Lane<T>],
}

impl<T: Real, P: Transform> Kernel<T> for MoveBack<'_, T, P> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector<Scalar = T>>(self) {
        let Self { plan, transform, direction, conditioning, vectors, outputs, .. } = self;
        let (n, d) = (plan.particles, plan.dimension);
        let count = transform.vectors(d);
        let log_det = V::load(self.log_det_cotangent);
        for number in 0..plan.copies * n {
            let (copy, node) = (number / n, number % n);
            let own = number * d..(number + 1) * d;
            // The positions before each inner transform.
            let mut positions = [[V::zero(); 3]; MAX_TRANSFORMS];
            positions[0] = load(&self.moved[own.clone()]);
            for step in 0..plan.transforms - 1 {
                let says = Says { conditioning, vectors, outputs };
                let at = (copy, node, plan.stage(direction, step));
                let given = plan.given::<V, P>(&transform, &says, direction, at, positions[step]);
                positions[step + 1] = transform.apply(&given, self.scratch).0;
            }
            let mut cotangent = load::<V>(&self.moved_cotangent[own.clone()]);
            for step in (0..plan.transforms).rev() {
                let says = Says { conditioning, vectors, outputs };
                let stage = plan.stage(direction, step);
                let at = (copy, node, stage);
                let given = plan.given::<V, P>(&transform, &says, direction, at, positions[step]);
                let from = plan.outputs_from(&transform, at);
                let mut raw = ColumnMut::new(&mut self.outputs_cotangent[from..], n);
                let mut back =
                    transform.adjoint(&given, &cotangent, log_det, &mut raw, self.scratch);
                if let Some(weight) = &self.frame_loss {
                    transform.keep_apart(&given, V::load(weight), &mut back.axes);
                }
                for (k, origin) in back.origin.iter().enumerate().take(d) {
                    origin.accumulate(&mut self.conditioning_cotangent[number * d + k]);
                    origin.store(&mut vectors[plan.vector_lane(copy, stage * count, k, node)]);
                    for (number, axis) in back.axes.iter().enumerate().take(count - 1) {
                        let channel = stage * count + number + 1;
                        axis[k].store(&mut vectors[plan.vector_lane(copy, channel, k, node)]);
                    }
                }
                cotangent = back.position;
            }
            store(&cotangent, &mut self.moved_cotangent[own]);
        }
        // Channels without an inner transform are not read.
        for copy in vectors.chunks_exact_mut(plan.channels * d * n) {
            copy[plan.transforms * count * d * n..].fill(Lane::zero());
        }
    }
}
