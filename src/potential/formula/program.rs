//! A formula with its derivatives as a short list of instructions. Each works on sixteen numbers at
//! once, which spreads the cost of interpretation, and the loops vectorise.

use super::graph::{Function, Graph, Id, Node, Operation};
use crate::engine::{Lane, Vector};

/// Numbers that an instruction works on.
pub(super) const WIDTH: usize = 16;

/// One number of each of [`WIDTH`] configurations.
pub(super) type Row = [f64; WIDTH];

/// Most instructions of a program.
const LONGEST: usize = 10_000;

#[derive(Debug, Clone, Copy, PartialEq)]
enum Instruction {
    Constant(f64),
    Unary(Function, u16),
    Binary(Operation, u16, u16),
    /// The right or the left operand is a constant.
    WithRight(Operation, u16, f64),
    WithLeft(Operation, f64, u16),
}

/// The value of an expression and its derivative by each variable.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::potential) struct Program {
    /// Each with the register for its result.
    instructions: Vec<(Instruction, u16)>,
    /// How many of them, from the first on, the value needs.
    for_value: usize,
    registers: usize,
    /// Registers of the value and of the derivatives.
    outputs: Vec<u16>,
}

impl Program {
    /// The expression `root` and its derivatives by variables 0, …, `variables` − 1.
    ///
    /// # Errors
    /// What is wrong, to stand behind the name of a key.
    pub fn compile(graph: &mut Graph, root: Id, variables: usize) -> Result<Self, String> {
        let mut roots = vec![root];
        roots.extend((0..variables).map(|variable| graph.derivative(root, variable)));
        let needed = graph.reachable(&roots);
        let mut last_use = vec![0; needed.len()];
        for (id, _) in needed.iter().enumerate().filter(|(_, needed)| **needed) {
            match graph.nodes()[id] {
                Node::Unary(_, a) => last_use[a] = id,
                Node::Binary(_, a, b) => (last_use[a], last_use[b]) = (id, id),
                Node::Constant(_) | Node::Variable(_) => {}
            }
        }
        for root in &roots {
            last_use[*root] = usize::MAX;
        }

        // Registers of variables come first and are never used again.
        let mut place = vec![0u16; needed.len()];
        let mut free: Vec<u16> = Vec::new();
        let mut registers = variables;
        let mut instructions = Vec::new();
        let mut for_value = 0;
        for (id, _) in needed.iter().enumerate().filter(|(_, needed)| **needed) {
            let (operands, instruction) = match graph.nodes()[id] {
                Node::Variable(number) => {
                    place[id] = number as u16;
                    continue;
                }
                Node::Constant(_) if last_use[id] != usize::MAX => continue,
                Node::Constant(bits) => ([None, None], Instruction::Constant(f64::from_bits(bits))),
                Node::Unary(function, a) => {
                    ([Some(a), None], Instruction::Unary(function, place[a]))
                }
                Node::Binary(operation, a, b) => (
                    [Some(a), (a != b).then_some(b)],
                    match (graph.value(a), graph.value(b)) {
                        (Some(value), _) => Instruction::WithLeft(operation, value, place[b]),
                        (None, Some(value)) => Instruction::WithRight(operation, place[a], value),
                        (None, None) => Instruction::Binary(operation, place[a], place[b]),
                    },
                ),
            };
            for operand in operands.into_iter().flatten() {
                let computed =
                    !matches!(graph.nodes()[operand], Node::Constant(_) | Node::Variable(_));
                if computed && last_use[operand] == id {
                    free.push(place[operand]);
                }
            }
            let to = free.pop().unwrap_or_else(|| {
                registers += 1;
                (registers - 1) as u16
            });
            place[id] = to;
            instructions.push((instruction, to));
            // Operands come first, so that what comes after the root is for derivatives alone.
            if id <= root {
                for_value = instructions.len();
            }
            if instructions.len() > LONGEST {
                return Err(format!(
                    "needs more than {LONGEST} operations with its derivatives: write the \
                     potential in Rust"
                ));
            }
        }
        let outputs = roots.iter().map(|root| place[*root]).collect();
        Ok(Self { instructions, for_value, registers, outputs })
    }

    /// Rows of memory that a run needs.
    pub fn registers(&self) -> usize {
        self.registers
    }

    /// Whether the value is 0 whatever the variables are.
    pub fn is_zero(&self) -> bool {
        matches!(self.instructions[..], [(Instruction::Constant(value), _)] if value == 0.0)
    }

