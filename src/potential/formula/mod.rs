//! Energy functions written as formulas in a target file: no Rust, and half the speed of it.
//!
//! The text becomes a graph with symbolic derivatives (`syntax`, `graph`), the graph a list of
//! instructions over sixteen numbers (`program`), and those run over sixteen configurations at a
//! time (`evaluate`). The parser is our own because a sign must bind as on paper (−x² = −(x²)),
//! errors must name a place, and no input may overflow the stack.

mod build;
mod evaluate;
mod graph;
mod parameters;
mod program;
mod syntax;

use std::cell::Cell;
use std::sync::Arc;

use self::evaluate::{Listed, Terms, Tile};
use self::program::{Row, WIDTH};
use super::pairs::{all_finite, check_lengths, explain};
use super::{EvaluationError, Potential};
use crate::error::Error;
use crate::system::System;

pub use self::parameters::{FormulaParameters, OverAtoms, Particles, PerSpecies};

/// U(x) = { Σ_{i<j} pair(r_ij) + Σ_i external(x_i − x̄) + bonds + angles + dihedrals } / T, where
/// each term is a formula.
///
/// Particles are alike when they have the same species and exchanging them leaves the lists of
/// bonds, angles and dihedrals as they are. Gradients come from symbolic derivatives.
///
/// # Examples
/// A spring of length 2 between two particles:
/// ```
/// use boltzflow::potential::{Formula, Potential};
/// let keys = r#"
///     dimension = 2
///     particles = 2
///     pair = "k/2*(r - 2)^2"
///     parameters = { k = 3.0 }
/// "#;
/// let spring = Formula::new(toml::from_str(keys)?)?;
/// let mut gradient = [0.0; 4];
/// assert_eq!(spring.energy_and_gradient(&[0.0, 0.0, 3.0, 0.0], &mut gradient)?, 1.5);
/// assert_eq!(gradient, [-3.0, 0.0, 3.0, 0.0]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Formula {
    system: System,
    terms: Terms,
    alike: Vec<usize>,
    /// Rows that programs work in.
    registers: usize,
}

thread_local! {
    /// Positions, gradients and registers of a tile. Taken out while in use.
    static WORKSPACE: Cell<Vec<Row>> = const { Cell::new(Vec::new()) };
}

impl Formula {
    /// Checks `parameters` and compiles the formulas.
    ///
    /// # Errors
    /// [`Error::Parameter`] with the name of the offending key and the place in its formula.
    pub fn new(parameters: FormulaParameters) -> Result<Self, Error> {
        let (system, terms) = build::build(&parameters)?;
        let alike = alike(&terms);
        let registers = terms.registers();
        Ok(Self { system, terms, alike, registers })
    }

    /// Energies and gradients of at most [`WIDTH`] configurations; what is not finite stays so.
    fn tile(&self, x: &[f64], energies: &mut [f64], gradients: &mut [f64], space: &mut [Row]) {
        let width = self.system.coordinates();
        let last = energies.len() - 1;
        let (positions, rest) = space.split_at_mut(width);
        let (gradient, registers) = rest.split_at_mut(width);
        for (k, row) in positions.iter_mut().enumerate() {
            *row = std::array::from_fn(|l| x[l.min(last) * width + k]);
        }
        let mut tile = Tile { x: positions, gradient, energy: [0.0; WIDTH], registers };
        match self.system.dimension() {
            2 => self.terms.evaluate::<2>(&mut tile),
            _ => self.terms.evaluate::<3>(&mut tile),
        }
        for (l, energy) in energies.iter_mut().enumerate() {
            *energy = tile.energy[l];
            for (g, row) in gradients[l * width..(l + 1) * width].iter_mut().zip(&*tile.gradient) {
                *g = row[l];
            }
        }
    }

    fn with_space<R>(&self, body: impl FnOnce(&mut [Row]) -> R) -> R {
        let mut space = WORKSPACE.take();
        let rows = 2 * self.system.coordinates() + self.registers;
        if space.len() < rows {
            space.resize(rows, [0.0; WIDTH]);
        }
        let result = body(&mut space[..rows]);
        WORKSPACE.set(space);
        result
    }
}

impl Potential for Formula {
    fn system(&self) -> System {
        self.system
    }

    fn species(&self) -> &[usize] {
        &self.alike
    }

    fn energy_and_gradient(&self, x: &[f64], gradient: &mut [f64]) -> Result<f64, EvaluationError> {
        check_lengths(self.system.coordinates(), x, gradient)?;
        let mut energy = [0.0];
        self.with_space(|space| self.tile(x, &mut energy, gradient, space));
        if all_finite(energy[0], gradient) {
            return Ok(energy[0]);
        }
        Err(EvaluationError::Recoverable(explain(self.system.dimension(), x)))
    }

