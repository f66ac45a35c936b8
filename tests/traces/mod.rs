//! What a run leaves, without what was read from a clock: two runs that are the same have the same
//! bytes here.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use boltzflow::run::metrics_columns;
use serde_json::Value;

/// The bytes of everything that must not depend on interruption or threads, by name: `metrics.csv`
/// without its seven columns of times and messages, the last checkpoint, the model's parameters,
/// the evaluation.
pub fn traces(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let read = |name: &str| fs::read(folder.join(name)).unwrap_or_else(|e| panic!("{name}: {e}"));
    let mut found = BTreeMap::new();
    found.insert("metrics.csv".into(), timeless_csv(&read("metrics.csv")).into_bytes());
    found.insert("evaluation.json".into(), timeless_json(&read("evaluation.json")));
    let model = read("model.safetensors");
    let header = u64::from_le_bytes(model[..8].try_into().unwrap()) as usize;
    found.insert("model.safetensors".into(), model[8 + header..].to_vec());
    let mut heads: Vec<String> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.starts_with("checkpoint-") && name.ends_with(".json"))
        .collect();
    heads.sort();
    let head = heads.pop().unwrap();
    found.insert("checkpoint arrays".into(), read(&head.replace(".json", ".safetensors")));
    found.insert("checkpoint head".into(), timeless_json(&read(&head)));
    found
}

/// Rows without the cells of columns whose unit is that of a time, a speed or a message.
fn timeless_csv(bytes: &[u8]) -> String {
    let clocks: Vec<bool> = metrics_columns()
        .iter()
        .map(|column| ["s", "1/s", "B", "s/s"].contains(&column.unit))
        .collect();
    assert_eq!(clocks.iter().filter(|clock| **clock).count(), 7);
    let text = String::from_utf8(bytes.to_vec()).unwrap();
    text.lines()
        .map(|line| {
            let cells = line.split(',').zip(&clocks).filter(|(_, clock)| !**clock);
            cells.map(|(cell, _)| cell).collect::<Vec<_>>().join(",") + "\n"
        })
        .collect()
}

/// Without times, and without the checksum that covers them.
fn timeless_json(bytes: &[u8]) -> Vec<u8> {
    fn forget(value: &mut Value) {
        if let Value::Object(map) = value {
            map.retain(|key, _| {
                !key.contains("seconds") && !key.contains("per_second") && key != "head_crc32"
            });
            map.values_mut().for_each(forget);
        }
    }
    let mut value: Value = serde_json::from_slice(bytes).unwrap();
    forget(&mut value);
    serde_json::to_vec(&value).unwrap()
}
