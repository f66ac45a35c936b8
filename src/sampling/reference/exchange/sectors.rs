//! The parts of a molecule's configurations that no simulation goes between: mirror images, and
//! orders of like atoms.

use rand::Rng;

use crate::molecule::{neighbours, signed_volume};
use crate::potential::Potential;
use crate::random::{step_before, stream, Purpose};

/// A centre of which more than this share is turned inside out at the hottest temperature does so
/// by itself: half of it would be, where both sides are alike. One that turns now and then has not
/// come to that share, and counts as one that keeps its side.
const TURNS: f64 = 0.4;

/// Which parts are alike, and where chains start.
///
/// The four neighbours of an atom keep their order around it, seen from the first, where its angles
/// are stiff: no temperature turns it inside out. Exchanging like atoms there, as hydrogens of a
/// methyl, and reflection lead to other parts, in which everything is the same. Chains stay in one,
/// and Z counts all.
pub(super) struct Sectors {
    centres: Vec<Centre>,
    /// Like atoms that are bonded to the same atom, and the centres that exchanging them turns.
    exchanges: Vec<Vec<bool>>,
    /// Like atoms that may come past each other, around an atom with fewer bonds: chains start in
    /// all of their orders.
    free: Vec<[usize; 2]>,
    structures: Vec<Vec<f64>>,
}

/// An atom with four neighbours.
struct Centre {
    neighbours: [usize; 4],
    /// Whether their signed volume is positive in the structure.
    is_positive: bool,
}

/// What the centres did at the hottest temperature.
pub(super) struct Parts {
    /// Whether each centre keeps its side.
    stiff: Vec<bool>,
    /// log of the number of parts.
    pub log_count: f64,
    /// Whether reflection leads to a part to which no exchange leads.
    pub is_handed: bool,
    /// Whether a centre has turned inside out now and then: how many parts there are is not clear.
    pub is_unclear: bool,
}

impl Sectors {
    /// Those of the molecule with the structure `first`; other structures are starts, too, if they
    /// are in its part.
    pub fn of(potential: &dyn Potential, first: &[f64]) -> Self {
        let species = potential.species();
        let alike = |a: usize, b: usize| species.is_empty() || species[a] == species[b];
        let mut free = Vec::new();
        let mut pairs = Vec::new();
        let mut centres = Vec::new();
        for around in neighbours(potential.system().particles(), potential.bonds()) {
            let mut of_atom = Vec::new();
            for (k, &a) in around.iter().enumerate() {
                of_atom.extend(around[..k].iter().filter(|&&b| alike(a, b)).map(|&b| [a, b]));
            }
            pairs.extend_from_slice(&of_atom);
            match <[usize; 4]>::try_from(around) {
                Ok(neighbours) => {
                    let is_positive = signed_volume(first, neighbours) > 0.0;
                    centres.push(Centre { neighbours, is_positive });
                }
                Err(_) => free.extend(of_atom),
            }
        }
        let structures = vec![first.to_vec()];
        let mut sectors = Self { centres, exchanges: Vec::new(), free, structures };
        sectors.exchanges = pairs
            .into_iter()
            .map(|pair| sectors.turned(&exchanged(first, pair)).collect())
            .collect();
        let others = potential.structures().iter().filter(|x| x[..] != *first);
        let others: Vec<Vec<f64>> =
            others.filter(|x| sectors.turned(x).all(|turned| !turned)).cloned().collect();
        sectors.structures.extend(others);
        sectors
    }

    /// Whether each centre is on the other side than in the structure.
    fn turned<'x>(&'x self, x: &'x [f64]) -> impl Iterator<Item = bool> + 'x {
        self.centres
            .iter()
            .map(|centre| (signed_volume(x, centre.neighbours) > 0.0) != centre.is_positive)
    }

    /// Whether x is in the structure's part: no centre is turned that keeps its side.
    pub fn is_inside(&self, x: &[f64], parts: &Parts) -> bool {
        self.turned(x).zip(&parts.stiff).all(|(turned, stiff)| !turned || !stiff)
    }

    /// What follows from configurations of the hottest temperature, each [particles, 3].
    pub fn found<'x>(&self, samples: impl Iterator<Item = &'x [f64]>) -> Parts {
        let (mut turned, mut count) = (vec![0_usize; self.centres.len()], 0);
        for x in samples {
            turned.iter_mut().zip(self.turned(x)).for_each(|(n, turned)| *n += usize::from(turned));
            count += 1;
        }
        let is_stiff = |turned: &usize| *turned as f64 <= TURNS * f64::from(count);
        let stiff: Vec<bool> = turned.iter().map(is_stiff).collect();
        let of_stiff = |turns: &[bool]| -> Vec<bool> {
            turns.iter().zip(&stiff).filter(|(_, stiff)| **stiff).map(|(turn, _)| *turn).collect()
        };
        let mut ways: Vec<Vec<bool>> = self.exchanges.iter().map(|e| of_stiff(e)).collect();
        let by_exchange = rank(ways.clone());
        // Reflection turns all centres around. Where exchanges do that, too, it adds nothing.
        ways.push(of_stiff(&vec![true; stiff.len()]));
        let all = rank(ways);
        Parts {
            log_count: all as f64 * 2f64.ln(),
            is_handed: all > by_exchange,
            is_unclear: turned.iter().zip(&stiff).any(|(turned, stiff)| *turned > 0 && *stiff),
            stiff,
        }
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
            for pair in &self.free {
                if rng.gen() {
                    x = exchanged(&x, *pair);
                }
            }
            starts.extend(x);
        }
        starts
    }
}

/// The number of independent rows of a matrix of bits: they lead to 2 to its power parts.
fn rank(mut rows: Vec<Vec<bool>>) -> usize {
    let columns = rows.first().map_or(0, Vec::len);
    let mut rank = 0;
    for column in 0..columns {
        let Some(pivot) = (rank..rows.len()).find(|row| rows[*row][column]) else { continue };
        rows.swap(rank, pivot);
        let (done, rest) = rows.split_at_mut(rank + 1);
        for row in rest.iter_mut().filter(|row| row[column]) {
            row.iter_mut().zip(&done[rank]).for_each(|(bit, by)| *bit ^= by);
        }
        rank += 1;
    }
    rank
}

/// `x` with two atoms exchanged.
fn exchanged(x: &[f64], [a, b]: [usize; 2]) -> Vec<f64> {
    let mut x = x.to_vec();
    (0..3).for_each(|axis| x.swap(3 * a + axis, 3 * b + axis));
    x
}
