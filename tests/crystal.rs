//! The free energy of a Lennard-Jones crystal from the harmonic crystal alone, against values that
//! others have published (Wirnsberger et al., arXiv 2111.08696) or that follow from theirs.

use std::path::Path;
use std::sync::Arc;

use boltzflow::config::Registry;
use boltzflow::evaluation::evaluate;
use boltzflow::flow::{BaseKind, BaseOptions, FlowOptions};
use boltzflow::potential::{crystal_of, Potential};
use boltzflow::{EvaluationOptions, Recipe, Target};

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
fn crystals_that_make_no_sense_are_refused() {
    for (wrong, hint) in [
        (text(256, 2.0).replace("particles = 256", "particles = 252"), "does not fill the box"),
        (text(256, 2.0).replace("lattice = \"fcc\"", "lattice = \"hcp\""), "hcp"),
        (text(256, 2.0).replace("lattice = \"fcc\"", ""), "needs one key"),
        (text(256, 2.0).replace("r_m = 1", "r_m = 3"), "particles overlap"),
        (text(108, 2.0), "over half an edge of the box"),
        (text(256, 2.0).replace("trap = 0.0\n", ""), "`trap` is 1 in a box"),
    ] {
        let message = target(&wrong).unwrap_err().to_string();
        assert!(message.contains(hint), "{message}");
    }
    let open = boltzflow::config::load_target("lj13").unwrap();
    let message = recipe().problem(open.potential).err().unwrap().to_string();
    assert!(message.contains("no sites"), "{message}");
    let crystal = target(&text(256, 2.0)).unwrap();
    let message = Recipe::default().problem(crystal.potential).err().unwrap().to_string();
    assert!(message.contains("must be \"crystal\""), "{message}");
    // A lattice that shears: simple cubic Lennard-Jones.
    let sheared = text(216, 2.0).replace("fcc", "sc").replace("cutoff = 2.7", "cutoff = 1.5");
    let message = recipe().problem(target(&sheared).unwrap().potential).err().unwrap().to_string();
    assert!(message.contains("no minimum"), "{message}");
}
