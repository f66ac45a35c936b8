//! Compiles the keys of a target file to terms.

use std::collections::BTreeMap;

use super::evaluate::{Listed, PairTerm, Terms};
use super::graph::{Graph, Operation};
use super::parameters::{FormulaParameters, OverAtoms, Particles, PerSpecies};
use super::program::Program;
use super::syntax::{is_name, is_reserved, parse, Meaning};
use crate::error::{refuse, suggest, Error};
use crate::system::System;

/// Limits that only a typing error exceeds.
const MOST_SPECIES: usize = 32;
const MOST_PARTICLES: usize = 10_000;
const MOST_TERMS: usize = 10_000;
const MOST_LISTED_PARTICLES: usize = 1_000;
const MOST_NAMES: usize = 1_000;

type Names = BTreeMap<String, Meaning>;

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
    crate::potential::require_positive("temperature", parameters.temperature)?;
    let mut builder = Builder { parameters, kinds: Vec::new(), shared: Names::new() };
    let species = builder.species(&labels)?;
    builder.shared_names()?;
    let mut terms = Terms { species, species_count: builder.kinds.len(), ..Terms::default() };
    builder.pairs(&mut terms)?;
    builder.external(&mut terms)?;
    let particles = labels.len();
    terms.bonds = builder.listed("bonds", particles, &parameters.bonds, &["r"])?;
    let inside = ["theta", "r_ab", "r_bc", "r_ac"];
    terms.angles = builder.listed("angles", particles, &parameters.angles, &inside)?;
    if parameters.dimension == 2 && !parameters.dihedrals.is_empty() {
        return refuse("dihedrals", "need dimension = 3");
    }
    terms.dihedrals = builder.listed("dihedrals", particles, &parameters.dihedrals, &["phi"])?;
    let lists = terms.bonds.len() + terms.angles.len() + terms.dihedrals.len();
    if terms.pairs.is_empty() && terms.external.is_empty() && lists == 0 {
        return refuse(
            "pair",
            "is missing, and so are `external`, `bonds`, `angles` and `dihedrals`: give a formula",
        );
    }
    Ok((system, terms))
}

struct Builder<'a> {
    parameters: &'a FormulaParameters,
    /// Names of the species that occur, in the order of the particles.
    kinds: Vec<String>,
    /// Names for all formulas.
    shared: Names,
}

