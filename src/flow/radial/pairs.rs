//! Unordered pairs of particles that see each other, in blocks: all pairs or, in a crystal, those
//! of neighbouring sites.

use std::ops::Range;

use crate::crystal::Crystal;
use crate::engine::{Lane, Vector};
use crate::error::{refuse, Error};
use crate::flow::rows::{load, subtract};

/// Pairs i < j in the order of i.
///
/// Of a crystal the pairs are those of neighbouring sites, whichever way the particles are
/// displaced: one list for all configurations, so that the map is smooth and has an inverse. The
/// cost then grows with n.
#[derive(Debug, Clone)]
pub(in crate::flow) struct Pairs {
    pub particles: usize,
    /// The first pair of each particle i, and at last the number of pairs.
    starts: Vec<usize>,
    /// j of each pair.
    others: Vec<usize>,
    /// Site of i less the nearest image of that of j for each pair, as positions are displacements
    /// from sites; none in open space.
    steps: Vec<[f64; 3]>,
}

impl Pairs {
    /// All pairs of `particles` particles.
    pub fn all(particles: usize) -> Self {
        Self::of((0..particles).map(|i| (i + 1..particles).collect()))
    }

    /// The pairs of sites nearer than `cutoff`.
    ///
    /// # Errors
    /// [`Error::Parameter`] on `cutoff` if a site would meet two images of another one, or none.
    pub fn of_neighbours(crystal: &Crystal, cutoff: f64) -> Result<Self, Error> {
        let (system, sites) = (crystal.system(), crystal.sites());
        let half = system.half_edge();
        if cutoff > half {
            let problem = format!(
                "is {cutoff}, over half an edge of the box, {half:.4}: layers of a crystal see the \
                 neighbours of each site, such as one or two shells"
            );
            return refuse("cutoff", problem);
        }
        let d = system.dimension();
        let at = |i: usize| &sites[i * d..(i + 1) * d];
        let near = |i: usize, j: usize| {
            let step = system.separation(at(i), at(j));
            (step.iter().map(|r| r * r).sum::<f64>() < cutoff * cutoff).then_some(step)
        };
        let n = system.particles();
        let mut pairs =
            Self::of((0..n).map(|i| (i + 1..n).filter(|&j| near(i, j).is_some()).collect()));
        for i in 0..n {
            let others = pairs.others[pairs.starts[i]..pairs.starts[i + 1]].iter();
            pairs.steps.extend(others.filter_map(|&j| near(i, j)));
        }
        let mut seen = vec![false; n];
        for (i, starts) in pairs.starts.windows(2).enumerate() {
            seen[i] |= starts[0] < starts[1];
            pairs.others[starts[0]..starts[1]].iter().for_each(|&j| seen[j] = true);
        }
        match seen.iter().position(|seen| !seen) {
            Some(site) => {
                let problem = format!("is {cutoff}, where site {site} has no neighbour: use more");
                refuse("cutoff", problem)
            }
            None => Ok(pairs),
        }
    }

    fn of(rows: impl Iterator<Item = Vec<usize>>) -> Self {
        let (mut starts, mut others) = (vec![0], Vec::new());
        for row in rows {
            others.extend(row);
            starts.push(others.len());
        }
        Self { particles: starts.len() - 1, starts, others, steps: Vec::new() }
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.others.len()
    }

    /// Neighbours of a particle, on average.
    pub fn neighbours(&self) -> f64 {
        (2 * self.count()) as f64 / self.particles as f64
    }

    /// The pairs whose first particle is i.
    #[inline(always)]
    pub fn of_first(&self, i: usize) -> Range<usize> {
        self.starts[i]..self.starts[i + 1]
    }

    /// j of a pair.
    #[inline(always)]
    pub fn other(&self, pair: usize) -> usize {
        self.others[pair]
    }

    /// y_i − y_j of a pair (i, j), from y_i and all y, [particles, D].
    #[inline(always)]
    pub fn separation<V: Vector, const D: usize>(
        &self,
        pair: usize,
        here: [V; D],
        y: &[Lane<V::Scalar>],
    ) -> [V; D] {
        let mut r = subtract(here, load::<V, D>(y, self.others[pair]));
        if let Some(step) = self.steps.get(pair) {
            for (r, step) in r.iter_mut().zip(step) {
                *r += V::constant(*step);
            }
        }
        r
    }

    /// Blocks of `size` pairs.
    #[inline(always)]
    pub(super) fn blocks(&self, size: usize) -> Blocks<'_> {
        Blocks { pairs: self, first: 0, i: 0, size }
    }
}

