//! What is on a figure, before it is drawn: panels, axes, curves, legend.

/// A figure: panels side by side under a title, a legend and a note.
#[derive(Debug, Clone, Default)]
pub(super) struct Sheet {
    pub title: String,
    /// A line under the title, such as the number of samples; may be empty.
    pub note: String,
    pub panels: Vec<Panel>,
}

/// One coordinate system.
#[derive(Debug, Clone)]
pub(super) struct Panel {
    pub x: Axis,
    pub y: Axis,
    /// In drawing order; those without points are left out of the legend.
    pub curves: Vec<Curve>,
    /// Shown in place of curves when none has points.
    pub empty: &'static str,
}

#[derive(Debug, Clone)]
pub(super) struct Axis {
    /// Quantity and unit.
    pub label: String,
    pub range: (f64, f64),
    pub ticks: Ticks,
}

/// How the numbers at an axis are written.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Ticks {
    Plain,
    /// 20 000 as 20k, 1.5 million as 1.5M.
    Thousands,
    /// A percentage of a fraction.
    Percent,
}

/// A set of points, all finite, with its place in the legend.
#[derive(Debug, Clone)]
pub(super) struct Curve {
    pub label: String,
    pub color: Color,
    pub stroke: Stroke,
    pub points: Vec<(f64, f64)>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Stroke {
    Line,
    /// A thin, light line behind another one.
    Faint,
    Dashed,
    /// A thin line over a filled area that reaches down to the axis.
    Area,
    /// A line with its points marked.
    Marked,
    /// The area that the points go around; has the label of the curve that lies in it.
    Band,
}

/// Colours that stay apart for colour-blind readers (Okabe and Ito,
/// <https://jfly.uni-koeln.de/color/>).
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Color {
    Black,
    Orange,
    Blue,
    Green,
    Vermillion,
}

impl Color {
    pub fn rgb(self) -> [u8; 3] {
        match self {
            Self::Black => [60, 60, 60],
            Self::Orange => [230, 159, 0],
            Self::Blue => [0, 114, 178],
            Self::Green => [0, 158, 115],
            Self::Vermillion => [213, 94, 0],
        }
    }
}

impl Axis {
    pub fn new(label: impl Into<String>, range: (f64, f64), ticks: Ticks) -> Self {
        Self { label: label.into(), range: widened(range), ticks }
    }
}

/// A range that can be an axis: finite, increasing, also for one point or none.
fn widened((low, high): (f64, f64)) -> (f64, f64) {
    if !(low.is_finite() && high.is_finite() && (high - low).is_finite()) || high < low {
        return (0.0, 1.0);
    }
    let least = 1e-9 * low.abs().max(high.abs());
    if high - low <= least {
        let half = if low == 0.0 { 0.5 } else { 0.1 * low.abs() };
        return (low - half, high + half);
    }
    (low, high)
}

impl Ticks {
    pub fn text(self, value: f64) -> String {
        let text = match self {
            Self::Plain => plain(value),
            Self::Percent => format!("{} %", plain(100.0 * value)),
            Self::Thousands => {
                let (unit, suffix) = match value.abs() {
                    v if v >= 1e12 => (1e12, "T"),
                    v if v >= 1e9 => (1e9, "G"),
                    v if v >= 1e6 => (1e6, "M"),
                    v if v >= 1e3 => (1e3, "k"),
                    _ => (1.0, ""),
                };
                format!("{}{suffix}", plain(value / unit))
            }
        };
        text.replace('-', "−")
    }
}

/// As many digits as the value of a tick needs, without the noise of binary fractions.
fn plain(value: f64) -> String {
    let size = value.abs();
    if size >= 1e6 || (size > 0.0 && size < 1e-4) {
        let text = format!("{value:.3e}");
        let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        return format!("{}e{exponent}", trimmed(digits));
    }
    match trimmed(&format!("{value:.6}")) {
        "-0" => "0".to_string(),
        text => text.to_string(),
    }
}

fn trimmed(text: &str) -> &str {
    if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.')
    } else {
        text
    }
}

/// A number in a sentence, with a real minus sign.
pub(super) fn number(value: f64, decimals: usize) -> String {
    let text = if value.abs() < 1e6 { format!("{value:.decimals$}") } else { plain(value) };
    text.replace('-', "−")
}

/// A count in a sentence: 10 000, with the space that keeps it on one line.
pub(super) fn count(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && digits.len() > 4 && (digits.len() - index).is_multiple_of(3) {
            text.push('\u{a0}');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_read_like_numbers_in_print() {
        for (ticks, value, text) in [
            (Ticks::Plain, 0.1 + 0.2, "0.3"),
            (Ticks::Plain, -1e-17, "−1e−17"),
            (Ticks::Plain, -2.5, "−2.5"),
            (Ticks::Plain, 200.0, "200"),
            (Ticks::Plain, 1.5e8, "1.5e8"),
            (Ticks::Thousands, 0.0, "0"),
            (Ticks::Thousands, 20_000.0, "20k"),
            (Ticks::Thousands, 1.5e6, "1.5M"),
            (Ticks::Thousands, 2e9, "2G"),
            (Ticks::Percent, 0.2, "20 %"),
        ] {
            assert_eq!(ticks.text(value), text);
        }
        assert_eq!(count(10_000), "10\u{a0}000");
        assert_eq!(count(128), "128");
    }

    #[test]
    fn every_range_becomes_an_axis() {
        for range in [(0.0, 0.0), (3.0, 3.0), (f64::NAN, 1.0), (1.0, 0.0), (-1e308, 1e308)] {
            let (low, high) = widened(range);
            assert!(low < high && (high - low).is_finite(), "{range:?}");
        }
    }
}
