//! The bases in which SOAP runs Adam: for every weight matrix, the eigenvectors of its gradient's
//! covariance over outputs and over inputs.
//!
//! Vyas, Morwani, Zhao, Kwun, Shapira, Brandfonbrener, Janson & Kakade, "SOAP: improving and
//! stabilizing Shampoo using Adam", arXiv:2409.11321. The bases follow by one step of orthogonal
//! iteration every few updates.

use rayon::prelude::*;

use super::dense::Dense;
use super::orthonormal::orthonormalize;
use crate::engine::{Kernel, Real, Vector};
use crate::flow::ParameterLayout;

/// Memory of the covariances, per update.
const KEEP: f32 = 0.95;
/// Updates at the start after each of which the bases are turned, and between turns from then on.
const TURN_EVERY: u64 = 10;
/// Inputs of more than this keep the standard basis.
const LONGEST: usize = 256;
/// More outputs than [`LONGEST`] have a basis for each part of at most so many.
const PART: usize = 160;

/// The rotations of a flow's weight matrices; none for plain Adam.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Rotations {
    /// In the order of the parameters.
    matrices: Vec<Rotation>,
}

/// Covariances and bases of one matrix, or of some rows of it.
#[derive(Debug, Clone, PartialEq)]
struct Rotation {
    offset: usize,
    rows: usize,
    columns: usize,
    /// Over the outputs, then over the inputs; none where there are too many of these.
    sides: [Option<Side>; 2],
}

/// Covariance of a gradient along one of its sides, and its eigenvectors as columns.
#[derive(Debug, Clone, PartialEq)]
struct Side {
    covariance: Dense,
    basis: Dense,
}

/// What becomes of one entry: from the gradient g and the first moment m, in some basis, to the
/// direction of the step; the second moment follows g².
#[derive(Debug, Clone, Copy)]
pub(super) struct Rule {
    /// Memory of the second moments.
    pub keep: f32,
    /// Added to their square root.
    pub epsilon: f32,
    /// The root of their mean over all parameters, for steps halfway to the natural gradient.
    pub typical: Option<f32>,
}

/// Steps are at most the root of this times as long as those of Adam, or as short.
const MOST: f32 = 30.0;

impl Rule {
    #[inline(always)]
    fn direct(self, squares: &mut [f32], gradient: &[f32], direction: &mut [f32]) {
        for ((m, g), square) in direction.iter_mut().zip(gradient).zip(squares.iter_mut()) {
            *square = self.keep * *square + (1.0 - self.keep) * g * g;
            *m /= square.sqrt() + self.epsilon;
        }
        if let Some(typical) = self.typical {
            for (m, square) in direction.iter_mut().zip(squares) {
                let ratio = typical / (square.sqrt() + self.epsilon);
                *m *= ratio.clamp(1.0 / MOST, MOST).sqrt();
            }
        }
    }
}

/// Some parameters' gradient, second moments, and first moments, which become the direction.
struct Entries<'a> {
    gradient: &'a [f32],
    squares: &'a mut [f32],
    direction: &'a mut [f32],
}

impl Entries<'_> {
    fn split_at(self, len: usize) -> (Self, Self) {
        let (gradient, gradient_after) = self.gradient.split_at(len);
        let (squares, squares_after) = self.squares.split_at_mut(len);
        let (direction, direction_after) = self.direction.split_at_mut(len);
        let after =
            Self { gradient: gradient_after, squares: squares_after, direction: direction_after };
        (Self { gradient, squares, direction }, after)
    }

    fn direct(self, rule: Rule) {
        rule.direct(self.squares, self.gradient, self.direction);
    }
}

impl Side {
    fn new(len: usize) -> Option<Self> {
        let new = || Self { covariance: Dense::zeros(len, len), basis: Dense::identity(len) };
        (len <= LONGEST).then(new)
    }

    /// Orthogonal iteration: the basis becomes that of covariance · basis.
    #[inline(always)]
    fn turn<V: Vector<Scalar = f32>>(&mut self) {
        if self.covariance.entries().all(f32::is_finite) {
            let mut turned = Dense::default();
            turned.set_product::<V>(self.covariance.matrix(), &self.basis);
            orthonormalize(&turned, &mut self.basis);
        }
    }
}

impl Rotation {
    fn len(&self) -> usize {
        self.rows * self.columns
    }

    /// Takes a matrix into the bases.
    #[inline(always)]
    fn rotate<V: Vector<Scalar = f32>>(&self, matrix: &mut Dense, spare: &mut Dense) {
        let [left, right] = &self.sides;
        if let Some(left) = left {
            spare.set_product::<V>(left.basis.matrix().transposed(), matrix);
            std::mem::swap(matrix, spare);
        }
        if let Some(right) = right {
            spare.set_product::<V>(matrix.matrix(), &right.basis);
            std::mem::swap(matrix, spare);
        }
    }

