//! Quantities with units as strings, such as "300 K", "1.5 kJ/mol" or "1000 kJ/mol/nm^2".
//!
//! Everything is converted to joule, metre and kelvin; `mol` is the number of particles in a mole
//! and angles are numbers in radians. The constants are those of the SI and of CODATA 2022 (Mohr et
//! al., physics.nist.gov/constants).

use std::fmt;
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

impl Dimension {
    /// A plain number.
    pub const NUMBER: Self = Self { energy: 0, length: 0, temperature: 0 };
    /// An energy.
    pub const ENERGY: Self = Self { energy: 1, length: 0, temperature: 0 };
    /// A length.
    pub const LENGTH: Self = Self { energy: 0, length: 1, temperature: 0 };
    /// A temperature.
    pub const TEMPERATURE: Self = Self { energy: 0, length: 0, temperature: 1 };

    /// An energy over a power of length, such as a stiffness for 2.
    pub const fn energy_over_length(power: i32) -> Self {
        Self { energy: 1, length: -power, temperature: 0 }
    }

    /// Whether both are the same where a temperature T stands for the energy kT.
    pub fn is_as(self, other: Self) -> bool {
        let powers = |d: Self| (d.energy.saturating_add(d.temperature), d.length);
        powers(self) == powers(other)
    }

    /// What has this dimension, with an example of it, as after "write".
    fn example(self) -> String {
        match (self.energy.saturating_add(self.temperature), self.length) {
            (1, 0) if self == Self::TEMPERATURE => "a temperature, such as \"300 K\"".into(),
            (1, 0) => "an energy, such as \"1.5 kJ/mol\"".into(),
            (0, 1) => "a length, such as \"0.1 nm\"".into(),
            (0, 0) => "a plain number".into(),
            (1, power @ ..0) => {
                let power = -power;
                format!("an energy over length^{power}, such as \"100 kJ/mol/nm^{power}\"")
            }
            (energy, length) => format!("energy^{energy} times length^{length}"),
        }
    }
}

const NUMBER: Dimension = Dimension::NUMBER;
const ENERGY: Dimension = Dimension::ENERGY;
const LENGTH: Dimension = Dimension::LENGTH;
const TEMPERATURE: Dimension = Dimension::TEMPERATURE;

/// In J: no energy of a few particles is over this, and kT is there at 72 million kelvin.
const MOST_ENERGY: f64 = 1e-15;

/// A quantity has no power of a dimension beyond this.
const MOST_POWER: i32 = 12;

/// Name, value in J, m, K or as a number, dimension.
const UNITS: [(&str, f64, Dimension); 29] = [
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
    ("\u{b5}m", 1e-6, LENGTH),
    ("\u{3bc}m", 1e-6, LENGTH),
    ("nm", 1e-9, LENGTH),
    ("angstrom", 1e-10, LENGTH),
    ("Angstrom", 1e-10, LENGTH),
    // One letter, the sign of the unit, and a letter with a ring.
    ("\u{c5}", 1e-10, LENGTH),
    ("\u{212b}", 1e-10, LENGTH),
    ("A\u{30a}", 1e-10, LENGTH),
    ("A", 1e-10, LENGTH),
    ("pm", 1e-12, LENGTH),
    ("bohr", BOHR, LENGTH),
    ("K", 1.0, TEMPERATURE),
    ("mK", 1e-3, TEMPERATURE),
    ("mol", AVOGADRO, NUMBER),
    ("rad", 1.0, NUMBER),
    ("deg", std::f64::consts::PI / 180.0, NUMBER),
];

/// What a unit is called elsewhere, in lower case and without a plural s, and its name here.
const OTHER_NAMES: [(&str, &str); 17] = [
    ("kelvin", "K"),
    ("joule", "J"),
    ("kilojoule", "kJ"),
    ("calorie", "cal"),
    ("kilocalorie", "kcal"),
    ("electronvolt", "eV"),
    ("rydberg", "Ry"),
    ("meter", "m"),
    ("nanometer", "nm"),
    ("nanometre", "nm"),
    ("micrometer", "um"),
    ("picometer", "pm"),
    ("ang", "angstrom"),
    ("ångström", "angstrom"),
    ("mole", "mol"),
    ("radian", "rad"),
    ("degree", "deg"),
];

/// Units of energy that are used for a mole of particles, and one that is also used for itself.
const MOLAR: [&str; 3] = ["kJ", "cal", "kcal"];
const JOULE: &str = "J";
const MOLE: &str = "mol";

