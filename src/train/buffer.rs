//! The prioritised replay buffer: annealed samples with their weights.
//!
//! Midgley et al., ICLR 2023 (arXiv:2208.01893), section 3.

use std::ops::Range;

use rand::Rng;

use super::saved::Walk;
use crate::parallel::team;

/// Bytes of configurations that are collected at a time.
const COLLECTED: usize = 1 << 28;

/// Annealed joint configurations, their log weights towards g ∝ p^α q^{1−α} and the log-density
/// under the flow that the weights refer to. The oldest samples leave when it is full.
///
/// All ranks know all weights, so that they draw the same; a configuration is kept by the rank that
/// annealed it and goes to others when it is [fetched](Self::fetch).
#[derive(Debug, Clone, PartialEq)]
pub struct ReplayBuffer {
    width: usize,
    capacity: usize,
    /// The configurations that this rank keeps, in no order if there are others.
    joint: Vec<f64>,
    /// Where each sample is kept.
    places: Vec<Place>,
    /// Rows of `joint` that are not used.
    free: Vec<u32>,
    log_weights: Vec<f64>,
    log_q: Vec<f64>,
    /// Where the next sample goes once the buffer is full.
    next: usize,
}

/// Where a sample's configuration is.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Place {
    rank: u32,
    /// In `joint`, if that is this rank.
    row: u32,
}

impl ReplayBuffer {
    /// An empty buffer for `capacity` configurations of `width` numbers.
    pub fn new(width: usize, capacity: usize) -> Self {
        Self {
            width,
            capacity,
            joint: Vec::new(),
            places: Vec::new(),
            free: Vec::new(),
            log_weights: Vec::new(),
            log_q: Vec::new(),
            next: 0,
        }
    }

    /// Numbers of a configuration.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Samples that it holds at most.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Number of samples.
    pub fn len(&self) -> usize {
        self.log_weights.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.log_weights.is_empty()
    }

    /// Removes all samples.
    pub fn clear(&mut self) {
        *self = Self::new(self.width, self.capacity);
    }

    /// Adds samples that this rank keeps, as for the only one; those whose weight or log-density is
    /// not finite are left out.
    pub fn push(&mut self, joint: &[f64], log_weights: &[f64], log_q: &[f64]) {
        let rank = team().rank();
        let all = |r| if r == rank { 0..log_weights.len() } else { 0..0 };
        let shares: Vec<Range<usize>> = (0..team().size()).map(all).collect();
        self.push_shares(joint, &shares, log_weights, log_q);
    }

    /// Adds samples of which rank r keeps `shares[r]`; `joint` are this rank's. Those whose weight
    /// or log-density is not finite are left out.
    pub fn push_shares(
        &mut self,
        joint: &[f64],
        shares: &[Range<usize>],
        log_weights: &[f64],
        log_q: &[f64],
    ) {
        let this = team().rank();
        let mut rows = joint.chunks_exact(self.width);
        for (rank, share) in shares.iter().enumerate() {
            for sample in share.clone() {
                let row = if rank == this { rows.next() } else { None };
                if log_weights[sample].is_finite() && log_q[sample].is_finite() {
                    self.insert(rank, row, log_weights[sample], log_q[sample]);
                }
            }
        }
    }

    /// Adds a sample that `rank` keeps, with its configuration if that is this one.
    fn insert(&mut self, rank: usize, row: Option<&[f64]>, log_weight: f64, log_q: f64) {
        let full = self.len() == self.capacity;
        let at = if full { self.next } else { self.len() };
        if full && self.places[at].rank as usize == team().rank() {
            self.free.push(self.places[at].row);
        }
        let mut place = Place { rank: rank as u32, row: 0 };
        if let Some(row) = row {
            let unused = (self.joint.len() / self.width) as u32;
            place.row = self.free.pop().unwrap_or(unused);
            if place.row == unused {
                self.joint.extend_from_slice(row);
            } else {
                self.joint[place.row as usize * self.width..][..self.width].copy_from_slice(row);
            }
        }
        if full {
            (self.places[at], self.log_weights[at], self.log_q[at]) = (place, log_weight, log_q);
            self.next = (at + 1) % self.capacity;
        } else {
            self.places.push(place);
            self.log_weights.push(log_weight);
            self.log_q.push(log_q);
        }
    }

