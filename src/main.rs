//! The `boltzflow` binary.

use std::process::ExitCode;

fn main() -> ExitCode {
    boltzflow::cli::run(boltzflow::config::Registry::builtin())
}
