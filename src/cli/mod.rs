//! The command line: flags to validated options, work, and reports.

mod args;
mod bench;
mod check;
mod compare;
mod evaluate;
mod figures;
mod folder;
mod memory;
mod output;
mod progress;
mod reference;
mod report;
mod sample;
mod train;

use std::io::{IsTerminal, Write};
use std::process::ExitCode;

use clap::Parser;

use crate::config::Registry;
use crate::error::Error;
use args::{Cli, Command};
use output::say;

/// Runs the command line of this process with the target kinds of `registry`, and returns its exit
/// code: 0 fine, 1 a check failed, 2 wrong input, 3 a fault while running. A user's own binary gets
/// every command for its own potentials by `cli::run(Registry::builtin().with("mine", factory))`.
pub fn run(registry: Registry) -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are not errors; clap prints to the right stream.
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { 2 } else { 0 });
        }
    };
    tracing_subscriber::fmt()
        .with_max_level(if cli.verbose { tracing::Level::DEBUG } else { tracing::Level::WARN })
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(cli.verbose)
        .without_time()
        .init();
    match execute(cli, &registry) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nobody may be listening there, either.
            let _ = writeln!(std::io::stderr(), "error: {error}");
            ExitCode::from(error.exit_code())
        }
    }
}

fn execute(cli: Cli, registry: &Registry) -> Result<(), Error> {
    if let Some(threads) = cli.threads {
        rayon::ThreadPoolBuilder::new()
            .num_threads(threads.get())
            .build_global()
            .map_err(|e| Error::Run(format!("cannot start {threads} threads: {e}")))?;
    }
    match cli.command.unwrap_or_default() {
        Command::Train(args) => train::run(&args, registry),
        Command::Evaluate(args) => evaluate::run(&args, registry),
        Command::Sample(args) => sample::run(&args, registry),
        Command::Compare(args) => compare::run(&args, registry),
        Command::Report(args) => report::run(&args, registry),
        Command::Plot(args) => figures::run(&args, registry),
        Command::Reference(args) => reference::run(&args, registry),
        Command::Bench(args) => bench::run(&args),
        Command::Check(args) => check::run(&args, registry),
        Command::Targets => targets(),
    }
}

fn targets() -> Result<(), Error> {
    for (name, description) in crate::config::builtin_targets()? {
        say!("{name:<14} {description}")?;
    }
    Ok(())
}
