//! CustomNonbondedForce: an expression in the distance of every two atoms.

use super::super::tile::{pair, Tile};
use super::super::xml::Element;
use super::expression::{Programs, Words};
use crate::engine::{Lane, Vector};
use crate::error::Error;

/// All of a force.
#[derive(Debug, Clone)]
pub(crate) struct Pairs {
    programs: Programs,
    /// Pair of atoms and program.
    pairs: Vec<(usize, usize)>,
}

impl Pairs {
    pub fn read(force: Element<'_>, count: usize) -> Result<Self, Error> {
        let words = &mut Words::read(force)?;
        let mut names = Words::parameters(force, "PerParticleParameters")?;
        let mut atoms = particles(force, count, &names)?;
        for value in force.items("ComputedValues", "Value")? {
            for atom in &mut atoms {
                let numbers = names.iter().cloned().zip(atom.iter().copied());
                let known = words.names([], numbers);
                atom.push(words.value(value, "expression", &known)?);
            }
            names.push(value.text("name")?.to_string());
        }
        let mut counted = vec![true; count * count.saturating_sub(1) / 2];
        groups(force, count, &mut counted)?;
        for exclusion in force.items("Exclusions", "Exclusion")? {
            let [a, b] = exclusion.atoms(["p1", "p2"], count)?;
            counted[pair(a, b)] = false;
        }
        let mut programs = Programs::default();
        let mut pairs = Vec::new();
        for i in 0..count {
            for j in 0..i {
                if !counted[pair(i, j)] {
                    continue;
                }
                // The expression is symmetric in both atoms.
                let numbers = [&atoms[j][..], &atoms[i][..]].concat();
                let program = programs.place(force, &numbers, || {
                    let known = words.names(["r"], of_two(&names, [&atoms[j], &atoms[i]]));
                    words.compile(force, "energy", &known, 1)
                })?;
                if !programs.all()[program].is_zero() {
                    pairs.push((pair(i, j), program));
                }
            }
        }
        Ok(Self { programs, pairs })
    }

    /// Lanes of scratch memory.
    pub fn registers(&self) -> usize {
        self.programs.registers()
    }

    #[inline(always)]
    pub fn add<V: Vector<Scalar = f64>>(
        &self,
        tile: &mut Tile<'_>,
        registers: &mut [Lane<f64>],
        force: usize,
    ) {
        for (place, program) in &self.pairs {
            let program = &self.programs.all()[*program];
            let inverse = V::load(&tile.inverse[*place]);
            (V::load(&tile.squared[*place]) * inverse).store(&mut registers[0]);
            program.run_lanes::<V>(registers);
            V::load(&registers[program.value_register()]).accumulate(&mut tile.energies[force]);
            let slope = V::load(&registers[program.slope_register(0)]);
            (slope * inverse).accumulate(&mut tile.slope[*place]);
        }
    }
}

/// The numbers of all particles of a force.
pub(super) fn particles(
    force: Element<'_>,
    count: usize,
    names: &[String],
) -> Result<Vec<Vec<f64>>, Error> {
    force.particles(count)?.into_iter().map(|particle| Words::values(particle, names)).collect()
}

/// Names with the endings 1 and 2 and their numbers, of two particles.
pub(super) fn of_two<'a>(
    names: &'a [String],
    numbers: [&'a [f64]; 2],
) -> impl Iterator<Item = (String, f64)> + 'a {
    [1, 2].into_iter().zip(numbers).flat_map(|(ending, numbers)| {
        let each = names.iter().zip(numbers);
        each.map(move |(name, number)| (format!("{name}{ending}"), *number))
    })
}

/// Leaves only pairs between two groups, if the force has groups.
fn groups(force: Element<'_>, count: usize, counted: &mut [bool]) -> Result<(), Error> {
    let groups = force.items("InteractionGroups", "InteractionGroup")?;
    if groups.is_empty() {
        return Ok(());
    }
    counted.fill(false);
    for group in groups {
        let members = |name: &str| -> Result<Vec<usize>, Error> {
            group.items(name, "Particle")?.iter().map(|p| p.index("index", count)).collect()
        };
        let (first, second) = (members("Set1")?, members("Set2")?);
        for a in &first {
            for b in second.iter().filter(|b| *b != a) {
                counted[pair(*a, *b)] = true;
            }
        }
    }
    Ok(())
}
