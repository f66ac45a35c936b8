//! CustomGBForce: values of each atom, computed one from the other, and energies in them.

use super::super::tile::{pair, Tile};
use super::super::xml::Element;
use super::expression::{Programs, Words};
use super::pairs::{of_two, particles};
use crate::engine::{Arena, Lane, Vector};
use crate::error::Error;

/// Values of an atom are few.
const MOST_VALUES: usize = 100;

/// What an expression is evaluated for, with its program for each.
#[derive(Debug, Clone)]
enum Each {
    /// Atoms.
    Atom(Vec<usize>),
    /// Pairs of atoms; of a value all ordered pairs, [atom, other], of an energy those with the
    /// earlier atom first.
    Pair(Vec<Option<usize>>),
}

/// All of a force.
#[derive(Debug, Clone)]
pub(crate) struct CustomBorn {
    count: usize,
    programs: Programs,
    values: Vec<Each>,
    terms: Vec<Each>,
}

/// Memory of a force.
pub(crate) struct Space<'a> {
    /// [values, atoms].
    values: &'a mut [Lane<f64>],
    /// ∂U/∂value.
    pulls: &'a mut [Lane<f64>],
}

/// What the expressions of a force may use.
struct Reader<'a> {
    force: Element<'a>,
    words: Words,
    parameters: Vec<String>,
    atoms: Vec<Vec<f64>>,
    excluded: Vec<bool>,
    programs: Programs,
}

impl CustomBorn {
    pub fn read(force: Element<'_>, count: usize) -> Result<Self, Error> {
        let parameters = Words::parameters(force, "PerParticleParameters")?;
        let atoms = particles(force, count, &parameters)?;
        let mut excluded = vec![false; count * count.saturating_sub(1) / 2];
        for exclusion in force.items("Exclusions", "Exclusion")? {
            let [a, b] = exclusion.atoms(["p1", "p2"], count)?;
            excluded[pair(a, b)] = true;
        }
        let (words, programs) = (Words::read(force)?, Programs::default());
        let mut reader = Reader { force, words, parameters, atoms, excluded, programs };
        let mut names: Vec<String> = Vec::new();
        let mut values = Vec::new();
        for value in force.items("ComputedValues", "Value")? {
            if values.len() == MOST_VALUES {
                return value.refuse(&format!("is one too many: {MOST_VALUES} can be read"));
            }
            let first = values.is_empty();
            values.push(match value.text("type")? {
                "0" => reader.atoms(value, &names)?,
                "1" | "2" if first => reader.pairs(value, &[], true)?,
                "1" | "2" => {
                    return value.refuse("is of pairs, which only the first of the values may be")
                }
                other => return value.refuse(&format!("has type {other}, not 0, 1 or 2")),
            });
            names.push(value.text("name")?.to_string());
        }
        let mut terms = Vec::new();
        for term in force.items("EnergyTerms", "Term")? {
            terms.push(match term.text("type")? {
                "0" => reader.atoms(term, &names)?,
                "1" | "2" => reader.pairs(term, &names, false)?,
                other => return term.refuse(&format!("has type {other}, not 0, 1 or 2")),
            });
        }
        Ok(Self { count, programs: reader.programs, values, terms })
    }

    /// Lanes of scratch memory.
    pub fn registers(&self) -> usize {
        self.programs.registers()
    }

    #[inline(always)]
    pub fn add<V: Vector<Scalar = f64>>(
        &self,
        tile: &mut Tile<'_>,
        space: &mut Space<'_>,
        registers: &mut [Lane<f64>],
        force: usize,
    ) {
        let values = self.values.len() * self.count;
        space.values[..values].fill(Lane::zero());
        space.pulls[..values].fill(Lane::zero());
        for (k, value) in self.values.iter().enumerate() {
            self.forward::<V>(tile, space, registers, (k, value));
        }
        for term in &self.terms {
            match term {
                Each::Atom(programs) => {
                    self.atom_energies::<V>(tile, space, registers, (programs, force));
                }
                Each::Pair(programs) => {
                    self.pair_energies::<V>(tile, space, registers, (programs, force));
                }
            }
        }
        for (k, value) in self.values.iter().enumerate().rev() {
            self.backward::<V>(tile, space, registers, (k, value));
        }
    }

