//! log Z from samples of both densities.

use super::weights::{log_sum_exp, log_z_and_error};

/// Halvings of the interval that holds log Z.
const HALVINGS: usize = 60;

/// log Z by Bennett's acceptance ratio and its standard error, from the log weights w = p/q of
/// draws from the normalised q (`of_flow`) and of samples of p/Z (`of_target`). Infinite where q
/// has no density at any sample of p.
///
/// Z is the root of ⟨w/(a + b w/Z)⟩_q = Z ⟨1/(a + b w/Z)⟩_p with the shares a and b of draws from q
/// and of samples of p: Bennett, J. Comput. Phys. 22 (1976); Meng & Wong, Statistica Sinica 6
/// (1996). Both means are of bounded numbers. So a part of p that q misses counts with its share of
/// the samples of p, while ⟨w⟩_q does not see it; a part of q that p misses does no harm; and a
/// single sample far out does none, on which a forward effective sample size depends.
pub fn bennett_log_z(of_flow: &[f64], of_target: &[f64]) -> (f64, f64) {
    let finite = || of_flow.iter().chain(of_target).copied().filter(|w| w.is_finite());
    if !of_target.iter().any(|w| w.is_finite()) {
        return (f64::INFINITY, f64::NAN);
    }
    let all = (of_flow.len() + of_target.len()) as f64;
    let shares = [of_flow.len(), of_target.len()].map(|count| (count as f64 / all).ln());
    let log_denominator = |w: f64, log_z: f64| log_sum_exp(&[shares[0], shares[1] + w - log_z]);
    let sides = |log_z: f64| {
        // A draw whose weight is not a number has none; a sample of p has no density then.
        let draws = of_flow.iter().filter(|w| w.is_finite());
        let mut of_q: Vec<f64> = draws.map(|w| w - log_denominator(*w, log_z)).collect();
        of_q.resize(of_flow.len(), f64::NEG_INFINITY);
        let samples = of_target.iter().filter(|w| w.is_finite());
        let mut of_p: Vec<f64> = samples.map(|w| -log_denominator(*w, log_z)).collect();
        of_p.resize(of_target.len(), f64::NEG_INFINITY);
        [log_z_and_error(&of_q), log_z_and_error(&of_p)]
    };
    let margin = all.ln() + 5.0;
    let mut low = finite().fold(f64::INFINITY, f64::min) - margin;
    let mut high = finite().fold(f64::NEG_INFINITY, f64::max) + margin;
    for _ in 0..HALVINGS {
        let middle = 0.5 * (low + high);
        let [(of_q, _), (of_p, _)] = sides(middle);
        if of_q - of_p > middle {
            low = middle;
        } else {
            high = middle;
        }
    }
    let [(of_q, error_q), (of_p, error_p)] = sides(0.5 * (low + high));
    (of_q - of_p, error_q.hypot(error_p))
}
