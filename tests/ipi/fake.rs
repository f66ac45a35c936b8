//! A client in a thread that computes a built-in potential, correctly or with a planted fault.

use std::io::{self, Read, Write};
use std::net::TcpStream;
#[cfg(unix)]
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use boltzflow::potential::Potential;

/// Atomic units of the targets in these tests: 1 length = 2 bohr, kT = 0.01 hartree.
pub const BOHR: f64 = 2.0;
pub const KT: f64 = 0.01;

/// What a client does wrong.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Fault {
    None,
    /// Wants to be initialised before every configuration, which is allowed.
    NeedsInit,
    /// Closes the connection in the middle of the forces.
    DiesInMessage,
    /// Closes the connection instead of computing.
    DiesAtWork,
    /// Closes the connection after an answer.
    DiesIdle,
    /// Sends nothing more.
    Hangs,
    /// Sends its answer byte by byte, each in time.
    Trickles,
    /// Reports that it is ready when it should have data.
    Forgets,
    /// Answers with this many atoms.
    Atoms(i32),
    /// Announces this many bytes of additional data.
    Extra(i32),
    /// Sends this many bytes of additional data, which is allowed.
    Talks(usize),
    NanEnergy,
    InfiniteForce,
    /// Sends something else instead of this message.
    Garbage(&'static str),
}

/// How a client behaves.
#[derive(Clone)]
pub struct Fake {
    /// In units of kT and length.
    pub potential: Arc<dyn Potential>,
    pub fault: Fault,
    /// Good answers before the fault.
    pub good: usize,
    /// Called before each computation.
    pub at_work: Arc<dyn Fn() + Send + Sync>,
}

impl Fake {
    pub fn new(potential: &Arc<dyn Potential>, fault: Fault) -> Self {
        Self { potential: potential.clone(), fault, good: 0, at_work: Arc::new(|| ()) }
    }

    /// Connects and works until it is dismissed (true) or the connection ends (false).
    pub fn start(self, address: &str) -> JoinHandle<bool> {
        let stream = connect(address);
        std::thread::spawn(move || self.work(stream).unwrap_or(false))
    }

    /// The same, but it connects again whenever the connection ends, until there is no server.
    pub fn keep_at_it(self, address: &str) -> JoinHandle<bool> {
        let address = address.to_string();
        std::thread::spawn(move || {
            while let Ok(stream) = try_connect(&address) {
                if let Ok(true) = self.clone().work(stream) {
                    return true;
                }
            }
            false
        })
    }

