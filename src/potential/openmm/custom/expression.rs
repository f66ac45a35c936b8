//! What names mean in the expressions of a custom force, and expressions as programs.

use std::collections::{BTreeMap, HashMap};

use super::super::table::{tables, Table};
use super::super::xml::{short, Element};
use crate::error::Error;
use crate::potential::formula::{parse_with, Functions, Graph, Meaning, Program};

/// More expressions than any molecule that a flow can learn needs.
const MOST_PROGRAMS: usize = 50_000;

/// The names and tables of a force.
pub(super) struct Words {
    globals: Vec<(String, f64)>,
    tables: Tables,
}

/// Tables as functions.
pub(super) struct Tables(Vec<(String, Table)>);

impl Functions for Tables {
    fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(known, _)| known == name)
    }

    fn at(&mut self, name: &str, arguments: &[f64]) -> Result<Meaning, String> {
        let table = self.0.iter().find(|(known, _)| known == name).map(|(_, table)| table);
        let count = table.map_or(0, Table::arguments);
        if arguments.len() != count {
            return Err(format!("the table `{name}` takes {count} numbers"));
        }
        match table.and_then(|table| table.at(arguments)) {
            Some(value) => Ok(Meaning::Parameter(value)),
            None => Err(format!("the table `{name}` has no entry {arguments:?}")),
        }
    }
}

impl Words {
    pub fn read(force: Element<'_>) -> Result<Self, Error> {
        let mut globals = Vec::new();
        for parameter in force.items("GlobalParameters", "Parameter")? {
            globals.push((parameter.text("name")?.to_string(), parameter.number("default")?));
        }
        Ok(Self { globals, tables: Tables(tables(force)?) })
    }

    pub fn has_table(&self, name: &str) -> bool {
        self.tables.has(name)
    }

    pub fn tables(&mut self) -> &mut Tables {
        &mut self.tables
    }

    /// The names of parameters in `list` of the force.
    pub fn parameters(force: Element<'_>, list: &str) -> Result<Vec<String>, Error> {
        let read = |parameter: &Element<'_>| parameter.text("name").map(str::to_string);
        force.items(list, "Parameter")?.iter().map(read).collect()
    }

    /// The numbers `param1`, `param2`, … of an element, one for each name.
    pub fn values(element: Element<'_>, names: &[String]) -> Result<Vec<f64>, Error> {
        (1..=names.len()).map(|k| element.number(&format!("param{k}"))).collect()
    }

    /// Names with these values, besides the global ones.
    pub fn names<'n>(
        &self,
        variables: impl IntoIterator<Item = &'n str>,
        parameters: impl IntoIterator<Item = (String, f64)>,
    ) -> BTreeMap<String, Meaning> {
        let globals =
            self.globals.iter().map(|(name, value)| (name.clone(), Meaning::Parameter(*value)));
        let parameters =
            parameters.into_iter().map(|(name, value)| (name, Meaning::Parameter(value)));
        let variables = variables.into_iter().enumerate();
        let variables =
            variables.map(|(number, name)| (name.to_string(), Meaning::Variable(number)));
        globals.chain(parameters).chain(variables).collect()
    }

    /// The value and the derivatives by the first `variables` variables.
    pub fn compile(
        &mut self,
        element: Element<'_>,
        attribute: &str,
        names: &BTreeMap<String, Meaning>,
        variables: usize,
    ) -> Result<Program, Error> {
        compile(element, attribute, names, &mut self.tables, |_| variables)
    }

    /// A number, of an expression without variables.
    pub fn value(
        &mut self,
        element: Element<'_>,
        attribute: &str,
        names: &BTreeMap<String, Meaning>,
    ) -> Result<f64, Error> {
        let mut graph = Graph::default();
        let text = element.text(attribute)?;
        let root = parse_with(text, names, &mut self.tables, &mut graph)
            .map_err(|problem| wrong(element, attribute, text, &problem))?;
        graph.value(root).ok_or_else(|| element.error("depends on more than parameters"))
    }
}

/// The value of an expression and its derivatives by as many variables as there are after it has
/// been read.
pub(super) fn compile<F: Functions>(
    element: Element<'_>,
    attribute: &str,
    names: &BTreeMap<String, Meaning>,
    functions: &mut F,
    variables: impl Fn(&F) -> usize,
) -> Result<Program, Error> {
    let mut graph = Graph::default();
    let text = element.text(attribute)?;
    let explain = |problem: String| wrong(element, attribute, text, &problem);
    let root = parse_with(text, names, functions, &mut graph).map_err(explain)?;
    Program::compile(&mut graph, root, variables(functions)).map_err(explain)
}

fn wrong(element: Element<'_>, attribute: &str, text: &str, problem: &str) -> Error {
    element.error(&format!("has {attribute} = \"{}\", where {problem}", short(text)))
}

/// Programs, of which those for equal numbers exist once.
#[derive(Debug, Clone, Default)]
pub(super) struct Programs {
    all: Vec<Program>,
    places: HashMap<Vec<u64>, usize>,
}

impl Programs {
    /// The place of the program for these numbers, which is compiled if it is new.
    pub fn place(
        &mut self,
        element: Element<'_>,
        numbers: &[f64],
        compile: impl FnOnce() -> Result<Program, Error>,
    ) -> Result<usize, Error> {
        let key: Vec<u64> = numbers.iter().map(|number| number.to_bits()).collect();
        if let Some(place) = self.places.get(&key) {
            return Ok(*place);
        }
        if self.all.len() == MOST_PROGRAMS {
            return element.refuse(&format!(
                "stands for more than {MOST_PROGRAMS} expressions: give atoms the same parameters"
            ));
        }
        self.all.push(compile()?);
        self.places.insert(key, self.all.len() - 1);
        Ok(self.all.len() - 1)
    }

    pub fn all(&self) -> &[Program] {
        &self.all
    }

    /// Lanes that the longest of them needs.
    pub fn registers(&self) -> usize {
        self.all.iter().map(Program::registers).max().unwrap_or(0)
    }
}
