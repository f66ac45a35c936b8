//! Monotone rational-quadratic splines on [0, range], lane by lane. The formulas, with the names
//! that are used here, stand at [`InnerTransform::Spline`](super::InnerTransform::Spline); what
//! holds at 0 and at `range` is a matter of [`Ends`]. Raw parameters of zero give the identity.

use super::column::{Column, ColumnMut};
use super::Direction;
use crate::engine::{exp, ln, sigmoid, Lane, Vector};

/// The most bins a spline may have.
pub(super) const MAX_BINS: usize = 16;
/// The most lanes a spline takes.
pub(super) const MOST_LANES: usize = 3 * MAX_BINS + 1;
/// The smallest share of the range that a bin takes, in both directions.
const MIN_SHARE: f64 = 1e-3;
/// The smallest slope at a knot.
const MIN_SLOPE: f64 = 1e-3;

/// What is known of the slopes at the ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ends {
    /// Free at 0, 1 at `range`, from where on the map is the identity: distances.
    Ray,
    /// Both free, and nothing beyond them: polar angles.
    Segment,
    /// Free, and the same at both: azimuths.
    Circle,
    /// Both 1, and the identity on either side: a window on coordinates.
    Window,
}

/// Shape of a spline.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct SplineShape {
    pub bins: usize,
    pub range: f64,
    pub ends: Ends,
}

impl SplineShape {
    /// Raw parameters: `bins` widths, `bins` heights, and the free slopes.
    pub fn parameters(&self) -> usize {
        let slopes = match self.ends {
            Ends::Ray | Ends::Circle => self.bins,
            Ends::Segment => self.bins + 1,
            Ends::Window => self.bins - 1,
        };
        2 * self.bins + slopes
    }

    /// Lanes that a spline is kept in: widths and heights of its bins, slopes at its knots.
    pub fn lanes(&self) -> usize {
        3 * self.bins + 1
    }

    /// The raw parameters of a spline on a circle whose bins have these shares of the range, in
    /// both directions; slopes are between those of the bins beside a knot.
    pub fn raw_of(&self, widths: &[f64], heights: &[f64]) -> Vec<f64> {
        let (most, least) = (1.0 - self.bins as f64 * MIN_SHARE, 0.01 * MIN_SHARE);
        let logs = |shares: &[f64]| -> Vec<f64> {
            shares.iter().map(|share| ((share - MIN_SHARE).max(least) / most).ln()).collect()
        };
        let [widths, heights] = [logs(widths), logs(heights)];
        let shares = |raw: &[f64]| -> Vec<f64> {
            let sum: f64 = raw.iter().map(|raw| raw.exp()).sum();
            raw.iter().map(|raw| MIN_SHARE + most * raw.exp() / sum).collect()
        };
        let (of_widths, of_heights) = (shares(&widths), shares(&heights));
        let slope = |bin: usize| of_heights[bin] / of_widths[bin];
        let slopes = (0..self.bins).map(|knot| {
            let before = (knot + self.bins - 1) % self.bins;
            let between = (slope(before) * slope(knot)).sqrt();
            // The inverse of the softplus.
            let own = (between - MIN_SLOPE).max(MIN_SLOPE);
            own + (-(-own).exp_m1()).ln() - SLOPE_OFFSET
        });
        let slopes: Vec<f64> = slopes.collect();
        [widths, heights, slopes].concat()
    }

    /// The raw parameter of the slope at a knot; none where it is 1.
    #[inline(always)]
    fn slope_parameter(&self, knot: usize) -> Option<usize> {
        let last = knot == self.bins;
        let slope = match self.ends {
            Ends::Ray => (!last).then_some(knot),
            Ends::Segment => Some(knot),
            Ends::Circle => Some(if last { 0 } else { knot }),
            Ends::Window => (knot > 0 && !last).then(|| knot - 1),
        };
        slope.map(|slope| 2 * self.bins + slope)
    }

    /// Where the map is not the identity.
    #[inline(always)]
    fn inside<V: Vector>(&self, r: V) -> V::Mask {
        match self.ends {
            Ends::Window => {
                let half = V::constant(0.5 * self.range);
                (r - half).abs().lt(half)
            }
            _ => r.lt(V::constant(self.range)),
        }
    }
}

