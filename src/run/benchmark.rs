//! How fast this machine runs the flow, compared with how fast it multiplies matrices.
//!
//! Every case is a flow of given size and one operation on a batch. Its arithmetic is counted by
//! running it ([`count_operations`]); the peak is a large product by the same kernels on the same
//! threads.

use std::time::Instant;

use rand_distr::{Distribution, StandardNormal};
use serde::Serialize;

use crate::crystal::Lattice;
use crate::engine::{count_operations, matrix_product, Kernel, Lane, Matrix, Real, Vector, LANES};
use crate::error::Error;
use crate::flow::{
    BaseKind, BaseOptions, Displacements, Flow, FlowOptions, LayerGroup, PairwiseOptions,
    ProjectedOptions, Skeleton,
};
use crate::random::{stream, Purpose};
use crate::system::System;

/// What is done with a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Operation {
    /// Draws with log q.
    Sample,
    /// log q of given configurations.
    LogProb,
    /// log q and its gradient in the configurations.
    InputGradient,
    /// log q and its gradient in the parameters.
    ParameterGradient,
}

impl Operation {
    /// All of them.
    pub const ALL: [Self; 4] =
        [Self::Sample, Self::LogProb, Self::InputGradient, Self::ParameterGradient];

    /// Words for a table.
    pub fn label(self) -> &'static str {
        match self {
            Self::Sample => "sample + log q",
            Self::LogProb => "log q",
            Self::InputGradient => "log q + input gradient",
            Self::ParameterGradient => "log q + parameter gradient",
        }
    }
}

/// A flow whose speed is measured.
pub struct Case {
    /// `SYSTEM-FLOW`.
    pub name: String,
    flow: Flow<f32>,
    theta: Vec<f32>,
    noise: Vec<f64>,
    joint: Vec<f64>,
}

/// One line of the table.
#[derive(Debug, Clone, Serialize)]
pub struct Measurement {
    /// `SYSTEM-FLOW: operation`.
    pub name: String,
    /// Samples of a batch.
    pub batch: usize,
    /// Samples in a second.
    pub samples_per_second: f64,
    /// Counted arithmetic of one sample, in millions of operations.
    pub megaflop_per_sample: f64,
    /// Counted arithmetic in a second, in billions of operations.
    pub gflops: f64,
    /// The product's, measured before and after each run.
    pub peak_gflops: f64,
    /// The runs' ratios of the two; their median.
    pub share_of_peak: f64,
    /// Threads used.
    pub threads: usize,
    /// Largest memory of the process during the case, in MB; absent where the system does not
    /// report it.
    pub peak_rss_mb: Option<f64>,
}

/// Runs of a measurement, at least.
const FEWEST: usize = 3;

/// Name, particles, dimensions, and the scale of the Gaussian that they are drawn from, such that
/// distances are those of the system.
const SYSTEMS: [(&str, usize, usize, f64); 2] = [("dw4", 4, 2, 2.0), ("lj13", 13, 3, 1.0)];

/// Systems that take minutes each, and are measured when their name is asked for: LJ55, and
/// clusters of equal density for the cost against the number of particles.
const LARGER: [(&str, usize, usize, f64); 6] = [
    ("lj55", 55, 3, 1.8),
    ("cluster013", 13, 3, 1.0),
    ("cluster026", 26, 3, 1.26),
    ("cluster055", 55, 3, 1.6),
    ("cluster110", 110, 3, 2.0),
    ("cluster500", 500, 3, 3.3),
];

/// Crystals of growing size at one density, for the same; two shells of neighbours see each other.
const CRYSTALS: [(&str, usize); 4] =
    [("crystal0108", 108), ("crystal0256", 256), ("crystal0500", 500), ("crystal1372", 1372)];

/// The flow of the recipe for DW4 and LJ13; larger clusters take LJ13's.
fn pairwise(particles: usize) -> LayerGroup {
    let (repeat, basis, cutoff) = if particles < 13 { (8, 16, 8.0) } else { (6, 20, 5.0) };
    LayerGroup::Pairwise(PairwiseOptions { repeat, basis, cutoff, ..PairwiseOptions::default() })
}

