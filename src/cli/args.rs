//! Every flag, with its help.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

/// Train samplers from an energy function alone.
#[derive(Debug, Parser)]
#[command(
    version,
    about,
    after_help = "Without a command, trains DW4 with FAB: the recipe runs/dw4_fab.toml."
)]
pub(super) struct Cli {
    #[command(subcommand)]
    pub command: Option<Command>,
    /// Threads to use; results do not depend on it [default: all cores]
    #[arg(long, global = true, value_name = "N")]
    pub threads: Option<NonZeroUsize>,
    /// Say more on standard error
    #[arg(long, short, global = true)]
    pub verbose: bool,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Train a flow by a recipe
    #[command(after_help = "Example: boltzflow train runs/dw4_fab.toml")]
    Train(TrainArgs),
    /// Evaluate a trained flow: ESS, log Z, likelihood, distances
    #[command(after_help = "Example: boltzflow evaluate runs/dw4_fab --distances --marginal")]
    Evaluate(EvaluateArgs),
    /// Draw weighted samples from a trained flow
    #[command(after_help = "Example: boltzflow sample runs/dw4_fab -n 10000 -o samples.npz")]
    Sample(SampleArgs),
    /// One table and one figure of several runs; the seeds of one recipe are one line
    #[command(after_help = "Example: boltzflow compare runs/dw4_* --csv dw4.csv -o dw4.svg")]
    Compare(CompareArgs),
    /// One HTML page about runs: verdict, curves, distributions, configurations
    #[command(after_help = "Example: boltzflow report runs/dw4_fab -o dw4.html")]
    Report(ReportArgs),
    /// Draw the figures of a run
    #[command(after_help = "Example: boltzflow plot runs/dw4_fab")]
    Plot(PlotArgs),
    /// Sample a target by annealed Monte Carlo, without a flow
    #[command(after_help = "Example: boltzflow reference dw4 -n 10000 -o dw4.npz")]
    Reference(ReferenceArgs),
    /// Measure how fast this machine runs the flow
    #[command(after_help = "Example: boltzflow bench lj13")]
    Bench(BenchArgs),
    /// Look for mistakes in a target: forces, symmetries, overlap, infinity
    #[command(after_help = "Example: boltzflow check targets/mine.toml")]
    Check(CheckArgs),
    /// List the built-in targets
    Targets,
}

impl Default for Command {
    fn default() -> Self {
        Self::Train(TrainArgs::default())
    }
}

#[derive(Debug, Default, Args)]
pub(super) struct TrainArgs {
    /// The recipe [default: runs/dw4_fab.toml]
    pub recipe: Option<PathBuf>,
    /// Folder of the run [default: the recipe's path without .toml, with a number if that is taken]
    #[arg(long, short)]
    pub output: Option<PathBuf>,
    /// Seed, instead of the recipe's; below 2⁶³, since a recipe must be able to hold it
    #[arg(long, value_parser = clap::value_parser!(u64).range(..1 << 63))]
    pub seed: Option<u64>,
    /// Insist on resuming; an unfinished run of the same recipe resumes by itself
    #[arg(long)]
    pub resume: bool,
    /// With --resume: go on although the recipe has changed in what a run can take: steps, learning rate, evaluation
    #[arg(long, requires = "resume")]
    pub force: bool,
    /// Show a page that updates while it trains, at this address, such as --serve=127.0.0.1:8000; a free
    /// port of this machine if not said
    #[arg(long, value_name = "ADDR", num_args = 0..=1, require_equals = true,
          default_missing_value = "127.0.0.1:0")]
    pub serve: Option<std::net::SocketAddr>,
}

#[derive(Debug, Args)]
pub(super) struct ReportArgs {
    /// Folders of the runs
    #[arg(required = true, value_name = "RUN")]
    pub runs: Vec<PathBuf>,
    /// The page to write
    #[arg(long, short, value_name = "FILE", default_value = "report.html")]
    pub output: PathBuf,
}

#[derive(Debug, Args)]
pub(super) struct EvaluateArgs {
    /// Folder of the run
    pub run: PathBuf,
    /// Joint samples of the flow [default: the recipe's]
    #[arg(short = 'n', long, value_name = "N")]
    pub samples: Option<NonZeroUsize>,
    /// Your own unbiased reference samples: .npz, .npy, .csv or extended .xyz
    #[arg(long, value_name = "FILE")]
    pub reference: Option<PathBuf>,
    /// Also Wasserstein-2 and total variation distances of N samples from N reference samples, beside the
    /// floor that 2 N reference samples give; N is 1000 if not said
    #[arg(long, value_name = "N", num_args = 0..=1, default_missing_value = "1000",
          value_parser = clap::value_parser!(u64).range(2..=5000))]
    pub distances: Option<u64>,
    /// Also the effective sample sizes of the weights on x alone, the augmented copies averaged out
    #[arg(long)]
    pub marginal: bool,
    /// Also write the figures to the run's evaluation.json
    #[arg(long)]
    pub save: bool,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub(super) struct CompareArgs {
    /// Folders of the runs
    #[arg(required = true, value_name = "RUN")]
    pub runs: Vec<PathBuf>,
    /// File for the table as CSV, with every number in full
    #[arg(long, value_name = "FILE")]
    pub csv: Option<PathBuf>,
    /// File for the figure, .svg or .png: ESS against training time and energy evaluations
    #[arg(long, short)]
    pub output: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct SampleArgs {
    /// Folder of the run
    pub run: PathBuf,
    /// Number of samples
    #[arg(short = 'n', long, value_name = "N")]
    pub samples: NonZeroUsize,
    /// File to write: .npz (positions, log_weights, energies), .npy (positions) or .csv
    #[arg(short, long)]
    pub output: PathBuf,
    /// Seed of the draws
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
}

#[derive(Debug, Args)]
pub(super) struct PlotArgs {
    /// Folder of the run
    pub run: PathBuf,
    /// Folder of the figures [default: plots/NAME beside runs/, else the run's own folder]
    #[arg(long, short)]
    pub output: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct CheckArgs {
    /// A built-in target, or the path of a target file
    pub target: String,
}

#[derive(Debug, Args)]
pub(super) struct ReferenceArgs {
    /// A built-in target, or the path of a target file
    pub target: String,
    /// Number of samples
    #[arg(short = 'n', long, value_name = "N", default_value = "10000")]
    pub samples: NonZeroUsize,
    /// File to write: .npz, .npy or .csv; without it only the figures are printed
    #[arg(short, long)]
    pub output: Option<PathBuf>,
    /// Chains; errors fall with the square root of their number [default: 32768, or as many as samples]
    #[arg(long)]
    pub chains: Option<NonZeroUsize>,
    /// Seed
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub(super) struct BenchArgs {
    /// Only flows whose names contain this, such as lj13 or pairwise; "cluster" for clusters of 13 to
    /// 110 particles
    #[arg(default_value = "")]
    pub filter: String,
    /// Samples of a batch; at most 64 for more than 13 particles
    #[arg(short = 'n', long, value_name = "N", default_value = "1024")]
    pub batch: NonZeroUsize,
    /// Seconds of each measurement
    #[arg(long, default_value_t = 1.0)]
    pub seconds: f64,
    /// Print a JSON array
    #[arg(long)]
    pub json: bool,
}
