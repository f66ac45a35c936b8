//! The projection couplings: nodes of the moved half go through inner transforms ([`transform`]),
//! maps of their distances ([`radial`]) or of their coordinates ([`frame`], [`coordinates`]). The
//! formulas stand at [`ProjectedCoupling`] and [`Projection`].

mod coordinates;
mod frame;
mod options;
mod radial;
#[cfg(test)]
mod tests;
mod transform;

use std::f64::consts::PI;

use super::attention::{NonequivariantOptions, Transformer};
use super::coupling::VectorCoupling;
use super::egnn::{self, Egnn};
use super::radial::{PairwiseOptions, RadialNetwork};
use super::spline::{Ends, SplineShape};
use super::vector_network::{NetworkForward, NetworkVjp, VectorNetwork};
use super::{Apply, CouplingContext, HalfShape, ParameterLayout, Vjp};
use crate::engine::{Arena, Lane, Real, Vector};
use crate::error::Error;
use coordinates::{Affine, Coordinates, Spherical, Windows};
use frame::Framed;
pub use options::{InnerTransform, Network, ProjectedOptions, Projection};
use radial::Radial;
use transform::{Conditioned, Move, MoveVjp, Plan, Transform};

/// A projection coupling of E-ACF (Midgley et al., [arXiv
/// 2308.10364](https://arxiv.org/abs/2308.10364), section 3): each node of the moved half moves in
/// coordinates that the conditioning half sets, by scalar maps whose parameters it sets as well.
///
/// A [network](Network) makes vectors v₀, v₁, … and invariant parameters for each node of the
/// conditioning half y. Node z_i of the moved half has the origin o = y_i + v₀ and moves about it
/// in the coordinates of a [`Projection`]. A few such inner transforms, with vectors and parameters
/// of their own, follow one another; the log-determinant is the sum of theirs.
///
/// The vector projection commutes with rotations and reflections, the other two with rotations
/// only, since their frames have a handedness. With C copies in each half, copy c of the moved half
/// goes by the vectors that start at copy c of the conditioning half; the network reads all of
/// them.
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
    Fixed(Framed<Affine, false>),
}

/// Does something with the inner transform, whichever it is.
macro_rules! with_transform {
    ($inner:expr, $transform:ident => $body:expr) => {
        match $inner {
            Inner::Vector($transform) => $body,
            Inner::Affine($transform) => $body,
            Inner::Windows($transform) => $body,
            Inner::Spherical($transform) => $body,
            Inner::Fixed($transform) => $body,
        }
    };
}

impl Inner {
    fn new(projection: Projection, options: &ProjectedOptions) -> Self {
        let spline = |range, ends| SplineShape { bins: options.bins, range, ends };
        let distance = spline(options.range, Ends::Ray);
        match (projection, options.bend) {
            (Projection::Vector, _) => Self::Vector(Radial { spline: distance }),
            (Projection::Cartesian, Some(InnerTransform::Spline)) => {
                Self::Windows(Framed(Windows { spline: spline(2.0 * options.range, Ends::Window) }))
            }
            (Projection::Cartesian, _) => Self::Affine(Framed(Affine)),
            (Projection::Spherical, _) => {
                let (theta, phi) = (spline(PI, Ends::Segment), spline(2.0 * PI, Ends::Circle));
                Self::Spherical(Framed(Spherical { splines: [distance, theta, phi] }))
            }
        }
    }
}

impl ProjectedCoupling {
    /// A coupling whose parameters are added to `layout`. With their initial values it is the
    /// identity.
    ///
    /// # Errors
    /// [`Error::Parameter`] for an option out of its limits, too few particles (a frame in 3D needs
    /// three, anything else two), a dimension other than 2 and 3, and too few vectors for the inner
    /// transforms.
    pub fn new(
        context: &CouplingContext<'_>,
        options: &ProjectedOptions,
        layout: &mut ParameterLayout,
        projection: Projection,
    ) -> Result<Self, Error> {
        options.validate(projection)?;
        refuse_crystal(context)?;
        let &CouplingContext { half, species, .. } = context;
        let HalfShape { copies, particles, dimension: d } = half;
        let inner = Inner::new(projection, options);
        let framed = projection != Projection::Vector;
        let fewest = if framed && d == 3 { 3 } else { 2 };
        if particles < fewest {
            let problem =
                format!("needs at least {fewest} particles in {d}D, and there are {particles}");
            return Err(Error::parameter("coupling", problem));
        }
        if !(2..=3).contains(&d) {
            let problem = format!("works in dimension 2 or 3, not {d}");
            return Err(Error::parameter("coupling", problem));
        }
        let transforms = options.transforms.unwrap_or(if framed { 1 } else { d });
        let needed = with_transform!(inner, transform => transforms * transform.vectors(d));
        let channels = options.vector_channels.unwrap_or(needed);
        if channels < needed {
            let problem = format!("is {channels}: the inner transforms need {needed}");
            return Err(Error::parameter("vector_channels", problem));
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
                let sizes = PairwiseOptions {
                    width: options.features,
                    basis: options.basis,
                    cutoff: options.cutoff,
                    message_passes: options.blocks - 1,
                    core: options.core,
                    ..PairwiseOptions::default()
                };
                let made = (copies * channels, outputs);
                Conditioner::Radial(RadialNetwork::new(layout, context, &sizes, made)?)
            }
        };
        let plan = Plan { copies, particles, dimension: d, transforms, channels };
        let frame_loss = options.frame_loss / (copies * particles * transforms) as f64;
        Ok(Self { plan, inner, conditioner, frame_loss })
    }

    /// The baseline without rotational symmetry; the formulas stand at [`NonequivariantOptions`].
    /// It commutes with translations and with permutations within a species, not with rotations:
    /// train it on configurations that are turned at random.
    ///
    /// # Errors
    /// [`Error::Parameter`] for an option out of its limits.
    pub fn nonequivariant(
        context: &CouplingContext<'_>,
        options: &NonequivariantOptions,
        layout: &mut ParameterLayout,
    ) -> Result<Self, Error> {
        options.validate()?;
        refuse_crystal(context)?;
        let &CouplingContext { half, species, .. } = context;
        let HalfShape { copies, particles, dimension } = half;
        let outputs = copies * Affine.parameters(dimension);
        let transformer = Transformer::new(layout, half, species, options, outputs);
        Ok(Self {
            plan: Plan { copies, particles, dimension, transforms: 1, channels: 1 },
            inner: Inner::Fixed(Framed(Affine)),
            conditioner: Conditioner::Attention(transformer),
            frame_loss: 0.0,
        })
    }
}

