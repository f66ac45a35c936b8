//! The forces of a System.

use super::bonds::{Angles, Bonds};
use super::born::{self, Born};
use super::born_model;
use super::cmap::Maps;
use super::custom::{BornSpace, CustomBorn, Listed, Pairs};
use super::nonbonded::Nonbonded;
use super::tile::Tile;
use super::torsions::Torsions;
use super::xml::{short, Element};
use crate::engine::{Arena, Lane, Vector};
use crate::error::Error;

/// More than a flow can learn; the memory of a tile grows with the square.
const MOST_ATOMS: usize = 1_000;

/// A force with its kernel.
#[derive(Debug, Clone)]
pub(super) enum Force {
    Bonds(Bonds),
    Angles(Angles),
    Torsions(Torsions),
    Maps(Maps),
    Nonbonded(Nonbonded),
    Born(Box<Born>),
    Listed(Box<Listed>),
    Pairs(Box<Pairs>),
    CustomBorn(Box<CustomBorn>),
}

/// Memory that forces of a kind share, as they run one after the other.
pub(super) struct Space<'a> {
    born: Option<born::Space<'a>>,
    custom_born: BornSpace<'a>,
    /// Of programs.
    registers: &'a mut [Lane<f64>],
}

impl<'a> Space<'a> {
    pub fn take(arena: &mut Arena<'a, f64>, atoms: usize, forces: &[(String, Force)]) -> Self {
        let has_born = forces.iter().any(|(_, force)| matches!(force, Force::Born(_)));
        let registers = forces.iter().map(|(_, force)| force.registers()).max().unwrap_or(0);
        let custom_born = forces.iter().filter_map(|(_, force)| match force {
            Force::CustomBorn(force) => Some(&**force),
            _ => None,
        });
        Self {
            born: has_born.then(|| born::Space::take(arena, atoms)),
            custom_born: BornSpace::take(arena, custom_born),
            registers: arena.take(registers),
        }
    }
}

impl Force {
    /// Adds energies and gradients; `number` is its place among the forces.
    #[inline(always)]
    pub fn add<V: Vector<Scalar = f64>>(
        &self,
        tile: &mut Tile<'_>,
        space: &mut Space<'_>,
        number: usize,
    ) {
        match self {
            Self::Bonds(force) => force.add::<V>(tile, number),
            Self::Angles(force) => force.add::<V>(tile, number),
            Self::Torsions(force) => force.add::<V>(tile, number),
            Self::Maps(force) => force.add::<V>(tile, number),
            Self::Nonbonded(force) => force.add::<V>(tile, number),
            Self::Listed(force) => force.add::<V>(tile, space.registers, number),
            Self::Pairs(force) => force.add::<V>(tile, space.registers, number),
            Self::CustomBorn(force) => {
                force.add::<V>(tile, &mut space.custom_born, space.registers, number);
            }
            Self::Born(force) => {
                if let Some(space) = &mut space.born {
                    force.add::<V>(tile, space, number);
                }
            }
        }
    }

    /// Lanes that its programs need.
    fn registers(&self) -> usize {
        match self {
            Self::Listed(force) => force.registers(),
            Self::Pairs(force) => force.registers(),
            Self::CustomBorn(force) => force.registers(),
            _ => 0,
        }
    }

    /// The pairs of atoms that it binds.
    pub fn bonds(&self) -> &[[usize; 2]] {
        match self {
            Self::Bonds(force) => &force.atoms,
            _ => &[],
        }
    }
}

/// The masses of a System's particles, all of which move freely.
pub(super) fn masses(system: Element<'_>) -> Result<Vec<f64>, Error> {
    let mut masses = Vec::new();
    for particle in system.items("Particles", "Particle")? {
        if let Some(site) = particle.elements().next() {
            let kind = short(site.tag());
            return particle.refuse(&format!(
                "is a virtual site ({kind}): use a model without them, and leave out \
                 `Modeller.addExtraParticles`"
            ));
        }
        let mass = particle.number("mass")?;
        if mass <= 0.0 {
            return particle.refuse(
                "has no mass, which fixes it in place: give it its mass by \
                 `system.setParticleMass(index, mass)`",
            );
        }
        masses.push(mass);
        if masses.len() > MOST_ATOMS {
            return particle.refuse(&format!("is one too many: {MOST_ATOMS} atoms can be read"));
        }
    }
    if let Some(constraint) = system.items("Constraints", "Constraint")?.first() {
        return constraint.refuse(
            "fixes a distance, and a density needs all of them free: make the System by \
             `createSystem(…, constraints=None, rigidWater=False)`",
        );
    }
    Ok(masses)
}

/// All forces that have an energy, with their names.
pub(super) fn read(system: Element<'_>, count: usize) -> Result<Vec<(String, Force)>, Error> {
    let mut forces: Vec<(String, Force)> = Vec::new();
    for force in system.items("Forces", "Force")? {
        let kind = force.text("type")?;
        force.require_unset(
            "usesPeriodic",
            "is periodic: call `setUsesPeriodicBoundaryConditions(False)`",
        )?;
        let read = match kind {
            "HarmonicBondForce" => Force::Bonds(Bonds::read(force, count)?),
            "HarmonicAngleForce" => Force::Angles(Angles::read(force, count)?),
            "PeriodicTorsionForce" => Force::Torsions(Torsions::read_periodic(force, count)?),
            "RBTorsionForce" => Force::Torsions(Torsions::read_ryckaert_bellemans(force, count)?),
            "CMAPTorsionForce" => Force::Maps(Maps::read(force, count)?),
            "NonbondedForce" => {
                require_no_cutoff(force)?;
                Force::Nonbonded(Nonbonded::read(force, count)?)
            }
            "GBSAOBCForce" => {
                require_no_cutoff(force)?;
                Force::Born(Box::new(born_model::read_obc(force, count)?))
            }
            "CustomGBForce" => {
                require_no_cutoff(force)?;
                match born_model::recognize(force, count)? {
                    Some(model) => Force::Born(Box::new(model)),
                    None => Force::CustomBorn(Box::new(CustomBorn::read(force, count)?)),
                }
            }
            "CustomBondForce" => Force::Listed(Box::new(Listed::read_bonds(force, count)?)),
            "CustomAngleForce" => Force::Listed(Box::new(Listed::read_angles(force, count)?)),
            "CustomTorsionForce" => Force::Listed(Box::new(Listed::read_torsions(force, count)?)),
            "CustomCompoundBondForce" => {
                Force::Listed(Box::new(Listed::read_compounds(force, count)?))
            }
            "CustomNonbondedForce" => {
                require_no_cutoff(force)?;
                Force::Pairs(Box::new(Pairs::read(force, count)?))
            }
            "CMMotionRemover" | "AndersenThermostat" => continue,
            other if other.ends_with("Barostat") => {
                return force.refuse(
                    "changes the volume, and a molecule in open space has none: remove it by \
                     `system.removeForce(index)`",
                )
            }
            _ => return force.refuse("is not known here: see the list in docs/molecules.md"),
        };
        let name = short(force.optional("name").unwrap_or(kind));
        forces.push((name, read));
    }
    if forces.is_empty() {
        return Err(Error::parameter(super::xml::KEY, "has no force that has an energy"));
    }
    Ok(forces)
}

/// Refuses cut-offs.
fn require_no_cutoff(force: Element<'_>) -> Result<(), Error> {
    force.require_unset(
        "method",
        "has a cut-off or a periodic box: make the System by \
         `createSystem(…, nonbondedMethod=NoCutoff)`",
    )
}
