//! Distances, angles and dihedral angles along a tree of bonds, in place of positions.

use crate::molecule::{angle, cross, dihedral, distance, dot, neighbours};

/// Where an atom is placed from.
#[derive(Debug, Clone, Copy)]
struct Place {
    atom: usize,
    /// The atom that it is bonded to, and two more: the angle is with the first of them, the
    /// dihedral angle with both. Missing for the first three atoms.
    from: [Option<usize>; 3],
    /// Place in `turns` of another atom with the same three: the dihedral angle counts from its.
    sibling: Option<usize>,
}

/// A tree over all bonds of a molecule.
#[derive(Debug, Clone)]
pub(super) struct Tree {
    /// In the order of placing.
    places: Vec<Place>,
    /// For each dihedral angle that is not counted from another one's: whether its bond is in a
    /// ring, where it cannot turn.
    in_ring: Vec<bool>,
}

/// Internal coordinates of a configuration, in Å and radians.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Internal {
    /// Distances, then angles, then differences of dihedral angles and those in rings: what is
    /// stiff.
    pub stiff: Vec<f64>,
    /// Dihedral angles about bonds that can turn.
    pub soft: Vec<f64>,
}

/// What a configuration's dihedral angle counts as.
enum Turn {
    Soft,
    InRing,
    FromSibling,
}

impl Tree {
    /// `None` unless the bonds hold all atoms together, and there are three at least.
    pub fn of(atoms: usize, bonds: &[[usize; 2]]) -> Option<Self> {
        let bonded = neighbours(atoms, bonds);
        // From the middle of the chain outwards, branches with most bonds first.
        let root = (0..atoms).max_by_key(|&atom| (bonded[atom].len(), std::cmp::Reverse(atom)))?;
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
        let mut tree = Self { places: Vec::new(), in_ring: Vec::new() };
        let mut turns: Vec<(usize, [Option<usize>; 3])> = Vec::new();
        for (number, &atom) in order.iter().enumerate() {
            let from = references(number, atom, &order, &parent);
            let known = turns.iter().position(|(_, other)| *other == from);
            if from[2].is_some() {
                if known.is_none() {
                    let [b, c, _] = from.map(|atom| atom.unwrap_or(root));
                    tree.in_ring.push(is_in_ring(&bonded, b, c));
                }
                turns.push((number, from));
            }
            let sibling = known.map(|known| turns[known].0);
            tree.places.push(Place { atom, from, sibling });
        }
        Some(tree)
    }

    /// How many of both kinds of coordinates there are.
    pub fn sizes(&self) -> [usize; 2] {
        let soft = self.in_ring.iter().filter(|in_ring| !**in_ring).count();
        [3 * self.places.len() - 6 - soft, soft]
    }

    /// What the dihedral angles of atoms count as, in the order of placing, from the fourth on.
    fn turns(&self) -> impl Iterator<Item = (&Place, Turn)> {
        let mut rings = self.in_ring.iter();
        self.places.iter().skip(3).map(move |place| {
            let turn = match place.sibling {
                Some(_) => Turn::FromSibling,
                None if rings.next() == Some(&true) => Turn::InRing,
                None => Turn::Soft,
            };
            (place, turn)
        })
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
        for (place, turn) in self.turns() {
            let [Some(b), Some(c), Some(d)] = place.from else { continue };
            let phi = dihedral(x, [place.atom, b, c, d]).to_radians();
            absolute[place.atom] = phi;
            match (turn, place.sibling) {
                (Turn::FromSibling, Some(sibling)) => {
                    internal.stiff.push(wrapped(phi - absolute[self.places[sibling].atom]));
                }
                (Turn::Soft, _) => internal.soft.push(phi),
                _ => internal.stiff.push(phi),
            }
        }
        (internal, volume)
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
        // The third atom is bonded to one of the first two.
        let second = self.places[1].atom;
        let (sin, cos) = angles[0].sin_cos();
        let third = match self.places[2].from[0] {
            Some(b) if b == second => [lengths[0] - lengths[1] * cos, lengths[1] * sin, 0.0],
            _ => [lengths[1] * cos, lengths[1] * sin, 0.0],
        };
        put(self.places[2].atom, third);
        let (mut stiff, mut soft) = (internal.stiff[2 * n - 3..].iter(), internal.soft.iter());
        let mut absolute = vec![0.0; n];
        for (number, (place, turn)) in self.turns().enumerate() {
            let [Some(b), Some(c), Some(d)] = place.from else { return None };
            let phi = match (turn, place.sibling) {
                (Turn::FromSibling, Some(sibling)) => {
                    absolute[self.places[sibling].atom] + stiff.next()?
                }
                (Turn::Soft, _) => *soft.next()?,
                _ => *stiff.next()?,
            };
            absolute[place.atom] = phi;
            let at = placed(&x, [b, c, d], lengths[number + 2], angles[number + 1], phi);
            x[3 * place.atom..3 * place.atom + 3].copy_from_slice(&at);
        }
        Some(x)
    }

    /// Where dihedral angles that are stiff begin in [`Internal::stiff`].
    pub fn first_turn(&self) -> usize {
        2 * self.places.len() - 3
    }
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

/// Whether b and c are connected without their bond.
fn is_in_ring(bonded: &[Vec<usize>], b: usize, c: usize) -> bool {
    let mut seen = vec![false; bonded.len()];
    let mut open = vec![b];
    seen[b] = true;
    while let Some(atom) = open.pop() {
        for &next in &bonded[atom] {
            if (atom, next) != (b, c) && !seen[next] {
                if next == c {
                    return true;
                }
                seen[next] = true;
                open.push(next);
            }
        }
    }
    false
}

/// In [−π, π].
pub(super) fn wrapped(angle: f64) -> f64 {
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
