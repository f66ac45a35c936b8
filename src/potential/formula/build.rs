//! Compiles the keys of a target file to terms.

use std::collections::HashMap;

use super::evaluate::{Listed, PairTerm, Terms};
use super::form::Forms;
use super::many::{Embedding, Triples};
use super::names::{Builder, Endings};
use super::parameters::{
    EmbeddingFormulas, FormulaParameters, OverAtoms, OverTriples, Particles, PerSpecies,
};
use super::program::{Program, WIDTH};
use crate::error::{refuse, suggest, Error};
use crate::potential::{cut_off, require_positive};
use crate::system::System;

/// Limits that only a typing error exceeds.
const MOST_PARTICLES: usize = 10_000;
const MOST_TERMS: usize = 10_000;
const MOST_LISTED_PARTICLES: usize = 1_000;

/// The variables of angles and triples.
const INSIDE: [&str; 4] = ["theta", "r_ab", "r_bc", "r_ac"];

/// Checks everything and compiles the formulas.
pub(super) fn build(parameters: &FormulaParameters) -> Result<(System, Terms), Error> {
    let labels = match &parameters.particles {
        Particles::Alike(count) => vec![String::new(); (*count).min(MOST_PARTICLES + 1)],
        Particles::Named(names) => names.clone(),
    };
    if labels.len() > MOST_PARTICLES {
        return refuse("particles", format!("are {}: use at most {MOST_PARTICLES}", labels.len()));
    }
    let system = System::new(labels.len(), parameters.dimension)?;
    let (system, cutoff) = within_box(system, parameters)?;
    require_positive("temperature", parameters.temperature)?;
    let (names, species) = Builder::new(parameters, &labels)?;
    let count = names.kinds.len();
    let mut terms = Terms { species, species_count: count, cutoff, ..Terms::default() };
    add_pairs(&names, &mut terms)?;
    add_external(&names, &mut terms)?;
    let forms = &mut Forms::default();
    let particles = labels.len();
    terms.bonds = listed(&names, "bonds", particles, &parameters.bonds, &["r"], forms)?;
    terms.angles = listed(&names, "angles", particles, &parameters.angles, &INSIDE, forms)?;
    if parameters.dimension == 2 && !parameters.dihedrals.is_empty() {
        return refuse("dihedrals", "need dimension = 3");
    }
    terms.dihedrals =
        listed(&names, "dihedrals", particles, &parameters.dihedrals, &["phi"], forms)?;
    if particles > MOST_LISTED_PARTICLES && !parameters.triples.is_empty() {
        return refuse("triples", format!("are for at most {MOST_LISTED_PARTICLES} particles"));
    }
    for (number, term) in parameters.triples.iter().enumerate() {
        terms.triples.push(triples(&names, number, term, forms)?);
    }
    if let Some(formulas) = &parameters.embedding {
        terms.embedding = Some(embedding(&names, formulas, &terms.species, forms)?);
    }
    let lists = terms.bonds.len() + terms.angles.len() + terms.dihedrals.len();
    let many = terms.triples.len() + usize::from(terms.embedding.is_some());
    if terms.pairs.is_empty() && terms.external.is_empty() && lists + many == 0 {
        return refuse(
            "pair",
            "is missing, and so are `external`, `bonds`, `angles`, `dihedrals`, `triples` and \
             `embedding`: give a formula",
        );
    }
    Ok((system, terms))
}

/// The system in its box, if it has one, and the cut-off of pairs. In a box there is no place from
/// the centre of mass, and terms without an end must have a cut-off.
fn within_box(
    system: System,
    parameters: &FormulaParameters,
) -> Result<(System, Option<f64>), Error> {
    let FormulaParameters { edges, cutoff, .. } = parameters;
    if cutoff.is_some() && parameters.pair.is_none() {
        return refuse("cutoff", "is for the formula `pair`, which is missing: remove it");
    }
    let Some(edges) = edges else { return cut_off(system, None, *cutoff) };
    for (section, is_there, hint) in [
        ("external", parameters.external.is_some(), "a box holds the particles by itself"),
        ("embedding", parameters.embedding.is_some(), "densities have no cut-off"),
    ] {
        if is_there {
            return refuse(section, format!("is not for a periodic box: {hint}; remove it"));
        }
    }
    let system = system.in_box(edges)?;
    let half = system.half_edge();
    for (number, triples) in parameters.triples.iter().enumerate() {
        if triples.within.is_none_or(|within| within > half) {
            let problem = format!("must be at most half an edge of the box, {half}");
            return refuse(format!("triples[{number}].within"), problem);
        }
    }
    match parameters.pair {
        Some(_) => cut_off(system, Some(edges), *cutoff),
        None => Ok((system, None)),
    }
}