    /// Draws `count` different samples (all, if there are fewer), each draw in proportion to the
    /// weights of what is left.
    ///
    /// The largest log w + Gumbel noise, which is the same as drawing one after the other without
    /// replacement (Vieira 2014; Kool et al., arXiv:1903.06059).
    pub fn draw(&self, count: usize, rng: &mut impl Rng) -> Vec<usize> {
        let mut keys: Vec<(f64, usize)> = self
            .log_weights
            .iter()
            .enumerate()
            .map(|(index, log_weight)| {
                let uniform: f64 = rng.gen_range(f64::MIN_POSITIVE..1.0);
                (log_weight - (-uniform.ln()).ln(), index)
            })
            .collect();
        let count = count.min(keys.len());
        let largest_first = |a: &(f64, usize), b: &(f64, usize)| b.0.total_cmp(&a.0);
        if count < keys.len() {
            keys.select_nth_unstable_by(count, largest_first);
            keys.truncate(count);
        }
        keys.sort_by(largest_first);
        keys.into_iter().map(|(_, index)| index).collect()
    }

    /// The joint configuration of sample `index`, which this rank must keep.
    pub fn joint(&self, index: usize) -> &[f64] {
        let row = self.places[index].row as usize;
        &self.joint[row * self.width..(row + 1) * self.width]
    }

    /// The joint configurations of the samples `wanted`, [wanted, width]; the one at position p
    /// reaches the rank `receivers[p]`, others have zeros in its place. A collective operation.
    pub fn fetch(&self, wanted: &[usize], receivers: &[usize]) -> Vec<f64> {
        let team = team();
        let (size, this) = (team.size(), team.rank());
        let mut sent = vec![Vec::new(); size];
        let mut coming = vec![Vec::new(); size];
        for (position, (&index, &receiver)) in wanted.iter().zip(receivers).enumerate() {
            let rank = self.places[index].rank as usize;
            if rank == this {
                sent[receiver].extend_from_slice(self.joint(index));
            }
            if receiver == this {
                coming[rank].push(position);
            }
        }
        let counts: Vec<usize> = coming.iter().map(|rows| rows.len() * self.width).collect();
        let received = team.alltoall(&sent, &counts);
        let mut joint = vec![0.0; wanted.len() * self.width];
        for (positions, rows) in coming.iter().zip(&received) {
            for (position, row) in positions.iter().zip(rows.chunks_exact(self.width)) {
                joint[position * self.width..(position + 1) * self.width].copy_from_slice(row);
            }
        }
        joint
    }

    /// log q that the weight of sample `index` refers to.
    pub fn log_q(&self, index: usize) -> f64 {
        self.log_q[index]
    }

    /// All log weights.
    pub fn log_weights(&self) -> &[f64] {
        &self.log_weights
    }

    /// Sample `index` now has the log-density `log_q`: its weight follows by `log_factor`.
    pub fn adjust(&mut self, index: usize, log_factor: f64, log_q: f64) {
        if log_factor.is_finite() && log_q.is_finite() {
            self.log_weights[index] += log_factor;
            self.log_q[index] = log_q;
        }
    }

    /// Lists what is saved. When saving, a collective operation: the configurations of all ranks,
    /// in order, are those of rank 0; when loading, each rank keeps its block of them.
    pub(super) fn list(&mut self, walk: &mut Walk<'_>) -> Result<(), String> {
        walk.double("buffer.log_weights", &mut self.log_weights)?;
        walk.double("buffer.log_q", &mut self.log_q)?;
        walk.value("buffer.next", &mut self.next)?;
        let mut joint = if walk.is_loading() { Vec::new() } else { self.gather() };
        walk.double("buffer.joint", &mut joint)?;
        if walk.is_loading() {
            self.keep_block(joint)?;
        }
        Ok(())
    }

