//! The distance of two configurations after the best rotation, reflection and exchange of particles
//! of one species.

use super::assignment::Assignment;
use crate::random::{stream, Purpose};
use crate::system::System;

type Matrix = [[f64; 3]; 3];

/// Rounds of assignment and rotation at most; each lowers the distance, five are usual.
const ROUNDS: usize = 30;
/// The rounds end when the squared distance falls by less than this share of |x|² + |y|².
const SETTLED: f64 = 1e-9;

/// The symmetries under which configurations are the same.
#[derive(Debug, Clone, Copy)]
pub struct Symmetries<'a> {
    /// Particles and dimensions.
    pub system: System,
    /// A number for each particle, the same for particles that may be exchanged; empty when all are
    /// alike.
    pub species: &'a [usize],
    /// Whether mirror images are the same.
    pub reflections: bool,
}

/// Aligns configurations; keeps its memory from one pair to the next.
#[derive(Debug, Clone)]
pub struct Aligner {
    system: System,
    reflections: bool,
    /// Particles of each species.
    groups: Vec<Vec<usize>>,
    /// Rotations to start from.
    starts: Vec<Matrix>,
    assignment: Assignment,
    cost: Vec<f64>,
    /// y's particle for each one of x.
    partner: Vec<usize>,
    turned: Vec<f64>,
}

impl Aligner {
    /// An aligner that tries `starts` rotations, the same for every pair, besides the pairing by
    /// radius.
    pub fn new(symmetries: Symmetries<'_>, starts: usize) -> Self {
        let Symmetries { system, species, reflections } = symmetries;
        let (n, d) = (system.particles(), system.dimension());
        let start = |number: usize| {
            let q = system.random_rotation(&mut stream(0, Purpose::Evaluation, 0, number as u64));
            let mut rotation = [[0.0; 3]; 3];
            for (row, q) in rotation.iter_mut().zip(q.chunks_exact(d)) {
                row[..d].copy_from_slice(q);
            }
            rotation
        };
        Self {
            system,
            reflections,
            groups: system.kinds(species),
            starts: (0..starts).map(start).collect(),
            assignment: Assignment::default(),
            cost: Vec::new(),
            partner: (0..n).collect(),
            turned: vec![0.0; n * d],
        }
    }

    /// min |x − R P y|² over rotations R (and reflections) and permutations P within species, for
    /// `x` and `y` ([particles, dimension]) with zero centre of mass.
    ///
    /// Assignment of particles for a given R and the best R for a given assignment (Kabsch, Acta
    /// Cryst. A 32 (1976)) in turns, from the pairing of particles in the order of their radius and
    /// from the start rotations. The result is the least of these local minima: 0 for a turned and
    /// permuted copy, otherwise an upper bound.
    pub fn squared_distance(&mut self, x: &[f64], y: &[f64]) -> f64 {
        self.pair_by_radius(x, y);
        let first = self.rotation(x, y);
        let mut least = self.descend(x, y, first);
        for start in 0..self.starts.len() {
            least = least.min(self.descend(x, y, self.starts[start]));
        }
        least
    }

    fn pair_by_radius(&mut self, x: &[f64], y: &[f64]) {
        let d = self.system.dimension();
        let radius = |x: &[f64], i: usize| x[i * d..(i + 1) * d].iter().map(|v| v * v).sum::<f64>();
        let ranked = |x: &[f64], group: &[usize]| {
            let mut order = group.to_vec();
            order.sort_by(|&a, &b| radius(x, a).total_cmp(&radius(x, b)));
            order
        };
        for group in &self.groups {
            for (i, j) in ranked(x, group).into_iter().zip(ranked(y, group)) {
                self.partner[i] = j;
            }
        }
    }

    fn descend(&mut self, x: &[f64], y: &[f64], mut rotation: Matrix) -> f64 {
        let scale: f64 = x.iter().chain(y).map(|v| v * v).sum();
        let mut least = f64::INFINITY;
        for _ in 0..ROUNDS {
            self.turn(y, &rotation);
            self.assign(x);
            rotation = self.rotation(x, y);
            let squared = self.residual(x, y, &rotation);
            let settled = least - squared <= SETTLED * scale;
            least = least.min(squared);
            if settled {
                break;
            }
        }
        least
    }

    /// R y.
    fn turn(&mut self, y: &[f64], rotation: &Matrix) {
        let d = self.system.dimension();
        for (out, y) in self.turned.chunks_exact_mut(d).zip(y.chunks_exact(d)) {
            for (out, row) in out.iter_mut().zip(rotation) {
                *out = row.iter().zip(y).map(|(r, y)| r * y).sum();
            }
        }
    }

    /// Pairs the particles of `x` with those of the turned y: Σ|x − Ry|² is least where Σ x·Ry is
    /// largest.
    fn assign(&mut self, x: &[f64]) {
        let d = self.system.dimension();
        for group in &self.groups {
            self.cost.clear();
            for &j in group {
                let y = &self.turned[j * d..(j + 1) * d];
                self.cost.extend(group.iter().map(|&i| {
                    -x[i * d..(i + 1) * d].iter().zip(y).map(|(x, y)| x * y).sum::<f64>()
                }));
            }
            let rows = self.assignment.solve(group.len(), &self.cost);
            for (&i, &row) in group.iter().zip(rows) {
                self.partner[i] = group[row];
            }
        }
    }

