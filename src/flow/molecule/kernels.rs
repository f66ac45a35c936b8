//! Samples and densities of a molecule's base density, and their vector-Jacobian products.
//!
//! Tiles go through the layers together, so that a weight is read once for all of them: states are
//! [coordinates, tiles], positions [tiles, n, 3].

use super::{MoleculeBase, Space, HALF_LOG_TAU};
use crate::engine::{Arena, Kernel, Lane, Real, Vector};
use crate::flow::base::{BaseDensity, Pass};
use crate::flow::column::{Column, ColumnMut};
use crate::flow::spline::{Spline, MOST_LANES};
use crate::flow::Direction;

use std::f64::consts::PI;

impl<T: Real> BaseDensity<T> for MoleculeBase {
    fn title(&self) -> &'static str {
        "internal coordinates"
    }

    fn trail_lanes(&self, tiles: usize) -> usize {
        (self.layers.len() + 3) * self.coordinates.len() * tiles
    }

    fn scratch(&self, tiles: usize) -> usize {
        Arena::<T>::measure(|arena| {
            Space::take(arena, self, tiles);
            self.layers.iter().for_each(|layer| layer.take_scratch(tiles, arena.inner()));
            self.affine.take_scratch(tiles, arena.inner());
        })
    }

    fn log_constant(&self, theta: &[T]) -> f64 {
        let [soft, stiff] = [self.coordinates.soft.len(), self.coordinates.is_turn.len()];
        let atoms = self.coordinates.particles as f64;
        1.5 * atoms.ln()
            - (8.0 * PI * PI).ln()
            - soft as f64 * (2.0 * PI).ln()
            - stiff as f64 * HALF_LOG_TAU
            - self.sides.bits() as f64 * 2f64.ln()
            - self.affine.log_determinant(theta)
    }

    fn fit(&self, theta: &mut [T], x: &[f64]) {
        self.fit_to(theta, x);
    }

    fn turning_angles(&self, x: &[f64]) -> Vec<f64> {
        let configurations = x.chunks_exact(3 * self.coordinates.particles);
        configurations.flat_map(|x| self.tree.soft(&self.standard(x))).collect()
    }

    fn sample(&self, theta: &[T], noise: &[Lane<T>], pass: Pass<'_, T>, x: &mut [Lane<T>]) {
        let Pass { log_prob, trail, scratch } = pass;
        let (base, tiles) = (self, log_prob.len());
        let (mut space, arena) = self.space(scratch, tiles);
        self.read_noise(noise, &mut trail[..self.coordinates.len() * tiles], &mut space);
        T::dispatch(Draw { base, theta, x, log_prob, trail, space, arena });
    }

    fn log_prob(&self, theta: &[T], x: &[Lane<T>], pass: Pass<'_, T>) {
        let Pass { log_prob, trail, scratch } = pass;
        let (base, (space, arena)) = (self, self.space(scratch, log_prob.len()));
        T::dispatch(Density { base, theta, x, log_prob, trail, space, arena });
    }

    fn sample_vjp(
        &self,
        theta: &[T],
        [x, x_cotangent, trail]: [&[Lane<T>]; 3],
        log_prob: &[Lane<T>],
        gradient: &mut [T],
        scratch: &mut [Lane<T>],
    ) {
        let (base, (space, arena)) = (self, self.space(scratch, log_prob.len()));
        let call = DrawVjp { base, theta, x, x_cotangent, trail, log_prob, gradient, space, arena };
        T::dispatch(call);
    }

    fn log_prob_vjp(
        &self,
        theta: &[T],
        [x, trail]: [&[Lane<T>]; 2],
        log_prob: &[Lane<T>],
        x_cotangent: Option<&mut [Lane<T>]>,
        gradient: Option<&mut [T]>,
        scratch: &mut [Lane<T>],
    ) {
        let (base, (space, arena)) = (self, self.space(scratch, log_prob.len()));
        let call =
            DensityVjp { base, theta, x, x_cotangent, trail, log_prob, gradient, space, arena };
        T::dispatch(call);
    }
}

