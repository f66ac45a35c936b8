//! Monotone rational-quadratic splines on [0, range] (Durkan et al., arXiv 1906.04032), lane by lane.
//!
//! With ξ = (r − x)/w in the bin of width w and height h, s = h/w, slopes δ₀ and δ₁ at its ends and
//! q = ξ(1 − ξ),
//!
//! ```text
//! S(r)  = y + h (s ξ² + δ₀ q)/D,    D = s + (δ₀ + δ₁ − 2s) q
//! S′(r) = s² M/D²,                  M = δ₁ ξ² + 2 s q + δ₀ (1 − ξ)²
//! ```
//!
//! What holds at 0 and at `range` is a matter of [`Ends`]. Raw parameters of zero give the identity.

use super::Direction;
use crate::engine::{exp, ln, sigmoid, Vector};

/// The most bins a spline may have.
pub(super) const MAX_BINS: usize = 16;
/// The smallest share of the range that a bin takes, in both directions.
const MIN_SHARE: f64 = 1e-3;
/// The smallest slope at a knot.
const MIN_SLOPE: f64 = 1e-3;

/// The most raw parameters that a spline may have.
pub(super) const MAX_RAW: usize = 3 * MAX_BINS + 1;

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
                r.sub(half).abs().lt(half)
            }
            _ => r.lt(V::constant(self.range)),
        }
    }

    /// Arithmetic of one evaluation with its knots, of one adjoint.
    pub fn operations(&self) -> (f64, f64) {
        // Per bin: two softmax terms (20 each), a softplus (45), the search (10).
        let bins = self.bins as f64;
        (95.0 * bins + 110.0, 95.0 * bins + 150.0 + 60.0 * bins)
    }
}

/// The spline of one node, in registers or on the stack.
pub(super) struct Spline<V> {
    shape: SplineShape,
    widths: [V; MAX_BINS],
    heights: [V; MAX_BINS],
    /// At the knots.
    slopes: [V; MAX_BINS + 1],
}

/// A value, ln S′, and where it lies.
#[derive(Clone, Copy)]
pub(super) struct Evaluation<V: Vector> {
    pub value: V,
    log_slope: V,
    bin: Bin<V>,
    fraction: V,
    inside: V::Mask,
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

/// What a cotangent of S(r) and of ln S′(r) comes back to.
struct BinCotangent<V> {
    r: V,
    bin: Bin<V>,
}

/// ln(e^{1 − MIN_SLOPE} − 1): the softplus of it plus MIN_SLOPE is 1.
const SLOPE_OFFSET: f64 = 0.539_742_417_236_952;

fn softmax_scale(shape: SplineShape) -> f64 {
    shape.range * (1.0 - shape.bins as f64 * MIN_SHARE)
}

#[inline(always)]
fn softplus<V: Vector>(x: V) -> V {
    let one = V::constant(1.0);
    x.max(V::zero()).add(ln(one.add(exp(x.abs().neg()))))
}

/// Softmax of raw numbers.
#[inline(always)]
fn softmax<V: Vector>(raw: &[V]) -> [V; MAX_BINS] {
    let mut share = [V::zero(); MAX_BINS];
    let mut top = raw[0];
    for raw in &raw[1..] {
        top = top.max(*raw);
    }
    let mut sum = V::zero();
    for (share, raw) in share.iter_mut().zip(raw) {
        *share = exp(raw.sub(top));
        sum = sum.add(*share);
    }
    let inverse = V::constant(1.0).div(sum);
    for share in share.iter_mut().take(raw.len()) {
        *share = share.mul(inverse);
    }
    share
}

impl<V: Vector> Spline<V> {
    /// From [`SplineShape::parameters`] raw parameters.
    #[inline(always)]
    pub fn new(shape: SplineShape, raw: &[V; MAX_RAW]) -> Self {
        let bins = shape.bins;
        let scale = V::constant(softmax_scale(shape));
        let floor = V::constant(shape.range * MIN_SHARE);
        let mut widths = softmax(&raw[..bins]);
        let mut heights = softmax(&raw[bins..2 * bins]);
        let mut slopes = [V::constant(1.0); MAX_BINS + 1];
        let offset = V::constant(SLOPE_OFFSET);
        for j in 0..bins {
            widths[j] = widths[j].mul_add(scale, floor);
            heights[j] = heights[j].mul_add(scale, floor);
        }
        for (knot, slope) in slopes.iter_mut().enumerate().take(bins + 1) {
            if let Some(parameter) = shape.slope_parameter(knot) {
                *slope = softplus(raw[parameter].add(offset)).add(V::constant(MIN_SLOPE));
            }
        }
        Self { shape, widths, heights, slopes }
    }

