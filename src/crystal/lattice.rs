//! The sites of cubic lattices that fill a box.

use serde::{Deserialize, Serialize};

use crate::error::{refuse, Error};
use crate::system::System;

/// A lattice of cubic cells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Lattice {
    /// Simple cubic, one site a cell; the square lattice in the plane.
    Sc,
    /// Body-centred cubic, two sites a cell.
    Bcc,
    /// Face-centred cubic, four sites a cell.
    Fcc,
    /// Diamond, eight sites a cell.
    Diamond,
}

/// Edges of a cell may differ by this part along the axes.
const CUBIC: f64 = 1e-6;

impl Lattice {
    /// Its sites in a cubic cell of edge 1.
    fn cell(self) -> &'static [[f64; 3]] {
        const ALL: [[f64; 3]; 8] = [
            [0.0, 0.0, 0.0],
            [0.0, 0.5, 0.5],
            [0.5, 0.0, 0.5],
            [0.5, 0.5, 0.0],
            [0.25, 0.25, 0.25],
            [0.25, 0.75, 0.75],
            [0.75, 0.25, 0.75],
            [0.75, 0.75, 0.25],
        ];
        const BCC: [[f64; 3]; 2] = [[0.0, 0.0, 0.0], [0.5, 0.5, 0.5]];
        match self {
            Self::Sc => &ALL[..1],
            Self::Bcc => &BCC,
            Self::Fcc => &ALL[..4],
            Self::Diamond => &ALL,
        }
    }

    /// As many sites as `system` has particles, [particles, dimension], which fill its periodic box
    /// with whole cubic cells along the axes.
    ///
    /// # Errors
    /// [`Error::Parameter`] on `lattice` if there is no box, or if no cubic cells fill it with that
    /// many sites.
    ///
    /// # Examples
    /// ```
    /// use boltzflow::crystal::Lattice;
    /// use boltzflow::System;
    /// let system = System::new(4, 3)?.in_box(&[2.0, 2.0, 2.0])?;
    /// let sites = Lattice::Fcc.sites(system)?;
    /// assert_eq!(sites[3..6], [0.0, 1.0, 1.0]);
    /// assert!(Lattice::Bcc.sites(system).is_err());
    /// # Ok::<(), boltzflow::Error>(())
    /// ```
    pub fn sites(self, system: System) -> Result<Vec<f64>, Error> {
        let (n, d) = (system.particles(), system.dimension());
        let (Some(edges), Some(volume)) = (system.periodic_box(), system.volume()) else {
            return refuse("lattice", "needs a periodic box: add box = [Lx, Ly, Lz]");
        };
        if d == 2 && self != Self::Sc {
            return refuse("lattice", "is in space, and the target is in a plane: use \"sc\"");
        }
        let cell = self.cell();
        let wrong = |problem: String| Err(Error::parameter("lattice", problem));
        let cells = n / cell.len();
        if !n.is_multiple_of(cell.len()) {
            let (s, below) = (cell.len(), cells * cell.len());
            return wrong(format!(
                "has {s} sites in a cell, which {n} particles do not fill: use {below} or {}",
                below + s
            ));
        }
        let edge = (volume / cells as f64).powf(1.0 / d as f64);
        let counts: Vec<usize> = edges.iter().map(|l| (l / edge).round() as usize).collect();
        let fits = edges
            .iter()
            .zip(&counts)
            .all(|(l, count)| (l / *count as f64 / edge - 1.0).abs() < CUBIC);
        if counts.iter().product::<usize>() != cells || !fits {
            return wrong(format!(
                "does not fill the box {edges:?} with {cells} cubic cells of edge {edge:.6}: \
                 edges must be whole multiples of that of a cell, such as {}",
                suggestion(cells, d)
            ));
        }
        let mut sites = Vec::with_capacity(n * d);
        for cell_number in 0..cells {
            let mut place = [0; 3];
            let mut left = cell_number;
            for k in (0..d).rev() {
                place[k] = left % counts[k];
                left /= counts[k];
            }
            for site in cell {
                for k in 0..d {
                    sites.push(edges[k] / counts[k] as f64 * (place[k] as f64 + site[k]));
                }
            }
        }
        Ok(sites)
    }
}

/// Whole cells that would fill a box.
fn suggestion(cells: usize, d: usize) -> String {
    let side = (cells as f64).powf(1.0 / d as f64).round().max(1.0) as usize;
    format!("{} cells, {side} along each axis", side.pow(d as u32))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Distances to the nearest sites and how many there are, of edge 1 for a cell.
    #[test]
    fn every_site_has_its_neighbours_at_their_distance() {
        let half = 0.5f64.sqrt();
        for (lattice, sites, number, distance) in [
            (Lattice::Sc, 27, 6, 1.0),
            (Lattice::Bcc, 54, 8, 0.75f64.sqrt()),
            (Lattice::Fcc, 108, 12, half),
            (Lattice::Diamond, 216, 4, 0.1875f64.sqrt()),
        ] {
            let system = System::new(sites, 3).unwrap().in_box(&[3.0; 3]).unwrap();
            let x = lattice.sites(system).unwrap();
            for a in x.chunks_exact(3) {
                let near = |b: &&[f64]| {
                    let r = system.separation(a, b).iter().map(|r| r * r).sum::<f64>().sqrt();
                    assert!(r < 1e-9 || r > distance - 1e-9, "{lattice:?}: {r}");
                    (r - distance).abs() < 1e-9
                };
                assert_eq!(x.chunks_exact(3).filter(near).count(), number, "{lattice:?}");
            }
        }
    }

    #[test]
    fn boxes_that_a_lattice_does_not_fill_are_refused() {
        let of = |n: usize, edges: &[f64]| System::new(n, 3).unwrap().in_box(edges).unwrap();
        assert!(Lattice::Fcc.sites(of(8, &[1.0, 1.0, 2.0])).is_ok());
        for (system, hint) in [
            (of(250, &[5.0; 3]), "4 sites in a cell, which 250 particles do not fill"),
            (of(252, &[5.0; 3]), "does not fill the box"),
            (of(256, &[5.0, 5.0, 5.1]), "64 cells, 4 along each axis"),
            (System::new(4, 3).unwrap(), "needs a periodic box"),
        ] {
            let message = Lattice::Fcc.sites(system).unwrap_err().to_string();
            assert!(message.starts_with("`lattice`") && message.contains(hint), "{message}");
        }
    }
}
