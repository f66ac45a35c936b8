//! exp(±H)·z for the pairwise matrix H, by Taylor steps, and its vector-Jacobian product.
//!
//! (H z)_i = s_i z_i + Σ_j B_ij (z_i − z_j) with B_ij = α_ij I + b_ij r_ij r_ijᵀ and r_ij = y_i −
//! y_j, in a crystal plus the step from site to site. H is symmetric, so the cotangent travels
//! through the same products. The number of Taylor steps follows from a bound on ‖H‖ that does not
//! depend on the direction, sample by sample, so that a round trip stays at rounding whatever the
//! parameters are.
//!
//! A product visits every pair and does little for each, so what counts is what it reads: two
//! numbers of a pair, and r from the particles' positions, which stay in the first-level cache.

use crate::engine::{Arena, Lane, Real, Vector};
use crate::flow::radial::Pairs;
use crate::flow::rows::{dot, load, push, scaled, store, subtract};

/// ‖H‖ that one Taylor step goes at most: longer ones lose digits to terms that cancel.
const LONGEST_STEP: f64 = 2.0;

/// Terms of a Taylor step are as many as bring its remainder ‖H/m‖^(k + 1)/(k + 1)! below 1/(this +
/// 1)!.
#[inline(always)]
fn unit_terms<T: Real>() -> usize {
    if std::mem::size_of::<T>() == 4 {
        9
    } else {
        16
    }
}

/// The terms of the longest step.
#[inline(always)]
fn most_terms<T: Real>() -> usize {
    if std::mem::size_of::<T>() == 4 {
        13
    } else {
        22
    }
}

/// More steps than this are never taken; it is reached only where exp(H) would overflow.
const MAX_STEPS: usize = 16;

/// The matrix H of a tile of samples in D dimensions, by its parts.
pub(super) struct PairMatrix<'a, T, const D: usize> {
    pub pairs: &'a Pairs,
    /// s_i, [particles].
    pub diagonal: &'a [Lane<T>],
    /// α_ij, [pairs], i < j.
    pub isotropic: &'a [Lane<T>],
    /// b_ij, [pairs].
    pub radial: &'a [Lane<T>],
    /// y_i up to a shift, [particles, D].
    pub position: &'a [Lane<T>],
}

/// ∂L/∂(parts of H), added to.
pub(super) struct PairMatrixCotangent<'a, T> {
    pub diagonal: &'a mut [Lane<T>],
    pub isotropic: &'a mut [Lane<T>],
    pub radial: &'a mut [Lane<T>],
    pub position: &'a mut [Lane<T>],
}

/// What [`PairMatrix::exponential`] works in: matrices [particles, D].
pub(super) struct Scratch<'a, T> {
    term: &'a mut [Lane<T>],
    next: &'a mut [Lane<T>],
}

impl<'a, T: Real> Scratch<'a, T> {
    #[inline(always)]
    pub fn take(arena: &mut Arena<'a, T>, width: usize) -> Self {
        Self { term: arena.take(width), next: arena.take(width) }
    }
}

/// What [`PairMatrix::exponential_vjp`] works in besides [`Scratch`].
pub(super) struct Series<'a, T> {
    /// The terms of a Taylor step and their scaled cotangents, [terms, particles, D].
    terms: &'a mut [Lane<T>],
    cotangents: &'a mut [Lane<T>],
    /// Where each step starts, [steps, particles, D].
    starts: &'a mut [Lane<T>],
}

impl<'a, T: Real> Series<'a, T> {
    /// For the most steps and terms that there may be.
    pub fn take_longest(arena: &mut Arena<'a, T>, width: usize) -> Self {
        Self::take(arena, width, MAX_STEPS, most_terms::<T>())
    }

    #[inline(always)]
    fn take(arena: &mut Arena<'a, T>, width: usize, steps: usize, terms: usize) -> Self {
        Self {
            terms: arena.take(terms * width),
            cotangents: arena.take(terms * width),
            starts: arena.take(steps * width),
        }
    }
}

/// How far one Taylor step goes: the same for every use of one H.
struct Steps<V> {
    /// Steps of each sample, and the largest of them.
    count: V,
    most: usize,
    /// Terms of each sample's step, and the largest of them.
    terms: V,
    most_terms: usize,
    /// sign/steps.
    size: V,
}

