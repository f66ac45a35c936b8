//! Target files: an energy function with its parameters and what is known about it.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::contents::{read_content, with_content};
use super::molecules::{check_elements, read_molecule};
use super::particles::particles_of;
use super::quantities::{parameters, parameters_with, temperature_in};
use super::read::{config_error, from_table, in_file, parse_table, read, COMMON_KEYS};
use super::structures::{read_structures, with_positions};
use crate::error::{suggest, Error};
use crate::molecule::Molecule;
use crate::potential::{
    DoubleWell, DoubleWellParameters, Formula, FormulaParameters, Ipi, LennardJones,
    LennardJonesParameters, NoEnergy, OneHanded, OpenMm, Potential, WithStructures,
};
use crate::samples::{FileUnits, Particles, Samples};

/// The target files that come with the program.
const BUILTIN: [(&str, &str); 11] = [
    ("aldp", include_str!("../../targets/aldp.toml")),
    ("dw4", include_str!("../../targets/dw4.toml")),
    ("harmonic", include_str!("../../targets/harmonic.toml")),
    ("lj13", include_str!("../../targets/lj13.toml")),
    ("lj13_eps2", include_str!("../../targets/lj13_eps2.toml")),
    ("lj55", include_str!("../../targets/lj55.toml")),
    ("lj_fcc108", include_str!("../../targets/lj_fcc108.toml")),
    ("lj_fcc256", include_str!("../../targets/lj_fcc256.toml")),
    ("lj_fcc500", include_str!("../../targets/lj_fcc500.toml")),
    ("mueller_brown", include_str!("../../targets/mueller_brown.toml")),
    ("three_species", include_str!("../../targets/three_species.toml")),
];

/// More particles than this are taken for a typing error.
const MOST_PARTICLES: usize = 10_000;

/// The key of a periodic box, and the kinds that have it.
const BOX: &str = "box";
const IN_A_BOX: [&str; 3] = ["formula", "lennard_jones", REMOTE];

/// What files of other programs call it.
const BOX_KEYS: [&str; 4] = ["cell", "lattice", "pbc", "periodic"];

/// What is known about a target from elsewhere. Energies and logarithms in units of kT and nats.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Known {
    /// log ∫ exp(−U) over the zero-centre-of-mass subspace.
    pub log_z: Option<f64>,
    /// Its standard error.
    pub log_z_error: Option<f64>,
    /// Mean energy ⟨U⟩.
    pub mean_energy: Option<f64>,
    /// Its standard error.
    pub mean_energy_error: Option<f64>,
    /// Entropy, which is also the lowest possible negative log-likelihood of x.
    pub entropy: Option<f64>,
}

