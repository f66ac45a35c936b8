//! Files that a recipe names are found from any folder, by the run that copies it, too.

use super::*;

/// Recipes in `mine/recipes`, a target and data beside them; commands run in `elsewhere`.
fn project() -> (tempfile::TempDir, PathBuf, PathBuf) {
    let place = tempfile::tempdir().unwrap();
    let (recipes, elsewhere) = (place.path().join("mine/recipes"), place.path().join("elsewhere"));
    fs::create_dir_all(&recipes).unwrap();
    fs::create_dir(&elsewhere).unwrap();
    fs::write(recipes.join("pair.toml"), TARGET).unwrap();
    let text = RECIPE.replace("REFERENCE", "0");
    let fab = &text[text.find("objective").unwrap()..text.find("[evaluate]").unwrap()];
    let learned = "objective = \"max_likelihood\"\nsteps = 4\nbatch_size = 32\n\
        max_likelihood = { data = \"data.npy\", test_data = \"test.npy\" }\n";
    fs::write(recipes.join("first.toml"), &text).unwrap();
    fs::write(recipes.join("learn.toml"), text.replace(fab, learned)).unwrap();
    for name in ["data.npy", "test.npy"] {
        let positions = (0..160).map(|k| (k as f64 * 0.7).sin()).collect();
        let samples = Samples { positions, ..Samples::default() };
        write_samples(recipes.join(name), system(), 40, [Ok(samples)]).unwrap();
    }
    (place, recipes, elsewhere)
}

/// Negative log-likelihood of the recipe's test data, as `evaluate` finds it in `folder`.
fn nll(folder: &Path, run: &str) -> f64 {
    json(&succeed(folder, &["evaluate", run, "--json"]))["nll"].as_f64().unwrap()
}

#[test]
fn a_recipe_is_run_from_another_folder_and_its_runs_find_its_files() {
    let (place, recipes, elsewhere) = project();
    let recipe = "../mine/recipes/learn.toml";
    succeed(&elsewhere, &["train", recipe, "-o", "run"]);
    let found = nll(&elsewhere, "run");
    // From the run, from its parent, by an absolute path, and from a copy of the whole recipe.
    let run = elsewhere.join("run");
    assert_eq!(nll(&run, "."), found);
    assert_eq!(nll(place.path(), "elsewhere/run"), found);
    succeed(&elsewhere, &["train", "run/config.toml", "-o", "again"]);
    assert_eq!(nll(&recipes, "../../elsewhere/again"), found);
    // A run stays the same one, wherever the command is given: it is finished.
    succeed(&recipes, &["train", "learn.toml", "--seeds", "3..4"]);
    let said = succeed(&elsewhere, &["train", recipe, "--seeds", "3..4"]);
    assert!(said.contains("learn_seed3 is finished"), "{said}");
    // The model does not depend on where it was trained; the copy of the recipe does.
    assert!(fs::read_to_string(run.join("config.toml")).unwrap().contains("folders = ["));
    let model = fs::read(run.join("model.safetensors")).unwrap();
    assert!(!String::from_utf8_lossy(&model).contains("folders"));

    // Moved without its recipe, and with it.
    let moved = place.path().join("moved");
    fs::rename(&run, &moved).unwrap();
    assert_eq!(nll(place.path(), "moved"), found);
    let archive = place.path().join("archive");
    fs::rename(place.path().join("mine"), &archive).unwrap();
    assert_eq!(nll(&elsewhere, "../archive/recipes/learn_seed3"), found);
    // As ever, a run of which only the folder is left finds files in the current one.
    assert_eq!(nll(&archive.join("recipes"), "../../moved"), found);
    refuse(&elsewhere, &["evaluate", "../moved"], 2, &["test.npy", "elsewhere"]);
}

#[test]
fn files_are_looked_up_beside_the_recipe_then_in_the_current_folder() {
    let (_place, recipes, elsewhere) = project();
    let recipe = "../mine/recipes/learn.toml";
    // Both folders are named.
    let data = "train.max_likelihood.data='none.npy'";
    let words = ["none.npy", "cannot read", "mine/recipes", "elsewhere"];
    refuse(&elsewhere, &["train", recipe, "--set", data], 2, &words);
    refuse(&elsewhere, &["train", recipe, "--set", "target=none.toml"], 2, &words[1..]);
    let from = "flow.start_from='none'";
    refuse(&elsewhere, &["train", recipe, "--set", from], 2, &words[1..]);
    refuse(&recipes, &["train", "learn.toml", "--set", data], 2, &words[..3]);
    // The current folder, where the recipe's has no such file.
    fs::rename(recipes.join("data.npy"), elsewhere.join("data.npy")).unwrap();
    succeed(&elsewhere, &["train", recipe, "-o", "run"]);
    let wrong = TARGET.replace("name = \"pair\"", "name = \"other\"");
    fs::write(elsewhere.join("pair.toml"), wrong).unwrap();
    let said = succeed(&elsewhere, &["train", recipe, "-o", "other"]);
    assert!(said.contains("target pair"), "the recipe's own file comes first: {said}");
    // A training starts from a run beside its recipe.
    succeed(&recipes, &["train", "first.toml"]);
    let arguments = ["train", recipe, "-o", "second", "--set", "flow.start_from='first'"];
    succeed(&elsewhere, &arguments);
}

#[test]
fn a_new_recipe_in_a_folder_works_from_anywhere() {
    let (_place, _, elsewhere) = project();
    fs::create_dir(elsewhere.join("sub")).unwrap();
    succeed(&elsewhere, &["new", "sub/fresh"]);
    let of_target = ["--target", "../mine/recipes/pair.toml", "--minutes", "0.2"];
    succeed(&elsewhere, &[&["new", "sub/mine"][..], &of_target].concat());
    let sub = elsewhere.join("sub");
    for (name, target) in
        [("fresh.toml", "\"fresh_target.toml\""), ("mine.toml", "\"../../mine/recipes/pair.toml\"")]
    {
        let recipe = boltzflow::config::Recipe::load(sub.join(name)).unwrap();
        assert_eq!(format!("\"{}\"", recipe.target), target);
        recipe.load_target(&boltzflow::config::Registry::builtin()).unwrap();
    }
}