impl<V: Vector> Steps<V> {
    /// What term `k` of step `step` multiplies H with: nothing for samples that are done.
    #[inline(always)]
    fn factor(&self, step: usize, k: usize) -> V {
        let factor = self.size * V::constant(1.0 / k as f64);
        let factor = V::select(V::constant(k as f64 - 0.5).lt(self.terms), factor, V::zero());
        V::select(V::constant(step as f64).lt(self.count), factor, V::zero())
    }
}

/// The largest of a tile's numbers.
#[inline(always)]
fn largest<V: Vector>(v: V) -> f64 {
    let mut lanes = Lane::zero();
    v.store(&mut lanes);
    lanes.0.iter().fold(0.0, |most: f64, v| most.max(v.to_f64()))
}

impl<T: Real, const D: usize> PairMatrix<'_, T, D> {
    /// tr H = Σ_i d s_i + 2 Σ_{i<j} (d α_ij + b_ij ‖r_ij‖²).
    #[inline(always)]
    pub fn trace<V: Vector<Scalar = T>>(&self) -> V {
        let d = V::constant(D as f64);
        let mut nodes = V::zero();
        for s in self.diagonal {
            nodes += V::load(s);
        }
        let (mut isotropic, mut radial) = (V::zero(), V::zero());
        for i in 0..self.pairs.particles {
            let here = load::<V, D>(self.position, i);
            for p in self.pairs.of_first(i) {
                let r = self.pairs.separation::<V, D>(p, here, self.position);
                isotropic += V::load(&self.isotropic[p]);
                radial = V::load(&self.radial[p]).mul_add(dot(r, r), radial);
            }
        }
        let pairs = d * isotropic + radial;
        d * nodes + (pairs + pairs)
    }

    /// Adds ∂(cotangent · tr H)/∂(parts).
    #[inline(always)]
    pub fn trace_vjp<V: Vector<Scalar = T>>(
        &self,
        cotangent: V,
        to: &mut PairMatrixCotangent<'_, T>,
    ) {
        let one = cotangent * V::constant(D as f64);
        for s in to.diagonal.iter_mut() {
            one.accumulate(s);
        }
        let two = cotangent + cotangent;
        for i in 0..self.pairs.particles {
            let here = load::<V, D>(self.position, i);
            let mut total = load::<V, D>(to.position, i);
            for p in self.pairs.of_first(i) {
                let r = self.pairs.separation::<V, D>(p, here, self.position);
                (one + one).accumulate(&mut to.isotropic[p]);
                (two * dot(r, r)).accumulate(&mut to.radial[p]);
                let factor = (two + two) * V::load(&self.radial[p]);
                push(scaled(factor, r), &mut total, to.position, self.pairs.other(p));
            }
            store(total, to.position, i);
        }
    }

    /// Steps from ‖H‖ ≤ max|s| + 2 max_i Σ_j (|α_ij| + |b_ij| ‖r_ij‖²).
    #[inline(always)]
    fn steps<V: Vector<Scalar = T>>(&self, sign: f64, rows: &mut [Lane<T>]) -> Steps<V> {
        self.bounds::<V>(rows);
        let mut bound = V::zero();
        for row in rows.iter().take(self.pairs.particles) {
            bound = V::load(row).max(bound);
        }
        // The number of steps is the bound over the longest step, rounded up, sample by sample.
        let mut count = V::constant(1.0);
        let most = ((largest(bound) / LONGEST_STEP).ceil() as usize).clamp(1, MAX_STEPS);
        for k in 1..most {
            let more = V::constant(LONGEST_STEP * k as f64).lt(bound);
            count = V::select(more, V::constant((k + 1) as f64), count);
        }
        let norm = bound / count;
        let (mut terms, mut remainder) = (V::constant(1.0), norm);
        let enough = (2..=unit_terms::<T>() + 1).fold(1.0, |product, k| product / k as f64);
        let enough = V::constant(enough);
        for k in 1..most_terms::<T>() {
            // ‖H/m‖^(k + 1)/(k + 1)!
            remainder = remainder * norm * V::constant(1.0 / (k + 1) as f64);
            terms = V::select(enough.lt(remainder), V::constant((k + 1) as f64), terms);
        }
        // A count is of one step, with the terms that ‖H‖ = 1 needs, as in trained flows.
        let most_terms = if V::COUNTS { unit_terms::<T>() } else { largest(terms) as usize };
        Steps { count, most, terms, most_terms, size: V::constant(sign) / count }
    }

    /// Per particle |s_i| + 2 Σ_j (|α_ij| + |b_ij| ‖r_ij‖²).
    #[inline(always)]
    fn bounds<V: Vector<Scalar = T>>(&self, rows: &mut [Lane<T>]) {
        for (row, s) in rows.iter_mut().zip(self.diagonal) {
            V::load(s).abs().store(row);
        }
        for i in 0..self.pairs.particles {
            let here = load::<V, D>(self.position, i);
            for p in self.pairs.of_first(i) {
                let r = self.pairs.separation::<V, D>(p, here, self.position);
                let radial = V::load(&self.radial[p]).abs();
                let b = radial.mul_add(dot(r, r), V::load(&self.isotropic[p]).abs());
                let b = b + b;
                b.accumulate(&mut rows[i]);
                b.accumulate(&mut rows[self.pairs.other(p)]);
            }
        }
    }

    /// `out` = H·z.
    #[inline(always)]
    fn product<V: Vector<Scalar = T>>(&self, z: &[Lane<T>], out: &mut [Lane<T>]) {
        for ((out, z), s) in out.chunks_exact_mut(D).zip(z.chunks_exact(D)).zip(self.diagonal) {
            let s = V::load(s);
            for (out, z) in out.iter_mut().zip(z) {
                (s * V::load(z)).store(out);
            }
        }
        for i in 0..self.pairs.particles {
            let (z_here, y_here) = (load::<V, D>(z, i), load::<V, D>(self.position, i));
            let mut total = load::<V, D>(out, i);
            for p in self.pairs.of_first(i) {
                let j = self.pairs.other(p);
                let dz = subtract(z_here, load::<V, D>(z, j));
                let r = self.pairs.separation::<V, D>(p, y_here, self.position);
                let alpha = V::load(&self.isotropic[p]);
                let along = V::load(&self.radial[p]) * dot(r, dz);
                push(combined(along, r, alpha, dz), &mut total, out, j);
            }
            store(total, out, i);
        }
    }

    /// z ← exp(sign·H)·z.
    #[inline(always)]
    pub fn exponential<V: Vector<Scalar = T>>(
        &self,
        sign: f64,
        z: &mut [Lane<T>],
        mut arena: Arena<'_, T>,
    ) {
        let Scratch { term, next } = Scratch::take(&mut arena, z.len());
        let steps = self.steps::<V>(sign, term);
        for step in 0..steps.most {
            self.step::<V>(&steps, step, z, term, next);
        }
    }

    /// One Taylor step of the samples that have not done all of theirs.
    #[inline(always)]
    fn step<V: Vector<Scalar = T>>(
        &self,
        steps: &Steps<V>,
        step: usize,
        z: &mut [Lane<T>],
        term: &mut [Lane<T>],
        next: &mut [Lane<T>],
    ) {
        term.copy_from_slice(z);
        for k in 1..=steps.most_terms {
            self.product::<V>(term, next);
            let factor = steps.factor(step, k);
            for ((next, term), z) in next.iter().zip(term.iter_mut()).zip(z.iter_mut()) {
                let t = V::load(next) * factor;
                t.store(term);
                t.accumulate(z);
            }
        }
    }

    /// The vector-Jacobian product of [`exponential`](Self::exponential): `z` is its input,
    /// `cotangent` ∂L/∂output on entry and ∂L/∂input on return.
    #[inline(always)]
    pub fn exponential_vjp<V: Vector<Scalar = T>>(
        &self,
        sign: f64,
        z: &[Lane<T>],
        cotangent: &mut [Lane<T>],
        to: &mut PairMatrixCotangent<'_, T>,
        mut arena: Arena<'_, T>,
    ) {
        let width = z.len();
        let Scratch { term, next } = Scratch::take(&mut arena, width);
        let steps = self.steps::<V>(sign, term);
        let series = Series::take(&mut arena, width, steps.most, steps.most_terms);
        let Series { terms, cotangents, starts } = series;
        starts[..width].copy_from_slice(z);
        for step in 1..steps.most {
            let (done, rest) = starts.split_at_mut(step * width);
            rest[..width].copy_from_slice(&done[(step - 1) * width..]);
            self.step::<V>(&steps, step - 1, &mut rest[..width], term, next);
        }
        let term_cotangent = term;
        for step in (0..steps.most).rev() {
            // The terms t_k of this step again …
            terms[..width].copy_from_slice(&starts[step * width..(step + 1) * width]);
            for k in 1..steps.most_terms {
                let (done, rest) = terms.split_at_mut(k * width);
                self.product::<V>(&done[(k - 1) * width..], &mut rest[..width]);
                let factor = steps.size * V::constant(1.0 / k as f64);
                for t in &mut rest[..width] {
                    (V::load(t) * factor).store(t);
                }
            }
            // … and back through them: t̄_k = ō + H t̄_{k+1}·(sign/(m(k+1))), ō being the cotangent
            // of the step's output and t̄ of the last term.
            term_cotangent.copy_from_slice(cotangent);
            for (k, scaled) in cotangents.chunks_exact_mut(width).enumerate().rev() {
                let factor = steps.factor(step, k + 1);
                for (t, scaled) in term_cotangent.iter().zip(scaled.iter_mut()) {
                    (V::load(t) * factor).store(scaled);
                }
                self.product::<V>(scaled, next);
                let sums = next.iter().zip(cotangent.iter());
                for (t, (next, o)) in term_cotangent.iter_mut().zip(sums) {
                    (V::load(next) + V::load(o)).store(t);
                }
            }
            self.parts_vjp::<V>(terms, cotangents, to);
            cotangent.copy_from_slice(term_cotangent);
        }
    }

    /// `to` += ∂L/∂(parts of H), where L = Σ_k t̄_kᵀ H z_k: every pair is visited once, for all k.
    #[inline(always)]
    fn parts_vjp<V: Vector<Scalar = T>>(
        &self,
        z: &[Lane<T>],
        cotangents: &[Lane<T>],
        to: &mut PairMatrixCotangent<'_, T>,
    ) {
        let width = self.pairs.particles * D;
        let two = V::constant(2.0);
        for i in 0..self.pairs.particles {
            let mut sum = V::load(&to.diagonal[i]);
            for (z, t) in z.chunks_exact(width).zip(cotangents.chunks_exact(width)) {
                sum += dot(load::<V, D>(z, i), load::<V, D>(t, i));
            }
            sum.store(&mut to.diagonal[i]);

            let here = load::<V, D>(self.position, i);
            let mut total = load::<V, D>(to.position, i);
            for p in self.pairs.of_first(i) {
                let j = self.pairs.other(p);
                // Σ_k (z_i − z_j)(t̄_i − t̄_j)ᵀ and its transpose: the diagonal of the first, the
                // other entries of the sum of both.
                let mut moment = [[V::zero(); D]; D];
                for (z, t) in z.chunks_exact(width).zip(cotangents.chunks_exact(width)) {
                    let dz = subtract(load::<V, D>(z, i), load::<V, D>(z, j));
                    let dt = subtract(load::<V, D>(t, i), load::<V, D>(t, j));
                    for a in 0..D {
                        moment[a][a] = dz[a].mul_add(dt[a], moment[a][a]);
                        for b in a + 1..D {
                            let turn = dz[a].mul_add(dt[b], moment[a][b]);
                            moment[a][b] = dz[b].mul_add(dt[a], turn);
                        }
                    }
                }
                let r = self.pairs.separation::<V, D>(p, here, self.position);
                let (mut trace, mut turned) = (V::zero(), [V::zero(); D]);
                for a in 0..D {
                    trace += moment[a][a];
                    turned[a] = r[a] * moment[a][a] * two;
                }
                for a in 0..D {
                    for b in a + 1..D {
                        turned[a] = moment[a][b].mul_add(r[b], turned[a]);
                        turned[b] = moment[a][b].mul_add(r[a], turned[b]);
                    }
                }
                trace.accumulate(&mut to.isotropic[p]);
                (dot(r, turned) * V::constant(0.5)).accumulate(&mut to.radial[p]);
                let beta = V::load(&self.radial[p]);
                push(scaled(beta, turned), &mut total, to.position, j);
            }
            store(total, to.position, i);
        }
    }
}

/// a·x + b·y.
#[inline(always)]
fn combined<V: Vector, const D: usize>(a: V, mut x: [V; D], b: V, y: [V; D]) -> [V; D] {
    for (x, y) in x.iter_mut().zip(y) {
        *x = a.mul_add(*x, b * y);
    }
    x
}
