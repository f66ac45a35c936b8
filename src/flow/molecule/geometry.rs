//! Positions from distances, angles and dihedral angles along a tree of bonds, and back, with
//! their vector-Jacobian products.
//!
//! An atom a is placed from b, to which it is bonded, and c and d: with e₁ = (b − c)/|b − c|, e₂
//! the direction of d − c across e₁, and e₃ = e₁ × e₂,
//!
//! ```text
//! a = b + r (sin θ ρ − cos θ e₁),  ρ = cos φ e₂ + sin φ e₃
//! |∂x/∂(r, θ, φ)| = Π r² sin θ, over the second atom on for r and the third on for θ
//! ```

use crate::engine::{angle, ln, sin_cos, Lane, Vector};
use crate::flow::rows::{dot, load, scaled, store, subtract};
use crate::molecule::{Tree, Turn};

use std::f64::consts::PI;

/// Where the coordinates of each atom stand among all: see [`Coordinates`].
#[derive(Debug, Clone, Copy)]
pub(super) struct Step {
    pub atom: usize,
    b: usize,
    c: usize,
    /// From the fourth atom on.
    d: usize,
    pub length: usize,
    /// From the third atom on.
    pub angle: usize,
    /// From the fourth atom on.
    pub turn: usize,
    /// The step from whose dihedral angle that of this one counts.
    beside: Option<usize>,
}

/// The internal coordinates of a molecule of n atoms: first the dihedral angles that turn, then
/// for each atom along the tree its distance, its angle and, where it is stiff, its dihedral
/// angle; 3n − 6 in all.
#[derive(Debug, Clone)]
pub(super) struct Coordinates {
    pub particles: usize,
    root: usize,
    /// From the second atom on.
    pub steps: Vec<Step>,
    /// Dihedral angles that turn, with the two atoms of their bonds.
    pub soft: Vec<[usize; 2]>,
    /// For each stiff coordinate: whether it is a dihedral angle, which is known up to whole turns.
    pub is_turn: Vec<bool>,
}

impl Coordinates {
    /// Those along a tree.
    pub fn of(tree: &Tree) -> Self {
        let [_, soft] = tree.sizes();
        let mut found = Self {
            particles: tree.places.len(),
            root: tree.places[0].atom,
            steps: Vec::new(),
            soft: Vec::new(),
            is_turn: Vec::new(),
        };
        let stiff = |is_turn: &mut Vec<bool>, turns: bool| {
            is_turn.push(turns);
            soft + is_turn.len() - 1
        };
        for (number, place) in tree.places.iter().enumerate().skip(1) {
            let [b, c, d] = place.from.map(|atom| atom.unwrap_or(found.root));
            let length = stiff(&mut found.is_turn, false);
            let angle = if number > 1 { stiff(&mut found.is_turn, false) } else { 0 };
            let turn = match place.turn {
                None => 0,
                Some(Turn::Soft) => {
                    found.soft.push([b, c]);
                    found.soft.len() - 1
                }
                Some(_) => stiff(&mut found.is_turn, true),
            };
            let beside = match place.turn {
                Some(Turn::Beside(other)) => Some(other - 1),
                _ => None,
            };
            found.steps.push(Step { atom: place.atom, b, c, d, length, angle, turn, beside });
        }
        found
    }

    /// Number of coordinates, 3n − 6.
    pub fn len(&self) -> usize {
        self.soft.len() + self.is_turn.len()
    }

    /// The coordinates of positions in the standard form, in f64.
    pub fn measured(&self, tree: &Tree, x: &[f64]) -> Vec<f64> {
        let (internal, _) = tree.internal(x);
        let mut all = vec![0.0; self.len()];
        let (steps, atoms) = (self.steps.len(), self.particles);
        let mut soft = internal.soft.iter();
        let mut turns = internal.stiff[2 * atoms - 3..].iter();
        for (number, step) in self.steps.iter().enumerate() {
            all[step.length] = internal.stiff[number];
            if number > 0 {
                all[step.angle] = internal.stiff[steps + number - 1];
            }
            let turn = match tree.places[number + 1].turn {
                None => None,
                Some(Turn::Soft) => soft.next(),
                Some(_) => turns.next(),
            };
            if let Some(turn) = turn {
                all[step.turn] = *turn;
            }
        }
        all
    }

