//! The parts of a molecule's configurations that no simulation goes between: mirror images, and
//! orders of like atoms.

use rand::Rng;

use crate::potential::Potential;
use crate::random::{step_before, stream, Purpose};

/// Which parts are alike, and where chains start.
///
/// The four neighbours of an atom keep their order around it, seen from the first: no temperature
/// turns it inside out. Exchanging like atoms there, as hydrogens of a methyl, and reflection lead
/// to other parts, in which everything is the same. Chains stay in one, and Z counts all.
pub(super) struct Sectors {
    /// log of the number of parts.
    pub log_count: f64,
    /// Whether reflection leads to a part to which no exchange leads.
    pub is_handed: bool,
    /// Like atoms that may come past each other, around an atom with fewer bonds: chains start in
    /// all of their orders.
    free: Vec<[usize; 2]>,
    structures: Vec<Vec<f64>>,
}

impl Sectors {
    /// Those of the molecule with the structure `first`; other structures are starts, too, if they
    /// are in its part.
    pub fn of(potential: &dyn Potential, first: &[f64]) -> Self {
        let mut bonded = vec![Vec::new(); potential.system().particles()];
        for &[a, b] in potential.bonds() {
            bonded[a].push(b);
            bonded[b].push(a);
        }
        let species = potential.species();
        let alike = |a: usize, b: usize| match species {
            [] => true,
            species => species[a] == species[b],
        };
        let (mut with_alike, mut without) = (0, 0);
        let mut free = Vec::new();
        let mut centres = Vec::new();
        for mut around in bonded {
            around.sort_unstable();
            around.dedup();
            let mut pairs = Vec::new();
            for (k, &a) in around.iter().enumerate() {
                pairs.extend(around[..k].iter().filter(|&&b| alike(a, b)).map(|&b| [a, b]));
            }
            match <[usize; 4]>::try_from(around) {
                Ok(four) => {
                    centres.push(four);
                    if pairs.is_empty() {
                        without += 1;
                    } else {
                        with_alike += 1;
                    }
                }
                Err(_) => free.extend(pairs),
            }
        }
        // Reflection turns all centres around. If each has like atoms, exchanges do that, too.
        let parts = with_alike + usize::from(without > 0);
        let mut structures = vec![first.to_vec()];
        let sides = |x: &[f64]| centres.iter().map(|four| side(x, *four)).collect::<Vec<_>>();
        let others = potential.structures().iter().filter(|x| sides(x) == sides(first));
        structures.extend(others.filter(|x| x[..] != *first).cloned());
        Self { log_count: parts as f64 * 2f64.ln(), is_handed: without > 0, free, structures }
    }

    /// Where `chains` of an ensemble start, [chains, particles, 3].
    pub fn starts(
        &self,
        potential: &dyn Potential,
        chains: usize,
        (seed, index): (u64, u64),
    ) -> Vec<f64> {
        let system = potential.system();
        let mut rng = stream(seed, Purpose::Reference, step_before(4), index);
        let mut starts = Vec::with_capacity(chains * system.coordinates());
        for chain in 0..chains {
            let mut x = self.structures[chain % self.structures.len()].clone();
            for [a, b] in &self.free {
                if rng.gen() {
                    (0..3).for_each(|axis| x.swap(3 * a + axis, 3 * b + axis));
                }
            }
            starts.extend(x);
        }
        starts
    }
}

/// Whether (a − d)·((b − d) × (c − d)) > 0.
pub(super) fn side(x: &[f64], [a, b, c, d]: [usize; 4]) -> bool {
    let from = |k: usize| [0, 1, 2].map(|axis| x[3 * k + axis] - x[3 * d + axis]);
    let ([a0, a1, a2], [b0, b1, b2], [c0, c1, c2]) = (from(a), from(b), from(c));
    a0 * (b1 * c2 - b2 * c1) + a1 * (b2 * c0 - b0 * c2) + a2 * (b0 * c1 - b1 * c0) > 0.0
}
