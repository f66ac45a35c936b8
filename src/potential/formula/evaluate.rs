//! Terms of a formula over sixteen configurations at once.

use super::program::{Program, Row, WIDTH};

/// A pair term, by the two species.
#[derive(Debug, Clone)]
pub(super) struct PairTerm {
    /// Value and slope in r.
    pub program: Program,
    /// Below this distance the term is its tangent.
    pub core: f64,
}

/// A formula over listed atoms.
#[derive(Debug, Clone)]
pub(super) struct Listed<const ATOMS: usize> {
    pub program: Program,
    pub atoms: Vec<[usize; ATOMS]>,
    /// Whether the formula is the same for the atoms in reverse order.
    pub reversible: bool,
}

/// All terms, over kT.
#[derive(Debug, Clone, Default)]
pub(super) struct Terms {
    /// Number in the file of each particle's species.
    pub species: Vec<usize>,
    pub species_count: usize,
    /// [species, species] to a place in `pairs`; empty without pair terms.
    pub pair_table: Vec<Option<usize>>,
    pub pairs: Vec<PairTerm>,
    /// By species; empty without external terms.
    pub external: Vec<Program>,
    /// In r.
    pub bonds: Vec<Listed<2>>,
    /// In theta, r_ab, r_bc, r_ac.
    pub angles: Vec<Listed<3>>,
    /// In phi.
    pub dihedrals: Vec<Listed<4>>,
}

/// Sixteen configurations with their energies and gradients.
pub(super) struct Tile<'a> {
    /// [particles · dimension].
    pub x: &'a mut [Row],
    /// The same, ∂U/∂x; zeroed by [`Terms::evaluate`].
    pub gradient: &'a mut [Row],
    pub energy: Row,
    /// What programs work in, [`Terms::registers`] rows.
    pub registers: &'a mut [Row],
}

const ZERO: Row = [0.0; WIDTH];
/// Keeps a direction finite where its length vanishes and the slope with it.
const TINY: f64 = 1e-10;

#[inline(always)]
fn each(f: impl FnMut(usize) -> f64) -> Row {
    std::array::from_fn(f)
}

impl Terms {
    /// Rows that the longest program needs.
    pub fn registers(&self) -> usize {
        let pairs = self.pairs.iter().map(|term| &term.program);
        let bonds = self.bonds.iter().map(|term| &term.program);
        let angles = self.angles.iter().map(|term| &term.program);
        let dihedrals = self.dihedrals.iter().map(|term| &term.program);
        let all = pairs.chain(&self.external).chain(bonds).chain(angles).chain(dihedrals);
        all.map(Program::registers).max().unwrap_or(0)
    }

    /// Energies and gradients of the tile in D dimensions.
    pub fn evaluate<const D: usize>(&self, tile: &mut Tile<'_>) {
        tile.energy = ZERO;
        tile.gradient.fill(ZERO);
        if !self.pairs.is_empty() {
            self.pair_sum::<D>(tile);
        }
        if !self.external.is_empty() {
            self.external_sum::<D>(tile);
        }
        for Listed { program, atoms, .. } in &self.bonds {
            atoms.iter().for_each(|atoms| bond::<D>(tile, program, *atoms));
        }
        for Listed { program, atoms, .. } in &self.angles {
            atoms.iter().for_each(|atoms| angle::<D>(tile, program, *atoms));
        }
        for Listed { program, atoms, .. } in &self.dihedrals {
            atoms.iter().for_each(|atoms| dihedral::<D>(tile, program, *atoms));
        }
    }

    fn pair_sum<const D: usize>(&self, tile: &mut Tile<'_>) {
        for i in 0..self.species.len() {
            let row =
                &self.pair_table[self.species[i] * self.species_count..][..self.species_count];
            for j in 0..i {
                let Some(term) = row[self.species[j]] else { continue };
                let PairTerm { program, core } = &self.pairs[term];
                if *core > 0.0 {
                    softened_pair::<D>(tile, program, *core, [i, j]);
                } else {
                    bond::<D>(tile, program, [i, j]);
                }
            }
        }
    }

