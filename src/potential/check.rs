//! Checks on a potential what training takes for granted.

use std::time::Instant;

use rand::Rng;
use rand_distr::{Distribution, StandardNormal};

use super::{EvaluationError, Potential};
use crate::random::{stream, Purpose};

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// As it should be.
    Fine,
    /// Training works, but the user should know.
    Caution,
    /// Training would be wrong.
    Wrong,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq)]
pub struct Finding {
    /// Its name, one word.
    pub what: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// The numbers, and what to do if it is not fine.
    pub text: String,
}

/// Configurations whose neighbourhood is examined.
const TYPICAL: usize = 16;
/// Metropolis steps towards each of them.
const STEPS: usize = 300;
/// Ways to split the particles in two that are tried.
const MOST_SPLITS: usize = 600;
/// A change of U under a symmetry that matters in a weight, in kT.
const BROKEN: f64 = 1e-2;
/// A change that rounding explains.
const ROUNDING: f64 = 1e-6;

/// Examines forces, symmetries, overlap, infinity, speed and failures of `potential`; the findings
/// are in this order. Random numbers are fixed. It takes some ten thousand evaluations.
///
/// # Errors
/// Only [`EvaluationError::Fatal`].
pub fn check(potential: &dyn Potential) -> Result<Vec<Finding>, EvaluationError> {
    let mut probe = Probe { potential, evaluations: 0, last_failure: String::new() };
    let Some(typical) = typical(&mut probe)? else {
        return Ok(vec![Finding {
            what: "energy",
            severity: Severity::Wrong,
            text: format!(
                "no finite energy in {} random configurations of sizes from 0.001 to 1000: {}",
                probe.evaluations, probe.last_failure
            ),
        }]);
    };
    let mut findings = vec![forces(&mut probe, &typical)?];
    findings.extend(symmetries(&mut probe, &typical)?);
    findings.push(overlap(&mut probe, &typical)?);
    findings.push(infinity(&mut probe, &typical)?);
    findings.push(batch(&mut probe, &typical)?);
    findings.push(failures(&mut probe, &typical)?);
    Ok(findings)
}

/// A potential whose recoverable failures are values.
struct Probe<'a> {
    potential: &'a dyn Potential,
    evaluations: usize,
    last_failure: String,
}

/// Energy and gradient of a configuration; `None` for a recoverable failure.
type Answer = Option<(f64, Vec<f64>)>;

impl Probe<'_> {
    fn ask(&mut self, x: &[f64]) -> Result<Answer, EvaluationError> {
        self.evaluations += 1;
        let mut gradient = vec![0.0; x.len()];
        match self.potential.energy_and_gradient(x, &mut gradient) {
            Ok(energy) => Ok(Some((energy, gradient))),
            Err(EvaluationError::Recoverable(why)) => {
                self.last_failure = why;
                Ok(None)
            }
            Err(fatal) => Err(fatal),
        }
    }

    /// The energy, +∞ for a recoverable failure.
    fn energy(&mut self, x: &[f64]) -> Result<f64, EvaluationError> {
        Ok(self.ask(x)?.map_or(f64::INFINITY, |(energy, _)| energy))
    }
}

/// Configurations that exp(−U) makes likely.
struct Typical {
    configurations: Vec<Vec<f64>>,
    energies: Vec<f64>,
    /// Root mean square distance from the centre of mass.
    size: f64,
}

fn normal(rng: &mut impl Rng) -> f64 {
    StandardNormal.sample(rng)
}

/// The best of random clouds of all sizes, then Metropolis steps, which need no forces.
fn typical(probe: &mut Probe<'_>) -> Result<Option<Typical>, EvaluationError> {
    let system = probe.potential.system();
    let width = system.coordinates();
    let mut found = Typical { configurations: Vec::new(), energies: Vec::new(), size: 0.0 };
    for chain in 0..TYPICAL {
        let mut rng = stream(0, Purpose::Evaluation, 10, chain as u64);
        let (mut x, mut energy, mut step) = (Vec::new(), f64::INFINITY, 0.0);
        for exponent in -12..=12 {
            let scale = 10f64.powf(f64::from(exponent) / 4.0);
            let cloud: Vec<f64> = (0..width).map(|_| scale * normal(&mut rng)).collect();
            let u = probe.energy(&cloud)?;
            if u < energy {
                (x, energy, step) = (cloud, u, 0.3 * scale);
            }
        }
        if !energy.is_finite() {
            continue;
        }
        for _ in 0..STEPS {
            let moved: Vec<f64> = x.iter().map(|x| x + step * normal(&mut rng)).collect();
            let u = probe.energy(&moved)?;
            if rng.gen::<f64>() < (energy - u).exp() && u.is_finite() {
                (x, energy, step) = (moved, u, 1.2 * step);
            } else {
                step *= 0.9;
            }
        }
        system.remove_center_of_mass(&mut x);
        found.size += x.iter().map(|x| x * x).sum::<f64>() / system.particles() as f64;
        found.configurations.push(x);
        found.energies.push(energy);
    }
    found.size = (found.size / found.configurations.len() as f64).sqrt();
    Ok((!found.configurations.is_empty()).then_some(found))
}

