//! What a run meets on a shared machine: a full disk, a folder that cannot be written, damaged
//! checkpoints, a recipe or target that has changed, too little memory, a training that diverges.
//! Each gets a message and an exit code, and nothing valid is lost.
#![cfg(unix)]

mod binary;
mod traces;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use binary::boltzflow;
use boltzflow::run::read_metrics;
use serde_json::Value;
use traces::traces;

const RECIPE: &str = r#"
format = 1
target = "pair.toml"
seed = 3
[flow]
augmentation_scale = 0.4
base_scale = 1.3
[[flow.layers]]
coupling = "pairwise"
repeat = 1
width = 4
basis = 4
cutoff = 4.0
[train]
objective = "fab"
steps = 12
batch_size = 64
[train.fab]
intermediate_distributions = 1
updates_per_annealing = 2
buffer = { min_batches = 2, max_batches = 40 }
[evaluate]
every_steps = 3
samples = 100
[checkpoint]
every_seconds = 1e-6
"#;

const TARGET: &str = r#"
format = 1
name = "pair"
kind = "double_well"
particles = 2
dimension = 2
a = 0.0
b = -1.0
c = 0.5
r0 = 2.0
"#;

fn workplace() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("tiny.toml"), RECIPE).unwrap();
    fs::write(folder.path().join("pair.toml"), TARGET).unwrap();
    folder
}

const BOLTZFLOW: &str = env!("CARGO_BIN_EXE_boltzflow");

fn said(output: &Output) -> String {
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!said.contains("panicked"), "{said}");
    said
}

fn succeed(folder: &Path, arguments: &[&str]) -> String {
    let output = boltzflow(folder, arguments);
    let said = said(&output);
    assert!(output.status.success(), "{arguments:?}: {said}");
    said
}

fn refuse(folder: &Path, arguments: &[&str], code: i32, words: &[&str]) -> String {
    let output = boltzflow(folder, arguments);
    let said = said(&output);
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
    for word in words {
        assert!(said.contains(word), "{arguments:?}: no {word:?} in: {said}");
    }
    said
}

const TRAIN: [&str; 4] = ["train", "tiny.toml", "-o", "run"];

/// Steps of the checkpoints in `folder`, and the sizes of their arrays.
fn checkpoints(folder: &Path) -> Vec<(u64, u64)> {
    let mut found: Vec<(u64, u64)> = fs::read_dir(folder)
        .unwrap()
        .flatten()
        .filter_map(|entry| {
            let name = entry.file_name().into_string().unwrap();
            let step = name.strip_prefix("checkpoint-")?.strip_suffix(".safetensors")?;
            Some((step.parse().unwrap(), entry.metadata().unwrap().len()))
        })
        .collect();
    found.sort_unstable();
    found
}

/// A run that stops after some steps, by a limit on the size of files in blocks of 512 bytes:
/// beyond it a write is short, then fails. Checkpoints grow as the buffer fills.
fn with_limited_files(folder: &Path, blocks: u64) -> Output {
    let script =
        format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$0\" --threads 1 train tiny.toml -o run");
    let mut command = Command::new("sh");
    command.args(["-c", &script, BOLTZFLOW]).current_dir(folder).stdin(Stdio::null());
    command.output().unwrap()
}

/// A folder with an unfinished run.
fn unfinished() -> tempfile::TempDir {
    let place = workplace();
    assert!(!with_limited_files(place.path(), 100).status.success());
    let steps = checkpoints(&place.path().join("run"));
    assert!(steps.len() == 2 && steps[1].0 < 12, "{steps:?}");
    place
}

#[test]
fn a_disk_that_fills_up_costs_nothing_once_there_is_room_again() {
    let untouched = workplace();
    succeed(untouched.path(), &TRAIN);
    let want = traces(&untouched.path().join("run"));
    let (last, largest) = *checkpoints(&untouched.path().join("run")).last().unwrap();
    assert_eq!(last, 12);
    let mut stopped_at = Vec::new();
    for part in 1..=8 {
        let place = workplace();
        let run = place.path().join("run");
        let output = with_limited_files(place.path(), largest / 512 * part / 9);
        let said = said(&output);
        assert_eq!(output.status.code(), Some(3), "{said}");
        assert!(said.contains("cannot write") && said.contains("run/"), "{said}");
        let before = checkpoints(&run);
        if let Some((step, _)) = before.last() {
            assert!(said.contains("the same command goes on"), "{said}");
            stopped_at.push(*step);
        }
        for entry in fs::read_dir(&run).into_iter().flatten().flatten() {
            assert!(!entry.file_name().to_string_lossy().ends_with("partial"));
        }
        succeed(place.path(), &TRAIN);
        assert_eq!(traces(&run), want, "{part}");
    }
    stopped_at.dedup();
    assert!(stopped_at.len() >= 3, "{stopped_at:?}");
}

