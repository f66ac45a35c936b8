//! Numbers of a target file that may be texts with a unit, such as "300 K" or "0.34 nm".

use std::path::Path;

use serde::de::value::SeqDeserializer;
use serde::de::{
    DeserializeOwned, DeserializeSeed, Deserializer, Error as _, IntoDeserializer, MapAccess,
    Visitor,
};
use serde::{forward_to_deserialize_any, Deserialize};
use toml::{Table, Value};

use super::read::{config_error, explain_error, from_table, COMMON_KEYS};
use crate::error::Error;
use crate::potential::units::{self, Dimension, Quantity, Units};

/// The key that is a temperature in every kind of target.
const TEMPERATURE: &str = "temperature";

/// The keys of a target file's own kind as the struct `T`, for factories of a
/// [`Registry`](super::Registry).
///
/// Where the file has `units = { energy = "kJ/mol", length = "nm" }`, a number may be a text with a
/// unit such as "300 K" or "0.34 nm", which becomes the number in those units, a temperature T the
/// energy kT. The key `temperature` must then have a unit.
///
/// # Errors
/// [`Error::Config`] that names the key; the registry adds the file.
pub fn parameters<T: DeserializeOwned>(table: &Table) -> Result<T, Error> {
    parameters_with(table, &[])
}

/// [`parameters`] of which some have a known dimension: texts of another one are refused. Where
/// `temperature` is among them and the file has `units`, it has no default.
///
/// # Errors
/// Those of [`parameters`].
pub fn parameters_with<T: DeserializeOwned>(
    table: &Table,
    dimensions: &[(&str, Dimension)],
) -> Result<T, Error> {
    let wrong = |problem: String| config_error(Path::new(""), problem);
    let mut table = table.clone();
    let units = table.remove("units").map(read_units).transpose().map_err(wrong)?;
    let needs_temperature = dimensions.iter().any(|(key, _)| *key == TEMPERATURE);
    if units.is_some() && needs_temperature && !table.contains_key(TEMPERATURE) {
        let problem = "`temperature` is missing beside `units`: write one, such as \"300 K\"";
        return Err(wrong(problem.to_string()));
    }
    let elsewhere: Vec<&str> = COMMON_KEYS.into_iter().chain(["units"]).collect();
    let place = Place { units: units.as_ref(), dimensions, key: Some("") };
    T::deserialize(Reader { value: Value::Table(table), place })
        .map_err(|error| wrong(explain_error(&error, &elsewhere)))
}

/// The temperature of a target file in words, if it has one: T and kT where that has a unit, else
/// kT alone.
pub(super) fn temperature_in(table: &Table) -> Option<String> {
    let text = match table.get(TEMPERATURE)? {
        Value::String(text) => text,
        number => return Some(format!("kT = {number} in the file's unit of energy")),
    };
    let kt = units::thermal_energy(text).ok()?;
    let unit = match table.get("units").and_then(|units| units.get("energy")) {
        Some(Value::String(unit)) => unit,
        _ => "kJ/mol",
    };
    let number =
        Units::new(unit, "m").ok()?.number_of(Quantity { value: kt, dimension: Dimension::ENERGY });
    let kelvin = kt / units::BOLTZMANN;
    Some(format!("T = {} K, kT = {} {unit}", digits(kelvin), digits(number)))
}

/// Five significant digits.
fn digits(value: f64) -> String {
    let rounded = format!("{value:.4e}").parse().unwrap_or(value);
    if (1e-3..1e6).contains(&rounded) {
        format!("{rounded}")
    } else {
        format!("{rounded:e}")
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct UnitsSection {
    units: UnitNames,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct UnitNames {
    energy: String,
    length: String,
}

fn read_units(section: Value) -> Result<Units, String> {
    let table = Table::from_iter([("units".to_string(), section)]);
    let UnitsSection { units } = from_table(table, &[])?;
    Units::new(&units.energy, &units.length)
        .map_err(|(key, problem)| format!("`units.{key}` {problem}"))
}

/// Where a value stands in a file, and what is known of that place.
#[derive(Clone, Copy)]
struct Place<'a> {
    units: Option<&'a Units>,
    dimensions: &'a [(&'a str, Dimension)],
    /// The key, if it is one of the file and not of a section; empty for the file itself.
    key: Option<&'a str>,
}

