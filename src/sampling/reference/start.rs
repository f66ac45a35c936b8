//! Where the reference sampler starts: Gaussians of one width, around the origin or around known
//! structures.

use std::f64::consts::PI;

use rand::Rng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};

use crate::diagnostics::{log_mean_exp, log_sum_exp, Assignment};
use crate::error::{Error, EvaluationError};
use crate::random::{stream, Purpose, ONCE};
use crate::sampling::{AugmentedTarget, LogDensity, Proposal, Subspace};

/// An equal mixture of Gaussians N(c, scale² I) around centres c, on the zero-centre-of-mass
/// subspace, over all orders of like particles.
///
/// p(x) is the same for every order of like particles and for mirror images, and log Z counts them
/// all, also those that annealing does not reach from a structure. Of the many orders only the one
/// nearest to x counts, since the widths are small against the distances of like particles.
///
/// In a periodic box the centres are the sites of crystals. Particles are tied to them, and neither
/// other orders nor mirror images count.
pub(super) struct Start {
    subspace: Subspace,
    /// One or more configurations.
    centres: Vec<Vec<f64>>,
    /// Indices of like particles; none where all centres are the origin, whatever the order.
    alike: Vec<Vec<usize>>,
    /// Standard deviation of a coordinate.
    pub(super) scale: f64,
}

impl Start {
    /// One Gaussian around the origin.
    pub(super) fn around_origin(subspace: Subspace, scale: f64) -> Self {
        Self { subspace, centres: vec![vec![0.0; subspace.width()]], alike: Vec::new(), scale }
    }

    /// Around the known structures of a target and their mirror images; `None` if it has none.
    pub(super) fn around_structures(target: &AugmentedTarget) -> Option<Self> {
        let (subspace, potential) = (target.subspace(), target.potential());
        let system = subspace.system();
        let mirrored = |x: &Vec<f64>| -> Vec<f64> {
            let first = |i: usize| i.is_multiple_of(system.dimension());
            x.iter().enumerate().map(|(i, x)| if first(i) { -x } else { *x }).collect()
        };
        let structures = potential.structures();
        if system.periodic_box().is_some() {
            let centres = structures.to_vec();
            let start = Self { subspace, centres, alike: Vec::new(), scale: 1.0 };
            return (!structures.is_empty()).then_some(start);
        }
        let centres: Vec<_> =
            structures.iter().cloned().chain(structures.iter().map(mirrored)).collect();
        let mut alike = system.kinds(potential.species());
        alike.retain(|kind| kind.len() > 1);
        (!centres.is_empty()).then_some(Self { subspace, centres, alike, scale: 1.0 })
    }

    /// Whether some orientations are likelier than others, and U is the same in all.
    pub(super) fn is_oriented(&self) -> bool {
        let is_open = self.subspace.system().periodic_box().is_none();
        is_open && self.centres.iter().flatten().any(|c| *c != 0.0)
    }

    /// With the scale of the lowest median of log q + U: the variational free energy, with a median
    /// instead of a mean because a single pair at overlap has an energy past all bounds.
    pub(super) fn with_best_scale(
        mut self,
        target: &AugmentedTarget,
        seed: u64,
    ) -> Result<Self, Error> {
        const DRAWS: usize = 512;
        let (largest, steps) = self.largest_scale().map_or((64.0, 48), |largest| (largest, 40));
        let mut best = (f64::INFINITY, 1.0);
        let mut x = vec![0.0; DRAWS * self.subspace.width()];
        let (mut log_q, mut log_p) = (vec![0.0; DRAWS], vec![0.0; DRAWS]);
        let mut gradient = vec![0.0; x.len()];
        for step in 0..=steps {
            self.scale = largest * 2f64.powf(-f64::from(steps - step) / 4.0);
            let mut rngs: Vec<ChaCha8Rng> =
                (0..DRAWS as u64).map(|i| stream(seed, Purpose::Reference, ONCE, i)).collect();
            self.draw(&mut rngs, &mut x, &mut log_q);
            target.log_density_and_gradient(&x, &mut log_p, &mut gradient)?;
            let mut free: Vec<f64> = log_q.iter().zip(&log_p).map(|(q, p)| q - p).collect();
            free.sort_by(f64::total_cmp);
            if free[DRAWS / 2] < best.0 {
                best = (free[DRAWS / 2], self.scale);
            }
        }
        if best.0.is_finite() {
            return Ok(Self { scale: best.1, ..self });
        }
        Err(Error::Run(format!(
            "the reference sampler found no Gaussian of widths from {:.2e} to {largest:.2e} \
                 half of whose draws have a finite energy: check the potential's unit of length",
            largest * 2f64.powf(-f64::from(steps) / 4.0)
        )))
    }

