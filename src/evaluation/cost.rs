//! Whether a flow is worth its training: what an effective sample costs by the flow, and by Monte
//! Carlo without one.

use crate::diagnostics::integrated_autocorrelation_time;
use crate::error::Error;
use crate::parallel::team;
use crate::sampling::{energy_chains, EnergyChains};
use crate::train::Problem;
use crate::work;

use super::figures::Evaluation;
use super::unit::Unit;

/// Lengths of the trajectories that are tried; the last is that of the reference sampler.
const LEAPFROG_STEPS: [usize; 2] = [8, 32];

impl Evaluation {
    /// Fills in what effective samples cost: by the flow, from the figures that are known, and by
    /// Hamiltonian chains that go on from `reference` samples for about so many `seconds`. The
    /// better one of the tried lengths of trajectories counts.
    ///
    /// Where the energy takes long to forget its value, or its calculation takes too long, Monte
    /// Carlo has no figures.
    pub(super) fn add_cost(
        &mut self,
        problem: &Problem,
        reference: &[f64],
        seconds: f64,
    ) -> Result<(), Error> {
        let _work = work::begin("measuring Monte Carlo without the flow");
        self.effective_per_second = Some(self.reverse_ess * self.samples_per_second);
        self.evaluations_per_effective = Some(1.0 / self.reverse_ess);
        for steps in LEAPFROG_STEPS {
            let seconds = seconds / LEAPFROG_STEPS.len() as f64;
            let potential = problem.target.potential().clone();
            // Chains need nothing from each other: rank 0 stands for all.
            let chains = team()
                .broadcast(|| energy_chains(potential, reference, steps, seconds, problem.seed))?;
            self.add_chains(&chains, steps, team().size());
        }
        Ok(())
    }

    /// Takes the figures of `chains`, which so many `processes` can run at once, if they are better
    /// than those that are there.
    fn add_chains(&mut self, chains: &EnergyChains, leapfrog_steps: usize, processes: usize) {
        let EnergyChains { energies, transitions, seconds } = chains;
        let Some((time, error)) = integrated_autocorrelation_time(energies, *transitions) else {
            return;
        };
        let per_second = processes as f64 * energies.len() as f64 / time / seconds;
        if self.monte_carlo_per_second.is_some_and(|known| known >= per_second) {
            return;
        }
        self.monte_carlo_per_second = Some(per_second);
        self.monte_carlo_evaluations = Some(leapfrog_steps as f64 * time);
        self.autocorrelation_time = Some(time);
        self.autocorrelation_time_error = Some(error);
        self.leapfrog_steps = Some(leapfrog_steps);
    }

    /// With what the training took, and the numbers of effective samples from which it has paid.
    pub fn of_training(mut self, train_seconds: f64, energy_evaluations: u64) -> Self {
        self.train_seconds = train_seconds;
        self.energy_evaluations = energy_evaluations;
        let inverse = |rate: Option<f64>| rate.map(|rate| 1.0 / rate);
        let (flow, chains) = (self.effective_per_second, self.monte_carlo_per_second);
        self.pays_from_in_time = pays_from(train_seconds, inverse(flow), inverse(chains));
        let (flow, chains) = (self.evaluations_per_effective, self.monte_carlo_evaluations);
        self.pays_from_in_energies = pays_from(energy_evaluations as f64, flow, chains);
        self
    }

    /// From how many effective samples on the training has paid, in words; `None` where that was
    /// not computed.
    pub fn worth(&self) -> Option<String> {
        self.monte_carlo_per_second?;
        let count = |number: f64| Unit::Count.text(number, 0);
        let cheaper = "averages cost less by Monte Carlo";
        Some(match (self.pays_from_in_time, self.pays_from_in_energies) {
            (Some(time), Some(energies)) => format!(
                "from {} effective samples on in time, from {} in energies",
                count(time),
                count(energies)
            ),
            (Some(time), None) => {
                format!("from {} effective samples on in time; in energies, {cheaper}", count(time))
            }
            (None, Some(energies)) => format!(
                "from {} effective samples on in energies; in time, {cheaper}",
                count(energies)
            ),
            (None, None) => format!("not for averages: {cheaper}, in time and energies"),
        })
    }
}

