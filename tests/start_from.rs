//! A training that starts as the flow that another run ended with.

mod binary;

use std::fs;
use std::path::Path;

use binary::boltzflow;
use boltzflow::config::{Recipe, Registry};
use boltzflow::run::{load_model, RunFolder};
use boltzflow::samples::read_samples;
use boltzflow::system::System;

const RECIPE: &str = r#"
format = 1
target = "dw4"
seed = 3

[flow]
augmentation_scale = 0.4

[[flow.layers]]
coupling = "pairwise"
repeat = 1
width = 4
basis = 4

[train]
objective = "fab"
steps = 3
batch_size = 32

[train.fab]
intermediate_distributions = 1
updates_per_annealing = 2
buffer = { min_batches = 2, max_batches = 4 }

[evaluate]
every_steps = 2
samples = 300
reference_samples = 0
"#;

/// Hardly moves.
const STILL: &str =
    "train.learning_rate={ initial = 1e-12, peak = 1e-12, final = 1e-12, warm_up_steps = 1 }";

fn train(folder: &Path, arguments: &[&str]) {
    let output = boltzflow(folder, &[&["train", "recipe.toml"], arguments].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Parameters, energy evaluations and seconds of a run.
fn model(folder: &Path, run: &str) -> (Vec<f32>, u64, f64) {
    let recipe = Recipe::from_text(RECIPE, &folder.join("recipe.toml")).unwrap();
    let target = Registry::builtin().load("dw4").unwrap();
    let problem = recipe.problem(target.potential).unwrap();
    let file = RunFolder::read_only(folder.join(run)).unwrap().model();
    let (theta, metadata) = load_model(file, problem.flow.layout()).unwrap();
    (theta, metadata.energy_evaluations, metadata.train_seconds)
}

fn largest_difference(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

#[test]
fn a_training_starts_as_the_flow_of_another_run_and_counts_what_that_took() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    fs::write(folder.join("recipe.toml"), RECIPE).unwrap();
    train(folder, &["-o", "first", "--set", "train.learning_rate.initial=1e-2"]);
    train(folder, &["-o", "second", "--set", "flow.start_from='first'", "--set", STILL]);
    train(folder, &["-o", "fresh", "--set", STILL]);
    let [first, second, fresh] = ["first", "second", "fresh"].map(|run| model(folder, run));
    assert!(largest_difference(&first.0, &second.0) < 1e-6);
    // Planted: from a random start it would end elsewhere.
    assert!(largest_difference(&first.0, &fresh.0) > 1e-3);
    assert_eq!(second.1, first.1 + fresh.1);
    assert!(second.2 > first.2);
}

#[test]
fn a_flow_of_other_layers_is_refused_and_nothing_is_left() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    fs::write(folder.join("recipe.toml"), RECIPE).unwrap();
    train(folder, &["-o", "first"]);
    for (run, key) in [("first", "flow.layers.0.width=5"), ("nowhere", "seed=4")] {
        let from = format!("flow.start_from='{run}'");
        let arguments = ["train", "recipe.toml", "-o", "second", "--set", &from, "--set", key];
        let output = boltzflow(folder, &arguments);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains("model.safetensors"), "{said}");
        assert!(!folder.join("second").exists());
    }
}

#[test]
fn a_flow_goes_on_with_angular_features_that_it_did_not_have() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    fs::write(folder.join("recipe.toml"), RECIPE).unwrap();
    train(folder, &["-o", "first", "--set", "train.learning_rate.initial=1e-2"]);
    let grown = "flow.layers.0.angular=2";
    train(
        folder,
        &["-o", "second", "--set", "flow.start_from='first'", "--set", grown, "--set", STILL],
    );
    let sample = |run: &str| -> Vec<f64> {
        let output = format!("{run}.npz");
        let arguments = ["sample", run, "-n", "40", "-o", &output, "--seed", "8"];
        let said = boltzflow(folder, &arguments);
        assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
        let system = System::new(4, 2).unwrap();
        read_samples(folder.join(output), system).unwrap().positions
    };
    let [first, second] = ["first", "second"].map(sample);
    let apart = first.iter().zip(&second).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
    assert!(apart < 1e-5, "{apart}");

    // It does not lose its angular features without an error.
    let arguments = ["train", "recipe.toml", "-o", "third", "--set", "flow.start_from='second'"];
    let output = boltzflow(folder, &arguments);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("angular"));
}
