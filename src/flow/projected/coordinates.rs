//! Maps of a node's coordinates: affine or by splines of Cartesian ones, by splines of polar and
//! spherical ones. The formulas stand at [`Projection`](super::Projection).

use super::super::spline::{Spline, SplineShape};
use super::super::Direction;
use super::radial::SQUARE_FLOOR;
use super::transform::{Given, Outer, Scratch};
use crate::engine::{angle, exp, ln, sin_cos, Lane, Vector};
use crate::flow::rows::dot_from_last as dot;

/// A map of coordinates c, which stand in place of the position; those beyond the dimension are
/// zero and stay so.
pub(super) trait Coordinates: Copy {
    /// Raw parameters.
    fn parameters(&self, dimension: usize) -> usize;

    /// c′ and the log-determinant.
    fn apply<V: Vector>(&self, given: &Given<'_, V>, scratch: &mut Scratch<V>) -> ([V; 3], V);

    /// c′, and the cotangent of c.
    fn vjp<V: Vector>(&self, given: &Given<'_, V>, outer: Outer<'_, V>) -> [[V; 3]; 2];
}

/// c′_k = c_k e^{s_k} + t_k; raw parameters are s, then t.
#[derive(Debug, Clone, Copy)]
pub(super) struct Affine;

impl Coordinates for Affine {
    fn parameters(&self, dimension: usize) -> usize {
        2 * dimension
    }

    #[inline(always)]
    fn apply<V: Vector>(&self, given: &Given<'_, V>, _scratch: &mut Scratch<V>) -> ([V; 3], V) {
        let mut c = given.position;
        let d = given.dimension;
        let mut log_det = V::zero();
        for (k, c) in c.iter_mut().enumerate().take(d) {
            let (s, t) = (given.raw.entry::<V>(k), given.raw.entry::<V>(d + k));
            match given.direction {
                Direction::Forward => {
                    *c = c.mul_add(exp(s), t);
                    log_det += s;
                }
                Direction::Inverse => {
                    *c = (*c - t) * exp(-s);
                    log_det -= s;
                }
            }
        }
        (c, log_det)
    }

    #[inline(always)]
    fn vjp<V: Vector>(&self, given: &Given<'_, V>, outer: Outer<'_, V>) -> [[V; 3]; 2] {
        let Outer { moved, log_det, mut raw, scratch } = outer;
        let d = given.dimension;
        let (after, _) = self.apply(given, scratch);
        let mut before = [V::zero(); 3];
        for k in 0..d {
            let (s, t) = (given.raw.entry::<V>(k), given.raw.entry::<V>(d + k));
            let (to_s, to_t) = match given.direction {
                Direction::Forward => {
                    before[k] = moved[k] * exp(s);
                    (moved[k].mul_add(after[k] - t, log_det), moved[k])
                }
                Direction::Inverse => {
                    before[k] = moved[k] * exp(-s);
                    (-moved[k].mul_add(after[k], log_det), -before[k])
                }
            };
            raw.store(k, to_s);
            raw.store(d + k, to_t);
        }
        [after, before]
    }
}

/// c′_k = S_k(c_k + range/2) − range/2 in a window, the identity outside.
#[derive(Debug, Clone, Copy)]
pub(super) struct Windows {
    pub spline: SplineShape,
}

impl Windows {
    /// The spline of coordinate `k`, and its first raw parameter.
    #[inline(always)]
    fn spline<'a, V: Vector>(
        &self,
        given: &Given<'a, V>,
        k: usize,
        c: V,
        scratch: &'a mut [Lane<V::Scalar>],
    ) -> (Spline<'a, V>, usize) {
        let (from, half) = (k * self.spline.parameters(), V::constant(0.5 * self.spline.range));
        (Spline::new(self.spline, given.direction, given.raw.from(from), c + half, scratch), from)
    }
}

impl Coordinates for Windows {
    fn parameters(&self, dimension: usize) -> usize {
        dimension * self.spline.parameters()
    }