    /// Lanes of scratch of [`measure`](Self::measure) and the other functions.
    pub fn scratch(&self) -> usize {
        6 * self.particles
    }

    /// The coordinates `q` of positions x [n, 3]; returns Σ 2 ln r + Σ ln sin θ.
    #[inline(always)]
    pub fn measure<V: Vector>(
        &self,
        x: &[Lane<V::Scalar>],
        q: &mut [Lane<V::Scalar>],
        scratch: &mut [Lane<V::Scalar>],
    ) -> V {
        let mut volume = V::zero();
        let two = V::constant(2.0);
        for (number, step) in self.steps.iter().enumerate() {
            let u = subtract::<V, 3>(load(x, step.atom), load(x, step.b));
            let r = dot(u, u).sqrt();
            r.store(&mut q[step.length]);
            volume += two * ln(r);
            if number == 0 {
                continue;
            }
            let local = Frame::<V>::of(step, number, x);
            let along = dot(u, local.e1);
            let [across, out] = match number {
                1 => {
                    let across = subtract(u, scaled(along, local.e1));
                    [dot(across, across).sqrt(), V::zero()]
                }
                _ => [dot(u, local.e2), dot(u, local.e3)],
            };
            let aside = across.mul_add(across, out * out).sqrt();
            angle(-along, aside, r).store(&mut q[step.angle]);
            volume += ln(aside / r);
            if number == 1 {
                continue;
            }
            let phi = angle(across, out, aside);
            phi.store(&mut scratch[number]);
            let phi = match step.beside {
                Some(other) => wrapped(phi - V::load(&scratch[other])),
                None => phi,
            };
            phi.store(&mut q[step.turn]);
        }
        volume
    }

    /// The vector-Jacobian product of [`measure`](Self::measure), with the cotangent of what it
    /// returns: that of x is added.
    #[inline(always)]
    pub fn measure_vjp<V: Vector>(
        &self,
        [x, q, q_cotangent]: [&[Lane<V::Scalar>]; 3],
        volume_cotangent: V,
        x_cotangent: &mut [Lane<V::Scalar>],
        scratch: &mut [Lane<V::Scalar>],
    ) {
        let two = V::constant(2.0);
        // Of the dihedral angles themselves.
        let turns = &mut scratch[..self.steps.len()];
        turns.fill(Lane::zero());
        for (number, step) in self.steps.iter().enumerate().skip(2) {
            let cotangent = V::load(&q_cotangent[step.turn]);
            cotangent.accumulate(&mut turns[number]);
            if let Some(other) = step.beside {
                (-cotangent).accumulate(&mut turns[other]);
            }
        }
        for (number, step) in self.steps.iter().enumerate() {
            let r = V::load(&q[step.length]);
            let inverse = r.reciprocal();
            let u = subtract::<V, 3>(load(x, step.atom), load(x, step.b));
            let to_r = V::load(&q_cotangent[step.length]) + volume_cotangent * two * inverse;
            let mut to_a = scaled(to_r * inverse, u);
            let mut to_b = scaled(V::zero() - V::constant(1.0), to_a);
            if number > 0 {
                let local = Frame::<V>::of(step, number, x);
                let (sine, cosine) = sin_cos(V::load(&q[step.angle]));
                let cotangent = cosine / sine;
                let to_angle = V::load(&q_cotangent[step.angle]) + volume_cotangent * cotangent;
                let rho = local.rho(u, r * sine);
                let to_c = scaled(V::zero() - to_angle / local.distance, rho);
                let mut own = [V::zero(); 3];
                for k in 0..3 {
                    own[k] = (cosine * rho[k] + sine * local.e1[k]) * to_angle * inverse;
                }
                let mut to_c = to_c;
                for k in 0..3 {
                    to_a[k] += own[k];
                    to_b[k] = to_b[k] - own[k] - to_c[k];
                }
                if number > 1 {
                    let turn = V::load(&turns[number]);
                    let round = cross(local.e1, rho);
                    let by_a = turn * inverse / sine;
                    let by_d = -turn / local.width;
                    let by_round = -turn * cotangent / local.distance;
                    let by_e3 =
                        -turn * (local.along - local.distance) / (local.width * local.distance);
                    let mut to_d = [V::zero(); 3];
                    for k in 0..3 {
                        let (a, d) = (by_a * round[k], by_d * local.e3[k]);
                        let c = by_round.mul_add(round[k], by_e3 * local.e3[k]);
                        to_a[k] += a;
                        to_d[k] = d;
                        to_c[k] += c;
                        to_b[k] -= a + c + d;
                    }
                    add::<V>(to_d, x_cotangent, step.d);
                }
                add::<V>(to_c, x_cotangent, step.c);
            }
            add::<V>(to_a, x_cotangent, step.atom);
            add::<V>(to_b, x_cotangent, step.b);
        }
    }

