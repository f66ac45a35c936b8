//! The free energy of a Lennard-Jones crystal from the harmonic crystal alone, against values that
//! others have published (Wirnsberger et al., arXiv 2111.08696) or that follow from theirs.

use std::path::Path;
use std::sync::Arc;

use boltzflow::config::Registry;
use boltzflow::crystal::Lattice;
use boltzflow::evaluation::{estimate, evaluate, Observable};
use boltzflow::flow::{BaseKind, BaseOptions, FlowOptions, LayerGroup, PairwiseOptions};
use boltzflow::potential::{crystal_of, Potential};
use boltzflow::random::{stream, Purpose};
use boltzflow::samples::{read_samples, write_samples, Particles};
use boltzflow::session::choose_recipe;
use boltzflow::{EvaluationOptions, Recipe, Samples, System, Target};
use rand::Rng;
use rand_distr::{Distribution, StandardNormal};

/// A face-centred cubic crystal at density 1.28, in units of ε and σ, with r_c = 2.7 σ.
fn text(n: usize, temperature: f64) -> String {
    let edge = (n as f64 / 1.28).cbrt();
    let r_m = 2f64.powf(1.0 / 6.0);
    format!(
        "format = 1\nname = \"crystal\"\nkind = \"lennard_jones\"\nparticles = {n}\n\
         dimension = 3\nepsilon = 1.0\nr_m = {r_m}\ntrap = 0.0\ncutoff = 2.7\n\
         box = [{edge}, {edge}, {edge}]\ntemperature = {temperature}\n\
         [[structure]]\nlattice = \"fcc\"\n"
    )
}

fn target(text: &str) -> Result<Target, boltzflow::Error> {
    Registry::builtin().target_from_text(text, Path::new("crystal.toml"))
}

fn recipe() -> Recipe {
    let base = BaseOptions { kind: BaseKind::Crystal, ..BaseOptions::default() };
    let flow =
        FlowOptions { base, layers: Vec::new(), augmented_copies: 0, ..FlowOptions::default() };
    Recipe { flow, ..Recipe::default() }
}

/// βF/N of the harmonic crystal: log Z = −U(sites) − log p(sites), p being its density.
fn harmonic(potential: &Arc<dyn Potential>) -> f64 {
    let crystal = crystal_of(&**potential).unwrap();
    let problem = recipe().problem(potential.clone()).unwrap();
    let theta = problem.flow.layout().initialize::<f32>(0);
    let mut log_prob = [0.0];
    problem.flow.log_prob(&theta, crystal.sites(), &mut log_prob);
    let mut gradient = vec![0.0; crystal.sites().len()];
    let energy = potential.energy_and_gradient(crystal.sites(), &mut gradient).unwrap();
    assert!(gradient.iter().all(|g| g.abs() < 1e-6));
    crystal.free_energy(-energy - log_prob[0])
}

#[test]
fn harmonic_crystals_have_the_free_energies_of_their_phonons() {
    for (n, known) in [(256, 2.98481), (500, 2.99968)] {
        let found = harmonic(&target(&text(n, 2.0)).unwrap().potential);
        assert!((found - known).abs() < 1e-5, "{n}: {found}");
    }
    // Without the shift of its pairs a crystal of 256 has another one.
    let uncut = text(256, 2.0).replace("cutoff = 2.7", "cutoff = 2.6");
    let planted = harmonic(&target(&uncut).unwrap().potential);
    assert!((planted - 2.98481).abs() > 1e-3, "{planted}");
}

/// βF/N and its error by weights of draws of the harmonic crystal, and its effective sample size.
fn by_weights(potential: &Arc<dyn Potential>, samples: usize) -> (f64, f64, f64) {
    let problem = recipe().problem(potential.clone()).unwrap();
    let theta = problem.flow.layout().initialize::<f32>(0);
    let options = EvaluationOptions { samples, ..EvaluationOptions::default() };
    let (found, _) = evaluate(&problem, &theta, None, None, options).unwrap();
    let error = found.free_energy_per_particle_error.unwrap();
    (found.free_energy_per_particle.unwrap(), error, found.reverse_ess)
}

#[test]
fn a_cold_crystal_is_harmonic_and_warms_in_proportion() {
    let mut differences = Vec::new();
    for temperature in [0.002, 0.008] {
        let potential = target(&text(256, temperature)).unwrap().potential;
        let (found, error, ess) = by_weights(&potential, 4096);
        let difference = found - harmonic(&potential);
        println!("{temperature}: {difference} ± {error}, ESS {ess}");
        assert!(error < 1e-4 && ess > 0.2, "{temperature}: ± {error}, ESS {ess}");
        assert!(difference.abs() < 3e-4 * temperature / 0.002, "{temperature}: {difference}");
        differences.push((difference, error));
    }
    let [(first, first_error), (second, second_error)] = differences[..] else { panic!() };
    let error = 4.0 * first_error + second_error;
    assert!((second - 4.0 * first).abs() < 4.5 * error, "{first} {second} ± {error}");
    assert!(second > 9.0 * second_error, "{second} ± {second_error}");
}

