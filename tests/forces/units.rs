//! Quantities with units.

use boltzflow::potential::units::*;

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
    ] {
        let problem = text.parse::<Quantity>().unwrap_err();
        assert!(problem.contains(part), "{text}: {problem}");
    }
    assert!(thermal_energy("0 K").unwrap_err().contains("over 0"));
    assert!(thermal_energy("3 nm").unwrap_err().contains("a temperature"));
    assert!(energy("3 nm").unwrap_err().contains("an energy"));
    assert_eq!(Units::new("kJ/mol", "K").unwrap_err().0, "length");
}
