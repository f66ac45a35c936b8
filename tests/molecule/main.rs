//! Molecules: what a structure file says, atoms by name, the mirror image that samples are,
//! histograms with errors that hold, and reference samples by replica exchange.

mod averages;
mod flows;
mod reference;
mod sessions;
mod structures;

use std::path::{Path, PathBuf};

use boltzflow::config::{Registry, Target};
use boltzflow::error::Error;

/// A file beside this one.
fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/molecule").join(name)
}

fn text(name: &str) -> String {
    std::fs::read_to_string(data(name)).unwrap()
}

/// The target in `keys`, whose structure's file is in `folder`.
fn target(keys: &str, folder: &Path) -> Result<Target, Error> {
    Registry::builtin().target_from_text(keys, &folder.join("target.toml"))
}

fn capped() -> Target {
    Registry::builtin().load_file(&data("capped.toml")).unwrap()
}

/// Alanine dipeptide, whose potential knows no bonds.
fn dipeptide() -> Target {
    let names: Vec<String> = (0..22).map(|atom| format!("atom{atom}")).collect();
    let keys = format!(
        "format = 1\nname = \"aldp\"\nkind = \"formula\"\ndimension = 3\nparticles = {names:?}\n\
         external = \"r_com^2\"\nstructure = \"aldp.pdb\"\n"
    );
    target(&keys, &data("")).unwrap()
}
