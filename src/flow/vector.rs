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
use super::spline::{Evaluation, Spline, SplineShape, MAX_BINS};
use super::{Coupling, Direction, HalfShape, ParameterLayout, Vjp};
use crate::engine::{ln, Arena, Kernel, Lane, Real, Vector};
use crate::error::Error;

/// Added to squared distances, so that a distance has a derivative at the origin.
const SQUARE_FLOOR: f64 = 1e-20;

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
    half: HalfShape,
    spline: SplineShape,
    conditioner: Egnn,
}

impl VectorCoupling {
    /// A coupling between halves of this shape, whose parameters are added to `layout`. With their
    /// initial values it is the identity.
    ///
    /// # Errors
    /// [`Error::Parameter`] for halves of more than one copy, under two particles, or a dimension
    /// other than 2 and 3, and for sizes that make no network or no spline.
    pub fn new(
        half: HalfShape,
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
        let conditioner = Egnn::new(layout, half.particles, d, &sizes);
        Ok(Self { half, spline, conditioner })
    }

    /// The inner transforms in the order of a direction.
    #[inline(always)]
    fn stage(&self, direction: Direction, step: usize) -> usize {
        match direction {
            Direction::Forward => step,
            Direction::Inverse => self.half.dimension - 1 - step,
        }
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
        let coupling = self;
        T::dispatch(Apply { coupling, direction, theta, conditioning, moved, log_det, scratch });
    }

    fn vjp(&self, call: Vjp<'_, T>, scratch: &mut [Lane<T>]) {
        T::dispatch(Pullback { coupling: self, call, scratch });
    }

    /// Counted: `apply` is the conditioner's products and element-wise work and the splines. The
    /// vector-Jacobian product runs it, runs the conditioner again, and goes back through it at the
    /// price of one more pass; the gradient of the weights is one more pass of the products.
    fn operations(&self) -> [f64; 3] {
        let (products, rest) = self.conditioner.operations();
        let (evaluation, adjoint) = self.spline.operations();
        let inner = (self.half.particles * self.half.dimension) as f64;
        let around = 10.0 * self.half.dimension as f64 + 40.0;
        let apply = products + rest + inner * (evaluation + around);
        let vjp = 3.0 * (products + rest) + inner * (2.0 * evaluation + adjoint + 3.0 * around);
        [apply, vjp, vjp + products]
    }
}

struct Apply<'a, T> {
    coupling: &'a VectorCoupling,
    direction: Direction,
    theta: &'a [T],
    conditioning: &'a [Lane<T>],
    moved: &'a mut [Lane<T>],
    log_det: &'a mut Lane<T>,
    scratch: &'a mut [Lane<T>],
}

impl<T: Real> Kernel<T> for Apply<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector<Scalar = T>>(self) {
        let Self { coupling, direction, theta, conditioning, moved, log_det, scratch } = self;
        let network = &coupling.conditioner;
        let mut arena = Arena::new(scratch);
        let vectors = arena.take(network.vector_lanes());
        let tape = arena.take(network.tape_lanes(false));
        network.forward::<V>(theta, conditioning, vectors, tape, arena.rest(), false);
        let outputs = network.outputs(tape, false);
        V::call(Move { coupling, direction, conditioning, vectors, outputs, moved, log_det });
    }
}

/// Moves every node through the inner transforms.
struct Move<'a, T> {
    coupling: &'a VectorCoupling,
    direction: Direction,
    conditioning: &'a [Lane<T>],
    vectors: &'a [Lane<T>],
    outputs: &'a [Lane<T>],
    moved: &'a mut [Lane<T>],
    log_det: &'a mut Lane<T>,
}

impl<T: Real> Kernel<T> for Move<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector<Scalar = T>>(self) {
        let Self { coupling, direction, conditioning, vectors, outputs, moved, log_det } = self;
        let d = coupling.half.dimension;
        let mut total = V::zero();
        for (node, z) in moved.chunks_exact_mut(d).enumerate() {
            let given = Given { coupling, conditioning, vectors, outputs, node };
            let mut position = [V::zero(); 3];
            for (position, z) in position.iter_mut().zip(&*z) {
                *position = V::load(z);
            }
            for step in 0..d {
                let stage = coupling.stage(direction, step);
                let raw = given.raw::<V>(stage);
                let radial =
                    Radial::new(direction, &position, given.origin(stage), coupling.spline, &raw);
                for (position, u) in position.iter_mut().zip(&radial.offset) {
                    // o + u·t = z + u·(t − 1)
                    *position = u.mul_add(radial.stretch.sub(V::constant(1.0)), *position);
                }
                total = total.add(radial.log_det(direction, d));
            }
            for (position, z) in position.iter().zip(z) {
                position.store(z);
            }
        }
        total.accumulate(log_det);
    }
}

