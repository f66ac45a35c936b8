//! The assignment problem: the one-to-one pairing of two sets that costs least.
//!
//! Written here, since distances of sets solve millions of problems of a dozen items and then one
//! of thousands: of the crates, pathfinding 4.16 took two to four times as long for the small ones,
//! lapjv 0.3 (on ndarray) as long for these and four times as long for 1000 items.

/// Solves assignment problems of any size one after the other, in the same memory.
#[derive(Debug, Clone, Default)]
pub(crate) struct Assignment {
    row_price: Vec<f64>,
    column_price: Vec<f64>,
    /// For each column the cheapest way to it so far, and the column that it comes from.
    distance: Vec<f64>,
    from: Vec<usize>,
    reached: Vec<bool>,
    /// Rows that have no column yet.
    unmatched: Vec<usize>,
    /// Row of each column; one more column, the last, is where every search starts.
    row_of: Vec<usize>,
}

impl Assignment {
    /// The row that each column gets, such that the sum of `cost` ([size, size], finite) is least.
    ///
    /// Rows that find no free column at the first prices join along the shortest augmenting path in
    /// reduced costs, found by Dijkstra's algorithm; time of order size³ (Jonker & Volgenant,
    /// Computing 38 (1987)).
    pub(crate) fn solve(&mut self, size: usize, cost: &[f64]) -> &[usize] {
        const NONE: usize = usize::MAX;
        let start = size;
        self.row_of.clear();
        self.row_of.resize(size + 1, NONE);
        // Prices that leave every reduced cost at zero or above, and a zero in every row; most rows
        // find a column by that alone.
        self.column_price.clear();
        self.column_price.extend_from_slice(&cost[..size]);
        for costs in cost.chunks_exact(size) {
            for (price, cost) in self.column_price.iter_mut().zip(costs) {
                *price = price.min(*cost);
            }
        }
        self.row_price.clear();
        self.unmatched.clear();
        for (row, costs) in cost.chunks_exact(size).enumerate() {
            let (mut column, mut least) = (0, f64::INFINITY);
            for (j, (cost, price)) in costs.iter().zip(&self.column_price).enumerate() {
                if cost - price < least {
                    (column, least) = (j, cost - price);
                }
            }
            self.row_price.push(least);
            if self.row_of[column] == NONE {
                self.row_of[column] = row;
            } else {
                self.unmatched.push(row);
            }
        }
        for index in 0..self.unmatched.len() {
            let row = self.unmatched[index];
            self.distance.clear();
            self.distance.resize(size, f64::INFINITY);
            self.from.clear();
            self.from.resize(size, start);
            self.reached.clear();
            self.reached.resize(size, false);
            self.row_of[start] = row;
            let (mut column, mut length) = (start, 0.0);
            loop {
                let at = self.row_of[column];
                let costs = &cost[at * size..(at + 1) * size];
                let base = length - self.row_price[at];
                let (mut next, mut least) = (NONE, f64::INFINITY);
                for (j, cost) in costs.iter().enumerate() {
                    if self.reached[j] {
                        continue;
                    }
                    let way = base + cost - self.column_price[j];
                    if way < self.distance[j] {
                        self.distance[j] = way;
                        self.from[j] = column;
                    }
                    if self.distance[j] < least || next == NONE {
                        (next, least) = (j, self.distance[j]);
                    }
                }
                (column, length) = (next, least);
                if self.row_of[column] == NONE {
                    break;
                }
                self.reached[column] = true;
            }
            // Prices keep every reduced cost at zero or above, and at zero along the path.
            self.row_price[row] += length;
            for j in (0..size).filter(|&j| self.reached[j]) {
                let gain = length - self.distance[j];
                self.row_price[self.row_of[j]] += gain;
                self.column_price[j] -= gain;
            }
            while column != start {
                let previous = self.from[column];
                self.row_of[column] = self.row_of[previous];
                column = previous;
            }
        }
        &self.row_of[..size]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::{stream, Purpose};
    use rand::Rng;

    /// The least cost over all permutations.
    fn by_trial(size: usize, cost: &[f64], row: usize, taken: &mut Vec<bool>) -> f64 {
        if row == size {
            return 0.0;
        }
        let mut least = f64::INFINITY;
        for column in 0..size {
            if !taken[column] {
                taken[column] = true;
                let rest = by_trial(size, cost, row + 1, taken);
                least = least.min(cost[row * size + column] + rest);
                taken[column] = false;
            }
        }
        least
    }

    #[test]
    fn the_assignment_is_the_best_of_all_permutations() {
        let rng = &mut stream(1, Purpose::Evaluation, 0, 0);
        let mut assignment = Assignment::default();
        let mut greedy_is_worse = 0;
        for round in 0..300 {
            let size = 1 + round % 7;
            // Ties, negative costs and costs far apart.
            let cost: Vec<f64> = (0..size * size)
                .map(|_| match round % 3 {
                    0 => f64::from(rng.gen_range(-3..3)),
                    1 => rng.gen_range(-1.0..1.0),
                    _ => 10f64.powf(rng.gen_range(-6.0..6.0)),
                })
                .collect();
            let row_of = assignment.solve(size, &cost).to_vec();
            let mut rows = row_of.clone();
            rows.sort_unstable();
            assert_eq!(rows, (0..size).collect::<Vec<_>>());
            let total = |row_of: &[usize]| {
                row_of.iter().enumerate().map(|(j, i)| cost[i * size + j]).sum::<f64>()
            };
            let best = by_trial(size, &cost, 0, &mut vec![false; size]);
            let found = total(&row_of);
            assert!((found - best).abs() <= 1e-9 * (1.0 + best.abs()), "{found} {best}");
            // Planted: the order as it is, is seldom the best one.
            greedy_is_worse += usize::from(total(&(0..size).collect::<Vec<_>>()) > best + 1e-9);
        }
        assert!(greedy_is_worse > 200, "{greedy_is_worse}");
    }
}
