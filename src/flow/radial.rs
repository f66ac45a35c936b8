//! Inner transforms of the vector coupling: a node moves along the line from an origin, so that only
//! its distance to it changes, by a spline.

use super::spline::{Evaluation, Spline, SplineShape, MAX_BINS};
use super::Direction;
use crate::engine::{ln, Kernel, Lane, Real, Vector};

/// Added to squared distances, so that a distance has a derivative at the origin.
const SQUARE_FLOOR: f64 = 1e-20;

/// Shape of the inner transforms of all nodes: as many for each as there are dimensions.
#[derive(Debug, Clone, Copy)]
pub(super) struct Inner {
    pub particles: usize,
    pub dimension: usize,
    pub spline: SplineShape,
}

impl Inner {
    /// The transforms in the order of a direction.
    #[inline(always)]
    fn stage(&self, direction: Direction, step: usize) -> usize {
        match direction {
            Direction::Forward => step,
            Direction::Inverse => self.dimension - 1 - step,
        }
    }

    /// Arithmetic of [`Move`] and of [`MoveBack`] per sample.
    pub fn operations(&self) -> (f64, f64) {
        let (evaluation, adjoint) = self.spline.operations();
        let transforms = (self.particles * self.dimension) as f64;
        // Distance, stretch, its logarithm, the new position.
        let around = 6.0 * self.dimension as f64 + 45.0;
        let back = 2.0 * evaluation + adjoint + 3.0 * around;
        (transforms * (evaluation + around), transforms * back)
    }
}

/// Moves every node through the inner transforms.
pub(super) struct Move<'a, T> {
    pub inner: &'a Inner,
    pub direction: Direction,
    pub conditioning: &'a [Lane<T>],
    pub vectors: &'a [Lane<T>],
    pub outputs: &'a [Lane<T>],
    pub moved: &'a mut [Lane<T>],
    pub log_det: &'a mut Lane<T>,
}

impl<T: Real> Kernel<T> for Move<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector<Scalar = T>>(self) {
        let Self { inner, direction, conditioning, vectors, outputs, moved, log_det } = self;
        let d = inner.dimension;
        let mut total = V::zero();
        for (node, z) in moved.chunks_exact_mut(d).enumerate() {
            let given = Given { inner, conditioning, vectors, outputs, node };
            let mut position = [V::zero(); 3];
            for (position, z) in position.iter_mut().zip(&*z) {
                *position = V::load(z);
            }
            for step in 0..d {
                let stage = inner.stage(direction, step);
                let raw = given.raw::<V>(stage);
                let radial =
                    Radial::new(direction, &position, given.origin(stage), inner.spline, &raw);
                for (position, u) in position.iter_mut().zip(&radial.offset) {
                    // o + u·t = z + u·(t − 1)
                    *position = u.mul_add(radial.stretch.sub(V::constant(1.0)), *position);
                }
                total = total.add(radial.log_det(direction, d));
            }
            for (position, z) in position.iter().zip(z) {
                position.store(z);
            }
        }
        total.accumulate(log_det);
    }
}

/// What the conditioner says about one node.
struct Given<'a, T> {
    inner: &'a Inner,
    conditioning: &'a [Lane<T>],
    vectors: &'a [Lane<T>],
    outputs: &'a [Lane<T>],
    node: usize,
}

impl<T: Real> Given<'_, T> {
    /// y_i + v_ik.
    #[inline(always)]
    fn origin<V: Vector<Scalar = T>>(&self, stage: usize) -> [V; 3] {
        let Inner { particles: n, dimension: d, .. } = *self.inner;
        let mut origin = [V::zero(); 3];
        for (k, origin) in origin.iter_mut().enumerate().take(d) {
            *origin = V::load(&self.conditioning[self.node * d + k])
                .add(V::load(&self.vectors[(stage * d + k) * n + self.node]));
        }
        origin
    }

    /// The raw parameters of a spline.
    #[inline(always)]
    fn raw<V: Vector<Scalar = T>>(&self, stage: usize) -> [V; 3 * MAX_BINS] {
        let n = self.inner.particles;
        let parameters = self.inner.spline.parameters();
        let mut raw = [V::zero(); 3 * MAX_BINS];
        for (j, raw) in raw.iter_mut().enumerate().take(parameters) {
            *raw = V::load(&self.outputs[(stage * parameters + j) * n + self.node]);
        }
        raw
    }
}

/// One inner transform of one node.
struct Radial<V: Vector> {
    spline: Spline<V>,
    at: Evaluation<V>,
    /// z − o.
    offset: [V; 3],
    distance: V,
    /// t = r′/r.
    stretch: V,
}

impl<V: Vector> Radial<V> {
    #[inline(always)]
    fn new(
        direction: Direction,
        position: &[V; 3],
        origin: [V; 3],
        shape: SplineShape,
        raw: &[V; 3 * MAX_BINS],
    ) -> Self {
        let mut offset = *position;
        let mut square = V::constant(SQUARE_FLOOR);
        for (u, o) in offset.iter_mut().zip(&origin) {
            *u = u.sub(*o);
            square = u.mul_add(*u, square);
        }
        let distance = square.sqrt();
        let spline = Spline::new(shape, raw);
        let at = match direction {
            Direction::Forward => spline.forward(distance),
            Direction::Inverse => spline.inverse(distance),
        };
        let stretch = at.value.div(distance);
        Self { spline, at, offset, distance, stretch }
    }

