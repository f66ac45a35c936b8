//! The program as a user meets it: every command on a tiny run, and wrong input, which gets a
//! message that names the file or field, exit code 2, and leaves nothing half-written.

mod binary;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

use binary::boltzflow;
use boltzflow::samples::{read_samples, write_samples, Samples};
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
fn evaluate_prints_one_json_object_with_the_figures_of_the_training() {
    let folder = with_trained();
    let found = json(&succeed(folder.path(), &["evaluate", "tiny", "--json"]));
    let known = json(&fs::read_to_string(folder.path().join("tiny/evaluation.json")).unwrap());
    for key in [
        "samples",
        "reverse_ess",
        "forward_ess",
        "log_z",
        "log_z_error",
        "nll",
        "nll_error",
        "energy_evaluations",
        "train_seconds",
    ] {
        assert!(found[key].is_number(), "{key}: {}", found[key]);
        assert_eq!(found[key], known[key], "{key}");
    }
    assert_eq!(found["samples"], 300);
    assert!(succeed(folder.path(), &["evaluate", "tiny"]).contains("forward ESS"));
    // Other numbers of samples give other figures.
    let more = json(&succeed(folder.path(), &["evaluate", "tiny", "--json", "-n", "500"]));
    assert_eq!(more["samples"], 500);
    assert_ne!(more["log_z"], known["log_z"]);
}

#[test]
fn evaluate_adds_distances_and_weights_on_x_alone_and_compare_reads_what_it_saved() {
    let folder = with_trained();
    let arguments = ["evaluate", "tiny", "--distances", "20", "--marginal", "--save", "--json"];
    let found = json(&succeed(folder.path(), &arguments));
    assert_eq!(found["distances"]["samples"], 20);
    for set in ["flow", "reweighted", "annealed", "floor"] {
        for figure in ["energy_w2", "geometric_w2", "distance_w2", "distance_tv"] {
            assert!(found["distances"][set][figure].as_f64().unwrap() > 0.0, "{set} {figure}");
        }
    }
    assert!(found["marginal_reverse_ess"].is_number());
    let saved = fs::read_to_string(folder.path().join("tiny/evaluation.json")).unwrap();
    assert_eq!(json(&saved), found);
    succeed(folder.path(), &["train", "plain.toml"]);
    refuse(folder.path(), &["evaluate", "plain", "--distances"], 2, &["--reference FILE"]);

    // The same run under another name is a second seed.
    fs::create_dir(folder.path().join("again")).unwrap();
    for entry in fs::read_dir(folder.path().join("tiny")).unwrap() {
        let from = entry.unwrap().path();
        fs::copy(&from, folder.path().join("again").join(from.file_name().unwrap())).unwrap();
    }
    let arguments = ["compare", "tiny", "plain", "again", "--csv", "t.csv", "-o", "f.svg"];
    let said = succeed(folder.path(), &arguments);
    let line = |name: &str| said.lines().find(|line| line.starts_with(name)).unwrap();
    assert!(line("| tiny").starts_with("| tiny | 2 |"), "{said}");
    assert!(line("| plain").contains("| – |"), "{said}");
    let ess = format!("{:.2}", 100.0 * found["reverse_ess"].as_f64().unwrap());
    assert!(line("| tiny").contains(&ess) && line("| tiny").contains("| 300 |"), "{said}");
    let table = fs::read_to_string(folder.path().join("t.csv")).unwrap();
    assert_eq!(table.lines().count(), 3);
    assert!(table.starts_with("recipe,seeds,parameters,"), "{table}");
    for file in ["f.svg", "f.png"] {
        assert!(fs::metadata(folder.path().join(file)).unwrap().len() > 1000);
    }
    fs::remove_file(folder.path().join("again/evaluation.json")).unwrap();
    refuse(folder.path(), &["compare", "tiny", "again"], 2, &["boltzflow evaluate again --save"]);
    refuse(folder.path(), &["compare", "tiny", "-o", "f.pdf"], 2, &[".svg or .png"]);
    refuse(folder.path(), &["compare", "nowhere"], 2, &["nowhere"]);
}

#[test]
fn evaluate_has_null_for_what_it_cannot_compute() {
    let folder = workplace();
    succeed(folder.path(), &["train", "plain.toml"]);
    let found = json(&succeed(folder.path(), &["evaluate", "plain", "--json"]));
    for key in ["forward_ess", "nll", "nll_error"] {
        assert!(found.as_object().unwrap().contains_key(key) && found[key].is_null(), "{key}");
    }
    assert!(found["reverse_ess"].as_f64().unwrap() > 0.0);
}