/// A number in powers of joule, metre and kelvin; it is written as such, and read again as it was.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Quantity {
    /// In J, m and K.
    pub value: f64,
    /// Powers of energy, length and temperature.
    pub dimension: Dimension,
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:e}", self.value)?;
        let Dimension { energy, length, temperature } = self.dimension;
        [(JOULE, energy), ("m", length), ("K", temperature)].into_iter().try_for_each(
            |(name, power)| match power {
                0 => Ok(()),
                1 => write!(f, " {name}"),
                power => write!(f, " {name}^{power}"),
            },
        )
    }
}

impl FromStr for Quantity {
    type Err = String;

    /// A number, then units: names with whole powers (`nm^2`, `nm^-2`), multiplied by a space or
    /// `*` and divided by `/`, from left to right. After a `/` a space could mean both and is
    /// refused. Without units it is a plain number. `kJ`, `cal` and `kcal` are
    /// those of a mole: they need `/mol`.
    ///
    /// # Errors
    /// What is wrong and what would be right, to stand behind the name of a field.
    fn from_str(text: &str) -> Result<Self, String> {
        let trimmed = text.trim();
        let end = number_length(trimmed);
        let number: f64 = trimmed[..end].parse().map_err(|_| {
            format!("is \"{text}\": write a number and a unit, such as \"300 K\" or \"0.1 nm\"")
        })?;
        let wrong = |problem: String| format!("is \"{text}\": {problem}");
        let mut quantity = Self { value: number, dimension: NUMBER };
        let mut moles = Moles::default();
        let mut rest = trimmed[end..].trim_start();
        let mut divided = false;
        while !rest.is_empty() {
            let sign = if rest.starts_with('/') { -1 } else { 1 };
            let after = rest.strip_prefix(['*', '·', '/']);
            if divided && after.is_none() {
                return Err(wrong(format!(
                    "after a division, a space could multiply or divide: write `*` or `/` before \
                     `{rest}`"
                )));
            }
            divided |= sign < 0;
            rest = after.unwrap_or(rest).trim_start();
            if rest.is_empty() {
                return Err(wrong("a unit is missing at the end".into()));
            }
            let stop = rest.find(|c: char| c.is_whitespace() || "*/·".contains(c));
            let (factor, next) = rest.split_at(stop.unwrap_or(rest.len()));
            let (name, power) = named_power(factor).map_err(wrong)?;
            quantity.multiply(name, sign * power).map_err(wrong)?;
            moles.count(name, sign * power);
            rest = next.trim_start();
        }
        moles.check().map_err(wrong)?;
        if !quantity.value.is_finite() || (quantity.value == 0.0 && number != 0.0) {
            return Err(format!("is \"{text}\", which is not finite in SI units"));
        }
        Ok(quantity)
    }
}

/// The name in a factor such as `nm^-2`, and its power.
fn named_power(factor: &str) -> Result<(&str, i32), String> {
    let (name, power) = match factor.split_once('^') {
        Some((name, power)) => match power.parse::<i32>() {
            Ok(power) if (-MOST_POWER..=MOST_POWER).contains(&power) => (name, power),
            _ => {
                return Err(format!(
                    "the power `{power}` of `{name}` is not a whole number from -{MOST_POWER} to \
                     {MOST_POWER}"
                ))
            }
        },
        None => (factor, 1),
    };
    if UNITS.iter().any(|(known, ..)| *known == name) {
        return Ok((name, power));
    }
    let names: Vec<&str> = UNITS.iter().map(|(name, ..)| *name).collect();
    Err(match name {
        "" => "a unit is missing before an operator; powers are written nm^2".to_string(),
        "C" | "°C" | "degC" | "celsius" | "Celsius" => {
            format!("`{name}` does not start at zero: write kelvin, \"300 K\" for 26.85 °C")
        }
        name if name.starts_with(',') => "write a point before decimals".to_string(),
        name => match meant(name, &names) {
            Some(meant) => format!("there is no unit `{name}`, did you mean `{meant}`?"),
            None => format!("there is no unit `{name}`, {}", suggest(name, &names)),
        },
    })
}

