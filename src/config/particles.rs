//! What a target's file says about its particles, for files of samples.

use std::sync::Arc;

use toml::Table;

use crate::molecule::Molecule;
use crate::potential::units::{self, Units};
use crate::potential::Potential;
use crate::samples::{FileUnits, Particles};

/// One ångström in m.
const ANGSTROM: f64 = 1e-10;

/// The particles of `potential`, which the text of a target defines: their names as it spells them
/// in a list `particles` or `species`, else as its `molecule` does, and its units, if it has any.
pub(super) fn particles_of(
    text: &str,
    potential: &dyn Potential,
    molecule: Option<&Arc<Molecule>>,
) -> Particles {
    let table = text.parse::<Table>().unwrap_or_default();
    let (names, units) = (names(&table, potential), units_of(&table));
    let system = potential.system();
    let sites = potential.structures().first().filter(|_| system.periodic_box().is_some());
    let sites = sites.map(|sites| sites.as_slice().into());
    Particles { system, names, units, molecule: molecule.cloned(), sites }
}

/// None when all are alike. A number of each species stands in for names where only the potential
/// tells particles apart.
fn names(table: &Table, potential: &dyn Potential) -> Vec<String> {
    let species = potential.species();
    let named = ["particles", "species"].into_iter().find_map(|key| {
        let list = table.get(key)?.as_array()?;
        list.iter().map(|name| name.as_str().map(str::to_string)).collect::<Option<Vec<_>>>()
    });
    // Bonds make kinds of particles that are alike by name: files cannot tell these apart.
    let kind = table.get("kind").and_then(|kind| kind.as_str());
    let by_bonds = matches!(kind, Some("formula" | "openmm"));
    match named.filter(|names| names.len() == potential.system().particles()) {
        Some(names) => names,
        None if by_bonds || species.windows(2).all(|pair| pair[0] == pair[1]) => Vec::new(),
        None => species.iter().map(usize::to_string).collect(),
    }
}

/// The units that a file gives its numbers: the length that counts as 1 and the temperature of a
/// client's target, or a section `units`. A target that was read has valid ones.
fn units_of(table: &Table) -> Option<FileUnits> {
    let text = |key: &str| table.get(key)?.as_str();
    let (meters, joules) = match table.get("units").and_then(|units| units.as_table()) {
        Some(names) => {
            let name = |key: &str| names.get(key)?.as_str();
            let unit = Units::new(name("energy")?, name("length")?).ok()?;
            let kt = match table.get("temperature") {
                None => unit.joules(),
                Some(toml::Value::String(text)) => units::thermal_energy(text).ok()?,
                Some(number) => {
                    let whole = number.as_integer().map(|number| number as f64);
                    whole.or(number.as_float())? * unit.joules()
                }
            };
            (unit.meters(), kt)
        }
        None => {
            let kt = match text("kind") {
                Some("samples") => f64::NAN,
                _ => units::thermal_energy(text("temperature")?).ok()?,
            };
            let length = match text("kind") {
                Some("openmm") => "1 angstrom",
                _ => text("length")?,
            };
            (units::length(length).ok()?, kt)
        }
    };
    let electronvolt = joules / units::ELECTRONVOLT;
    Some(FileUnits { angstrom: meters / ANGSTROM, electronvolt })
}
