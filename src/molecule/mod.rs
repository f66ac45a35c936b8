//! What a structure file says about a molecule: names, elements, residues, bonds, a geometry; and
//! what follows from these: geometry by names, stereocentres.
//!
//! The readers of PDB and PDBx/mmCIF are our own: the crate pdbtbx 0.12 reads no CONECT and panics
//! on one in twenty files with a single damaged byte.

mod atoms;
mod bonds;
mod chirality;
mod cif;
mod complete;
mod elements;
mod geometry;
mod kinds;
mod names;
mod normal;
mod pdb;
mod tree;

pub use atoms::{Atom, LikeNeighbours, Molecule, Stereocentre};
pub use bonds::neighbours;
pub use chirality::{Chirality, Handedness};
pub use elements::Element;
pub use geometry::{angle, dihedral, distance};
pub use kinds::{Kind, Torsion};
pub use names::{AtomName, Backbone, BackboneAngle};

pub(crate) use bonds::side_of;
pub(crate) use cif::read_cif;
pub(crate) use geometry::{cross, dot, signed_volume};
pub(crate) use normal::{cholesky, counted_from, Normal};
pub(crate) use pdb::read_pdb;
pub(crate) use tree::{wrapped, Internal, Tree, Turn};