    /// Positions x [n, 3] with the coordinates `q`, the first atom at the origin; returns the sum
    /// of 2 ln r and ln sin θ, which is not a number where a distance is not over 0 or an angle not
    /// within (0, π).
    #[inline(always)]
    pub fn place<V: Vector>(
        &self,
        q: &[Lane<V::Scalar>],
        x: &mut [Lane<V::Scalar>],
        scratch: &mut [Lane<V::Scalar>],
    ) -> V {
        let (mut volume, mut least) = (V::zero(), V::constant(1.0));
        let two = V::constant(2.0);
        let tiny = V::constant(1e-6);
        store::<V, 3>([V::zero(); 3], x, self.root);
        for (number, step) in self.steps.iter().enumerate() {
            let length = V::load(&q[step.length]);
            least = least.min(length);
            let r = length.max(tiny);
            volume += two * ln(r);
            if number == 0 {
                store::<V, 3>([r, V::zero(), V::zero()], x, step.atom);
                continue;
            }
            let theta = V::load(&q[step.angle]);
            least = least.min(theta.min(V::constant(PI) - theta));
            let (sine, cosine) = sin_cos(theta.max(tiny).min(V::constant(PI - 1e-6)));
            volume += ln(sine.max(tiny));
            if number == 1 {
                store::<V, 3>([r * cosine, r * sine, V::zero()], x, step.atom);
                continue;
            }
            let mut phi = V::load(&q[step.turn]);
            if let Some(other) = step.beside {
                phi += V::load(&scratch[other]);
            }
            let phi = wrapped(phi);
            phi.store(&mut scratch[number]);
            let local = Frame::<V>::of(step, number, x);
            let (sine_phi, cosine_phi) = sin_cos(phi);
            let (across, out, along) = (r * sine * cosine_phi, r * sine * sine_phi, -(r * cosine));
            let mut at = load::<V, 3>(x, step.b);
            for (k, at) in at.iter_mut().enumerate() {
                *at += across * local.e2[k] + out * local.e3[k] + along * local.e1[k];
            }
            store(at, x, step.atom);
        }
        V::select(V::zero().lt(least), volume, V::constant(f64::NAN))
    }

