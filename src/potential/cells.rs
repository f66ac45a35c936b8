//! Pairs of particles nearer than a cut-off, found by cells, at a cost that grows with n.

use crate::system::System;

/// Cells are at least half the cut-off wide, so that those two further along each axis hold every
/// particle that is near: they enclose a smaller volume than whole cut-offs would.
const REACH: usize = 2;

/// Particles in the order of the cells that they are in.
///
/// An axis too short for `2 REACH + 1` cells is not divided. Where none is, there is one cell with
/// all pairs in it.
pub(super) struct Cells<const D: usize> {
    /// Edges of the periodic box.
    edges: Option<[f64; D]>,
    /// Cells along each axis.
    counts: [usize; D],
    /// The first place of each cell, and at last the number of particles.
    starts: Vec<usize>,
    /// The particle at each place.
    pub particles: Vec<usize>,
    /// Its position, in a periodic box that of the image within.
    positions: Vec<[f64; D]>,
    cutoff_squared: f64,
}

impl<const D: usize> Cells<D> {
    /// For configuration `x`, [particles, D] and finite, of a system in D dimensions, in open space
    /// or in a box whose edges are at least twice the cut-off.
    pub fn new(system: System, x: &[f64], cutoff: f64) -> Self {
        let edges = system.periodic_box().map(|all| std::array::from_fn(|k| all[k]));
        let mut positions: Vec<[f64; D]> =
            x.chunks_exact(D).map(|x| std::array::from_fn(|k| x[k])).collect();
        let (low, size): ([f64; D], [f64; D]) = match &edges {
            Some(edges) => {
                for x in &mut positions {
                    for k in 0..D {
                        x[k] -= edges[k] * (x[k] / edges[k]).floor();
                    }
                }
                ([0.0; D], *edges)
            }
            None => bounds(&positions),
        };
        // More cells than particles only cost time.
        let n = positions.len();
        let most = (2.0 * (n as f64).powf(1.0 / D as f64)).ceil() as usize;
        let counts = size.map(|size| {
            let count = (size / cutoff * REACH as f64) as usize;
            if count > 2 * REACH {
                count.min(most.max(2 * REACH + 1))
            } else {
                1
            }
        });
        let cell_of = |x: &[f64; D]| {
            (0..D).fold(0, |cell, k| {
                let along = (x[k] - low[k]) / size[k] * counts[k] as f64;
                cell * counts[k] + (along.max(0.0) as usize).min(counts[k] - 1)
            })
        };
        let cells: Vec<usize> = positions.iter().map(cell_of).collect();
        let mut starts = vec![0; counts.iter().product::<usize>() + 1];
        cells.iter().for_each(|&cell| starts[cell + 1] += 1);
        for cell in 1..starts.len() {
            starts[cell] += starts[cell - 1];
        }
        let mut particles: Vec<usize> = (0..n).collect();
        particles.sort_by_key(|&i| cells[i]);
        let positions = particles.iter().map(|&i| positions[i]).collect();
        Self { edges, counts, starts, particles, positions, cutoff_squared: cutoff * cutoff }
    }

    /// Calls `visit` once for every pair nearer than the cut-off, with the places of both, the
    /// separation of the first from the nearest image of the second, and its square.
    #[inline(always)]
    pub fn for_each_pair(&self, mut visit: impl FnMut(usize, usize, [f64; D], f64)) {
        let offsets = self.offsets();
        for cell in 0..self.starts.len() - 1 {
            let here = self.starts[cell]..self.starts[cell + 1];
            for i in here.clone() {
                self.visit_row(i, here.start..i, &mut visit);
            }
            if here.is_empty() {
                continue;
            }
            for offset in &offsets {
                let Some(other) = self.neighbour(cell, offset) else { continue };
                for i in here.clone() {
                    self.visit_row(i, self.starts[other]..self.starts[other + 1], &mut visit);
                }
            }
        }
    }

    /// The pairs of place i with those of `others`.
    #[inline(always)]
    fn visit_row(
        &self,
        i: usize,
        others: std::ops::Range<usize>,
        visit: &mut impl FnMut(usize, usize, [f64; D], f64),
    ) {
        let here = self.positions[i];
        let first = others.start;
        for (j, there) in self.positions[others].iter().enumerate() {
            let mut difference = [0.0; D];
            let mut squared = 0.0;
            for k in 0..D {
                let mut d = here[k] - there[k];
                if let Some(edges) = &self.edges {
                    // Both are within the box.
                    let (edge, half) = (edges[k], 0.5 * edges[k]);
                    d -= if d > half { edge } else { 0.0 };
                    d += if d < -half { edge } else { 0.0 };
                }
                difference[k] = d;
                squared += d * d;
            }
            if squared < self.cutoff_squared {
                visit(i, first + j, difference, squared);
            }
        }
    }

