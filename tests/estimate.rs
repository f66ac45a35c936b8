//! Averages, variances, histograms and free energies from weighted samples: known answers, errors
//! that cover the truth as often as stated, and mistakes that must be found.

use boltzflow::diagnostics::{
    effective_sample_size, free_energy_difference, reweighted, reweighted_mean,
    reweighted_variance, Independent, WeightedHistogram,
};
use boltzflow::evaluation::{estimate, estimate_of, Estimates, Observable};
use boltzflow::random::{stream, Purpose};
use boltzflow::samples::Samples;
use boltzflow::system::System;
use rand_distr::{Distribution, StandardNormal};

/// Two particles in the plane, x₁ = −x₀: x₀ ~ N(0, `drawn`²) in 2 dimensions, weighted towards
/// exp(−U) with U = ‖x‖²/2 = ‖x₀‖².
fn draws(count: usize, drawn: f64, number: u64) -> Samples {
    let mut rng = stream(7, Purpose::Evaluation, number, 0);
    let (mut positions, mut energies, mut log_weights) = (vec![], vec![], vec![]);
    for _ in 0..count {
        let mut place =
            || drawn * <StandardNormal as Distribution<f64>>::sample(&StandardNormal, &mut rng);
        let (a, b) = (place(), place());
        positions.extend([a, b, -a, -b]);
        let squares = a * a + b * b;
        energies.push(squares);
        log_weights.push(squares / (2.0 * drawn * drawn) - squares);
    }
    Samples { positions, log_weights, energies }
}

fn observables(names: &[&str]) -> Vec<Observable> {
    names.iter().map(|name| name.parse().unwrap()).collect()
}

/// U has two quadratic degrees of freedom: mean 1, variance 1.
const TRUTH: f64 = 1.0;

#[test]
fn known_averages_come_out_within_their_errors_and_unweighted_ones_do_not() {
    let system = System::new(2, 2).unwrap();
    let all = observables(&[
        "energy",
        "heat_capacity",
        "external: r_com^2",
        "pair: r^2",
        "radius_of_gyration",
    ]);
    let batches = |weighted: bool| {
        (0..4).map(move |number| {
            let mut batch = draws(10_000, 0.9, number);
            if !weighted {
                batch.log_weights.fill(0.0);
            }
            Ok(batch)
        })
    };
    let found = estimate(system, &all, 10, None, batches(true)).unwrap();
    assert_eq!(found.samples, 40_000);
    assert!(!found.rests_on_few_samples && found.free_energy.is_none());
    // ‖x₀‖² is exponential with mean 1: Σ r_com² = 2, r² = 4, and ⟨√‖x₀‖²⟩ = Γ(3/2).
    let truths = [TRUTH, TRUTH, 2.0, 4.0, std::f64::consts::PI.sqrt() / 2.0];
    for (average, truth) in found.averages.iter().zip(truths) {
        let away = (average.mean - truth) / average.error;
        assert!(away.abs() < 4.5, "{}: {away}", average.observable);
        assert!(average.error < 0.03 * truth && average.undefined == 0);
    }
    let planted = estimate(system, &all, 10, None, batches(false)).unwrap();
    for (average, truth) in planted.averages.iter().zip(truths) {
        let away = (average.mean - truth) / average.error;
        assert!(away.abs() > 9.0, "{}: {away}", average.observable);
    }
}

#[test]
fn stated_errors_cover_the_truth_as_often_as_they_say() {
    let repeats = 1000;
    let mut covered = [0; 3];
    let mut half = 0;
    for number in 0..repeats {
        let batch = draws(2000, 0.9, 100 + number);
        let (mean, mean_error) = reweighted_mean(&batch.log_weights, &batch.energies);
        let (variance, error) =
            reweighted_variance(&batch.log_weights, &batch.energies, Independent::Samples);
        // To 1.2 times the temperature, Z grows by 1.2 (two degrees of freedom).
        let changes: Vec<f64> = batch.energies.iter().map(|u| u - u / 1.2).collect();
        let (free, free_error) = free_energy_difference(&batch.log_weights, &changes);
        covered[0] += usize::from((mean - TRUTH).abs() < 2.0 * mean_error);
        covered[1] += usize::from((variance - TRUTH).abs() < 2.0 * error);
        covered[2] += usize::from((free + 1.2f64.ln()).abs() < 2.0 * free_error);
        half += usize::from((mean - TRUTH).abs() < mean_error);
    }
    // 95.4 %, give or take 0.7; a variance is skewed and a little short of it.
    for count in covered {
        assert!((900..=985).contains(&count), "{covered:?}");
    }
    // An error twice too small would cover 68 % only: planted here.
    assert!(half < 750, "{half}");
}

