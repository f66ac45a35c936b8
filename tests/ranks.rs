//! Any number of ranks leaves the bytes of one, also when a training continues with another number,
//! and an error on one rank stops all. Ranks are threads here; `tests/mpi` has the same with MPI.

mod recipes;
mod traces;

use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::Arc;

use boltzflow::config::{Recipe, Registry};
use boltzflow::error::{Error, EvaluationError};
use boltzflow::evaluation::{evaluate, EvaluationOptions};
use boltzflow::parallel::{run_in_threads, team};
use boltzflow::potential::Potential;
use boltzflow::run::{Checkpoint, RunFolder};
use boltzflow::samples::{write_samples, Samples};
use boltzflow::sampling::{sample_reference, ReferenceOptions};
use boltzflow::session::{Ending, Training};
use boltzflow::system::System;
use boltzflow::train::TrainingState;
use recipes::{recipe, small_evaluations, Mortal, OBJECTIVES};
use traces::traces;

/// One rank's training in `folder` until `stop_after`, from a checkpoint if there is one; its
/// potential lives for `life` configurations.
fn rank(
    folder: &Path,
    text: &str,
    stop_after: u64,
    life: u64,
) -> Result<(Ending, TrainingState), Error> {
    rank_on(folder, text, stop_after, |potential| Mortal(potential, life.into()))
}

/// The same with what `wrap` makes of the potential.
fn rank_on<P: Potential + 'static>(
    folder: &Path,
    text: &str,
    stop_after: u64,
    wrap: impl FnOnce(Arc<dyn Potential>) -> P,
) -> Result<(Ending, TrainingState), Error> {
    let mut recipe = small_evaluations(Recipe::from_text(text, Path::new("r.toml")).unwrap());
    recipe.evaluate.samples = 400;
    recipe.evaluate.reference_samples = 100;
    let target = Registry::builtin().load(&recipe.target).unwrap();
    let system = target.potential.system();
    let mut training = Training::new(recipe, wrap(target.potential)).unwrap();
    let resumes = team().allgather(Checkpoint::exists(folder).into())[0] == 1;
    let folder = match resumes {
        _ if !team().leads() => RunFolder::elsewhere("/nowhere"),
        true => RunFolder::open(folder).unwrap(),
        false => RunFolder::create(folder).unwrap(),
    };
    if resumes {
        training.resume_in(folder).unwrap();
    } else {
        if team().leads() {
            let positions = (0..100 * 8).map(|k| 2.0 * (k as f64 * 0.3).cos()).collect();
            let samples = Samples { positions, ..Samples::default() };
            write_samples(folder.reference(), system, 100, [Ok(samples)]).unwrap();
        }
        training.create_in(folder)?;
    }
    let stop = training.stop_flag();
    let last = team().size() - 1;
    // Only the last rank gets the signal.
    let hears = team().rank() == last && stop_after < u64::MAX;
    stop.store(hears && last > 0, Ordering::Relaxed);
    let ending = training
        .run(|progress| stop.store(hears && progress.step >= stop_after, Ordering::Relaxed))?;
    Ok((ending, training.state().clone()))
}

/// Four tiles and a bit a batch, so that blocks are uneven.
fn uneven(place: &Path, objective: &str) -> String {
    recipe(place, objective)
        .replace("batch_size = 32", "batch_size = 72")
        .replace("count = 100", "count = 200")
}

