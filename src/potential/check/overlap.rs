//! Particles that meet: U may rise without bound or fail there, and not fall without end.
//!
//! Where m particles come as near as r to one point, the volume is r^{d(m−1)−1} dr. So exp(−U) can
//! be normalised there if U is bounded from below, and also if it falls like c·ln r with
//! c < d(m−1); what falls faster, such as −1/r, cannot. Only the limit counts: a repulsion that
//! becomes a little smaller at short distances, and stays finite, is no collapse.

use rand::Rng;

use super::finding::{listed, Finding, Severity};
use super::probe::{direction, Probe, Typical};
use crate::potential::EvaluationError;
use crate::random::{stream, Purpose};

/// Pairs that are looked at if there are more, unless there are more kinds of pairs.
const PAIRS: usize = 400;
/// Most kinds of pairs, and of groups, of which one is looked at.
const MOST_KINDS: usize = 2000;
/// Sizes of groups that are brought to one place; half of all particles, and all, besides.
const GROUPS: [usize; 3] = [3, 4, 6];
/// Groups of each size at least.
const OF_EACH_SIZE: usize = 20;
/// Distances over the typical size: two to each power of ten, from 0.3 to 1e-6.
const DISTANCES: i32 = 12;
/// A fall smaller than that share of U may be rounding in single precision.
const ROUNDING: f64 = 1e-6;
/// What chains from a known structure do not climb, in kT.
const BARRIER: f64 = 50.0;
/// A failure after energies below this one, in kT, is taken for an overflow to −∞.
const OVERFLOWING: f64 = -1e20;

/// Particles that come near to a point.
struct Meeting {
    particles: Vec<usize>,
    /// Where, from the point and in units of the distance: [particles, dimension].
    shape: Vec<f64>,
    /// The centre of mass of all others is the point, else the first particle's place.
    at_center: bool,
}

/// What has been found so far.
struct Seen {
    highest: f64,
    asked: usize,
    failed: usize,
}

pub(super) fn overlap(
    probe: &mut Probe<'_>,
    typical: &Typical,
) -> Result<Finding, EvaluationError> {
    let d = probe.potential.system().dimension();
    let mut rng = stream(0, Purpose::Evaluation, 13, 0);
    let meetings = meetings(probe, &mut rng);
    let (mut pairs, mut groups, mut done) = (0, 0, 0);
    probe.begin(1);
    let mut seen = Seen { highest: f64::NEG_INFINITY, asked: 0, failed: 0 };
    let mut hidden = None;
    for (number, meeting) in meetings.iter().enumerate() {
        if done > 0 && !probe.has_time() {
            break;
        }
        done += 1;
        match meeting.particles.len() {
            1 => {}
            2 => pairs += 1,
            _ => groups += 1,
        }
        let x = &typical.configurations[number % typical.configurations.len()];
        let mut energies = match approach(probe, typical.size, x, meeting, &mut seen)? {
            Ok(energies) => energies,
            Err(text) => return Ok(Finding { what: "overlap", severity: Severity::Wrong, text }),
        };
        energies.insert(0, typical.energies[number % typical.configurations.len()]);
        let degrees = d * (meeting.particles.len() - 1).max(1);
        if falls_without_end(&energies, degrees as f64) {
            let who = match &meeting.particles[..] {
                [i] => format!("particle {i} comes to the centre of mass, so"),
                [j, i] => format!("particles {j} and {i} meet, so"),
                all => format!("particles {} meet in one place, so", listed(all)),
            };
            if let Some(barrier) = barrier(probe, &energies)? {
                // One of them is enough.
                hidden.get_or_insert_with(|| {
                    format!(
                        "U falls without end as {} behind a barrier of {barrier:.0e} kT, as of \
                         hydrogens without a Lennard-Jones term: samples and log Z are those of \
                         the structure's side, where chains stay",
                        who.trim_end_matches(", so")
                    )
                });
                continue;
            }
            let text = format!(
                "U falls without end as {who} exp(−U) cannot be normalised: add a repulsion"
            );
            return Ok(Finding { what: "overlap", severity: Severity::Wrong, text });
        }
    }
    if let Some(text) = hidden {
        return Ok(Finding { what: "overlap", severity: Severity::Caution, text });
    }
    let text = format!(
        "{pairs} pairs and {groups} groups were brought together: U reaches {:.0e} kT, {} of {} \
         have no finite energy{}",
        seen.highest,
        seen.failed,
        seen.asked,
        probe.out_of_time(done, meetings.len())
    );
    Ok(Finding { what: "overlap", severity: Severity::Fine, text })
}

