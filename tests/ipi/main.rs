//! Potentials behind i-PI's socket protocol: the numbers arrive, whichever client answers, and the
//! worst that a client can do to a run is to leave it without an answer.

mod checks;
#[path = "../counted/mod.rs"]
mod counted;
mod fake;
mod fuzz;
mod periodic;
#[cfg(unix)]
mod sockets;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use boltzflow::config::{Recipe, Registry};
use boltzflow::error::{Error, EvaluationError};
use boltzflow::potential::{Ipi, IpiParameters, LennardJones, LennardJonesParameters, Potential};
use boltzflow::random::{stream, Purpose};
use boltzflow::system::System;
use boltzflow::train::TrainingState;
use counted::Counted;
use fake::{Fake, Fault};
use rand::Rng;

const PARTICLES: usize = 4;

/// The clients' part of a Lennard-Jones cluster, and the whole with its trap.
fn cluster() -> [Arc<dyn Potential>; 2] {
    [0.0, 0.7].map(|trap| {
        let parameters =
            LennardJonesParameters { trap, ..LennardJonesParameters::new(PARTICLES, 3, 1.0) };
        Arc::new(LennardJones::new(parameters).unwrap()) as Arc<dyn Potential>
    })
}

/// A server for [`cluster`] with the atomic units of [`fake`].
fn parameters(address: &str) -> IpiParameters {
    IpiParameters {
        address: address.into(),
        species: vec!["Ar".into(); PARTICLES],
        length: format!("{} bohr", fake::BOHR),
        temperature: format!("{} hartree", fake::KT),
        trap: 0.7,
        edges: None,
        answer_seconds: 10.0,
        wait_seconds: 10.0,
    }
}

fn server() -> Ipi {
    Ipi::new(parameters("127.0.0.1:0")).unwrap()
}

/// Configurations of the cluster near its minimum, off the origin.
fn configurations(count: usize) -> Vec<f64> {
    let corners = [[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.5, 0.9, 0.0], [0.5, 0.3, 0.8]];
    (0..count)
        .flat_map(|sample| {
            let mut rng = stream(1, Purpose::Evaluation, 0, sample as u64);
            let x: Vec<f64> =
                corners.iter().flatten().map(|c| 3.0 + c + rng.gen_range(-0.1..0.1)).collect();
            x
        })
        .collect()
}

/// Energies, gradients and failures of a batch.
fn batch(potential: &dyn Potential, x: &[f64]) -> (Vec<f64>, Vec<f64>, usize) {
    let mut energies = vec![f64::NAN; x.len() / (3 * PARTICLES)];
    let mut gradients = vec![f64::NAN; x.len()];
    let failures = potential.energies_and_gradients(x, &mut energies, &mut gradients).unwrap();
    (energies, gradients, failures)
}

/// Largest deviation of a from b, relative to the size of b where that is over 1.
fn deviation(a: &[f64], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| (a - b).abs() / b.abs().max(1.0)).fold(0.0, f64::max)
}

/// Lets computations begin only when `count` clients have one in hand at the same time.
fn meeting(count: usize) -> Arc<dyn Fn() + Send + Sync> {
    let present = (Mutex::new(0), Condvar::new());
    Arc::new(move || {
        let mut waiting = present.0.lock().unwrap();
        *waiting += 1;
        present.1.notify_all();
        let patience = Duration::from_secs(8);
        let met = present.1.wait_timeout_while(waiting, patience, |w| *w < count).unwrap();
        assert!(!met.1.timed_out(), "there were never {count} clients at work");
    })
}

