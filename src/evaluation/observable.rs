//! Functions of a configuration that can be averaged, by the names that a user gives them.

use std::str::FromStr;

use crate::error::{suggest, Error};
use crate::molecule::{AtomName, Backbone};

/// What to average over a target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Observable {
    /// U/kT.
    Energy,
    /// Variance of U/kT.
    HeatCapacity,
    /// √(Σ‖xᵢ − x̄‖²/n).
    RadiusOfGyration,
    /// The distribution of all pair distances.
    PairDistances,
    /// g(r), the density of particles at a distance r from one over their mean density, in a
    /// periodic box.
    RadialDistribution,
    /// Σ‖uᵢ − ū‖²/n of the displacements u from the sites of a crystal.
    MeanSquareDisplacement,
    /// |Σᵢ exp(−i k·xᵢ)|²/n in a periodic box, for the wave vector with so many waves along each
    /// edge: k = 2π (h/Lx, k/Ly, l/Lz).
    StructureFactor(Vec<i32>),
    /// Σ over pairs of a formula in the distance r.
    Pair(String),
    /// Σ over particles of a formula in the place from the centre of mass.
    External(String),
    /// The distance of two atoms.
    Distance([AtomName; 2]),
    /// The angle at the second of three atoms, in degrees.
    Angle([AtomName; 3]),
    /// The dihedral angle of four atoms, in degrees in (−180, 180]; its mean is that of directions.
    Dihedral([AtomName; 4]),
    /// A dihedral angle of a peptide's backbone, at the residue of that number or name; at the only
    /// one if none is given.
    Backbone(Backbone, Option<String>),
    /// √(Σ‖xᵢ − yᵢ‖²/n) to the target's structure y, moved, turned and with like atoms exchanged
    /// for the least.
    Rmsd,
    /// The density of one of these, or of two together.
    Histogram(Vec<Observable>),
}

const NAMES: [&str; 15] = [
    "energy",
    "heat_capacity",
    "radius_of_gyration",
    "pair_distances",
    "radial_distribution",
    "mean_square_displacement",
    "structure_factor:",
    "pair:",
    "external:",
    "distance:",
    "angle:",
    "dihedral:",
    "phi",
    "psi",
    "rmsd",
];

fn wrong<T>(problem: String) -> Result<T, Error> {
    Err(Error::parameter("--observable", problem))
}

impl FromStr for Observable {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let (name, rest) = match text.split_once(':') {
            Some((name, rest)) => (name.trim(), Some(rest.trim().to_string())),
            None => (text.trim(), None),
        };
        match (name, rest) {
            ("energy", None) => Ok(Self::Energy),
            ("heat_capacity", None) => Ok(Self::HeatCapacity),
            ("radius_of_gyration", None) => Ok(Self::RadiusOfGyration),
            ("pair_distances", None) => Ok(Self::PairDistances),
            ("radial_distribution", None) => Ok(Self::RadialDistribution),
            ("mean_square_displacement", None) => Ok(Self::MeanSquareDisplacement),
            ("structure_factor", Some(waves)) => {
                let waves: Result<Vec<i32>, _> = waves.split_whitespace().map(str::parse).collect();
                match waves {
                    Ok(waves) if waves.iter().any(|wave| *wave != 0) => {
                        Ok(Self::StructureFactor(waves))
                    }
                    _ => wrong(format!(
                        "\"{text}\" needs whole numbers of waves along the edges of the box, not \
                         all 0, such as \"structure_factor: 4 4 4\""
                    )),
                }
            }
            ("rmsd", None) => Ok(Self::Rmsd),
            ("pair", Some(formula)) => Ok(Self::Pair(formula)),
            ("external", Some(formula)) => Ok(Self::External(formula)),
            ("distance", Some(names)) => atoms(text, &names).map(Self::Distance),
            ("angle", Some(names)) => atoms(text, &names).map(Self::Angle),
            ("dihedral", Some(names)) => atoms(text, &names).map(Self::Dihedral),
            ("phi", residue) => Ok(Self::Backbone(Backbone::Phi, residue)),
            ("psi", residue) => Ok(Self::Backbone(Backbone::Psi, residue)),
            ("pair" | "external", None) => {
                wrong(format!("\"{text}\" needs a formula: \"{name}: …\""))
            }
            ("structure_factor", None) => wrong(format!(
                "\"{text}\" needs the waves along the edges of the box: \"structure_factor: 4 4 4\""
            )),
            ("distance" | "angle" | "dihedral", None) => wrong(format!(
                "\"{text}\" needs atoms, such as \"dihedral: ACE:C ALA:N ALA:CA ALA:C\""
            )),
            _ => wrong(format!("\"{text}\" is not known: {}", suggest(name, &NAMES))),
        }
    }
}