/// What the conditioner says about one node.
struct Given<'a, T> {
    coupling: &'a VectorCoupling,
    conditioning: &'a [Lane<T>],
    vectors: &'a [Lane<T>],
    outputs: &'a [Lane<T>],
    node: usize,
}

impl<T: Real> Given<'_, T> {
    /// y_i + v_ik.
    #[inline(always)]
    fn origin<V: Vector<Scalar = T>>(&self, stage: usize) -> [V; 3] {
        let HalfShape { particles: n, dimension: d, .. } = self.coupling.half;
        let mut origin = [V::zero(); 3];
        for (k, origin) in origin.iter_mut().enumerate().take(d) {
            *origin = V::load(&self.conditioning[self.node * d + k])
                .add(V::load(&self.vectors[(stage * d + k) * n + self.node]));
        }
        origin
    }

    /// The raw parameters of a spline.
    #[inline(always)]
    fn raw<V: Vector<Scalar = T>>(&self, stage: usize) -> [V; 3 * MAX_BINS] {
        let n = self.coupling.half.particles;
        let parameters = self.coupling.spline.parameters();
        let mut raw = [V::zero(); 3 * MAX_BINS];
        for (j, raw) in raw.iter_mut().enumerate().take(parameters) {
            *raw = V::load(&self.outputs[(stage * parameters + j) * n + self.node]);
        }
        raw
    }
}

/// One inner transform of one node.
struct Radial<V: Vector> {
    spline: Spline<V>,
    at: Evaluation<V>,
    /// z − o.
    offset: [V; 3],
    distance: V,
    /// t = r′/r.
    stretch: V,
}

impl<V: Vector> Radial<V> {
    #[inline(always)]
    fn new(
        direction: Direction,
        position: &[V; 3],
        origin: [V; 3],
        shape: SplineShape,
        raw: &[V; 3 * MAX_BINS],
    ) -> Self {
        let mut offset = *position;
        let mut square = V::constant(SQUARE_FLOOR);
        for (u, o) in offset.iter_mut().zip(&origin) {
            *u = u.sub(*o);
            square = u.mul_add(*u, square);
        }
        let distance = square.sqrt();
        let spline = Spline::new(shape, raw);
        let at = match direction {
            Direction::Forward => spline.forward(distance),
            Direction::Inverse => spline.inverse(distance),
        };
        let stretch = at.value.div(distance);
        Self { spline, at, offset, distance, stretch }
    }

    #[inline(always)]
    fn log_det(&self, direction: Direction, d: usize) -> V {
        let along = match direction {
            Direction::Forward => self.at.log_slope,
            Direction::Inverse => self.at.log_slope.neg(),
        };
        V::constant((d - 1) as f64).mul_add(ln(self.stretch), along)
    }

    /// From the cotangents of the new position and of log det to those of the position, of the origin
    /// and of the raw parameters.
    #[inline(always)]
    fn adjoint(
        &self,
        direction: Direction,
        d: usize,
        raw: &[V; 3 * MAX_BINS],
        moved: &[V; 3],
        log_det: V,
    ) -> ([V; 3], [V; 3], [V; 3 * MAX_BINS]) {
        let mut stretch = V::constant((d - 1) as f64).mul(log_det).div(self.stretch);
        for (g, u) in moved.iter().zip(&self.offset) {
            stretch = g.mul_add(*u, stretch);
        }
        // t = r′/r
        let value = stretch.div(self.distance);
        let (through, parameters) = match direction {
            Direction::Forward => self.spline.forward_adjoint(&self.at, value, log_det, raw),
            Direction::Inverse => self.spline.inverse_adjoint(&self.at, value, log_det.neg(), raw),
        };
        let distance = through.sub(value.mul(self.stretch));
        let outward = distance.div(self.distance);
        let mut position = [V::zero(); 3];
        let mut origin = [V::zero(); 3];
        for k in 0..3 {
            position[k] = moved[k].mul_add(self.stretch, outward.mul(self.offset[k]));
            origin[k] = moved[k].sub(position[k]);
        }
        (position, origin, parameters)
    }
}