#[test]
fn energies_and_gradients_are_those_of_the_clients_potential() {
    let [inner, whole] = cluster();
    let x = configurations(20);
    let want = batch(&whole, &x);
    let mut addresses = vec!["127.0.0.1:0".to_string(), "localhost:0".to_string()];
    if cfg!(unix) {
        addresses.push(format!("unix:boltzflow_test_{}", std::process::id()));
    }
    for address in addresses {
        for manner in [Fault::None, Fault::NeedsInit, Fault::Talks(100_000)] {
            let server = Ipi::new(parameters(&address)).unwrap();
            let client = Fake::new(&inner, manner).start(server.address());
            let got = batch(&server, &x);
            assert_eq!(got.2, 0);
            assert!(deviation(&got.0, &want.0) < 1e-12 && deviation(&got.1, &want.1) < 1e-12);
            let mut gradient = [0.0; 3 * PARTICLES];
            let energy = server.energy_and_gradient(&x[..3 * PARTICLES], &mut gradient).unwrap();
            assert_eq!((energy, &gradient[..]), (got.0[0], &got.1[..3 * PARTICLES]));
            drop(server);
            assert!(client.join().unwrap(), "the client was not told that it is over");
        }
    }
    // Planted: a trap that differs by 1 in 1e9.
    let trap = 0.7 * (1.0 + 1e-9);
    let other = Ipi::new(IpiParameters { trap, ..parameters("127.0.0.1:0") }).unwrap();
    Fake::new(&inner, Fault::None).start(other.address());
    assert!(deviation(&batch(&other, &x).0, &want.0) > 1e-11);
}

#[test]
fn what_a_client_does_wrong_another_one_puts_right() {
    let [inner, whole] = cluster();
    let x = configurations(40);
    let want = batch(&whole, &x).0;
    for fault in [
        Fault::DiesInMessage,
        Fault::DiesAtWork,
        Fault::DiesIdle,
        Fault::Hangs,
        Fault::Trickles,
        Fault::Forgets,
        Fault::Atoms(PARTICLES as i32 + 1),
        Fault::Atoms(-1),
        Fault::Atoms(i32::MAX),
        Fault::Extra(i32::MAX),
        Fault::Extra(-1),
        Fault::Garbage("READY"),
        Fault::Garbage("HAVEDATA"),
        Fault::Garbage("FORCEREADY"),
        Fault::NanEnergy,
        Fault::InfiniteForce,
    ] {
        // Short only where the time is tested, since a busy machine may be slow.
        let slow = matches!(fault, Fault::Hangs | Fault::Trickles);
        let answer_seconds = if slow { 1.0 } else { 10.0 };
        let limits = IpiParameters { answer_seconds, ..parameters("127.0.0.1:0") };
        let server = Ipi::new(limits).unwrap();
        let address = server.address().to_string();
        let server = Counted::new(server);
        let at_work = meeting(2);
        let faulty = Fake { good: 3, at_work: at_work.clone(), ..Fake::new(&inner, fault) };
        let good = Fake { at_work, ..Fake::new(&inner, Fault::None) };
        let (faulty, good) = (faulty.start(&address), good.keep_at_it(&address));
        let got = batch(&server, &x);
        assert_eq!(got.2, 0, "{fault:?}");
        assert!(deviation(&got.0, &want) < 1e-12, "{fault:?}");
        assert_eq!((server.counts().evaluations(), server.counts().failures()), (40, 0));
        drop(server);
        assert!(good.join().unwrap(), "{fault:?}");
        faulty.join().unwrap();
    }
}

#[test]
fn a_configuration_without_an_energy_fails_by_itself() {
    let [inner, whole] = cluster();
    let mut x = configurations(4);
    let coordinates = 3 * PARTICLES;
    // Two particles in one place; one outside the cell; one at NaN.
    x.copy_within(0..3, 3);
    x[coordinates] = 1e6;
    x[2 * coordinates] = f64::NAN;
    for clients in [1, 3] {
        let server = server();
        for _ in 0..clients {
            Fake::new(&inner, Fault::None).start(server.address());
        }
        let got = batch(&server, &x);
        assert_eq!(got.2, 3);
        assert!(got.0[..3].iter().all(|u| *u == f64::INFINITY));
        assert!(got.1[..3 * coordinates].iter().all(|g| *g == 0.0));
        let last = &x[3 * coordinates..];
        assert!(deviation(&got.0[3..], &batch(&whole, last).0) < 1e-12);
        for (sample, words) in
            ["not a finite number", "outside the cell", "outside the cell"].into_iter().enumerate()
        {
            let x = &x[sample * coordinates..(sample + 1) * coordinates];
            let error = server.energy_and_gradient(x, &mut vec![0.0; coordinates]).unwrap_err();
            assert!(
                matches!(&error, EvaluationError::Recoverable(m) if m.contains(words)),
                "{error}"
            );
        }
        let error = server.energy_and_gradient(&x[1..], &mut [0.0; 3]).unwrap_err();
        assert!(matches!(error, EvaluationError::Fatal(_)));
    }
}