impl MoleculeBase {
    /// Scratch memory: what the kernels work in, and what is left for layers.
    fn space<'a, T: Real>(
        &self,
        scratch: &'a mut [Lane<T>],
        tiles: usize,
    ) -> (Space<'a, T>, Arena<'a, T>) {
        let mut arena = Arena::new(scratch);
        (Space::take(&mut arena, self, tiles), arena)
    }

    /// The state of the trail before map `number`, in the order of sampling.
    fn state<'a, T>(&self, trail: &'a [Lane<T>], number: usize, tiles: usize) -> &'a [Lane<T>] {
        let all = self.coordinates.len() * tiles;
        &trail[number * all..][..all]
    }

    /// Copies state `from` to `to` and hands out the copy.
    #[inline(always)]
    fn next<'a, T: Real>(
        &self,
        trail: &'a mut [Lane<T>],
        [from, to]: [usize; 2],
        tiles: usize,
    ) -> &'a mut [Lane<T>] {
        let all = self.coordinates.len() * tiles;
        trail.copy_within(from * all..(from + 1) * all, to * all);
        &mut trail[to * all..(to + 1) * all]
    }

    /// −½ z² of all stiff coordinates of u is added to every tile's lane.
    #[inline(always)]
    fn add_normal<V: Vector>(&self, u: &[Lane<V::Scalar>], log_prob: &mut [Lane<V::Scalar>]) {
        let (half, tiles) = (V::constant(0.5), log_prob.len());
        for row in u[self.coordinates.soft.len() * tiles..].chunks_exact(tiles) {
            for (z, log_prob) in row.iter().zip(log_prob.iter_mut()) {
                let z = V::load(z);
                (V::load(log_prob) - half * z * z).store(log_prob);
            }
        }
    }

    /// The splines of single angles; adds to the log-determinants.
    #[inline(always)]
    fn apply_marginals<V: Vector>(
        &self,
        direction: Direction,
        theta: &[V::Scalar],
        state: &mut [Lane<V::Scalar>],
        log_det: &mut [Lane<V::Scalar>],
        raw: &mut [Lane<V::Scalar>],
    ) {
        self.write_marginals(theta, raw);
        let half = V::constant(PI);
        let mut lanes = [Lane::zero(); MOST_LANES];
        let rows = raw.chunks_exact(self.marginal.parameters());
        for (row, raw) in state.chunks_exact_mut(log_det.len()).zip(rows) {
            for (angle, log_det) in row.iter_mut().zip(log_det.iter_mut()) {
                let at = V::load(angle) + half;
                let raw = Column::new(raw, 1);
                let spline = Spline::<V>::new(self.marginal, direction, raw, at, &mut lanes);
                (spline.value - half).store(angle);
                spline.log_det.accumulate(log_det);
            }
        }
    }

    #[allow(clippy::too_many_arguments)]
    #[inline(always)]
    fn marginals_vjp<V: Vector>(
        &self,
        direction: Direction,
        theta: &[V::Scalar],
        state: &[Lane<V::Scalar>],
        cotangent: &mut [Lane<V::Scalar>],
        log_det: &[Lane<V::Scalar>],
        gradient: Option<&mut [V::Scalar]>,
        [raw, to_raw]: [&mut [Lane<V::Scalar>]; 2],
    ) {
        self.write_marginals(theta, raw);
        let (half, tiles) = (V::constant(PI), log_det.len());
        let mut lanes = [Lane::zero(); MOST_LANES];
        let count = self.marginal.parameters();
        let states = state.chunks_exact(tiles).zip(cotangent.chunks_exact_mut(tiles));
        let rows = raw.chunks_exact(count).zip(to_raw.chunks_exact_mut(count * tiles));
        for ((row, to), (raw, to_raw)) in states.zip(rows) {
            for tile in 0..tiles {
                let at = V::load(&row[tile]) + half;
                let raw = Column::new(raw, 1);
                let spline = Spline::<V>::new(self.marginal, direction, raw, at, &mut lanes);
                let (own, log_det) = (V::load(&to[tile]), V::load(&log_det[tile]));
                let mut to_raw = ColumnMut::new(&mut to_raw[tile..], tiles);
                spline.vjp(own, log_det, &mut to_raw).store(&mut to[tile]);
            }
        }
        if let Some(gradient) = gradient {
            self.marginals.add_sums::<V>(to_raw, gradient, tiles);
        }
    }

    fn write_marginals<T: Real>(&self, theta: &[T], raw: &mut [Lane<T>]) {
        for (lane, parameter) in raw.iter_mut().zip(self.marginals.of(theta)) {
            *lane = Lane::splat(*parameter);
        }
    }
}

/// Column `tile` of a matrix [rows, tiles], to or from one lane a row.
fn read_tile<T: Real>(rows: &[Lane<T>], [tile, tiles]: [usize; 2], own: &mut [Lane<T>]) {
    for (own, row) in own.iter_mut().zip(rows.chunks_exact(tiles)) {
        *own = row[tile];
    }
}

fn write_tile<T: Real>(own: &[Lane<T>], [tile, tiles]: [usize; 2], rows: &mut [Lane<T>]) {
    for (own, row) in own.iter().zip(rows.chunks_exact_mut(tiles)) {
        row[tile] = *own;
    }
}

