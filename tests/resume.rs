//! A run that is interrupted and resumed ends as one that never stopped, byte for byte, on any
//! number of threads, also when it diverges on the way.

mod recipes;
mod traces;

use std::fs;
use std::path::Path;
use std::sync::atomic::Ordering;

use boltzflow::config::{Recipe, Registry};
use boltzflow::error::Error;
use boltzflow::run::{read_metrics, Checkpoint, RunFolder};
use boltzflow::session::{Ending, Training};
use boltzflow::train::{StepReport, TrainingState, Verdict};
use recipes::{recipe, small_evaluations, Mortal, FLOW, OBJECTIVES};
use traces::traces;

/// Trains in `folder` until `stop_after`; goes on from a checkpoint if there is one.
fn session(folder: &Path, text: &str, stop_after: u64) -> (Ending, TrainingState) {
    mortal_session(folder, text, stop_after, u64::MAX).unwrap()
}

/// The same with a potential that fails after `evaluations`.
fn mortal_session(
    folder: &Path,
    text: &str,
    stop_after: u64,
    evaluations: u64,
) -> Result<(Ending, TrainingState), Error> {
    let recipe = small_evaluations(Recipe::from_text(text, Path::new("recipe.toml")).unwrap());
    let target = Registry::builtin().load(&recipe.target).unwrap();
    let mortal = Mortal(target.potential, evaluations.into());
    let mut training = Training::new(recipe, mortal).unwrap();
    if Checkpoint::exists(folder) {
        training.resume_in(RunFolder::open(folder).unwrap()).unwrap();
    } else {
        training.create_in(RunFolder::create(folder).unwrap())?;
    }
    let stop = training.stop_flag();
    let ending =
        training.run(|progress| stop.store(progress.step >= stop_after, Ordering::Relaxed))?;
    Ok((ending, training.state().clone()))
}

fn finished((ending, state): (Ending, TrainingState)) -> TrainingState {
    assert_eq!(ending, Ending::Finished, "after step {}", state.step);
    state
}

/// Stops after each of `stops` and continues; returns what an uninterrupted run would have left.
fn with_stops(folder: &Path, text: &str, stops: &[u64]) -> TrainingState {
    for &stop_after in stops {
        assert_eq!(session(folder, text, stop_after).0, Ending::Stopped);
    }
    finished(session(folder, text, u64::MAX))
}

#[test]
fn stopping_and_resuming_changes_nothing() {
    for (name, objective) in OBJECTIVES {
        let place = tempfile::tempdir().unwrap();
        let text = recipe(place.path(), objective);
        let (straight, parts) = (place.path().join("straight"), place.path().join("parts"));
        let want = with_stops(&straight, &text, &[]);
        let got = with_stops(&parts, &text, &[1, 4, 7]);
        assert!(got == want, "{name}: the states differ");
        assert_eq!(traces(&parts), traces(&straight), "{name}");

        // Planted: another stream of random numbers gives another state.
        let other = place.path().join("other");
        let reseeded = text.replace("seed = 3", "seed = 4");
        assert!(with_stops(&other, &reseeded, &[]) != want, "{name}");
        for (key, trace) in traces(&other) {
            assert_ne!(trace, traces(&straight)[&key], "{name}: {key} shows no difference");
        }
    }
}

#[test]
fn the_number_of_threads_changes_nothing() {
    for (name, objective) in OBJECTIVES {
        let place = tempfile::tempdir().unwrap();
        let text = recipe(place.path(), objective);
        let on = |threads: usize| {
            let folder = place.path().join(threads.to_string());
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| with_stops(&folder, &text, &[]));
            traces(&folder)
        };
        let one = on(1);
        for threads in [2, 3, 8] {
            assert_eq!(on(threads), one, "{name} on {threads} threads");
        }
    }
}

/// Reverse KL with steps that are far too large.
const WILD: &str = r#"
[train]
objective = "reverse_kl"
steps = 90
batch_size = 32
ema_decay = 0.9
learning_rate = { initial = 1e-3, peak = 1.0, final = 1.0, warm_up_steps = 30 }
gradient_clip = { clip = 1e6, drop = 1e9 }
"#;

#[test]
fn a_divergence_rolls_back_and_does_so_after_an_interruption_too() {
    let place = tempfile::tempdir().unwrap();
    let text = format!("{FLOW}{WILD}");
    let (straight, parts) = (place.path().join("straight"), place.path().join("parts"));
    with_stops(&straight, &text, &[]);
    let rows = read_metrics(straight.join("metrics.csv")).unwrap();
    let last = rows.last().unwrap();
    assert!(last.rollbacks > 0, "{last:?}");
    // The learning rate fell by as many halves.
    let expected = 0.5f64.powi(last.rollbacks as i32);
    assert!((last.learning_rate / expected - 1.0).abs() < 1e-12, "{last:?}");
    // Stopped before, within and after the suspicious steps.
    let rolled = rows.iter().find(|row| row.rollbacks > 0).unwrap().step;
    with_stops(&parts, &text, &[rolled - 25, rolled - 10, rolled - 1, rolled, rolled + 3]);
    assert_eq!(traces(&parts), traces(&straight));
}

