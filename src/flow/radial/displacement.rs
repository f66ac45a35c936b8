//! Equivariant vectors from invariant outputs.

use super::RadialConditioner;
use crate::engine::{Lane, Vector};
use crate::flow::rows::{dot, load, push, scaled, store, subtract};

/// v_i = Σ_j φ_ij r_ij + g_i (y_i − ȳ); `scalars` are (φ/ρ, g).
#[inline(always)]
pub(in crate::flow) fn displacement<V: Vector>(
    conditioner: &RadialConditioner,
    scalars: (&[Lane<V::Scalar>], &[Lane<V::Scalar>]),
    centered: &[Lane<V::Scalar>],
    v: &mut [Lane<V::Scalar>],
) {
    match conditioner.dimension {
        2 => displacement_in::<V, 2>(scalars, centered, v),
        _ => displacement_in::<V, 3>(scalars, centered, v),
    }
}

#[inline(always)]
fn displacement_in<V: Vector, const D: usize>(
    (phi, g): (&[Lane<V::Scalar>], &[Lane<V::Scalar>]),
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

type Cotangents<'a, T> = (&'a mut [Lane<T>], &'a mut [Lane<T>], &'a mut [Lane<T>]);

/// With `back` = ∂L/∂v, adds to the cotangents of φ/ρ, g and y − ȳ.
#[inline(always)]
pub(in crate::flow) fn displacement_vjp<V: Vector>(
    conditioner: &RadialConditioner,
    scalars: (&[Lane<V::Scalar>], &[Lane<V::Scalar>]),
    centered: &[Lane<V::Scalar>],
    back: &[Lane<V::Scalar>],
    to: Cotangents<'_, V::Scalar>,
) {
    match conditioner.dimension {
        2 => displacement_vjp_in::<V, 2>(scalars, centered, back, to),
        _ => displacement_vjp_in::<V, 3>(scalars, centered, back, to),
    }
}

#[inline(always)]
fn displacement_vjp_in<V: Vector, const D: usize>(
    (phi, g): (&[Lane<V::Scalar>], &[Lane<V::Scalar>]),
    centered: &[Lane<V::Scalar>],
    back: &[Lane<V::Scalar>],
    to: Cotangents<'_, V::Scalar>,
) {
    let n = g.len();
    let (to_phi, to_g, to_centered) = to;
    let mut p = 0;
    for i in 0..n {
        let (here, there) = (load::<V, D>(back, i), load::<V, D>(centered, i));
        dot(here, there).accumulate(&mut to_g[i]);
        let factor = V::load(&g[i]);
        let mut total = load::<V, D>(to_centered, i);
        for k in 0..D {
            total[k] = here[k].mul_add(factor, total[k]);
        }
        for j in i + 1..n {
            let difference = subtract(here, load::<V, D>(back, j));
            let r = subtract(there, load::<V, D>(centered, j));
            dot(difference, r).accumulate(&mut to_phi[p]);
            let factor = V::load(&phi[p]);
            push(scaled(factor, difference), &mut total, to_centered, j);
            p += 1;
        }
        store(total, to_centered, i);
    }
}
