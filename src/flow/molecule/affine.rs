//! Stiff coordinates given the dihedral angles that turn: q = m + W f(τ) + L z.
//!
//! f are sines and cosines of the angles and products of those of neighbouring bonds, L is lower
//! triangular. All three come from a fit to samples and are not trained: layers learn what is left.

use crate::engine::{matrix_product, sin_cos, Arena, Lane, Real, Vector};
use crate::flow::{Block, ParameterLayout};

use super::geometry::{wrapped, Coordinates};

/// Multiples of an angle whose sines and cosines are features.
const HARMONICS: usize = 3;

/// The map, with its parameters.
#[derive(Debug, Clone)]
pub(super) struct Affine {
    /// Dihedral angles that turn, and stiff coordinates.
    soft: usize,
    stiff: usize,
    is_turn: Vec<bool>,
    /// Dihedral angles whose bonds have an atom in common.
    neighbours: Vec<[usize; 2]>,
    pub mean: Block,
    pub regression: Block,
    pub factor: Block,
}

impl Affine {
    /// Starts at the structure's coordinates, with widths that are usual at room temperature.
    pub fn new(coordinates: &Coordinates, structure: &[f64], layout: &mut ParameterLayout) -> Self {
        let (soft, stiff) = (coordinates.soft.len(), coordinates.is_turn.len());
        let mut neighbours = Vec::new();
        for (j, b) in coordinates.soft.iter().enumerate() {
            for (i, a) in coordinates.soft[..j].iter().enumerate() {
                if a.iter().any(|atom| b.contains(atom)) {
                    neighbours.push([i, j]);
                }
            }
        }
        let features = 2 * HARMONICS * soft + 4 * neighbours.len();
        let mut widths = vec![0.1; stiff];
        coordinates.steps.iter().for_each(|step| widths[step.length - soft] = 0.04);
        let mut factor = vec![0.0; stiff * stiff];
        widths.iter().enumerate().for_each(|(k, width)| factor[k * (stiff + 1)] = *width);
        let mean = structure[soft..].to_vec();
        Self {
            soft,
            stiff,
            is_turn: coordinates.is_turn.clone(),
            neighbours,
            mean: layout.fitted("mean", &[stiff], mean),
            regression: layout.fitted(
                "regression",
                &[stiff, features],
                vec![0.0; stiff * features],
            ),
            factor: layout.fitted("factor", &[stiff, stiff], factor),
        }
    }

    pub fn features(&self) -> usize {
        self.regression.columns()
    }

    /// log |det L|.
    pub fn log_determinant<T: Real>(&self, theta: &[T]) -> f64 {
        let diagonal = self.factor.of(theta).iter().step_by(self.stiff + 1);
        diagonal.map(|l| l.to_f64().abs().ln()).sum()
    }

    /// The features of dihedral angles, in f64.
    pub fn features_of(&self, soft: &[f64]) -> Vec<f64> {
        let mut features = Vec::with_capacity(self.features());
        for angle in soft {
            for k in 1..=HARMONICS {
                let (sine, cosine) = (k as f64 * angle).sin_cos();
                features.extend([sine, cosine]);
            }
        }
        for [a, b] in &self.neighbours {
            let [a, b] = [a, b].map(|k| soft[*k].sin_cos());
            features.extend([a.0 * b.0, a.0 * b.1, a.1 * b.0, a.1 * b.1]);
        }
        features
    }

    /// From z to q, in place; angles before them stay. States are [coordinates, tiles].
    #[inline(always)]
    pub fn forward<V: Vector>(
        &self,
        theta: &[V::Scalar],
        state: &mut [Lane<V::Scalar>],
        tiles: usize,
        mut arena: Arena<'_, V::Scalar>,
    ) {
        let (soft, stiff) = state.split_at_mut(self.soft * tiles);
        let features = arena.take(self.features() * tiles);
        self.write_features::<V>(soft, features, tiles);
        let normal = arena.take(self.stiff * tiles);
        normal.copy_from_slice(stiff);
        matrix_product::<V>(self.factor.matrix(theta), normal, stiff, tiles, false);
        matrix_product::<V>(self.regression.matrix(theta), features, stiff, tiles, true);
        for (row, mean) in stiff.chunks_exact_mut(tiles).zip(self.mean.of(theta)) {
            for lane in row {
                V::splat(*mean).accumulate(lane);
            }
        }
    }

