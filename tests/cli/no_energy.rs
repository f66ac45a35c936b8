//! A target that is known by its samples alone: trained by maximum likelihood, with no figure that
//! needs an energy.

use super::*;
use boltzflow::random::stream;
use boltzflow::run::{read_metrics, RunFolder};
use rand_distr::{Distribution, StandardNormal};

const TARGET: &str = r#"
format = 1
name = "cloud"
kind = "samples"
dimension = 3
particles = ["C", "H", "H"]
length = "1 angstrom"
"#;

const RECIPE: &str = r#"
format = 1
target = "cloud.toml"

[flow]
augmentation_scale = 0.3

[[flow.layers]]
coupling = "pairwise"
repeat = 1
width = 8
basis = 6

[train]
objective = "max_likelihood"
steps = 40
batch_size = 32

[train.max_likelihood]
data = "data.npy"
validation = 0.2
test_data = "test.npy"

[evaluate]
every_steps = 10
samples = 64
draws = 4
"#;

/// Gaussian clouds of this width.
fn write_cloud(path: &Path, seed: u64, count: usize, width: f64) {
    let system = System::new(3, 3).unwrap();
    let mut rng = stream(seed, Purpose::Data, 0, 0);
    let mut draw = || width * Distribution::<f64>::sample(&StandardNormal, &mut rng);
    let mut samples =
        Samples { positions: (0..count * 9).map(|_| draw()).collect(), ..Samples::default() };
    samples.center(system);
    write_samples(path, system, count, [Ok(samples)]).unwrap();
}

/// A folder with target, recipe and data.
fn with_data() -> tempfile::TempDir {
    let place = tempfile::tempdir().unwrap();
    let at = |name: &str| place.path().join(name);
    fs::write(at("cloud.toml"), TARGET).unwrap();
    fs::write(at("cloud_ml.toml"), RECIPE).unwrap();
    write_cloud(&at("data.npy"), 1, 300, 1.0);
    write_cloud(&at("test.npy"), 2, 200, 1.0);
    place
}

#[test]
fn samples_alone_are_enough_and_no_figure_pretends_to_know_an_energy() {
    let place = with_data();
    let folder = place.path();
    write_cloud(&folder.join("wide.npy"), 3, 200, 1.3);

    let said = succeed(folder, &["train", "cloud_ml.toml"]);
    assert!(said.contains("NLL") && said.contains("has no energy"), "{said}");
    assert!(!said.contains("ESS") && !said.contains("log Z"), "{said}");
    let run = RunFolder::read_only(folder.join("cloud_ml")).unwrap();
    for row in read_metrics(run.metrics()).unwrap() {
        let energies = (row.reverse_ess, row.log_z, row.ess_samples, row.ais_ess);
        assert_eq!(energies, (None, None, None, None));
        assert_eq!(row.nll.is_some(), row.step.is_multiple_of(10), "{}", row.step);
    }
    let evaluation: Value =
        serde_json::from_str(&fs::read_to_string(run.evaluation()).unwrap()).unwrap();
    for key in ["reverse_ess", "log_z", "log_z_error", "largest_weight_share", "ais_ess"] {
        assert!(evaluation[key].is_null(), "{key}");
    }
    for (figure, is_there) in
        [("nll", true), ("loss", true), ("pair_distances", true), ("ess", false)]
    {
        assert_eq!(run.path().join(format!("{figure}.svg")).exists(), is_there, "{figure}");
    }
    assert!(!run.path().join("energy.svg").exists());

    // The lowest possible is the entropy of six standard normals.
    let nll = |arguments: &[&str]| -> f64 {
        let said = succeed(folder, &[&["evaluate", "cloud_ml", "--json"], arguments].concat());
        serde_json::from_str::<Value>(&said).unwrap()["nll"].as_f64().unwrap()
    };
    let entropy = 3.0 * (2.0 * std::f64::consts::PI * std::f64::consts::E).ln();
    let found = nll(&[]);
    assert!((found - entropy).abs() < 0.6, "{found} {entropy}");
    // Planted: samples of another density.
    assert!(nll(&["--reference", "wide.npy"]) > found + 1.0);

    let said = succeed(folder, &["evaluate", "cloud_ml", "--distances"]);
    assert!(said.contains("pair-distance TV") && said.contains("floor"), "{said}");
    assert!(said.contains("no energy ") && !said.contains("infinite"), "{said}");
    let said = succeed(folder, &["sample", "cloud_ml", "-n", "10", "-o", "drawn.xyz"]);
    assert!(said.contains("positions in Å") && said.contains("without weights"), "{said}");
    let drawn = fs::read_to_string(folder.join("drawn.xyz")).unwrap();
    assert!(!drawn.contains("energy") && !drawn.contains("log_weight"), "{drawn}");
    let said = succeed(folder, &["estimate", "cloud_ml", "-n", "4000"]);
    let radius: f64 =
        said.split("radius_of_gyration").nth(1).unwrap()[1..].trim_start()[..5].parse().unwrap();
    assert!((radius - 1.36).abs() < 0.1, "{said}");
    succeed(folder, &["report", "cloud_ml"]);
    succeed(folder, &["plot", "cloud_ml", "-o", "figures"]);
    succeed(folder, &["compare", "cloud_ml"]);
}

#[test]
fn what_needs_an_energy_is_refused() {
    let place = with_data();
    let folder = place.path();
    succeed(folder, &["train", "cloud_ml.toml", "--set", "train.steps=10"]);
    let of_energy = &["needs an energy", "cloud", "samples alone"][..];
    let fab = RECIPE.replace("\"max_likelihood\"", "\"fab\"");
    let fab =
        fab.replace("[train.max_likelihood]", "[train.fab]").replace("data = \"data.npy\"", "");
    let fab = fab.replace("validation = 0.2\ntest_data = \"test.npy\"", "");
    fs::write(folder.join("fab.toml"), fab).unwrap();
    let reference = RECIPE.replace("test_data = \"test.npy\"", "") + "reference_samples = 100\n";
    fs::write(folder.join("reference.toml"), reference).unwrap();
    for (arguments, words) in [
        (&["train", "fab.toml"][..], &["train.objective", "max_likelihood", "cloud"][..]),
        (&["train", "reference.toml"], &["evaluate.reference_samples", "samples alone"]),
        (&["train", "cloud.toml", "--minutes", "1"], &["no energy", "docs/data.md"]),
        (&["new", "mine", "--target", "cloud.toml"], &["no energy", "docs/data.md"]),
        (&["check", "cloud.toml"], of_energy),
        (&["reference", "cloud.toml", "-n", "10"], of_energy),
        (&["evaluate", "cloud_ml", "--cost"], &["--cost", "samples alone"]),
        (&["evaluate", "cloud_ml", "--marginal"], &["--marginal", "samples alone"]),
        (&["evaluate", "cloud_ml", "--annealed", "10"], &["--annealed", "samples alone"]),
        (&["sample", "cloud_ml", "-n", "9", "--ais", "-o", "a.npz"], &["--ais", "samples alone"]),
        (&["sample", "cloud_ml", "-n", "9", "--marginal", "2", "-o", "a.npz"], &["--marginal"]),
        (&["sample", "cloud_ml", "-n", "9", "--resample", "2", "-o", "a.npz"], &["--resample"]),
        (&["estimate", "cloud_ml", "--observable", "energy"], &["--observable", "samples alone"]),
        (&["estimate", "cloud_ml", "--temperature", "2"], &["--temperature", "samples alone"]),
        (&["estimate", "cloud_ml", "--ais"], &["--ais", "samples alone"]),
    ] {
        refuse(folder, arguments, 2, words);
    }
}
