//! Energies and forces of another program, through i-PI's socket protocol.

mod address;
mod client;
mod pool;
mod protocol;

use std::sync::mpsc::channel;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::pairs::{check_lengths, settle};
use super::{require_not_negative, require_positive, units, EvaluationError, Potential};
use crate::error::{refuse, Error};
use crate::parallel::team;
use crate::system::System;
use address::Listener;
use client::CELL;
use pool::{Job, Pool};
use protocol::Answer;

/// What defines an [`Ipi`], unchecked; the keys of a target file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IpiParameters {
    /// Where clients connect: `HOST:PORT`, or `unix:NAME` for the UNIX socket /tmp/ipi_NAME, where
    /// NAME is what clients are given. With port 0 the system chooses one.
    pub address: String,
    /// A symbol for every particle, in the order of the clients' atoms. Particles with the same
    /// symbol can be exchanged without changing the energy: where the clients' force field has
    /// bonds between certain atoms, unlike ones need different symbols, such as "H1" and "H2". The
    /// protocol does not carry symbols, so each client must know its own atoms.
    pub species: Vec<String>,
    /// The length that counts as 1, such as "1 angstrom" or a molecule's size.
    pub length: String,
    /// Temperature such as "300 K", or kT such as "2.5 kJ/mol".
    pub temperature: String,
    /// Stiffness k of a trap around the centre of mass, in kT per squared length (default 0). A
    /// system that can fly apart needs one: without it exp(−U) cannot be normalised.
    #[serde(default)]
    pub trap: f64,
    /// Edges of a periodic box along the axes, in units of `length` (default: none). Clients get it
    /// as their cell and must be periodic themselves; there is no trap in it.
    #[serde(default, rename = "box")]
    pub edges: Option<Vec<f64>>,
    /// Seconds that a client may take for an answer before it is dropped (default 300).
    #[serde(default = "five_minutes")]
    pub answer_seconds: f64,
    /// Seconds without any client after which the run stops (default 300).
    #[serde(default = "five_minutes")]
    pub wait_seconds: f64,
}

fn five_minutes() -> f64 {
    300.0
}

/// U(x) = V(x)/kT + ½ k Σ_i ‖x_i − x̄‖², where another program computes V, as a client of i-PI's
/// socket protocol.
///
/// boltzflow is the server, the role that i-PI has, and any program that computes forces for i-PI
/// is a client: ASE (`SocketClient`, with any of its calculators), i-PI's drivers, LAMMPS (`fix
/// ipi`), CP2K and others. In a target file:
///
/// ```toml
/// format = 1
/// name = "argon4"
/// kind = "ipi"
/// address = "unix:argon4"             # or "localhost:31415"
/// species = ["Ar", "Ar", "Ar", "Ar"]  # in the order of the clients' atoms
/// length = "3.4 angstrom"             # the length that counts as 1
/// temperature = "30 K"
/// trap = 1.0
/// ```
///
/// Any number of clients may connect, at any time. Each free client gets the next configuration, so
/// all are busy even if there are more clients than threads. A client that disconnects, takes too
/// long or sends something malformed is dropped with a warning; it may connect again, and its
/// configuration goes to another client.
///
/// Clients get positions around the origin in a cubic cell of 1000 bohr, meant as no cell at all,
/// or in that of a periodic `box`, whose crystals may be sampled around `[[structure]]`.
///
/// A configuration has no finite energy ([`EvaluationError::Recoverable`]) when it does not fit
/// into the cell, when two clients (or the only one) answer with a number that is not finite, or
/// when three clients fail on it. When there is no client for `wait_seconds`, or after a hundred
/// failures in a row, evaluation ends with [`EvaluationError::Fatal`].
///
/// Protocol: Ceriotti, More and Manolopoulos, Comput. Phys. Commun. 185, 1019 (2014); Litman et
/// al., J. Chem. Phys. 161, 062504 (2024). `examples/ipi/README.md` has a worked example.
pub struct Ipi {
    system: System,
    /// Of each particle, numbered from 0 as they appear.
    species: Vec<usize>,
    pool: Arc<Pool>,
    listener: Option<JoinHandle<()>>,
    /// Bohr per unit of length.
    bohr: f64,
    /// Energies in kT per hartree.
    hartree: f64,
    trap: f64,
}