    /// From q to z, in place.
    #[inline(always)]
    pub fn inverse<V: Vector>(
        &self,
        theta: &[V::Scalar],
        state: &mut [Lane<V::Scalar>],
        tiles: usize,
        mut arena: Arena<'_, V::Scalar>,
    ) {
        let (soft, stiff) = state.split_at_mut(self.soft * tiles);
        let features = arena.take(self.features() * tiles);
        self.write_features::<V>(soft, features, tiles);
        let expected = arena.take(self.stiff * tiles);
        matrix_product::<V>(self.regression.matrix(theta), features, expected, tiles, false);
        let (mean, factor) = (self.mean.of(theta), self.factor.of(theta));
        for i in 0..self.stiff {
            let row = &factor[i * self.stiff..][..=i];
            for tile in 0..tiles {
                let at = i * tiles + tile;
                let mut rest = V::load(&stiff[at]) - V::splat(mean[i]) - V::load(&expected[at]);
                if self.is_turn[i] {
                    rest = wrapped(wrapped(rest));
                }
                for (j, l) in row[..i].iter().enumerate() {
                    rest = (-V::splat(*l)).mul_add(V::load(&stiff[j * tiles + tile]), rest);
                }
                (rest / V::splat(row[i])).store(&mut stiff[at]);
            }
        }
    }

    /// From the cotangent of what [`forward`](Self::forward) returns to that of what it was given,
    /// in place; `soft` are the angles.
    #[inline(always)]
    pub fn forward_vjp<V: Vector>(
        &self,
        theta: &[V::Scalar],
        soft: &[Lane<V::Scalar>],
        cotangent: &mut [Lane<V::Scalar>],
        tiles: usize,
        mut arena: Arena<'_, V::Scalar>,
    ) {
        let (to_soft, to_stiff) = cotangent.split_at_mut(self.soft * tiles);
        let to_features = arena.take(self.features() * tiles);
        let regression = self.regression.matrix(theta).transposed();
        matrix_product::<V>(regression, to_stiff, to_features, tiles, false);
        self.features_vjp::<V>(soft, to_features, to_soft, tiles);
        let outer = arena.take(self.stiff * tiles);
        outer.copy_from_slice(to_stiff);
        let factor = self.factor.matrix(theta).transposed();
        matrix_product::<V>(factor, outer, to_stiff, tiles, false);
    }

    /// The same of [`inverse`](Self::inverse).
    #[inline(always)]
    pub fn inverse_vjp<V: Vector>(
        &self,
        theta: &[V::Scalar],
        soft: &[Lane<V::Scalar>],
        cotangent: &mut [Lane<V::Scalar>],
        tiles: usize,
        mut arena: Arena<'_, V::Scalar>,
    ) {
        let (to_soft, to_stiff) = cotangent.split_at_mut(self.soft * tiles);
        let factor = self.factor.of(theta);
        for i in (0..self.stiff).rev() {
            let row = &factor[i * self.stiff..][..=i];
            for tile in 0..tiles {
                let own = V::load(&to_stiff[i * tiles + tile]) / V::splat(row[i]);
                own.store(&mut to_stiff[i * tiles + tile]);
                for (to, l) in to_stiff[tile..i * tiles + tile].iter_mut().step_by(tiles).zip(row) {
                    (-own * V::splat(*l)).accumulate(to);
                }
            }
        }
        let to_features = arena.take(self.features() * tiles);
        let regression = self.regression.matrix(theta).transposed();
        matrix_product::<V>(regression, to_stiff, to_features, tiles, false);
        for lane in to_features.iter_mut() {
            (-V::load(lane)).store(lane);
        }
        self.features_vjp::<V>(soft, to_features, to_soft, tiles);
    }

