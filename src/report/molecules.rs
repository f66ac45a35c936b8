//! What a page shows of a molecule.

use serde::Serialize;

use super::numbers::{Picture, Short};
use crate::error::Error;
use crate::evaluation::{BackboneMap, Portrait, Spread};
use crate::molecule::{Atom, Molecule};
use crate::plot::{outlines, pieces, Distribution, EnergyUnit, Landscape, MAP_BINS};

/// A molecule's atoms and bonds, and the figures of its samples.
#[derive(Debug, Clone, Serialize)]
pub struct MoleculePictures {
    symbols: Vec<&'static str>,
    labels: Vec<String>,
    bonds: Vec<[usize; 2]>,
    /// Of free energies.
    unit: &'static str,
    /// Of bond lengths; empty where the target has no units.
    length_unit: &'static str,
    maps: Vec<MapPicture>,
    torsions: Vec<Profile>,
    lengths: Vec<Named>,
    angles: Vec<Named>,
}

/// Free energies over φ and ψ, whose bins run fastest; null where there are no samples.
#[derive(Debug, Clone, Serialize)]
struct MapPicture {
    label: String,
    bins: usize,
    top: Short,
    flow: Vec<Short>,
    reweighted: Vec<Short>,
    reference: Vec<Short>,
}

/// Free energies over an angle; a pair of nulls is a gap.
#[derive(Debug, Clone, Serialize)]
struct Profile {
    label: String,
    flow: Vec<[Short; 2]>,
    reweighted: Vec<[Short; 2]>,
    reference: Vec<[Short; 2]>,
}

#[derive(Debug, Clone, Serialize)]
struct Named {
    label: String,
    picture: Picture,
}

impl MoleculePictures {
    /// Of `molecule`, of whose samples there is a `portrait`; kT is so many kJ/mol, if that is
    /// known.
    ///
    /// # Errors
    /// [`Error::Parameter`] when values and weights differ in number.
    pub fn new(
        molecule: &Molecule,
        portrait: &Portrait,
        log_weights: &[f64],
        kilojoules_per_mole: Option<f64>,
    ) -> Result<Self, Error> {
        let unit = EnergyUnit::of(kilojoules_per_mole);
        let named = |Spread { label, flow, reference }: &Spread| {
            let reference = reference.as_deref();
            let picture = outlines(&Distribution { flow, log_weights, reference })?.into();
            Ok(Named { label: label.clone(), picture })
        };
        Ok(Self {
            symbols: molecule.atoms.iter().map(Atom::symbol).collect(),
            labels: molecule.atoms.iter().map(Atom::label).collect(),
            bonds: molecule.bonds.clone(),
            unit: unit.name,
            length_unit: portrait.length_unit,
            maps: portrait.maps.iter().map(|map| picture(map, log_weights, unit)).collect(),
            torsions: portrait.torsions.iter().map(|t| profile(t, log_weights, unit)).collect(),
            lengths: portrait.bonds.iter().map(named).collect::<Result<_, Error>>()?,
            angles: portrait.angles.iter().map(named).collect::<Result<_, Error>>()?,
        })
    }
}

fn picture(map: &BackboneMap, log_weights: &[f64], unit: EnergyUnit) -> MapPicture {
    let BackboneMap { label, phi, psi } = map;
    let reference = phi.reference.as_deref().zip(psi.reference.as_deref());
    let reference = reference.map(|(phi, psi)| [phi, psi]);
    let found = Landscape::map([&phi.flow, &psi.flow], log_weights, reference);
    let short = |energies: &[Option<f64>]| -> Vec<Short> {
        energies.iter().map(|energy| Short(energy.map_or(f64::NAN, |e| e * unit.kt))).collect()
    };
    MapPicture {
        label: label.clone(),
        bins: MAP_BINS,
        top: Short(found.top() * unit.kt),
        flow: short(&found.flow),
        reweighted: short(&found.reweighted),
        reference: short(&found.reference),
    }
}

fn profile(spread: &Spread, log_weights: &[f64], unit: EnergyUnit) -> Profile {
    let reference = spread.reference.as_deref();
    let found = Landscape::profile(&spread.flow, log_weights, reference);
    let (top, gap) = (found.top(), [Short(f64::NAN); 2]);
    let points = |energies: &[Option<f64>]| -> Vec<[Short; 2]> {
        let short = |piece: Vec<(f64, f64)>| {
            let points: Vec<[Short; 2]> =
                piece.into_iter().map(|(x, y)| [Short(x), Short(y * unit.kt)]).collect();
            points
        };
        let pieces: Vec<Vec<[Short; 2]>> = pieces(energies, top).into_iter().map(short).collect();
        pieces.join(&gap)
    };
    Profile {
        label: spread.label.clone(),
        flow: points(&found.flow),
        reweighted: points(&found.reweighted),
        reference: points(&found.reference),
    }
}
