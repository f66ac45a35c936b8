//! Extended XYZ: frames of other programs, names of particles, units.

use std::fs;
use std::path::Path;

use boltzflow::config::{Registry, Target};
use boltzflow::random::{stream, Purpose};
use boltzflow::samples::{read_samples, write_samples, Particles, Samples};
use boltzflow::system::System;
use rand::Rng;

#[test]
fn extended_xyz_has_a_frame_per_sample_with_species_energy_and_log_weight() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("frames.extxyz");
    let written = |d: usize, labels: &[&str]| {
        let system = System::new(2, d).unwrap();
        let batch = Samples {
            positions: (0..4 * d).map(|i| 1.0 / 3.0 - i as f64).collect(),
            log_weights: vec![-0.25, f64::NEG_INFINITY],
            energies: vec![1e-7, f64::INFINITY],
        };
        let names = labels.iter().map(|l| l.to_string()).collect();
        let particles = Particles { names, ..system.into() };
        write_samples(&path, particles, 2, [Ok(batch)]).unwrap();
        fs::read_to_string(&path).unwrap()
    };
    let plane = written(2, &[]);
    let third = 1.0f64 / 3.0;
    assert_eq!(
        plane,
        format!(
            "2\nProperties=species:S:1:pos:R:3 energy=0.0000001 log_weight=-0.25 pbc=\"F F F\"\n\
             X {third} {} 0.0\nX {} {} 0.0\n\
             2\nProperties=species:S:1:pos:R:3 energy=inf log_weight=-inf pbc=\"F F F\"\n\
             X {} {} 0.0\nX {} {} 0.0\n",
            third - 1.0,
            third - 2.0,
            third - 3.0,
            third - 4.0,
            third - 5.0,
            third - 6.0,
            third - 7.0
        )
    );
    let elements = written(3, &["Ar", "Ne"]);
    assert!(elements.contains("\nAr 0.33") && elements.contains("\nNe -2.6"), "{elements}");
    assert!(!elements.contains("label"));
    // Names that are more than elements, or none, are kept in a column of their own.
    let named = written(3, &["C1", "O"]);
    assert!(named.contains("pos:R:3:label:S:1 energy"), "{named}");
    assert!(named.contains("\nC 0.33") && named.contains(" C1\nO -2.6"), "{named}");
    let named = written(3, &["A", "B"]);
    assert!(named.contains("\nX 0.33") && named.contains(" A\nX -2.6"), "{named}");
}

/// O, H, H in three dimensions, the particles of `tests/xyz/target.toml`.
fn water() -> Particles {
    let names = ["O", "H", "H"].map(str::to_string).to_vec();
    Particles { names, ..System::new(3, 3).unwrap().into() }
}

/// What a message says about each file of `tests/xyz` that is refused; all others have the
/// positions of `plain.xyz`. `tests/read_back.py` compares them with ASE.
const REFUSED: [(&str, &[&str]); 19] = [
    ("d_exponents.xyz", &["frame 0, atom 0", "is not a number"]),
    ("old_mac_line_ends.xyz", &["frame 0", "U+000D"]),
    ("order_of_atoms.xyz", &["frame 0, atom 0", "`H`", "`O`", "order"]),
    ("truncated.xyz", &["frame 2", "before atom 2", "cut off"]),
    ("wrapped.xyz", &["frame 0", "periodic", "unwrap", "no Lattice"]),
    ("cell_alone.xyz", &["frame 0", "periodic", "no Lattice"]),
    ("periodic_in_z.xyz", &["frame 0", "periodic"]),
    ("cell_vectors_after.xyz", &["frame 1", "VEC1"]),
    ("lower_case_key.xyz", &["frame 0", "`properties`", "`Properties`"]),
    ("empty_value.xyz", &["frame 0", "no value", "`comment`"]),
    ("open_quote.xyz", &["frame 0", "`\"` is missing"]),
    ("key_without_value.xyz", &["frame 0", "`Properties` without a value"]),
    ("ipi_bohr.xyz", &["frame 0", "positions{atomic_unit}", "positions{angstrom}"]),
    ("weight_without_logarithm.xyz", &["frame 0", "`weight`", "log_weight"]),
    ("file_separator.xyz", &["frame 0", "U+001C"]),
    ("digit_groups.xyz", &["frame 0, atom 0", "1.028017040_0"]),
    ("two_position_columns.xyz", &["frame 0", "positions:R:3:pos:R:3"]),
    ("five_columns.xyz", &["frame 0, atom 0", "4 of 5 columns"]),
    ("unlike_labels.xyz", &["frame 0, atom 1", "`H2`", "`H1`"]),
];

