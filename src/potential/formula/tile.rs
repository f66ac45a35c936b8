//! Sixteen configurations at once, and terms of two, three and four of their atoms.

use super::graph::Operation;
use super::program::{Program, Row, WIDTH};

/// Sixteen configurations with their energies and gradients. Terms are added to the gradients only
/// where a function has `SLOPES`.
pub(super) struct Tile<'a> {
    /// [particles · dimension].
    pub x: &'a [Row],
    /// Edges of the periodic box.
    pub edges: Option<[f64; 3]>,
    /// The same, ∂U/∂x; empty without slopes.
    pub gradient: &'a mut [Row],
    pub energy: Row,
    /// What programs work in, as many rows as the longest needs.
    pub registers: &'a mut [Row],
    /// Densities of an embedding, `[particles]`.
    pub density: &'a mut [Row],
}

pub(super) const ZERO: Row = [0.0; WIDTH];
/// Keeps a direction finite where its length vanishes and the slope with it.
pub(super) const TINY: f64 = 1e-10;

#[inline(always)]
pub(super) fn each(f: impl FnMut(usize) -> f64) -> Row {
    std::array::from_fn(f)
}

/// a·b in the chain rule, see [`Operation::SlopeMul`].
#[inline(always)]
pub(super) fn times(a: f64, b: f64) -> f64 {
    Operation::SlopeMul.of(a, b)
}

/// a/b in the chain rule.
#[inline(always)]
pub(super) fn over(a: f64, b: f64) -> f64 {
    Operation::SlopeDiv.of(a, b)
}

/// 1.5 · 2⁵², beside which a number is rounded to a whole one.
const ROUNDING: f64 = 6_755_399_441_055_744.0;

/// To the nearest image in a box of this edge.
#[inline(always)]
fn fold(row: &mut Row, edge: f64) {
    *row = each(|l| row[l] - edge * ((row[l] / edge + ROUNDING) - ROUNDING));
}

/// x_i − x_j and its length.
#[inline(always)]
pub(super) fn separation<const D: usize>(tile: &Tile<'_>, [i, j]: [usize; 2]) -> ([Row; D], Row) {
    let (xi, xj) = (&tile.x[i * D..(i + 1) * D], &tile.x[j * D..(j + 1) * D]);
    let mut difference: [Row; D] = std::array::from_fn(|k| each(|l| xi[k][l] - xj[k][l]));
    if let Some(edges) = &tile.edges {
        difference.iter_mut().zip(edges).for_each(|(row, edge)| fold(row, *edge));
    }
    let mut squared = ZERO;
    for row in &difference {
        squared = each(|l| squared[l] + row[l] * row[l]);
    }
    (difference, squared.map(f64::sqrt))
}

/// Adds `factor`·`difference` to the gradient of i, and its opposite to that of j.
#[inline(always)]
pub(super) fn pull_pair<const D: usize>(
    gradient: &mut [Row],
    [i, j]: [usize; 2],
    factor: &Row,
    difference: &[Row; D],
) {
    for k in 0..D {
        let pull = each(|l| factor[l] * difference[k][l]);
        for l in 0..WIDTH {
            gradient[i * D + k][l] += pull[l];
            gradient[j * D + k][l] -= pull[l];
        }
    }
}

/// A term in the distance of two atoms. Where they coincide, there is a gradient only if the slope
/// is 0.
#[inline(always)]
pub(super) fn bond<const D: usize, const SLOPES: bool>(
    tile: &mut Tile<'_>,
    program: &Program,
    atoms: [usize; 2],
) {
    let (difference, r) = separation::<D>(tile, atoms);
    tile.registers[0] = r;
    program.run::<SLOPES>(tile.registers);
    let value = program.value(tile.registers);
    tile.energy = each(|l| tile.energy[l] + value[l]);
    if SLOPES {
        let slope = program.slope(tile.registers, 0);
        let factor = each(|l| over(slope[l], r[l]));
        pull_pair(tile.gradient, atoms, &factor, &difference);
    }
}

