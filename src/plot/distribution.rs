//! Figures of what the flow gives: energies, pair distances and log weights.

use std::path::Path;

use super::draw::save;
use super::histogram::{weights, WeightedValues};
use super::sheet::{count, number, Axis, Color, Curve, Panel, Sheet, Stroke, Ticks};
use crate::diagnostics::{effective_sample_size, log_mean_exp};
use crate::error::Error;

/// An observable on samples of the flow and on reference samples.
#[derive(Debug, Clone, Copy)]
pub struct Distribution<'a> {
    /// Values on flow samples [samples, values]: one energy each, or n(n − 1)/2 pair distances.
    pub flow: &'a [f64],
    /// log w of the flow samples, `[samples]`; −∞ is weight zero. None at all where there is no
    /// energy to weigh them by.
    pub log_weights: &'a [f64],
    /// Values on samples of the target, if there are any.
    pub reference: Option<&'a [f64]>,
}

/// What stands at the axis of pair distances in this unit; empty where it is not known.
pub fn distance_label(unit: &str) -> String {
    match unit {
        "" => "pair distance r".to_string(),
        unit => format!("pair distance r / {unit}"),
    }
}

/// The distribution of an observable, such as the energy or the pair distance, over flow samples,
/// over the same samples reweighted, and over reference samples.
///
/// `label` names the observable with its unit at the axis. The axis spans the reweighted and the
/// reference values; the legend has the share of the flow's that lies beyond.
///
/// # Errors
/// [`Error::Parameter`] when values are not a multiple of weights, [`Error::Write`]; [`Error::Run`]
/// when the drawing itself fails.
pub fn distribution_figure(
    observable: &Distribution<'_>,
    label: &str,
    title: &str,
    path: impl AsRef<Path>,
) -> Result<(), Error> {
    let Outlines { range, beyond, reference, flow, reweighted } = outlines(observable)?;
    let curves = [
        ("reference", reference, Color::Black, Stroke::Area),
        ("flow", flow, Color::Orange, Stroke::Line),
        ("flow, reweighted", reweighted, Color::Blue, Stroke::Line),
    ];
    let curves = curves.into_iter().zip(beyond).map(|((label, points, color, stroke), beyond)| {
        Curve { label: with_share_beyond(label, beyond), color, stroke, points }
    });
    let panel = density_panel(label, range, curves.collect());
    save(
        &Sheet { title: title.to_string(), panels: vec![panel], ..Sheet::default() },
        path.as_ref(),
    )
}

/// Outlines of an observable's histograms over one range with one set of bins: (value, density).
/// What has no finite value has no points.
#[derive(Debug, Clone)]
pub struct Outlines {
    /// The axis: the bulk of the reweighted and of the reference values, and the flow's as far as
    /// they do not squash those.
    pub range: (f64, f64),
    /// The shares outside the range: reference, flow, flow reweighted.
    pub beyond: [f64; 3],
    /// Over reference samples.
    pub reference: Vec<(f64, f64)>,
    /// Over flow samples.
    pub flow: Vec<(f64, f64)>,
    /// Over flow samples by weight.
    pub reweighted: Vec<(f64, f64)>,
}

/// The histograms of [`distribution_figure`].
///
/// # Errors
/// [`Error::Parameter`] when values are not a multiple of weights.
pub fn outlines(observable: &Distribution<'_>) -> Result<Outlines, Error> {
    let Distribution { flow, log_weights, reference } = *observable;
    let is_weighted = !log_weights.is_empty();
    if is_weighted && (flow.is_empty() || !flow.len().is_multiple_of(log_weights.len())) {
        return Err(Error::parameter(
            "flow",
            format!("has {} values for {} log weights", flow.len(), log_weights.len()),
        ));
    }
    let plain = WeightedValues::new(flow, None);
    let by_weight = if is_weighted { flow } else { &[] };
    let reweighted = WeightedValues::new(by_weight, Some(&weights(log_weights)));
    let reference = WeightedValues::new(reference.unwrap_or_default(), None);
    let range = shared_range(&plain, &[&reweighted, &reference]);
    // One set of bins, as fine as the smallest set of values bears.
    let all = [&reference, &plain, &reweighted];
    let bins = bins(all.iter().map(|v| v.len()).filter(|len| *len > 0).min().unwrap_or(0));
    let beyond = all.map(|values| values.outside(range));
    let [reference, flow, reweighted] = all.map(|values| values.outline(bins, range));
    Ok(Outlines { range, beyond, reference, flow, reweighted })
}

