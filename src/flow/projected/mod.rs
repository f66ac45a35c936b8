//! The projection couplings of E-ACF (Midgley et al., arXiv 2308.10364): each node of the moved half
//! moves in coordinates that the conditioning half sets, by scalar maps whose parameters it sets, too.
//!
//! With vectors v and invariant parameters from an equivariant network on the conditioning half y, node z_i of the moved half has the origin o = y_i + v_0 and moves
//!
//! - [`Projection::Vector`]: along the line from o, by a spline of its distance (`radial`);
//! - [`Projection::Cartesian`]: in the coordinates of a frame made of v_1 and v_2, by affine maps or
//!   splines (`frame`, `coordinates`);
//! - [`Projection::Spherical`]: in the polar or spherical coordinates of that frame, by splines.
//!
//! A few such inner transforms with vectors of their own follow one another. The vector projection
//! commutes with rotations and reflections, the other two with rotations only: their frames have a
//! handedness. With C copies in each half, copy c of the moved half goes by the vectors that start at copy
//! c of the conditioning half; the network sees all of them.

mod coordinates;
mod frame;
mod options;
mod radial;
#[cfg(test)]
mod tests;
mod transform;

use std::f64::consts::PI;

use super::attention::{self, Transformer};
use super::coupling::refuse;
use super::egnn::{self, Egnn};
use super::radial::{self as light, RadialNetwork};
use super::spline::{Ends, SplineShape, MAX_BINS};
use super::vector_network::VectorNetwork;
use super::{Coupling, Direction, HalfShape, ParameterLayout, Vjp};
use crate::engine::{Arena, Kernel, Lane, Real, Vector};
use crate::error::Error;
use coordinates::{Affine, Coordinates, Spherical, Windows};
use frame::Framed;
pub use options::{Bend, Network, NonequivariantOptions, ProjectedOptions, Projection};
use radial::Radial;
use transform::{Conditioned, Move, MoveVjp, Plan, Transform, MAX_TRANSFORMS};

/// A projection coupling; see the [module's source](crate::flow) and E-ACF, section 3.
#[derive(Debug, Clone)]
pub struct ProjectedCoupling {
    plan: Plan,
    inner: Inner,
    conditioner: Conditioner,
    /// Weight of the loss that keeps frames from degenerating, for each frame.
    frame_loss: f64,
}

/// What makes vectors and parameters of the conditioning half.
#[derive(Debug, Clone)]
enum Conditioner {
    Graph(Egnn),
    Radial(RadialNetwork),
    Attention(Transformer),
}

/// Does something with the conditioner, whichever it is.
macro_rules! with_network {
    ($conditioner:expr, $network:ident => $body:expr) => {
        match $conditioner {
            Conditioner::Graph($network) => $body,
            Conditioner::Radial($network) => $body,
            Conditioner::Attention($network) => $body,
        }
    };
}

/// The inner transforms of a projection.
#[derive(Debug, Clone, Copy)]
enum Inner {
    Vector(Radial),
    Affine(Framed<Affine, true>),
    Windows(Framed<Windows, true>),
    Spherical(Framed<Spherical, true>),
    /// Along the axes of space.
    Unturned(Framed<Affine, false>),
}

/// Does something with the inner transform, whichever it is.
macro_rules! with_transform {
    ($inner:expr, $transform:ident => $body:expr) => {
        match $inner {
            Inner::Vector($transform) => $body,
            Inner::Affine($transform) => $body,
            Inner::Windows($transform) => $body,
            Inner::Spherical($transform) => $body,
            Inner::Unturned($transform) => $body,
        }
    };
}

impl Inner {
    fn new(options: &ProjectedOptions) -> Self {
        let spline = |range, ends| SplineShape { bins: options.bins, range, ends };
        let distance = spline(options.range, Ends::Ray);
        match options.projection {
            Projection::Vector => Self::Vector(Radial { spline: distance }),
            Projection::Cartesian(Bend::Affine) => Self::Affine(Framed(Affine)),
            Projection::Cartesian(Bend::Spline) => {
                Self::Windows(Framed(Windows { spline: spline(2.0 * options.range, Ends::Window) }))
            }
            Projection::Spherical => {
                let (theta, phi) = (spline(PI, Ends::Segment), spline(2.0 * PI, Ends::Circle));
                Self::Spherical(Framed(Spherical { splines: [distance, theta, phi] }))
            }
        }
    }
}

impl ProjectedCoupling {
    /// A coupling between halves of this shape, whose parameters are added to `layout`. With their
    /// initial values it is the identity. All particles are alike.
    ///
    /// # Errors
    /// Those of [`with_species`](Self::with_species).
    pub fn new(
        half: HalfShape,
        options: &ProjectedOptions,
        layout: &mut ParameterLayout,
    ) -> Result<Self, Error> {
        Self::with_species(half, &[], options, layout)
    }

