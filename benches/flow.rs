//! Criterion's statistics of the flow's operations, then the table of `boltzflow bench`.
//!
//! `cargo bench` for DW4 and LJ13, `cargo bench -- lj13-pairwise` for one flow.

use std::process::ExitCode;
use std::time::Duration;

use boltzflow::run::benchmark::{cases, Case, Measurement, Operation};
use criterion::{Criterion, Throughput};

fn criterion(cases: &[Case]) {
    let mut criterion = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(2))
        .configure_from_args();
    for case in cases {
        let mut group = criterion.benchmark_group(&case.name);
        group.throughput(Throughput::Elements(case.batch() as u64));
        for operation in Operation::ALL {
            group.bench_function(operation.label(), |bencher| bencher.iter(|| case.run(operation)));
        }
        group.finish();
    }
    criterion.final_summary();
}

fn main() -> ExitCode {
    // `cargo test --benches` only asks whether it runs.
    if std::env::args().any(|argument| argument == "--test") {
        return ExitCode::SUCCESS;
    }
    let cases = match cases("", 256) {
        Ok(cases) => cases,
        Err(error) => {
            eprintln!("error: {error}");
            return ExitCode::from(3);
        }
    };
    criterion(&cases);
    println!("{:<43} {:>10} {:>9} {:>6}", "flow and operation", "samples/s", "GF/s", "share");
    for case in &cases {
        for operation in Operation::ALL {
            let Measurement { name, samples_per_second, gflops, share_of_peak, .. } =
                case.measure(operation, 0.5);
            let share = 100.0 * share_of_peak;
            println!("{name:<43} {samples_per_second:>10.0} {gflops:>9.0} {share:>4.0} %");
        }
    }
    ExitCode::SUCCESS
}
