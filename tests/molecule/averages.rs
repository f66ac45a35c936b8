//! Averages and histograms over atoms by name, with known answers.

use boltzflow::evaluation::{estimate, Estimates, Observable};
use boltzflow::random::{stream, Purpose};
use boltzflow::samples::{Particles, Samples};
use boltzflow::system::System;
use rand::Rng;

use super::{capped, dipeptide};

/// Each observable of one configuration.
fn values(of: &Particles, x: &[f64], names: &[&str]) -> Result<Vec<f64>, String> {
    let parse = |name: &&str| name.parse::<Observable>().map_err(|e| e.to_string());
    let observables: Vec<Observable> = names.iter().map(parse).collect::<Result<_, _>>()?;
    let one = Samples { positions: x.to_vec(), log_weights: vec![0.0], energies: vec![0.0] };
    let found = estimate(of, &observables, 10, None, [Ok(one)]).map_err(|e| e.to_string())?;
    Ok(found.averages.iter().map(|average| average.mean).collect())
}

#[test]
fn atoms_are_found_by_name_residue_and_number() {
    let target = dipeptide();
    let (particles, x) = (target.particles(), &target.potential.structures()[0]);
    let found = values(
        &particles,
        x,
        &[
            "dihedral: ACE:C ALA:N ALA:CA ALA:C",
            "dihedral: 4 6 8 14",
            "phi",
            "psi: 2",
            "psi: ALA2",
            "angle: ALA:HB1 CB ALA2:HB2",
            "distance: ACE:CH3 NME3:C",
            "rmsd",
        ],
    )
    .unwrap();
    // The template is drawn out: φ = ψ = 180°; the others by the PDB's digits.
    let place = |atom: usize| &x[3 * atom..3 * atom + 3];
    let apart = |a: usize, b: usize| -> f64 {
        place(a).iter().zip(place(b)).map(|(a, b)| (a - b).powi(2)).sum::<f64>().sqrt()
    };
    let (long, b, c) = (apart(11, 12), apart(10, 11), apart(10, 12));
    let angle = ((b * b + c * c - long * long) / (2.0 * b * c)).acos().to_degrees();
    for (index, (found, known)) in
        found.iter().zip([180.0, 180.0, 180.0, 180.0, 180.0, angle, apart(1, 18), 0.0]).enumerate()
    {
        let away = (found - known).abs();
        assert!(away < 1e-4 || (known == 180.0 && away > 359.9), "{index}: {found} {known}");
    }
    for (name, words) in [
        ("distance: ACE:C ALA:C", &[][..]),
        ("distance: C ALA:C", &["`C`, which is 3 atoms", "ACE1:C (4)", "ALA2:C (14)"]),
        ("distance: ACE:C ALA:CX", &["`ALA:CX`, which is not there", "ALA2:CB (10)"]),
        ("distance: ACE:C AL:CA", &["residue `AL`", "`ALA2`"]),
        ("distance: ACE:C 22", &["atoms 0 to 21"]),
        ("distance: ACE:C 4", &["atom 4 twice"]),
        ("distance: ACE:C", &["1 atoms and needs 2"]),
        ("dihedral", &["needs atoms"]),
        ("phi: 3", &["not there", "\"phi: ALA2\""]),
        ("omega", &["not known"]),
        ("dihedrall: 1 2 3 4", &["did you mean `dihedral:`"]),
    ] {
        match (values(&particles, x, &[name]), words) {
            (Ok(_), []) => {}
            (Err(said), words) if !words.is_empty() => {
                assert!(words.iter().all(|word| said.contains(word)), "{name}: {said}");
            }
            (other, _) => panic!("{name}: {other:?}"),
        }
    }
    // Numbers need no structure; names say where they come from.
    let bare = Particles::from(System::new(22, 3).unwrap());
    assert!(values(&bare, x, &["distance: 0 1"]).is_ok());
    for name in ["distance: ACE:C 1", "phi", "rmsd"] {
        let said = values(&bare, x, &[name]).unwrap_err();
        assert!(said.contains("structure = \"molecule.pdb\""), "{said}");
    }
    let flat = Particles::from(System::new(4, 2).unwrap());
    assert!(values(&flat, &[0.0; 8], &["dihedral: 0 1 2 3"]).unwrap_err().contains("plane"));
}

#[test]
fn rmsd_is_least_over_turns_and_orders_of_like_atoms() {
    let target = capped();
    let system = target.potential.system();
    let mut rng = stream(1, Purpose::Evaluation, 0, 0);
    let mut x = target.potential.structures()[0].clone();
    let q = system.random_rotation(&mut rng);
    for place in x.chunks_exact_mut(3) {
        let turned: Vec<f64> =
            q.chunks(3).map(|row| row.iter().zip(&*place).map(|(q, x)| q * x).sum()).collect();
        place.copy_from_slice(&turned);
    }
    x[0] += 1.1;
    // One of 11 atoms is moved by 1.1 Å: at most 1.1/√11, and a turn makes it a little less.
    let rmsd = values(&target.particles(), &x, &["rmsd"]).unwrap()[0];
    assert!(rmsd < 1.1 / 11f64.sqrt() && rmsd > 0.5 * 1.1 / 11f64.sqrt(), "{rmsd}");
    // Planted: the mirror image of a chiral molecule is not the molecule.
    x.iter_mut().step_by(3).for_each(|x| *x = -*x);
    assert!(values(&target.particles(), &x, &["rmsd"]).unwrap()[0] > rmsd + 0.1);
}

/// Concentration of the von Mises distribution exp(κ cos(φ − μ)), whose density is known.
const KAPPA: f64 = 1.5;

