//! How this process was started: alone, or as one of several ranks.

use super::Team;
use crate::error::Error;

/// Variables in which launchers say how many ranks they start: Open MPI's mpirun, MPICH's and
/// others' mpiexec, SLURM's srun.
const SIZES: [&str; 3] = ["OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "SLURM_STEP_NUM_TASKS"];

/// The number of ranks by the launcher's environment, and the variable that has it.
fn announced(variable: impl Fn(&str) -> Option<String>) -> Option<(usize, &'static str)> {
    SIZES.into_iter().find_map(|name| Some((variable(name)?.trim().parse().ok()?, name)))
}

/// The team of this process, by its launcher's environment. Once in the life of a process.
///
/// # Errors
/// [`Error::Parameter`] when a launcher has started several processes that cannot talk to each
/// other: each would do the same in the same folder.
pub fn from_environment() -> Result<Team, Error> {
    match announced(|name| std::env::var(name).ok()) {
        Some((size, name)) if size > 1 => connected(size, name),
        _ => Ok(Team::default()),
    }
}

#[cfg(not(feature = "mpi"))]
fn connected(size: usize, variable: &str) -> Result<Team, Error> {
    Err(Error::parameter(
        variable,
        format!(
            "says that {size} ranks were started, and this boltzflow was built without MPI: each \
             would do the whole work in the same folder. Build it with `cargo build --release \
             --features mpi`, or start one process"
        ),
    ))
}

#[cfg(feature = "mpi")]
fn connected(size: usize, variable: &str) -> Result<Team, Error> {
    use super::Link;
    let refused = |found: String| {
        let problem = format!(
            "says that {size} ranks were started, and {found}: start it with the launcher of \
             the MPI that it was built with (under SLURM, `srun --mpi=list` names what srun can \
             talk to)"
        );
        Err(Error::parameter(variable, problem))
    };
    let Some(world) = super::mpi::World::join() else {
        return refused("MPI does not start".into());
    };
    if world.size() != size {
        return refused(format!("MPI sees {}", world.size()));
    }
    // A rank that panics would leave the others waiting for it.
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        report(panic);
        std::process::abort();
    }));
    Ok(Team::new(world))
}

/// Threads for each rank, where the user sets none: the cores that it may use, shared with the
/// ranks that may use the same ones. A collective operation.
pub fn default_threads(team: &Team) -> usize {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    if team.is_alone() {
        return cores;
    }
    let read = |path| std::fs::read_to_string(path).unwrap_or_default();
    let status = read("/proc/self/status");
    let cpus = status.lines().find(|line| line.starts_with("Cpus_allowed_list:"));
    let place =
        format!("{} {}", read("/proc/sys/kernel/hostname").trim(), cpus.unwrap_or_default());
    let mine = u64::from(crc32fast::hash(place.as_bytes()));
    let sharing = team.allgather(mine).into_iter().filter(|&place| place == mine).count();
    (cores / sharing).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn launchers_say_how_many_ranks_there_are() {
        let found = |name: &'static str, value: &'static str| {
            announced(move |asked| (asked == name).then(|| value.to_string()))
        };
        assert_eq!(found("OMPI_COMM_WORLD_SIZE", "4"), Some((4, "OMPI_COMM_WORLD_SIZE")));
        assert_eq!(found("PMI_SIZE", " 2"), Some((2, "PMI_SIZE")));
        // What sbatch sets for the one process of a batch script does not count.
        assert_eq!(found("SLURM_NTASKS", "64"), None);
        assert_eq!(found("PMI_SIZE", "many"), None);
    }
}
