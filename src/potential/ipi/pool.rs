//! The clients that are connected and the configurations that wait for them.
//!
//! Every client has a thread of its own that takes configurations from one queue. So all clients
//! are busy even if few threads call, and each free client gets the next configuration. What a
//! client does not finish goes back to the queue.

use std::collections::{BTreeMap, VecDeque};
use std::io::ErrorKind;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::address::{Listener, Stream};
use super::client::Client;
use super::protocol::{Answer, Fault};
use crate::error::EvaluationError;
use crate::work;

/// Clients that may fail on a configuration before it is given up.
const MOST_FAULTS: usize = 3;
/// Clients that may find no finite energy for it before it is given up.
const MOST_NANS: usize = 2;
/// Failures without any answer between them that end the run.
const MOST_FAULTS_IN_A_ROW: usize = 100;
/// Most clients that are accepted.
const MOST_CLIENTS: usize = 1000;
/// How often a listener looks for new clients.
const ACCEPT_EVERY: Duration = Duration::from_millis(20);
/// How often a caller checks that there are clients.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// A configuration that waits for a client.
pub(super) struct Job {
    /// [particles, 3], in bohr.
    pub positions: Vec<f64>,
    /// Its place in the caller's batch.
    pub index: usize,
    /// Where the answer goes, or why there is none.
    pub answers: Sender<(usize, Result<Answer, String>)>,
    /// Clients that had no finite energy for it.
    nans: Vec<usize>,
    /// Clients that failed on it.
    faults: usize,
}

impl Job {
    pub fn new(
        positions: Vec<f64>,
        index: usize,
        answers: Sender<(usize, Result<Answer, String>)>,
    ) -> Self {
        Self { positions, index, answers, nans: Vec::new(), faults: 0 }
    }

    /// Hands the result to the caller, which may have stopped waiting.
    fn settle(self, result: Result<Answer, String>) {
        let _ = self.answers.send((self.index, result));
    }
}

/// Clients and configurations, shared by callers, the listener and the clients' threads.
pub(super) struct Pool {
    address: String,
    /// Edges of the cell that clients are sent, in bohr.
    cell: [f64; 3],
    /// What a client may take for an answer.
    answer_limit: Duration,
    /// How long callers wait while there is no client.
    wait_limit: Duration,
    state: Mutex<State>,
    /// Notified when the state changes.
    changed: Condvar,
}

struct State {
    queue: VecDeque<Job>,
    /// All connections by their number.
    connected: BTreeMap<usize, Arc<Stream>>,
    /// Those among them that have reported that they are ready.
    ready: usize,
    /// Number of the last connection.
    last: usize,
    /// Since when no client has been ready.
    absent_since: Instant,
    /// Whether a warning about that has been printed.
    warned: bool,
    faults_in_a_row: usize,
    /// Connections that failed.
    dropped: u64,
    /// Why the last calls failed.
    trouble: String,
    closing: bool,
}

impl Pool {
    pub fn new(
        address: String,
        cell: [f64; 3],
        answer_limit: Duration,
        wait_limit: Duration,
    ) -> Self {
        let state = State {
            queue: VecDeque::new(),
            connected: BTreeMap::new(),
            ready: 0,
            last: 0,
            absent_since: Instant::now(),
            warned: false,
            faults_in_a_row: 0,
            dropped: 0,
            trouble: String::new(),
            closing: false,
        };
        Self {
            address,
            cell,
            answer_limit,
            wait_limit,
            state: Mutex::new(state),
            changed: Condvar::new(),
        }
    }