/// The same with the tangent at `core` below it.
pub(super) fn softened_pair<const D: usize, const SLOPES: bool>(
    tile: &mut Tile<'_>,
    program: &Program,
    core: f64,
    atoms: [usize; 2],
) {
    let (difference, r) = separation::<D>(tile, atoms);
    tile.registers[0] = r.map(|r| if r < core { core } else { r });
    program.run::<true>(tile.registers);
    let (value, slope) = (program.value(tile.registers), program.slope(tile.registers, 0));
    let below = each(|l| times(slope[l], (r[l] - core).min(0.0)));
    tile.energy = each(|l| tile.energy[l] + value[l] + below[l]);
    if SLOPES {
        let factor = each(|l| over(slope[l], r[l]));
        pull_pair(tile.gradient, atoms, &factor, &difference);
    }
}

/// The same for a pair that has no energy from `cutoff` on and that at the cut-off, `shift`, less
/// within it.
#[inline(always)]
pub(super) fn near_pair<const D: usize, const SLOPES: bool>(
    tile: &mut Tile<'_>,
    program: &Program,
    (core, cutoff, shift): (f64, f64, f64),
    atoms: [usize; 2],
) {
    let (difference, r) = separation::<D>(tile, atoms);
    // What is not a number must be seen.
    if r.iter().all(|r| *r >= cutoff) {
        return;
    }
    let counts = each(|l| if r[l] >= cutoff { 0.0 } else { 1.0 });
    tile.registers[0] = r.map(|r| if r < core { core } else { r });
    program.run::<true>(tile.registers);
    let (value, slope) = (program.value(tile.registers), program.slope(tile.registers, 0));
    let below = each(|l| times(slope[l], (r[l] - core).min(0.0)));
    let energy = each(|l| times(counts[l], value[l] + below[l] - shift));
    tile.energy = each(|l| tile.energy[l] + energy[l]);
    if SLOPES {
        let factor = each(|l| times(counts[l], over(slope[l], r[l])));
        pull_pair(tile.gradient, atoms, &factor, &difference);
    }
}

/// A vector in space for each configuration; in the plane its last row is 0.
type Vector = [Row; 3];

fn dot(a: &Vector, b: &Vector) -> Row {
    each(|l| a[0][l] * b[0][l] + a[1][l] * b[1][l] + a[2][l] * b[2][l])
}

fn cross(a: &Vector, b: &Vector) -> Vector {
    let of = |i: usize, j: usize| each(|l| a[i][l] * b[j][l] - a[j][l] * b[i][l]);
    [of(1, 2), of(2, 0), of(0, 1)]
}

/// x_to − x_from.
fn vector<const D: usize>(tile: &Tile<'_>, to: usize, from: usize) -> Vector {
    let mut v = [ZERO; 3];
    for k in 0..D {
        v[k] = each(|l| tile.x[to * D + k][l] - tile.x[from * D + k][l]);
        if let Some(edges) = &tile.edges {
            fold(&mut v[k], edges[k]);
        }
    }
    v
}

/// Adds a·u + b·v to the gradient of `atom`.
fn pull<const D: usize>(
    gradient: &mut [Row],
    atom: usize,
    (a, u): (&Row, &Vector),
    (b, v): (&Row, &Vector),
) {
    for k in 0..D {
        for l in 0..WIDTH {
            gradient[atom * D + k][l] += a[l] * u[k][l] + b[l] * v[k][l];
        }
    }
}

