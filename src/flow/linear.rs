//! Affine maps on lanes, with the products of their vector-Jacobian products.

use super::{Block, Initial, ParameterLayout};
use crate::engine::{matrix_product, Lane, Vector};

/// An affine map of features.
#[derive(Debug, Clone, Copy)]
pub(super) struct Linear {
    weight: Block,
    bias: Block,
}

impl Linear {
    /// Weights start normal with variance `scale`/inputs, the bias at zero.
    pub fn new(
        layout: &mut ParameterLayout,
        name: &str,
        outputs: usize,
        inputs: usize,
        scale: f64,
    ) -> Self {
        let initial = Initial::Normal((scale / inputs as f64).sqrt());
        Self {
            weight: layout.matrix(&format!("{name}.weight"), outputs, inputs, initial),
            bias: layout.vector(&format!("{name}.bias"), outputs, Initial::Constant(0.0)),
        }
    }

    pub fn outputs(&self) -> usize {
        self.weight.rows()
    }

    pub fn inputs(&self) -> usize {
        self.weight.columns()
    }

    /// The bias.
    #[inline(always)]
    pub fn bias<'a, T>(&self, theta: &'a [T]) -> &'a [T] {
        self.bias.of(theta)
    }

    /// out = W·x, or out += W·x, without the bias, where x fills the columns from `from` on.
    #[inline(always)]
    pub fn product<V: Vector>(
        &self,
        theta: &[V::Scalar],
        from: usize,
        x: &[Lane<V::Scalar>],
        out: &mut [Lane<V::Scalar>],
        items: usize,
        accumulate: bool,
    ) {
        let weight = self.weight.matrix(theta).columns(from, x.len() / items);
        matrix_product::<V>(weight, x, out, items, accumulate);
    }

    /// out += b.
    #[inline(always)]
    pub fn add_bias<V: Vector>(
        &self,
        theta: &[V::Scalar],
        out: &mut [Lane<V::Scalar>],
        items: usize,
    ) {
        for (row, &bias) in out.chunks_exact_mut(items).zip(self.bias.of(theta)) {
            for lane in row {
                V::splat(bias).accumulate(lane);
            }
        }
    }

    /// out = W·x + b.
    #[inline(always)]
    pub fn apply<V: Vector>(
        &self,
        theta: &[V::Scalar],
        x: &[Lane<V::Scalar>],
        out: &mut [Lane<V::Scalar>],
        items: usize,
    ) {
        self.product::<V>(theta, 0, x, out, items, false);
        self.add_bias::<V>(theta, out, items);
    }

    /// The vector-Jacobian product of [`apply`](Self::apply): x̄ = Wᵀ·ȳ is written, or added where
    /// `accumulate`, and the gradients are added where they are asked for.
    #[allow(clippy::too_many_arguments)]
    #[inline(always)]
    pub fn apply_vjp<V: Vector>(
        &self,
        theta: &[V::Scalar],
        x: &[Lane<V::Scalar>],
        y_cotangent: &[Lane<V::Scalar>],
        x_cotangent: &mut [Lane<V::Scalar>],
        gradient: Option<&mut [V::Scalar]>,
        items: usize,
        accumulate: bool,
    ) {
        if let Some(gradient) = gradient {
            self.weight_gradient::<V>(gradient, 0, y_cotangent, x, items);
            self.bias_gradient::<V>(gradient, y_cotangent, items);
        }
        self.transposed_product::<V>(theta, 0, y_cotangent, x_cotangent, items, accumulate);
    }

    /// x̄ = Wᵀ·ȳ, or x̄ += Wᵀ·ȳ, for the inputs that fill the columns from `from` on.
    #[inline(always)]
    pub fn transposed_product<V: Vector>(
        &self,
        theta: &[V::Scalar],
        from: usize,
        y_cotangent: &[Lane<V::Scalar>],
        x_cotangent: &mut [Lane<V::Scalar>],
        items: usize,
        accumulate: bool,
    ) {
        let weight = self.weight.matrix(theta).columns(from, x_cotangent.len() / items);
        matrix_product::<V>(weight.transposed(), y_cotangent, x_cotangent, items, accumulate);
    }

    /// Adds ȳ·xᵀ to the gradient of the weights, for the inputs that fill the columns from `from`
    /// on.
    #[inline(always)]
    pub fn weight_gradient<V: Vector>(
        &self,
        gradient: &mut [V::Scalar],
        from: usize,
        y_cotangent: &[Lane<V::Scalar>],
        x: &[Lane<V::Scalar>],
        items: usize,
    ) {
        if x.is_empty() {
            return;
        }
        self.weight.add_outer::<V>(from, y_cotangent, x, gradient, items);
    }

    /// Adds ȳ, summed over the items, to the gradient of the bias.
    #[inline(always)]
    pub fn bias_gradient<V: Vector>(
        &self,
        gradient: &mut [V::Scalar],
        y_cotangent: &[Lane<V::Scalar>],
        items: usize,
    ) {
        self.bias.add_sums::<V>(y_cotangent, gradient, items);
    }
}
