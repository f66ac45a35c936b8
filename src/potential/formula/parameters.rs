//! The keys of a formula's target file.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Error as _, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::potential::units::Dimension;

/// What defines a [`Formula`](super::Formula), unchecked; the keys of a target file.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FormulaParameters {
    /// Number of dimensions, 2 or 3.
    pub dimension: usize,
    /// How many particles there are, or the species of each.
    pub particles: Particles,
    /// Temperature kT in the unit of the formulas (default 1).
    #[serde(default = "one")]
    pub temperature: f64,
    /// Energy of a pair in its distance `r`.
    #[serde(default)]
    pub pair: Option<PerSpecies>,
    /// Edges of a periodic box, one for each dimension (default: none, open space).
    #[serde(default, rename = "box")]
    pub edges: Option<Vec<f64>>,
    /// Distance from which on a pair has no energy; within it the energy is shifted by that at the
    /// cut-off (default: none, but a box needs one, of at most half its shortest edge).
    #[serde(default)]
    pub cutoff: Option<f64>,
    /// Energy of a particle in its place from the centre of mass, `x, y, z` and `r_com`.
    #[serde(default)]
    pub external: Option<PerSpecies>,
    /// Energies in the distance `r` of two listed atoms.
    #[serde(default)]
    pub bonds: Vec<OverAtoms<2>>,
    /// Energies in the angle `theta` at b of three listed atoms a, b, c, and in their distances
    /// `r_ab`, `r_bc`, `r_ac`.
    #[serde(default)]
    pub angles: Vec<OverAtoms<3>>,
    /// Energies in the dihedral angle `phi` of four listed atoms.
    #[serde(default)]
    pub dihedrals: Vec<OverAtoms<4>>,
    /// Energies of every particle b with every two others a and c, in the same variables as those
    /// of angles.
    #[serde(default)]
    pub triples: Vec<OverTriples>,
    /// Energy of each particle in the density that the others make where it is.
    #[serde(default)]
    pub embedding: Option<EmbeddingFormulas>,
    /// Numbers with names, for all formulas.
    #[serde(default)]
    pub parameters: BTreeMap<String, f64>,
    /// Numbers with names for each species: `NAME_i` and `NAME_j` in a formula of pairs, `NAME_i`
    /// in one of particles, `NAME_a`, `NAME_b` and `NAME_c` in one of triples.
    #[serde(default)]
    pub species: BTreeMap<String, BTreeMap<String, f64>>,
}

fn one() -> f64 {
    1.0
}

impl FormulaParameters {
    /// What has a unit, where a target file has units; those of `parameters` are up to the
    /// formulas.
    pub const DIMENSIONS: &'static [(&'static str, Dimension)] =
        &[("temperature", Dimension::ENERGY), ("cutoff", Dimension::LENGTH)];
}

/// A number of particles that are all alike, or the species of each.
#[derive(Debug, Clone, PartialEq)]
pub enum Particles {
    /// This many particles, all alike.
    Alike(usize),
    /// Names of species.
    Named(Vec<String>),
}

/// One formula for all, or one for each species or pair of species (`A-B`).
#[derive(Debug, Clone, PartialEq)]
pub enum PerSpecies {
    /// The same for all.
    All(String),
    /// By the name of the species, or both names with a hyphen.
    Each(BTreeMap<String, String>),
}

/// A formula over listed atoms, counted from 0.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OverAtoms<const ATOMS: usize>
where
    [usize; ATOMS]: serde::de::DeserializeOwned,
{
    /// Which atoms; the same formula for every entry.
    pub atoms: Vec<[usize; ATOMS]>,
    /// The formula.
    pub energy: String,
}

/// A formula over every particle b and every two others a and c, which are any two: the formula
/// must be the same when they are exchanged, unless `species` says which is which.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OverTriples {
    /// Kinds of triples by the species of a, b and c, such as `"H-O-H"`; empty, the default, for
    /// all.
    #[serde(default)]
    pub species: Vec<String>,
    /// Only where a and c are nearer to b than this length, at which the formula should have come
    /// to 0; everywhere by default.
    #[serde(default)]
    pub within: Option<f64>,
    /// The formula.
    pub energy: String,
}

/// The many-body energy Σ_i energy(ρ_i) in the densities ρ_i = Σ_{j≠i} density(r_ij).
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EmbeddingFormulas {
    /// Density at i in the distance `r` of another particle j; of two formulas `A-B` and `B-A` the
    /// first is the density at A of a neighbour B.
    pub density: PerSpecies,
    /// Energy of a particle in its density `rho`.
    pub energy: PerSpecies,
}

impl<'de> Deserialize<'de> for Particles {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = Particles;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number of particles, or a list with the species of each")
            }
            fn visit_i64<E: serde::de::Error>(self, count: i64) -> Result<Particles, E> {
                let wrong = || E::invalid_value(serde::de::Unexpected::Signed(count), &self);
                usize::try_from(count).map(Particles::Alike).map_err(|_| wrong())
            }
            fn visit_u64<E: serde::de::Error>(self, count: u64) -> Result<Particles, E> {
                let wrong = || E::invalid_value(serde::de::Unexpected::Unsigned(count), &self);
                usize::try_from(count).map(Particles::Alike).map_err(|_| wrong())
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Particles, A::Error> {
                let mut names = Vec::new();
                while let Some(name) = list.next_element()? {
                    names.push(name);
                }
                Ok(Particles::Named(names))
            }
        }
        deserializer.deserialize_any(Either)
    }
}

impl<'de> Deserialize<'de> for PerSpecies {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = PerSpecies;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a formula in quotes, or a section with one for each species")
            }
            fn visit_str<E: serde::de::Error>(self, formula: &str) -> Result<PerSpecies, E> {
                Ok(PerSpecies::All(formula.to_string()))
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<PerSpecies, A::Error> {
                let mut each = BTreeMap::new();
                while let Some((key, formula)) = map.next_entry::<String, String>()? {
                    if each.insert(key.clone(), formula).is_some() {
                        return Err(A::Error::custom(format!("`{key}` comes twice")));
                    }
                }
                Ok(PerSpecies::Each(each))
            }
        }
        deserializer.deserialize_any(Either)
    }
}
