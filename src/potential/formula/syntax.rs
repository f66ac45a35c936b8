//! Parses the text of a formula to a graph; errors name the place of what is wrong.
//!
//! Numbers, names, `+ - * / ^`, parentheses and functions. `^` binds to the right and before a
//! sign, as on paper: −x^2 = −(x²). Definitions of names follow after semicolons, each of which may
//! use those after it: `d^2; d = r - r0`. This is the grammar of OpenMM, too.

use std::collections::BTreeMap;

use super::graph::{Function, Graph, Id, Operation};
use crate::error::suggest;

/// Most bytes of a formula.
const LONGEST: usize = 10_000;
/// Most levels of nested parentheses, signs and powers.
const DEEPEST: usize = 100;

const FUNCTIONS: [(&str, Function); 14] = [
    ("sqrt", Function::Sqrt),
    ("exp", Function::Exp),
    ("ln", Function::Ln),
    ("sin", Function::Sin),
    ("cos", Function::Cos),
    ("tan", Function::Tan),
    ("asin", Function::Asin),
    ("acos", Function::Acos),
    ("atan", Function::Atan),
    ("sinh", Function::Sinh),
    ("cosh", Function::Cosh),
    ("tanh", Function::Tanh),
    ("abs", Function::Abs),
    ("log", Function::Ln),
];

const FUNCTIONS_OF_TWO: [(&str, Operation); 2] = [("min", Operation::Min), ("max", Operation::Max)];

/// Functions that leave their names free for other uses.
const MORE_FUNCTIONS: [(&str, usize, Build); 14] = [
    ("step", 1, |graph, a| graph.unary(Function::FromZero, a[0])),
    ("delta", 1, |graph, a| graph.unary(Function::Delta, a[0])),
    ("erf", 1, |graph, a| graph.unary(Function::Erf, a[0])),
    ("erfc", 1, |graph, a| graph.unary(Function::Erfc, a[0])),
    ("floor", 1, |graph, a| graph.unary(Function::Floor, a[0])),
    ("ceil", 1, |graph, a| graph.unary(Function::Ceil, a[0])),
    ("square", 1, |graph, a| graph.binary(Operation::Mul, a[0], a[0])),
    ("cube", 1, |graph, a| power(graph, a[0], 3.0)),
    ("recip", 1, |graph, a| power(graph, a[0], -1.0)),
    ("sec", 1, |graph, a| ratio(graph, None, (Function::Cos, a[0]))),
    ("csc", 1, |graph, a| ratio(graph, None, (Function::Sin, a[0]))),
    ("cot", 1, |graph, a| ratio(graph, Some(Function::Cos), (Function::Sin, a[0]))),
    ("atan2", 2, |graph, a| graph.binary(Operation::Atan2, a[0], a[1])),
    ("select", 3, |graph, a| graph.select(a[0], a[1], a[2])),
];

/// Makes a function of its arguments, as many as its entry says.
type Build = fn(&mut Graph, &[Id]) -> Id;

fn power(graph: &mut Graph, a: Id, exponent: f64) -> Id {
    let exponent = graph.constant(exponent);
    graph.binary(Operation::Pow, a, exponent)
}

/// 1 or a function of `a`, over another function of it.
fn ratio(graph: &mut Graph, top: Option<Function>, (below, a): (Function, Id)) -> Id {
    let top = match top {
        Some(function) => graph.unary(function, a),
        None => graph.constant(1.0),
    };
    let below = graph.unary(below, a);
    graph.binary(Operation::Div, top, below)
}

/// Functions that only the formulas of some owner have, such as tables: their arguments do not
/// depend on positions.
pub(in crate::potential) trait Functions {
    /// Whether there is one of that name.
    fn has(&self, name: &str) -> bool;

    /// What it is at these arguments.
    ///
    /// # Errors
    /// What is wrong with them, to stand behind their place.
    fn at(&mut self, name: &str, arguments: &[f64]) -> Result<Meaning, String>;
}

/// No functions of one's own.
struct Nothing;

impl Functions for Nothing {
    fn has(&self, _: &str) -> bool {
        false
    }

    fn at(&mut self, _: &str, _: &[f64]) -> Result<Meaning, String> {
        Ok(Meaning::Parameter(f64::NAN))
    }
}