    fn work(self, mut stream: Box<dyn Stream>) -> io::Result<bool> {
        let n = self.potential.system().particles();
        let mut answer: Option<(f64, Vec<f64>)> = None;
        let mut initialised = self.fault != Fault::NeedsInit;
        let mut answered = 0;
        loop {
            let mut name = [0; 12];
            stream.read_exact(&mut name)?;
            let fault = if answered < self.good { Fault::None } else { self.fault };
            match std::str::from_utf8(&name).unwrap().trim_end() {
                "STATUS" => {
                    let status = match &answer {
                        _ if !initialised => "NEEDINIT",
                        Some(_) => "HAVEDATA",
                        None => "READY",
                    };
                    say(
                        &mut stream,
                        if fault == Fault::Forgets { "READY" } else { status },
                        fault,
                    )?;
                }
                "INIT" => {
                    assert_eq!(stream.integer()?, 0);
                    let length = stream.integer()?;
                    stream.skip(length as usize)?;
                    initialised = true;
                }
                "POSDATA" => {
                    assert!(initialised && answer.is_none());
                    let cell = stream.numbers(18)?;
                    let system = self.potential.system();
                    for i in 0..9 {
                        let edge = match system.periodic_box() {
                            _ if i % 4 != 0 => 0.0,
                            None => 1000.0,
                            Some(edges) => edges[i / 4] * BOHR,
                        };
                        let inverse = if edge > 0.0 { 1.0 / edge } else { 0.0 };
                        let found = [(cell[i], edge), (cell[i + 9], inverse)];
                        assert!(found.iter().all(|(a, b)| (a - b).abs() <= 1e-12 * b), "{found:?}");
                    }
                    assert_eq!(stream.integer()? as usize, n);
                    let x: Vec<f64> = stream.numbers(3 * n)?.iter().map(|x| x / BOHR).collect();
                    (self.at_work)();
                    match fault {
                        Fault::DiesAtWork => return Ok(false),
                        Fault::Hangs => {
                            io::copy(&mut stream, &mut io::sink())?;
                            return Ok(false);
                        }
                        _ => {}
                    }
                    let mut forces = vec![0.0; 3 * n];
                    let energy = self.potential.energy_and_gradient(&x, &mut forces);
                    let mut energy = energy.unwrap_or(f64::INFINITY) * KT;
                    forces.iter_mut().for_each(|g| *g *= -KT / BOHR);
                    match fault {
                        Fault::NanEnergy => energy = f64::NAN,
                        Fault::InfiniteForce => forces[0] = f64::INFINITY,
                        _ => {}
                    }
                    answer = Some((energy, forces));
                }
                "GETFORCE" => {
                    let (energy, forces) = answer.take().unwrap();
                    say(&mut stream, "FORCEREADY", fault)?;
                    let message = forceready(fault, energy, &forces);
                    match fault {
                        Fault::DiesInMessage => {
                            stream.write_all(&message[..message.len() / 2])?;
                            return Ok(false);
                        }
                        Fault::Trickles => {
                            for byte in message {
                                std::thread::sleep(Duration::from_millis(20));
                                stream.write_all(&[byte])?;
                            }
                        }
                        _ => stream.write_all(&message)?,
                    }
                    if fault == Fault::DiesIdle {
                        return Ok(false);
                    }
                    answered += 1;
                    initialised = fault != Fault::NeedsInit;
                }
                "EXIT" => return Ok(true),
                other => panic!("the server said {other:?}"),
            }
        }
    }
}

/// The data after FORCEREADY.
pub fn forceready(fault: Fault, energy: f64, forces: &[f64]) -> Vec<u8> {
    let mut out = energy.to_le_bytes().to_vec();
    let atoms = match fault {
        Fault::Atoms(n) => n,
        _ => (forces.len() / 3) as i32,
    };
    out.extend(atoms.to_le_bytes());
    out.extend(forces.iter().chain(&[0.0; 9]).flat_map(|f| f.to_le_bytes()));
    let (extra, said) = match fault {
        Fault::Extra(n) => (n, 0),
        Fault::Talks(n) => (n as i32, n),
        _ => (0, 0),
    };
    out.extend(extra.to_le_bytes());
    out.extend(std::iter::repeat_n(b'x', said));
    out
}

fn say(stream: &mut Box<dyn Stream>, name: &str, fault: Fault) -> io::Result<()> {
    let name = if fault == Fault::Garbage(leak(name)) { "\u{7f}\0GARBAGE" } else { name };
    stream.write_all(format!("{name:<12}").as_bytes())
}

/// The name as [`Fault::Garbage`] has it.
fn leak(name: &str) -> &'static str {
    ["READY", "HAVEDATA", "FORCEREADY"].into_iter().find(|n| *n == name).unwrap_or("")
}

pub trait Stream: Read + Write + Send {
    fn integer(&mut self) -> io::Result<i32> {
        let mut bytes = [0; 4];
        self.read_exact(&mut bytes)?;
        Ok(i32::from_le_bytes(bytes))
    }

    fn numbers(&mut self, count: usize) -> io::Result<Vec<f64>> {
        let mut bytes = vec![0; 8 * count];
        self.read_exact(&mut bytes)?;
        Ok(bytes.chunks_exact(8).map(|b| f64::from_le_bytes(b.try_into().unwrap())).collect())
    }

    fn skip(&mut self, count: usize) -> io::Result<()> {
        self.read_exact(&mut vec![0; count])
    }
}

impl<T: Read + Write + Send> Stream for T {}

/// A connection to [`Ipi::address`](boltzflow::potential::Ipi::address).
pub fn connect(address: &str) -> Box<dyn Stream> {
    try_connect(address).unwrap()
}

fn try_connect(address: &str) -> io::Result<Box<dyn Stream>> {
    #[cfg(unix)]
    if address.starts_with('/') {
        return Ok(Box::new(UnixStream::connect(address)?));
    }
    let stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    Ok(Box::new(stream))
}
