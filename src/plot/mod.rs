//! Figures of a run, as SVG and PNG with one look, drawn from numbers alone.
//!
//! Each function takes the path without its extension and writes `PATH.svg` and `PATH.png`. The
//! font comes with the binary, so figures are the same on a machine without any; an SVG names
//! wide-spread fonts of the same width, ending in the generic sans-serif. For empty or non-finite
//! input the figure states that.

mod bitmap;
mod curves;
mod distribution;
mod draw;
mod histogram;
mod landscape;
mod sheet;

pub use curves::{comparison_figure, ess_figure, loss_figure, nll_figure};
pub use distribution::{
    distance_label, distribution_figure, log_weight_figure, log_weight_outline, outlines,
    Distribution, Outlines,
};
pub use landscape::{
    distributions_figure, map_figure, pieces, profile_figure, EnergyUnit, Landscape, MAP_BINS,
};
pub use sheet::count;

#[cfg(test)]
#[path = "../../tests/unit/plots.rs"]
mod tests;
