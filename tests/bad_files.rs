//! Damaged files: an error that names the file for each, no panic, and no memory beyond twice what
//! the good file takes.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use boltzflow::config::{Recipe, Registry};
use boltzflow::error::Error;
use boltzflow::random::{stream, Purpose};
use boltzflow::run::{
    load_model, read_model_metadata, save_model, Checkpoint, ModelMetadata, SessionTotals,
};
use boltzflow::samples::{read_samples, write_samples, Samples};
use boltzflow::system::System;
use boltzflow::train::{FabState, Problem, TrainingState};
use peak_alloc::PeakAlloc;
use rand::Rng;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// What `work` returns, and the most memory that it held at a time.
fn measured<R>(work: impl FnOnce() -> R) -> (R, usize) {
    MEMORY.reset_peak_usage();
    let before = MEMORY.current_usage();
    let result = work();
    (result, MEMORY.peak_usage() - before)
}

/// How the damaged versions of a file were read.
#[derive(Debug, Default)]
struct Tally {
    refused: usize,
    /// Read as before, such as when a space became a tab.
    same: usize,
    /// Read as something else that is valid, such as a number with another last digit.
    other: usize,
}

/// Reads the good file, then every damaged version in its place. Errors must name the file.
fn tally<T: PartialEq>(
    path: &Path,
    damaged: impl IntoIterator<Item = Vec<u8>>,
    read: impl Fn() -> Result<T, Error>,
) -> Tally {
    let good_bytes = fs::read(path).unwrap();
    let (good, most) = measured(|| read().unwrap());
    let name = path.file_name().unwrap().to_string_lossy().into_owned();
    let mut tally = Tally::default();
    for (number, bytes) in damaged.into_iter().enumerate() {
        assert_ne!(bytes, good_bytes, "{name} {number} is not damaged");
        fs::write(path, &bytes).unwrap();
        let (result, memory) = measured(&read);
        assert!(
            memory <= 2 * most,
            "{name} {number}: {memory} bytes of memory, {most} for the good file"
        );
        match result {
            Ok(value) if value == good => tally.same += 1,
            Ok(_) => tally.other += 1,
            Err(error) => {
                let said = error.to_string();
                assert!(said.contains(&name), "{name} {number}: {said}");
                assert!(said.len() < 2000 && error.exit_code() == 2, "{name} {number}: {said}");
                tally.refused += 1;
            }
        }
    }
    fs::write(path, good_bytes).unwrap();
    println!("{name}: {tally:?}");
    tally
}

/// Single flipped bits.
fn flipped(good: &[u8], count: u64) -> Vec<Vec<u8>> {
    let mut rng = stream(1, Purpose::Data, good.len() as u64, 0);
    let flip = |_| {
        let mut bytes = good.to_vec();
        let place = rng.gen_range(0..bytes.len());
        bytes[place] ^= 1 << rng.gen_range(0..8);
        bytes
    };
    (0..count).map(flip).collect()
}

/// Cut off, with bytes inserted, and with sizes that are absurd.
fn mangled(good: &[u8], count: u64) -> Vec<Vec<u8>> {
    let mut rng = stream(2, Purpose::Data, good.len() as u64, 0);
    let mut out = Vec::new();
    for _ in 0..count {
        let place = rng.gen_range(0..good.len());
        out.push(good[..place].to_vec());
        out.push([&good[..place], &[rng.gen(), 7, 0xff], &good[place..]].concat());
        // More often near the start, where headers are.
        let place = (place as f64 * rng.gen::<f64>().powi(4)) as usize;
        let end = (place + 8).min(good.len());
        out.push([&good[..place], &vec![0xff; end - place], &good[end..]].concat());
    }
    out.retain(|bytes| bytes != good);
    out
}

/// Every line of a file of keys and values, wrong in several ways.
fn misspelt(good: &str) -> Vec<Vec<u8>> {
    let mut out = Vec::new();
    let lines: Vec<&str> = good.lines().collect();
    for (index, line) in lines.iter().enumerate() {
        let mut with = |line: String| {
            let mut lines = lines.clone();
            lines[index] = &line;
            out.push(lines.join("\n").into_bytes());
        };
        if let Some(section) = line.strip_prefix('[') {
            with(format!("[x{section}"));
            with(format!("{line}]]"));
        } else if let Some((key, value)) = line.split_once(" = ") {
            with(format!("{key}x = {value}"));
            with(format!("{key} = {}", if value.starts_with('"') { "17" } else { "\"much\"" }));
            with(format!("{key} = "));
            with(format!("{key} {value}"));
            with(format!("{key} = -1e99"));
            with(format!("{line}\n{line}"));
        }
    }
    out
}

