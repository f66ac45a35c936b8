//! Coordinates of a node about its origin, in a frame of its own that turns with the configuration,
//! or along the axes of space. The formulas stand at [`Projection`](super::Projection).

use super::coordinates::Coordinates;
use super::radial::SQUARE_FLOOR;
use super::transform::{Cotangents, Given, Outer, Scratch, Transform};
use crate::engine::Vector;
use crate::flow::rows::{add_scaled, dot_from_last as dot, scaled, subtract};

/// A loss under this is ignored (Midgley et al.).
const IGNORED_LOSS: f64 = 1e-4;
/// 1 − |cos| is not taken to be smaller than this, so that slopes stay finite.
const LEAST_REST: f64 = 1e-6;

/// Coordinates about the origin: in the node's frame, or along the axes of space.
#[derive(Debug, Clone, Copy)]
pub(super) struct Framed<C, const TURNED: bool>(pub C);

/// The frame and the lengths that its vectors were divided by.
struct Frame<V> {
    axes: [[V; 3]; 3],
    lengths: [V; 2],
}

#[inline(always)]
fn length<V: Vector>(v: &[V; 3]) -> V {
    (dot(v, v) + V::constant(SQUARE_FLOOR)).sqrt()
}

#[inline(always)]
fn over<V: Vector>(v: &[V; 3], length: V) -> [V; 3] {
    scaled(V::constant(1.0) / length, *v)
}

#[inline(always)]
fn cross<V: Vector>(a: &[V; 3], b: &[V; 3]) -> [V; 3] {
    let component = |i: usize, j: usize| a[i] * b[j] - a[j] * b[i];
    [component(1, 2), component(2, 0), component(0, 1)]
}

/// v without its part along the unit vector e.
#[inline(always)]
fn across<V: Vector>(v: &[V; 3], e: &[V; 3]) -> [V; 3] {
    let mut out = *v;
    add_scaled(&mut out, e, -dot(v, e));
    out
}

impl<V: Vector> Frame<V> {
    #[inline(always)]
    fn new(given: &Given<'_, V>) -> Self {
        let [v1, v2] = &given.axes;
        let zero = V::zero();
        let first = length(v1);
        let e1 = over(v1, first);
        if given.dimension == 2 {
            let e2 = [-e1[1], e1[0], zero];
            return Self { axes: [e1, e2, [zero; 3]], lengths: [first, V::constant(1.0)] };
        }
        let w = across(v2, &e1);
        let second = length(&w);
        // Again, for what rounding leaves along e1 when v1 and v2 are nearly parallel.
        let e2 = across(&over(&w, second), &e1);
        let e2 = over(&e2, length(&e2));
        Self { axes: [e1, e2, cross(&e1, &e2)], lengths: [first, second] }
    }

    /// c_k = e_k·u.
    #[inline(always)]
    fn project(&self, u: &[V; 3]) -> [V; 3] {
        [dot(&self.axes[0], u), dot(&self.axes[1], u), dot(&self.axes[2], u)]
    }

    /// Σ c_k e_k.
    #[inline(always)]
    fn assemble(&self, c: &[V; 3]) -> [V; 3] {
        let mut u = [V::zero(); 3];
        for (e, &c) in self.axes.iter().zip(c) {
            add_scaled(&mut u, e, c);
        }
        u
    }

    /// From the cotangents of the frame's vectors to those of v1 and v2.
    #[inline(always)]
    fn vjp(&self, given: &Given<'_, V>, mut axes: [[V; 3]; 3]) -> [[V; 3]; 2] {
        let [e1, e2, _] = &self.axes;
        let zero = V::zero();
        let [first, second] = self.lengths;
        let mut v2 = [zero; 3];
        if given.dimension == 2 {
            axes[0][0] += axes[1][1];
            axes[0][1] -= axes[1][0];
        } else {
            let one = V::constant(1.0);
            let from_third = cross(e2, &axes[2]);
            add_scaled(&mut axes[0], &from_third, one);
            let from_third = cross(&axes[2], e1);
            add_scaled(&mut axes[1], &from_third, one);
            let w = over(&across(&axes[1], e2), second);
            v2 = across(&w, e1);
            add_scaled(&mut axes[0], &given.axes[1], -dot(&w, e1));
            add_scaled(&mut axes[0], &w, -dot(&given.axes[1], e1));
        }
        [over(&across(&axes[0], e1), first), v2]
    }
}

