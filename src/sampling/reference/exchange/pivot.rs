//! Pivot moves: a part of a molecule turns about a bond, by any angle.
//!
//! Trajectories turn a dihedral angle by some tens of degrees, and rarely pass a high barrier, such
//! as that of an amide, even at the hottest temperature. A pivot jumps over it (Lal, Mol. Phys. 17,
//! 57 (1969)). It keeps all other internal coordinates, and volume.

use rand::Rng;
use std::f64::consts::PI;

use super::visits::Torsions;
use crate::molecule::{cross, dot, neighbours, side_of};
use crate::system::System;

/// Bonds that a part of a molecule can turn about.
#[derive(Debug, Clone)]
pub(super) struct Pivots {
    turns: Vec<Pivot>,
}

/// A bond, and the atoms on one side of it.
#[derive(Debug, Clone)]
struct Pivot {
    axis: [usize; 2],
    atoms: Vec<usize>,
}

impl Pivots {
    /// Those of a molecule that are in no ring; the smaller side turns.
    pub fn of(system: System, bonds: &[[usize; 2]]) -> Self {
        let torsions = Torsions::of(system, bonds);
        let bonded = neighbours(system.particles(), bonds);
        let pivot = |&[_, b, c, _]: &[usize; 4]| {
            let mut atoms = side_of(&bonded, b, c)?;
            if 2 * atoms.len() > bonded.len() {
                atoms = (0..bonded.len()).filter(|atom| !atoms.contains(atom)).collect();
            }
            Some(Pivot { axis: [b, c], atoms })
        };
        Self { turns: torsions.atoms.iter().filter_map(pivot).collect() }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.turns.is_empty()
    }

    /// Turns one side of a random bond of x ([particles, 3]) by a random angle.
    pub fn turn(&self, rng: &mut impl Rng, x: &mut [f64]) {
        let Pivot { axis: [b, c], atoms } = &self.turns[rng.gen_range(0..self.turns.len())];
        let (sine, cosine) = rng.gen_range(-PI..PI).sin_cos();
        let at = |atom: usize, x: &[f64]| [0, 1, 2].map(|k| x[3 * atom + k]);
        let minus = |a: [f64; 3], b: [f64; 3]| [0, 1, 2].map(|k| a[k] - b[k]);
        let from = at(*b, x);
        let along = minus(at(*c, x), from);
        let length = dot(along, along).sqrt();
        let axis = along.map(|a| a / length);
        for &atom in atoms {
            // Rodrigues: v cos + (k × v) sin + k (k·v)(1 − cos).
            let v = minus(at(atom, x), from);
            let (across, share) = (cross(axis, v), dot(axis, v));
            for k in 0..3 {
                x[3 * atom + k] =
                    from[k] + v[k] * cosine + across[k] * sine + axis[k] * share * (1.0 - cosine);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::molecule::{angle, dihedral, distance};
    use crate::random::{stream, Purpose};

    /// A chain of five atoms whose third bears a ring of three.
    const BONDS: [[usize; 2]; 7] = [[0, 1], [1, 2], [2, 3], [3, 4], [2, 5], [5, 6], [6, 2]];

    #[test]
    fn a_pivot_turns_one_dihedral_angle_and_changes_nothing_else() {
        let pivots = Pivots::of(System::new(7, 3).unwrap(), &BONDS);
        // Bonds of the ring turn nothing; ends have nothing to turn.
        let mut axes: Vec<[usize; 2]> = pivots.turns.iter().map(|pivot| pivot.axis).collect();
        axes.sort_unstable();
        assert_eq!(axes, [[1, 2], [2, 3]]);
        let mut rng = stream(1, Purpose::Reference, 0, 0);
        let start: Vec<f64> = (0..21).map(|_| rng.gen_range(-2.0..2.0)).collect();
        let stiff = |x: &[f64]| -> Vec<f64> {
            let lengths = BONDS.iter().map(|&[a, b]| distance(x, 3, [a, b]));
            let angles = [[0, 1, 2], [1, 2, 3], [2, 3, 4], [1, 2, 5], [3, 2, 6], [5, 2, 6]];
            lengths.chain(angles.map(|atoms| angle(x, 3, atoms))).collect()
        };
        let soft = |x: &[f64]| [[0, 1, 2, 3], [1, 2, 3, 4]].map(|atoms| dihedral(x, atoms));
        let mut turned = [0, 0];
        for _ in 0..50 {
            let mut x = start.clone();
            pivots.turn(&mut rng, &mut x);
            for (now, before) in stiff(&x).iter().zip(stiff(&start)) {
                assert!((now - before).abs() < 1e-6, "{now} {before}");
            }
            let changed = [0, 1].map(|k| usize::from((soft(&x)[k] - soft(&start)[k]).abs() > 1e-6));
            assert_eq!(changed[0] + changed[1], 1);
            turned.iter_mut().zip(changed).for_each(|(all, own)| *all += own);
            // Planted: a part that moves along its axis as well.
            x[3 * 4] += 1e-3;
            assert!(stiff(&x).iter().zip(stiff(&start)).any(|(a, b)| (a - b).abs() > 1e-6));
        }
        assert!(turned[0] > 10 && turned[1] > 10, "{turned:?}");
    }
}
