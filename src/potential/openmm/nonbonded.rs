//! NonbondedForce without a cut-off: U = K qᵢqⱼ/r + 4ε ((σ/r)¹² − (σ/r)⁶), with exceptions.

use std::collections::BTreeMap;

use super::tile::{pair, Tile};
use super::xml::Element;
use crate::engine::Vector;
use crate::error::Error;

/// 1/(4πε₀) in kJ nm/(mol e²), as OpenMM has it.
pub(super) const COULOMB: f64 = 138.935_457_644_381_98;

#[derive(Debug, Clone, Copy)]
struct Pair {
    pair: usize,
    /// K qᵢqⱼ, 4εσ¹² and 4εσ⁶.
    charge: f64,
    repulsion: f64,
    attraction: f64,
}

/// All of a NonbondedForce.
#[derive(Debug, Clone)]
pub(super) struct Nonbonded(Vec<Pair>);

/// Charge (or product of charges), σ and ε.
type Kind = [f64; 3];

impl Nonbonded {
    pub fn read(force: Element<'_>, count: usize) -> Result<Self, Error> {
        let globals = Globals::read(force)?;
        let mut atoms = Vec::new();
        for atom in force.particles(count)? {
            let kind = [atom.number("q")?, atom.number("sig")?, atom.number("eps")?];
            if kind[2] < 0.0 {
                return atom.refuse("has an eps that is negative: a depth is 0 or more");
            }
            if kind[1] < 0.0 {
                return atom.refuse("has a sig that is negative: a length is 0 or more");
            }
            atoms.push(kind);
        }
        for offset in force.items("ParticleOffsets", "Offset")? {
            let atom = offset.index("particle", count)?;
            globals.shift(offset, &mut atoms[atom])?;
        }
        let mut exceptions: Vec<([usize; 2], Kind)> = Vec::new();
        for exception in force.items("Exceptions", "Exception")? {
            let atoms = exception.atoms(["p1", "p2"], count)?;
            let kind = ["q", "sig", "eps"].map(|name| exception.number(name));
            let [q, sigma, epsilon] = kind;
            exceptions.push((atoms, [q?, sigma?, epsilon?]));
        }
        for offset in force.items("ExceptionOffsets", "Offset")? {
            let number = offset.index("exception", exceptions.len())?;
            globals.shift(offset, &mut exceptions[number].1)?;
        }
        let mut kinds = vec![[0.0; 3]; count * count.saturating_sub(1) / 2];
        for i in 0..count {
            for j in 0..i {
                let ([q, sigma, epsilon], [other, sigma_j, epsilon_j]) = (atoms[i], atoms[j]);
                let depth = (epsilon * epsilon_j).sqrt();
                kinds[pair(i, j)] = [q * other, 0.5 * (sigma + sigma_j), depth];
            }
        }
        exceptions.iter().for_each(|([i, j], kind)| kinds[pair(*i, *j)] = *kind);
        let pairs = kinds.into_iter().enumerate().map(|(pair, [charge, sigma, epsilon])| {
            let six = sigma.powi(6);
            let attraction = 4.0 * epsilon * six;
            Pair { pair, charge: COULOMB * charge, repulsion: attraction * six, attraction }
        });
        Ok(Self(pairs.filter(|pair| pair.charge != 0.0 || pair.repulsion != 0.0).collect()))
    }

    #[inline(always)]
    pub fn add<V: Vector<Scalar = f64>>(&self, tile: &mut Tile<'_>, force: usize) {
        let mut energy = V::zero();
        for pair in &self.0 {
            let inverse = V::load(&tile.inverse[pair.pair]);
            let square = inverse * inverse;
            let six = square * square * square;
            let charge = V::constant(pair.charge) * inverse;
            let attraction = V::constant(pair.attraction) * six;
            let repulsion = V::constant(pair.repulsion) * six * six;
            energy += charge + (repulsion - attraction);
            let steep = attraction - (repulsion + repulsion);
            let slope = steep.mul_add(V::constant(6.0), -charge);
            (slope * square).accumulate(&mut tile.slope[pair.pair]);
        }
        energy.accumulate(&mut tile.energies[force]);
    }
}

/// Default values of global parameters, which offsets depend on.
struct Globals<'a>(BTreeMap<&'a str, f64>);

impl<'a> Globals<'a> {
    fn read(force: Element<'a>) -> Result<Self, Error> {
        let mut values = BTreeMap::new();
        for parameter in force.items("GlobalParameters", "Parameter")? {
            values.insert(parameter.text("name")?, parameter.number("default")?);
        }
        Ok(Self(values))
    }

    /// Adds an offset to charge, σ and ε.
    fn shift(&self, offset: Element<'_>, kind: &mut Kind) -> Result<(), Error> {
        let name = offset.text("parameter")?;
        let Some(value) = self.0.get(name) else {
            return offset.refuse(&format!("depends on \"{name}\", which is no global parameter"));
        };
        for (number, scale) in kind.iter_mut().zip(["q", "sig", "eps"]) {
            *number += value * offset.number(scale)?;
        }
        Ok(())
    }
}
