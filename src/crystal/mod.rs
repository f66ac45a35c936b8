//! Crystals in a periodic box: sites of lattices, and the free energy of particles tied to them.

mod free_energy;
mod lattice;

pub use free_energy::Crystal;
pub use lattice::Lattice;
