//! Multilayer perceptrons on lanes: Linear, SiLU, then LayerNorm → Linear → SiLU with a skip.

use super::linear::Linear;
use super::normalization::{normalize, normalize_vjp};
use super::ParameterLayout;
use crate::engine::{silu_and_derivative, Arena, Kernel, Lane, Real, Vector};

/// A perceptron whose first linear map is applied by the caller, because inputs may come in parts.
///
/// [`forward`](Self::forward) leaves everything that [`vjp`](Self::vjp) needs on a tape of
/// [`tape_lanes`](Self::tape_lanes), whose first rows are the first map's outputs.
#[derive(Debug, Clone)]
pub(super) struct Mlp {
    pub first: Linear,
    further: Vec<Linear>,
    output: Option<Linear>,
}

impl Mlp {
    /// `inputs` → `hidden`, and → outputs with weights of the given scale where an output is
    /// wanted.
    pub fn new(
        layout: &mut ParameterLayout,
        name: &str,
        inputs: usize,
        hidden: &[usize],
        output: Option<(usize, f64)>,
    ) -> Self {
        let first = Linear::new(layout, &format!("{name}.0"), hidden[0], inputs, 1.0);
        let further = (1..hidden.len())
            .map(|l| Linear::new(layout, &format!("{name}.{l}"), hidden[l], hidden[l - 1], 1.0))
            .collect();
        let last = hidden[hidden.len() - 1];
        let output = output.map(|(outputs, scale)| {
            Linear::new(layout, &format!("{name}.output"), outputs, last, scale)
        });
        Self { first, further, output }
    }

    pub fn outputs(&self) -> usize {
        self.output.map_or(self.hidden(), |o| o.outputs())
    }

    /// Width of the last hidden layer.
    fn hidden(&self) -> usize {
        self.further.last().unwrap_or(&self.first).outputs()
    }

    fn widest(&self) -> usize {
        self.further.iter().map(Linear::outputs).fold(self.first.outputs(), usize::max)
    }

    pub fn tape_lanes(&self, items: usize) -> usize {
        let mut lanes = 2 * self.first.outputs() * items;
        for layer in &self.further {
            lanes += layer_lanes(layer, items);
        }
        lanes + self.output.map_or(0, |o| o.outputs() * items)
    }

    pub fn scratch_lanes(&self, items: usize) -> usize {
        3 * self.widest() * items
    }

    /// Lanes of the results of all products but the first map's: see [`Memory`].
    pub fn memory_lanes(&self, items: usize) -> usize {
        self.further.iter().chain(&self.output).map(Linear::outputs).sum::<usize>() * items
    }

