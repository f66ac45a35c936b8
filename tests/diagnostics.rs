//! Diagnostics against known answers.

use boltzflow::diagnostics::*;
use boltzflow::random::{stream, Purpose};
use boltzflow::system::System;
use rand::Rng;
use rand_distr::{Distribution, StandardNormal};

fn close(a: f64, b: f64) {
    assert!((a - b).abs() < 1e-12 * (1.0 + b.abs()), "{a} is not {b}");
}

fn normals(count: usize, sample: u64) -> Vec<f64> {
    let mut rng = stream(7, Purpose::Evaluation, 0, sample);
    (0..count).map(|_| StandardNormal.sample(&mut rng)).collect()
}

#[test]
fn effective_sample_size_counts_equal_weights_and_ignores_zero_ones() {
    let equal = effective_sample_size(&[1000.0; 8]);
    close(equal.fraction, 1.0);
    close(equal.count, 8.0);
    let half = [0.0, f64::NEG_INFINITY, 0.0, f64::NAN];
    close(effective_sample_size(&half).fraction, 0.5);
    // (1 + 3)² / (1 + 9) = 1.6
    close(effective_sample_size(&[0.0, 3f64.ln()]).count, 1.6);
    close(effective_sample_size(&[f64::NEG_INFINITY; 3]).fraction, 0.0);
    close(effective_sample_size(&[]).count, 0.0);
}

#[test]
fn forward_effective_sample_size_sees_what_the_reverse_one_cannot() {
    // mean(w) mean(1/w) for w = 1, 3: 2 · 2/3.
    close(forward_effective_sample_size(&[0.0, 3f64.ln()]).fraction, 0.75);
    // A point of the target that the proposal hardly ever reaches.
    let weights: Vec<f64> = (0..100).map(|i| if i == 0 { 20.0 } else { 0.0 }).collect();
    assert!(forward_effective_sample_size(&weights).fraction < 1e-6);
    close(effective_sample_size(&weights[1..]).fraction, 1.0);
    close(forward_effective_sample_size(&[0.0, f64::INFINITY]).fraction, 0.0);
}

#[test]
fn log_z_is_unbiased_within_its_error_and_a_dropped_mode_is_caught() {
    // w = exp(s z − s²/2 + 3) has the mean e³.
    let s = 0.8;
    let log_weights: Vec<f64> =
        normals(20_000, 1).iter().map(|z| s * z - 0.5 * s * s + 3.0).collect();
    let (log_z, error) = log_z_and_error(&log_weights);
    assert!((log_z - 3.0).abs() < 4.0 * error, "{log_z} ± {error}");
    let expected = ((s * s).exp_m1() / 20_000.0).sqrt();
    assert!((error / expected - 1.0).abs() < 0.1, "{error} against {expected}");
    let dropped: Vec<f64> =
        log_weights.iter().map(|w| if *w > 3.5 { f64::NEG_INFINITY } else { *w }).collect();
    let (log_z, error) = log_z_and_error(&dropped);
    assert!((log_z - 3.0).abs() > 4.0 * error);
}

#[test]
fn likelihoods_average_draws_before_the_logarithm() {
    let (nll, error) = negative_log_likelihood(&[0.0, 3f64.ln(), 2f64.ln(), 2f64.ln()], 2);
    close(nll, -(2f64.ln()));
    close(error, 0.0);
    let (nll, error) = negative_log_likelihood(&[1.0, 2.0, 3.0], 1);
    close(nll, -2.0);
    close(error, (1.0f64 / 3.0).sqrt());
}

#[test]
fn the_largest_share_is_one_over_n_for_equal_weights() {
    close(largest_weight_share(&[-5.0; 4]), 0.25);
    close(largest_weight_share(&[0.0, 3f64.ln()]), 0.75);
    close(largest_weight_share(&[f64::NEG_INFINITY]), 0.0);
}

#[test]
fn reweighting_moves_a_mean_by_the_tilt() {
    let z = normals(20_000, 2);
    // exp(z/2) turns N(0, 1) into N(1/2, 1).
    let log_weights: Vec<f64> = z.iter().map(|z| 0.5 * z).collect();
    let (mean, error) = reweighted_mean(&log_weights, &z);
    assert!((mean - 0.5).abs() < 4.0 * error && error < 0.02, "{mean} ± {error}");
    let flat = vec![0.0; z.len()];
    let (unweighted, error) = reweighted_mean(&flat, &z);
    assert!((unweighted - 0.5).abs() > 4.0 * error);
}

#[test]
fn pareto_k_recovers_the_tail_it_was_given() {
    for (k, seed) in [(0.3, 3), (0.7, 4), (1.2, 5)] {
        let mut rng = stream(7, Purpose::Evaluation, 0, seed);
        let log_weights: Vec<f64> =
            (0..20_000).map(|_| -k * (1.0 - rng.gen::<f64>()).ln()).collect();
        let estimate = pareto_k(&log_weights);
        // The asymptotic error of a Pareto shape from M = 3√N exceedances is (1 + k)/√M.
        let error = (1.0 + k) / (3.0 * 20_000f64.sqrt()).sqrt();
        assert!((estimate - k).abs() < 4.0 * error, "{estimate} for {k}");
    }
    assert!(pareto_k(&[0.0; 100]).is_infinite());
    assert!(pareto_k(&[0.0, 1.0]).is_infinite());
    let bounded: Vec<f64> = normals(5000, 6).iter().map(|z| -z * z).collect();
    assert!(pareto_k(&bounded) < 0.2);
}

#[test]
fn a_histogram_is_a_density() {
    let h = histogram(&[0.5, 1.5, 1.6, 9.0], None, [0.0, 2.0], 2);
    assert_eq!(h.edges, [0.0, 1.0, 2.0]);
    close(h.density[0], 0.25);
    close(h.density[1], 0.5);
    let weighted = histogram(&[0.5, 1.5], Some(&[0.0, 3f64.ln()]), [0.0, 4.0], 2);
    close(weighted.density[0], 0.5);
    close(weighted.density[1], 0.0);
}

#[test]
fn pair_distances_of_a_square() {
    let system = System::new(4, 2).unwrap();
    let distances = pair_distances(system, &[0.0, 0.0, 1.0, 0.0, 1.0, 1.0, 0.0, 1.0]);
    let diagonal = 2f64.sqrt();
    for (a, b) in distances.iter().zip([1.0, diagonal, 1.0, 1.0, diagonal, 1.0]) {
        close(*a, b);
    }
    assert_eq!(distances.len(), 6);
}

#[test]
fn energy_wasserstein_is_the_shift_whatever_the_order_and_size() {
    let first = normals(1000, 8);
    let mut second: Vec<f64> = first.iter().map(|e| e + 3.0).collect();
    second.reverse();
    close(energy_wasserstein(&first, &second), 3.0);
    // Quantiles of {0, 1} against {0, 0, 3}: (0, 0), (0 | 1, 0), (1, 3) with thirds and sixths.
    let expected: f64 = (1.0 / 6.0 * 1.0 + 1.0 / 3.0 * 4.0f64).sqrt();
    close(energy_wasserstein(&[1.0, 0.0], &[3.0, 0.0, 0.0]), expected);
    assert!(energy_wasserstein(&[], &[1.0]).is_nan());
}