/// The number of samples from which a training and its samples cost less than samples without it;
/// `None` where they never do.
fn pays_from(training: f64, with: Option<f64>, without: Option<f64>) -> Option<f64> {
    let saved = without? - with?;
    (saved > 0.0).then_some(training / saved)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2000 samples a second of which half count; 100 s and 10⁵ energies of training.
    fn planted(monte_carlo_per_second: f64, monte_carlo_evaluations: f64) -> Evaluation {
        let evaluation = Evaluation {
            effective_per_second: Some(1000.0),
            evaluations_per_effective: Some(2.0),
            monte_carlo_per_second: Some(monte_carlo_per_second),
            monte_carlo_evaluations: Some(monte_carlo_evaluations),
            ..Evaluation::default()
        };
        evaluation.of_training(100.0, 100_000)
    }

    #[test]
    fn a_training_pays_where_what_it_saves_is_what_it_took() {
        let close = |a: Option<f64>, b: f64| (a.unwrap() / b - 1.0).abs() < 1e-12;
        // 1/250 − 1/1000 = 3 ms saved a sample, and 52 − 2 energies.
        let both = planted(250.0, 52.0);
        assert!(close(both.pays_from_in_time, 100.0 / 0.003), "{both:?}");
        assert!(close(both.pays_from_in_energies, 2000.0), "{both:?}");
        // At that number both take the same, and by a hundredth more the flow less.
        let n = both.pays_from_in_time.unwrap();
        assert!((100.0 + n / 1000.0 - n / 250.0).abs() < 1e-9);
        assert!(100.0 + 1.01 * n / 1000.0 < 1.01 * n / 250.0);
        let text = both.worth().unwrap();
        assert_eq!(text, "from 33300 effective samples on in time, from 2000 in energies");
        // Where Monte Carlo is ahead, that is said.
        let slower = planted(1000.0, 52.0);
        assert_eq!(
            (slower.pays_from_in_time, slower.pays_from_in_energies.is_some()),
            (None, true)
        );
        assert!(slower.worth().unwrap().contains("in time, averages cost less by Monte Carlo"));
        let faster = planted(250.0, 1.5).worth().unwrap();
        assert!(faster.contains("in energies, averages cost less by Monte Carlo"), "{faster}");
        let never = planted(5000.0, 1.5).worth().unwrap();
        assert!(never.starts_with("not for averages"), "{never}");
        assert!(Evaluation::default().of_training(100.0, 1).worth().is_none());
    }

    #[test]
    fn the_better_chains_count_and_those_without_a_figure_do_not() {
        // Independent values, so that τ = 1: 4 chains of 500 in 2 s.
        let mut state = 1u64;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 40) as f64
        };
        let energies: Vec<f64> = (0..2000).map(|_| next()).collect();
        let chains = EnergyChains { energies, transitions: 500, seconds: 2.0 };
        let mut evaluation = Evaluation::default();
        evaluation.add_chains(&EnergyChains::default(), 8, 1);
        assert_eq!(evaluation, Evaluation::default());
        evaluation.add_chains(&chains, 8, 3);
        let rate = evaluation.monte_carlo_per_second.unwrap();
        let time = evaluation.autocorrelation_time.unwrap();
        assert!((0.8..1.3).contains(&time), "{time}");
        assert!((rate - 3000.0 / time).abs() < 1e-6, "{rate}");
        assert!((evaluation.monte_carlo_evaluations.unwrap() - 8.0 * time).abs() < 1e-9);
        let slow = EnergyChains { seconds: 3.0, ..chains.clone() };
        evaluation.add_chains(&slow, 32, 3);
        assert_eq!(evaluation.leapfrog_steps, Some(8));
        let fast = EnergyChains { seconds: 1.0, ..chains };
        evaluation.add_chains(&fast, 32, 3);
        assert_eq!(evaluation.leapfrog_steps, Some(32));
        assert!(evaluation.monte_carlo_per_second.unwrap() > 1.5 * rate);
    }
}
