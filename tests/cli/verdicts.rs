//! Runs that look fine by their own weights and are not, and runs that give no figure at all.

use super::*;

use boltzflow::random::{stream, Purpose};
use rand::Rng;
use rand_distr::{Distribution, StandardNormal};

/// Two wells, r = 0 and a ring at r = 12, with 16 kT between them. The first has 2π of Z, the
/// second 12 π^1.5: a twelfth and the rest.
const TWO_WELLS: &str = r#"
format = 1
name = "two wells"
kind = "formula"
dimension = 2
particles = 2
pair = "min(r^2/4, (r - 12)^2)"
"#;
const LOG_Z: f64 = 4.292;

/// No configuration has a finite energy.
const NOTHING: &str = r#"
format = 1
name = "nothing"
kind = "formula"
dimension = 2
particles = 2
pair = "log(-1 - r^2)"
"#;

/// A workplace where `tiny.toml` is a training that starts as exp(−r²/4), the first well, and
/// hardly moves.
fn in_one_well(target: &str) -> tempfile::TempDir {
    let folder = workplace();
    fs::write(folder.path().join("pair.toml"), target).unwrap();
    for name in ["tiny.toml", "plain.toml"] {
        let path = folder.path().join(name);
        let recipe = fs::read_to_string(&path).unwrap();
        let recipe = recipe.replace("base_scale = 1.3", "base_scale = 1.0");
        let still = "batch_size = 32\nlearning_rate = { initial = 1e-6, peak = 1e-6 }";
        fs::write(path, recipe.replace("batch_size = 32", still)).unwrap();
    }
    folder
}

/// Writes samples of [`TWO_WELLS`] as the reference of the run `name`, `rings` in 1000 of them on
/// the ring.
fn write_reference(folder: &Path, name: &str, rings: usize) {
    let mut rng = stream(1, Purpose::Reference, 0, 0);
    let positions: Vec<f64> = (0..1000)
        .flat_map(|sample| {
            let normal = |rng: &mut _| -> f64 { StandardNormal.sample(rng) };
            let angle = rng.gen_range(0.0..std::f64::consts::TAU);
            let r = match sample < rings {
                true => 12.0 + 0.5f64.sqrt() * normal(&mut rng),
                false => 2f64.sqrt() * normal(&mut rng).hypot(normal(&mut rng)),
            };
            let (x, y) = (0.5 * r * angle.cos(), 0.5 * r * angle.sin());
            [x, y, -x, -y]
        })
        .collect();
    fs::create_dir_all(folder.join(name)).unwrap();
    let samples = Samples { positions, ..Samples::default() };
    write_samples(folder.join(name).join("reference.npz"), system(), 1000, [Ok(samples)]).unwrap();
}

const WORDS: [&str; 2] =
    ["a part of the target is missing from them", "with the reference samples"];

#[test]
fn a_run_that_misses_a_well_is_marked_wherever_it_is_shown() {
    let folder = in_one_well(TWO_WELLS);
    let place = folder.path();
    write_reference(place, "one", 914);
    let says = |text: &str| {
        for word in WORDS {
            assert!(text.contains(word), "no {word:?} in: {text}");
        }
    };
    let line = |text: &str, start: &str| {
        let found = text.lines().find(|line| line.trim_start().starts_with(start));
        found.unwrap_or_else(|| panic!("no {start:?} in: {text}")).to_string()
    };
    let log_z_is_marked = |text: &str| {
        says(text);
        assert!(line(text, "log Z").ends_with("(!)"), "{text}");
        assert!(line(text, "reverse ESS").ends_with("(!)"), "{text}");
        assert!(!line(text, "NLL").contains("(!)"), "{text}");
    };
    log_z_is_marked(&succeed(place, &["train", "tiny.toml", "-o", "one"]));
    log_z_is_marked(&succeed(place, &["evaluate", "one", "-n", "1000"]));
    let found = json(&succeed(place, &["evaluate", "one", "--json"]));
    assert!(found["reverse_ess"].as_f64().unwrap() > 0.9, "{found}");
    let [bennett, error] = ["bennett_log_z", "bennett_log_z_error"].map(|k| found[k].as_f64());
    let (bennett, error) = (bennett.unwrap(), error.unwrap());
    assert!((bennett - LOG_Z).abs() < 4.5 * error && error < 0.2, "{bennett} ± {error}");
    assert_eq!(found["contradictions"][0]["witness"], "reference_samples");

    let said = succeed(place, &["estimate", "one", "-n", "500"]);
    says(&said);
    assert!(line(&said, "energy").ends_with("(!)"), "{said}");
    let found = json(&succeed(place, &["estimate", "one", "-n", "500", "--json"]));
    assert_eq!(found["contradictions"][0]["weights"], "flow");
    for arguments in [&["sample", "one", "-n", "50", "-o", "s.npz"][..], &["plot", "one"]] {
        let output = boltzflow(place, arguments);
        assert!(output.status.success());
        says(&String::from_utf8_lossy(&output.stderr));
    }
    let said = succeed(place, &["compare", "one", "--csv", "t.csv"]);
    says(&said);
    assert!(line(&said, "| one").contains("(!) |"), "{said}");
    let table = fs::read_to_string(place.join("t.csv")).unwrap();
    let marked: Vec<&str> = table.trim().rsplit(',').next().unwrap().split(' ').collect();
    assert!(marked.contains(&"reverse_ess") && marked.contains(&"log_z"), "{table}");
    succeed(place, &["report", "one", "-o", "r.html"]);
    let page = fs::read_to_string(place.join("r.html")).unwrap();
    says(&page);
    assert!(page.contains("(!)\"}"), "no figure of the page is marked");
    let rows = boltzflow::run::read_metrics(place.join("one/metrics.csv")).unwrap();
    assert!(rows.last().unwrap().contradictions > Some(0));
}

