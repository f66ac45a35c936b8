//! The units of figures.

/// The unit of a figure, and how it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// A share of 1, shown as a percentage.
    Fraction,
    /// A natural logarithm.
    Nat,
    /// A number per second.
    PerSecond,
    /// A number of things, of which three digits matter.
    Count,
    /// A pure number.
    One,
}

impl Unit {
    /// As `metrics.csv` is documented.
    pub const fn symbol(self) -> &'static str {
        match self {
            Self::Fraction => "fraction",
            Self::Nat => "nat",
            Self::PerSecond => "1/s",
            Self::Count | Self::One => "",
        }
    }

    /// A value with `decimals`, those of a fraction being of its percentage.
    pub fn text(self, value: f64, decimals: usize) -> String {
        match self {
            Self::Fraction => format!("{:.decimals$} %", 100.0 * value),
            Self::Count | Self::PerSecond => three_digits(value),
            _ => format!("{value:.decimals$}"),
        }
    }
}

/// Three digits, which is more than a time is measured to.
fn three_digits(value: f64) -> String {
    if value == 0.0 {
        return "0".into();
    }
    if value.abs() >= 1e5 {
        return format!("{value:.2e}");
    }
    let digits = 2.0 - value.abs().log10().floor().clamp(-12.0, 5.0);
    let scale = 10f64.powf(digits);
    format!("{:.*}", digits.max(0.0) as usize, (value * scale).round() / scale)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_and_rates_have_three_digits() {
        for (value, text) in [
            (0.0, "0"),
            (0.01234, "0.0123"),
            (1.0, "1.00"),
            (96.04, "96.0"),
            (999.6, "1000"),
            (33_333.3, "33300"),
            (123_456.0, "1.23e5"),
        ] {
            assert_eq!(Unit::Count.text(value, 0), text);
            assert_eq!(Unit::PerSecond.text(value, 4), text);
        }
        assert_eq!(Unit::Fraction.text(0.5, 1), "50.0 %");
        assert_eq!(Unit::Nat.text(0.5, 2), "0.50");
    }
}
