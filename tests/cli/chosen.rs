//! `boltzflow train TARGET`: the recipe that is chosen, and the same command again.

use super::*;

#[test]
fn a_target_gets_a_recipe_with_reasons_and_the_same_command_goes_on_with_it() {
    let folder = workplace();
    let place = folder.path();
    let command = ["train", "pair.toml", "--minutes", "0.15"];
    let before = files(place);
    let only = succeed(place, &[&command[..], &["--dry-run"]].concat());
    assert_eq!(files(place), before);
    // Two particles whose distance has a density of its own: the spread of one is half of r's.
    let recipe = boltzflow::config::Recipe::from_text(&only, Path::new("pair_fab.toml")).unwrap();
    assert!((0.5..1.5).contains(&recipe.flow.base_scale), "{only}");
    assert!(recipe.flow.augmentation_scale < recipe.flow.base_scale, "{only}");

    let said = succeed(place, &command);
    assert!(
        said.contains("wrote the recipe pair_fab.toml") && said.contains("reverse ESS"),
        "{said}"
    );
    let text = fs::read_to_string(place.join("pair_fab.toml")).unwrap();
    assert!(text.contains("boltzflow train pair.toml --minutes 0.15"), "{text}");
    assert!(place.join("pair_fab/model.safetensors").exists());
    let said = succeed(place, &command);
    assert!(said.contains("wrote earlier") && said.contains("pair_fab-2"), "{said}");
    assert_eq!(fs::read_to_string(place.join("pair_fab.toml")).unwrap(), text);

    // Another wish does not change what is there.
    refuse(place, &["train", "pair.toml", "--minutes", "0.2"], 2, &["pair_fab.toml", "--output"]);
    refuse(place, &["train", "tiny.toml", "--minutes", "1"], 2, &["--minutes", "train.steps"]);
    refuse(place, &["train", "dw5"], 2, &["dw5", "dw4"]);
    refuse(place, &["train", "pair.toml", "--minutes", "0"], 2, &["--minutes"]);
}