#[inline(always)]
fn negate<V: Vector>(lanes: &mut [Lane<V::Scalar>]) {
    for lane in lanes {
        (V::zero() - V::load(lane)).store(lane);
    }
}

struct Draw<'a, T> {
    base: &'a MoleculeBase,
    theta: &'a [T],
    x: &'a mut [Lane<T>],
    log_prob: &'a mut [Lane<T>],
    trail: &'a mut [Lane<T>],
    space: Space<'a, T>,
    arena: Arena<'a, T>,
}

impl<T: Real> Kernel<T> for Draw<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector<Scalar = T>>(self) {
        let Self { base, theta, x, log_prob, trail, space, mut arena } = self;
        let (tiles, direction) = (log_prob.len(), Direction::Forward);
        // log |det ∂x/∂u| first, which is taken away at the end.
        log_prob.fill(Lane::zero());
        let state = base.next(trail, [0, 1], tiles);
        base.apply_marginals::<V>(direction, theta, state, log_prob, space.raw);
        for (number, layer) in base.layers.iter().enumerate() {
            let state = base.next(trail, [number + 1, number + 2], tiles);
            layer.apply::<V>(direction, theta, state, log_prob, arena.inner());
        }
        let last = base.layers.len() + 1;
        let state = base.next(trail, [last, last + 1], tiles);
        base.affine.forward::<V>(theta, state, tiles, arena.inner());
        let (width, bits) = (x.len() / tiles, base.sides.bits());
        for (tile, x) in x.chunks_exact_mut(width).enumerate() {
            read_tile(state, [tile, tiles], space.own);
            let standard = &mut *space.standard;
            let volume = base.coordinates.place::<V>(space.own, standard, space.geometry);
            volume.accumulate(&mut log_prob[tile]);
            base.sides.change::<V>(standard, &space.bits[tile * bits..][..bits]);
            let rotation = &space.rotation[9 * tile..];
            for (row, x) in standard.chunks_exact(3).zip(x.chunks_exact_mut(3)) {
                for (axis, x) in x.iter_mut().enumerate() {
                    let mut sum = V::zero();
                    for (r, y) in rotation[3 * axis..3 * axis + 3].iter().zip(row) {
                        sum = V::load(r).mul_add(V::load(y), sum);
                    }
                    sum.store(x);
                }
            }
        }
        negate::<V>(log_prob);
        base.add_normal::<V>(base.state(trail, 0, tiles), log_prob);
    }
}

struct Density<'a, T> {
    base: &'a MoleculeBase,
    theta: &'a [T],
    x: &'a [Lane<T>],
    log_prob: &'a mut [Lane<T>],
    trail: &'a mut [Lane<T>],
    space: Space<'a, T>,
    arena: Arena<'a, T>,
}

impl<T: Real> Kernel<T> for Density<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector<Scalar = T>>(self) {
        let Self { base, theta, x, log_prob, trail, space, mut arena } = self;
        let (tiles, direction) = (log_prob.len(), Direction::Inverse);
        let all = base.coordinates.len() * tiles;
        let last = base.layers.len() + 1;
        let (width, bits) = (x.len() / tiles, base.sides.bits());
        for (tile, x) in x.chunks_exact(width).enumerate() {
            let standard = &mut *space.standard;
            standard.copy_from_slice(x);
            base.sides.standardize::<V>(standard, &mut space.bits[tile * bits..][..bits]);
            let volume = base.coordinates.measure::<V>(standard, space.own, space.geometry);
            (V::zero() - volume).store(&mut log_prob[tile]);
            write_tile(space.own, [tile, tiles], &mut trail[(last + 1) * all..(last + 2) * all]);
        }
        let state = base.next(trail, [last + 1, last], tiles);
        base.affine.inverse::<V>(theta, state, tiles, arena.inner());
        for (number, layer) in base.layers.iter().enumerate().rev() {
            let state = base.next(trail, [number + 2, number + 1], tiles);
            layer.apply::<V>(direction, theta, state, log_prob, arena.inner());
        }
        let state = base.next(trail, [1, 0], tiles);
        base.apply_marginals::<V>(direction, theta, state, log_prob, space.raw);
        base.add_normal::<V>(state, log_prob);
    }
}

struct DrawVjp<'a, T> {
    base: &'a MoleculeBase,
    theta: &'a [T],
    x: &'a [Lane<T>],
    x_cotangent: &'a [Lane<T>],
    trail: &'a [Lane<T>],
    log_prob: &'a [Lane<T>],
    gradient: &'a mut [T],
    space: Space<'a, T>,
    arena: Arena<'a, T>,
}

