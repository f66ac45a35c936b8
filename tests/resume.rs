//! A run that is cut short and resumed ends as one that never stopped, byte for byte.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::Arc;

use boltzflow::config::{Recipe, Registry};
use boltzflow::error::{Error, EvaluationError};
use boltzflow::potential::Potential;
use boltzflow::run::{
    read_metrics, train, Checkpoint, Ending, EvaluationOptions, MetricsRow, RunFolder,
    SessionOptions,
};
use boltzflow::system::System;
use boltzflow::train::TrainingState;

const FLOW: &str = r#"
format = 1
target = "dw4"
seed = 3
[flow]
augmentation_scale = 0.3
base_scale = 2.0
[[flow.layers]]
coupling = "pairwise"
repeat = 1
width = 4
basis = 4
"#;

const OBJECTIVES: [(&str, &str); 2] = [
    (
        "fab",
        r#"
[train]
objective = "fab"
steps = 8
batch_size = 32
[train.fab]
updates_per_annealing = 2
[train.fab.buffer]
min_batches = 2
max_batches = 4
"#,
    ),
    (
        "reverse_kl",
        r#"
[train]
objective = "reverse_kl"
steps = 8
batch_size = 32
"#,
    ),
];

/// A potential that is gone after so many configurations.
struct Mortal(Arc<dyn Potential>, AtomicU64);

impl Potential for Mortal {
    fn system(&self) -> System {
        self.0.system()
    }

    fn energy_and_gradient(&self, x: &[f64], gradient: &mut [f64]) -> Result<f64, EvaluationError> {
        let one_less = |left: u64| left.checked_sub(1);
        match self.1.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less) {
            Ok(_) => self.0.energy_and_gradient(x, gradient),
            Err(_) => Err(EvaluationError::Fatal("the licence server is gone".into())),
        }
    }
}

/// Trains in `folder` until `stop_after`; goes on from a checkpoint if there is one.
fn session(folder: &Path, text: &str, stop_after: u64) -> Ending {
    mortal_session(folder, text, stop_after, u64::MAX).unwrap()
}

/// The same with a potential that fails after `evaluations`.
fn mortal_session(
    folder: &Path,
    text: &str,
    stop_after: u64,
    evaluations: u64,
) -> Result<Ending, Error> {
    let recipe = Recipe::from_text(text, Path::new("recipe.toml")).unwrap();
    let target = Registry::builtin().load(&recipe.target).unwrap();
    let mortal = Mortal(target.potential, evaluations.into());
    let problem = recipe.problem(Arc::new(mortal)).unwrap();
    let trainer = recipe.trainer(problem.flow.system()).unwrap();
    let resume = Checkpoint::load(folder, &trainer.start(&problem)).unwrap().0;
    let folder = if resume.is_some() {
        RunFolder::open(folder).unwrap()
    } else {
        RunFolder::create(folder).unwrap()
    };
    let options = SessionOptions {
        steps: 8,
        evaluate_every: 3,
        evaluation: EvaluationOptions {
            samples: 64,
            draws: 2,
            annealed_samples: 16,
            intermediate_distributions: 2,
            step: 0,
        },
        checkpoint_seconds: 1e9,
        recipe: text.to_string(),
    };
    let stop = AtomicBool::new(false);
    train(&folder, &problem, trainer.as_ref(), &options, None, resume, &stop, &mut |progress| {
        stop.store(progress.state.step >= stop_after, Ordering::Relaxed);
    })
}

fn finished(ending: Ending) -> TrainingState {
    match ending {
        Ending::Finished(state, _) => *state,
        Ending::Stopped(step) => panic!("stopped after step {step}"),
    }
}

/// Rows without what a clock says.
fn timeless(folder: &Path) -> Vec<MetricsRow> {
    read_metrics(folder.join("metrics.csv"))
        .unwrap()
        .into_iter()
        .map(|row| MetricsRow {
            train_seconds: 0.0,
            flow_seconds: 0.0,
            potential_seconds: 0.0,
            samples_per_second: None,
            ..row
        })
        .collect()
}

