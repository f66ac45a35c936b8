//! Wrong input: a message that names the file or field, and nothing half-written.

use super::*;

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
    refuse(folder.path(), &["plot", "tiny", "-o", "tiny.toml"], 2, &["--output", "folder"]);
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
fn numbers_beyond_all_use_are_refused_with_the_limit() {
    let folder = workplace();
    for (arguments, words) in [
        (&["estimate", "run", "--bins", "100000000"][..], ["--bins", "1..=100000"]),
        (&["estimate", "run", "-n", "9000000000000000000"], ["--samples", "1..=1000000000000"]),
        (&["estimate", "run", "--temperature", "1e9"], ["--temperature", "at most 1000"]),
        (&["estimate", "run", "--histogram", "heat_capacity"], ["--histogram", "has no number"]),
        (&["estimate", "run", "--histogram", "energy, size"], ["--histogram", "not known"]),
        (&["estimate", "run", "--observable", "angle: 1 2"], ["--observable", "needs 3"]),
        (
            &["estimate", "run", "-o", "x.csv", "--histogram", "energy", "--histogram", "rmsd"],
            ["--output", "one at a time"],
        ),
        (&["sample", "run", "-o", "x.npy", "-n", "5", "--chirality", "left"], ["left", "any"]),
        (&["evaluate", "run", "-n", "1000000000"], ["--samples", "1..=100000000"]),
        (&["reference", "dw4", "-n", "1000000000"], ["--samples", "1..=10000000"]),
        (&["reference", "dw4", "--chains", "1000000000"], ["--chains", "1..=10000000"]),
        (&["sample", "run", "-o", "x.npy", "-n", "18000000000000000000"], ["--samples", "1..="]),
        (
            &["sample", "run", "-o", "x.npy", "-n", "5", "--resample", "18000000000000000000"],
            ["--resample", "1..=1000000000000"],
        ),
        (&["bench", "-n", "1000000000"], ["--batch", "1..=1000000"]),
        (&["bench", "--seconds", "inf"], ["--seconds", "at most 3600"]),
        (&["train", "plain.toml", "--seeds", "0..1000000000"], ["--seeds", "at most 10000"]),
    ] {
        refuse(folder.path(), arguments, 2, &words);
    }
    for (arguments, variable, name) in [
        (&["targets", "--threads", "100000"][..], "2", "--threads"),
        (&["targets"], "100000", "RAYON_NUM_THREADS"),
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_boltzflow"))
            .args(arguments)
            .env("RAYON_NUM_THREADS", variable)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains(name) && said.contains("1024"), "{said}");
    }
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
    let first = succeed(folder.path(), &["train", "plain.toml"]);
    assert!(!first.contains("plain-2"), "{first}");
    let again = succeed(folder.path(), &["train", "plain.toml"]);
    let why = "plain has the finished run of this recipe, which starts anew in plain-2\n";
    assert!(again.starts_with(why), "{again}");
    assert!(folder.path().join("plain-2/model.safetensors").exists());
    let other = succeed(folder.path(), &["train", "plain.toml", "--seed", "9"]);
    assert!(other.starts_with("plain is taken: this run starts in plain-3\n"), "{other}");
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
fn a_closed_pipe_is_not_an_error() {
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
fn check_prints_what_is_wrong_and_exits_with_1() {
    let folder = workplace();
    let said = succeed(folder.path(), &["check", "dw4"]);
    assert!(said.lines().last().unwrap().contains("ready for training"), "{said}");
    let units = "temperature = '300 K'\nunits = { energy = 'kJ/mol', length = 'nm' }\n";
    let warm = TARGET.replace("temperature = 1.0", units).replace("a = 0.0", "");
    fs::write(folder.path().join("warm.toml"), warm).unwrap();
    let said = succeed(folder.path(), &["check", "warm.toml"]);
    assert!(said.contains("T = 300 K, kT = 2.4943 kJ/mol"), "{said}");
    let target = "format = 1\nname = 'gas'\nkind = 'formula'\ndimension = 3\nparticles = 3\n";
    for (file, rest, code, message) in [
        ("gas.toml", "pair = '1/r'", 1, "training on `gas` would be wrong, see above: infinity"),
        ("slip.toml", "pair = '1/q'", 2, "slip.toml: `pair` at character 3"),
        ("boxed.toml", "pair = '1/r'\nbox = [3, 3, 3]", 2, "cutoff"),
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
