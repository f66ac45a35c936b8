//! Layers in internal coordinates: some of them move, given the others.
//!
//! Dihedral angles that turn move by a circular spline and a turn, τ′ = S(τ) + t; all other
//! coordinates, which are near to standard normal, by a spline within a window, if one is wanted,
//! and an affine map, z′ = e^s S(z) + t. Splines, s and t come from a network of the coordinates
//! that stay, of which it sees angles as sines and cosines.

use crate::engine::{exp, sin_cos, tanh, Arena, Kernel, Lane, Real, Vector};
use crate::flow::column::{Column, ColumnMut};
use crate::flow::mlp::Mlp;
use crate::flow::spline::{Ends, Spline, SplineShape, MOST_LANES};
use crate::flow::{Direction, ParameterLayout};

use super::geometry::wrapped;
use super::BaseOptions;

use std::f64::consts::PI;

/// Splines of normal coordinates reach so far to either side.
const WINDOW: f64 = 4.5;
/// Limits of the logarithm of an affine map's factor and of its shift, so that layers do not throw
/// far off what they have not learnt.
const MOST_SCALE: f64 = 1.0;
const MOST_SHIFT: f64 = 3.0;
/// Features of an angle: sines and cosines of it and of twice of it.
const ANGLE_FEATURES: usize = 4;

/// The circular spline of an angle with so many bins.
pub(super) fn circular(bins: usize) -> SplineShape {
    SplineShape { bins, range: 2.0 * PI, ends: Ends::Circle }
}

/// Outputs of the network for a coordinate that moves.
fn parameters(turns: bool, circle: SplineShape, window: Option<SplineShape>) -> usize {
    match turns {
        true => 1 + circle.parameters(),
        false => 2 + window.map_or(0, |window| window.parameters()),
    }
}

/// One layer.
#[derive(Debug, Clone)]
pub(super) struct Layer {
    /// Angles that turn, which are the first coordinates.
    soft: usize,
    /// Coordinates that move, and those that stay.
    moved: Vec<usize>,
    given: Vec<usize>,
    network: Mlp,
    inputs: usize,
    circle: SplineShape,
    /// None where affine maps alone are wanted.
    window: Option<SplineShape>,
}

/// What a coordinate becomes, with what its derivatives need.
struct Moved<'a, V: Vector> {
    spline: Option<Spline<'a, V>>,
    /// tanh of the raw turn or shift and of the raw scale, and what they stand for.
    bounded: [V; 2],
    scale: V,
    shift: V,
    /// What the spline was evaluated at, counted from the middle of its range.
    at: V,
    value: V,
    log_det: V,
}

impl<V: Vector> Moved<'_, V> {
    /// From the cotangents of the spline's value and log-determinant to that of its argument; those
    /// of its raw parameters, the rows of `to_raw` from `from` on, are written.
    #[inline(always)]
    fn spline_vjp(
        &self,
        value: V,
        log_det: V,
        to_raw: &mut ColumnMut<'_, V::Scalar>,
        from: usize,
    ) -> V {
        match &self.spline {
            Some(spline) => spline.vjp(value, log_det, &mut to_raw.from(from)),
            None => value,
        }
    }
}

impl Layer {
    /// Moves the coordinates `moved`, of which the first `soft` of all are angles that turn.
    pub fn new(
        [soft, all]: [usize; 2],
        moved: Vec<usize>,
        options: &BaseOptions,
        layout: &mut ParameterLayout,
    ) -> Self {
        let given: Vec<usize> = (0..all).filter(|k| !moved.contains(k)).collect();
        let inputs: usize = given.iter().map(|&k| if k < soft { ANGLE_FEATURES } else { 1 }).sum();
        let circle = circular(options.torsion_bins);
        let window = (options.bins > 1).then_some(SplineShape {
            bins: options.bins,
            range: 2.0 * WINDOW,
            ends: Ends::Window,
        });
        let outputs = moved.iter().map(|&k| parameters(k < soft, circle, window)).sum();
        let hidden = vec![options.width; options.hidden_layers];
        let network = Mlp::new(layout, "network", inputs, &hidden, Some((outputs, 0.0)));
        Self { soft, moved, given, network, inputs, circle, window }
    }

    /// Takes what [`apply`](Self::apply) and [`vjp`](Self::vjp) work in.
    pub fn take_scratch<T: Real>(&self, tiles: usize, mut arena: Arena<'_, T>) {
        let outputs = self.network.outputs();
        arena.take((2 * self.inputs + outputs) * tiles + self.network.tape_lanes(tiles));
        self.network.take_apply_vjp_scratch(arena, tiles);
    }

    fn parameters(&self, coordinate: usize) -> usize {
        parameters(coordinate < self.soft, self.circle, self.window)
    }

