//! HarmonicBondForce, U = ½ k (r − r₀)², and HarmonicAngleForce, U = ½ k (θ − θ₀)².

use super::geometry::Angle;
use super::tile::{pair, Tile};
use super::xml::Element;
use crate::engine::Vector;
use crate::error::Error;

/// A spring along a distance.
#[derive(Debug, Clone, Copy)]
struct Bond {
    pair: usize,
    length: f64,
    stiffness: f64,
}

/// All of a HarmonicBondForce.
#[derive(Debug, Clone)]
pub(super) struct Bonds {
    springs: Vec<Bond>,
    /// The atoms of each.
    pub atoms: Vec<[usize; 2]>,
}

impl Bonds {
    pub fn read(force: Element<'_>, count: usize) -> Result<Self, Error> {
        let mut bonds = Self { springs: Vec::new(), atoms: Vec::new() };
        for bond in force.items("Bonds", "Bond")? {
            let [a, b] = bond.atoms(["p1", "p2"], count)?;
            bonds.atoms.push([a, b]);
            bonds.springs.push(Bond {
                pair: pair(a, b),
                length: bond.number("d")?,
                stiffness: bond.number("k")?,
            });
        }
        Ok(bonds)
    }

    #[inline(always)]
    pub fn add<V: Vector<Scalar = f64>>(&self, tile: &mut Tile<'_>, force: usize) {
        let mut energy = V::zero();
        for bond in &self.springs {
            let inverse = V::load(&tile.inverse[bond.pair]);
            let r = V::load(&tile.squared[bond.pair]) * inverse;
            let stretch = r - V::constant(bond.length);
            let pull = V::constant(bond.stiffness) * stretch;
            energy += pull * stretch;
            (pull * inverse).accumulate(&mut tile.slope[bond.pair]);
        }
        (energy * V::constant(0.5)).accumulate(&mut tile.energies[force]);
    }
}

#[derive(Debug, Clone, Copy)]
struct Spring {
    atoms: [usize; 3],
    angle: f64,
    stiffness: f64,
}

/// All of a HarmonicAngleForce.
#[derive(Debug, Clone)]
pub(super) struct Angles(Vec<Spring>);

impl Angles {
    pub fn read(force: Element<'_>, count: usize) -> Result<Self, Error> {
        let read = |angle: Element<'_>| {
            Ok(Spring {
                atoms: angle.atoms(["p1", "p2", "p3"], count)?,
                angle: angle.number("a")?,
                stiffness: angle.number("k")?,
            })
        };
        force.items("Angles", "Angle")?.into_iter().map(read).collect::<Result<_, _>>().map(Self)
    }

    #[inline(always)]
    pub fn add<V: Vector<Scalar = f64>>(&self, tile: &mut Tile<'_>, force: usize) {
        let mut energy = V::zero();
        for spring in &self.0 {
            let angle = Angle::<V>::of(tile, spring.atoms);
            let bend = angle.value() - V::constant(spring.angle);
            let torque = V::constant(spring.stiffness) * bend;
            energy += torque * bend;
            angle.pull(tile, torque);
        }
        (energy * V::constant(0.5)).accumulate(&mut tile.energies[force]);
    }
}
