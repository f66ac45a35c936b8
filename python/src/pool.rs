//! Threads for work, which outlive a call but not a fork.

use std::sync::{Arc, Mutex, PoisonError};

use pyo3::prelude::*;
use rayon::{ThreadPool, ThreadPoolBuilder};

use crate::errors::{recipe_error, run_error};

/// As many as the command line accepts.
const MOST_THREADS: usize = 1024;

/// The pool of the last call. Only touched while attached to the interpreter, which forks with its
/// lock held: no other thread can hold this mutex then.
static LAST: Mutex<Option<Pool>> = Mutex::new(None);

struct Pool {
    process: u32,
    threads: usize,
    pool: Arc<ThreadPool>,
}

/// A pool of so many threads; 0 for all cores, or what RAYON_NUM_THREADS says. Calls with the same
/// number share theirs, but one from inside of another call gets its own: the threads of the outer
/// one may all wait for the caller.
pub fn pool(py: Python<'_>, threads: usize, is_inside: bool) -> PyResult<Arc<ThreadPool>> {
    if threads > MOST_THREADS {
        let problem = format!("is {threads}: use at most {MOST_THREADS}");
        return Err(recipe_error(py, "threads", &problem));
    }
    let process = std::process::id();
    let mut last = LAST.lock().unwrap_or_else(PoisonError::into_inner);
    let found = last.as_ref().filter(|last| last.process == process && last.threads == threads);
    if let Some(found) = found.filter(|_| !is_inside) {
        return Ok(found.pool.clone());
    }
    let built = ThreadPoolBuilder::new().num_threads(threads).build();
    let pool = Arc::new(built.map_err(|e| run_error(py, &format!("cannot start threads: {e}")))?);
    if !is_inside {
        let before = last.replace(Pool { process, threads, pool: pool.clone() });
        // The threads of a parent are not here: nothing may wait for their end.
        if let Some(before) = before.filter(|before| before.process != process) {
            std::mem::forget(before);
        }
    }
    Ok(pool)
}