/// What a name stands for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in crate::potential) enum Meaning {
    /// An input of the program, by its number.
    Variable(usize),
    /// A number.
    Parameter(f64),
}

/// Whether `name` has a meaning of its own in formulas.
pub(super) fn is_reserved(name: &str) -> bool {
    name == "pi"
        || FUNCTIONS.iter().any(|(known, _)| *known == name)
        || FUNCTIONS_OF_TWO.iter().any(|(known, _)| *known == name)
}

/// All functions that every formula has.
fn all_functions() -> impl Iterator<Item = &'static str> {
    let two = FUNCTIONS_OF_TWO.iter().map(|f| f.0);
    FUNCTIONS.iter().map(|f| f.0).chain(two).chain(MORE_FUNCTIONS.iter().map(|f| f.0))
}

/// Whether `name` can be written in a formula.
pub(super) fn is_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_alphabetic()) && name.chars().all(continues_name)
}

fn continues_name(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Adds the formula `text` to `graph`.
///
/// # Errors
/// What is wrong, with its place, to stand behind the name of a key.
pub(super) fn parse(
    text: &str,
    names: &BTreeMap<String, Meaning>,
    graph: &mut Graph,
) -> Result<Id, String> {
    parse_with(text, names, &mut Nothing, graph)
}

/// [`parse`] with functions of one's own.
///
/// # Errors
/// Those of [`parse`].
pub(in crate::potential) fn parse_with(
    text: &str,
    names: &BTreeMap<String, Meaning>,
    functions: &mut dyn Functions,
    graph: &mut Graph,
) -> Result<Id, String> {
    if text.len() > LONGEST {
        return Err(format!(
            "has {} bytes: a formula has at most {LONGEST}, use named parameters or write the \
             potential in Rust",
            text.len()
        ));
    }
    let defined = BTreeMap::new();
    let mut parser = Parser { text, at: 0, end: 0, depth: 0, names, defined, functions, graph };
    // Definitions use those after them; nothing may follow the last semicolon.
    let text = text.strip_suffix(';').unwrap_or(text);
    let mut start = text.rfind(';').map_or(0, |at| at + 1);
    parser.end = text.len();
    while start > 0 {
        parser.at = start;
        parser.definition()?;
        parser.end = start - 1;
        start = text[..parser.end].rfind(';').map_or(0, |at| at + 1);
    }
    parser.at = 0;
    parser.whole()
}

struct Parser<'a> {
    text: &'a str,
    /// Bytes read.
    at: usize,
    /// Bytes that belong to what is being read.
    end: usize,
    depth: usize,
    names: &'a BTreeMap<String, Meaning>,
    /// Names that the formula itself defines.
    defined: BTreeMap<&'a str, Id>,
    functions: &'a mut dyn Functions,
    graph: &'a mut Graph,
}

// How strongly operators bind; `^` binds to its right operand a little less.
const SUM: u8 = 1;
const PRODUCT: u8 = 2;
const SIGN: u8 = 3;
const POWER: u8 = 4;

