//! The vector projection coupling of E-ACF (Midgley et al., arXiv 2308.10364): each node of the moved
//! half changes its distance to origins that the conditioning half sets.
//!
//! For d inner transforms one after the other, z_i being node i of the moved half and y_i that of the
//! conditioning half,
//!
//! ```text
//! o = y_i + v_ik,   r = ‖z_i − o‖,   r′ = S_ik(r),   z_i ← o + (z_i − o) r′/r
//! log det += ln S′_ik(r) + (d − 1) ln(r′/r)
//! ```
//!
//! with vectors v and rational-quadratic splines S from an E(n)-equivariant graph network. There is
//! no cross product in it, so the coupling is equivariant under reflections, too.

use super::egnn::{Egnn, Sizes};
use super::radial::{Inner, Move, MoveBack};
use super::spline::{SplineShape, MAX_BINS};
use super::{Coupling, Direction, HalfShape, ParameterLayout, Vjp};
use crate::engine::{Arena, Kernel, Lane, Real, Vector};
use crate::error::Error;

/// Sizes of a [`VectorCoupling`]; the default is the published one.
#[derive(Debug, Clone, PartialEq)]
pub struct VectorOptions {
    /// Bins of a spline.
    pub bins: usize,
    /// Distance from which on nothing moves, in units of length.
    pub range: f64,
    /// Rounds of message passing.
    pub blocks: usize,
    /// Invariant features of a node.
    pub features: usize,
    /// Hidden widths of the networks on edges: messages, shifts, shifts across channels.
    pub edge_hidden: Vec<usize>,
    /// Hidden widths of the network that updates the features.
    pub node_hidden: Vec<usize>,
    /// Hidden widths of the network that makes the splines' parameters.
    pub head_hidden: Vec<usize>,
    /// Position channels; `None` is one for each of the d inner transforms.
    pub vector_channels: Option<usize>,
}

impl Default for VectorOptions {
    fn default() -> Self {
        Self {
            bins: 8,
            range: 10.0,
            blocks: 3,
            features: 128,
            edge_hidden: vec![64, 64],
            node_hidden: vec![64, 64],
            head_hidden: vec![64, 64],
            vector_channels: None,
        }
    }
}

/// The vector projection coupling; see the [module's source](crate::flow) and E-ACF, section 3.
#[derive(Debug, Clone)]
pub struct VectorCoupling {
    inner: Inner,
    conditioner: Egnn,
}

impl VectorCoupling {
    /// A coupling between halves of this shape, whose parameters are added to `layout`. With their
    /// initial values it is the identity. All particles are alike.
    ///
    /// # Errors
    /// Those of [`with_species`](Self::with_species).
    pub fn new(
        half: HalfShape,
        options: &VectorOptions,
        layout: &mut ParameterLayout,
    ) -> Result<Self, Error> {
        Self::with_species(half, &[], options, layout)
    }

    /// The same for particles of these species, numbered from 0; none given means all alike.
    ///
    /// # Errors
    /// [`Error::Parameter`] for halves of more than one copy, under two particles, or a dimension
    /// other than 2 and 3, and for sizes that make no network or no spline.
    pub fn with_species(
        half: HalfShape,
        species: &[usize],
        options: &VectorOptions,
        layout: &mut ParameterLayout,
    ) -> Result<Self, Error> {
        let d = half.dimension;
        let channels = options.vector_channels.unwrap_or(d);
        let refuse = |field: &str, problem: String| Err(Error::parameter(field, problem));
        if half.copies != 1 {
            let copies = half.copies;
            return refuse(
                "copies",
                format!("is {copies} in each half: the vector coupling works with one (M = 1)"),
            );
        }
        if half.particles < 2 {
            return refuse("particles", format!("is {}: use at least 2", half.particles));
        }
        if !(2..=3).contains(&d) {
            return refuse("dimension", format!("is {d}: use 2 or 3"));
        }
        if !(1..=MAX_BINS).contains(&options.bins) {
            return refuse("bins", format!("is {}: use 1 to {MAX_BINS}", options.bins));
        }
        if !(options.range.is_finite() && options.range > 0.0) {
            return refuse("range", format!("is {}: use a positive length", options.range));
        }
        if channels < d {
            return refuse(
                "vector_channels",
                format!("is {channels}: each of the {d} inner transforms needs one of its own"),
            );
        }
        for (field, size) in [("blocks", options.blocks), ("features", options.features)] {
            if size == 0 {
                return refuse(field, "is 0: use at least 1".into());
            }
        }
        for (field, hidden) in [
            ("edge_hidden", &options.edge_hidden),
            ("node_hidden", &options.node_hidden),
            ("head_hidden", &options.head_hidden),
        ] {
            if hidden.is_empty() || hidden.contains(&0) {
                return refuse(field, format!("is {hidden:?}: use at least one positive width"));
            }
        }
        let spline = SplineShape { bins: options.bins, range: options.range };
        let sizes = Sizes {
            blocks: options.blocks,
            features: options.features,
            channels,
            edge_hidden: &options.edge_hidden,
            node_hidden: &options.node_hidden,
            head_hidden: &options.head_hidden,
            outputs: d * spline.parameters(),
        };
        let conditioner = Egnn::new(layout, half.particles, d, species, &sizes);
        let inner = Inner { particles: half.particles, dimension: d, spline };
        Ok(Self { inner, conditioner })
    }
}