impl std::fmt::Debug for Ipi {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ipi").field("address", &self.address()).finish_non_exhaustive()
    }
}

impl Ipi {
    /// Checks `parameters` and listens for clients from now on.
    ///
    /// # Errors
    /// [`Error::Parameter`] with the name of the offending field, also when the address is taken.
    pub fn new(parameters: IpiParameters) -> Result<Self, Error> {
        let IpiParameters { address, species, length, temperature, .. } = &parameters;
        let wrong = |field: &'static str| move |problem: String| Error::parameter(field, problem);
        if species.len() < 2 {
            let problem = format!("has {} entries: name at least 2 particles", species.len());
            return refuse("species", problem);
        }
        if species.iter().any(|symbol| symbol.trim().is_empty()) {
            return refuse("species", "has an empty symbol: name the particle");
        }
        let mut system = System::new(species.len(), 3)?;
        let mut symbols: Vec<&String> = Vec::new();
        let mut numbers = Vec::with_capacity(species.len());
        for symbol in species {
            let number = symbols.iter().position(|known| *known == symbol);
            numbers.push(number.unwrap_or(symbols.len()));
            if number.is_none() {
                symbols.push(symbol);
            }
        }
        let unit = units::length(length).map_err(wrong("length"))?;
        require_positive("length", unit)?;
        let kt = units::thermal_energy(temperature).map_err(wrong("temperature"))?;
        let trap = parameters.trap;
        require_not_negative("trap", trap)?;
        let mut cell = [CELL; 3];
        if let Some(edges) = &parameters.edges {
            system = system.in_box(edges)?;
            if trap != 0.0 {
                let problem = "in a box, which holds the particles by itself: use 0";
                return refuse("trap", format!("is {trap} {problem}"));
            }
            cell = std::array::from_fn(|k| edges[k] * unit / units::BOHR);
        }
        let seconds = |field: &str, value: f64| match value {
            value if value > 0.0 && value <= 1e7 => Ok(Duration::from_secs_f64(value)),
            _ => refuse(field, format!("is {value}: use seconds over 0, up to 1e7")),
        };
        let answer_limit = seconds("answer_seconds", parameters.answer_seconds)?;
        let wait_limit = seconds("wait_seconds", parameters.wait_seconds)?;
        let (bohr, hartree) = (unit / units::BOHR, units::HARTREE / kt);

        let address = address.replace("{rank}", &team().rank().to_string());
        let listener = Listener::bind(&address)?;
        let pool = Arc::new(Pool::new(listener.address(), cell, answer_limit, wait_limit));
        let clients = pool.clone();
        let listener = std::thread::Builder::new()
            .name("ipi listener".into())
            .spawn(move || clients.listen(listener))
            .map_err(|e| Error::Run(format!("cannot start a thread: {e}")))?;
        Ok(Self { system, species: numbers, pool, listener: Some(listener), bohr, hartree, trap })
    }

    /// Where it listens: `HOST:PORT` with the real port, or the path of a UNIX socket.
    pub fn address(&self) -> &str {
        self.pool.address()
    }

    /// Evaluates the configurations in `x`, around the origin where `centred`, with all clients;
    /// `each` gets them as they come.
    fn evaluate(
        &self,
        x: &[f64],
        centred: bool,
        mut each: impl FnMut(usize, Result<Answer, String>),
    ) -> Result<(), EvaluationError> {
        let (sender, answers) = channel();
        let mut jobs = Vec::new();
        for (index, x) in x.chunks_exact(self.system.coordinates()).enumerate() {
            match self.in_bohr(x, centred) {
                Ok(positions) => jobs.push(Job::new(positions, index, sender.clone())),
                Err(problem) => each(index, Err(problem)),
            }
        }
        // Only the jobs hold senders now: if they are all gone, so is the wait.
        drop(sender);
        self.pool.run(jobs, &answers, each)
    }

