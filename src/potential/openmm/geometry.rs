//! Bond angles and dihedral angles, and gradients by them.

use super::tile::{add, between, cross, dot, minus, plus, times, Tile};
use crate::engine::{angle, Vector};

/// Atoms on a line have no gradient of their angle; sines are not taken to be smaller than this.
const SMALLEST_AREA: f64 = 1e-6;

/// The angle at the atom b between a and c.
pub(super) struct Angle<V> {
    atoms: [usize; 3],
    u: [V; 3],
    v: [V; 3],
    along: V,
    area: V,
    squares: [V; 2],
}

impl<V: Vector<Scalar = f64>> Angle<V> {
    #[inline(always)]
    pub fn of(tile: &Tile<'_>, atoms: [usize; 3]) -> Self {
        let [a, b, c] = atoms;
        let (u, v) = (between::<V>(tile.x, a, b), between::<V>(tile.x, c, b));
        let normal = cross(u, v);
        let area = dot(normal, normal).sqrt().max(V::constant(SMALLEST_AREA));
        Self { atoms, u, v, along: dot(u, v), area, squares: [dot(u, u), dot(v, v)] }
    }

    /// In [0, π].
    #[inline(always)]
    pub fn value(&self) -> V {
        angle(self.along, self.area, (self.squares[0] * self.squares[1]).sqrt())
    }

    /// Adds the gradient where ∂U/∂θ is `torque`:
    /// ∂θ/∂a = ((u·v) u/u² − v) / |u × v|, u and v from b to a and c.
    #[inline(always)]
    pub fn pull(&self, tile: &mut Tile<'_>, torque: V) {
        let [a, b, c] = self.atoms;
        let turn = torque * self.area.reciprocal();
        let on_a =
            times(turn, minus(times(self.along * self.squares[0].reciprocal(), self.u), self.v));
        let on_c =
            times(turn, minus(times(self.along * self.squares[1].reciprocal(), self.v), self.u));
        add(tile.gradient, a, on_a);
        add(tile.gradient, c, on_c);
        add(tile.gradient, b, times(V::constant(-1.0), plus(on_a, on_c)));
    }
}

/// The dihedral angle a–b–c–d: 0 where a and d are on the same side, positive where d is turned
/// clockwise as seen along the axis from b to c.
pub(super) struct Dihedral<V> {
    atoms: [usize; 4],
    m: [V; 3],
    n: [V; 3],
    squares: [V; 2],
    axis_squared: V,
    length: V,
    along: [V; 2],
    /// |m| |n| cos φ and |m| |n| sin φ.
    front: V,
    side: V,
}

impl<V: Vector<Scalar = f64>> Dihedral<V> {
    #[inline(always)]
    pub fn of(tile: &Tile<'_>, atoms: [usize; 4]) -> Self {
        let [a, b, c, d] = atoms;
        let first = between::<V>(tile.x, b, a);
        let axis = between::<V>(tile.x, c, b);
        let last = between::<V>(tile.x, d, c);
        let (m, n) = (cross(first, axis), cross(axis, last));
        let axis_squared = dot(axis, axis);
        let length = axis_squared.sqrt();
        Self {
            atoms,
            m,
            n,
            squares: [dot(m, m), dot(n, n)],
            axis_squared,
            length,
            along: [dot(first, axis), dot(last, axis)],
            front: dot(m, n),
            side: length * dot(first, n),
        }
    }

    /// cos φ and sin φ.
    #[inline(always)]
    pub fn cos_sin(&self) -> (V, V) {
        let inverse = (self.squares[0] * self.squares[1]).inverse_sqrt();
        (self.front * inverse, self.side * inverse)
    }

    /// In [−π, π].
    #[inline(always)]
    pub fn value(&self) -> V {
        angle(self.front, self.side, (self.squares[0] * self.squares[1]).sqrt())
    }

    /// Adds the gradient where ∂U/∂φ is `torque`, as in Blondel and Karplus, J. Comput. Chem. 17,
    /// 1132 (1996).
    #[inline(always)]
    pub fn pull(&self, tile: &mut Tile<'_>, torque: V) {
        let [a, b, c, d] = self.atoms;
        let lever = torque * self.length;
        let on_a = times(-(lever * self.squares[0].reciprocal()), self.m);
        let on_d = times(lever * self.squares[1].reciprocal(), self.n);
        let turn = self.axis_squared.reciprocal();
        let (p, q) = (self.along[0] * turn, self.along[1] * turn);
        let between = minus(times(p, on_a), times(q, on_d));
        add(tile.gradient, a, on_a);
        add(tile.gradient, d, on_d);
        add(tile.gradient, b, times(V::constant(-1.0), plus(on_a, between)));
        add(tile.gradient, c, minus(between, on_d));
    }
}
