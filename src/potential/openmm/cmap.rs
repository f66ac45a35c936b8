//! CMAPTorsionForce: an energy by a map over two dihedral angles, interpolated by bicubic splines
//! that are periodic.

use super::geometry::Dihedral;
use super::tile::Tile;
use super::xml::Element;
use crate::engine::{Lane, Vector, LANES};
use crate::error::Error;

/// Maps have 24 points in each direction.
const MOST_POINTS: usize = 1000;

/// Values and derivatives at the points of a map, [second angle, first angle]; a cell is a unit of
/// length.
#[derive(Debug, Clone)]
struct Map {
    size: usize,
    /// Value, derivatives by the first and second angle, and by both.
    points: Vec<[f64; 4]>,
}

/// All of a CMAPTorsionForce.
#[derive(Debug, Clone)]
pub(super) struct Maps {
    maps: Vec<Map>,
    /// Map and the atoms of both dihedral angles.
    torsions: Vec<(usize, [usize; 4], [usize; 4])>,
}

impl Maps {
    pub fn read(force: Element<'_>, count: usize) -> Result<Self, Error> {
        let listed = force.items("Maps", "Map")?;
        let mut torsions = Vec::new();
        // Force fields write all their maps, of which a molecule needs some.
        let mut places = vec![None; listed.len()];
        let mut maps = Vec::new();
        for torsion in force.items("Torsions", "Torsion")? {
            let number = torsion.index("map", listed.len())?;
            let place = match places[number] {
                Some(place) => place,
                None => {
                    maps.push(Map::read(listed[number])?);
                    maps.len() - 1
                }
            };
            places[number] = Some(place);
            let first = torsion.atoms(["a1", "a2", "a3", "a4"], count)?;
            let second = torsion.atoms(["b1", "b2", "b3", "b4"], count)?;
            torsions.push((place, first, second));
        }
        Ok(Self { maps, torsions })
    }

    #[inline(always)]
    pub fn add<V: Vector<Scalar = f64>>(&self, tile: &mut Tile<'_>, force: usize) {
        for (map, first, second) in &self.torsions {
            let first = Dihedral::<V>::of(tile, *first);
            let second = Dihedral::<V>::of(tile, *second);
            let mut lanes = [Lane::<f64>::zero(); 3];
            first.value().store(&mut lanes[0]);
            second.value().store(&mut lanes[1]);
            let map = &self.maps[*map];
            for l in 0..LANES {
                let [energy, by_first, by_second] = map.at(lanes[0].0[l], lanes[1].0[l]);
                tile.energies[force].0[l] += energy;
                lanes[0].0[l] = by_first;
                lanes[1].0[l] = by_second;
            }
            first.pull(tile, V::load(&lanes[0]));
            second.pull(tile, V::load(&lanes[1]));
        }
    }
}

impl Map {
    fn read(map: Element<'_>) -> Result<Self, Error> {
        let size = map.index("size", MOST_POINTS + 1)?;
        let values = map.elements().map(|e| e.number("e")).collect::<Result<Vec<_>, _>>()?;
        if size < 3 || values.len() != size * size {
            let points = values.len();
            return map.refuse(&format!("has size {size} and {points} energies, not {size}²"));
        }
        let along = |values: &[f64]| -> Vec<f64> {
            values.chunks_exact(size).flat_map(periodic_slopes).collect()
        };
        let transposed = |values: &[f64]| -> Vec<f64> {
            (0..size * size).map(|k| values[k % size * size + k / size]).collect()
        };
        let by_first = along(&values);
        let by_second = transposed(&along(&transposed(&values)));
        let by_both = transposed(&along(&transposed(&by_first)));
        let point = |k: usize| [values[k], by_first[k], by_second[k], by_both[k]];
        Ok(Self { size, points: (0..size * size).map(point).collect() })
    }

    /// Energy, and its derivatives by both angles.
    fn at(&self, first: f64, second: f64) -> [f64; 3] {
        let (i, s) = self.cell(first);
        let (j, t) = self.cell(second);
        let (along, across) = (hermite(s), hermite(t));
        let mut sums = [0.0; 3];
        for (di, dj) in [(0, 0), (1, 0), (0, 1), (1, 1)] {
            let place = (j + dj) % self.size * self.size + (i + di) % self.size;
            let [f, f_first, f_second, f_both] = self.points[place];
            let ([a, a_slope], [b, b_slope]) = (along[di], across[dj]);
            // [value, derivative by the angle] of each basis function.
            for (sum, (a, b)) in sums.iter_mut().zip(
                [(0, 0), (1, 0), (0, 1)].map(|(p, q)| ([a[p], a_slope[p]], [b[q], b_slope[q]])),
            ) {
                *sum += f * a[0] * b[0] + f_first * a[1] * b[0];
                *sum += f_second * a[0] * b[1] + f_both * a[1] * b[1];
            }
        }
        let per_radian = self.size as f64 / (2.0 * std::f64::consts::PI);
        [sums[0], sums[1] * per_radian, sums[2] * per_radian]
    }

    /// The cell of an angle, and the place in it.
    fn cell(&self, angle: f64) -> (usize, f64) {
        let turn = (angle / (2.0 * std::f64::consts::PI)).rem_euclid(1.0);
        let place = turn * self.size as f64;
        // Where the angle is not a number (NaN), so is the place, and the cell is 0.
        let cell = (place as usize).min(self.size - 1);
        (cell, place - cell as f64)
    }
}

/// Hermite's basis at both ends of a cell: that of the value and of the slope, each with its
/// derivative.
fn hermite(s: f64) -> [[[f64; 2]; 2]; 2] {
    let r = 1.0 - s;
    [
        [[r * r * (1.0 + 2.0 * s), -6.0 * s * r], [s * r * r, r * (1.0 - 3.0 * s)]],
        [[s * s * (3.0 - 2.0 * s), 6.0 * s * r], [-s * s * r, s * (3.0 * s - 2.0)]],
    ]
}

/// Slopes m of the cubic spline through points of a circle, a unit apart: the solution of
/// m₋ + 4m + m₊ = 3 (y₊ − y₋), by iterations that halve the error at least.
fn periodic_slopes(y: &[f64]) -> Vec<f64> {
    let n = y.len();
    let mut slopes = vec![0.0; n];
    for _ in 0..100 {
        for k in 0..n {
            let (before, after) = ((k + n - 1) % n, (k + 1) % n);
            let rise = 3.0 * (y[after] - y[before]);
            slopes[k] = (rise - slopes[before] - slopes[after]) / 4.0;
        }
    }
    slopes
}