fn add_pairs(names: &Builder<'_>, terms: &mut Terms) -> Result<(), Error> {
    let Some(formulas) = &names.parameters.pair else { return Ok(()) };
    let count = names.kinds.len();
    terms.pair_table = vec![None; count * count];
    names.check_pairs("pair", formulas)?;
    for a in 0..count {
        for b in a..count {
            let (ab, ba) = (names.pair_name(a, b), names.pair_name(b, a));
            if let PerSpecies::Each(each) = formulas {
                if a != b && each.contains_key(&ab) && each.contains_key(&ba) {
                    let problem = format!("is the same pair as `{ab}`: give one of them");
                    return refuse(format!("pair.{ba}"), problem);
                }
            }
            let found = names.of_pair("pair", formulas, (a, b), &terms.species)?;
            let Some((key, text)) = found else { continue };
            let program = names.compile(&key, text, &["r"], &[("i", a), ("j", b)])?;
            if !program.is_zero() {
                terms.pair_table[a * count + b] = Some(terms.pairs.len());
                terms.pair_table[b * count + a] = Some(terms.pairs.len());
                let shift = terms.cutoff.map_or(0.0, |cutoff| value_at(&program, cutoff));
                if !shift.is_finite() {
                    return refuse(key, format!("is {shift} at the cut-off: use another cut-off"));
                }
                terms.pairs.push(PairTerm { program, core: 0.0, shift });
            }
        }
    }
    Ok(())
}

fn value_at(program: &Program, r: f64) -> f64 {
    let mut registers = vec![[r; WIDTH]; program.registers().max(1)];
    program.run::<false>(&mut registers);
    program.value(&registers)[0]
}

fn add_external(names: &Builder<'_>, terms: &mut Terms) -> Result<(), Error> {
    let Some(formulas) = &names.parameters.external else { return Ok(()) };
    let variables = match names.parameters.dimension {
        2 => vec!["x", "y", "r_com"],
        _ => vec!["x", "y", "z", "r_com"],
    };
    for kind in 0..names.kinds.len() {
        let (key, text) = names.of_kind("external", formulas, kind)?;
        terms.external.push(names.compile(&key, text, &variables, &[("i", kind)])?);
    }
    Ok(())
}

fn listed<const ATOMS: usize>(
    names: &Builder<'_>,
    section: &str,
    particles: usize,
    terms: &[OverAtoms<ATOMS>],
    variables: &[&str],
    known: &mut Forms,
) -> Result<Vec<Listed<ATOMS>>, Error>
where
    [usize; ATOMS]: serde::de::DeserializeOwned,
{
    if particles > MOST_LISTED_PARTICLES && !terms.is_empty() {
        return refuse(section, format!("are for at most {MOST_LISTED_PARTICLES} particles"));
    }
    let mut compiled = Vec::new();
    let mut count = 0;
    for (number, term) in terms.iter().enumerate() {
        let key = |name: &str| format!("{section}[{number}].{name}");
        for atoms in &term.atoms {
            if let Some(atom) = atoms.iter().find(|&&atom| atom >= particles) {
                let problem =
                    format!("names atom {atom}: they are counted from 0 to {}", particles - 1);
                return refuse(key("atoms"), problem);
            }
            if (0..ATOMS).any(|k| atoms[..k].contains(&atoms[k])) {
                return refuse(key("atoms"), format!("has an atom twice in {atoms:?}"));
            }
        }
        count += term.atoms.len();
        if count > MOST_TERMS || number >= MOST_TERMS {
            let problem = format!("are more than {MOST_TERMS}: write the potential in Rust");
            return refuse(section, problem);
        }
        let program = names.compile(&key("energy"), &term.energy, variables, &[])?;
        let forms = names.forms(&key("energy"), &term.energy, (variables, &[]), known)?;
        compiled.push(Listed { program, atoms: term.atoms.clone(), forms });
    }
    Ok(compiled)
}

/// Programs of one section, of which equal ones exist once.
#[derive(Default)]
struct Programs {
    all: Vec<Program>,
    /// By the number of the form.
    places: HashMap<usize, usize>,
}