    /// The cells around one, each of two that are opposite once.
    fn offsets(&self) -> Vec<[isize; D]> {
        let mut offsets = vec![[0; D]];
        for (k, count) in self.counts.iter().enumerate() {
            if *count == 1 {
                continue;
            }
            let reach = REACH as isize;
            let along = |offset: [isize; D]| {
                (-reach..=reach).map(move |step| {
                    let mut offset = offset;
                    offset[k] = step;
                    offset
                })
            };
            offsets = offsets.into_iter().flat_map(along).collect();
        }
        offsets.retain(|offset| offset.iter().find(|step| **step != 0).is_some_and(|s| *s > 0));
        offsets
    }

    /// The cell at `offset` from one; none beyond the end of open space.
    fn neighbour(&self, mut cell: usize, offset: &[isize; D]) -> Option<usize> {
        let mut place = [0; D];
        for k in (0..D).rev() {
            place[k] = (cell % self.counts[k]) as isize + offset[k];
            cell /= self.counts[k];
        }
        let mut other = 0;
        for (place, count) in place.iter().zip(self.counts) {
            if self.edges.is_none() && !(0..count as isize).contains(place) {
                return None;
            }
            other = other * count + place.rem_euclid(count as isize) as usize;
        }
        Some(other)
    }
}

/// The lowest corner and the size of what encloses all positions.
fn bounds<const D: usize>(positions: &[[f64; D]]) -> ([f64; D], [f64; D]) {
    let (mut low, mut high) = ([f64::INFINITY; D], [f64::NEG_INFINITY; D]);
    for x in positions {
        for k in 0..D {
            low[k] = low[k].min(x[k]);
            high[k] = high[k].max(x[k]);
        }
    }
    (low, std::array::from_fn(|k| high[k] - low[k]))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use rand::Rng;

    use super::*;
    use crate::random::{stream, Purpose};

    fn found<const D: usize>(
        system: System,
        x: &[f64],
        cutoff: f64,
    ) -> (Vec<usize>, Vec<[usize; 2]>) {
        let cells = Cells::<D>::new(system, x, cutoff);
        let mut pairs = Vec::new();
        cells.for_each_pair(|a, b, difference, squared| {
            let (i, j) = (cells.particles[a], cells.particles[b]);
            let expected = system.separation(&x[i * D..(i + 1) * D], &x[j * D..(j + 1) * D]);
            for k in 0..D {
                assert!((difference[k] - expected[k]).abs() < 1e-12);
            }
            let length: f64 = expected.iter().map(|d| d * d).sum();
            assert!((squared - length).abs() < 1e-12);
            pairs.push([i.min(j), i.max(j)]);
        });
        (cells.counts.to_vec(), pairs)
    }

    fn expected<const D: usize>(system: System, x: &[f64], cutoff: f64) -> BTreeSet<[usize; 2]> {
        let at = |i: usize| &x[i * D..(i + 1) * D];
        let near = |[i, j]: &[usize; 2]| {
            let r = system.separation(at(*i), at(*j));
            r.iter().map(|r| r * r).sum::<f64>() < cutoff * cutoff
        };
        let n = system.particles();
        (0..n).flat_map(|j| (0..j).map(move |i| [i, j])).filter(near).collect()
    }

    fn check<const D: usize>(system: System, spread: f64, cutoff: f64, divided: bool) {
        for seed in 0..5 {
            let mut rng = stream(0, Purpose::Evaluation, 40, seed);
            let x: Vec<f64> =
                (0..system.coordinates()).map(|_| spread * rng.gen_range(-1.0..1.0)).collect();
            let (counts, pairs) = found::<D>(system, &x, cutoff);
            assert_eq!(counts.iter().any(|count| *count > 1), divided, "{counts:?}");
            let set: BTreeSet<[usize; 2]> = pairs.iter().copied().collect();
            assert_eq!(set.len(), pairs.len(), "a pair was visited twice");
            let all = expected::<D>(system, &x, cutoff);
            assert!(set == all && !all.is_empty(), "{} of {}", set.len(), all.len());
            // A cut-off that is a little longer finds others: the comparison is not empty.
            assert_ne!(expected::<D>(system, &x, 1.05 * cutoff), all);
        }
    }

    #[test]
    fn every_near_pair_is_found_once_with_and_without_a_box() {
        let system = System::new(300, 3).unwrap();
        let in_box = |edges: &[f64]| System::new(300, 3).unwrap().in_box(edges).unwrap();
        // Particles that have left the box count as those within.
        check::<3>(in_box(&[6.0, 7.0, 8.0]), 20.0, 1.2, true);
        check::<3>(in_box(&[3.0, 3.0, 12.0]), 20.0, 1.3, true);
        check::<3>(in_box(&[4.0, 4.0, 4.0]), 3.0, 1.9, false);
        check::<3>(system, 4.0, 1.1, true);
        check::<3>(system, 1e3, 150.0, true);
        check::<3>(system, 1.0, 1.5, false);
        let flat = System::new(200, 2).unwrap();
        check::<2>(flat.in_box(&[9.0, 5.0]).unwrap(), 10.0, 0.9, true);
        check::<2>(flat, 4.0, 0.7, true);
    }
}
