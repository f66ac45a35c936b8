//! Threads for work, which outlive a call but not a fork.

use std::sync::{Mutex, PoisonError};

use pyo3::prelude::*;
use rayon::{ThreadPool, ThreadPoolBuilder};

use crate::errors::{recipe_error, run_error};

/// As many as the command line accepts.
const MOST_THREADS: usize = 1024;

/// Pools that wait for another call.
const MOST_IDLE: usize = 8;

/// Pools that no call uses. Only touched while attached to the interpreter, which forks with its
/// lock held: no other thread can hold this mutex then.
static IDLE: Mutex<Vec<Pool>> = Mutex::new(Vec::new());

/// Threads of one call: calls at the same time have their own, also one from inside of another,
/// whose threads may all wait for their caller.
pub struct Pool {
    process: u32,
    threads: usize,
    pool: Option<ThreadPool>,
}

impl Pool {
    /// A pool of so many threads; 0 for all cores, or what RAYON_NUM_THREADS says.
    ///
    /// # Errors
    /// `RecipeError` on too many, `RunError` if the system refuses.
    pub fn take(py: Python<'_>, threads: usize) -> PyResult<Self> {
        if threads > MOST_THREADS {
            let problem = format!("is {threads}: use at most {MOST_THREADS}");
            return Err(recipe_error(py, "threads", &problem));
        }
        let process = std::process::id();
        let mut idle = IDLE.lock().unwrap_or_else(PoisonError::into_inner);
        // The threads of a parent are not here: nothing may wait for their end.
        if idle.iter().any(|pool| pool.process != process) {
            idle.drain(..).for_each(std::mem::forget);
        }
        if let Some(place) = idle.iter().position(|pool| pool.threads == threads) {
            return Ok(idle.swap_remove(place));
        }
        drop(idle);
        let built = ThreadPoolBuilder::new().num_threads(threads).build();
        let failed = |e| run_error(py, &format!("cannot start threads: {e}"));
        Ok(Self { process, threads, pool: Some(built.map_err(failed)?) })
    }

    /// Runs `body` on the calling thread, which may spawn work on those of the pool.
    pub fn scope<'scope, R>(&self, body: impl FnOnce(&rayon::Scope<'scope>) -> R) -> Option<R> {
        self.pool.as_ref().map(|pool| pool.in_place_scope(body))
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        let mut idle = IDLE.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < MOST_IDLE {
            let pool = self.pool.take();
            idle.push(Self { process: self.process, threads: self.threads, pool });
        }
    }
}
