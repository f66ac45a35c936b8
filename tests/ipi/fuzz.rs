//! A client that sends anything at all: no panic, no hang, and the right energies from the other
//! one. `PROPTEST_CASES` sets how long this takes.

use std::io::{self, Read, Write};
use std::time::{Duration, Instant};

use boltzflow::potential::{Ipi, IpiParameters};
use proptest::prelude::*;

use super::fake::{connect, forceready, Fake, Fault};
use super::{batch, cluster, configurations, deviation, parameters, PARTICLES};

/// What the client sends when it is the server's turn to listen.
#[derive(Debug, Clone)]
enum Say {
    /// The correct name of a message.
    Name(&'static str),
    /// Forces after their name, cut off after this many bytes.
    Forces(Fault, usize),
    Bytes(Vec<u8>),
    Pause(u64),
    /// Waits for the next twelve bytes of the server.
    Listen,
}

fn say() -> impl Strategy<Value = Say> {
    const NAMES: [&str; 7] = ["READY", "NEEDINIT", "HAVEDATA", "FORCEREADY", "STATUS", "EXIT", ""];
    let faults = prop_oneof![
        Just(Fault::NanEnergy),
        any::<i32>().prop_map(Fault::Atoms),
        any::<i32>().prop_map(Fault::Extra),
    ];
    prop_oneof![
        4 => prop::sample::select(&NAMES[..]).prop_map(Say::Name),
        2 => (faults, 0..400usize).prop_map(|(fault, cut)| Say::Forces(fault, cut)),
        1 => prop::collection::vec(any::<u8>(), 0..100).prop_map(Say::Bytes),
        1 => (0..20u64).prop_map(Say::Pause),
        4 => Just(Say::Listen),
    ]
}

fn speak(script: &[Say], address: &str) -> io::Result<()> {
    let mut stream = connect(address);
    for say in script {
        match say {
            Say::Name(name) => stream.write_all(format!("{name:<12}").as_bytes())?,
            Say::Forces(fault, cut) => {
                // Never a finite number, which the server would have to accept.
                let mut message = b"FORCEREADY  ".to_vec();
                message.extend(forceready(*fault, f64::NAN, &[0.0; 3 * PARTICLES]));
                message.truncate(*cut);
                stream.write_all(&message)?;
            }
            Say::Bytes(bytes) => stream.write_all(bytes)?,
            Say::Pause(milliseconds) => std::thread::sleep(Duration::from_millis(*milliseconds)),
            Say::Listen => stream.read_exact(&mut [0; 12])?,
        }
    }
    Ok(())
}

fn config() -> ProptestConfig {
    let given = ProptestConfig { failure_persistence: None, ..ProptestConfig::default() };
    match std::env::var_os("PROPTEST_CASES") {
        Some(_) => given,
        None => ProptestConfig { cases: 32, ..given },
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn no_client_can_do_harm(
        scripts in prop::collection::vec(prop::collection::vec(say(), 0..20), 1..4)
    ) {
        let start = Instant::now();
        let [inner, whole] = cluster();
        let limits = IpiParameters { answer_seconds: 0.05, ..parameters("127.0.0.1:0") };
        let server = Ipi::new(limits).unwrap();
        let address = server.address().to_string();
        for script in scripts {
            let address = address.clone();
            std::thread::spawn(move || speak(&script, &address));
        }
        std::thread::sleep(Duration::from_millis(5));
        // A good client connects last, and again if it is too slow on a busy machine.
        let good = Fake::new(&inner, Fault::None).keep_at_it(&address);
        let x = configurations(4);
        let (got, want) = (batch(&server, &x), batch(&whole, &x));
        // An energy that is not finite is accepted only if another client agrees.
        if got.2 == 0 {
            prop_assert!(deviation(&got.0, &want.0) < 1e-12);
        }
        drop(server);
        good.join().unwrap();
        prop_assert!(start.elapsed() < Duration::from_secs(20), "it took {:?}", start.elapsed());
    }
}
