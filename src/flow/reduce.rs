//! Sums of parameter gradients over the tiles of a batch, with the same bytes on any number of
//! threads and ranks.
//!
//! The leaves of a binary tree are fixed groups of tiles, and a node is the sum of its two halves;
//! the tree depends on the batch alone. Each rank has a block of leaves and sums the largest nodes
//! that lie in it, of which there are about two for each level. Of these, every rank gets its own
//! slice of the parameters from all others, climbs the rest of the tree, and hands the sum out: the
//! bytes that a reduction takes at least, whatever the number of leaves.

use std::ops::Range;

use rayon::prelude::*;

use crate::engine::{Real, LANES};
use crate::parallel::team;

use super::Flow;

/// Leaves of a batch, at most.
const MOST_LEAVES: usize = 1024;
/// A leaf has a tile more for each of so many parameters, up to four: a partial sum is written and
/// read.
const PARAMETERS_PER_TILE: usize = 1 << 20;

impl<T: Real> Flow<T> {
    /// Samples of a leaf.
    fn leaf(&self, samples: usize) -> usize {
        let tiles = samples.div_ceil(LANES);
        let least = (self.layout().total() / PARAMETERS_PER_TILE).clamp(1, 4);
        (LANES * least.max(tiles.div_ceil(MOST_LEAVES))).next_multiple_of(self.chunk())
    }

    /// The samples of a recorded batch that `rank` computes.
    pub fn share_of(&self, rank: usize, samples: usize) -> Range<usize> {
        let leaf = self.leaf(samples);
        let leaves = team().block_of(rank, samples.div_ceil(leaf));
        (leaves.start * leaf).min(samples)..(leaves.end * leaf).min(samples)
    }

    /// The samples of a recorded batch that this rank computes.
    pub fn share(&self, samples: usize) -> Range<usize> {
        self.share_of(team().rank(), samples)
    }

    /// Partial sums that are in memory at a time, about: one for each level of the tree and thread.
    pub(super) fn partial_sums(&self, samples: usize) -> usize {
        let leaves = samples.div_ceil(self.leaf(samples)).max(1);
        leaves.min(rayon::current_num_threads() * (1 + leaves.ilog2() as usize))
    }

    /// Adds to `gradient` what `body(first sample, last sample, sum)` adds for every tile of a
    /// batch, of which this rank does its share.
    pub(super) fn reduce(
        &self,
        samples: usize,
        gradient: &mut [T],
        body: impl Fn(usize, usize, &mut [T]) + Sync,
    ) {
        let (leaf, parameters) = (self.leaf(samples), gradient.len());
        let leaves = samples.div_ceil(leaf);
        if leaves == 0 {
            return;
        }
        let sum_leaf = |index: usize| {
            let mut sum = vec![T::ZERO; parameters];
            let end = ((index + 1) * leaf).min(samples);
            for first in (index * leaf..end).step_by(self.chunk()) {
                body(first, (first + self.chunk()).min(end), &mut sum);
            }
            sum
        };
        let team = team();
        let sum = if team.is_alone() {
            sum_node(0..leaves, &sum_leaf)
        } else {
            let nodes = |rank| cover(0..leaves, &team.block_of(rank, leaves));
            let mine: Vec<Vec<T>> =
                nodes(team.rank()).into_par_iter().map(|node| sum_node(node, &sum_leaf)).collect();
            let slice = |rank| team.block_of(rank, parameters);
            let sent: Vec<Vec<T>> = (0..team.size())
                .map(|rank| mine.iter().map(|sum| &sum[slice(rank)]).collect::<Vec<_>>().concat())
                .collect();
            let own = slice(team.rank());
            let all: Vec<Range<usize>> = (0..team.size()).flat_map(nodes).collect();
            let counts: Vec<usize> =
                (0..team.size()).map(|rank| nodes(rank).len() * own.len()).collect();
            let received = team.alltoall(&sent, &counts).concat();
            let mut sum = vec![T::ZERO; parameters];
            if !own.is_empty() {
                let mut known = all.into_iter().zip(received.chunks_exact(own.len()));
                sum[own].copy_from_slice(&climb(0..leaves, &mut known.by_ref().peekable()));
            }
            team.allgather_in_place(&mut sum, slice);
            sum
        };
        for (total, value) in gradient.iter_mut().zip(sum) {
            *total += value;
        }
    }
}

/// Where a node of more than one leaf is halved: the first half is a full tree, so that blocks meet
/// few nodes.
fn middle(node: &Range<usize>) -> usize {
    node.start + node.len().next_power_of_two() / 2
}

/// The sum of a node.
fn sum_node<T: Real>(node: Range<usize>, leaf: &(impl Fn(usize) -> Vec<T> + Sync)) -> Vec<T> {
    if node.len() == 1 {
        return leaf(node.start);
    }
    let middle = middle(&node);
    let (first, second) =
        rayon::join(|| sum_node(node.start..middle, leaf), || sum_node(middle..node.end, leaf));
    add(first, &second)
}

/// The largest nodes under `node` that lie in `block`, in order.
fn cover(node: Range<usize>, block: &Range<usize>) -> Vec<Range<usize>> {
    if node.start >= block.end || node.end <= block.start {
        return Vec::new();
    }
    if block.start <= node.start && node.end <= block.end {
        return vec![node];
    }
    let middle = middle(&node);
    let mut found = cover(node.start..middle, block);
    found.extend(cover(middle..node.end, block));
    found
}

/// The sum of `node` from the `known` ones under it, in order.
fn climb<'a, T: Real>(
    node: Range<usize>,
    known: &mut std::iter::Peekable<impl Iterator<Item = (Range<usize>, &'a [T])>>,
) -> Vec<T> {
    if let Some((_, sum)) = known.next_if(|(range, _)| *range == node) {
        return sum.to_vec();
    }
    let middle = middle(&node);
    let first = climb(node.start..middle, known);
    add(first, &climb(middle..node.end, known))
}

fn add<T: Real>(mut sum: Vec<T>, other: &[T]) -> Vec<T> {
    for (total, &value) in sum.iter_mut().zip(other) {
        *total += value;
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_of_any_blocks_climb_to_the_bytes_of_one_rank() {
        // Sums of these depend on the order.
        let entry = |index: usize| (index as f32 + 0.1).sin() * 10f32.powi(index as i32 % 7);
        let leaf = |index: usize| (0..16).map(|k| entry(16 * index + k)).collect::<Vec<f32>>();
        for leaves in 1..40 {
            let whole = sum_node(0..leaves, &leaf);
            for ranks in 1..6 {
                let nodes: Vec<Range<usize>> = (0..ranks)
                    .flat_map(|r| cover(0..leaves, &(r * leaves / ranks..(r + 1) * leaves / ranks)))
                    .collect();
                let sums: Vec<Vec<f32>> =
                    nodes.iter().map(|node| sum_node(node.clone(), &leaf)).collect();
                let known = nodes.iter().cloned().zip(sums.iter().map(Vec::as_slice));
                assert_eq!(climb(0..leaves, &mut known.peekable()), whole, "{leaves}, {ranks}");
            }
        }
        // Planted: one after the other is another sum.
        let linear = (1..39).fold(leaf(0), |sum, index| add(sum, &leaf(index)));
        assert_ne!(linear, sum_node(0..39, &leaf));
    }
}
