//! exp(±H)·z for the pairwise matrix H, by Taylor steps, and its vector-Jacobian product.
//!
//! (H z)_i = s_i z_i + Σ_j B_ij (z_i − z_j) with B_ij = α_ij I + β_ij u_ij u_ijᵀ. H is symmetric, so
//! the cotangent travels through the same products. The number of Taylor steps follows from a bound
//! on ‖H‖ that does not depend on the direction, sample by sample, so that a round trip stays at
//! rounding whatever the parameters are.

use crate::engine::{Arena, Lane, Real, Vector};

/// Terms of one Taylor step: with ‖H/m‖ ≤ 1 the remainder is under 1/(terms + 1)!.
#[inline(always)]
fn taylor_terms<T: Real>() -> usize {
    if std::mem::size_of::<T>() == 4 {
        9
    } else {
        16
    }
}

/// More steps than this are never taken; it is reached only where exp(H) would overflow.
const MAX_STEPS: usize = 16;

/// The matrix H of a tile of samples, by its parts.
pub(super) struct PairMatrix<'a, T> {
    pub particles: usize,
    pub dimension: usize,
    /// s_i, [particles].
    pub diagonal: &'a [Lane<T>],
    /// α_ij, [pairs], i < j.
    pub isotropic: &'a [Lane<T>],
    /// β_ij, [pairs].
    pub radial: &'a [Lane<T>],
    /// u_ij, [pairs, dimension].
    pub direction: &'a [Lane<T>],
}

/// ∂L/∂(parts of H), added to.
pub(super) struct PairMatrixCotangent<'a, T> {
    pub diagonal: &'a mut [Lane<T>],
    pub isotropic: &'a mut [Lane<T>],
    pub radial: &'a mut [Lane<T>],
    pub direction: &'a mut [Lane<T>],
}

/// Lanes of scratch that [`PairMatrix::exponential_vjp`] needs (and `exponential` with it).
pub(super) fn scratch<T: Real>(particles: usize, dimension: usize) -> usize {
    (MAX_STEPS + taylor_terms::<T>() + 4) * particles * dimension + 8
}

/// How far one Taylor step goes: the same for every use of one H.
struct Steps<V> {
    /// Steps of each sample, and the largest of them.
    count: V,
    most: usize,
    /// sign/steps.
    size: V,
}

