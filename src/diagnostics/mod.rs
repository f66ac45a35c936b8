//! Effective sample sizes, log Z, likelihoods, distances, histograms, autocorrelation times: pure
//! functions of weights and samples.

mod alignment;
mod assignment;
mod autocorrelation;
mod bennett;
mod distributions;
mod observables;
mod pareto;
mod weights;

pub use alignment::{Aligner, Symmetries};
pub(crate) use assignment::Assignment;
pub use autocorrelation::integrated_autocorrelation_time;
pub use bennett::bennett_log_z;
pub use distributions::{
    energy_wasserstein, geometric_wasserstein, histogram, pair_distances, total_variation,
    Histogram,
};
pub use observables::{free_energy_difference, reweighted, reweighted_variance, WeightedHistogram};
pub use pareto::{are_few, pareto_k, rests_on_few};
pub use weights::{
    effective_sample_size, forward_effective_sample_size, largest_weight_share, log_mean_exp,
    log_sum_exp, log_z_and_error, mean_and_error, negative_log_likelihood, reweighted_mean,
    reweighted_mean_of, EffectiveSampleSize, Independent,
};
