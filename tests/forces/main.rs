//! Every potential of `targets/`: its gradient against finite differences, its invariances, its
//! known values. Each check is itself checked with a planted error.

mod double_well;
mod lennard_jones;
mod many_body;
mod pairs;
mod periodic;
mod system;
mod units;

use std::path::Path;
use std::sync::Arc;

use boltzflow::config::load_target;
use boltzflow::potential::{
    sum_over_pairs, DoubleWell, DoubleWellParameters, EvaluationError, LennardJones,
    LennardJonesParameters, Potential,
};
use boltzflow::random::{stream, Purpose};
use boltzflow::system::System;
use rand::Rng;

/// All target files, and forms that none of them uses.
fn potentials() -> Vec<(String, Arc<dyn Potential>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("targets");
    let mut all = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|e| e == "toml") {
            let target = load_target(path.to_str().unwrap()).unwrap();
            all.push((target.name, target.potential));
        }
    }
    assert!(all.len() >= 4);
    let tilted = DoubleWellParameters { a: 0.7, ..DoubleWellParameters::new(5, 3) };
    all.push(("tilted double well".into(), Arc::new(DoubleWell::new(tilted).unwrap())));
    let disks = LennardJonesParameters {
        r_m: 1.4,
        trap: 2.0,
        temperature: 0.5,
        ..LennardJonesParameters::new(6, 2, 1.5)
    };
    all.push(("cold disks".into(), Arc::new(LennardJones::new(disks).unwrap())));
    for text in
        [many_body::STILLINGER_WEBER, many_body::SUTTON_CHEN, many_body::ALLOY, many_body::WATER]
    {
        all.push((text.to_string(), many_body::formula(text).unwrap()));
    }
    all.extend(periodic::potentials());
    for (name, potential) in all.clone() {
        if let Some(soft) = potential.softened(0.9) {
            all.push((format!("{name}, softened"), soft));
        }
    }
    all
}

/// A configuration off the centre, uniform in a cube, no two particles closer than 0.75.
fn configuration(system: System, sample: u64) -> Vec<f64> {
    let mut rng = stream(3, Purpose::Evaluation, 0, sample);
    let d = system.dimension();
    let side = 1.6 * (system.particles() as f64).powf(1.0 / d as f64);
    let mut x: Vec<f64> = Vec::new();
    while x.len() < system.coordinates() {
        let candidate: Vec<f64> = (0..d).map(|_| 0.3 + side * rng.gen::<f64>()).collect();
        let free = x.chunks_exact(d).all(|other| {
            let separation = system.separation(other, &candidate);
            separation.iter().map(|r| r * r).sum::<f64>() > 0.75 * 0.75
        });
        if free {
            x.extend(candidate);
        }
    }
    x
}

fn evaluate(potential: &dyn Potential, x: &[f64]) -> (f64, Vec<f64>) {
    // What was in the gradient before must not matter.
    let mut gradient = vec![7.0; x.len()];
    let u = potential.energy_and_gradient(x, &mut gradient).unwrap();
    (u, gradient)
}

/// Largest difference relative to the largest entry.
fn discrepancy(a: &[f64], b: &[f64]) -> f64 {
    let size = a.iter().chain(b).fold(1.0f64, |m, v| m.max(v.abs()));
    a.iter().zip(b).fold(0.0f64, |m, (a, b)| m.max((a - b).abs())) / size
}

/// Fourth-order central differences: the truncation is under 1e-9 at these distances.
fn gradient_matches_finite_differences(potential: &dyn Potential, x: &[f64]) -> Result<(), String> {
    let h = 1e-4;
    let (_, all) = evaluate(potential, x);
    // Of hundreds of particles some.
    let chosen = || (0..x.len()).step_by(x.len() / 100 + 1);
    let gradient: Vec<f64> = chosen().map(|i| all[i]).collect();
    let numerical: Vec<f64> = chosen()
        .map(|i| {
            let at = |shift: f64| {
                let mut moved = x.to_vec();
                moved[i] += shift;
                evaluate(potential, &moved).0
            };
            (8.0 * (at(h) - at(-h)) - (at(2.0 * h) - at(-2.0 * h))) / (12.0 * h)
        })
        .collect();
    let error = discrepancy(&gradient, &numerical);
    // Of thousands of pairs some are where the cut-off takes their slope away.
    let bound = if potential.system().particles() > 100 { 1e-4 } else { 1e-7 };
    (error < bound).then_some(()).ok_or(format!("gradient off by {error:e}"))
}