/// An axis of log weights is at most this wide: what is so far below the largest has no weight.
const WIDEST: f64 = 1000.0;

/// The outline of the log weights' histogram, of which the lowest in 500 are left out, more of them
/// where they would squash the others.
pub fn log_weight_outline(log_weights: &[f64]) -> Vec<(f64, f64)> {
    let values = WeightedValues::new(log_weights, None);
    values.outline(bins(values.len()), log_weight_range(&values))
}

fn log_weight_range(values: &WeightedValues) -> (f64, f64) {
    let high = values.quantile(1.0);
    let lows = [0.002, 0.05, 0.25, 0.5].map(|share| values.quantile(share));
    let low = lows.into_iter().find(|low| high - low <= WIDEST).unwrap_or(high - WIDEST);
    let margin = 0.05 * (high - low);
    Axis::new("", (low - margin, high + margin), Ticks::Plain).range
}

/// The distribution of the flow samples' log weights, with log Z and the effective sample size.
///
/// # Errors
/// [`Error::Write`]; [`Error::Run`] when the drawing itself fails.
pub fn log_weight_figure(
    log_weights: &[f64],
    title: &str,
    path: impl AsRef<Path>,
) -> Result<(), Error> {
    let values = WeightedValues::new(log_weights, None);
    let range = log_weight_range(&values);
    let mut curves = vec![Curve {
        label: with_share_beyond("flow samples", values.outside(range)),
        color: Color::Blue,
        stroke: Stroke::Area,
        points: log_weight_outline(log_weights),
    }];
    let mut note = String::new();
    if !values.is_empty() {
        let log_mean = log_mean_exp(log_weights);
        let finite = log_weights.iter().filter(|w| w.is_finite());
        let mean = finite.sum::<f64>() / values.len() as f64;
        let top = curves[0].points.iter().map(|p| p.1).fold(0.0, f64::max);
        for (name, color, at) in [
            ("mean of log w", Color::Orange, mean),
            ("log of mean w = log Z", Color::Vermillion, log_mean),
        ] {
            let beyond = if at < range.0 { " (beyond the axis)" } else { "" };
            curves.push(Curve {
                label: format!("{name} = {}{beyond}", number(at, 2)),
                color,
                stroke: Stroke::Dashed,
                points: vec![(at, 0.0), (at, 1.1 * top)],
            });
        }
        note = format!(
            "reverse effective sample size {} % of N = {}",
            number(100.0 * effective_sample_size(log_weights).fraction, 1),
            count(log_weights.len() as u64)
        );
    }
    let panel = density_panel("log weight log w", range, curves);
    let title = title.to_string();
    save(&Sheet { title, note, panels: vec![panel], ..Sheet::default() }, path.as_ref())
}

/// A panel of densities over `range`.
pub(super) fn density_panel(label: &str, range: (f64, f64), curves: Vec<Curve>) -> Panel {
    let top = curves.iter().flat_map(|c| &c.points).map(|p| p.1).fold(0.0, f64::max);
    Panel {
        x: Axis::new(label, range, Ticks::Plain),
        y: Axis::new(
            "probability density",
            (0.0, if top > 0.0 { 1.08 * top } else { 1.0 }),
            Ticks::Plain,
        ),
        cells: None,
        curves,
        empty: "no finite values",
    }
}

fn bins(values: usize) -> usize {
    match values {
        0..=500 => 25,
        501..=5000 => 50,
        _ => 80,
    }
}

/// The bulk of the `target` values, and the flow's as far as they do not squash those.
fn shared_range(flow: &WeightedValues, target: &[&WeightedValues]) -> (f64, f64) {
    let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
    for values in target.iter().filter(|values| !values.is_empty()) {
        low = low.min(values.quantile(0.001));
        high = high.max(values.quantile(0.999));
    }
    if low > high {
        (low, high) = (flow.quantile(0.01), flow.quantile(0.95));
    }
    let width = high - low;
    if !flow.is_empty() {
        low = low.min(flow.quantile(0.1).max(low - 0.25 * width));
        high = high.max(flow.quantile(0.9).min(high + 0.25 * width));
    }
    Axis::new("", (low - 0.04 * width, high + 0.04 * width), Ticks::Plain).range
}

fn with_share_beyond(label: &str, beyond: f64) -> String {
    match 100.0 * beyond {
        share if share >= 0.5 => format!("{label} ({share:.0} % beyond the axis)"),
        _ => label.to_string(),
    }
}
