//! The figures of an evaluation, each declared once: see [`Figure`].

use serde::{Deserialize, Serialize};

use super::contradiction::{or_nan, Contradiction, Weighted, Witness};
use super::distances::Distances;
use super::unit::Unit;
use crate::diagnostics::rests_on_few;

/// The figures of an evaluation; fractions, nats and counts. `None` where not computed.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// Joint samples of the flow that are weighed; 0 where the target has no energy to weigh them,
    /// and the figures of weights are then not numbers (NaN).
    pub samples: usize,
    /// (Σw)²/(N Σw²) over them.
    #[serde(deserialize_with = "or_nan")]
    pub reverse_ess: f64,
    /// log Z, by the mean weight.
    #[serde(deserialize_with = "or_nan")]
    pub log_z: f64,
    /// Its standard error.
    #[serde(deserialize_with = "or_nan")]
    pub log_z_error: f64,
    /// βF/N of a [`Crystal`](crate::crystal::Crystal), by log Z; `None` in open space.
    pub free_energy_per_particle: Option<f64>,
    /// Its standard error.
    pub free_energy_per_particle_error: Option<f64>,
    /// ⟨U⟩/N of a crystal, in kT.
    pub energy_per_particle: Option<f64>,
    /// Its standard error.
    pub energy_per_particle_error: Option<f64>,
    /// Its pressure P as βPV/N, by the mean virial; `None` where the potential has none.
    pub compressibility_factor: Option<f64>,
    /// Its standard error.
    pub compressibility_factor_error: Option<f64>,
    /// Largest weight's share in their sum.
    #[serde(deserialize_with = "or_nan")]
    pub largest_weight_share: f64,
    /// Shape of the weights' tail (Pareto k̂); the estimates are unreliable above 0.7.
    pub pareto_k: Option<f64>,
    /// The figures that rest on few samples and cannot be relied on.
    #[serde(default)]
    pub resting_on_few_samples: Vec<Figure>,
    /// What speaks against log Z by the weights of the flow's samples, or of annealed ones. The
    /// figures and averages that rest on these weights cannot be relied on.
    #[serde(default)]
    pub contradictions: Vec<Contradiction>,
    /// Samples of the flow without a finite weight.
    pub zero_weights: usize,
    /// Reference samples.
    pub reference_samples: usize,
    /// 1/(⟨w⟩⟨1/w⟩) over reference samples, one draw of the augmented copies each.
    pub forward_ess: Option<f64>,
    /// log Z by Bennett's acceptance ratio, from samples of the flow and reference samples.
    pub bennett_log_z: Option<f64>,
    /// Its standard error.
    pub bennett_log_z_error: Option<f64>,
    /// −⟨log q(x)⟩ over reference samples, K draws of the augmented copies each.
    pub nll: Option<f64>,
    /// Its standard error.
    pub nll_error: Option<f64>,
    /// −⟨log q(x)⟩ over validation data, by which this model was chosen.
    pub validation_nll: Option<f64>,
    /// Draws K.
    pub draws: usize,
    /// Reverse effective sample size of the weights on x alone, w = p(x)/q̂(x), where q̂(x) is the
    /// mean of q(x, a_k)/π(a_k|x) over K draws: the a that x came with, and K − 1 of π(a|x). These
    /// are exact weights (they average to Z for every K) of x and all a_k together; their effective
    /// sample size grows with K towards that of p(x)/q(x), so it is never too high on average.
    pub marginal_reverse_ess: Option<f64>,
    /// Forward effective sample size of the same weights, over reference samples with K draws of
    /// π(a|x).
    pub marginal_forward_ess: Option<f64>,
    /// Samples annealed from the flow to the target.
    pub annealed_samples: usize,
    /// Their effective sample size.
    pub ais_ess: Option<f64>,
    /// Hamiltonian transitions at the densities between, from the flow to the target; none in files
    /// of earlier versions.
    #[serde(default)]
    pub annealing: Vec<Level>,
    /// Distances from reference samples.
    pub distances: Option<Distances>,
    /// Samples with log-density drawn per second, on this machine.
    #[serde(deserialize_with = "or_nan")]
    pub samples_per_second: f64,
    /// Effective samples per second: `samples_per_second` times the reverse effective sample size.
    pub effective_per_second: Option<f64>,
    /// Energy evaluations per effective sample of the flow, without its training.
    pub evaluations_per_effective: Option<f64>,
    /// Effective samples of U/kT per second by Hamiltonian chains without the flow that go on from
    /// reference samples, on this machine: transitions over their autocorrelation time.
    pub monte_carlo_per_second: Option<f64>,
    /// Their energy evaluations (with gradients) per effective sample.
    pub monte_carlo_evaluations: Option<f64>,
    /// Integrated autocorrelation time of U/kT along these chains, in transitions.
    pub autocorrelation_time: Option<f64>,
    /// Its standard error.
    pub autocorrelation_time_error: Option<f64>,
    /// Leapfrog steps of their transitions, the better of the tried ones.
    pub leapfrog_steps: Option<usize>,
    /// Effective samples from which training and drawing take less time than these chains; `None`
    /// if that never is.
    pub pays_from_in_time: Option<f64>,
    /// Effective samples from which they take fewer energy evaluations.
    pub pays_from_in_energies: Option<f64>,
    /// Energy evaluations of the training.
    pub energy_evaluations: u64,
    /// Wall time of the training, in seconds.
    #[serde(deserialize_with = "or_nan")]
    pub train_seconds: f64,
}

