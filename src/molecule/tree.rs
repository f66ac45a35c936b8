//! Distances, angles and dihedral angles along a tree of bonds, in place of positions.

use super::bonds::{neighbours, side_of};
use super::geometry::{angle, cross, dihedral, distance, dot};

/// Where an atom is placed from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    pub atom: usize,
    /// The atom that it is bonded to, and two more: the angle is with the first of them, the
    /// dihedral angle with both. Missing for the first three atoms.
    pub from: [Option<usize>; 3],
    /// From the fourth atom on.
    pub turn: Option<Turn>,
}

/// What the dihedral angle of an atom is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turn {
    /// About a bond that can turn.
    Soft,
    /// About a bond of a ring, or between bonds of one atom: it cannot turn.
    Stiff,
    /// Counted from that of another atom, of this number in the order of placing, with the same
    /// three atoms.
    Beside(usize),
}

/// A tree over all bonds of a molecule.
#[derive(Debug, Clone)]
pub(crate) struct Tree {
    /// In the order of placing. The second and the third atom are bonded to the first.
    pub places: Vec<Place>,
}

/// Internal coordinates of a configuration, in Å and radians.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Internal {
    /// Distances, then angles, then differences of dihedral angles and those in rings: what is
    /// stiff.
    pub stiff: Vec<f64>,
    /// Dihedral angles about bonds that can turn.
    pub soft: Vec<f64>,
}

impl Tree {
    /// `None` unless the bonds hold all atoms together, and there are three at least.
    pub fn of(atoms: usize, bonds: &[[usize; 2]]) -> Option<Self> {
        let bonded = neighbours(atoms, bonds);
        let root = middle(&bonded)?;
        let mut order = vec![root];
        let mut parent: Vec<Option<usize>> = vec![None; atoms];
        let mut next = 0;
        while let Some(&atom) = order.get(next) {
            next += 1;
            let mut children: Vec<usize> = bonded[atom].clone();
            children.retain(|child| *child != root && parent[*child].is_none());
            children.sort_by_key(|&child| (std::cmp::Reverse(bonded[child].len()), child));
            for child in children {
                parent[child] = Some(atom);
                order.push(child);
            }
        }
        if order.len() != atoms || atoms < 3 {
            return None;
        }
        let mut places: Vec<Place> = Vec::new();
        for (number, &atom) in order.iter().enumerate() {
            let from = references(number, atom, &order, &parent);
            let turn = match from {
                [Some(b), Some(c), Some(d)] => {
                    let beside = places.iter().position(|other| other.from == from);
                    Some(match beside {
                        Some(other) => Turn::Beside(other),
                        None if parent[d] == Some(b) || side_of(&bonded, b, c).is_none() => {
                            Turn::Stiff
                        }
                        None => Turn::Soft,
                    })
                }
                _ => None,
            };
            places.push(Place { atom, from, turn });
        }
        Some(Self { places })
    }

    /// How many stiff and soft coordinates there are.
    pub fn sizes(&self) -> [usize; 2] {
        let soft = self.places.iter().filter(|place| place.turn == Some(Turn::Soft)).count();
        [3 * self.places.len() - 6 - soft, soft]
    }

    /// Coordinates of `x` ([atoms, 3]), and log |∂x/∂coordinates| up to a constant: Σ log b² and
    /// Σ log sin θ.
    pub fn internal(&self, x: &[f64]) -> (Internal, f64) {
        let mut internal = Internal::default();
        let mut volume = 0.0;
        for place in &self.places[1..] {
            let Some(b) = place.from[0] else { continue };
            let length = distance(x, 3, [place.atom, b]);
            internal.stiff.push(length);
            volume += 2.0 * length.ln();
        }
        for place in &self.places[2..] {
            let [Some(b), Some(c), _] = place.from else { continue };
            let theta = angle(x, 3, [place.atom, b, c]).to_radians();
            internal.stiff.push(theta);
            volume += theta.sin().ln();
        }
        let mut absolute = vec![0.0; x.len() / 3];
        for (number, place) in self.places.iter().enumerate() {
            let ([Some(b), Some(c), Some(d)], Some(turn)) = (place.from, place.turn) else {
                continue;
            };
            let phi = dihedral(x, [place.atom, b, c, d]).to_radians();
            absolute[number] = phi;
            match turn {
                Turn::Soft => internal.soft.push(phi),
                Turn::Stiff => internal.stiff.push(phi),
                Turn::Beside(other) => internal.stiff.push(wrapped(phi - absolute[other])),
            }
        }
        (internal, volume)
    }