#[test]
fn a_uniform_gas_has_a_flat_radial_distribution() {
    let system = System::new(30, 3).unwrap().in_box(&[2.0, 3.0, 2.5]).unwrap();
    let mut rng = stream(0, Purpose::Data, 0, 0);
    let positions: Vec<f64> =
        (0..2500 * 30).flat_map(|_| [2.0, 3.0, 2.5].map(|edge| edge * rng.gen::<f64>())).collect();
    let batch = Samples { positions, log_weights: vec![0.0; 2500], energies: vec![0.0; 2500] };
    let observables = ["radial_distribution".parse::<Observable>().unwrap()];
    let found = estimate(system, &observables, 10, None, [Ok(batch)]).unwrap();
    let profile = &found.profiles[0];
    assert!((profile.r[9] - 0.95).abs() < 1e-9, "{:?}", profile.r);
    // 29 others at a mean density of 30; the shell of a bin is larger than that of its centre by
    // (width/r)²/12.
    let flat = |r: f64| 29.0 / 30.0 * (1.0 + (0.1 / r).powi(2) / 12.0);
    let mut worst = [0.0f64; 2];
    for ((r, g), error) in profile.r.iter().zip(&profile.density).zip(&profile.error).skip(2) {
        worst[0] = worst[0].max(((g - flat(*r)) / error).abs());
        worst[1] = worst[1].max(((g - flat(*r) * 30.0 / 29.0) / error).abs());
    }
    // Planted: a density of 29.
    assert!(worst[0] < 4.5 && worst[1] > 9.0, "{worst:?}");
    assert!(estimate(System::new(30, 3).unwrap(), &observables, 10, None, []).is_err());
}

/// Independent displacements of spread s have ⟨u²⟩ = d s² (n − 1)/n and S = 1 + (S₀ − 1) exp(−k²s²)
/// with S₀ that of the sites: n at a Bragg peak, 0 elsewhere.
#[test]
fn displacements_and_structure_factors_are_those_of_an_einstein_crystal() {
    let (n, edge, spread) = (32, 3.0, 0.1);
    let system = System::new(n, 3).unwrap().in_box(&[edge; 3]).unwrap();
    let sites = Lattice::Fcc.sites(system).unwrap();
    let mut rng = stream(1, Purpose::Data, 0, 0);
    let count = 4000;
    // Some particles have left the box by one side and not come in by the other.
    let far = |k: usize| if k.is_multiple_of(5) { edge } else { 0.0 };
    let positions: Vec<f64> = (0..count * n * 3)
        .map(|k| {
            let noise: f64 = StandardNormal.sample(&mut rng);
            sites[k % (3 * n)] + spread * noise + far(k)
        })
        .collect();
    let batch = Samples { positions, log_weights: vec![0.0; count], energies: vec![0.0; count] };
    let particles = Particles { sites: Some(sites.into()), ..Particles::from(system) };
    let names = ["mean_square_displacement", "structure_factor: 2 2 -2", "structure_factor: 1 0 0"];
    let observables = names.map(|name| name.parse::<Observable>().unwrap());
    let found = estimate(&particles, &observables, 10, None, [Ok(batch)]).unwrap();
    let wave = |squares: f64| (-(std::f64::consts::TAU * spread / edge).powi(2) * squares).exp();
    let all = n as f64;
    let expected = [
        3.0 * spread * spread * (all - 1.0) / all,
        1.0 + (all - 1.0) * wave(12.0),
        1.0 - wave(1.0),
    ];
    for ((average, expected), planted) in found.averages.iter().zip(expected).zip([1.02, 1.05, 1.2])
    {
        let off = |value: f64| ((average.mean - value) / average.error).abs();
        assert!(off(expected) < 4.0, "{average:?} {expected}");
        assert!(off(planted * expected) > 6.0, "{average:?} {expected}");
    }
    let without = estimate(system, &observables[..1], 10, None, []).unwrap_err().to_string();
    assert!(without.contains("sites"), "{without}");
    for (name, hint) in [("structure_factor: 0 0 0", "not all 0"), ("structure_factor", "4 4 4")] {
        let message = name.parse::<Observable>().unwrap_err().to_string();
        assert!(message.contains(hint), "{message}");
    }
    let flat = ["structure_factor: 1 1".parse::<Observable>().unwrap()];
    assert!(estimate(system, &flat, 10, None, []).is_err());
}