/// Compares gradients along random directions with central differences of fourth order. The closest
/// of several step sizes counts, since no single one suits every potential.
fn forces(probe: &mut Probe<'_>, typical: &Typical) -> Result<Finding, EvaluationError> {
    const DIRECTIONS: usize = 8;
    let (mut worst, mut products, mut squares) = (0.0f64, 0.0, 0.0);
    let mut rng = stream(0, Purpose::Evaluation, 11, 0);
    for x in &typical.configurations {
        let Some((_, gradient)) = probe.ask(x)? else { continue };
        let length = gradient.iter().map(|g| g * g).sum::<f64>().sqrt();
        let typical_slope = (length / (x.len() as f64).sqrt()).max(1e-3 / typical.size);
        for _ in 0..DIRECTIONS {
            let direction: Vec<f64> = x.iter().map(|_| normal(&mut rng)).collect();
            let slope: f64 = gradient.iter().zip(&direction).map(|(g, v)| g * v).sum();
            let (mut least, mut closest) = (f64::INFINITY, 0.0);
            for step in [1e-2, 1e-3, 1e-4, 1e-5] {
                let h = step * typical.size;
                let mut at = |shift: f64| {
                    let moved: Vec<f64> =
                        x.iter().zip(&direction).map(|(x, v)| x + shift * v).collect();
                    probe.energy(&moved)
                };
                let (near, far) = (at(h)? - at(-h)?, at(2.0 * h)? - at(-2.0 * h)?);
                let numerical = (8.0 * near - far) / (12.0 * h);
                let error = (numerical - slope).abs() / (slope.abs() + typical_slope);
                if error < least {
                    (least, closest) = (error, numerical);
                }
            }
            worst = worst.max(least);
            products += closest * slope;
            squares += slope * slope;
        }
    }
    let ratio = products / squares;
    let near = |value: f64| (ratio - value).abs() < 0.05 * value.abs();
    let count = DIRECTIONS * typical.configurations.len();
    let (severity, advice) = match worst {
        worst if worst < 1e-4 => (Severity::Fine, ""),
        _ if near(-1.0) => {
            (Severity::Wrong, ": they have the wrong sign, return ∂U/∂x, not the force")
        }
        _ if near(2.0) => (Severity::Wrong, ": a factor 2 is missing in the gradient"),
        _ if near(0.5) => (Severity::Wrong, ": the gradient has a factor 2 too much"),
        worst if worst < 1e-2 => (Severity::Caution, ": single precision, or a kink?"),
        _ => (Severity::Wrong, ": the gradient is not that of the energy"),
    };
    let text = format!("{count} directional derivatives are off by {worst:.0e} at most{advice}");
    Ok(Finding { what: "forces", severity, text })
}

fn symmetries(probe: &mut Probe<'_>, typical: &Typical) -> Result<Vec<Finding>, EvaluationError> {
    let system = probe.potential.system();
    let (d, species) = (system.dimension(), probe.potential.species().to_vec());
    let mut changes = [0.0f64; 4];
    for (number, x) in typical.configurations.iter().enumerate() {
        let mut rng = stream(0, Purpose::Evaluation, 12, number as u64);
        let shift: Vec<f64> = (0..d).map(|_| 10.0 * typical.size * normal(&mut rng)).collect();
        let shifted: Vec<f64> = x.iter().zip(shift.iter().cycle()).map(|(x, s)| x + s).collect();
        let mut rotated = x.clone();
        system.rotate(&system.random_rotation(&mut rng), &mut rotated);
        let mut mirrored = x.clone();
        mirrored.iter_mut().step_by(d).for_each(|x| *x = -*x);
        let order = system.random_permutation_within(&species, &mut rng);
        let exchanged = system.permute(&order, x);
        let energy = probe.energy(x)?;
        for (change, moved) in changes.iter_mut().zip([shifted, rotated, mirrored, exchanged]) {
            let difference = (probe.energy(&moved)? - energy).abs() / (1.0 + 1e-4 * energy.abs());
            *change = change.max(if difference.is_nan() { f64::INFINITY } else { difference });
        }
    }
    let described = [
        ("translation", "write U in distances, or from the centre of mass"),
        ("rotation", "write U in distances and angles: the flow cannot prefer a direction"),
        (
            "reflection",
            "the flow makes both mirror images alike: leave out terms odd in a dihedral",
        ),
        ("exchange", "give particles that differ different species"),
    ];
    Ok(changes
        .into_iter()
        .zip(described)
        .map(|(change, (what, advice))| {
            let severity = match change {
                change if change < ROUNDING => Severity::Fine,
                change if change < BROKEN => Severity::Caution,
                _ => Severity::Wrong,
            };
            let advice = if severity == Severity::Fine { "" } else { advice };
            let colon = if advice.is_empty() { "" } else { ": " };
            let text = format!("changes U by {change:.0e} kT at most{colon}{advice}");
            Finding { what, severity, text }
        })
        .collect())
}