    /// S or its inverse, with ln S′ at the point of the unbent side.
    #[inline(always)]
    pub fn evaluate(&self, direction: Direction, at: V) -> Evaluation<V> {
        match direction {
            Direction::Forward => self.forward(at),
            Direction::Inverse => self.inverse(at),
        }
    }

    /// Given the cotangents of the value and of the log-derivative of [`evaluate`](Self::evaluate),
    /// those of what it was called with and of the raw parameters.
    #[inline(always)]
    pub fn adjoint(
        &self,
        direction: Direction,
        at: &Evaluation<V>,
        [value, log_det]: [V; 2],
        raw: &[V; MAX_RAW],
    ) -> (V, [V; MAX_RAW]) {
        match direction {
            Direction::Forward => self.forward_adjoint(at, value, log_det, raw),
            Direction::Inverse => self.inverse_adjoint(at, value, log_det.neg(), raw),
        }
    }

    /// S(r) and ln S′(r).
    #[inline(always)]
    fn forward(&self, r: V) -> Evaluation<V> {
        let limit = V::constant(self.shape.range);
        let clamped = r.min(limit).max(V::zero());
        let bin = self.locate(clamped, true);
        let fraction = clamped.sub(bin.x).div(bin.width);
        let (value, log_slope) = bin.evaluate(fraction);
        let inside = self.shape.inside(r);
        Evaluation {
            value: V::select(inside, value, r),
            log_slope: V::select(inside, log_slope, V::zero()),
            bin,
            fraction,
            inside,
        }
    }

    /// r = S⁻¹(y) and ln S′(r) (not that of the inverse).
    #[inline(always)]
    fn inverse(&self, y: V) -> Evaluation<V> {
        let limit = V::constant(self.shape.range);
        let clamped = y.min(limit).max(V::zero());
        let bin = self.locate(clamped, false);
        let fraction = bin.solve(clamped.sub(bin.y));
        let (_, log_slope) = bin.evaluate(fraction);
        let inside = self.shape.inside(y);
        Evaluation {
            value: V::select(inside, fraction.mul_add(bin.width, bin.x), y),
            log_slope: V::select(inside, log_slope, V::zero()),
            bin,
            fraction,
            inside,
        }
    }

    /// Given the cotangents of S(r) and ln S′(r), those of r and of the raw
    /// parameters.
    #[inline(always)]
    fn forward_adjoint(
        &self,
        at: &Evaluation<V>,
        value: V,
        log_slope: V,
        raw: &[V; MAX_RAW],
    ) -> (V, [V; MAX_RAW]) {
        let cotangent = at.bin.adjoint(at.fraction, value, log_slope);
        let parameters = self.parameter_cotangents(at, &cotangent.bin, raw);
        (V::select(at.inside, cotangent.r, value), parameters)
    }

    /// Given the cotangents of r = S⁻¹(y) and ln S′(r), those of y and of the raw
    /// parameters.
    ///
    /// dr = (dy − ∂S/∂p dp)/S′(r), so with r̄ the whole cotangent of r that of y is ȳ = r̄/S′, and the
    /// parameters get those of S(r) with cotangent −ȳ.
    #[inline(always)]
    fn inverse_adjoint(
        &self,
        at: &Evaluation<V>,
        value: V,
        log_slope: V,
        raw: &[V; MAX_RAW],
    ) -> (V, [V; MAX_RAW]) {
        let through_slope = at.bin.adjoint(at.fraction, V::zero(), log_slope).r;
        let y = value.add(through_slope).mul(exp(at.log_slope.neg()));
        let cotangent = at.bin.adjoint(at.fraction, y.neg(), log_slope);
        let parameters = self.parameter_cotangents(at, &cotangent.bin, raw);
        (V::select(at.inside, y, value), parameters)
    }