impl<T: Real> Kernel<T> for DrawVjp<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector<Scalar = T>>(self) {
        let Self { base, theta, x, x_cotangent, trail, log_prob, gradient, space, mut arena } =
            self;
        let (tiles, direction) = (log_prob.len(), Direction::Forward);
        let last = base.layers.len() + 1;
        let q = base.state(trail, last + 1, tiles);
        let cotangent = space.cotangent;
        let (width, bits) = (x.len() / tiles, base.sides.bits());
        let rows = x.chunks_exact(width).zip(x_cotangent.chunks_exact(width));
        for (tile, (x, x_cotangent)) in rows.enumerate() {
            let bits = &mut space.bits[tile * bits..][..bits];
            space.standard.copy_from_slice(x);
            base.sides.standardize::<V>(space.standard, bits);
            space.to_standard.copy_from_slice(x_cotangent);
            base.sides.change::<V>(space.to_standard, bits);
            read_tile(q, [tile, tiles], space.own);
            let given = [&*space.standard, &*space.own, &*space.to_standard];
            let lost = V::zero() - V::load(&log_prob[tile]);
            base.coordinates.place_vjp::<V>(given, lost, space.to_own, space.geometry);
            write_tile(space.to_own, [tile, tiles], cotangent);
        }
        let soft = &q[..base.coordinates.soft.len() * tiles];
        base.affine.forward_vjp::<V>(theta, soft, cotangent, tiles, arena.inner());
        let lost = &mut space.rotation[..tiles];
        lost.copy_from_slice(log_prob);
        negate::<V>(lost);
        for (number, layer) in base.layers.iter().enumerate().rev() {
            let state = base.state(trail, number + 1, tiles);
            let (gradient, arena) = (Some(&mut *gradient), arena.inner());
            layer.vjp::<V>(direction, theta, state, cotangent, lost, gradient, arena);
        }
        let (state, raw) = (base.state(trail, 0, tiles), [space.raw, space.to_raw]);
        base.marginals_vjp::<V>(direction, theta, state, cotangent, lost, Some(gradient), raw);
    }
}

struct DensityVjp<'a, T> {
    base: &'a MoleculeBase,
    theta: &'a [T],
    x: &'a [Lane<T>],
    x_cotangent: Option<&'a mut [Lane<T>]>,
    trail: &'a [Lane<T>],
    log_prob: &'a [Lane<T>],
    gradient: Option<&'a mut [T]>,
    space: Space<'a, T>,
    arena: Arena<'a, T>,
}

impl<T: Real> Kernel<T> for DensityVjp<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector<Scalar = T>>(self) {
        let Self { base, theta, x, x_cotangent, trail, log_prob, mut gradient, space, mut arena } =
            self;
        let (tiles, direction) = (log_prob.len(), Direction::Inverse);
        let soft = base.coordinates.soft.len() * tiles;
        let cotangent = space.cotangent;
        cotangent.fill(Lane::zero());
        let u = base.state(trail, 0, tiles)[soft..].chunks_exact(tiles);
        for (to, z) in cotangent[soft..].chunks_exact_mut(tiles).zip(u) {
            for ((to, z), own) in to.iter_mut().zip(z).zip(log_prob) {
                (V::zero() - V::load(own) * V::load(z)).store(to);
            }
        }
        let (state, raw) = (base.state(trail, 1, tiles), [space.raw, space.to_raw]);
        let into = gradient.as_deref_mut();
        base.marginals_vjp::<V>(direction, theta, state, cotangent, log_prob, into, raw);
        for (number, layer) in base.layers.iter().enumerate() {
            let state = base.state(trail, number + 2, tiles);
            let (gradient, arena) = (gradient.as_deref_mut(), arena.inner());
            layer.vjp::<V>(direction, theta, state, cotangent, log_prob, gradient, arena);
        }
        let Some(x_cotangent) = x_cotangent else { return };
        let q = base.state(trail, base.layers.len() + 2, tiles);
        base.affine.inverse_vjp::<V>(theta, &q[..soft], cotangent, tiles, arena.inner());
        x_cotangent.fill(Lane::zero());
        let (width, bits) = (x.len() / tiles, base.sides.bits());
        let rows = x.chunks_exact(width).zip(x_cotangent.chunks_exact_mut(width));
        for (tile, (x, to_x)) in rows.enumerate() {
            let bits = &mut space.bits[tile * bits..][..bits];
            space.standard.copy_from_slice(x);
            base.sides.standardize::<V>(space.standard, bits);
            read_tile(q, [tile, tiles], space.own);
            read_tile(cotangent, [tile, tiles], space.to_own);
            let given = [&*space.standard, &*space.own, &*space.to_own];
            let lost = V::zero() - V::load(&log_prob[tile]);
            base.coordinates.measure_vjp::<V>(given, lost, to_x, space.geometry);
            base.sides.change::<V>(to_x, bits);
        }
    }
}
