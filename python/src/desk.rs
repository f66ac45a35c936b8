//! Where a Python thread waits for its work and serves it.
//!
//! rayon's threads do the work and never touch the interpreter. What needs it, they ask for at the
//! desk of the thread that called: so an energy function runs where its user called from, with that
//! thread's settings, its exceptions end the call, and signals are seen within [`LOOK_EVERY`].

use std::sync::mpsc::{
    channel, sync_channel, Receiver, RecvTimeoutError, Sender, SyncSender, TryRecvError,
};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use boltzflow::{current_work, EvaluationError, Progress};
use numpy::{PyArray1, PyArrayMethods, PyReadonlyArrayDyn};
use pyo3::exceptions::PyKeyboardInterrupt;
use pyo3::prelude::*;

use crate::pool::Pool;

/// How often signals are looked for.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// So long, a side looks for a message before it sleeps: to wake a thread takes as long as a short
/// call of a function.
const AWAKE: Duration = Duration::from_micros(100);

/// Why nothing is served any more.
const STOPPED: &str = "stopped by an exception";

/// Energies and gradients, or why there are none.
pub type Answer = Result<(Vec<f64>, Vec<f64>), EvaluationError>;

/// [samples, particles, dimension].
type Shape = [usize; 3];

enum Request {
    /// Energies of `x`.
    Energies { function: Arc<Py<PyAny>>, x: Vec<f64>, shape: Shape, reply: SyncSender<Answer> },
    /// A step is done; the answer says whether to go on.
    Progress { progress: Box<Progress>, reply: SyncSender<bool> },
    /// The work has ended.
    End,
}

/// Says so when it is dropped, also by a panic. What the work returns may hold a [`Desk`] still.
struct End(Sender<Request>);

impl Drop for End {
    fn drop(&mut self) {
        let _ = self.0.send(Request::End);
    }
}

/// The side of the work.
#[derive(Clone)]
pub struct Desk {
    requests: Sender<Request>,
    shows_progress: bool,
}

impl Desk {
    /// A desk at which nobody is.
    pub fn closed() -> Self {
        Self { requests: channel().0, shows_progress: false }
    }

    /// Energies and gradients of `x`, of this shape, by `function`.
    pub fn energies(&self, function: &Arc<Py<PyAny>>, x: &[f64], shape: Shape) -> Answer {
        let (reply, answer) = sync_channel(1);
        let request = Request::Energies { function: function.clone(), x: x.to_vec(), shape, reply };
        let gone = || EvaluationError::Fatal("nobody is there to evaluate energies".into());
        self.requests.send(request).map_err(|_| gone())?;
        match look(&answer) {
            Ok(answer) => answer,
            Err(_) => answer.recv().map_err(|_| gone())?,
        }
    }

    /// Shows that a step is done; whether to go on.
    pub fn progress(&self, progress: &Progress) -> bool {
        if !self.shows_progress {
            return true;
        }
        let (reply, answer) = sync_channel(1);
        let progress = Box::new(progress.clone());
        let sent = self.requests.send(Request::Progress { progress, reply });
        sent.is_ok() && answer.recv().unwrap_or(false)
    }
}

/// A message that comes within [`AWAKE`].
fn look<T>(messages: &Receiver<T>) -> Result<T, TryRecvError> {
    let begin = Instant::now();
    loop {
        match messages.try_recv() {
            Err(TryRecvError::Empty) if begin.elapsed() < AWAKE => std::thread::yield_now(),
            result => return result,
        }
    }
}

/// What the calling thread shows.
pub struct Shows<'a, 'py> {
    /// Called after each step with its numbers and, as JSON, its evaluation; its method `wait`
    /// while other work takes long, with what that is and how far.
    pub progress: Option<&'a Bound<'py, PyAny>>,
}

/// Calls in progress in this process, and whether one of them was interrupted. Only touched while
/// attached to the interpreter, see [`Pool`].
static CALLS: Mutex<Calls> = Mutex::new(Calls { process: 0, running: 0, interrupted: false });

struct Calls {
    process: u32,
    running: usize,
    interrupted: bool,
}

/// One of them, until it is dropped.
struct Call;

impl Call {
    /// # Errors
    /// `KeyboardInterrupt` while other calls end because of one.
    fn begin() -> PyResult<Self> {
        let mut calls = CALLS.lock().unwrap_or_else(PoisonError::into_inner);
        let process = std::process::id();
        if calls.process != process {
            // After a fork, calls of other threads are not here.
            *calls = Calls { process, running: 0, interrupted: false };
            boltzflow::end_interrupt();
        }
        if calls.interrupted {
            return Err(PyKeyboardInterrupt::new_err(()));
        }
        calls.running += 1;
        Ok(Self)
    }

    /// Lets all calls end.
    fn interrupt_all() {
        let mut calls = CALLS.lock().unwrap_or_else(PoisonError::into_inner);
        calls.interrupted = true;
        boltzflow::interrupt();
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        let mut calls = CALLS.lock().unwrap_or_else(PoisonError::into_inner);
        calls.running = calls.running.saturating_sub(1);
        if calls.running == 0 && calls.interrupted {
            calls.interrupted = false;
            boltzflow::end_interrupt();
        }
    }
}

