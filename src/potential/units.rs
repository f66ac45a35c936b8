//! Quantities with units as strings, such as "300 K", "1.5 kJ/mol" or "1000 kJ/mol/nm^2".
//!
//! Everything is converted to joule, metre and kelvin; `mol` is the number of particles in a mole
//! and angles are numbers in radians. The constants are those of the SI and of CODATA 2022 (Mohr et
//! al., physics.nist.gov/constants).

use std::str::FromStr;

use crate::error::suggest;

/// Boltzmann's constant in J/K; exact.
pub const BOLTZMANN: f64 = 1.380_649e-23;
/// Avogadro's number in 1/mol; exact.
pub const AVOGADRO: f64 = 6.022_140_76e23;
/// One electronvolt in J; exact.
pub const ELECTRONVOLT: f64 = 1.602_176_634e-19;
/// The atomic unit of energy in J.
pub const HARTREE: f64 = 4.359_744_722_206_0e-18;
/// The atomic unit of length in m.
pub const BOHR: f64 = 5.291_772_105_44e-11;
/// One thermochemical calorie in J; exact.
const CALORIE: f64 = 4.184;

/// Powers of energy, length and temperature in a quantity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Dimension {
    /// Power of energy.
    pub energy: i32,
    /// Power of length.
    pub length: i32,
    /// Power of temperature.
    pub temperature: i32,
}

const NUMBER: Dimension = Dimension { energy: 0, length: 0, temperature: 0 };
const ENERGY: Dimension = Dimension { energy: 1, length: 0, temperature: 0 };
const LENGTH: Dimension = Dimension { energy: 0, length: 1, temperature: 0 };
const TEMPERATURE: Dimension = Dimension { energy: 0, length: 0, temperature: 1 };

/// Name, value in J, m, K or as a number, dimension.
const UNITS: [(&str, f64, Dimension); 25] = [
    ("J", 1.0, ENERGY),
    ("kJ", 1e3, ENERGY),
    ("cal", CALORIE, ENERGY),
    ("kcal", 1e3 * CALORIE, ENERGY),
    ("eV", ELECTRONVOLT, ENERGY),
    ("meV", 1e-3 * ELECTRONVOLT, ENERGY),
    ("hartree", HARTREE, ENERGY),
    ("Hartree", HARTREE, ENERGY),
    ("Ha", HARTREE, ENERGY),
    ("Ry", 0.5 * HARTREE, ENERGY),
    ("m", 1.0, LENGTH),
    ("cm", 1e-2, LENGTH),
    ("um", 1e-6, LENGTH),
    ("nm", 1e-9, LENGTH),
    ("angstrom", 1e-10, LENGTH),
    ("Angstrom", 1e-10, LENGTH),
    ("Å", 1e-10, LENGTH),
    ("A", 1e-10, LENGTH),
    ("pm", 1e-12, LENGTH),
    ("bohr", BOHR, LENGTH),
    ("K", 1.0, TEMPERATURE),
    ("mK", 1e-3, TEMPERATURE),
    ("mol", AVOGADRO, NUMBER),
    ("rad", 1.0, NUMBER),
    ("deg", std::f64::consts::PI / 180.0, NUMBER),
];

/// A number in powers of joule, metre and kelvin.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Quantity {
    /// In J, m and K.
    pub value: f64,
    /// Powers of energy, length and temperature.
    pub dimension: Dimension,
}

impl FromStr for Quantity {
    type Err = String;

    /// A number, then units: names with whole powers (`nm^2`, `nm^-2`), multiplied by a space or
    /// `*` and divided by `/`, from left to right. Without units it is a plain number.
    ///
    /// # Errors
    /// What is wrong and what would be right, to stand behind the name of a field.
    fn from_str(text: &str) -> Result<Self, String> {
        let trimmed = text.trim();
        let end = number_length(trimmed);
        let number: f64 = trimmed[..end].parse().map_err(|_| {
            format!("is \"{text}\": write a number and a unit, such as \"300 K\" or \"0.1 nm\"")
        })?;
        let mut quantity = Self { value: number, dimension: NUMBER };
        let mut rest = trimmed[end..].trim_start();
        let mut sign = 1;
        while !rest.is_empty() {
            let stop = rest.find(|c: char| c.is_whitespace() || "*/·".contains(c));
            let (factor, next) = rest.split_at(stop.unwrap_or(rest.len()));
            quantity.multiply(text, factor, sign)?;
            let next = next.trim_start();
            (sign, rest) = match next.strip_prefix('/') {
                Some(after) => (-1, after.trim_start()),
                None => (1, next.strip_prefix(['*', '·']).unwrap_or(next).trim_start()),
            };
            if rest.is_empty() && !next.is_empty() {
                return Err(format!("is \"{text}\": a unit is missing at the end"));
            }
        }
        if !quantity.value.is_finite() {
            return Err(format!("is \"{text}\", which is not finite in SI units"));
        }
        Ok(quantity)
    }
}