    /// Terms in the position from the centre of mass. The gradient by the centre is shared by all
    /// particles.
    fn external_sum<const D: usize>(&self, tile: &mut Tile<'_>) {
        let n = self.species.len();
        let mean_of = |rows: &[Row]| -> [Row; D] {
            let mut mean = [ZERO; D];
            for row in rows.chunks_exact(D) {
                for k in 0..D {
                    for l in 0..WIDTH {
                        mean[k][l] += row[k][l];
                    }
                }
            }
            mean.map(|m| m.map(|m| m / n as f64))
        };
        let center = mean_of(tile.x);
        let mut recoil = [ZERO; D];
        for i in 0..n {
            let program = &self.external[self.species[i]];
            let mut radius = ZERO;
            for (k, center) in center.iter().enumerate() {
                let from_center = each(|l| tile.x[i * D + k][l] - center[l]);
                radius = each(|l| radius[l] + from_center[l] * from_center[l]);
                tile.registers[k] = from_center;
            }
            let radius = radius.map(f64::sqrt);
            tile.registers[D] = radius;
            program.run(tile.registers);
            let (value, slope) = (program.value(tile.registers), program.slope(tile.registers, D));
            let outward = each(|l| slope[l] / radius[l].max(TINY));
            tile.energy = each(|l| tile.energy[l] + value[l]);
            for (k, recoil) in recoil.iter_mut().enumerate() {
                let slope = program.slope(tile.registers, k);
                let pull = each(|l| slope[l] + outward[l] * tile.registers[k][l]);
                for l in 0..WIDTH {
                    tile.gradient[i * D + k][l] += pull[l];
                    recoil[l] += pull[l] / n as f64;
                }
            }
        }
        for row in tile.gradient.chunks_exact_mut(D) {
            for k in 0..D {
                for l in 0..WIDTH {
                    row[k][l] -= recoil[k][l];
                }
            }
        }
    }
}

/// x_i − x_j and its length.
#[inline(always)]
fn separation<const D: usize>(x: &[Row], [i, j]: [usize; 2]) -> ([Row; D], Row) {
    let (xi, xj) = (&x[i * D..(i + 1) * D], &x[j * D..(j + 1) * D]);
    let difference: [Row; D] = std::array::from_fn(|k| each(|l| xi[k][l] - xj[k][l]));
    let mut squared = ZERO;
    for row in &difference {
        squared = each(|l| squared[l] + row[l] * row[l]);
    }
    (difference, squared.map(f64::sqrt))
}

