//! What a trained flow draws of a chiral molecule.

use boltzflow::evaluation::{estimate, EvaluationOptions, Observable};
use boltzflow::molecule::{Chirality, Handedness};
use boltzflow::{
    DescentOptions, EvaluateOptions, Objective, Recipe, Samples, TrainOptions, Trained, Training,
};

use super::capped;

fn trained() -> Trained {
    let objective = Objective::ReverseKl(Default::default());
    let descent = DescentOptions { steps: 1, batch_size: 16, ..Default::default() };
    let recipe = Recipe {
        train: TrainOptions { objective, descent },
        evaluate: EvaluateOptions { samples: 16, draws: 1, ..Default::default() },
        ..Default::default()
    };
    let mut training = Training::new(recipe, capped()).unwrap();
    training.run(|_| ()).unwrap();
    training.trained().unwrap()
}

#[test]
fn samples_and_averages_have_the_handedness_of_the_structure() {
    let mut trained = trained();
    let molecule = trained.target.molecule.clone().unwrap();
    let same = |samples: &Samples| {
        let rows = samples.positions.chunks_exact(33);
        rows.filter(|x| molecule.handedness(x) == Handedness::Same).count()
    };
    let count = 2000;
    let handed = trained.sample(count).unwrap();
    assert_eq!(same(&handed), count);
    // Of the four groups around the centre: its sign is the handedness.
    let turn = ["dihedral: ALA:N ALA:C ALA:CB ALA:HA".parse::<Observable>().unwrap()];
    assert_eq!(trained.estimate(&turn, 100).unwrap().averages[0].unit, "degrees");
    // One sample has most of the weight after a step of training; all count the same here.
    let mean = |trained: &Trained| {
        let drawn = Samples { log_weights: vec![0.0; count], ..trained.sample(count).unwrap() };
        estimate(trained.target.particles(), &turn, 10, None, [Ok(drawn)])
            .unwrap()
            .averages
            .remove(0)
    };
    let of_one = mean(&trained);
    // Planted: as drawn, half of them are of the other handedness, and angles average differently.
    trained.chirality = Chirality::Any;
    let drawn = trained.sample(count).unwrap();
    assert!((800..1200).contains(&same(&drawn)), "{}", same(&drawn));
    let of_both = mean(&trained);
    assert!((of_both.mean - of_one.mean).abs() > 9.0 * of_one.error, "{of_both:?} {of_one:?}");
    // Mirrored, not replaced: distances from the centre, weights and energies are the same.
    assert!(handed.positions.iter().zip(&drawn.positions).all(|(a, b)| a.abs() == b.abs()));
    assert_eq!(handed.log_weights, drawn.log_weights);
    assert_eq!(handed.energies, drawn.energies);
    // What an evaluation says of weights does not depend on it.
    let options = EvaluationOptions { annealed_samples: 0, ..trained.evaluation_options() };
    let ess = |trained: &Trained| trained.evaluate(None, options).unwrap().reverse_ess;
    let any = ess(&trained);
    trained.chirality = Chirality::Structure;
    assert_eq!(ess(&trained), any);
}

#[test]
fn figures_of_a_molecule_are_drawn() {
    let mut trained = trained();
    trained.recipe.evaluate.samples = 500;
    trained.recipe.evaluate.reference_samples = 0;
    let folder = tempfile::tempdir().unwrap();
    trained.draw(folder.path(), |_| Ok(())).unwrap();
    for name in ["ramachandran_ALA2", "torsions", "bonds", "angles"] {
        for end in ["svg", "png"] {
            let file = folder.path().join(format!("{name}.{end}"));
            assert!(file.metadata().unwrap().len() > 5000, "{name}.{end}");
        }
    }
    let torsions = std::fs::read_to_string(folder.path().join("torsions.svg")).unwrap();
    assert!(torsions.contains("φ ALA2 / degrees") && torsions.contains("O–C–N–CA"));
    let bonds = std::fs::read_to_string(folder.path().join("bonds.svg")).unwrap();
    assert!(bonds.contains("C–N / Å"), "no unit");
}