impl Builder<'_> {
    /// The species of each particle by number; checks the keys of `[species]`.
    fn species(&mut self, labels: &[String]) -> Result<Vec<usize>, Error> {
        let named = matches!(self.parameters.particles, Particles::Named(_));
        let mut numbers = Vec::with_capacity(labels.len());
        for label in labels {
            let allowed = |c: char| c.is_alphanumeric() || "_+'*".contains(c);
            if named && (label.is_empty() || !label.chars().all(allowed)) {
                return refuse(
                    "particles",
                    format!("has the species \"{label}\": name it with letters and digits"),
                );
            }
            let known = self.kinds.iter().position(|kind| kind == label);
            numbers.push(known.unwrap_or_else(|| {
                self.kinds.push(label.clone());
                self.kinds.len() - 1
            }));
            if self.kinds.len() > MOST_SPECIES {
                return refuse("particles", format!("have more than {MOST_SPECIES} species"));
            }
        }
        let kinds: Vec<&str> = self.kinds.iter().map(String::as_str).collect();
        for (name, values) in &self.parameters.species {
            if !named {
                let problem = "needs the species of each particle: particles = [\"A\", \"A\", …]";
                return refuse("species", problem);
            }
            if !kinds.contains(&name.as_str()) {
                let hint = suggest(name, &kinds);
                return refuse(
                    format!("species.{name}"),
                    format!("is the species of no particle: {hint}"),
                );
            }
            for (key, value) in values {
                check_name(&format!("species.{name}.{key}"), key, *value)?;
            }
        }
        // A name that only some species have would be unknown in some pairs only.
        let all = |name: &str| self.parameters.species.get(name);
        for name in kinds.iter().filter(|_| !self.parameters.species.is_empty()) {
            for (other, values) in &self.parameters.species {
                let missing =
                    values.keys().find(|key| all(name).is_none_or(|own| !own.contains_key(*key)));
                if let Some(key) = missing {
                    return refuse(
                        format!("species.{name}.{key}"),
                        format!("is missing: species.{other} has it"),
                    );
                }
            }
        }
        Ok(numbers)
    }

    fn shared_names(&mut self) -> Result<(), Error> {
        let own = self.parameters.species.values().map(BTreeMap::len).max().unwrap_or(0);
        if self.parameters.parameters.len() + own > MOST_NAMES {
            return refuse(
                "parameters",
                format!("and `species` have more than {MOST_NAMES} names"),
            );
        }
        for (name, value) in &self.parameters.parameters {
            check_name(&format!("parameters.{name}"), name, *value)?;
            self.shared.insert(name.clone(), Meaning::Parameter(*value));
        }
        Ok(())
    }

    /// The names for a formula in `variables`, with the numbers of species under these endings.
    fn names(
        &self,
        key: &str,
        variables: &[&str],
        endings: &[(&str, usize)],
    ) -> Result<Names, Error> {
        let mut names = Names::new();
        for (number, name) in variables.iter().enumerate() {
            names.insert(name.to_string(), Meaning::Variable(number));
        }
        for (ending, kind) in endings {
            for (name, value) in
                self.parameters.species.get(&self.kinds[*kind]).into_iter().flatten()
            {
                names.insert(format!("{name}_{ending}"), Meaning::Parameter(*value));
            }
        }
        for (name, meaning) in &self.shared {
            if names.insert(name.clone(), *meaning).is_some() {
                let problem = format!("has another meaning in `{key}`: choose another name");
                return refuse(format!("parameters.{name}"), problem);
            }
        }
        Ok(names)
    }

    /// A formula over kT with its derivatives.
    fn compile(
        &self,
        key: &str,
        text: &str,
        variables: &[&str],
        endings: &[(&str, usize)],
    ) -> Result<Program, Error> {
        let names = self.names(key, variables, endings)?;
        let wrong = |problem| Error::parameter(key, problem);
        let mut graph = Graph::default();
        let energy = parse(text, &names, &mut graph).map_err(wrong)?;
        let temperature = graph.constant(self.parameters.temperature);
        let over_kt = graph.binary(Operation::Div, energy, temperature);
        Program::compile(&mut graph, over_kt, variables.len()).map_err(wrong)
    }

    /// Whether r_ab and r_bc can be exchanged in a formula. Equal parts exist once in a graph, so
    /// equal formulas have the same root.
    fn is_reversible(&self, key: &str, text: &str, variables: &[&str]) -> Result<bool, Error> {
        let mut exchanged = variables.to_vec();
        if let [_, r_ab, r_bc, _] = exchanged.as_mut_slice() {
            std::mem::swap(r_ab, r_bc);
        }
        let mut graph = Graph::default();
        let mut parsed = |variables: &[&str]| {
            let names = self.names(key, variables, &[])?;
            parse(text, &names, &mut graph).map_err(|problem| Error::parameter(key, problem))
        };
        Ok(parsed(variables)? == parsed(&exchanged)?)
    }

    fn pairs(&self, terms: &mut Terms) -> Result<(), Error> {
        let Some(formulas) = &self.parameters.pair else { return Ok(()) };
        let count = self.kinds.len();
        terms.pair_table = vec![None; count * count];
        let name = |a: usize, b: usize| format!("{}-{}", self.kinds[a], self.kinds[b]);
        if let PerSpecies::Each(each) = formulas {
            let known: Vec<String> = (0..count)
                .flat_map(|a| (0..count).map(move |b| (a, b)))
                .map(|(a, b)| name(a, b))
                .collect();
            self.check_keys("pair", each, &known)?;
        }
        for a in 0..count {
            for b in a..count {
                let alone = terms.species.iter().filter(|&&s| s == a).count() == 1;
                let (key, text) = match formulas {
                    PerSpecies::All(text) => ("pair".to_string(), text),
                    PerSpecies::Each(each) => {
                        let (ab, ba) = (name(a, b), name(b, a));
                        if a != b && each.contains_key(&ab) && each.contains_key(&ba) {
                            let problem = format!("is the same pair as `{ab}`: give one of them");
                            return refuse(format!("pair.{ba}"), problem);
                        }
                        match each.get_key_value(&ab).or_else(|| each.get_key_value(&ba)) {
                            Some((key, text)) => (format!("pair.{key}"), text),
                            None if a == b && alone => continue,
                            None => {
                                let problem = "is missing: give its formula, \"0\" for none";
                                return refuse(format!("pair.{ab}"), problem);
                            }
                        }
                    }
                };
                let program = self.compile(&key, text, &["r"], &[("i", a), ("j", b)])?;
                if !program.is_zero() {
                    terms.pair_table[a * count + b] = Some(terms.pairs.len());
                    terms.pair_table[b * count + a] = Some(terms.pairs.len());
                    terms.pairs.push(PairTerm { program, core: 0.0 });
                }
            }
        }
        Ok(())
    }

    fn external(&self, terms: &mut Terms) -> Result<(), Error> {
        let Some(formulas) = &self.parameters.external else { return Ok(()) };
        if let PerSpecies::Each(each) = formulas {
            self.check_keys("external", each, &self.kinds)?;
        }
        let variables = match self.parameters.dimension {
            2 => vec!["x", "y", "r_com"],
            _ => vec!["x", "y", "z", "r_com"],
        };
        for (number, kind) in self.kinds.iter().enumerate() {
            let (key, text) = match formulas {
                PerSpecies::All(text) => ("external".to_string(), text.as_str()),
                PerSpecies::Each(each) => match each.get(kind) {
                    Some(text) => (format!("external.{kind}"), text.as_str()),
                    None => {
                        let problem = "is missing: give its formula, \"0\" for none";
                        return refuse(format!("external.{kind}"), problem);
                    }
                },
            };
            terms.external.push(self.compile(&key, text, &variables, &[("i", number)])?);
        }
        Ok(())
    }

    /// Whether each key names species that occur.
    fn check_keys(
        &self,
        section: &str,
        each: &BTreeMap<String, String>,
        known: &[String],
    ) -> Result<(), Error> {
        let Some(wrong) = each.keys().find(|key| !known.contains(key)) else { return Ok(()) };
        let known: Vec<&str> = known.iter().map(String::as_str).collect();
        let hint = match self.parameters.particles {
            Particles::Named(_) => suggest(wrong, &known),
            Particles::Alike(_) => format!("the particles have no names: write {section} = \"…\""),
        };
        refuse(format!("{section}.{wrong}"), format!("is not made of species that occur: {hint}"))
    }

    fn listed<const ATOMS: usize>(
        &self,
        section: &str,
        particles: usize,
        terms: &[OverAtoms<ATOMS>],
        variables: &[&str],
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
            let program = self.compile(&key("energy"), &term.energy, variables, &[])?;
            let reversible = self.is_reversible(&key("energy"), &term.energy, variables)?;
            compiled.push(Listed { program, atoms: term.atoms.clone(), reversible });
        }
        Ok(compiled)
    }
}

fn check_name(key: &str, name: &str, value: f64) -> Result<(), Error> {
    if !is_name(name) {
        let problem = "cannot be a name in a formula: use letters, digits and _, a letter first";
        return refuse(key, problem);
    }
    if is_reserved(name) {
        return refuse(key, "has a meaning of its own in formulas: choose another name");
    }
    if !value.is_finite() {
        return refuse(key, format!("is {value}: use a finite number"));
    }
    Ok(())
}
