//! The reference sampler, on targets with known answers.

use super::*;

fn within(name: &str, value: f64, error: f64, expected: f64) {
    assert!((value - expected).abs() < 4.5 * error, "{name} {value} ± {error} against {expected}");
}

#[test]
fn the_reference_sampler_knows_a_harmonic_potential() {
    let options = ReferenceOptions { samples: 2000, chains: 4096, transitions: 20, seed: 1 };
    let reference = sample_reference(Arc::new(harmonic(30.0, 1.5)), options).unwrap();
    let report = reference.report;
    within("log Z", report.log_z, report.log_z_error, 2.0 * (2.0 * PI / 30.0).ln() - 1.5);
    within("energy", report.energy, report.energy_error, 3.5);
    within("virial", report.virial, report.virial_error, 4.0);
    assert!((report.energy_std - 2f64.sqrt()).abs() < 0.05);
    assert!(report.log_z_error < 0.02 && report.energy_error < 0.05);
    // The returned samples and energies belong together and have no centre of mass.
    assert_eq!(reference.samples.energies.len(), 2000);
    for (x, u) in reference.samples.positions.chunks(6).zip(&reference.samples.energies) {
        assert!((15.0 * x.iter().map(|x| x * x).sum::<f64>() + 1.5 - u).abs() < 1e-9);
        assert!((x[0] + x[2] + x[4]).abs() + (x[1] + x[3] + x[5]).abs() < 1e-9);
    }
}

#[test]
fn the_reference_sampler_knows_a_hard_dimer() {
    // Two particles with a Lennard-Jones core: Z = ∫ 2πρ exp(−U(√2 ρ)) dρ, ρ = r/√2.
    let pair = |r: f64| {
        let s6 = r.powi(-6);
        (s6 * s6 - 2.0 * s6, 12.0 * (s6 - s6 * s6) / r)
    };
    let potential = Pairs { system: System::new(2, 2).unwrap(), harmonic: 1.0, pair };
    let (mut z, mut energy) = (0.0, 0.0);
    let step = 1e-4;
    for i in 1..100_000 {
        let rho = i as f64 * step;
        let u = pair(2f64.sqrt() * rho).0 + 0.5 * rho * rho;
        let weight = 2.0 * PI * rho * (-u).exp() * step;
        z += weight;
        energy += if weight > 0.0 { weight * u } else { 0.0 };
    }
    let options = ReferenceOptions { samples: 100, chains: 4096, transitions: 20, seed: 4 };
    let report = sample_reference(Arc::new(potential), options).unwrap().report;
    within("log Z", report.log_z, report.log_z_error, z.ln());
    within("energy", report.energy, report.energy_error, energy / z);
    within("virial", report.virial, report.virial_error, 2.0);
    assert!(report.log_z_error < 0.02);
}

/// A formula that is flat beyond a cut-off, for two particles in the plane: Z = π ∫ r exp(−u) dr.
#[test]
fn the_reference_sampler_walks_where_a_formula_is_flat() {
    let text = "format = 1\nname = 'spheres'\nkind = 'formula'\ndimension = 2\nparticles = 2\n\
        pair = '20*max(0, 1 - r)^2.5 + r^2/4'\n";
    let path = std::path::Path::new("spheres.toml");
    let target = boltzflow::Registry::builtin().target_from_text(text, path).unwrap();
    let step = 1e-4;
    let z: f64 = (0..200_000)
        .map(|i| {
            let r = (f64::from(i) + 0.5) * step;
            let u = 20.0 * (1.0 - r).max(0.0).powf(2.5) + r * r / 4.0;
            PI * r * (-u).exp() * step
        })
        .sum();
    assert!((z.ln() - 1.7014).abs() < 5e-5, "{}", z.ln());
    let options = ReferenceOptions { samples: 100, chains: 4096, transitions: 20, seed: 4 };
    let report = sample_reference(target.potential, options).unwrap().report;
    within("log Z", report.log_z, report.log_z_error, z.ln());
    within("virial", report.virial, report.virial_error, 2.0);
    assert!(report.log_z_error < 0.02);
    assert_eq!((report.effort.failures, report.effort.without_gradient), (0, 0));
}

#[test]
fn the_reference_sampler_finds_dw4() {
    let options = ReferenceOptions { samples: 100, chains: 4096, transitions: 20, seed: 1 };
    let report = sample_reference(Arc::new(dw4()), options).unwrap().report;
    within("log Z", report.log_z, report.log_z_error.hypot(0.002), 29.667);
    within("energy", report.energy, report.energy_error.hypot(0.005), -22.542);
    within("virial", report.virial, report.virial_error, 6.0);
    // Trajectories that diverge are not failures of the potential.
    assert_eq!(report.effort.failures, 0);
    assert!((report.energy_std - 1.905).abs() < 0.03);
}