#[test]
fn the_number_of_ranks_changes_nothing() {
    for (name, objective) in OBJECTIVES {
        let place = tempfile::tempdir().unwrap();
        let text = uneven(place.path(), objective);
        let on = |ranks: usize, text: &str| {
            let folder = place.path().join(format!("{ranks}-{}", text.contains("seed = 4")));
            let endings =
                run_in_threads(ranks, || rank(&folder, text, u64::MAX, u64::MAX).unwrap());
            let states: Vec<_> = endings
                .into_iter()
                .map(|ending| match ending {
                    (Ending::Finished, state) => state.theta,
                    (Ending::Stopped, state) => panic!("stopped after step {}", state.step),
                })
                .collect();
            assert!(states.iter().all(|theta| *theta == states[0]), "{name}: ranks differ");
            traces(&folder)
        };
        let one = on(1, &text);
        for ranks in [2, 3, 4, 7] {
            assert_eq!(on(ranks, &text), one, "{name} on {ranks} ranks");
        }
        // Planted: another seed.
        assert_ne!(on(2, &text.replace("seed = 3", "seed = 4")), one, "{name}");
    }
}

#[test]
fn a_training_goes_on_with_another_number_of_ranks() {
    for (name, objective) in OBJECTIVES {
        let place = tempfile::tempdir().unwrap();
        let text = uneven(place.path(), objective);
        let (straight, parts) = (place.path().join("straight"), place.path().join("parts"));
        rank(&straight, &text, u64::MAX, u64::MAX).unwrap();
        // A signal to the last rank stops all after the next step.
        for ranks in [3, 1, 2, 5] {
            let endings = run_in_threads(ranks, || rank(&parts, &text, 0, u64::MAX).unwrap());
            let steps = endings.iter().map(|ending| match ending {
                (Ending::Stopped, state) => state.step,
                (Ending::Finished, _) => panic!("{name}: not stopped"),
            });
            let steps: Vec<u64> = steps.collect();
            assert!(steps.iter().all(|step| *step == steps[0]), "{name}: {steps:?}");
        }
        run_in_threads(4, || rank(&parts, &text, u64::MAX, u64::MAX).map(|_| ()).unwrap());
        assert_eq!(traces(&parts), traces(&straight), "{name}");
    }
}

#[test]
fn a_potential_that_fails_for_good_on_one_rank_stops_all_and_loses_nothing() {
    for (name, objective) in OBJECTIVES {
        let place = tempfile::tempdir().unwrap();
        let text = uneven(place.path(), objective);
        let (straight, parts) = (place.path().join("straight"), place.path().join("parts"));
        rank(&straight, &text, u64::MAX, u64::MAX).unwrap();
        let mut failures = 0;
        for life in (1..).map(|life| 120 * life) {
            let results = run_in_threads(3, || {
                let life = if team().rank() == 2 { life } else { u64::MAX };
                rank(&parts, &text, u64::MAX, life).map(|_| ())
            });
            if results.iter().all(Result::is_ok) {
                break;
            }
            failures += 1;
            let step = Checkpoint::peek(&parts).unwrap().step;
            for (rank, result) in results.into_iter().enumerate() {
                let error = result.unwrap_err();
                let message = error.to_string();
                assert_eq!(error.exit_code(), 3, "{message}");
                assert!(message.contains(&format!("checkpoint of step {step} ")), "{message}");
                assert!(message.contains("the licence server is gone"), "{message}");
                assert_eq!(message.contains("on rank 2"), rank != 2, "{message}");
            }
        }
        assert!(failures > 1, "{name}: {failures}");
        assert_eq!(traces(&parts), traces(&straight), "{name}");
    }
}

/// A potential at whose end a signal comes.
struct Interrupted(Mortal);

impl Potential for Interrupted {
    fn system(&self) -> System {
        self.0.system()
    }

    fn energy_and_gradient(&self, x: &[f64], gradient: &mut [f64]) -> Result<f64, EvaluationError> {
        let stopped = |_| EvaluationError::Stopped("stopped by SIGTERM".into());
        self.0.energy_and_gradient(x, gradient).map_err(stopped)
    }
}

