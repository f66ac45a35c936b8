//! The vector projection: a node moves along the line from its origin, so that only its distance to it
//! changes, by a spline.
//!
//! ```text
//! r = ‖z − o‖,   r′ = S(r),   z′ = o + (z − o) r′/r,   log det = ln S′(r) + (d − 1) ln(r′/r)
//! ```

use super::super::column::ColumnMut;
use super::super::spline::{Evaluation, Spline, SplineShape};
use super::transform::{Cotangents, Given, Transform};
use super::{dot, subtract};
use crate::engine::{ln, Lane, Vector};

/// Added to squared distances, so that a distance has a derivative at the origin.
pub(super) const SQUARE_FLOOR: f64 = 1e-20;

#[derive(Debug, Clone, Copy)]
pub(super) struct Radial {
    /// Of the distance.
    pub spline: SplineShape,
}

/// The transform at one point.
struct At<'a, V: Vector> {
    spline: Spline<'a, V>,
    evaluation: Evaluation<V>,
    /// z − o.
    offset: [V; 3],
    distance: V,
    /// t = r′/r.
    stretch: V,
}

impl Radial {
    #[inline(always)]
    fn at<'a, V: Vector>(
        &self,
        given: &Given<'a, V>,
        scratch: &'a mut [Lane<V::Scalar>],
    ) -> At<'a, V> {
        let offset = subtract(&given.position, &given.origin);
        let distance = (dot(&offset, &offset) + V::constant(SQUARE_FLOOR)).sqrt();
        let spline = Spline::<V>::new(self.spline, given.raw, scratch);
        let evaluation = spline.evaluate(given.direction, distance);
        let stretch = evaluation.value / distance;
        At { spline, evaluation, offset, distance, stretch }
    }
}

/// d − 1.
#[inline(always)]
fn across<V: Vector>(given: &Given<'_, V>) -> V {
    V::constant((given.dimension - 1) as f64)
}

impl Transform for Radial {
    fn vectors(&self, _dimension: usize) -> usize {
        1
    }

    fn parameters(&self, _dimension: usize) -> usize {
        self.spline.parameters()
    }

    fn scratch(&self, _dimension: usize) -> usize {
        self.spline.lanes()
    }

    #[inline(always)]
    fn apply<V: Vector>(
        &self,
        given: &Given<'_, V>,
        scratch: &mut [Lane<V::Scalar>],
    ) -> ([V; 3], V) {
        let at = self.at(given, scratch);
        let mut position = given.position;
        for (position, u) in position.iter_mut().zip(&at.offset) {
            // o + u·t = z + u·(t − 1)
            *position = u.mul_add(at.stretch - V::constant(1.0), *position);
        }
        let along = at.evaluation.log_det(given.direction);
        (position, across(given).mul_add(ln(at.stretch), along))
    }

    #[inline(always)]
    fn adjoint<V: Vector>(
        &self,
        given: &Given<'_, V>,
        moved: &[V; 3],
        log_det: V,
        raw: &mut ColumnMut<'_, V::Scalar>,
        scratch: &mut [Lane<V::Scalar>],
    ) -> Cotangents<V> {
        let at = self.at(given, scratch);
        let stretch = across(given) * log_det / at.stretch + dot(moved, &at.offset);
        // t = r′/r
        let value = stretch / at.distance;
        let cotangents = [value, log_det];
        let through = at.spline.adjoint(given.direction, &at.evaluation, cotangents, raw);
        let outward = (through - value * at.stretch) / at.distance;
        let mut position = [V::zero(); 3];
        for k in 0..3 {
            position[k] = moved[k].mul_add(at.stretch, outward * at.offset[k]);
        }
        Cotangents { position, origin: subtract(moved, &position), axes: [[V::zero(); 3]; 2] }
    }
}
