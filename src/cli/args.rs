//! Every flag, with its help.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::builder::TypedValueParser;
use clap::{Args, Parser, Subcommand, ValueEnum};

/// The most threads that can be asked for.
pub(super) const MOST_THREADS: u64 = 1024;
/// The most samples where they are in memory all at once.
const IN_MEMORY: u64 = 100_000_000;
/// The most chains of a reference sampler; all are in memory at once.
const MOST_CHAINS: u64 = 10_000_000;
/// The most samples where they are not in memory all at once.
const IN_TURN: u64 = 1_000_000_000_000;

/// The most draws of the augmented copies; those of a batch are in memory all at once.
const MOST_DRAWS: u64 = 1000;

/// A whole number from 1 to `most`.
fn up_to(most: u64) -> impl TypedValueParser<Value = NonZeroUsize> {
    let number = clap::value_parser!(u64).range(1..=most);
    number.map(|n| NonZeroUsize::MIN.saturating_add(usize::try_from(n).unwrap_or(0) - 1))
}

/// A number over 0 and up to `most`.
fn number_up_to(most: f64) -> impl Fn(&str) -> Result<f64, String> + Clone {
    move |text| match text.trim().parse::<f64>() {
        Ok(value) if value > 0.0 && value <= most => Ok(value),
        _ => Err(format!("use a number over 0, at most {most}")),
    }
}

/// Train samplers from an energy function alone.
#[derive(Debug, Parser)]
#[command(
    version,
    about,
    max_term_width = 100,
    after_help = "Without a command, trains DW4 with FAB: the recipe runs/dw4_fab.toml.\nExample: \
                  boltzflow train runs/dw4_fab.toml"
)]
pub(super) struct Cli {
    #[command(subcommand)]
    pub command: Option<Command>,
    /// Threads to use; results do not depend on it [default: all cores]
    #[arg(long, global = true, value_name = "N", value_parser = up_to(MOST_THREADS))]
    pub threads: Option<NonZeroUsize>,
    /// Write more on standard error
    #[arg(long, short, global = true)]
    pub verbose: bool,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Train a flow by a recipe, or on a target
    #[command(
        after_help = "Examples: boltzflow train runs/dw4_fab.toml\n          boltzflow train \
                            mine_target.toml --minutes 5"
    )]
    Train(TrainArgs),
    /// Evaluate a trained flow: ESS, log Z, likelihood, distances
    #[command(after_help = "Example: boltzflow evaluate runs/dw4_fab --distances --marginal")]
    Evaluate(EvaluateArgs),
    /// Draw weighted samples from a trained flow, or equally weighted ones
    #[command(
        after_help = "Examples: boltzflow sample runs/dw4_fab -n 10000 -o samples.npz\n          \
                            boltzflow sample runs/lj13_fab -n 10000 --resample 2000 -o frames.xyz"
    )]
    Sample(SampleArgs),
    /// One table and one figure of several runs; the seeds of one recipe are one line
    #[command(after_help = "Example: boltzflow compare runs/dw4_*/ --csv dw4.csv -o dw4.svg")]
    Compare(CompareArgs),
    /// One HTML page about runs: verdict, curves, distributions, configurations
    #[command(after_help = "Example: boltzflow report runs/dw4_fab -o dw4.html")]
    Report(ReportArgs),
    /// Averages over the target with their errors, from a trained flow
    #[command(
        after_help = "Examples: boltzflow estimate runs/dw4_fab\n          boltzflow estimate \
                      runs/dw4_fab --observable 'pair: exp(-r)' --temperature 1.1\n          \
                      boltzflow estimate runs/aldp_fab --histogram 'phi, psi' -o ramachandran.csv"
    )]
    Estimate(EstimateArgs),
    /// Write a commented recipe, and a target to fill in
    #[command(
        after_help = "Examples: boltzflow new mine\n          boltzflow new other --target \
                            dw4 --minutes 5"
    )]
    New(NewArgs),
    /// Print a completion script for a shell
    #[command(after_help = "Example: boltzflow completions bash > \
                      ~/.local/share/bash-completion/completions/boltzflow")]
    Completions(CompletionsArgs),
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
    #[command(after_help = "Example: boltzflow check mine_target.toml")]
    Check(CheckArgs),
    /// List the built-in targets
    #[command(after_help = "Example: boltzflow targets")]
    Targets,
}