#[test]
#[ignore = "takes ten seconds of one core"]
fn the_reference_sampler_finds_lj13() {
    let options = ReferenceOptions { samples: 100, chains: 1600, transitions: 20, seed: 1 };
    let report = sample_reference(Arc::new(lj13()), options).unwrap().report;
    within("log Z", report.log_z, report.log_z_error.hypot(0.001), 39.250);
    within("energy", report.energy, report.energy_error.hypot(0.02), 0.56);
    within("virial", report.virial, report.virial_error, 36.0);
}

/// Two wells of equal depth and unequal volume, r = 2 and r = 6: the Gaussian that fits best lies
/// in the inner one, and nine tenths of the samples belong into the outer one.
#[test]
fn the_reference_sampler_finds_the_larger_well() {
    let pair = |r: f64| {
        let t = (r - 4.0) / 2.0;
        (25.0 * (t * t - 1.0) * (t * t - 1.0), 50.0 * (t * t - 1.0) * t)
    };
    let potential = Pairs { system: System::new(2, 3).unwrap(), harmonic: 0.0, pair };
    // Z = ∫ 4πρ² exp(−U(√2 ρ)) dρ, ρ = r/√2.
    let (mut z, mut outer) = (0.0, 0.0);
    for i in 1..100_000 {
        let r = i as f64 * 1e-4;
        let weight = 4.0 * PI * r * r * (-pair(r).0).exp() * 1e-4 / 8f64.sqrt();
        z += weight;
        outer += if r > 4.0 { weight } else { 0.0 };
    }
    let options = ReferenceOptions { samples: 2000, chains: 4096, transitions: 10, seed: 2 };
    let reference = sample_reference(Arc::new(potential), options).unwrap();
    let report = reference.report;
    within("log Z", report.log_z, report.log_z_error, f64::ln(z));
    assert!(report.log_z_error < 0.05, "{}", report.log_z_error);
    assert!(report.effective_populations > 8.0 && !report.rests_on_few());
    let distance = |x: &[f64]| (0..3).map(|k| (x[k] - x[3 + k]).powi(2)).sum::<f64>().sqrt();
    let found = reference.samples.positions.chunks(6).filter(|x| distance(x) > 4.0).count();
    let share = found as f64 / 2000.0;
    assert!((share - outer / z).abs() < 0.05, "{share} against {}", outer / z);
}

/// A stiff triangle in space, which turns slowly: Z by quadrature over Jacobi coordinates u, v and
/// the angle between them.
#[test]
fn orientations_count_where_the_reference_sampler_starts_from_a_structure() {
    let pair = |r: f64| (400.0 * (r - 1.0) * (r - 1.0), 800.0 * (r - 1.0));
    let triangle = Pairs { system: System::new(3, 3).unwrap(), harmonic: 0.0, pair };
    let mut z = 0.0;
    let steps = 120;
    let grid = |low: f64, high: f64, i: usize| low + (high - low) * (i as f64 + 0.5) / steps as f64;
    for i in 0..steps {
        for j in 0..steps {
            for k in 0..steps {
                let (u, v) = (grid(0.5, 0.95, i), grid(0.45, 0.95, j));
                let cos = grid(-0.7, 0.7, k);
                let (half, height) = (u / 2f64.sqrt(), 1.5f64.sqrt() * v);
                let side = |sign: f64| {
                    (half * half + height * height + 2.0 * sign * half * height * cos).sqrt()
                };
                let energy = pair(2.0 * half).0 + pair(side(1.0)).0 + pair(side(-1.0)).0;
                z += u * u * v * v * (-energy).exp();
            }
        }
    }
    z *= 8.0 * PI * PI * (0.45 * 0.5 * 1.4) / (steps as f64).powi(3);
    let corners = vec![0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.5, 0.75f64.sqrt(), 0.0];
    let known = Arc::new(WithStructures::new(triangle, vec![corners]));
    let options = ReferenceOptions { samples: 100, chains: 2048, transitions: 10, seed: 5 };
    let report = sample_reference(known, options).unwrap().report;
    within("log Z", report.log_z, report.log_z_error, f64::ln(z));
    within("energy", report.energy, report.energy_error, 1.5);
    assert!(report.log_z_error < 0.06, "{}", report.log_z_error);
}

