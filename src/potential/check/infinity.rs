//! Parts of the system that leave each other.
//!
//! Where k parts are about D apart from each other, the volume is D^{d(k−1)−1} dD, so exp(−U) can
//! be normalised only if U grows by more than d(k−1) for each factor e of D, and goes on like that:
//! a constant, or an attraction that ends, does not hold anything.

use rand::seq::SliceRandom;
use rand::Rng;

use super::finding::{in_kt, listed, Finding, Severity};
use super::probe::{direction, Probe, Typical};
use crate::potential::EvaluationError;
use crate::random::{stream, Purpose};

/// Ways to take the system apart that are tried, of each kind.
const MOST_SINGLES: usize = 600;
const MOST_PLANES: usize = 100;
const MOST_GROUPS: usize = 200;
const MOST_UNIONS: usize = 50;
const MOST_THIRDS: usize = 20;
/// Up to so many particles, all ways to split them in two are tried.
const ALL_SPLITS: usize = 9;
/// Distances over the typical size, where energies reach to any distance.
const DISTANCES: [f64; 4] = [10.0, 1e2, 1e3, 1e4];
/// Shares of the largest distance, where they do not.
const SHARES: [f64; 4] = [0.125, 0.25, 0.5, 1.0];
/// Of the growth of U for each factor e of the distance, what must be left at larger distances. It
/// stays or grows where something holds parts together, and that of q/r halves at twice the
/// distance.
const LASTING: f64 = 0.75;
/// Growths that differ by less are equal.
const ROUNDING: f64 = 0.05;
/// A failure after energies below this one, in kT, is taken for an overflow to −∞.
const OVERFLOWING: f64 = -1e20;

/// The part, counted from 0, that each particle belongs to, and which way each part goes.
struct Split {
    part: Vec<usize>,
    directions: Vec<Vec<f64>>,
}

/// How U grows as the parts leave, in kT for each factor e of the distance.
enum Growth {
    /// Enough.
    Holds,
    /// This much, which is too little.
    Loose(f64),
    /// It cannot be said, since the energies fail.
    Unknown,
    NotANumber,
}

pub(super) fn infinity(
    probe: &mut Probe<'_>,
    typical: &Typical,
) -> Result<Finding, EvaluationError> {
    let finding = |severity, text| Ok(Finding { what: "infinity", severity, text });
    let d = probe.potential.system().dimension();
    let distances = distances(probe, typical);
    let splits = splits(probe, typical, &distances)?;
    let mut loosest: Option<(f64, &Split)> = None;
    let (mut unknown, mut done) = (0, 0);
    probe.begin(1);
    for (number, split) in splits.iter().enumerate() {
        if done > 0 && !probe.has_time() {
            break;
        }
        done += 1;
        let start = number % typical.configurations.len();
        let (x, energy) = (&typical.configurations[start], typical.energies[start]);
        match growth(probe, x, energy, split, &distances)? {
            Growth::Holds => {}
            Growth::Unknown => unknown += 1,
            Growth::NotANumber => {
                let text = format!(
                    "the energy is not a number when {} far away; return +∞ or a recoverable \
                     error there",
                    leaving(split, "is", "are")
                );
                return finding(Severity::Wrong, text);
            }
            Growth::Loose(growth) => {
                // The first of those that rounding tells apart, which is the simplest.
                if loosest.as_ref().is_none_or(|(least, _)| growth < *least - ROUNDING) {
                    loosest = Some((growth, split));
                }
            }
        }
    }
    let up_to = format!("up to a distance of {:.2e}", distances[distances.len() - 1]);
    match loosest {
        Some((growth, split)) => {
            let needed = d * (split.directions.len() - 1);
            let text = format!(
                "exp(−U) cannot be normalised: U grows by {} kT for each factor e of the \
                 distance when {}, {up_to}, and must go on to grow by more than {needed}; add a \
                 trap or bonds",
                in_kt(growth),
                leaving(split, "leaves", "leave")
            );
            finding(Severity::Wrong, text)
        }
        None if unknown > 0 => {
            let text = format!(
                "{unknown} of {done} ways to take the system apart have no finite energy {up_to}, \
                 so whether it holds together is not known (the last: {}); a trap is safe",
                probe.last_failure
            );
            finding(Severity::Caution, text)
        }
        None => {
            let text = format!(
                "U grows fast enough as parts of the system leave each other{}",
                probe.out_of_time(done, splits.len())
            );
            finding(Severity::Fine, text)
        }
    }
}

