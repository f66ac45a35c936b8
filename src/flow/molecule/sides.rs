//! Mirror images and orders of like atoms: the parts of a molecule's configurations that all have
//! the same energies, and of which the internal coordinates describe one.
//!
//! Four neighbours of an atom keep their side: the sign of the volume that they span. Where none
//! of them are alike, the molecule and its mirror image are apart; where two are alike that hang
//! on nothing else, as hydrogens of a methyl, exchanging them leads to the other side.

use crate::engine::{Lane, Real, Vector};
use crate::flow::rows::{dot, load, store, subtract};
use crate::molecule::{neighbours, signed_volume};

use super::geometry::cross;

/// An atom's four neighbours, in an order in which they span a positive volume in the structure.
type Four = [usize; 4];

/// Which parts there are; configurations in the structure's are in the standard form.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Sides {
    /// Tells mirror images apart; `None` where reflection leads to no other part.
    handed: Option<Four>,
    /// Neighbours of atoms, and the two of them that are exchanged.
    like: Vec<(Four, [usize; 2])>,
}

impl Sides {
    /// Those of a molecule; `species` is empty where all atoms are alike.
    pub fn of(species: &[usize], bonds: &[[usize; 2]], structure: &[f64]) -> Self {
        let alike = |a: usize, b: usize| species.is_empty() || species[a] == species[b];
        let bonded = neighbours(structure.len() / 3, bonds);
        let mut sides = Self { handed: None, like: Vec::new() };
        for around in &bonded {
            let Ok(mut four) = Four::try_from(around.clone()) else { continue };
            if signed_volume(structure, four) < 0.0 {
                four.swap(0, 1);
            }
            let mut pairs = (0..4).flat_map(|b| (0..b).map(move |a| [four[a], four[b]]));
            match pairs.find(|[a, b]| alike(*a, *b)) {
                None => sides.handed = sides.handed.or(Some(four)),
                Some(pair) if pair.iter().all(|&atom| bonded[atom].len() == 1) => {
                    sides.like.push((four, pair));
                }
                Some(_) => {}
            }
        }
        sides
    }

    /// Parts that are drawn with equal probability, as the power of two.
    pub fn bits(&self) -> usize {
        usize::from(self.handed.is_some()) + self.like.len()
    }

    /// Brings x into the standard form; `done` gets, for each bit, 1 where something was changed
    /// and 0 elsewhere.
    #[inline(always)]
    pub fn standardize<V: Vector>(&self, x: &mut [Lane<V::Scalar>], done: &mut [Lane<V::Scalar>]) {
        let (zero, one) = (V::zero(), V::constant(1.0));
        let (first, done) = done.split_at_mut(usize::from(self.handed.is_some()));
        for (four, bit) in self.handed.iter().zip(first) {
            V::select(volume::<V>(x, four).lt(zero), one, zero).store(bit);
            mirror::<V>(x, bit);
        }
        for ((four, pair), bit) in self.like.iter().zip(done) {
            V::select(volume::<V>(x, four).lt(zero), one, zero).store(bit);
            exchange::<V>(x, *pair, bit);
        }
    }

    /// Changes x, or its cotangent, by bits: the inverse of [`standardize`](Self::standardize), and
    /// its own inverse.
    #[inline(always)]
    pub fn change<V: Vector>(&self, x: &mut [Lane<V::Scalar>], bits: &[Lane<V::Scalar>]) {
        let (first, bits) = bits.split_at(usize::from(self.handed.is_some()));
        for bit in first {
            mirror::<V>(x, bit);
        }
        for ((_, pair), bit) in self.like.iter().zip(bits) {
            exchange::<V>(x, *pair, bit);
        }
    }

    /// The standard form of one configuration.
    pub fn standard(&self, x: &mut [f64]) {
        if self.handed.is_some_and(|four| signed_volume(x, four) < 0.0) {
            x.iter_mut().for_each(|x| *x = -*x);
        }
        for (four, [a, b]) in &self.like {
            if signed_volume(x, *four) < 0.0 {
                (0..3).for_each(|axis| x.swap(3 * a + axis, 3 * b + axis));
            }
        }
    }

    /// The bits that a number in [0, 1) begins with, taken away from it.
    pub fn take_bits<T: Real>(bits: &mut [Lane<T>], sample: usize, numbers: &mut [f64; 3]) {
        for (place, bit) in bits.iter_mut().enumerate() {
            let number = &mut numbers[place % 3];
            *number *= 2.0;
            let is_set = *number >= 1.0;
            *number -= f64::from(u8::from(is_set));
            bit.0[sample] = if is_set { T::ONE } else { T::ZERO };
        }
    }
}

/// (a − d)·((b − d) × (c − d)).
#[inline(always)]
fn volume<V: Vector>(x: &[Lane<V::Scalar>], [a, b, c, d]: &Four) -> V {
    let d = load::<V, 3>(x, *d);
    let (a, b, c) = (load(x, *a), load(x, *b), load(x, *c));
    dot(subtract(a, d), cross(subtract(b, d), subtract(c, d)))
}

#[inline(always)]
fn mirror<V: Vector>(x: &mut [Lane<V::Scalar>], bit: &Lane<V::Scalar>) {
    let sign = V::constant(1.0) - V::load(bit) - V::load(bit);
    for x in x {
        (V::load(x) * sign).store(x);
    }
}

#[inline(always)]
fn exchange<V: Vector>(x: &mut [Lane<V::Scalar>], pair: [usize; 2], bit: &Lane<V::Scalar>) {
    let is_set = V::zero().lt(V::load(bit));
    let [a, b] = pair.map(|atom| load::<V, 3>(x, atom));
    let (mut new_a, mut new_b) = (a, b);
    for k in 0..3 {
        new_a[k] = V::select(is_set, b[k], a[k]);
        new_b[k] = V::select(is_set, a[k], b[k]);
    }
    store(new_a, x, pair[0]);
    store(new_b, x, pair[1]);
}
