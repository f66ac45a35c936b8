//! What is on a figure, before it is drawn: panels, axes, curves, legend.

/// A figure: panels side by side under a title, a legend and a note.
#[derive(Debug, Clone, Default)]
pub(super) struct Sheet {
    pub title: String,
    /// A line under the title, such as the number of samples; may be empty.
    pub note: String,
    /// What the colours of cells mean.
    pub scale: Option<Scale>,
    pub panels: Vec<Panel>,
}

/// A colour bar from 0 to `top`.
#[derive(Debug, Clone)]
pub(super) struct Scale {
    pub label: String,
    pub top: f64,
}

/// A map of equal cells that fill a panel.
#[derive(Debug, Clone)]
pub(super) struct Cells {
    /// Stands in its corner.
    pub name: String,
    /// Along each axis.
    pub bins: usize,
    /// From 0 to 1 of the colour bar, those along y running fastest; `None` is left blank.
    pub values: Vec<Option<f64>>,
}

/// The colours of matplotlib's viridis at equal steps, from dark to bright, which stay in order for
/// every reader and in grey (<https://bids.github.io/colormap>).
const VIRIDIS: [[u8; 3]; 9] = [
    [68, 1, 84],
    [71, 44, 122],
    [59, 81, 139],
    [44, 113, 142],
    [33, 144, 141],
    [39, 173, 129],
    [92, 200, 99],
    [170, 220, 50],
    [253, 231, 37],
];

/// The colour at a share of the colour bar from 0 to 1.
pub(super) fn viridis(share: f64) -> [u8; 3] {
    let place = share.clamp(0.0, 1.0) * (VIRIDIS.len() - 1) as f64;
    let below = (place as usize).min(VIRIDIS.len() - 2);
    let (a, b, rest) = (VIRIDIS[below], VIRIDIS[below + 1], place - below as f64);
    let mix = |k: usize| (f64::from(a[k]) * (1.0 - rest) + f64::from(b[k]) * rest).round() as u8;
    [mix(0), mix(1), mix(2)]
}

/// One coordinate system.
#[derive(Debug, Clone)]
pub(super) struct Panel {
    pub x: Axis,
    pub y: Axis,
    /// A map behind the curves.
    pub cells: Option<Cells>,
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
    /// What is taken off the numbers at the axis, and said in its label.
    offset: f64,
}

/// How the numbers at an axis are written.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Ticks {
    Plain,
    /// 20 000 as 20k, 1.5 million as 1.5M.
    Thousands,
    /// A percentage of a fraction.
    Percent,
    /// Multiples of 60.
    Degrees,
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
    /// Points alone, larger ones.
    Dots,
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
        let range = widened(range);
        let offset = if ticks == Ticks::Plain { offset(range) } else { 0.0 };
        let label = match label.into() {
            label if offset == 0.0 => label,
            label => format!("{label} {}", with_sign(-offset)),
        };
        Self { label, range, ticks, offset }
    }

    /// The text of a tick.
    pub fn text(&self, value: f64) -> String {
        let (shown, width) = (value - self.offset, self.range.1 - self.range.0);
        self.ticks.text(if shown.abs() < 1e-9 * width { 0.0 } else { shown })
    }
}

/// What to take off the numbers at an axis so that they differ and are short: a round number near
/// them, or 0 for ranges that are not narrow for their size.
fn offset((low, high): (f64, f64)) -> f64 {
    let (size, width) = (low.abs().max(high.abs()), high - low);
    // As `plain` writes numbers: six decimals, or four digits with an exponent.
    let narrow = match size {
        size if (1e-4..1e6).contains(&size) => width < 1e-5 || size > 2e3 * width,
        _ => size > 100.0 * width,
    };
    if !narrow {
        return 0.0;
    }
    let unit = 10f64.powf(width.log10().ceil());
    (0.5 * (low + high) / unit).round() * unit
}

/// A number with its sign and a blank between, "− 12 000" or "+ 0.125", to stand after a name.
fn with_sign(value: f64) -> String {
    let sign = if value < 0.0 { '−' } else { '+' };
    let size = value.abs();
    if !(1e-3..1e15).contains(&size) {
        return format!("{sign} {size:e}").replace('-', "−");
    }
    let text = format!("{size:.9}");
    let (whole, decimals) = trimmed(&text).split_once('.').unwrap_or((trimmed(&text), ""));
    let whole = whole.parse().map_or(whole.to_string(), count);
    match decimals {
        "" => format!("{sign} {whole}"),
        decimals => format!("{sign} {whole}.{decimals}"),
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
    fn text(self, value: f64) -> String {
        let text = match self {
            Self::Plain | Self::Degrees => plain(value),
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
pub fn count(value: u64) -> String {
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

    /// As plotters chooses them: multiples of 1, 2 or 5 times a power of ten, about six of them.
    fn ticks_of((low, high): (f64, f64)) -> Vec<f64> {
        let power = 10f64.powf(((high - low) / 6.0).log10().floor());
        let fits = |step: &f64| (high - low) / step <= 6.0;
        let step = [power, 2.0 * power, 5.0 * power, 10.0 * power].into_iter().find(fits).unwrap();
        let first = (low / step).ceil();
        (0..7).map(|k| (first + f64::from(k)) * step).filter(|tick| *tick <= high).collect()
    }

    #[test]
    fn ticks_of_a_narrow_range_differ() {
        for size in [1e-9, 3e-4, 0.7, 12.0, 12_000.0, 123_456.7, 9.9e5, 1e6, 3.3e7, 8e11, 8e17] {
            for narrower in [0.3, 2.0, 17.0, 130.0, 2.1e3, 5e4, 7e6, 3e8] {
                for sign in [1.0, -1.0] {
                    let range = (sign * size, sign * size + size / narrower);
                    let axis = Axis::new("U", range, Ticks::Plain);
                    let ticks = ticks_of(axis.range);
                    let texts: Vec<String> = ticks.iter().map(|t| axis.text(*t)).collect();
                    let mut distinct = texts.clone();
                    distinct.dedup();
                    assert!(texts.len() > 1 && texts == distinct, "{range:?}: {texts:?}");
                    let longest = texts.iter().map(|t| t.chars().count()).max().unwrap();
                    assert!(longest <= 10, "{range:?}: {texts:?}");
                }
            }
        }
    }

    #[test]
    fn an_offset_stands_in_the_label() {
        for (range, label, tick, text) in [
            ((-12_010.0, -11_990.0), "U", -12_005.0, "−12005"),
            ((-12_000.3, -11_999.8), "U + 12\u{a0}000", -12_000.2, "−0.2"),
            ((12_345_676.0, 12_345_679.0), "U − 12\u{a0}345\u{a0}680", 12_345_677.0, "−3"),
            ((0.1234, 0.123_400_8), "U − 0.1234", 0.1234, "0"),
        ] {
            let axis = Axis::new("U", range, Ticks::Plain);
            assert_eq!((axis.label.as_str(), axis.text(tick).as_str()), (label, text), "{range:?}");
        }
    }

    #[test]
    fn every_range_becomes_an_axis() {
        for range in [(0.0, 0.0), (3.0, 3.0), (f64::NAN, 1.0), (1.0, 0.0), (-1e308, 1e308)] {
            let (low, high) = widened(range);
            assert!(low < high && (high - low).is_finite(), "{range:?}");
        }
    }
}
