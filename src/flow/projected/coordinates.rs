//! Transforms of a node's coordinates in a frame: affine or by splines in Cartesian ones, by splines in
//! polar and spherical ones.

use super::super::column::{Column, ColumnMut};
use super::super::spline::{Evaluation, Spline, SplineShape};
use super::super::Direction;
use super::dot;
use super::radial::SQUARE_FLOOR;
use super::transform::Given;
use crate::engine::{angle, exp, ln, sin_cos, Lane, Vector};

/// A map of coordinates c, the ones beyond the dimension being zero and staying so.
pub(super) trait Coordinates: Copy {
    fn parameters(&self, dimension: usize) -> usize;

    /// Lanes that [`apply`](Self::apply) and [`adjoint`](Self::adjoint) work in.
    fn scratch(&self, dimension: usize) -> usize;

    /// c′ and the log-determinant.
    fn apply<V: Vector>(
        &self,
        local: &Local<'_, V>,
        scratch: &mut [Lane<V::Scalar>],
    ) -> ([V; 3], V);

    /// c′, and from its cotangent and that of the log-determinant that of c.
    fn adjoint<V: Vector>(
        &self,
        local: &Local<'_, V>,
        moved: &[V; 3],
        log_det: V,
        raw: &mut ColumnMut<'_, V::Scalar>,
        scratch: &mut [Lane<V::Scalar>],
    ) -> ([V; 3], [V; 3]);
}

/// What a map of coordinates is given.
pub(super) struct Local<'a, V: Vector> {
    direction: Direction,
    dimension: usize,
    c: [V; 3],
    raw: Column<'a, V::Scalar>,
}

impl<'a, V: Vector> Local<'a, V> {
    #[inline(always)]
    pub fn new(given: &Given<'a, V>, c: [V; 3]) -> Self {
        Self { direction: given.direction, dimension: given.dimension, c, raw: given.raw }
    }
}

/// c′_k = c_k e^{s_k} + t_k (RealNVP, Dinh et al., arXiv 1605.08803); raw parameters are s, then t.
#[derive(Debug, Clone, Copy)]
pub(super) struct Affine;

impl Coordinates for Affine {
    fn parameters(&self, dimension: usize) -> usize {
        2 * dimension
    }

    fn scratch(&self, _dimension: usize) -> usize {
        0
    }