/// The spline of one node, or its inverse, at one point.
pub(super) struct Spline<'a, V: Vector> {
    shape: SplineShape,
    direction: Direction,
    raw: Column<'a, V::Scalar>,
    widths: &'a [Lane<V::Scalar>],
    heights: &'a [Lane<V::Scalar>],
    bin: Bin<V>,
    /// ξ.
    fraction: V,
    inside: V::Mask,
    /// S(r), or r where the direction is the inverse.
    pub value: V,
    /// ln S′(r), or −ln S′(r) where the direction is the inverse.
    pub log_det: V,
}

#[derive(Clone, Copy)]
struct Bin<V> {
    index: V,
    x: V,
    width: V,
    y: V,
    height: V,
    slopes: [V; 2],
}

/// What S(r), ln S′(r) and their derivatives are made of.
struct Terms<V> {
    /// 1 − ξ.
    rest: V,
    q: V,
    /// δ₀ + δ₁ − 2s.
    curvature: V,
    /// D.
    d: V,
    /// s ξ² + δ₀ q.
    n: V,
    /// M.
    m: V,
}

/// ln(e^{1 − MIN_SLOPE} − 1): the softplus of it plus MIN_SLOPE is 1.
const SLOPE_OFFSET: f64 = 0.539_742_417_236_952;

fn softmax_scale(shape: SplineShape) -> f64 {
    shape.range * (1.0 - shape.bins as f64 * MIN_SHARE)
}

#[inline(always)]
fn softplus<V: Vector>(x: V) -> V {
    let one = V::constant(1.0);
    x.max(V::zero()) + ln(one + exp(-x.abs()))
}

/// Shares of the range, `floor` and more, by a softmax of raw numbers.
#[inline(always)]
fn shares<V: Vector>(
    shape: SplineShape,
    raw: Column<'_, V::Scalar>,
    shares: &mut [Lane<V::Scalar>],
) {
    let mut top = raw.entry::<V>(0);
    for j in 1..shape.bins {
        top = top.max(raw.entry(j));
    }
    let mut sum = V::zero();
    for (j, share) in shares.iter_mut().enumerate() {
        let weight = exp(raw.entry::<V>(j) - top);
        sum += weight;
        weight.store(share);
    }
    let scale = V::constant(softmax_scale(shape)) / sum;
    let floor = V::constant(shape.range * MIN_SHARE);
    for share in shares {
        V::load(share).mul_add(scale, floor).store(share);
    }
}

impl<'a, V: Vector> Spline<'a, V> {
    /// The spline of [`SplineShape::parameters`] raw parameters at r = `at` (or S(r) = `at`), in
    /// [`SplineShape::lanes`] lanes.
    #[inline(always)]
    pub fn new(
        shape: SplineShape,
        direction: Direction,
        raw: Column<'a, V::Scalar>,
        at: V,
        lanes: &'a mut [Lane<V::Scalar>],
    ) -> Self {
        let bins = shape.bins;
        let (widths, lanes) = lanes.split_at_mut(bins);
        let (heights, lanes) = lanes.split_at_mut(bins);
        let slopes = &mut lanes[..=bins];
        shares::<V>(shape, raw, widths);
        shares::<V>(shape, raw.from(bins), heights);
        let offset = V::constant(SLOPE_OFFSET);
        for (knot, slope) in slopes.iter_mut().enumerate() {
            match shape.slope_parameter(knot) {
                Some(parameter) => {
                    let raw = raw.entry::<V>(parameter) + offset;
                    (softplus(raw) + V::constant(MIN_SLOPE)).store(slope);
                }
                None => V::constant(1.0).store(slope),
            }
        }
        let clamped = at.min(V::constant(shape.range)).max(V::zero());
        let bin = Bin::locate(direction, clamped, [&*widths, &*heights, &*slopes]);
        let (fraction, value, log_det);
        match direction {
            Direction::Forward => {
                fraction = (clamped - bin.x) / bin.width;
                (value, log_det) = bin.evaluate(fraction);
            }
            Direction::Inverse => {
                fraction = bin.solve(clamped - bin.y);
                value = fraction.mul_add(bin.width, bin.x);
                log_det = -bin.evaluate(fraction).1;
            }
        }
        let inside = shape.inside(at);
        let value = V::select(inside, value, at);
        let log_det = V::select(inside, log_det, V::zero());
        Self { shape, direction, raw, widths, heights, bin, fraction, inside, value, log_det }
    }