#[test]
fn a_configuration_that_breaks_every_client_is_given_up_and_clients_that_never_work_end_the_run() {
    let [inner, _] = cluster();
    let x = configurations(40);
    let server = server();
    let address = server.address().to_string();
    let stop = Arc::new(AtomicUsize::new(0));
    // A supervisor that starts the client again whenever it dies.
    let supervisor = std::thread::spawn({
        let (inner, stop) = (inner.clone(), stop.clone());
        move || {
            while stop.load(Ordering::Relaxed) == 0 {
                Fake::new(&inner, Fault::DiesAtWork).start(&address).join().unwrap();
            }
        }
    });
    let error = server.energy_and_gradient(&x[..12], &mut [0.0; 12]).unwrap_err();
    assert!(matches!(error, EvaluationError::Recoverable(_)), "{error}");
    assert!(error.to_string().contains("3 clients failed on it"), "{error}");
    let error = server.energies_and_gradients(&x, &mut [0.0; 40], &mut [0.0; 480]).unwrap_err();
    assert!(matches!(error, EvaluationError::Fatal(_)), "{error}");
    assert!(error.to_string().contains("100 times in a row"), "{error}");
    stop.store(1, Ordering::Relaxed);
    drop(server);
    supervisor.join().unwrap();
}

#[test]
fn without_a_client_evaluation_ends_with_a_message() {
    let server =
        Ipi::new(IpiParameters { wait_seconds: 0.6, ..parameters("127.0.0.1:0") }).unwrap();
    // A connection that sends nothing does not count as a client.
    let _mute = fake::connect(server.address());
    let x = configurations(4);
    // Callers on other threads get the same error.
    let messages: Vec<String> = std::thread::scope(|scope| {
        let call = || {
            let error = server.energies_and_gradients(&x, &mut [0.0; 4], &mut [0.0; 48]);
            let error = error.unwrap_err();
            assert!(matches!(error, EvaluationError::Fatal(_)));
            error.to_string()
        };
        let threads = [scope.spawn(call), scope.spawn(call)];
        threads.into_iter().map(|t| t.join().unwrap()).collect()
    });
    for message in messages {
        for words in [server.address(), "missing for 0.6 s", "1 connected", "wait_seconds"] {
            assert!(message.contains(words), "{message}");
        }
    }
}

#[test]
fn a_client_may_come_late_and_all_of_them_share_a_single_call() {
    let [inner, whole] = cluster();
    let x = configurations(16);
    let server = server();
    let got = std::thread::scope(|scope| {
        let call = scope.spawn(|| batch(&server, &x));
        std::thread::sleep(Duration::from_millis(100));
        // Eight configurations of one call are in work at the same time.
        let at_work = meeting(8);
        for _ in 0..8 {
            let client = Fake::new(&inner, Fault::None);
            Fake { at_work: at_work.clone(), ..client }.start(server.address());
        }
        call.join().unwrap()
    });
    assert!(deviation(&got.0, &batch(&whole, &x).0) < 1e-12);
}