impl Command {
    /// Whether it is a training, which keeps what is done when it is stopped.
    pub fn is_training(&self) -> bool {
        matches!(self, Self::Train(args) if !args.dry_run)
    }

    /// Whether it takes long and tests whether it is to stop.
    pub fn listens(&self) -> bool {
        match self {
            Self::Train(args) => !args.dry_run,
            Self::Evaluate(_) | Self::Sample(_) | Self::Estimate(_) | Self::Plot(_) => true,
            Self::Report(_) | Self::Reference(_) | Self::Check(_) | Self::Bench(_) => true,
            _ => false,
        }
    }

    /// Whether all ranks share its work; the others are done by rank 0 alone.
    pub fn is_collective(&self) -> bool {
        !matches!(
            self,
            Self::New(_) | Self::Completions(_) | Self::Bench(_) | Self::Check(_) | Self::Targets
        )
    }
}

impl Default for Command {
    fn default() -> Self {
        Self::Train(TrainArgs::default())
    }
}

/// The most trainings that can be asked for at once.
const MOST_SEEDS: u64 = 10_000;

/// A range of seeds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Seeds(pub std::ops::Range<u64>);

impl std::str::FromStr for Seeds {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || "use FIRST..END, without END, or FIRST..=LAST".to_string();
        let (first, end) = text.split_once("..").ok_or_else(wrong)?;
        let number = |text: &str| text.trim().parse::<u64>().ok().filter(|n| *n < 1 << 63);
        let end = match end.strip_prefix('=') {
            Some(last) => number(last).map(|last| last + 1),
            None => number(end),
        };
        match (number(first), end) {
            (Some(first), Some(end)) if first < end && end - first > MOST_SEEDS => {
                Err(format!("has {} seeds: use at most {MOST_SEEDS}", end - first))
            }
            (Some(first), Some(end)) if first < end => Ok(Self(first..end)),
            (Some(_), Some(_)) => Err("is an empty range".to_string()),
            _ => Err(wrong()),
        }
    }
}

#[derive(Debug, Default, Clone, Args)]
pub(super) struct TrainArgs {
    /// The recipe, or a target: its name, or its file. For a target, a recipe is chosen and written
    /// to NAME_fab.toml, which the same command then goes on with [default: runs/dw4_fab.toml]
    pub recipe: Option<PathBuf>,
    /// Of a target: how long to train on this machine [default: 10]
    #[arg(long, value_parser = number_up_to(1e6))]
    pub minutes: Option<f64>,
    /// Folder of the run [default: the recipe's path without .toml; where that is a finished or
    /// another run, the same with a number, as in NAME-2]
    #[arg(long, short)]
    pub output: Option<PathBuf>,
    /// Seed, instead of the recipe's; below 2⁶³, since a recipe must be able to hold it
    #[arg(long, value_parser = clap::value_parser!(u64).range(..1 << 63))]
    pub seed: Option<u64>,
    /// Seeds one after the other, 0..3 for 0, 1, 2 and 0..=3 for one more, in folders NAME_seed0,
    /// …; finished ones are skipped, so that the same command continues
    #[arg(long, value_name = "RANGE", conflicts_with_all = ["seed", "resume", "force"])]
    pub seeds: Option<Seeds>,
    /// Change a key of the recipe, such as train.steps=100 or flow.layers.0.repeat=4; may be given
    /// several times
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// Only print the resolved recipe, and how much memory and time the training will take
    #[arg(long)]
    pub dry_run: bool,
    /// Insist on resuming; an unfinished run of the same recipe resumes anyway
    #[arg(long)]
    pub resume: bool,
    /// With --resume: continue although the recipe has changed in keys that may change during a
    /// run: steps, learning rate, evaluation
    #[arg(long, requires = "resume")]
    pub force: bool,
    /// Show a page that updates while it trains, at this address, such as --serve=127.0.0.1:8000; a
    /// free port of this machine if none is given
    #[arg(long, value_name = "ADDR", num_args = 0..=1, require_equals = true,
          default_missing_value = "127.0.0.1:0")]
    pub serve: Option<std::net::SocketAddr>,
}