#[test]
fn frames_of_other_programs_are_read_as_ase_does_or_refused_by_frame() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/xyz");
    let want = read_samples(folder.join("plain.xyz"), water()).unwrap();
    assert_eq!(want.positions[..3], [-0.68565386, -0.22368594, 1.02801704]);
    let mut read = 0;
    for entry in fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if !name.to_lowercase().ends_with(".xyz") {
            continue;
        }
        let mut particles = water();
        if name.contains("labels") {
            particles.names = ["O", "H1", "H2"].map(str::to_string).to_vec();
        }
        let found = read_samples(&path, particles);
        match REFUSED.iter().find(|(refused, _)| *refused == name) {
            None => {
                assert_eq!(found.unwrap_or_else(|e| panic!("{e}")), want, "{name}");
                read += 1;
            }
            Some((_, words)) => {
                let error = found.expect_err(&name);
                let said = error.to_string();
                assert!(said.contains(&name) && error.exit_code() == 2, "{said}");
                assert!(words.iter().all(|word| said.contains(word)), "{words:?}: {said}");
            }
        }
    }
    assert_eq!(read, 29);
}

/// A frame in a layout drawn by `rng`: other columns around species and position in any order,
/// other keys around Properties, values quoted in any way.
fn in_some_layout(x: &[f64], rng: &mut impl Rng) -> String {
    let mut pick = |choices: &[&str]| choices[rng.gen_range(0..choices.len())].to_string();
    let mut columns = vec![("species:S:1", None), ("pos:R:3", Some(""))];
    for _ in 0..2 {
        let place = pick(&["0", "1", "2"]).parse().unwrap();
        let more =
            ["charge:R:1=7.5", "momenta:R:3=9 8 7", "tags:I:1=4", "site:S:1=H", "fixed:L:1=T"];
        let more = more[pick(&["0", "1", "2", "3", "4"]).parse::<usize>().unwrap()];
        let (name, cells) = more.split_once('=').unwrap();
        if columns.iter().all(|(known, _)| *known != name) {
            columns.insert(place, (name, Some(cells)));
        }
    }
    let properties: Vec<&str> = columns.iter().map(|(name, _)| *name).collect();
    let quotes = ["\"\"", "''", "{}", "[]", "  "];
    let mut line = String::new();
    for (key, value) in [
        (pick(&["step", "note", "\"a key\"", "x\\=y"]), pick(&["1", "pos:R:3", "F F F"])),
        ("Properties".to_string(), properties.join(":")),
        (pick(&["energy", "pbc", "comment"]), "F".to_string()),
        (pick(&["done", "it", "T"]), String::new()),
    ] {
        let blank = |text: String| text.replace('~', " ");
        let equals = blank(pick(&["=", "~=", "=~", "~=~"]));
        let quote = match value.contains(' ') {
            true => "\"\"".to_string(),
            false => pick(&quotes),
        };
        line += &pick(&["", " ", "\t"]);
        line += &match value.is_empty() {
            true => format!("{key} "),
            false => format!("{key}{equals}{}{value}{} ", &quote[..1], &quote[1..]),
        };
    }
    let mut text = format!("{}{}\n{line}{}", pick(&["", " "]), x.len() / 3, pick(&["\n", "\r\n"]));
    for (x, symbol) in x.chunks(3).zip(["O", "H", "H"]) {
        for (name, cells) in &columns {
            let numbers = || x.iter().map(|x| format!("{x:e}")).collect::<Vec<String>>().join(" ");
            let cells = match *name {
                "species:S:1" => symbol.to_string(),
                "pos:R:3" => numbers(),
                _ => cells.unwrap_or_default().to_string(),
            };
            text += &format!("{}{cells} ", pick(&["", " ", "\t"]));
        }
        text += "\n";
    }
    text
}

#[test]
fn frames_in_any_layout_have_the_same_positions() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("frames.xyz");
    for case in 0..2000 {
        let mut rng = stream(5, Purpose::Data, 0, case);
        let x: Vec<f64> = (0..18).map(|_| rng.gen_range(-3.0..3.0)).collect();
        let text: String = x.chunks(9).map(|x| in_some_layout(x, &mut rng)).collect();
        fs::write(&path, &text).unwrap();
        match read_samples(&path, water()) {
            Ok(found) => assert_eq!(found.positions, x, "{text}"),
            Err(error) => panic!("{error}\n{text}"),
        }
    }
}

fn target(keys: &str) -> Target {
    let text = format!("format = 1\nname = \"t\"\n{keys}");
    Registry::builtin().target_from_text(&text, Path::new("t.toml")).unwrap()
}

