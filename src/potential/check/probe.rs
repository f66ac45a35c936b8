//! Questions to a potential, and configurations that its density makes likely.

use std::time::{Duration, Instant};

use rand::Rng;
use rand_distr::{Distribution, StandardNormal};

use crate::potential::{EvaluationError, Potential};
use crate::random::{stream, Purpose};

/// Configurations whose neighbourhood is examined.
const TYPICAL: usize = 16;
/// Metropolis steps towards each of them.
const STEPS: usize = 300;
/// So many also where an energy takes long.
const LEAST_STEPS: usize = 10;
/// Where they may lead, as a share of the distance up to which there are energies.
const ROOM: f64 = 0.1;
/// And over the size that they start from. Where nothing holds the particles they would drift to
/// distances at which forces mean nothing, which is a matter of infinity alone.
const FARTHEST: f64 = 1e4;

/// A potential whose recoverable failures are values.
pub(super) struct Probe<'a> {
    pub potential: &'a dyn Potential,
    pub evaluations: usize,
    pub last_failure: String,
    /// The time of each part of the check, after which it looks at no more.
    time: Duration,
    until: Instant,
}

/// Energy and gradient of a configuration; `None` for a recoverable failure.
type Answer = Option<(f64, Vec<f64>)>;

impl<'a> Probe<'a> {
    pub fn new(potential: &'a dyn Potential, time: Duration) -> Self {
        let until = Instant::now();
        Self { potential, evaluations: 0, last_failure: String::new(), time, until }
    }

    /// Begins one of so many `shares` of a part.
    pub fn begin(&mut self, shares: usize) {
        self.until = Instant::now() + self.time / u32::try_from(shares).unwrap_or(u32::MAX);
    }

    /// Whether there is time left in this part.
    pub fn has_time(&self) -> bool {
        Instant::now() < self.until
    }

    /// What to say where only `done` of `all` fitted into the time.
    pub fn out_of_time(&self, done: usize, all: usize) -> String {
        match done < all {
            true => format!("; an energy takes long, so only {done} of {all} are looked at"),
            false => String::new(),
        }
    }

    pub fn ask(&mut self, x: &[f64]) -> Result<Answer, EvaluationError> {
        let mut gradient = vec![0.0; x.len()];
        let energy = self.potential.energy_and_gradient(x, &mut gradient);
        Ok(self.value(energy)?.map(|energy| (energy, gradient)))
    }

    /// The energy, +∞ for a recoverable failure.
    pub fn energy(&mut self, x: &[f64]) -> Result<f64, EvaluationError> {
        Ok(self.ask(x)?.map_or(f64::INFINITY, |(energy, _)| energy))
    }

    /// The energy of `x` where it is, +∞ for a recoverable failure.
    pub fn energy_in_place(&mut self, x: &[f64]) -> Result<f64, EvaluationError> {
        let energy = self.potential.energy_in_place(x);
        Ok(self.value(energy)?.unwrap_or(f64::INFINITY))
    }

    fn value(
        &mut self,
        energy: Result<f64, EvaluationError>,
    ) -> Result<Option<f64>, EvaluationError> {
        self.evaluations += 1;
        match energy {
            Ok(energy) => Ok(Some(energy)),
            Err(EvaluationError::Recoverable(why)) => {
                self.last_failure = why;
                Ok(None)
            }
            Err(fatal) => Err(fatal),
        }
    }
}

/// Configurations that exp(−U) makes likely.
pub(super) struct Typical {
    pub configurations: Vec<Vec<f64>>,
    pub energies: Vec<f64>,
    /// Root mean square distance from the centre of mass.
    pub size: f64,
}

pub(super) fn normal(rng: &mut impl Rng) -> f64 {
    StandardNormal.sample(rng)
}

/// A random direction in `d` dimensions.
pub(super) fn direction(d: usize, rng: &mut impl Rng) -> Vec<f64> {
    let v: Vec<f64> = (0..d).map(|_| normal(rng)).collect();
    let length = v.iter().map(|v| v * v).sum::<f64>().sqrt();
    v.iter().map(|v| v / length).collect()
}

/// A place to start from, its energy, and a length of first steps.
type Start = (Vec<f64>, f64, f64);

/// Metropolis steps, which need no forces, from the known structures or else from the best of
/// random clouds of all sizes. `None` where none of them has a finite energy.
pub(super) fn typical(probe: &mut Probe<'_>) -> Result<Option<Typical>, EvaluationError> {
    let system = probe.potential.system();
    let mut found = Typical { configurations: Vec::new(), energies: Vec::new(), size: 0.0 };
    let known = structures(probe)?;
    // Room to pull parts away, for a gas that would fill all of it.
    let room = ROOM * probe.potential.reach();
    for chain in 0..TYPICAL {
        let mut rng = stream(0, Purpose::Evaluation, 10, chain as u64);
        let start = match &known {
            Some(known) if known.is_empty() => None,
            Some(known) => Some(known[chain % known.len()].clone()),
            None => cloud(probe, room, &mut rng)?,
        };
        let Some((mut x, mut energy, mut step)) = start else { continue };
        let room = room.min(FARTHEST * size(&x, system.particles()));
        probe.begin(TYPICAL);
        for step_number in 0..STEPS {
            if step_number >= LEAST_STEPS && !probe.has_time() {
                break;
            }
            let moved: Vec<f64> = x.iter().map(|x| x + step * normal(&mut rng)).collect();
            let inside = moved.iter().all(|x| x.abs() < room);
            let u = if inside { probe.energy(&moved)? } else { f64::INFINITY };
            if rng.gen::<f64>() < (energy - u).exp() && u.is_finite() {
                (x, energy, step) = (moved, u, 1.2 * step);
            } else {
                step *= 0.9;
            }
        }
        system.remove_center_of_mass(&mut x);
        found.size += size(&x, system.particles()).powi(2);
        found.configurations.push(x);
        found.energies.push(energy);
    }
    found.size = (found.size / found.configurations.len() as f64).sqrt();
    Ok((!found.configurations.is_empty()).then_some(found))
}

/// Root mean square distance of particles from the origin.
fn size(x: &[f64], particles: usize) -> f64 {
    (x.iter().map(|x| x * x).sum::<f64>() / particles as f64).sqrt()
}

/// Those of the known structures that have a finite energy; `None` if none is known.
fn structures(probe: &mut Probe<'_>) -> Result<Option<Vec<Start>>, EvaluationError> {
    let potential = probe.potential;
    if potential.structures().is_empty() {
        return Ok(None);
    }
    let mut starts = Vec::new();
    for x in potential.structures() {
        let energy = probe.energy(x)?;
        if energy.is_finite() {
            starts.push((x.clone(), energy, 0.01 * size(x, potential.system().particles())));
        }
    }
    Ok(Some(starts))
}

/// The best of random clouds of all sizes within `room`; `None` if none has a finite energy.
fn cloud(
    probe: &mut Probe<'_>,
    room: f64,
    rng: &mut impl Rng,
) -> Result<Option<Start>, EvaluationError> {
    let width = probe.potential.system().coordinates();
    let mut best: Option<Start> = None;
    for exponent in -12..=12 {
        let scale = 10f64.powf(f64::from(exponent) / 4.0);
        let x: Vec<f64> = (0..width).map(|_| scale * normal(rng)).collect();
        if x.iter().any(|x| x.abs() > room) {
            continue;
        }
        let u = probe.energy(&x)?;
        if u < best.as_ref().map_or(f64::INFINITY, |best| best.1) {
            best = Some((x, u, 0.3 * scale));
        }
    }
    Ok(best.filter(|best| best.1.is_finite()))
}
