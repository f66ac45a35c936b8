//! A run folder never has half-written files, and never misreads one.

use std::fs;
use std::io::Write;
use std::path::Path;

use boltzflow::files::{write_atomically, AtomicFile};
use boltzflow::flow::{Initial, ParameterLayout};
use boltzflow::run::{
    load_model, read_metrics, read_model_metadata, save_model, MetricsRow, MetricsWriter,
    ModelMetadata, RunFolder,
};

fn row(step: u64) -> MetricsRow {
    MetricsRow {
        step,
        train_seconds: 0.1 * step as f64,
        energy_evaluations: 1000 * step,
        loss: Some(-1.0 / 3.0 * step as f64),
        reverse_ess: step.is_multiple_of(2).then_some(0.1 + 1e-17),
        ess_samples: step.is_multiple_of(2).then_some(10_000),
        ..MetricsRow::default()
    }
}

fn entries(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn metrics_come_back_exactly_and_each_row_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("metrics.csv");
    let mut writer = MetricsWriter::create(&path).unwrap();
    assert_eq!(read_metrics(&path).unwrap(), []);
    let rows: Vec<_> = (1..=5).map(row).collect();
    for (written, row) in rows.iter().enumerate() {
        writer.append(row).unwrap();
        assert_eq!(read_metrics(&path).unwrap(), rows[..=written]);
    }
}

#[test]
fn resumed_metrics_lose_later_rows_and_a_line_cut_off_by_a_crash() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("metrics.csv");
    let mut writer = MetricsWriter::create(&path).unwrap();
    (1..=5).for_each(|step| writer.append(&row(step)).unwrap());
    drop(writer);
    fs::OpenOptions::new().append(true).open(&path).unwrap().write_all(b"6,0.6,60").unwrap();
    assert_eq!(read_metrics(&path).unwrap().len(), 5);

    let mut writer = MetricsWriter::resume(&path, 3).unwrap();
    writer.append(&row(4)).unwrap();
    assert_eq!(read_metrics(&path).unwrap(), (1..=4).map(row).collect::<Vec<_>>());
}

#[test]
fn metrics_that_are_none_name_the_column_or_line() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("metrics.csv");
    fs::write(&path, "step,loss\n1,2\n").unwrap();
    let message = read_metrics(&path).unwrap_err().to_string();
    assert!(message.contains("train_seconds") && message.contains("`loss`"), "{message}");

    MetricsWriter::create(&path).unwrap().append(&row(1)).unwrap();
    let text = fs::read_to_string(&path).unwrap().replace("\n1,", "\none,");
    fs::write(&path, text).unwrap();
    let message = read_metrics(&path).unwrap_err().to_string();
    assert!(message.contains("metrics.csv") && message.contains("line: 2"), "{message}");
}

#[test]
fn a_failed_write_leaves_the_old_file_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.bin");
    write_atomically(&path, |file| file.write_all(b"good")).unwrap();
    let error = write_atomically(&path, |file| {
        file.write_all(b"half of the new")?;
        Err(std::io::Error::other("disk full"))
    })
    .unwrap_err();
    assert!(error.to_string().contains("model.bin") && error.to_string().contains("disk full"));
    let mut abandoned = AtomicFile::create(&path).unwrap();
    abandoned.write_all(b"never committed").unwrap();
    drop(abandoned);
    assert_eq!(fs::read(&path).unwrap(), b"good");
    assert_eq!(entries(folder.path()), ["model.bin"]);

    write_atomically(&path, |file| file.write_all(b"better")).unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"better");
    assert!(write_atomically(folder.path().join("no/such/folder"), |_| Ok(())).is_err());
}

#[test]
fn a_run_folder_has_one_writer_and_any_number_of_readers() {
    let base = tempfile::tempdir().unwrap();
    let path = base.path().join("dw4");
    let folder = RunFolder::create(&path).unwrap();
    let text = "seed = 1\n";
    folder.write_config(text).unwrap();
    folder.write_evaluation(&serde_json::json!({ "reverse_ess": 0.875 })).unwrap();

    let message = RunFolder::open(&path).unwrap_err().to_string();
    assert!(message.contains("dw4") && message.contains("another name"), "{message}");
    assert!(message.contains(&std::process::id().to_string()), "{message}");
    let reader = RunFolder::read_only(&path).unwrap();
    assert_eq!(reader.read_config().unwrap(), text);
    let evaluation: serde_json::Value = reader.read_evaluation().unwrap();
    assert_eq!(evaluation["reverse_ess"], 0.875);

    drop(folder);
    fs::write(path.join(".model.safetensors.1-0.partial"), "of a killed process").unwrap();
    RunFolder::open(&path).unwrap();
    assert_eq!(entries(&path), ["config.toml", "evaluation.json", "lock"]);
    let message = RunFolder::create(&path).unwrap_err().to_string();
    assert!(message.contains("already holds a run") && message.contains("config.toml"));
    assert!(RunFolder::open(base.path().join("absent")).is_err());
    assert!(!base.path().join("absent").exists());
}

fn model() -> (ParameterLayout, Vec<f32>, ModelMetadata) {
    let mut layout = ParameterLayout::default();
    layout.vector("base.scale", 3, Initial::Constant(0.1));
    layout.enter("coupling.00");
    layout.matrix("weight", 4, 2, Initial::Normal(1.0));
    layout.vector("alpha", 5, Initial::Uniform(0.5));
    let theta = layout.initialize(7);
    let metadata = ModelMetadata {
        recipe: "[flow]\nlayers = 1 # \"quoted\" η\n".to_string(),
        seed: u64::MAX,
        step: 20_000,
        train_seconds: 1.0 / 3.0,
        energy_evaluations: 123_456_789_012,
        ..ModelMetadata::default()
    };
    (layout, theta, metadata)
}

