//! How many chains have come to each side of every bond that can turn.

use crate::molecule::{dihedral, neighbours};
use crate::parallel::message;
use crate::system::System;

/// Sectors of a dihedral angle, around 0°, 90°, 180° and −90°.
const SECTORS: usize = 4;

/// The dihedral angles of a molecule, one for each bond that can turn.
#[derive(Debug, Clone)]
pub(super) struct Torsions {
    pub atoms: Vec<[usize; 4]>,
}

impl Torsions {
    /// Of a molecule with these bonds.
    pub fn of(system: System, bonds: &[[usize; 2]]) -> Self {
        let bonded = neighbours(system.particles(), bonds);
        // The end that is bonded the most is a part of the chain rather than a hydrogen.
        let end = |of: usize, but: usize| {
            let others = bonded[of].iter().copied().filter(|&other| other != but);
            others.max_by_key(|&other| (bonded[other].len(), std::cmp::Reverse(other)))
        };
        let mut atoms: Vec<[usize; 4]> = Vec::new();
        for &[b, c] in bonds {
            if let (Some(a), Some(d)) = (end(b, c), end(c, b)) {
                if a != d && a != c && !atoms.contains(&[a, b, c, d]) {
                    atoms.push([a, b, c, d]);
                }
            }
        }
        Self { atoms }
    }

    /// The sector of each dihedral angle.
    fn sectors<'x>(&'x self, x: &'x [f64]) -> impl Iterator<Item = usize> + 'x {
        self.atoms.iter().map(move |&atoms| {
            let quarter = dihedral(x, atoms) / 90.0;
            (quarter.round() as i64).rem_euclid(SECTORS as i64) as usize
        })
    }
}

/// What was seen of every sector of every dihedral angle, [torsions, sectors].
#[derive(Debug, Clone, Default)]
pub(super) struct Visits {
    /// Configurations in it.
    pub configurations: Vec<u64>,
    /// Independent chains that came there.
    pub chains: Vec<u64>,
}

message!(Visits { configurations, chains });

impl Visits {
    /// Those of the chains whose configurations, [chains, configurations, particles, 3], are `x`.
    pub fn of<'x>(torsions: &Torsions, chains: impl Iterator<Item = Vec<&'x [f64]>>) -> Self {
        let count = torsions.atoms.len() * SECTORS;
        let mut visits = Self { configurations: vec![0; count], chains: vec![0; count] };
        for chain in chains {
            let mut seen = vec![0; count];
            for x in chain {
                for (torsion, sector) in torsions.sectors(x).enumerate() {
                    seen[torsion * SECTORS + sector] += 1;
                }
            }
            for (place, seen) in seen.into_iter().enumerate() {
                visits.configurations[place] += seen;
                visits.chains[place] += u64::from(seen > 0);
            }
        }
        visits
    }

    /// Adds those of other chains.
    pub fn add(&mut self, other: &Self) {
        let add = |to: &mut Vec<u64>, from: &[u64]| {
            to.resize(from.len().max(to.len()), 0);
            to.iter_mut().zip(from).for_each(|(to, from)| *to += from);
        };
        add(&mut self.configurations, &other.configurations);
        add(&mut self.chains, &other.chains);
    }

    /// Torsion and degrees of the middle of each sector that only so many chains came to.
    pub fn seen_by(&self, chains: u64) -> impl Iterator<Item = (usize, f64)> + '_ {
        let places = self.chains.iter().enumerate();
        places.filter(move |(_, count)| **count == chains).map(|(place, _)| {
            let sector = place % SECTORS;
            let degrees = 90.0 * if sector == 3 { -1.0 } else { sector as f64 };
            (place / SECTORS, degrees)
        })
    }
}