    /// The same for particles of these species, numbered from 0; none given means all alike.
    ///
    /// # Errors
    /// [`Error::Parameter`] for too few particles (a frame in 3D needs three, anything else two), a
    /// dimension other than 2 and 3, and for sizes that make no network or no spline.
    pub fn with_species(
        half: HalfShape,
        species: &[usize],
        options: &ProjectedOptions,
        layout: &mut ParameterLayout,
    ) -> Result<Self, Error> {
        let HalfShape { copies, particles, dimension: d } = half;
        let inner = Inner::new(options);
        let in_three = d == 3 && options.projection != Projection::Vector;
        let fewest = if in_three { 3 } else { 2 };
        if particles < fewest {
            let problem = format!("is {particles}: use at least {fewest}");
            return Err(Error::parameter("particles", problem));
        }
        if !(2..=3).contains(&d) {
            return Err(Error::parameter("dimension", format!("is {d}: use 2 or 3")));
        }
        if !(1..=MAX_BINS).contains(&options.bins) {
            return refuse("bins", format!("is {}: use 1 to {MAX_BINS}", options.bins));
        }
        if !(options.frame_loss.is_finite() && options.frame_loss >= 0.0) {
            return refuse("frame_loss", format!("is {}: use 0 or more", options.frame_loss));
        }
        if !(options.range.is_finite() && options.range > 0.0) {
            return refuse("range", format!("is {}: use a positive length", options.range));
        }
        let usual = if options.projection == Projection::Vector { d } else { 1 };
        let transforms = options.transforms.unwrap_or(usual);
        if !(1..=MAX_TRANSFORMS).contains(&transforms) {
            return refuse("transforms", format!("is {transforms}: use 1 to {MAX_TRANSFORMS}"));
        }
        let needed = with_transform!(inner, transform => transforms * transform.vectors(d));
        let channels = options.vector_channels.unwrap_or(needed);
        if channels < needed {
            return refuse(
                "vector_channels",
                format!("is {channels}: the inner transforms need {needed}"),
            );
        }
        for (field, size) in [("blocks", options.blocks), ("features", options.features)] {
            if size == 0 {
                return refuse(field, "is 0: use at least 1".into());
            }
        }
        if options.basis < 2 {
            return refuse("basis", format!("is {}: use 2 or more", options.basis));
        }
        for (field, length) in [("cutoff", options.cutoff), ("core", options.core)] {
            if !(length.is_finite() && length > 0.0) {
                return refuse(field, format!("is {length}: use a positive length"));
            }
        }
        for (field, hidden) in [
            ("edge_hidden", &options.edge_hidden),
            ("node_hidden", &options.node_hidden),
            ("head_hidden", &options.head_hidden),
        ] {
            widths(field, hidden)?;
        }
        let parameters = with_transform!(inner, transform => transform.parameters(d));
        let outputs = copies * transforms * parameters;
        let conditioner = match options.network {
            Network::Graph => {
                let sizes = egnn::Sizes {
                    blocks: options.blocks,
                    features: options.features,
                    copies,
                    channels: copies * channels,
                    edge_hidden: &options.edge_hidden,
                    node_hidden: &options.node_hidden,
                    head_hidden: &options.head_hidden,
                    outputs,
                };
                Conditioner::Graph(Egnn::new(layout, particles, d, species, &sizes))
            }
            Network::Radial => {
                let sizes = light::RadialSizes {
                    width: options.features,
                    basis: options.basis,
                    cutoff: options.cutoff,
                    angular: 0,
                    message_passes: options.blocks - 1,
                    core: options.core,
                };
                let says = (copies * channels, outputs);
                Conditioner::Radial(RadialNetwork::new(layout, half, species, &sizes, says))
            }
        };
        let plan = Plan { copies, particles, dimension: d, transforms, channels };
        let frame_loss = options.frame_loss / (copies * particles * transforms) as f64;
        Ok(Self { plan, inner, conditioner, frame_loss })
    }

    /// The baseline without rotational symmetry: affine maps of the Cartesian coordinates about the centre
    /// of the conditioning half, whose scales and shifts a transformer makes of its coordinates. It
    /// commutes with translations and with permutations within a species, not with rotations: train it on
    /// configurations that are turned at random.
    ///
    /// # Errors
    /// [`Error::Parameter`] for sizes that make no network.
    pub fn nonequivariant(
        half: HalfShape,
        species: &[usize],
        options: &NonequivariantOptions,
        layout: &mut ParameterLayout,
    ) -> Result<Self, Error> {
        let NonequivariantOptions { blocks, features, heads, .. } = *options;
        for (field, size) in [("blocks", blocks), ("features", features), ("heads", heads)] {
            if size == 0 {
                return refuse(field, "is 0: use at least 1".into());
            }
        }
        if !features.is_multiple_of(heads) {
            return refuse(
                "features",
                format!("is {features}: use a multiple of the {heads} heads"),
            );
        }
        for (field, hidden) in [("hidden", &options.hidden), ("head_hidden", &options.head_hidden)]
        {
            widths(field, hidden)?;
        }
        let HalfShape { copies, particles, dimension } = half;
        let sizes = attention::Sizes {
            blocks,
            features,
            heads,
            hidden: &options.hidden,
            head_hidden: &options.head_hidden,
            outputs: copies * Affine.parameters(dimension),
        };
        let conditioner = Conditioner::Attention(Transformer::new(layout, half, species, &sizes));
        let plan = Plan { copies, particles, dimension, transforms: 1, channels: 1 };
        let inner = Inner::Unturned(Framed(Affine));
        Ok(Self { plan, inner, conditioner, frame_loss: 0.0 })
    }
}

