//! Terms of many atoms over sixteen configurations at once: triples, and an embedding in a density.

use super::program::{Program, Row, WIDTH};
use super::tile::{angle, each, over, pull_pair, separation, times, Tile, ZERO};

/// A formula over every particle b and every two others a and c.
#[derive(Debug, Clone)]
pub(super) struct Triples {
    /// In theta, r_ab, r_bc, r_ac.
    pub programs: Vec<Program>,
    /// [species of b, species of a, species of c] to a place in `programs`, and whether a and c are
    /// the other way round there.
    pub table: Vec<Option<(usize, bool)>>,
    /// Only where a and c are nearer to b than this.
    pub within: Option<f64>,
}

impl Triples {
    pub fn add<const D: usize, const SLOPES: bool>(
        &self,
        tile: &mut Tile<'_>,
        species: &[usize],
        species_count: usize,
    ) {
        let mut neighbours = Vec::with_capacity(species.len());
        for b in 0..species.len() {
            neighbours.clear();
            neighbours.extend((0..species.len()).filter(|&a| a != b && self.near::<D>(tile, a, b)));
            for (number, &c) in neighbours.iter().enumerate() {
                for &a in &neighbours[..number] {
                    let row = (species[b] * species_count + species[a]) * species_count;
                    let Some((place, turned)) = self.table[row + species[c]] else { continue };
                    let atoms = if turned { [c, b, a] } else { [a, b, c] };
                    angle::<D, SLOPES>(tile, &self.programs[place], self.within, atoms);
                }
            }
        }
    }

    /// Whether a is near enough to b in any of the configurations.
    fn near<const D: usize>(&self, tile: &Tile<'_>, a: usize, b: usize) -> bool {
        self.within.is_none_or(|within| {
            let (_, r) = separation::<D>(tile, [a, b]);
            // What is not a number must be seen.
            !r.iter().all(|r| *r >= within)
        })
    }
}

/// Σ_i energy(ρ_i) with ρ_i = Σ_{j≠i} density(r_ij).
#[derive(Debug, Clone, Default)]
pub(super) struct Embedding {
    /// In r.
    pub densities: Vec<Program>,
    /// [species of i, species of j] to a place in `densities`.
    pub table: Vec<Option<usize>>,
    /// In rho; by species.
    pub energies: Vec<Program>,
    /// Below this distance densities are what they are there.
    pub core: f64,
}

impl Embedding {
    /// Adds the energies of all particles in their densities.
    pub fn add<const D: usize, const SLOPES: bool>(
        &self,
        tile: &mut Tile<'_>,
        species: &[usize],
        species_count: usize,
    ) {
        self.fill_densities::<D>(tile, species, species_count);
        for (i, species) in species.iter().enumerate() {
            let program = &self.energies[*species];
            tile.registers[0] = tile.density[i];
            program.run::<SLOPES>(tile.registers);
            let value = program.value(tile.registers);
            tile.energy = each(|l| tile.energy[l] + value[l]);
            if SLOPES {
                tile.density[i] = *program.slope(tile.registers, 0);
            }
        }
        if SLOPES {
            self.add_gradients::<D>(tile, species, species_count);
        }
    }

    /// All pairs with the places of the density at the first atom and at the second.
    fn pairs<'a>(
        &'a self,
        species: &'a [usize],
        count: usize,
    ) -> impl Iterator<Item = ([usize; 2], [Option<usize>; 2])> + 'a {
        let place = move |i: usize, j: usize| self.table[species[i] * count + species[j]];
        (0..species.len())
            .flat_map(|i| (0..i).map(move |j| [i, j]))
            .map(move |[i, j]| ([i, j], [place(i, j), place(j, i)]))
            .filter(|(_, [at_i, at_j])| at_i.or(*at_j).is_some())
    }

    fn fill_densities<const D: usize>(&self, tile: &mut Tile<'_>, species: &[usize], count: usize) {
        tile.density.fill(ZERO);
        for ([i, j], [at_i, at_j]) in self.pairs(species, count) {
            let (_, r) = separation::<D>(tile, [i, j]);
            for (atom, place, known) in [(i, at_i, None), (j, at_j, at_i)] {
                let Some(place) = place else { continue };
                let program = &self.densities[place];
                // Mostly both are of one formula, whose value is still there.
                if known != Some(place) {
                    tile.registers[0] = r.map(|r| if r < self.core { self.core } else { r });
                    program.run::<false>(tile.registers);
                }
                add(&mut tile.density[atom], program.value(tile.registers));
            }
        }
    }

    /// Adds the gradients, where the place of each density has the slope of the energy by it.
    fn add_gradients<const D: usize>(&self, tile: &mut Tile<'_>, species: &[usize], count: usize) {
        for ([i, j], [at_i, at_j]) in self.pairs(species, count) {
            let (difference, r) = separation::<D>(tile, [i, j]);
            let mut pull = ZERO;
            for (atom, place, known) in [(i, at_i, None), (j, at_j, at_i)] {
                let Some(place) = place else { continue };
                let program = &self.densities[place];
                if known != Some(place) {
                    tile.registers[0] = r;
                    program.run::<true>(tile.registers);
                }
                let (slope, by_density) = (program.slope(tile.registers, 0), &tile.density[atom]);
                let outside = each(|l| if r[l] < self.core { 0.0 } else { slope[l] });
                add(&mut pull, &each(|l| times(by_density[l], outside[l])));
            }
            let factor = each(|l| over(pull[l], r[l]));
            pull_pair(tile.gradient, [i, j], &factor, &difference);
        }
    }
}

fn add(to: &mut Row, row: &Row) {
    for l in 0..WIDTH {
        to[l] += row[l];
    }
}
