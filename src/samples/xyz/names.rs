//! Names of particles in frames: chemical symbols, and whether a file has the target's order.

use super::comment::shown;
use crate::molecule::Element;
use crate::samples::format::Particles;

/// What a frame calls an atom.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::samples) struct Atom {
    /// The column `species`, or the symbol of the number in the column `Z`.
    pub symbol: String,
    /// The column `label`, if there is one.
    pub label: Option<String>,
}

/// The symbol of an element by its number, `X` for 0.
pub(super) fn symbol(number: usize) -> Option<&'static str> {
    match number {
        0 => Some("X"),
        number => Element::of_number(number).map(Element::symbol),
    }
}

fn is_element(text: &str) -> bool {
    Element::of_symbol(text).is_some()
}

/// `ar` and `AR` as `Ar`, as ASE reads them.
fn capitalized(text: &str) -> String {
    let mut characters = text.chars();
    let first = characters.next().map(|c| c.to_ascii_uppercase());
    first.into_iter().chain(characters.map(|c| c.to_ascii_lowercase())).collect()
}

/// The elements that a particle's name may begin with: C for "C1", none for "Water", carbon or
/// calcium for "CA".
fn elements_of(name: &str) -> Vec<String> {
    let end = |from: usize| {
        let small = name[from..].bytes().take_while(u8::is_ascii_lowercase).count();
        from + small
    };
    let mut found = Vec::new();
    if name.starts_with(|c: char| c.is_ascii_uppercase()) {
        found.push(name[..end(1)].to_string());
        let second = &name[1..];
        if second.starts_with(|c: char| c.is_ascii_uppercase()) && end(2) == 2 {
            found.push(capitalized(&name[..2]));
        }
    }
    found.retain(|element| is_element(element));
    found
}

/// The column `species` for particles of these names, and whether they need a column with their
/// own names besides. Programs such as ASE accept chemical symbols only, and `X` for anything else;
/// one name that may be no element, or two, makes all of them `X`, since the others may then only
/// look like elements.
pub(super) fn symbols(names: &[String]) -> (Vec<String>, bool) {
    let only = |name: &String| match &elements_of(name)[..] {
        [element] => Some(element.clone()),
        _ => None,
    };
    match names.iter().map(only).collect::<Option<Vec<String>>>() {
        Some(elements) => {
            let differ = elements != names;
            (elements, differ)
        }
        None => (vec!["X".to_string(); names.len()], true),
    }
}

/// Checks that the atoms of a frame are in the order of the target's particles: by the elements of
/// its molecule, and by labels where all of them are names of its atoms; without a molecule as far
/// as names can tell.
///
/// # Errors
/// The number of an atom, and what is wrong with it.
pub(in crate::samples) fn check_order(
    particles: &Particles,
    atoms: &[Atom],
) -> Result<(), (usize, String)> {
    let Some(molecule) = &particles.molecule else { return check_names(&particles.names, atoms) };
    let is_name = |label: &String| molecule.atoms.iter().any(|atom| atom.name == *label);
    let labelled = atoms.iter().all(|atom| atom.label.as_ref().is_some_and(is_name));
    for (index, (found, atom)) in atoms.iter().zip(&molecule.atoms).enumerate() {
        let symbol = Element::of_symbol_in_any_case(&found.symbol).map_or("X", Element::symbol);
        let differs = |what: &str, name: &str| {
            let problem = format!(
                "is `{}` and the target's structure has {name} there: put the atoms in its order",
                shown(what)
            );
            Err((index, problem))
        };
        // X stands for anything, such as a bead.
        if ![symbol, atom.symbol()].contains(&"X") && symbol != atom.symbol() {
            return differs(&found.symbol, &format!("{}, {}", atom.label(), atom.symbol()));
        }
        match &found.label {
            Some(label) if labelled && *label != atom.name => return differs(label, &atom.name),
            _ => {}
        }
    }
    Ok(())
}