#[test]
fn frames_have_the_box_and_must_have_it() {
    let folder = std::env::temp_dir().join(format!("boltzflow-crystal-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let file = folder.join("frames.xyz");
    let system = System::new(4, 3).unwrap().in_box(&[2.0, 2.0, 2.5]).unwrap();
    let positions: Vec<f64> = (0..24).map(|k| f64::from(k % 7) * 0.25 - 0.5).collect();
    let samples = Samples { positions, ..Samples::default() };
    write_samples(&file, system, 2, [Ok(samples.clone())]).unwrap();
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(text.contains("Lattice=\"2 0 0 0 2 0 0 0 2.5\" pbc=\"T T T\""), "{text}");
    let found = read_samples(&file, system).unwrap();
    let apart: Vec<f64> =
        samples.positions.iter().zip(&found.positions).map(|(a, b)| a - b).collect();
    // But for the centre of mass, which is put at the origin.
    assert!(apart.chunks_exact(12).all(|x| x
        .chunks(3)
        .all(|r| { r.iter().zip(&x[..3]).all(|(a, b)| (a - b).abs() < 1e-12) })));
    let other = System::new(4, 3).unwrap().in_box(&[2.0, 2.0, 2.6]).unwrap();
    let message = read_samples(&file, other).unwrap_err().to_string();
    assert!(message.contains("2.6") && message.contains("Lattice"), "{message}");
    let message = read_samples(&file, System::new(4, 3).unwrap()).unwrap_err().to_string();
    assert!(message.contains("periodic"), "{message}");
    std::fs::remove_dir_all(&folder).unwrap();
}

/// A flow whose layers see the neighbours of each site, in f32: it starts as the harmonic crystal,
/// and its parameters are those of a crystal of any size.
#[test]
fn layers_start_from_the_harmonic_crystal_at_any_size() {
    let mut layouts = Vec::new();
    for n in [256, 500] {
        let potential = target(&text(n, 0.002)).unwrap().potential;
        let layers = PairwiseOptions { repeat: 2, cutoff: 1.25, ..PairwiseOptions::default() };
        let mut recipe = recipe();
        recipe.flow.layers = vec![LayerGroup::Pairwise(layers)];
        recipe.flow.augmented_copies = 1;
        recipe.flow.augmentation_scale = 0.002;
        let problem = recipe.problem(potential.clone()).unwrap();
        let theta = problem.flow.layout().initialize::<f32>(0);
        let options = EvaluationOptions { samples: 64, ..EvaluationOptions::default() };
        let (found, _) = evaluate(&problem, &theta, None, None, options).unwrap();
        let free = found.free_energy_per_particle.unwrap();
        assert!((free - harmonic(&potential)).abs() < 1e-3, "{n}: {free}");
        assert!(found.reverse_ess > 0.5 && found.compressibility_factor.is_some());
        let shapes = problem.flow.layout().tensors().iter();
        layouts.push(shapes.map(|t| (t.name.clone(), t.shape.clone())).collect::<Vec<_>>());
    }
    assert_eq!(layouts[0], layouts[1]);
}

#[test]
fn a_crystal_gets_a_recipe_from_its_sites() {
    let small = target(&text(32, 2.0).replace("cutoff = 2.7", "cutoff = 1.46")).unwrap();
    let chosen =
        choose_recipe(&small, "crystal.toml", 0.2, "boltzflow train crystal.toml").unwrap();
    let recipe = Recipe::from_text(&chosen.text, Path::new("crystal_fab.toml")).unwrap();
    assert_eq!(recipe.flow.base.kind, BaseKind::Crystal, "{}", chosen.text);
    assert_eq!(recipe.train.objective.name(), "reverse_kl", "{}", chosen.text);
    assert!(chosen.text.contains("a site sees 12."), "{}", chosen.text);
    // The middle of a/√2 and a.
    assert!(chosen.text.contains("cutoff = 1.2479"), "{}", chosen.text);
    recipe.problem(small.potential).unwrap();
}

#[test]
fn crystals_that_make_no_sense_are_refused() {
    for (wrong, hint) in [
        (text(256, 2.0).replace("particles = 256", "particles = 252"), "does not fill the box"),
        (text(256, 2.0).replace("lattice = \"fcc\"", "lattice = \"hcp\""), "hcp"),
        (text(256, 2.0).replace("lattice = \"fcc\"", ""), "needs a key `file`"),
        (text(256, 2.0).replace("r_m = 1", "r_m = 3"), "particles overlap"),
        (text(108, 2.0), "over half an edge of the box"),
        (text(256, 2.0).replace("trap = 0.0\n", ""), "`trap` is 1 in a box"),
    ] {
        let message = target(&wrong).unwrap_err().to_string();
        assert!(message.contains(hint), "{message}");
    }
    let open = boltzflow::config::load_target("lj13").unwrap();
    let message = recipe().problem(open.potential).err().unwrap().to_string();
    assert!(message.contains("no periodic box"), "{message}");
    let bare = text(256, 2.0).replace("[[structure]]\nlattice = \"fcc\"\n", "");
    let message = recipe().problem(target(&bare).unwrap().potential).err().unwrap().to_string();
    assert!(message.contains("no sites"), "{message}");
    let crystal = target(&text(256, 2.0)).unwrap();
    let message = Recipe::default().problem(crystal.potential).err().unwrap().to_string();
    assert!(message.contains("must be \"crystal\""), "{message}");
    // A lattice that shears: simple cubic Lennard-Jones.
    let sheared = text(216, 2.0).replace("fcc", "sc").replace("cutoff = 2.7", "cutoff = 1.5");
    let message = recipe().problem(target(&sheared).unwrap().potential).err().unwrap().to_string();
    assert!(message.contains("no minimum"), "{message}");
}
