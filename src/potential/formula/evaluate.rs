//! All terms of a formula over sixteen configurations at once.

use super::many::{Embedding, Triples};
use super::program::{Program, Row, WIDTH};
use super::tile::{angle, bond, dihedral, each, near_pair, softened_pair, Tile, TINY, ZERO};

/// A pair term, by the two species.
#[derive(Debug, Clone)]
pub(super) struct PairTerm {
    /// Value and slope in r.
    pub program: Program,
    /// Below this distance the term is its tangent.
    pub core: f64,
    /// What the term is at the cut-off.
    pub shift: f64,
}

/// A formula over listed atoms.
#[derive(Debug, Clone)]
pub(super) struct Listed<const ATOMS: usize> {
    pub program: Program,
    pub atoms: Vec<[usize; ATOMS]>,
    /// Equal for equal formulas: of the formula, and of it for the atoms in reverse order.
    pub forms: [usize; 2],
}

/// All terms, over kT.
#[derive(Debug, Clone, Default)]
pub(super) struct Terms {
    /// Number in the file of each particle's species.
    pub species: Vec<usize>,
    pub species_count: usize,
    /// [species, species] to a place in `pairs`; empty without pair terms.
    pub pair_table: Vec<Option<usize>>,
    pub pairs: Vec<PairTerm>,
    /// From here on pairs have no energy.
    pub cutoff: Option<f64>,
    /// By species; empty without external terms.
    pub external: Vec<Program>,
    /// In r.
    pub bonds: Vec<Listed<2>>,
    /// In theta, r_ab, r_bc, r_ac.
    pub angles: Vec<Listed<3>>,
    /// In phi.
    pub dihedrals: Vec<Listed<4>>,
    pub triples: Vec<Triples>,
    pub embedding: Option<Embedding>,
}

impl Terms {
    /// Rows that the longest program needs.
    pub fn registers(&self) -> usize {
        let pairs = self.pairs.iter().map(|term| &term.program);
        let bonds = self.bonds.iter().map(|term| &term.program);
        let angles = self.angles.iter().map(|term| &term.program);
        let dihedrals = self.dihedrals.iter().map(|term| &term.program);
        let triples = self.triples.iter().flat_map(|term| &term.programs);
        let embedding = self.embedding.iter();
        let embedding = embedding.flat_map(|term| term.densities.iter().chain(&term.energies));
        let all = pairs.chain(&self.external).chain(bonds).chain(angles).chain(dihedrals);
        all.chain(triples).chain(embedding).map(Program::registers).max().unwrap_or(0)
    }

    /// Energies of the tile in D dimensions, and its gradients where `SLOPES`.
    pub fn evaluate<const D: usize, const SLOPES: bool>(&self, tile: &mut Tile<'_>) {
        tile.energy = ZERO;
        tile.gradient.fill(ZERO);
        if !self.pairs.is_empty() {
            self.pair_sum::<D, SLOPES>(tile);
        }
        if !self.external.is_empty() {
            self.external_sum::<D, SLOPES>(tile);
        }
        for Listed { program, atoms, .. } in &self.bonds {
            atoms.iter().for_each(|atoms| bond::<D, SLOPES>(tile, program, *atoms));
        }
        for Listed { program, atoms, .. } in &self.angles {
            atoms.iter().for_each(|atoms| angle::<D, SLOPES>(tile, program, None, *atoms));
        }
        for Listed { program, atoms, .. } in &self.dihedrals {
            atoms.iter().for_each(|atoms| dihedral::<D, SLOPES>(tile, program, *atoms));
        }
        for term in &self.triples {
            term.add::<D, SLOPES>(tile, &self.species, self.species_count);
        }
        if let Some(term) = &self.embedding {
            term.add::<D, SLOPES>(tile, &self.species, self.species_count);
        }
    }

    fn pair_sum<const D: usize, const SLOPES: bool>(&self, tile: &mut Tile<'_>) {
        for i in 0..self.species.len() {
            let row =
                &self.pair_table[self.species[i] * self.species_count..][..self.species_count];
            for j in 0..i {
                let Some(term) = row[self.species[j]] else { continue };
                let PairTerm { program, core, shift } = &self.pairs[term];
                if let Some(cutoff) = self.cutoff {
                    let lengths = (*core, cutoff, *shift);
                    near_pair::<D, SLOPES>(tile, program, lengths, [i, j]);
                } else if *core > 0.0 {
                    softened_pair::<D, SLOPES>(tile, program, *core, [i, j]);
                } else {
                    bond::<D, SLOPES>(tile, program, [i, j]);
                }
            }
        }
    }

    /// Terms in the position from the centre of mass. The gradient by the centre is shared by all
    /// particles.
    fn external_sum<const D: usize, const SLOPES: bool>(&self, tile: &mut Tile<'_>) {
        let n = self.species.len();
        let mean_of = |rows: &[Row]| -> [Row; D] {
            let mut mean = [ZERO; D];
            for row in rows.chunks_exact(D) {
                for k in 0..D {
                    for l in 0..WIDTH {
                        mean[k][l] += row[k][l];
                    }
                }
            }
            mean.map(|m| m.map(|m| m / n as f64))
        };
        let center = mean_of(tile.x);
        let mut recoil = [ZERO; D];
        for i in 0..n {
            let program = &self.external[self.species[i]];
            let mut radius = ZERO;
            for (k, center) in center.iter().enumerate() {
                let from_center = each(|l| tile.x[i * D + k][l] - center[l]);
                radius = each(|l| radius[l] + from_center[l] * from_center[l]);
                tile.registers[k] = from_center;
            }
            let radius = radius.map(f64::sqrt);
            tile.registers[D] = radius;
            program.run::<SLOPES>(tile.registers);
            let value = program.value(tile.registers);
            tile.energy = each(|l| tile.energy[l] + value[l]);
            if !SLOPES {
                continue;
            }
            let slope = program.slope(tile.registers, D);
            let outward = each(|l| slope[l] / radius[l].max(TINY));
            for (k, recoil) in recoil.iter_mut().enumerate() {
                let slope = program.slope(tile.registers, k);
                let pull = each(|l| slope[l] + outward[l] * tile.registers[k][l]);
                for l in 0..WIDTH {
                    tile.gradient[i * D + k][l] += pull[l];
                    recoil[l] += pull[l] / n as f64;
                }
            }
        }
        for row in tile.gradient.chunks_exact_mut(D) {
            for k in 0..D {
                for l in 0..WIDTH {
                    row[k][l] -= recoil[k][l];
                }
            }
        }
    }
}
