//! What a program in another language needs of the library: whole batches for energies with a cost
//! per call, an end that is no signal, metrics without a folder, and verdicts in words.

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use boltzflow::potential::WithStructures;
use boltzflow::random::Purpose;
use boltzflow::run::MetricsRow;
use boltzflow::sampling::{Annealing, StepSizes};
use boltzflow::{
    end_interrupt, interrupt, is_interrupted, Ending, Error, EvaluationError, Potential, Recipe,
    Registry, RunFolder, System, Target, Training,
};

/// An interrupt ends all work of this process: one test at a time.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// DW4 that asks for batches of a size and writes down what it gets.
struct Asking {
    potential: Arc<dyn Potential>,
    batch: usize,
    calls: Arc<Mutex<Vec<usize>>>,
}

impl Potential for Asking {
    fn system(&self) -> System {
        self.potential.system()
    }

    fn batch_size(&self) -> usize {
        self.batch
    }

    fn energy_and_gradient(&self, x: &[f64], gradient: &mut [f64]) -> Result<f64, EvaluationError> {
        self.potential.energy_and_gradient(x, gradient)
    }

    fn energies_and_gradients(
        &self,
        x: &[f64],
        energies: &mut [f64],
        gradients: &mut [f64],
    ) -> Result<usize, EvaluationError> {
        self.calls.lock().unwrap().push(energies.len());
        self.potential.energies_and_gradients(x, energies, gradients)
    }
}

fn dw4() -> Target {
    Registry::builtin().load("dw4").unwrap()
}

fn recipe(objective: &str, steps: usize) -> Recipe {
    let text = format!(
        "format = 1\ntarget = \"dw4\"\n[flow]\naugmentation_scale = 0.2\nbase_scale = 1.5\n\
         [[flow.layers]]\ncoupling = \"pairwise\"\nrepeat = 2\nwidth = 4\n[train]\nobjective = \
         \"{objective}\"\nsteps = {steps}\nbatch_size = 96\n[evaluate]\nsamples = 300\n\
         every_steps = 2\n"
    );
    Recipe::from_text(&text, Path::new("recipe.toml")).unwrap()
}

#[test]
fn a_potential_gets_batches_of_the_size_that_it_asks_for() {
    let _alone = alone();
    // Samples that are annealed, and the largest call.
    let annealed = |batch: usize| {
        let calls = Arc::new(Mutex::new(Vec::new()));
        let asking = Asking { potential: dw4().potential, batch, calls: calls.clone() };
        // As it reaches a training, behind pointers and known structures.
        let potential = Arc::new(WithStructures::new(Box::new(asking), Vec::new()));
        let problem = recipe("fab", 1).problem(potential).unwrap();
        let theta = vec![0.0; problem.flow.layout().total()];
        let annealing = Annealing { intermediate: 2, leapfrog_steps: 2, alpha: 2.0 };
        let mut sizes = StepSizes::new(2, 0.05);
        let streams = (Purpose::Annealing, 0);
        let found = problem.anneal(&theta, annealing, 200, streams, &mut sizes).unwrap();
        let largest = calls.lock().unwrap().iter().copied().max().unwrap();
        (found.joint, found.log_weights, largest)
    };
    let (joint, log_weights, largest) = annealed(1);
    assert_eq!(largest, 16);
    for (batch, expected) in [(50, 64), (128, 128), (1000, 200), (usize::MAX, 200)] {
        let (other, other_weights, largest) = annealed(batch);
        assert_eq!(largest, expected);
        assert!(joint == other && log_weights == other_weights);
    }
}

#[test]
fn trainings_and_the_reference_sampler_ask_for_whole_batches() {
    let _alone = alone();
    for objective in ["fab", "reverse_kl"] {
        let calls = Arc::new(Mutex::new(Vec::new()));
        let asking = Asking { potential: dw4().potential, batch: 1024, calls: calls.clone() };
        let mut training = Training::new(recipe(objective, 2), asking).unwrap();
        training.run(|_| {}).unwrap();
        let calls = std::mem::take(&mut *calls.lock().unwrap());
        // A batch, the evaluation, its annealed samples, and one of these by which steps adapt.
        assert!([96, 300, 30].iter().all(|size| calls.contains(size)), "{objective}");
        assert!(calls.iter().all(|size| [1, 30, 96, 300].contains(size)), "{objective}: {calls:?}");
    }
}

#[test]
fn an_interrupt_stops_a_training_until_it_is_over() {
    let _alone = alone();
    let mut training = Training::new(recipe("fab", 3), dw4()).unwrap();
    let ending = training.run(|progress| {
        if progress.step == 1 {
            interrupt();
        }
    });
    assert_eq!(ending.unwrap(), Ending::Stopped);
    assert!(is_interrupted() && training.state().step == 1);
    assert!(matches!(training.step(), Err(Error::Stopped(_))));
    assert_eq!(training.state().step, 1);
    end_interrupt();
    assert_eq!(training.run(|_| {}).unwrap(), Ending::Finished);
    let mut whole = Training::new(recipe("fab", 3), dw4()).unwrap();
    whole.run(|_| {}).unwrap();
    assert_eq!(training.trained().unwrap().theta, whole.trained().unwrap().theta);
}

#[test]
fn a_training_in_memory_has_the_metrics_that_one_in_a_folder_writes() {
    let _alone = alone();
    let place = tempfile::tempdir().unwrap();
    let trained = |folder: Option<RunFolder>, steps| {
        let mut training = Training::new(recipe("fab", steps), dw4()).unwrap();
        folder.into_iter().for_each(|folder| training.create_in(folder).unwrap());
        training.run(|_| {}).unwrap();
        (training.metrics().unwrap(), training.trained().unwrap(), training.evaluation().unwrap())
    };
    let (memory, flow, evaluation) = trained(None, 4);
    let (folder, ..) = trained(Some(RunFolder::create(place.path().join("run")).unwrap()), 4);
    let lasting = |rows: &[MetricsRow]| -> Vec<(u64, Option<f64>, Option<f64>, u64)> {
        let of = |r: &MetricsRow| (r.step, r.loss, r.reverse_ess, r.energy_evaluations);
        rows.iter().map(of).collect()
    };
    assert_eq!(lasting(&memory), lasting(&folder));
    assert_eq!(lasting(&flow.metrics().unwrap()), lasting(&folder));
    assert_ne!(lasting(&trained(None, 3).0), lasting(&folder));

    let verdict = flow.verdict(&evaluation);
    let share = format!("{:.1} %", 100.0 * evaluation.reverse_ess);
    assert!(verdict.sentences[0].contains(&share), "{:?}", verdict.sentences);
    assert!(verdict.sentences[1].contains("29.667"), "{:?}", verdict.sentences);
    let pictures = place.path().join("figures");
    flow.draw(&pictures, |_| Ok(())).unwrap();
    assert!(pictures.join("ess.svg").exists() && pictures.join("loss.png").exists());
}
