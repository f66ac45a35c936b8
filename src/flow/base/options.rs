//! Options of the base density.

use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::flow::spline::MAX_BINS;
use crate::limits::count;

/// What samples start from, before the layers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BaseKind {
    /// One Gaussian for all coordinates, which knows nothing of the target.
    #[default]
    Gaussian,
    /// A flow in distances, angles and dihedral angles along the bonds of a molecule.
    Molecule,
    /// Gaussian displacements from the sites of a crystal in a periodic box, to which its particles
    /// are tied.
    Crystal,
}

/// How the particles of a crystal are displaced from their sites, before the layers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Displacements {
    /// Together, as in the harmonic crystal: a Gaussian whose inverse covariance is the matrix of
    /// second derivatives of U at the sites, which is exact at low temperature.
    #[default]
    Harmonic,
    /// Each by itself, as on a spring to its site.
    Independent,
}

/// The density that samples start from: `[flow.base]`. That of a molecule is a flow of its own, in
/// distances, angles and dihedral angles along the bonds, which starts from a fit to samples and is
/// trained like all else; that of a crystal has displacements from the sites that the target's
/// structure gives. Both need no augmented copies and no layers after them, which are left out by
/// default.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BaseOptions {
    /// Which one (default "gaussian").
    pub kind: BaseKind,
    /// Layers in internal coordinates, each of which moves one half of them given the other
    /// (default 12); 0 leaves the fit alone.
    pub layers: usize,
    /// Width of the hidden layers of their networks (default 64).
    pub width: usize,
    /// Hidden layers of each network (default 2).
    pub hidden_layers: usize,
    /// Bins of the splines of distances, angles and stiff dihedral angles (default 4); 1 is none,
    /// affine maps alone.
    pub bins: usize,
    /// Bins of the circular splines of dihedral angles that turn (default 8).
    pub torsion_bins: usize,
    /// Displacements of a crystal's particles (default "harmonic"). `base_scale` multiplies those
    /// of the harmonic crystal, or is the standard deviation of independent ones.
    pub displacements: Displacements,
}

impl Default for BaseOptions {
    fn default() -> Self {
        Self {
            kind: BaseKind::Gaussian,
            layers: 12,
            width: 64,
            hidden_layers: 2,
            bins: 4,
            torsion_bins: 8,
            displacements: Displacements::Harmonic,
        }
    }
}

impl BaseOptions {
    /// Whether it is one Gaussian for all coordinates, which needs layers.
    pub fn is_gaussian(&self) -> bool {
        self.kind == BaseKind::Gaussian
    }

    /// Whether it is that of a crystal.
    pub fn is_crystal(&self) -> bool {
        self.kind == BaseKind::Crystal
    }

    /// Whether it is made of the second derivatives of U.
    pub fn needs_stiffness(&self) -> bool {
        self.is_crystal() && self.displacements == Displacements::Harmonic
    }

    /// Whether a recipe need not name it.
    pub(in crate::flow) fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// Checks every value.
    pub(in crate::flow) fn validate(&self) -> Result<(), Error> {
        let keys = Self { kind: BaseKind::Gaussian, ..self.clone() };
        let (harmonic, of_crystal) = (Displacements::Harmonic, self.displacements);
        let problem = match self.kind {
            BaseKind::Gaussian if !keys.is_default() => {
                "is \"gaussian\", which has no other keys: remove them, or use \"molecule\" or \
                 \"crystal\""
            }
            BaseKind::Crystal if !(Self { displacements: harmonic, ..keys }).is_default() => {
                "is \"crystal\", which has no other key than `displacements`: remove them"
            }
            BaseKind::Molecule if of_crystal != harmonic => {
                "is \"molecule\", and `displacements` are a crystal's: remove them"
            }
            _ => "",
        };
        if !problem.is_empty() {
            return Err(Error::parameter("kind", problem));
        }
        count("layers", self.layers, 0..=1000)?;
        count("width", self.width, 1..=1024)?;
        count("hidden_layers", self.hidden_layers, 1..=16)?;
        count("bins", self.bins, 1..=MAX_BINS)?;
        count("torsion_bins", self.torsion_bins, 2..=MAX_BINS)
    }
}