/// These couplings look at all particles from the centre of mass, and not at the neighbours of a
/// site.
fn refuse_crystal(context: &CouplingContext<'_>) -> Result<(), Error> {
    match context.crystal {
        Some(_) => Err(Error::parameter("coupling", "is not for a crystal: use \"pairwise\"")),
        None => Ok(()),
    }
}

impl VectorCoupling for ProjectedCoupling {
    fn is_rotation_equivariant(&self) -> bool {
        !matches!(self.conditioner, Conditioner::Attention(_))
    }

    fn scratch<T: Real>(&self) -> usize {
        with_network!(&self.conditioner, network => Arena::<T>::measure(|arena| {
            take_record(network, arena, true);
            arena.take(network.output_lanes());
            arena.take(network.scratch_lanes());
        }))
    }

    fn record_lanes<T: Real>(&self) -> usize {
        with_network!(&self.conditioner, network => {
                    Arena::<T>::measure(|arena| {
        let _ = take_record(network, arena, true);
        })
                })
    }

    #[inline(always)]
    fn apply<V: Vector>(&self, call: Apply<'_, V::Scalar>, arena: Arena<'_, V::Scalar>) {
        let Apply { direction, theta, conditioning, moved, log_det, record } = call;
        let keep = !record.is_empty();
        let (mut arena, mut record) = (arena, Arena::new(record));
        let place = if keep { &mut record } else { &mut arena };
        with_network!(&self.conditioner, network => {
            let [vectors, tape] = take_record(network, place, keep);
            let positions = conditioning;
            let call = NetworkForward { theta, positions, vectors, tape, keep };
            network.forward::<V>(call, arena.rest());
            let (plan, outputs) = (&self.plan, network.outputs(tape, keep));
            with_transform!(self.inner, transform => {
                let given = Conditioned { plan, transform, direction, conditioning, outputs };
                V::call(Move { given, vectors, moved, log_det });
            });
        });
    }

    #[inline(always)]
    fn vjp<V: Vector>(&self, call: Vjp<'_, V::Scalar>, arena: Arena<'_, V::Scalar>) {
        let recorded = !call.record.is_empty();
        // A term of the loss of training: it has no part in gradients of the inputs alone.
        let trained = self.frame_loss > 0.0 && call.gradient.is_some();
        let frame_loss = trained.then(|| {
            let mut weight = Lane::zero();
            (V::load(call.frame_loss_cotangent) * V::constant(self.frame_loss)).store(&mut weight);
            weight
        });
        let (mut arena, mut record) = (arena, Arena::new(call.record));
        let place = if recorded { &mut record } else { &mut arena };
        with_network!(&self.conditioner, network => {
            let [vectors, tape] = take_record(network, place, true);
            if !recorded {
                let (theta, positions) = (call.theta, call.conditioning);
                let call = NetworkForward { theta, positions, vectors, tape, keep: true };
                network.forward::<V>(call, arena.rest());
            }
            // Each node overwrites its own vectors and outputs' cotangents, which it reads first.
            let outputs_cotangent = arena.take(network.output_lanes());
            let (plan, outputs) = (&self.plan, network.outputs(tape, true));
            let Vjp { direction, conditioning, .. } = call;
            with_transform!(self.inner, transform => V::call(MoveVjp {
                given: Conditioned { plan, transform, direction, conditioning, outputs },
                moved: call.moved,
                log_det_cotangent: call.log_det_cotangent,
                frame_loss,
                vectors: &mut *vectors,
                outputs_cotangent: &mut *outputs_cotangent,
                moved_cotangent: call.moved_cotangent,
                conditioning_cotangent: &mut *call.conditioning_cotangent,
            }));
            let call = NetworkVjp {
                theta: call.theta,
                tape,
                vectors_cotangent: vectors,
                outputs_cotangent,
                positions_cotangent: call.conditioning_cotangent,
                gradient: call.gradient,
            };
            network.vjp::<V>(call, arena.rest());
        });
    }
}

/// The vectors that a network makes, and its tape.
#[inline(always)]
fn take_record<'a, T: Real>(
    network: &impl VectorNetwork,
    arena: &mut Arena<'a, T>,
    keep: bool,
) -> [&'a mut [Lane<T>]; 2] {
    [arena.take(network.vector_lanes()), arena.take(network.tape_lanes(keep))]
}
