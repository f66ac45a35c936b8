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
}

/// The density that samples start from: `[flow.base]`. That of a molecule is a flow of its own, in
/// distances, angles and dihedral angles along the bonds, which starts from a fit to samples and is
/// trained like all else. It needs no augmented copies and no layers after it: both are left out by
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
    /// Bins of the splines of distances, angles and stiff dihedral angles (default 4).
    pub bins: usize,
    /// Bins of the circular splines of dihedral angles that turn (default 8).
    pub torsion_bins: usize,
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
        }
    }
}

impl BaseOptions {
    /// Whether it is that of a molecule.
    pub fn is_molecule(&self) -> bool {
        self.kind == BaseKind::Molecule
    }

    /// Whether a recipe need not name it.
    pub(in crate::flow) fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// Checks every value.
    pub(in crate::flow) fn validate(&self) -> Result<(), Error> {
        if !self.is_molecule() && !self.is_default() {
            let problem = "is \"gaussian\", which has no other keys: remove them, or use \
                           \"molecule\"";
            return Err(Error::parameter("kind", problem));
        }
        count("layers", self.layers, 0..=1000)?;
        count("width", self.width, 1..=1024)?;
        count("hidden_layers", self.hidden_layers, 1..=16)?;
        count("bins", self.bins, 2..=MAX_BINS)?;
        count("torsion_bins", self.torsion_bins, 2..=MAX_BINS)
    }
}