impl Quantity {
    fn multiply(&mut self, text: &str, factor: &str, sign: i32) -> Result<(), String> {
        let (name, power) = match factor.split_once('^') {
            Some((name, power)) => match power.parse::<i32>() {
                Ok(power) if (-12..=12).contains(&power) => (name, power),
                _ => {
                    return Err(format!(
                        "is \"{text}\": the power `{power}` of `{name}` is not a whole number \
                         from -12 to 12"
                    ))
                }
            },
            None => (factor, 1),
        };
        let Some((_, value, dimension)) = UNITS.iter().find(|(known, ..)| *known == name) else {
            let names: Vec<&str> = UNITS.iter().map(|(name, ..)| *name).collect();
            return Err(format!(
                "is \"{text}\": there is no unit `{name}`, {}",
                suggest(name, &names)
            ));
        };
        let power = sign * power;
        self.value *= value.powi(power);
        // Some hundred factors at most fit into a file that anybody reads; a longer text saturates.
        let add = |to: &mut i32, by: i32| *to = to.saturating_add(power * by);
        add(&mut self.dimension.energy, dimension.energy);
        add(&mut self.dimension.length, dimension.length);
        add(&mut self.dimension.temperature, dimension.temperature);
        Ok(())
    }
}

/// Length of the number that `text` starts with.
fn number_length(text: &str) -> usize {
    let bytes = text.as_bytes();
    let digits = |mut at: usize| {
        while bytes.get(at).is_some_and(u8::is_ascii_digit) {
            at += 1;
        }
        at
    };
    let sign = |at: usize| at + usize::from(matches!(bytes.get(at), Some(b'+' | b'-')));
    let mut end = digits(sign(0));
    if bytes.get(end) == Some(&b'.') {
        end = digits(end + 1);
    }
    if matches!(bytes.get(end), Some(b'e' | b'E')) {
        // "1 eV" and "1eV" start with an e that belongs to the unit.
        let exponent = sign(end + 1);
        let after = digits(exponent);
        if after > exponent {
            end = after;
        }
    }
    end
}

/// An energy such as "1.5 kJ/mol", in J.
///
/// # Errors
/// What is wrong with the text, to stand behind the name of a field.
pub fn energy(text: &str) -> Result<f64, String> {
    expect(text, ENERGY, "an energy, such as \"1.5 kJ/mol\"")
}

/// A length such as "0.1 nm", in m.
///
/// # Errors
/// What is wrong with the text, to stand behind the name of a field.
pub fn length(text: &str) -> Result<f64, String> {
    expect(text, LENGTH, "a length, such as \"0.1 nm\"")
}

/// The energy kT, in J, of a temperature such as "300 K"; an energy stands for kT itself.
///
/// # Errors
/// What is wrong with the text, to stand behind the name of a field.
pub fn thermal_energy(text: &str) -> Result<f64, String> {
    let quantity: Quantity = text.parse()?;
    let kt = match quantity.dimension {
        TEMPERATURE => quantity.value * BOLTZMANN,
        ENERGY => quantity.value,
        _ => return Err(format!("is \"{text}\": write a temperature, such as \"300 K\"")),
    };
    match kt {
        kt if kt > 0.0 => Ok(kt),
        _ => Err(format!("is \"{text}\": use a temperature over 0")),
    }
}

fn expect(text: &str, dimension: Dimension, what: &str) -> Result<f64, String> {
    let quantity: Quantity = text.parse()?;
    if quantity.dimension == dimension {
        Ok(quantity.value)
    } else {
        Err(format!("is \"{text}\": write {what}"))
    }
}

/// Units of energy and length in which plain numbers are meant; what has a unit of its own is
/// expressed in them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Units {
    energy: f64,
    length: f64,
}

impl Units {
    /// Units such as "kJ/mol" and "nm", or "0.5 eV" and "2 bohr", in J and m: see [`energy`] and
    /// [`length`], to which a missing number is 1.
    ///
    /// # Errors
    /// `energy` or `length` with what is wrong with it.
    pub fn new(energy_unit: &str, length_unit: &str) -> Result<Self, (&'static str, String)> {
        let with_number = |text: &str| match number_length(text.trim()) {
            0 => format!("1 {}", text.trim()),
            _ => text.to_string(),
        };
        let positive = |key, text: &str, value: Result<f64, String>| match value {
            Ok(value) if value > 0.0 => Ok(value),
            Ok(_) => Err((key, format!("is \"{text}\": use a unit over 0"))),
            Err(problem) => Err((key, problem)),
        };
        Ok(Self {
            energy: positive("energy", energy_unit, energy(&with_number(energy_unit)))?,
            length: positive("length", length_unit, length(&with_number(length_unit)))?,
        })
    }

    /// The unit of energy, in J.
    pub fn joules(&self) -> f64 {
        self.energy
    }

    /// The unit of length, in m.
    pub fn meters(&self) -> f64 {
        self.length
    }

    /// The number of `quantity` in these units; a temperature T counts as the energy kT.
    pub fn number_of(&self, quantity: Quantity) -> f64 {
        let Dimension { energy, length, temperature } = quantity.dimension;
        quantity.value * BOLTZMANN.powi(temperature)
            / self.energy.powi(energy.saturating_add(temperature))
            / self.length.powi(length)
    }
}