    /// Takes what the functions work in.
    pub fn take_scratch<T: Real>(&self, tiles: usize, mut arena: Arena<'_, T>) {
        arena.take((self.features() + self.stiff) * tiles);
    }

    #[inline(always)]
    fn write_features<V: Vector>(
        &self,
        soft: &[Lane<V::Scalar>],
        features: &mut [Lane<V::Scalar>],
        tiles: usize,
    ) {
        let two = V::constant(2.0);
        let rows = 2 * HARMONICS * tiles;
        let (single, products) = features.split_at_mut(rows * self.soft);
        for (soft, rows) in soft.chunks_exact(tiles).zip(single.chunks_exact_mut(rows)) {
            for (tile, soft) in soft.iter().enumerate() {
                let (sine, cosine) = sin_cos(V::load(soft));
                let (mut last, mut now) = ([V::zero(), V::constant(1.0)], [sine, cosine]);
                for row in rows.chunks_exact_mut(2 * tiles) {
                    now[0].store(&mut row[tile]);
                    now[1].store(&mut row[tiles + tile]);
                    // sin and cos of (k + 1)τ are 2 cos τ times those of kτ less those of
                    // (k − 1)τ.
                    let twice = two * cosine;
                    let next = [twice * now[0] - last[0], twice * now[1] - last[1]];
                    (last, now) = (now, next);
                }
            }
        }
        for ([a, b], rows) in self.neighbours.iter().zip(products.chunks_exact_mut(4 * tiles)) {
            for tile in 0..tiles {
                for i in 0..2 {
                    for j in 0..2 {
                        let a = V::load(&single[(2 * HARMONICS * a + i) * tiles + tile]);
                        let b = V::load(&single[(2 * HARMONICS * b + j) * tiles + tile]);
                        (a * b).store(&mut rows[(2 * i + j) * tiles + tile]);
                    }
                }
            }
        }
    }

    #[inline(always)]
    fn features_vjp<V: Vector>(
        &self,
        soft: &[Lane<V::Scalar>],
        to_features: &mut [Lane<V::Scalar>],
        to_soft: &mut [Lane<V::Scalar>],
        tiles: usize,
    ) {
        let rows = 2 * HARMONICS * tiles;
        let (single, products) = to_features.split_at_mut(rows * self.soft);
        for ([a, b], rows) in self.neighbours.iter().zip(products.chunks_exact(4 * tiles)) {
            for tile in 0..tiles {
                let of_a = sin_cos(V::load(&soft[a * tiles + tile]));
                let of_b = sin_cos(V::load(&soft[b * tiles + tile]));
                let (of_a, of_b) = ([of_a.0, of_a.1], [of_b.0, of_b.1]);
                for i in 0..2 {
                    for j in 0..2 {
                        let row = V::load(&rows[(2 * i + j) * tiles + tile]);
                        let at =
                            |angle: usize, k: usize| (2 * HARMONICS * angle + k) * tiles + tile;
                        (row * of_b[j]).accumulate(&mut single[at(*a, i)]);
                        (row * of_a[i]).accumulate(&mut single[at(*b, j)]);
                    }
                }
            }
        }
        let two = V::constant(2.0);
        let angles = soft.chunks_exact(tiles).zip(to_soft.chunks_exact_mut(tiles));
        for ((soft, to), rows) in angles.zip(single.chunks_exact(rows)) {
            for tile in 0..tiles {
                let (sine, cosine) = sin_cos(V::load(&soft[tile]));
                let (mut last, mut now) = ([V::zero(), V::constant(1.0)], [sine, cosine]);
                for (k, row) in rows.chunks_exact(2 * tiles).enumerate() {
                    let (to_sine, to_cosine) = (V::load(&row[tile]), V::load(&row[tiles + tile]));
                    let slope = now[1] * to_sine - now[0] * to_cosine;
                    (slope * V::constant((k + 1) as f64)).accumulate(&mut to[tile]);
                    let twice = two * cosine;
                    let next = [twice * now[0] - last[0], twice * now[1] - last[1]];
                    (last, now) = (now, next);
                }
            }
        }
    }
}
