//! Which particles are alike.

use super::evaluate::{Listed, Terms};

/// Atoms of a listed term behind the number of its formula.
type Entry = (usize, Vec<usize>);

/// The classes of particles that may be exchanged. Two particles may be exchanged when they are of
/// one species and the lists are the same afterwards, which is an equivalence. Terms over all pairs
/// and triples do not tell apart particles of one species.
pub(super) fn alike(terms: &Terms) -> Vec<usize> {
    let n = terms.species.len();
    let mut lists: Vec<Entry> = Vec::new();
    let mut forms: Vec<[usize; 2]> = Vec::new();
    add_lists(&terms.bonds, &mut lists, &mut forms);
    add_lists(&terms.angles, &mut lists, &mut forms);
    add_lists(&terms.dihedrals, &mut lists, &mut forms);
    // The terms of each particle, so that an exchange looks at those of two particles only.
    let mut of_particle: Vec<Vec<usize>> = vec![Vec::new(); n];
    for (place, (_, atoms)) in lists.iter().enumerate() {
        atoms.iter().for_each(|&atom| of_particle[atom].push(place));
    }
    let may_exchange = |i: usize, j: usize| {
        let places: std::collections::BTreeSet<usize> =
            of_particle[i].iter().chain(&of_particle[j]).copied().collect();
        let sorted = |exchange: &dyn Fn(usize) -> usize| {
            let mut entries: Vec<Entry> = places
                .iter()
                .map(|&place| {
                    let (term, atoms) = &lists[place];
                    in_order(forms[*term], atoms.iter().map(|&atom| exchange(atom)).collect())
                })
                .collect();
            entries.sort_unstable();
            entries
        };
        let exchanged = |atom: usize| match atom {
            atom if atom == i => j,
            atom if atom == j => i,
            atom => atom,
        };
        sorted(&|atom| atom) == sorted(&exchanged)
    };
    let mut first_of: Vec<usize> = Vec::new();
    let mut class = Vec::with_capacity(n);
    for i in 0..n {
        let known = first_of.iter().position(|&first| {
            terms.species[first] == terms.species[i]
                && of_particle[first].len() == of_particle[i].len()
                && may_exchange(first, i)
        });
        class.push(known.unwrap_or_else(|| {
            first_of.push(i);
            first_of.len() - 1
        }));
    }
    class
}

/// Adds the atoms of `terms`, each with the place of its forms.
fn add_lists<const ATOMS: usize>(
    terms: &[Listed<ATOMS>],
    lists: &mut Vec<Entry>,
    forms: &mut Vec<[usize; 2]>,
) {
    for term in terms {
        let place = forms.len();
        forms.push(term.forms);
        lists.extend(term.atoms.iter().map(|atoms| (place, atoms.to_vec())));
    }
}

/// A term as the smaller of its two readings: from either end, with the form for that direction.
fn in_order([forwards, backwards]: [usize; 2], atoms: Vec<usize>) -> Entry {
    let reversed = atoms.iter().rev().copied().collect();
    (forwards, atoms).min((backwards, reversed))
}