    /// `x` in bohr, around the origin where `centred`, if it fits into the cell.
    fn in_bohr(&self, x: &[f64], centred: bool) -> Result<Vec<f64>, String> {
        let mut positions = x.to_vec();
        if centred {
            self.system.remove_center_of_mass(&mut positions);
        }
        positions.iter_mut().for_each(|v| *v *= self.bohr);
        let is_open = self.system.periodic_box().is_none();
        let is_far = |v: &f64| v.is_nan() || (is_open && v.abs() > 0.5 * CELL);
        match positions.iter().position(is_far) {
            None => Ok(positions),
            Some(at) => Err(format!(
                "particle {} is {:e} bohr from the centre, outside the cell of {CELL} bohr",
                at / 3,
                positions[at]
            )),
        }
    }

    /// Energy and gradient of an answer for `x`, in kT and units of length.
    fn in_kt(&self, x: &[f64], answer: &Answer, gradient: &mut [f64]) -> Result<f64, String> {
        let mut energy = answer.energy * self.hartree;
        let center = self.system.center_of_mass(x);
        let slope = self.hartree * self.bohr;
        for (k, ((g, force), x)) in gradient.iter_mut().zip(&answer.forces).zip(x).enumerate() {
            let from_center = x - center[k % 3];
            energy += 0.5 * self.trap * from_center * from_center;
            *g = self.trap * from_center - slope * force;
        }
        if settle(&mut energy, gradient) {
            Ok(energy)
        } else {
            Err("the energy overflows in units of kT".into())
        }
    }

    /// Energy and gradient of `x`, sent around the origin where `centred`.
    fn single(
        &self,
        x: &[f64],
        centred: bool,
        gradient: &mut [f64],
    ) -> Result<f64, EvaluationError> {
        check_lengths(self.system.coordinates(), x, gradient)?;
        let mut energy = Err("there was no answer".to_string());
        self.evaluate(x, centred, |_, answer| {
            energy = answer.and_then(|answer| self.in_kt(x, &answer, gradient));
        })?;
        energy.map_err(EvaluationError::Recoverable)
    }
}

impl Potential for Ipi {
    fn system(&self) -> System {
        self.system
    }

    fn species(&self) -> &[usize] {
        &self.species
    }

    /// Half the cell of open space.
    fn reach(&self) -> f64 {
        match self.system.periodic_box() {
            Some(_) => f64::INFINITY,
            None => 0.5 * CELL / self.bohr,
        }
    }

    fn energy_in_place(&self, x: &[f64]) -> Result<f64, EvaluationError> {
        self.single(x, false, &mut vec![0.0; x.len()])
    }

    fn energy_and_gradient(&self, x: &[f64], gradient: &mut [f64]) -> Result<f64, EvaluationError> {
        self.single(x, true, gradient)
    }

    fn energies_and_gradients(
        &self,
        x: &[f64],
        energies: &mut [f64],
        gradients: &mut [f64],
    ) -> Result<usize, EvaluationError> {
        let width = self.system.coordinates();
        check_lengths(energies.len() * width, x, gradients)?;
        let mut failures = 0;
        self.evaluate(x, true, |index, answer| {
            let place = index * width..(index + 1) * width;
            let gradient = &mut gradients[place.clone()];
            let energy = answer.and_then(|answer| self.in_kt(&x[place], &answer, gradient));
            energies[index] = energy.unwrap_or_else(|problem| {
                tracing::debug!("no finite energy for a configuration: {problem}");
                failures += 1;
                gradient.fill(0.0);
                f64::INFINITY
            });
        })?;
        Ok(failures)
    }
}

impl Drop for Ipi {
    fn drop(&mut self) {
        self.pool.close();
        if let Some(listener) = self.listener.take() {
            let _ = listener.join();
        }
    }
}
