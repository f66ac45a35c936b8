//! Expressions as a graph in which equal parts exist once, and their symbolic derivatives.

use std::collections::HashMap;

/// Powers with whole exponents up to this one are products.
const MOST_FACTORS: f64 = 64.0;

/// A node's place in its graph; its operands come before it.
pub(in crate::potential) type Id = usize;

/// Functions of one number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(in crate::potential) enum Function {
    Neg,
    Sqrt,
    Exp,
    Ln,
    Sin,
    Cos,
    Tan,
    Asin,
    Acos,
    Atan,
    Sinh,
    Cosh,
    Tanh,
    Abs,
    /// 1, −1 or 0.
    Sign,
    /// 1 above 0, 0 below, and the mean of both at 0, as `Sign` has.
    Step,
    /// 1 from 0 on, 0 below.
    FromZero,
    /// 1 at 0, else 0.
    Delta,
    Erf,
    Erfc,
    Floor,
    Ceil,
}

impl Function {
    #[inline(always)]
    pub fn of(self, x: f64) -> f64 {
        match self {
            Self::Neg => -x,
            Self::Sqrt => x.sqrt(),
            Self::Exp => x.exp(),
            Self::Ln => x.ln(),
            Self::Sin => x.sin(),
            Self::Cos => x.cos(),
            Self::Tan => x.tan(),
            Self::Asin => x.asin(),
            Self::Acos => x.acos(),
            Self::Atan => x.atan(),
            Self::Sinh => x.sinh(),
            Self::Cosh => x.cosh(),
            Self::Tanh => x.tanh(),
            Self::Abs => x.abs(),
            Self::Sign => f64::from(u8::from(x > 0.0)) - f64::from(u8::from(x < 0.0)),
            Self::Step => 0.5 * f64::from(u8::from(x > 0.0) + u8::from(x >= 0.0)),
            Self::FromZero => f64::from(u8::from(x >= 0.0)),
            Self::Delta => f64::from(u8::from(x == 0.0)),
            Self::Erf => libm::erf(x),
            Self::Erfc => libm::erfc(x),
            Self::Floor => x.floor(),
            Self::Ceil => x.ceil(),
        }
    }
}

/// Functions of two numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(in crate::potential) enum Operation {
    Add,
    Sub,
    Mul,
    Div,
    Pow,
    Min,
    Max,
    /// The angle of the point (b, a).
    Atan2,
    /// A product in the chain rule: 0 where a factor is 0, whatever the other one is. A flat branch
    /// stays flat however steep what is done with it: sqrt(max(0, 1 − r)) has the slope ∞·0 = 0
    /// from r = 1 on, and exp(−1/x) vanishes faster at 0 than 1/x² grows.
    SlopeMul,
    /// A quotient in the chain rule: 0 where the numerator is 0.
    SlopeDiv,
}

impl Operation {
    #[inline(always)]
    pub fn of(self, a: f64, b: f64) -> f64 {
        match self {
            Self::Add => a + b,
            Self::Sub => a - b,
            Self::Mul => a * b,
            Self::Div => a / b,
            Self::Pow => a.powf(b),
            // NaN in either operand gives NaN.
            Self::Min => either(a < b || a.is_nan(), a, b),
            Self::Max => either(a > b || a.is_nan(), a, b),
            Self::Atan2 => a.atan2(b),
            Self::SlopeMul => either((a == 0.0) | (b == 0.0), 0.0, a * b),
            Self::SlopeDiv => either(a == 0.0, 0.0, a / b),
        }
    }
}

#[inline(always)]
fn either(first: bool, a: f64, b: f64) -> f64 {
    if first {
        a
    } else {
        b
    }
}

/// A constant (as bits, which can be hashed), a variable, or a function of other nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(in crate::potential) enum Node {
    Constant(u64),
    Variable(usize),
    Unary(Function, Id),
    Binary(Operation, Id, Id),
}

/// A set of expressions that share their parts.
#[derive(Debug, Default)]
pub(in crate::potential) struct Graph {
    nodes: Vec<Node>,
    places: HashMap<Node, Id>,
}

impl Graph {
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    fn node(&mut self, node: Node) -> Id {
        *self.places.entry(node).or_insert_with(|| {
            self.nodes.push(node);
            self.nodes.len() - 1
        })
    }

    pub fn constant(&mut self, value: f64) -> Id {
        // −0 and 0 are the same constant.
        self.node(Node::Constant((value + 0.0).to_bits()))
    }

    pub fn variable(&mut self, number: usize) -> Id {
        self.node(Node::Variable(number))
    }

    /// The value of a constant node.
    pub fn value(&self, id: Id) -> Option<f64> {
        match self.nodes[id] {
            Node::Constant(bits) => Some(f64::from_bits(bits)),
            _ => None,
        }
    }

