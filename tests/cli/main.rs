//! The program as a user meets it: every command on a tiny run, and wrong input, which gets a
//! message that names the file or field, exit code 2, and leaves nothing half-written.

#[path = "../binary/mod.rs"]
mod binary;
mod chosen;
mod mistakes;
mod no_energy;
mod paths;
mod results;
#[cfg(unix)]
mod signals;
mod verdicts;

use std::fs;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

use binary::boltzflow;
use boltzflow::config::Registry;
use boltzflow::evaluation::{draw_marginal, Weights};
use boltzflow::random::Purpose;
use boltzflow::samples::{read_samples, write_samples, Samples};
use boltzflow::session::Trained;
use boltzflow::system::System;
use serde_json::Value;

fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn succeed(folder: &Path, arguments: &[&str]) -> String {
    let output = boltzflow(folder, arguments);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {said}");
    assert!(!said.contains("panicked"), "{arguments:?}: {said}");
    out(&output)
}

/// The command must fail with `code` and a message that has all of `words`; and change no file.
fn refuse(folder: &Path, arguments: &[&str], code: i32, words: &[&str]) {
    let before = files(folder);
    let output = boltzflow(folder, arguments);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
    assert!(!said.contains("panicked"), "{arguments:?}: {said}");
    for word in words {
        assert!(said.contains(word), "{arguments:?}: no {word:?} in: {said}");
    }
    assert_eq!(files(folder), before, "{arguments:?} left something behind");
}

/// All paths under `folder` with their sizes, sorted.
fn files(folder: &Path) -> Vec<(PathBuf, u64)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let length = if path.is_dir() { 0 } else { path.metadata().unwrap().len() };
        if path.is_dir() {
            found.extend(files(&path));
        }
        found.push((path, length));
    }
    found.sort();
    found
}

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
temperature = 1.0
"#;

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
steps = 4
batch_size = 32

[train.fab]
intermediate_distributions = 1
updates_per_annealing = 2
buffer = { min_batches = 2, max_batches = 4 }

[evaluate]
every_steps = 2
samples = 300
draws = 3
reference_samples = REFERENCE
"#;

fn system() -> System {
    System::new(2, 2).unwrap()
}

/// A fresh folder with the target and two recipes in it: `tiny.toml`, and `plain.toml`, which goes
/// without reference samples.
fn workplace() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    write("pair.toml", TARGET);
    write("tiny.toml", &RECIPE.replace("REFERENCE", "64"));
    write("plain.toml", &RECIPE.replace("REFERENCE", "0"));
    folder
}

/// One training for all tests that read it: its output, and the folder it ran in.
fn trained() -> &'static (String, PathBuf) {
    static TRAINED: OnceLock<(String, PathBuf)> = OnceLock::new();
    TRAINED.get_or_init(|| {
        // In the build's folder, since a temporary one would never be removed.
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("cli");
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).unwrap();
        for entry in fs::read_dir(workplace().path()).unwrap() {
            let from = entry.unwrap().path();
            fs::copy(&from, folder.join(from.file_name().unwrap())).unwrap();
        }
        (succeed(&folder, &["train", "tiny.toml"]), folder)
    })
}