    /// The dihedral angles of [`internal`](Self::internal) that turn, alone.
    pub fn soft(&self, x: &[f64]) -> Vec<f64> {
        let turning = self.places.iter().filter(|place| matches!(place.turn, Some(Turn::Soft)));
        let angle = |place: &Place| match place.from {
            [Some(b), Some(c), Some(d)] => Some(dihedral(x, [place.atom, b, c, d]).to_radians()),
            _ => None,
        };
        turning.filter_map(angle).collect()
    }

    /// The configuration with these coordinates, its first atom at the origin; `None` where a
    /// distance is not over 0 or an angle not within (0, π).
    pub fn positions(&self, internal: &Internal) -> Option<Vec<f64>> {
        let n = self.places.len();
        let lengths = &internal.stiff[..n - 1];
        let angles = &internal.stiff[n - 1..2 * n - 3];
        let inside = |theta: &f64| (0.0..std::f64::consts::PI).contains(theta) && *theta > 0.0;
        if !lengths.iter().all(|b| *b > 0.0) || !angles.iter().all(inside) {
            return None;
        }
        let mut x = vec![0.0; 3 * n];
        let mut put = |atom: usize, at: [f64; 3]| x[3 * atom..3 * atom + 3].copy_from_slice(&at);
        put(self.places[1].atom, [lengths[0], 0.0, 0.0]);
        let (sin, cos) = angles[0].sin_cos();
        put(self.places[2].atom, [lengths[1] * cos, lengths[1] * sin, 0.0]);
        let (mut stiff, mut soft) = (internal.stiff[2 * n - 3..].iter(), internal.soft.iter());
        let mut absolute = vec![0.0; n];
        for (number, place) in self.places.iter().enumerate() {
            let ([Some(b), Some(c), Some(d)], Some(turn)) = (place.from, place.turn) else {
                continue;
            };
            let phi = match turn {
                Turn::Soft => *soft.next()?,
                Turn::Stiff => *stiff.next()?,
                Turn::Beside(other) => absolute[other] + stiff.next()?,
            };
            absolute[number] = phi;
            let at = placed(&x, [b, c, d], lengths[number - 1], angles[number - 2], phi);
            x[3 * place.atom..3 * place.atom + 3].copy_from_slice(&at);
        }
        Some(x)
    }

    /// Where dihedral angles that are stiff begin in [`Internal::stiff`].
    pub fn first_turn(&self) -> usize {
        2 * self.places.len() - 3
    }
}

/// The atom with the shortest way to all others, of those with two bonds at least; of equals, that
/// with most bonds.
fn middle(bonded: &[Vec<usize>]) -> Option<usize> {
    let farthest = |root: usize| {
        let mut steps: Vec<Option<usize>> = vec![None; bonded.len()];
        steps[root] = Some(0);
        let mut open = std::collections::VecDeque::from([root]);
        let mut last = 0;
        while let Some(atom) = open.pop_front() {
            last = steps[atom].unwrap_or(last);
            for &next in &bonded[atom] {
                if steps[next].is_none() {
                    steps[next] = Some(last + 1);
                    open.push_back(next);
                }
            }
        }
        last
    };
    (0..bonded.len())
        .filter(|&atom| bonded[atom].len() >= 2)
        .min_by_key(|&atom| (farthest(atom), std::cmp::Reverse(bonded[atom].len()), atom))
}

/// What the atom of that number in the `order` is placed from.
fn references(
    number: usize,
    atom: usize,
    order: &[usize],
    parent: &[Option<usize>],
) -> [Option<usize>; 3] {
    let Some(b) = parent[atom] else { return [None; 3] };
    if number == 1 {
        return [Some(b), None, None];
    }
    // The bond's other side: the atom before b, or, where b is the root, its first branch.
    let c = parent[b].unwrap_or(order[1]);
    if number == 2 {
        return [Some(b), Some(c), None];
    }
    // What was placed before and is bonded to c; else to b.
    let placed = &order[..number];
    let before = parent[c].filter(|d| *d != b);
    let beside = |of: usize, but: &[usize]| {
        placed.iter().copied().find(|d| parent[*d] == Some(of) && !but.contains(d))
    };
    let d = before.or_else(|| beside(c, &[b, atom])).or_else(|| beside(b, &[c, atom]));
    [Some(b), Some(c), d]
}

/// In [−π, π].
pub(crate) fn wrapped(angle: f64) -> f64 {
    let turn = 2.0 * std::f64::consts::PI;
    angle - turn * (angle / turn).round()
}