#[derive(Debug, Args)]
pub(super) struct ReportArgs {
    /// Folders of the runs
    #[arg(required = true, value_name = "RUN")]
    pub runs: Vec<PathBuf>,
    /// The page to write [default: report.html in the folder of the first run]
    #[arg(long, short, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct EvaluateArgs {
    /// Folder of the run
    pub run: PathBuf,
    /// Joint samples of the flow [default: the recipe's]
    #[arg(short = 'n', long, value_name = "N", value_parser = up_to(IN_MEMORY))]
    pub samples: Option<NonZeroUsize>,
    /// Samples to anneal from the flow to the target, which takes longer than all else; 0 leaves
    /// the AIS figure out [default: a tenth of the samples, at most 10000]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(0..=IN_MEMORY))]
    pub annealed: Option<u64>,
    /// Your own unbiased reference samples: .npz, .npy, .csv, extended .xyz, .pdb or .dcd
    #[arg(long, value_name = "FILE")]
    pub reference: Option<PathBuf>,
    /// Also Wasserstein-2 and total variation distances of N samples from N reference samples,
    /// beside the floor that 2 N reference samples give; N is 1000 if none is given
    #[arg(long, value_name = "N", num_args = 0..=1, default_missing_value = "1000",
          value_parser = clap::value_parser!(u64).range(2..=5000))]
    pub distances: Option<u64>,
    /// Also the effective sample sizes of the weights on x alone, the augmented copies averaged out
    #[arg(long)]
    pub marginal: bool,
    /// Also what an effective sample costs by the flow and by Monte Carlo chains without it, and
    /// from how many samples on the training has paid; the chains go on from reference samples for
    /// so many seconds, 5 if none are given
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, require_equals = true,
          default_missing_value = "5", value_parser = number_up_to(1e6))]
    pub cost: Option<f64>,
    /// Seed of the draws, for figures from other samples [default: the recipe's]
    #[arg(long)]
    pub seed: Option<u64>,
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
    /// Weighted samples to draw; any number, since they are never all in memory
    #[arg(short = 'n', long, value_name = "N", value_parser = up_to(IN_TURN))]
    pub samples: NonZeroUsize,
    /// File to write: .xyz or .extxyz (a frame each, with energy and log_weight, in Å and eV if the
    /// target has units), .npz (positions, log_weights, energies), .npy (positions alone), .csv, or
    /// .pdb and .dcd in Å, with log weights and energies in FILE.weights.csv
    #[arg(short, long)]
    pub output: PathBuf,
    /// Write N configurations of equal weight instead, chosen from the weighted ones by systematic
    /// resampling: one of weight w comes N·w/Σw times, rounded up or down, its copies one after the
    /// other. The weighted samples wait in a temporary file until their total weight is known. N
    /// well below the effective sample size has few copies
    #[arg(long, value_name = "N", value_parser = up_to(IN_TURN))]
    pub resample: Option<NonZeroUsize>,
    #[command(flatten)]
    pub weights: WeightArgs,
    /// Of a molecule with a stereocentre, the mirror image to write: that of the structure, for
    /// which others are mirrored (exactly: energies and weights stay), or any, as drawn
    #[arg(long, value_enum, default_value = "structure")]
    pub chirality: ChiralityArg,
    /// Seed of the draws
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
}

/// Which mirror image to write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum ChiralityArg {
    Structure,
    Any,
}

/// What weighs samples.
#[derive(Debug, Args)]
pub(super) struct WeightArgs {
    /// Refine by annealed importance sampling from the flow to the target: a higher effective
    /// sample size for about twenty times the work
    #[arg(long)]
    pub ais: bool,
    /// Weights on x alone, the augmented copies averaged out with K draws: a higher effective
    /// sample size for K passes of the flow and one energy a sample. Worth it where an energy costs
    /// more than K passes, as in quantum chemistry; evaluate --marginal shows the gain
    #[arg(long, value_name = "K", value_parser = up_to(MOST_DRAWS))]
    pub marginal: Option<NonZeroUsize>,
}

/// What is averaged.
#[derive(Debug, Args)]
pub(super) struct AverageArgs {
    /// What to average; may be given several times: energy (U/kT), heat_capacity (variance of U/kT,
    /// the configurational part in units of k), radius_of_gyration, pair_distances (a histogram),
    /// radial_distribution (g(r) in a periodic box), mean_square_displacement (from the sites of a
    /// crystal), "structure_factor: H K L" (waves along the edges of a box), "pair: FORMULA" (sum
    /// over pairs, in the distance r) or "external: FORMULA" (sum over particles, in x, y, z and
    /// r_com from the centre of mass), both written as in target files; of atoms "distance: A B",
    /// "angle: A B C" and "dihedral: A B C D" in degrees, where an atom is RESIDUE:NAME as in
    /// ALA:CA or ALA2:CA, or a number, counted from 0; phi, psi or "phi: 2" of the backbone at
    /// residue 2; rmsd to the target's structure
    #[arg(long, value_name = "WHAT")]
    pub observable: Vec<String>,
    /// Density of an observable, or of two as in "phi, psi", with the free energy −ln p and their
    /// errors; may be given several times
    #[arg(long, value_name = "WHAT")]
    pub histogram: Vec<String>,
    /// Bins of a histogram, of two observables along each
    #[arg(long, value_name = "N", default_value = "60", value_parser = up_to(100_000))]
    pub bins: NonZeroUsize,
}

