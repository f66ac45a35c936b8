//! The report: one page without external files, whatever is in it, and its server.

mod binary;

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};

use binary::boltzflow;
use boltzflow::report::{page, serve, Curves, Facts, Report, RunReport};

fn run(name: &str) -> RunReport {
    let facts = Facts { name: name.to_string(), ..Facts::default() };
    let curves = Curves::default();
    RunReport { facts, evaluation: None, verdict: Default::default(), curves, pictures: None }
}

fn report(runs: Vec<RunReport>) -> Report {
    Report { version: "0", live: false, runs }
}

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
fn names_cannot_leave_the_data() {
    let name = "</script><script>alert(1)</script><!--";
    let page = page(&report(vec![run(name)])).unwrap();
    // Planted: the name as it is would end the element.
    assert!(!page.contains(name) && !page.contains("<!--"));
    assert_eq!(page.matches("</script>").count(), 2);
    assert!(page.contains("\\u003c/script>"));
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

#[test]
fn the_server_answers_and_survives_who_does_not_behave() {
    let serving = serve("127.0.0.1:0".parse().unwrap(), || Ok(report(vec![run("live")]))).unwrap();
    let ask = |request: &[u8]| {
        let mut stream = TcpStream::connect(serving.address).unwrap();
        // A client that sends too much may be disconnected while it sends.
        let _ = stream.write_all(request);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        String::from_utf8_lossy(&answer).into_owned()
    };
    // A connection that sends nothing costs the next one two seconds.
    let silent = TcpStream::connect(serving.address).unwrap();
    let page = ask(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert!(page.starts_with("HTTP/1.1 200 OK") && page.contains("\"name\":\"live\""), "{page}");
    drop(silent);
    let data = ask(b"GET /data.json HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let body = data.split("\r\n\r\n").nth(1).unwrap();
    assert!(serde_json::from_str::<serde_json::Value>(body).unwrap()["runs"].is_array());
    let head = ask(b"HEAD / HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert!(head.starts_with("HTTP/1.1 200") && head.ends_with("\r\n\r\n"));
    let long = [b"GET / HTTP/1.1\r\nX: ".to_vec(), vec![b'x'; 9000]].concat();
    let refused = ask(&long);
    assert!(refused.is_empty() || refused.starts_with("HTTP/1.1 431"), "{refused}");
    assert!(ask(b"POST / HTTP/1.1\r\nHost: localhost\r\n\r\n").starts_with("HTTP/1.1 405"));
    assert!(ask(b"GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n").starts_with("HTTP/1.1 403"));
    assert!(ask(&[0, 255, 13, 10, 13, 10]).starts_with("HTTP/1.1 405"));
}
