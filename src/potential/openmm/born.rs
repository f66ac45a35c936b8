//! Generalized Born models: the polarization of a solvent around the atoms.
//!
//! Each atom has a Born radius B from an integral I over the other atoms as spheres (Hawkins,
//! Cramer and Truhlar, J. Phys. Chem. 100, 19824 (1996)), I = Σ_j I_ij + neck,
//!
//! I_ij = ½ [1/L − 1/U + ¼ (r − s²/r)(1/U² − 1/L²) + ln(L/U)/(2r)] where r + s > ρ, else 0,
//!
//! with U = r + s, L = max(ρ, |r − s|), s the scaled radius of j and ρ the reduced radius of i.
//! Then 1/B = 1/ρ − tanh(αψ + βψ² + γψ³)/R with ψ = ρI and the radius R = ρ + offset (Onufriev,
//! Bashford and Case, Proteins 55, 383 (2004)), or 1/B = 1/ρ − I; and the energy is
//!
//! U = −½ K Σ_ij q_i q_j T(f)/f, f² = r² + B_i B_j exp(−r²/(4 B_i B_j)), T(f) = 1/ε − exp(−κf)/ε_s,
//!
//! with f = B for i = j, and a surface term Σ_i A (R + p)² (R/B)⁶.

use super::tile::{pair, Tile};
use crate::engine::{tanh, Arena, Lane, Vector};

/// What defines a model, in nm, e and kJ/mol.
#[derive(Debug, Clone)]
pub(super) struct Born {
    pub atoms: Vec<Atom>,
    /// K, and the inverse dielectric constants of solute and solvent.
    pub coulomb: f64,
    pub inverse_dielectrics: [f64; 2],
    /// κ of the salt.
    pub screening: f64,
    /// A and p of the surface term.
    pub surface: Option<[f64; 2]>,
    pub neck: Option<Neck>,
    /// Whether a sphere that holds all of an atom counts, as in GBSAOBCForce.
    pub engulfs: bool,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Atom {
    pub charge: f64,
    /// ρ.
    pub reduced: f64,
    /// s.
    pub scaled: f64,
    /// R − ρ.
    pub offset: f64,
    /// α, β, γ; `None` for 1/B = 1/ρ − I.
    pub rescaling: Option<[f64; 3]>,
}

/// Mongan, Simmerling, McCammon, Case and Onufriev, J. Chem. Theory Comput. 3, 156 (2007): where
/// r < R_i + R_j + cut, I_ij grows by scale · m / (1 + 100 (r − d)² + 3·10⁵ (r − d)⁶).
#[derive(Debug, Clone)]
pub(super) struct Neck {
    pub scale: f64,
    pub cut: f64,
    /// d and m, [atom i, atom j].
    pub distance: Vec<f64>,
    pub height: Vec<f64>,
}

/// Memory of a model.
pub(super) struct Space<'a> {
    /// I of each atom, then ∂U/∂I.
    integral: &'a mut [Lane<f64>],
    radius: &'a mut [Lane<f64>],
    inverse_radius: &'a mut [Lane<f64>],
    /// ∂B/∂I.
    radius_slope: &'a mut [Lane<f64>],
    /// ∂U/∂B.
    pull: &'a mut [Lane<f64>],
    /// (∂I_ij/∂r)/r of each ordered pair: of the later atom first.
    integral_slope: &'a mut [Lane<f64>],
}

impl<'a> Space<'a> {
    pub fn take(arena: &mut Arena<'a, f64>, atoms: usize) -> Self {
        Self {
            integral: arena.take(atoms),
            radius: arena.take(atoms),
            inverse_radius: arena.take(atoms),
            radius_slope: arena.take(atoms),
            pull: arena.take(atoms),
            integral_slope: arena.take(atoms * atoms.saturating_sub(1)),
        }
    }
}

impl Born {
    #[inline(always)]
    pub fn add<V: Vector<Scalar = f64>>(
        &self,
        tile: &mut Tile<'_>,
        space: &mut Space<'_>,
        force: usize,
    ) {
        self.integrals::<V>(tile, space);
        let mut energy = self.radii::<V>(space);
        energy += self.pairs::<V>(tile, space);
        energy.accumulate(&mut tile.energies[force]);
        for ((integral, slope), pull) in
            space.integral.iter_mut().zip(&*space.radius_slope).zip(&*space.pull)
        {
            (V::load(slope) * V::load(pull)).store(integral);
        }
        for i in 0..self.atoms.len() {
            let own = V::load(&space.integral[i]);
            for j in 0..i {
                let place = pair(i, j);
                let by_i = own * V::load(&space.integral_slope[2 * place]);
                let by_j = V::load(&space.integral[j]);
                let slope = by_j.mul_add(V::load(&space.integral_slope[2 * place + 1]), by_i);
                slope.accumulate(&mut tile.slope[place]);
            }
        }
    }

