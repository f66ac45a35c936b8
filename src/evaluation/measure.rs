//! Observables on the particles of a target: their numbers for each sample.

use std::sync::Arc;

use rayon::prelude::*;

use super::crystal::{mean_square_displacement, structure_factor};
use super::observable::Observable;
use crate::diagnostics::{Aligner, Symmetries};
use crate::error::Error;
use crate::molecule::{angle, dihedral, distance, AtomName, Backbone};
use crate::potential::{Formula, FormulaParameters, Particles as OfFormula, PerSpecies, Potential};
use crate::samples::{Particles, Samples};
use crate::system::System;

/// An observable whose atoms are found and whose formula is compiled.
pub(super) struct Measure {
    system: System,
    kind: Kind,
    /// The name of the unit of length.
    length: &'static str,
}

enum Kind {
    Energy,
    RadiusOfGyration,
    Formula(Box<Formula>),
    Distance([usize; 2]),
    Angle([usize; 3]),
    Dihedral([usize; 4]),
    Rmsd {
        structure: Vec<f64>,
        aligner: Box<Aligner>,
    },
    /// From these sites.
    Displacement(Arc<[f64]>),
    StructureFactor(Vec<i32>),
}

impl Observable {
    /// Finds what it names among `particles`, before there are samples.
    ///
    /// # Errors
    /// [`Error::Parameter`] with the place in a formula, or with the atoms that there are.
    pub fn check(&self, particles: &Particles) -> Result<(), Error> {
        self.measures(particles).map(drop)
    }

    /// Those of a histogram, otherwise one; none for pair distances, of which a sample has many.
    pub(super) fn measures(&self, particles: &Particles) -> Result<Vec<Measure>, Error> {
        match self {
            Self::PairDistances => Ok(Vec::new()),
            Self::RadialDistribution => match particles.system.periodic_box() {
                Some(_) => Ok(Vec::new()),
                None => Err(Error::parameter(
                    "--observable",
                    "\"radial_distribution\" needs a mean density, and the target is in open \
                     space: use \"pair_distances\"",
                )),
            },
            Self::Histogram(of) => of.iter().map(|one| one.measure(particles)).collect(),
            one => Ok(vec![one.measure(particles)?]),
        }
    }

    fn measure(&self, particles: &Particles) -> Result<Measure, Error> {
        let system = particles.system;
        let wrong = |problem: String| {
            Error::parameter("--observable", format!("\"{}\" {problem}", self.name()))
        };
        let kind = match self {
            Self::Energy | Self::HeatCapacity => Kind::Energy,
            Self::RadiusOfGyration => Kind::RadiusOfGyration,
            Self::Pair(formula) => {
                let pair = Some(PerSpecies::All(formula.clone()));
                Kind::Formula(Box::new(compiled(system, pair, None)?))
            }
            Self::External(formula) => {
                let external = Some(PerSpecies::All(formula.clone()));
                Kind::Formula(Box::new(compiled(system, None, external)?))
            }
            Self::Distance(names) => Kind::Distance(found(names, particles).map_err(wrong)?),
            Self::Angle(names) => Kind::Angle(found(names, particles).map_err(wrong)?),
            Self::Dihedral(names) => {
                if system.dimension() != 3 {
                    return Err(wrong("is in space, and the target is in a plane".into()));
                }
                Kind::Dihedral(found(names, particles).map_err(wrong)?)
            }
            Self::Backbone(kind, residue) => {
                let residue = residue.as_deref();
                Kind::Dihedral(backbone(*kind, residue, particles).map_err(wrong)?)
            }
            Self::Rmsd => rmsd(particles).map_err(wrong)?,
            Self::MeanSquareDisplacement => match &particles.sites {
                Some(sites) => Kind::Displacement(sites.clone()),
                None => {
                    return Err(wrong("is from the sites of a crystal, and there are none".into()))
                }
            },
            Self::StructureFactor(waves) => match system.periodic_box() {
                Some(edges) if edges.len() == waves.len() => Kind::StructureFactor(waves.clone()),
                Some(edges) => {
                    return Err(wrong(format!("needs {} numbers of waves", edges.len())))
                }
                None => return Err(wrong("needs a periodic box".into())),
            },
            Self::PairDistances | Self::RadialDistribution | Self::Histogram(_) => {
                return Err(wrong("has no number for each sample".into()))
            }
        };
        Ok(Measure { system, kind, length: particles.length_unit() })
    }
}

