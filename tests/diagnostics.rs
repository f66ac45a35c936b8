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
fn log_z_by_bennett_sees_what_one_of_two_densities_misses() {
    // Mixtures of Gaussians at 0 and at 60, of which `share` is at 0; log Z is 3.
    let draws = |share: f64, count: usize, sample: u64| -> Vec<f64> {
        let mut rng = stream(5, Purpose::Evaluation, 0, sample);
        let noise = normals(count, sample + 1);
        noise.iter().map(|x| if rng.gen_bool(share) { *x } else { 60.0 + x }).collect()
    };
    let density = |share: f64, x: f64| -> f64 {
        let parts = [share.ln() - 0.5 * x * x, (1.0 - share).ln() - 0.5 * (x - 60.0).powi(2)];
        log_sum_exp(&parts)
    };
    let weights = |p: f64, q: f64, x: &[f64]| -> Vec<f64> {
        x.iter().map(|x| 3.0 + density(p, *x) - density(q, *x)).collect()
    };
    for (p, q, reverse_bias, inverse_bias) in [
        // The draws miss nine tenths of p; three tenths of q are where p has nothing.
        (0.1, 1.0, 0.1f64.ln(), 0.0),
        (1.0, 0.7, 0.0, -0.7f64.ln()),
        (0.5, 0.4, 0.0, 0.0),
    ] {
        let of_flow = weights(p, q, &draws(q, 4000, 10));
        let of_target = weights(p, q, &draws(p, 2000, 20));
        let (log_z, error) = bennett_log_z(&of_flow, &of_target);
        assert!(error < 0.08 && (log_z - 3.0).abs() < 4.5 * error, "{p} {q}: {log_z} ± {error}");
        // Planted: what each side says alone.
        let reverse = log_mean_exp(&of_flow) - 3.0;
        assert!((reverse - reverse_bias).abs() < 0.08, "{p} {q}: {reverse}");
        let inverse: Vec<f64> = of_target.iter().map(|w| -w).collect();
        let inverse = -log_mean_exp(&inverse) - 3.0;
        assert!((inverse - inverse_bias).abs() < 0.2, "{p} {q}: {inverse}");
    }
    // A single sample far out, with which the forward effective sample size is nothing, and one
    // that is nowhere in q.
    let of_flow = weights(0.5, 0.4, &draws(0.4, 4000, 10));
    for far in [700.0, f64::INFINITY] {
        let mut of_target = weights(0.5, 0.4, &draws(0.5, 2000, 20));
        of_target.push(far);
        assert!(forward_effective_sample_size(&of_target).fraction < 1e-9);
        let (log_z, error) = bennett_log_z(&of_flow, &of_target);
        assert!((log_z - 3.0).abs() < 4.5 * error && error < 0.05, "{log_z} ± {error}");
    }
    let (log_z, error) = bennett_log_z(&of_flow, &[f64::INFINITY, f64::NAN]);
    assert!(log_z == f64::INFINITY && error.is_nan());
}

/// Chains of an autoregressive process in equilibrium, whose ρ_t is φ^t: τ = (1 + φ)/(1 − φ).
fn autoregressive(phi: f64, chains: usize, transitions: usize, sample: u64) -> Vec<f64> {
    let noise = normals(chains * transitions, sample);
    let mut series = Vec::new();
    for noise in noise.chunks(transitions) {
        let mut value = noise[0];
        series.push(value);
        for noise in &noise[1..] {
            value = phi * value + (1.0 - phi * phi).sqrt() * noise;
            series.push(value);
        }
    }
    series
}

#[test]
fn autocorrelation_times_of_autoregressive_chains_are_known() {
    for (chains, transitions) in [(100, 800), (2, 40_000)] {
        for (index, phi) in [0.8, 0.5, 0.0, -0.5].into_iter().enumerate() {
            let series = autoregressive(phi, chains, transitions, 40 + index as u64);
            let (time, error) = integrated_autocorrelation_time(&series, transitions).unwrap();
            let expected = (1.0 + phi) / (1.0 - phi);
            let known = (time - expected).abs() / error;
            assert!(known < 4.5 && error < 0.07 * expected, "{phi}: {time} ± {error}");
            // Planted: half of it, as where τ is counted from a half, and one of chains that are
            // correlated a little more.
            assert!((time - 0.5 * expected).abs() > 6.0 * error, "{phi}");
            let more = autoregressive(0.5 + 0.5 * phi, chains, transitions, 40);
            let (more, _) = integrated_autocorrelation_time(&more, transitions).unwrap();
            assert!((more - expected).abs() > 9.0 * error, "{phi}: {more}");
        }
    }
}