    #[inline(always)]
    fn log_det(&self, direction: Direction, d: usize) -> V {
        let along = match direction {
            Direction::Forward => self.at.log_slope,
            Direction::Inverse => self.at.log_slope.neg(),
        };
        V::constant((d - 1) as f64).mul_add(ln(self.stretch), along)
    }

    /// From the cotangents of the new position and of log det to those of the position, of the origin
    /// and of the raw parameters.
    #[inline(always)]
    fn adjoint(
        &self,
        direction: Direction,
        d: usize,
        raw: &[V; 3 * MAX_BINS],
        moved: &[V; 3],
        log_det: V,
    ) -> ([V; 3], [V; 3], [V; 3 * MAX_BINS]) {
        let mut stretch = V::constant((d - 1) as f64).mul(log_det).div(self.stretch);
        for (g, u) in moved.iter().zip(&self.offset) {
            stretch = g.mul_add(*u, stretch);
        }
        // t = r′/r
        let value = stretch.div(self.distance);
        let (through, parameters) = match direction {
            Direction::Forward => self.spline.forward_adjoint(&self.at, value, log_det, raw),
            Direction::Inverse => self.spline.inverse_adjoint(&self.at, value, log_det.neg(), raw),
        };
        let distance = through.sub(value.mul(self.stretch));
        let outward = distance.div(self.distance);
        let mut position = [V::zero(); 3];
        let mut origin = [V::zero(); 3];
        for k in 0..3 {
            position[k] = moved[k].mul_add(self.stretch, outward.mul(self.offset[k]));
            origin[k] = moved[k].sub(position[k]);
        }
        (position, origin, parameters)
    }
}

/// The adjoint of [`Move`]; the vectors are replaced by their cotangents.
pub(super) struct MoveBack<'a, T> {
    pub inner: &'a Inner,
    pub direction: Direction,
    pub conditioning: &'a [Lane<T>],
    pub outputs: &'a [Lane<T>],
    pub moved: &'a [Lane<T>],
    pub log_det_cotangent: &'a Lane<T>,
    pub vectors: &'a mut [Lane<T>],
    pub outputs_cotangent: &'a mut [Lane<T>],
    pub moved_cotangent: &'a mut [Lane<T>],
    pub conditioning_cotangent: &'a mut [Lane<T>],
}

impl<T: Real> Kernel<T> for MoveBack<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector<Scalar = T>>(self) {
        let Self { inner, direction, conditioning, .. } = self;
        let Inner { particles: n, dimension: d, .. } = *inner;
        let parameters = inner.spline.parameters();
        let log_det = V::load(self.log_det_cotangent);
        for node in 0..n {
            let own = node * d..(node + 1) * d;
            // The positions before each inner transform.
            let mut positions = [[V::zero(); 3]; 4];
            for (position, z) in positions[0].iter_mut().zip(&self.moved[own.clone()]) {
                *position = V::load(z);
            }
            let given =
                Given { inner, conditioning, vectors: self.vectors, outputs: self.outputs, node };
            for step in 0..d - 1 {
                let stage = inner.stage(direction, step);
                let (raw, origin) = (given.raw::<V>(stage), given.origin(stage));
                let position = positions[step];
                let radial = Radial::new(direction, &position, origin, inner.spline, &raw);
                for k in 0..d {
                    let stretch = radial.stretch.sub(V::constant(1.0));
                    positions[step + 1][k] = radial.offset[k].mul_add(stretch, position[k]);
                }
            }
            let mut cotangent = [V::zero(); 3];
            for (cotangent, lane) in cotangent.iter_mut().zip(&self.moved_cotangent[own.clone()]) {
                *cotangent = V::load(lane);
            }
            for step in (0..d).rev() {
                let stage = inner.stage(direction, step);
                let given = Given {
                    inner,
                    conditioning,
                    vectors: self.vectors,
                    outputs: self.outputs,
                    node,
                };
                let (raw, origin) = (given.raw::<V>(stage), given.origin(stage));
                let position = &positions[step];
                let radial = Radial::new(direction, position, origin, inner.spline, &raw);
                let (position, origin, raw) =
                    radial.adjoint(direction, d, &raw, &cotangent, log_det);
                for (j, raw) in raw.iter().enumerate().take(parameters) {
                    raw.store(&mut self.outputs_cotangent[(stage * parameters + j) * n + node]);
                }
                for (k, origin) in origin.iter().enumerate().take(d) {
                    origin.accumulate(&mut self.conditioning_cotangent[node * d + k]);
                    origin.store(&mut self.vectors[(stage * d + k) * n + node]);
                }
                cotangent = position;
            }
            for (cotangent, lane) in cotangent.iter().zip(&mut self.moved_cotangent[own]) {
                cotangent.store(lane);
            }
        }
        // Channels without an inner transform are not read.
        self.vectors[d * d * n..].fill(Lane::zero());
    }
}
