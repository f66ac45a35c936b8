//! Files that a user writes: the good ones load and survive a round trip, the bad ones get a
//! message that names the file, the key and what would be right.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use boltzflow::config::{builtin_targets, load_target, parameters, Recipe, Registry};
use boltzflow::error::Error;
use boltzflow::flow::{BaseOptions, LayerGroup};
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
        Recipe::load(path)?.load_target(&Registry::builtin()).map(|_| ())
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

#[test]
fn a_target_says_its_temperature() {
    let temperature = |rest: &str| {
        let text = format!(
            "format = 1\nname = 'a'\nkind = 'formula'\ndimension = 3\n\
            particles = 2\npair = 'r^2'\n{rest}"
        );
        Registry::builtin().target_from_text(&text, Path::new("a.toml")).unwrap().temperature()
    };
    for (rest, expected) in [
        (
            "temperature = '300 K'\nunits = { energy = 'kJ/mol', length = 'nm' }",
            "T = 300 K, kT = 2.4943 kJ/mol",
        ),
        (
            "temperature = '25 meV'\nunits = { energy = 'eV', length = 'A' }",
            "T = 290.11 K, kT = 0.025 eV",
        ),
        ("temperature = 2.5", "kT = 2.5 in the file's unit of energy"),
    ] {
        assert_eq!(temperature(rest).as_deref(), Some(expected));
    }
    assert_eq!(temperature(""), None);
    let text = "format = 1\nname = 'a'\nkind = 'ipi'\naddress = '127.0.0.1:0'\n\
        species = ['H', 'H']\nlength = '1 A'\ntemperature = '100 K'\n";
    let target = Registry::builtin().target_from_text(text, Path::new("a.toml")).unwrap();
    assert_eq!(target.temperature().as_deref(), Some("T = 100 K, kT = 0.83145 kJ/mol"));
}

#[test]
fn structures_are_read_centred_and_come_with_the_text() {
    let file =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/config/good/target_structures.toml");
    let target = load_target(file.to_str().unwrap()).unwrap();
    let structures = target.potential.structures();
    assert_eq!(structures.len(), 5);
    assert!(structures[..2] == structures[3..]);
    // In nm: from 6.5 - 5 in angstrom.
    assert!((structures[1][5] - structures[1][2] - 0.15).abs() < 1e-12, "{structures:?}");
    for x in structures {
        let center = target.potential.system().center_of_mass(x);
        assert!(center.iter().all(|c| c.abs() < 1e-12), "{center:?}");
    }
    // A run's copy stands in a folder without the files; but for `file` it is what was written.
    let again = Registry::builtin().target_from_text(&target.text, Path::new("/run/target.toml"));
    let again = again.unwrap();
    assert_eq!(again.text, target.text);
    assert!(again.potential.structures() == structures);
    assert!(target.text.contains("# the same again") && !target.text.contains("water.xyz"));
    // Names in one line, and energies that are not there yet.
    let text = "format = 1\nname = 'a'\nkind = 'ipi'\naddress = '127.0.0.1:0'\n\
        species = ['O', 'H1', 'H2']\nlength = '1 nm'\ntemperature = '100 K'\n\
        structure = [{ file = 'water.xyz' }, { file='water.xyz' }]\n";
    let ipi = Registry::builtin().target_from_text(text, &file).unwrap();
    assert!(ipi.potential.structures() == [&structures[..2], &structures[..2]].concat());
    assert!(load_target("dw4").unwrap().potential.structures().is_empty());
}

/// A number where a kind of one's own may have anything.
#[derive(Debug, PartialEq, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Own {
    strength: f64,
    label: String,
    places: Vec<f64>,
    choice: Choice,
    maybe: Option<f64>,
    pair: [usize; 2],
}

#[derive(Debug, PartialEq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
enum Choice {
    Hard,
}

