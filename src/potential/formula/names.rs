//! What names mean in the formulas of a target file, and formulas as programs.

use std::collections::BTreeMap;

use super::form::Forms;
use super::graph::{Graph, Operation};
use super::parameters::{FormulaParameters, Particles, PerSpecies};
use super::program::Program;
use super::syntax::{is_name, is_reserved, parse, Meaning};
use crate::error::{refuse, suggest, Error};

/// Limits that only a typing error exceeds.
const MOST_SPECIES: usize = 32;
const MOST_NAMES: usize = 1_000;

type Names = BTreeMap<String, Meaning>;

/// Species behind the endings of their numbers' names.
pub(super) type Endings<'a> = &'a [(&'a str, usize)];

/// The particles and names of a target file.
pub(super) struct Builder<'a> {
    pub parameters: &'a FormulaParameters,
    /// Names of the species that occur, in the order of the particles.
    pub kinds: Vec<String>,
    /// Names for all formulas.
    shared: Names,
}

impl<'a> Builder<'a> {
    /// Checks the species, one for each particle, and all names; also returns the number of each
    /// particle's species.
    pub fn new(
        parameters: &'a FormulaParameters,
        labels: &[String],
    ) -> Result<(Self, Vec<usize>), Error> {
        let mut builder = Self { parameters, kinds: Vec::new(), shared: Names::new() };
        let species = builder.species(labels)?;
        builder.shared_names()?;
        Ok((builder, species))
    }

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
    fn names(&self, key: &str, variables: &[&str], endings: Endings<'_>) -> Result<Names, Error> {
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
    pub fn compile(
        &self,
        key: &str,
        text: &str,
        variables: &[&str],
        endings: Endings<'_>,
    ) -> Result<Program, Error> {
        let names = self.names(key, variables, endings)?;
        let wrong = |problem| Error::parameter(key, problem);
        let mut graph = Graph::default();
        let energy = parse(text, &names, &mut graph).map_err(wrong)?;
        let temperature = graph.constant(self.parameters.temperature);
        let over_kt = graph.binary(Operation::Div, energy, temperature);
        Program::compile(&mut graph, over_kt, variables.len()).map_err(wrong)
    }

    /// What tells whether formulas are the same: the form of this one, and of the same for the
    /// atoms in reverse order, which exchanges r_ab and r_bc and the species of a and c.
    pub fn forms(
        &self,
        key: &str,
        text: &str,
        (variables, endings): (&[&str], Endings<'_>),
        known: &mut Forms,
    ) -> Result<[usize; 2], Error> {
        let (mut variables_back, mut endings_back) = (variables.to_vec(), endings.to_vec());
        if let [_, r_ab, r_bc, _] = variables_back.as_mut_slice() {
            std::mem::swap(r_ab, r_bc);
        }
        if let [(_, a), _, (_, c)] = endings_back.as_mut_slice() {
            std::mem::swap(a, c);
        }
        let mut form = |variables: &[&str], endings: Endings<'_>| -> Result<usize, Error> {
            let names = self.names(key, variables, endings)?;
            let mut graph = Graph::default();
            let root = parse(text, &names, &mut graph)
                .map_err(|problem| Error::parameter(key, problem))?;
            Ok(known.of(&graph, root))
        };
        Ok([form(variables, endings)?, form(&variables_back, &endings_back)?])
    }

    /// The formula of `section` for particles of this kind, with its key.
    pub fn of_kind<'f>(
        &self,
        section: &str,
        formulas: &'f PerSpecies,
        kind: usize,
    ) -> Result<(String, &'f str), Error> {
        match formulas {
            PerSpecies::All(text) => Ok((section.to_string(), text.as_str())),
            PerSpecies::Each(each) => {
                self.check_keys(section, each, &self.kinds)?;
                let key = format!("{section}.{}", self.kinds[kind]);
                match each.get(&self.kinds[kind]) {
                    Some(text) => Ok((key, text.as_str())),
                    None => refuse(key, "is missing: give its formula, \"0\" for none"),
                }
            }
        }
    }

    /// The formula of `section` for two particles of these kinds, with its key: that of `A-B`, or
    /// else of `B-A`. `None` if there are no two such particles and no formula.
    pub fn of_pair<'f>(
        &self,
        section: &str,
        formulas: &'f PerSpecies,
        (a, b): (usize, usize),
        species: &[usize],
    ) -> Result<Option<(String, &'f str)>, Error> {
        let each = match formulas {
            PerSpecies::All(text) => return Ok(Some((section.to_string(), text.as_str()))),
            PerSpecies::Each(each) => each,
        };
        let (ab, ba) = (self.pair_name(a, b), self.pair_name(b, a));
        match each.get_key_value(&ab).or_else(|| each.get_key_value(&ba)) {
            Some((key, text)) => Ok(Some((format!("{section}.{key}"), text.as_str()))),
            None if a == b && species.iter().filter(|&&s| s == a).count() == 1 => Ok(None),
            None => {
                refuse(format!("{section}.{ab}"), "is missing: give its formula, \"0\" for none")
            }
        }
    }

    pub fn pair_name(&self, a: usize, b: usize) -> String {
        format!("{}-{}", self.kinds[a], self.kinds[b])
    }

    /// Whether each key of a section for pairs names species that occur.
    pub fn check_pairs(&self, section: &str, formulas: &PerSpecies) -> Result<(), Error> {
        let PerSpecies::Each(each) = formulas else { return Ok(()) };
        let count = self.kinds.len();
        let known: Vec<String> =
            (0..count * count).map(|ab| self.pair_name(ab / count, ab % count)).collect();
        self.check_keys(section, each, &known)
    }

    /// Whether each key names species that occur.
    fn check_keys(
        &self,
        section: &str,
        each: &BTreeMap<String, String>,
        known: &[String],
    ) -> Result<(), Error> {
        match each.keys().find(|key| !known.contains(key)) {
            Some(wrong) => self.refuse_kinds(&format!("{section}.{wrong}"), wrong, section, known),
            None => Ok(()),
        }
    }

    /// Refuses a name that is not one of `known`, which are made of species.
    pub fn refuse_kinds<T>(
        &self,
        key: &str,
        wrong: &str,
        section: &str,
        known: &[String],
    ) -> Result<T, Error> {
        let known: Vec<&str> = known.iter().map(String::as_str).collect();
        let hint = match self.parameters.particles {
            Particles::Named(_) => suggest(wrong, &known),
            Particles::Alike(_) => format!("the particles have no names: write {section} = \"…\""),
        };
        refuse(key, format!("is not made of species that occur: {hint}"))
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