    /// Computes the value from the variables in the first registers, and the derivatives where
    /// `SLOPES`.
    pub fn run<const SLOPES: bool>(&self, registers: &mut [Row]) {
        let count = if SLOPES { self.instructions.len() } else { self.for_value };
        for &(instruction, to) in &self.instructions[..count] {
            registers[to as usize] = match instruction {
                Instruction::Constant(value) => [value; WIDTH],
                Instruction::Unary(function, a) => unary(function, &registers[a as usize]),
                Instruction::Binary(operation, a, b) => {
                    binary(operation, &registers[a as usize], &registers[b as usize])
                }
                Instruction::WithRight(operation, a, value) => {
                    binary(operation, &registers[a as usize], &[value; WIDTH])
                }
                Instruction::WithLeft(operation, value, b) => {
                    binary(operation, &[value; WIDTH], &registers[b as usize])
                }
            };
        }
    }

    /// [`Self::run`] within a kernel, with all derivatives.
    #[inline(always)]
    pub fn run_lanes<V: Vector<Scalar = f64>>(&self, registers: &mut [Lane<f64>]) {
        for &(instruction, to) in &self.instructions {
            let load = |place: u16| V::load(&registers[usize::from(place)]);
            let result = match instruction {
                Instruction::Constant(value) => V::splat(value),
                Instruction::Unary(function, a) => {
                    unary_lane::<V>(function, &registers[usize::from(a)])
                }
                Instruction::Binary(operation, a, b) => binary_lane(operation, load(a), load(b)),
                Instruction::WithRight(operation, a, value) => {
                    binary_lane(operation, load(a), V::splat(value))
                }
                Instruction::WithLeft(operation, value, b) => {
                    binary_lane(operation, V::splat(value), load(b))
                }
            };
            result.store(&mut registers[usize::from(to)]);
        }
    }

    /// The register of the value.
    pub fn value_register(&self) -> usize {
        usize::from(self.outputs[0])
    }

    /// The register of the derivative by variable number `variable`.
    pub fn slope_register(&self, variable: usize) -> usize {
        usize::from(self.outputs[1 + variable])
    }

    /// The value.
    #[inline(always)]
    pub fn value<'a>(&self, registers: &'a [Row]) -> &'a Row {
        &registers[self.outputs[0] as usize]
    }

    /// The derivative by variable number `variable`.
    #[inline(always)]
    pub fn slope<'a>(&self, registers: &'a [Row], variable: usize) -> &'a Row {
        &registers[self.outputs[1 + variable] as usize]
    }
}

/// One loop for each operation, so that each is vectorised.
#[inline(always)]
fn unary(function: Function, a: &Row) -> Row {
    macro_rules! each {
        ($($name:ident),*) => {
            match function {
                $(Function::$name => a.map(|a| Function::$name.of(a)),)*
            }
        };
    }
    each!(
        Neg, Sqrt, Exp, Ln, Sin, Cos, Tan, Asin, Acos, Atan, Sinh, Cosh, Tanh, Abs, Sign, Step,
        FromZero, Delta, Erf, Erfc, Floor, Ceil
    )
}

#[inline(always)]
fn binary(operation: Operation, a: &Row, b: &Row) -> Row {
    macro_rules! each {
        ($($name:ident),*) => {
            match operation {
                $(Operation::$name => std::array::from_fn(|l| Operation::$name.of(a[l], b[l])),)*
            }
        };
    }
    each!(Add, Sub, Mul, Div, Pow, Min, Max, Atan2, SlopeMul, SlopeDiv)
}

/// A function of lanes; without a vector form it is one number after the other.
#[inline(always)]
fn unary_lane<V: Vector<Scalar = f64>>(function: Function, a: &Lane<f64>) -> V {
    let x = V::load(a);
    match function {
        Function::Neg => -x,
        Function::Sqrt => x.sqrt(),
        Function::Exp => x.exp(),
        Function::Abs => x.abs(),
        Function::Ln => V::select(V::zero().lt(x), x.ln(), V::splat(f64::NAN)),
        _ => V::load(&Lane(unary(function, &a.0))),
    }
}

#[inline(always)]
fn binary_lane<V: Vector<Scalar = f64>>(operation: Operation, a: V, b: V) -> V {
    match operation {
        Operation::Add => a + b,
        Operation::Sub => a - b,
        Operation::Mul => a * b,
        Operation::Div => a / b,
        // As in `Operation::of`: 0 where a factor is 0, even if the other one is not a number.
        Operation::SlopeMul => {
            let (has_a, has_b) = (V::zero().lt(a.abs()), V::zero().lt(b.abs()));
            let without_a = V::select(has_b, a, V::zero());
            V::select(has_a, V::select(has_b, a * b, b), without_a)
        }
        Operation::SlopeDiv => V::select(V::zero().lt(a.abs()), a / b, a),
        _ => {
            let (mut left, mut right) = (Lane::zero(), Lane::zero());
            a.store(&mut left);
            b.store(&mut right);
            V::load(&Lane(binary(operation, &left.0, &right.0)))
        }
    }
}
