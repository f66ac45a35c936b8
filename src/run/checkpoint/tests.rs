use std::collections::BTreeMap;
use std::sync::Arc;

use super::*;
use crate::files::faults::{with_fault, Fault};
use crate::flow::{Flow, FlowOptions, LayerGroup, PairwiseOptions};
use crate::potential::{DoubleWell, DoubleWellParameters};
use crate::sampling::{AugmentedTarget, StepSizes};
use crate::train::{FabState, Method, Problem, ReplayBuffer, Walkers};

fn start() -> TrainingState {
    let potential = Arc::new(DoubleWell::new(DoubleWellParameters::new(3, 2)).unwrap());
    let layer = PairwiseOptions { repeat: 1, width: 4, basis: 4, ..PairwiseOptions::default() };
    let options = FlowOptions {
        augmentation_scale: 0.3,
        layers: vec![LayerGroup::Pairwise(layer)],
        ..FlowOptions::default()
    };
    let flow = Arc::new(Flow::new(crate::system::System::new(3, 2).unwrap(), &options).unwrap());
    let target = AugmentedTarget::new(potential, flow.copies(), 0.3).unwrap();
    let problem = Problem { flow, target, seed: 5 };
    let mut buffer = ReplayBuffer::new(problem.flow.width(), 900);
    let rows = 800;
    let joint: Vec<f64> = (0..rows * 12).map(f64::from).collect();
    buffer.push(&joint, &vec![0.5; rows as usize], &vec![-1.5; rows as usize]);
    let own = FabState { step_sizes: StepSizes::new(2, 0.1), buffer, walkers: Walkers::none(0.1) };
    TrainingState::new(&problem, Method::Soap, own)
}

fn checkpoint(step: u64) -> Checkpoint {
    let mut state = start();
    state.step = step;
    state.theta[0] = step as f32;
    Checkpoint { state, totals: SessionTotals::default(), recipe: "seed = 5\n".into() }
}

fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(folder).unwrap().map(Result::unwrap);
    entries.map(|e| (e.file_name().into_string().unwrap(), fs::read(e.path()).unwrap())).collect()
}

/// Every file is one that a sound disk would hold; nothing is half-written.
fn are_whole(found: &BTreeMap<String, Vec<u8>>, sound: &BTreeMap<String, Vec<u8>>) -> bool {
    found.iter().all(|(name, bytes)| sound.get(name) == Some(bytes))
}

#[test]
fn whatever_operation_of_a_checkpoint_fails_the_last_good_one_loads() {
    let mut sound = BTreeMap::new();
    let place = tempfile::tempdir().unwrap();
    for step in 1..=3 {
        checkpoint(step).save(place.path()).unwrap();
        sound.extend(files(place.path()));
    }
    assert_eq!(sound.len(), 6);
    for fault in [Fault::Full, Fault::Short] {
        let mut failed = 0;
        for after in 0.. {
            let place = tempfile::tempdir().unwrap();
            let folder = place.path();
            (1..=2).for_each(|step| checkpoint(step).save(folder).unwrap());
            let (result, happened) = with_fault(after, fault, || checkpoint(3).save(folder));
            let found = files(folder);
            assert!(are_whole(&found, &sound), "{fault:?} at operation {after}");
            let (loaded, damaged) = Checkpoint::load(folder, &start()).unwrap();
            assert_eq!(damaged, [""; 0], "{fault:?} at operation {after}");
            let good = if result.is_ok() { 3 } else { 2 };
            assert!(loaded.unwrap() == checkpoint(good), "{fault:?} at operation {after}");
            if let Err(error) = result {
                failed += 1;
                assert!(error.to_string().contains("checkpoint-0000000003"), "{error}");
                assert_eq!(error.exit_code(), 3);
            }
            if !happened {
                break;
            }
        }
        // Two files, each created, written, synced and renamed.
        assert!(failed >= 8, "{fault:?}: {failed}");
    }
    // Planted: a file that was written straight to its place.
    let mut found = sound.clone();
    found.values_mut().for_each(|bytes| bytes.truncate(bytes.len() / 2));
    assert!(!are_whole(&found, &sound));
}