/// Four atoms whose dihedral angle is drawn uniformly and weighted towards von Mises about `mean`
/// (in degrees); the last one's distance from the third is uniform on [1, 2].
fn chains(count: usize, mean: f64, number: u64) -> Samples {
    let mut rng = stream(11, Purpose::Evaluation, number, 0);
    let mut drawn = Samples::default();
    for _ in 0..count {
        let (turn, r) = (rng.gen_range(-180.0..180.0f64), rng.gen_range(1.0..2.0));
        let (s, c) = turn.to_radians().sin_cos();
        drawn.positions.extend([1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.5, r * c, r * s, 1.5]);
        drawn.log_weights.push(KAPPA * (turn - mean).to_radians().cos());
        drawn.energies.push(0.0);
    }
    drawn
}

const BINS: usize = 24;

/// The probability of a bin of 15° about `centre`, by quadrature.
fn exact(centre: f64, mean: f64) -> f64 {
    let weight = |turn: f64| (KAPPA * (turn - mean).to_radians().cos()).exp();
    let sum = |from: f64, to: f64| -> f64 {
        let n = 2000;
        let step = (to - from) / n as f64;
        (0..n).map(|k| weight(from + (k as f64 + 0.5) * step) * step).sum()
    };
    sum(centre - 7.5, centre + 7.5) / sum(-180.0, 180.0)
}

fn histograms(names: &[&str], drawn: Samples) -> Estimates {
    let all: Vec<Observable> =
        names.iter().map(|name| Observable::histogram(name).unwrap()).collect();
    let system = System::new(4, 3).unwrap();
    estimate(system, &all, BINS, None, [Ok(drawn)]).unwrap()
}

#[test]
fn errors_of_bins_and_free_energies_cover_the_truth_as_often_as_they_say() {
    let (mut within, mut within_free, mut within_half, mut all) = (0, 0, 0, 0);
    for number in 0..60 {
        let found = histograms(&["dihedral: 0 1 2 3"], chains(4000, 40.0, number));
        let found = &found.histograms[0];
        let widest = 15.0 * found.density.iter().sum::<f64>();
        assert!((widest - 1.0).abs() < 1e-12, "{widest}");
        let most = found.density.iter().copied().fold(0.0, f64::max);
        for (bin, centre) in found.centres[0].iter().enumerate() {
            let truth = exact(*centre, 40.0) / 15.0;
            let away = (found.density[bin] - truth).abs() / found.error[bin];
            let energy = found.free_energy[bin].unwrap() - (most / truth).ln();
            all += 1;
            within += usize::from(away < 2.0);
            within_half += usize::from(away < 1.0);
            within_free += usize::from(energy.abs() < 2.0 * found.free_energy_error[bin].unwrap());
        }
    }
    // 95.4 %, give or take 0.6; planted: errors half as large cover 68 %.
    let share = |count: usize| count as f64 / all as f64;
    assert!((0.935..0.97).contains(&share(within)), "{}", share(within));
    assert!((0.93..0.97).contains(&share(within_free)), "{}", share(within_free));
    assert!(share(within_half) < 0.75, "{}", share(within_half));
}

#[test]
fn two_dimensional_histograms_have_the_one_dimensional_ones_as_margins() {
    let names = ["dihedral: 0 1 2 3, distance: 2 3", "dihedral: 0 1 2 3", "distance: 2 3"];
    let found = histograms(&names, chains(5000, 40.0, 1)).histograms;
    let [both, turn, length] = &found[..] else { panic!() };
    assert_eq!(both.observables, ["dihedral: 0 1 2 3", "distance: 2 3"]);
    let width = length.centres[0][1] - length.centres[0][0];
    for (bin, row) in both.density.chunks(BINS).enumerate() {
        let margin = width * row.iter().sum::<f64>();
        assert!((margin - turn.density[bin]).abs() < 1e-12);
    }
    // Planted: along the other axis it is another density.
    let across: f64 = width * both.density.iter().step_by(BINS).sum::<f64>();
    assert!((across - turn.density[0]).abs() > 1e-4);
    // Empty bins have no free energy, and the least is 0.
    let least = both.free_energy.iter().flatten().copied().fold(f64::INFINITY, f64::min);
    assert_eq!(least, 0.0);
    for (density, energy) in both.density.iter().zip(&both.free_energy) {
        assert_eq!(*density > 0.0, energy.is_some());
    }
    for (text, word) in [("phi, heat_capacity", "no number"), ("phi, sin", "not known")] {
        let said = Observable::histogram(text).unwrap_err().to_string();
        assert!(said.contains(word), "{said}");
    }
}

#[test]
fn the_mean_of_angles_is_that_of_directions() {
    let system = System::new(4, 3).unwrap();
    let dihedral = ["dihedral: 0 1 2 3".parse::<Observable>().unwrap()];
    // About 180°, where the arithmetic mean is near 0.
    let found = estimate(system, &dihedral, 10, None, [Ok(chains(20_000, 180.0, 3))]).unwrap();
    let average = &found.averages[0];
    let away = (average.mean - 180.0).rem_euclid(360.0);
    let away = away.min(360.0 - away);
    assert!(away < 4.5 * average.error && average.error < 2.0, "{average:?}");
    // I₁(1.5)/I₀(1.5).
    assert!((average.resultant.unwrap() - 0.5961).abs() < 0.02, "{average:?}");
    let mut within = 0;
    for number in 0..200 {
        let batch = chains(1000, 40.0, 100 + number);
        let found = estimate(system, &dihedral, 10, None, [Ok(batch)]).unwrap();
        within +=
            usize::from((found.averages[0].mean - 40.0).abs() < 2.0 * found.averages[0].error);
    }
    // 95.4 % of 200, give or take 3.
    assert!((178..=200).contains(&within), "{within}");
}
