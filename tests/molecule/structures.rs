//! Structure files: names, bonds, stereocentres, and what is wrong.

use std::fs;

use boltzflow::molecule::{Atom, Handedness, Molecule};
use boltzflow::samples::Samples;

use super::{capped, data, dipeptide, target, text};

fn labels(molecule: &Molecule) -> Vec<String> {
    molecule.atoms.iter().map(Atom::label).collect()
}

#[test]
fn all_formats_give_the_same_molecule_and_a_start() {
    let by_pdb = capped();
    let molecule = by_pdb.molecule.clone().unwrap();
    assert_eq!(labels(&molecule)[..5], ["ACE1:CH3", "ACE1:C", "ACE1:O", "ALA2:N", "ALA2:CA"]);
    // Those of the potential, sorted; a file without CONECT would give the same by distances.
    assert_eq!(
        molecule.bonds,
        [[0, 1], [1, 2], [1, 3], [3, 4], [4, 5], [4, 6], [4, 7], [7, 8], [7, 9], [9, 10]]
    );
    assert_eq!(by_pdb.potential.bonds().len(), 10);
    assert_eq!(by_pdb.potential.structures().len(), 1);
    for name in ["capped.cif", "capped.xyz"] {
        let keys = text("capped.toml").replace("capped.pdb", name);
        let other = target(&keys, &data("")).unwrap();
        let theirs = other.molecule.clone().unwrap();
        let (here, there) = (&by_pdb.potential.structures()[0], &other.potential.structures()[0]);
        assert!(here.iter().zip(there).all(|(a, b)| (a - b).abs() < 2e-3), "{name}");
        assert_eq!(theirs.bonds, molecule.bonds);
        assert_eq!(theirs.stereocentres, molecule.stereocentres);
        let names = |molecule: &Molecule| -> Vec<String> {
            molecule.atoms.iter().map(|atom| format!("{} {}", atom.name, atom.symbol())).collect()
        };
        assert_eq!(names(&theirs), names(&molecule), "{name}");
        if name.ends_with("cif") {
            assert_eq!(theirs.atoms, molecule.atoms);
        }
        // A run's copy depends on no file.
        let again = target(&other.text, std::path::Path::new("/nowhere")).unwrap();
        assert_eq!((again.molecule, again.text), (other.molecule, other.text));
        assert_eq!(again.potential.structures(), other.potential.structures());
    }
}

#[test]
fn bonds_come_from_distances_where_a_file_lists_some() {
    let molecule = dipeptide().molecule.unwrap();
    let mut bonds = vec![[0, 1], [1, 2], [1, 3], [1, 4], [4, 5], [4, 6]];
    bonds.extend([[6, 7], [6, 8], [8, 9], [8, 10], [8, 14], [10, 11], [10, 12], [10, 13]]);
    bonds.extend([[14, 15], [14, 16], [16, 17], [16, 18], [18, 19], [18, 20], [18, 21]]);
    assert_eq!(molecule.bonds, bonds);
    // A file that links every atom is taken at its word, here with one bond of many.
    let methane = "\
HETATM    1  C1  LIG A   1       0.000   0.000   0.000  1.00  0.00           C
HETATM    2  H1  LIG A   1       0.629   0.629   0.629  1.00  0.00           H
HETATM    3  H2  LIG A   1      -0.629  -0.629   0.629  1.00  0.00           H
CONECT    1    2
CONECT    3    2
";
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("m.pdb"), methane).unwrap();
    let keys = "format = 1\nname = \"m\"\nkind = \"formula\"\ndimension = 3\nparticles = 3\n\
                external = \"r_com^2\"\nstructure = \"m.pdb\"\n";
    let found = target(keys, folder.path()).unwrap().molecule.unwrap();
    assert_eq!(found.bonds, [[0, 1], [1, 2]]);
}

