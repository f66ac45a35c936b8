//! One self-contained HTML page about runs: what was trained, whether to trust it, and figures that
//! respond to the pointer. It needs no network: style, script and data are in the page.
//!
//! The numbers come as JSON ([`Report`]); the page draws them. [`serve`] gives out the same page
//! during a training.

mod data;
mod facts;
mod molecules;
mod numbers;
mod page;
mod server;
mod verdict;

pub use data::{Pictures, Report, RunReport};
pub use facts::Facts;
pub use molecules::MoleculePictures;
pub use page::page;
pub use server::{serve, Serving};
pub use verdict::{Verdict, VerdictFigure};

#[cfg(test)]
#[path = "../../tests/unit/report.rs"]
mod tests;