    fn residual(&self, x: &[f64], y: &[f64], rotation: &Matrix) -> f64 {
        let d = self.system.dimension();
        let pairs = x.chunks_exact(d).zip(&self.partner);
        pairs
            .map(|(x, &j)| {
                let y = &y[j * d..(j + 1) * d];
                let turned = rotation.iter().map(|r| r.iter().zip(y).map(|(r, y)| r * y).sum());
                x.iter().zip(turned).map(|(x, y): (_, f64)| (x - y) * (x - y)).sum::<f64>()
            })
            .sum()
    }

    /// The rotation that makes the paired y closest to x.
    fn rotation(&self, x: &[f64], y: &[f64]) -> Matrix {
        let d = self.system.dimension();
        let mut s = [[0.0; 3]; 3];
        for (x, &j) in x.chunks_exact(d).zip(&self.partner) {
            for (row, y) in s.iter_mut().zip(&y[j * d..(j + 1) * d]) {
                for (entry, x) in row.iter_mut().zip(x) {
                    *entry += y * x;
                }
            }
        }
        if d == 2 {
            planar_rotation(&s, self.reflections)
        } else {
            spatial_rotation(&s, self.reflections)
        }
    }
}

/// The orthogonal R in the plane that maximises tr(R S), S = Σ y xᵀ.
fn planar_rotation(s: &Matrix, reflections: bool) -> Matrix {
    let (cos, sin) = (s[0][0] + s[1][1], s[0][1] - s[1][0]);
    let (cos_m, sin_m) = (s[0][0] - s[1][1], s[0][1] + s[1][0]);
    let (proper, improper) = (cos.hypot(sin), cos_m.hypot(sin_m));
    if reflections && improper > proper {
        let (c, s) = (cos_m / improper, sin_m / improper);
        [[c, s, 0.0], [s, -c, 0.0], [0.0; 3]]
    } else if proper > 0.0 {
        let (c, s) = (cos / proper, sin / proper);
        [[c, -s, 0.0], [s, c, 0.0], [0.0; 3]]
    } else {
        [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0; 3]]
    }
}

/// The orthogonal R in space that maximises tr(R S), S = Σ y xᵀ, by unit quaternions (Horn, J. Opt.
/// Soc. Am. A 4 (1987)): tr(R(q) S) = qᵀ N q. The smallest eigenvalue of N is the largest of −N,
/// which belongs to the mirror image −y.
fn spatial_rotation(s: &Matrix, reflections: bool) -> Matrix {
    let [[xx, xy, xz], [yx, yy, yz], [zx, zy, zz]] = *s;
    let n = [
        [xx + yy + zz, yz - zy, zx - xz, xy - yx],
        [yz - zy, xx - yy - zz, xy + yx, zx + xz],
        [zx - xz, xy + yx, yy - xx - zz, yz + zy],
        [xy - yx, zx + xz, yz + zy, zz - xx - yy],
    ];
    let (values, vectors) = eigen(n);
    let by = |a: &usize, b: &usize| values[*a].total_cmp(&values[*b]);
    let largest = (0..4).max_by(by).unwrap_or(0);
    let smallest = (0..4).min_by(by).unwrap_or(0);
    let mirrored = reflections && -values[smallest] > values[largest];
    let (at, sign) = if mirrored { (smallest, -1.0) } else { (largest, 1.0) };
    let [w, x, y, z] = [0, 1, 2, 3].map(|k| vectors[k][at]);
    let rotation = [
        [w * w + x * x - y * y - z * z, 2.0 * (x * y - w * z), 2.0 * (x * z + w * y)],
        [2.0 * (x * y + w * z), w * w - x * x + y * y - z * z, 2.0 * (y * z - w * x)],
        [2.0 * (x * z - w * y), 2.0 * (y * z + w * x), w * w - x * x - y * y + z * z],
    ];
    rotation.map(|row| row.map(|entry| sign * entry))
}

/// Eigenvalues of a symmetric matrix and its eigenvectors in columns, by Jacobi's rotations.
fn eigen(mut a: [[f64; 4]; 4]) -> ([f64; 4], [[f64; 4]; 4]) {
    let mut v = [[0.0; 4]; 4];
    (0..4).for_each(|k| v[k][k] = 1.0);
    let scale: f64 = a.iter().flatten().map(|x| x * x).sum();
    for _ in 0..20 {
        let off: f64 =
            (0..4).flat_map(|p| (0..p).map(move |q| (p, q))).map(|(p, q)| a[p][q].powi(2)).sum();
        if off <= 1e-26 * scale {
            break;
        }
        for (p, q) in [(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)] {
            if a[p][q] == 0.0 {
                continue;
            }
            let theta = (a[q][q] - a[p][p]) / (2.0 * a[p][q]);
            let t = theta.signum() / (theta.abs() + theta.hypot(1.0));
            let c = 1.0 / t.hypot(1.0);
            let s = t * c;
            for row in &mut a {
                (row[p], row[q]) = (c * row[p] - s * row[q], s * row[p] + c * row[q]);
            }
            let (row_p, row_q) = (a[p], a[q]);
            a[p] = std::array::from_fn(|k| c * row_p[k] - s * row_q[k]);
            a[q] = std::array::from_fn(|k| s * row_p[k] + c * row_q[k]);
            for row in &mut v {
                (row[p], row[q]) = (c * row[p] - s * row[q], s * row[p] + c * row[q]);
            }
        }
    }
    ([a[0][0], a[1][1], a[2][2], a[3][3]], v)
}