#[test]
fn wrong_parameters_are_refused_by_name() {
    let good = parameters("127.0.0.1:0");
    for (field, parameters) in [
        ("address", IpiParameters { address: "localhost".into(), ..good.clone() }),
        ("address", IpiParameters { address: "localhost:99999".into(), ..good.clone() }),
        ("address", IpiParameters { address: "192.0.2.1:31415".into(), ..good.clone() }),
        ("address", IpiParameters { address: "unix:".into(), ..good.clone() }),
        ("address", IpiParameters { address: "unix:../x".into(), ..good.clone() }),
        ("species", IpiParameters { species: vec!["Ar".into()], ..good.clone() }),
        ("species", IpiParameters { species: vec!["Ar".into(), " ".into()], ..good.clone() }),
        ("length", IpiParameters { length: "1 K".into(), ..good.clone() }),
        ("length", IpiParameters { length: "-1 nm".into(), ..good.clone() }),
        ("temperature", IpiParameters { temperature: "0 K".into(), ..good.clone() }),
        ("trap", IpiParameters { trap: -1.0, ..good.clone() }),
        ("answer_seconds", IpiParameters { answer_seconds: 0.0, ..good.clone() }),
        ("wait_seconds", IpiParameters { wait_seconds: f64::NAN, ..good.clone() }),
    ] {
        let message = Ipi::new(parameters).unwrap_err().to_string();
        assert!(message.starts_with(&format!("`{field}`")), "{message}");
    }
}

const RECIPE: &str = "
format = 1
target = 'cluster'
[flow]
augmentation_scale = 0.3
base_scale = 0.6
layers = [{ coupling = 'pairwise', repeat = 1, width = 4, basis = 4 }]
[train]
steps = 5
batch_size = 32
[train.fab]
updates_per_annealing = 2
intermediate_distributions = 2
buffer = { min_batches = 2, max_batches = 4 }
";

/// Trains on the clients that `start` starts.
fn trained(start: impl Fn(&str)) -> TrainingState {
    let recipe = Recipe::from_text(RECIPE, "recipe".as_ref()).unwrap();
    let server = server();
    start(server.address());
    let problem = recipe.problem(Arc::new(server)).unwrap();
    let trainer = recipe.trainer(&problem, problem.flow.system()).unwrap();
    let mut state = trainer.start(&problem);
    for _ in 0..recipe.train.descent.steps {
        trainer.step(&problem, &mut state).unwrap();
        state.step += 1;
    }
    state
}

#[test]
fn a_training_that_loses_a_client_halfway_ends_as_one_with_healthy_clients() {
    let [inner, whole] = cluster();
    let one = trained(|address| {
        Fake::new(&inner, Fault::None).start(address);
    });
    let two = trained(|address| {
        let dying = Fake { good: 700, ..Fake::new(&inner, Fault::DiesInMessage) };
        dying.start(address);
        Fake::new(&inner, Fault::None).start(address);
    });
    assert!(one == two, "the states differ");
    assert!(one.counters.energy_evaluations > 2000, "{}", one.counters.energy_evaluations);
    // Planted: another potential, that of the cluster with its trap counted twice.
    let other = trained(|address| {
        Fake::new(&whole, Fault::None).start(address);
    });
    assert!(one != other);
}

#[test]
fn a_target_file_makes_a_server() {
    let text = "format = 1\nname = 'pair'\nkind = 'ipi'\naddress = '127.0.0.1:0'\n\
        species = ['Ar', 'Ar']\nlength = '3.4 angstrom'\ntemperature = '30 K'\n";
    let load = |text: &str| Registry::builtin().target_from_text(text, "pair.toml".as_ref());
    let target = load(text).unwrap();
    assert_eq!(target.potential.system().particles(), 2);
    assert_eq!(target.potential.system().dimension(), 3);
    let unlike = load(&text.replace("'Ar', 'Ar'", "'H', 'H', 'O', 'H', 'C'")).unwrap();
    assert_eq!(unlike.potential.species(), [0, 0, 1, 0, 2]);
    let error = load(&text.replace("30 K", "30 nm")).unwrap_err();
    assert!(matches!(error, Error::Config { .. }));
    assert!(error.to_string().contains("`temperature` is \"30 nm\""), "{error}");
}