#[test]
fn a_free_energy_of_widely_different_states_rests_on_few_samples() {
    let batch = draws(10_000, 0.9, 1);
    let near: Vec<f64> = batch.energies.iter().map(|u| u - u / 1.1).collect();
    let (free, error) = free_energy_difference(&batch.log_weights, &near);
    assert!((free + 1.1f64.ln()).abs() < 4.5 * error && error < 0.01);
    // The wrong sign is far outside.
    assert!((free - 1.1f64.ln()).abs() > 9.0 * error);
    let far: Vec<f64> = batch.energies.iter().map(|u| u - u / 50.0).collect();
    let few = effective_sample_size(&reweighted(&batch.log_weights, &far));
    assert!(few.count < 100.0, "{few:?}");
    let nowhere = vec![f64::NEG_INFINITY; batch.energies.len()];
    assert!(free_energy_difference(&batch.log_weights, &nowhere).0.is_nan());
}

#[test]
fn another_target_is_reached_by_reweighting_in_the_estimates_too() {
    let system = System::new(2, 2).unwrap();
    let ratio = 1.3;
    let mut hotter = |batch: &Samples| Ok(batch.energies.iter().map(|u| u / ratio).collect());
    let all = observables(&["energy", "external: r_com^2"]);
    let batches = (0..4).map(|number| Ok(draws(10_000, 1.0, number)));
    let found = estimate(system, &all, 10, Some(&mut hotter), batches).unwrap();
    let free = found.free_energy.unwrap();
    assert!((free.difference + f64::ln(ratio)).abs() < 4.5 * free.error && free.error < 0.02);
    // U'/kT' still is 1 on average, and the place is wider by the ratio.
    for (average, truth) in found.averages.iter().zip([1.0, 2.0 * ratio]) {
        assert!((average.mean - truth).abs() < 4.5 * average.error, "{average:?}");
        assert!(average.error < 0.03 * truth);
    }
}

#[test]
fn histograms_have_the_density_and_the_spread_that_they_state() {
    // Two values a sample, both the same uniform number: correlated, so that counting values as
    // independent would state an error √2 too small.
    let repeats = 400;
    let samples = 500;
    let mut covered = 0u32;
    let mut bins = 0u32;
    for number in 0..repeats {
        let mut rng = stream(9, Purpose::Evaluation, number, 0);
        let mut histogram = WeightedHistogram::new([0.0, 1.0], 5);
        for sample in 0..samples {
            let value: f64 = rand::Rng::gen(&mut rng);
            // Density 2v by weights; large offsets show whether sums are rescaled.
            histogram.add(value.ln() + 300.0 * f64::from(sample > 0), &[value, value]);
        }
        // The first sample has almost no weight compared with the others.
        for (centre, density, error) in histogram.bins() {
            bins += 1;
            covered += u32::from((density - 2.0 * centre).abs() < 2.0 * error);
        }
        let integral: f64 = histogram.bins().iter().map(|b| b.1 * histogram.bin_width()).sum();
        assert!((integral - 1.0).abs() < 1e-12);
    }
    let share = f64::from(covered) / f64::from(bins);
    assert!((0.92..0.98).contains(&share), "{share}");
}

