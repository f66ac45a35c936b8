//! Ranks as threads of one process: what MPI does, where tests need no MPI.

use std::sync::{Arc, Barrier, Mutex, PoisonError};

use super::{Link, Team};

/// Runs `body` as `size` ranks, each on a thread of its own, and returns their results in order.
///
/// # Panics
/// If a rank does; when others wait for it, they do so for ever.
pub fn run_in_threads<R: Send>(size: usize, body: impl Fn() -> R + Sync) -> Vec<R> {
    let board =
        Arc::new(Board { written: Mutex::new(vec![Vec::new(); size]), turn: Barrier::new(size) });
    std::thread::scope(|scope| {
        let ranks: Vec<_> = (0..size)
            .map(|rank| {
                let thread = Thread { rank, size, board: Arc::clone(&board) };
                let body = &body;
                scope.spawn(move || Team::new(thread).install(body))
            })
            .collect();
        let join = |rank: std::thread::ScopedJoinHandle<'_, R>| {
            rank.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        };
        ranks.into_iter().map(join).collect()
    })
}

/// Where ranks write what the others read.
struct Board {
    written: Mutex<Vec<Vec<u8>>>,
    turn: Barrier,
}

struct Thread {
    rank: usize,
    size: usize,
    board: Arc<Board>,
}

impl Thread {
    /// Puts `bytes` where all ranks can read them and gives `read` those of all ranks.
    fn show(&self, bytes: &[u8], read: impl FnOnce(&[Vec<u8>])) {
        let board = || self.board.written.lock().unwrap_or_else(PoisonError::into_inner);
        board()[self.rank] = bytes.to_vec();
        self.board.turn.wait();
        read(&board());
        self.board.turn.wait();
    }
}

impl Link for Thread {
    fn rank(&self) -> usize {
        self.rank
    }

    fn size(&self) -> usize {
        self.size
    }

    fn all_gather(&self, mine: &[u8], counts: &[usize], all: &mut [u8]) {
        self.show(mine, |written| {
            assert!(written.iter().map(Vec::len).eq(counts.iter().copied()), "counts do not fit");
            all.copy_from_slice(&written.concat());
        });
    }

    fn all_to_all(
        &self,
        sent: &[u8],
        sent_counts: &[usize],
        received: &mut [u8],
        counts: &[usize],
    ) {
        // All ranks get everything, the counts in front.
        let mut shown: Vec<u8> =
            sent_counts.iter().flat_map(|&count| (count as u64).to_le_bytes()).collect();
        shown.extend_from_slice(sent);
        self.show(&shown, |written| {
            let mut rest = received;
            for (shown, &count) in written.iter().zip(counts) {
                let (head, sent) = shown.split_at(8 * self.size);
                let mut head = head.chunks_exact(8).map(|number| {
                    number.iter().rev().fold(0, |value, &byte| value << 8 | usize::from(byte))
                });
                let before = head.by_ref().take(self.rank).sum::<usize>();
                assert_eq!(head.next(), Some(count), "counts do not fit");
                let (part, after) = rest.split_at_mut(count);
                part.copy_from_slice(&sent[before..before + count]);
                rest = after;
            }
        });
    }

    fn broadcast(&self, root: usize, bytes: &mut [u8]) {
        let mine = if self.rank == root { bytes.to_vec() } else { Vec::new() };
        self.show(&mine, |written| bytes.copy_from_slice(&written[root]));
    }

    fn abort(&self, code: u8) -> ! {
        std::process::exit(code.into())
    }
}