    /// The bin of r (`by_x`) or of S(r).
    #[inline(always)]
    fn locate(&self, at: V, by_x: bool) -> Bin<V> {
        let bins = self.shape.bins;
        let mut bin = Bin {
            index: V::zero(),
            x: V::zero(),
            width: self.widths[0],
            y: V::zero(),
            height: self.heights[0],
            slopes: [self.slopes[0], self.slopes[1]],
        };
        let (mut x, mut y) = (V::zero(), V::zero());
        for j in 1..bins {
            x = x.add(self.widths[j - 1]);
            y = y.add(self.heights[j - 1]);
            let before = at.lt(if by_x { x } else { y });
            bin = Bin {
                index: V::select(before, bin.index, V::constant(j as f64)),
                x: V::select(before, bin.x, x),
                width: V::select(before, bin.width, self.widths[j]),
                y: V::select(before, bin.y, y),
                height: V::select(before, bin.height, self.heights[j]),
                slopes: [
                    V::select(before, bin.slopes[0], self.slopes[j]),
                    V::select(before, bin.slopes[1], self.slopes[j + 1]),
                ],
            };
        }
        bin
    }

    /// From the cotangents of one bin to those of the raw parameters; none outside the range.
    #[inline(always)]
    fn parameter_cotangents(
        &self,
        at: &Evaluation<V>,
        cotangent: &Bin<V>,
        raw: &[V; MAX_RAW],
    ) -> [V; MAX_RAW] {
        let mut parameters = [V::zero(); MAX_RAW];
        let bins = self.shape.bins;
        let zero = V::zero();
        let inside = |g: V| V::select(at.inside, g, zero);
        let index = at.bin.index;
        // `before` where the bin starts after knot j's own bin, `own` where it is that bin.
        let pick = |j: usize, before: V, own: V| {
            let j = V::constant(j as f64);
            V::select(j.lt(index), before, V::select(index.lt(j), zero, own))
        };
        let sizes = [
            (0, &self.widths, inside(cotangent.x), inside(cotangent.width)),
            (bins, &self.heights, inside(cotangent.y), inside(cotangent.height)),
        ];
        let floor = V::constant(self.shape.range * MIN_SHARE);
        let inverse_scale = V::constant(1.0 / softmax_scale(self.shape));
        for (offset, sizes, start, own) in sizes {
            // size = floor + scale·p with p a softmax: p̄ᵢ·scale·pᵢ with the mean over p removed.
            let mut mean = zero;
            for (j, &size) in sizes.iter().enumerate().take(bins) {
                mean = pick(j, start, own).mul_add(size.sub(floor), mean);
            }
            let mean = mean.mul(inverse_scale);
            for (j, &size) in sizes.iter().enumerate().take(bins) {
                parameters[offset + j] = pick(j, start, own).sub(mean).mul(size.sub(floor));
            }
        }
        let [left, right] = cotangent.slopes.map(inside);
        let next = index.add(V::constant(1.0));
        for knot in 0..=bins {
            let Some(parameter) = self.shape.slope_parameter(knot) else { continue };
            let own = pick(knot, zero, left);
            let knot = V::constant(knot as f64);
            let as_right = V::select(knot.lt(next), zero, V::select(next.lt(knot), zero, right));
            let slope = sigmoid(raw[parameter].add(V::constant(SLOPE_OFFSET)));
            parameters[parameter] = own.add(as_right).mul_add(slope, parameters[parameter]);
        }
        parameters
    }
}

impl<V: Vector> Evaluation<V> {
    /// The logarithm of the derivative of the call.
    #[inline(always)]
    pub fn log_det(&self, direction: Direction) -> V {
        match direction {
            Direction::Forward => self.log_slope,
            Direction::Inverse => self.log_slope.neg(),
        }
    }
}

impl<V: Vector> Bin<V> {
    /// S and ln S′ at the fraction ξ of the bin.
    #[inline(always)]
    fn evaluate(&self, xi: V) -> (V, V) {
        let one = V::constant(1.0);
        let two = V::constant(2.0);
        let [d0, d1] = self.slopes;
        let s = self.height.div(self.width);
        let rest = one.sub(xi);
        let q = xi.mul(rest);
        let d = d0.add(d1).sub(two.mul(s)).mul_add(q, s);
        let n = s.mul(xi).mul_add(xi, d0.mul(q));
        let value = self.height.mul(n).div(d).add(self.y);
        let m = d1.mul(xi).mul_add(xi, two.mul(s).mul_add(q, d0.mul(rest).mul(rest)));
        let slope = s.div(d);
        (value, ln(slope.mul(slope).mul(m)))
    }