#[test]
fn only_what_has_to_be_a_number_is_one() {
    let read =
        |text: &str| parameters::<Own>(&text.parse().unwrap()).map_err(|error| error.to_string());
    let text = "strength = '2 kJ/mol'\nlabel = '1 A'\nplaces = ['1 nm', 2]\nchoice = 'hard'\n\
        maybe = '180 deg'\npair = [0, 1]\nunits = { energy = 'J/mol', length = 'A' }";
    let own = read(text).unwrap();
    assert!((own.strength - 2000.0).abs() < 1e-9 && own.label == "1 A");
    assert!((own.places[0] - 10.0).abs() < 1e-9 && own.places[1] == 2.0);
    assert!(own.maybe.is_some_and(|angle| (angle - std::f64::consts::PI).abs() < 1e-12));
    for (from, to, message) in [
        ("'2 kJ/mol'", "'2 kj/mol'", "`strength` is \"2 kj/mol\": there is no unit `kj`"),
        ("'1 nm'", "'1 Nm'", "`places` is \"1 Nm\": there is no unit `Nm`"),
        ("[0, 1]", "[0, 1, 2]", "`pair`: invalid length 3"),
        ("[0, 1]", "[0, 'x']", "`pair`: invalid type: string \"x\""),
        ("'hard'", "'soft'", "`choice` is \"soft\": use one of `hard`"),
        ("label", "lable", "unknown key `lable`: did you mean `label`?"),
        ("maybe = '180 deg'", "", "fine"),
        ("choice = 'hard'", "", "`choice` is missing"),
        ("'2 kJ/mol'", "'1e308 eV'", "`strength` is \"1e308 eV\", which is"),
        (", length = 'A'", "", "`units.length` is missing"),
    ] {
        let found = read(&text.replace(from, to)).map_or_else(|e| e, |_| "fine".to_string());
        assert!(found.contains(message), "{message} is not in {found}");
    }
}

/// The keys of a recipe that have no default, with what they can be.
const NEEDED: [(&str, &str); 4] = [
    ("target", "dw4"),
    ("train.max_likelihood.data", "x.npz"),
    ("train.reverse_kl.core.radius", "1"),
    ("train.reverse_kl.core.steps", "1"),
];

/// A recipe that has the section `path`, and the needed keys but for `missing`, with `more`.
fn with_section(path: &str, missing: &str, more: &str) -> Result<toml::Value, String> {
    let mut settings = Vec::new();
    if let Some(coupling) = path.strip_prefix("flow.layers.") {
        settings.push(format!("flow.layers=[{{ coupling = \"{coupling}\" }}]"));
    }
    let objective = path.strip_prefix("train.").and_then(|path| path.split('.').next());
    if let Some(name @ ("reverse_kl" | "max_likelihood")) = objective {
        settings.push(format!("train.objective={name}"));
    }
    if path == "train.fab.walkers" {
        settings.push("train.fab.walkers={}".to_string());
    }
    for (key, value) in NEEDED {
        let section = key.rsplit_once('.').map_or("", |(section, _)| section);
        if (section.is_empty() || section == path) && key != missing {
            settings.push(format!("{key}={value}"));
        }
    }
    settings.extend((!more.is_empty()).then(|| more.to_string()));
    let recipe = Recipe::from_text_with("format = 1", Path::new("page"), &settings);
    let text = recipe.and_then(|recipe| recipe.to_toml()).map_err(|e| e.to_string())?;
    Ok(text.parse::<toml::Table>().unwrap().into())
}

