//! The free energy of a crystal from the integral over particles that are tied to its sites.

use std::collections::HashMap;

use crate::error::{refuse, Error};
use crate::system::System;

/// Two sites nearer than this part of the mean spacing, (V/N)^(1/d), overlap.
const NEAREST: f64 = 0.25;
/// A site is where another one would be if it is as near as this part of the mean spacing.
const SAME: f64 = 1e-6;

/// The sites of a crystal in a periodic box, each with a particle that is tied to it.
///
/// The particles of a crystal stay at their sites, so what can be integrated is
///
/// ```text
/// Z_sites = ∫ exp(−U) over the zero-centre-of-mass subspace, one particle near each site
/// ```
///
/// The integral over all positions in the box counts besides the N! ways to give sites to particles
/// and the places of the centre of mass: a volume of V over the number t of translations that carry
/// the sites into themselves, which give the same configurations again, and N^(d/2) since a
/// direction in which all particles move by one length is √N long. With a de Broglie wavelength Λ
/// of the unit of length,
///
/// ```text
/// ln Z = ln N! + ln(V/t) + (d/2) ln N + ln Z_sites,    βF = −ln(Z/N!)
/// ```
///
/// (Polson, Trizac, Pronk and Frenkel, J. Chem. Phys. 112, 5339 (2000)). t is N for the lattices
/// with one site in a primitive cell.
#[derive(Debug, Clone, PartialEq)]
pub struct Crystal {
    system: System,
    sites: Vec<f64>,
    translations: usize,
}

impl Crystal {
    /// A crystal with these `sites`, [particles, dimension], in the periodic box of `system`.
    ///
    /// # Errors
    /// [`Error::Parameter`] on `box` if there is none, and on `structure` if two sites overlap, or
    /// if there are not as many as particles.
    pub fn new(system: System, sites: &[f64]) -> Result<Self, Error> {
        let Some(volume) = system.volume() else {
            return refuse("box", "is missing: a crystal is in a periodic box");
        };
        if sites.len() != system.coordinates() {
            let found = sites.len() / system.dimension();
            let problem = format!("has {found} sites for {} particles", system.particles());
            return refuse("structure", problem);
        }
        let mut sites = sites.to_vec();
        system.remove_center_of_mass(&mut sites);
        let (n, d) = (system.particles(), system.dimension());
        let spacing = (volume / n as f64).powf(1.0 / d as f64);
        let grid = Grid::new(system, &sites, NEAREST * spacing);
        for (i, site) in sites.chunks_exact(d).enumerate() {
            let within = grid.within(site, NEAREST * spacing);
            if let Some(j) = within.into_iter().find(|&j| j != i) {
                let problem = format!(
                    "has sites {} and {} (counted from 0) nearer than {NEAREST} of the mean \
                     spacing, {spacing:.3}: particles there overlap, correct the structure or its \
                     unit",
                    i.min(j),
                    i.max(j)
                );
                return refuse("structure", problem);
            }
        }
        let carried = |j: &usize| {
            let shift = system.separation(&sites[j * d..(j + 1) * d], &sites[..d]);
            sites.chunks_exact(d).all(|site| {
                let moved: Vec<f64> = site.iter().zip(&shift).map(|(x, s)| x + s).collect();
                !grid.within(&moved, SAME * spacing).is_empty()
            })
        };
        let translations = (0..n).filter(carried).count();
        Ok(Self { system, sites, translations })
    }

    /// Its particles and box.
    pub fn system(&self) -> System {
        self.system
    }

    /// The sites, [particles, dimension], with their centre of mass at the origin.
    pub fn sites(&self) -> &[f64] {
        &self.sites
    }

    /// Translations that carry the sites into themselves, no translation among them.
    pub fn translations(&self) -> usize {
        self.translations
    }

    /// βF/N, from ln Z_sites.
    ///
    /// # Examples
    /// The Einstein crystal, each particle on a spring to its site with a spread s = 0.05, on the
    /// subspace: Z_sites = (2π s²)^(d(N − 1)/2).
    /// ```
    /// use boltzflow::crystal::{Crystal, Lattice};
    /// use boltzflow::System;
    /// let edge = (256f64 / 1.28).cbrt();
    /// let system = System::new(256, 3)?.in_box(&[edge; 3])?;
    /// let crystal = Crystal::new(system, &Lattice::Fcc.sites(system)?)?;
    /// let log_z = 0.5 * 3.0 * 255.0 * (std::f64::consts::TAU * 0.05 * 0.05).ln();
    /// assert!((crystal.free_energy(log_z) - 6.1745168).abs() < 1e-7);
    /// # Ok::<(), boltzflow::Error>(())
    /// ```
    pub fn free_energy(&self, log_z: f64) -> f64 {
        let n = self.system.particles() as f64;
        let places = self.system.volume().unwrap_or(f64::NAN) / self.translations as f64;
        let center = 0.5 * self.system.dimension() as f64 * n.ln();
        -(places.ln() + center + log_z) / n
    }

    /// The standard error of [`free_energy`](Self::free_energy) from that of ln Z_sites.
    pub fn free_energy_error(&self, log_z_error: f64) -> f64 {
        log_z_error / self.system.particles() as f64
    }
}