    /// The inverse of [`Rotation::rotate`].
    #[inline(always)]
    fn rotate_back<V: Vector<Scalar = f32>>(&self, matrix: &mut Dense, spare: [&mut Dense; 2]) {
        let ([left, right], [spare, columns]) = (&self.sides, spare);
        if let Some(left) = left {
            spare.set_product::<V>(left.basis.matrix(), matrix);
            std::mem::swap(matrix, spare);
        }
        if let Some(right) = right {
            columns.set_transposed(&right.basis);
            spare.set_product::<V>(matrix.matrix(), columns);
            std::mem::swap(matrix, spare);
        }
    }

    /// Takes a gradient into the covariances and, when it is time to, turns the bases.
    #[inline(always)]
    fn follow<V: Vector<Scalar = f32>>(&mut self, rows: &Dense, columns: &mut Dense, turn: bool) {
        columns.set_transposed(rows);
        columns.scale::<V>(1.0 - KEEP);
        let [left, right] = &mut self.sides;
        if let Some(Side { covariance, .. }) = left {
            covariance.scale::<V>(KEEP);
            covariance.add_product::<V>(rows.matrix(), columns);
        }
        if let Some(Side { covariance, .. }) = right {
            covariance.scale::<V>(KEEP);
            covariance.add_product::<V>(columns.matrix(), rows);
        }
        if turn {
            self.sides.iter_mut().flatten().for_each(Side::turn::<V>);
        }
    }
}

/// Memory for an update of a matrix.
#[derive(Default)]
struct Scratch {
    gradient: Dense,
    rotated: Dense,
    moments: Dense,
    squares: Dense,
    spare: Dense,
    columns: Dense,
}

/// One update of a matrix.
struct Update<'a, 's> {
    rotation: &'a mut Rotation,
    entries: Entries<'a>,
    rule: Rule,
    turn: bool,
    scratch: &'s mut Scratch,
}

impl Kernel<f32> for Update<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector<Scalar = f32>>(self) {
        let Self { rotation, entries, rule, turn, scratch } = self;
        let Scratch { gradient, rotated, moments, squares, spare, columns } = scratch;
        let width = rotation.columns;
        gradient.set_rows(entries.gradient, width);
        rotated.set_rows(entries.gradient, width);
        rotation.rotate::<V>(rotated, spare);
        moments.set_rows(entries.direction, width);
        rotation.rotate::<V>(moments, spare);
        squares.set_rows(entries.squares, width);
        let lanes = squares.lanes_mut().iter_mut().zip(rotated.lanes()).zip(moments.lanes_mut());
        lanes.for_each(|((square, g), m)| rule.direct(&mut square.0, &g.0, &mut m.0));
        squares.write_rows(entries.squares);
        rotation.rotate_back::<V>(moments, [spare, columns]);
        moments.write_rows(entries.direction);
        rotation.follow::<V>(gradient, columns, turn);
    }
}

impl Rotations {
    /// Standard bases for every weight matrix of a flow.
    pub fn new(layout: &ParameterLayout) -> Self {
        let matrices = layout.tensors().iter().filter(|t| t.shape.len() == 2 && !t.fitted);
        let matrices = matrices
            .filter(|tensor| !tensor.is_empty())
            .flat_map(|tensor| {
                let [rows, columns] = [tensor.shape[0], tensor.shape[1]];
                let parts = if rows > LONGEST { rows.div_ceil(PART) } else { 1 };
                (0..parts).map(move |part| {
                    let [first, end] = [part, part + 1].map(|part| part * rows / parts);
                    let sides = [end - first, columns].map(Side::new);
                    let offset = tensor.offset + first * columns;
                    Rotation { offset, rows: end - first, columns, sides }
                })
            })
            .collect();
        Self { matrices }
    }

    /// Whether there is nothing to rotate.
    pub fn is_empty(&self) -> bool {
        self.matrices.is_empty()
    }

    /// The direction of a step, by `rule` in these bases, or entry by entry where there is none,
    /// from a gradient and its first moments. The second moments follow, as do the bases; `updates`
    /// counts this one.
    pub(super) fn direct(
        &mut self,
        gradient: &[f32],
        moments: &[f32],
        squares: &mut [f32],
        rule: Rule,
        updates: u64,
    ) -> Vec<f32> {
        let turn = updates <= TURN_EVERY || updates.is_multiple_of(TURN_EVERY);
        let mut direction = moments.to_vec();
        let mut rest = Entries { gradient, squares, direction: &mut direction };
        let mut at = 0;
        let mut parts = Vec::with_capacity(self.matrices.len());
        for rotation in &mut self.matrices {
            let (between, after) = rest.split_at(rotation.offset - at);
            between.direct(rule);
            at = rotation.offset + rotation.len();
            let (entries, after) = after.split_at(rotation.len());
            parts.push((rotation, entries));
            rest = after;
        }
        rest.direct(rule);
        parts.into_par_iter().for_each_init(Scratch::default, |scratch, (rotation, entries)| {
            f32::dispatch(Update { rotation, entries, rule, turn, scratch });
        });
        direction
    }

