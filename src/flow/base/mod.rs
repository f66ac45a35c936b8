//! Base densities that are not one Gaussian: what they have in common.

mod options;

use crate::engine::{Lane, Real};

pub use options::{BaseKind, BaseOptions, Displacements};

/// What a base density must know of a molecule or a crystal.
#[derive(Debug, Clone, Copy, Default)]
pub struct Skeleton<'a> {
    /// Bonded pairs of atoms.
    pub bonds: &'a [[usize; 2]],
    /// A configuration, [particles, dimension]: of a crystal its sites.
    pub structure: &'a [f64],
    /// ∂²U/∂x² there, in kT over squared length, [coordinates, coordinates]; empty where
    /// [nothing asks for it](BaseOptions::needs_stiffness).
    pub stiffness: &'a [f64],
}

/// The density of x₀, where it is not Gaussian, for tiles of samples.
pub trait BaseDensity<T: Real>: Send + Sync {
    /// What it is, in a few words.
    fn title(&self) -> &'static str;

    /// Lanes that a pass of so many tiles leaves for its vector-Jacobian product.
    fn trail_lanes(&self, tiles: usize) -> usize;

    /// Lanes of scratch.
    fn scratch(&self, tiles: usize) -> usize;

    /// The part of the log density that is the same everywhere.
    fn log_constant(&self, theta: &[T]) -> f64;

    /// Fits samples x, [samples, n, 3].
    fn fit(&self, theta: &mut [T], x: &[f64]);

    /// Dihedral angles that turn, [samples, angles], of positions x, [samples, n, 3]; only those of
    /// a molecule are told.
    fn turning_angles(&self, _x: &[f64]) -> Vec<f64> {
        Vec::new()
    }

    /// Draws x from standard normal numbers, as many, and log p(x) without its
    /// [constant](Self::log_constant), a lane for each tile.
    fn sample(&self, theta: &[T], noise: &[Lane<T>], draw: Pass<'_, T>, x: &mut [Lane<T>]);

    /// log p of positions x, without its [constant](Self::log_constant).
    fn log_prob(&self, theta: &[T], x: &[Lane<T>], pass: Pass<'_, T>);

    /// The vector-Jacobian product of [`sample`](Self::sample), given the x that it drew: adds to
    /// the gradient of the parameters.
    fn sample_vjp(
        &self,
        theta: &[T],
        x_cotangent_and_trail: [&[Lane<T>]; 3],
        log_prob_cotangent: &[Lane<T>],
        gradient: &mut [T],
        scratch: &mut [Lane<T>],
    );

    /// The vector-Jacobian product of [`log_prob`](Self::log_prob): adds to the gradient of the
    /// parameters and writes the cotangent of x, each where it is asked for.
    fn log_prob_vjp(
        &self,
        theta: &[T],
        x_and_trail: [&[Lane<T>]; 2],
        log_prob_cotangent: &[Lane<T>],
        x_cotangent: Option<&mut [Lane<T>]>,
        gradient: Option<&mut [T]>,
        scratch: &mut [Lane<T>],
    );
}

/// What a pass writes, and works in.
pub struct Pass<'a, T> {
    /// Of each tile.
    pub log_prob: &'a mut [Lane<T>],
    /// What is left for the vector-Jacobian product: of a molecule the coordinates before and after
    /// every map, in the order of sampling, whichever the direction is.
    pub trail: &'a mut [Lane<T>],
    pub scratch: &'a mut [Lane<T>],
}
