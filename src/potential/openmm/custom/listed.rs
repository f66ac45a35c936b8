//! CustomBondForce, CustomAngleForce, CustomTorsionForce and CustomCompoundBondForce: an expression
//! in distances, angles and dihedral angles of listed atoms.

use super::super::geometry::{Angle, Dihedral};
use super::super::tile::{pair, Tile};
use super::super::xml::Element;
use super::expression::{compile, Programs, Words};
use crate::engine::{Lane, Vector};
use crate::error::Error;
use crate::potential::formula::{Functions, Meaning};

/// A compound bond has no more particles.
const MOST_PARTICLES: usize = 100;

/// What a variable is, by places in a term's list of atoms.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Geometry {
    Distance([usize; 2]),
    Angle([usize; 3]),
    Dihedral([usize; 4]),
}

#[derive(Debug, Clone)]
struct Term {
    program: usize,
    /// Place of its variables in `geometries`.
    variables: usize,
    atoms: Vec<usize>,
}

/// All of a force.
#[derive(Debug, Clone)]
pub(crate) struct Listed {
    programs: Programs,
    geometries: Vec<Vec<Geometry>>,
    terms: Vec<Term>,
}

impl Listed {
    /// A CustomBondForce in r.
    pub fn read_bonds(force: Element<'_>, count: usize) -> Result<Self, Error> {
        let geometry = Geometry::Distance([0, 1]);
        read(force, count, ["Bonds", "Bond", "PerBondParameters"], "r", geometry)
    }

    /// A CustomAngleForce in theta.
    pub fn read_angles(force: Element<'_>, count: usize) -> Result<Self, Error> {
        let geometry = Geometry::Angle([0, 1, 2]);
        read(force, count, ["Angles", "Angle", "PerAngleParameters"], "theta", geometry)
    }

    /// A CustomTorsionForce in theta.
    pub fn read_torsions(force: Element<'_>, count: usize) -> Result<Self, Error> {
        let geometry = Geometry::Dihedral([0, 1, 2, 3]);
        read(force, count, ["Torsions", "Torsion", "PerTorsionParameters"], "theta", geometry)
    }

    /// A CustomCompoundBondForce in functions of its particles.
    pub fn read_compounds(force: Element<'_>, count: usize) -> Result<Self, Error> {
        let words = &mut Words::read(force)?;
        let parameters = Words::parameters(force, "PerBondParameters")?;
        let particles = force.index("particles", MOST_PARTICLES + 1)?;
        let mut listed = Self { programs: Programs::default(), geometries: vec![], terms: vec![] };
        for bond in force.items("Bonds", "Bond")? {
            let mut atoms = Vec::new();
            for k in 1..=particles {
                let atom = bond.index(&format!("p{k}"), count)?;
                if atoms.contains(&atom) {
                    return bond.refuse(&format!("has particle {atom} twice"));
                }
                atoms.push(atom);
            }
            let values = Words::values(bond, &parameters)?;
            let (programs, geometries) = (&mut listed.programs, &mut listed.geometries);
            let program = programs.place(bond, &values, || {
                let numbers = parameters.iter().cloned().zip(values.iter().copied());
                let places = (1..=particles).map(|k| (format!("p{k}"), k as f64));
                let names = words.names([], numbers.chain(places));
                let mut functions = Compound { words, particles, variables: Vec::new() };
                let count = |functions: &Compound<'_>| functions.variables.len();
                let program = compile(force, "energy", &names, &mut functions, count)?;
                geometries.push(functions.variables);
                Ok(program)
            })?;
            listed.terms.push(Term { program, variables: program, atoms });
        }
        Ok(listed)
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
        for term in &self.terms {
            let program = &self.programs.all()[term.program];
            let geometries = &self.geometries[term.variables];
            let atom = |place: usize| term.atoms[place];
            for (number, geometry) in geometries.iter().enumerate() {
                let value = match *geometry {
                    Geometry::Distance([a, b]) => {
                        let place = pair(atom(a), atom(b));
                        V::load(&tile.squared[place]) * V::load(&tile.inverse[place])
                    }
                    Geometry::Angle(places) => Angle::<V>::of(tile, places.map(atom)).value(),
                    Geometry::Dihedral(places) => Dihedral::<V>::of(tile, places.map(atom)).value(),
                };
                value.store(&mut registers[number]);
            }
            program.run_lanes::<V>(registers);
            V::load(&registers[program.value_register()]).accumulate(&mut tile.energies[force]);
            for (number, geometry) in geometries.iter().enumerate() {
                let slope = V::load(&registers[program.slope_register(number)]);
                match *geometry {
                    Geometry::Distance([a, b]) => {
                        let place = pair(atom(a), atom(b));
                        let inverse = V::load(&tile.inverse[place]);
                        (slope * inverse).accumulate(&mut tile.slope[place]);
                    }
                    Geometry::Angle(places) => {
                        Angle::<V>::of(tile, places.map(atom)).pull(tile, slope);
                    }
                    Geometry::Dihedral(places) => {
                        Dihedral::<V>::of(tile, places.map(atom)).pull(tile, slope);
                    }
                }
            }
        }
    }
}