/// U(Rx) = U(x) and ∇U(Rx) = R ∇U(x), and the same under translation and permutation.
fn is_invariant(potential: &dyn Potential, x: &[f64], sample: u64) -> Result<(), String> {
    let system = potential.system();
    let d = system.dimension();
    let mut rng = stream(4, Purpose::Evaluation, 0, sample);
    let rotation = system.random_rotation(&mut rng);
    let shift: Vec<f64> = (0..d).map(|_| 10.0 * rng.gen::<f64>()).collect();
    let order = system.random_permutation_within(potential.species(), &mut rng);
    let rotate = |x: &[f64]| {
        let mut x = x.to_vec();
        system.rotate(&rotation, &mut x);
        x
    };
    let translate = |x: &[f64]| -> Vec<f64> {
        x.chunks_exact(d).flat_map(|row| row.iter().zip(&shift).map(|(a, b)| a + b)).collect()
    };
    let (u, gradient) = evaluate(potential, x);
    // A box has directions of its own.
    let turns = usize::from(system.periodic_box().is_some());
    for (what, moved, expected) in [
        ("rotation", rotate(x), rotate(&gradient)),
        ("translation", translate(x), gradient.clone()),
        ("permutation", system.permute(&order, x), system.permute(&order, &gradient)),
    ]
    .into_iter()
    .skip(turns)
    {
        let (moved_u, moved_gradient) = evaluate(potential, &moved);
        let error = discrepancy(&[u], &[moved_u]).max(discrepancy(&expected, &moved_gradient));
        if error > 1e-10 {
            return Err(format!("{what} changes it by {error:e}"));
        }
    }
    Ok(())
}

#[test]
fn gradients_match_finite_differences() {
    for (name, potential) in potentials() {
        for sample in 0..5 {
            let x = configuration(potential.system(), sample);
            if let Err(error) = gradient_matches_finite_differences(&*potential, &x) {
                panic!("{name}, configuration {sample}: {error}");
            }
        }
    }
}

#[test]
fn energies_are_invariant_and_gradients_equivariant() {
    for (name, potential) in potentials() {
        for sample in 0..20 {
            let x = configuration(potential.system(), sample);
            if let Err(error) = is_invariant(&*potential, &x, sample) {
                panic!("{name}, configuration {sample}: {error}");
            }
        }
    }
}

#[test]
fn a_batch_gives_what_its_configurations_give() {
    for (name, potential) in potentials() {
        let system = potential.system();
        let mut x: Vec<f64> = (0..3).flat_map(|s| configuration(system, s)).collect();
        let width = system.coordinates();
        // The second one has particles 0 and 1 at one place.
        let d = system.dimension();
        x.copy_within(width..width + d, width + d);
        let (mut energies, mut gradients) = (vec![0.0; 3], vec![0.0; 3 * width]);
        let failures = potential.energies_and_gradients(&x, &mut energies, &mut gradients).unwrap();
        let (overlap, mut gradient) = (&x[width..2 * width], vec![0.0; width]);
        match potential.energy_and_gradient(overlap, &mut gradient) {
            Err(_) => assert_eq!((failures, energies[1]), (1, f64::INFINITY), "{name}"),
            // Some formulas have an energy there; only springs to the centre have a gradient.
            Ok(energy) => {
                assert_eq!((failures, energies[1]), (0, energy), "{name}");
                let flat = gradient.iter().all(|g| g.is_finite());
                assert_eq!(flat, name == "harmonic", "{name}: {gradient:?}");
            }
        }
        let mut alone = vec![0.0; 3];
        assert_eq!(potential.energies(&x, &mut alone).unwrap(), failures, "{name}");
        assert_eq!(alone, energies, "{name}: energies without gradients");
        for s in [0, 2] {
            let (u, gradient) = evaluate(&*potential, &x[s * width..(s + 1) * width]);
            assert_eq!((u, &gradient[..]), (energies[s], &gradients[s * width..(s + 1) * width]));
        }
    }
}

