//! The command line: flags to validated options, work, and reports.

mod args;
mod bench;
mod check;
mod choose;
mod compare;
mod dry_run;
mod estimate;
mod evaluate;
mod figures;
mod histograms;
mod new;
mod output;
mod print;
mod progress;
mod reference;
mod report;
mod sample;
mod train;

use std::ffi::OsString;
use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::time::Duration;

use clap::{CommandFactory, Parser};

use crate::config::Registry;
use crate::error::Error;
use crate::parallel;
use crate::work;
use args::{Cli, Command, MOST_THREADS};
use output::{lines, say, stopped_early, unfolded};

/// The exit code after a signal.
const STOPPED: u8 = 3;

/// Time for rank 0 to end all ranks, before another rank with an error does.
const GRACE: Duration = Duration::from_secs(10);

/// Runs the command line of this process with the target kinds of `registry`, and returns its exit
/// code: 0 fine, 1 a check failed, 2 wrong input, 3 a fault while running or a signal. A user's own
/// binary gets every command for its own potentials by
/// `boltzflow::run_command_line(Registry::builtin().with("mine", factory))`.
pub fn run_command_line(registry: Registry) -> ExitCode {
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
        .with_ansi(colours(std::io::stderr().is_terminal(), |name| std::env::var_os(name)))
        .with_target(cli.verbose)
        .without_time()
        .init();
    let team = match parallel::from_environment() {
        Ok(team) => team,
        Err(error) => return report(&error),
    };
    team.install(|| match execute(cli, &registry) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error),
    })
}

/// Whether standard error gets colours: a terminal that has them, unless `NO_COLOR` is set
/// (no-color.org).
fn colours(is_terminal: bool, variable: impl Fn(&str) -> Option<OsString>) -> bool {
    let unwanted = variable("NO_COLOR").is_some_and(|value| !value.is_empty());
    is_terminal && !unwanted && variable("TERM").is_none_or(|terminal| terminal != "dumb")
}

/// Writes what went wrong to standard error, which may be closed. A signal is no error.
fn report(error: &Error) -> ExitCode {
    let kind = if matches!(error, Error::Stopped(_)) { "" } else { "error: " };
    output::complain(&format!("{kind}{error}"));
    ExitCode::from(error.exit_code())
}

/// The end of a rank with an error. Mostly all ranks have it: rank 0 writes it and ends the others.
/// A rank that is alone with it ends those that wait for it.
fn fail(error: &Error) -> ExitCode {
    let team = parallel::team();
    if !team.leads() {
        std::thread::sleep(GRACE);
        let _ = write!(std::io::stderr(), "rank {}: ", team.rank());
    }
    let code = report(error);
    team.abort(error.exit_code());
    code
}

fn execute(cli: Cli, registry: &Registry) -> Result<(), Error> {
    let team = parallel::team();
    let threads = match cli.threads {
        Some(threads) => Some(threads.get()),
        None => {
            check_variable()?;
            (!team.is_alone()).then(|| parallel::default_threads(&team))
        }
    };
    if let Some(threads) = threads {
        rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build_global()
            .map_err(|e| Error::Run(format!("cannot start {threads} threads: {e}")))?;
    }
    let command = cli.command.unwrap_or_default();
    let is_training = command.is_training();
    if !(command.is_collective() || team.leads()) {
        return Ok(());
    }
    let _shown = command.listens().then(|| listen(&command)).transpose()?;
    let result = run(command, registry);
    match result {
        Err(Error::Stopped(why)) if !is_training => Err(stopped_early(&why)),
        result => result,
    }
}

/// Lets signals stop `command` and shows how far it is, until the value is dropped.
fn listen(command: &Command) -> Result<progress::Watch, Error> {
    use signal_hook::consts::{SIGINT, SIGTERM};
    let is_training = command.is_training();
    let mut signals = vec![SIGINT, SIGTERM];
    // In batch queues, shortly before the time is up.
    #[cfg(unix)]
    if is_training {
        signals.push(signal_hook::consts::SIGUSR1);
    }
    work::stop_at(&signals, STOPPED)?;
    progress::watch(!is_training)
}

fn run(command: Command, registry: &Registry) -> Result<(), Error> {
    match command {
        Command::Train(args) => train::run(&args, registry),
        Command::Evaluate(args) => evaluate::run(&args, registry),
        Command::Sample(args) => sample::run(&args, registry),
        Command::Compare(args) => compare::run(&args, registry),
        Command::Report(args) => report::run(&args, registry),
        Command::Plot(args) => figures::run(&args, registry),
        Command::Reference(args) => reference::run(&args, registry),
        Command::Estimate(args) => estimate::run(&args, registry),
        Command::Bench(args) => bench::run(&args),
        Command::Check(args) => check::run(&args, registry),
        Command::Targets => targets(),
        Command::New(args) => new::run(&args, registry),
        Command::Completions(args) => completions(args.shell),
    }
}

/// The variable by which rayon starts its threads has the limit of `--threads`.
fn check_variable() -> Result<(), Error> {
    const NAME: &str = "RAYON_NUM_THREADS";
    let threads = std::env::var(NAME).ok().and_then(|text| text.parse::<u64>().ok());
    match threads.filter(|threads| *threads > MOST_THREADS) {
        Some(threads) => {
            Err(Error::parameter(NAME, format!("is {threads}: use at most {MOST_THREADS}")))
        }
        None => Ok(()),
    }
}

fn completions(shell: clap_complete::Shell) -> Result<(), Error> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "boltzflow", &mut script);
    unfolded(&String::from_utf8_lossy(&script))
}

fn targets() -> Result<(), Error> {
    for (name, description) in crate::config::builtin_targets()? {
        let mut first = name;
        for line in lines(&description, 65) {
            say!("{first:<14} {line}")?;
            first.clear();
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::colours;

    #[test]
    fn colours_are_for_terminals_of_users_who_want_them() {
        let with = |is_terminal, set: &'static [(&str, &str)]| {
            colours(is_terminal, |name| {
                set.iter().find(|(known, _)| *known == name).map(|(_, value)| value.into())
            })
        };
        assert!(with(true, &[]) && with(true, &[("NO_COLOR", ""), ("TERM", "xterm")]));
        assert!(!with(false, &[]) && !with(true, &[("NO_COLOR", "1")]));
        assert!(!with(true, &[("NO_COLOR", "0")]) && !with(true, &[("TERM", "dumb")]));
    }
}