impl Measure {
    /// Whether its values are directions, for which 180° and −180° are the same.
    pub fn is_circular(&self) -> bool {
        matches!(self.kind, Kind::Dihedral(_))
    }

    /// What its numbers are in; empty for numbers without a unit, and for lengths in one without a
    /// name here.
    pub fn unit(&self) -> &'static str {
        match self.kind {
            Kind::Angle(_) | Kind::Dihedral(_) => "degrees",
            Kind::Distance(_) | Kind::Rmsd { .. } | Kind::RadiusOfGyration => self.length,
            Kind::Energy => "kT",
            Kind::Displacement(_) => match self.length {
                "Å" => "Å²",
                "nm" => "nm²",
                _ => "",
            },
            Kind::Formula(_) | Kind::StructureFactor(_) => "",
        }
    }

    /// All values that there can be, where that is known.
    pub fn range(&self) -> Option<[f64; 2]> {
        match self.kind {
            Kind::Angle(_) => Some([0.0, 180.0]),
            Kind::Dihedral(_) => Some([-180.0, 180.0]),
            _ => None,
        }
    }

    /// One for each sample of `batch`; not a number (NaN) where there is none.
    pub fn values(&self, batch: &Samples) -> Result<Vec<f64>, Error> {
        let (system, x) = (self.system, &batch.positions[..]);
        let d = system.dimension();
        let rows = || x.par_chunks_exact(system.coordinates());
        Ok(match &self.kind {
            Kind::Energy => batch.energies.clone(),
            Kind::RadiusOfGyration => rows().map(|x| radius_of_gyration(system, x)).collect(),
            Kind::Formula(formula) => formula_values(formula, x)?,
            Kind::Distance(atoms) => {
                rows().map(|x| distance(&images(system, x, atoms), d, [0, 1])).collect()
            }
            Kind::Angle(atoms) => {
                rows().map(|x| angle(&images(system, x, atoms), d, [0, 1, 2])).collect()
            }
            Kind::Dihedral(atoms) => {
                rows().map(|x| dihedral(&images(system, x, atoms), [0, 1, 2, 3])).collect()
            }
            Kind::Rmsd { structure, aligner } => {
                let distance = |aligner: &mut Box<Aligner>, x: &[f64]| {
                    let mut centred = x.to_vec();
                    system.remove_center_of_mass(&mut centred);
                    let squares = aligner.squared_distance(&centred, structure);
                    (squares.max(0.0) / system.particles() as f64).sqrt()
                };
                rows().map_init(|| aligner.clone(), distance).collect()
            }
            Kind::Displacement(sites) => {
                rows().map(|x| mean_square_displacement(system, sites, x)).collect()
            }
            Kind::StructureFactor(waves) => {
                rows().map(|x| structure_factor(system, waves, x)).collect()
            }
        })
    }
}

/// The positions of `atoms`, [atoms, dimension], in a periodic box each at the image that is the
/// nearest to the one before it.
fn images(system: System, x: &[f64], atoms: &[usize]) -> Vec<f64> {
    let d = system.dimension();
    let mut positions: Vec<f64> = Vec::with_capacity(atoms.len() * d);
    for &atom in atoms {
        let here = &x[atom * d..(atom + 1) * d];
        match positions.len().checked_sub(d) {
            Some(last) if system.periodic_box().is_some() => {
                let step = system.separation(here, &positions[last..]);
                for k in 0..d {
                    positions.push(positions[last + k] + step[k]);
                }
            }
            _ => positions.extend(here),
        }
    }
    positions
}

fn found<const N: usize>(names: &[AtomName; N], of: &Particles) -> Result<[usize; N], String> {
    let mut atoms = [0; N];
    for (atom, name) in atoms.iter_mut().zip(names) {
        *atom = name.find(of.system.particles(), of.molecule.as_deref())?;
    }
    match (1..N).find(|&k| atoms[..k].contains(&atoms[k])) {
        Some(k) => Err(format!("has the atom {} twice", atoms[k])),
        None => Ok(atoms),
    }
}