/// The energy minimum of 13 particles is an icosahedron around one of them, −44.326801 ε (Hoare and
/// Pal 1971; Cambridge Cluster Database).
#[test]
fn the_icosahedron_has_its_published_energy() {
    let parameters =
        LennardJonesParameters { trap: 0.0, ..LennardJonesParameters::new(13, 3, 1.0) };
    let potential = LennardJones::new(parameters).unwrap();
    let golden = (1.0 + 5f64.sqrt()) / 2.0;
    let mut shape = vec![0.0; 3];
    for (a, b) in [(1.0, golden), (1.0, -golden), (-1.0, golden), (-1.0, -golden)] {
        shape.extend([0.0, a, b, a, b, 0.0, b, 0.0, a]);
    }
    let energy = |scale: f64| {
        let x: Vec<f64> = shape.iter().map(|v| v * scale).collect();
        evaluate(&potential, &x).0
    };
    let lowest =
        (0..=20_000).map(|i| energy(0.4 + 1e-5 * f64::from(i))).fold(f64::INFINITY, f64::min);
    assert!((lowest + 44.326801).abs() < 2e-6, "{lowest}");
}

/// The two LJ13 files differ by the pair term, counted once more.
#[test]
fn the_conventions_differ_by_one_pair_sum() {
    let [one, two] = ["lj13", "lj13_eps2"].map(|name| load_target(name).unwrap().potential);
    let bare = LennardJonesParameters { trap: 0.0, ..LennardJonesParameters::new(13, 3, 1.0) };
    let bare = LennardJones::new(bare).unwrap();
    let x = configuration(one.system(), 1);
    let pairs = evaluate(&bare, &x).0;
    let difference = evaluate(&*two, &x).0 - evaluate(&*one, &x).0;
    assert!((difference - pairs).abs() < 1e-10 * pairs.abs().max(1.0));
}

/// A repulsion 3/r² with one of the mistakes that the checks above must find.
struct Planted(Mistake);

#[derive(Clone, Copy)]
enum Mistake {
    None,
    WrongSign,
    MissingFactor,
    OneTermMissing,
    ExternalField,
    OneParticleDiffers,
    DirectionMatters,
}

impl Potential for Planted {
    fn system(&self) -> System {
        System::new(4, 3).unwrap()
    }

    fn energy_and_gradient(&self, x: &[f64], g: &mut [f64]) -> Result<f64, EvaluationError> {
        let mut u = sum_over_pairs(self.system(), x, g, 0.0, |r2| {
            let u = 3.0 / r2;
            (u, -2.0 * u / r2)
        })?;
        match self.0 {
            Mistake::None => {}
            Mistake::WrongSign => g.iter_mut().for_each(|g| *g = -*g),
            Mistake::MissingFactor => g.iter_mut().for_each(|g| *g *= 0.5),
            Mistake::OneTermMissing => u += 1e-3 * (x[0] - x[3]).powi(2),
            Mistake::ExternalField => {
                let center = self.system().center_of_mass(x);
                u += 1e-3 * center.iter().map(|c| c * c).sum::<f64>();
                g.iter_mut().zip(center.iter().cycle()).for_each(|(g, c)| *g += 5e-4 * c);
            }
            Mistake::OneParticleDiffers => {
                let r2: f64 = (0..3).map(|k| (x[k] - x[3 + k]).powi(2)).sum();
                u += 1e-3 * r2;
                for k in 0..3 {
                    g[k] += 2e-3 * (x[k] - x[3 + k]);
                    g[3 + k] -= 2e-3 * (x[k] - x[3 + k]);
                }
            }
            Mistake::DirectionMatters => {
                let mean = x.iter().step_by(3).sum::<f64>() / 4.0;
                for i in (0..12).step_by(3) {
                    u += 1e-3 * (x[i] - mean).powi(2);
                    g[i] += 2e-3 * (x[i] - mean);
                }
            }
        }
        Ok(u)
    }
}

#[test]
fn planted_errors_are_caught() {
    let x = configuration(Planted(Mistake::None).system(), 0);
    let gradient = |mistake| gradient_matches_finite_differences(&Planted(mistake), &x);
    let invariance = |mistake| is_invariant(&Planted(mistake), &x, 0);
    assert_eq!((gradient(Mistake::None), invariance(Mistake::None)), (Ok(()), Ok(())));
    for mistake in [Mistake::WrongSign, Mistake::MissingFactor, Mistake::OneTermMissing] {
        assert!(gradient(mistake).is_err());
    }
    for (mistake, what) in [
        (Mistake::ExternalField, "translation"),
        (Mistake::OneParticleDiffers, "permutation"),
        (Mistake::DirectionMatters, "rotation"),
    ] {
        assert!(gradient(mistake).is_ok());
        let found = invariance(mistake).unwrap_err();
        assert!(found.starts_with(what), "{found}");
    }
}