/// What the page of all keys says that is not so.
fn untrue(page: &str) -> Vec<String> {
    let mut untrue = Vec::new();
    let sections: Vec<&str> = page.split("\n##").skip(1).collect();
    let quoted = |text: &str, marks: [&str; 2]| -> Vec<String> {
        let parts = text.split(marks[0]).skip(1).filter_map(|part| part.split(marks[1]).next());
        parts.map(str::to_string).collect()
    };
    let mut paths = Vec::new();
    for section in &sections {
        let (heading, _) = section.split_once('\n').unwrap();
        paths.push(match heading {
            _ if heading.contains("At the top") => vec![String::new()],
            _ if heading.contains("Coupling") => {
                let couplings = quoted(heading, ["`\"", "\"`"]);
                couplings.iter().map(|name| format!("flow.layers.{name}")).collect()
            }
            _ if heading.contains("[[") => Vec::new(),
            _ => quoted(heading, ["`[", "]`"]),
        });
    }
    let inner: Vec<&String> = paths.iter().flatten().collect();
    for (section, path) in
        sections.iter().zip(&paths).flat_map(|(s, p)| p.iter().map(move |p| (s, p)))
    {
        let rows: Vec<Vec<&str>> = section
            .lines()
            .filter(|line| line.starts_with("| `"))
            .map(|line| line.split(" | ").map(|cell| cell.trim_matches(['|', ' ', '`'])).collect())
            .collect();
        // A table's place in the recipe, as `--set` names it.
        let place = if path.starts_with("flow.layers.") { "flow.layers.0" } else { path };
        let full = |key: &str| if place.is_empty() { key.into() } else { format!("{place}.{key}") };
        // The error about an unknown key lists all that are known.
        let refused = with_section(path, "", &format!("{}=1", full("zzzzzz"))).unwrap_err();
        let known = quoted(refused.split_once("use one of ").unwrap().1, ["`", "`"]);
        let known: Vec<String> = known.into_iter().step_by(2).collect();
        let is_elsewhere = |key: &String| {
            let sections = [full(key), format!("{}.pairwise", full(key))];
            key == "format" || inner.iter().any(|path| sections.contains(path))
        };
        for key in known.iter().filter(|key| !is_elsewhere(key)) {
            if rows.iter().all(|row| row[0] != key) {
                untrue.push(format!("`{}` is missing", full(key)));
            }
        }
        let recipe = with_section(path, "", "").unwrap();
        let of_key = |value: &toml::Value, key: &str| -> Option<toml::Value> {
            match value {
                toml::Value::Array(list) => list.get(key.parse::<usize>().ok()?).cloned(),
                other => other.get(key).cloned(),
            }
        };
        let mut parts = place.split('.').filter(|part| !part.is_empty());
        // A recipe without the section of the base density does not write it.
        let options = match path.as_str() {
            "flow.base" => toml::Value::try_from(BaseOptions::default()).ok(),
            _ => parts.try_fold(recipe, |value, key| of_key(&value, key)),
        };
        for row in rows {
            let (key, said) = (full(row[0]), row[1].split(": ").next().unwrap().replace('`', ""));
            if !known.iter().any(|known| known == row[0]) {
                untrue.push(format!("`{key}` is no key"));
            }
            let value = options.as_ref().and_then(|options| options.get(row[0]));
            let said = if said == "needed" {
                let error = with_section(path, &key, "").err().unwrap_or_default();
                match NEEDED.iter().any(|(needed, _)| *needed == key) {
                    true if error.contains("has no default") => continue,
                    _ => "none".to_string(),
                }
            } else {
                said
            };
            let number = |value: &toml::Value| match value {
                toml::Value::Integer(n) => toml::Value::Float(*n as f64),
                other => other.clone(),
            };
            let said = format!("x = {said}").parse::<toml::Table>().ok().map(|t| number(&t["x"]));
            if said != value.map(number) {
                untrue.push(format!("`{key}` is {value:?} by default"));
            }
        }
    }
    untrue
}

#[test]
fn the_page_of_all_keys_has_each_with_its_default() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/recipe.md");
    let page = std::fs::read_to_string(file).unwrap();
    assert_eq!(untrue(&page), [""; 0]);
    for (said, wrong) in [
        ("`steps` | `10000`", "`steps` | `20000`"),
        ("`count` | `4096`", "`count` | none"),
        ("`energy_clip` | no limit", "`energy_clip` | `5`"),
        ("`data` | needed", "`data` | none"),
        ("`seed` | `0`", "`seed` | needed"),
        ("| `bins` |", "| `bin` |"),
        ("| `reference_chains` ", ""),
    ] {
        assert!(page.contains(said), "{said}");
        assert_ne!(untrue(&page.replacen(said, wrong, 1)), [""; 0], "{wrong}");
    }
}