#[test]
fn a_folder_that_cannot_be_written_is_named() {
    let place = workplace();
    // Not even root may write there.
    refuse(
        place.path(),
        &["train", "tiny.toml", "-o", "/proc/run"],
        3,
        &["cannot write /proc/run"],
    );
    let place = unfinished();
    let run = place.path().join("run");
    let mut permissions = fs::metadata(&run).unwrap().permissions();
    permissions.set_readonly(true);
    fs::set_permissions(&run, permissions.clone()).unwrap();
    fs::remove_file(run.join("lock")).ok();
    // Root may write everywhere.
    if fs::File::create(run.join("probe")).is_err() {
        refuse(place.path(), &TRAIN, 3, &["cannot write", "run"]);
    }
    use std::os::unix::fs::PermissionsExt;
    permissions.set_mode(0o755);
    fs::set_permissions(&run, permissions).unwrap();
    succeed(place.path(), &TRAIN);
}

#[test]
fn a_damaged_checkpoint_is_passed_over_aloud() {
    let untouched = workplace();
    succeed(untouched.path(), &TRAIN);
    let want = traces(&untouched.path().join("run"));
    type Damage = fn(&mut Vec<u8>);
    let cases: [(&str, Damage); 4] = [
        ("safetensors", |bytes| bytes.truncate(bytes.len() / 2)),
        ("safetensors", |bytes| bytes[5000] ^= 4),
        ("json", |bytes| bytes.truncate(bytes.len() - 3)),
        ("json", |bytes| {
            let text = String::from_utf8(bytes.clone()).unwrap();
            *bytes =
                text.replacen("\"energy_evaluations\": ", "\"energy_evaluations\": 1", 1).into();
        }),
    ];
    for (end, damage) in cases {
        let place = unfinished();
        let run = place.path().join("run");
        let latest = checkpoints(&run)[1].0;
        let file = run.join(format!("checkpoint-{latest:010}.{end}"));
        let mut bytes = fs::read(&file).unwrap();
        damage(&mut bytes);
        fs::write(&file, bytes).unwrap();
        let said = succeed(place.path(), &TRAIN);
        assert!(
            said.contains("skipping a damaged checkpoint")
                && said.contains(&format!("{latest:010}.{end}"))
        );
        assert_eq!(traces(&run), want);
    }
    // Both damaged: the training does not start over without an error.
    let place = unfinished();
    for (step, _) in checkpoints(&place.path().join("run")) {
        fs::write(place.path().join(format!("run/checkpoint-{step:010}.safetensors")), "").unwrap();
    }
    refuse(place.path(), &TRAIN, 2, &["no good checkpoint", "another folder"]);
    // By another version of the program.
    let place = unfinished();
    for (step, _) in checkpoints(&place.path().join("run")) {
        let file = place.path().join(format!("run/checkpoint-{step:010}.json"));
        let text = fs::read_to_string(&file).unwrap();
        fs::write(&file, text.replacen("format_version\": ", "format_version\": 9", 1)).unwrap();
    }
    refuse(place.path(), &TRAIN, 2, &["format version 9", "resume with boltzflow"]);
}

