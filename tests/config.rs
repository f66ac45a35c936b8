//! Files that a user writes: the good ones load and survive a round trip, the bad ones get a
//! message that names the file, the key and what would be right.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use boltzflow::config::{builtin_targets, load_target, parameters, Recipe, Registry};
use boltzflow::error::Error;
use boltzflow::flow::LayerGroup;
use boltzflow::potential::{LennardJones, LennardJonesParameters, Potential};
use boltzflow::train::Objective;

/// The TOML files of a folder of the repository, sorted.
fn files(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "toml"))
        .collect();
    files.sort();
    assert!(!files.is_empty());
    files
}

/// What a run does with a file first: loads it, and the target that a recipe names.
fn load(path: &Path) -> Result<(), Error> {
    let name = path.file_name().unwrap().to_str().unwrap();
    if name.starts_with("target_") {
        load_target(path.to_str().unwrap()).map(|_| ())
    } else {
        let recipe = Recipe::load(path)?;
        load_target(&recipe.target).map(|_| ())
    }
}

/// The problem with a bad file's message, if there is one.
fn complain(path: &Path) -> Result<(), String> {
    let text = std::fs::read_to_string(path).unwrap();
    let expected = text.lines().next().and_then(|line| line.strip_prefix("# error: "));
    let expected = expected.ok_or("the first line has no `# error: …`")?;
    let error = load(path).err().ok_or("it loads")?;
    let message = error.to_string();
    if error.exit_code() != 2 {
        return Err(format!("exit code {}", error.exit_code()));
    }
    if !message.contains(expected) {
        return Err(format!("\n  expected: {expected}\n  message:  {message}"));
    }
    if matches!(error, Error::Config { .. }) && !message.starts_with(path.to_str().unwrap()) {
        return Err(format!("the file is not named: {message}"));
    }
    if message.contains('\n') {
        return Err(format!("more than one line: {message}"));
    }
    Ok(())
}

#[test]
fn every_good_file_loads() {
    for path in files("tests/config/good") {
        if let Err(error) = load(&path) {
            panic!("{error}");
        }
    }
}

#[test]
fn every_bad_file_gets_its_message() {
    let complaints: Vec<String> = files("tests/config/bad")
        .iter()
        .filter_map(|path| complain(path).err().map(|e| format!("{}: {e}", path.display())))
        .collect();
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
    // The check itself finds a file that loads, and a message that is not the expected one.
    let folder = tempfile::tempdir().unwrap();
    for text in [
        "# error: is missing\nformat = 1\ntarget = \"dw4\"\n",
        "# error: `seed` is missing\nformat = 1\n",
    ] {
        let path = folder.path().join("planted.toml");
        std::fs::write(&path, text).unwrap();
        assert!(complain(&path).is_err());
    }
}

#[test]
fn a_missing_file_is_named() {
    for error in [
        Recipe::load("no/such/recipe.toml").unwrap_err(),
        load_target("no/such/target.toml").unwrap_err(),
    ] {
        assert!(error.to_string().contains("cannot read no/such/"), "{error}");
        assert_eq!(error.exit_code(), 2);
    }
}

#[test]
fn resolved_recipes_load_to_the_identical_recipe() {
    let recipes = files("runs")
        .into_iter()
        .chain(files("runs/paper"))
        .chain(files("tests/config/good"))
        .filter(|path| !path.file_name().unwrap().to_str().unwrap().starts_with("target_"));
    for path in recipes {
        let recipe = Recipe::load(&path).unwrap();
        let text = recipe.to_toml().unwrap();
        let again = Recipe::from_text(&text, Path::new("resolved.toml")).unwrap();
        assert_eq!(recipe, again, "{text}");
        assert_eq!(text, again.to_toml().unwrap());
    }
}

#[test]
fn what_a_recipe_says_arrives_and_the_rest_is_spelled_out() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/config/good");
    let recipe = Recipe::load(folder.join("recipe_everything.toml")).unwrap();
    assert_eq!((recipe.seed, recipe.flow.augmentation_scale), (7, 1.0));
    assert_eq!(recipe.train.descent.learning_rate.last, 0.0);
    let Objective::ReverseKl(options) = &recipe.train.objective else { panic!() };
    assert_eq!(options.core.as_ref().unwrap().final_radius, 0.5);
    let [LayerGroup::Vector(vector), LayerGroup::Pairwise(pairwise)] = &recipe.flow.layers[..]
    else {
        panic!()
    };
    assert_eq!((vector.repeat, vector.vector_channels), (2, Some(5)));
    assert_eq!((pairwise.repeat, pairwise.message_passes), (3, 2));

    let smallest = Recipe::load(folder.join("recipe_smallest.toml")).unwrap();
    let text = smallest.to_toml().unwrap();
    for line in ["format = 1", "seed = 0", "leapfrog_steps = 5", "cutoff = 8.0", "samples = 10000"]
    {
        assert!(text.contains(line), "{line} is not in\n{text}");
    }
}

#[test]
fn builtin_targets_are_the_files_of_the_folder() {
    let listed = builtin_targets().unwrap();
    let on_disk: Vec<String> = files("targets")
        .iter()
        .map(|path| {
            let target = load_target(path.to_str().unwrap()).unwrap();
            assert_eq!(path.file_stem().unwrap().to_str().unwrap(), target.name);
            assert_eq!(target.text, load_target(&target.name).unwrap().text);
            target.name
        })
        .collect();
    assert_eq!(listed.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>(), on_disk);
    assert!(listed.iter().all(|(_, description)| !description.is_empty()));

    let dw4 = load_target("dw4").unwrap();
    assert_eq!((dw4.potential.system().particles(), dw4.known.log_z), (4, Some(29.667)));
    assert_eq!(load_target("lj55").unwrap().known.log_z, None);
}

#[test]
fn a_kind_of_ones_own_is_one_line_and_its_errors_name_the_file() {
    let registry = Registry::builtin().with("argon", |table| {
        #[derive(serde::Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Argon {
            particles: usize,
        }
        let Argon { particles } = parameters(table)?;
        Ok(Arc::new(LennardJones::new(LennardJonesParameters::new(particles, 3, 2.0))?))
    });
    let load = |particles: &str| {
        let text = format!("format = 1\nname = \"a\"\nkind = \"argon\"\n{particles}");
        registry.target_from_text(&text, Path::new("argon.toml"))
    };
    assert_eq!(load("particles = 7").unwrap().potential.system().particles(), 7);
    for (text, message) in [
        ("particles = 1", "argon.toml: `particles` is 1"),
        ("particels = 7", "argon.toml: unknown key `particels`: did you mean `particles`?"),
    ] {
        assert!(load(text).unwrap_err().to_string().starts_with(message));
    }
    assert!(load_target("dw4").is_ok() && registry.load("dw4").is_ok());
}