/// Sites by the cell of a grid that they are in.
struct Grid<'a> {
    system: System,
    sites: &'a [f64],
    cells: HashMap<[usize; 3], Vec<usize>>,
    counts: [usize; 3],
}

impl<'a> Grid<'a> {
    /// A grid whose cells are at least `size` wide, with more than one along an axis.
    fn new(system: System, sites: &'a [f64], size: f64) -> Self {
        let mut counts = [1; 3];
        let edges = system.periodic_box().unwrap_or_default();
        for (count, edge) in counts.iter_mut().zip(edges) {
            *count = ((edge / size) as usize).clamp(1, 1 << 20);
        }
        let mut grid = Self { system, sites, cells: HashMap::new(), counts };
        for (i, site) in sites.chunks_exact(system.dimension()).enumerate() {
            let cell = grid.cell(site);
            grid.cells.entry(cell).or_default().push(i);
        }
        grid
    }

    fn cell(&self, x: &[f64]) -> [usize; 3] {
        let mut cell = [0; 3];
        let edges = self.system.periodic_box().unwrap_or_default();
        for (k, (x, edge)) in x.iter().zip(edges).enumerate() {
            let along = x / edge - (x / edge).floor();
            cell[k] = ((along * self.counts[k] as f64) as usize).min(self.counts[k] - 1);
        }
        cell
    }

    /// The sites nearer to `x` than `radius`, of at most the width of a cell.
    fn within(&self, x: &[f64], radius: f64) -> Vec<usize> {
        let d = self.system.dimension();
        // Cells that the cube around x reaches, of which there are at most three along each axis.
        let mut cells: Vec<[usize; 3]> = (0..3usize.pow(d as u32))
            .map(|point| {
                let step = |k: usize| (point / 3usize.pow(k as u32) % 3) as f64 - 1.0;
                let at = |(k, x): (usize, &f64)| x + step(k) * radius;
                self.cell(&x.iter().enumerate().map(at).collect::<Vec<f64>>())
            })
            .collect();
        cells.sort_unstable();
        cells.dedup();
        let near = |&i: &usize| {
            let r = self.system.separation(x, &self.sites[i * d..(i + 1) * d]);
            r.iter().map(|r| r * r).sum::<f64>() < radius * radius
        };
        cells
            .iter()
            .filter_map(|cell| self.cells.get(cell))
            .flatten()
            .copied()
            .filter(near)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::Lattice;
    use super::*;

    fn fcc(n: usize) -> Crystal {
        let system = System::new(n, 3).unwrap().in_box(&[(n as f64 / 1.28).cbrt(); 3]).unwrap();
        Crystal::new(system, &Lattice::Fcc.sites(system).unwrap()).unwrap()
    }

    fn einstein(n: usize) -> f64 {
        1.5 * (n - 1) as f64 * (std::f64::consts::TAU * 0.05 * 0.05).ln()
    }

    #[test]
    fn einstein_crystals_have_their_known_free_energies() {
        for (n, known) in [(256, 6.1745168), (500, 6.1997704)] {
            let crystal = fcc(n);
            assert_eq!(crystal.translations(), n);
            assert!((crystal.free_energy(einstein(n)) - known).abs() < 1e-7);
            // Had the place of the centre of mass been counted in full:
            let planted = crystal.free_energy(einstein(n)) - (n as f64).ln() / n as f64;
            assert!((planted - known).abs() > 1e-3);
        }
    }

    #[test]
    fn translations_are_those_of_the_primitive_cell() {
        let in_box = |n: usize| System::new(n, 3).unwrap().in_box(&[3.0, 3.0, 6.0]).unwrap();
        let system = in_box(8 * 54);
        let diamond = Lattice::Diamond.sites(system).unwrap();
        assert_eq!(Crystal::new(system, &diamond).unwrap().translations(), 4 * 54);
        // A shift of all sites changes nothing; of one, all.
        let moved: Vec<f64> = diamond.iter().map(|x| x + 0.37).collect();
        assert_eq!(Crystal::new(system, &moved).unwrap().translations(), 4 * 54);
        let mut planted = diamond.clone();
        planted[100] += 0.01;
        assert_eq!(Crystal::new(system, &planted).unwrap().translations(), 1);
        let system = in_box(108);
        let bcc = Lattice::Bcc.sites(system).unwrap();
        assert_eq!(Crystal::new(system, &bcc).unwrap().translations(), 108);
    }

    #[test]
    fn sites_that_overlap_are_refused() {
        let system = System::new(4, 3).unwrap().in_box(&[2.0; 3]).unwrap();
        let mut sites = Lattice::Fcc.sites(system).unwrap();
        sites[3..6].copy_from_slice(&[1.9, 0.1, 2.0]);
        let message = Crystal::new(system, &sites).unwrap_err().to_string();
        assert!(message.contains("sites 0 and 1") && message.contains("overlap"), "{message}");
        assert!(Crystal::new(System::new(4, 3).unwrap(), &sites).is_err());
        assert!(Crystal::new(system, &sites[3..]).is_err());
    }
}