    /// The first `count` values of an atom, as variables.
    #[inline(always)]
    fn put_values(
        &self,
        space: &Space<'_>,
        registers: &mut [Lane<f64>],
        (count, atom): (usize, usize),
    ) {
        for (value, register) in registers.iter_mut().enumerate().take(count) {
            *register = space.values[value * self.count + atom];
        }
    }

    /// Computes value `k` of all atoms.
    #[inline(always)]
    fn forward<V: Vector<Scalar = f64>>(
        &self,
        tile: &Tile<'_>,
        space: &mut Space<'_>,
        registers: &mut [Lane<f64>],
        (k, value): (usize, &Each),
    ) {
        let n = self.count;
        match value {
            Each::Atom(programs) => {
                for (i, program) in programs.iter().enumerate() {
                    let program = &self.programs.all()[*program];
                    self.put_values(space, registers, (k, i));
                    program.run_lanes::<V>(registers);
                    space.values[k * n + i] = registers[program.value_register()];
                }
            }
            Each::Pair(programs) => {
                for (place, program) in programs.iter().enumerate() {
                    let Some(program) = program else { continue };
                    let program = &self.programs.all()[*program];
                    let (i, j) = (place / n, place % n);
                    distance::<V>(tile, pair(i, j)).store(&mut registers[0]);
                    program.run_lanes::<V>(registers);
                    let part = V::load(&registers[program.value_register()]);
                    part.accumulate(&mut space.values[k * n + i]);
                }
            }
        }
    }

    /// Passes ∂U/∂value `k` on to what it is computed from.
    #[inline(always)]
    fn backward<V: Vector<Scalar = f64>>(
        &self,
        tile: &mut Tile<'_>,
        space: &mut Space<'_>,
        registers: &mut [Lane<f64>],
        (k, value): (usize, &Each),
    ) {
        let n = self.count;
        match value {
            Each::Atom(programs) => {
                for (i, program) in programs.iter().enumerate() {
                    let program = &self.programs.all()[*program];
                    self.put_values(space, registers, (k, i));
                    program.run_lanes::<V>(registers);
                    let pull = V::load(&space.pulls[k * n + i]);
                    for earlier in 0..k {
                        let slope = V::load(&registers[program.slope_register(earlier)]);
                        (slope * pull).accumulate(&mut space.pulls[earlier * n + i]);
                    }
                }
            }
            Each::Pair(programs) => {
                for (place, program) in programs.iter().enumerate() {
                    let Some(program) = program else { continue };
                    let program = &self.programs.all()[*program];
                    let (i, j) = (place / n, place % n);
                    let place = pair(i, j);
                    distance::<V>(tile, place).store(&mut registers[0]);
                    program.run_lanes::<V>(registers);
                    let slope = V::load(&registers[program.slope_register(0)]);
                    let pull = V::load(&space.pulls[k * n + i]) * V::load(&tile.inverse[place]);
                    (slope * pull).accumulate(&mut tile.slope[place]);
                }
            }
        }
    }

    #[inline(always)]
    fn atom_energies<V: Vector<Scalar = f64>>(
        &self,
        tile: &mut Tile<'_>,
        space: &mut Space<'_>,
        registers: &mut [Lane<f64>],
        (programs, force): (&[usize], usize),
    ) {
        let n = self.count;
        for (i, program) in programs.iter().enumerate() {
            let program = &self.programs.all()[*program];
            self.put_values(space, registers, (self.values.len(), i));
            program.run_lanes::<V>(registers);
            V::load(&registers[program.value_register()]).accumulate(&mut tile.energies[force]);
            for k in 0..self.values.len() {
                let slope = V::load(&registers[program.slope_register(k)]);
                slope.accumulate(&mut space.pulls[k * n + i]);
            }
        }
    }

