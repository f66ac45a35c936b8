//! Configurations that walkers found in earlier steps, which gradient steps may use again: they
//! are samples of the target as before, and cost no energy.

use rand::Rng;

use crate::random::{stream, Purpose};

use super::problem::Problem;
use super::saved::Walk;

/// Steps whose configurations are kept.
const STEPS: usize = 64;

/// The configurations of the last steps, with log p(x).
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Past {
    /// [configurations, particles, dimension].
    positions: Vec<f64>,
    log_p: Vec<f64>,
    /// Where the next one goes, once there are as many as are kept.
    next: usize,
}

impl Past {
    /// Lists what is saved.
    pub(super) fn list(&mut self, walk: &mut Walk<'_>) -> Result<(), String> {
        walk.double("walkers.past", &mut self.positions)?;
        walk.double("walkers.past_log_p", &mut self.log_p)?;
        walk.value("walkers.past_next", &mut self.next)?;
        Ok(())
    }

    /// Adds rows ([rows, width], with log p(x, a)) and returns `samples` rows with theirs: each
    /// new one once, the others at random of the past with new augmented copies.
    pub(super) fn mix(
        &mut self,
        problem: &Problem,
        (joint, log_p): (Vec<f64>, Vec<f64>),
        samples: usize,
        step: u64,
    ) -> (Vec<f64>, Vec<f64>) {
        let target = &problem.target;
        let (width, coordinates) = (problem.flow.width(), problem.flow.system().coordinates());
        let rows = log_p.len();
        // A file may hold those of another system.
        if self.positions.len() != self.log_p.len() * coordinates {
            *self = Self::default();
        }
        for (row, log_p) in joint.chunks_exact(width).zip(&log_p) {
            let (x, log_p) = (&row[..coordinates], log_p - target.log_conditional(row));
            if self.log_p.len() < STEPS * rows {
                self.positions.extend_from_slice(x);
                self.log_p.push(log_p);
            } else {
                let at = self.next % self.log_p.len();
                self.positions[at * coordinates..(at + 1) * coordinates].copy_from_slice(x);
                self.log_p[at] = log_p;
                self.next = at + 1;
            }
        }
        let mut rng = stream(problem.seed, Purpose::Buffer, step, 0);
        let (mut all, mut all_log_p) = (Vec::with_capacity(samples * width), Vec::new());
        let mut row = vec![0.0; width];
        for sample in 0..samples {
            // The new ones are spread over all batches.
            let new = sample * rows / samples;
            if sample == 0 || new > (sample - 1) * rows / samples {
                all.extend_from_slice(&joint[new * width..(new + 1) * width]);
                all_log_p.push(log_p[new]);
                continue;
            }
            let old = rng.gen_range(0..self.log_p.len());
            let x = &self.positions[old * coordinates..(old + 1) * coordinates];
            let own = stream(problem.seed, Purpose::Buffer, step, 1 + sample as u64);
            target.augment(x, &mut [own], &mut row);
            all.extend_from_slice(&row);
            all_log_p.push(self.log_p[old] + target.log_conditional(&row));
        }
        (all, all_log_p)
    }
}
