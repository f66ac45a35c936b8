//! Custom forces: energies as expressions, by the formula engine.

mod born;
mod expression;
mod listed;
mod pairs;

pub(super) use self::born::{CustomBorn, Space as BornSpace};
pub(super) use self::listed::Listed;
pub(super) use self::pairs::Pairs;