    /// I of all atoms, and its slopes.
    #[inline(always)]
    fn integrals<V: Vector<Scalar = f64>>(&self, tile: &Tile<'_>, space: &mut Space<'_>) {
        space.integral.fill(Lane::zero());
        for i in 0..self.atoms.len() {
            let mut own = V::zero();
            for j in 0..i {
                let place = pair(i, j);
                let inverse = V::load(&tile.inverse[place]);
                let r = V::load(&tile.squared[place]) * inverse;
                let (value, slope) = self.integral(i, j, r, inverse);
                own += value;
                (slope * inverse).store(&mut space.integral_slope[2 * place]);
                let (value, slope) = self.integral(j, i, r, inverse);
                value.accumulate(&mut space.integral[j]);
                (slope * inverse).store(&mut space.integral_slope[2 * place + 1]);
            }
            own.accumulate(&mut space.integral[i]);
        }
    }

    /// I_ij and its derivative by r.
    #[inline(always)]
    fn integral<V: Vector<Scalar = f64>>(&self, i: usize, j: usize, r: V, inverse: V) -> (V, V) {
        let c = V::constant;
        let (one, zero) = (c(1.0), V::zero());
        let (reduced, scaled) = (c(self.atoms[i].reduced), c(self.atoms[j].scaled));
        let upper = r + scaled;
        let apart = r - scaled;
        let distance = apart.abs();
        let inside = reduced.lt(distance);
        let lower = distance.max(reduced);
        // How L changes with r.
        let follow = V::select(inside, V::select(apart.lt(zero), c(-1.0), one), zero);
        // One quotient for both inverses.
        let both = (lower * upper).reciprocal();
        let (inverse_lower, inverse_upper) = (both * upper, both * lower);
        let squares = inverse_upper * inverse_upper - inverse_lower * inverse_lower;
        let share = scaled * scaled * inverse;
        let width = (r - share) * c(0.25);
        let logarithm = (lower * inverse_upper).ln() * (c(0.5) * inverse);
        let value = inverse_lower - inverse_upper + width.mul_add(squares, logarithm);
        let lower_square = inverse_lower * inverse_lower;
        let upper_square = inverse_upper * inverse_upper;
        let cubes = lower_square * inverse_lower * follow - upper_square * inverse_upper;
        let mut slope = upper_square - lower_square * follow;
        slope = (c(0.25) * share.mul_add(inverse, one)).mul_add(squares, slope);
        slope = (width + width).mul_add(cubes, slope);
        slope += c(0.5) * inverse * (inverse_lower * follow - inverse_upper);
        slope -= logarithm * inverse;
        let (mut value, mut slope) = (value * c(0.5), slope * c(0.5));
        if self.engulfs {
            // The sphere reaches around all of atom i.
            let engulfed = reduced.lt(scaled - r);
            let more = one / reduced - inverse_lower;
            value = V::select(engulfed, value + more, value);
            slope = V::select(engulfed, slope + lower_square * follow, slope);
        }
        let beyond = upper.lt(reduced);
        value = V::select(beyond, zero, value);
        slope = V::select(beyond, zero, slope);
        if let Some(neck) = &self.neck {
            let (more, more_slope) = neck.of(&self.atoms, i, j, r);
            value += more;
            slope += more_slope;
        }
        (value, slope)
    }