#[test]
fn evaluate_takes_reference_samples_of_the_user() {
    let folder = with_trained();
    let place = |name: &str| folder.path().join(name);
    let write = |name: &str, system: System, samples: usize| {
        let positions = (0..samples * system.coordinates()).map(|k| (k as f64 * 0.7).sin());
        let samples_ = Samples { positions: positions.collect(), ..Samples::default() };
        write_samples(place(name), system, samples, [Ok(samples_)]).unwrap();
    };
    for name in ["mine.npy", "mine.npz"] {
        write(name, system(), 20);
        let arguments = ["evaluate", "tiny", "--json", "--reference", name];
        let found = json(&succeed(folder.path(), &arguments));
        assert_eq!(found["reference_samples"], 20);
        assert!(found["nll"].is_number());
    }
    write("wide.npy", System::new(2, 3).unwrap(), 20);
    write("many.npz", System::new(3, 2).unwrap(), 20);
    fs::write(place("text.npy"), "no array").unwrap();
    for (name, words) in [
        ("wide.npy", ["wide.npy", "[20, 2, 3]"]),
        ("many.npz", ["many.npz", "[20, 3, 2]"]),
        ("text.npy", ["text.npy", "npy"]),
        ("none.npy", ["none.npy", "cannot read"]),
    ] {
        refuse(folder.path(), &["evaluate", "tiny", "--reference", name], 2, &words);
    }
}

#[test]
fn sample_writes_every_format() {
    let folder = with_trained();
    let draw = |name: &str, seed: &str| {
        succeed(folder.path(), &["sample", "tiny", "-n", "50", "-o", name, "--seed", seed]);
        folder.path().join(name)
    };
    let full = read_samples(draw("a.npz", "1"), system(), &[]).unwrap();
    assert_eq!(full.count(system()), 50);
    assert_eq!(full.log_weights.len(), 50);
    assert_eq!(full.energies.len(), 50);
    let bare = read_samples(draw("a.npy", "1"), system(), &[]).unwrap();
    assert_eq!(bare.positions, full.positions);
    let text = fs::read_to_string(draw("a.csv", "1")).unwrap();
    assert_eq!(text.lines().count(), 51);
    assert!(text.starts_with("x0,y0,x1,y1,log_weight,energy"));
    let other = read_samples(draw("b.npy", "2"), system(), &[]).unwrap();
    assert_ne!(other.positions, bare.positions);
}

#[test]
fn plot_draws_the_figures_where_it_is_told() {
    let folder = with_trained();
    succeed(folder.path(), &["plot", "tiny", "-o", "figures"]);
    let figures = files(&folder.path().join("figures"));
    assert!(figures.len() >= 10, "{figures:?}");
    let text = fs::read_to_string(folder.path().join("figures/energy.svg")).unwrap();
    assert!(text.contains("<svg") && text.contains("energy"));
}

#[test]
fn plot_of_several_runs_draws_each_and_their_curves_in_one_figure() {
    let folder = with_trained();
    let (one, two) = (folder.path().join("tiny"), folder.path().join("other"));
    fs::create_dir(&two).unwrap();
    for (file, _) in files(&one) {
        fs::copy(&file, two.join(file.file_name().unwrap())).unwrap();
    }
    succeed(folder.path(), &["plot", "tiny", "other", "-o", "figures"]);
    for figure in ["tiny/ess.svg", "other/energy.png", "comparison.png"] {
        assert!(folder.path().join("figures").join(figure).exists(), "{figure}");
    }
    // Two runs of one recipe are its seeds.
    let text = fs::read_to_string(folder.path().join("figures/comparison.svg")).unwrap();
    assert!(text.contains("bands"), "no band");
}

#[test]
fn reference_reports_and_writes_samples() {
    let folder = workplace();
    let arguments = ["reference", "pair.toml", "-n", "64", "--chains", "256", "-o", "r.npz"];
    let said = succeed(folder.path(), &arguments);
    assert!(said.contains("log Z") && said.contains("virial"));
    let samples = read_samples(folder.path().join("r.npz"), system(), &[]).unwrap();
    assert_eq!(samples.count(system()), 64);
    assert_eq!(samples.energies.len(), 64);
    let arguments = ["reference", "pair.toml", "-n", "64", "--chains", "256", "--json"];
    let report = json(&succeed(folder.path(), &arguments));
    assert!(report["log_z"].is_number() && report["degrees_of_freedom"] == 2);
}