    #[inline(always)]
    fn apply<V: Vector>(
        &self,
        local: &Local<'_, V>,
        _scratch: &mut [Lane<V::Scalar>],
    ) -> ([V; 3], V) {
        let d = local.dimension;
        let mut out = local.c;
        let mut log_det = V::zero();
        for (k, c) in out.iter_mut().enumerate().take(d) {
            let (s, t) = (local.raw.entry::<V>(k), local.raw.entry::<V>(d + k));
            match local.direction {
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
        (out, log_det)
    }

    #[inline(always)]
    fn adjoint<V: Vector>(
        &self,
        local: &Local<'_, V>,
        moved: &[V; 3],
        log_det: V,
        raw: &mut ColumnMut<'_, V::Scalar>,
        scratch: &mut [Lane<V::Scalar>],
    ) -> ([V; 3], [V; 3]) {
        let d = local.dimension;
        let (after, _) = self.apply(local, scratch);
        let mut before = [V::zero(); 3];
        for k in 0..d {
            let (s, t) = (local.raw.entry::<V>(k), local.raw.entry::<V>(d + k));
            let (to_s, to_t) = match local.direction {
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
        (after, before)
    }
}

/// A spline and where it was evaluated.
struct Bent<'a, V: Vector> {
    spline: Spline<'a, V>,
    at: Evaluation<V>,
}

impl<'a, V: Vector> Bent<'a, V> {
    /// With the raw parameters from number `from` on.
    #[inline(always)]
    fn new(
        local: &Local<'a, V>,
        from: usize,
        shape: SplineShape,
        at: V,
        scratch: &'a mut [Lane<V::Scalar>],
    ) -> Self {
        let spline = Spline::<V>::new(shape, local.raw.from(from), scratch);
        let at = spline.evaluate(local.direction, at);
        Self { spline, at }
    }

    /// See [`Spline::adjoint`].
    #[inline(always)]
    fn adjoint(
        &self,
        direction: Direction,
        cotangents: [V; 2],
        mut to_raw: ColumnMut<'_, V::Scalar>,
    ) -> V {
        self.spline.adjoint(direction, &self.at, cotangents, &mut to_raw)
    }
}

/// c′_k = S_k(c_k + range/2) − range/2 in a window, the identity outside.
#[derive(Debug, Clone, Copy)]
pub(super) struct Windows {
    pub spline: SplineShape,
}

impl Coordinates for Windows {
    fn parameters(&self, dimension: usize) -> usize {
        dimension * self.spline.parameters()
    }

    fn scratch(&self, _dimension: usize) -> usize {
        self.spline.lanes()
    }

    #[inline(always)]
    fn apply<V: Vector>(
        &self,
        local: &Local<'_, V>,
        scratch: &mut [Lane<V::Scalar>],
    ) -> ([V; 3], V) {
        let half = V::constant(0.5 * self.spline.range);
        let mut out = local.c;
        let mut log_det = V::zero();
        for (k, c) in out.iter_mut().enumerate().take(local.dimension) {
            let from = k * self.spline.parameters();
            let bent = Bent::new(local, from, self.spline, *c + half, scratch);
            *c = bent.at.value - half;
            log_det += bent.at.log_det(local.direction);
        }
        (out, log_det)
    }

    #[inline(always)]
    fn adjoint<V: Vector>(
        &self,
        local: &Local<'_, V>,
        moved: &[V; 3],
        log_det: V,
        raw: &mut ColumnMut<'_, V::Scalar>,
        scratch: &mut [Lane<V::Scalar>],
    ) -> ([V; 3], [V; 3]) {
        let half = V::constant(0.5 * self.spline.range);
        let parameters = self.spline.parameters();
        let (mut after, mut before) = (local.c, [V::zero(); 3]);
        for k in 0..local.dimension {
            let from = k * parameters;
            let bent = Bent::new(local, from, self.spline, local.c[k] + half, scratch);
            after[k] = bent.at.value - half;
            before[k] = bent.adjoint(local.direction, [moved[k], log_det], raw.from(from));
        }
        (after, before)
    }
}

/// Splines of the distance, of the polar angle θ to the first axis, and of the azimuth φ about it; in 2D
/// of the distance and of the angle φ to the first axis.
///
/// ```text
/// log det = Σ ln S′ + ln[(r′/r)² sin θ′/sin θ]      (2D: r′/r)
/// ```
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

    #[inline(always)]
    fn polar<V: Vector>(dimension: usize, c: &[V; 3]) -> Polar<V> {
        let floor = V::constant(SQUARE_FLOOR);
        let pi = V::constant(std::f64::consts::PI);
        if dimension == 2 {
            let r = (dot(c, c) + floor).sqrt();
            return Polar { q: [r, V::zero(), angle(c[0], c[1], r) + pi], axial: r };
        }
        let axial = c[1].mul_add(c[1], c[2].mul_add(c[2], floor)).sqrt();
        let r = c[0].mul_add(c[0], axial * axial).sqrt();
        let theta = angle(c[0], axial, r);
        Polar { q: [r, theta, angle(c[1], c[2], axial) + pi], axial }
    }

    /// The splines that are used, at q, and what they make of it.
    #[inline(always)]
    fn bend<'a, V: Vector>(
        &self,
        local: &Local<'a, V>,
        polar: &Polar<V>,
        mut scratch: &'a mut [Lane<V::Scalar>],
    ) -> ([Option<Bent<'a, V>>; 3], [V; 3]) {
        let (mut bent, mut q) = ([None, None, None], polar.q);
        for &k in Self::used(local.dimension) {
            let from = self.from(local.dimension, k);
            let (own, rest) = scratch.split_at_mut(self.splines[k].lanes());
            scratch = rest;
            let spline = Bent::new(local, from, self.splines[k], polar.q[k], own);
            q[k] = spline.at.value;
            bent[k] = Some(spline);
        }
        (bent, q)
    }
}

/// c′ from r′, θ′ and φ′ + π, with sines and cosines of θ′ and φ′.
struct Back<V> {
    c: [V; 3],
    theta: (V, V),
    phi: (V, V),
}

impl<V: Vector> Back<V> {
    #[inline(always)]
    fn new(dimension: usize, q: [V; 3]) -> Self {
        let pi = V::constant(std::f64::consts::PI);
        let phi = sin_cos(q[2] - pi);
        let along = |sine: V, cosine: V, length: V| (length * cosine, length * sine);
        if dimension == 2 {
            let (x, y) = along(phi.0, phi.1, q[0]);
            return Self { c: [x, y, V::zero()], theta: (V::constant(1.0), V::zero()), phi };
        }
        let (sine, cosine) = sin_cos(q[1]);
        let theta = (sine.max(V::constant(SQUARE_FLOOR)), cosine);
        let (x, axial) = along(theta.0, theta.1, q[0]);
        let (y, z) = along(phi.0, phi.1, axial);
        Self { c: [x, y, z], theta, phi }
    }
}

impl Coordinates for Spherical {
    fn parameters(&self, dimension: usize) -> usize {
        Self::used(dimension).iter().map(|&k| self.splines[k].parameters()).sum()
    }

    fn scratch(&self, dimension: usize) -> usize {
        Self::used(dimension).iter().map(|&k| self.splines[k].lanes()).sum()
    }

    #[inline(always)]
    fn apply<V: Vector>(
        &self,
        local: &Local<'_, V>,
        scratch: &mut [Lane<V::Scalar>],
    ) -> ([V; 3], V) {
        let d = local.dimension;
        let polar = Self::polar(d, &local.c);
        let (bent, q) = self.bend(local, &polar, scratch);
        let back = Back::new(d, q);
        let stretch = q[0] / polar.q[0];
        let mut log_det = ln(stretch);
        for bent in bent.iter().flatten() {
            log_det += bent.at.log_det(local.direction);
        }
        if d == 2 {
            return (back.c, log_det);
        }
        // (r′/r)² sin θ′/sin θ, with sin θ = axial/r
        let axial = q[0] * back.theta.0 / polar.axial;
        (back.c, log_det + ln(axial))
    }

    #[inline(always)]
    fn adjoint<V: Vector>(
        &self,
        local: &Local<'_, V>,
        moved: &[V; 3],
        log_det: V,
        raw: &mut ColumnMut<'_, V::Scalar>,
        scratch: &mut [Lane<V::Scalar>],
    ) -> ([V; 3], [V; 3]) {
        let d = local.dimension;
        let polar = Self::polar(d, &local.c);
        let (bent, q) = self.bend(local, &polar, scratch);
        let back = Back::new(d, q);
        let (r, after) = (polar.q[0], q[0]);
        let ((sine, cosine), (phi_sine, phi_cosine)) = (back.theta, back.phi);
        // The cotangent of (r′, θ′, φ′); d − 1 powers of r′ and one of sin θ′ are in the determinant.
        let powers = V::constant((d - 1) as f64) * log_det;
        let along = (dot(moved, &back.c) + powers) / after;
        let (x, y) = if d == 2 { (moved[0], moved[1]) } else { (moved[1], moved[2]) };
        let outward = phi_cosine.mul_add(x, phi_sine * y);
        let around = (phi_cosine * y - phi_sine * x) * after * sine;
        let pole = log_det * cosine / sine;
        let down = after * (cosine * outward - sine * moved[0]) + pole;
        let outer = [along, down, around];

        let mut inner = [V::zero(); 3];
        for (k, bent) in bent.iter().enumerate() {
            let Some(bent) = bent else { continue };
            let to_raw = raw.from(self.from(d, k));
            inner[k] = bent.adjoint(local.direction, [outer[k], log_det], to_raw);
        }
        let to_r = (inner[0] - powers / r) / r;
        let to_phi = inner[2] / (polar.axial * polar.axial);
        let [c1, c2, c3] = local.c;
        if d == 2 {
            let before = [to_r * c1 - to_phi * c2, to_r * c2 + to_phi * c1, V::zero()];
            return (back.c, before);
        }
        // cot θ = c1/axial; θ is the angle of (c1, axial), φ that of (c2, c3).
        let to_theta = (inner[1] - log_det * c1 / polar.axial) / (r * r);
        let to_axial = to_r + to_theta * c1 / polar.axial;
        let before = [
            to_r * c1 - to_theta * polar.axial,
            to_axial * c2 - to_phi * c3,
            to_axial * c3 + to_phi * c2,
        ];
        (back.c, before)
    }
}