#[test]
fn a_changed_recipe_goes_on_only_where_that_is_safe() {
    let place = unfinished();
    let change = |from: &str, to: &str| {
        assert!(RECIPE.contains(from));
        fs::write(place.path().join("tiny.toml"), RECIPE.replace(from, to)).unwrap();
    };
    let forced = [&TRAIN[..], &["--resume", "--force"]].concat();
    let resumed = [&TRAIN[..], &["--resume"]].concat();
    // What the state depends on, even by force; and all keys are named.
    for (from, to, words) in [
        ("width = 4", "width = 5", ["width", "4", "5"]),
        ("seed = 3", "seed = 4", ["seed", "3", "4"]),
        ("max_batches = 40", "max_batches = 41", ["train.fab.buffer.max_batches", "40", "41"]),
        ("intermediate_distributions = 1", "leapfrog_steps = 2", ["leapfrog_steps", "5", "2"]),
    ] {
        change(from, to);
        refuse(place.path(), &TRAIN, 2, &words);
        refuse(place.path(), &resumed, 2, &words);
        refuse(place.path(), &forced, 2, &words);
    }
    // Another target under the same name.
    fs::write(place.path().join("tiny.toml"), RECIPE).unwrap();
    fs::write(place.path().join("pair.toml"), TARGET.replace("b = -1.0", "b = -1.1")).unwrap();
    refuse(place.path(), &forced, 2, &["target.toml"]);
    fs::write(place.path().join("pair.toml"), TARGET).unwrap();
    // What is safe, by force only.
    change("samples = 100", "samples = 120");
    refuse(place.path(), &resumed, 2, &["evaluate.samples was 100 and is 120", "--force"]);
    change("steps = 12", "steps = 14");
    refuse(place.path(), &resumed, 2, &["train.steps was 12 and is 14", "--force"]);
    succeed(place.path(), &forced);
    assert_eq!(checkpoints(&place.path().join("run")).last().unwrap().0, 14);
    // Without a folder's name, another recipe is another run.
    change("seed = 3", "seed = 4");
    fs::rename(place.path().join("run"), place.path().join("tiny")).unwrap();
    succeed(place.path(), &["train", "tiny.toml"]);
    assert!(place.path().join("tiny-2/model.safetensors").exists());
}

#[test]
fn a_training_that_needs_more_memory_than_there_is_does_not_start() {
    let place = workplace();
    let huge = RECIPE.replace("max_batches = 40", "max_batches = 1_500_000");
    let huge = huge.replace("pair.toml", "crowd.toml");
    let crowd = TARGET.replace("particles = 2", "particles = 1000");
    fs::write(place.path().join("crowd.toml"), crowd).unwrap();
    fs::write(place.path().join("tiny.toml"), huge).unwrap();
    refuse(place.path(), &TRAIN, 2, &["train.fab.buffer.max_batches", "GiB", "available"]);
    assert!(!place.path().join("run").exists());
}

#[test]
fn a_training_that_diverges_is_rescued_aloud() {
    let place = workplace();
    let wild = RECIPE
        .replace("steps = 12", "steps = 1000")
        .replace(
            "batch_size = 64",
            "batch_size = 16\nlearning_rate = { peak = 1.0, initial = 1.0 }",
        )
        .replace("every_seconds = 1e-6", "every_seconds = 60")
        .replace("every_steps = 3", "every_steps = 1000")
        .replace("[evaluate]", "[train.gradient_clip]\nclip = 1e6\ndrop = 1e9\n[evaluate]");
    fs::write(place.path().join("tiny.toml"), wild).unwrap();
    let said = succeed(place.path(), &TRAIN);
    assert!(
        said.contains("warning: diverged at step") && said.contains("roll-back 1 of"),
        "{said}"
    );
    let rows = read_metrics(place.path().join("run/metrics.csv")).unwrap();
    let last = rows.last().unwrap();
    assert!(last.rollbacks > 0 && last.reverse_ess.unwrap() > 0.2, "{last:?}");
}

#[test]
fn an_effective_sample_size_that_rests_on_few_samples_is_marked() {
    let place = workplace();
    // A base density far from the target and almost no training.
    let far =
        RECIPE.replace("base_scale = 1.3", "base_scale = 40.0").replace("steps = 12", "steps = 1");
    fs::write(place.path().join("tiny.toml"), far).unwrap();
    let output = boltzflow(place.path(), &TRAIN);
    let out = String::from_utf8_lossy(&output.stdout);
    assert!(out.contains("(!) rests on few samples"), "{out}");
    let path: PathBuf = place.path().join("run/evaluation.json");
    let evaluation: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    let few = evaluation["resting_on_few_samples"].as_array().unwrap();
    assert!(few.contains(&Value::from("reverse_ess")), "{few:?}");
}
