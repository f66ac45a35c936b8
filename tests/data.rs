//! Data from other programs: extended XYZ files, maximum likelihood on data, and the weights on x
//! alone.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use boltzflow::config::{load_target, EvaluateOptions, Recipe, Registry};
use boltzflow::error::{Error, EvaluationError};
use boltzflow::evaluation::{evaluate, likelihood, Evaluation, EvaluationOptions};
use boltzflow::flow::{Flow, FlowOptions, LayerGroup, PairwiseOptions};
use boltzflow::potential::Potential;
use boltzflow::random::{stream, Purpose};
use boltzflow::run::{load_model, read_metrics, RunFolder};
use boltzflow::samples::{read_samples, write_samples, Particles, Samples};
use boltzflow::sampling::AugmentedTarget;
use boltzflow::session::{Ending, Training};
use boltzflow::system::System;
use boltzflow::train::Problem;
use rand_distr::{Distribution, StandardNormal};

const SYMBOLS: [&str; 3] = ["Ar", "Ar", "Ne"];

/// Two frames as ASE writes them, the forces before and a number after the positions.
fn good() -> String {
    let frame = |shift: f64| {
        let head =
            "3\nProperties=species:S:1:forces:R:3:pos:R:3:id:I:1 energy=-1.5 pbc=\"F F F\"\n";
        let atoms = SYMBOLS.iter().enumerate().map(|(i, symbol)| {
            let x = i as f64 + shift;
            format!("{symbol} 0.1 0.2 0.3   {x} {} -1.5e-1  {i}\n", 2.0 * x)
        });
        format!("{head}{}", atoms.collect::<String>())
    };
    frame(0.0) + &frame(0.5)
}

#[test]
fn extended_xyz_is_read_and_what_it_is_not_is_refused_with_frame_and_atom() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("frames.xyz");
    let system = System::new(3, 3).unwrap();
    let read = |text: &str, names: &[&str]| {
        fs::write(&path, text).unwrap();
        let names = names.iter().map(|name| name.to_string()).collect();
        read_samples(&path, Particles { names, ..system.into() })
    };
    let samples = read(&good(), &SYMBOLS).unwrap();
    assert_eq!(samples.count(system), 2);
    assert_eq!(samples.positions[..6], [0.0, 0.0, -0.15, 1.0, 2.0, -0.15]);
    assert_eq!(samples.positions[9..12], [0.5, 1.0, -0.15]);
    assert!(samples.log_weights.is_empty());
    assert_eq!(read(&(good() + "\n\n"), &SYMBOLS).unwrap(), samples);

    // The plain format, and weights.
    let plain = "3\nlog_weight=-0.5\nX 0 1 2\nX 3 4 5\nX 6 7 8\n";
    let samples = read(plain, &[]).unwrap();
    assert_eq!(samples.positions, (0..9).map(f64::from).collect::<Vec<_>>());
    assert_eq!(samples.log_weights, [-0.5]);

    let swapped = good().replacen("Ne 0.1 0.2 0.3   2.5", "Ar 0.1 0.2 0.3   2.5", 1);
    let cut = &good()[..good().rfind("Ne").unwrap()];
    for (text, names, words) in [
        (swapped.as_str(), &SYMBOLS[..], &["frame 1", "atom 2", "`Ar`", "`Ne`", "order"][..]),
        (cut, &SYMBOLS, &["frame 1", "atom 2", "cut off"]),
        (&good().replace("3\nProp", "4\nProp"), &SYMBOLS, &["frame 0", "4 atoms", "has 3"]),
        (&good().replace("   1.5", "   nan"), &SYMBOLS, &["frame 1", "atom 1", "NaN"]),
        (&good().replace("   1.5", "   1.5.5"), &SYMBOLS, &["frame 1", "atom 1", "1.5.5"]),
        (&good().replace(" -1.5e-1  2\n", "\n"), &SYMBOLS, &["frame 0", "atom 2", "6 of 8"]),
        (&good(), &["Ar", "Ne", "Ne"], &["frame 0", "atom 1", "`Ne`", "order"]),
        (&good(), &["A", "B", "B"], &["frame 0", "atom 1", "unlike", "order"]),
        (&good(), &[], &["frame 0", "atom 2", "alike"]),
        (&good().replace("pos:R:3", "pos:R:5"), &SYMBOLS, &["frame 0", "pos:R:5"]),
        (&good().replace("species:S:1", "names:S:1"), &SYMBOLS, &["frame 0", "names"]),
        (&good().replacen("3\n", "three\n", 1), &SYMBOLS, &["frame 0", "three"]),
        (&good().replacen("3\n", "\u{1}three\n", 1), &SYMBOLS, &["frame 0", "U+0001"]),
        (&format!("{plain}{}", plain.replace("log_weight", "w")), &[], &["frame 1", "log_weight"]),
        ("", &[], &["no frames"]),
    ] {
        let error = read(text, names).unwrap_err();
        let said = error.to_string();
        assert!(said.contains("frames.xyz") && error.exit_code() == 2, "{said}");
        assert!(words.iter().all(|word| said.contains(word)), "{words:?}: {said}");
    }
    let endless = format!("3\n{}", "x".repeat(1 << 20));
    assert!(read(&endless, &[]).unwrap_err().to_string().contains("65536 bytes"));

    // A plane in a format of three dimensions.
    let plane = System::new(3, 2).unwrap();
    let flat = "3\n\nX 0 1\nX 3 4\nX 6 7\n";
    let spatial = "3\nProperties=species:S:1:pos:R:3\nX 0 1 0\nX 3 4 0\nX 6 7 0\n";
    for text in [flat, spatial] {
        fs::write(&path, text).unwrap();
        let samples = read_samples(&path, plane).unwrap();
        assert_eq!(samples.positions, [0.0, 1.0, 3.0, 4.0, 6.0, 7.0]);
    }
    let plain = "3\n\nX 0 1 0\nX 3 4 0.0\nX 6 7 -0e0\n";
    fs::write(&path, plain).unwrap();
    assert_eq!(read_samples(&path, plane).unwrap().positions, [0.0, 1.0, 3.0, 4.0, 6.0, 7.0]);
    for text in [spatial.replace("4 0", "4 2"), plain.replace("4 0.0", "4 2")] {
        fs::write(&path, text).unwrap();
        let said = read_samples(&path, plane).unwrap_err().to_string();
        assert!(said.contains("frame 0, atom 1") && said.contains("plane"), "{said}");
    }
}

