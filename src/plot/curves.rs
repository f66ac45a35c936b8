//! Figures of a training: effective sample sizes and the loss.

use std::path::Path;

use super::draw::save;
use super::histogram::WeightedValues;
use super::sheet::{count, Axis, Color, Curve, Panel, Sheet, Stroke, Ticks};
use crate::error::Error;
use crate::run::MetricsRow;

/// Up to this many points a curve shows them.
const MARKED: usize = 40;

/// Reverse, forward and annealed effective sample size against training steps, training time and
/// energy evaluations; with what explains a dip, and the start from the flow of another run, whose
/// name is `from`.
///
/// # Errors
/// [`Error::Write`]; [`Error::Run`] when the drawing itself fails.
pub fn ess_figure(
    rows: &[MetricsRow],
    from: Option<&str>,
    title: &str,
    path: impl AsRef<Path>,
) -> Result<(), Error> {
    let panel = |abscissa: Abscissa| {
        let curve = |label, color, y| ess_curve(label, color, rows, &abscissa.of, y);
        let few = |row: &MetricsRow| row.reverse_ess.filter(|_| row.rests_on_few());
        let mut curves = events(rows, from, &abscissa.of);
        curves.extend([
            curve("after annealing (AIS)", Color::Green, |row| row.ais_ess),
            curve("forward", Color::Vermillion, |row| row.forward_ess),
            curve("reverse", Color::Blue, |row| row.reverse_ess),
            Curve {
                stroke: Stroke::Dots,
                ..curve("reverse rests on few samples (!)", Color::Black, few)
            },
        ]);
        ess_panel(rows, abscissa, curves)
    };
    let panels = abscissas(rows).map(panel).into();
    let (title, note) = (title.to_string(), sizes(rows));
    save(&Sheet { title, note, panels, ..Sheet::default() }, path.as_ref())
}

/// Negative log-likelihood of x over test and validation data against training steps and training
/// time; with the lowest possible one, the target's entropy, where it is known.
///
/// # Errors
/// [`Error::Write`]; [`Error::Run`] when the drawing itself fails.
pub fn nll_figure(
    rows: &[MetricsRow],
    lowest: Option<f64>,
    title: &str,
    path: impl AsRef<Path>,
) -> Result<(), Error> {
    let [steps, time, _] = abscissas(rows);
    let panel = |Abscissa { label, ticks, of }: Abscissa| {
        let curve = |label, color, y| ess_curve(label, color, rows, &of, y);
        let mut curves = vec![
            curve("validation data", Color::Green, |row| row.validation_nll),
            curve("test data", Color::Vermillion, |row| row.nll),
        ];
        let points = curves.iter().flat_map(|curve| &curve.points);
        let end = points.clone().map(|point| point.0).fold(0.0, f64::max);
        // The first evaluations are far above all others.
        let values: Vec<f64> = points.map(|point| point.1).chain(lowest).collect();
        let sorted = WeightedValues::new(&values, None);
        let (low, high) = (sorted.quantile(0.0), sorted.quantile(0.95));
        let margin = 0.05 * (high - low);
        if let Some(lowest) = lowest {
            curves.push(Curve {
                label: "lowest possible".into(),
                color: Color::Black,
                stroke: Stroke::Dashed,
                points: vec![(0.0, lowest), (end, lowest)],
            });
        }
        Panel {
            x: Axis::new(label, (0.0, if end > 0.0 { 1.02 * end } else { 1.0 }), ticks),
            y: Axis::new("NLL / nats", (low - margin, high + margin), Ticks::Plain),
            cells: None,
            curves,
            empty: "not evaluated yet",
        }
    };
    let panels = [steps, time].map(panel).into();
    save(&Sheet { title: title.to_string(), panels, ..Sheet::default() }, path.as_ref())
}

/// Vertical lines where the training went back to earlier parameters, and where it started from the
/// flow of the run `from`.
fn events(rows: &[MetricsRow], from: Option<&str>, x: &Value) -> Vec<Curve> {
    let line = |label: String, color, at: f64| Curve {
        label,
        color,
        stroke: Stroke::Dashed,
        points: vec![(at, 0.0), (at, 1.0)],
    };
    let mut lines = Vec::new();
    // Time and energy evaluations of the other run count: back to step 0 at the pace of the start.
    if let (Some(from), [first, second, ..]) = (from, rows) {
        let steps = second.step.saturating_sub(first.step).max(1) as f64;
        let at = x(first) - (x(second) - x(first)) / steps * first.step as f64;
        lines.push(line(format!("start from {from}"), Color::Orange, at.max(0.0)));
    }
    let mut before = 0;
    for row in rows {
        if row.rollbacks > before {
            lines.push(line("roll-back".into(), Color::Black, x(row)));
        }
        before = row.rollbacks;
    }
    lines.retain(|line| line.points.iter().all(|point| point.0.is_finite()));
    lines
}

