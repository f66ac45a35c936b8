//! `boltzflow bench`.

use crate::error::Error;
use crate::run::benchmark::{cases, time_to_measure, Measurement, Operation};
use crate::work;

use super::args::BenchArgs;
use super::output::{json, say};
use super::progress::time;

pub(super) fn run(args: &BenchArgs) -> Result<(), Error> {
    let (flows, operations) = args.filter.split_once(": ").unwrap_or((&args.filter, ""));
    // Each flow draws the batch that it is measured on.
    let preparing = work::begin("preparing the flows");
    let found = cases(flows, args.batch.get())?;
    let operations: Vec<Operation> =
        Operation::ALL.into_iter().filter(|o| o.label().contains(operations)).collect();
    if found.is_empty() || operations.is_empty() {
        let all: Vec<String> = cases("", 1)?.into_iter().map(|case| case.name).collect();
        return Err(Error::parameter(
            "FILTER",
            format!("`{}` is in no case: {}", args.filter, all.join(", ")),
        ));
    }
    let mut measured: Vec<Measurement> = Vec::new();
    let measurements = found.len() * operations.len();
    if !args.json {
        let seconds = time_to_measure(&found, &operations, args.seconds);
        say!("measurements: {measurements}, about {} in all", time(seconds))?;
        header()?;
    }
    drop(preparing);
    let work = work::begin("measuring");
    work::begin_parts(measurements);
    for case in &found {
        if !args.json {
            say!("")?;
        }
        for &operation in &operations {
            work.rename(format!("measuring {}: {}", case.name, operation.label()));
            let measurement = case.measure(operation, args.seconds);
            work::part_done();
            if !args.json {
                row(&measurement)?;
            }
            measured.push(measurement);
        }
    }
    drop(work);
    if args.json {
        return json(&measured);
    }
    say!(
        "\nThe share is that of a large matrix product on the same threads, timed before and after \
         each run."
    )
}

fn header() -> Result<(), Error> {
    say!(
        "{} threads, {}\n",
        rayon::current_num_threads(),
        crate::engine::instruction_set().name()
    )?;
    say!(
        "{:<43} {:>6} {:>10} {:>13} {:>7} {:>7} {:>6} {:>9}",
        "flow and operation",
        "batch",
        "samples/s",
        "MFLOP/sample",
        "GF/s",
        "peak",
        "share",
        "memory"
    )
}

fn row(m: &Measurement) -> Result<(), Error> {
    say!(
        "{:<43} {:>6} {:>10} {:>13.2} {:>7.0} {:>7.0} {:>4.0} % {:>6} MB",
        m.name,
        m.batch,
        significant(m.samples_per_second),
        m.megaflop_per_sample,
        m.gflops,
        m.peak_gflops,
        100.0 * m.share_of_peak,
        m.peak_rss_mb.map_or("?".into(), |mb| format!("{mb:.0}"))
    )
}

/// Three significant digits.
fn significant(value: f64) -> String {
    let digits = (2 - value.abs().log10().floor() as i32).max(0) as usize;
    format!("{value:.digits$}")
}