/// The reference flows, and the recipes' own, whose names contain `filter`; LJ55, and clusters and
/// crystals of growing size, only if it names them.
///
/// # Errors
/// Those of building a flow.
pub fn cases(filter: &str, batch: usize) -> Result<Vec<Case>, Error> {
    let mut found = Vec::new();
    let asked = |system: &str, kind| system.starts_with(kind) && filter.contains(kind);
    let larger =
        LARGER.iter().filter(|(system, ..)| asked(system, "lj55") || asked(system, "cluster"));
    for &(system, particles, dimension, scale) in SYSTEMS.iter().chain(larger) {
        for (flow, layers) in [
            // The published sizes are the defaults.
            ("published", LayerGroup::Vector(ProjectedOptions::default())),
            ("cartesian", LayerGroup::Cartesian(ProjectedOptions::default())),
            ("spherical", LayerGroup::Spherical(ProjectedOptions::default())),
            ("pairwise", pairwise(particles)),
        ] {
            let name = format!("{system}-{flow}");
            if name.contains(filter) {
                let system = System::new(particles, dimension)?;
                // A sample of LJ55 at the published size costs a tenth of a second of a core, and
                // the cost grows with the square.
                let most = if particles > 13 {
                    (64 * 55 * 55 / particles.pow(2)).clamp(LANES, 64)
                } else {
                    batch
                };
                let batch = batch.min(most);
                found.push(case(name, system, layers, scale, batch)?);
            }
        }
    }
    for (system, particles) in CRYSTALS.iter().filter(|(system, _)| asked(system, "crystal")) {
        let name = format!("{system}-pairwise");
        if name.contains(filter) {
            found.push(crystal(name, *particles, batch.min(64))?);
        }
    }
    Ok(found)
}

/// A flow on a face-centred cubic crystal of density 1.28.
fn crystal(name: String, particles: usize, batch: usize) -> Result<Case, Error> {
    let edge = (particles as f64 / 1.28).cbrt();
    let system = System::new(particles, 3)?.in_box(&[edge; 3])?;
    let sites = Lattice::Fcc.sites(system)?;
    let layers = PairwiseOptions { basis: 20, cutoff: 1.6, ..PairwiseOptions::default() };
    let base = BaseOptions {
        kind: BaseKind::Crystal,
        displacements: Displacements::Independent,
        ..BaseOptions::default()
    };
    let options = FlowOptions {
        base,
        base_scale: 0.07,
        augmentation_scale: 0.05,
        layers: vec![LayerGroup::Pairwise(layers)],
        ..FlowOptions::default()
    };
    let skeleton = Skeleton { structure: &sites, ..Skeleton::default() };
    // Neighbours are as many at any size.
    let push_scale = 0.04 / 18.0;
    Ok(of_flow(name, Flow::of_molecule(system, &[], Some(skeleton), &options)?, push_scale, batch))
}

/// About how many seconds [`Case::measure`] takes for all of `operations` on all `cases`, by their
/// arithmetic at a usual share of the product's speed.
pub fn time_to_measure(cases: &[Case], operations: &[Operation], seconds: f64) -> f64 {
    const SHARE: f64 = 0.7;
    let peak = Peak::new();
    peak.gflops();
    let speed = SHARE * 1e9 * peak.gflops();
    let pairs = cases.iter().flat_map(|case| operations.iter().map(move |&o| (case, o)));
    let times = pairs.map(|(case, operation)| {
        let run = case.operations(operation) * case.batch() as f64 / speed;
        run + seconds.max(FEWEST as f64 * run)
    });
    times.sum()
}

/// A flow of `layers` on `system`, its parameters off the identity, with a batch around the origin.
///
/// # Errors
/// Those of building a flow.
pub fn case(
    name: String,
    system: System,
    layers: LayerGroup,
    scale: f64,
    batch: usize,
) -> Result<Case, Error> {
    let options = FlowOptions {
        base_scale: scale,
        augmentation_scale: 0.2 * scale,
        layers: vec![layers],
        ..FlowOptions::default()
    };
    // Off the identity by as much as keeps a pairwise coupling's ‖H‖ about 1 for any number of
    // particles, as it is in trained flows: its Taylor steps follow from ‖H‖.
    let push_scale = 0.04 / system.particles() as f32;
    Ok(of_flow(name, Flow::new(system, &options)?, push_scale, batch))
}

fn of_flow(name: String, flow: Flow<f32>, push_scale: f32, batch: usize) -> Case {
    let normal = |sample, count: usize| -> Vec<f64> {
        let rng = stream(0, Purpose::Evaluation, 0, sample);
        StandardNormal.sample_iter(rng).take(count).collect()
    };
    let mut theta = flow.layout().initialize::<f32>(0);
    let pushes = normal(1, theta.len());
    for (theta, push) in theta.iter_mut().zip(pushes) {
        *theta += push_scale * push as f32;
    }
    let noise = normal(2, batch * flow.width());
    let (mut joint, mut log_prob) = (vec![0.0; noise.len()], vec![0.0; batch]);
    flow.sample_and_log_prob(&theta, &noise, &mut joint, &mut log_prob);
    Case { name, flow, theta, noise, joint }
}

impl Case {
    /// Samples of its batch.
    pub fn batch(&self) -> usize {
        self.joint.len() / self.flow.width()
    }

    /// Operations of one sample, counted on the first of the batch.
    pub fn operations(&self, operation: Operation) -> f64 {
        // Kernels are counted on the thread that runs them: the only one of this pool.
        rayon::ThreadPoolBuilder::new().num_threads(1).build().map_or(f64::NAN, |alone| {
            alone.install(|| count_operations(|| self.run_on(1, operation))) as f64
        })
    }