/// The unit that `name` is another name of, or a power of one that is written without `^`.
fn meant(name: &str, names: &[&str]) -> Option<String> {
    let lower = name.to_lowercase();
    let singular = lower.strip_suffix('s').unwrap_or(&lower);
    if let Some((_, unit)) =
        OTHER_NAMES.iter().find(|(other, _)| [singular, &lower].contains(other))
    {
        return Some(unit.to_string());
    }
    let stem = name.trim_end_matches(|c: char| c.is_numeric() || "-+⁻⁺".contains(c));
    let power: String = name[stem.len()..]
        .chars()
        .filter_map(|c| match c {
            '⁻' | '-' => Some('-'),
            '⁰' => Some('0'),
            '¹' => Some('1'),
            '²' => Some('2'),
            '³' => Some('3'),
            '⁴'..='⁹' => char::from_digit(c as u32 - '⁴' as u32 + 4, 10),
            c => c.is_ascii_digit().then_some(c),
        })
        .collect();
    (names.contains(&stem) && !power.is_empty()).then(|| format!("{stem}^{power}"))
}

/// Powers of units of energy and of the mole.
#[derive(Default)]
struct Moles {
    joules: i32,
    molar: i32,
    /// One of those.
    name: &'static str,
    moles: i32,
}

impl Moles {
    fn count(&mut self, name: &str, power: i32) {
        if let Some(known) = MOLAR.into_iter().find(|known| *known == name) {
            (self.name, self.molar) = (known, self.molar.saturating_add(power));
        }
        let place = match name {
            JOULE => &mut self.joules,
            MOLE => &mut self.moles,
            _ => return,
        };
        *place = place.saturating_add(power);
    }

    fn check(&self) -> Result<(), String> {
        let Self { joules, molar, name, moles } = self;
        if -i64::from(*moles) == i64::from(*joules) + i64::from(*molar) {
            Ok(())
        } else if *molar != 0 {
            Err(format!("`{name}` is the energy of many particles, did you mean `{name}/mol`?"))
        } else if *moles != 0 {
            let problem = "`mol` goes with J, kJ, cal and kcal; the other units are those of one \
                           particle: leave it out";
            Err(problem.to_string())
        } else {
            Ok(())
        }
    }
}

impl Quantity {
    fn multiply(&mut self, name: &str, power: i32) -> Result<(), String> {
        let Some((_, value, dimension)) = UNITS.iter().find(|(known, ..)| *known == name) else {
            return Ok(());
        };
        self.value *= value.powi(power);
        let Dimension { energy, length, temperature } = &mut self.dimension;
        for (to, by) in [
            (energy, dimension.energy),
            (length, dimension.length),
            (temperature, dimension.temperature),
        ] {
            *to += power * by;
            if to.abs() > MOST_POWER {
                return Err(format!("has a power beyond {MOST_POWER} with `{name}`"));
            }
        }
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
    expect(text, ENERGY)
}

/// A length such as "0.1 nm", in m.
///
/// # Errors
/// What is wrong with the text, to stand behind the name of a field.
pub fn length(text: &str) -> Result<f64, String> {
    expect(text, LENGTH)
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
        NUMBER if text.trim().parse::<f64>().is_ok() => return Err(without_unit(text.trim())),
        _ => return Err(not_a(text, TEMPERATURE)),
    };
    match kt {
        kt if kt > MOST_ENERGY => {
            let kelvin = kt / BOLTZMANN;
            Err(format!("is \"{text}\", {kelvin:.1e} K: write {}", TEMPERATURE.example()))
        }
        kt if kt > 0.0 => Ok(kt),
        _ => Err(format!("is \"{text}\": use a temperature over 0")),
    }
}

/// What to say of a temperature that is the plain number `number` where there are units.
pub(crate) fn without_unit(number: &str) -> String {
    format!("is {number}, without a unit: did you mean \"{number} K\"? An energy stands for kT")
}

/// Says that `text` is not of `dimension`.
pub(crate) fn not_a(text: &str, dimension: Dimension) -> String {
    format!("is \"{text}\": write {}", dimension.example())
}

fn expect(text: &str, dimension: Dimension) -> Result<f64, String> {
    let quantity: Quantity = text.parse()?;
    if quantity.dimension == dimension {
        Ok(quantity.value)
    } else {
        Err(not_a(text, dimension))
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
        let energy = positive("energy", energy_unit, energy(&with_number(energy_unit)))?;
        if energy > MOST_ENERGY {
            let problem = format!(
                "is \"{energy_unit}\", far more than a few particles have: did you mean \
                 \"{energy_unit}/mol\"?"
            );
            return Err(("energy", problem));
        }
        let length = positive("length", length_unit, length(&with_number(length_unit)))?;
        Ok(Self { energy, length })
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