/// The place at a distance from b, an angle with c and a dihedral angle with c and d.
fn placed(x: &[f64], [b, c, d]: [usize; 3], length: f64, theta: f64, phi: f64) -> [f64; 3] {
    let at = |atom: usize| [x[3 * atom], x[3 * atom + 1], x[3 * atom + 2]];
    let minus = |a: [f64; 3], b: [f64; 3]| [0, 1, 2].map(|k| a[k] - b[k]);
    let scaled = |a: [f64; 3], s: f64| a.map(|a| a * s);
    let axis = minus(at(b), at(c));
    let along = scaled(axis, 1.0 / dot(axis, axis).sqrt());
    let aside = minus(at(d), at(c));
    let across = minus(aside, scaled(along, dot(aside, along)));
    let across = scaled(across, 1.0 / dot(across, across).sqrt());
    let out = cross(along, across);
    let (sin, cos) = phi.sin_cos();
    let b = at(b);
    [0, 1, 2].map(|k| {
        let around = cos * across[k] + sin * out[k];
        b[k] + length * (theta.sin() * around - theta.cos() * along[k])
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A branched molecule with a ring of four.
    const BONDS: [[usize; 2]; 9] =
        [[0, 1], [1, 2], [1, 3], [3, 4], [4, 5], [5, 6], [6, 7], [7, 4], [0, 8]];

    fn positions() -> Vec<f64> {
        (0..27).map(|k| 1.5 * (k / 3) as f64 * (0.3 * k as f64).cos() + (k as f64).sin()).collect()
    }

    #[test]
    fn coordinates_and_positions_are_inverse() {
        let tree = Tree::of(9, &BONDS).unwrap();
        let x = positions();
        let (internal, _) = tree.internal(&x);
        let [stiff, soft] = tree.sizes();
        assert_eq!((internal.stiff.len(), internal.soft.len()), (stiff, soft));
        assert_eq!(stiff + soft, 3 * 9 - 6);
        assert_eq!(tree.soft(&x), internal.soft);
        let back = tree.positions(&internal).unwrap();
        for i in 0..9 {
            for j in 0..i {
                let [want, got] = [&x, &back].map(|x| distance(x, 3, [i, j]));
                assert!((want - got).abs() < 1e-10, "{i} {j}: {want} {got}");
            }
        }
        // Not the mirror image.
        let [want, got] = [&x, &back].map(|x| dihedral(x, [0, 1, 3, 4]));
        assert!((want - got).abs() < 1e-8);
        // A planted difference in one coordinate is seen.
        let mut planted = internal.clone();
        planted.soft[0] += 0.01;
        let planted = tree.positions(&planted).unwrap();
        let moved = |i, j| distance(&planted, 3, [i, j]) - distance(&x, 3, [i, j]);
        assert!((0..9).any(|i| (0..i).any(|j| moved(i, j).abs() > 1e-4)));
        assert!(Tree::of(9, &BONDS[..8]).is_none(), "an atom without a bond");
    }

    /// ∫ over internal coordinates of a Gaussian in positions, by Monte Carlo with the stated
    /// volume, is what it is over positions.
    #[test]
    fn the_volume_is_that_of_positions() {
        use rand::Rng;
        // Four atoms in a chain: U = Σ r²/2 over all pairs, a Gaussian with a known integral.
        let tree = Tree::of(4, &[[0, 1], [1, 2], [2, 3]]).unwrap();
        let energy = |x: &[f64]| {
            let pairs = (0..4).flat_map(|i| (0..i).map(move |j| [i, j]));
            pairs.map(|pair| 0.5 * distance(x, 3, pair).powi(2)).sum::<f64>()
        };
        let mut rng = crate::random::stream(3, crate::random::Purpose::Evaluation, 0, 0);
        let pi = std::f64::consts::PI;
        let (count, most) = (400_000, 4.0);
        let mut terms = Vec::with_capacity(count);
        for _ in 0..count {
            let lengths = [0; 3].map(|_| rng.gen_range(1e-9..most));
            let angles = [0; 2].map(|_| rng.gen_range(1e-9..pi));
            let internal = Internal {
                stiff: lengths.into_iter().chain(angles).collect(),
                soft: vec![rng.gen_range(-pi..pi)],
            };
            let x = tree.positions(&internal).unwrap();
            let (_, volume) = tree.internal(&x);
            terms.push((volume - energy(&x)).exp());
        }
        let box_volume = most.powi(3) * pi * pi * 2.0 * pi;
        let mean = terms.iter().sum::<f64>() / count as f64;
        let square = terms.iter().map(|t| (t - mean) * (t - mean)).sum::<f64>() / count as f64;
        let error = (square / count as f64).sqrt() / mean;
        // n^(−3/2) 8π² is the rest of the volume; each of the 9 degrees of freedom has stiffness n.
        let log_integral = (mean * box_volume * 8.0 * pi * pi).ln() - 1.5 * 4f64.ln();
        let exact = 4.5 * (2.0 * pi / 4.0).ln();
        assert!((log_integral - exact).abs() < 4.5 * error, "{log_integral} {exact} {error}");
        assert!(9.0 * error < 0.5 * 4f64.ln(), "a factor of n would be seen");
    }
}
