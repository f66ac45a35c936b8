//! One self-contained HTML page about runs: what was trained, whether to trust it, and figures that
//! respond to the pointer. It needs no network: style, script and data are in the page.
//!
//! The numbers come as JSON ([`Report`]); the page draws them. [`serve`] hands out the same page
//! while a training goes on.

mod data;
mod page;
mod server;
mod verdict;

pub use data::{Curves, Facts, Picture, Pictures, Report, RunReport};
pub use page::page;
pub use server::{serve, Serving};
pub use verdict::Verdict;