/// Hamiltonian transitions at one density of an annealing path.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Level {
    /// Mean acceptance probability.
    #[serde(deserialize_with = "or_nan")]
    pub acceptance: f64,
    /// Leapfrog step size, a length.
    #[serde(deserialize_with = "or_nan")]
    pub step_size: f64,
}

impl Evaluation {
    /// Whether the flow's samples are weighed, for which the target needs an energy.
    pub fn has_weights(&self) -> bool {
        self.samples > 0
    }

    /// Whether there are samples and none has a finite energy: their weights give no figure.
    pub fn has_no_weight(&self) -> bool {
        self.samples > 0 && self.zero_weights == self.samples
    }

    /// Whether `figure` rests on few samples and cannot be relied on.
    pub fn rests_on_few(&self, figure: Figure) -> bool {
        self.resting_on_few_samples.contains(&figure)
    }

    /// Whether `figure` cannot be relied on: it rests on few samples or is contradicted.
    pub fn is_marked(&self, figure: Figure) -> bool {
        let rests_on = |found: &Contradiction| figure.rests_on(found.weights);
        self.rests_on_few(figure) || self.contradictions.iter().any(rests_on)
    }

    /// Compares log Z by `weights`, with its standard error, with that of reference samples and
    /// with the `known` one of the target.
    pub(super) fn compare(&mut self, weights: Weighted, log_z: [f64; 2], known: Option<[f64; 2]>) {
        let bennett = self.bennett_log_z.map(|expected| {
            let error = self.bennett_log_z_error.unwrap_or(f64::NAN);
            (Witness::ReferenceSamples, [expected, error])
        });
        let known = known.map(|known| (Witness::Known, known));
        let witnesses = bennett.into_iter().chain(known);
        self.contradictions
            .extend(witnesses.filter_map(|w| Contradiction::between((weights, log_z), w)));
    }

    /// Marks `figures`, which come from these weights, if the weights rest on few samples.
    pub(super) fn mark(&mut self, figures: &[Figure], log_weights: &[f64]) {
        if rests_on_few(log_weights) {
            self.resting_on_few_samples.extend(figures);
        }
    }
}

/// A number of samples of an evaluation.
pub type Count = fn(&Evaluation) -> usize;