#[test]
fn wrong_recipes_and_targets_are_refused() {
    let folder = workplace();
    let recipe = |name: &str, from: &str, to: &str| {
        let text = RECIPE.replace("REFERENCE", "0");
        assert!(text.contains(from));
        fs::write(folder.path().join(name), text.replace(from, to)).unwrap();
    };
    let target = |name: &str, from: &str, to: &str| {
        assert!(TARGET.contains(from));
        fs::write(folder.path().join(name), TARGET.replace(from, to)).unwrap();
    };
    recipe("typo.toml", "batch_size", "batch_sizes");
    recipe("lost.toml", "pair.toml", "nowhere.toml");
    recipe("cold.toml", "pair.toml", "cold_pair.toml");
    target("cold_pair.toml", "temperature = 1.0", "temperature = -1.0");
    recipe("alone.toml", "pair.toml", "alone_pair.toml");
    target("alone_pair.toml", "particles = 2", "particles = 1");
    let core = "objective = \"reverse_kl\"\n[train.reverse_kl]\ncore = { radius = 0.5, steps = 9 }";
    let fab = &RECIPE[RECIPE.find("objective").unwrap()..RECIPE.find("[evaluate]").unwrap()];
    recipe("core.toml", fab, &format!("{core}\n"));
    recipe("odd.toml", "seed = 3", "seed = -3");
    recipe("data.toml", fab, "objective = \"max_likelihood\"\nmax_likelihood.data = \"no.npy\"\n");
    for (name, words) in [
        ("typo.toml", ["typo.toml", "batch_sizes"]),
        ("lost.toml", ["nowhere.toml", "cannot read"]),
        ("cold.toml", ["cold_pair.toml", "temperature"]),
        ("alone.toml", ["alone_pair.toml", "particles"]),
        ("core.toml", ["train.reverse_kl.core", "soft core"]),
        ("odd.toml", ["odd.toml", "seed"]),
        ("data.toml", ["no.npy", "cannot read"]),
        ("missing.toml", ["missing.toml", "cannot read"]),
    ] {
        refuse(folder.path(), &["train", name], 2, &words);
    }
    refuse(folder.path(), &["train", "plain.toml", "--seed", "18446744073709551615"], 2, &["seed"]);
    refuse(folder.path(), &["train", "plain.toml", "-o", "pair.toml"], 2, &["pair.toml"]);
    refuse(folder.path(), &["reference", "dw5"], 2, &["dw5", "dw4"]);
    refuse(folder.path(), &["reference", "cold_pair.toml"], 2, &["temperature"]);
    for output in ["x.txt", "nowhere/x.npz"] {
        refuse(folder.path(), &["reference", "pair.toml", "-o", output], 2, &[output]);
    }
    let few = ["reference", "pair.toml", "-n", "64", "--chains", "8"];
    refuse(folder.path(), &few, 2, &["chains"]);
    refuse(folder.path(), &["train", "--no-such-flag"], 2, &["--no-such-flag"]);
    refuse(folder.path(), &["sample", "run", "-n", "0", "-o", "x.npz"], 2, &["--samples"]);
    refuse(folder.path(), &["--threads", "0", "targets"], 2, &["--threads"]);
}

#[test]
fn wrong_runs_are_refused() {
    let folder = with_trained();
    let copy = |name: &str, change: &dyn Fn(&mut Vec<u8>)| {
        let run = folder.path().join(name);
        fs::create_dir(&run).unwrap();
        for file in ["config.toml", "target.toml", "metrics.csv"] {
            fs::copy(folder.path().join("tiny").join(file), run.join(file)).unwrap();
        }
        let mut model = fs::read(folder.path().join("tiny/model.safetensors")).unwrap();
        change(&mut model);
        fs::write(run.join("model.safetensors"), model).unwrap();
    };
    copy("cut", &|model| model.truncate(model.len() - 5));
    copy("short", &|model| model.truncate(4));
    copy("noise", &|model| model.iter_mut().for_each(|byte| *byte ^= 0x5a));
    copy("header", &|model| model[20] ^= 0x7f);
    fs::create_dir(folder.path().join("empty")).unwrap();
    for run in ["cut", "short", "noise", "header", "empty"] {
        let model = format!("{run}/model.safetensors");
        refuse(folder.path(), &["evaluate", run, "--json"], 2, &[&model]);
        refuse(folder.path(), &["sample", run, "-n", "5", "-o", "x.npz"], 2, &[&model]);
        refuse(folder.path(), &["plot", run, "-o", "figures"], 2, &[&model]);
    }
    refuse(folder.path(), &["evaluate", "nowhere"], 2, &["nowhere", "cannot read"]);
    refuse(folder.path(), &["evaluate", "tiny", "-n", "1"], 2, &["--samples"]);
    refuse(folder.path(), &["sample", "tiny", "-n", "5", "-o", "x.txt"], 2, &["x.txt", ".npz"]);
    refuse(folder.path(), &["sample", "tiny", "-n", "5", "-o", "no/x.npz"], 2, &["no/x.npz"]);
}