/// A state that gets 40 healthy losses about −3 and then `losses`, one a step, its first parameter
/// counting the steps: (step, that parameter after it) of its roll-backs, and the error if it came
/// to that.
fn watched(losses: impl IntoIterator<Item = f64>) -> (Vec<(u64, f32)>, Option<String>) {
    let recipe = Recipe::from_text(&format!("{FLOW}{WILD}"), Path::new("recipe.toml")).unwrap();
    let target = Registry::builtin().load(&recipe.target).unwrap();
    let problem = recipe.problem(target.potential).unwrap();
    let mut state = recipe.trainer(&problem, problem.flow.system()).unwrap().start(&problem);
    let mut theta = state.theta.clone();
    theta[0] = 0.0;
    state.start_as(theta);
    let healthy = (0..40).map(|k| -3.0 + 0.3 * f64::from(k).sin());
    let mut rollbacks = Vec::new();
    for loss in healthy.chain(losses) {
        state.step += 1;
        state.theta[0] = state.step as f32;
        let report = StepReport { loss, gradient_norm: 1.0, ..StepReport::default() };
        match state.judge(&report) {
            Verdict::Continue => {}
            Verdict::Good => state.save_good().unwrap(),
            Verdict::Diverged(_) => {
                state.roll_back().unwrap();
                rollbacks.push((state.step, state.theta[0]));
            }
            Verdict::Hopeless(sentence) => return (rollbacks, Some(sentence)),
        }
    }
    (rollbacks, None)
}

#[test]
fn a_divergence_is_told_from_outliers_and_from_a_slow_rise() {
    // Outliers of any size, with a healthy step now and then; a descent; a rise within the noise.
    let outliers = (0..400).map(|k| if k % 15 == 0 { -3.0 } else { 1e30 });
    assert_eq!(watched(outliers), (vec![], None));
    assert_eq!(watched((0..400).map(|k| -3.0 - 0.5 * f64::from(k))), (vec![], None));
    assert_eq!(watched((0..4000).map(|k| -3.0 + 0.001 * f64::from(k))), (vec![], None));
    // Twenty steps far above, without a break, or without a number, or without a bottom.
    for bad in [20.0, 1e30, f64::NAN, -1e20] {
        // The parameters of the start come back; the steps go on.
        assert_eq!(watched([bad; 25]), (vec![(60, 0.0)], None), "{bad}");
    }
    // The older of two good states, those after steps 200 and 300.
    let healthy = [-3.0; 300].into_iter();
    assert_eq!(watched(healthy.chain([50.0; 20])), (vec![(360, 200.0)], None));
    // It ends at the sixth, with an explanation.
    let (rollbacks, error) = watched([7e4; 300]);
    assert_eq!(rollbacks.len(), 5);
    let error = error.unwrap();
    for words in ["diverges at step", "the loss was -", "7.0000e4", "train.learning_rate.peak"] {
        assert!(error.contains(words), "{words} is not in {error}");
    }
}

#[test]
fn a_potential_that_fails_for_good_loses_nothing() {
    for (name, objective) in OBJECTIVES {
        let place = tempfile::tempdir().unwrap();
        let text = recipe(place.path(), objective);
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
                    let step = Checkpoint::peek(&parts).unwrap().step;
                    assert!(message.contains(&format!("checkpoint of step {step} ")), "{message}");
                    assert_eq!(error.exit_code(), 3);
                    steps.push(step);
                    None
                }
            }
        });
        assert!(steps[0] < 3 && steps.len() > 4, "{name}: {steps:?}");
        assert!(got.unwrap() == want, "{name}: the states differ");
        assert_eq!(traces(&parts), traces(&straight), "{name}");
    }
}

#[test]
fn a_damaged_checkpoint_falls_back_on_the_one_before() {
    let place = tempfile::tempdir().unwrap();
    let text = recipe(place.path(), OBJECTIVES[0].1);
    let folder = place.path().join("run");
    for stop_after in [2, 4, 5] {
        assert_eq!(session(&folder, &text, stop_after).0, Ending::Stopped);
    }
    let recipe = Recipe::from_text(&text, Path::new("recipe.toml")).unwrap();
    let target = Registry::builtin().load(&recipe.target).unwrap();
    let problem = recipe.problem(target.potential.clone()).unwrap();
    let start = recipe.trainer(&problem, problem.flow.system()).unwrap().start(&problem);
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