    /// From the cotangents of the value and of the log-determinant to that of what the spline was
    /// evaluated at; those of the raw parameters are written.
    ///
    /// For r = S⁻¹(y), dr = (dy − ∂S/∂p dp)/S′(r): with r̄ the whole cotangent of r, that of y is
    /// ȳ = r̄/S′, and the parameters get those of S(r) with cotangent −ȳ.
    #[inline(always)]
    pub fn vjp(&self, value: V, log_det: V, to_raw: &mut ColumnMut<'_, V::Scalar>) -> V {
        let (bin, fraction) = (&self.bin, self.fraction);
        let (inner, to_bin) = match self.direction {
            Direction::Forward => bin.vjp(fraction, value, log_det),
            Direction::Inverse => {
                let log_slope = -log_det;
                let (through_slope, _) = bin.vjp(fraction, V::zero(), log_slope);
                let y = (value + through_slope) * exp(self.log_det);
                (y, bin.vjp(fraction, -y, log_slope).1)
            }
        };
        self.parameter_cotangents(&to_bin, to_raw);
        V::select(self.inside, inner, value)
    }

    /// From the cotangents of one bin to those of the raw parameters; none outside the range.
    #[inline(always)]
    fn parameter_cotangents(&self, cotangent: &Bin<V>, to_raw: &mut ColumnMut<'_, V::Scalar>) {
        let bins = self.shape.bins;
        let zero = V::zero();
        let inside = |g: V| V::select(self.inside, g, zero);
        let index = self.bin.index;
        // `before` where the bin starts after knot j's own bin, `own` where it is that bin.
        let pick = |j: usize, before: V, own: V| {
            let j = V::constant(j as f64);
            V::select(j.lt(index), before, V::select(index.lt(j), zero, own))
        };
        let sizes = [
            (0, self.widths, inside(cotangent.x), inside(cotangent.width)),
            (bins, self.heights, inside(cotangent.y), inside(cotangent.height)),
        ];
        let floor = V::constant(self.shape.range * MIN_SHARE);
        let inverse_scale = V::constant(1.0 / softmax_scale(self.shape));
        for (offset, sizes, start, own) in sizes {
            // size = floor + scale·p with p a softmax: p̄ᵢ·scale·pᵢ with the mean over p removed.
            let mut mean = zero;
            for (j, size) in sizes.iter().enumerate() {
                mean = pick(j, start, own).mul_add(V::load(size) - floor, mean);
            }
            let mean = mean * inverse_scale;
            for (j, size) in sizes.iter().enumerate() {
                let share = V::load(size) - floor;
                to_raw.store(offset + j, (pick(j, start, own) - mean) * share);
            }
        }
        let [left, right] = cotangent.slopes.map(inside);
        let next = index + V::constant(1.0);
        for knot in 0..=bins {
            let Some(parameter) = self.shape.slope_parameter(knot) else { continue };
            // On a circle the last knot is the first one again.
            let again = knot == bins && self.shape.ends == Ends::Circle;
            let before = if again { to_raw.entry(parameter) } else { zero };
            let own = pick(knot, zero, left);
            let knot = V::constant(knot as f64);
            let as_right = V::select(knot.lt(next), zero, V::select(next.lt(knot), zero, right));
            let slope = sigmoid(self.raw.entry::<V>(parameter) + V::constant(SLOPE_OFFSET));
            to_raw.store(parameter, (own + as_right).mul_add(slope, before));
        }
    }
}