#[test]
fn stated_errors_of_autocorrelation_times_cover_them() {
    let (phi, repeats) = (0.6, 200);
    let covered = (0..repeats).filter(|repeat| {
        let series = autoregressive(phi, 20, 400, 100 + repeat);
        let (time, error) = integrated_autocorrelation_time(&series, 400).unwrap();
        (time - 4.0).abs() < 2.0 * error
    });
    let covered = covered.count();
    assert!(covered > 180, "{covered}");
}

#[test]
fn chains_that_stay_where_they_are_have_no_autocorrelation_time() {
    // Wells that chains do not leave: half of the variance lies between them.
    let mut series = autoregressive(0.5, 50, 400, 7);
    assert!(integrated_autocorrelation_time(&series, 400).is_some());
    for (chain, values) in series.chunks_mut(400).enumerate() {
        values.iter_mut().for_each(|value| *value += if chain % 2 == 0 { 1.0 } else { -1.0 });
    }
    assert_eq!(integrated_autocorrelation_time(&series, 400), None);
    // Chains shorter than their memory, constant ones, ones with a hole, and none at all.
    assert_eq!(integrated_autocorrelation_time(&autoregressive(0.99, 50, 40, 8), 40), None);
    assert_eq!(integrated_autocorrelation_time(&[1.5; 400], 40), None);
    series[3] = f64::INFINITY;
    assert_eq!(integrated_autocorrelation_time(&series, 400), None);
    assert_eq!(integrated_autocorrelation_time(&[], 0), None);
    assert_eq!(integrated_autocorrelation_time(&[0.0, 1.0, 2.0], 3), None);
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

/// `count` configurations of Gaussian particles with zero centre of mass.
fn clouds(system: System, count: usize, sample: u64) -> Vec<f64> {
    let mut x = normals(count * system.coordinates(), sample);
    x.chunks_exact_mut(system.coordinates()).for_each(|x| system.remove_center_of_mass(x));
    x
}

fn mirror(x: &mut [f64], dimension: usize) {
    x.chunks_exact_mut(dimension).for_each(|row| row[0] = -row[0]);
}

#[test]
fn permuted_turned_and_mirrored_copies_are_at_distance_zero() {
    let rng = &mut stream(5, Purpose::Evaluation, 0, 0);
    let half = [0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0];
    for (n, d, species) in
        [(4, 2, &[][..]), (13, 3, &[]), (13, 3, &half), (13, 2, &half), (55, 3, &[])]
    {
        let system = System::new(n, d).unwrap();
        let count = if n == 55 { 6 } else { 20 };
        let x = clouds(system, count, n as u64);
        // In another order, too.
        let copy = |mirrored: bool, permute: &[usize], rng: &mut _| {
            let copies = x.chunks_exact(n * d).rev().flat_map(|x| {
                let order = system.random_permutation_within(permute, rng);
                let mut y = system.permute(&order, x);
                system.rotate(&system.random_rotation(rng), &mut y);
                if mirrored {
                    mirror(&mut y, d);
                }
                y
            });
            copies.collect::<Vec<f64>>()
        };
        let distance = |y: &[f64], reflections| {
            geometric_wasserstein(Symmetries { system, species, reflections }, &x, y)
        };
        let turned = copy(false, species, rng);
        assert!(distance(&turned, false) < 1e-6 && distance(&turned, true) < 1e-6);
        let mirrored = copy(true, species, rng);
        assert!(distance(&mirrored, true) < 1e-6, "{}", distance(&mirrored, true));
        // Planted: a mirror image where it counts, exchanged unlike particles, a moved particle.
        assert!(distance(&mirrored, false) > 0.1, "{n} {d}: {}", distance(&mirrored, false));
        if !species.is_empty() {
            assert!(distance(&copy(false, &[], rng), true) > 0.1);
        }
        let mut moved = turned.clone();
        moved[0] += 0.5;
        let moved_by = distance(&moved, true);
        let at_most = 0.5 / (count as f64).sqrt();
        assert!((1e-3..=at_most + 1e-9).contains(&moved_by), "{moved_by} {at_most}");
    }
}

#[test]
fn aligned_distances_are_those_of_all_permutations_and_angles() {
    // Four particles in a plane: 24 permutations, the best angle of each in closed form.
    let system = System::new(4, 2).unwrap();
    let (x, y) = (clouds(system, 60, 11), clouds(system, 60, 12));
    let mut orders = vec![vec![]];
    for _ in 0..4 {
        orders = orders
            .iter()
            .flat_map(|order: &Vec<usize>| {
                let rest = (0..4).filter(|p| !order.contains(p));
                rest.map(|p| [&order[..], &[p]].concat()).collect::<Vec<_>>()
            })
            .collect();
    }
    assert_eq!(orders.len(), 24);
    let mut aligner = Aligner::new(Symmetries { system, species: &[], reflections: false }, 16);
    let (mut worst, mut plain) = (0.0f64, 0.0f64);
    for (x, y) in x.chunks_exact(8).zip(y.chunks_exact(8)) {
        let squares: f64 = x.iter().chain(y).map(|v| v * v).sum();
        let best = |order: &Vec<usize>| {
            let y = system.permute(order, y);
            let pairs = || x.chunks_exact(2).zip(y.chunks_exact(2));
            let dot: f64 = pairs().map(|(x, y)| x[0] * y[0] + x[1] * y[1]).sum();
            let cross: f64 = pairs().map(|(x, y)| x[1] * y[0] - x[0] * y[1]).sum();
            squares - 2.0 * dot.hypot(cross)
        };
        let exact = orders.iter().map(best).fold(f64::INFINITY, f64::min);
        let found = aligner.squared_distance(x, y);
        assert!(found > exact - 1e-9, "{found} is less than the least, {exact}");
        worst = worst.max(found - exact);
        plain += (x.iter().zip(y).map(|(x, y)| (x - y).powi(2)).sum::<f64>() - exact) / 60.0;
    }
    assert!(worst < 1e-9, "{worst}");
    // Planted: without alignment they are far apart.
    assert!(plain > 1.0, "{plain}");
}

#[test]
fn distances_of_gaussians_are_near_their_known_values_and_their_floor_is_below() {
    // N(0, 1) and N(1, 2²): W2² = 1 + 1.
    let count = 20_000;
    let (first, other) = (normals(count, 21), normals(count, 22));
    let second: Vec<f64> = normals(count, 23).iter().map(|z| 1.0 + 2.0 * z).collect();
    let found = energy_wasserstein(&first, &second);
    assert!((found - 2f64.sqrt()).abs() < 0.05, "{found}");
    assert!(energy_wasserstein(&first, &other) < 0.05);
    // N(0, 1) and N(1, 1): TV = 2 Φ(1/2) − 1 = 0.38292. Noise of the bins adds a little.
    let shifted: Vec<f64> = other.iter().map(|z| z + 1.0).collect();
    let found = total_variation(&shifted, &first);
    assert!((0.38..0.40).contains(&found), "{found}");
    let floor = total_variation(&other, &first);
    assert!((0.01..0.06).contains(&floor), "{floor}");
    // Apart altogether, and the same.
    assert!((total_variation(&[5.0; 3], &first) - 1.0).abs() < 1e-6);
    assert!(total_variation(&first, &first).abs() < 1e-6);
    assert!(total_variation(&[2.0; 3], &[2.0; 5]).abs() < 1e-6);
    assert!(total_variation(&[], &first).is_nan());
    assert!((total_variation(&[f64::INFINITY, 0.1], &[0.1, 0.1]) - 0.5).abs() < 1e-6);
    assert!((total_variation(&[0.3], &[0.1, 0.1]) - 1.0).abs() < 1e-6);

    // Dumbbells of length r: after alignment each particle is off by |r − r'|/2, so that the
    // distance is that of r in one dimension over √2.
    let system = System::new(2, 3).unwrap();
    let dumbbells = |mean: f64, sample| {
        let rng = &mut stream(9, Purpose::Evaluation, 1, sample);
        let mut lengths = Vec::new();
        let mut x = Vec::new();
        for z in normals(200, sample) {
            let r = mean + 0.1 * z;
            let mut dumbbell = vec![r / 2.0, 0.0, 0.0, -r / 2.0, 0.0, 0.0];
            system.rotate(&system.random_rotation(rng), &mut dumbbell);
            lengths.push(r);
            x.extend(dumbbell);
        }
        (lengths, x)
    };
    let ((r, x), (s, y)) = (dumbbells(2.0, 31), dumbbells(3.0, 32));
    let symmetries = Symmetries { system, species: &[], reflections: false };
    let found = geometric_wasserstein(symmetries, &x, &y);
    let expected = energy_wasserstein(&r, &s) / 2f64.sqrt();
    assert!((found - expected).abs() < 1e-6, "{found} {expected}");
    // Planted: unlike ends. A dumbbell turned by half a turn is still the same one.
    let unlike = Symmetries { system, species: &[0, 1], reflections: false };
    assert!((geometric_wasserstein(unlike, &x, &y) - expected).abs() < 1e-6);
    assert!(geometric_wasserstein(symmetries, &x, &y[6..]).is_nan());
    assert!(geometric_wasserstein(symmetries, &[f64::NAN; 6], &y[..6]).is_nan());
}