impl Place<'_> {
    /// The number that `text` stands for.
    fn number(&self, text: &str) -> Result<f64, String> {
        let key = self.key.unwrap_or_default();
        if text.trim().parse::<f64>().is_ok() {
            return Err(match (self.units, key) {
                (Some(_), TEMPERATURE) => units::without_unit(text.trim()),
                _ => format!("is \"{text}\", a number in quotes: leave them out"),
            });
        }
        let quantity: Quantity = text.parse()?;
        let Some(units) = self.units else {
            return Err(format!(
                "is \"{text}\", which has a unit: say what the numbers of this file are in, such \
                 as units = {{ energy = \"kJ/mol\", length = \"nm\" }}"
            ));
        };
        if key == TEMPERATURE {
            units::thermal_energy(text)?;
        }
        let known = self.dimensions.iter().find(|(known, _)| *known == key);
        if let Some((_, dimension)) = known.filter(|(_, known)| !known.is_as(quantity.dimension)) {
            return Err(units::not_a(text, *dimension));
        }
        match units.number_of(quantity) {
            number if number.is_finite() && (number != 0.0 || quantity.value == 0.0) => Ok(number),
            number => Err(format!("is \"{text}\", which is {number} in the units of this file")),
        }
    }
}

/// A value of a file as serde reads it: a text is a number where one is expected.
struct Reader<'a> {
    value: Value,
    place: Place<'a>,
}

type Fault = toml::de::Error;

impl<'de> Deserializer<'de> for Reader<'_> {
    type Error = Fault;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        let Self { value, place } = self;
        let inside = Place { key: None, ..place };
        match value {
            Value::Array(list) => {
                let items = list.into_iter().map(|value| Reader { value, place: inside });
                let mut items = SeqDeserializer::new(items);
                let found = visitor.visit_seq(&mut items)?;
                items.end().map(|()| found)
            }
            Value::Table(table) => {
                visitor.visit_map(Entries { left: table.into_iter(), next: None, place })
            }
            other => other.deserialize_any(visitor),
        }
    }

    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        let Place { units, key, .. } = self.place;
        match &self.value {
            Value::String(text) => {
                visitor.visit_f64(self.place.number(text).map_err(Fault::custom)?)
            }
            Value::Integer(_) | Value::Float(_) if units.is_some() && key == Some(TEMPERATURE) => {
                Err(Fault::custom(units::without_unit(&self.value.to_string())))
            }
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match (&self.value, self.place.key) {
            (Value::Integer(_) | Value::Float(_), Some(TEMPERATURE)) => {
                Err(Fault::custom(units::without_unit(&self.value.to_string())))
            }
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_f32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.deserialize_f64(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Fault> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        self.value.deserialize_enum(name, variants, visitor)
    }

    forward_to_deserialize_any! {
        bool u8 u16 u32 u64 i8 i16 i32 i64 char str seq bytes byte_buf map unit
        ignored_any unit_struct tuple_struct tuple struct identifier
    }
}

impl<'de> IntoDeserializer<'de, Fault> for Reader<'_> {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

/// The entries of a section; an error within one gets its key, as those of `toml` have it.
struct Entries<'a> {
    left: toml::map::IntoIter,
    next: Option<(String, Value)>,
    place: Place<'a>,
}

impl<'de> MapAccess<'de> for Entries<'_> {
    type Error = Fault;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Fault> {
        self.next = self.left.next();
        let key = self.next.as_ref().map(|(key, _)| key.clone().into_deserializer());
        key.map(|key| seed.deserialize(key)).transpose()
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Fault> {
        let (key, value) = self.next.take().ok_or_else(|| Fault::custom("a value is missing"))?;
        let key_of_file = self.place.key == Some("");
        let place = Place { key: key_of_file.then_some(key.as_str()), ..self.place };
        seed.deserialize(Reader { value, place }).map_err(|error| {
            Fault::custom(format!("{}\nin `{key}`\n", error.to_string().trim_end()))
        })
    }
}
