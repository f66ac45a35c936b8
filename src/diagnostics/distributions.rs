//! Distributions of energies and distances, and how far two of them are apart.

use rayon::prelude::*;

use super::alignment::{Aligner, Symmetries};
use super::assignment::Assignment;
use crate::system::System;

/// A one-dimensional density in bins of equal width.
#[derive(Debug, Clone, PartialEq)]
pub struct Histogram {
    /// Bin edges, `[bins + 1]`.
    pub edges: Vec<f64>,
    /// Density in each bin, `[bins]`; its integral is the share of the weight within the range.
    pub density: Vec<f64>,
}

/// Histogram of `values` over `range`, weighted by exp(`log_weights`) if given.
///
/// The density is that of the whole distribution: what lies outside of the range counts in the
/// total. Two histograms can therefore be compared whatever their range.
pub fn histogram(
    values: &[f64],
    log_weights: Option<&[f64]>,
    range: [f64; 2],
    bins: usize,
) -> Histogram {
    let [low, high] = range;
    let bin_width = (high - low) / bins as f64;
    let edges = (0..=bins).map(|i| low + bin_width * i as f64).collect();
    let mut density = vec![0.0; bins];
    let log_total = match log_weights {
        Some(log_weights) => super::log_sum_exp(log_weights),
        None => (values.len() as f64).ln(),
    };
    for (index, value) in values.iter().enumerate() {
        if !(low..high).contains(value) {
            continue;
        }
        let log_weight = log_weights.map_or(0.0, |w| w[index]);
        let share = (log_weight - log_total).exp();
        if share.is_finite() {
            let bin = (((value - low) / bin_width) as usize).min(bins.saturating_sub(1));
            density[bin] += share / bin_width;
        }
    }
    Histogram { edges, density }
}

/// Distances of all pairs i < j of each configuration: [samples, n(n − 1)/2] from `x`
/// [samples, particles, dimension], in a periodic box to the nearest images.
pub fn pair_distances(system: System, x: &[f64]) -> Vec<f64> {
    let (n, d) = (system.particles(), system.dimension());
    let mut distances = Vec::with_capacity(x.len() / (n * d) * n * (n - 1) / 2);
    for row in x.chunks_exact(n * d) {
        for (i, a) in row.chunks_exact(d).enumerate() {
            for b in row[(i + 1) * d..].chunks_exact(d) {
                let squares = system.separation(a, b).map(|r| r * r);
                distances.push(squares[..d].iter().sum::<f64>().sqrt());
            }
        }
    }
    distances
}

/// Wasserstein-2 distance of two samples of a real number, such as energies: the root mean square
/// difference of their quantiles, which is the optimal coupling in one dimension. The samples may
/// differ in size. Not a number if one is empty.
pub fn energy_wasserstein(first: &[f64], second: &[f64]) -> f64 {
    if first.is_empty() || second.is_empty() {
        return f64::NAN;
    }
    let sorted = |values: &[f64]| {
        let mut values = values.to_vec();
        values.sort_by(f64::total_cmp);
        values
    };
    let (first, second) = (sorted(first), sorted(second));
    let (n, m) = (first.len(), second.len());
    // Both quantile functions are steps; n·m units of probability make every step a whole number.
    let (mut i, mut j, mut done, mut sum) = (0, 0, 0, 0.0);
    while i < n && j < m {
        let next = ((i + 1) * m).min((j + 1) * n);
        sum += (next - done) as f64 * (first[i] - second[j]).powi(2);
        done = next;
        i += usize::from((i + 1) * m == next);
        j += usize::from((j + 1) * n == next);
    }
    (sum / (n as f64 * m as f64)).sqrt()
}

/// Total variation distance of two samples of a real number, ½ Σ|p − q| over 200 bins of equal
/// width that span `reference`, all that lies beyond being one more bin. Between 0 and 1; not a
/// number if one is empty.
pub fn total_variation(values: &[f64], reference: &[f64]) -> f64 {
    const BINS: usize = 200;
    let (low, high) = reference
        .iter()
        .fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), v| (l.min(*v), h.max(*v)));
    if values.is_empty() || !(low.is_finite() && high.is_finite()) {
        return f64::NAN;
    }
    // The largest value belongs to the last bin.
    let width = (high - low).max(1e-9 * (1.0 + low.abs())) * (1.0 + 1e-9) / BINS as f64;
    let shares = |values: &[f64]| {
        let bins = histogram(values, None, [low, low + width * BINS as f64], BINS).density;
        let mut shares: Vec<f64> = bins.iter().map(|density| density * width).collect();
        shares.push(1.0 - shares.iter().sum::<f64>());
        shares
    };
    let pairs = shares(values).into_iter().zip(shares(reference));
    0.5 * pairs.map(|(p, q)| (p - q).abs()).sum::<f64>()
}

/// Wasserstein-2 distance of two sets of as many configurations, `first` and `second` ([samples,
/// particles, dimension], zero centre of mass): √(min over pairings of the mean squared distance),
/// the distance of two configurations being the one after alignment
/// ([`Aligner::squared_distance`]).
///
/// All pairs are aligned from the pairing by radius, and the `REFINED` nearest of each
/// configuration from `STARTS` rotations more; the pairing of the sets is then exact. The result is
/// an upper bound. It has a positive floor for finite sets of one distribution, which falls slowly
/// with their size: compare with that of two independent sets of the same size. Not a number if
/// sizes differ, a set is empty or a coordinate is not finite.
pub fn geometric_wasserstein(symmetries: Symmetries<'_>, first: &[f64], second: &[f64]) -> f64 {
    const STARTS: usize = 16;
    const REFINED: usize = 8;
    let width = symmetries.system.coordinates();
    let size = first.len() / width;
    let finite = first.iter().chain(second).all(|v| v.is_finite());
    if first.len() != second.len() || size == 0 || !finite {
        return f64::NAN;
    }
    let row = |x: &'_ [f64], i: usize| x[i * width..(i + 1) * width].to_vec();
    let coarse = Aligner::new(symmetries, 0);
    let mut cost = vec![0.0; size * size];
    cost.par_chunks_mut(size).enumerate().for_each_init(
        || coarse.clone(),
        |aligner, (i, costs)| {
            let x = row(first, i);
            for (y, cost) in second.chunks_exact(width).zip(costs) {
                *cost = aligner.squared_distance(&x, y);
            }
        },
    );
    let nearest = |at: &dyn Fn(usize) -> usize| {
        let mut places: Vec<usize> = (0..size).map(at).collect();
        places.sort_by(|&a, &b| cost[a].total_cmp(&cost[b]));
        places.truncate(REFINED);
        places
    };
    let mut near: Vec<usize> = (0..size)
        .flat_map(|i| [nearest(&|j| i * size + j), nearest(&|j| j * size + i)].concat())
        .collect();
    near.sort_unstable();
    near.dedup();
    let fine = Aligner::new(symmetries, STARTS);
    let refined: Vec<f64> = near
        .par_iter()
        .map_init(
            || fine.clone(),
            |aligner, place| {
                aligner.squared_distance(&row(first, place / size), &row(second, place % size))
            },
        )
        .collect();
    for (place, squared) in near.into_iter().zip(refined) {
        cost[place] = squared;
    }
    let mut assignment = Assignment::default();
    let pairs = assignment.solve(size, &cost).iter().enumerate();
    let total: f64 = pairs.map(|(column, row)| cost[row * size + column]).sum();
    (total / size as f64).sqrt()
}