#[test]
fn a_model_comes_back_bit_for_bit_and_its_file_is_reproducible() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    let (layout, mut theta, metadata) = model();
    theta[0] = -0.0;
    theta[1] = f32::MIN_POSITIVE / 2.0;
    save_model(&path, &layout, &theta, &metadata).unwrap();
    let (loaded, from_file) = load_model(&path, &layout).unwrap();
    let bits = |theta: &[f32]| theta.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
    assert_eq!(bits(&loaded), bits(&theta));
    assert_eq!(from_file, metadata);
    assert_eq!(read_model_metadata(&path).unwrap(), metadata);

    let again = folder.path().join("again.safetensors");
    save_model(&again, &layout, &loaded, &from_file).unwrap();
    assert_eq!(fs::read(&path).unwrap(), fs::read(&again).unwrap());
    // Other programs can read it as a plain safetensors file.
    let bytes = fs::read(&path).unwrap();
    let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    assert_eq!(tensors.tensor("coupling.00.weight").unwrap().shape(), [4, 2]);

    // The file has the species, if there are any.
    let has_species = |bytes: &[u8]| String::from_utf8_lossy(bytes).contains("species");
    assert!(!has_species(&bytes));
    let unlike = ModelMetadata { species: vec![0, 0, 1], ..metadata.clone() };
    save_model(&again, &layout, &loaded, &unlike).unwrap();
    assert!(has_species(&fs::read(&again).unwrap()));
    assert_eq!(read_model_metadata(&again).unwrap(), unlike);

    assert!(save_model(&path, &layout, &theta[1..], &metadata).is_err());
    assert_eq!(entries(folder.path()), ["again.safetensors", "model.safetensors"]);
}

/// Replaces `from` in the header, corrects the header's length, and keeps the data.
fn edit_header(bytes: &[u8], from: &str, to: &str) -> Vec<u8> {
    let size = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let header = std::str::from_utf8(&bytes[8..8 + size]).unwrap();
    assert!(header.contains(from), "{from} is not in {header}");
    let header = header.replacen(from, to, 1);
    [&(header.len() as u64).to_le_bytes(), header.as_bytes(), &bytes[8 + size..]].concat()
}

#[test]
fn a_damaged_or_foreign_model_is_an_error_that_says_what_is_wrong() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    let (layout, theta, metadata) = model();
    save_model(&path, &layout, &theta, &metadata).unwrap();
    let good = fs::read(&path).unwrap();
    let edit = |from, to| edit_header(&good, from, to);
    let with_nan = [&good[..good.len() - 4], &f32::NAN.to_le_bytes()].concat();

    let cases: Vec<(&str, Vec<u8>, &str)> = vec![
        ("empty", vec![], "0 bytes"),
        ("seven bytes", good[..7].to_vec(), "7 bytes"),
        ("cut in the header", good[..60].to_vec(), "cut off"),
        ("cut in the data", good[..good.len() - 1].to_vec(), "cut off or added to"),
        ("no data", good[..good.len() - 64].to_vec(), "cut off or added to"),
        ("longer", [&good[..], &[0]].concat(), "cut off or added to"),
        ("huge header", [&u64::MAX.to_le_bytes(), &good[8..]].concat(), "claims a header"),
        ("text", b"this is a text file, not a model".to_vec(), "claims a header"),
        ("bad JSON", edit("{", "["), "header"),
        ("zeros", vec![0; 64], "header"),
        ("not UTF-8", [&good[..20], &[0xff, 0xfe], &good[22..]].concat(), "header"),
        ("renamed", edit("base.scale", "base.scala"), "no tensor `base.scale`"),
        ("transposed", edit("[4,2]", "[2,4]"), "shape [2, 4] and the flow expects [4, 2]"),
        ("half", edit("F32", "F16"), "F16 and should be F32"),
        ("unknown type", edit("F32", "F31"), "header"),
        ("gap", edit("\"data_offsets\":[0,", "\"data_offsets\":[4,"), "lies at bytes 4"),
        ("beyond", edit("\"data_offsets\":[0,", "\"data_offsets\":[999999,"), "lies at bytes"),
        ("overlap", edit("[12,32]", "[0,20]"), "starts at byte"),
        (
            "huge sizes",
            edit(
                "\"base.scale\"",
                "\"more\":{\"dtype\":\"U8\",\"shape\":[18446744073709551615],\
                 \"data_offsets\":[0,18446744073709551615]},\"base.scale\"",
            ),
            "`more`",
        ),
        ("foreign", edit("\"boltzflow\":", "\"format\":"), "did not write"),
        ("newer", edit("format_version\\\":1", "format_version\\\":2"), "format version 2"),
        ("no seed", edit("\\\"seed\\\"", "\\\"sead\\\""), "seed"),
        ("not a number", with_nan, "NaN"),
    ];
    for (case, bytes, expected) in cases {
        fs::write(&path, bytes).unwrap();
        let message = load_model(&path, &layout).expect_err(case).to_string();
        assert!(message.contains(expected), "{case}: {message}");
        assert!(message.contains("model.safetensors"), "{case}: {message}");
        let _ = read_model_metadata(&path);
    }
    assert!(load_model(folder.path().join("absent"), &layout).is_err());
}

#[test]
fn no_single_damaged_byte_makes_the_model_reader_panic() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    let (layout, theta, metadata) = model();
    save_model(&path, &layout, &theta, &metadata).unwrap();
    let good = fs::read(&path).unwrap();
    for place in 0..good.len() {
        let mut bytes = good.clone();
        bytes[place] ^= 0x15;
        fs::write(&path, bytes).unwrap();
        let _ = load_model(&path, &layout);
    }
}
