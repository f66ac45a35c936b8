//! `kill -9` or SIGTERM at any moment, then the same command: the run ends as one that was never
//! stopped.

mod traces;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use boltzflow::config::Recipe;
use boltzflow::random::{stream, Purpose};
use boltzflow::run::Checkpoint;
use rand::Rng;
use rayon::prelude::*;
use traces::traces;

/// A checkpoint after every step.
const RECIPE: &str = r#"
format = 1
target = "dw4"
seed = 3
[flow]
augmentation_scale = 0.3
base_scale = 2.0
[[flow.layers]]
coupling = "pairwise"
repeat = 1
width = 4
basis = 4
[train]
objective = "fab"
steps = 24
batch_size = 16
[train.fab]
intermediate_distributions = 1
leapfrog_steps = 2
updates_per_annealing = 2
[train.fab.buffer]
min_batches = 2
max_batches = 6
[evaluate]
every_steps = 10
samples = 32
[checkpoint]
every_seconds = 1e-6
"#;

const KILLS: u64 = 50;
const STOPS: u64 = 24;

fn train(folder: &Path, threads: u64) -> Child {
    Command::new(env!("CARGO_BIN_EXE_boltzflow"))
        .args(["--threads", &threads.to_string(), "train", "tiny.toml", "-o", "run"])
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

fn to_the_end(folder: &Path, threads: u64) {
    let output = train(folder, threads).wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn workplace(recipe: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("tiny.toml"), recipe).unwrap();
    folder
}

/// Kills a run within `duration` seconds of its start, resumes it and compares what it leaves with
/// `want`. Returns whether the training was running when it was killed.
fn meets_a_training(kill: u64, duration: f64, want: &BTreeMap<String, Vec<u8>>) -> bool {
    let folder = workplace(RECIPE);
    let run = folder.path().join("run");
    let mut rng = stream(kill, Purpose::Evaluation, 0, 0);
    let mut child = train(folder.path(), 1);
    std::thread::sleep(Duration::from_secs_f64(rng.gen_range(0.0..duration)));
    // SIGKILL.
    child.kill().unwrap();
    let status = child.wait().unwrap();
    let names = || fs::read_dir(&run).into_iter().flatten().flatten().map(|e| e.file_name());
    let begun = names().any(|name| name.to_string_lossy().ends_with(".json"));
    // What was finished before the kill is not touched again.
    let steps = Recipe::from_text(RECIPE, Path::new("tiny.toml")).unwrap().train.descent.steps;
    if !Checkpoint::peek(&run).is_some_and(|latest| latest.is_finished(steps)) {
        to_the_end(folder.path(), 1 + kill % 3);
    }
    assert_eq!(&traces(&run), want, "kill {kill}");
    assert!(!names().any(|name| name.to_string_lossy().ends_with("partial")), "kill {kill}");
    begun && !status.success()
}

/// As [`meets_a_training`] with a SIGTERM, which leaves a checkpoint of its own.
#[cfg(unix)]
fn stops_a_training(
    stop: u64,
    duration: f64,
    recipe: &str,
    want: &BTreeMap<String, Vec<u8>>,
) -> bool {
    let folder = workplace(recipe);
    let run = folder.path().join("run");
    let mut rng = stream(stop, Purpose::Evaluation, 1, 0);
    let child = train(folder.path(), 1);
    std::thread::sleep(Duration::from_secs_f64(rng.gen_range(0.0..duration)));
    let id = child.id().to_string();
    let sent = Command::new("kill").args(["-s", "TERM", &id]).stderr(Stdio::null()).status();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    // Before it listens, the signal just ends it.
    let stopped = sent.unwrap().success() && output.status.code() == Some(3);
    assert_eq!(stopped, said.contains("stopped by SIGTERM after step "), "stop {stop}: {said}");
    if !output.status.success() {
        to_the_end(folder.path(), 1 + stop % 3);
    }
    assert_eq!(&traces(&run), want, "stop {stop}: {said}");
    stopped
}

#[cfg(unix)]
#[test]
fn runs_that_sigterm_stops_at_random_moments_end_as_if_nothing_had_happened() {
    // No checkpoint but that of the signal.
    let recipe = RECIPE.replace("every_seconds = 1e-6", "every_seconds = 600");
    let untouched = workplace(&recipe);
    let start = Instant::now();
    to_the_end(untouched.path(), 1);
    let duration = start.elapsed().as_secs_f64();
    let want = traces(&untouched.path().join("run"));
    let stops = (0..STOPS).into_par_iter();
    let stopped = stops.filter(|stop| stops_a_training(*stop, duration, &recipe, &want)).count();
    assert!(stopped as u64 > STOPS / 8, "only {stopped} signals met a training under way");
}

#[test]
fn fifty_runs_killed_at_random_moments_end_as_if_nothing_had_happened() {
    let untouched = workplace(RECIPE);
    to_the_end(untouched.path(), 1);
    let start = Instant::now();
    to_the_end(workplace(RECIPE).path(), 1);
    let duration = start.elapsed().as_secs_f64();
    let want = traces(&untouched.path().join("run"));

    // Eight at a time, since most of the time goes into waiting for the disk.
    let pool = rayon::ThreadPoolBuilder::new().num_threads(8).build().unwrap();
    let in_training = pool.install(|| {
        let kills = (0..KILLS).into_par_iter().map(|kill| meets_a_training(kill, duration, &want));
        kills.filter(|met| *met).count() as u64
    });
    assert!(in_training > KILLS / 4, "only {in_training} kills met a training under way");

    // Planted: a run by another seed leaves other traces.
    let other = workplace(&RECIPE.replace("seed = 3", "seed = 4"));
    to_the_end(other.path(), 1);
    assert_ne!(traces(&other.path().join("run")), want);
}