/// Of a molecule, whose samples all come from its structure: the barrier before the fall, if it is
/// one that no chain crosses. It is over the structure where chains from there have fallen already.
fn barrier(probe: &mut Probe<'_>, energies: &[f64]) -> Result<Option<f64>, EvaluationError> {
    let potential = probe.potential;
    let ([structure, ..], [_, ..]) = (potential.structures(), potential.bonds()) else {
        return Ok(None);
    };
    let Some((of_structure, _)) = probe.ask(structure)? else { return Ok(None) };
    // At a distance of 0 there may be anything.
    let [typical, nearer @ .., _] = energies else { return Ok(None) };
    let highest = nearer.iter().copied().filter(|u| !u.is_nan()).fold(f64::NEG_INFINITY, f64::max);
    Ok(Some(highest - typical.max(of_structure)).filter(|barrier| *barrier > BARRIER))
}

/// Energies at [`DISTANCES`] and then at none, or what is wrong where there is no number.
fn approach(
    probe: &mut Probe<'_>,
    size: f64,
    x: &[f64],
    meeting: &Meeting,
    seen: &mut Seen,
) -> Result<Result<Vec<f64>, String>, EvaluationError> {
    let system = probe.potential.system();
    let d = system.dimension();
    let point = point(x, d, meeting);
    let mut energies = Vec::new();
    for step in 1..=DISTANCES + 1 {
        let share = if step > DISTANCES { 0.0 } else { distance(step) };
        let mut moved = x.to_vec();
        for (&i, shape) in meeting.particles.iter().zip(meeting.shape.chunks_exact(d)) {
            for k in 0..d {
                moved[i * d + k] = point[k] + share * size * shape[k];
            }
        }
        // Nearer there is nothing else, and calculations that fail take long.
        if energies.ends_with(&[f64::INFINITY; 2]) {
            energies.push(f64::INFINITY);
            continue;
        }
        let answer = probe.ask(&moved)?;
        seen.asked += 1;
        seen.failed += usize::from(answer.is_none());
        let energy = answer.as_ref().map_or(f64::INFINITY, |(energy, _)| *energy);
        let slope_is_nan =
            answer.is_some_and(|(u, g)| u.is_finite() && g.iter().any(|g| g.is_nan()));
        if energy.is_nan() || (share > 0.0 && slope_is_nan) {
            return Ok(Err(format!(
                "particles {} at a distance of {:.0e}: the energy or gradient is not a number; \
                 return +∞ or a recoverable error there",
                listed(&meeting.particles),
                share * size
            )));
        }
        if energy.is_finite() {
            seen.highest = seen.highest.max(energy);
        }
        energies.push(energy);
    }
    Ok(Ok(energies))
}

fn distance(step: i32) -> f64 {
    10f64.powf(-0.5 * f64::from(step))
}

/// Where the particles meet.
fn point(x: &[f64], d: usize, meeting: &Meeting) -> Vec<f64> {
    let first = meeting.particles[0];
    if !meeting.at_center {
        return x[first * d..(first + 1) * d].to_vec();
    }
    let others = (x.len() / d - 1) as f64;
    (0..d).map(|k| (x.iter().skip(k).step_by(d).sum::<f64>() - x[first * d + k]) / others).collect()
}

/// Whether energies at smaller and smaller distances, after that of a typical configuration, fall
/// at least like `degrees`·ln r, and do not level off.
fn falls_without_end(energies: &[f64], degrees: f64) -> bool {
    // At a distance of 0 there may be anything.
    let energies = &energies[..energies.len() - 1];
    if energies.contains(&f64::NEG_INFINITY) {
        return true;
    }
    let finite = energies.iter().take_while(|u| u.is_finite()).count();
    let (last, overflows) = (&energies[..finite], finite < energies.len());
    let falls: Vec<f64> = last.windows(2).map(|pair| pair[0] - pair[1]).collect();
    if overflows {
        return last.last().is_some_and(|u| *u < OVERFLOWING)
            && falls.last().is_none_or(|fall| *fall > 0.0);
    }
    let least = degrees * 0.5 * 10f64.ln() * (1.0 - 1e-3);
    let end = &falls[falls.len() - 3..];
    let big = |fall: &f64| *fall >= least && *fall > ROUNDING * last[last.len() - 4].abs();
    end.iter().all(big) && end.windows(2).all(|pair| pair[1] > 0.95 * pair[0])
}