/// Effective sample sizes from 0 to 1 against an abscissa of `rows`.
fn ess_panel(rows: &[MetricsRow], abscissa: Abscissa, curves: Vec<Curve>) -> Panel {
    let Abscissa { label, ticks, of } = abscissa;
    let end = rows.iter().map(of).filter(|x| x.is_finite()).fold(0.0, f64::max);
    Panel {
        x: Axis::new(label, (0.0, if end > 0.0 { 1.02 * end } else { 1.0 }), ticks),
        y: Axis::new("effective sample size", (0.0, 1.0), Ticks::Percent),
        cells: None,
        curves,
        empty: "not evaluated yet",
    }
}

/// N of the reverse effective sample sizes, in words.
fn sizes(rows: &[MetricsRow]) -> String {
    let mut sizes: Vec<u64> = rows.iter().filter_map(|row| row.ess_samples).collect();
    sizes.sort_unstable();
    match (sizes.first(), sizes.last()) {
        (Some(first), Some(last)) if first == last => {
            format!("reverse: N = {} samples", count(*first))
        }
        (Some(first), Some(last)) => {
            format!("reverse: N = {} to {} samples", count(*first), count(*last))
        }
        _ => String::new(),
    }
}

type Value = Box<dyn Fn(&MetricsRow) -> f64>;

/// A quantity that curves are drawn against.
struct Abscissa {
    label: String,
    ticks: Ticks,
    of: Value,
}

/// Training steps, time in a unit that suits these rows, and energy evaluations.
fn abscissas(rows: &[MetricsRow]) -> [Abscissa; 3] {
    let longest = rows.iter().map(|row| row.train_seconds).fold(0.0, f64::max);
    let (unit, seconds) = match longest {
        s if s < 180.0 => ("s", 1.0),
        s if s < 3.0 * 3600.0 => ("min", 60.0),
        _ => ("h", 3600.0),
    };
    let new = |label: &str, ticks, of| Abscissa { label: label.into(), ticks, of };
    let (thousands, plain) = (Ticks::Thousands, Ticks::Plain);
    [
        new("training steps", thousands, Box::new(|row| row.step as f64)),
        new(
            &format!("training time / {unit}"),
            plain,
            Box::new(move |row| row.train_seconds / seconds),
        ),
        new("energy evaluations", thousands, Box::new(|row| row.energy_evaluations as f64)),
    ]
}

/// Reverse (solid) and forward (dashed) effective sample size of several recipes against training
/// steps, training time and energy evaluations: a name, and the rows of each seed. Of several seeds
/// it has the median, in a band from the least to the largest.
///
/// # Errors
/// [`Error::Write`]; [`Error::Run`] when the drawing itself fails.
pub fn comparison_figure(
    recipes: &[(String, Vec<&[MetricsRow]>)],
    title: &str,
    path: impl AsRef<Path>,
) -> Result<(), Error> {
    const COLORS: [Color; 5] =
        [Color::Blue, Color::Vermillion, Color::Green, Color::Orange, Color::Black];
    let rows = recipes.iter().flat_map(|(_, seeds)| seeds.iter().copied().flatten());
    let all: Vec<MetricsRow> = rows.cloned().collect();
    let panel = |abscissa: Abscissa| {
        let curves = recipes.iter().enumerate().rev().flat_map(|(place, (name, seeds))| {
            let color = COLORS[place % COLORS.len()];
            let curves = |kind, stroke, y| {
                let label = format!("{name}, {kind}");
                seed_curves(&label, (color, stroke), seeds, &abscissa.of, y)
            };
            let mut both = curves("forward", Stroke::Dashed, |row| row.forward_ess);
            both.extend(curves("reverse", Stroke::Line, |row| row.reverse_ess));
            both
        });
        let curves = curves.collect();
        ess_panel(&all, abscissa, curves)
    };
    let panels = abscissas(&all).map(panel).into();
    let mut note = sizes(&all);
    if recipes.iter().any(|(_, seeds)| seeds.len() > 1) {
        note += "; bands: from the lowest to the highest seed, with their median";
    }
    save(&Sheet { title: title.to_string(), note, panels, ..Sheet::default() }, path.as_ref())
}

/// The curve of a recipe; of several seeds the median at the steps that all have evaluated, in its
/// band.
fn seed_curves(
    label: &str,
    (color, stroke): (Color, Stroke),
    seeds: &[&[MetricsRow]],
    x: &Value,
    y: fn(&MetricsRow) -> Option<f64>,
) -> Vec<Curve> {
    let curve = |stroke, points| Curve { label: label.to_string(), color, stroke, points };
    let (Some(first), true) = (seeds.first(), seeds.len() > 1) else {
        return seeds.iter().map(|rows| curve(stroke, points(rows, x, y))).collect();
    };
    let (mut low, mut high, mut middle) = (Vec::new(), Vec::new(), Vec::new());
    for step in first.iter().map(|row| row.step) {
        let mut met: Vec<(f64, f64)> = seeds
            .iter()
            .filter_map(|rows| rows.iter().find(|row| row.step == step))
            .flat_map(|row| points(std::slice::from_ref(row), x, y))
            .collect();
        if met.len() < seeds.len() {
            continue;
        }
        met.sort_by(|a, b| a.1.total_cmp(&b.1));
        let (last, half) = (met.len() - 1, met.len() / 2);
        let at = met.iter().map(|point| point.0).sum::<f64>() / met.len() as f64;
        low.push((at, met[0].1));
        high.push((at, met[last].1));
        middle.push((at, 0.5 * (met[half].1 + met[last - half].1)));
    }
    high.extend(low.into_iter().rev());
    vec![curve(Stroke::Band, high), curve(stroke, middle)]
}