#[test]
fn a_signal_within_a_step_of_one_rank_stops_all_with_a_checkpoint() {
    for (name, objective) in OBJECTIVES {
        let place = tempfile::tempdir().unwrap();
        let text = uneven(place.path(), objective);
        let (straight, parts) = (place.path().join("straight"), place.path().join("parts"));
        rank(&straight, &text, u64::MAX, u64::MAX).unwrap();
        let mut stops = 0;
        for life in (1..).map(|life| 150 * life) {
            let endings = run_in_threads(3, || {
                let life = if team().rank() == 2 { life } else { u64::MAX };
                let wrap = |potential| Interrupted(Mortal(potential, life.into()));
                rank_on(&parts, &text, u64::MAX, wrap).unwrap()
            });
            let step = Checkpoint::peek(&parts).unwrap().step;
            assert!(endings
                .iter()
                .all(|(ending, state)| { (*ending, state.step) == (endings[0].0, step) }));
            if endings[0].0 == Ending::Finished {
                break;
            }
            stops += 1;
        }
        assert!(stops > 1, "{name}: {stops}");
        assert_eq!(traces(&parts), traces(&straight), "{name}");
    }
}

#[test]
fn a_folder_that_cannot_be_written_stops_all() {
    let place = tempfile::tempdir().unwrap();
    let text = uneven(place.path(), OBJECTIVES[0].1);
    let folder = place.path().join("run");
    std::fs::create_dir_all(folder.join("metrics.csv")).unwrap();
    let results = run_in_threads(3, || {
        let recipe = Recipe::from_text(&text, Path::new("recipe.toml")).unwrap();
        let target = Registry::builtin().load(&recipe.target).unwrap();
        let mut training = Training::new(small_evaluations(recipe), target).unwrap();
        training.create_in(RunFolder::read_only(&folder).unwrap())
    });
    for result in results {
        let message = result.unwrap_err().to_string();
        assert!(message.contains("cannot write") && message.contains("metrics.csv"), "{message}");
    }
}

#[test]
fn the_reference_sampler_is_the_same_on_any_number_of_ranks() {
    let options = ReferenceOptions { samples: 50, chains: 64, transitions: 5, seed: 2 };
    let on = |ranks| {
        run_in_threads(ranks, || {
            let potential = Registry::builtin().load("dw4").unwrap().potential;
            let found = sample_reference(potential, options).unwrap();
            (found.samples, found.report.log_z, found.report.effort.evaluations)
        })
    };
    let one = on(1).remove(0);
    for ranks in [2, 3] {
        assert!(on(ranks).iter().all(|found| *found == one), "{ranks} ranks");
    }
}

/// Rank 0 measures Monte Carlo, for as many as there are; all know the same of it.
#[test]
fn all_ranks_know_the_same_cost_of_monte_carlo() {
    let options = ReferenceOptions { samples: 50, chains: 64, transitions: 5, seed: 2 };
    let dw4 = || Registry::builtin().load("dw4").unwrap().potential;
    let reference = sample_reference(dw4(), options).unwrap().samples.positions;
    let place = tempfile::tempdir().unwrap();
    let text = recipe(place.path(), OBJECTIVES[0].1);
    let found = run_in_threads(3, || {
        let recipe = Recipe::from_text(&text, Path::new("r.toml")).unwrap();
        let problem = recipe.problem(dw4()).unwrap();
        let theta = problem.flow.layout().initialize::<f32>(0);
        let options = EvaluationOptions {
            samples: 100,
            draws: 1,
            cost_seconds: 1.0,
            ..EvaluationOptions::default()
        };
        let found = evaluate(&problem, &theta, Some(&reference), None, options).unwrap().0;
        let chains = [found.monte_carlo_per_second, found.monte_carlo_evaluations];
        (chains, found.autocorrelation_time, found.leapfrog_steps, found.reverse_ess)
    });
    assert!(found.iter().all(|rank| *rank == found[0]), "{found:?}");
    let (chains, time, steps, _) = found[0];
    assert!(chains[0].unwrap() > 100.0, "{found:?}");
    let energies = steps.unwrap() as f64 * time.unwrap();
    assert!((chains[1].unwrap() / energies - 1.0).abs() < 1e-9, "{found:?}");
}