fn recipe(data: &Path, options: &str) -> Recipe {
    let text = format!(
        "format = 1\ntarget = \"dw4\"\n\
         [flow]\naugmentation_scale = 0.3\nbase_scale = 1.5\n\
         [[flow.layers]]\ncoupling = \"pairwise\"\nrepeat = 2\nwidth = 8\nbasis = 8\n\
         [train]\nobjective = \"max_likelihood\"\nsteps = 120\nbatch_size = 32\nema_decay = 0.0\n\
         learning_rate = {{ initial = 5e-3, peak = 5e-3, final = 5e-3, warm_up_steps = 1 }}\n\
         [train.max_likelihood]\ndata = \"{}\"\n{options}",
        data.display()
    );
    Recipe::from_text(&text, Path::new("recipe.toml")).unwrap()
}

fn dw4() -> System {
    System::new(4, 2).unwrap()
}

fn problem(recipe: &Recipe) -> Problem {
    recipe.problem(Registry::builtin().load(&recipe.target).unwrap().potential).unwrap()
}

/// So few points that the flow overfits them.
fn few_points(path: &Path) -> Vec<f64> {
    let system = System::new(4, 2).unwrap();
    let mut rng = stream(4, Purpose::Data, 0, 0);
    let mut x: Vec<f64> =
        (0..20 * 8).map(|_| 1.5 * Distribution::<f64>::sample(&StandardNormal, &mut rng)).collect();
    x.chunks_exact_mut(8).for_each(|x| system.remove_center_of_mass(x));
    let samples = Samples { positions: x.clone(), ..Samples::default() };
    write_samples(path, system, 20, [Ok(samples)]).unwrap();
    x
}