    #[inline(always)]
    fn apply<V: Vector>(&self, given: &Given<'_, V>, scratch: &mut Scratch<V>) -> ([V; 3], V) {
        let mut c = given.position;
        let half = V::constant(0.5 * self.spline.range);
        let mut log_det = V::zero();
        for (k, c) in c.iter_mut().enumerate().take(given.dimension) {
            let (spline, _) = self.spline(given, k, *c, scratch);
            *c = spline.value - half;
            log_det += spline.log_det;
        }
        (c, log_det)
    }

    #[inline(always)]
    fn vjp<V: Vector>(&self, given: &Given<'_, V>, mut outer: Outer<'_, V>) -> [[V; 3]; 2] {
        let half = V::constant(0.5 * self.spline.range);
        let (mut after, mut before) = (given.position, [V::zero(); 3]);
        for k in 0..given.dimension {
            let (spline, from) = self.spline(given, k, given.position[k], outer.scratch);
            after[k] = spline.value - half;
            before[k] = spline.vjp(outer.moved[k], outer.log_det, &mut outer.raw.from(from));
        }
        [after, before]
    }
}

/// Splines of the distance, of the polar angle θ to the first axis, and of the azimuth φ about it;
/// in 2D of the distance and of the angle φ to the first axis.
#[derive(Debug, Clone, Copy)]
pub(super) struct Spherical {
    /// Of r, θ and φ + π.
    pub splines: [SplineShape; 3],
}

/// Where a node is.
struct Polar<V> {
    /// r, θ, φ + π.
    q: [V; 3],
    /// √(c2² + c3²) = r sin θ in 3D, r in 2D.
    axial: V,
}

impl<V: Vector> Polar<V> {
    #[inline(always)]
    fn new(dimension: usize, c: &[V; 3]) -> Self {
        let floor = V::constant(SQUARE_FLOOR);
        let pi = V::constant(std::f64::consts::PI);
        if dimension == 2 {
            let r = (dot(c, c) + floor).sqrt();
            return Self { q: [r, V::zero(), angle(c[0], c[1], r) + pi], axial: r };
        }
        let axial = c[1].mul_add(c[1], c[2].mul_add(c[2], floor)).sqrt();
        let r = c[0].mul_add(c[0], axial * axial).sqrt();
        Self { q: [r, angle(c[0], axial, r), angle(c[1], c[2], axial) + pi], axial }
    }
}

/// c′ from r′, θ′ and φ′ + π, with sines and cosines of θ′ and φ′.
struct Cartesian<V> {
    c: [V; 3],
    theta: (V, V),
    phi: (V, V),
}

impl<V: Vector> Cartesian<V> {
    #[inline(always)]
    fn new(dimension: usize, [r, theta, phi]: [V; 3]) -> Self {
        let phi = sin_cos(phi - V::constant(std::f64::consts::PI));
        if dimension == 2 {
            let c = [r * phi.1, r * phi.0, V::zero()];
            return Self { c, theta: (V::constant(1.0), V::zero()), phi };
        }
        let (sine, cosine) = sin_cos(theta);
        let sine = sine.max(V::constant(SQUARE_FLOOR));
        let axial = r * sine;
        Self { c: [r * cosine, axial * phi.1, axial * phi.0], theta: (sine, cosine), phi }
    }
}