    pub fn address(&self) -> &str {
        &self.address
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // The state is consistent between any two statements, so a panic elsewhere does no harm.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes new clients until the pool is closed.
    pub fn listen(self: Arc<Self>, listener: Listener) {
        while !self.lock().closing {
            match listener.accept() {
                Ok(stream) => self.admit(stream),
                Err(e) if e.kind() == ErrorKind::WouldBlock => std::thread::sleep(ACCEPT_EVERY),
                Err(e) => {
                    tracing::debug!("a client could not connect to {}: {e}", self.address);
                    std::thread::sleep(ACCEPT_EVERY);
                }
            }
        }
    }

    /// Gives a client its thread.
    fn admit(self: &Arc<Self>, stream: Stream) {
        let stream = Arc::new(stream);
        let mut state = self.lock();
        if state.closing || state.connected.len() >= MOST_CLIENTS {
            return;
        }
        state.last += 1;
        let id = state.last;
        state.connected.insert(id, stream.clone());
        drop(state);
        let pool = self.clone();
        let thread = std::thread::Builder::new().name(format!("ipi client {id}"));
        if thread.spawn(move || pool.serve(id, stream)).is_err() {
            self.lock().connected.remove(&id);
        }
    }

    /// Hands configurations to one client until it fails or the pool is closed.
    fn serve(&self, id: usize, stream: Arc<Stream>) {
        let mut client = Client::new(stream, self.cell, self.answer_limit);
        let mut proven = false;
        let result = self.converse(id, &mut client, &mut proven);
        if result.is_ok() {
            client.dismiss();
        }
        let mut state = self.lock();
        state.connected.remove(&id);
        state.ready -= usize::from(proven);
        if proven && state.ready == 0 {
            state.absent_since = Instant::now();
            state.warned = false;
        }
        if let (Err(fault), false) = (result, state.closing) {
            state.dropped += 1;
            // A client that fails and reconnects all the time must not fill the screen.
            if state.dropped <= 20 || state.dropped.is_power_of_two() {
                let (left, all) = (state.ready, state.dropped);
                let address = &self.address;
                tracing::warn!("{address}: client {id} {fault}; {left} left, {all} lost so far");
            }
        }
        drop(state);
        // The last client that is left may be given again what it failed on before.
        self.changed.notify_all();
    }

    /// As [`serve`](Self::serve); `proven` is set once the client has been counted as ready.
    fn converse(&self, id: usize, client: &mut Client, proven: &mut bool) -> Result<(), Fault> {
        client.ask()?;
        loop {
            client.ready()?;
            if !*proven {
                self.lock().ready += 1;
                *proven = true;
                tracing::debug!("client {id} is ready at {}", self.address);
            }
            let Some(job) = self.take(id) else { return Ok(()) };
            match client.evaluate(&job.positions) {
                Ok(answer) => {
                    // It answers this while the caller works.
                    let asked = client.ask();
                    self.answered(id, job, answer);
                    asked?;
                }
                Err(fault) => {
                    self.failed(job, &fault);
                    return Err(fault);
                }
            }
        }
    }

    /// The next configuration for client `id`; none when the pool is closed.
    fn take(&self, id: usize) -> Option<Job> {
        let mut state = self.lock();
        loop {
            if state.closing {
                return None;
            }
            let alone = state.ready == 1;
            let next = state.queue.iter().position(|job| alone || !job.nans.contains(&id));
            if let Some(job) = next.and_then(|next| state.queue.remove(next)) {
                return Some(job);
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Client `id` answered. If the energy is not finite, another client is asked, too.
    fn answered(&self, id: usize, mut job: Job, answer: Answer) {
        let finite = answer.is_finite();
        let mut state = self.lock();
        state.faults_in_a_row = 0;
        if !finite {
            job.nans.push(id);
            if job.nans.len() < MOST_NANS && state.ready > 1 {
                state.queue.push_front(job);
                drop(state);
                self.changed.notify_all();
                return;
            }
        }
        drop(state);
        job.settle(if finite {
            Ok(answer)
        } else {
            Err("a client answered with an energy or a force that is not a finite number".into())
        });
    }

    /// A client failed on a configuration, which goes to another one.
    fn failed(&self, mut job: Job, fault: &Fault) {
        job.faults += 1;
        let mut state = self.lock();
        if state.closing {
            return;
        }
        state.faults_in_a_row += 1;
        if job.faults < MOST_FAULTS {
            state.queue.push_front(job);
            drop(state);
            self.changed.notify_all();
        } else {
            drop(state);
            job.settle(Err(format!("{MOST_FAULTS} clients failed on it; the last one {fault}")));
        }
    }

    /// Runs `jobs` and hands each result to `each` as it comes in through `answers`.
    ///
    /// # Errors
    /// [`EvaluationError::Fatal`] when there has been no client for too long, or none that works;
    /// [`EvaluationError::Stopped`] when the program is to stop.
    pub fn run(
        &self,
        jobs: Vec<Job>,
        answers: &Receiver<(usize, Result<Answer, String>)>,
        mut each: impl FnMut(usize, Result<Answer, String>),
    ) -> Result<(), EvaluationError> {
        let start = Instant::now();
        let mut left = jobs.len();
        self.lock().queue.extend(jobs);
        self.changed.notify_all();
        while left > 0 {
            work::check()?;
            match answers.recv_timeout(LOOK_EVERY) {
                Ok((index, result)) => {
                    left -= 1;
                    let failed = result.is_err();
                    each(index, result);
                    if failed {
                        self.look(start)?;
                    }
                }
                Err(RecvTimeoutError::Timeout) => self.look(start)?,
                // Another caller has found that no answer will come.
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(EvaluationError::Fatal(self.lock().trouble.clone()));
                }
            }
        }
        Ok(())
    }

    /// Whether to keep waiting, which began at `start`.
    fn look(&self, start: Instant) -> Result<(), EvaluationError> {
        let mut state = self.lock();
        let absent = start.max(state.absent_since).elapsed();
        let what = if state.faults_in_a_row >= MOST_FAULTS_IN_A_ROW {
            format!(
                "failed {MOST_FAULTS_IN_A_ROW} times in a row: try one alone on a single \
                 configuration"
            )
        } else if state.ready > 0 {
            return Ok(());
        } else if absent < self.wait_limit {
            if !state.warned {
                state.warned = true;
                let left = (self.wait_limit - absent).as_secs_f64().ceil();
                tracing::warn!("{}: no client, waiting {left} s for one", self.address);
            }
            return Ok(());
        } else {
            let silent = match state.connected.len() {
                0 => String::new(),
                n => format!(" ({n} connected, but none reported that it was ready)"),
            };
            let seconds = self.wait_limit.as_secs_f64();
            format!(
                "were missing for {seconds} s{silent}: start one, or raise `wait_seconds` in the \
                 target"
            )
        };
        state.trouble = format!("the clients at {} {what}", self.address);
        state.queue.clear();
        Err(EvaluationError::Fatal(state.trouble.clone()))
    }

    /// Dismisses all clients and waits until they have gone.
    pub fn close(&self) {
        let mut state = self.lock();
        state.closing = true;
        state.queue.clear();
        self.changed.notify_all();
        // Idle clients leave at once; busy ones are disconnected.
        for patience in [Duration::from_millis(200), Duration::from_secs(2)] {
            let some_left = |state: &mut State| !state.connected.is_empty();
            let waited = self.changed.wait_timeout_while(state, patience, some_left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
            state.connected.values().for_each(|stream| stream.shut_down());
        }
    }
}
