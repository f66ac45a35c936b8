//! A committed run is what its recipe gives with the code as it is now.

use std::fs;
use std::path::Path;

use boltzflow::config::Registry;
use boltzflow::run::{read_metrics, MetricsRow};
use boltzflow::{Recipe, Training};

/// Instruction sets round differently, and the loss carries it on: by 0.007 at step 10 and 0.04 at
/// step 20, from the portable kernels to those of AVX-512. Energies are counted the same on all.
const LOSS: [f64; 2] = [0.03, 0.15];

/// The rows of the first steps of a committed run.
fn committed(folder: &Path) -> Vec<MetricsRow> {
    read_metrics(folder.join("metrics.csv")).unwrap().into_iter().take(LOSS.len()).collect()
}

/// Mean losses of the same steps by today's code, and the energies by their ends.
fn again(folder: &Path, change: impl FnOnce(&mut Recipe), rows: &[MetricsRow]) -> Vec<(f64, u64)> {
    let file = folder.join("config.toml");
    let mut recipe = Recipe::from_text(&fs::read_to_string(&file).unwrap(), &file).unwrap();
    change(&mut recipe);
    let target = Registry::builtin().load("dw4").unwrap();
    let mut training = Training::new(recipe, target).unwrap();
    let mut until = |row: &MetricsRow| {
        let mut losses = Vec::new();
        while training.state().step < row.step {
            losses.push(training.step().unwrap().report.loss);
        }
        let energies = training.state().counters.energy_evaluations;
        (losses.iter().sum::<f64>() / losses.len() as f64, energies)
    };
    rows.iter().map(&mut until).collect()
}

/// How far the losses are from those of the rows, in units of what rounding may do.
fn distance(losses: &[(f64, u64)], rows: &[MetricsRow]) -> f64 {
    let far = |((found, row), most): ((&(f64, u64), &MetricsRow), &f64)| {
        (found.0 - row.loss.unwrap()).abs() / most
    };
    losses.iter().zip(rows).zip(&LOSS).map(far).fold(0.0, f64::max)
}

#[test]
fn the_first_steps_of_dw4_fab_come_again() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("runs/dw4_fab");
    let rows = committed(&folder);
    assert_eq!(rows.iter().map(|row| row.step).collect::<Vec<_>>(), [10, 20]);
    let found = again(&folder, |_| {}, &rows);
    for ((_, energies), row) in found.iter().zip(&rows) {
        assert_eq!(*energies, row.energy_evaluations, "energies by step {}", row.step);
    }
    let off = distance(&found, &rows);
    assert!(off < 1.0, "the losses {found:?} are not those of metrics.csv: {off:.2}");

    // Planted: another learning rate.
    let slower = again(&folder, |recipe| recipe.train.descent.learning_rate.peak /= 3.0, &rows);
    assert!(distance(&slower, &rows) > 2.0, "a slower training has {slower:?}");
}