#[test]
fn a_spring_across_an_angle_is_no_bond() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("w.xyz"), "3\n\nO 0 0 0\nH 0.96 0 0\nH -0.24 0.93 0\n").unwrap();
    let keys = "format = 1\nname = \"water\"\nkind = \"formula\"\ndimension = 3\n\
                particles = [\"O\", \"H\", \"H\"]\nstructure = \"w.xyz\"\n\
                bonds = [{ atoms = [[0, 1], [0, 2], [1, 2]], energy = \"r^2\" }]\n";
    let target = target(keys, folder.path()).unwrap();
    assert_eq!(target.molecule.unwrap().bonds, [[0, 1], [0, 2]]);
    // Planted: the energy has three.
    assert_eq!(target.potential.bonds(), [[0, 1], [0, 2], [1, 2]]);
}

#[test]
fn the_stereocentre_is_found_and_only_that() {
    let molecule = dipeptide().molecule.unwrap();
    // Methyl groups have like hydrogens; carbonyls and amides have three neighbours.
    let centres: Vec<usize> = molecule.stereocentres.iter().map(|c| c.centre).collect();
    assert_eq!(centres, [8]);
    let mirrored: Vec<f64> = molecule
        .positions
        .iter()
        .enumerate()
        .map(|(k, x)| if k % 3 == 1 { -x } else { *x })
        .collect();
    assert_eq!(molecule.handedness(&molecule.positions), Handedness::Same);
    assert_eq!(molecule.handedness(&mirrored), Handedness::Mirrored);
    // Planted: with like groups for the side chain and the hydrogen, there is none.
    let mut glycine = (*molecule).clone();
    glycine.atoms.truncate(11);
    glycine.positions.truncate(33);
    glycine.atoms[10].element = glycine.atoms[9].element;
    assert_eq!(glycine.in_target(&[[8, 6], [8, 9], [8, 10], [8, 7]], &[]).stereocentres, []);
}

/// Hydrogens of CH₂ may be exchanged, and one that a file calls the first stays where it is.
#[test]
fn like_atoms_of_samples_have_the_order_of_the_structure() {
    let folder = tempfile::tempdir().unwrap();
    let structure = "5\n\nC 0 0 0\nF 0.7 0.9 0.7\nCl -1 -1 1\nH -0.6 0.6 -0.6\nH 0.6 -0.6 -0.6\n";
    fs::write(folder.path().join("m.xyz"), structure).unwrap();
    let keys = "format = 1\nname = \"m\"\nkind = \"formula\"\ndimension = 3\n\
                particles = [\"C\", \"F\", \"Cl\", \"H\", \"H\"]\n\
                external = \"r_com^2\"\nstructure = \"m.xyz\"\n";
    let target = target(keys, folder.path()).unwrap();
    assert_eq!(target.molecule.as_ref().unwrap().like_neighbours.len(), 1);
    let same = target.potential.structures()[0].clone();
    let exchanged = [&same[..9], &same[12..], &same[9..12]].concat();
    // Of CH₂FCl, which has no handedness, the mirror image stays, with the other order.
    let mirrored: Vec<f64> = same.iter().map(|x| -x).collect();
    let in_order = [&mirrored[..9], &mirrored[12..], &mirrored[9..12]].concat();
    let positions = [&same[..], &exchanged, &mirrored, &in_order].concat();
    let mut drawn = Samples { positions, ..Samples::default() };
    assert_eq!(target.match_structure(&mut drawn), 0);
    assert_eq!(drawn.positions, [&same[..], &same, &in_order, &in_order].concat());
}

/// C(F)(Cl)H–C(F)(Br)H, with both stereocentres.
const TWO_CENTRES: &str =
    "8\n\nC 0 0 0\nC 1.5 0 0\nF -0.5 1.2 0\nCl -0.6 -0.8 1.4\nH -0.4 -0.6 -0.8
F 2.0 1.2 0\nBr 2.1 -0.8 1.5\nH 1.9 -0.6 -0.8\n";

