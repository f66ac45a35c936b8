//! Sixteen configurations at once: positions, distances of all pairs, and what forces add to.

use crate::engine::{Arena, Lane, Vector};

/// The number of the pair of atoms i and j, in either order.
pub(super) fn pair(i: usize, j: usize) -> usize {
    let (low, high) = (i.min(j), i.max(j));
    high * high.saturating_sub(1) / 2 + low
}

/// A tile that is being evaluated. Lengths in nm, energies in kJ/mol.
pub(super) struct Tile<'a> {
    /// [atoms, 3].
    pub x: &'a mut [Lane<f64>],
    /// ∂U/∂x, [atoms, 3].
    pub gradient: &'a mut [Lane<f64>],
    /// r² of each [`pair`].
    pub squared: &'a mut [Lane<f64>],
    /// 1/r.
    pub inverse: &'a mut [Lane<f64>],
    /// ∂U/∂r / r, of all forces that depend on distances.
    pub slope: &'a mut [Lane<f64>],
    /// U of each force.
    pub energies: &'a mut [Lane<f64>],
}

impl<'a> Tile<'a> {
    pub fn take(arena: &mut Arena<'a, f64>, atoms: usize, forces: usize) -> Self {
        let pairs = atoms * atoms.saturating_sub(1) / 2;
        Self {
            x: arena.take(3 * atoms),
            gradient: arena.take(3 * atoms),
            squared: arena.take(pairs),
            inverse: arena.take(pairs),
            slope: arena.take(pairs),
            energies: arena.take(forces),
        }
    }

    /// Sets the distances, and sums to zero.
    #[inline(always)]
    pub fn start<V: Vector<Scalar = f64>>(&mut self) {
        self.gradient.fill(Lane::zero());
        self.slope.fill(Lane::zero());
        self.energies.fill(Lane::zero());
        let mut place = 0;
        for i in 0..self.x.len() / 3 {
            let at = position::<V>(self.x, i);
            for j in 0..i {
                let d = minus(at, position::<V>(self.x, j));
                let squared = dot(d, d);
                squared.store(&mut self.squared[place]);
                squared.inverse_sqrt().store(&mut self.inverse[place]);
                place += 1;
            }
        }
    }

    /// Adds what the slopes of pairs are as gradients.
    #[inline(always)]
    pub fn push_pairs<V: Vector<Scalar = f64>>(&mut self) {
        let mut place = 0;
        for i in 0..self.x.len() / 3 {
            let at = position::<V>(self.x, i);
            let mut own = [V::zero(); 3];
            for j in 0..i {
                let slope = V::load(&self.slope[place]);
                let d = minus(at, position::<V>(self.x, j));
                for k in 0..3 {
                    own[k] = slope.mul_add(d[k], own[k]);
                    let lane = &mut self.gradient[3 * j + k];
                    (V::load(lane) - slope * d[k]).store(lane);
                }
                place += 1;
            }
            add(self.gradient, i, own);
        }
    }
}

#[inline(always)]
pub(super) fn position<V: Vector<Scalar = f64>>(x: &[Lane<f64>], atom: usize) -> [V; 3] {
    [V::load(&x[3 * atom]), V::load(&x[3 * atom + 1]), V::load(&x[3 * atom + 2])]
}

/// From b to a.
#[inline(always)]
pub(super) fn between<V: Vector<Scalar = f64>>(x: &[Lane<f64>], a: usize, b: usize) -> [V; 3] {
    minus(position(x, a), position(x, b))
}

/// Adds `v` to the gradient of an atom.
#[inline(always)]
pub(super) fn add<V: Vector<Scalar = f64>>(gradient: &mut [Lane<f64>], atom: usize, v: [V; 3]) {
    v[0].accumulate(&mut gradient[3 * atom]);
    v[1].accumulate(&mut gradient[3 * atom + 1]);
    v[2].accumulate(&mut gradient[3 * atom + 2]);
}

#[inline(always)]
pub(super) fn minus<V: Vector>(a: [V; 3], b: [V; 3]) -> [V; 3] {
    [a[0] - b[0], a[1] - b[1], a[2] - b[2]]
}

#[inline(always)]
pub(super) fn plus<V: Vector>(a: [V; 3], b: [V; 3]) -> [V; 3] {
    [a[0] + b[0], a[1] + b[1], a[2] + b[2]]
}

#[inline(always)]
pub(super) fn times<V: Vector>(factor: V, a: [V; 3]) -> [V; 3] {
    [factor * a[0], factor * a[1], factor * a[2]]
}

#[inline(always)]
pub(super) fn dot<V: Vector>(a: [V; 3], b: [V; 3]) -> V {
    a[2].mul_add(b[2], a[1].mul_add(b[1], a[0] * b[0]))
}

#[inline(always)]
pub(super) fn cross<V: Vector>(a: [V; 3], b: [V; 3]) -> [V; 3] {
    [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]]
}