    /// Does `operation` once on the batch.
    pub fn run(&self, operation: Operation) {
        self.run_on(self.batch(), operation);
    }

    /// Does `operation` once on the first samples of the batch.
    fn run_on(&self, samples: usize, operation: Operation) {
        let Self { flow, theta, .. } = self;
        let lanes = samples * flow.width();
        let (noise, joint) = (&self.noise[..lanes], &self.joint[..lanes]);
        let mut log_prob = vec![0.0; samples];
        match operation {
            Operation::Sample => {
                let mut out = vec![0.0; joint.len()];
                flow.sample_and_log_prob(theta, noise, &mut out, &mut log_prob);
            }
            Operation::LogProb => flow.log_prob(theta, joint, &mut log_prob),
            Operation::InputGradient => {
                let mut gradient = vec![0.0; joint.len()];
                flow.log_prob_and_gradient(theta, joint, &mut log_prob, &mut gradient);
            }
            Operation::ParameterGradient => {
                let trajectory = flow.log_prob_recorded(theta, joint, &mut log_prob);
                let mut gradient = vec![0.0; theta.len()];
                let cotangent = vec![1.0; log_prob.len()];
                flow.log_prob_vjp(theta, &trajectory, &cotangent, &mut gradient);
            }
        }
    }

    /// Runs `operation` for about `seconds` after one run to warm up. Before and after every run
    /// the product is timed, because the clock of a shared machine wanders: the share is the median
    /// of the runs' shares, each of its own neighbours.
    pub fn measure(&self, operation: Operation, seconds: f64) -> Measurement {
        let per_sample = self.operations(operation);
        forget_peak_memory();
        let peak = Peak::new();
        self.run(operation);
        peak.gflops();
        let mut runs: Vec<(f64, f64, f64)> = Vec::new();
        let begin = Instant::now();
        let mut before = peak.gflops();
        while runs.len() < FEWEST || begin.elapsed().as_secs_f64() < seconds {
            let start = Instant::now();
            self.run(operation);
            let time = start.elapsed().as_secs_f64();
            let after = peak.gflops();
            let gflops = per_sample * self.batch() as f64 / time / 1e9;
            let beside = 0.5 * (before + after);
            runs.push((gflops / beside, gflops, beside));
            before = after;
        }
        let median = |value: fn(&(f64, f64, f64)) -> f64| {
            let mut values: Vec<f64> = runs.iter().map(value).collect();
            values.sort_by(f64::total_cmp);
            values[values.len() / 2]
        };
        let gflops = median(|run| run.1);
        Measurement {
            name: format!("{}: {}", self.name, operation.label()),
            batch: self.batch(),
            samples_per_second: gflops * 1e9 / per_sample,
            megaflop_per_sample: per_sample / 1e6,
            gflops,
            peak_gflops: median(|run| run.2),
            share_of_peak: median(|run| run.0),
            threads: rayon::current_num_threads(),
            peak_rss_mb: peak_memory(),
        }
    }
}

/// A large matrix product in f32 on all threads: 256 x 256 parameters times 256 x 192 numbers on
/// each thread, which stay in its second-level cache.
struct Peak {
    left: Vec<f32>,
    right: Vec<Lane<f32>>,
}

impl Peak {
    const SIZE: usize = 256;
    const ITEMS: usize = 12;
    /// Products of a timing, about 10 ms.
    const ROUNDS: usize = 80;

    fn new() -> Self {
        Self {
            left: vec![0.5; Self::SIZE * Self::SIZE],
            right: vec![Lane::splat(0.25); Self::SIZE * Self::ITEMS],
        }
    }

    /// Billions of operations per second.
    fn gflops(&self) -> f64 {
        let threads = rayon::current_num_threads();
        let start = Instant::now();
        rayon::broadcast(|_| {
            let mut out = vec![Lane::zero(); Self::SIZE * Self::ITEMS];
            for _ in 0..Self::ROUNDS {
                f32::dispatch(Product { peak: self, out: &mut out });
                std::hint::black_box(&mut out);
            }
        });
        let products = threads * Self::ROUNDS * Self::SIZE * Self::SIZE * Self::ITEMS * LANES;
        2.0 * products as f64 / start.elapsed().as_secs_f64() / 1e9
    }
}

struct Product<'a> {
    peak: &'a Peak,
    out: &'a mut [Lane<f32>],
}

impl Kernel<f32> for Product<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector<Scalar = f32>>(self) {
        let left = Matrix::new(&self.peak.left, Peak::SIZE, Peak::SIZE);
        matrix_product::<V>(left, &self.peak.right, self.out, Peak::ITEMS, false);
    }
}

/// The process's largest resident memory since [`forget_peak_memory`], in MB; Linux only.
fn peak_memory() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kilobytes: f64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kilobytes / 1024.0)
}

fn forget_peak_memory() {
    // Where this is not allowed the peak is that since the start.
    let _ = std::fs::write("/proc/self/clear_refs", "5");
}
