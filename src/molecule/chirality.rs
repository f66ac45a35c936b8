//! Stereocentres, and on which side of the mirror a configuration is.

use std::collections::BTreeMap;

use super::atoms::{LikeNeighbours, Molecule, Stereocentre};
use super::geometry::signed_volume;

/// Which mirror images samples of a chiral molecule are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Chirality {
    /// The one that the structure is.
    #[default]
    Structure,
    /// As drawn: both, equally often in the long run.
    Any,
}

/// A configuration beside the structure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Handedness {
    /// All stereocentres are as in the structure, or there are none.
    Same,
    /// All are as in its mirror image.
    Mirrored,
    /// Some are and some are not: another molecule, a diastereomer.
    Other,
}

impl Molecule {
    /// Atoms with four neighbours that differ by what is bonded to them, and that the target does
    /// not take for alike. In a ring, both ways around count as alike if they are so seen from the
    /// centre. A carbon whose hydrogen is part of a bead has three bonds and is not found.
    pub(super) fn find_stereocentres(&self) -> Vec<Stereocentre> {
        let (neighbours, kinds) = (self.neighbours(), self.kinds_by_bonds());
        let differ = |kinds: &[usize], atoms: &[usize]| {
            let mut of_atoms: Vec<usize> = atoms.iter().map(|&atom| kinds[atom]).collect();
            of_atoms.sort_unstable();
            of_atoms.windows(2).all(|pair| pair[0] != pair[1])
        };
        let mut found = Vec::new();
        for (centre, bonded) in neighbours.iter().enumerate() {
            let mut bonded = bonded.clone();
            bonded.sort_unstable();
            let Ok(four) = <[usize; 4]>::try_from(bonded) else { continue };
            if differ(&kinds, &four) && differ(&self.alike, &four) {
                let volume = signed_volume(&self.positions, four);
                found.push(Stereocentre { centre, neighbours: four, positive: volume > 0.0 });
            }
        }
        found
    }

    /// Atoms with four neighbours of which the target takes some for alike that hang on nothing
    /// else.
    pub(super) fn find_like_neighbours(&self) -> Vec<LikeNeighbours> {
        let neighbours = self.neighbours();
        let mut found = Vec::new();
        for bonded in &neighbours {
            let Ok(mut four) = <[usize; 4]>::try_from(bonded.clone()) else { continue };
            four.sort_unstable();
            let mut pairs = (0..4).flat_map(|b| (0..b).map(move |a| [four[a], four[b]]));
            let like = pairs.find(|[a, b]| {
                let are_ends = neighbours[*a].len() == 1 && neighbours[*b].len() == 1;
                are_ends && self.alike[*a] == self.alike[*b]
            });
            let volume = signed_volume(&self.positions, four);
            found.extend(like.map(|like| LikeNeighbours {
                neighbours: four,
                like,
                positive: volume > 0.0,
            }));
        }
        found
    }

    /// Exchanges like atoms of `x` ([atoms, 3]) at each atom whose four neighbours are not on the
    /// structure's side.
    pub fn put_like_atoms_in_order(&self, x: &mut [f64]) {
        for LikeNeighbours { neighbours, like: [a, b], positive } in &self.like_neighbours {
            if (signed_volume(x, *neighbours) > 0.0) != *positive {
                (0..3).for_each(|axis| x.swap(3 * a + axis, 3 * b + axis));
            }
        }
    }

    /// A number for each atom, the same for those with like surroundings: elements, refined by the
    /// kinds of neighbours until nothing changes (Weisfeiler and Leman, 1968).
    fn kinds_by_bonds(&self) -> Vec<usize> {
        let neighbours = self.neighbours();
        // What is no element is told apart by its name.
        let name = |atom: usize| {
            let atom = &self.atoms[atom];
            let name = if atom.element.is_none() { atom.name.as_str() } else { "" };
            (atom.element, name)
        };
        let mut kinds = numbered((0..neighbours.len()).map(name));
        loop {
            let surroundings = neighbours.iter().enumerate().map(|(atom, others)| {
                let mut others: Vec<usize> = others.iter().map(|&other| kinds[other]).collect();
                others.sort_unstable();
                (kinds[atom], others)
            });
            let finer = numbered(surroundings.collect::<Vec<_>>());
            let count = |kinds: &[usize]| kinds.iter().max().map_or(0, |most| most + 1);
            if count(&finer) == count(&kinds) {
                return finer;
            }
            kinds = finer;
        }
    }

    /// On which side of the mirror `x` ([atoms, 3]) is.
    pub fn handedness(&self, x: &[f64]) -> Handedness {
        let as_in_structure =
            |c: &Stereocentre| (signed_volume(x, c.neighbours) > 0.0) == c.positive;
        match self.stereocentres.iter().filter(|centre| as_in_structure(centre)).count() {
            same if same == self.stereocentres.len() => Handedness::Same,
            0 => Handedness::Mirrored,
            _ => Handedness::Other,
        }
    }
}

/// Equal values as equal numbers, from 0.
fn numbered<T: Ord>(values: impl IntoIterator<Item = T>) -> Vec<usize> {
    let values: Vec<T> = values.into_iter().collect();
    let mut numbers = BTreeMap::new();
    let mut place: Vec<usize> = Vec::with_capacity(values.len());
    for value in values {
        let next = numbers.len();
        place.push(*numbers.entry(value).or_insert(next));
    }
    place
}