/// Checks by names alone, as far as they can tell: by labels if these are the target's names, else
/// by elements if those are, else like ones must have like symbols. `names` is empty when all
/// particles are alike.
///
/// # Errors
/// The number of an atom, and what is wrong with it.
fn check_names(names: &[String], atoms: &[Atom]) -> Result<(), (usize, String)> {
    let differs = |atom: usize, found: &str| {
        let problem = format!(
            "is `{}` and the target has `{}` there: put the atoms in the target's order",
            shown(found),
            shown(&names[atom])
        );
        Err((atom, problem))
    };
    let is_name = |text: &String| names.contains(text);
    let labels: Option<Vec<&String>> =
        atoms.iter().map(|atom| atom.label.as_ref().filter(|label| is_name(label))).collect();
    if let Some(labels) = labels {
        let mut pairs = names.iter().zip(labels).enumerate();
        return match pairs.find(|(_, (name, label))| name != label) {
            Some((atom, (_, label))) => differs(atom, label),
            None => Ok(()),
        };
    }
    let elements: Vec<Vec<String>> = names.iter().map(|name| elements_of(name)).collect();
    let are_elements = elements.iter().all(|elements| !elements.is_empty());
    let mut known = Vec::with_capacity(atoms.len());
    for (atom, Atom { symbol, .. }) in atoms.iter().enumerate() {
        let name = names.get(atom);
        let element = capitalized(symbol);
        let by_element = name.is_some() && are_elements && is_element(&element);
        let fits = match by_element {
            true => name == Some(symbol) || elements[atom].contains(&element),
            false => name.is_none_or(|name| name == symbol) || !is_name(symbol),
        };
        if !fits {
            return differs(atom, symbol);
        }
        known.push(by_element);
        for other in (0..atom).filter(|&other| !(by_element && known[other])) {
            let alike = name == names.get(other);
            if alike != (*symbol == atoms[other].symbol) {
                let problem = format!(
                    "is `{}` and atom {other} is `{}`, but they are {} in the target: put the \
                     atoms in the target's order",
                    shown(symbol),
                    shown(&atoms[other].symbol),
                    if alike { "alike" } else { "unlike" }
                );
                return Err((atom, problem));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| name.to_string()).collect()
    }

    #[test]
    fn names_become_elements_only_where_they_begin_with_one() {
        for (names, elements, labelled) in [
            (&["O", "H", "H"][..], &["O", "H", "H"][..], false),
            (&["C1", "C2", "O", "H1"], &["C", "C", "O", "H"], true),
            (&["OW", "HW1", "HW2"], &["O", "H", "H"], true),
            (&["AR", "Cl-", "Na+"], &["Ar", "Cl", "Na"], true),
            // Two readings, none, or a word that only begins like one.
            (&["CA", "H"], &["X", "X"], true),
            (&["A", "B", "C"], &["X", "X", "X"], true),
            (&["Small", "Big"], &["X", "X"], true),
            (&["ä", ""], &["X", "X"], true),
        ] {
            let (found, differ) = symbols(&texts(names));
            assert_eq!((found, differ), (texts(elements), labelled), "{names:?}");
        }
        assert_eq!((symbol(0), symbol(1), symbol(118)), (Some("X"), Some("H"), Some("Og")));
        assert_eq!(symbol(119), None);
    }

    #[test]
    fn the_order_of_atoms_is_compared_by_labels_elements_or_likeness() {
        let atoms = |symbols: &[&str], labels: &[&str]| -> Vec<Atom> {
            let label = |atom: usize| labels.get(atom).map(|label| label.to_string());
            let each = symbols.iter().enumerate();
            each.map(|(i, s)| Atom { symbol: s.to_string(), label: label(i) }).collect()
        };
        let check = |names: &[&str], symbols: &[&str], labels: &[&str]| {
            check_names(&texts(names), &atoms(symbols, labels)).err().map(|(atom, _)| atom)
        };
        let ethanol = ["C1", "C2", "O", "H1"];
        assert_eq!(check(&ethanol, &["C", "C", "O", "H"], &[]), None);
        assert_eq!(check(&ethanol, &["C", "O", "C", "H"], &[]), Some(1));
        assert_eq!(check(&ethanol, &["C", "C", "O", "H"], &ethanol), None);
        assert_eq!(check(&ethanol, &["C"; 4], &["C2", "C1", "O", "H1"]), Some(0));
        assert_eq!(check(&ethanol, &ethanol, &[]), None);
        assert_eq!(check(&ethanol, &["C2", "C1", "O", "H1"], &[]), Some(0));
        // Labels of another program say nothing about these particles.
        assert_eq!(check(&ethanol, &["C", "C", "O", "H"], &["1", "2", "3", "4"]), None);
        // One of each: who is who shows only by the names themselves.
        assert_eq!(check(&["O", "H"], &["H", "O"], &[]), Some(0));
        assert_eq!(check(&["A", "B"], &["B", "A"], &[]), Some(0));
        assert_eq!(check(&["O", "H"], &["o", "h"], &[]), None);
        assert_eq!(check(&["CA", "CB"], &["C", "C"], &[]), None);
        assert_eq!(check(&["O", "H", "H"], &["O", "X", "H"], &[]), Some(2));
        // Stand-ins, as long as like ones are alike.
        assert_eq!(check(&["A", "A", "B"], &["H", "H", "He"], &[]), None);
        assert_eq!(check(&["A", "A", "B"], &["H", "He", "He"], &[]), Some(1));
        assert_eq!(check(&["A", "A", "B"], &["X", "X", "X"], &[]), Some(2));
        assert_eq!(check(&[], &["Ar", "Ar"], &[]), None);
        assert_eq!(check(&[], &["Ar", "Ne"], &[]), Some(1));
        assert_eq!(check(&["Ar", "Ar"], &["X", "X"], &[]), None);
        assert_eq!(check(&["Ar", "Ar"], &["Ne", "Ne"], &[]), Some(0));
    }
}