#[test]
fn stopping_and_resuming_changes_nothing() {
    for (name, objective) in OBJECTIVES {
        let text = format!("{FLOW}{objective}");
        let place = tempfile::tempdir().unwrap();
        let (straight, parts) = (place.path().join("straight"), place.path().join("parts"));
        let want = finished(session(&straight, &text, u64::MAX));
        for stop_after in [1, 4, 7] {
            assert!(matches!(session(&parts, &text, stop_after), Ending::Stopped(_)), "{name}");
        }
        let got = finished(session(&parts, &text, u64::MAX));
        assert!(got == want, "{name}: the states differ");
        assert_eq!(timeless(&parts), timeless(&straight), "{name}");
        let model = |folder: &Path| fs::read(folder.join("evaluation.json")).unwrap().len();
        assert!(model(&parts) > 0);

        // Planted: another stream of random numbers gives another state.
        let other = place.path().join("other");
        let reseeded = text.replace("seed = 3", "seed = 4");
        assert!(finished(session(&other, &reseeded, u64::MAX)) != want, "{name}");
    }
}

#[test]
fn a_potential_that_fails_for_good_loses_nothing() {
    for (name, objective) in OBJECTIVES {
        let text = format!("{FLOW}{objective}");
        let place = tempfile::tempdir().unwrap();
        let (straight, parts) = (place.path().join("straight"), place.path().join("parts"));
        let want = finished(session(&straight, &text, u64::MAX));
        // Dies in the first step, in others and in evaluations, until a life is long enough.
        let mut steps = Vec::new();
        let got = (1..).map(|life| 30 * life).find_map(|evaluations| {
            match mortal_session(&parts, &text, u64::MAX, evaluations) {
                Ok(ending) => Some(finished(ending)),
                Err(error) => {
                    let message = error.to_string();
                    assert!(message.contains("the licence server is gone"), "{message}");
                    let step = Checkpoint::peek(&parts).unwrap().1;
                    assert!(message.contains(&format!("checkpoint of step {step} ")), "{message}");
                    assert_eq!(error.exit_code(), 3);
                    steps.push(step);
                    None
                }
            }
        });
        assert!(steps[0] == 0 && steps.len() > 4, "{name}: {steps:?}");
        assert!(got.unwrap() == want, "{name}: the states differ");
        assert_eq!(timeless(&parts), timeless(&straight), "{name}");
    }
}

#[test]
fn a_damaged_checkpoint_falls_back_on_the_one_before() {
    let text = format!("{FLOW}{}", OBJECTIVES[0].1);
    let place = tempfile::tempdir().unwrap();
    let folder = place.path().join("run");
    for stop_after in [2, 4, 5] {
        assert!(matches!(session(&folder, &text, stop_after), Ending::Stopped(_)));
    }
    let recipe = Recipe::from_text(&text, Path::new("recipe.toml")).unwrap();
    let target = Registry::builtin().load(&recipe.target).unwrap();
    let problem = recipe.problem(target.potential.clone()).unwrap();
    let start = recipe.trainer(problem.flow.system()).unwrap().start(&problem);
    let arrays = |step: u64| folder.join(format!("checkpoint-{step:010}.safetensors"));
    assert!(!arrays(2).exists(), "more than two checkpoints are kept");

    let good = fs::read(arrays(5)).unwrap();
    for position in [0, 9, good.len() / 2, good.len() - 1] {
        let mut bad = good.clone();
        bad[position] ^= 0x10;
        fs::write(arrays(5), &bad).unwrap();
        let (checkpoint, damaged) = Checkpoint::load(&folder, &start).unwrap();
        assert_eq!(checkpoint.unwrap().state.step, 4);
        assert!(damaged[0].contains("checksum"), "{damaged:?}");
    }
    fs::write(arrays(5), &good[..good.len() / 2]).unwrap();
    assert_eq!(Checkpoint::load(&folder, &start).unwrap().0.unwrap().state.step, 4);
    fs::write(arrays(4), b"").unwrap();
    let error = Checkpoint::load(&folder, &start).unwrap_err();
    assert!(error.to_string().contains("no good checkpoint"), "{error}");
    assert_eq!(error.exit_code(), 2);
}
