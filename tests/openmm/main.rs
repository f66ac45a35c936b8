//! OpenMM Systems: energies and forces are OpenMM's, batches are the same as single
//! configurations, like atoms are alike, and every damaged file is refused by name.
//!
//! `known.json` has positions in nm, energies in kJ/mol and forces in kJ/mol/nm by the Reference
//! platform of OpenMM 8.6; `compare.py` makes many more.

mod bad;

use std::io::Read;
use std::path::Path;

use boltzflow::potential::{OpenMm, OpenMmParameters, Potential};
use boltzflow::Registry;
use serde::Deserialize;

const KT: f64 = 8.314_462_618_153_24e-3 * 300.0;

#[derive(Deserialize)]
struct Known {
    energy: f64,
    positions: Vec<f64>,
    forces: Vec<f64>,
}

fn text(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    if name == "aldp" {
        return std::fs::read_to_string(folder.join("targets/aldp.xml")).unwrap();
    }
    let file = folder.join(format!("tests/openmm/systems/{name}.xml.gz"));
    let mut text = String::new();
    let file = std::fs::File::open(file).unwrap();
    flate2::read::GzDecoder::new(file).read_to_string(&mut text).unwrap();
    text
}

fn open(system: String) -> OpenMm {
    OpenMm::new(&OpenMmParameters { system, temperature: "300 K".into() }).unwrap()
}

/// Largest relative difference of energies, and of forces.
fn differences(potential: &OpenMm, known: &[Known]) -> [f64; 2] {
    let width = potential.system().coordinates();
    let mut worst = [0.0_f64; 2];
    for known in known {
        let x: Vec<f64> = known.positions.iter().map(|x| 10.0 * x).collect();
        let mut gradient = vec![0.0; width];
        let energy = KT * potential.energy_and_gradient(&x, &mut gradient).unwrap();
        worst[0] = worst[0].max((energy - known.energy).abs() / known.energy.abs().max(1.0));
        for (gradient, force) in gradient.iter().zip(&known.forces) {
            let error = (10.0 * KT * gradient + force).abs();
            worst[1] = worst[1].max(error / force.abs().max(100.0));
        }
    }
    worst
}

#[test]
fn energies_and_forces_are_those_of_openmm() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/openmm/known.json");
    let known: std::collections::BTreeMap<String, Vec<Known>> =
        serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
    assert_eq!(known.len(), 6);
    for (name, known) in &known {
        let potential = open(text(name));
        let worst = differences(&potential, known);
        assert!(worst.iter().all(|worst| *worst < 1e-10), "{name}: {worst:?}");
    }
    // A planted difference in the sixth digit of one number of the file is seen.
    let aldp = text("aldp");
    let planted = aldp.replacen("sig=\".339966950842\"", "sig=\".339968950842\"", 1);
    assert_ne!(aldp, planted);
    assert!(differences(&open(planted), &known["aldp"])[0] > 1e-10);
}

/// The literature's value for ideal geometry, in the order of AMBER's templates.
#[test]
fn alanine_dipeptide_has_the_published_energy() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/openmm/known.json");
    let known: std::collections::BTreeMap<String, Vec<Known>> =
        serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
    let x: Vec<f64> = known["aldp"][0].positions.iter().map(|x| 10.0 * x).collect();
    let target = Registry::builtin().load("aldp").unwrap();
    let energy = KT * target.potential.energy_and_gradient(&x, &mut vec![0.0; 66]).unwrap();
    assert!((energy + 138.9698).abs() < 1e-4, "{energy}");
    let terms = open(text("aldp")).terms(&x);
    let published = [
        ("HarmonicBondForce", 0.0862),
        ("HarmonicAngleForce", 1.5144),
        ("PeriodicTorsionForce", 8.0563),
        ("NonbondedForce", -97.7456),
        ("CustomGBForce", -50.8811),
    ];
    for (name, value) in published {
        let (_, found) = terms.iter().find(|(known, _)| known == name).unwrap();
        assert!((KT * found - value).abs() < 1e-4, "{name}: {found}");
    }
}

