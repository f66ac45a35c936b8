//! Quantities with units.

use boltzflow::potential::units::*;
use proptest::prelude::*;

fn close(a: f64, b: f64) -> bool {
    (a - b).abs() <= 1e-12 * b.abs()
}

#[test]
fn known_quantities_have_their_si_values() {
    assert!(close(energy("1 kJ/mol").unwrap(), 1e3 / 6.022_140_76e23));
    assert!(close(energy("1kcal/mol").unwrap(), 4184.0 / 6.022_140_76e23));
    assert!(close(energy("-2.5e1eV").unwrap(), -25.0 * 1.602_176_634e-19));
    assert!(close(length(" 0.1 nm ").unwrap(), length("1 angstrom").unwrap()));
    assert!(close(thermal_energy("300 K").unwrap(), 300.0 * 1.380_649e-23));
    assert!(close(thermal_energy("2 kJ/mol").unwrap(), energy("2 kJ/mol").unwrap()));
    // kT at room temperature, as every chemist knows it; 1 hartree = 27.211386245981 eV.
    assert!(
        (thermal_energy("298.15 K").unwrap() / energy("1 kJ/mol").unwrap() - 2.479).abs() < 1e-3
    );
    assert!((HARTREE / ELECTRONVOLT - 27.211_386_245_981).abs() < 1e-11);
    let [stiff, same]: [Quantity; 2] =
        ["1000 kJ/mol/nm^2", "1000 kJ mol^-1 * nm^-2"].map(|text| text.parse().unwrap());
    assert!(close(stiff.value, same.value) && stiff.dimension == same.dimension);
    assert_eq!(stiff.dimension, Dimension { energy: 1, length: -2, temperature: 0 });
}

#[test]
fn quantities_are_expressed_in_the_units_of_a_file() {
    let units = Units::new("kJ/mol", "nm").unwrap();
    let number = |text: &str| units.number_of(text.parse().unwrap());
    for (text, expected) in [
        ("4.184 J/mol", 4.184e-3),
        ("1 kcal/mol", 4.184),
        ("3.4 angstrom", 0.34),
        ("300 K", 300.0 * 8.314_462_618_153_24e-3),
        ("1 kcal/mol/A^2", 418.4),
        ("180 deg", std::f64::consts::PI),
        ("7", 7.0),
    ] {
        assert!(close(number(text), expected), "{text}: {} and not {expected}", number(text));
    }
}

#[test]
fn wrong_texts_get_a_message_that_helps() {
    for (text, part) in [
        ("300 k", "did you mean `K`"),
        ("K", "write a number and a unit"),
        ("1.5 kJ/mol/", "a unit is missing"),
        ("1 nm^two", "not a whole number"),
        ("1 nm^13", "not a whole number"),
        ("1 Kelvins", "there is no unit"),
        ("1e999 J", "not finite"),
        ("", "write a number and a unit"),
        ("1 kelvin", "did you mean `K`"),
        ("300 °C", "write kelvin"),
        ("1 Kcal/mol", "did you mean `kcal`"),
        ("1 kj/mol", "did you mean `kJ`"),
        ("1 EV", "did you mean `eV`"),
        ("3 nanometers", "did you mean `nm`"),
        ("2 Ångström", "did you mean `angstrom`"),
        ("1 kJ/mol/nm2", "did you mean `nm^2`"),
        ("1 nm⁻²", "did you mean `nm^-2`"),
        ("1 nm**2", "powers are written nm^2"),
        ("1,5 nm", "a point before decimals"),
        ("1 kJ", "did you mean `kJ/mol`"),
        ("1 kcal/nm^2", "did you mean `kcal/mol`"),
        ("1 eV/mol", "`mol` goes with J"),
        ("1 mol", "`mol` goes with J"),
        ("1 kJ/mol nm^2", "write `*` or `/` before `nm^2`"),
        ("1 nm^12*nm", "a power beyond 12"),
        ("1e-300 pm^12", "not finite"),
    ] {
        let problem = text.parse::<Quantity>().unwrap_err();
        assert!(problem.contains(part), "{text}: {problem}");
    }
    assert!(thermal_energy("0 K").unwrap_err().contains("over 0"));
    assert!(thermal_energy("3 nm").unwrap_err().contains("a temperature"));
    assert!(thermal_energy("300").unwrap_err().contains("did you mean \"300 K\""));
    assert!(thermal_energy("1 J").unwrap_err().contains("7.2e22 K"));
    assert!(energy("3 nm").unwrap_err().contains("an energy"));
    assert_eq!(Units::new("kJ/mol", "K").unwrap_err().0, "length");
    for unit in ["kJ", "J", "kcal", "K", "1e9 eV"] {
        assert_eq!(Units::new(unit, "nm").unwrap_err().0, "energy", "{unit}");
    }
    // What SI has for a single particle is an energy as well.
    assert!(Units::new("1e-21 J", "1 µm").is_ok());
}

#[test]
fn every_sign_of_a_unit_is_known() {
    for text in
        ["1 \u{c5}", "1 \u{212b}", "1 A\u{30a}", "1\u{a0}A", "1e-4 \u{b5}m", "1e-4 \u{3bc}m"]
    {
        assert!(close(length(text).unwrap(), 1e-10), "{text}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// What is read is written, and read again as it was.
    #[test]
    fn a_quantity_is_read_as_it_was_written(
        number in -1e6f64..1e6,
        factors in prop::collection::vec((0..11usize, prop::bool::ANY, -3..4i32), 0..4),
    ) {
        const NAMES: [&str; 11] =
            ["kJ/mol", "kcal/mol", "J", "eV", "hartree", "nm", "A", "um", "bohr", "K", "deg"];
        let mut text = format!("{number}");
        for (name, divides, power) in factors {
            let sign = if divides { '/' } else { '*' };
            let power = if NAMES[name].contains('/') { String::new() } else { format!("^{power}") };
            text += &format!("{sign}{}{power}", NAMES[name]);
        }
        let text = text.replacen('*', " ", 1);
        if let Ok(quantity) = text.parse::<Quantity>() {
            let written = quantity.to_string();
            prop_assert_eq!(written.parse::<Quantity>(), Ok(quantity), "{} {}", text, written);
        }
    }

    /// A name with one letter too many, too few or other than it is.
    #[test]
    fn a_misspelt_unit_gets_a_suggestion(
        name in prop::sample::select(vec!["kJ/mol", "kcal/mol", "eV", "hartree", "angstrom", "nm"]),
        at in 0..8usize,
        letter in "[a-zA-Z]",
        mistake in 0..3usize,
    ) {
        let mut letters: Vec<String> = name.chars().map(String::from).collect();
        let at = at.min(name.find('/').unwrap_or(name.len()) - 1);
        match mistake {
            0 => letters.insert(at, letter),
            1 => letters[at] = letter,
            _ => { letters.remove(at); }
        }
        let text = format!("3 {}", letters.concat());
        if let Err(problem) = text.parse::<Quantity>() {
            let suggests = ["did you mean `", "use one of `", "`mol` goes with"];
            prop_assert!(suggests.iter().any(|words| problem.contains(words)), "{}", problem);
        }
    }
}