/// What is known of a figure besides its value.
#[derive(Debug, Clone, Copy)]
pub struct Facts {
    /// Its key in `evaluation.json` and its column in tables.
    pub name: &'static str,
    /// What it means.
    pub meaning: &'static str,
    /// Its name in printed lines, tables and reports.
    pub label: &'static str,
    /// Its unit.
    pub unit: Unit,
    /// Its standard error, if there is one.
    pub error: fn(&Evaluation) -> Option<f64>,
    /// What follows its value where it is printed on a line of its own; `None` for figures that are
    /// part of another one's line.
    pub line: Option<fn(&Evaluation) -> String>,
    /// Decimals in tables and reports; `None` for figures that do not appear there.
    pub decimals: Option<usize>,
    /// The number of samples behind it, with the name of that column in tables.
    pub samples: Option<(&'static str, Count)>,
    value: fn(&Evaluation) -> Option<f64>,
}

/// The defaults of a figure's declaration.
const PLAIN: Facts = Facts {
    name: "",
    meaning: "",
    label: "",
    unit: Unit::One,
    error: |_| None,
    line: None,
    decimals: None,
    samples: None,
    value: |_| None,
};

/// Declares the figures in the order in which they are shown: for each the field of [`Evaluation`],
/// the variant of [`Figure`], the meaning, and what differs from [`PLAIN`].
macro_rules! figures {
    ($($field:ident, $variant:ident: $meaning:literal { $($key:ident: $of:expr,)* })*) => {
        /// A figure of an [`Evaluation`]. Its printed line, its columns in `metrics.csv` and in
        /// tables, its entry in reports and its mark (!) when it rests on few samples come from
        /// its [`Facts`].
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum Figure {
            $(#[doc = $meaning] $variant,)*
        }

        impl Figure {
            /// All figures, in the order in which they are shown.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// What is known of it besides its value.
            pub const fn facts(self) -> &'static Facts {
                match self {
                    $(Self::$variant => {
                        const FACTS: Facts = Facts {
                            name: stringify!($field),
                            meaning: $meaning,
                            value: |evaluation| evaluation.$field.into(),
                            $($key: $of,)*
                            ..PLAIN
                        };
                        &FACTS
                    })*
                }
            }
        }
    };
}

figures! {
    reverse_ess, ReverseEss: "Effective sample size of flow samples, (Σw)² / (N Σw²)." {
        label: "reverse ESS",
        unit: Unit::Fraction,
        line: Some(|e| format!(
            " of {} samples (largest weight {}, Pareto k {})",
            e.samples,
            Unit::Fraction.text(e.largest_weight_share, 2),
            e.pareto_k.map_or("unknown".into(), |k| Unit::One.text(k, 2)),
        )),
        decimals: Some(2),
        samples: Some(("reverse_samples", |e| e.samples)),
    }
    forward_ess, ForwardEss: "Effective sample size on reference samples, 1 / (⟨w⟩⟨1/w⟩)." {
        label: "forward ESS",
        unit: Unit::Fraction,
        line: Some(|e| format!(" of {} reference samples", e.reference_samples)),
        decimals: Some(2),
        samples: Some(("forward_samples", |e| e.reference_samples)),
    }
    marginal_reverse_ess, MarginalReverseEss:
    "Reverse effective sample size of weights on x alone." {
        label: "  on x alone, reverse",
        unit: Unit::Fraction,
        line: Some(|e| copies_averaged_out(e, e.samples)),
    }
    marginal_forward_ess, MarginalForwardEss:
    "Forward effective sample size of weights on x alone." {
        label: "  on x alone, forward",
        unit: Unit::Fraction,
        line: Some(|e| copies_averaged_out(e, e.reference_samples)),
    }
    ais_ess, AisEss: "Effective sample size after annealed importance sampling." {
        label: "AIS ESS",
        unit: Unit::Fraction,
        line: Some(|e| format!(" of {} annealed samples", e.annealed_samples)),
    }
    log_z, LogZ: "Logarithm of the target's partition function, log ⟨w⟩." {
        label: "log Z",
        unit: Unit::Nat,
        error: |e| Some(e.log_z_error),
        line: Some(|_| String::new()),
        decimals: Some(4),
    }
    free_energy_per_particle, FreeEnergyPerParticle:
    "Free energy of a crystal for each particle, βF/N = −ln(Z/N!)/N with Λ = 1." {
        label: "beta F/N",
        unit: Unit::Nat,
        error: |e| e.free_energy_per_particle_error,
        line: Some(|_| String::new()),
        decimals: Some(6),
    }
    energy_per_particle, EnergyPerParticle:
    "Mean energy of a crystal for each particle, ⟨U⟩/N in kT." {
        label: "U/N",
        error: |e| e.energy_per_particle_error,
        line: Some(|_| " kT".into()),
        decimals: Some(6),
    }
    compressibility_factor, CompressibilityFactor:
    "Pressure of a crystal, βPV/N = 1 − ⟨∂U/∂ln L⟩/(dN)." {
        label: "beta PV/N",
        error: |e| e.compressibility_factor_error,
        line: Some(|_| String::new()),
        decimals: Some(4),
    }
    bennett_log_z, BennettLogZ:
    "log Z by Bennett's acceptance ratio, from flow and reference samples." {
        label: "  with reference",
        unit: Unit::Nat,
        error: |e| e.bennett_log_z_error,
        line: Some(|e| format!(", of {} reference samples", e.reference_samples)),
    }
    nll, Nll: "Mean of −log q(x) over reference samples." {
        label: "NLL",
        unit: Unit::Nat,
        error: |e| e.nll_error,
        line: Some(|e| format!(", K = {}", e.draws)),
        decimals: Some(3),
    }
    samples_per_second, SamplesPerSecond:
    "Flow samples, with densities, drawn per second at the last evaluation." {
        label: "samples/s",
        unit: Unit::PerSecond,
        decimals: Some(0),
    }
    effective_per_second, EffectivePerSecond: "Effective samples of the flow drawn per second." {
        label: "effective samples/s",
        unit: Unit::PerSecond,
        line: Some(|e| {
            let energies = Figure::EvaluationsPerEffective.text(e, 0).unwrap_or_default();
            let alone = e.marginal_reverse_ess.map_or(String::new(), |ess| {
                format!(" ({} on x alone)", Unit::Count.text(1.0 / ess, 0))
            });
            format!(" by the flow: {energies} energies each{alone}")
        }),
        decimals: Some(0),
    }
    monte_carlo_per_second, MonteCarloPerSecond:
    "Effective samples of U/kT per second by Monte Carlo chains without the flow." {
        label: "  by Monte Carlo",
        unit: Unit::PerSecond,
        line: Some(monte_carlo),
        decimals: Some(0),
    }
    evaluations_per_effective, EvaluationsPerEffective:
    "Energy evaluations per effective sample of the flow, without its training." {
        unit: Unit::Count,
    }
    monte_carlo_evaluations, MonteCarloEvaluations:
    "Energy evaluations per effective sample of these chains." {
        unit: Unit::Count,
    }
    autocorrelation_time, AutocorrelationTime:
    "Integrated autocorrelation time of U/kT along these chains, in transitions." {
        error: |e| e.autocorrelation_time_error,
    }
    pays_from_in_time, PaysFromInTime:
    "Effective samples from which training and drawing take less time than these chains." {
        unit: Unit::Count,
    }
    pays_from_in_energies, PaysFromInEnergies:
    "Effective samples from which training and drawing take fewer energies than these chains." {
        unit: Unit::Count,
    }
    largest_weight_share, LargestWeightShare:
    "Share of the largest weight in the sum of the weights." {
        unit: Unit::Fraction,
    }
    pareto_k, ParetoK: "Shape of the weights' tail; the estimates are unreliable above 0.7." {}
    validation_nll, ValidationNll:
    "Mean of −log q(x) over validation data; the model with the least is kept." {
        unit: Unit::Nat,
    }
}

impl Figure {
    /// Those of the flow's cost, which rest on its weights.
    pub(super) const COST: &'static [Self] = &[
        Self::EffectivePerSecond,
        Self::EvaluationsPerEffective,
        Self::PaysFromInTime,
        Self::PaysFromInEnergies,
    ];