fn samples(count: usize, system: System) -> Samples {
    let positions: Vec<f64> =
        (0..count * system.coordinates()).map(|k| 3.0 * (k as f64 * 0.7).sin()).collect();
    let column: Vec<f64> = (0..count).map(|k| (k as f64).cos()).collect();
    Samples { positions, log_weights: column.clone(), energies: column }
}

fn problem(recipe: &Recipe) -> Problem {
    recipe.problem(Registry::builtin().load(&recipe.target).unwrap().potential).unwrap()
}

/// One test, since the memory that it watches is that of the whole process.
#[test]
fn damaged_files_are_refused_by_name_without_a_panic_or_much_memory() {
    let place = tempfile::tempdir().unwrap();
    let file = |name: &str| -> PathBuf { place.path().join(name) };
    let text =
        "format = 1\ntarget = \"dw4\"\n[[flow.layers]]\ncoupling = \"pairwise\"\nwidth = 8\n";
    let recipe = Recipe::from_text(text, Path::new("recipe.toml")).unwrap();
    let text = recipe.to_toml().unwrap();
    let problem = problem(&recipe);
    let trainer = recipe.trainer(&problem, problem.flow.system()).unwrap();
    let start = trainer.start(&problem);

    // Checkpoints: arrays and head. Whatever is not the same is refused.
    let folder = file("run");
    fs::create_dir(&folder).unwrap();
    let mut state = start.clone();
    let rows = 4000;
    let joint: Vec<f64> = (0..rows * 16).map(|k| (k as f64).sin()).collect();
    let fill = |_: &mut TrainingState, own: &mut FabState| {
        own.buffer.push(&joint, &vec![0.1; rows], &vec![0.2; rows]);
        Ok(())
    };
    state.with_own(fill).unwrap();
    let mut checkpoint =
        Checkpoint { state, totals: SessionTotals::default(), recipe: text.clone() };
    checkpoint.save(&folder).unwrap();
    let read = || Checkpoint::load(&folder, &start).map(|(checkpoint, _)| checkpoint);
    for end in ["safetensors", "json"] {
        let path = folder.join(format!("checkpoint-0000000000.{end}"));
        let good = fs::read(&path).unwrap();
        let found = tally(&path, flipped(&good, 120).into_iter().chain(mangled(&good, 40)), read);
        assert!(found.refused >= 200 && found.other == 0, "{found:?}");
    }

    // Models, by both readers.
    let path = file("model.safetensors");
    let layout = problem.flow.layout();
    let metadata = ModelMetadata { recipe: text.clone(), step: 12, ..ModelMetadata::default() };
    save_model(&path, layout, &start.theta, &metadata).unwrap();
    let good = fs::read(&path).unwrap();
    let damaged = || flipped(&good, 120).into_iter().chain(mangled(&good, 40));
    let found = tally(&path, damaged(), || load_model(&path, layout));
    assert!(found.refused >= 200 && found.other == 0, "{found:?}");
    tally(&path, damaged(), || read_model_metadata(&path));

    // Recipes and targets.
    let path = file("recipe.toml");
    fs::write(&path, &text).unwrap();
    let read = || Recipe::load(&path);
    let found = tally(&path, misspelt(&text), read);
    assert!(found.refused >= 200, "{found:?}");
    assert!(found.same + found.other <= 3, "{found:?}");
    tally(
        &path,
        flipped(text.as_bytes(), 200).into_iter().chain(mangled(text.as_bytes(), 40)),
        read,
    );
    let path = file("target.toml");
    let text = include_str!("../targets/lj13.toml");
    fs::write(&path, text).unwrap();
    let registry = Registry::builtin();
    let name = path.display().to_string();
    let read = || registry.load(&name).map(|target| target.known);
    let damaged = || misspelt(text).into_iter().chain(flipped(text.as_bytes(), 200));
    let found = tally(&path, damaged().chain(mangled(text.as_bytes(), 40)), read);
    assert!(found.refused >= 100, "{found:?}");

    damaged_data_are_refused(place.path());
}

