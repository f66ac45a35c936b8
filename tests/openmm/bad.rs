//! Damaged and unsupported System files.

use boltzflow::potential::{OpenMm, OpenMmParameters};
use serde::Deserialize;

/// Four atoms with every force.
const SYSTEM: &str = include_str!("small.xml");

#[derive(Deserialize)]
struct Table {
    damaged: Vec<Damaged>,
}

#[derive(Deserialize)]
struct Damaged {
    from: String,
    to: String,
    words: Vec<String>,
}

fn refusal(system: &str) -> Option<String> {
    let parameters = OpenMmParameters { system: system.into(), temperature: "300 K".into() };
    OpenMm::new(&parameters).err().map(|error| error.to_string())
}

#[test]
fn damaged_systems_are_refused_with_place_and_remedy() {
    assert_eq!(refusal(SYSTEM), None, "the System that is damaged below");
    let table: Table = toml::from_str(include_str!("damaged.toml")).unwrap();
    assert!(table.damaged.len() >= 60);
    for Damaged { from, to, words } in table.damaged {
        assert!(SYSTEM.contains(&from), "{from}");
        let damaged = SYSTEM.replacen(&from, &to, 1);
        // The type of the outermost element is not needed.
        if words.is_empty() {
            assert_eq!(refusal(&damaged), None, "{from}");
            continue;
        }
        let message = refusal(&damaged).unwrap_or_else(|| panic!("{from} -> {to} is taken"));
        assert!(message.starts_with("`system` "), "{message}");
        for word in words {
            assert!(message.contains(&word), "{from} -> {to}: {message} has no {word:?}");
        }
    }
}

/// Cut off anywhere, or with any byte changed, a file is refused or read; nothing panics.
#[test]
fn no_damage_makes_a_panic() {
    for end in (0..SYSTEM.len()).step_by(37).filter(|end| SYSTEM.is_char_boundary(*end)) {
        assert!(refusal(&SYSTEM[..end]).is_some(), "cut at {end}");
    }
    for place in (0..SYSTEM.len()).step_by(11) {
        for byte in *b"0-<\"&e" {
            let mut bytes = SYSTEM.as_bytes().to_vec();
            bytes[place] = byte;
            let _ = refusal(std::str::from_utf8(&bytes).unwrap());
        }
    }
}
