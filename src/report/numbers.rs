//! Numbers and curves for the eye, as JSON.

use serde::{Serialize, Serializer};

use crate::plot::Outlines;

/// An observable's distribution; outlines of histograms, densities per unit of the observable.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Picture {
    range: [Short; 2],
    reference: Vec<[Short; 2]>,
    flow: Vec<[Short; 2]>,
    reweighted: Vec<[Short; 2]>,
}

impl From<Outlines> for Picture {
    fn from(outlines: Outlines) -> Self {
        Self {
            range: [Short(outlines.range.0), Short(outlines.range.1)],
            reference: shortened(&outlines.reference),
            flow: shortened(&outlines.flow),
            reweighted: shortened(&outlines.reweighted),
        }
    }
}

/// Points as they are shown.
pub(super) fn shortened(points: &[(f64, f64)]) -> Vec<[Short; 2]> {
    points.iter().map(|&(x, y)| [Short(x), Short(y)]).collect()
}

/// A number for the eye: five digits, more where these would not reach hundredths, and null where
/// it is not finite.
#[derive(Debug, Clone, Copy)]
pub(super) struct Short(pub f64);

impl Serialize for Short {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let size = self.0.abs();
        let digits = if size < 1e10 { size.max(1.0).log10() as usize + 2 } else { 0 };
        match format!("{:.*e}", digits.max(4), self.0).parse::<f64>() {
            Ok(value) if value.is_finite() => serializer.serialize_f64(value),
            _ => serializer.serialize_unit(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short_and_gaps_are_null() {
        let text = serde_json::to_string(&[Short(1.0 / 3.0), Short(f64::NAN), Short(2.0)]).unwrap();
        assert_eq!(text, "[0.33333,null,2.0]");
        let text = serde_json::to_string(&[-12_000.123_4, -12_000.13, 1.234_567e17].map(Short));
        assert_eq!(text.unwrap(), "[-12000.12,-12000.13,1.2346e+17]");
    }
}