impl<T: Real> Coupling<T> for VectorCoupling {
    fn scratch(&self) -> usize {
        let network = &self.conditioner;
        let vectors = network.vector_lanes();
        let apply = vectors + network.tape_lanes(false) + network.forward_scratch();
        let backward = vectors + network.output_lanes() + network.backward_scratch();
        let vjp = vectors + network.tape_lanes(true) + backward.max(network.forward_scratch());
        apply.max(vjp)
    }

    fn apply(
        &self,
        direction: Direction,
        theta: &[T],
        conditioning: &[Lane<T>],
        moved: &mut [Lane<T>],
        log_det: &mut Lane<T>,
        scratch: &mut [Lane<T>],
    ) {
        let (coupling, record) = (self, &mut [][..]);
        let call =
            Apply { coupling, direction, theta, conditioning, moved, log_det, record, scratch };
        T::dispatch(call);
    }

    fn vjp(&self, call: Vjp<'_, T>, scratch: &mut [Lane<T>]) {
        T::dispatch(Pullback { coupling: self, call, record: &mut [], scratch });
    }

    fn record_lanes(&self) -> usize {
        self.conditioner.vector_lanes() + self.conditioner.tape_lanes(true)
    }

    fn apply_recorded(
        &self,
        direction: Direction,
        theta: &[T],
        conditioning: &[Lane<T>],
        moved: &mut [Lane<T>],
        log_det: &mut Lane<T>,
        record: &mut [Lane<T>],
        scratch: &mut [Lane<T>],
    ) {
        let coupling = self;
        let call =
            Apply { coupling, direction, theta, conditioning, moved, log_det, record, scratch };
        T::dispatch(call);
    }

    fn vjp_recorded(&self, call: Vjp<'_, T>, record: &mut [Lane<T>], scratch: &mut [Lane<T>]) {
        T::dispatch(Pullback { coupling: self, call, record, scratch });
    }

    /// Counted: `apply` runs the conditioner and the splines. The vector-Jacobian product runs the
    /// conditioner, unless it finds a record of that, and goes back through it, whereby the parts on
    /// edges are computed again but for the products that were kept.
    fn operations(&self) -> [f64; 4] {
        let [there, back, back_with_parameters] = self.conditioner.operations();
        let (forward, backward) = self.inner.operations();
        let around = there + backward;
        [there + forward, around + back, around + back_with_parameters, there]
    }
}

struct Apply<'a, T> {
    coupling: &'a VectorCoupling,
    direction: Direction,
    theta: &'a [T],
    conditioning: &'a [Lane<T>],
    moved: &'a mut [Lane<T>],
    log_det: &'a mut Lane<T>,
    /// Vectors and tape of the conditioner; empty if they are not to be kept.
    record: &'a mut [Lane<T>],
    scratch: &'a mut [Lane<T>],
}

impl<T: Real> Kernel<T> for Apply<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector<Scalar = T>>(self) {
        let Self { coupling, direction, theta, conditioning, moved, log_det, .. } = self;
        let network = &coupling.conditioner;
        let keep = !self.record.is_empty();
        let (mut arena, mut record) = (Arena::new(self.scratch), Arena::new(self.record));
        let place = if keep { &mut record } else { &mut arena };
        let vectors = place.take(network.vector_lanes());
        let tape = place.take(network.tape_lanes(keep));
        network.forward::<V>(theta, conditioning, vectors, tape, arena.rest(), keep);
        let outputs = network.outputs(tape, keep);
        let inner = &coupling.inner;
        V::call(Move { inner, direction, conditioning, vectors, outputs, moved, log_det });
    }
}

struct Pullback<'a, T> {
    coupling: &'a VectorCoupling,
    call: Vjp<'a, T>,
    /// As [`Apply`] left it; empty if it did not.
    record: &'a mut [Lane<T>],
    scratch: &'a mut [Lane<T>],
}

impl<T: Real> Kernel<T> for Pullback<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector<Scalar = T>>(self) {
        let Self { coupling, call, .. } = self;
        let network = &coupling.conditioner;
        let recorded = !self.record.is_empty();
        let (mut arena, mut record) = (Arena::new(self.scratch), Arena::new(self.record));
        let place = if recorded { &mut record } else { &mut arena };
        let vectors = place.take(network.vector_lanes());
        let tape = place.take(network.tape_lanes(true));
        if !recorded {
            network.forward::<V>(call.theta, call.conditioning, vectors, tape, arena.rest(), true);
        }
        // Each node overwrites its own vectors and outputs' cotangents, all of which it reads first.
        let outputs_cotangent = arena.take(network.output_lanes());
        V::call(MoveBack {
            inner: &coupling.inner,
            direction: call.direction,
            conditioning: call.conditioning,
            moved: call.moved,
            log_det_cotangent: call.log_det_cotangent,
            vectors: &mut *vectors,
            outputs: network.outputs(tape, true),
            outputs_cotangent: &mut *outputs_cotangent,
            moved_cotangent: call.moved_cotangent,
            conditioning_cotangent: &mut *call.conditioning_cotangent,
        });
        network.backward::<V>(
            call.theta,
            tape,
            [vectors, outputs_cotangent],
            call.conditioning_cotangent,
            call.gradient,
            arena.rest(),
        );
    }
}