/// Three like particles in the plane, a triangle: no rotation turns one order of its corners into
/// its mirror image, and log Z counts both.
#[test]
fn the_reference_sampler_starts_from_structures() {
    let pair = |r: f64| (300.0 * (r - 1.0) * (r - 1.0), 600.0 * (r - 1.0));
    let triangle = || Pairs { system: System::new(3, 2).unwrap(), harmonic: 0.0, pair };
    let corners = vec![0.0, 0.0, 1.0, 0.0, 0.5, 0.75f64.sqrt()];
    let options = ReferenceOptions { samples: 1000, chains: 2048, transitions: 10, seed: 3 };
    let cloud = sample_reference(Arc::new(triangle()), options).unwrap().report;
    let known = Arc::new(WithStructures::new(triangle(), vec![corners.clone()]));
    let structure = sample_reference(known, options).unwrap();
    let report = &structure.report;
    within("log Z", report.log_z, report.log_z_error.hypot(cloud.log_z_error), cloud.log_z);
    within("energy", report.energy, report.energy_error.hypot(cloud.energy_error), cloud.energy);
    within("virial", report.virial, report.virial_error, 4.0);
    // ln 2 is what one order alone would lack.
    let figures = (report.log_z_error, report.start_scale, report.effective_populations);
    assert!(report.log_z_error < 0.06 && report.start_scale < 0.16, "{figures:?}");
    // All orientations: the first particle lies on every side.
    let right = structure.samples.positions.chunks(6).filter(|x| x[0] > 0.0).count();
    assert!((right as f64 / 1000.0 - 0.5).abs() < 4.5 * 0.5 / 1000f64.sqrt(), "{right}");
    // Two structures of one kind are a mixture, and nothing is counted twice.
    let turned: Vec<f64> = corners.chunks(2).flat_map(|c| [-c[1], c[0]]).collect();
    let known = Arc::new(WithStructures::new(triangle(), vec![corners, turned]));
    let both = sample_reference(known, options).unwrap().report;
    within("log Z", both.log_z, both.log_z_error.hypot(cloud.log_z_error), cloud.log_z);
}

/// Chains that go on from samples keep the energy's mean and variance, and forget soon.
#[test]
fn chains_from_samples_keep_their_energies() {
    let potential = Arc::new(harmonic(30.0, 1.5));
    let options = ReferenceOptions { samples: 500, chains: 512, transitions: 10, seed: 5 };
    let starts = sample_reference(potential.clone(), options).unwrap().samples.positions;
    let found = energy_chains(potential.clone(), &starts, 8, 1.0, 1).unwrap();
    let (count, transitions) = (found.energies.len() as f64, found.transitions);
    assert!(transitions > 20 && found.seconds > 0.0 && found.seconds < 2.0, "{transitions}");
    let (time, error) = integrated_autocorrelation_time(&found.energies, transitions).unwrap();
    assert!(time > 0.1 && time < 20.0 && error < 0.5 * time, "{time} ± {error}");
    // Four degrees of freedom over an offset of 1.5: mean 3.5, variance 2.
    let mean = found.energies.iter().sum::<f64>() / count;
    let spread = (2.0 * time / count).sqrt();
    assert!((mean - 3.5).abs() < 4.5 * spread && spread < 0.05, "{mean} ± {spread}");
    let variance = found.energies.iter().map(|u| (u - mean).powi(2)).sum::<f64>() / count;
    assert!((variance - 2.0).abs() < 0.3, "{variance}");
    // Planted: an energy at another temperature.
    assert!((1.1 * (mean - 1.5) + 1.5 - 3.5).abs() > 9.0 * spread, "{mean} ± {spread}");
    // No starts, and no time for a single transition.
    assert_eq!(energy_chains(potential.clone(), &[], 8, 0.5, 1).unwrap(), Default::default());
    let none = energy_chains(potential, &starts, 8, 1e-9, 1).unwrap();
    assert_eq!(none, EnergyChains::default());
}

/// Chains do not leave their wells, whose energies differ: no time is stated that means nothing.
#[test]
fn chains_in_wells_that_they_do_not_leave_have_no_autocorrelation_time() {
    let pair = |r: f64| {
        let t = (r - 4.0) / 2.0;
        let wall = t * t - 1.0;
        (40.0 * wall * wall + 2.0 * t, 80.0 * wall * t + 1.0)
    };
    let potential = Pairs { system: System::new(2, 3).unwrap(), harmonic: 0.0, pair };
    let start = |r: f64| [r / 2.0, 0.0, 0.0, -r / 2.0, 0.0, 0.0];
    let starts: Vec<f64> = [2.0, 6.0].repeat(32).into_iter().flat_map(start).collect();
    let found = energy_chains(Arc::new(potential), &starts, 8, 1.0, 1).unwrap();
    assert!(found.transitions > 20);
    assert_eq!(integrated_autocorrelation_time(&found.energies, found.transitions), None);
    // Planted: without what lies between the wells, they would seem to forget.
    let mut within = found.energies;
    for chain in within.chunks_mut(found.transitions) {
        let mean = chain.iter().sum::<f64>() / chain.len() as f64;
        chain.iter_mut().for_each(|energy| *energy -= mean);
    }
    assert!(integrated_autocorrelation_time(&within, found.transitions).is_some());
}