#[test]
fn the_model_of_the_best_validation_is_kept() {
    let place = tempfile::tempdir().unwrap();
    let data = place.path().join("data.npy");
    let all = few_points(&data);
    let recipe = recipe(&data, "validation = 0.25");
    let problem = problem(&recipe);
    let trainer = recipe.trainer(&problem, problem.flow.system()).unwrap();
    let same = |x: &[f64], y: &[f64]| x.iter().zip(y).all(|(x, y)| (x - y).abs() < 1e-12);
    // Five of the twenty, the same ones again, others for another seed.
    let held_back = trainer.validation();
    assert_eq!(held_back.len(), 5 * 8);
    assert!(held_back.chunks_exact(8).all(|x| all.chunks_exact(8).any(|y| same(x, y))));
    assert_eq!(recipe.trainer(&problem, problem.flow.system()).unwrap().validation(), held_back);
    let other = Problem { seed: 1, flow: problem.flow.clone(), target: problem.target.clone() };
    assert_ne!(recipe.trainer(&other, other.flow.system()).unwrap().validation(), held_back);

    let mut short = recipe.clone();
    short.evaluate =
        EvaluateOptions { every_steps: 10, samples: 64, draws: 4, ..EvaluateOptions::default() };
    let mut training = Training::new(short, load_target("dw4").unwrap()).unwrap();
    training.create_in(RunFolder::create(place.path().join("run")).unwrap()).unwrap();
    assert_eq!(training.run(|_| {}).unwrap(), Ending::Finished);
    let (folder, state) = (training.folder().unwrap(), training.state());
    let curve: Vec<(u64, f64)> = read_metrics(folder.metrics())
        .unwrap()
        .iter()
        .filter_map(|row| Some((row.step, row.validation_nll?)))
        .collect();
    assert_eq!(curve.len(), 12);
    let best = curve.iter().copied().min_by(|a, b| a.1.total_cmp(&b.1)).unwrap();
    // Planted: the last model is another one, and worse on held-back points.
    let last = curve[11].1;
    assert!(best.0 < 120 && last > best.1 + 0.03, "{curve:?}");
    let (theta, metadata) = load_model(folder.model(), problem.flow.layout()).unwrap();
    assert_eq!(metadata.step, best.0);
    assert_eq!(training.trained().unwrap().theta, theta);
    assert_eq!(likelihood(&problem, &theta, held_back, 4, 0).0, best.1);
    assert_eq!(likelihood(&problem, &state.average, held_back, 4, 0).0, last);
    let kept: Evaluation = folder.read_evaluation().unwrap();
    assert_eq!(kept.validation_nll, Some(best.1));
    assert_eq!(training.evaluation().unwrap(), kept);
}

#[test]
fn data_that_cannot_be_trained_on_are_refused_by_file_and_key() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("data.npz");
    few_points(&path);
    let refused = |recipe: &Recipe| match recipe.trainer(&problem(recipe), dw4()) {
        Ok(_) => panic!("was taken"),
        Err(error) => error.to_string(),
    };
    let said = refused(&recipe(&path, "validation = 0.01"));
    assert!(said.contains("train.max_likelihood.validation") && said.contains("20"), "{said}");
    // Weights would be ignored without a message.
    let system = System::new(4, 2).unwrap();
    let mut samples = read_samples(&path, system).unwrap();
    samples.log_weights = vec![0.0; 20];
    write_samples(&path, system, 20, [Ok(samples)]).unwrap();
    let good = place.path().join("good.npz");
    few_points(&good);
    let named = |key: &str| recipe(&good, &format!("{key} = \"{}\"", path.display()));
    for recipe in [recipe(&path, ""), named("validation_data")] {
        let said = refused(&recipe);
        assert!(said.contains("data.npz") && said.contains("--resample"), "{said}");
    }
    let mut training = Training::new(named("test_data"), load_target("dw4").unwrap()).unwrap();
    let run = RunFolder::create(place.path().join("run")).unwrap();
    let said = training.create_in(run).unwrap_err().to_string();
    assert!(said.contains("data.npz") && said.contains("--resample"), "{said}");
    // The order of atoms in training and in validation data.
    let frames = place.path().join("frames.xyz");
    fs::write(&frames, "4\n\nA 0 1\nA 1 0\nB 1 1\nA 2 2\n").unwrap();
    let said = refused(&recipe(&frames, ""));
    assert!(said.contains("frames.xyz") && said.contains("atom 2"), "{said}");
    few_points(&path);
    let said = refused(&recipe(&path, &format!("validation_data = \"{}\"", frames.display())));
    assert!(said.contains("frames.xyz") && said.contains("atom 2"), "{said}");
    assert!(matches!(read_samples(&frames, system), Err(Error::Data { .. })));
}