/// A fresh workplace with a copy of the trained run in `tiny`.
fn with_trained() -> tempfile::TempDir {
    let folder = workplace();
    fs::create_dir(folder.path().join("tiny")).unwrap();
    for (path, _) in files(&trained().1.join("tiny")) {
        fs::copy(&path, folder.path().join("tiny").join(path.file_name().unwrap())).unwrap();
    }
    folder
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

#[test]
fn help_and_targets_are_printed() {
    let folder = workplace();
    let help = succeed(folder.path(), &["--help"]);
    let commands = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let commands: Vec<&str> = commands
        .map_while(|line| line.split_whitespace().next())
        .filter(|name| *name != "help")
        .collect();
    for command in [
        "train",
        "evaluate",
        "sample",
        "estimate",
        "plot",
        "reference",
        "check",
        "targets",
        "bench",
        "new",
        "completions",
        "compare",
        "report",
    ] {
        assert!(commands.contains(&command), "{command}");
    }
    for command in commands {
        let text = succeed(folder.path(), &[command, "--help"]);
        assert!(text.contains("Usage") && text.contains("Example"), "{command}: {text}");
        assert!(text.contains(&format!("boltzflow {command}")), "{command}: {text}");
    }
    let targets = succeed(folder.path(), &["targets"]);
    for name in ["dw4", "harmonic", "lj13_eps2", "three_species"] {
        assert!(targets.lines().any(|line| line.starts_with(&format!("{name} "))));
    }
}

#[test]
fn a_training_leaves_a_complete_run_folder() {
    let (said, folder) = trained();
    let run = folder.join("tiny");
    for name in [
        "config.toml",
        "target.toml",
        "metrics.csv",
        "model.safetensors",
        "evaluation.json",
        "reference.npz",
    ] {
        assert!(run.join(name).metadata().unwrap().len() > 0, "{name}");
    }
    for name in ["ess", "loss", "energy", "pair_distances", "log_weights"] {
        for extension in ["svg", "png"] {
            let figure = files(&run).into_iter().find(|(path, _)| {
                let file = path.file_name().unwrap().to_string_lossy();
                file.starts_with(name) && file.ends_with(extension)
            });
            assert!(figure.is_some_and(|(_, length)| length > 1000), "{name}.{extension}");
        }
    }
    assert!(!files(&run).iter().any(|(path, _)| path.to_string_lossy().contains("partial")));
    assert!(said.contains("step 4/4") && said.contains("reverse ESS") && said.contains("NLL"));
    assert!(!said.contains('\u{1b}'), "escape codes although this is no terminal");
    // The resolved config is itself a recipe, and it trains the same model.
    let config = folder.join("tiny/config.toml");
    let again = workplace();
    fs::copy(&config, again.path().join("again.toml")).unwrap();
    fs::copy(run.join("reference.npz"), again.path().join("reference.npz")).unwrap();
    let text = fs::read_to_string(&config).unwrap();
    let text = text.replace("reference_samples = 64", "reference_samples = 0");
    fs::write(again.path().join("again.toml"), text).unwrap();
    succeed(again.path(), &["train", "again.toml", "-o", "again"]);
    let weights = |file: PathBuf| {
        let bytes = fs::read(file).unwrap();
        let header = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
        bytes[8 + header..].to_vec()
    };
    let model = "model.safetensors";
    assert_eq!(weights(run.join(model)), weights(again.path().join("again").join(model)));
}

#[test]
fn set_changes_keys_and_the_resolved_recipe_has_them() {
    let folder = workplace();
    let arguments = [
        "train",
        "plain.toml",
        "-o",
        "run",
        "--set",
        "train.steps=2",
        "--set",
        "flow.layers.0.repeat=2",
        "--set",
        "evaluate.every_steps=1",
    ];
    succeed(folder.path(), &arguments);
    let text = fs::read_to_string(folder.path().join("run/config.toml")).unwrap();
    assert!(text.contains("steps = 2") && text.contains("repeat = 2"), "{text}");
    for (setting, words) in [
        ("train.stpes=2", &["train.stpes", "did you mean `steps`"][..]),
        ("train.steps=-2", &["train.steps"]),
        ("train.steps", &["--set", "KEY=VALUE"]),
        ("flow.layers.7.repeat=2", &["flow.layers.7.repeat", "1 entries"]),
    ] {
        refuse(folder.path(), &["train", "plain.toml", "--set", setting], 2, words);
    }
}

#[test]
fn seeds_train_one_after_the_other_and_finished_ones_are_skipped() {
    let folder = workplace();
    succeed(folder.path(), &["train", "plain.toml", "--seeds", "1..3"]);
    let model = |seed: u64| {
        fs::read(folder.path().join(format!("plain_seed{seed}/model.safetensors"))).unwrap()
    };
    assert_ne!(model(1), model(2));
    assert!(!folder.path().join("plain_seed3").exists());
    let before = [model(1), model(2)];
    let said = succeed(folder.path(), &["train", "plain.toml", "--seeds", "1..=3"]);
    assert_eq!(said.matches("is finished").count(), 2, "{said}");
    assert_eq!(before, [model(1), model(2)]);
    assert!(folder.path().join("plain_seed3/evaluation.json").exists());
    for range in ["3..1", "1", "a..b", "..3"] {
        refuse(folder.path(), &["train", "plain.toml", "--seeds", range], 2, &["--seeds"]);
    }
    refuse(
        folder.path(),
        &["train", "plain.toml", "--seeds", "0..2", "--seed", "1"],
        2,
        &["--seed"],
    );
}

#[test]
fn a_dry_run_prints_a_recipe_memory_and_time_and_leaves_nothing() {
    let folder = workplace();
    let before = files(folder.path());
    let said = succeed(folder.path(), &["train", "tiny.toml", "--dry-run", "--set", "seed=5"]);
    assert!(said.contains("# memory:") && said.contains("# time: about"), "{said}");
    assert_eq!(files(folder.path()), before);
    // What it prints is a recipe.
    let recipe = boltzflow::config::Recipe::from_text(&said, Path::new("said.toml")).unwrap();
    assert_eq!((recipe.seed, recipe.train.descent.steps), (5, 4));
}

#[test]
fn new_writes_a_recipe_and_a_target_that_work_and_overwrites_nothing() {
    let folder = workplace();
    succeed(folder.path(), &["new", "mine"]);
    assert!(succeed(folder.path(), &["check", "mine_target.toml"]).contains("ready for training"));
    succeed(folder.path(), &["train", "mine.toml", "--dry-run"]);
    refuse(folder.path(), &["new", "mine"], 2, &["mine_target.toml", "already"]);
    succeed(folder.path(), &["new", "other", "--target", "dw4", "--minutes", "0.2"]);
    assert!(!folder.path().join("other_target.toml").exists());
    let text = fs::read_to_string(folder.path().join("other.toml")).unwrap();
    assert!(text.contains("target = \"dw4\""));
    refuse(folder.path(), &["new", "third", "--target", "dw5"], 2, &["dw5", "dw4"]);
    refuse(folder.path(), &["new", "a\"b"], 2, &["NAME"]);
}

#[test]
fn completions_are_printed_for_every_shell() {
    let folder = workplace();
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let script = succeed(folder.path(), &["completions", shell]);
        assert!(script.contains("estimate") && script.contains("boltzflow"), "{shell}");
    }
    refuse(folder.path(), &["completions", "bsh"], 2, &["bash"]);
}