fn backbone(kind: Backbone, residue: Option<&str>, of: &Particles) -> Result<[usize; 4], String> {
    let Some(molecule) = of.molecule.as_deref() else {
        return Err(
            "needs the names of atoms: add structure = \"molecule.pdb\" to the target's file"
                .to_string(),
        );
    };
    let all = molecule.backbone(kind);
    let is_meant = |label: &str, number: i64| {
        residue.is_none_or(|text| text == label || text == number.to_string())
    };
    let meant: Vec<_> = all.iter().filter(|a| is_meant(&a.label, a.residue)).collect();
    let name = kind.name();
    let labels: Vec<String> =
        all.iter().map(|angle| format!("\"{name}: {}\"", angle.label)).collect();
    match &meant[..] {
        [angle] => Ok(angle.atoms),
        [] if all.is_empty() => Err(format!(
            "is an angle of peptides: of residues with the atoms N, CA and C and a bond to the \
             next one. There is no {name} here: use \"dihedral: …\" with the names of atoms"
        )),
        [] => Err(format!("is not there: use one of {}", labels.join(", "))),
        _ => Err(format!("can be one of {}: say at which residue", labels.join(", "))),
    }
}

fn rmsd(of: &Particles) -> Result<Kind, String> {
    let Some(molecule) = of.molecule.as_deref() else {
        return Err(
            "needs a structure: add structure = \"molecule.pdb\" to the target's file".to_string()
        );
    };
    let system = of.system;
    let mut structure: Vec<f64> = molecule.positions.iter().map(|x| x / of.angstrom()).collect();
    system.remove_center_of_mass(&mut structure);
    // Samples of a chiral molecule have its handedness; others have both.
    let reflections = molecule.stereocentres.is_empty();
    let symmetries = Symmetries { system, species: &molecule.alike, reflections };
    // Like atoms make local minima, which several starts leave.
    let kinds = system.kinds(&molecule.alike);
    let starts = if kinds.len() == system.particles() { 0 } else { 8 };
    Ok(Kind::Rmsd { structure, aligner: Box::new(Aligner::new(symmetries, starts)) })
}

fn compiled(
    system: System,
    pair: Option<PerSpecies>,
    external: Option<PerSpecies>,
) -> Result<Formula, Error> {
    let parameters = FormulaParameters {
        dimension: system.dimension(),
        particles: OfFormula::Alike(system.particles()),
        temperature: 1.0,
        pair,
        edges: None,
        cutoff: None,
        external,
        bonds: Vec::new(),
        angles: Vec::new(),
        dihedrals: Vec::new(),
        triples: Vec::new(),
        embedding: None,
        parameters: Default::default(),
        species: Default::default(),
    };
    let formula = Formula::new(parameters).map(|formula| formula.into_nearest_images(system));
    formula.map_err(|error| match error {
        Error::Parameter { field, problem } => {
            Error::parameter("--observable", format!("{field}: {problem}"))
        }
        other => other,
    })
}

/// √(Σ‖xᵢ − x̄‖²/n) of a configuration.
fn radius_of_gyration(system: System, x: &[f64]) -> f64 {
    let center = system.center_of_mass(x);
    let squares: f64 = x
        .chunks_exact(system.dimension())
        .flat_map(|row| row.iter().zip(&center))
        .map(|(value, center)| (value - center).powi(2))
        .sum();
    (squares / system.particles() as f64).sqrt()
}

/// The value of `formula` for each configuration of `x`; not a number (NaN) where it has none.
fn formula_values(formula: &Formula, x: &[f64]) -> Result<Vec<f64>, Error> {
    const PART: usize = 256;
    let coordinates = formula.system().coordinates();
    let mut values = vec![0.0; x.len() / coordinates];
    x.par_chunks(PART * coordinates)
        .zip(values.par_chunks_mut(PART))
        .try_for_each(|(x, values)| formula.energies(x, values).map(|_| ()))?;
    Ok(values)
}
