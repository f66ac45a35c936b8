//! Unordered pairs of particles, in blocks.

use std::ops::Range;

/// Consecutive pairs in the order (0, 1), (0, 2), …, (1, 2), ….
#[derive(Debug, Clone, Copy)]
pub(super) struct PairBlock {
    /// Number of the first pair, and how many there are.
    pub first: usize,
    pub count: usize,
    /// The first pair's particles.
    i: usize,
    j: usize,
    particles: usize,
}

impl PairBlock {
    /// All pairs of `particles` particles, `size` at a time.
    #[inline(always)]
    pub fn all(particles: usize, size: usize) -> Blocks {
        Blocks { first: 0, i: 0, j: 1, particles, size }
    }

    /// Where the block's pairs stand in an array over all pairs.
    #[inline(always)]
    pub fn range(&self) -> Range<usize> {
        self.first..self.first + self.count
    }

    /// Its pairs by their first particle: i, and the j that it meets in this block.
    #[inline(always)]
    pub fn runs(&self) -> Runs {
        Runs { i: self.i, j: self.j, left: self.count, particles: self.particles }
    }
}

/// See [`PairBlock::all`].
pub(super) struct Blocks {
    first: usize,
    i: usize,
    j: usize,
    particles: usize,
    size: usize,
}

impl Iterator for Blocks {
    type Item = PairBlock;

    #[inline(always)]
    fn next(&mut self) -> Option<PairBlock> {
        let Self { first, i, j, particles, size } = *self;
        let count = size.min(particles * (particles - 1) / 2 - first);
        if count == 0 {
            return None;
        }
        let block = PairBlock { first, count, i, j, particles };
        let mut runs = block.runs();
        while runs.next().is_some() {}
        (self.i, self.j) = (runs.i, runs.j);
        self.first += count;
        Some(block)
    }
}

/// See [`PairBlock::runs`].
pub(super) struct Runs {
    i: usize,
    j: usize,
    left: usize,
    particles: usize,
}

impl Iterator for Runs {
    type Item = (usize, Range<usize>);

    #[inline(always)]
    fn next(&mut self) -> Option<(usize, Range<usize>)> {
        if self.left == 0 {
            return None;
        }
        let (i, start) = (self.i, self.j);
        let end = self.particles.min(start + self.left);
        self.left -= end - start;
        (self.i, self.j) = if end == self.particles { (i + 1, i + 2) } else { (i, end) };
        Some((i, start..end))
    }
}

#[cfg(test)]
mod tests {
    use super::PairBlock;

    #[test]
    fn blocks_of_any_size_hold_every_pair_once_and_in_order() {
        for particles in [2, 3, 7, 12] {
            let pairs: Vec<_> =
                (0..particles).flat_map(|i| (i + 1..particles).map(move |j| (i, j))).collect();
            for size in 1..=pairs.len() + 1 {
                let mut seen = Vec::new();
                for block in PairBlock::all(particles, size) {
                    assert_eq!(block.range().start, seen.len());
                    assert!(block.count <= size);
                    seen.extend(block.runs().flat_map(|(i, js)| js.map(move |j| (i, j))));
                    assert_eq!(block.range().end, seen.len());
                }
                assert_eq!(seen, pairs, "{particles} particles, blocks of {size}");
            }
        }
    }
}
