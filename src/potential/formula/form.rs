//! Which formulas are the same up to the order of terms and factors, and parentheses.
//!
//! Every expression becomes a number times a part without a factor of its own; sums and products
//! are sorted lists of such parts. Equal parts exist once, so that equal formulas have equal forms.
//! Formulas that are equal for other reasons, such as eˣ eʸ and eˣ⁺ʸ, count as different: then
//! particles that are alike count as unlike, which is never wrong.

use std::collections::{BTreeMap, HashMap};

use super::graph::{Function, Graph, Id, Node, Operation};

/// A part's number among all [`Forms`].
type Part = usize;

/// A number (as bits, rounded) times a part, or the number alone.
type Scaled = (u64, Option<Part>);

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Form {
    Variable(usize),
    /// Parts with their factors; the number alone is a term, too. The first factor is 1.
    Sum(Vec<(Option<Part>, u64)>),
    /// Parts with their whole exponents.
    Product(Vec<(Part, i32)>),
    Function(Function, Scaled),
    Power(Scaled, Scaled),
    Angle(Scaled, Scaled),
    /// `min` or `max` of all of these.
    Extreme(Operation, Vec<Scaled>),
    Whole(Scaled),
}

/// What an expression is: a number times a part.
#[derive(Debug, Clone, Copy)]
struct Value {
    factor: f64,
    part: Option<Part>,
}

/// All parts so far.
#[derive(Debug, Default)]
pub(super) struct Forms {
    forms: Vec<Form>,
    places: HashMap<Form, Part>,
}

/// Without the last bits, in which numbers differ that were rounded in another order.
fn rounded(number: f64) -> u64 {
    const LAST: u64 = 1 << 8;
    (number + 0.0).to_bits().wrapping_add(LAST / 2) & !(LAST - 1)
}

fn scaled(value: Value) -> Scaled {
    (rounded(value.factor), value.part)
}

impl Forms {
    /// The number of the formula `root`, the same for formulas that are the same.
    pub fn of(&mut self, graph: &Graph, root: Id) -> usize {
        let needed = graph.reachable(&[root]);
        let mut values: Vec<Value> = Vec::with_capacity(root + 1);
        for (id, needed) in needed.iter().enumerate() {
            let value = match graph.nodes()[id] {
                _ if !needed => Value { factor: 0.0, part: None },
                Node::Constant(bits) => Value { factor: f64::from_bits(bits), part: None },
                Node::Variable(number) => self.part(Form::Variable(number)),
                Node::Unary(function, a) => self.unary(function, values[a]),
                Node::Binary(operation, a, b) => self.binary(operation, values[a], values[b]),
            };
            values.push(value);
        }
        let whole = Form::Whole(scaled(values[root]));
        self.place(whole)
    }

    fn place(&mut self, form: Form) -> Part {
        *self.places.entry(form).or_insert_with_key(|form| {
            self.forms.push(form.clone());
            self.forms.len() - 1
        })
    }

    fn part(&mut self, form: Form) -> Value {
        Value { factor: 1.0, part: Some(self.place(form)) }
    }

    fn unary(&mut self, function: Function, a: Value) -> Value {
        use Function::*;
        let (sign, size) = (a.factor.signum(), Value { factor: a.factor.abs(), ..a });
        match function {
            Neg => Value { factor: -a.factor, ..a },
            // Even and odd functions.
            Abs | Cos | Cosh | Delta => self.part(Form::Function(function, scaled(size))),
            Sin | Tan | Asin | Atan | Sinh | Tanh | Sign | Erf => {
                let value = self.part(Form::Function(function, scaled(size)));
                Value { factor: sign, ..value }
            }
            Sqrt | Exp | Ln | Acos | Step | FromZero | Erfc | Floor | Ceil => {
                self.part(Form::Function(function, scaled(a)))
            }
        }
    }

    fn binary(&mut self, operation: Operation, a: Value, b: Value) -> Value {
        use Operation::*;
        match operation {
            Add => self.sum(a, b, 1.0),
            Sub => self.sum(a, b, -1.0),
            Mul | SlopeMul => self.product(a, b, 1),
            Div | SlopeDiv => self.product(a, b, -1),
            Pow => self.part(Form::Power(scaled(a), scaled(b))),
            Atan2 => self.part(Form::Angle(scaled(a), scaled(b))),
            Min | Max => {
                let mut all = self.among(operation, a);
                all.extend(self.among(operation, b));
                all.sort_unstable();
                all.dedup();
                self.part(Form::Extreme(operation, all))
            }
        }
    }

    /// a + `sign`·b.
    fn sum(&mut self, a: Value, b: Value, sign: f64) -> Value {
        let mut terms: BTreeMap<Option<Part>, f64> = BTreeMap::new();
        for (value, sign) in [(a, 1.0), (b, sign)] {
            let factor = sign * value.factor;
            match value.part.map(|part| &self.forms[part]) {
                Some(Form::Sum(inner)) => {
                    for (part, own) in inner {
                        *terms.entry(*part).or_default() += factor * f64::from_bits(*own);
                    }
                }
                _ => *terms.entry(value.part).or_default() += factor,
            }
        }
        terms.retain(|_, factor| *factor != 0.0);
        let Some((&part, &first)) = terms.iter().next() else {
            return Value { factor: 0.0, part: None };
        };
        if terms.len() == 1 {
            return Value { factor: first, part };
        }
        let terms = terms.into_iter().map(|(part, factor)| (part, rounded(factor / first)));
        let value = self.part(Form::Sum(terms.collect()));
        Value { factor: first, ..value }
    }

    /// a·b or a/b, by the `exponent` of b.
    fn product(&mut self, a: Value, b: Value, exponent: i32) -> Value {
        let mut factors: BTreeMap<Part, i32> = BTreeMap::new();
        for (value, exponent) in [(a, 1), (b, exponent)] {
            match value.part.map(|part| (part, &self.forms[part])) {
                Some((_, Form::Product(inner))) => {
                    for (part, own) in inner {
                        *factors.entry(*part).or_default() += exponent * own;
                    }
                }
                Some((part, _)) => *factors.entry(part).or_default() += exponent,
                None => {}
            }
        }
        factors.retain(|_, exponent| *exponent != 0);
        let factor = if exponent > 0 { a.factor * b.factor } else { a.factor / b.factor };
        let mut alone = factors.iter();
        let part = match (alone.next(), alone.next()) {
            (None, _) => None,
            (Some((part, 1)), None) => Some(*part),
            _ => Some(self.place(Form::Product(factors.into_iter().collect()))),
        };
        Value { factor, part }
    }

    /// What `min` or `max` compares in `value`.
    fn among(&self, operation: Operation, value: Value) -> Vec<Scaled> {
        match value.part.map(|part| &self.forms[part]) {
            Some(Form::Extreme(inner, all)) if *inner == operation && value.factor == 1.0 => {
                all.clone()
            }
            _ => vec![scaled(value)],
        }
    }
}