/// The particles of the part that goes away, with the verb that they need.
fn leaving(split: &Split, one: &str, many: &str) -> String {
    let particles: Vec<usize> = (0..split.part.len()).filter(|&i| split.part[i] > 0).collect();
    match (split.directions.len(), &particles[..]) {
        (2, [i]) => format!("particle {i} {one}"),
        (2, all) => format!("particles {} {many}", listed(all)),
        (parts, _) if parts == split.part.len() => format!("all particles {many} each other"),
        (parts, all) => format!("particles {} {many} as {} parts", listed(all), parts - 1),
    }
}

/// Distances that parts are pulled apart, in increasing order.
fn distances(probe: &Probe<'_>, typical: &Typical) -> Vec<f64> {
    let farthest = typical.configurations.iter().flatten().fold(0.0f64, |m, x| m.max(x.abs()));
    let room = 0.95 * probe.potential.reach() - farthest;
    let largest = DISTANCES[DISTANCES.len() - 1] * typical.size;
    if room < largest {
        SHARES.iter().map(|share| share * room.max(typical.size)).collect()
    } else {
        DISTANCES.iter().map(|distance| distance * typical.size).collect()
    }
}

/// How U grows from `energy` at `x`.
fn growth(
    probe: &mut Probe<'_>,
    x: &[f64],
    energy: f64,
    split: &Split,
    distances: &[f64],
) -> Result<Growth, EvaluationError> {
    let d = probe.potential.system().dimension();
    let limited = probe.potential.reach().is_finite();
    let mut energies = Vec::new();
    for distance in distances {
        energies.push(probe.energy(&apart(x, d, split, *distance))?);
    }
    if energies.iter().any(|u| u.is_nan()) {
        return Ok(Growth::NotANumber);
    }
    let needed = (d * (split.directions.len() - 1)) as f64;
    let finite = energies.iter().take_while(|u| u.is_finite()).count();
    if !limited && finite < energies.len() {
        // Out there is a wall, or U falls so deep that it cannot be expressed.
        let last = energies[..finite].last().copied().unwrap_or(energy);
        return Ok(match last < OVERFLOWING || energies[finite] == f64::NEG_INFINITY {
            true => Growth::Loose(f64::NEG_INFINITY),
            false => Growth::Holds,
        });
    }
    // The farthest three distances in a row at which there are energies.
    let known = energies.windows(3).zip(distances.windows(3)).rev();
    let Some((u, at)) = known.into_iter().find(|(u, _)| u.iter().all(|u| u.is_finite())) else {
        return Ok(Growth::Unknown);
    };
    let near = (u[1] - u[0]) / (at[1] / at[0]).ln();
    let far = (u[2] - u[1]) / (at[2] / at[1]).ln();
    Ok(if far > needed && far > LASTING * near { Growth::Holds } else { Growth::Loose(far) })
}

/// `x` with its parts moved by `distance` in their directions.
fn apart(x: &[f64], d: usize, split: &Split, distance: f64) -> Vec<f64> {
    let mut moved = x.to_vec();
    for (x, part) in moved.chunks_exact_mut(d).zip(&split.part) {
        for (x, v) in x.iter_mut().zip(&split.directions[*part]) {
            *x += distance * v;
        }
    }
    moved
}

/// Ways to take the system apart: particles one by one, what bonds do not hold together, halves on
/// both sides of a plane, other groups, and more than two parts.
fn splits(
    probe: &mut Probe<'_>,
    typical: &Typical,
    distances: &[f64],
) -> Result<Vec<Split>, EvaluationError> {
    let system = probe.potential.system();
    let (n, d) = (system.particles(), system.dimension());
    let mut rng = stream(0, Purpose::Evaluation, 14, 0);
    let away = direction(d, &mut rng);
    let in_two = |leaves: &dyn Fn(usize) -> bool| Split {
        part: (0..n).map(|i| usize::from(leaves(i))).collect(),
        directions: vec![vec![0.0; d], away.clone()],
    };
    let mut splits: Vec<Split> = Vec::new();
    if n <= ALL_SPLITS {
        let mut sets: Vec<usize> = (1..1usize << (n - 1)).collect();
        // Single particles first, then pairs, as far as the time goes.
        sets.sort_by_key(|bits| bits.count_ones().min(n as u32 - bits.count_ones()));
        splits.extend(sets.into_iter().map(|bits| in_two(&|i| bits >> i & 1 == 1)));
    } else {
        let pieces = pieces(probe, &typical.configurations[0], &away, distances)?;
        let count = pieces.iter().max().map_or(1, |last| last + 1);
        if count > 1 {
            splits.extend((0..count.min(MOST_SINGLES)).map(|c| in_two(&|i| pieces[i] == c)));
        }
        splits.extend((0..n.min(MOST_SINGLES)).map(|single| in_two(&|i| i == single)));
        for _ in 0..if count > 2 { MOST_UNIONS } else { 0 } {
            let leaves: Vec<bool> = (0..count).map(|_| rng.gen()).collect();
            splits.push(in_two(&|i| leaves[pieces[i]]));
        }
        for number in 0..MOST_PLANES {
            let x = &typical.configurations[number % typical.configurations.len()];
            let upper = beyond_a_plane(x, d, &mut rng);
            splits.push(in_two(&|i| upper[i]));
        }
        for _ in 0..MOST_GROUPS {
            let size = rng.gen_range(2..=n / 2);
            let mut leaves = vec![false; n];
            rand::seq::index::sample(&mut rng, n, size).iter().for_each(|i| leaves[i] = true);
            splits.push(in_two(&|i| leaves[i]));
        }
        if count > 2 {
            splits.push(in_many(pieces, d, &mut rng));
        }
    }
    // Random numbers may leave one part empty.
    splits.retain(|split| split.part.iter().any(|part| *part != split.part[0]));
    if n > 2 {
        for _ in 0..MOST_THIRDS {
            let mut part: Vec<usize> = (0..n).map(|i| i % 3).collect();
            part.shuffle(&mut rng);
            splits.push(in_many(part, d, &mut rng));
        }
        splits.push(in_many((0..n).collect(), d, &mut rng));
    }
    Ok(splits)
}

