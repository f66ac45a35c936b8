//! Equivariant vectors from invariant outputs.

use crate::engine::{Lane, Lanes, Vector};
use crate::flow::rows::{add_scaled, dot, load, push, scaled, store, subtract};

use super::pairs::Pairs;

/// v_i = Σ_j φ_ij r_ij + g_i (y_i − ȳ); `scalars` are (φ/ρ, g).
#[inline(always)]
pub(in crate::flow) fn displacement<V: Vector, const D: usize>(
    pairs: &Pairs,
    (phi, g): (Lanes<'_, V>, Lanes<'_, V>),
    centered: &[Lane<V::Scalar>],
    v: &mut [Lane<V::Scalar>],
) {
    let n = g.len();
    for i in 0..n {
        let (g, y) = (V::load(&g[i]), load::<V, D>(centered, i));
        store(scaled(g, y), v, i);
    }
    for i in 0..n {
        let (here, mut total) = (load::<V, D>(centered, i), load::<V, D>(v, i));
        for p in pairs.of_first(i) {
            let phi = V::load(&phi[p]);
            let r = pairs.separation::<V, D>(p, here, centered);
            push(scaled(phi, r), &mut total, v, pairs.other(p));
        }
        store(total, v, i);
    }
}

/// Cotangents that [`displacement_vjp`] adds to.
pub(in crate::flow) struct DisplacementCotangents<'a, T> {
    /// Of φ/ρ, [pairs].
    pub phi: &'a mut [Lane<T>],
    /// Of g, [particles].
    pub g: &'a mut [Lane<T>],
    /// Of y − ȳ, [particles, D].
    pub centered: &'a mut [Lane<T>],
}

/// From the cotangent of v to those of what [`displacement`] made it of.
#[inline(always)]
pub(in crate::flow) fn displacement_vjp<V: Vector, const D: usize>(
    pairs: &Pairs,
    (phi, g): (Lanes<'_, V>, Lanes<'_, V>),
    centered: &[Lane<V::Scalar>],
    v_cotangent: &[Lane<V::Scalar>],
    to: DisplacementCotangents<'_, V::Scalar>,
) {
    for (i, g) in g.iter().enumerate() {
        let (here, there) = (load::<V, D>(v_cotangent, i), load::<V, D>(centered, i));
        dot(here, there).accumulate(&mut to.g[i]);
        let factor = V::load(g);
        let mut total = load::<V, D>(to.centered, i);
        add_scaled(&mut total, &here, factor);
        for p in pairs.of_first(i) {
            let j = pairs.other(p);
            let difference = subtract(here, load::<V, D>(v_cotangent, j));
            let r = pairs.separation::<V, D>(p, there, centered);
            dot(difference, r).accumulate(&mut to.phi[p]);
            let factor = V::load(&phi[p]);
            push(scaled(factor, difference), &mut total, to.centered, j);
        }
        store(total, to.centered, i);
    }
}