    /// The vector-Jacobian product of [`place`](Self::place) for positions x that may be turned
    /// and moved as a whole: from the cotangent of x and of what it returns to that of q, which is
    /// written.
    ///
    /// A distance moves all atoms beyond it along the bond, angles turn them about an axis through
    /// b: so the cotangent of a coordinate is a force or a torque on them.
    #[inline(always)]
    pub fn place_vjp<V: Vector>(
        &self,
        [x, q, x_cotangent]: [&[Lane<V::Scalar>]; 3],
        volume_cotangent: V,
        q_cotangent: &mut [Lane<V::Scalar>],
        scratch: &mut [Lane<V::Scalar>],
    ) {
        let two = V::constant(2.0);
        q_cotangent.fill(Lane::zero());
        // Of each atom and all beyond it: forces, and torques about the origin.
        let (forces, torques) = scratch.split_at_mut(3 * self.particles);
        for atom in 0..self.particles {
            let force = load::<V, 3>(x_cotangent, atom);
            store(force, forces, atom);
            store(cross(load::<V, 3>(x, atom), force), torques, atom);
        }
        for (number, step) in self.steps.iter().enumerate().rev() {
            let (force, torque) = (load::<V, 3>(forces, step.atom), load(torques, step.atom));
            add::<V>(force, forces, step.b);
            add::<V>(torque, torques, step.b);
            let (r, at) = (V::load(&q[step.length]), load::<V, 3>(x, step.b));
            let u = subtract::<V, 3>(load(x, step.atom), at);
            let inverse = r.reciprocal();
            let to_r = dot(u, force) * inverse + volume_cotangent * two * inverse;
            to_r.store(&mut q_cotangent[step.length]);
            if number == 0 {
                continue;
            }
            let about_b = subtract(torque, cross(at, force));
            let local = Frame::<V>::of(step, number, x);
            let (sine, cosine) = sin_cos(V::load(&q[step.angle]));
            let rho = local.rho(u, r * sine);
            let round = cross(local.e1, rho);
            let to_angle = volume_cotangent * cosine / sine - dot(round, about_b);
            to_angle.store(&mut q_cotangent[step.angle]);
            if number == 1 {
                continue;
            }
            let to_turn = dot(local.e1, about_b);
            to_turn.accumulate(&mut q_cotangent[step.turn]);
            if let Some(other) = step.beside {
                to_turn.accumulate(&mut q_cotangent[self.steps[other].turn]);
            }
        }
    }
}

/// The directions that an atom is placed in.
struct Frame<V> {
    e1: [V; 3],
    e2: [V; 3],
    e3: [V; 3],
    /// |b − c|.
    distance: V,
    /// d − c along e₁, and across it.
    along: V,
    width: V,
}

impl<V: Vector> Frame<V> {
    /// That of a step; the third atom has e₁ alone.
    #[inline(always)]
    fn of(step: &Step, number: usize, x: &[Lane<V::Scalar>]) -> Self {
        let c = load::<V, 3>(x, step.c);
        let axis = subtract(load(x, step.b), c);
        let square = dot(axis, axis);
        let inverse = square.inverse_sqrt();
        let e1 = scaled(inverse, axis);
        let distance = square * inverse;
        let zero = [V::zero(); 3];
        if number == 1 {
            return Self { e1, e2: zero, e3: zero, distance, along: zero[0], width: zero[0] };
        }
        let w = subtract(load(x, step.d), c);
        let along = dot(w, e1);
        let across = subtract(w, scaled(along, e1));
        let square = dot(across, across);
        let inverse = square.inverse_sqrt();
        let e2 = scaled(inverse, across);
        Self { e1, e2, e3: cross(e1, e2), distance, along, width: square * inverse }
    }

    /// ρ of an atom at u from b, whose distance from the axis is `aside`.
    #[inline(always)]
    fn rho(&self, u: [V; 3], aside: V) -> [V; 3] {
        scaled(aside.reciprocal(), subtract(u, scaled(dot(u, self.e1), self.e1)))
    }
}

/// An angle within (−3π, 3π), in [−π, π].
#[inline(always)]
pub(super) fn wrapped<V: Vector>(phi: V) -> V {
    let (half, turn) = (V::constant(PI), V::constant(2.0 * PI));
    let phi = V::select(half.lt(phi), phi - turn, phi);
    V::select(phi.lt(-half), phi + turn, phi)
}

#[inline(always)]
pub(super) fn cross<V: Vector>(a: [V; 3], b: [V; 3]) -> [V; 3] {
    [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]]
}

#[inline(always)]
fn add<V: Vector>(row: [V; 3], to: &mut [Lane<V::Scalar>], atom: usize) {
    for (row, to) in row.into_iter().zip(&mut to[3 * atom..3 * atom + 3]) {
        row.accumulate(to);
    }
}