impl Programs {
    /// The place of a formula; `None` if it is 0 everywhere.
    fn place(
        &mut self,
        names: &Builder<'_>,
        (key, text): (&str, &str),
        (variables, endings): (&[&str], Endings<'_>),
        form: usize,
    ) -> Result<Option<usize>, Error> {
        if let Some(place) = self.places.get(&form) {
            return Ok(Some(*place));
        }
        let program = names.compile(key, text, variables, endings)?;
        if program.is_zero() {
            return Ok(None);
        }
        if self.all.len() == MOST_TERMS {
            let problem = format!("stands for more than {MOST_TERMS} formulas: give fewer species");
            return refuse(key, problem);
        }
        self.places.insert(form, self.all.len());
        self.all.push(program);
        Ok(Some(self.all.len() - 1))
    }
}

/// The terms of entry `number` of `[[triples]]`.
fn triples(
    names: &Builder<'_>,
    number: usize,
    term: &OverTriples,
    known: &mut Forms,
) -> Result<Triples, Error> {
    let key = |name: &str| format!("triples[{number}].{name}");
    if let Some(within) = term.within {
        require_positive(&key("within"), within)?;
    }
    let count = names.kinds.len();
    let mut programs = Programs::default();
    let mut table = vec![None; count * count * count];
    for [a, b, c] in kinds_of_triples(names, &key("species"), &term.species)? {
        let named = (&INSIDE[..], &[("a", a), ("b", b), ("c", c)][..]);
        let formula = (&key("energy")[..], &term.energy[..]);
        let [form, back] = names.forms(formula.0, formula.1, named, known)?;
        // Without a list of species nothing says which of two unlike neighbours is a.
        if form != back && (a == c || term.species.is_empty()) {
            let hint =
                if a == c { "" } else { ", or say which is which: species = [\"A-B-C\", …]" };
            let problem = format!(
                "is not the same when a and c are exchanged, which are any two neighbours of b: \
                 make it symmetric in r_ab and r_bc{hint}"
            );
            return refuse(formula.0, problem);
        }
        let place = programs.place(names, formula, named, form)?;
        table[(b * count + a) * count + c] = place.map(|place| (place, false));
        table[(b * count + c) * count + a] = place.map(|place| (place, a != c));
    }
    Ok(Triples { programs: programs.all, table, within: term.within })
}

/// The species of a, b and c in each kind of triple that has a formula.
fn kinds_of_triples(
    names: &Builder<'_>,
    key: &str,
    wanted: &[String],
) -> Result<Vec<[usize; 3]>, Error> {
    let count = names.kinds.len();
    if wanted.is_empty() {
        let pairs = (0..count).flat_map(|a| (a..count).map(move |c| (a, c)));
        return Ok(pairs.flat_map(|(a, c)| (0..count).map(move |b| [a, b, c])).collect());
    }
    if matches!(names.parameters.particles, Particles::Alike(_)) {
        return refuse(key, "names species, but the particles have no names: leave it out");
    }
    let mut kinds: Vec<[usize; 3]> = Vec::new();
    for name in wanted {
        let parts: Vec<&str> = name.split('-').collect();
        let [a, b, c] = parts[..] else {
            let problem = format!("has \"{name}\": name a, b and c, such as \"A-B-A\"");
            return refuse(key, problem);
        };
        let kind = |part: &str| match names.kinds.iter().position(|kind| kind == part) {
            Some(kind) => Ok(kind),
            None => {
                let known: Vec<&str> = names.kinds.iter().map(String::as_str).collect();
                let hint = suggest(part, &known);
                refuse(key, format!("has \"{name}\": `{part}` is no species that occurs, {hint}"))
            }
        };
        let triple = [kind(a)?, kind(b)?, kind(c)?];
        let reversed = [triple[2], triple[1], triple[0]];
        if kinds.contains(&triple) || kinds.contains(&reversed) {
            return refuse(key, format!("has \"{name}\" twice: its reverse is the same triple"));
        }
        kinds.push(triple);
    }
    Ok(kinds)
}

fn embedding(
    names: &Builder<'_>,
    formulas: &EmbeddingFormulas,
    species: &[usize],
    known: &mut Forms,
) -> Result<Embedding, Error> {
    let count = names.kinds.len();
    let section = "embedding.density";
    names.check_pairs(section, &formulas.density)?;
    let mut programs = Programs::default();
    let mut table = vec![None; count * count];
    for i in 0..count {
        for j in 0..count {
            let found = names.of_pair(section, &formulas.density, (i, j), species)?;
            let Some((key, text)) = found else { continue };
            let named = (&["r"][..], &[("i", i), ("j", j)][..]);
            let [form, _] = names.forms(&key, text, named, known)?;
            table[i * count + j] = programs.place(names, (&key, text), named, form)?;
        }
    }
    let energies = (0..count)
        .map(|kind| {
            let (key, text) = names.of_kind("embedding.energy", &formulas.energy, kind)?;
            names.compile(&key, text, &["rho"], &[("i", kind)])
        })
        .collect::<Result<_, _>>()?;
    Ok(Embedding { densities: programs.all, table, energies, core: 0.0 })
}