    /// Around structures, the width at which like particles would change places in one of some ten
    /// thousand draws: two at distance r do so beyond a displacement of r/√2, here 4.5 scales. If
    /// none are alike, the size of the structures. `None` around the origin. In a periodic box no
    /// site may be taken for another, whichever particle is there.
    fn largest_scale(&self) -> Option<f64> {
        let system = self.subspace.system();
        let d = system.dimension();
        let sites = [(0..system.particles()).collect()];
        let groups = match system.periodic_box() {
            Some(_) => &sites[..],
            None => &self.alike,
        };
        let square = |c: &[f64]| c.iter().map(|c| c * c).sum::<f64>();
        let mut squares = Vec::new();
        for centre in &self.centres {
            let at = |i: usize| &centre[i * d..(i + 1) * d];
            for group in groups {
                for (index, &i) in group.iter().enumerate() {
                    squares.extend(group[..index].iter().map(|&j| -> f64 {
                        system.separation(at(i), at(j)).iter().map(|r| r * r).sum()
                    }));
                }
            }
        }
        let size = self.centres.iter().map(|c| square(c) / c.len() as f64).fold(0.0, f64::max);
        let nearest = squares.into_iter().fold(f64::INFINITY, f64::min);
        let largest = size.min(nearest / (2.0 * 4.5 * 4.5)).sqrt();
        (largest > 0.0).then_some(largest)
    }

    /// log q at `x`, and its gradient.
    fn evaluate(&self, assignment: &mut Assignment, x: &[f64], gradient: &mut [f64]) -> f64 {
        let precision = 1.0 / (self.scale * self.scale);
        let nearest: Vec<Vec<f64>> =
            self.centres.iter().map(|centre| self.exchanged(assignment, centre, x)).collect();
        let square = |c: &Vec<f64>| c.iter().zip(x).map(|(c, x)| (x - c) * (x - c)).sum::<f64>();
        let exponents: Vec<f64> = nearest.iter().map(|c| -0.5 * precision * square(c)).collect();
        let total = log_sum_exp(&exponents);
        gradient.fill(0.0);
        for (centre, exponent) in nearest.iter().zip(&exponents) {
            let share = precision * (exponent - total).exp();
            for ((gradient, x), c) in gradient.iter_mut().zip(x).zip(centre) {
                *gradient -= share * (x - c);
            }
        }
        let freedom = self.subspace.system().degrees_of_freedom() as f64;
        let normalisation = freedom * (self.scale * (2.0 * PI).sqrt()).ln();
        log_mean_exp(&exponents) - normalisation - self.log_orders()
    }

    /// `centre` with its like particles in the order that is nearest to `x`.
    fn exchanged(&self, assignment: &mut Assignment, centre: &[f64], x: &[f64]) -> Vec<f64> {
        let d = self.subspace.system().dimension();
        let mut exchanged = centre.to_vec();
        for group in &self.alike {
            // |x − c|² is least where Σ x·c is largest.
            let cost = |(j, i): (usize, usize)| -> f64 {
                (0..d).map(|k| -x[i * d + k] * centre[j * d + k]).sum()
            };
            let pairs = group.iter().flat_map(|&j| group.iter().map(move |&i| (j, i)));
            let cost: Vec<f64> = pairs.map(cost).collect();
            if !cost.iter().all(|cost| cost.is_finite()) {
                continue;
            }
            for (&i, &row) in group.iter().zip(assignment.solve(group.len(), &cost)) {
                let j = group[row];
                exchanged[i * d..(i + 1) * d].copy_from_slice(&centre[j * d..(j + 1) * d]);
            }
        }
        exchanged
    }

    /// The logarithm of the number of orders of like particles, one of which a draw has.
    fn log_orders(&self) -> f64 {
        self.alike.iter().flat_map(|group| 1..=group.len()).map(|n| (n as f64).ln()).sum()
    }
}

impl LogDensity for Start {
    fn width(&self) -> usize {
        self.subspace.width()
    }

    fn log_density_and_gradient(
        &self,
        z: &[f64],
        log_density: &mut [f64],
        gradient: &mut [f64],
    ) -> Result<usize, EvaluationError> {
        let width = self.width();
        let mut assignment = Assignment::default();
        let rows = z.chunks_exact(width).zip(gradient.chunks_exact_mut(width)).zip(log_density);
        for ((x, gradient), log_density) in rows {
            *log_density = self.evaluate(&mut assignment, x, gradient);
        }
        Ok(0)
    }
}

impl Proposal for Start {
    fn draw(&self, rngs: &mut [ChaCha8Rng], z: &mut [f64], log_density: &mut [f64]) {
        let mut assignment = Assignment::default();
        let mut gradient = vec![0.0; self.width()];
        let rows = z.chunks_exact_mut(self.width()).zip(rngs).zip(log_density);
        for ((x, rng), log_density) in rows {
            let centre = &self.centres[rng.gen_range(0..self.centres.len())];
            for x in x.iter_mut() {
                *x = StandardNormal.sample(rng);
            }
            self.subspace.system().remove_center_of_mass(x);
            for (x, c) in x.iter_mut().zip(centre) {
                *x = c + self.scale * *x;
            }
            *log_density = self.evaluate(&mut assignment, x, &mut gradient);
        }
    }
}