    /// Where the caller puts the first map's outputs, without its bias.
    #[inline(always)]
    pub fn entry<'a, T>(&self, tape: &'a mut [Lane<T>], items: usize) -> &'a mut [Lane<T>] {
        &mut tape[..self.first.outputs() * items]
    }

    /// The outputs, after [`forward`](Self::forward).
    #[inline(always)]
    pub fn value<'a, T>(&self, tape: &'a [Lane<T>], items: usize) -> &'a [Lane<T>] {
        let lanes = self.tape_lanes(items);
        &tape[lanes - self.outputs() * items..lanes]
    }

    /// Goes on from the first map's outputs.
    #[inline(always)]
    pub fn forward<V: Vector>(
        &self,
        theta: &[V::Scalar],
        tape: &mut [Lane<V::Scalar>],
        items: usize,
    ) {
        self.forward_with::<V>(theta, tape, items, &mut Memory::None);
    }

    /// [`forward`](Self::forward), with the products' results saved or taken from `memory`.
    #[inline(always)]
    pub fn forward_with<V: Vector>(
        &self,
        theta: &[V::Scalar],
        tape: &mut [Lane<V::Scalar>],
        items: usize,
        memory: &mut Memory<'_, V::Scalar>,
    ) {
        V::call(MlpForward { mlp: self, theta, tape, items, memory });
    }

    /// From the outputs' cotangent to the cotangent of the first map's outputs, with the gradients
    /// of everything but the first map's weights.
    #[inline(always)]
    pub fn vjp<V: Vector>(
        &self,
        theta: &[V::Scalar],
        tape: &[Lane<V::Scalar>],
        cotangents: Cotangents<'_, V::Scalar>,
        gradient: Option<&mut [V::Scalar]>,
        scratch: &mut [Lane<V::Scalar>],
        items: usize,
    ) {
        V::call(MlpVjp { mlp: self, theta, tape, cotangents, gradient, scratch, items });
    }

    /// [`forward`](Self::forward) of inputs x that come in one part.
    #[inline(always)]
    pub fn apply<V: Vector>(
        &self,
        theta: &[V::Scalar],
        x: &[Lane<V::Scalar>],
        tape: &mut [Lane<V::Scalar>],
        items: usize,
    ) {
        self.first.product::<V>(theta, 0, x, self.entry(tape, items), items, false);
        self.forward::<V>(theta, tape, items);
    }

    /// The vector-Jacobian product of [`apply`](Self::apply): the cotangent of x is written.
    #[allow(clippy::too_many_arguments)]
    #[inline(always)]
    pub fn apply_vjp<V: Vector>(
        &self,
        theta: &[V::Scalar],
        tape: &[Lane<V::Scalar>],
        [x, value_cotangent]: [&[Lane<V::Scalar>]; 2],
        x_cotangent: &mut [Lane<V::Scalar>],
        mut gradient: Option<&mut [V::Scalar]>,
        mut scratch: Arena<'_, V::Scalar>,
        items: usize,
    ) {
        let entry = scratch.take(self.first.outputs() * items);
        let cotangents = Cotangents { value: value_cotangent, entry: &mut *entry };
        let inner = scratch.rest();
        self.vjp::<V>(theta, tape, cotangents, gradient.as_deref_mut(), inner, items);
        if let Some(gradient) = gradient {
            self.first.weight_gradient::<V>(gradient, 0, entry, x, items);
        }
        self.first.transposed_product::<V>(theta, 0, entry, x_cotangent, items, false);
    }

    /// Takes what [`apply_vjp`](Self::apply_vjp) works in.
    pub fn take_apply_vjp_scratch<T: Real>(&self, mut scratch: Arena<'_, T>, items: usize) {
        scratch.take(self.first.outputs() * items + self.scratch_lanes(items));
    }
}

/// The output's cotangent, and where the cotangent of the first map's outputs goes.
pub(super) struct Cotangents<'a, T> {
    pub value: &'a [Lane<T>],
    pub entry: &'a mut [Lane<T>],
}

/// Where the results of products are written to, or taken from instead of computing them again:
/// what is taken has the bytes that were written, so that it makes no difference to the result.
pub(super) enum Memory<'a, T> {
    /// Products are computed and not kept.
    None,
    /// Products are computed and written to the front of this.
    Save(&'a mut [Lane<T>]),
    /// Products are taken from the front of this.
    Restore(&'a [Lane<T>]),
}

impl<T: Real> Memory<'_, T> {
    /// Fills `result` by `compute`, or from memory.
    #[inline(always)]
    pub fn product(&mut self, result: &mut [Lane<T>], compute: impl FnOnce(&mut [Lane<T>])) {
        match self {
            Self::None => compute(result),
            Self::Save(space) => {
                compute(result);
                let (own, rest) = std::mem::take(space).split_at_mut(result.len());
                own.copy_from_slice(result);
                *space = rest;
            }
            Self::Restore(space) => {
                let (own, rest) = space.split_at(result.len());
                result.copy_from_slice(own);
                *space = rest;
            }
        }
    }
}

/// Normalised inputs, 1/deviation, slopes, and values of one further layer.
fn layer_lanes(layer: &Linear, items: usize) -> usize {
    (layer.inputs() + 1 + 2 * layer.outputs()) * items
}

struct MlpForward<'a, 'm, T> {
    mlp: &'a Mlp,
    theta: &'a [T],
    tape: &'a mut [Lane<T>],
    items: usize,
    memory: &'a mut Memory<'m, T>,
}

impl<T: Real> Kernel<T> for MlpForward<'_, '_, T> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector<Scalar = T>>(self) {
        let Self { mlp, theta, tape, items, memory } = self;
        let mut tape = Arena::new(tape);
        let first = mlp.first.outputs() * items;
        let slope = tape.take(first);
        let mut value = tape.take(first);
        activate::<V>(mlp.first.bias(theta), slope, value, None, items);
        for layer in &mlp.further {
            let normal = tape.take(layer.inputs() * items);
            let inverse_deviation = tape.take(items);
            normalize::<V>(value, normal, inverse_deviation);
            let slope = tape.take(layer.outputs() * items);
            let next = tape.take(layer.outputs() * items);
            memory.product(slope, |slope| {
                layer.product::<V>(theta, 0, normal, slope, items, false);
            });
            let skip = (layer.inputs() == layer.outputs()).then_some(&*value);
            activate::<V>(layer.bias(theta), slope, next, skip, items);
            value = next;
        }
        if let Some(output) = mlp.output {
            let out = tape.take(output.outputs() * items);
            memory.product(out, |out| output.product::<V>(theta, 0, value, out, items, false));
            output.add_bias::<V>(theta, out, items);
        }
    }
}