impl<C: Coordinates, const TURNED: bool> Transform for Framed<C, TURNED> {
    fn vectors(&self, dimension: usize) -> usize {
        if TURNED {
            dimension
        } else {
            1
        }
    }

    fn parameters(&self, dimension: usize) -> usize {
        self.0.parameters(dimension)
    }

    #[inline(always)]
    fn apply<V: Vector>(&self, given: &Given<'_, V>, scratch: &mut Scratch<V>) -> ([V; 3], V) {
        let offset = subtract(given.position, given.origin);
        let (mut position, log_det) = if TURNED {
            let frame = Frame::new(given);
            let local = Given { position: frame.project(&offset), ..*given };
            let (moved, log_det) = self.0.apply(&local, scratch);
            (frame.assemble(&moved), log_det)
        } else {
            self.0.apply(&Given { position: offset, ..*given }, scratch)
        };
        add_scaled(&mut position, &given.origin, V::constant(1.0));
        (position, log_det)
    }

    #[inline(always)]
    fn vjp<V: Vector>(&self, given: &Given<'_, V>, mut outer: Outer<'_, V>) -> Cotangents<V> {
        let moved = outer.moved;
        let offset = subtract(given.position, given.origin);
        if !TURNED {
            let [_, position] = self.0.vjp(&Given { position: offset, ..*given }, outer);
            let origin = subtract(moved, position);
            return Cotangents { position, origin, axes: [[V::zero(); 3]; 2] };
        }
        let frame = Frame::new(given);
        outer.moved = frame.project(&moved);
        let local = Given { position: frame.project(&offset), ..*given };
        let [after, before] = self.0.vjp(&local, outer);
        let mut axes = [[V::zero(); 3]; 3];
        for (k, axis) in axes.iter_mut().enumerate() {
            add_scaled(axis, &moved, after[k]);
            add_scaled(axis, &offset, before[k]);
        }
        let position = frame.assemble(&before);
        let origin = subtract(moved, position);
        Cotangents { position, origin, axes: frame.vjp(given, axes) }
    }

    #[inline(always)]
    fn keep_apart<V: Vector>(&self, given: &Given<'_, V>, weight: V, cotangents: &mut [[V; 3]; 2]) {
        if TURNED && given.dimension == 3 {
            let [v1, v2] = apart_vjp(&given.axes, weight);
            add_scaled(&mut cotangents[0], &v1, V::constant(1.0));
            add_scaled(&mut cotangents[1], &v2, V::constant(1.0));
        }
    }
}

/// Cotangents of v1 and v2 for `weight` times their loss −ln(1 − |c|), c = cos ∠(v1, v2); zero
/// where the loss is ignored.
#[inline(always)]
fn apart_vjp<V: Vector>([v1, v2]: &[[V; 3]; 2], weight: V) -> [[V; 3]; 2] {
    let (first, second) = (length(v1), length(v2));
    let (e1, e2) = (over(v1, first), over(v2, second));
    let c = dot(&e1, &e2);
    let rest = (V::constant(1.0) - c.abs()).max(V::constant(LEAST_REST));
    let slope = V::select(c.lt(V::zero()), -weight, weight) / rest;
    let idle = V::constant((-IGNORED_LOSS).exp()).lt(rest);
    let slope = V::select(idle, V::zero(), slope);
    // ∂c/∂v1 = (e2 − c e1)/‖v1‖
    [scaled(slope / first, across(&e2, &e1)), scaled(slope / second, across(&e1, &e2))]
}