/// A System of OpenMM with every force, by the target that names it.
fn damaged_systems_are_refused(folder: &Path) {
    let path = folder.join("system.xml");
    // A message names the target's file, whose name has that of the System.
    let target = folder.join("system.xml.toml");
    let good = include_bytes!("openmm/small.xml");
    fs::write(&path, good).unwrap();
    let text = "format = 1\nname = \"small\"\nkind = \"openmm\"\nsystem = \"system.xml\"\n\
                temperature = \"300 K\"\n";
    fs::write(&target, text).unwrap();
    let registry = Registry::builtin();
    let name = target.display().to_string();
    let read = || registry.load(&name).map(|target| target.known);
    // Numbers of tables, of tokens in expressions and of parameters that are absurd.
    let text = String::from_utf8_lossy(good);
    let places = text.match_indices(|c: char| c.is_ascii_digit()).map(|(place, _)| place);
    let huge = places.step_by(7).map(|at| [&good[..at], b"999999999", &good[at + 1..]].concat());
    let damaged = flipped(good, 300).into_iter().chain(mangled(good, 100)).chain(huge);
    let found = tally(&path, damaged, read);
    assert!(found.refused >= 300, "{found:?}");
}

/// A flipped bit of a bare number is another number, so those files are only read without harm; an
/// archive has checksums.
fn damaged_data_are_refused(folder: &Path) {
    let file = |name: &str| -> PathBuf { folder.join(name) };
    let system = System::new(4, 2).unwrap();
    let count = 5000;
    for (name, least, other) in
        [("data.npz", 200, 0), ("data.npy", 80, usize::MAX), ("data.csv", 80, usize::MAX)]
    {
        let path = file(name);
        let mut written = samples(count, system);
        if name.ends_with("npy") {
            (written.log_weights, written.energies) = (vec![], vec![]);
        }
        write_samples(&path, system, count, [Ok(written)]).unwrap();
        let good = fs::read(&path).unwrap();
        let damaged = flipped(&good, 120).into_iter().chain(mangled(&good, 40));
        let found = tally(&path, damaged, || read_samples(&path, system));
        assert!(found.refused >= least && found.other <= other, "{name}: {found:?}");
    }
    let path = file("data.xyz");
    let frames = samples(count, system).positions;
    let text: String = frames
        .chunks_exact(8)
        .map(|x| {
            let atoms = x.chunks_exact(2).map(|x| format!("Ar {} {}\n", x[0], x[1]));
            format!("4\nProperties=species:S:1:pos:R:2\n{}", atoms.collect::<String>())
        })
        .collect();
    fs::write(&path, &text).unwrap();
    let good = text.as_bytes();
    let damaged = flipped(good, 120).into_iter().chain(mangled(good, 40));
    let found = tally(&path, damaged, || read_samples(&path, system));
    assert!(found.refused >= 80, "{found:?}");
    for (name, least) in [("data.pdb", 40), ("data.dcd", 40)] {
        let path = file(name);
        let bare = Samples { log_weights: vec![], energies: vec![], ..samples(count, system) };
        write_samples(&path, system, count, [Ok(bare)]).unwrap();
        let good = fs::read(&path).unwrap();
        let damaged = flipped(&good, 120).into_iter().chain(mangled(&good, 40));
        let found = tally(&path, damaged, || read_samples(&path, system));
        assert!(found.refused >= least, "{name}: {found:?}");
    }
    damaged_structures_are_refused(folder);
    damaged_systems_are_refused(folder);
    // A header that claims far more than there is.
    let path = file("data.npy");
    let good = fs::read(&path).unwrap();
    let claims = ["5999", "9999999", "9999999999999"].map(|samples| {
        let header = String::from_utf8_lossy(&good[10..128]).replace("5000", samples);
        let header = format!("{:<117}\n", header.trim_end());
        [&good[..10], header.as_bytes(), &good[128..]].concat()
    });
    let found = tally(&path, claims, || read_samples(&path, system));
    assert_eq!(found.refused, 3);

    // Planted: a reader that trusts a size is caught by the measurement of memory.
    let (_, memory) = measured(|| Arc::new(vec![1u8; 10 * good.len()]));
    assert!(memory >= 10 * good.len());
}

/// A structure of eleven atoms in each format.
fn damaged_structures_are_refused(folder: &Path) {
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/molecule");
    let keys = fs::read_to_string(here.join("capped.toml")).unwrap();
    for (name, least) in [("capped.pdb", 40), ("capped.cif", 80), ("capped.xyz", 60)] {
        let path = folder.join(name);
        let good = fs::read(here.join(name)).unwrap();
        fs::write(&path, &good).unwrap();
        let keys = keys.replace("capped.pdb", name);
        let read = || {
            let file = folder.join("molecule.toml");
            let target = Registry::builtin().target_from_text(&keys, &file)?;
            Ok(target.molecule.map(|molecule| (*molecule).clone()))
        };
        let damaged = flipped(&good, 300).into_iter().chain(mangled(&good, 100));
        let found = tally(&path, damaged, read);
        assert!(found.refused >= least, "{name}: {found:?}");
    }
}