struct MlpVjp<'a, T> {
    mlp: &'a Mlp,
    theta: &'a [T],
    tape: &'a [Lane<T>],
    cotangents: Cotangents<'a, T>,
    gradient: Option<&'a mut [T]>,
    scratch: &'a mut [Lane<T>],
    items: usize,
}

impl<T: Real> Kernel<T> for MlpVjp<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector<Scalar = T>>(self) {
        let Self { mlp, theta, mut tape, cotangents, mut gradient, scratch, items } = self;
        let mut scratch = Arena::new(scratch);
        // ∂L/∂value of the layer at hand, and ∂L/∂ of what went into its activation.
        let value_cotangent = scratch.take(mlp.widest() * items);
        let inner_cotangent = scratch.take(mlp.widest() * items);
        let normal_cotangent = scratch.take(mlp.widest() * items);

        let hidden = mlp.hidden() * items;
        tape = &tape[..mlp.tape_lanes(items)];
        if let Some(output) = mlp.output {
            tape = &tape[..tape.len() - output.outputs() * items];
            let value = &tape[tape.len() - hidden..];
            if let Some(gradient) = gradient.as_deref_mut() {
                output.weight_gradient::<V>(gradient, 0, cotangents.value, value, items);
                output.bias_gradient::<V>(gradient, cotangents.value, items);
            }
            let into = &mut value_cotangent[..hidden];
            output.transposed_product::<V>(theta, 0, cotangents.value, into, items, false);
        } else {
            value_cotangent[..hidden].copy_from_slice(cotangents.value);
        }

        for layer in mlp.further.iter().rev() {
            let (inputs, outputs) = (layer.inputs() * items, layer.outputs() * items);
            let (earlier, own) = tape.split_at(tape.len() - layer_lanes(layer, items));
            tape = earlier;
            let (normal, own) = own.split_at(inputs);
            let (inverse_deviation, own) = own.split_at(items);
            let inner = &mut inner_cotangent[..outputs];
            multiply::<V>(&value_cotangent[..outputs], &own[..outputs], inner);
            if let Some(gradient) = gradient.as_deref_mut() {
                layer.weight_gradient::<V>(gradient, 0, inner, normal, items);
                layer.bias_gradient::<V>(gradient, inner, items);
            }
            let normal_cotangent = &mut normal_cotangent[..inputs];
            layer.transposed_product::<V>(theta, 0, inner, normal_cotangent, items, false);
            normalize_vjp::<V>(
                normal,
                inverse_deviation,
                normal_cotangent,
                &mut value_cotangent[..inputs],
                inputs == outputs,
            );
        }

        let entry = mlp.first.outputs() * items;
        multiply::<V>(&value_cotangent[..entry], &tape[..entry], cotangents.entry);
        if let Some(gradient) = gradient {
            mlp.first.bias_gradient::<V>(gradient, cotangents.entry, items);
        }
    }
}

/// Adds the bias to `slope`'s content a, then value = silu(a) (+ skip) and slope = silu′(a).
#[inline(always)]
fn activate<V: Vector>(
    bias: &[V::Scalar],
    slope: &mut [Lane<V::Scalar>],
    value: &mut [Lane<V::Scalar>],
    skip: Option<&[Lane<V::Scalar>]>,
    items: usize,
) {
    for (row, &bias) in bias.iter().enumerate() {
        let bias = V::splat(bias);
        let range = row * items..(row + 1) * items;
        for (slope, value) in slope[range.clone()].iter_mut().zip(&mut value[range]) {
            let (y, derivative) = silu_and_derivative(V::load(slope) + bias);
            derivative.store(slope);
            y.store(value);
        }
    }
    if let Some(skip) = skip {
        for (value, skip) in value.iter_mut().zip(skip) {
            V::load(skip).accumulate(value);
        }
    }
}

#[inline(always)]
fn multiply<V: Vector>(a: &[Lane<V::Scalar>], b: &[Lane<V::Scalar>], out: &mut [Lane<V::Scalar>]) {
    for ((a, b), out) in a.iter().zip(b).zip(out) {
        (V::load(a) * V::load(b)).store(out);
    }
}
