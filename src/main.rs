//! The `boltzflow` binary.

use std::process::ExitCode;

fn main() -> ExitCode {
    boltzflow::run_command_line(boltzflow::Registry::builtin())
}
