//! Ranks: the same program run several times, on one machine or many, whose copies share the work.
//!
//! Every rank has the same small state (parameters, moments, weights, step sizes) and runs the same
//! deterministic program on it. What costs time is a list of independent items (tiles of samples,
//! leaves of a sum), of which each rank does a block, after which all ranks get all results in the
//! order of the items. So results do not depend on the number of ranks, and whatever is not
//! split needs no thought: all ranks compute the same.
//!
//! The [`team`] of a rank belongs to its main thread, as rayon's pool belongs to its caller:
//! work inside of rayon's threads is alone and never communicates with other ranks. All ranks must
//! reach the same collective operations in the same order; [`Team::map`], [`Team::agree`] and
//! [`Team::broadcast`] make an error of one rank that of all, so that no rank waits for one that
//! has given up.

mod environment;
mod message;
#[cfg(feature = "mpi")]
mod mpi;
mod threads;

use std::cell::{Cell, RefCell};
use std::ops::Range;
use std::rc::Rc;
use std::time::Instant;

use bytemuck::Pod;
use rayon::prelude::*;

use crate::error::{Error, EvaluationError};
use crate::work;

pub use environment::{default_threads, from_environment};
pub(crate) use message::message;
pub use message::Message;
pub use threads::run_in_threads;

/// Bytes of one collective operation at most; MPI counts them in 32 bits.
const MOST_BYTES: usize = 1 << 30;

/// What carries bytes between ranks. All ranks call the same operation with fitting counts.
///
/// # Examples
/// The link of a rank that has no others:
/// ```
/// use boltzflow::parallel::{team, Link, Team};
///
/// struct Alone;
///
/// impl Link for Alone {
///     fn rank(&self) -> usize {
///         0
///     }
///     fn size(&self) -> usize {
///         1
///     }
///     fn all_gather(&self, mine: &[u8], _: &[usize], all: &mut [u8]) {
///         all.copy_from_slice(mine);
///     }
///     fn all_to_all(&self, sent: &[u8], _: &[usize], received: &mut [u8], _: &[usize]) {
///         received.copy_from_slice(sent);
///     }
///     fn broadcast(&self, _: usize, _: &mut [u8]) {}
///     fn abort(&self, code: u8) -> ! {
///         std::process::exit(code.into())
///     }
/// }
///
/// let words = Team::new(Alone).install(|| team().allgather(7));
/// assert_eq!(words, [7]);
/// ```
pub trait Link {
    /// This rank, from 0.
    fn rank(&self) -> usize;
    /// How many there are.
    fn size(&self) -> usize;
    /// `all` becomes the parts of all ranks one after the other, `counts[r]` bytes from rank r.
    fn all_gather(&self, mine: &[u8], counts: &[usize], all: &mut [u8]);
    /// Sends `sent_counts[r]` bytes of `sent` to rank r, one after the other; `received` becomes
    /// what they send here, `counts[r]` bytes from rank r.
    fn all_to_all(&self, sent: &[u8], sent_counts: &[usize], received: &mut [u8], counts: &[usize]);
    /// `bytes` becomes those of rank `root`.
    fn broadcast(&self, root: usize, bytes: &mut [u8]);
    /// Ends all ranks at once with this exit code.
    fn abort(&self, code: u8) -> !;
}

/// What a rank has sent and received so far.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Traffic {
    /// Bytes to and from other ranks.
    pub bytes: u64,
    /// Seconds in collective operations: waiting for others and for the network.
    pub seconds: f64,
}

/// All ranks, from the side of one of them.
#[derive(Default)]
pub struct Team {
    /// None if this rank is the only one.
    link: Option<Box<dyn Link>>,
    traffic: Cell<Traffic>,
}

thread_local! {
    static TEAM: RefCell<Rc<Team>> = RefCell::default();
}

/// The team of the calling thread: this rank alone, unless inside of [`Team::install`].
pub fn team() -> Rc<Team> {
    TEAM.with_borrow(Rc::clone)
}

impl Team {
    /// Ranks that are connected by `link`.
    pub fn new(link: impl Link + 'static) -> Self {
        Self { link: Some(Box::new(link)), traffic: Cell::default() }
    }

    /// Runs `body` on the calling thread as a rank of this team.
    pub fn install<R>(self, body: impl FnOnce() -> R) -> R {
        let before = TEAM.replace(Rc::new(self));
        let result = body();
        TEAM.set(before);
        result
    }

    /// This rank, from 0.
    pub fn rank(&self) -> usize {
        self.link.as_ref().map_or(0, |link| link.rank())
    }

    /// How many there are.
    pub fn size(&self) -> usize {
        self.link.as_ref().map_or(1, |link| link.size())
    }

    /// Whether this is the only rank.
    pub fn is_alone(&self) -> bool {
        self.size() == 1
    }

    /// Whether this is rank 0, which prints and writes for all.
    pub fn leads(&self) -> bool {
        self.rank() == 0
    }