    /// a where `condition` is not 0, else b: the other one plays no part, whatever it is.
    pub fn select(&mut self, condition: Id, a: Id, b: Id) -> Id {
        let no = self.unary(Function::Delta, condition);
        let one = self.constant(1.0);
        let yes = self.binary(Operation::Sub, one, no);
        let first = self.binary(Operation::SlopeMul, yes, a);
        let second = self.binary(Operation::SlopeMul, no, b);
        self.binary(Operation::Add, first, second)
    }

    pub fn unary(&mut self, function: Function, a: Id) -> Id {
        if let Some(a) = self.value(a) {
            return self.constant(function.of(a));
        }
        match (function, self.nodes[a]) {
            (Function::Neg, Node::Unary(Function::Neg, inner)) => inner,
            _ => self.node(Node::Unary(function, a)),
        }
    }

    pub fn binary(&mut self, operation: Operation, a: Id, b: Id) -> Id {
        use Operation::*;
        let (x, y) = (self.value(a), self.value(b));
        if let (Some(x), Some(y)) = (x, y) {
            return self.constant(operation.of(x, y));
        }
        match (operation, x, y) {
            (Add, Some(0.0), _) | (Mul | SlopeMul, Some(1.0), _) => b,
            (Add | Sub, _, Some(0.0)) => a,
            (Mul | Div | Pow | SlopeMul | SlopeDiv, _, Some(1.0)) => a,
            (Sub, Some(0.0), _) | (Mul | SlopeMul, Some(-1.0), _) => self.unary(Function::Neg, b),
            (Mul | Div | SlopeMul | SlopeDiv, _, Some(-1.0)) => self.unary(Function::Neg, a),
            (Mul | Div | SlopeMul | SlopeDiv, Some(0.0), _) | (Mul | SlopeMul, _, Some(0.0)) => {
                self.constant(0.0)
            }
            (Pow, _, Some(exponent)) => self.power(a, exponent),
            // Equal parts are found in either order.
            (Add | Mul | SlopeMul, ..) => self.node(Node::Binary(operation, a.min(b), a.max(b))),
            _ => self.node(Node::Binary(operation, a, b)),
        }
    }

    /// a to a constant power: products and a root where that is exact.
    fn power(&mut self, a: Id, exponent: f64) -> Id {
        let size = exponent.abs();
        if size > MOST_FACTORS || (2.0 * size).fract() != 0.0 {
            let exponent = self.constant(exponent);
            return self.node(Node::Binary(Operation::Pow, a, exponent));
        }
        if size == 0.0 {
            return self.constant(1.0);
        }
        let whole = self.whole_power(a, size as u32);
        let product = match (size.fract() != 0.0, whole) {
            (false, Some(whole)) => whole,
            (_, whole) => {
                let root = self.unary(Function::Sqrt, a);
                whole.map_or(root, |whole| self.binary(Operation::Mul, whole, root))
            }
        };
        if exponent > 0.0 {
            return product;
        }
        let one = self.constant(1.0);
        self.binary(Operation::Div, one, product)
    }

    /// aⁿ by repeated squares, `None` for n = 0.
    fn whole_power(&mut self, a: Id, n: u32) -> Option<Id> {
        if n < 2 {
            return (n == 1).then_some(a);
        }
        let half = self.whole_power(a, n / 2)?;
        let square = self.binary(Operation::Mul, half, half);
        Some(if n.is_multiple_of(2) { square } else { self.binary(Operation::Mul, square, a) })
    }

    /// ∂(node `root`)/∂(variable), by the chain rule from the leaves up.
    pub fn derivative(&mut self, root: Id, variable: usize) -> Id {
        let needed = self.reachable(&[root]);
        let zero = self.constant(0.0);
        let one = self.constant(1.0);
        let mut slope = vec![zero; root + 1];
        for id in 0..=root {
            if !needed.get(id).copied().unwrap_or(false) {
                continue;
            }
            slope[id] = match self.nodes[id] {
                Node::Variable(number) if number == variable => one,
                Node::Constant(_) | Node::Variable(_) => zero,
                Node::Unary(_, a) if slope[a] == zero => zero,
                Node::Unary(function, a) => {
                    let outer = self.outer_slope(function, a, id);
                    self.binary(Operation::SlopeMul, outer, slope[a])
                }
                Node::Binary(_, a, b) if slope[a] == zero && slope[b] == zero => zero,
                Node::Binary(operation, a, b) => {
                    self.slope_of_binary(operation, (a, b), (slope[a], slope[b]), id)
                }
            };
        }
        slope[root]
    }