#[test]
fn samples_are_mirrored_to_the_structure_and_diastereomers_get_no_weight() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("m.xyz"), TWO_CENTRES).unwrap();
    let keys = "format = 1\nname = \"m\"\nkind = \"formula\"\ndimension = 3\n\
                particles = [\"C1\", \"C2\", \"F1\", \"Cl\", \"H1\", \"F2\", \"Br\", \"H2\"]\n\
                external = \"r_com^2\"\nstructure = \"m.xyz\"\n";
    let target = target(keys, folder.path()).unwrap();
    let molecule = target.molecule.clone().unwrap();
    assert_eq!(molecule.stereocentres.len(), 2);
    let same = target.potential.structures()[0].clone();
    let flip = |x: &[f64], atoms: std::ops::Range<usize>| -> Vec<f64> {
        let turned = |k: usize| k.is_multiple_of(3) && atoms.contains(&(k / 3));
        x.iter().enumerate().map(|(k, x)| if turned(k) { -x } else { *x }).collect()
    };
    let mirrored = flip(&same, 0..8);
    // Two substituents of the second centre in each other's places.
    let mut other = same.clone();
    (15..18).for_each(|k| other.swap(k, k + 3));
    let drawn = Samples {
        positions: [&same[..], &mirrored, &other].concat(),
        log_weights: vec![0.1, 0.2, 0.3],
        energies: vec![1.0, 2.0, 3.0],
    };
    let mut handed = drawn.clone();
    assert_eq!(target.match_structure(&mut handed), 1);
    assert_eq!(handed.positions, [&same[..], &same, &other].concat());
    assert_eq!(handed.log_weights, [0.1, 0.2, f64::NEG_INFINITY]);
    assert_eq!(handed.energies, drawn.energies);
    let energies = |x: &Samples| {
        let mut energies = [0.0; 3];
        target.potential.energies(&x.positions, &mut energies).unwrap();
        energies
    };
    // Exactly: a reflection changes no energy.
    assert_eq!(energies(&handed), energies(&drawn));
    let once = handed.clone();
    assert_eq!((target.match_structure(&mut handed), handed), (1, once));
}

#[test]
fn wrong_structures_are_refused_with_file_and_way_out() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("capped.pdb");
    let good = text("capped.pdb");
    let keys = text("capped.toml");
    let without_oxygen: String =
        good.lines().filter(|line| !line.contains("  O   ALA")).map(|l| format!("{l}\n")).collect();
    for (content, keys, words) in [
        (without_oxygen.as_bytes(), keys.clone(), &["capped.pdb", "10 atoms", "addHydrogens"][..]),
        (b"MZ\x90\0", keys.clone(), &["capped.pdb", "not a text"]),
        (b"hello\n", keys.clone(), &["capped.pdb", "neither ATOM"]),
        (b"", keys.clone(), &["capped.pdb", "neither ATOM"]),
        (b"11\n\nC 0 0 0\n", keys.clone(), &["capped.pdb", "cut off"]),
        (b"data_a\nloop_\n_atom_site.id\n1\n", keys.clone(), &["capped.pdb", "cartn_x"]),
        (
            good.replace("   3.427", "      x ").as_bytes(),
            keys.clone(),
            &["capped.pdb", "line 3", "`x` for x"],
        ),
        (
            good.as_bytes(),
            keys.replace("capped.pdb", "missing.pdb"),
            &["missing.pdb", "it is not in"],
        ),
        (
            good.as_bytes(),
            "format = 1\nname = \"flat\"\nkind = \"formula\"\ndimension = 2\nparticles = 11\n\
             external = \"r_com^2\"\nstructure = \"capped.pdb\"\n"
                .to_string(),
            &["target.toml", "in space", "d = 2"],
        ),
        // A copy that a run holds names the target's file.
        (
            good.as_bytes(),
            keys.replace("\"capped.pdb\"", "\"\"\"3\nmolecule\"\"\""),
            &["target.toml", "`structure`", "cut off"],
        ),
        (good.as_bytes(), keys.replace("\"capped.pdb\"", "7"), &["target.toml", "structure"]),
    ] {
        fs::write(&path, content).unwrap();
        let error = target(&keys, folder.path()).unwrap_err();
        let said = error.to_string();
        assert!(words.iter().all(|word| said.contains(word)), "{words:?}: {said}");
        assert_eq!(error.exit_code(), 2);
    }
    // Planted: the good one is read.
    fs::write(&path, &good).unwrap();
    assert!(target(&keys, folder.path()).is_ok());
}