    #[inline(always)]
    fn write_inputs<V: Vector>(
        &self,
        state: &[Lane<V::Scalar>],
        inputs: &mut [Lane<V::Scalar>],
        tiles: usize,
    ) {
        let two = V::constant(2.0);
        let mut rest = inputs;
        for &k in &self.given {
            let values = &state[k * tiles..(k + 1) * tiles];
            if k < self.soft {
                let (row, after) = rest.split_at_mut(ANGLE_FEATURES * tiles);
                for (tile, value) in values.iter().enumerate() {
                    let (sine, cosine) = sin_cos(V::load(value));
                    sine.store(&mut row[tile]);
                    cosine.store(&mut row[tiles + tile]);
                    (two * sine * cosine).store(&mut row[2 * tiles + tile]);
                    let twice = (two * cosine).mul_add(cosine, V::constant(-1.0));
                    twice.store(&mut row[3 * tiles + tile]);
                }
                rest = after;
            } else {
                let (row, after) = rest.split_at_mut(tiles);
                row.copy_from_slice(values);
                rest = after;
            }
        }
    }

    /// One coordinate, by its rows of the network's outputs.
    #[inline(always)]
    fn moved<'a, V: Vector>(
        &self,
        direction: Direction,
        coordinate: usize,
        value: V,
        raw: Column<'a, V::Scalar>,
        lanes: &'a mut [Lane<V::Scalar>],
    ) -> Moved<'a, V> {
        let forward = direction == Direction::Forward;
        if coordinate < self.soft {
            let half = V::constant(PI);
            let bounded = tanh(raw.entry::<V>(0));
            let shift = half * bounded;
            let at = if forward { value } else { wrapped(value - shift) };
            let spline = Spline::new(self.circle, direction, raw.from(1), at + half, lanes);
            let value = spline.value - half;
            let value = wrapped(if forward { value + shift } else { value });
            let log_det = spline.log_det;
            let bounded = [bounded; 2];
            Moved {
                spline: Some(spline),
                bounded,
                scale: V::constant(1.0),
                shift,
                at,
                value,
                log_det,
            }
        } else {
            let window = V::constant(WINDOW);
            let most = V::constant(MOST_SCALE);
            let bounded = [
                tanh(raw.entry::<V>(0) * V::constant(1.0 / MOST_SHIFT)),
                tanh(raw.entry::<V>(1) * V::constant(1.0 / MOST_SCALE)),
            ];
            let log_scale = most * bounded[1];
            let (scale, shift) = (exp(log_scale), V::constant(MOST_SHIFT) * bounded[0]);
            let at = if forward { value } else { (value - shift) * exp(-log_scale) };
            let (spline, value, of_spline) = match self.window {
                Some(shape) => {
                    let spline = Spline::new(shape, direction, raw.from(2), at + window, lanes);
                    let (value, log_det) = (spline.value - window, spline.log_det);
                    (Some(spline), value, log_det)
                }
                None => (None, at, V::zero()),
            };
            let (value, own) = match forward {
                true => (value.mul_add(scale, shift), log_scale),
                false => (value, -log_scale),
            };
            let log_det = own + of_spline;
            Moved { spline, bounded, scale, shift, at, value, log_det }
        }
    }

    /// Moves `state`, [coordinates, tiles], in place; adds to the log-determinants.
    #[inline(always)]
    pub fn apply<V: Vector>(
        &self,
        direction: Direction,
        theta: &[V::Scalar],
        state: &mut [Lane<V::Scalar>],
        log_det: &mut [Lane<V::Scalar>],
        mut arena: Arena<'_, V::Scalar>,
    ) {
        let tiles = log_det.len();
        let inputs = arena.take(self.inputs * tiles);
        let tape = arena.take(self.network.tape_lanes(tiles));
        self.write_inputs::<V>(state, inputs, tiles);
        self.network.apply::<V>(theta, inputs, tape, tiles);
        V::call(MoveAll {
            layer: self,
            direction,
            outputs: self.network.value(tape, tiles),
            state,
            log_det,
        });
    }

    /// The vector-Jacobian product of [`apply`](Self::apply): `state` as it went in; `cotangent` is
    /// that of what came out on entry, and that of `state` on return.
    #[allow(clippy::too_many_arguments)]
    #[inline(always)]
    pub fn vjp<V: Vector>(
        &self,
        direction: Direction,
        theta: &[V::Scalar],
        state: &[Lane<V::Scalar>],
        cotangent: &mut [Lane<V::Scalar>],
        log_det: &[Lane<V::Scalar>],
        gradient: Option<&mut [V::Scalar]>,
        mut arena: Arena<'_, V::Scalar>,
    ) {
        let tiles = log_det.len();
        let inputs = arena.take(self.inputs * tiles);
        let to_inputs = arena.take(self.inputs * tiles);
        let to_outputs = arena.take(self.network.outputs() * tiles);
        let tape = arena.take(self.network.tape_lanes(tiles));
        self.write_inputs::<V>(state, inputs, tiles);
        self.network.apply::<V>(theta, inputs, tape, tiles);
        V::call(MoveAllVjp {
            layer: self,
            direction,
            outputs: self.network.value(tape, tiles),
            state,
            log_det,
            to_outputs,
            cotangent,
        });
        let pair = [&*inputs, &*to_outputs];
        let scratch = arena.inner();
        self.network.apply_vjp::<V>(theta, tape, pair, to_inputs, gradient, scratch, tiles);
        self.inputs_vjp::<V>(inputs, to_inputs, cotangent, tiles);
    }

    #[inline(always)]
    fn moved_vjp<V: Vector>(
        &self,
        direction: Direction,
        coordinate: usize,
        moved: &Moved<'_, V>,
        [value, log_det]: [V; 2],
        mut to_raw: ColumnMut<'_, V::Scalar>,
    ) -> V {
        let one = V::constant(1.0);
        let [first, second] = moved.bounded;
        let slopes = [(-first).mul_add(first, one), (-second).mul_add(second, one)];
        if coordinate < self.soft {
            let inner = moved.spline_vjp(value, log_det, &mut to_raw, 1);
            let to_shift = if direction == Direction::Forward { value } else { -inner };
            to_raw.store(0, to_shift * slopes[0] * V::constant(PI));
            return inner;
        }
        match direction {
            Direction::Forward => {
                let inside = value * moved.scale;
                let inner = moved.spline_vjp(inside, log_det, &mut to_raw, 2);
                to_raw.store(0, value * slopes[0]);
                to_raw.store(1, value.mul_add(moved.value - moved.shift, log_det) * slopes[1]);
                inner
            }
            Direction::Inverse => {
                let inner = moved.spline_vjp(value, log_det, &mut to_raw, 2);
                let outer = inner / moved.scale;
                to_raw.store(0, -outer * slopes[0]);
                to_raw.store(1, -(inner.mul_add(moved.at, log_det)) * slopes[1]);
                outer
            }
        }
    }

    #[inline(always)]
    fn inputs_vjp<V: Vector>(
        &self,
        inputs: &[Lane<V::Scalar>],
        to_inputs: &[Lane<V::Scalar>],
        cotangent: &mut [Lane<V::Scalar>],
        tiles: usize,
    ) {
        let mut row = 0;
        for &k in &self.given {
            for tile in 0..tiles {
                let own = &mut cotangent[k * tiles + tile];
                if k < self.soft {
                    let (mut value, mut to) = ([V::zero(); 4], [V::zero(); 4]);
                    for i in 0..ANGLE_FEATURES {
                        value[i] = V::load(&inputs[(row + i) * tiles + tile]);
                        to[i] = V::load(&to_inputs[(row + i) * tiles + tile]);
                    }
                    let single = to[0] * value[1] - to[1] * value[0];
                    let twice = to[2] * value[3] - to[3] * value[2];
                    (single + twice + twice).accumulate(own);
                } else {
                    V::load(&to_inputs[row * tiles + tile]).accumulate(own);
                }
            }
            row += if k < self.soft { ANGLE_FEATURES } else { 1 };
        }
    }
}

