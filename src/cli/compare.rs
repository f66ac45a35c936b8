use super::args::CompareArgs;
use crate::error::Error;
pub(super) fn run(_: &CompareArgs) -> Result<(), Error> {
    Ok(())
}
