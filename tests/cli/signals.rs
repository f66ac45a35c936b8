//! Signals to commands that draw or wait: they stop within two seconds, say so, and a training
//! leaves a checkpoint.

use super::*;

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ChildStderr};
use std::time::{Duration, Instant};

use boltzflow::run::Checkpoint;

const LIMIT: Duration = Duration::from_secs(2);

/// Clients that never come.
const WAITING: &str = r#"
format = 1
name = "waiting"
kind = "ipi"
address = "127.0.0.1:0"
species = ["H", "H"]
length = "1 angstrom"
temperature = "300 K"
trap = 1.0
wait_seconds = 300.0
"#;

struct Started {
    child: Child,
    errors: BufReader<ChildStderr>,
}

fn start(folder: &Path, arguments: &[&str]) -> Started {
    let mut child = Command::new(env!("CARGO_BIN_EXE_boltzflow"))
        .args(["--threads", "1"])
        .args(arguments)
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let errors = BufReader::new(child.stderr.take().unwrap());
    Started { child, errors }
}

impl Started {
    /// Reads standard error up to a line with `word`.
    fn wait_for(&mut self, word: &str) -> String {
        let (mut all, start) = (String::new(), Instant::now());
        while !all.contains(word) {
            let read = self.errors.read_line(&mut all).unwrap();
            assert!(read > 0 && start.elapsed() < Duration::from_secs(60), "no {word:?} in {all}");
        }
        all
    }

    /// Sends `signal`; the process must end with `code` within the limit. What it said after it.
    fn stop(mut self, signal: &str, code: i32) -> String {
        let sent = Instant::now();
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args(["-s", signal, &id]).status().unwrap().success());
        let status = loop {
            match self.child.try_wait().unwrap() {
                Some(status) => break status,
                None if sent.elapsed() > 3 * LIMIT => {
                    self.child.kill().unwrap();
                    panic!("it goes on after SIG{signal}");
                }
                None => std::thread::sleep(Duration::from_millis(10)),
            }
        };
        let took = sent.elapsed();
        let mut said = String::new();
        self.errors.read_to_string(&mut said).unwrap();
        assert_eq!(status.code(), Some(code), "SIG{signal}: {said}");
        assert!(took < LIMIT, "it took {took:?}");
        assert!(!said.contains("error:") && said.contains(&format!("by SIG{signal}")), "{said}");
        said
    }
}

#[test]
fn a_training_that_waits_for_clients_stops_with_a_checkpoint() {
    let folder = workplace();
    fs::write(folder.path().join("pair.toml"), WAITING).unwrap();
    for signal in ["INT", "TERM"] {
        let mut train = start(folder.path(), &["train", "plain.toml", "-o", "run"]);
        train.wait_for("no client");
        let said = train.stop(signal, 3);
        assert!(said.contains("after step 0 of 4, with a checkpoint"), "{said}");
        assert_eq!(Checkpoint::peek(&folder.path().join("run")).unwrap().step, 0);
    }
}

#[test]
fn other_commands_that_wait_for_clients_stop() {
    let folder = with_trained();
    fs::write(folder.path().join("waiting.toml"), WAITING).unwrap();
    let before = files(folder.path());
    for (arguments, signal) in [
        (&["check", "waiting.toml"][..], "INT"),
        (&["reference", "waiting.toml", "-n", "64", "-o", "r.npz"], "TERM"),
    ] {
        let mut command = start(folder.path(), arguments);
        command.wait_for("no client");
        let said = command.stop(signal, 3);
        assert!(said.contains("before it was done"), "{said}");
    }
    assert_eq!(files(folder.path()), before);
}

#[test]
fn drawing_is_shown_and_stops() {
    let folder = with_trained();
    let before = files(folder.path());
    let many = "100000000";
    for (arguments, shown) in [
        (
            &["reference", "pair.toml", "-n", "64", "--chains", "300000", "-o", "r.npz"][..],
            "drawing reference samples",
        ),
        (&["sample", "tiny", "-n", many, "-o", "s.npz"], "drawing samples"),
        (&["estimate", "tiny", "-n", many, "--ais"], "drawing samples"),
    ] {
        let mut command = start(folder.path(), arguments);
        let said = command.wait_for("after 2 s");
        assert!(said.contains(shown), "{arguments:?}: {said}");
        let said = command.stop("INT", 3);
        assert!(said.contains("the same command begins again"), "{said}");
    }
    assert_eq!(files(folder.path()), before);
}

#[test]
fn a_training_stops_while_it_draws_reference_samples_and_walkers() {
    let folder = workplace();
    let text = fs::read_to_string(folder.path().join("tiny.toml")).unwrap();
    let many = text.replace("reference_samples = 64", "reference_samples = 300000");
    let walkers = "[train.fab.walkers]\ncount = 300000\nstart = \"reference\"\nfrom_step = 1\n";
    let walking = text.replace("[evaluate]", &format!("{walkers}[evaluate]"));
    for (name, text, shown) in
        [("many", many, "drawing reference samples"), ("walking", walking, "starting the walkers")]
    {
        fs::write(folder.path().join(format!("{name}.toml")), text).unwrap();
        let mut train = start(folder.path(), &["train", &format!("{name}.toml")]);
        train.wait_for(shown);
        let said = train.stop("TERM", 3);
        // The step that the reference samples are for is done again.
        assert!(said.contains("after step 1 of 4, with a checkpoint"), "{said}");
        assert_eq!(Checkpoint::peek(&folder.path().join(name)).unwrap().step, 1);
    }
}