    /// All numbers in a fixed order, for checkpoints.
    pub fn numbers(&self) -> Vec<f32> {
        self.parts().flat_map(Dense::entries).collect()
    }

    fn parts(&self) -> impl Iterator<Item = &Dense> {
        let sides = self.matrices.iter().flat_map(|matrix| matrix.sides.iter().flatten());
        sides.flat_map(|side| [&side.covariance, &side.basis])
    }

    /// Takes numbers that [`Rotations::numbers`] gave for the same flow; false, and nothing taken,
    /// if there are not as many as needed.
    pub fn set_numbers(&mut self, numbers: &[f32]) -> bool {
        if numbers.len() != self.parts().map(Dense::len).sum::<usize>() {
            return false;
        }
        let mut rest = numbers;
        for side in self.matrices.iter_mut().flat_map(|matrix| matrix.sides.iter_mut().flatten()) {
            for part in [&mut side.covariance, &mut side.basis] {
                let (taken, left) = rest.split_at(part.len());
                part.set_rows(taken, part.columns());
                rest = left;
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use rand_distr::{Distribution, StandardNormal};

    use super::*;
    use crate::flow::Initial;
    use crate::random::{stream, Purpose};
    use crate::train::dense::tests::product;
    use crate::train::{Adam, Method};

    fn layout(rows: usize, columns: usize) -> ParameterLayout {
        let mut layout = ParameterLayout::default();
        layout.vector("before", 3, Initial::Constant(0.0));
        layout.matrix("weight", rows, columns, Initial::Constant(0.0));
        layout.vector("after", 2, Initial::Constant(0.0));
        layout
    }

    fn noise(len: usize, number: u64) -> Vec<f32> {
        let mut rng = stream(3, Purpose::Initialization, number, 0);
        (0..len).map(|_| StandardNormal.sample(&mut rng)).collect()
    }

    /// Gradients [rows, columns] of rank one along fixed directions, weaker from one to the next.
    fn along(directions: &[Vec<f32>], columns: usize, number: u64) -> Vec<f32> {
        let mut gradient = vec![0.0; directions[0].len() * columns];
        for (k, direction) in directions.iter().enumerate() {
            let other = noise(columns, 100 * number + k as u64);
            for (row, d) in gradient.chunks_exact_mut(columns).zip(direction) {
                row.iter_mut().zip(&other).for_each(|(g, o)| *g += d * o / (1 << (2 * k)) as f32);
            }
        }
        gradient
    }

    /// A matrix in the bases, and that rotated back.
    struct ThereAndBack<'a>(&'a Rotation, &'a [f32]);

    impl Kernel<f32> for ThereAndBack<'_> {
        type Output = [Vec<f32>; 2];

        #[inline(always)]
        fn run<V: Vector<Scalar = f32>>(self) -> Self::Output {
            let mut matrix = Dense::from_rows(self.1, self.0.columns);
            let [mut spare, mut columns] = [Dense::default(), Dense::default()];
            self.0.rotate::<V>(&mut matrix, &mut spare);
            let seen = matrix.entries().collect();
            self.0.rotate_back::<V>(&mut matrix, [&mut spare, &mut columns]);
            [seen, matrix.entries().collect()]
        }
    }

    fn follow(rotations: &mut Rotations, gradient: &[f32], updates: u64) -> Vec<f32> {
        let rule = Rule { keep: 0.9, epsilon: 1e-8, typical: None };
        let mut squares = vec![0.0; gradient.len()];
        rotations.direct(gradient, gradient, &mut squares, rule, updates)
    }

    fn comes_back(rotation: &Rotation, entries: &[f32]) -> bool {
        let [_, back] = f32::dispatch(ThereAndBack(rotation, entries));
        entries.iter().zip(back).all(|(a, b)| (a - b).abs() < 1e-5)
    }

    #[test]
    fn bases_are_orthonormal_and_find_the_directions_of_the_gradients() {
        let (rows, columns) = (5, 19);
        let mut rotations = Rotations::new(&layout(rows, columns));
        let mut basis = Dense::identity(rows);
        orthonormalize(&Dense::from_rows(&noise(rows * rows, 7), rows), &mut basis);
        let basis: Vec<f32> = basis.transposed().entries().collect();
        let directions: Vec<Vec<f32>> = basis.chunks_exact(rows).map(<[f32]>::to_vec).collect();
        for update in 1..=400 {
            let gradient = along(&directions, columns, update);
            let flat = [&[1.0, 2.0, 3.0], &gradient[..], &[4.0, -5.0]].concat();
            let direction = follow(&mut rotations, &flat, update);
            // What is in no matrix goes by its own size: 1/√(1 − keep).
            for (at, sign) in [(0, 1.0), (2, 1.0), (flat.len() - 1, -1.0)] {
                assert!((direction[at] - sign * 10.0f32.sqrt()).abs() < 1e-4, "{direction:?}");
            }
        }
        let rotation = &rotations.matrices[0];
        for (k, direction) in directions.iter().enumerate().take(3) {
            let mut matrix = vec![0.0; rows * columns];
            matrix.iter_mut().step_by(columns).zip(direction).for_each(|(m, d)| *m = *d);
            let [seen, _] = f32::dispatch(ThereAndBack(rotation, &matrix));
            let size = seen[k * columns..(k + 1) * columns].iter().map(|x| x * x).sum::<f32>();
            assert!((size - 1.0).abs() < 0.02, "direction {k} keeps {size}");
        }
        assert!(comes_back(rotation, &noise(rows * columns, 9)));
    }

    #[test]
    fn numbers_go_there_and_back() {
        let mut rotations = Rotations::new(&layout(4, 3));
        follow(&mut rotations, &noise(17, 1), 1);
        let mut other = Rotations::new(&layout(4, 3));
        assert!(other.set_numbers(&rotations.numbers()));
        assert_eq!(other, rotations);
        assert!(!other.set_numbers(&rotations.numbers()[1..]));
        assert!(!Rotations::default().set_numbers(&rotations.numbers()));
    }

    #[test]
    fn a_side_that_is_too_long_keeps_its_basis() {
        let mut rotations = Rotations::new(&layout(2, LONGEST + 1));
        let len = 5 + 2 * (LONGEST + 1);
        follow(&mut rotations, &noise(len, 1), 1);
        assert_eq!(rotations.numbers().len(), 8);
        assert!(comes_back(&rotations.matrices[0], &noise(len - 5, 2)));
    }

    #[test]
    fn outputs_that_are_too_many_have_bases_in_parts() {
        let rows = LONGEST + 1;
        let mut rotations = Rotations::new(&layout(rows, 2));
        let flat = noise(5 + 2 * rows, 1);
        follow(&mut rotations, &flat, 1);
        let [first, second] = &rotations.matrices[..] else { panic!("two parts") };
        assert_eq!([first.rows, second.rows, first.rows + second.rows], [128, 129, rows]);
        assert_eq!(second.offset, first.offset + first.len());
        assert!(comes_back(second, &noise(second.len(), 2)));
    }

    /// f(W) = ½ ‖A W B‖² with badly conditioned A and B in general position: for Adam there is no
    /// scale in it, SOAP does.
    #[test]
    fn a_rotated_valley_is_no_obstacle() {
        let n = 8;
        let times = |a: &Dense, b: &Dense| product(a.matrix(), b);
        let factor = |number: u64| {
            let mut basis = Dense::identity(n);
            orthonormalize(&Dense::from_rows(&noise(n * n, number), n), &mut basis);
            // Scales times the transposed basis.
            let rows: Vec<f32> = basis.transposed().entries().collect();
            let scale = |k: usize| 0.5f32.powi((k / n) as i32);
            let rows: Vec<f32> = rows.iter().enumerate().map(|(k, x)| x * scale(k)).collect();
            Dense::from_rows(&rows, n)
        };
        let (a, b) = (factor(1), factor(2).transposed());
        let value_and_gradient = |w: &[f32]| {
            let residual = times(&times(&a, &Dense::from_rows(w, n)), &b);
            let value = 0.5 * residual.entries().map(|r| r * r).sum::<f32>();
            let gradient = times(&times(&a.transposed(), &residual), &b.transposed());
            (value, gradient.entries().collect::<Vec<f32>>())
        };
        let layout = {
            let mut layout = ParameterLayout::default();
            layout.matrix("weight", n, n, Initial::Constant(0.0));
            layout
        };
        let end = |method| {
            let mut w = noise(n * n, 5);
            let mut adam = Adam::new(method, &layout);
            for step in 0..600 {
                let (_, gradient) = value_and_gradient(&w);
                adam.update(&mut w, &gradient, 1.0, 0.03 * (1.0 - f64::from(step) / 600.0));
            }
            value_and_gradient(&w).0
        };
        let [plain, rotated] = [Method::Adam, Method::Soap].map(end);
        assert!(rotated < 0.1 * plain, "Adam ends at {plain:.3e}, SOAP at {rotated:.3e}");
    }
}
