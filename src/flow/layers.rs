//! `[[flow.layers]]`: what the layers of a flow can be, one line for each coupling.

use serde::{Deserialize, Serialize};

use super::base::{BaseDensity, BaseKind};
use super::crystal::CrystalBase;
use super::molecule::MoleculeBase;
use super::{
    Coupling, CouplingContext, FlowOptions, NonequivariantOptions, PairwiseCoupling,
    PairwiseOptions, ParameterLayout, ProjectedCoupling, ProjectedOptions, Projection, Skeleton,
};
use crate::crystal::Crystal;
use crate::engine::Real;
use crate::error::Error;
use crate::limits::count;

/// Each line: name in a recipe, variant with its options, constructor. The options have `repeat`
/// and a `validate` of all else, which gets the same last argument as the constructor, if any.
macro_rules! couplings {
    ($(
        $(#[$doc:meta])*
        $name:literal: $variant:ident($options:ident) = $coupling:ident::$new:ident($($last:expr)?);
    )+) => {
        /// Layers of one kind: an entry of `[[flow.layers]]`, whose kind `coupling` names.
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
        #[serde(tag = "coupling", try_from = "toml::Table")]
        pub enum LayerGroup {
            $($(#[$doc])* #[serde(rename = $name)] $variant($options),)+
        }

        /// Names of the couplings.
        const NAMES: &[&str] = &[$($name),+];

        impl LayerGroup {
            /// Number of layers.
            pub fn repeat(&self) -> usize {
                match self { $(Self::$variant(options) => options.repeat,)+ }
            }

            /// Checks every value.
            pub(super) fn validate(&self) -> Result<(), Error> {
                count("repeat", self.repeat(), 1..=1000)?;
                match self { $(Self::$variant(options) => options.validate($($last)?),)+ }
            }

            /// One coupling, which is the identity with its initial parameters (or scales the
            /// noise by the context's factor). They are added to `layout`.
            ///
            /// # Errors
            /// [`Error::Parameter`] for an option out of its limits, and for particles or
            /// dimensions that the coupling is not made for.
            pub fn build<T: Precision>(
                &self,
                context: &CouplingContext<'_>,
                layout: &mut ParameterLayout,
            ) -> Result<Box<dyn Coupling<T>>, Error> {
                T::build(self, context, layout)
            }

            #[inline(always)]
            fn build_here<T: Real>(
                &self,
                context: &CouplingContext<'_>,
                layout: &mut ParameterLayout,
            ) -> Result<Box<dyn Coupling<T>>, Error> {
                Ok(match self {
                    $(Self::$variant(options) => {
                        Box::new($coupling::$new(context, options, layout $(, $last)?)?)
                    })+
                })
            }

            /// The options in `table` of the coupling `name`, if there is such a coupling.
            fn of_name(name: &str, table: toml::Table) -> Option<Result<Self, toml::de::Error>> {
                Some(match name {
                    $($name => table.try_into().map(Self::$variant),)+
                    _ => return None,
                })
            }
        }
    };
}

couplings! {
    /// The pairwise matrix exponential with a radial conditioner.
    "pairwise": Pairwise(PairwiseOptions) = PairwiseCoupling::new();
    /// The vector projection of Midgley et al. (NeurIPS 2023): splines of the distance to an
    /// origin, with an E(n)-equivariant graph network.
    "vector": Vector(ProjectedOptions) = ProjectedCoupling::new(Projection::Vector);
    /// Their Cartesian projection: affine maps or splines of coordinates in a frame, with the same
    /// network. Equivariant under rotations, not under reflections.
    "cartesian": Cartesian(ProjectedOptions) = ProjectedCoupling::new(Projection::Cartesian);
    /// Their spherical projection: splines of distance and angles in a frame, with the same
    /// network. Equivariant under rotations, not under reflections.
    "spherical": Spherical(ProjectedOptions) = ProjectedCoupling::new(Projection::Spherical);
    /// Their baseline: affine maps of Cartesian coordinates with a transformer. Equivariant under
    /// translations and permutations only, not under rotations: training turns its samples at
    /// random.
    "nonequivariant": Nonequivariant(NonequivariantOptions) = ProjectedCoupling::nonequivariant();
}

/// A number that flows are made for: f32 for runs, f64 for checks. The kernels of f32 are compiled
/// once, in this crate, and those of f64 in a crate that uses them.
///
/// # Examples
/// ```
/// use boltzflow::flow::{Flow, FlowOptions, Precision};
/// use boltzflow::{Error, System};
///
/// fn parameters<T: Precision>(options: &FlowOptions) -> Result<usize, Error> {
///     Ok(Flow::<T>::new(System::new(4, 2)?, options)?.layout().total())
/// }
/// let options = FlowOptions::default();
/// assert_eq!(parameters::<f32>(&options)?, parameters::<f64>(&options)?);
/// # Ok::<(), Error>(())
/// ```
pub trait Precision: Real {
    /// [`LayerGroup::build`].
    #[doc(hidden)]
    fn build(
        group: &LayerGroup,
        context: &CouplingContext<'_>,
        layout: &mut ParameterLayout,
    ) -> Result<Box<dyn Coupling<Self>>, Error>;

    /// The density of a molecule or a crystal; `None` for a Gaussian.
    #[doc(hidden)]
    fn build_base(
        species: &[usize],
        known: (Option<&Crystal>, Option<Skeleton<'_>>),
        options: &FlowOptions,
        layout: &mut ParameterLayout,
    ) -> Result<Option<Box<dyn BaseDensity<Self>>>, Error>;
}

macro_rules! precision {
    ($real:ty $(, #[$attribute:meta])?) => {
        impl Precision for $real {
            $(#[$attribute])?
            fn build(
                group: &LayerGroup,
                context: &CouplingContext<'_>,
                layout: &mut ParameterLayout,
            ) -> Result<Box<dyn Coupling<Self>>, Error> {
                group.build_here(context, layout)
            }

            $(#[$attribute])?
            fn build_base(
                species: &[usize],
                (crystal, skeleton): (Option<&Crystal>, Option<Skeleton<'_>>),
                options: &FlowOptions,
                layout: &mut ParameterLayout,
            ) -> Result<Option<Box<dyn BaseDensity<Self>>>, Error> {
                Ok(match (options.base.kind, crystal) {
                    (BaseKind::Molecule, _) => {
                        let options = &options.base;
                        Some(Box::new(MoleculeBase::new(species, skeleton, options, layout)?))
                    }
                    (BaseKind::Crystal, Some(crystal)) => {
                        let stiffness = skeleton.map_or(&[][..], |skeleton| skeleton.stiffness);
                        Some(Box::new(CrystalBase::new(crystal, stiffness, options, layout)?))
                    }
                    _ => None,
                })
            }
        }
    };
}

precision!(f32, #[inline(never)]);
precision!(f64, #[inline]);

/// By hand, because serde's tagged enums lose the name of an offending key.
impl TryFrom<toml::Table> for LayerGroup {
    type Error = String;

    fn try_from(mut table: toml::Table) -> Result<Self, String> {
        let expected = format!("expected one of `{}`", NAMES.join("`, `"));
        let name = match table.remove("coupling") {
            Some(toml::Value::String(name)) => name,
            Some(other) => return Err(format!("is {other}, {expected}\nin `coupling`")),
            None => return Err(format!("missing field `coupling`, {expected}")),
        };
        match Self::of_name(&name, table) {
            Some(group) => group.map_err(|e| e.to_string()),
            None => Err(format!("unknown variant `{name}`, {expected}\nin `coupling`")),
        }
    }
}