#[test]
fn a_folder_with_a_run_is_not_written_again() {
    let folder = with_trained();
    refuse_run(folder.path(), "already holds a run");
    // A run that another process is writing.
    let busy = folder.path().join("busy");
    let _held = boltzflow::run::RunFolder::create(&busy).unwrap();
    let output = boltzflow(folder.path(), &["train", "plain.toml", "-o", "busy"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("being written"));
    assert!(!busy.join("config.toml").exists());
    // Without a name the next free one is taken.
    succeed(folder.path(), &["train", "plain.toml"]);
    succeed(folder.path(), &["train", "plain.toml"]);
    assert!(folder.path().join("plain-2/model.safetensors").exists());
}

fn refuse_run(folder: &Path, word: &str) {
    let before = fs::read(folder.join("tiny/model.safetensors")).unwrap();
    let output = boltzflow(folder, &["train", "plain.toml", "-o", "tiny"]);
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains(word) && said.contains("tiny"), "{said}");
    assert_eq!(fs::read(folder.join("tiny/model.safetensors")).unwrap(), before);
}

#[test]
fn a_reader_that_has_gone_is_no_fault() {
    let folder = with_trained();
    for arguments in [
        &["targets"][..],
        &["evaluate", "tiny", "--json"],
        &["evaluate", "tiny"],
        &["train", "plain.toml"],
        &["--help"],
    ] {
        let mut child = Command::new(env!("CARGO_BIN_EXE_boltzflow"))
            .args(arguments)
            .current_dir(folder.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // Closed before anything is written.
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && !said.contains("panicked"), "{arguments:?}: {said}");
    }
    assert!(folder.path().join("plain/model.safetensors").exists());
}

#[test]
fn check_says_what_is_wrong_and_exits_with_1() {
    let folder = workplace();
    let said = succeed(folder.path(), &["check", "dw4"]);
    assert!(said.lines().last().unwrap().contains("ready for training"), "{said}");
    let target = "format = 1\nname = 'gas'\nkind = 'formula'\ndimension = 3\nparticles = 3\n";
    for (file, rest, code, message) in [
        ("gas.toml", "pair = '1/r'", 1, "training on `gas` would be wrong, see above: infinity"),
        ("slip.toml", "pair = '1/q'", 2, "slip.toml: `pair` at character 3"),
        ("boxed.toml", "pair = '1/r'\nbox = 3", 2, "no periodic boundaries"),
    ] {
        fs::write(folder.path().join(file), format!("{target}{rest}\n")).unwrap();
        let output = boltzflow(folder.path(), &["check", file]);
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{error}");
        assert!(error.contains(message), "{error}");
        assert_eq!(error.lines().count(), 1, "{error}");
    }
}

#[test]
fn a_model_knows_the_species_it_was_trained_for() {
    let folder = workplace();
    let target = "format = 1\nname = 'unlike'\nkind = 'formula'\ndimension = 2\n\
        particles = ['A', 'B']\nexternal = 'r_com^2'\n";
    fs::write(folder.path().join("unlike.toml"), target).unwrap();
    let recipe = RECIPE.replace("pair.toml", "unlike.toml").replace("REFERENCE", "0");
    fs::write(folder.path().join("unlike_run.toml"), recipe).unwrap();
    succeed(folder.path(), &["train", "unlike_run.toml"]);
    let run = folder.path().join("unlike_run");
    succeed(folder.path(), &["evaluate", "unlike_run", "--json"]);

    let alike = target.replace("['A', 'B']", "2");
    fs::write(run.join("target.toml"), alike).unwrap();
    let output = boltzflow(folder.path(), &["evaluate", "unlike_run"]);
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{error}");
    assert!(error.contains("particles of species [0, 1] and the target has []"), "{error}");
}