    /// All configurations in order on rank 0, none on others. A collective operation.
    fn gather(&self) -> Vec<f64> {
        if team().is_alone() {
            // A new sample takes the row of the one that leaves, so the rows are in order.
            return self.joint.clone();
        }
        let indices: Vec<usize> = (0..self.len()).collect();
        let mut joint = Vec::new();
        for part in indices.chunks((COLLECTED / (8 * self.width)).max(1)) {
            let rows = self.fetch(part, &vec![0; part.len()]);
            if team().leads() {
                joint.extend(rows);
            }
        }
        joint
    }

    /// Keeps this rank's block of all configurations.
    fn keep_block(&mut self, joint: Vec<f64>) -> Result<(), String> {
        let (width, len) = (self.width, self.len());
        let fits = joint.len() == len * width
            && self.log_q.len() == len
            && len <= self.capacity
            && (self.next == 0 || (len == self.capacity && self.next < self.capacity));
        if !fits {
            return Err("its buffer does not fit this recipe".into());
        }
        let team = team();
        let place = |rank| {
            (0..team.block_of(rank, len).len() as u32)
                .map(move |row| Place { rank: rank as u32, row })
        };
        self.places = (0..team.size()).flat_map(place).collect();
        self.free = Vec::new();
        self.joint = if team.is_alone() {
            joint
        } else {
            let block = team.block(len);
            joint[block.start * width..block.end * width].to_vec()
        };
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::saved::Saved;
    use super::*;
    use crate::random::{stream, Purpose};

    /// How far, in standard errors, the first draws are from the proportions.
    fn worst_deviation(weights: &[f64], claimed: &[f64]) -> f64 {
        let mut buffer = ReplayBuffer::new(1, weights.len());
        let logs: Vec<f64> = weights.iter().map(|w| w.ln()).collect();
        buffer.push(&vec![0.0; weights.len()], &logs, &vec![0.0; weights.len()]);
        let draws = 20_000;
        let mut counts = vec![0.0; weights.len()];
        for draw in 0..draws {
            let mut rng = stream(5, Purpose::Buffer, draw, 0);
            counts[buffer.draw(2, &mut rng)[0]] += 1.0;
        }
        let total: f64 = claimed.iter().sum();
        counts
            .iter()
            .zip(claimed)
            .map(|(count, w)| {
                let p = w / total;
                let n = draws as f64;
                (count - n * p).abs() / (n * p * (1.0 - p)).sqrt()
            })
            .fold(0.0, f64::max)
    }

    #[test]
    fn draws_are_in_proportion_to_the_weights() {
        let weights = [1.0, 2.0, 4.0, 0.5, 8.0];
        assert!(worst_deviation(&weights, &weights) < 4.5);
        // Planted: proportions of the square roots.
        let wrong: Vec<f64> = weights.iter().map(|w| w.sqrt()).collect();
        assert!(worst_deviation(&weights, &wrong) > 10.0);
    }

    #[test]
    fn draws_are_without_replacement_and_the_oldest_leave() {
        let mut buffer = ReplayBuffer::new(2, 3);
        for k in 0..5 {
            let x = f64::from(k);
            buffer.push(&[x, x], &[0.0], &[x]);
        }
        buffer.push(&[9.0, 9.0], &[f64::NAN], &[0.0]);
        buffer.push(&[9.0, 9.0], &[0.0], &[f64::NEG_INFINITY]);
        let mut rng = stream(1, Purpose::Buffer, 0, 0);
        let mut kept: Vec<i32> =
            buffer.draw(10, &mut rng).iter().map(|&i| buffer.joint(i)[0] as i32).collect();
        kept.sort_unstable();
        assert_eq!(kept, [2, 3, 4]);
    }

    #[test]
    fn saved_parts_make_the_same_buffer() {
        let mut buffer = ReplayBuffer::new(1, 4);
        buffer.push(&[1.0, 2.0, 3.0, 4.0, 5.0], &[0.1; 5], &[0.2; 5]);
        let mut saved = Saved::of(|walk| buffer.list(walk)).unwrap();
        let mut copy = ReplayBuffer::new(1, 4);
        copy.list(&mut Walk::Load(&saved)).unwrap();
        assert_eq!(copy, buffer);
        saved.values.insert("buffer.next".into(), 4.into());
        assert!(copy.list(&mut Walk::Load(&saved)).is_err());
    }
}