impl<V: Vector> Bin<V> {
    /// The bin of r, or of S(r) where the direction is the inverse.
    #[inline(always)]
    fn locate(
        direction: Direction,
        at: V,
        [widths, heights, slopes]: [&[Lane<V::Scalar>]; 3],
    ) -> Self {
        let mut bin = Self {
            index: V::zero(),
            x: V::zero(),
            width: V::load(&widths[0]),
            y: V::zero(),
            height: V::load(&heights[0]),
            slopes: [V::load(&slopes[0]), V::load(&slopes[1])],
        };
        let (mut x, mut y) = (V::zero(), V::zero());
        for j in 1..widths.len() {
            x += V::load(&widths[j - 1]);
            y += V::load(&heights[j - 1]);
            let before = at.lt(if direction == Direction::Forward { x } else { y });
            bin = Self {
                index: V::select(before, bin.index, V::constant(j as f64)),
                x: V::select(before, bin.x, x),
                width: V::select(before, bin.width, V::load(&widths[j])),
                y: V::select(before, bin.y, y),
                height: V::select(before, bin.height, V::load(&heights[j])),
                slopes: [
                    V::select(before, bin.slopes[0], V::load(&slopes[j])),
                    V::select(before, bin.slopes[1], V::load(&slopes[j + 1])),
                ],
            };
        }
        bin
    }

    /// The terms of the formulas at the fraction ξ, given s = h/w.
    #[inline(always)]
    fn terms(&self, s: V, xi: V) -> Terms<V> {
        let two = V::constant(2.0);
        let [d0, d1] = self.slopes;
        let rest = V::constant(1.0) - xi;
        let q = xi * rest;
        let curvature = d0 + d1 - two * s;
        Terms {
            rest,
            q,
            curvature,
            d: curvature.mul_add(q, s),
            n: (s * xi).mul_add(xi, d0 * q),
            m: (d1 * xi).mul_add(xi, (two * s).mul_add(q, d0 * rest * rest)),
        }
    }

    /// S and ln S′ at the fraction ξ of the bin.
    #[inline(always)]
    fn evaluate(&self, xi: V) -> (V, V) {
        let s = self.height / self.width;
        let Terms { d, n, m, .. } = self.terms(s, xi);
        let slope = s / d;
        (self.height * n / d + self.y, ln(slope * slope * m))
    }

    /// ξ with S = y + `rise`: the root in [0, 1] of a quadratic, in the form without cancellation.
    #[inline(always)]
    fn solve(&self, rise: V) -> V {
        let [d0, d1] = self.slopes;
        let s = self.height / self.width;
        let bend = rise * (d0 + d1 - V::constant(2.0) * s);
        let a = self.height * (s - d0) + bend;
        let b = self.height * d0 - bend;
        let c = s * rise;
        // a ξ² + b ξ − c = 0 with b > 0 at the root's side: ξ = 2c/(b + √(b² + 4ac)).
        let root = b.mul_add(b, V::constant(4.0) * a * c).max(V::zero()).sqrt();
        V::constant(2.0) * c / (b + root)
    }

    /// From the cotangents of S(r) and of ln S′(r) to those of r and of the bin.
    #[inline(always)]
    fn vjp(&self, xi: V, value: V, log_slope: V) -> (V, Self) {
        let one = V::constant(1.0);
        let two = V::constant(2.0);
        let [d0, d1] = self.slopes;
        let inverse_width = one / self.width;
        let s = self.height * inverse_width;
        let Terms { rest, q, curvature, d, n, m } = self.terms(s, xi);

        let inverse_d = one / d;
        let share = n * inverse_d;
        let gn = value * self.height * inverse_d;
        let gd = -(gn * share + two * log_slope * inverse_d);
        let gm = log_slope / m;
        let gq = two * s * gm + d0 * gn + curvature * gd;
        let gs = two * log_slope / s + two * q * gm + xi * xi * gn + (one - two * q) * gd;
        let gxi = two * gm * (d1 * xi - d0 * rest) + two * s * xi * gn + gq * (one - two * xi);
        let gd0 = rest * rest * gm + q * (gn + gd);
        let gd1 = xi * xi * gm + q * gd;
        let r = gxi * inverse_width;
        let bin = Self {
            index: self.index,
            x: -r,
            width: -(gs * s * inverse_width + r * xi),
            y: value,
            height: value * share + gs * inverse_width,
            slopes: [gd0, gd1],
        };
        (r, bin)
    }
}