    /// Whether it rests on these weights.
    fn rests_on(self, weights: Weighted) -> bool {
        match weights {
            Weighted::Flow => {
                matches!(self, Self::ReverseEss | Self::MarginalReverseEss | Self::LogZ)
                    || Self::COST.contains(&self)
            }
            Weighted::Annealed => self == Self::AisEss,
        }
    }

    /// Its value in `evaluation`; `None` where it was not computed or is not a finite number.
    pub fn value(self, evaluation: &Evaluation) -> Option<f64> {
        (self.facts().value)(evaluation).filter(|value| value.is_finite())
    }

    /// Its standard error, if there is one that is a finite number.
    pub fn error(self, evaluation: &Evaluation) -> Option<f64> {
        (self.facts().error)(evaluation).filter(|error| error.is_finite())
    }

    /// Its value with its standard error, with `decimals`, or why there is none; `None` where it
    /// was not computed or has nothing to be computed from.
    pub fn text(self, evaluation: &Evaluation, decimals: usize) -> Option<String> {
        let Facts { unit, value, .. } = self.facts();
        match (self.value(evaluation), value(evaluation)) {
            (Some(value), _) => {
                let error =
                    self.error(evaluation).map(|e| format!(" ± {}", unit.text(e, decimals)));
                Some(unit.text(value, decimals) + &error.unwrap_or_default())
            }
            (None, Some(_)) if !evaluation.has_weights() => None,
            (None, Some(_)) if evaluation.has_no_weight() => Some(NO_ENERGY.into()),
            (None, Some(_)) => Some("no figure: not a finite number".into()),
            (None, None) => None,
        }
    }
}

