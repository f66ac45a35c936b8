//! Which atoms are alike: hydrogens on one atom with four bonds, as in CH₃, NH₃⁺ and CH₂, and what
//! else hangs there.

use crate::molecule::neighbours;
use crate::potential::Potential;

/// A number for each atom, the same for those that may be exchanged.
///
/// Atoms that hang on the same atom with four bonds, and on nothing else, are alike if exchanging
/// them leaves every energy as it is. All others are unlike, even where their exchange leaves the
/// energy as it is, too: no simulation ever exchanges them.
pub(super) fn alike(potential: &dyn Potential, masses: &[f64]) -> Vec<usize> {
    let count = potential.system().particles();
    let bonded = neighbours(count, potential.bonds());
    let mut alike: Vec<usize> = (0..count).collect();
    let x = spread(count);
    for around in bonded.iter().filter(|around| around.len() == 4) {
        let ends: Vec<usize> =
            around.iter().copied().filter(|&end| bonded[end].len() == 1).collect();
        for (k, &end) in ends.iter().enumerate() {
            for &other in &ends[..k] {
                // The first of those that are alike gives its number to the others.
                if alike[other] == other
                    && masses[other] == masses[end]
                    && may_exchange(potential, &x, end, other)
                {
                    alike[end] = other;
                    break;
                }
            }
        }
    }
    alike
}

/// Atoms far enough from each other for energies of a size in which differences show: places of a
/// grid of 1.5 Å, each moved by numbers that follow no pattern.
fn spread(count: usize) -> Vec<f64> {
    let side = (1..).find(|side| side * side * side >= count).unwrap_or(count);
    let place = |atom: usize| {
        let [i, j, k] = [atom % side, atom / side % side, atom / (side * side)];
        let moved = |axis: usize| 0.2 * ((7 * atom + 3 * axis + 1) as f64).sin();
        [1.5 * i as f64 + moved(0), 1.5 * j as f64 + moved(1), 1.5 * k as f64 + moved(2)]
    };
    (0..count).flat_map(place).collect()
}

fn may_exchange(potential: &dyn Potential, x: &[f64], a: usize, b: usize) -> bool {
    let mut exchanged = x.to_vec();
    for axis in 0..3 {
        exchanged.swap(3 * a + axis, 3 * b + axis);
    }
    let pairs = potential.terms(x).into_iter().zip(potential.terms(&exchanged));
    let mut pairs = pairs.map(|((_, before), (_, after))| (before, after));
    pairs.all(|(before, after)| (before - after).abs() <= 1e-9 * (1.0 + before.abs()))
}