#[test]
fn a_batch_is_what_its_configurations_are_alone() {
    for name in ["aldp", "custom"] {
        let potential = open(text(name));
        let width = potential.system().coordinates();
        let one = Registry::builtin().load("aldp").unwrap().potential.structures()[0].clone();
        // 40 is two tiles and a half.
        let moved = |sample: usize, k: usize| 0.1 * ((sample * width + k) as f64).sin();
        let x: Vec<f64> = (0..40 * width).map(|k| one[k % width] + moved(k / width, k)).collect();
        let (mut energies, mut gradients) = (vec![0.0; 40], vec![0.0; x.len()]);
        potential.energies_and_gradients(&x, &mut energies, &mut gradients).unwrap();
        for (sample, &in_batch) in energies.iter().enumerate() {
            let place = sample * width..(sample + 1) * width;
            let mut gradient = vec![0.0; width];
            let energy = potential.energy_and_gradient(&x[place.clone()], &mut gradient).unwrap();
            assert_eq!((energy, &gradient[..]), (in_batch, &gradients[place]), "{name}");
        }
    }
}

#[test]
fn hydrogens_of_a_methyl_are_alike_and_others_are_not() {
    let potential = open(text("aldp"));
    let kinds = potential.system().kinds(potential.species());
    let shared: Vec<_> = kinds.into_iter().filter(|kind| kind.len() > 1).collect();
    assert_eq!(shared, [vec![0, 2, 3], vec![11, 12, 13], vec![19, 20, 21]]);
    // With another charge, one of them is of a kind of its own.
    let planted = text("aldp").replacen("q=\".1123\"", "q=\".1124\"", 1);
    let potential = open(planted);
    let kinds = potential.system().kinds(potential.species());
    assert_eq!(kinds.iter().filter(|kind| kind.len() > 1).count(), 3);
    assert!(kinds.iter().any(|kind| kind.len() == 2));
}

/// Maps over φ and ψ tell a molecule from its mirror image; the target does not.
#[test]
fn energies_of_a_target_do_not_change_under_reflection() {
    let folder = tempfile::tempdir().unwrap();
    let pdb = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/openmm/systems/charmm36.pdb");
    std::fs::copy(pdb, folder.path().join("a.pdb")).unwrap();
    std::fs::write(folder.path().join("a.xml"), text("charmm36")).unwrap();
    let toml = "format = 1\nname = \"a\"\nkind = \"openmm\"\nsystem = \"a.xml\"\n\
        temperature = \"300 K\"\n";
    let file = folder.path().join("a.toml");
    let energies = |toml: &str| {
        let target = Registry::builtin().target_from_text(toml, &file).unwrap();
        let known = Registry::builtin()
            .target_from_text(&format!("{toml}structure = \"a.pdb\"\n"), &file)
            .unwrap();
        let x = &known.potential.structures()[0];
        let mirrored: Vec<f64> = x.iter().map(|x| -x).collect();
        let mut gradients = [vec![0.0; x.len()], vec![0.0; x.len()]];
        let energy = |potential: &dyn Potential, x: &[f64], g: &mut [f64]| {
            potential.energy_and_gradient(x, g).unwrap()
        };
        let plain = energy(&*target.potential, x, &mut gradients[0])
            - energy(&*target.potential, &mirrored, &mut gradients[1]);
        let handed = energy(&*known.potential, x, &mut gradients[0])
            - energy(&*known.potential, &mirrored, &mut gradients[1]);
        let opposite = gradients[0].iter().zip(&gradients[1]).all(|(a, b)| *a == -b);
        (plain, handed, opposite)
    };
    let (plain, handed, opposite) = energies(toml);
    assert!(plain.abs() > 0.1, "the System itself: {plain}");
    assert!(handed == 0.0 && opposite, "{handed}");
}