    /// Threads of all ranks together, as far as they have as many as this one.
    pub fn threads(&self) -> usize {
        rayon::current_num_threads() * self.size()
    }

    /// What this rank has sent and received so far.
    pub fn traffic(&self) -> Traffic {
        self.traffic.get()
    }

    /// The block of `items` that `rank` does: blocks follow each other in the order of the ranks
    /// and differ by one item at most.
    pub fn block_of(&self, rank: usize, items: usize) -> Range<usize> {
        let size = self.size();
        rank * items / size..(rank + 1) * items / size
    }

    /// The block of `items` that this rank does.
    pub fn block(&self, items: usize) -> Range<usize> {
        self.block_of(self.rank(), items)
    }

    /// Ends all ranks at once; returns if there are no others.
    pub fn abort(&self, code: u8) {
        if let Some(link) = self.others() {
            link.abort(code);
        }
    }

    fn others(&self) -> Option<&dyn Link> {
        self.link.as_deref().filter(|link| link.size() > 1)
    }

    /// Times an operation that moves `bytes`.
    fn counted<R>(&self, bytes: usize, operation: impl FnOnce() -> R) -> R {
        let start = Instant::now();
        let result = operation();
        let Traffic { bytes: before, seconds } = self.traffic.get();
        let seconds = seconds + start.elapsed().as_secs_f64();
        self.traffic.set(Traffic { bytes: before + bytes as u64, seconds });
        result
    }

    /// Rank r has `values[part(r)]`; afterwards all ranks have all of them. Parts follow each other
    /// in the order of the ranks and cover everything.
    pub fn allgather_in_place<T: Pod>(
        &self,
        values: &mut [T],
        part: impl Fn(usize) -> Range<usize>,
    ) {
        let Some(link) = self.others() else { return };
        let mine = bytemuck::cast_slice::<T, u8>(&values[part(link.rank())]).to_vec();
        let counts: Vec<usize> =
            (0..link.size()).map(|rank| part(rank).len() * size_of::<T>()).collect();
        let all = bytemuck::cast_slice_mut::<T, u8>(values);
        // Sent to and received from every other rank, in the least.
        let moved = all.len() - mine.len() + mine.len() * (link.size() - 1);
        self.counted(moved, || {
            if all.len() <= MOST_BYTES {
                return link.all_gather(&mine, &counts, all);
            }
            let mut rest = all;
            for (root, &count) in counts.iter().enumerate() {
                let (part, after) = rest.split_at_mut(count);
                part.chunks_mut(MOST_BYTES).for_each(|piece| link.broadcast(root, piece));
                rest = after;
            }
        });
    }

    /// Sends `sent[r]` to rank r and returns what came from each, `counts[r]` numbers from rank r.
    pub fn alltoall<T: Pod>(&self, sent: &[Vec<T>], counts: &[usize]) -> Vec<Vec<T>> {
        let Some(link) = self.others() else { return sent.to_vec() };
        let unit = size_of::<T>();
        let all = sent.concat();
        let sent_counts: Vec<usize> = sent.iter().map(|part| part.len() * unit).collect();
        let mut received = vec![T::zeroed(); counts.iter().sum()];
        let byte_counts: Vec<usize> = counts.iter().map(|count| count * unit).collect();
        let stays = sent_counts[link.rank()];
        let moved = (all.len() + received.len()) * unit - 2 * stays;
        self.counted(moved, || {
            let received = bytemuck::cast_slice_mut(&mut received);
            link.all_to_all(bytemuck::cast_slice(&all), &sent_counts, received, &byte_counts);
        });
        let mut rest = received.as_slice();
        let mut take = |&count: &usize| {
            let (part, after) = rest.split_at(count);
            rest = after;
            part.to_vec()
        };
        counts.iter().map(&mut take).collect()
    }

    /// The number of each rank, in their order.
    pub fn allgather(&self, mine: u64) -> Vec<u64> {
        let mut all = vec![mine; self.size()];
        self.allgather_in_place(&mut all, |rank| rank..rank + 1);
        all
    }

    /// `bytes` of rank `root`, on all ranks.
    fn broadcast_bytes(&self, root: usize, bytes: Vec<u8>) -> Vec<u8> {
        let Some(link) = self.others() else { return bytes };
        let mut length = [bytes.len() as u64];
        link.broadcast(root, bytemuck::cast_slice_mut(&mut length));
        let mut all = if link.rank() == root { bytes } else { vec![0; length[0] as usize] };
        self.counted(all.len(), || {
            all.chunks_mut(MOST_BYTES).for_each(|piece| link.broadcast(root, piece));
        });
        all
    }