/// All coordinates that move, given the network's outputs [outputs, tiles].
struct MoveAll<'a, T> {
    layer: &'a Layer,
    direction: Direction,
    outputs: &'a [Lane<T>],
    state: &'a mut [Lane<T>],
    log_det: &'a mut [Lane<T>],
}

impl<T: Real> Kernel<T> for MoveAll<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector<Scalar = T>>(self) {
        let Self { layer, direction, outputs, state, log_det } = self;
        let tiles = log_det.len();
        let mut lanes = [Lane::zero(); MOST_LANES];
        for (tile, log_det) in log_det.iter_mut().enumerate() {
            let raw = Column::new(&outputs[tile..], tiles);
            let mut row = 0;
            let mut total = V::zero();
            for &k in &layer.moved {
                let at = &mut state[k * tiles + tile];
                let moved = layer.moved(direction, k, V::load(at), raw.from(row), &mut lanes);
                moved.value.store(at);
                total += moved.log_det;
                row += layer.parameters(k);
            }
            total.accumulate(log_det);
        }
    }
}

/// The vector-Jacobian product of [`MoveAll`]; the cotangent of the outputs is written.
struct MoveAllVjp<'a, T> {
    layer: &'a Layer,
    direction: Direction,
    outputs: &'a [Lane<T>],
    state: &'a [Lane<T>],
    log_det: &'a [Lane<T>],
    to_outputs: &'a mut [Lane<T>],
    cotangent: &'a mut [Lane<T>],
}

impl<T: Real> Kernel<T> for MoveAllVjp<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector<Scalar = T>>(self) {
        let Self { layer, direction, outputs, state, log_det, to_outputs, cotangent } = self;
        let tiles = log_det.len();
        let mut lanes = [Lane::zero(); MOST_LANES];
        for (tile, log_det) in log_det.iter().enumerate() {
            let raw = Column::new(&outputs[tile..], tiles);
            let mut row = 0;
            for &k in &layer.moved {
                let value = V::load(&state[k * tiles + tile]);
                let moved = layer.moved(direction, k, value, raw.from(row), &mut lanes);
                let to_raw = ColumnMut::new(&mut to_outputs[row * tiles + tile..], tiles);
                let own = &mut cotangent[k * tiles + tile];
                let given = [V::load(own), V::load(log_det)];
                layer.moved_vjp(direction, k, &moved, given, to_raw).store(own);
                row += layer.parameters(k);
            }
        }
    }
}