    /// ξ with S = y + `rise`: the root in [0, 1] of a quadratic, in the form without cancellation.
    #[inline(always)]
    fn solve(&self, rise: V) -> V {
        let [d0, d1] = self.slopes;
        let s = self.height.div(self.width);
        let bend = rise.mul(d0.add(d1).sub(V::constant(2.0).mul(s)));
        let a = self.height.mul(s.sub(d0)).add(bend);
        let b = self.height.mul(d0).sub(bend);
        let c = s.mul(rise);
        // a ξ² + b ξ − c = 0 with b > 0 at the root's side: ξ = 2c/(b + √(b² + 4ac)).
        let root = b.mul_add(b, V::constant(4.0).mul(a).mul(c)).max(V::zero()).sqrt();
        V::constant(2.0).mul(c).div(b.add(root))
    }

    /// Reverse mode of S(r) and ln S′(r).
    #[inline(always)]
    fn adjoint(&self, xi: V, value: V, log_slope: V) -> BinCotangent<V> {
        let one = V::constant(1.0);
        let two = V::constant(2.0);
        let [d0, d1] = self.slopes;
        let inverse_width = one.div(self.width);
        let s = self.height.mul(inverse_width);
        let rest = one.sub(xi);
        let q = xi.mul(rest);
        let curvature = d0.add(d1).sub(two.mul(s));
        let d = curvature.mul_add(q, s);
        let n = s.mul(xi).mul_add(xi, d0.mul(q));
        let m = d1.mul(xi).mul_add(xi, two.mul(s).mul_add(q, d0.mul(rest).mul(rest)));

        let inverse_d = one.div(d);
        let share = n.mul(inverse_d);
        let gn = value.mul(self.height).mul(inverse_d);
        let gd = gn.mul(share).add(two.mul(log_slope).mul(inverse_d)).neg();
        let gm = log_slope.div(m);
        let gq = two.mul(s).mul(gm).add(d0.mul(gn)).add(curvature.mul(gd));
        let gs = two
            .mul(log_slope)
            .div(s)
            .add(two.mul(q).mul(gm))
            .add(xi.mul(xi).mul(gn))
            .add(one.sub(two.mul(q)).mul(gd));
        let gxi = two
            .mul(gm)
            .mul(d1.mul(xi).sub(d0.mul(rest)))
            .add(two.mul(s).mul(xi).mul(gn))
            .add(gq.mul(one.sub(two.mul(xi))));
        let gd0 = rest.mul(rest).mul(gm).add(q.mul(gn.add(gd)));
        let gd1 = xi.mul(xi).mul(gm).add(q.mul(gd));
        let r = gxi.mul(inverse_width);
        BinCotangent {
            r,
            bin: Bin {
                index: self.index,
                x: r.neg(),
                width: gs.mul(s).mul(inverse_width).add(r.mul(xi)).neg(),
                y: value,
                height: value.mul(share).add(gs.mul(inverse_width)),
                slopes: [gd0, gd1],
            },
        }
    }
}