#[test]
fn a_known_log_z_is_a_witness_too() {
    let folder = in_one_well(&format!("{TWO_WELLS}[known]\nlog_z = {LOG_Z}\n"));
    let said = succeed(folder.path(), &["train", "plain.toml"]);
    assert!(said.contains("in the target's file: they cannot both be right"), "{said}");
}

#[test]
fn a_run_that_nothing_contradicts_is_not_marked() {
    // With no reference, and with one from the flow's own well.
    let folder = in_one_well(TWO_WELLS);
    write_reference(folder.path(), "fine", 0);
    for arguments in [&["train", "plain.toml"][..], &["train", "tiny.toml", "-o", "fine"]] {
        let said = succeed(folder.path(), arguments);
        assert!(!said.contains("(!)"), "{said}");
    }
    for run in ["plain", "fine"] {
        let found = json(&succeed(folder.path(), &["evaluate", run, "--json"]));
        assert_eq!(found["contradictions"].as_array().unwrap().len(), 0, "{found}");
    }
}

#[test]
fn a_run_without_any_finite_energy_is_read_and_said_to_be_one() {
    let folder = workplace();
    let place = folder.path();
    fs::write(place.join("pair.toml"), NOTHING).unwrap();
    let words = "none of the samples has a finite energy";
    let said = succeed(place, &["train", "plain.toml"]);
    assert!(said.contains(words) && !said.contains("inf") && !said.contains("± NaN"), "{said}");
    let saved = json(&fs::read_to_string(place.join("plain/evaluation.json")).unwrap());
    assert!(saved["log_z"].is_null() && saved["zero_weights"] == 300);
    let said = succeed(place, &["evaluate", "plain", "--save"]);
    assert!(said.contains(words), "{said}");
    let said = succeed(place, &["compare", "plain"]);
    assert!(said.contains(words) && !said.contains("NaN"), "{said}");
    succeed(place, &["report", "plain", "-o", "r.html"]);
    let page = fs::read_to_string(place.join("r.html")).unwrap();
    assert!(page.contains(words) && page.contains("there is nothing to weigh"));
    succeed(place, &["plot", "plain", "-o", "figures"]);
    refuse(place, &["estimate", "plain"], 3, &["no sample has a finite weight"]);
}

#[test]
fn a_run_that_cannot_be_read_is_named_and_left_out() {
    let folder = with_trained();
    let place = folder.path();
    // A run with a damaged evaluation, one without metrics, one that is not finished.
    let copy = |name: &str| {
        fs::create_dir(place.join(name)).unwrap();
        for (path, _) in files(&place.join("tiny")) {
            fs::copy(&path, place.join(name).join(path.file_name().unwrap())).unwrap();
        }
        place.join(name)
    };
    fs::write(copy("damaged").join("evaluation.json"), "{\"samples\": 300,").unwrap();
    fs::remove_file(copy("bare").join("metrics.csv")).unwrap();
    fs::remove_file(copy("unfinished").join("model.safetensors")).unwrap();
    let bad = ["damaged", "bare", "unfinished"];
    for (command, output, left_out) in [
        ("compare", "c.svg", &bad[..]),
        // The figure of several runs needs all that the table needs, the page no metrics.
        ("plot", "figures", &bad[..]),
        ("report", "r.html", &["damaged", "unfinished"]),
    ] {
        let arguments = [&[command, bad[0], bad[1], "tiny", bad[2], "-o", output][..]].concat();
        let done = boltzflow(place, &arguments);
        let said = String::from_utf8_lossy(&done.stderr);
        assert_eq!(done.status.code(), Some(0), "{command}: {said}");
        for name in bad {
            let is_named = said.contains(&format!("warning: {name} is left out: "));
            assert_eq!(is_named, left_out.contains(&name), "{command} {name}: {said}");
        }
        assert!(place.join(output).exists(), "{command}");
        // Nothing is left when none can be read.
        fs::remove_file(place.join(output)).or(fs::remove_dir_all(place.join(output))).unwrap();
        refuse(place, &[command, "unfinished", "nowhere", "-o", output], 2, &["nowhere"]);
    }
}