/// Eight copies of each sample of a population, as of a chain that hardly moves.
#[test]
fn errors_of_samples_that_depend_on_each_other_are_those_of_their_populations() {
    const REPEATS: u64 = 400;
    const POPULATIONS: usize = 16;
    let system = System::new(2, 2).unwrap();
    let mut all = observables(&["energy", "heat_capacity", "pair_distances"]);
    all.push(Observable::histogram("energy").unwrap());
    let populations: Vec<usize> = (0..POPULATIONS).flat_map(|of| [of; 8 * 50]).collect();
    // U = ‖x₀‖² is exponential: shares of its bins; r = 2‖x₀‖ has the density r/2 exp(−r²/4).
    let distances =
        |ends: [f64; 2]| (-ends[0].powi(2) / 4.0).exp() - (-ends[1].powi(2) / 4.0).exp();
    let mut covered = [[0u32; 4]; 2];
    let mut counted = [0u32; 4];
    for number in 0..REPEATS {
        let single = draws(POPULATIONS * 50, 0.9, 5000 + number);
        let copies = |values: &[f64], width: usize| -> Vec<f64> {
            values.chunks_exact(width).flat_map(|value| value.repeat(8)).collect()
        };
        let batch = Samples {
            positions: copies(&single.positions, 4),
            log_weights: copies(&single.log_weights, 1),
            energies: copies(&single.energies, 1),
        };
        let found = |independent: Independent<'_>| -> Estimates {
            estimate_of(independent, system, &all, 8, None, [Ok(batch.clone())]).unwrap()
        };
        for (place, independent) in
            [Independent::Populations(&populations), Independent::Samples].into_iter().enumerate()
        {
            let found = found(independent);
            let mut count = |of: usize, away: f64, error: f64| {
                covered[place][of] += u32::from(away.abs() < 2.0 * error);
                counted[of] += u32::from(place == 0);
            };
            for (of, average) in found.averages.iter().enumerate() {
                count(of, average.mean - TRUTH, average.error);
            }
            let r = &found.profiles[0];
            let width = r.r[1] - r.r[0];
            // Rare bins have errors of a few samples.
            for bin in 1..4 {
                let truth = distances([r.r[bin] - width / 2.0, r.r[bin] + width / 2.0]) / width;
                count(2, r.density[bin] - truth, r.error[bin]);
            }
            let energies = &found.histograms[0];
            let centres = &energies.centres[0];
            let half = (centres[1] - centres[0]) / 2.0;
            let share = (half - centres[0]).exp() - (-half - centres[0]).exp();
            count(3, energies.density[0] - share / (2.0 * half), energies.error[0]);
        }
    }
    // 93.6 % within 2 standard errors that are themselves from 16 populations, less for variances.
    for of in 0..4 {
        let share = |place: usize| f64::from(covered[place][of]) / f64::from(counted[of]);
        assert!((0.88..0.97).contains(&share(0)), "{of}: {}", share(0));
        // Those of independent samples are √8 too small: planted here.
        assert!(share(1) < 0.65, "{of}: {}", share(1));
    }
}

#[test]
fn observables_have_names_and_wrong_ones_are_refused() {
    let system = System::new(3, 2).unwrap();
    for (text, words) in [
        ("enery", "did you mean `energy`"),
        ("pair", "needs a formula"),
        ("pairs: r", "did you mean `pair:`"),
        ("pressure", "use one of"),
        ("energy: r", "is not known"),
    ] {
        let message = text.parse::<Observable>().unwrap_err().to_string();
        assert!(message.contains(words), "{text}: {message}");
    }
    for (text, words) in
        [("pair: q^2", "q"), ("external: r_com +", "external"), ("external: z", "z")]
    {
        let observable: Observable = text.parse().unwrap();
        let message = observable.check(&system.into()).unwrap_err().to_string();
        assert!(message.contains("--observable") && message.contains(words), "{message}");
    }
    let nothing = Samples {
        positions: vec![0.0; 12],
        log_weights: vec![f64::NEG_INFINITY; 2],
        energies: vec![f64::INFINITY; 2],
    };
    let error = estimate(system, &observables(&["energy"]), 5, None, [Ok(nothing)]).unwrap_err();
    assert!(error.to_string().contains("no sample has a finite weight"));
}

#[test]
fn a_sample_without_a_weight_never_spoils_an_average() {
    let system = System::new(2, 2).unwrap();
    let mut batch = draws(1000, 0.9, 3);
    let all = observables(&["energy", "heat_capacity", "pair_distances", "pair: 1/r"]);
    let clean = estimate(system, &all, 5, None, [Ok(batch.clone())]).unwrap();
    batch.positions.extend([0.0; 4]);
    batch.energies.push(f64::INFINITY);
    batch.log_weights.push(f64::NEG_INFINITY);
    let found = estimate(system, &all, 5, None, [Ok(batch.clone())]).unwrap();
    assert_eq!(found.averages, clean.averages);
    assert_eq!(found.profiles, clean.profiles);
    // An overlap with a weight has no finite 1/r, and is counted.
    batch.positions.extend([0.0; 4]);
    batch.energies.push(0.0);
    batch.log_weights.push(-3.0);
    let found = estimate(system, &all, 5, None, [Ok(batch)]).unwrap();
    assert_eq!(found.averages[2].undefined, 1);
    assert!(found.averages[2].mean.is_finite());
}