struct Pullback<'a, T> {
    coupling: &'a VectorCoupling,
    call: Vjp<'a, T>,
    scratch: &'a mut [Lane<T>],
}

impl<T: Real> Kernel<T> for Pullback<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector<Scalar = T>>(self) {
        let Self { coupling, call, scratch } = self;
        let network = &coupling.conditioner;
        let mut arena = Arena::new(scratch);
        let vectors = arena.take(network.vector_lanes());
        let tape = arena.take(network.tape_lanes(true));
        network.forward::<V>(call.theta, call.conditioning, vectors, tape, arena.rest(), true);
        // Each node overwrites its own vectors and outputs' cotangents, all of which it reads first.
        let outputs_cotangent = arena.take(network.output_lanes());
        V::call(MoveBack {
            coupling,
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
            vectors,
            outputs_cotangent,
            call.conditioning_cotangent,
            call.gradient,
            arena.rest(),
        );
    }
}

/// The adjoint of [`Move`]; the vectors are replaced by their cotangents.
struct MoveBack<'a, T> {
    coupling: &'a VectorCoupling,
    direction: Direction,
    conditioning: &'a [Lane<T>],
    outputs: &'a [Lane<T>],
    moved: &'a [Lane<T>],
    log_det_cotangent: &'a Lane<T>,
    vectors: &'a mut [Lane<T>],
    outputs_cotangent: &'a mut [Lane<T>],
    moved_cotangent: &'a mut [Lane<T>],
    conditioning_cotangent: &'a mut [Lane<T>],
}

impl<T: Real> Kernel<T> for MoveBack<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector<Scalar = T>>(self) {
        let Self { coupling, direction, conditioning, .. } = self;
        let HalfShape { particles: n, dimension: d, .. } = coupling.half;
        let parameters = coupling.spline.parameters();
        let log_det = V::load(self.log_det_cotangent);
        for node in 0..n {
            let own = node * d..(node + 1) * d;
            // The positions before each inner transform.
            let mut positions = [[V::zero(); 3]; 4];
            for (position, z) in positions[0].iter_mut().zip(&self.moved[own.clone()]) {
                *position = V::load(z);
            }
            let given = Given {
                coupling,
                conditioning,
                vectors: self.vectors,
                outputs: self.outputs,
                node,
            };
            for step in 0..d - 1 {
                let stage = coupling.stage(direction, step);
                let (raw, origin) = (given.raw::<V>(stage), given.origin(stage));
                let position = positions[step];
                let radial = Radial::new(direction, &position, origin, coupling.spline, &raw);
                for k in 0..d {
                    let stretch = radial.stretch.sub(V::constant(1.0));
                    positions[step + 1][k] = radial.offset[k].mul_add(stretch, position[k]);
                }
            }
            let mut cotangent = [V::zero(); 3];
            for (cotangent, lane) in cotangent.iter_mut().zip(&self.moved_cotangent[own.clone()]) {
                *cotangent = V::load(lane);
            }
            for step in (0..d).rev() {
                let stage = coupling.stage(direction, step);
                let given = Given {
                    coupling,
                    conditioning,
                    vectors: self.vectors,
                    outputs: self.outputs,
                    node,
                };
                let (raw, origin) = (given.raw::<V>(stage), given.origin(stage));
                let position = &positions[step];
                let radial = Radial::new(direction, position, origin, coupling.spline, &raw);
                let (position, origin, raw) =
                    radial.adjoint(direction, d, &raw, &cotangent, log_det);
                for (j, raw) in raw.iter().enumerate().take(parameters) {
                    raw.store(&mut self.outputs_cotangent[(stage * parameters + j) * n + node]);
                }
                for k in 0..d {
                    origin[k].accumulate(&mut self.conditioning_cotangent[node * d + k]);
                    origin[k].store(&mut self.vectors[(stage * d + k) * n + node]);
                }
                cotangent = position;
            }
            for (cotangent, lane) in cotangent.iter().zip(&mut self.moved_cotangent[own]) {
                cotangent.store(lane);
            }
        }
        // Channels without an inner transform are not read.
        self.vectors[d * d * n..].fill(Lane::zero());
    }
}
