//! Equivariant vectors from invariant outputs.

use crate::engine::{Lane, Lanes, Vector};
use crate::flow::rows::{add_scaled, dot, load, push, scaled, store, subtract};

/// v_i = Σ_j φ_ij r_ij + g_i (y_i − ȳ); `scalars` are (φ/ρ, g).
#[inline(always)]
pub(in crate::flow) fn displacement<V: Vector, const D: usize>(
    (phi, g): (Lanes<'_, V>, Lanes<'_, V>),
    centered: &[Lane<V::Scalar>],
    v: &mut [Lane<V::Scalar>],
) {
    let n = g.len();
    for i in 0..n {
        let (g, y) = (V::load(&g[i]), load::<V, D>(centered, i));
        store(scaled(g, y), v, i);
    }
    let mut p = 0;
    for i in 0..n {
        let (here, mut total) = (load::<V, D>(centered, i), load::<V, D>(v, i));
        for j in i + 1..n {
            let phi = V::load(&phi[p]);
            let r = subtract(here, load::<V, D>(centered, j));
            push(scaled(phi, r), &mut total, v, j);
            p += 1;
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
    (phi, g): (Lanes<'_, V>, Lanes<'_, V>),
    centered: &[Lane<V::Scalar>],
    v_cotangent: &[Lane<V::Scalar>],
    to: DisplacementCotangents<'_, V::Scalar>,
) {
    let n = g.len();
    let mut p = 0;
    for (i, g) in g.iter().enumerate() {
        let (here, there) = (load::<V, D>(v_cotangent, i), load::<V, D>(centered, i));
        dot(here, there).accumulate(&mut to.g[i]);
        let factor = V::load(g);
        let mut total = load::<V, D>(to.centered, i);
        add_scaled(&mut total, &here, factor);
        for j in i + 1..n {
            let difference = subtract(here, load::<V, D>(v_cotangent, j));
            let r = subtract(there, load::<V, D>(centered, j));
            dot(difference, r).accumulate(&mut to.phi[p]);
            let factor = V::load(&phi[p]);
            push(scaled(factor, difference), &mut total, to.centered, j);
            p += 1;
        }
        store(total, to.centered, i);
    }
}