    /// f′(a), where node `value` is f(a).
    fn outer_slope(&mut self, function: Function, a: Id, value: Id) -> Id {
        use Operation::{Add, Div, Mul, Sub};
        let one = self.constant(1.0);
        let square = |graph: &mut Self, x| graph.binary(Mul, x, x);
        match function {
            Function::Neg => self.constant(-1.0),
            Function::Sqrt => {
                let half = self.constant(0.5);
                self.binary(Div, half, value)
            }
            Function::Exp => value,
            Function::Ln => self.binary(Div, one, a),
            Function::Sin => self.unary(Function::Cos, a),
            Function::Cos => {
                let sine = self.unary(Function::Sin, a);
                self.unary(Function::Neg, sine)
            }
            Function::Tan => {
                let squared = square(self, value);
                self.binary(Add, one, squared)
            }
            Function::Asin | Function::Acos => {
                let squared = square(self, a);
                let rest = self.binary(Sub, one, squared);
                let root = self.unary(Function::Sqrt, rest);
                let sign = self.constant(if function == Function::Asin { 1.0 } else { -1.0 });
                self.binary(Div, sign, root)
            }
            Function::Atan => {
                let squared = square(self, a);
                let sum = self.binary(Add, one, squared);
                self.binary(Div, one, sum)
            }
            Function::Sinh => self.unary(Function::Cosh, a),
            Function::Cosh => self.unary(Function::Sinh, a),
            Function::Tanh => {
                let squared = square(self, value);
                self.binary(Sub, one, squared)
            }
            Function::Abs => self.unary(Function::Sign, a),
            Function::Erf | Function::Erfc => {
                let squared = square(self, a);
                let exponent = self.unary(Function::Neg, squared);
                let bell = self.unary(Function::Exp, exponent);
                let sign = if function == Function::Erf { 1.0 } else { -1.0 };
                let height = self.constant(sign * std::f64::consts::FRAC_2_SQRT_PI);
                self.binary(Mul, height, bell)
            }
            Function::Sign
            | Function::Step
            | Function::FromZero
            | Function::Delta
            | Function::Floor
            | Function::Ceil => self.constant(0.0),
        }
    }

    fn slope_of_binary(
        &mut self,
        operation: Operation,
        (a, b): (Id, Id),
        (da, db): (Id, Id),
        value: Id,
    ) -> Id {
        use Operation::*;
        match operation {
            Add | Sub => self.binary(operation, da, db),
            Mul | SlopeMul if a == b => {
                let twice = self.constant(2.0);
                let outer = self.binary(Mul, twice, a);
                self.binary(SlopeMul, outer, da)
            }
            Mul | SlopeMul => {
                let left = self.binary(SlopeMul, da, b);
                let right = self.binary(SlopeMul, a, db);
                self.binary(Add, left, right)
            }
            // (a/b)′ = (a′ − (a/b) b′)/b
            Div | SlopeDiv => {
                let carried = self.binary(SlopeMul, value, db);
                let top = self.binary(Sub, da, carried);
                self.binary(SlopeDiv, top, b)
            }
            // (aᵇ)′ = b aᵇ⁻¹ a′ + aᵇ ln(a) b′
            Pow => {
                let one = self.constant(1.0);
                let less = self.binary(Sub, b, one);
                let lower = self.binary(Pow, a, less);
                let outer = self.binary(SlopeMul, b, lower);
                let left = self.binary(SlopeMul, outer, da);
                let logarithm = self.unary(Function::Ln, a);
                let outer = self.binary(SlopeMul, value, logarithm);
                let right = self.binary(SlopeMul, outer, db);
                self.binary(Add, left, right)
            }
            // (b a′ − a b′)/(a² + b²)
            Atan2 => {
                let squares = [self.binary(Mul, a, a), self.binary(Mul, b, b)];
                let squared = self.binary(Add, squares[0], squares[1]);
                let left = self.binary(SlopeMul, b, da);
                let right = self.binary(SlopeMul, a, db);
                let top = self.binary(Sub, left, right);
                self.binary(SlopeDiv, top, squared)
            }
            Min | Max => {
                let (more, less) = if operation == Max { (a, b) } else { (b, a) };
                let difference = self.binary(Sub, more, less);
                let first = self.unary(Function::Step, difference);
                let one = self.constant(1.0);
                let second = self.binary(Sub, one, first);
                let left = self.binary(SlopeMul, first, da);
                let right = self.binary(SlopeMul, second, db);
                self.binary(Add, left, right)
            }
        }
    }

    /// Which nodes the `roots` depend on, themselves included.
    pub fn reachable(&self, roots: &[Id]) -> Vec<bool> {
        let mut needed = vec![false; roots.iter().max().map_or(0, |root| root + 1)];
        for root in roots {
            needed[*root] = true;
        }
        for id in (0..needed.len()).rev() {
            if needed[id] {
                match self.nodes[id] {
                    Node::Unary(_, a) => needed[a] = true,
                    Node::Binary(_, a, b) => {
                        needed[a] = true;
                        needed[b] = true;
                    }
                    Node::Constant(_) | Node::Variable(_) => {}
                }
            }
        }
        needed
    }
}