    /// Born radii and the energy of each atom by itself.
    #[inline(always)]
    fn radii<V: Vector<Scalar = f64>>(&self, space: &mut Space<'_>) -> V {
        let c = V::constant;
        let one = c(1.0);
        let mut energy = V::zero();
        for (i, atom) in self.atoms.iter().enumerate() {
            let integral = V::load(&space.integral[i]);
            let radius = atom.reduced + atom.offset;
            // 1/B and −∂(1/B)/∂I.
            let (inverse, fall) = match atom.rescaling {
                None => (c(1.0 / atom.reduced) - integral, one),
                Some([alpha, beta, gamma]) => {
                    let psi = c(atom.reduced) * integral;
                    let (alpha, beta, gamma) = (c(alpha), c(beta), c(gamma));
                    let argument = gamma.mul_add(psi, beta).mul_add(psi, alpha) * psi;
                    let steep = (c(3.0) * gamma).mul_add(psi, beta + beta).mul_add(psi, alpha);
                    let bent = tanh(argument);
                    let inverse = c(1.0 / atom.reduced) - bent * c(1.0 / radius);
                    let flat = one - bent * bent;
                    (inverse, flat * steep * c(atom.reduced / radius))
                }
            };
            let born = inverse.reciprocal();
            born.store(&mut space.radius[i]);
            inverse.store(&mut space.inverse_radius[i]);
            (born * born * fall).store(&mut space.radius_slope[i]);
            let (value, slope) = self.solvation::<V>(born, inverse);
            let squared = c(0.5 * atom.charge * atom.charge);
            energy = value.mul_add(squared, energy);
            let mut pull = slope * squared;
            if let Some([area, probe]) = self.surface {
                let ratio = c(radius) * inverse;
                let cube = ratio * ratio * ratio;
                let term = c(area * (radius + probe).powi(2)) * cube * cube;
                energy += term;
                pull -= c(6.0) * term * inverse;
            }
            pull.store(&mut space.pull[i]);
        }
        energy
    }

    /// −K T(f)/f and its derivative by f.
    #[inline(always)]
    fn solvation<V: Vector<Scalar = f64>>(&self, f: V, inverse: V) -> (V, V) {
        let c = V::constant;
        let [solute, solvent] = self.inverse_dielectrics;
        if self.screening == 0.0 {
            let value = c(-self.coulomb * (solute - solvent)) * inverse;
            return (value, -(value * inverse));
        }
        let screened = (f * c(-self.screening)).exp() * c(solvent);
        let value = (screened - c(solute)) * c(self.coulomb) * inverse;
        let turn = screened * c(self.coulomb * self.screening) * inverse;
        (value, -(value * inverse + turn))
    }

    /// The energy of all pairs.
    #[inline(always)]
    fn pairs<V: Vector<Scalar = f64>>(&self, tile: &mut Tile<'_>, space: &mut Space<'_>) -> V {
        let c = V::constant;
        let one = c(1.0);
        let mut energy = V::zero();
        for i in 0..self.atoms.len() {
            let (born, inverse_born) =
                (V::load(&space.radius[i]), V::load(&space.inverse_radius[i]));
            let mut own = V::zero();
            for j in 0..i {
                let charge = self.atoms[i].charge * self.atoms[j].charge;
                if charge == 0.0 {
                    continue;
                }
                let place = pair(i, j);
                let squared = V::load(&tile.squared[place]);
                let (other, inverse_other) =
                    (V::load(&space.radius[j]), V::load(&space.inverse_radius[j]));
                let exponent = squared * inverse_born * inverse_other * c(-0.25);
                let decay = exponent.exp();
                let f_squared = (born * other).mul_add(decay, squared);
                let inverse = f_squared.inverse_sqrt();
                let (value, slope) = self.solvation::<V>(f_squared * inverse, inverse);
                energy = value.mul_add(c(charge), energy);
                // ∂U/∂f²: half of ∂U/∂f over f.
                let by_square = slope * inverse * c(0.5 * charge);
                let by_r = by_square + by_square;
                (decay.mul_add(by_r * c(-0.25), by_r)).accumulate(&mut tile.slope[place]);
                // ∂f²/∂B_i = B_j exp(x) (1 − x), x = −r²/(4 B_i B_j).
                let common = by_square * decay * (one - exponent);
                own = common.mul_add(other, own);
                (common * born).accumulate(&mut space.pull[j]);
            }
            own.accumulate(&mut space.pull[i]);
        }
        energy
    }
}

impl Neck {
    #[inline(always)]
    fn of<V: Vector<Scalar = f64>>(&self, atoms: &[Atom], i: usize, j: usize, r: V) -> (V, V) {
        let c = V::constant;
        let place = i * atoms.len() + j;
        let radius = |atom: &Atom| atom.reduced + atom.offset;
        let reach = radius(&atoms[i]) + radius(&atoms[j]) + self.cut;
        let d = r - c(self.distance[place]);
        let square = d * d;
        let fourth = square * square;
        let below = c(3e5).mul_add(fourth * square, c(100.0).mul_add(square, c(1.0)));
        let inverse = below.reciprocal();
        let value = c(self.scale * self.height[place]) * inverse;
        let steep = d * c(18e5).mul_add(fourth, c(200.0));
        let near = r.lt(c(reach));
        let slope = -(value * steep * inverse);
        (V::select(near, value, V::zero()), V::select(near, slope, V::zero()))
    }
}