/// Does `work` on so many threads (0 for all cores) while this one serves it. Returns what `work`
/// does, and the exception that ended it early, if there was one.
pub fn serve<T: Send>(
    py: Python<'_>,
    threads: usize,
    shows: &Shows<'_, '_>,
    work: impl FnOnce(&Desk) -> T + Send,
) -> PyResult<(T, Option<PyErr>)> {
    let pool = Pool::take(py, threads)?;
    let _call = Call::begin()?;
    let (requests, mut received) = channel();
    let desk = Desk { requests, shows_progress: shows.progress.is_some() };
    let mut done = None;
    let mut trouble = None;
    pool.scope(|scope| {
        let place = &mut done;
        scope.spawn(move |_| {
            let _end = End(desk.requests.clone());
            *place = Some(work(&desk));
        });
        while let Some(request) = next(py, &mut received, shows, &mut trouble) {
            answer(py, request, shows, &mut trouble);
        }
    });
    let done = done.ok_or_else(|| crate::errors::run_error(py, "the work ended without a result"));
    Ok((done?, trouble))
}

/// The next request; none when the work is done.
fn next(
    py: Python<'_>,
    received: &mut Receiver<Request>,
    shows: &Shows<'_, '_>,
    trouble: &mut Option<PyErr>,
) -> Option<Request> {
    if let Ok(request) = look(received) {
        return (!matches!(request, Request::End)).then_some(request);
    }
    loop {
        let queue = &mut *received;
        match py.detach(move || queue.recv_timeout(LOOK_EVERY)) {
            Ok(Request::End) | Err(RecvTimeoutError::Disconnected) => return None,
            Ok(request) => return Some(request),
            Err(RecvTimeoutError::Timeout) => {
                look_for_signals(py, trouble);
                if let Err(error) = show_waiting(shows) {
                    keep(error, trouble);
                }
            }
        }
    }
}

/// Shows what is being done where that takes long, such as the drawing of reference samples.
fn show_waiting(shows: &Shows<'_, '_>) -> PyResult<()> {
    let (Some(hook), Some(work)) = (shows.progress, current_work()) else { return Ok(()) };
    hook.call_method1("wait", (work.what, work.parts.0, work.parts.1))?;
    Ok(())
}

fn look_for_signals(py: Python<'_>, trouble: &mut Option<PyErr>) {
    if let Err(error) = py.check_signals() {
        keep(error, trouble);
        Call::interrupt_all();
    }
}

/// Keeps the first exception.
fn keep(error: PyErr, trouble: &mut Option<PyErr>) {
    trouble.get_or_insert(error);
}

fn answer(py: Python<'_>, request: Request, shows: &Shows<'_, '_>, trouble: &mut Option<PyErr>) {
    match request {
        Request::Energies { function, x, shape, reply } => {
            let found = match trouble {
                Some(_) => Err(EvaluationError::Stopped(STOPPED.into())),
                None => evaluate(py, &function, x, shape).map_err(|error| {
                    let is_interrupt = error.is_instance_of::<PyKeyboardInterrupt>(py);
                    let fault = match is_interrupt {
                        true => EvaluationError::Stopped(STOPPED.into()),
                        false => EvaluationError::Fatal(error.to_string()),
                    };
                    keep(error, trouble);
                    if is_interrupt {
                        Call::interrupt_all();
                    }
                    fault
                }),
            };
            // The work may have given up.
            let _ = reply.send(found);
        }
        Request::Progress { progress, reply } => {
            if let (Some(hook), None) = (shows.progress, &trouble) {
                if let Err(error) = show(hook, &progress) {
                    keep(error, trouble);
                }
            }
            // Python's own handlers run between steps as well.
            if trouble.is_none() {
                look_for_signals(py, trouble);
            }
            let _ = reply.send(trouble.is_none());
        }
        Request::End => {}
    }
}

/// Calls the user's function; its wrapper in Python has checked shapes and types.
fn evaluate(
    py: Python<'_>,
    function: &Py<PyAny>,
    x: Vec<f64>,
    shape: Shape,
) -> PyResult<(Vec<f64>, Vec<f64>)> {
    let x = PyArray1::from_vec(py, x).reshape(shape)?;
    let (energies, gradients): (PyReadonlyArrayDyn<'_, f64>, PyReadonlyArrayDyn<'_, f64>) =
        function.bind(py).call1((x,))?.extract()?;
    let copied = |array: &PyReadonlyArrayDyn<'_, f64>| match array.as_slice() {
        Ok(slice) => slice.to_vec(),
        Err(_) => array.as_array().iter().copied().collect(),
    };
    let (energies, gradients) = (copied(&energies), copied(&gradients));
    if energies.len() != shape[0] || gradients.len() != shape.iter().product::<usize>() {
        let problem = format!("{} energies and {} slopes", energies.len(), gradients.len());
        return Err(crate::errors::run_error(py, &format!("{problem} came of {shape:?}")));
    }
    Ok((energies, gradients))
}

fn show(hook: &Bound<'_, PyAny>, progress: &Progress) -> PyResult<()> {
    let report = &progress.report;
    let evaluation = progress.evaluation.as_ref().map(crate::errors::to_json).transpose()?;
    hook.call1((
        progress.step,
        progress.steps,
        report.loss,
        report.learning_rate,
        report.acceptance,
        progress.train_seconds,
        progress.energy_evaluations,
        evaluation,
        progress.rollback.as_deref(),
    ))?;
    Ok(())
}
