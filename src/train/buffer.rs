//! The prioritised replay buffer: annealed samples with their weights.
//!
//! Midgley et al., ICLR 2023 (arXiv:2208.01893), section 3.

use rand::Rng;

/// Annealed joint configurations, their log weights towards g ∝ p^α q^{1−α} and the log-density under
/// the flow that the weights refer to. The oldest samples leave when it is full.
#[derive(Debug, Clone, PartialEq)]
pub struct ReplayBuffer {
    width: usize,
    capacity: usize,
    joint: Vec<f64>,
    log_weights: Vec<f64>,
    log_q: Vec<f64>,
    /// Where the next sample goes once the buffer is full.
    next: usize,
}

impl ReplayBuffer {
    /// An empty buffer for `capacity` configurations of `width` numbers.
    pub fn new(width: usize, capacity: usize) -> Self {
        Self {
            width,
            capacity,
            joint: Vec::new(),
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

    /// Adds samples; those whose weight or log-density is not finite are left out.
    pub fn push(&mut self, joint: &[f64], log_weights: &[f64], log_q: &[f64]) {
        let rows = joint.chunks_exact(self.width).zip(log_weights).zip(log_q);
        for ((row, &log_weight), &log_q) in rows {
            if !(log_weight.is_finite() && log_q.is_finite()) {
                continue;
            }
            if self.len() < self.capacity {
                self.joint.extend_from_slice(row);
                self.log_weights.push(log_weight);
                self.log_q.push(log_q);
            } else {
                let at = self.next;
                self.joint[at * self.width..(at + 1) * self.width].copy_from_slice(row);
                self.log_weights[at] = log_weight;
                self.log_q[at] = log_q;
                self.next = (at + 1) % self.capacity;
            }
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

    /// The joint configuration of sample `index`.
    pub fn joint(&self, index: usize) -> &[f64] {
        &self.joint[index * self.width..(index + 1) * self.width]
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

    /// Everything that is saved: configurations, log weights, log-densities and the write position.
    pub fn parts(&self) -> (&[f64], &[f64], &[f64], usize) {
        (&self.joint, &self.log_weights, &self.log_q, self.next)
    }

    /// A buffer from its saved parts; `None` if they do not fit together.
    pub fn from_parts(
        width: usize,
        capacity: usize,
        joint: Vec<f64>,
        log_weights: Vec<f64>,
        log_q: Vec<f64>,
        next: usize,
    ) -> Option<Self> {
        let len = log_weights.len();
        let fits = joint.len() == len * width
            && log_q.len() == len
            && len <= capacity
            && (next == 0 || (len == capacity && next < capacity));
        fits.then_some(Self { width, capacity, joint, log_weights, log_q, next })
    }
}

#[cfg(test)]
mod tests {
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
        let (joint, log_weights, log_q, next) = buffer.parts();
        let copy = |next| {
            let (w, q) = (log_weights.to_vec(), log_q.to_vec());
            ReplayBuffer::from_parts(1, 4, joint.to_vec(), w, q, next)
        };
        assert_eq!(copy(next), Some(buffer.clone()));
        assert_eq!(copy(4), None);
    }
}