    #[inline(always)]
    fn pair_energies<V: Vector<Scalar = f64>>(
        &self,
        tile: &mut Tile<'_>,
        space: &mut Space<'_>,
        registers: &mut [Lane<f64>],
        (programs, force): (&[Option<usize>], usize),
    ) {
        let (n, values) = (self.count, self.values.len());
        for (place, program) in programs.iter().enumerate() {
            let Some(program) = program else { continue };
            let program = &self.programs.all()[*program];
            let (i, j) = (place / n, place % n);
            let place = pair(i, j);
            distance::<V>(tile, place).store(&mut registers[0]);
            for k in 0..values {
                registers[1 + k] = space.values[k * n + i];
                registers[1 + values + k] = space.values[k * n + j];
            }
            program.run_lanes::<V>(registers);
            V::load(&registers[program.value_register()]).accumulate(&mut tile.energies[force]);
            let slope = V::load(&registers[program.slope_register(0)]);
            (slope * V::load(&tile.inverse[place])).accumulate(&mut tile.slope[place]);
            for k in 0..values {
                let by_first = V::load(&registers[program.slope_register(1 + k)]);
                by_first.accumulate(&mut space.pulls[k * n + i]);
                let by_second = V::load(&registers[program.slope_register(1 + values + k)]);
                by_second.accumulate(&mut space.pulls[k * n + j]);
            }
        }
    }
}

impl<'a> Space<'a> {
    /// For the forces with the most values.
    pub fn take<'b>(
        arena: &mut Arena<'a, f64>,
        forces: impl Iterator<Item = &'b CustomBorn>,
    ) -> Self {
        let lanes = forces.map(|force| force.values.len() * force.count).max().unwrap_or(0);
        Self { values: arena.take(lanes), pulls: arena.take(lanes) }
    }
}

#[inline(always)]
fn distance<V: Vector<Scalar = f64>>(tile: &Tile<'_>, pair: usize) -> V {
    V::load(&tile.squared[pair]) * V::load(&tile.inverse[pair])
}

impl Reader<'_> {
    /// The expression of `element` for each atom, in the values `names`.
    fn atoms(&mut self, element: Element<'_>, names: &[String]) -> Result<Each, Error> {
        let mut programs = Vec::new();
        for atom in &self.atoms {
            let numbers = self.parameters.iter().cloned().zip(atom.iter().copied());
            let known = self.words.names(names.iter().map(String::as_str), numbers);
            let key = key(element, atom);
            let compile = || self.words.compile(element, "expression", &known, names.len());
            programs.push(self.programs.place(self.force, &key, compile)?);
        }
        Ok(Each::Atom(programs))
    }

    /// The expression of `element` for pairs of atoms, in the distance and the values `names` of
    /// both; for each atom and all others where `ordered`.
    fn pairs(
        &mut self,
        element: Element<'_>,
        names: &[String],
        ordered: bool,
    ) -> Result<Each, Error> {
        let n = self.atoms.len();
        let with_excluded = element.text("type")? == "2";
        let values: Vec<String> = ["1", "2"]
            .iter()
            .flat_map(|ending| names.iter().map(move |name| format!("{name}{ending}")))
            .collect();
        let mut programs = vec![None; n * n];
        for i in 0..n {
            for j in 0..n {
                let wanted = if ordered { i != j } else { i < j };
                if !wanted || (self.excluded[pair(i, j)] && !with_excluded) {
                    continue;
                }
                let both = [&self.atoms[i][..], &self.atoms[j][..]];
                let key = key(element, &both.concat());
                let compile = || {
                    let variables = ["r"].into_iter().chain(values.iter().map(String::as_str));
                    let known = self.words.names(variables, of_two(&self.parameters, both));
                    self.words.compile(element, "expression", &known, 1 + values.len())
                };
                let program = self.programs.place(self.force, &key, compile)?;
                programs[i * n + j] = Some(program);
            }
        }
        Ok(Each::Pair(programs))
    }
}

/// Numbers that tell expressions apart: those of the atoms, after the place of the element.
fn key(element: Element<'_>, numbers: &[f64]) -> Vec<f64> {
    let mut key = vec![element.number_in_file()];
    key.extend(numbers);
    key
}