/// The program without a client ends with a checkpoint, and continues when there is one.
#[cfg(unix)]
#[test]
fn a_run_that_finds_no_client_goes_on_when_there_is_one() {
    use std::process::{Command, Stdio};
    let place = tempfile::tempdir().unwrap();
    let name = format!("boltzflow_run_{}", std::process::id());
    let target = format!(
        "format = 1\nname = 'cluster'\nkind = 'ipi'\naddress = 'unix:{name}'\n\
         species = ['Ar', 'Ar', 'Ar', 'Ar']\nlength = '{} bohr'\ntemperature = '{} hartree'\n\
         trap = 0.7\nwait_seconds = 0.7\n",
        fake::BOHR,
        fake::KT
    );
    std::fs::write(place.path().join("cluster.toml"), target).unwrap();
    let recipe = RECIPE.replace("'cluster'", "'cluster.toml'");
    let evaluation = "[evaluate]\nsamples = 64\nreference_samples = 0\n";
    std::fs::write(place.path().join("run.toml"), recipe + evaluation).unwrap();
    let start = || {
        Command::new(env!("CARGO_BIN_EXE_boltzflow"))
            .args(["--threads", "2", "train", "run.toml"])
            .current_dir(place.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    };
    let ended = start().wait_with_output().unwrap();
    let said = String::from_utf8(ended.stderr).unwrap();
    assert_eq!(ended.status.code(), Some(3), "{said}");
    for words in
        ["no client, waiting 1 s", "missing for 0.7 s", "checkpoint of step 0", "same command"]
    {
        assert!(said.contains(words), "no {words:?} in: {said}");
    }

    let program = start();
    let socket = format!("/tmp/ipi_{name}");
    let patience = Instant::now();
    while !std::path::Path::new(&socket).exists() && patience.elapsed() < Duration::from_secs(20) {
        std::thread::sleep(Duration::from_millis(10));
    }
    let client = Fake::new(&cluster()[0], Fault::None).start(&socket);
    let ended = program.wait_with_output().unwrap();
    let (out, said) = [ended.stdout, ended.stderr].map(|t| String::from_utf8(t).unwrap()).into();
    assert!(ended.status.success() && client.join().unwrap(), "{said}");
    assert!(out.contains("resuming after step 0") && out.contains("reverse ESS"), "{out}");
    assert!(place.path().join("run/model.safetensors").exists());
    assert!(!place.path().join("run-2").exists());
}

/// Free particles: nothing but the protocol costs time.
struct Free(System);

impl Potential for Free {
    fn system(&self) -> System {
        self.0
    }

    fn energy_and_gradient(&self, _: &[f64], gradient: &mut [f64]) -> Result<f64, EvaluationError> {
        gradient.fill(0.0);
        Ok(0.0)
    }
}

/// Not a test: what the protocol costs, by
/// `cargo test --release --test ipi -- --ignored --nocapture overhead`.
#[test]
#[ignore = "a measurement"]
fn overhead() {
    let free: Arc<dyn Potential> = Arc::new(Free(System::new(PARTICLES, 3).unwrap()));
    let address = format!("unix:boltzflow_overhead_{}", std::process::id());
    for address in ["127.0.0.1:0", &address] {
        for clients in [1, 2] {
            let server = Ipi::new(parameters(address)).unwrap();
            let at_work = meeting(clients);
            for _ in 0..clients {
                let client = Fake::new(&free, Fault::None);
                Fake { at_work: at_work.clone(), ..client }.start(server.address());
            }
            let x = configurations(16);
            batch(&server, &x);
            let mut single: Vec<f64> = (0..20_000)
                .map(|_| {
                    let start = Instant::now();
                    server.energy_and_gradient(&x[..12], &mut [0.0; 12]).unwrap();
                    1e6 * start.elapsed().as_secs_f64()
                })
                .collect();
            single.sort_by(f64::total_cmp);
            let mut batches: Vec<f64> = (0..2000)
                .map(|_| {
                    let start = Instant::now();
                    batch(&server, &x);
                    1e6 * start.elapsed().as_secs_f64() / 16.0 * clients as f64
                })
                .collect();
            batches.sort_by(f64::total_cmp);
            println!(
                "{address} with {clients} clients: one configuration p50 {:.1} us, p90 {:.1} us; \
                 of a batch of 16, per evaluation and client, p50 {:.1} us, p90 {:.1} us",
                single[10_000], single[18_000], batches[1000], batches[1800]
            );
        }
    }
}
