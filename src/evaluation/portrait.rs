//! What chemists look at in samples of a molecule: bond lengths, angles, torsions, and the map of
//! the backbone's two angles.

use crate::molecule::{angle, dihedral, distance, Backbone, Molecule};
use crate::samples::{Particles, Samples};

/// Kinds of each that are shown at most.
const MOST: usize = 6;
/// Residues whose map is shown at most.
const MOST_MAPS: usize = 4;

/// Numbers of samples of the flow and of reference samples.
#[derive(Debug, Clone, Default)]
pub struct Spread {
    /// What it is of, such as "C–N" or "φ ALA2".
    pub label: String,
    /// Of the flow: [samples, values].
    pub flow: Vec<f64>,
    /// Of reference samples, if there are any: [samples, values].
    pub reference: Option<Vec<f64>>,
}

/// The angles φ and ψ of a residue, in degrees.
#[derive(Debug, Clone)]
pub struct BackboneMap {
    /// The residue, such as "ALA2".
    pub label: String,
    /// C–N–CA–C.
    pub phi: Spread,
    /// N–CA–C–N.
    pub psi: Spread,
}

/// The numbers behind a molecule's figures.
#[derive(Debug, Clone, Default)]
pub struct Portrait {
    /// Bond lengths by elements, in the unit below.
    pub bonds: Vec<Spread>,
    /// "Å", or empty where the target has no units.
    pub length_unit: &'static str,
    /// Angles by elements, in degrees.
    pub angles: Vec<Spread>,
    /// Dihedral angles, in degrees, one for each sample.
    pub torsions: Vec<Spread>,
    /// Of each residue with both angles.
    pub maps: Vec<BackboneMap>,
}

impl Portrait {
    /// Of samples of the flow and of reference samples, which have the structure's handedness;
    /// `None` where `particles` are not those of a molecule.
    pub fn new(
        particles: &Particles,
        drawn: &Samples,
        reference: Option<&Samples>,
    ) -> Option<Self> {
        let molecule: &Molecule = particles.molecule.as_deref()?;
        let of = Of { width: 3 * molecule.atoms.len(), drawn, reference };
        let bonds = molecule.bond_kinds().into_iter().take(MOST);
        let angles = molecule.angle_kinds().into_iter().take(MOST);
        let torsions = molecule.torsions().into_iter().take(MOST);
        let (phi, psi) = (molecule.backbone(Backbone::Phi), molecule.backbone(Backbone::Psi));
        let maps = phi.iter().filter_map(|phi| {
            let psi = psi.iter().find(|psi| psi.atoms[1] == phi.atoms[2])?;
            let turn = |label: &str, atoms| of.spread(label, &[atoms], dihedral);
            let (first, second) = (turn("φ", phi.atoms), turn("ψ", psi.atoms));
            Some(BackboneMap { label: phi.label.clone(), phi: first, psi: second })
        });
        let unit = particles.angstrom();
        let length = |x: &[f64], atoms| unit * distance(x, 3, atoms);
        Some(Self {
            bonds: bonds.map(|kind| of.spread(&kind.label, &kind.members, length)).collect(),
            length_unit: if particles.units.is_some() { "Å" } else { "" },
            angles: angles
                .map(|kind| of.spread(&kind.label, &kind.members, |x, atoms| angle(x, 3, atoms)))
                .collect(),
            torsions: torsions.map(|t| of.spread(&t.label, &[t.atoms], dihedral)).collect(),
            maps: maps.take(MOST_MAPS).collect(),
        })
    }
}

struct Of<'a> {
    width: usize,
    drawn: &'a Samples,
    reference: Option<&'a Samples>,
}

impl Of<'_> {
    fn spread<const N: usize>(
        &self,
        label: &str,
        members: &[[usize; N]],
        value: impl Fn(&[f64], [usize; N]) -> f64,
    ) -> Spread {
        let value = &value;
        let values = |samples: &Samples| -> Vec<f64> {
            let rows = samples.positions.chunks_exact(self.width);
            rows.flat_map(|x| members.iter().map(move |atoms| value(x, *atoms))).collect()
        };
        Spread {
            label: label.to_string(),
            flow: values(self.drawn),
            reference: self.reference.map(values),
        }
    }
}