impl Spherical {
    /// Numbers of the splines that are used.
    #[inline(always)]
    fn used(dimension: usize) -> &'static [usize] {
        if dimension == 2 {
            &[0, 2]
        } else {
            &[0, 1, 2]
        }
    }

    /// Of the raw parameters, the first one of spline number `k`.
    #[inline(always)]
    fn from(&self, dimension: usize, k: usize) -> usize {
        let before = Self::used(dimension).iter().filter(|&&used| used < k);
        before.map(|&used| self.splines[used].parameters()).sum()
    }

    /// The splines that are used, at q, and their values.
    #[inline(always)]
    fn evaluate<'a, V: Vector>(
        &self,
        given: &Given<'a, V>,
        mut q: [V; 3],
        mut scratch: &'a mut [Lane<V::Scalar>],
    ) -> ([Option<Spline<'a, V>>; 3], [V; 3]) {
        let mut splines = [None, None, None];
        for &k in Self::used(given.dimension) {
            let raw = given.raw.from(self.from(given.dimension, k));
            let (own, rest) = scratch.split_at_mut(self.splines[k].lanes());
            scratch = rest;
            let spline = Spline::new(self.splines[k], given.direction, raw, q[k], own);
            q[k] = spline.value;
            splines[k] = Some(spline);
        }
        (splines, q)
    }
}

impl Coordinates for Spherical {
    fn parameters(&self, dimension: usize) -> usize {
        self.from(dimension, self.splines.len())
    }

    #[inline(always)]
    fn apply<V: Vector>(&self, given: &Given<'_, V>, scratch: &mut Scratch<V>) -> ([V; 3], V) {
        let Polar { q, axial } = Polar::new(given.dimension, &given.position);
        let (splines, moved) = self.evaluate(given, q, scratch);
        let after = Cartesian::new(given.dimension, moved);
        let mut log_det = ln(moved[0] / q[0]);
        for spline in splines.iter().flatten() {
            log_det += spline.log_det;
        }
        if given.dimension == 3 {
            // (r′/r)² sin θ′/sin θ, with sin θ = axial/r
            log_det += ln(moved[0] * after.theta.0 / axial);
        }
        (after.c, log_det)
    }

    #[inline(always)]
    fn vjp<V: Vector>(&self, given: &Given<'_, V>, outer: Outer<'_, V>) -> [[V; 3]; 2] {
        let Outer { moved, log_det, mut raw, scratch } = outer;
        let d = given.dimension;
        let Polar { q, axial } = Polar::new(d, &given.position);
        let (splines, moved_q) = self.evaluate(given, q, scratch);
        let (r, r_after) = (q[0], moved_q[0]);
        let Cartesian { c: after, theta: (sine, cosine), phi } = Cartesian::new(d, moved_q);
        let (phi_sine, phi_cosine) = phi;
        // The cotangent of (r′, θ′, φ′); the determinant has d − 1 powers of r′ and one of sin θ′.
        let powers = V::constant((d - 1) as f64) * log_det;
        let along = (dot(&moved, &after) + powers) / r_after;
        let (x, y) = if d == 2 { (moved[0], moved[1]) } else { (moved[1], moved[2]) };
        let outward = phi_cosine.mul_add(x, phi_sine * y);
        let around = (phi_cosine * y - phi_sine * x) * r_after * sine;
        let pole = log_det * cosine / sine;
        let down = r_after * (cosine * outward - sine * moved[0]) + pole;
        let outer = [along, down, around];

        let mut inner = [V::zero(); 3];
        for (k, spline) in splines.iter().enumerate() {
            let Some(spline) = spline else { continue };
            inner[k] = spline.vjp(outer[k], log_det, &mut raw.from(self.from(d, k)));
        }
        let to_r = (inner[0] - powers / r) / r;
        let to_phi = inner[2] / (axial * axial);
        let [c1, c2, c3] = given.position;
        if d == 2 {
            return [after, [to_r * c1 - to_phi * c2, to_r * c2 + to_phi * c1, V::zero()]];
        }
        // cot θ = c1/axial; θ is the angle of (c1, axial), φ that of (c2, c3).
        let to_theta = (inner[1] - log_det * c1 / axial) / (r * r);
        let to_axial = to_r + to_theta * c1 / axial;
        let before = [
            to_r * c1 - to_theta * axial,
            to_axial * c2 - to_phi * c3,
            to_axial * c3 + to_phi * c2,
        ];
        [after, before]
    }
}