/// A term in the angle at b and the three distances of a, b, c; 0 unless both a and c are nearer to
/// b than `within`.
pub(super) fn angle<const D: usize, const SLOPES: bool>(
    tile: &mut Tile<'_>,
    program: &Program,
    within: Option<f64>,
    [a, b, c]: [usize; 3],
) {
    let (u, v) = (vector::<D>(tile, a, b), vector::<D>(tile, c, b));
    let w = vector::<D>(tile, a, c);
    let normal = cross(&u, &v);
    let [area, length_u, length_v, length_w] =
        [&normal, &u, &v, &w].map(|x| dot(x, x).map(f64::sqrt));
    let along = dot(&u, &v);
    let far = |r: f64| within.is_some_and(|within| r >= within);
    let counts = each(|l| if far(length_u[l]) || far(length_v[l]) { 0.0 } else { 1.0 });
    tile.registers[0] = each(|l| area[l].atan2(along[l]));
    tile.registers[1] = length_u;
    tile.registers[2] = length_v;
    tile.registers[3] = length_w;
    program.run::<SLOPES>(tile.registers);
    let value = program.value(tile.registers);
    tile.energy = each(|l| tile.energy[l] + times(counts[l], value[l]));
    if !SLOPES {
        return;
    }
    let slope = |variable: usize| {
        let slope = program.slope(tile.registers, variable);
        each(|l| times(counts[l], slope[l]))
    };
    // dθ = −d cos θ/sin θ with cos θ = u·v/(|u||v|).
    let product = each(|l| length_u[l] * length_v[l]);
    let by_angle = slope(0);
    let turn = each(|l| -by_angle[l] / (area[l] / product[l]).max(TINY));
    let cosine = each(|l| along[l] / product[l]);
    let across = each(|l| over(turn[l], product[l]));
    let [stretch_u, stretch_v] = [(1, &length_u), (2, &length_v)].map(|(variable, length)| {
        let slope = slope(variable);
        each(|l| {
            let bend = times(turn[l], cosine[l]);
            over(slope[l], length[l]) - over(bend, length[l] * length[l])
        })
    });
    let by_third = slope(3);
    let apart = each(|l| over(by_third[l], length_w[l]));
    let together = apart.map(|a| -a);
    pull::<D>(tile.gradient, a, (&stretch_u, &u), (&across, &v));
    pull::<D>(tile.gradient, a, (&apart, &w), (&ZERO, &w));
    pull::<D>(tile.gradient, c, (&stretch_v, &v), (&across, &u));
    pull::<D>(tile.gradient, c, (&together, &w), (&ZERO, &w));
    let [u_back, v_back] = [&stretch_u, &stretch_v].map(|s| each(|l| -s[l] - across[l]));
    pull::<D>(tile.gradient, b, (&u_back, &u), (&v_back, &v));
}

/// A term in the dihedral angle a–b–c–d: 0 when a and d are on the same side, π on opposite sides.
/// The gradient is that of Blondel and Karplus, J. Comput. Chem. 17, 1132 (1996).
pub(super) fn dihedral<const D: usize, const SLOPES: bool>(
    tile: &mut Tile<'_>,
    program: &Program,
    [a, b, c, d]: [usize; 4],
) {
    let (first, axis, last) =
        (vector::<D>(tile, b, a), vector::<D>(tile, c, b), vector::<D>(tile, d, c));
    let (m, n) = (cross(&first, &axis), cross(&axis, &last));
    let axis_squared = dot(&axis, &axis);
    let length = axis_squared.map(f64::sqrt);
    let (side, front) = (dot(&first, &n), dot(&m, &n));
    tile.registers[0] = each(|l| (length[l] * side[l]).atan2(front[l]));
    program.run::<SLOPES>(tile.registers);
    let value = program.value(tile.registers);
    tile.energy = each(|l| tile.energy[l] + value[l]);
    if !SLOPES {
        return;
    }
    let slope = program.slope(tile.registers, 0);
    let (m_squared, n_squared) = (dot(&m, &m), dot(&n, &n));
    let on_a = each(|l| over(-slope[l] * length[l], m_squared[l]));
    let on_d = each(|l| over(slope[l] * length[l], n_squared[l]));
    let (first_along, last_along) = (dot(&first, &axis), dot(&last, &axis));
    let p = each(|l| over(first_along[l], axis_squared[l]));
    let q = each(|l| over(last_along[l], axis_squared[l]));
    pull::<D>(tile.gradient, a, (&on_a, &m), (&ZERO, &n));
    pull::<D>(tile.gradient, d, (&on_d, &n), (&ZERO, &m));
    let (b_m, b_n) = (each(|l| -(1.0 + p[l]) * on_a[l]), each(|l| q[l] * on_d[l]));
    pull::<D>(tile.gradient, b, (&b_m, &m), (&b_n, &n));
    let (c_m, c_n) = (each(|l| p[l] * on_a[l]), each(|l| -(1.0 + q[l]) * on_d[l]));
    pull::<D>(tile.gradient, c, (&c_m, &m), (&c_n, &n));
}