#[test]
fn what_is_written_is_read_for_every_target() {
    let folder = tempfile::tempdir().unwrap();
    let chain = "kind = \"formula\"\ndimension = 3\nexternal = \"r_com^2\"\n\
                 [[bonds]]\natoms = [[0, 1], [1, 2], [2, 3]]\nenergy = \"(r-1)^2\"";
    let particles = |list: &str| format!("particles = {list}\n{chain}");
    for (keys, names) in [
        (particles("4"), &[][..]),
        (particles("[\"C\", \"C\", \"C\", \"C\"]"), &["C"; 4]),
        (particles("[\"C1\", \"C2\", \"O\", \"H1\"]"), &["C1", "C2", "O", "H1"]),
        (particles("[\"A\", \"B\", \"B\", \"A\"]"), &["A", "B", "B", "A"]),
        (particles("[\"A\", \"B\", \"C\", \"D\"]"), &["A", "B", "C", "D"]),
        (
            "kind = \"ipi\"\naddress = \"localhost:0\"\n\
             species = [\"Na+\", \"Cl-\", \"OW\", \"7\"]\n\
             length = \"1 bohr\"\ntemperature = \"300 K\""
                .to_string(),
            &["Na+", "Cl-", "OW", "7"],
        ),
    ] {
        let target = target(&keys);
        assert_eq!(target.particles().names, names);
        let x: Vec<f64> = (0..24).map(|k| (k as f64 * 0.7).sin()).collect();
        for name in ["x.xyz", "x.EXTXYZ", "x.npz", "x.csv", "x.npy"] {
            let path = folder.path().join(name);
            let samples = Samples { positions: x.clone(), ..Samples::default() };
            write_samples(&path, target.particles(), 2, [Ok(samples)]).unwrap();
            let found = read_samples(&path, target.particles()).unwrap();
            let apart = x.iter().zip(&found.positions).map(|(x, y)| (x - y).abs());
            assert!(apart.fold(0.0, f64::max) < 1e-15, "{keys} {name}");
        }
    }
    // A name that has no place in a column.
    let path = folder.path().join("y.xyz");
    let mut particles = water();
    particles.names[1] = "H 1".to_string();
    let samples = || [Ok(Samples { positions: vec![0.0; 9], ..Samples::default() })];
    let said = write_samples(&path, &particles, 1, samples()).unwrap_err().to_string();
    assert!(said.contains("\"H 1\"") && !path.exists(), "{said}");
    particles.names.pop();
    assert!(write_samples(&path, &particles, 1, samples()).is_err());
}

#[test]
fn frames_of_a_target_with_units_are_in_angstrom_and_electronvolt() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("frames.xyz");
    let ipi = "kind = \"ipi\"\naddress = \"localhost:0\"\nspecies = [\"Ar\", \"Ar\"]\n\
               length = \"2.4 angstrom\"\ntemperature = \"300 K\"";
    let formula = "kind = \"formula\"\ndimension = 3\nparticles = [\"Ar\", \"Ar\"]\n\
                   pair = \"(r-1)^2\"\n";
    let units = "units = { energy = \"kJ/mol\", length = \"nm\" }\n";
    // kT: Boltzmann's constant is 8.617333e-5 eV/K, and 1 kJ/mol is 0.01036427 eV.
    let kt = 300.0 * 8.617_333_262e-5;
    for (keys, angstrom, electronvolt) in [
        (ipi.to_string(), 2.4, kt),
        (format!("{units}{formula}temperature = \"300 K\""), 10.0, kt),
        (format!("{units}{formula}temperature = \"2.5 kJ/mol\""), 10.0, 2.5 * 0.010_364_269_66),
        (format!("{formula}temperature = 2.5"), 1.0, 1.0),
    ] {
        let particles = target(&keys).particles();
        let samples = Samples {
            positions: vec![0.0, 0.0, 0.5, 0.0, 0.0, -1.0],
            energies: vec![-3.0],
            log_weights: vec![],
        };
        write_samples(&path, &particles, 1, [Ok(samples.clone())]).unwrap();
        let text = fs::read_to_string(&path).unwrap();
        let words: Vec<&str> = text.split_whitespace().collect();
        let energy = words.iter().find_map(|word| word.strip_prefix("energy=")).unwrap();
        let energy: f64 = energy.parse().unwrap();
        assert!((energy / (-3.0 * electronvolt) - 1.0).abs() < 1e-8, "{keys}: {text}");
        let z: f64 =
            words[words.iter().position(|word| *word == "Ar").unwrap() + 3].parse().unwrap();
        assert!((z / (0.5 * angstrom) - 1.0).abs() < 1e-12, "{keys}: {text}");
        let found = read_samples(&path, &particles).unwrap();
        assert!((found.positions[5] + 1.0).abs() < 1e-12, "{keys}");
        // Arrays are in the target's own units.
        let array = folder.path().join("arrays.npz");
        write_samples(&array, &particles, 1, [Ok(samples.clone())]).unwrap();
        assert_eq!(read_samples(&array, &particles).unwrap(), samples);
    }
}
