//! Ranks as processes under MPI, by the crate `mpi` (rsmpi) over the system's library.

use ::mpi::datatype::{Partition, PartitionMut};
use ::mpi::environment::Universe;
use ::mpi::topology::SimpleCommunicator;
use ::mpi::traits::{Communicator, CommunicatorCollectives, Root};
use ::mpi::{Count, Threading};

use super::Link;

/// The processes that were started together.
pub(super) struct World {
    // Dropped first, before the universe ends.
    world: SimpleCommunicator,
    _universe: Universe,
}

impl World {
    /// Joins them; once in the life of a process, on its main thread. `None` if MPI does not start.
    pub fn join() -> Option<Self> {
        // Only the main thread talks.
        let (universe, _) = ::mpi::initialize_with_threading(Threading::Funneled)?;
        Some(Self { world: universe.world(), _universe: universe })
    }

    /// Counts and displacements as MPI wants them.
    fn layout(&self, counts: &[usize]) -> (Vec<Count>, Vec<Count>) {
        let mut end = 0;
        let starts = counts.iter().map(|count| {
            end += count;
            self.narrow(end - count)
        });
        let starts = starts.collect();
        (counts.iter().map(|&count| self.narrow(count)).collect(), starts)
    }

    fn narrow(&self, bytes: usize) -> Count {
        Count::try_from(bytes).unwrap_or_else(|_| {
            eprintln!("error: a message of {bytes} bytes is too long for MPI: use more ranks");
            self.abort(3)
        })
    }
}

impl Link for World {
    fn rank(&self) -> usize {
        self.world.rank() as usize
    }

    fn size(&self) -> usize {
        self.world.size() as usize
    }

    fn all_gather(&self, mine: &[u8], counts: &[usize], all: &mut [u8]) {
        let (counts, starts) = self.layout(counts);
        let mut all = PartitionMut::new(all, counts, starts);
        self.world.all_gather_varcount_into(mine, &mut all);
    }

    fn all_to_all(
        &self,
        sent: &[u8],
        sent_counts: &[usize],
        received: &mut [u8],
        counts: &[usize],
    ) {
        let (sent_counts, sent_starts) = self.layout(sent_counts);
        let (counts, starts) = self.layout(counts);
        let sent = Partition::new(sent, sent_counts, sent_starts);
        let mut received = PartitionMut::new(received, counts, starts);
        self.world.all_to_all_varcount_into(&sent, &mut received);
    }

    fn broadcast(&self, root: usize, bytes: &mut [u8]) {
        self.world.process_at_rank(root as i32).broadcast_into(bytes);
    }

    fn abort(&self, code: u8) -> ! {
        self.world.abort(code.into())
    }
}