/// One particle onto another: U may rise without bound or fail, and not fall like d·ln r.
fn overlap(probe: &mut Probe<'_>, typical: &Typical) -> Result<Finding, EvaluationError> {
    const SHARES: [f64; 8] = [0.3, 0.1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6, 0.0];
    let system = probe.potential.system();
    let (n, d) = (system.particles(), system.dimension());
    let mut rng = stream(0, Purpose::Evaluation, 13, 0);
    let pairs: Vec<(usize, usize)> =
        (0..n).flat_map(|i| (0..i).map(move |j| (i, j))).step_by(1 + n * n / 400).collect();
    let (mut steepest, mut highest, mut failed) = (f64::NEG_INFINITY, f64::NEG_INFINITY, 0);
    for (number, &(i, j)) in pairs.iter().enumerate() {
        let x = &typical.configurations[number % typical.configurations.len()];
        let direction: Vec<f64> = (0..d).map(|_| normal(&mut rng)).collect();
        let length = direction.iter().map(|v| v * v).sum::<f64>().sqrt();
        let mut energies = [0.0; SHARES.len()];
        for (share, energy) in SHARES.into_iter().zip(&mut energies) {
            let mut moved = x.clone();
            for k in 0..d {
                moved[i * d + k] = x[j * d + k] + share * typical.size * direction[k] / length;
            }
            let answer = probe.ask(&moved)?;
            failed += usize::from(answer.is_none());
            *energy = answer.as_ref().map_or(f64::INFINITY, |(energy, _)| *energy);
            let slope_is_nan =
                answer.is_some_and(|(u, g)| u.is_finite() && g.iter().any(|g| g.is_nan()));
            if energy.is_nan() || (share > 0.0 && slope_is_nan) {
                return Ok(Finding {
                    what: "overlap",
                    severity: Severity::Wrong,
                    text: format!(
                        "particles {j} and {i} at a distance of {:.0e}: the energy or gradient is \
                         not a number; return +∞ or a recoverable error there",
                        share * typical.size
                    ),
                });
            }
        }
        // From 1e-3 to 1e-6 of the size.
        if energies[6].is_finite() && energies[3].is_finite() {
            steepest = steepest.max((energies[3] - energies[6]) / 1e3f64.ln());
        } else if energies[6] == f64::NEG_INFINITY {
            steepest = f64::INFINITY;
        }
        highest = energies.iter().filter(|u| u.is_finite()).fold(highest, |m, &u| m.max(u));
    }
    if steepest >= d as f64 {
        let text =
            "U falls without end as two particles meet, so exp(−U) cannot be normalised: add a \
             repulsion";
        return Ok(Finding { what: "overlap", severity: Severity::Wrong, text: text.into() });
    }
    let text = format!(
        "of {} pairs brought together; U up to {highest:.0e} kT, {failed} of {} without finite \
         energy",
        pairs.len(),
        SHARES.len() * pairs.len()
    );
    Ok(Finding { what: "overlap", severity: Severity::Fine, text })
}