/// At least one pair of every two kinds, particles at the centre, and groups.
fn meetings(probe: &Probe<'_>, rng: &mut impl Rng) -> Vec<Meeting> {
    let potential = probe.potential;
    let (n, d) = (potential.system().particles(), potential.system().dimension());
    let kinds = potential.system().kinds(potential.species());
    let mut sets = chosen_pairs(n, &kinds, rng);
    sets.extend(kinds.iter().take(MOST_KINDS).map(|kind| vec![one_of(kind, rng)]));
    sets.extend(chosen_groups(n, &kinds, rng));
    sets.into_iter()
        .flat_map(|mut particles| {
            particles.sort_unstable();
            let shapes = match particles.len() {
                1 => vec![direction(d, rng)],
                2 => vec![[vec![0.0; d], direction(d, rng)].concat()],
                m => vec![even_shape(m, d, rng), random_shape(m, d, rng)],
            };
            let at_center = particles.len() == 1;
            shapes.into_iter().map(move |shape| {
                let particles = particles.clone();
                Meeting { particles, shape, at_center }
            })
        })
        .collect()
}

fn one_of(kind: &[usize], rng: &mut impl Rng) -> usize {
    kind[rng.gen_range(0..kind.len())]
}

/// One particle of each of these kinds, if there are so many.
fn members(kinds: &[&Vec<usize>], rng: &mut impl Rng) -> Option<Vec<usize>> {
    let mut chosen = Vec::new();
    for kind in kinds {
        let free: Vec<usize> = kind.iter().copied().filter(|i| !chosen.contains(i)).collect();
        if free.is_empty() {
            return None;
        }
        chosen.push(one_of(&free, rng));
    }
    Some(chosen)
}

/// A pair of every two kinds, then others.
fn chosen_pairs(n: usize, kinds: &[Vec<usize>], rng: &mut impl Rng) -> Vec<Vec<usize>> {
    if n * (n - 1) / 2 <= PAIRS {
        return (0..n).flat_map(|i| (0..i).map(move |j| vec![j, i])).collect();
    }
    let of_two_kinds = kinds.len() * (kinds.len() + 1) / 2;
    let mut pairs: Vec<Vec<usize>> = if of_two_kinds <= MOST_KINDS {
        let both = (0..kinds.len()).flat_map(|a| (0..=a).map(move |b| [a, b]));
        both.filter_map(|[a, b]| members(&[&kinds[a], &kinds[b]], rng)).collect()
    } else {
        (0..MOST_KINDS).map(|_| some_of(n, 2, rng)).collect()
    };
    while pairs.len() < PAIRS {
        pairs.push(some_of(n, 2, rng));
    }
    pairs
}

/// Groups of several sizes; of three, one of every three kinds.
fn chosen_groups(n: usize, kinds: &[Vec<usize>], rng: &mut impl Rng) -> Vec<Vec<usize>> {
    let count = kinds.len();
    let mut groups: Vec<Vec<usize>> = Vec::new();
    if count * (count + 1) * (count + 2) / 6 <= PAIRS {
        for a in 0..count {
            for b in 0..=a {
                let three =
                    (0..=b).filter_map(|c| members(&[&kinds[a], &kinds[b], &kinds[c]], rng));
                groups.extend(three);
            }
        }
    }
    let mut sizes: Vec<usize> = GROUPS.into_iter().chain([n / 2]).collect();
    sizes.retain(|&m| m > 2 && m < n);
    for m in sizes {
        groups.extend((0..OF_EACH_SIZE).map(|_| some_of(n, m, rng)));
    }
    if n > 2 {
        groups.push((0..n).collect());
    }
    groups
}

/// `m` particles of `n`.
fn some_of(n: usize, m: usize, rng: &mut impl Rng) -> Vec<usize> {
    rand::seq::index::sample(rng, n, m).into_vec()
}

/// Points in a ball.
fn random_shape(m: usize, d: usize, rng: &mut impl Rng) -> Vec<f64> {
    (0..m)
        .flat_map(|_| {
            let radius = rng.gen::<f64>().powf(1.0 / d as f64);
            direction(d, rng).into_iter().map(|x| radius * x).collect::<Vec<f64>>()
        })
        .collect()
}

/// The shape among many whose shortest distance is the longest: where all repel each other at
/// shorter distances than they attract, others rise.
fn even_shape(m: usize, d: usize, rng: &mut impl Rng) -> Vec<f64> {
    const TRIED: usize = 200;
    let shortest = |shape: &[f64]| {
        let points: Vec<&[f64]> = shape.chunks_exact(d).collect();
        let squared =
            |a: &[f64], b: &[f64]| -> f64 { a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum() };
        let pairs = (0..m).flat_map(|i| (0..i).map(move |j| (i, j)));
        pairs.map(|(i, j)| squared(points[i], points[j])).fold(f64::INFINITY, f64::min)
    };
    // Large groups are never even, and take long.
    let tried = if m > 30 { 1 } else { TRIED };
    let shapes = (0..tried).map(|_| random_shape(m, d, rng));
    let scored = shapes.map(|shape| (shortest(&shape), shape));
    scored.max_by(|a, b| a.0.total_cmp(&b.0)).map_or(Vec::new(), |(_, shape)| shape)
}