    /// What rank 0 finds by `work`, on all ranks; an error there is that of all.
    ///
    /// # Errors
    /// That of `work`.
    pub fn broadcast<T: Message>(
        &self,
        work: impl FnOnce() -> Result<T, Error>,
    ) -> Result<T, Error> {
        let found = self.agree(self.leads().then(work).transpose())?;
        let mut bytes = Vec::new();
        if !self.is_alone() {
            found.iter().for_each(|found| found.write(&mut bytes));
            bytes = self.broadcast_bytes(0, bytes);
        }
        match found {
            Some(found) => Ok(found),
            None => T::read(&mut bytes.as_slice()).ok_or_else(unreadable),
        }
    }

    /// `result`, if no rank has an error; otherwise this rank's own error or, if it has none, that
    /// of the first rank that has.
    ///
    /// # Errors
    /// The error that any rank has.
    pub fn agree<T>(&self, result: Result<T, Error>) -> Result<T, Error> {
        let own = result.as_ref().err().map(parts_of);
        let kinds = self.allgather(own.as_ref().map_or(0, |(kind, _)| 1 + u64::from(*kind)));
        let Some(first) = kinds.iter().position(|&kind| kind != 0) else { return result };
        let message = own.map_or(String::new(), |(_, message)| message);
        let message = self.broadcast_bytes(first, message.into_bytes());
        result.and_then(|_| {
            let message = format!("on rank {first}: {}", String::from_utf8_lossy(&message));
            Err(from_parts((kinds[first] - 1) as u8, message))
        })
    }

    /// Whether to go on: an error if a signal has come to any rank.
    ///
    /// # Errors
    /// [`Error::Stopped`].
    pub(crate) fn go_on(&self) -> Result<(), Error> {
        self.agree(work::check().map_err(Error::from))
    }

    /// Does `each` with every one of `items`, split over ranks and threads; all ranks get all
    /// results, in order.
    ///
    /// # Errors
    /// The error of a rank is that of all, as by [`agree`](Self::agree).
    pub fn map<T: Message>(
        &self,
        items: usize,
        each: impl Fn(usize) -> Result<T, Error> + Sync,
    ) -> Result<Vec<T>, Error> {
        Ok(self.map_and_keep(items, |item| Ok((each(item)?, ())))?.0)
    }

    /// As [`map`](Self::map), and what `each` keeps besides stays on the rank that made it: the
    /// kept values of this rank's [`block`](Self::block).
    ///
    /// # Errors
    /// As for [`map`](Self::map).
    pub fn map_and_keep<T: Message, K: Send>(
        &self,
        items: usize,
        each: impl Fn(usize) -> Result<(T, K), Error> + Sync,
    ) -> Result<(Vec<T>, Vec<K>), Error> {
        let block = self.block(items);
        work::begin_parts(block.len());
        let done = block.into_par_iter().map(|item| {
            let done = each(item);
            work::part_done();
            done
        });
        let done = done.collect::<Result<Vec<_>, Error>>();
        if self.is_alone() {
            return done.map(|done| done.into_iter().unzip());
        }
        let (results, kept): (Vec<T>, Vec<K>) = self.agree(done)?.into_iter().unzip();
        let mut mine = Vec::new();
        results.iter().for_each(|result| result.write(&mut mine));
        let ends: Vec<usize> = self
            .allgather(mine.len() as u64)
            .into_iter()
            .scan(0, |end, length| {
                *end += length as usize;
                Some(*end)
            })
            .collect();
        let part = |rank: usize| rank.checked_sub(1).map_or(0, |before| ends[before])..ends[rank];
        let mut bytes = vec![0; part(self.size() - 1).end];
        bytes[part(self.rank())].copy_from_slice(&mine);
        self.allgather_in_place(&mut bytes, part);
        let mut rest = bytes.as_slice();
        let all = (0..items).map(|_| T::read(&mut rest).ok_or_else(unreadable));
        Ok((all.collect::<Result<_, Error>>()?, kept))
    }
}

/// The error of a rank that cannot read what another one has sent.
fn unreadable() -> Error {
    let problem = "a message of another rank cannot be read: do all run the same program?";
    Error::Run(problem.into())
}

/// What stands for an [`Error::Evaluation`] among exit codes when an error is sent.
const EVALUATION: u8 = 100;
/// And for an [`Error::Stopped`].
const STOPPED: u8 = 101;

/// A number for the kind of an error, and its message.
fn parts_of(error: &Error) -> (u8, String) {
    match error {
        Error::Evaluation(EvaluationError::Recoverable(m) | EvaluationError::Fatal(m)) => {
            (EVALUATION, m.clone())
        }
        Error::Stopped(message) => (STOPPED, message.clone()),
        other => (other.exit_code(), other.to_string()),
    }
}

/// The same error on a rank that did not have it.
fn from_parts(kind: u8, message: String) -> Error {
    match kind {
        EVALUATION => EvaluationError::Fatal(message).into(),
        STOPPED => Error::Stopped(message),
        exit_code => Error::Elsewhere { exit_code, message },
    }
}