fn atoms<const N: usize>(text: &str, names: &str) -> Result<[AtomName; N], Error> {
    let names: Result<Vec<AtomName>, String> = names.split_whitespace().map(str::parse).collect();
    let found = names.or_else(|problem| wrong(format!("\"{text}\" {problem}")))?;
    let count = found.len();
    found.try_into().or_else(|_| {
        wrong(format!("\"{text}\" has {count} atoms and needs {N}, with blanks between them"))
    })
}

impl Observable {
    /// Whether it needs the energies of samples.
    pub fn is_of_energies(&self) -> bool {
        match self {
            Self::Energy | Self::HeatCapacity => true,
            Self::Histogram(of) => of.iter().any(Self::is_of_energies),
            _ => false,
        }
    }

    /// The histogram of one observable, or of two with a comma between them: "phi, psi".
    ///
    /// # Errors
    /// [`Error::Parameter`] where there are others, or what has no number for each sample.
    pub fn histogram(text: &str) -> Result<Self, Error> {
        let of = match text.parse::<Self>() {
            Ok(one) => vec![one],
            // A formula may have commas, too.
            Err(error) => {
                let commas = text.match_indices(',').map(|(at, _)| at);
                let both =
                    |at: usize| Some(vec![text[..at].parse().ok()?, text[at + 1..].parse().ok()?]);
                let mut found = commas.filter_map(both);
                found.next().ok_or_else(|| match error {
                    Error::Parameter { problem, .. } => Error::parameter("--histogram", problem),
                    other => other,
                })?
            }
        };
        let has_no_number = |o: &&Self| {
            matches!(o, Self::HeatCapacity | Self::PairDistances | Self::RadialDistribution)
        };
        match of.iter().find(has_no_number) {
            Some(other) => Err(Error::parameter(
                "--histogram",
                format!("\"{}\" has no number for each sample: use --observable", other.name()),
            )),
            None => Ok(Self::Histogram(of)),
        }
    }

    /// Whether it is a function of the distance of all pairs, of which a sample has many.
    pub fn is_of_all_pairs(&self) -> bool {
        matches!(self, Self::PairDistances | Self::RadialDistribution)
    }

    /// Its name, which [`FromStr`] reads, and [`histogram`](Self::histogram) for a histogram.
    pub fn name(&self) -> String {
        let listed = |kind: &str, atoms: &[AtomName]| {
            let names: Vec<String> = atoms.iter().map(AtomName::to_string).collect();
            format!("{kind}: {}", names.join(" "))
        };
        match self {
            Self::Energy => "energy".into(),
            Self::HeatCapacity => "heat_capacity".into(),
            Self::RadiusOfGyration => "radius_of_gyration".into(),
            Self::PairDistances => "pair_distances".into(),
            Self::RadialDistribution => "radial_distribution".into(),
            Self::MeanSquareDisplacement => "mean_square_displacement".into(),
            Self::StructureFactor(waves) => {
                let waves: Vec<String> = waves.iter().map(i32::to_string).collect();
                format!("structure_factor: {}", waves.join(" "))
            }
            Self::Pair(formula) => format!("pair: {formula}"),
            Self::External(formula) => format!("external: {formula}"),
            Self::Distance(atoms) => listed("distance", atoms),
            Self::Angle(atoms) => listed("angle", atoms),
            Self::Dihedral(atoms) => listed("dihedral", atoms),
            Self::Backbone(kind, residue) => {
                let kind = kind.name();
                residue.as_ref().map_or(kind.into(), |residue| format!("{kind}: {residue}"))
            }
            Self::Rmsd => "rmsd".into(),
            Self::Histogram(of) => of.iter().map(Self::name).collect::<Vec<_>>().join(", "),
        }
    }
}