/// U = |x|²/2.
struct Springs(System);

impl Potential for Springs {
    fn system(&self) -> System {
        self.0
    }

    fn energy_and_gradient(&self, x: &[f64], gradient: &mut [f64]) -> Result<f64, EvaluationError> {
        gradient.copy_from_slice(x);
        Ok(0.5 * x.iter().map(|x| x * x).sum::<f64>())
    }
}

#[test]
fn weights_on_x_alone_forget_what_the_copies_cost() {
    // The flow at its start is a Gaussian: right in x, too narrow in a.
    let system = System::new(3, 2).unwrap();
    let options = FlowOptions {
        augmentation_scale: 0.17,
        layers: vec![LayerGroup::Pairwise(PairwiseOptions {
            repeat: 1,
            width: 4,
            basis: 4,
            ..PairwiseOptions::default()
        })],
        ..FlowOptions::default()
    };
    let flow = Arc::new(Flow::<f32>::new(system, &options).unwrap());
    let target = AugmentedTarget::new(Arc::new(Springs(system)), flow.copies(), 0.2).unwrap();
    let problem = Problem { flow, target, seed: 8 };
    let theta = problem.flow.layout().initialize::<f32>(0);
    let mut rng = stream(8, Purpose::Data, 0, 0);
    let mut reference: Vec<f64> = (0..2000 * 6).map(|_| StandardNormal.sample(&mut rng)).collect();
    reference.chunks_exact_mut(6).for_each(|x| system.remove_center_of_mass(x));
    let evaluated = |draws: usize| {
        let options = EvaluationOptions {
            samples: 2000,
            draws,
            marginal: true,
            distances: 200,
            ..EvaluationOptions::default()
        };
        evaluate(&problem, &theta, Some(&reference), None, options).unwrap().0
    };
    let (one, many) = (evaluated(1), evaluated(40));
    // With one draw they are the joint weights.
    assert!((one.marginal_reverse_ess.unwrap() - one.reverse_ess).abs() < 1e-9);
    assert!((one.marginal_forward_ess.unwrap() - one.forward_ess.unwrap()).abs() < 1e-9);
    assert!(many.reverse_ess < 0.8 && many.forward_ess.unwrap() < 0.8, "{many:?}");
    for ess in [many.marginal_reverse_ess, many.marginal_forward_ess] {
        assert!((0.97..=1.0).contains(&ess.unwrap()), "{many:?}");
    }
    // Two sets of one distribution: every distance is at its floor. Planted: x twice as wide is
    // not.
    let found = many.distances.unwrap();
    assert_eq!(found.samples, 200);
    let ratio = |a: Option<f64>, b: Option<f64>| a.unwrap() / b.unwrap();
    let (flow, floor) = (&found.flow, &found.floor);
    assert!((0.8..1.25).contains(&ratio(flow.geometric_w2, floor.geometric_w2)), "{found:?}");
    assert!((0.5..2.0).contains(&ratio(flow.distance_tv, floor.distance_tv)), "{found:?}");
    reference.iter_mut().for_each(|x| *x *= 2.0);
    let options = EvaluationOptions {
        samples: 2000,
        draws: 1,
        distances: 200,
        ..EvaluationOptions::default()
    };
    let found = evaluate(&problem, &theta, Some(&reference), None, options).unwrap().0.distances;
    let found = found.unwrap();
    let (flow, floor) = (&found.flow, &found.floor);
    assert!(ratio(flow.geometric_w2, floor.geometric_w2) > 1.5, "{found:?}");
    assert!(ratio(flow.distance_tv, floor.distance_tv) > 1.3, "{found:?}");
    assert!(ratio(flow.energy_w2, floor.energy_w2) > 2.0, "{found:?}");
}