impl<'a> Parser<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.at..self.end]
    }

    /// The next character that is not a space.
    fn peek(&mut self) -> Option<char> {
        self.at = self.end - self.rest().trim_start().len();
        self.rest().chars().next()
    }

    /// An expression with nothing after it.
    fn whole(&mut self) -> Result<Id, String> {
        let root = self.expression(0)?;
        match self.peek() {
            None => Ok(root),
            Some(')') => Err(self.wrong("this `)` closes nothing: remove it")),
            Some(c) if continues_name(c) || c == '(' => {
                Err(self.wrong("an operator is missing before this: write `*` for products"))
            }
            Some(c) => Err(self.wrong(&format!("`{c}` is not an operator: use + - * / ^"))),
        }
    }

    /// A name, `=` and an expression.
    fn definition(&mut self) -> Result<(), String> {
        self.peek();
        let start = self.at;
        let rest = self.rest();
        let length = rest.find(|c| !continues_name(c)).unwrap_or(rest.len());
        let name = &rest[..length];
        self.at += length;
        if name.is_empty() || self.peek() != Some('=') {
            let problem = "after a semicolon stands a definition, such as `d = r - 1`";
            return Err(self.wrong_at(start, problem));
        }
        self.skip('=');
        let value = self.whole()?;
        match self.defined.insert(name, value) {
            None => Ok(()),
            Some(_) => Err(self.wrong_at(start, &format!("`{name}` is defined twice"))),
        }
    }

    fn skip(&mut self, c: char) {
        self.at += c.len_utf8();
    }

    /// A message about the character at hand.
    fn wrong(&self, problem: &str) -> String {
        self.wrong_at(self.at, problem)
    }

    fn wrong_at(&self, at: usize, problem: &str) -> String {
        let place = 1 + self.text[..at].chars().count();
        let near: String = self.text[at..self.end.max(at)]
            .chars()
            .take(12)
            .map(|c| if c.is_control() { ' ' } else { c })
            .collect();
        match near.as_str() {
            "" => format!("at its end, character {place}: {problem}"),
            near => format!("at character {place} (\"{near}\"): {problem}"),
        }
    }

    fn finite(&self, at: usize, id: Id) -> Result<Id, String> {
        match self.graph.value(id) {
            Some(value) if !value.is_finite() => {
                Err(self.wrong_at(at, &format!("this part is {value} for every configuration")))
            }
            _ => Ok(id),
        }
    }

    /// An expression of operators that bind at least as strongly as `weakest`.
    fn expression(&mut self, weakest: u8) -> Result<Id, String> {
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err(self.wrong(&format!("more than {DEEPEST} levels of parentheses and signs")));
        }
        let mut left = self.operand()?;
        loop {
            let (operation, strength) = match self.peek() {
                Some('+') => (Operation::Add, SUM),
                Some('-' | '−') => (Operation::Sub, SUM),
                Some('*' | '·') => (Operation::Mul, PRODUCT),
                Some('/') => (Operation::Div, PRODUCT),
                Some('^') => (Operation::Pow, POWER),
                _ => break,
            };
            if strength < weakest {
                break;
            }
            let at = self.at;
            if let Some(c) = self.peek() {
                self.skip(c);
            }
            if operation == Operation::Mul && self.rest().starts_with('*') {
                return Err(self.wrong_at(at, "write `^` for powers"));
            }
            let right = self.expression(if strength == POWER { SIGN } else { strength + 1 })?;
            let value = self.graph.binary(operation, left, right);
            left = self.finite(at, value)?;
        }
        self.depth -= 1;
        Ok(left)
    }

    fn operand(&mut self) -> Result<Id, String> {
        let at = match self.peek() {
            Some(_) => self.at,
            None => return Err(self.wrong("a number, a name or a `(` is missing")),
        };
        match self.peek() {
            Some('-' | '−') => {
                if let Some(c) = self.peek() {
                    self.skip(c);
                }
                let inner = self.expression(SIGN)?;
                Ok(self.graph.unary(Function::Neg, inner))
            }
            Some('+') => {
                self.skip('+');
                self.expression(SIGN)
            }
            Some('(') => {
                self.skip('(');
                let inner = self.expression(0)?;
                self.close(at)?;
                Ok(inner)
            }
            Some(c) if c.is_ascii_digit() || c == '.' => self.number(),
            Some(c) if c.is_alphabetic() || c == '_' => self.name(),
            Some(')') => Err(self.wrong("a number, a name or a `(` is missing before this")),
            _ => Err(self.wrong("a number, a name or a `(` should stand here")),
        }
    }

    fn close(&mut self, opened: usize) -> Result<(), String> {
        match self.peek() {
            Some(')') => {
                self.skip(')');
                Ok(())
            }
            None => Err(self.wrong_at(opened, "what opens here is not closed: add a `)`")),
            Some(c) if continues_name(c) || c == '(' => {
                Err(self.wrong("an operator is missing before this: write `*` for products"))
            }
            Some(_) => Err(self.wrong("an operator or a `)` should stand here")),
        }
    }

    fn number(&mut self) -> Result<Id, String> {
        let start = self.at;
        let bytes = self.text.as_bytes();
        let digits = |mut at: usize| {
            while bytes.get(at).is_some_and(|c| c.is_ascii_digit() || *c == b'.') {
                at += 1;
            }
            at
        };
        let mut end = digits(start);
        if matches!(bytes.get(end), Some(b'e' | b'E')) {
            let exponent = end + 1 + usize::from(matches!(bytes.get(end + 1), Some(b'+' | b'-')));
            if digits(exponent) > exponent {
                end = digits(exponent);
            }
        }
        self.at = end;
        match self.text[start..end].parse::<f64>() {
            Ok(value) if value.is_finite() => Ok(self.graph.constant(value)),
            _ => Err(self.wrong_at(start, "this is not a finite number")),
        }
    }

    fn name(&mut self) -> Result<Id, String> {
        let start = self.at;
        let length = self.rest().find(|c| !continues_name(c)).unwrap_or(self.rest().len());
        let name = &self.text[start..start + length];
        self.at += length;
        if self.peek() == Some('(') {
            return self.call(start, name);
        }
        if name == "pi" {
            return Ok(self.graph.constant(std::f64::consts::PI));
        }
        if let Some(value) = self.defined.get(name) {
            return Ok(*value);
        }
        match self.names.get(name) {
            Some(Meaning::Variable(number)) => Ok(self.graph.variable(*number)),
            Some(Meaning::Parameter(value)) => Ok(self.graph.constant(*value)),
            None if is_reserved(name) => {
                Err(self.wrong_at(start, &format!("`{name}` is a function: write `{name}(…)`")))
            }
            None => {
                let known: Vec<&str> = self.names.keys().map(String::as_str).collect();
                let hint = suggest(name, &known);
                Err(self.wrong_at(start, &format!("nothing is called `{name}` here: {hint}")))
            }
        }
    }

    /// A function of what stands in the parentheses ahead.
    fn call(&mut self, start: usize, name: &str) -> Result<Id, String> {
        let opened = self.at;
        if self.functions.has(name) {
            return self.own_function(start, name);
        }
        if let Some((_, count, build)) = MORE_FUNCTIONS.iter().find(|(known, ..)| *known == name) {
            let arguments = self.arguments()?;
            if arguments.len() != *count {
                let problem = format!("`{name}` takes {count} numbers, not {}", arguments.len());
                return Err(self.wrong_at(start, &problem));
            }
            let value = build(self.graph, &arguments);
            return self.finite(start, value);
        }
        let one = FUNCTIONS.iter().find(|(known, _)| *known == name);
        let two = FUNCTIONS_OF_TWO.iter().find(|(known, _)| *known == name);
        if one.is_none() && two.is_none() {
            if self.names.contains_key(name) {
                let problem = format!("`{name}` is not a function: write `*` for products");
                return Err(self.wrong_at(start, &problem));
            }
            let known: Vec<&str> = all_functions().collect();
            let problem = format!("there is no function `{name}`: {}", suggest(name, &known));
            return Err(self.wrong_at(start, &problem));
        }
        self.skip('(');
        let first = self.expression(0)?;
        let value = match (one, two) {
            (Some((_, function)), _) => {
                self.close(opened)?;
                self.graph.unary(*function, first)
            }
            (None, Some((_, operation))) => {
                if self.peek() != Some(',') {
                    return Err(self.wrong(&format!("`{name}` needs two numbers: {name}(a, b)")));
                }
                self.skip(',');
                let second = self.expression(0)?;
                self.close(opened)?;
                self.graph.binary(*operation, first, second)
            }
            (None, None) => first,
        };
        self.finite(start, value)
    }

    /// The expressions in the parentheses ahead.
    fn arguments(&mut self) -> Result<Vec<Id>, String> {
        let opened = self.at;
        self.skip('(');
        let mut arguments = vec![self.expression(0)?];
        while self.peek() == Some(',') {
            self.skip(',');
            arguments.push(self.expression(0)?);
        }
        self.close(opened)?;
        Ok(arguments)
    }

    /// A function of [`Functions`].
    fn own_function(&mut self, start: usize, name: &str) -> Result<Id, String> {
        let arguments = self.arguments()?;
        let numbers: Option<Vec<f64>> = arguments.iter().map(|id| self.graph.value(*id)).collect();
        let Some(numbers) = numbers else {
            let problem = format!(
                "`{name}` is not for arguments that depend on positions or computed values"
            );
            return Err(self.wrong_at(start, &problem));
        };
        match self.functions.at(name, &numbers) {
            Ok(Meaning::Variable(number)) => Ok(self.graph.variable(number)),
            Ok(Meaning::Parameter(value)) => {
                let value = self.graph.constant(value);
                self.finite(start, value)
            }
            Err(problem) => Err(self.wrong_at(start, &problem)),
        }
    }
}