/// Consecutive pairs.
#[derive(Debug, Clone, Copy)]
pub(super) struct PairBlock<'a> {
    pub pairs: &'a Pairs,
    /// Number of the first pair, and how many there are.
    pub first: usize,
    pub count: usize,
    /// The first pair's i.
    i: usize,
}

impl<'a> PairBlock<'a> {
    /// Where the block's pairs stand in an array over all pairs.
    #[inline(always)]
    pub fn range(&self) -> Range<usize> {
        self.first..self.first + self.count
    }

    /// Its pairs by their first particle: i, and the numbers of its pairs in this block.
    #[inline(always)]
    pub fn runs(&self) -> Runs<'a> {
        Runs { pairs: self.pairs, i: self.i, next: self.first, end: self.first + self.count }
    }
}

/// See [`Pairs::blocks`].
pub(super) struct Blocks<'a> {
    pairs: &'a Pairs,
    first: usize,
    i: usize,
    size: usize,
}

impl<'a> Iterator for Blocks<'a> {
    type Item = PairBlock<'a>;

    #[inline(always)]
    fn next(&mut self) -> Option<PairBlock<'a>> {
        let Self { pairs, first, i, size } = *self;
        let count = size.min(pairs.count() - first);
        if count == 0 {
            return None;
        }
        self.first += count;
        while pairs.starts[self.i + 1] < self.first {
            self.i += 1;
        }
        Some(PairBlock { pairs, first, count, i })
    }
}

/// See [`PairBlock::runs`].
pub(super) struct Runs<'a> {
    pairs: &'a Pairs,
    i: usize,
    next: usize,
    end: usize,
}

impl Iterator for Runs<'_> {
    type Item = (usize, Range<usize>);

    #[inline(always)]
    fn next(&mut self) -> Option<(usize, Range<usize>)> {
        if self.next == self.end {
            return None;
        }
        while self.pairs.starts[self.i + 1] == self.next {
            self.i += 1;
        }
        let end = self.pairs.starts[self.i + 1].min(self.end);
        let run = (self.i, self.next..end);
        self.next = end;
        Some(run)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crystal::Lattice;
    use crate::system::System;

    fn check_blocks(pairs: &Pairs, expected: &[(usize, usize)]) {
        for size in 1..=expected.len() + 1 {
            let mut seen = Vec::new();
            for block in pairs.blocks(size) {
                assert_eq!(block.range().start, seen.len());
                assert!(block.count <= size);
                let of_run =
                    |(i, run): (usize, Range<usize>)| run.map(move |p| (i, pairs.other(p)));
                seen.extend(block.runs().flat_map(of_run));
                assert_eq!(block.range().end, seen.len());
            }
            assert_eq!(seen, expected, "{} particles, blocks of {size}", pairs.particles);
        }
    }

    #[test]
    fn blocks_of_any_size_hold_every_pair_once_and_in_order() {
        for particles in [2, 3, 7, 12] {
            let all: Vec<_> =
                (0..particles).flat_map(|i| (i + 1..particles).map(move |j| (i, j))).collect();
            check_blocks(&Pairs::all(particles), &all);
        }
    }

    #[test]
    fn neighbours_of_sites_are_those_of_the_lattice() {
        let system = System::new(108, 3).unwrap().in_box(&[3.0; 3]).unwrap();
        let crystal = Crystal::new(system, &Lattice::Fcc.sites(system).unwrap()).unwrap();
        let pairs = Pairs::of_neighbours(&crystal, 0.8).unwrap();
        assert_eq!((pairs.count(), pairs.neighbours()), (108 * 6, 12.0));
        let two_shells = Pairs::of_neighbours(&crystal, 1.1).unwrap();
        assert_eq!(two_shells.neighbours(), 18.0);
        for step in &pairs.steps {
            let length = step.iter().map(|r| r * r).sum::<f64>();
            assert!((length - 0.5).abs() < 1e-9, "{step:?}");
        }
        let numbered = |i: usize| pairs.of_first(i).map(move |p| (i, p));
        let listed: Vec<(usize, usize)> =
            (0..108).flat_map(numbered).map(|(i, p)| (i, pairs.other(p))).collect();
        assert!(listed.iter().all(|(i, j)| i < j));
        check_blocks(&pairs, &listed);
        for (cutoff, hint) in [(0.7, "no neighbour"), (1.6, "half an edge")] {
            let message = Pairs::of_neighbours(&crystal, cutoff).unwrap_err().to_string();
            assert!(message.starts_with("`cutoff`") && message.contains(hint), "{message}");
        }
    }
}
