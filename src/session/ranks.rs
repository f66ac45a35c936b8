//! What ranks must have in common.

use crate::error::Error;
use crate::parallel::team;

/// Refuses to continue where ranks read different files.
pub(super) fn same_on_all_ranks(texts: &[&str]) -> Result<(), Error> {
    let mine = crc32fast::hash(texts.concat().as_bytes());
    let all = team().allgather(mine.into());
    match all.iter().position(|other| *other != all[0]) {
        None => Ok(()),
        Some(rank) => Err(Error::parameter(
            "recipe",
            format!(
                "or target differs between rank 0 and rank {rank}: let all read the same files"
            ),
        )),
    }
}
