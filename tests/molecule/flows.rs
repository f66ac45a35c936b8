//! Flows that begin with the density of a molecule: trained in seconds, resumed to the byte.

use std::path::Path;
use std::sync::atomic::Ordering;

use boltzflow::evaluation::EvaluationOptions;
use boltzflow::flow::{Flow, FlowOptions, LayerGroup, PairwiseOptions};
use boltzflow::run::RunFolder;
use boltzflow::sampling::{sample_reference, ReferenceOptions};
use boltzflow::session::Ending;
use boltzflow::train::{FabState, TrainingState};
use boltzflow::{Error, Recipe, Training};

use super::capped;

const RECIPE: &str = r#"
format = 1
target = "capped"
seed = 1
[flow.base]
kind = "molecule"
layers = 4
width = 16
bins = 4
torsion_bins = 6
[train]
objective = "fab"
steps = 60
batch_size = 128
optimizer = "soap"
learning_rate = { initial = 1e-3, peak = 5e-3, final = 1e-4, warm_up_steps = 5 }
ema_decay = 0.95
[train.fab]
updates_per_annealing = 2
[train.fab.walkers]
count = 1024
start = "reference"
from_step = 0
leapfrog_steps = 0
reuse = 2
[evaluate]
every_steps = 1000
samples = 4000
"#;

fn recipe(changes: &[(&str, &str)]) -> Recipe {
    let mut text = RECIPE.to_string();
    for (from, to) in changes {
        assert!(text.contains(from), "{from}");
        text = text.replace(from, to);
    }
    Recipe::from_text(&text, Path::new("recipe.toml")).unwrap()
}

#[test]
fn a_flow_learns_a_molecule_and_has_its_log_z() {
    let mut training = Training::new(recipe(&[]), capped()).unwrap();
    training.run(|_| ()).unwrap();
    let trained = training.trained().unwrap();
    let potential = capped().potential;
    let options = ReferenceOptions { samples: 1000, chains: 256, transitions: 150, seed: 4 };
    let reference = sample_reference(potential, options).unwrap();
    let options = EvaluationOptions { annealed_samples: 0, ..trained.evaluation_options() };
    let evaluation = trained.evaluate(Some(&reference.samples.positions), options).unwrap();
    // Its carbonyls are not kept plane, which one Gaussian for each stiff angle does not know.
    let ess = evaluation.reverse_ess;
    assert!(ess > 0.05, "reverse ESS {ess}");
    let (want, got) = (reference.report.log_z, evaluation.log_z);
    let error = reference.report.log_z_error.hypot(evaluation.log_z_error);
    assert!((want - got).abs() < 4.5 * error, "{got} against {want}, {error}");
    // Planted: a factor of two, as of a side of the mirror that is not counted, would be seen.
    assert!(2f64.ln() > 9.0 * error, "{error}");
}

#[test]
fn the_fit_and_the_walkers_continue_to_the_byte() {
    continues(("seed = 1", "seed = 1"));
    // Walkers that are hot, and keep rare angles frequent.
    let hot = "start_temperature = 2\ncooling_steps = 3\nhot_share = 0.3";
    let state = continues(("reuse = 2", hot));
    // What keeps them frequent is no part of their energies.
    let walkers = &state.own::<FabState>().unwrap().walkers;
    let potential = capped().potential;
    let mut gradient = vec![0.0; 3 * potential.system().particles()];
    let mut off = 0.0f64;
    for (x, known) in
        walkers.positions.chunks_exact(gradient.len()).zip(walkers.known.as_ref().unwrap())
    {
        let mut x = x.to_vec();
        off = off.max((potential.energy_and_gradient(&x, &mut gradient).unwrap() + known).abs());
        // Planted: another configuration.
        x[0] += 0.1;
        assert!((potential.energy_and_gradient(&x, &mut gradient).unwrap() + known).abs() > 1e-3);
    }
    assert!(off < 1e-8, "{off}");
}

fn continues(change: (&str, &str)) -> TrainingState {
    let folder = tempfile::tempdir().unwrap();
    let short = [("steps = 60", "steps = 6"), change];
    let mut straight = Training::new(recipe(&short), capped()).unwrap();
    straight.run(|_| ()).unwrap();
    let parts = folder.path().join("parts");
    let mut first = Training::new(recipe(&short), capped()).unwrap();
    first.create_in(RunFolder::create(&parts).unwrap()).unwrap();
    let stop = first.stop_flag();
    let ending = first.run(|at| stop.store(at.step >= 2, Ordering::Relaxed)).unwrap();
    assert_eq!(ending, Ending::Stopped);
    drop(first);
    let mut second = Training::new(recipe(&short), capped()).unwrap();
    second.resume_in(RunFolder::open(&parts).unwrap()).unwrap();
    second.run(|_| ()).unwrap();
    assert!(second.state() == straight.state(), "the states differ");
    // Planted: with another seed they do.
    let mut other =
        Training::new(recipe(&[short[0], change, ("seed = 1", "seed = 2")]), capped()).unwrap();
    other.run(|_| ()).unwrap();
    assert!(other.state() != straight.state());
    straight.state().clone()
}

#[test]
fn reverse_kl_and_pairwise_layers_start_from_the_fit() {
    let layers = "[[flow.layers]]\ncoupling = \"pairwise\"\nrepeat = 1\nwidth = 4\nbasis = 4\n";
    let train = RECIPE.split("[train]").nth(1).unwrap().split("[evaluate]").next().unwrap();
    let changes = [
        (train, "\nobjective = \"reverse_kl\"\nsteps = 5\nbatch_size = 128\n"),
        ("[train]", &format!("{layers}[train]")),
    ];
    let mut training = Training::new(recipe(&changes), capped()).unwrap();
    training.run(|_| ()).unwrap();
    let trained = training.trained().unwrap();
    let options = EvaluationOptions { annealed_samples: 0, ..trained.evaluation_options() };
    let ess = trained.evaluate(None, options).unwrap().reverse_ess;
    assert!(ess > 0.01, "reverse ESS {ess}: the fit alone has more");
}

#[test]
fn particles_that_are_no_molecule_are_refused() {
    let pair = LayerGroup::Pairwise(PairwiseOptions::default());
    for layers in [vec![], vec![pair]] {
        let mut options = FlowOptions { layers, ..FlowOptions::default() };
        options.base.kind = boltzflow::flow::BaseKind::Molecule;
        options.augmented_copies = usize::from(!options.layers.is_empty());
        let system = boltzflow::System::new(4, 3).unwrap();
        let Err(Error::Parameter { field, problem }) = Flow::<f32>::new(system, &options) else {
            panic!("a flow of no molecule");
        };
        assert!(field == "flow.base.kind" && problem.contains("structure"), "{field} {problem}");
    }
}