const NO_ENERGY: &str = "no figure: none of the samples has a finite energy";

fn monte_carlo(evaluation: &Evaluation) -> String {
    let energies = Figure::MonteCarloEvaluations.text(evaluation, 0);
    let time = Figure::AutocorrelationTime.text(evaluation, 2);
    format!(
        ": {} energies and forces each (τ = {})",
        energies.unwrap_or_default(),
        time.unwrap_or_default()
    )
}

fn copies_averaged_out(evaluation: &Evaluation, samples: usize) -> String {
    format!(" of {samples}, copies averaged out with K = {}", evaluation.draws)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_rests_on_contradicted_weights_is_marked() {
        let planted = |log_z, bennett, known| {
            let mut evaluation = Evaluation {
                samples: 10_000,
                reverse_ess: 0.9975,
                bennett_log_z: bennett,
                bennett_log_z_error: bennett.map(|_| 0.02),
                ..Evaluation::default()
            };
            evaluation.compare(Weighted::Flow, [log_z, 0.0005], known);
            evaluation
        };
        let rest = [Figure::ReverseEss, Figure::LogZ, Figure::MarginalReverseEss];
        let rest = [&rest[..], Figure::COST].concat();
        for (evaluation, witness) in [
            (planted(1.8686, Some(4.1489), None), Witness::ReferenceSamples),
            (planted(1.8686, Some(f64::INFINITY), None), Witness::ReferenceSamples),
            (planted(1.8686, None, Some([4.1489, 0.0])), Witness::Known),
        ] {
            let found: Vec<Witness> =
                evaluation.contradictions.iter().map(|found| found.witness).collect();
            assert_eq!(found, [witness]);
            for figure in Figure::ALL {
                assert_eq!(evaluation.is_marked(*figure), rest.contains(figure), "{figure:?}");
            }
        }
        // Nothing to compare with, and agreement.
        for fine in [planted(1.8686, None, None), planted(4.13, Some(4.1489), Some([4.1489, 0.0]))]
        {
            assert!(!Figure::ALL.iter().any(|figure| fine.is_marked(*figure)));
        }
    }

    #[test]
    fn every_figure_is_in_the_file_under_its_name() {
        let evaluation = Evaluation {
            reverse_ess: 0.5,
            forward_ess: Some(0.25),
            resting_on_few_samples: Figure::ALL.to_vec(),
            ..Evaluation::default()
        };
        let json = serde_json::to_value(&evaluation).unwrap();
        for (index, figure) in Figure::ALL.iter().enumerate() {
            let name = figure.facts().name;
            let entry = json.get(name).unwrap_or_else(|| panic!("{name} is not in the file"));
            assert_eq!(entry.as_f64(), figure.value(&evaluation), "{name}");
            assert_eq!(json["resting_on_few_samples"][index], name);
        }
    }
}
