//! The vector projection: a node moves along the line from its origin, so that only its distance to
//! it changes. The formulas stand at [`Projection::Vector`](super::Projection::Vector).

use super::super::spline::{Spline, SplineShape};
use super::transform::{Cotangents, Given, Outer, Scratch, Transform};
use crate::engine::{ln, Vector};
use crate::flow::rows::{dot_from_last as dot, subtract};

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
    /// z − o.
    offset: [V; 3],
    distance: V,
    /// t = r′/r.
    stretch: V,
    /// d − 1.
    across: V,
}

impl Radial {
    #[inline(always)]
    fn at<'a, V: Vector>(&self, given: &Given<'a, V>, scratch: &'a mut Scratch<V>) -> At<'a, V> {
        let offset = subtract(given.position, given.origin);
        let distance = (dot(&offset, &offset) + V::constant(SQUARE_FLOOR)).sqrt();
        let spline = Spline::new(self.spline, given.direction, given.raw, distance, scratch);
        let stretch = spline.value / distance;
        At { spline, offset, distance, stretch, across: V::constant((given.dimension - 1) as f64) }
    }
}

impl Transform for Radial {
    fn vectors(&self, _dimension: usize) -> usize {
        1
    }

    fn parameters(&self, _dimension: usize) -> usize {
        self.spline.parameters()
    }

    #[inline(always)]
    fn apply<V: Vector>(&self, given: &Given<'_, V>, scratch: &mut Scratch<V>) -> ([V; 3], V) {
        let At { spline, offset, stretch, across, .. } = self.at(given, scratch);
        let mut position = given.position;
        for (position, u) in position.iter_mut().zip(&offset) {
            // o + u·t = z + u·(t − 1)
            *position = u.mul_add(stretch - V::constant(1.0), *position);
        }
        (position, across.mul_add(ln(stretch), spline.log_det))
    }

    #[inline(always)]
    fn vjp<V: Vector>(&self, given: &Given<'_, V>, outer: Outer<'_, V>) -> Cotangents<V> {
        let Outer { moved, log_det, mut raw, scratch } = outer;
        let At { spline, offset, distance, stretch, across } = self.at(given, scratch);
        let to_stretch = across * log_det / stretch + dot(&moved, &offset);
        // t = r′/r
        let value = to_stretch / distance;
        let through = spline.vjp(value, log_det, &mut raw);
        let outward = (through - value * stretch) / distance;
        let mut position = [V::zero(); 3];
        for k in 0..3 {
            position[k] = moved[k].mul_add(stretch, outward * offset[k]);
        }
        Cotangents { position, origin: subtract(moved, position), axes: [[V::zero(); 3]; 2] }
    }
}
