//! The program, as a user starts it.

use std::path::Path;
use std::process::{Command, Output, Stdio};

/// Runs the program on one thread in `folder`, with no terminal.
pub fn boltzflow(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_boltzflow"))
        .args(["--threads", "1"])
        .args(arguments)
        .current_dir(folder)
        .stdin(Stdio::null())
        .output()
        .unwrap()
}
