//! PeriodicTorsionForce, U = k (1 + cos(nφ − δ)), and RBTorsionForce, U = Σ cᵢ cosⁱ(φ − π), as one
//! Fourier series for every four atoms.

use std::collections::HashMap;

use super::geometry::Dihedral;
use super::tile::Tile;
use super::xml::Element;
use crate::engine::Vector;
use crate::error::Error;

/// No force field has more.
const MOST_PERIODS: usize = 32;

/// U = constant + Σ_k (A_k cos kφ + B_k sin kφ).
#[derive(Debug, Clone)]
struct Torsion {
    atoms: [usize; 4],
    constant: f64,
    /// A and B for k = 1, 2, …
    terms: Vec<[f64; 2]>,
}

impl Torsion {
    fn of(atoms: [usize; 4]) -> Self {
        Self { atoms, constant: 0.0, terms: Vec::new() }
    }

    fn add(&mut self, k: usize, cosine: f64, sine: f64) {
        if k == 0 {
            self.constant += cosine;
            return;
        }
        if self.terms.len() < k {
            self.terms.resize(k, [0.0; 2]);
        }
        self.terms[k - 1][0] += cosine;
        self.terms[k - 1][1] += sine;
    }
}

/// All of a force.
#[derive(Debug, Clone)]
pub(super) struct Torsions(Vec<Torsion>);

impl Torsions {
    pub fn read_periodic(force: Element<'_>, count: usize) -> Result<Self, Error> {
        read(force, count, |torsion, series| {
            let (k, phase) = (torsion.number("k")?, torsion.number("phase")?);
            let period = torsion.index("periodicity", MOST_PERIODS + 1)?;
            series.add(0, k, 0.0);
            series.add(period, k * phase.cos(), k * phase.sin());
            Ok(())
        })
    }

    pub fn read_ryckaert_bellemans(force: Element<'_>, count: usize) -> Result<Self, Error> {
        /// cosⁱ as a sum of cosines of multiples.
        const POWERS: [&[(usize, f64)]; 6] = [
            &[(0, 1.0)],
            &[(1, 1.0)],
            &[(0, 0.5), (2, 0.5)],
            &[(1, 0.75), (3, 0.25)],
            &[(0, 0.375), (2, 0.5), (4, 0.125)],
            &[(1, 0.625), (3, 0.3125), (5, 0.0625)],
        ];
        read(force, count, |torsion, series| {
            for (power, multiples) in POWERS.into_iter().enumerate() {
                let c = torsion.number(&format!("c{power}"))?;
                // cos(φ − π) = −cos φ.
                let sign = if power % 2 == 0 { 1.0 } else { -1.0 };
                multiples.iter().for_each(|(k, share)| series.add(*k, sign * share * c, 0.0));
            }
            Ok(())
        })
    }

    #[inline(always)]
    pub fn add<V: Vector<Scalar = f64>>(&self, tile: &mut Tile<'_>, force: usize) {
        let mut energy = V::zero();
        for torsion in &self.0 {
            let dihedral = Dihedral::<V>::of(tile, torsion.atoms);
            let (cos, sin) = dihedral.cos_sin();
            let (mut c, mut s) = (cos, sin);
            let mut torque = V::zero();
            energy += V::constant(torsion.constant);
            for (k, [a, b]) in torsion.terms.iter().enumerate() {
                if k > 0 {
                    (c, s) = (c * cos - s * sin, s * cos + c * sin);
                }
                let (a, b, k) = (V::constant(*a), V::constant(*b), V::constant((k + 1) as f64));
                energy = b.mul_add(s, a.mul_add(c, energy));
                torque = (b * c - a * s).mul_add(k, torque);
            }
            dihedral.pull(tile, torque);
        }
        energy.accumulate(&mut tile.energies[force]);
    }
}

/// The series of all torsions of a force, of which those over the same atoms are one.
fn read(
    force: Element<'_>,
    count: usize,
    add: impl Fn(Element<'_>, &mut Torsion) -> Result<(), Error>,
) -> Result<Torsions, Error> {
    let mut places: HashMap<[usize; 4], usize> = HashMap::new();
    let mut all: Vec<Torsion> = Vec::new();
    for torsion in force.items("Torsions", "Torsion")? {
        let atoms = torsion.atoms(["p1", "p2", "p3", "p4"], count)?;
        let [a, b, c, d] = atoms;
        let place = *places.entry(atoms.min([d, c, b, a])).or_insert_with(|| {
            all.push(Torsion::of(atoms));
            all.len() - 1
        });
        add(torsion, &mut all[place])?;
    }
    Ok(Torsions(all))
}