/// Refuses hidden layers that make no network.
fn widths(field: &str, hidden: &[usize]) -> Result<(), Error> {
    if hidden.is_empty() || hidden.contains(&0) {
        let problem = format!("is {hidden:?}: use at least one positive width");
        return refuse(field, problem);
    }
    Ok(())
}

impl<T: Real> Coupling<T> for ProjectedCoupling {
    fn scratch(&self) -> usize {
        with_network!(&self.conditioner, network => {
            let forward = network.forward_scratch();
            let apply = network.tape_lanes(false) + forward;
            let vjp = network.output_lanes() + network.vjp_scratch();
            let vjp = network.tape_lanes(true) + vjp.max(forward);
            network.vector_lanes() + apply.max(vjp)
        })
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
        T::dispatch(ApplyVjp { coupling: self, call, record: &mut [], scratch });
    }

    fn record_lanes(&self) -> usize {
        with_network!(&self.conditioner, network => network.vector_lanes() + network.tape_lanes(true))
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
        T::dispatch(ApplyVjp { coupling: self, call, record, scratch });
    }
}

struct Apply<'a, T> {
    coupling: &'a ProjectedCoupling,
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
        let keep = !self.record.is_empty();
        let (mut arena, mut record) = (Arena::new(self.scratch), Arena::new(self.record));
        let place = if keep { &mut record } else { &mut arena };
        with_network!(&coupling.conditioner, network => {
            let vectors = place.take(network.vector_lanes());
            let tape = place.take(network.tape_lanes(keep));
            network.forward::<V>(theta, conditioning, vectors, tape, arena.rest(), keep);
            let (plan, outputs) = (&coupling.plan, network.outputs(tape, keep));
            with_transform!(coupling.inner, transform => {
                let given = Conditioned { plan, transform, direction, conditioning, outputs };
                V::call(Move { given, vectors, moved, log_det });
            });
        });
    }
}

struct ApplyVjp<'a, T> {
    coupling: &'a ProjectedCoupling,
    call: Vjp<'a, T>,
    /// As [`Apply`] left it; empty if it did not.
    record: &'a mut [Lane<T>],
    scratch: &'a mut [Lane<T>],
}

impl<T: Real> Kernel<T> for ApplyVjp<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector<Scalar = T>>(self) {
        let Self { coupling, call, .. } = self;
        let recorded = !self.record.is_empty();
        // A term of the training's loss: what only asks for input gradients does not see it.
        let regular = coupling.frame_loss > 0.0 && call.gradient.is_some();
        let frame_loss = regular.then(|| {
            let mut weight = Lane::zero();
            (V::load(call.frame_loss_cotangent) * V::constant(coupling.frame_loss))
                .store(&mut weight);
            weight
        });
        let (mut arena, mut record) = (Arena::new(self.scratch), Arena::new(self.record));
        let place = if recorded { &mut record } else { &mut arena };
        with_network!(&coupling.conditioner, network => {
            let vectors = place.take(network.vector_lanes());
            let tape = place.take(network.tape_lanes(true));
            if !recorded {
                let scratch = arena.rest();
                network.forward::<V>(call.theta, call.conditioning, vectors, tape, scratch, true);
            }
            // Each node overwrites its own vectors and outputs' cotangents, which it reads first.
            let outputs_cotangent = arena.take(network.output_lanes());
            let (plan, outputs) = (&coupling.plan, network.outputs(tape, true));
            let Vjp { direction, conditioning, .. } = call;
            with_transform!(coupling.inner, transform => V::call(MoveVjp {
                given: Conditioned { plan, transform, direction, conditioning, outputs },
                moved: call.moved,
                log_det_cotangent: call.log_det_cotangent,
                frame_loss,
                vectors: &mut *vectors,
                outputs_cotangent: &mut *outputs_cotangent,
                moved_cotangent: call.moved_cotangent,
                conditioning_cotangent: &mut *call.conditioning_cotangent,
            }));
            network.vjp::<V>(
                call.theta,
                tape,
                [vectors, outputs_cotangent],
                call.conditioning_cotangent,
                call.gradient,
                arena.rest(),
            );
        });
    }
}

#[inline(always)]
fn dot<V: Vector>(a: &[V; 3], b: &[V; 3]) -> V {
    a[0].mul_add(b[0], a[1].mul_add(b[1], a[2] * b[2]))
}

#[inline(always)]
fn subtract<V: Vector>(a: &[V; 3], b: &[V; 3]) -> [V; 3] {
    [a[0] - b[0], a[1] - b[1], a[2] - b[2]]
}

/// to += factor·v.
#[inline(always)]
fn add_scaled<V: Vector>(to: &mut [V; 3], v: &[V; 3], factor: V) {
    for (to, v) in to.iter_mut().zip(v) {
        *to = factor.mul_add(*v, *to);
    }
}