/// Parts of the system pulled apart: exp(−U) can be normalised when U grows faster than d·ln r.
fn infinity(probe: &mut Probe<'_>, typical: &Typical) -> Result<Finding, EvaluationError> {
    let system = probe.potential.system();
    let (n, d) = (system.particles(), system.dimension());
    let mut rng = stream(0, Purpose::Evaluation, 14, 0);
    let x = &typical.configurations[0];
    let direction: Vec<f64> = (0..d).map(|_| normal(&mut rng)).collect();
    // Every particle alone, and all other ways to split in two, or some of them.
    let mut parts: Vec<Vec<usize>> = (0..n.min(MOST_SPLITS)).map(|i| vec![i]).collect();
    if n <= 9 {
        parts = (1..1usize << (n - 1))
            .map(|bits| (0..n).filter(|i| bits >> i & 1 == 1).collect())
            .collect();
    } else {
        for size in 2..MOST_SPLITS.saturating_sub(n).min(256) {
            parts.push((0..2 + size % (n / 2)).map(|_| rng.gen_range(0..n)).collect());
        }
    }
    let mut flattest: Option<(f64, Vec<usize>)> = None;
    for part in parts {
        let mut at = |distance: f64| {
            let mut moved = x.clone();
            for i in std::collections::BTreeSet::from_iter(part.iter().copied()) {
                for k in 0..d {
                    moved[i * d + k] += distance * typical.size * direction[k];
                }
            }
            probe.energy(&moved)
        };
        let (near, far) = (at(1e2)?, at(1e4)?);
        let growth = match (near, far) {
            (near, far) if near.is_nan() || far.is_nan() => {
                let text = format!(
                    "the energy is not a number when particle {} is far away; return +∞ or a \
                     recoverable error there",
                    part[0]
                );
                return Ok(Finding { what: "infinity", severity: Severity::Wrong, text });
            }
            (_, far) if far == f64::INFINITY => f64::INFINITY,
            (near, far) => (far - near) / 1e2f64.ln(),
        };
        if flattest.as_ref().is_none_or(|(least, _)| growth < *least) {
            flattest = Some((growth, part));
        }
    }
    let (growth, part) = flattest.unwrap_or((f64::INFINITY, Vec::new()));
    let severity = if growth > d as f64 { Severity::Fine } else { Severity::Wrong };
    let text = match severity {
        Severity::Wrong => format!(
            "exp(−U) cannot be normalised: U grows by {growth:.1} kT for each factor e of the \
             distance when particles {part:?} leave, and must by more than {d}; add a trap or bonds"
        ),
        _ => "U grows fast enough as parts of the system leave each other".to_string(),
    };
    Ok(Finding { what: "infinity", severity, text })
}

/// Whether a batch gives what single calls give, and how fast.
fn batch(probe: &mut Probe<'_>, typical: &Typical) -> Result<Finding, EvaluationError> {
    let potential = probe.potential;
    let x = typical.configurations.concat();
    let (count, width) = (typical.configurations.len(), potential.system().coordinates());
    let (mut energies, mut gradients) = (vec![0.0; count], vec![0.0; x.len()]);
    let (start, mut runs) = (Instant::now(), 0);
    while runs == 0 || (start.elapsed().as_secs_f64() < 0.2 && runs < 100_000) {
        potential.energies_and_gradients(&x, &mut energies, &mut gradients)?;
        runs += 1;
    }
    let speed = (count * runs) as f64 / start.elapsed().as_secs_f64();
    probe.evaluations += count * runs;
    let mut worst = 0.0f64;
    for (s, x) in typical.configurations.iter().enumerate() {
        if let Some((energy, gradient)) = probe.ask(x)? {
            let size = gradient.iter().fold(1.0f64, |m, g| m.max(g.abs()));
            let both = gradient.iter().zip(&gradients[s * width..]);
            worst = both.fold(worst, |m, (a, b)| m.max((a - b).abs() / size));
            worst = worst.max((energy - energies[s]).abs() / (1.0 + energy.abs()));
        }
    }
    let (severity, advice) = match worst {
        worst if worst < 1e-8 => (Severity::Fine, String::new()),
        worst if worst < 1e-3 => {
            (Severity::Caution, format!("; repeated calls differ by {worst:.0e}"))
        }
        _ => (Severity::Wrong, format!("; a batch differs from single calls by {worst:.0e}")),
    };
    let text = format!("{speed:.2e} evaluations per second on one thread{advice}");
    Ok(Finding { what: "speed", severity, text })
}

/// How often random clouds of the right size have no finite energy.
fn failures(probe: &mut Probe<'_>, typical: &Typical) -> Result<Finding, EvaluationError> {
    const CLOUDS: usize = 64;
    let width = probe.potential.system().coordinates();
    let mut failed = 0;
    for cloud in 0..CLOUDS {
        let mut rng = stream(0, Purpose::Evaluation, 15, cloud as u64);
        let d = probe.potential.system().dimension() as f64;
        let scale = typical.size / d.sqrt();
        let x: Vec<f64> = (0..width).map(|_| scale * normal(&mut rng)).collect();
        failed += usize::from(!probe.energy(&x)?.is_finite());
    }
    let severity = if 2 * failed > CLOUDS { Severity::Caution } else { Severity::Fine };
    let last =
        if failed > 0 { format!(" (the last: {})", probe.last_failure) } else { String::new() };
    let text = format!(
        "{failed} of {CLOUDS} random clouds of the typical size {:.2} without finite energy{last}; \
         typical energies from {:.1} to {:.1} kT",
        typical.size,
        typical.energies.iter().copied().fold(f64::INFINITY, f64::min),
        typical.energies.iter().copied().fold(f64::NEG_INFINITY, f64::max)
    );
    Ok(Finding { what: "failures", severity, text })
}