/// All parts but the first leave in directions of their own.
fn in_many(part: Vec<usize>, d: usize, rng: &mut impl Rng) -> Split {
    let count = part.iter().max().map_or(1, |last| last + 1);
    let others = (1..count).map(|_| direction(d, rng));
    let directions = std::iter::once(vec![0.0; d]).chain(others).collect();
    Split { part, directions }
}

/// The particles on one side of a random plane between two of them.
fn beyond_a_plane(x: &[f64], d: usize, rng: &mut impl Rng) -> Vec<bool> {
    let normal = direction(d, rng);
    let height = |x: &[f64]| x.iter().zip(&normal).map(|(x, v)| x * v).sum::<f64>();
    let heights: Vec<f64> = x.chunks_exact(d).map(height).collect();
    let mut sorted = heights.clone();
    sorted.sort_by(f64::total_cmp);
    let cut = sorted[rng.gen_range(1..sorted.len())];
    heights.iter().map(|height| *height >= cut).collect()
}

/// The piece of each particle: what feels a force that does not fade as a particle of the piece
/// goes far away belongs to it.
fn pieces(
    probe: &mut Probe<'_>,
    x: &[f64],
    away: &[f64],
    distances: &[f64],
) -> Result<Vec<usize>, EvaluationError> {
    let (n, d) = (x.len() / away.len(), away.len());
    let mut piece: Vec<Option<usize>> = vec![None; n];
    let mut count = 0;
    for first in 0..n {
        if piece[first].is_some() {
            continue;
        }
        if count == MOST_SINGLES {
            break;
        }
        piece[first] = Some(count);
        let mut grows = true;
        while grows {
            grows = false;
            let part: Vec<usize> = piece.iter().map(|p| usize::from(*p == Some(count))).collect();
            let split = Split { part, directions: vec![vec![0.0; d], away.to_vec()] };
            let ends = [distances[distances.len() - 2], distances[distances.len() - 1]];
            let near = pull(probe, x, &split, ends[0])?;
            let far = pull(probe, x, &split, ends[1])?;
            let (Some(near), Some(far)) = (near, far) else { break };
            for i in 0..n {
                if piece[i].is_none() && far[i] > 0.1 && far[i] > LASTING * near[i] {
                    piece[i] = Some(count);
                    grows = true;
                }
            }
        }
        count += 1;
    }
    // What is left of very many pieces counts as one.
    Ok(piece.into_iter().map(|piece| piece.unwrap_or(count)).collect())
}

/// How much each particle is pulled along by the part that leaves: its force times the distance.
/// What the others do to it is left out, since it is the same when the part leaves to the other
/// side. `None` without energies.
fn pull(
    probe: &mut Probe<'_>,
    x: &[f64],
    split: &Split,
    distance: f64,
) -> Result<Option<Vec<f64>>, EvaluationError> {
    let away = &split.directions[1];
    let d = away.len();
    let (ahead, back) = (apart(x, d, split, distance), apart(x, d, split, -distance));
    let (Some((_, ahead)), Some((_, back))) = (probe.ask(&ahead)?, probe.ask(&back)?) else {
        return Ok(None);
    };
    let along = |g: &[f64]| g.iter().zip(away).map(|(g, v)| g * v).sum::<f64>();
    let both = ahead.chunks_exact(d).zip(back.chunks_exact(d));
    Ok(Some(both.map(|(a, b)| 0.5 * distance * (along(b) - along(a))).collect()))
}
