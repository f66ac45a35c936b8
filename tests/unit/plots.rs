//! Every figure is drawn, whatever the run contains, and its files are valid.
//!
//! To look at them: `BOLTZFLOW_TEST_PLOTS=folder cargo test --release --lib plot`.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use crate::plot::{
    distribution_figure, distributions_figure, ess_figure, log_weight_figure, loss_figure,
    map_figure, pieces, profile_figure, Distribution, EnergyUnit, Landscape, MAP_BINS,
};
use crate::random::{stream, Purpose};
use crate::run::MetricsRow;
use rand_distr::{Distribution as _, StandardNormal};

/// The folder of the figures: temporary, unless the environment names one.
struct Folder(PathBuf, #[allow(dead_code)] Option<tempfile::TempDir>);

fn folder() -> Folder {
    match std::env::var_os("BOLTZFLOW_TEST_PLOTS") {
        Some(path) => {
            fs::create_dir_all(&path).unwrap();
            Folder(path.into(), None)
        }
        None => {
            let folder = tempfile::tempdir().unwrap();
            Folder(folder.path().to_path_buf(), Some(folder))
        }
    }
}

fn normal(index: u64, count: usize) -> Vec<f64> {
    let mut rng = stream(3, Purpose::Evaluation, 0, index);
    (0..count).map(|_| StandardNormal.sample(&mut rng)).collect()
}

/// A run of 20 000 steps with an evaluation every 500, whose ESS rises to 0.88.
fn training() -> Vec<MetricsRow> {
    let noise = normal(0, 2000);
    (1..=2000u64)
        .map(|index| {
            let step = 10 * index;
            let share = step as f64 / 20_000.0;
            let evaluated = step.is_multiple_of(500);
            let reverse = 0.88 * (1.0 - (-5.0 * share).exp()) / (1.0 - (-5.0f64).exp());
            let noise = noise[index as usize - 1];
            let value = |ess: f64| (evaluated).then_some((ess + 0.01 * noise).clamp(0.0, 1.0));
            MetricsRow {
                step,
                train_seconds: 0.16 * step as f64,
                energy_evaluations: 128 * 11 * step,
                loss: Some(12.0 * (-9.0 * share).exp() - 7.0 + 0.8 * noise.abs().powi(3)),
                reverse_ess: value(reverse),
                forward_ess: value(0.97 * reverse),
                ais_ess: value(reverse.powf(0.3)),
                ess_samples: evaluated.then_some(10_000),
                ..MetricsRow::default()
            }
        })
        .collect()
}

/// Both files are there; the PNG decodes to a picture that is not blank, the SVG is a tree of
/// closed tags and contains `texts`.
fn check(path: &Path, texts: &[&str]) {
    let file = |extension: &str| {
        let mut name = path.as_os_str().to_owned();
        name.push(extension);
        PathBuf::from(name)
    };
    let mut reader = png::Decoder::new(File::open(file(".png")).unwrap()).read_info().unwrap();
    let mut pixels = vec![0; reader.output_buffer_size()];
    let info = reader.next_frame(&mut pixels).unwrap();
    assert!(info.width >= 1200 && info.height >= 700, "{info:?}");
    let dark = pixels.chunks(3).filter(|p| p.iter().all(|&c| c < 128)).count();
    assert!(dark > 5000, "{} has only {dark} dark pixels", path.display());

    let svg = fs::read_to_string(file(".svg")).unwrap();
    let mut open = Vec::new();
    for tag in svg.split('<').skip(1) {
        let (tag, _) = tag.split_once('>').expect("a tag that ends");
        let name = tag.trim_matches('/').split_whitespace().next().unwrap();
        if tag.starts_with('/') {
            assert_eq!(open.pop(), Some(name));
        } else if !tag.ends_with('/') {
            open.push(name);
        }
        assert!(!tag.contains("NaN") && !tag.contains("inf"), "{tag}");
    }
    assert!(open.is_empty(), "{open:?} is not closed");
    assert!(svg.contains("sans-serif"));
    for text in texts {
        assert!(svg.contains(text), "{} does not say {text}", path.display());
    }
}

#[test]
fn effective_sample_sizes_against_steps_time_and_evaluations() {
    let folder = folder();
    let path = folder.0.join("ess");
    let rows = training();
    ess_figure(&rows, None, "DW4, pairwise coupling", &path).unwrap();
    check(
        &path,
        &[
            "training steps",
            "training time / min",
            "energy evaluations",
            "effective sample size",
            "80 %",
            "20k",
            "20M",
            "reverse",
            "forward",
            "AIS",
            "N = 10\u{a0}000",
        ],
    );
}

#[test]
fn what_explains_a_dip_is_in_the_figure() {
    let folder = folder();
    let mut rows = training();
    let drawn = |rows: &[MetricsRow], from| {
        let path = folder.0.join("ess.dip");
        ess_figure(rows, from, "a dip", &path).unwrap();
        check(&path, &["reverse"]);
        fs::read_to_string(folder.0.join("ess.dip.svg")).unwrap()
    };
    let plain = drawn(&rows, None);
    let signs = ["rests on few samples (!)", "roll-back", "start from earlier"];
    assert!(signs.iter().all(|sign| !plain.contains(sign)));
    for row in rows.iter_mut().filter(|row| row.reverse_ess.is_some()) {
        row.largest_weight_share = Some(0.002);
    }
    assert!(!drawn(&rows, None).contains("few samples"));
    // One sample has 0.027² · 10 000 · 0.115 = 84 % of Σw².
    rows[799].reverse_ess = Some(0.115);
    rows[799].largest_weight_share = Some(0.027);
    assert!(rows[799].ess_samples.is_some() && rows[799].rests_on_few());
    rows.iter_mut().skip(1000).for_each(|row| row.rollbacks = 1);
    rows.iter_mut().for_each(|row| row.train_seconds += 900.0);
    let told = drawn(&rows, Some("earlier"));
    assert!(signs.iter().all(|sign| told.contains(sign)), "{told}");
}

#[test]
fn a_curve_that_was_never_evaluated_is_not_in_the_legend() {
    let folder = folder();
    let path = folder.0.join("ess.without.forward");
    let mut rows = training();
    rows.iter_mut().for_each(|row| (row.forward_ess, row.ais_ess) = (None, None));
    rows.iter_mut().for_each(|row| row.train_seconds *= 10.0);
    ess_figure(&rows, None, "LJ13 <ε = 1> & no reference", &path).unwrap();
    check(&path, &["reverse", "training time / h", "&lt;ε = 1&gt; &amp; no"]);
    let svg = fs::read_to_string(folder.0.join("ess.without.forward.svg")).unwrap();
    assert!(!svg.contains("forward\n") && !svg.contains("AIS"));
}

#[test]
fn runs_with_one_row_none_or_nonsense_still_have_figures() {
    let folder = folder();
    let one = [MetricsRow {
        step: 100,
        train_seconds: 3.2,
        energy_evaluations: 140_800,
        loss: Some(3.5),
        reverse_ess: Some(0.03),
        ess_samples: Some(1000),
        ..MetricsRow::default()
    }];
    let nonsense = [MetricsRow {
        train_seconds: f64::NAN,
        loss: Some(f64::INFINITY),
        reverse_ess: Some(f64::NAN),
        ..MetricsRow::default()
    }];
    for (name, rows, ess, loss) in [
        ("one", &one[..], "training time / s", "loss"),
        ("empty", &[], "not evaluated yet", "no loss recorded"),
        ("nonsense", &nonsense[..], "not evaluated yet", "no loss recorded"),
    ] {
        let path = folder.0.join(format!("ess_{name}"));
        ess_figure(rows, Some("other"), name, &path).unwrap();
        check(&path, &[ess, "energy evaluations"]);
        let path = folder.0.join(format!("loss_{name}"));
        loss_figure(rows, name, &path).unwrap();
        check(&path, &[loss, "training steps"]);
    }
}

#[test]
fn the_loss_with_its_running_median() {
    let folder = folder();
    let path = folder.0.join("loss");
    let mut rows = training();
    rows[0].loss = Some(1e9);
    rows[7].loss = Some(f64::NAN);
    loss_figure(&rows, "DW4, pairwise coupling", &path).unwrap();
    check(&path, &["running median", "training steps", "beyond the axis"]);
}

#[test]
fn energies_with_a_heavy_tail_and_pair_distances() {
    let folder = folder();
    let samples = 10_000;
    let shape = |values: &[f64]| -> Vec<f64> {
        values.iter().map(|z| -22.5 + 1.9 * z + 0.3 * z * z).collect()
    };
    let mut flow = shape(&normal(1, samples));
    // A flow's energies have a tail of overlapping particles.
    let tail = normal(2, samples);
    for (u, z) in flow.iter_mut().zip(&tail) {
        *u += if *z > 1.0 { (3.0 * z).exp() } else { 0.3 };
    }
    flow[5] = f64::INFINITY;
    let log_weights: Vec<f64> =
        tail.iter().map(|z| if *z > 1.0 { -(3.0 * z).exp() } else { 0.1 * z }).collect();
    let reference = shape(&normal(3, 5000));
    let energies =
        Distribution { flow: &flow, log_weights: &log_weights, reference: Some(&reference) };
    let path = folder.0.join("energy");
    distribution_figure(&energies, "energy U / kT", "DW4", &path).unwrap();
    check(
        &path,
        &["energy U / kT", "probability density", "flow, reweighted", "reference", "beyond"],
    );

    let distances = |index, scale: f64| -> Vec<f64> {
        let modes = normal(index + 100, 6 * samples);
        let z = normal(index, 6 * samples);
        z.iter().zip(modes).map(|(z, m)| if m > 0.4 { 2.4 } else { 4.9 } + scale * z).collect()
    };
    let (flow, reference) = (distances(4, 0.35), distances(5, 0.3));
    let pairs =
        Distribution { flow: &flow, log_weights: &log_weights, reference: Some(&reference) };
    let path = folder.0.join("pair_distances");
    distribution_figure(&pairs, "pair distance r", "DW4", &path).unwrap();
    check(&path, &["pair distance r", "reference"]);

    let without = Distribution { reference: None, ..pairs };
    let path = folder.0.join("pair_distances_without_reference");
    distribution_figure(&without, "pair distance r", "DW4", &path).unwrap();
    check(&path, &["pair distance r", "flow"]);
    let svg = fs::read_to_string(folder.0.join("pair_distances_without_reference.svg")).unwrap();
    assert!(!svg.contains("reference\n"));
}

#[test]
fn log_weights_with_log_z_and_the_effective_sample_size() {
    let folder = folder();
    let path = folder.0.join("log_weights");
    // log w ~ N(29.6, s²) has log Z = 29.6 + s²/2 and ESS = exp(−s²).
    let mut log_weights: Vec<f64> = normal(6, 10_000).iter().map(|z| 29.6 + 0.36 * z).collect();
    log_weights[3] = f64::NEG_INFINITY;
    log_weights[4] = -400.0;
    log_weight_figure(&log_weights, "DW4", &path).unwrap();
    let sum: f64 = log_weights.iter().map(|w| (w - 29.6).exp()).sum();
    let squares: f64 = log_weights.iter().map(|w| (2.0 * (w - 29.6)).exp()).sum();
    let log_z = format!("log Z = {:.2}", 29.6 + (sum / 10_000.0).ln());
    let ess = format!("sample size {:.1} % of N = 10\u{a0}000", sum * sum / squares / 100.0);
    check(&path, &["log weight log w", &log_z, &ess]);
}

#[test]
fn distributions_of_nothing_say_so_and_mismatches_are_errors() {
    let folder = folder();
    for (name, values) in
        [("empty", &[][..]), ("nan", &[f64::NAN, f64::INFINITY][..]), ("one", &[2.5][..])]
    {
        let expected = if name == "one" { "flow" } else { "no finite values" };
        let log_weights = vec![0.0; values.len()];
        let observable =
            Distribution { flow: values, log_weights: &log_weights, reference: Some(values) };
        let path = folder.0.join(format!("distribution_{name}"));
        distribution_figure(&observable, "energy U / kT", name, &path).unwrap();
        check(&path, &[expected]);
        let path = folder.0.join(format!("log_weights_{name}"));
        log_weight_figure(values, name, &path).unwrap();
        check(&path, &[expected]);
    }
    let extreme = [-1e300, 1e300, 0.0];
    log_weight_figure(&extreme, "extreme", folder.0.join("extreme")).unwrap();
    check(&folder.0.join("extreme"), &["log w"]);

    let wrong = Distribution { flow: &[1.0, 2.0, 3.0], log_weights: &[0.0; 2], reference: None };
    let message =
        distribution_figure(&wrong, "r", "", folder.0.join("wrong")).unwrap_err().to_string();
    assert!(message.contains("3 values for 2 log weights"), "{message}");
    assert!(!folder.0.join("wrong.svg").exists());
    let absent = folder.0.join("absent/ess");
    assert!(ess_figure(&[], None, "", absent).unwrap_err().to_string().contains("absent"));
}

/// Texts of the figure that stand in one row, as the ticks of an x axis do: the most of them.
fn texts_in_a_row(path: &Path) -> Vec<String> {
    let svg = fs::read_to_string(path.with_extension("svg")).unwrap();
    let mut rows: Vec<(String, Vec<String>)> = Vec::new();
    for element in svg.split("<text ").skip(1) {
        let (tag, rest) = element.split_once('>').unwrap();
        let y = tag.split(" y=").nth(1).unwrap().split('"').nth(1).unwrap().to_string();
        let text = rest.split('<').next().unwrap().trim().to_string();
        match rows.iter_mut().find(|(known, _)| *known == y) {
            Some((_, row)) => row.push(text),
            None => rows.push((y, vec![text])),
        }
    }
    rows.into_iter().map(|(_, row)| row).max_by_key(Vec::len).unwrap()
}

#[test]
fn ticks_of_large_energies_differ() {
    let folder = folder();
    let z = normal(7, 5000);
    for (name, around, width, label) in [
        ("water", -12_000.0, 3.0, "energy U / kT"),
        ("box", -12_000_000.0, 1.5, "energy U / kT + 12\u{a0}000\u{a0}000"),
        ("still", -12_000.0, 0.02, "energy U / kT + 12\u{a0}000"),
    ] {
        let energies: Vec<f64> = z.iter().map(|z| around + width * z).collect();
        let log_weights: Vec<f64> = z.iter().map(|z| 0.1 * z).collect();
        let values =
            Distribution { flow: &energies, log_weights: &log_weights, reference: Some(&energies) };
        let path = folder.0.join(name);
        distribution_figure(&values, "energy U / kT", name, &path).unwrap();
        check(&path, &[label]);
        let ticks = texts_in_a_row(&path);
        let mut distinct = ticks.clone();
        distinct.sort();
        distinct.dedup();
        assert!(ticks.len() >= 3 && distinct.len() == ticks.len(), "{ticks:?}");
    }
}

#[test]
fn a_failed_flow_shows_the_log_weights_that_count() {
    let folder = folder();
    let path = folder.0.join("failed_flow");
    let z = normal(8, 10_000);
    let log_weights: Vec<f64> = z.iter().map(|z| -(z.abs() * 14.0).exp()).collect();
    log_weight_figure(&log_weights, "failed", &path).unwrap();
    check(&path, &["beyond the axis", "mean of log w = −"]);
    let ticks = texts_in_a_row(&path);
    let numbers: Vec<f64> = ticks.iter().map(|t| t.replace('−', "-").parse().unwrap()).collect();
    assert!(numbers.len() >= 4 && numbers.iter().all(|n| n.abs() <= 1100.0), "{ticks:?}");
}

/// Angles about −60° and 120°, and log weights that leave the first alone.
fn turns() -> (Vec<f64>, Vec<f64>) {
    let angles: Vec<f64> = normal(7, 20_000)
        .chunks(2)
        .flat_map(|pair| [-60.0 + 20.0 * pair[0], 120.0 + 20.0 * pair[1]])
        .collect();
    let log_weights = angles.iter().map(|a| if *a < 30.0 { 0.0 } else { -3.0 }).collect();
    (angles, log_weights)
}

#[test]
fn maps_and_profiles_of_angles() {
    let folder = folder();
    let (angles, log_weights) = turns();
    let kjmol = EnergyUnit::of(Some(2.494));
    let path = folder.0.join("map");
    let both = [&angles[..], &angles[..]];
    let map = Landscape::map(both, &log_weights, Some(both));
    map_figure(&map, ["φ", "ψ"], kjmol, "a backbone", &path).unwrap();
    check(&path, &["φ / degrees", "−120", "reference", "flow, reweighted", "kJ/mol", "0"]);
    let svg = fs::read_to_string(folder.0.join("map.svg")).unwrap();
    // The dark end of the colours where the density is largest, and blanks where there is none.
    assert!(svg.contains("#440154") || svg.contains("#450457"), "no dark cell");
    let filled = map.flow.iter().flatten().count();
    assert!(filled > 20 && filled < MAP_BINS * MAP_BINS / 10, "{filled}");
    let empty = Landscape::map([&[], &[]], &[], None);
    map_figure(&empty, ["φ", "ψ"], EnergyUnit::of(None), "nothing", &path).unwrap();
    check(&path, &["no samples", "kT"]);

    let profile = Landscape::profile(&angles, &log_weights, None);
    let named = [("φ ALA2".to_string(), profile.clone()), ("ψ ALA2".to_string(), profile)];
    let path = folder.0.join("torsions");
    profile_figure(&named, EnergyUnit::of(None), "torsions", &path).unwrap();
    check(&path, &["φ ALA2 / degrees", "−180", "free energy −ln p / kT", "flow, reweighted"]);
    let values = Distribution { flow: &angles, log_weights: &log_weights, reference: None };
    let several: Vec<_> = (0..4).map(|k| (format!("bond {k} / Å"), values)).collect();
    let path = folder.0.join("bonds");
    distributions_figure(&several, "bonds", &path).unwrap();
    check(&path, &["bond 0 / Å", "bond 3 / Å", "probability density"]);
}

#[test]
fn free_energies_are_those_of_the_weights_and_gaps_stay_gaps() {
    let (angles, log_weights) = turns();
    let profile = Landscape::profile(&angles, &log_weights, None);
    let least = |energies: &[Option<f64>], from: usize, to: usize| {
        energies[from..to].iter().flatten().copied().fold(f64::INFINITY, f64::min)
    };
    // Bins of 6°: the wells are in the first and the second half. Weighted, 3 kT lie between them.
    let (first, second) = (least(&profile.flow, 0, 30), least(&profile.flow, 35, 60));
    assert!(first.max(second) < 0.2, "{first} {second}");
    let between = least(&profile.reweighted, 35, 60) - least(&profile.reweighted, 0, 30);
    assert!((between - 3.0).abs() < 0.2, "{between}");
    let shown = pieces(&[None, Some(1.0), Some(0.0), Some(11.0), Some(2.0), None], 10.0);
    let sizes: Vec<usize> = shown.iter().map(Vec::len).collect();
    assert_eq!((sizes, shown[0][0]), (vec![2, 1], (-171.0, 1.0)));
}