#[test]
fn sample_resamples_and_anneals_and_writes_extended_xyz() {
    let folder = with_trained();
    let draw = |name: &str, extra: &[&str]| {
        let arguments = [&["sample", "tiny", "-n", "400", "-o", name][..], extra].concat();
        (succeed(folder.path(), &arguments), folder.path().join(name))
    };
    let (said, path) = draw("equal.xyz", &["--resample", "50"]);
    assert!(said.contains("50 equally weighted samples") && said.contains("out of 400"), "{said}");
    let text = fs::read_to_string(path).unwrap();
    assert_eq!(text.matches("energy=").count(), 50);
    assert!(!text.contains("log_weight"));
    let (_, path) = draw("annealed.npz", &["--ais"]);
    let annealed = read_samples(&path, system(), &[]).unwrap();
    let plain = read_samples(draw("plain.npz", &[]).1, system(), &[]).unwrap();
    assert_eq!(annealed.count(system()), 400);
    assert_ne!(annealed.positions, plain.positions);
    // Annealing raises the effective sample size, and the energies are those of the positions.
    let ess = |samples: &Samples| {
        boltzflow::diagnostics::effective_sample_size(&samples.log_weights).count
    };
    assert!(ess(&annealed) > ess(&plain), "{} {}", ess(&annealed), ess(&plain));
    for (x, energy) in annealed.positions.chunks(4).zip(annealed.energies) {
        let r = ((x[0] - x[2]).powi(2) + (x[1] - x[3]).powi(2)).sqrt() - 2.0;
        assert!((energy - (-r * r + 0.5 * r.powi(4))).abs() < 1e-9 * (1.0 + energy.abs()));
    }
    refuse(folder.path(), &["sample", "tiny", "-n", "5", "-o", "a.pdb"], 2, &["a.pdb", ".xyz"]);
}

#[test]
fn estimate_gives_averages_as_text_and_json_and_histograms_as_csv() {
    let folder = with_trained();
    let said = succeed(folder.path(), &["estimate", "tiny", "-n", "2000"]);
    assert!(said.contains("over pair") && said.contains("energy") && said.contains('±'), "{said}");
    let arguments = [
        "estimate",
        "tiny",
        "-n",
        "2000",
        "--observable",
        "pair: r^2",
        "--observable",
        "pair_distances",
        "--bins",
        "20",
        "--temperature",
        "1.5",
        "--json",
        "-o",
        "r.csv",
    ];
    let found = json(&succeed(folder.path(), &arguments));
    assert_eq!(found["averages"][0]["observable"], "pair: r^2");
    assert!(found["free_energy"]["error"].as_f64().unwrap() > 0.0);
    assert_eq!(found["profiles"][0]["density"].as_array().unwrap().len(), 20);
    let text = fs::read_to_string(folder.path().join("r.csv")).unwrap();
    assert!(text.starts_with("r,density,error\n") && text.lines().count() == 21);
    let hotter = TARGET.replace("temperature = 1.0", "temperature = 1.5");
    fs::write(folder.path().join("hot.toml"), hotter).unwrap();
    let arguments = ["estimate", "tiny", "-n", "2000", "--target", "hot.toml", "--json"];
    let other = json(&succeed(folder.path(), &arguments));
    let difference = |value: &Value| value["free_energy"]["difference"].as_f64().unwrap();
    assert!((difference(&other) - difference(&found)).abs() < 1e-9);
    for (arguments, words) in [
        (&["--observable", "enery"][..], &["--observable", "energy"][..]),
        (&["--observable", "pair: r +"], &["--observable", "pair"]),
        (&["--target", "dw4"], &["--target", "4 particles"]),
        (&["--temperature", "0"], &["--temperature", "over 0"]),
        (&["-o", "r2.csv"], &["--output", "pair_distances"]),
    ] {
        let arguments = [&["estimate", "tiny"][..], arguments].concat();
        refuse(folder.path(), &arguments, 2, words);
    }
}

#[test]
fn set_changes_keys_and_the_resolved_recipe_says_so() {
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
fn seeds_train_one_after_the_other_and_finished_ones_are_passed_over() {
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
    succeed(folder.path(), &["new", "other", "--target", "dw4"]);
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
