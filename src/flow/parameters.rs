//! Names, shapes and initial values of a flow's parameters, which live in one flat vector.

use rand_distr::{Distribution, StandardNormal, Uniform};

use crate::engine::{outer_product, Lane, Matrix, Real, Vector};
use crate::random::{stream, Purpose};

/// How a parameter tensor starts.
#[derive(Debug, Clone, PartialEq)]
pub enum Initial {
    /// Every entry the same.
    Constant(f64),
    /// Uniform in ±bound.
    Uniform(f64),
    /// Normal with this standard deviation.
    Normal(f64),
    /// These numbers.
    Values(Vec<f64>),
}

/// One named tensor.
#[derive(Debug, Clone, PartialEq)]
pub struct ParameterTensor {
    /// Unique name, such as `coupling.03.message.weight`.
    pub name: String,
    /// Shape; a matrix is [outputs, inputs].
    pub shape: Vec<usize>,
    /// Initial values.
    pub initial: Initial,
    /// Where it starts in the flat vector.
    pub offset: usize,
    /// Whether a flow with it, and with the others of its kind, is the flow without them as long as
    /// they have their initial values: what a trained flow can be given on top.
    pub addition: bool,
    /// Whether it comes from a fit to samples, and stays as it is in training.
    pub fitted: bool,
}

impl ParameterTensor {
    /// Number of entries.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether there are no entries.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Where a tensor lies in the flat vector; what a coupling keeps of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Block {
    offset: usize,
    rows: usize,
    columns: usize,
}

impl Block {
    /// The entries, row-major.
    #[inline(always)]
    pub fn of<'a, T>(&self, theta: &'a [T]) -> &'a [T] {
        &theta[self.offset..self.offset + self.rows * self.columns]
    }

    /// The entries of a gradient.
    #[inline(always)]
    pub fn of_mut<'a, T>(&self, gradient: &'a mut [T]) -> &'a mut [T] {
        &mut gradient[self.offset..self.offset + self.rows * self.columns]
    }

    /// The entries as a matrix [outputs, inputs].
    #[inline(always)]
    pub fn matrix<'a, T>(&self, theta: &'a [T]) -> Matrix<'a, T> {
        Matrix::new(self.of(theta), self.rows, self.columns)
    }

    /// Adds y·xᵀ, summed over items and samples, to the gradient of the columns from `from` on, as
    /// many as `x` has rows.
    #[inline(always)]
    pub(super) fn add_outer<V: Vector>(
        &self,
        from: usize,
        y: &[Lane<V::Scalar>],
        x: &[Lane<V::Scalar>],
        gradient: &mut [V::Scalar],
        items: usize,
    ) {
        outer_product::<V>(y, x, &mut self.of_mut(gradient)[from..], self.columns, items);
    }

    /// Adds y, summed over items and samples, to the gradient of a vector.
    #[inline(always)]
    pub(super) fn add_sums<V: Vector>(
        &self,
        y: &[Lane<V::Scalar>],
        gradient: &mut [V::Scalar],
        items: usize,
    ) {
        for (row, gradient) in y.chunks_exact(items).zip(self.of_mut(gradient)) {
            let mut sum = V::zero();
            for lane in row {
                sum += V::load(lane);
            }
            *gradient += sum.sum();
        }
    }

    /// Number of outputs (rows).
    #[inline(always)]
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Number of inputs (columns).
    #[inline(always)]
    pub fn columns(&self) -> usize {
        self.columns
    }
}

/// All tensors of a flow in the order of the flat vector.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ParameterLayout {
    tensors: Vec<ParameterTensor>,
    scope: String,
    total: usize,
}

impl ParameterLayout {
    /// Names added from now on start with `scope` and a dot.
    pub fn enter(&mut self, scope: impl Into<String>) {
        self.scope = scope.into();
    }

    /// Adds a vector; no other tensor of the scope may have its name.
    pub fn vector(&mut self, name: &str, len: usize, initial: Initial) -> Block {
        self.add(name, vec![len], initial, false)
    }

    /// Adds a matrix [outputs, inputs].
    pub fn matrix(&mut self, name: &str, outputs: usize, inputs: usize, initial: Initial) -> Block {
        self.add(name, vec![outputs, inputs], initial, false)
    }

    /// Adds a matrix that is an [`addition`](ParameterTensor::addition).
    pub fn added_matrix(
        &mut self,
        name: &str,
        outputs: usize,
        inputs: usize,
        initial: Initial,
    ) -> Block {
        self.add(name, vec![outputs, inputs], initial, true)
    }

    /// Adds a tensor that is [`fitted`](ParameterTensor::fitted), with its values before that.
    pub fn fitted(&mut self, name: &str, shape: &[usize], values: Vec<f64>) -> Block {
        let block = self.add(name, shape.to_vec(), Initial::Values(values), false);
        self.tensors.iter_mut().last().into_iter().for_each(|tensor| tensor.fitted = true);
        block
    }

    fn add(&mut self, name: &str, shape: Vec<usize>, initial: Initial, addition: bool) -> Block {
        let name =
            if self.scope.is_empty() { name.to_string() } else { format!("{}.{name}", self.scope) };
        debug_assert!(self.tensors.iter().all(|t| t.name != name), "two tensors are called {name}");
        let tensor =
            ParameterTensor { name, shape, initial, offset: self.total, addition, fitted: false };
        let rows = tensor.shape[0];
        let block = Block { offset: self.total, rows, columns: tensor.shape[1..].iter().product() };
        self.total += tensor.len();
        self.tensors.push(tensor);
        block
    }

    /// Whether there are tensors that come from a fit, and all still have their initial values.
    pub fn needs_fit<T: Real>(&self, theta: &[T]) -> bool {
        let mut fitted = self.tensors.iter().filter(|tensor| tensor.fitted).peekable();
        let is_initial = |tensor: &ParameterTensor| {
            let now = &theta[tensor.offset..tensor.offset + tensor.len()];
            matches!(&tensor.initial, Initial::Values(values)
                if now.iter().zip(values).all(|(now, value)| *now == T::of(*value)))
        };
        fitted.peek().is_some() && fitted.all(is_initial)
    }

    /// The tensors in order.
    pub fn tensors(&self) -> &[ParameterTensor] {
        &self.tensors
    }

    /// Length of the flat vector.
    pub fn total(&self) -> usize {
        self.total
    }

    /// The initial flat vector; each tensor draws from a stream of its own.
    pub fn initialize<T: Real>(&self, seed: u64) -> Vec<T> {
        let mut theta = Vec::with_capacity(self.total);
        for (index, tensor) in self.tensors.iter().enumerate() {
            let mut rng = stream(seed, Purpose::Initialization, 0, index as u64);
            for entry in 0..tensor.len() {
                theta.push(T::of(match &tensor.initial {
                    Initial::Constant(value) => *value,
                    Initial::Uniform(bound) => {
                        if *bound > 0.0 {
                            Uniform::new_inclusive(-bound, *bound).sample(&mut rng)
                        } else {
                            0.0
                        }
                    }
                    Initial::Normal(scale) => {
                        let z: f64 = StandardNormal.sample(&mut rng);
                        scale * z
                    }
                    Initial::Values(values) => values[entry],
                }));
            }
        }
        theta
    }
}