    fn energies_and_gradients(
        &self,
        x: &[f64],
        energies: &mut [f64],
        gradients: &mut [f64],
    ) -> Result<usize, EvaluationError> {
        let width = self.system.coordinates();
        check_lengths(width * energies.len(), x, gradients)?;
        let tiles = x.chunks(WIDTH * width).zip(gradients.chunks_mut(WIDTH * width));
        self.with_space(|space| {
            for ((x, gradients), energies) in tiles.zip(energies.chunks_mut(WIDTH)) {
                self.tile(x, energies, gradients, space);
            }
        });
        let mut failures = 0;
        for (energy, gradient) in energies.iter_mut().zip(gradients.chunks_exact_mut(width)) {
            if !all_finite(*energy, gradient) {
                failures += 1;
                *energy = f64::INFINITY;
                gradient.fill(0.0);
            }
        }
        Ok(failures)
    }

    /// Pair terms that repel at the radius get a linear core there.
    fn softened(&self, core_radius: f64) -> Option<Arc<dyn Potential>> {
        if !(core_radius.is_finite() && core_radius >= 0.0) {
            return None;
        }
        let mut soft = self.clone();
        let mut registers = vec![[0.0; WIDTH]; self.registers];
        for pair in &mut soft.terms.pairs {
            registers[0] = [core_radius; WIDTH];
            pair.program.run(&mut registers);
            let value = pair.program.value(&registers)[0];
            let slope = pair.program.slope(&registers, 0)[0];
            let repels = value.is_finite() && slope.is_finite() && slope < 0.0;
            pair.core = if repels { core_radius } else { 0.0 };
        }
        let softer = core_radius == 0.0 || soft.terms.pairs.iter().any(|pair| pair.core > 0.0);
        softer.then(|| Arc::new(soft) as Arc<dyn Potential>)
    }
}

/// The classes of particles that may be exchanged. Two particles may be exchanged when they are of
/// one species and the lists are the same afterwards, which is an equivalence.
fn alike(terms: &Terms) -> Vec<usize> {
    let n = terms.species.len();
    // Each with the number of its formula.
    let mut lists: Vec<(usize, Vec<usize>)> = Vec::new();
    let mut reversible = Vec::new();
    add_lists(&terms.bonds, &mut lists, &mut reversible);
    add_lists(&terms.angles, &mut lists, &mut reversible);
    add_lists(&terms.dihedrals, &mut lists, &mut reversible);
    lists.sort_unstable();
    // The terms of each particle, so that an exchange looks at those of two particles only.
    let mut of_particle: Vec<Vec<usize>> = vec![Vec::new(); n];
    for (place, (_, atoms)) in lists.iter().enumerate() {
        atoms.iter().for_each(|&atom| of_particle[atom].push(place));
    }
    let may_exchange = |i: usize, j: usize| {
        let places: std::collections::BTreeSet<usize> =
            of_particle[i].iter().chain(&of_particle[j]).copied().collect();
        let before: Vec<_> = places.iter().map(|&place| lists[place].clone()).collect();
        let mut after: Vec<_> = before
            .iter()
            .map(|(number, atoms)| {
                let swapped: Vec<usize> = atoms
                    .iter()
                    .map(|&atom| match atom {
                        atom if atom == i => j,
                        atom if atom == j => i,
                        atom => atom,
                    })
                    .collect();
                (*number, in_order(swapped, reversible[*number]))
            })
            .collect();
        after.sort_unstable();
        before == after
    };
    let mut first_of: Vec<usize> = Vec::new();
    let mut class = Vec::with_capacity(n);
    for i in 0..n {
        let known = first_of.iter().position(|&first| {
            terms.species[first] == terms.species[i]
                && of_particle[first].len() == of_particle[i].len()
                && may_exchange(first, i)
        });
        class.push(known.unwrap_or_else(|| {
            first_of.push(i);
            first_of.len() - 1
        }));
    }
    class
}

fn add_lists<const ATOMS: usize>(
    terms: &[Listed<ATOMS>],
    lists: &mut Vec<(usize, Vec<usize>)>,
    reversible: &mut Vec<bool>,
) {
    for term in terms {
        let number = reversible.len();
        reversible.push(term.reversible);
        let in_order = |atoms: &[usize; ATOMS]| (number, in_order(atoms.to_vec(), term.reversible));
        lists.extend(term.atoms.iter().map(in_order));
    }
}

/// The atoms from the smaller end, where both directions mean the same.
fn in_order(mut atoms: Vec<usize>, reversible: bool) -> Vec<usize> {
    if reversible && atoms.first() > atoms.last() {
        atoms.reverse();
    }
    atoms
}
