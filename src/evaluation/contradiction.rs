//! What speaks against log Z by weights of samples that all come from the flow.
//!
//! A part of the target that the flow never visits does not show in such weights: they agree with
//! each other, and log Z is that of the visited part. It shows where samples of the target, or its
//! log Z from elsewhere, are at hand.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize};

/// Standard errors by which two values of log Z must differ to contradict each other. Those of
/// correlated reference samples are too small by up to a few times.
const STANDARD_ERRORS: f64 = 5.0;
/// And the least such difference, in nats.
const LEAST: f64 = 0.1;

/// Whose weights gave a log Z.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Weighted {
    /// Samples of the flow.
    Flow,
    /// Those of annealed importance sampling from it.
    Annealed,
}

/// What log Z by weights alone is compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Witness {
    /// Samples of the flow and reference samples together, by Bennett's acceptance ratio.
    ReferenceSamples,
    /// What the target's file says.
    Known,
}

/// Two values of log Z that cannot both be right, so that no average by these weights can be relied
/// on.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Contradiction {
    /// Whose weights.
    pub weights: Weighted,
    /// log Z by them.
    #[serde(deserialize_with = "or_nan")]
    pub log_z: f64,
    /// Its standard error.
    #[serde(deserialize_with = "or_nan")]
    pub log_z_error: f64,
    /// What contradicts them.
    pub witness: Witness,
    /// Its log Z; null in JSON where the flow has no density at any reference sample.
    #[serde(deserialize_with = "or_nan")]
    pub expected: f64,
    /// Its standard error.
    #[serde(deserialize_with = "or_nan")]
    pub expected_error: f64,
}

/// JSON has null for what is not a finite number.
pub(super) fn or_nan<'de, D: Deserializer<'de>>(from: D) -> Result<f64, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or(f64::NAN))
}

impl Contradiction {
    /// Compares log Z by `weights`, with its standard error, with that of `witness`. `None` where
    /// they agree, and where there is no log Z by the weights.
    pub fn between(
        (weights, [log_z, log_z_error]): (Weighted, [f64; 2]),
        (witness, [expected, expected_error]): (Witness, [f64; 2]),
    ) -> Option<Self> {
        if !log_z.is_finite() {
            return None;
        }
        let difference = (expected - log_z).abs();
        // Without a finite log Z, the witness has no error either.
        let errors = log_z_error.hypot(expected_error);
        let explained = if expected.is_finite() { STANDARD_ERRORS * errors } else { 0.0 };
        let contradicts = difference > explained && difference > LEAST;
        contradicts.then_some(Self {
            weights,
            log_z,
            log_z_error,
            witness,
            expected,
            expected_error,
        })
    }
}

impl fmt::Display for Contradiction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whose = match self.weights {
            Weighted::Flow => "the flow's samples",
            Weighted::Annealed => "annealed samples",
        };
        let (log_z, error) = (self.log_z, self.log_z_error);
        write!(f, "log Z is {log_z:.4} ± {error:.4} by the weights of {whose} alone, and ")?;
        let (expected, error) = (self.expected, self.expected_error);
        match self.witness {
            Witness::ReferenceSamples if !expected.is_finite() => {
                write!(f, "the flow has no density at any reference sample")?;
            }
            Witness::ReferenceSamples => {
                write!(f, "{expected:.4} ± {error:.4} with the reference samples")?;
            }
            Witness::Known => write!(f, "{expected:.4} ± {error:.4} in the target's file")?,
        }
        // Not written as a comparison of the two, one of which may not be a number.
        match (self.witness, expected < log_z) {
            (Witness::ReferenceSamples, false) => {
                // A long run of correlated samples may not be fair either.
                let missing = "a part of the target is missing from them";
                write!(f, ": {missing}, unless the reference samples are wrong")
            }
            _ => write!(f, ": they cannot both be right"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(log_z: [f64; 2], expected: [f64; 2]) -> Option<Contradiction> {
        Contradiction::between((Weighted::Flow, log_z), (Witness::ReferenceSamples, expected))
    }

    #[test]
    fn values_contradict_each_other_beyond_their_errors_and_a_tenth() {
        // One of two wells; a flow without density at the reference samples.
        let one_well = found([1.8686, 0.0005], [4.1489, 0.02]).unwrap();
        assert!(one_well.to_string().contains("part of the target is missing"), "{one_well}");
        let none = found([1.8686, 0.0005], [f64::INFINITY, f64::NAN]).unwrap();
        assert!(none.to_string().contains("no density at any reference sample"), "{none}");
        let other = found([4.1489, 0.001], [1.8686, 0.001]).unwrap();
        assert!(other.to_string().contains("cannot both be right"), "{other}");
        // Runs that are fine: a small difference, a large error, no log Z at all.
        assert_eq!(found([29.6585, 0.0137], [29.667, 0.002]), None);
        assert_eq!(found([59.825, 0.001], [59.870, 0.001]), None);
        assert_eq!(found([39.14, 0.1], [39.55, 0.01]), None);
        assert_eq!(found([f64::NEG_INFINITY, f64::NAN], [4.0, 0.1]), None);
    }

    #[test]
    fn it_is_read_as_it_was_written() {
        let none = found([1.8686, 0.0005], [f64::INFINITY, f64::NAN]).unwrap();
        let text = serde_json::to_string(&none).unwrap();
        assert!(text.contains("\"expected\":null"), "{text}");
        let read: Contradiction = serde_json::from_str(&text).unwrap();
        assert_eq!(read.to_string(), none.to_string());
    }
}
