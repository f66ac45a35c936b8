//! Random rotations and permutations.

use boltzflow::random::{stream, Purpose};
use boltzflow::system::System;

#[test]
fn a_random_rotation_is_orthonormal_with_determinant_one() {
    for d in [2, 3] {
        let system = System::new(4, d).unwrap();
        let q = system.random_rotation(&mut stream(1, Purpose::Evaluation, 0, d as u64));
        for i in 0..d {
            for j in 0..d {
                let dot: f64 = (0..d).map(|k| q[i * d + k] * q[j * d + k]).sum();
                assert!((dot - f64::from(u8::from(i == j))).abs() < 1e-12);
            }
        }
    }
}

#[test]
fn a_permutation_within_species_leaves_every_place_its_species() {
    let system = System::new(7, 2).unwrap();
    let species = [0, 1, 0, 2, 1, 0, 0];
    let mut seen = std::collections::BTreeSet::new();
    for sample in 0..400 {
        let rng = &mut stream(1, Purpose::Evaluation, 1, sample);
        let order = system.random_permutation_within(&species, rng);
        assert!(order.iter().zip(&species).all(|(&p, s)| species[p] == *s));
        assert_eq!(order.iter().collect::<std::collections::BTreeSet<_>>().len(), 7);
        seen.insert(order);
        let [rng, same] = &mut [
            stream(1, Purpose::Evaluation, 2, sample),
            stream(1, Purpose::Evaluation, 2, sample),
        ];
        assert_eq!(system.random_permutation_within(&[], rng), system.random_permutation(same));
    }
    // All 4!·2! of them.
    assert_eq!(seen.len(), 48);
}

#[test]
fn too_few_particles_and_odd_dimensions_are_refused_by_name() {
    assert!(System::new(1, 3).unwrap_err().to_string().contains("particles"));
    assert!(System::new(4, 1).unwrap_err().to_string().contains("dimension"));
}