/// A force over lists of as many atoms as its one variable needs.
fn read(
    force: Element<'_>,
    count: usize,
    [list, item, names]: [&'static str; 3],
    variable: &str,
    geometry: Geometry,
) -> Result<Listed, Error> {
    let words = &mut Words::read(force)?;
    let parameters = Words::parameters(force, names)?;
    let mut programs = Programs::default();
    let mut terms = Vec::new();
    for term in force.items(list, item)? {
        let atoms = match geometry {
            Geometry::Distance(_) => term.atoms(["p1", "p2"], count)?.to_vec(),
            Geometry::Angle(_) => term.atoms(["p1", "p2", "p3"], count)?.to_vec(),
            Geometry::Dihedral(_) => term.atoms(["p1", "p2", "p3", "p4"], count)?.to_vec(),
        };
        let values = Words::values(term, &parameters)?;
        let program = programs.place(term, &values, || {
            let numbers = parameters.iter().cloned().zip(values.iter().copied());
            words.compile(force, "energy", &words.names([variable], numbers), 1)
        })?;
        terms.push(Term { program, variables: 0, atoms });
    }
    Ok(Listed { programs, geometries: vec![vec![geometry]], terms })
}

/// The functions of a compound bond, which become variables.
struct Compound<'a> {
    words: &'a mut Words,
    particles: usize,
    variables: Vec<Geometry>,
}

impl Functions for Compound<'_> {
    fn has(&self, name: &str) -> bool {
        ["distance", "angle", "dihedral"].contains(&name) || self.words.has_table(name)
    }

    fn at(&mut self, name: &str, arguments: &[f64]) -> Result<Meaning, String> {
        if self.words.has_table(name) {
            return self.words.tables().at(name, arguments);
        }
        let mut places = Vec::new();
        for argument in arguments {
            let place = *argument as usize;
            if place as f64 != *argument || place == 0 || place > self.particles {
                return Err(format!("`{name}` takes particles: p1, p2, …"));
            }
            if places.contains(&(place - 1)) {
                return Err(format!("`{name}` has p{place} twice"));
            }
            places.push(place - 1);
        }
        let geometry = match (name, &places[..]) {
            ("distance", [a, b]) => Geometry::Distance([*a, *b]),
            ("angle", [a, b, c]) => Geometry::Angle([*a, *b, *c]),
            ("dihedral", [a, b, c, d]) => Geometry::Dihedral([*a, *b, *c, *d]),
            _ => return Err(format!("`{name}` does not take {} particles", places.len())),
        };
        let known = self.variables.iter().position(|known| *known == geometry);
        Ok(Meaning::Variable(known.unwrap_or_else(|| {
            self.variables.push(geometry);
            self.variables.len() - 1
        })))
    }
}