impl Known {
    fn validate(&self) -> Result<(), Error> {
        for (key, value, is_error) in [
            ("log_z", self.log_z, false),
            ("log_z_error", self.log_z_error, true),
            ("mean_energy", self.mean_energy, false),
            ("mean_energy_error", self.mean_energy_error, true),
            ("entropy", self.entropy, false),
        ] {
            match value {
                Some(v) if !v.is_finite() => {
                    return Err(Error::parameter(key, format!("is {v}: use a finite number")))
                }
                Some(v) if is_error && v < 0.0 => {
                    return Err(Error::parameter(key, format!("is {v}: an error is 0 or more")))
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// An energy function to sample.
#[derive(Clone)]
pub struct Target {
    /// What reports and figures call it.
    pub name: String,
    /// One line about it, possibly empty.
    pub description: String,
    /// The energy function.
    pub potential: Arc<dyn Potential>,
    /// Ground truth, as far as there is one.
    pub known: Known,
    /// Names, elements, bonds and handedness of its atoms, from a structure file.
    pub molecule: Option<Arc<Molecule>>,
    /// The text it was read from, with what its structures' files hold in place of their names,
    /// from which [`Registry::target_from_text`] makes it again; empty for a potential from Rust.
    pub text: String,
}

impl Target {
    /// The temperature in words, such as "T = 300 K, kT = 2.4943 kJ/mol"; none where the target's
    /// text has no key `temperature`.
    pub fn temperature(&self) -> Option<String> {
        temperature_in(&self.text.parse().ok()?)
    }

    /// kT in kJ/mol, where it has units and energies.
    pub fn kilojoules_per_mole(&self) -> Option<f64> {
        self.particles().units.map(FileUnits::kilojoules_per_mole).filter(|kt| kt.is_finite())
    }

    /// # Errors
    /// [`Error::Parameter`] on `what`, which needs an energy, where the target has none.
    pub(crate) fn require_energy(&self, what: &str) -> Result<(), Error> {
        match self.potential.has_energy() {
            true => Ok(()),
            false => {
                let name = &self.name;
                let problem = format!("needs an energy, and {name} is known by its samples alone");
                Err(Error::parameter(what, problem))
            }
        }
    }

    /// # Errors
    /// [`Error::Parameter`] on the first of these flags that is given, where the target has no
    /// energy.
    pub(crate) fn require_energy_for<const N: usize>(
        &self,
        flags: [(&str, bool); N],
    ) -> Result<(), Error> {
        let mut given = flags.into_iter().filter(|(_, given)| *given);
        given.try_for_each(|(flag, _)| self.require_energy(flag))
    }

    /// Gives samples the handedness and the order of like atoms that its structure has, and returns
    /// how many are of another molecule: [`Samples::match_structure`].
    pub fn match_structure(&self, samples: &mut Samples) -> usize {
        self.molecule.as_ref().map_or(0, |molecule| samples.match_structure(molecule))
    }

    /// Its particles in files of samples: their names as the target's file spells them in a list
    /// `particles` or `species`, and its units, if it has any.
    pub fn particles(&self) -> Particles {
        particles_of(&self.text, &*self.potential, self.molecule.as_ref())
    }
}

impl<P: Potential + 'static> From<P> for Target {
    /// A target of which nothing is known but its energy function.
    fn from(potential: P) -> Self {
        Self {
            name: "custom".to_string(),
            description: String::new(),
            potential: Arc::new(potential),
            known: Known::default(),
            molecule: None,
            text: String::new(),
        }
    }
}

impl std::fmt::Debug for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Target").field("name", &self.name).finish_non_exhaustive()
    }
}

/// The keys of a target file that do not depend on its kind.
#[derive(Deserialize)]
struct Common {
    name: String,
    #[serde(default)]
    description: String,
    kind: String,
    #[serde(default)]
    known: Known,
}

/// The kind whose energies come from programs that have yet to connect.
const REMOTE: &str = "ipi";

/// The kind of what the Python package trained on a function.
const FUNCTION: &str = "function";

/// The kind that has no energy, only samples.
const SAMPLES: &str = "samples";

/// The kind whose energies come from a System of OpenMM, in the file that this key names.
const OPENMM: &str = "openmm";
const SYSTEM: &str = "system";

/// Whether a recipe or a command means a file and not a built-in target.
pub(crate) fn is_path(name: &str) -> bool {
    name.contains(['/', std::path::MAIN_SEPARATOR]) || name.ends_with(".toml")
}

/// Whether a file is a target's and not a recipe: it has a `kind`.
pub(crate) fn is_target_file(file: &Path) -> bool {
    let table = std::fs::read_to_string(file).ok().and_then(|text| parse_table(&text).ok());
    table.is_some_and(|table| table.contains_key("kind"))
}

type Factory = Box<dyn Fn(&toml::Table) -> Result<Arc<dyn Potential>, Error> + Send + Sync>;

/// The kinds of energy function that a target file can name.
pub struct Registry {
    kinds: BTreeMap<String, Factory>,
}

impl Registry {
    /// The built-in kinds.
    pub fn builtin() -> Self {
        Self { kinds: BTreeMap::new() }
            .with("double_well", |table| {
                let dimensions = DoubleWellParameters::DIMENSIONS;
                Ok(Arc::new(DoubleWell::new(parameters_with(table, dimensions)?)?))
            })
            .with("formula", |table| {
                let dimensions = FormulaParameters::DIMENSIONS;
                Ok(Arc::new(Formula::new(parameters_with(table, dimensions)?)?))
            })
            .with("lennard_jones", |table| {
                let dimensions = LennardJonesParameters::DIMENSIONS;
                Ok(Arc::new(LennardJones::new(parameters_with(table, dimensions)?)?))
            })
            .with(SAMPLES, |table| Ok(Arc::new(NoEnergy::new(&parameters(table)?)?)))
            .with(OPENMM, |table| Ok(Arc::new(OpenMm::new(&parameters(table)?)?)))
            .with(REMOTE, |table| {
                if table.contains_key("units") {
                    let problem = "is not for this kind, whose `length` and `temperature` have \
                                   units of their own: remove it";
                    return Err(Error::parameter("units", problem));
                }
                Ok(Arc::new(Ipi::new(parameters(table)?)?))
            })
    }

    /// Adds a kind, or replaces it. `factory` gets the target file's table without the keys that
    /// all kinds share (`format`, `name`, `description`, `kind`, `known`, `structure`);
    /// [`parameters`] turns it into a struct.
    pub fn with(
        mut self,
        kind: &str,
        factory: impl Fn(&toml::Table) -> Result<Arc<dyn Potential>, Error> + Send + Sync + 'static,
    ) -> Self {
        self.kinds.insert(kind.to_string(), Box::new(factory));
        self
    }

    /// The built-in target of that name, or the one in a file: what contains a `/` or ends in
    /// `.toml` is a path, relative to the current folder.
    ///
    /// # Errors
    /// [`Error::Config`] with file and key, [`Error::Read`], or [`Error::Parameter`] on `target`
    /// when there is no target of that name.
    pub fn load(&self, name_or_path: &str) -> Result<Target, Error> {
        if is_path(name_or_path) {
            return self.load_file(Path::new(name_or_path));
        }
        match BUILTIN.iter().find(|(name, _)| *name == name_or_path) {
            Some((name, text)) => {
                self.target_from_text(text, Path::new(&format!("targets/{name}.toml")))
            }
            None => {
                let names = BUILTIN.map(|(name, _)| name);
                Err(Error::parameter(
                    "target",
                    format!(
                        "is \"{name_or_path}\", which is not built in: {} A file of your own is \
                         given by a path that ends in .toml",
                        suggest(name_or_path, &names)
                    ),
                ))
            }
        }
    }

    /// The target in a file.
    ///
    /// # Errors
    /// [`Error::Config`] with file and key, [`Error::Read`].
    pub fn load_file(&self, file: &Path) -> Result<Target, Error> {
        self.target_from_text(&read(file)?, file)
    }

    /// The target that `text` defines; `file` is named in errors, and its folder is the first in
    /// which files of structures are looked up. The target's text has their positions.
    ///
    /// # Errors
    /// [`Error::Config`] with the key and what would be right; those of reading the structures.
    pub fn target_from_text(&self, text: &str, file: &Path) -> Result<Target, Error> {
        let mut own = parse_table(text).map_err(|e| config_error(file, e))?;
        let mut shared = toml::Table::new();
        for key in COMMON_KEYS {
            shared.extend(own.remove(key).map(|value| (key.to_string(), value)));
        }
        let structures = shared.remove("structure");
        let Common { name, description, kind, known } =
            from_table(shared, &[]).map_err(|e| config_error(file, e))?;
        if name.trim().is_empty() {
            return Err(config_error(file, "`name` is empty: give the target a name"));
        }
        known.validate().map_err(|e| in_file(file, e.within("known")))?;
        if kind == FUNCTION && !self.kinds.contains_key(FUNCTION) {
            let problem =
                "`kind` is \"function\": the energy of this run is a function of Python, \
                           which is not in its folder. Open it there, by boltzflow.load(folder, \
                           function)";
            return Err(config_error(file, problem));
        }
        let factory = self.kinds.get(&kind).ok_or_else(|| {
            let kinds: Vec<&str> = self.kinds.keys().map(String::as_str).collect();
            config_error(file, format!("`kind` is \"{kind}\": {}", suggest(&kind, &kinds)))
        })?;
        check_box(&kind, &own).map_err(|problem| config_error(file, problem))?;
        if kind == OPENMM && own.contains_key("units") {
            let problem =
                "`units`: an OpenMM System has its own, and positions are in Å: remove it";
            return Err(config_error(file, problem));
        }
        let (mut text, mut masses) = (text.to_string(), None);
        if let (OPENMM, Some(toml::Value::String(name))) = (kind.as_str(), own.get(SYSTEM)) {
            let content = read_content(name, file, "XML")?;
            let lines: Vec<&str> = content.text.lines().map(str::trim_start).collect();
            text = with_content(&text, SYSTEM, &lines.join("\n"));
            masses = OpenMm::masses(&content.text).ok();
            own.insert(SYSTEM.into(), toml::Value::String(content.text));
        }
        let potential = factory(&own).map_err(|e| in_file(file, e))?;
        let particles = potential.system().particles();
        if particles > MOST_PARTICLES {
            return Err(config_error(
                file,
                format!("`particles` is {particles}: use at most {MOST_PARTICLES}"),
            ));
        }
        let has_energies = potential.has_energy() && kind != REMOTE;
        let mut target = Target { name, description, potential, known, molecule: None, text };
        if let Some(toml::Value::String(structure)) = &structures {
            let evaluated = has_energies.then_some(&*target.potential);
            let found = read_molecule(structure, &target.particles(), evaluated, file)?;
            if let Some(masses) = masses {
                check_elements(&found.molecule, &masses, file)?;
            }
            target.text = with_content(&target.text, "structure", &found.content);
            let (bonds, alike) = (target.potential.bonds(), target.potential.species());
            let molecule = Arc::new(found.molecule.in_target(bonds, alike));
            if kind == OPENMM {
                target.potential = Arc::new(OneHanded::new(target.potential, molecule.clone()));
            }
            target.molecule = Some(molecule);
            target.potential = Arc::new(WithStructures::new(target.potential, found.structures));
        } else if let Some(sections) = structures {
            let particles = target.particles();
            let evaluated = has_energies.then_some(&*target.potential);
            let found = read_structures(sections, &particles, evaluated, file)?;
            target.text = with_positions(&target.text, &found);
            let structures = found.into_iter().flat_map(|section| section.structures).collect();
            target.potential = Arc::new(WithStructures::new(target.potential, structures));
        }
        Ok(target)
    }
}

/// Refuses a periodic box by another name, or for a kind of this program that has none.
fn check_box(kind: &str, own: &toml::Table) -> Result<(), String> {
    if let Some(key) = BOX_KEYS.iter().find(|key| own.contains_key(**key)) {
        return Err(format!(
            "`{key}` is no key here: the edges of a periodic box along the axes are written \
             box = [Lx, Ly, Lz]"
        ));
    }
    let has_none = ["double_well", OPENMM, SAMPLES].contains(&kind);
    if own.contains_key(BOX) && has_none {
        return Err(format!(
            "`{BOX}`: there are no periodic boundaries for kind = \"{kind}\": use {}",
            IN_A_BOX.map(|kind| format!("\"{kind}\"")).join(", ")
        ));
    }
    Ok(())
}

/// The target of that name or path, with the built-in kinds: see [`Registry::load`].
///
/// # Errors
/// Those of [`Registry::load`].
pub fn load_target(name_or_path: &str) -> Result<Target, Error> {
    Registry::builtin().load(name_or_path)
}

/// Name and one-line description of the built-in targets.
///
/// # Errors
/// None, unless a built-in file is broken.
pub fn builtin_targets() -> Result<Vec<(String, String)>, Error> {
    let registry = Registry::builtin();
    BUILTIN
        .iter()
        .map(|(name, _)| registry.load(name).map(|target| (target.name, target.description)))
        .collect()
}