/// Adds `factor`·`difference` to the gradient of i, and its opposite to that of j.
#[inline(always)]
fn pull_pair<const D: usize>(
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

/// A term in the distance of two atoms. Where they coincide, the gradient is NaN.
#[inline(always)]
fn bond<const D: usize>(tile: &mut Tile<'_>, program: &Program, atoms: [usize; 2]) {
    let (difference, r) = separation::<D>(tile.x, atoms);
    tile.registers[0] = r;
    program.run(tile.registers);
    let (value, slope) = (program.value(tile.registers), program.slope(tile.registers, 0));
    tile.energy = each(|l| tile.energy[l] + value[l]);
    let factor = each(|l| slope[l] / r[l]);
    pull_pair(tile.gradient, atoms, &factor, &difference);
}

/// The same with the tangent at `core` below it.
fn softened_pair<const D: usize>(
    tile: &mut Tile<'_>,
    program: &Program,
    core: f64,
    atoms: [usize; 2],
) {
    let (difference, r) = separation::<D>(tile.x, atoms);
    tile.registers[0] = r.map(|r| if r < core { core } else { r });
    program.run(tile.registers);
    let (value, slope) = (program.value(tile.registers), program.slope(tile.registers, 0));
    tile.energy = each(|l| tile.energy[l] + value[l] + slope[l] * (r[l] - core).min(0.0));
    let factor = each(|l| slope[l] / r[l]);
    pull_pair(tile.gradient, atoms, &factor, &difference);
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
fn vector<const D: usize>(x: &[Row], to: usize, from: usize) -> Vector {
    let mut v = [ZERO; 3];
    for k in 0..D {
        v[k] = each(|l| x[to * D + k][l] - x[from * D + k][l]);
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

/// A term in the angle at b and the three distances of a, b, c.
fn angle<const D: usize>(tile: &mut Tile<'_>, program: &Program, [a, b, c]: [usize; 3]) {
    let (u, v) = (vector::<D>(tile.x, a, b), vector::<D>(tile.x, c, b));
    let w = vector::<D>(tile.x, a, c);
    let normal = cross(&u, &v);
    let [area, length_u, length_v, length_w] =
        [&normal, &u, &v, &w].map(|x| dot(x, x).map(f64::sqrt));
    let along = dot(&u, &v);
    tile.registers[0] = each(|l| area[l].atan2(along[l]));
    tile.registers[1] = length_u;
    tile.registers[2] = length_v;
    tile.registers[3] = length_w;
    program.run(tile.registers);
    let value = program.value(tile.registers);
    tile.energy = each(|l| tile.energy[l] + value[l]);

    // dθ = −d cos θ/sin θ with cos θ = u·v/(|u||v|).
    let product = each(|l| length_u[l] * length_v[l]);
    let by_angle = program.slope(tile.registers, 0);
    let turn = each(|l| -by_angle[l] / (area[l] / product[l]).max(TINY));
    let cosine = each(|l| along[l] / product[l]);
    let across = each(|l| turn[l] / product[l]);
    let slope = |variable: usize, length: &Row| {
        let slope = program.slope(tile.registers, variable);
        each(|l| slope[l] / length[l])
    };
    let [stretch_u, stretch_v] = [(1, &length_u), (2, &length_v)].map(|(variable, length)| {
        let stretch = slope(variable, length);
        each(|l| stretch[l] - turn[l] * cosine[l] / (length[l] * length[l]))
    });
    let apart = slope(3, &length_w);
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
fn dihedral<const D: usize>(tile: &mut Tile<'_>, program: &Program, [a, b, c, d]: [usize; 4]) {
    let (first, axis, last) =
        (vector::<D>(tile.x, b, a), vector::<D>(tile.x, c, b), vector::<D>(tile.x, d, c));
    let (m, n) = (cross(&first, &axis), cross(&axis, &last));
    let axis_squared = dot(&axis, &axis);
    let length = axis_squared.map(f64::sqrt);
    let (side, front) = (dot(&first, &n), dot(&m, &n));
    tile.registers[0] = each(|l| (length[l] * side[l]).atan2(front[l]));
    program.run(tile.registers);
    let (value, slope) = (program.value(tile.registers), program.slope(tile.registers, 0));
    tile.energy = each(|l| tile.energy[l] + value[l]);

    let (m_squared, n_squared) = (dot(&m, &m), dot(&n, &n));
    let on_a = each(|l| -slope[l] * length[l] / m_squared[l]);
    let on_d = each(|l| slope[l] * length[l] / n_squared[l]);
    let (first_along, last_along) = (dot(&first, &axis), dot(&last, &axis));
    let p = each(|l| first_along[l] / axis_squared[l]);
    let q = each(|l| last_along[l] / axis_squared[l]);
    pull::<D>(tile.gradient, a, (&on_a, &m), (&ZERO, &n));
    pull::<D>(tile.gradient, d, (&on_d, &n), (&ZERO, &m));
    let (b_m, b_n) = (each(|l| -(1.0 + p[l]) * on_a[l]), each(|l| q[l] * on_d[l]));
    pull::<D>(tile.gradient, b, (&b_m, &m), (&b_n, &n));
    let (c_m, c_n) = (each(|l| p[l] * on_a[l]), each(|l| -(1.0 + q[l]) * on_d[l]));
    pull::<D>(tile.gradient, c, (&c_m, &m), (&c_n, &n));
}