impl<T: Real> PairMatrix<'_, T> {
    /// tr H = Σ_i d s_i + 2 Σ_{i<j} (d α_ij + β_ij ‖u_ij‖²).
    #[inline(always)]
    pub fn trace<V: Vector<Scalar = T>>(&self) -> V {
        let d = V::constant(self.dimension as f64);
        let mut nodes = V::zero();
        for s in self.diagonal {
            nodes = nodes.add(V::load(s));
        }
        let (mut isotropic, mut radial) = (V::zero(), V::zero());
        for (p, u) in self.direction.chunks_exact(self.dimension).enumerate() {
            isotropic = isotropic.add(V::load(&self.isotropic[p]));
            let mut square = V::zero();
            for u in u {
                let u = V::load(u);
                square = u.mul_add(u, square);
            }
            radial = V::load(&self.radial[p]).mul_add(square, radial);
        }
        let pairs = d.mul(isotropic).add(radial);
        d.mul(nodes).add(pairs.add(pairs))
    }

    /// Adds ∂(cotangent · tr H)/∂(parts).
    #[inline(always)]
    pub fn trace_vjp<V: Vector<Scalar = T>>(
        &self,
        cotangent: V,
        to: &mut PairMatrixCotangent<'_, T>,
    ) {
        let d = self.dimension;
        let one = cotangent.mul(V::constant(d as f64));
        for s in to.diagonal.iter_mut() {
            one.accumulate(s);
        }
        let two = cotangent.add(cotangent);
        for p in 0..self.isotropic.len() {
            one.add(one).accumulate(&mut to.isotropic[p]);
            let factor = two.add(two).mul(V::load(&self.radial[p]));
            let mut square = V::zero();
            for axis in p * d..(p + 1) * d {
                let u = V::load(&self.direction[axis]);
                square = u.mul_add(u, square);
                factor.mul(u).accumulate(&mut to.direction[axis]);
            }
            two.mul(square).accumulate(&mut to.radial[p]);
        }
    }

    /// Steps from ‖H‖ ≤ max|s| + 2 max_i Σ_j (|α_ij| + |β_ij|), because ‖u‖ ≤ 1.
    #[inline(always)]
    fn steps<V: Vector<Scalar = T>>(&self, sign: f64, rows: &mut [Lane<T>]) -> Steps<V> {
        for (row, s) in rows.iter_mut().zip(self.diagonal) {
            V::load(s).abs().store(row);
        }
        let mut p = 0;
        for i in 0..self.particles {
            for j in i + 1..self.particles {
                let b = V::load(&self.isotropic[p]).abs().add(V::load(&self.radial[p]).abs());
                let b = b.add(b);
                b.accumulate(&mut rows[i]);
                b.accumulate(&mut rows[j]);
                p += 1;
            }
        }
        let mut bound = V::zero();
        for row in rows.iter().take(self.particles) {
            bound = V::load(row).max(bound);
        }
        // The number of steps is the bound rounded up, sample by sample.
        let mut count = V::constant(1.0);
        let mut lanes = Lane::zero();
        bound.store(&mut lanes);
        let largest = lanes.0.iter().fold(0.0, |m: f64, b| m.max(b.to_f64()));
        let most = (largest.ceil() as usize).clamp(1, MAX_STEPS);
        for k in 1..most {
            let more = V::constant(k as f64).lt(bound);
            count = V::select(more, V::constant((k + 1) as f64), count);
        }
        Steps { count, most, size: V::constant(sign).div(count) }
    }

    /// `out` = H·z.
    #[inline(always)]
    fn product<V: Vector<Scalar = T>>(&self, z: &[Lane<T>], out: &mut [Lane<T>]) {
        match self.dimension {
            2 => self.product_in::<V, 2>(z, out),
            _ => self.product_in::<V, 3>(z, out),
        }
    }

    #[inline(always)]
    fn product_in<V: Vector<Scalar = T>, const D: usize>(
        &self,
        z: &[Lane<T>],
        out: &mut [Lane<T>],
    ) {
        for ((out, z), s) in out.chunks_exact_mut(D).zip(z.chunks_exact(D)).zip(self.diagonal) {
            let s = V::load(s);
            for (out, z) in out.iter_mut().zip(z) {
                s.mul(V::load(z)).store(out);
            }
        }
        let mut p = 0;
        for i in 0..self.particles {
            let here = load::<V, D>(z, i);
            let mut total = load::<V, D>(out, i);
            for j in i + 1..self.particles {
                let there = load::<V, D>(z, j);
                let u = load::<V, D>(self.direction, p);
                let (alpha, beta) = (V::load(&self.isotropic[p]), V::load(&self.radial[p]));
                let difference = subtract(here, there);
                let along = beta.mul(dot(u, difference));
                for k in 0..D {
                    let flow = along.mul_add(u[k], alpha.mul(difference[k]));
                    total[k] = total[k].add(flow);
                    let other = &mut out[j * D + k];
                    V::load(other).sub(flow).store(other);
                }
                p += 1;
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
        scratch: &mut [Lane<T>],
    ) {
        let mut arena = Arena::new(scratch);
        let (term, next) = (arena.take(z.len()), arena.take(z.len()));
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
        let active = V::constant(step as f64).lt(steps.count);
        term.copy_from_slice(z);
        for k in 1..=taylor_terms::<T>() {
            self.product::<V>(term, next);
            let factor = steps.size.mul(V::constant(1.0 / k as f64));
            for ((next, term), z) in next.iter().zip(term.iter_mut()).zip(z.iter_mut()) {
                let t = V::select(active, V::load(next).mul(factor), V::zero());
                t.store(term);
                t.accumulate(z);
            }
        }
    }

    /// The vector-Jacobian product of [`exponential`](Self::exponential): `z` is its input, `cotangent`
    /// ∂L/∂output on entry and ∂L/∂input on return.
    #[inline(always)]
    pub fn exponential_vjp<V: Vector<Scalar = T>>(
        &self,
        sign: f64,
        z: &[Lane<T>],
        cotangent: &mut [Lane<T>],
        to: &mut PairMatrixCotangent<'_, T>,
        scratch: &mut [Lane<T>],
    ) {
        let (width, terms) = (z.len(), taylor_terms::<T>());
        let mut arena = Arena::new(scratch);
        let (back, next) = (arena.take(width), arena.take(width));
        let series = arena.take((terms + 1) * width);
        let steps = self.steps::<V>(sign, back);
        let starts = arena.take(steps.most * width);
        starts[..width].copy_from_slice(z);
        for step in 1..steps.most {
            let (done, rest) = starts.split_at_mut(step * width);
            rest[..width].copy_from_slice(&done[(step - 1) * width..]);
            self.step::<V>(&steps, step - 1, &mut rest[..width], back, next);
        }
        for step in (0..steps.most).rev() {
            let active = V::constant(step as f64).lt(steps.count);
            // The terms t_k of this step again …
            series[..width].copy_from_slice(&starts[step * width..(step + 1) * width]);
            for k in 1..terms {
                let (done, rest) = series.split_at_mut(k * width);
                self.product::<V>(&done[(k - 1) * width..], &mut rest[..width]);
                let factor = steps.size.mul(V::constant(1.0 / k as f64));
                for t in &mut rest[..width] {
                    V::load(t).mul(factor).store(t);
                }
            }
            // … and back through them: t̄_k = ō + H t̄_{k+1}·(sign/(m(k+1))), ō being the cotangent of
            // the step's output and t̄ of the last term.
            back.copy_from_slice(cotangent);
            for k in (1..=terms).rev() {
                let factor = steps.size.mul(V::constant(1.0 / k as f64));
                let factor = V::select(active, factor, V::zero());
                for t in back.iter_mut() {
                    V::load(t).mul(factor).store(t);
                }
                let term = &series[(k - 1) * width..k * width];
                self.product_vjp::<V>(term, back, next, to);
                for ((back, next), o) in back.iter_mut().zip(next.iter()).zip(cotangent.iter()) {
                    V::load(next).add(V::load(o)).store(back);
                }
            }
            cotangent.copy_from_slice(back);
        }
    }

    /// With `back` = ∂L/∂(H·z): `out` = H·back and `to` += ∂L/∂(parts of H).
    #[inline(always)]
    fn product_vjp<V: Vector<Scalar = T>>(
        &self,
        z: &[Lane<T>],
        back: &[Lane<T>],
        out: &mut [Lane<T>],
        to: &mut PairMatrixCotangent<'_, T>,
    ) {
        match self.dimension {
            2 => self.product_vjp_in::<V, 2>(z, back, out, to),
            _ => self.product_vjp_in::<V, 3>(z, back, out, to),
        }
    }

    #[inline(always)]
    fn product_vjp_in<V: Vector<Scalar = T>, const D: usize>(
        &self,
        z: &[Lane<T>],
        back: &[Lane<T>],
        out: &mut [Lane<T>],
        to: &mut PairMatrixCotangent<'_, T>,
    ) {
        for i in 0..self.particles {
            let (z, b, s) = (load::<V, D>(z, i), load::<V, D>(back, i), V::load(&self.diagonal[i]));
            dot(z, b).accumulate(&mut to.diagonal[i]);
            store(b.map(|b| b.mul(s)), out, i);
        }
        let mut p = 0;
        for i in 0..self.particles {
            let (z_here, b_here) = (load::<V, D>(z, i), load::<V, D>(back, i));
            let mut total = load::<V, D>(out, i);
            for j in i + 1..self.particles {
                let dz = subtract(z_here, load::<V, D>(z, j));
                let db = subtract(b_here, load::<V, D>(back, j));
                let u = load::<V, D>(self.direction, p);
                let (alpha, beta) = (V::load(&self.isotropic[p]), V::load(&self.radial[p]));
                let (uz, ub) = (dot(u, dz), dot(u, db));
                dot(dz, db).accumulate(&mut to.isotropic[p]);
                uz.mul(ub).accumulate(&mut to.radial[p]);
                let (along_b, along_z) = (beta.mul(ub), beta.mul(uz));
                for k in 0..D {
                    let flow = along_b.mul_add(u[k], alpha.mul(db[k]));
                    total[k] = total[k].add(flow);
                    let other = &mut out[j * D + k];
                    V::load(other).sub(flow).store(other);
                    let turn = along_z.mul_add(db[k], along_b.mul(dz[k]));
                    turn.accumulate(&mut to.direction[p * D + k]);
                }
                p += 1;
            }
            store(total, out, i);
        }
    }
}

/// Row `i` of a `[…, D]` matrix.
#[inline(always)]
pub(super) fn load<V: Vector, const D: usize>(from: &[Lane<V::Scalar>], i: usize) -> [V; D] {
    let row = &from[i * D..(i + 1) * D];
    std::array::from_fn(|k| V::load(&row[k]))
}

/// Sets row `i` of a `[…, D]` matrix.
#[inline(always)]
pub(super) fn store<V: Vector, const D: usize>(row: [V; D], to: &mut [Lane<V::Scalar>], i: usize) {
    for (to, v) in to[i * D..(i + 1) * D].iter_mut().zip(row) {
        v.store(to);
    }
}

#[inline(always)]
pub(super) fn subtract<V: Vector, const D: usize>(a: [V; D], b: [V; D]) -> [V; D] {
    std::array::from_fn(|k| a[k].sub(b[k]))
}

#[inline(always)]
pub(super) fn dot<V: Vector, const D: usize>(a: [V; D], b: [V; D]) -> V {
    let mut sum = a[0].mul(b[0]);
    for k in 1..D {
        sum = a[k].mul_add(b[k], sum);
    }
    sum
}