fn ess_curve(
    label: &str,
    color: Color,
    rows: &[MetricsRow],
    x: &Value,
    y: fn(&MetricsRow) -> Option<f64>,
) -> Curve {
    let points = points(rows, x, y);
    let stroke = if points.len() <= MARKED { Stroke::Marked } else { Stroke::Line };
    Curve { label: label.to_string(), color, stroke, points }
}

/// The finite points; rows in which y was not computed are left out.
fn points(
    rows: &[MetricsRow],
    x: impl Fn(&MetricsRow) -> f64,
    y: fn(&MetricsRow) -> Option<f64>,
) -> Vec<(f64, f64)> {
    rows.iter()
        .filter_map(|row| Some((x(row), y(row)?)))
        .filter(|(x, y)| x.is_finite() && y.is_finite())
        .collect()
}

/// The training loss against steps, with its running median.
///
/// The axis spans the bulk of the values, since the first steps are often far above all others.
///
/// # Errors
/// [`Error::Write`]; [`Error::Run`] when the drawing itself fails.
pub fn loss_figure(rows: &[MetricsRow], title: &str, path: impl AsRef<Path>) -> Result<(), Error> {
    let points = points(rows, |row| row.step as f64, |row| row.loss);
    let values: Vec<f64> = points.iter().map(|p| p.1).collect();
    let sorted = WeightedValues::new(&values, None);
    let (low, high) = if points.len() > MARKED {
        (sorted.quantile(0.005), sorted.quantile(0.98))
    } else {
        (sorted.quantile(0.0), sorted.quantile(1.0))
    };
    let margin = 0.05 * (high - low);
    let y = Axis::new("loss", (low - margin, high + margin), Ticks::Plain);
    let beyond = values.iter().any(|v| *v < y.range.0 || *v > y.range.1);
    let note = if beyond { "values beyond the axis are drawn at its edge" } else { "" };
    let end = points.last().map_or(1.0, |p| 1.02 * p.0);

    let curves = if points.len() > MARKED {
        let smooth = running_median(&points, points.len() / 50);
        let curve = |label: &str, stroke, points| Curve {
            label: label.to_string(),
            color: Color::Blue,
            stroke,
            points,
        };
        vec![curve("loss", Stroke::Faint, points), curve("running median", Stroke::Line, smooth)]
    } else {
        vec![Curve { label: "loss".into(), color: Color::Blue, stroke: Stroke::Marked, points }]
    };
    let x = Axis::new("training steps", (0.0, end.max(1.0)), Ticks::Thousands);
    let panel = Panel { x, y, cells: None, curves, empty: "no loss recorded yet" };
    let (title, note, panels) = (title.to_string(), note.to_string(), vec![panel]);
    save(&Sheet { title, note, panels, ..Sheet::default() }, path.as_ref())
}

/// The median of each point and its neighbours up to `half` away on both sides.
fn running_median(points: &[(f64, f64)], half: usize) -> Vec<(f64, f64)> {
    let mut window = Vec::with_capacity(2 * half + 1);
    (0..points.len())
        .map(|at| {
            let neighbours = at.saturating_sub(half)..=(at + half).min(points.len() - 1);
            window.clear();
            window.extend(points[neighbours].iter().map(|p| p.1));
            window.sort_by(f64::total_cmp);
            (points[at].0, window[window.len() / 2])
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_make_a_band_around_their_median_at_the_steps_that_all_have() {
        let rows = |shift: f64, steps: &[u64]| -> Vec<MetricsRow> {
            let row = |&step| MetricsRow {
                step,
                train_seconds: 2.0 * step as f64,
                reverse_ess: Some(0.1 * step as f64 + shift),
                ..MetricsRow::default()
            };
            steps.iter().map(row).collect()
        };
        let (one, two, three) = (rows(0.0, &[1, 2, 4]), rows(0.3, &[1, 3, 4]), rows(0.1, &[1, 4]));
        let time: Value = Box::new(|row| row.train_seconds);
        let seeds = [&one[..], &two, &three];
        let style = (Color::Blue, Stroke::Line);
        let curves = seed_curves("r", style, &seeds, &time, |row| row.reverse_ess);
        let rounded = |curve: &Curve| -> Vec<(f64, f64)> {
            curve.points.iter().map(|p| (p.0, (1e6 * p.1).round() / 1e6)).collect()
        };
        assert_eq!(rounded(&curves[0]), [(2.0, 0.4), (8.0, 0.7), (8.0, 0.4), (2.0, 0.1)]);
        assert_eq!(rounded(&curves[1]), [(2.0, 0.2), (8.0, 0.5)]);
        // One run is a curve through all of its points.
        assert_eq!(seed_curves("r", style, &seeds[..1], &time, |row| row.reverse_ess).len(), 1);
    }
}
