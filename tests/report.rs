//! The report: one page without external files, whatever is in it.

mod binary;

use std::fs;
use std::path::{Path, PathBuf};

use binary::boltzflow;

fn committed(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("runs").join(path)
}

/// A run of two steps, without reference samples.
fn train(place: &Path, name: &str) {
    let recipe = committed("dw4_brief.toml");
    let mut arguments = vec!["train", recipe.to_str().unwrap(), "-o", name];
    for change in ["train.steps=2", "evaluate.samples=10000", "evaluate.reference_samples=0"] {
        arguments.extend(["--set", change]);
    }
    let said = boltzflow(place, &arguments);
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
}

#[test]
fn a_page_of_two_runs_stands_alone_and_is_small() {
    let place = tempfile::tempdir().unwrap();
    for name in ["short", "long"] {
        train(place.path(), name);
    }
    fs::copy(committed("dw4_fab/metrics.csv"), place.path().join("long/metrics.csv")).unwrap();
    let write = |file: &str| {
        let arguments = ["report", "short", "long", "-o", file];
        let said = boltzflow(place.path(), &arguments);
        assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
        fs::read_to_string(place.path().join(file)).unwrap()
    };
    let page = write("report.html");
    assert!(page.len() < 300_000, "{} bytes", page.len());
    // No link elsewhere but the name space of SVG, which is never fetched.
    let elsewhere = page.replace("http://www.w3.org/2000/svg", "");
    for sign in ["http://", "https://", "src=", "@import", "url("] {
        assert!(!elsewhere.contains(sign), "{sign}");
    }
    for text in ["\"name\":\"short\"", "\"name\":\"long\"", "\"reverse_ess\"", "log_weight"] {
        assert!(page.contains(text), "{text}");
    }
    // The same folders give the same bytes.
    assert_eq!(page, write("again.html"));
}

#[test]
fn a_run_without_metrics_has_a_page_and_a_damaged_one_an_error() {
    let place = tempfile::tempdir().unwrap();
    train(place.path(), "run");
    let folder = place.path().join("run");
    let report = |name: &str| boltzflow(place.path(), &["report", name, "-o", "report.html"]);
    let metrics = folder.join("metrics.csv");
    let first: Vec<String> =
        fs::read_to_string(&metrics).unwrap().lines().take(2).map(String::from).collect();
    fs::write(&metrics, first.join("\n") + "\n").unwrap();
    assert!(report("run").status.success());
    fs::remove_file(&metrics).unwrap();
    fs::remove_file(folder.join("evaluation.json")).unwrap();
    assert!(report("run").status.success());

    for (name, text) in [("metrics.csv", "step,nonsense\n1,2\n"), ("evaluation.json", "{")] {
        let path = folder.join(name);
        fs::write(&path, text).unwrap();
        let said = report("run");
        assert_eq!(said.status.code(), Some(2), "{name}");
        assert!(String::from_utf8_lossy(&said.stderr).contains(name), "{name}");
        fs::remove_file(path).unwrap();
    }
    assert_eq!(report("nowhere").status.code(), Some(2));
}