/// `boltzflow estimate`.
#[derive(Debug, Args)]
pub(super) struct EstimateArgs {
    /// Folder of the run
    pub run: PathBuf,
    #[command(flatten)]
    pub averages: AverageArgs,
    /// Weighted samples to draw
    #[arg(short = 'n', long, value_name = "N", default_value = "100000",
          value_parser = up_to(IN_TURN))]
    pub samples: NonZeroUsize,
    /// Reweight to this target of the same particles, and print the free-energy difference
    #[arg(long, value_name = "TARGET", conflicts_with = "temperature")]
    pub target: Option<String>,
    /// Reweight to this multiple of the temperature, and print the free-energy difference
    #[arg(long, value_name = "RATIO", value_parser = number_up_to(1000.0))]
    pub temperature: Option<f64>,
    #[command(flatten)]
    pub weights: WeightArgs,
    /// Seed of the draws
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// File for the histogram: CSV with the centre, density and free energy of every bin, and
    /// their errors
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub(super) struct NewArgs {
    /// Name: writes NAME.toml, and NAME_target.toml unless --target is given
    pub name: String,
    /// A recipe for this target, built in or a file, chosen as `boltzflow train TARGET` does it,
    /// instead of a new formula
    #[arg(long, value_name = "TARGET")]
    pub target: Option<String>,
    /// How long to train on this machine [default: 10]
    #[arg(long, requires = "target", value_parser = number_up_to(1e6))]
    pub minutes: Option<f64>,
}

#[derive(Debug, Args)]
pub(super) struct CompletionsArgs {
    /// The shell
    pub shell: clap_complete::Shell,
}

#[derive(Debug, Args)]
pub(super) struct PlotArgs {
    /// Folders of the runs; of several, their ESS curves are drawn in one figure, too
    #[arg(required = true, value_name = "RUN")]
    pub runs: Vec<PathBuf>,
    /// Folder of the figures; of several runs, a folder for each in it [default: each run's own
    /// folder]
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
    #[arg(short = 'n', long, value_name = "N", default_value = "10000",
          value_parser = up_to(MOST_CHAINS))]
    pub samples: NonZeroUsize,
    #[command(flatten)]
    pub averages: AverageArgs,
    /// File to write: .npz, .npy, .csv, .xyz, .pdb or .dcd; without it only the figures are printed
    #[arg(short, long)]
    pub output: Option<PathBuf>,
    /// Chains; errors fall with the square root of their number [default: four a sample, 4096 to
    /// 32768, fewer for more than 13 particles, and at least as many as samples; of a molecule 256,
    /// and a multiple of that in any case]
    #[arg(long, value_parser = up_to(MOST_CHAINS))]
    pub chains: Option<NonZeroUsize>,
    /// Transitions of every chain after annealing; of a molecule, sweeps of replica exchange
    /// [default: 50, of a molecule 1000]
    #[arg(long, value_parser = up_to(10_000_000))]
    pub transitions: Option<NonZeroUsize>,
    /// Seed
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub(super) struct BenchArgs {
    /// Only flows whose names contain this, such as lj13 or pairwise, and after ": " only such
    /// operations, as in "lj13: parameter"; "lj55" and "cluster" (13 to 110 particles) take minutes
    #[arg(default_value = "")]
    pub filter: String,
    /// Samples of a batch; at most 64 for more than 13 particles
    #[arg(short = 'n', long, value_name = "N", default_value = "1024",
          value_parser = up_to(1_000_000))]
    pub batch: NonZeroUsize,
    /// Seconds of each measurement
    #[arg(long, default_value_t = 1.0, value_parser = number_up_to(3600.0))]
    pub seconds: f64,
    /// Print a JSON array
    #[arg(long)]
    pub json: bool,
}
