//! Energy functions written as formulas in a target file: no Rust, and half the speed of it.
//!
//! The text becomes a graph with symbolic derivatives (`syntax`, `graph`), the graph a list of
//! instructions over sixteen numbers (`program`), and those run over sixteen configurations at a
//! time (`evaluate`). The parser is our own because a sign must bind as on paper (−x² = −(x²)),
//! errors must name a place, and no input may overflow the stack.

mod alike;
mod build;
mod evaluate;
mod form;
mod graph;
mod many;
mod names;
mod parameters;
mod program;
mod syntax;
mod tile;

use std::cell::Cell;
use std::sync::Arc;

pub(super) use self::graph::Graph;
pub(super) use self::program::Program;
pub(super) use self::syntax::{parse_with, Functions, Meaning};

use self::evaluate::Terms;
use self::program::{Row, WIDTH};
use self::tile::Tile;
use super::pairs::{check_lengths, explain, settle};
use super::{EvaluationError, Potential};
use crate::error::Error;
use crate::system::System;

pub use self::parameters::{
    EmbeddingFormulas, FormulaParameters, OverAtoms, OverTriples, Particles, PerSpecies,
};

/// U(x) = { Σ_{i<j} pair(r_ij) + Σ_i external(x_i − x̄) + bonds + angles + dihedrals + triples +
/// embedding } / T, where each term is a formula.
///
/// With a cut-off the pairs are those with r_ij < r_c, each less what it is at r_c; in a periodic
/// box all distances are those to the nearest image.
///
/// Particles are alike when they have the same species and exchanging them leaves the lists of
/// bonds, angles and dihedrals as they are. Gradients come from symbolic derivatives: a branch that
/// is flat has the derivative 0 whatever is done with it, and a kink the mean of both sides.
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
    /// Of the periodic box.
    edges: Option<[f64; 3]>,
    terms: Terms,
    alike: Vec<usize>,
    bonds: Vec<[usize; 2]>,
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
        let alike = alike::alike(&terms);
        let registers = terms.registers();
        let bonds = parameters.bonds.iter().flat_map(|bonds| bonds.atoms.iter().copied()).collect();
        let formula = Self { system, edges: None, terms, alike, bonds, registers };
        Ok(formula.into_nearest_images(system))
    }

    /// The same formula of `system`, which has as many particles and dimensions, with all pairs to
    /// their nearest images where that is in a periodic box.
    pub(crate) fn into_nearest_images(self, system: System) -> Self {
        let edges = system
            .periodic_box()
            .map(|edges| std::array::from_fn(|k| edges.get(k).copied().unwrap_or(f64::INFINITY)));
        Self { system, edges, ..self }
    }

    /// Energies of at most [`WIDTH`] configurations, and their gradients where `SLOPES`; what is
    /// not finite stays so.
    fn tile<const SLOPES: bool>(
        &self,
        x: &[f64],
        energies: &mut [f64],
        gradients: &mut [f64],
        space: &mut [Row],
    ) {
        let (width, particles) = (self.system.coordinates(), self.system.particles());
        let last = energies.len() - 1;
        let (positions, rest) = space.split_at_mut(width);
        let (gradient, rest) = rest.split_at_mut(if SLOPES { width } else { 0 });
        let (density, registers) = rest.split_at_mut(particles);
        for (k, row) in positions.iter_mut().enumerate() {
            *row = std::array::from_fn(|l| x[l.min(last) * width + k]);
        }
        let (x, energy) = (&*positions, [0.0; WIDTH]);
        let mut tile = Tile { x, edges: self.edges, gradient, energy, registers, density };
        match self.system.dimension() {
            2 => self.terms.evaluate::<2, SLOPES>(&mut tile),
            _ => self.terms.evaluate::<3, SLOPES>(&mut tile),
        }
        energies.copy_from_slice(&tile.energy[..=last]);
        for (l, gradient) in gradients.chunks_exact_mut(width).enumerate() {
            for (g, row) in gradient.iter_mut().zip(&*tile.gradient) {
                *g = row[l];
            }
        }
    }

    fn with_space<R>(&self, body: impl FnOnce(&mut [Row]) -> R) -> R {
        let mut space = WORKSPACE.take();
        let rows = 2 * self.system.coordinates() + self.system.particles() + self.registers;
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

    fn bonds(&self) -> &[[usize; 2]] {
        &self.bonds
    }

    fn energy_and_gradient(&self, x: &[f64], gradient: &mut [f64]) -> Result<f64, EvaluationError> {
        check_lengths(self.system.coordinates(), x, gradient)?;
        let mut energy = [0.0];
        self.with_space(|space| self.tile::<true>(x, &mut energy, gradient, space));
        let [energy] = energy;
        if settle(&mut energy.clone(), gradient) {
            return Ok(energy);
        }
        Err(EvaluationError::Recoverable(explain(self.system, x, energy)))
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
                self.tile::<true>(x, energies, gradients, space);
            }
        });
        let rows = energies.iter_mut().zip(gradients.chunks_exact_mut(width));
        Ok(rows.map(|(energy, gradient)| usize::from(!settle(energy, gradient))).sum())
    }

    fn energies(&self, x: &[f64], energies: &mut [f64]) -> Result<usize, EvaluationError> {
        let width = self.system.coordinates();
        check_lengths(width * energies.len(), x, x)?;
        self.with_space(|space| {
            for (x, energies) in x.chunks(WIDTH * width).zip(energies.chunks_mut(WIDTH)) {
                self.tile::<false>(x, energies, &mut [], space);
            }
        });
        Ok(energies.iter_mut().map(|energy| usize::from(!settle(energy, &mut []))).sum())
    }

    /// Pair terms that repel at the radius get a linear core there, and densities stay below it
    /// what they are there.
    fn softened(&self, core_radius: f64) -> Option<Arc<dyn Potential>> {
        if !(core_radius.is_finite() && core_radius >= 0.0) {
            return None;
        }
        let mut soft = self.clone();
        let mut registers = vec![[0.0; WIDTH]; self.registers];
        for pair in &mut soft.terms.pairs {
            registers[0] = [core_radius; WIDTH];
            pair.program.run::<true>(&mut registers);
            let value = pair.program.value(&registers)[0];
            let slope = pair.program.slope(&registers, 0)[0];
            let acts = soft.terms.cutoff.is_none_or(|cutoff| core_radius < cutoff);
            let repels = acts && value.is_finite() && slope.is_finite() && slope < 0.0;
            pair.core = if repels { core_radius } else { 0.0 };
        }
        let softer = core_radius == 0.0 || soft.terms.pairs.iter().any(|pair| pair.core > 0.0);
        if let Some(embedding) = &mut soft.terms.embedding {
            embedding.core = core_radius;
        }
        softer.then(|| Arc::new(soft) as Arc<dyn Potential>)
    }
}
