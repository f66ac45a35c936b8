//! What is measured of a case.

use boltzflow::engine::{Lane, LANES};
use boltzflow::flow::{Apply, Direction, HalfShape, Vjp};
use boltzflow::random::{stream, Purpose};
use boltzflow::system::System;
use rand::Rng;

use crate::cases::{crystal, lanes, Case, Symmetry};

const BOTH: [Direction; 2] = [Direction::Forward, Direction::Inverse];

/// The order of a crystal's particles after a translation by one cell along the first axis.
fn translation(particles: usize, dimension: usize) -> Vec<usize> {
    let crystal = crystal(particles, dimension);
    let (system, sites) = (crystal.system(), crystal.sites());
    let at = |i: usize| &sites[i * dimension..(i + 1) * dimension];
    let cell = system.periodic_box().unwrap()[0] / if dimension == 2 { 3.0 } else { 2.0 };
    let moved = |i: usize| {
        let mut x = at(i).to_vec();
        x[0] += cell;
        x
    };
    let near = |a: &[f64], b: &[f64]| system.separation(a, b).iter().all(|r| r.abs() < 1e-9);
    (0..particles).map(|i| (0..particles).find(|&j| near(&moved(i), at(j))).unwrap()).collect()
}

impl Case {
    pub fn call(
        &self,
        direction: Direction,
        theta: &[f64],
        conditioning: &[Lane<f64>],
        moved: &[Lane<f64>],
    ) -> (Vec<Lane<f64>>, Lane<f64>) {
        let mut out = moved.to_vec();
        let mut log_det = Lane::zero();
        // Scratch starts with garbage: nothing may rely on zeros in it.
        let mut scratch = vec![Lane::splat(f64::NAN); self.coupling.scratch()];
        let call = Apply {
            direction,
            theta,
            conditioning,
            moved: &mut out,
            log_det: &mut log_det,
            record: &mut [],
        };
        self.coupling.apply(call, &mut scratch);
        let HalfShape { particles, dimension, .. } = self.shape;
        for (k, lane) in out.iter_mut().enumerate().step_by(dimension) {
            let particle = k / dimension % particles;
            lane.0.iter_mut().for_each(|v| *v += self.push * (1 + particle) as f64);
        }
        (out, Lane(log_det.0.map(|v| v * self.log_det_factor)))
    }

    fn apply(&self, direction: Direction) -> (Vec<Lane<f64>>, Lane<f64>) {
        self.call(direction, &self.theta, &self.conditioning, &self.moved)
    }

    /// Largest error of the round trip, in positions and in the sum of the log-determinants.
    pub fn round_trip_error(&self) -> f64 {
        let mut error = 0.0_f64;
        for direction in BOTH {
            let other = BOTH[usize::from(direction == Direction::Forward)];
            let (there, first) = self.apply(direction);
            let (back, second) = self.call(other, &self.theta, &self.conditioning, &there);
            for (a, b) in back.iter().zip(&self.moved) {
                for l in 0..LANES {
                    error = worse(error, (a.0[l] - b.0[l]).abs());
                }
            }
            for l in 0..LANES {
                error = worse(error, (first.0[l] + second.0[l]).abs());
            }
        }
        error
    }

    /// Largest difference between the log-determinant and that of a numerical Jacobian.
    pub fn log_det_error(&self) -> f64 {
        let width = self.shape.lanes();
        let step = 1e-5;
        let mut error = 0.0_f64;
        for direction in BOTH {
            let (_, log_det) = self.apply(direction);
            let columns: Vec<Vec<Lane<f64>>> = (0..width)
                .map(|k| {
                    let shifted = |by: f64| {
                        let mut moved = self.moved.clone();
                        for v in &mut moved[k].0 {
                            *v += by;
                        }
                        self.call(direction, &self.theta, &self.conditioning, &moved).0
                    };
                    let (up, down) = (shifted(step), shifted(-step));
                    up.iter()
                        .zip(&down)
                        .map(|(u, d)| {
                            Lane(std::array::from_fn(|l| (u.0[l] - d.0[l]) / (2.0 * step)))
                        })
                        .collect()
                })
                .collect();
            for l in 0..LANES {
                let matrix: Vec<Vec<f64>> =
                    columns.iter().map(|c| c.iter().map(|v| v.0[l]).collect()).collect();
                error = worse(error, (log_abs_det(matrix) - log_det.0[l]).abs());
            }
        }
        error
    }

    /// Largest change of the output, in the transformed frame, when both halves are rotated and
    /// reflected, if these are symmetries, permuted and translated together.
    pub fn equivariance_error(&self) -> f64 {
        let HalfShape { particles, dimension, .. } = self.shape;
        let system = System::new(particles, dimension).unwrap();
        let mut rng = stream(2, Purpose::Evaluation, 0, 1);
        let mut rotation = system.random_rotation(&mut rng);
        match self.symmetry {
            Symmetry::RotationsAndReflections => {
                rotation[..dimension].iter_mut().for_each(|v| *v = -*v);
            }
            Symmetry::RotationsOnly => {}
            Symmetry::Neither | Symmetry::Lattice => rotation = diagonal(dimension, 1.0),
        }
        if self.symmetry == Symmetry::Lattice {
            return self.error_under(&translation(particles, dimension), rotation);
        }
        let mut permutation = system.random_permutation_within(self.species, &mut rng);
        while permutation.is_sorted() {
            permutation = system.random_permutation_within(self.species, &mut rng);
        }
        self.error_under(&permutation, rotation)
    }

    /// The same for this permutation and this orthogonal matrix.
    pub fn error_under(&self, permutation: &[usize], rotation: Vec<f64>) -> f64 {
        let HalfShape { particles, dimension, .. } = self.shape;
        let system = System::new(particles, dimension).unwrap();
        let mut rng = stream(2, Purpose::Evaluation, 0, 2);
        let shift: Vec<f64> = (0..dimension).map(|_| rng.gen_range(-3.0..3.0)).collect();
        let transform = |half: &[Lane<f64>]| -> Vec<Lane<f64>> {
            let mut out = half.to_vec();
            for copy in out.chunks_exact_mut(particles * dimension) {
                for l in 0..LANES {
                    let x: Vec<f64> = copy.iter().map(|v| v.0[l]).collect();
                    let mut x = system.permute(permutation, &x);
                    system.rotate(&rotation, &mut x);
                    for (k, v) in x.iter().enumerate() {
                        copy[k].0[l] = v + shift[k % dimension];
                    }
                }
            }
            out
        };
        let (conditioning, moved) = (transform(&self.conditioning), transform(&self.moved));
        let mut error = 0.0_f64;
        for direction in BOTH {
            let (out, log_det) = self.apply(direction);
            let (other, other_log_det) = self.call(direction, &self.theta, &conditioning, &moved);
            for (a, b) in transform(&out).iter().zip(&other) {
                for l in 0..LANES {
                    error = worse(error, (a.0[l] - b.0[l]).abs());
                }
            }
            for l in 0..LANES {
                error = worse(error, (log_det.0[l] - other_log_det.0[l]).abs());
            }
        }
        error
    }

    /// Largest relative difference between vector-Jacobian products and central finite differences,
    /// along random directions in the moved half, in the conditioning half and in the parameters,
    /// and for every parameter alone; or the first one beyond `enough`.
    pub fn vjp_error(&self, enough: f64) -> f64 {
        let width = self.shape.lanes();
        let weights = lanes(width, 21, 1.0);
        let log_det_weight = lanes(1, 22, 1.0)[0];
        let mut error = 0.0_f64;
        for direction in BOTH {
            let value = |theta: &[f64], y: &[Lane<f64>], x: &[Lane<f64>]| -> [f64; LANES] {
                let (out, log_det) = self.call(direction, theta, y, x);
                std::array::from_fn(|l| {
                    log_det.0[l] * log_det_weight.0[l]
                        + out.iter().zip(&weights).map(|(o, w)| o.0[l] * w.0[l]).sum::<f64>()
                })
            };
            let mut moved_cotangent = weights.clone();
            let mut conditioning_cotangent = vec![Lane::zero(); width];
            let mut gradient = vec![0.0; self.theta.len()];
            let mut scratch = vec![Lane::splat(f64::NAN); self.coupling.scratch()];
            let vjp = |with: Option<&mut [f64]>,
                       moved_cotangent: &mut [Lane<f64>],
                       conditioning_cotangent: &mut [Lane<f64>],
                       record: &mut [Lane<f64>],
                       scratch: &mut [Lane<f64>]| {
                let call = Vjp {
                    direction,
                    theta: &self.theta,
                    conditioning: &self.conditioning,
                    moved: &self.moved,
                    moved_cotangent,
                    conditioning_cotangent,
                    log_det_cotangent: &log_det_weight,
                    frame_loss_cotangent: &Lane::zero(),
                    gradient: with,
                    record,
                };
                self.coupling.vjp(call, scratch);
            };
            vjp(
                Some(&mut gradient),
                &mut moved_cotangent,
                &mut conditioning_cotangent,
                &mut [],
                &mut scratch,
            );
            // Without parameter gradients the input gradients are the same.
            let (mut alone, mut alone_conditioning) = (weights.clone(), vec![Lane::zero(); width]);
            vjp(None, &mut alone, &mut alone_conditioning, &mut [], &mut scratch);
            assert!(alone == moved_cotangent && alone_conditioning == conditioning_cotangent);
            // A recorded call gives the same bytes, both ways.
            let mut record = vec![Lane::zero(); self.coupling.record_lanes()];
            let mut apply = |record: &mut [Lane<f64>]| {
                let (mut moved, mut log_det) = (self.moved.clone(), Lane::zero());
                let call = Apply {
                    direction,
                    theta: &self.theta,
                    conditioning: &self.conditioning,
                    moved: &mut moved,
                    log_det: &mut log_det,
                    record,
                };
                self.coupling.apply(call, &mut scratch);
                (moved, log_det)
            };
            assert!(apply(&mut []) == apply(&mut record));
            let (mut again, mut again_conditioning) = (weights.clone(), vec![Lane::zero(); width]);
            vjp(None, &mut again, &mut again_conditioning, &mut record, &mut scratch);
            assert!(again == moved_cotangent && again_conditioning == conditioning_cotangent);

            for trial in 0..4 {
                let along = lanes(2 * width, 30 + trial, 1.0);
                for (half, cotangent) in
                    [&moved_cotangent, &conditioning_cotangent].into_iter().enumerate()
                {
                    let along = &along[half * width..(half + 1) * width];
                    let at = |by: f64| {
                        if half == 0 {
                            let x = shifted(&self.moved, by, along);
                            value(&self.theta, &self.conditioning, &x)
                        } else {
                            let y = shifted(&self.conditioning, by, along);
                            value(&self.theta, &y, &self.moved)
                        }
                    };
                    error = worse(error, cotangent_error(cotangent, along, at));
                }
            }
            for (k, got) in gradient.iter().enumerate() {
                if error > enough {
                    return error;
                }
                let at = |by: f64| {
                    let mut theta = self.theta.clone();
                    theta[k] += by;
                    value(&theta, &self.conditioning, &self.moved).iter().sum::<f64>()
                };
                let values = STEPS.iter().map(|step| (at(*step), at(-step)));
                error = worse(error, distance_from_differences(*got, values));
            }
        }
        error
    }
}

/// `half` + `by`·`along`.
fn shifted(half: &[Lane<f64>], by: f64, along: &[Lane<f64>]) -> Vec<Lane<f64>> {
    let shift =
        |(h, a): (&Lane<f64>, &Lane<f64>)| Lane(std::array::from_fn(|l| h.0[l] + by * a.0[l]));
    half.iter().zip(along).map(shift).collect()
}

/// Largest error over the samples of `cotangent`·`along`, the slope of `at` at 0.
fn cotangent_error(
    cotangent: &[Lane<f64>],
    along: &[Lane<f64>],
    at: impl Fn(f64) -> [f64; LANES],
) -> f64 {
    let values = STEPS.map(|step| (at(step), at(-step)));
    let error_of = |l: usize| {
        let got: f64 = cotangent.iter().zip(along).map(|(c, a)| c.0[l] * a.0[l]).sum();
        distance_from_differences(got, values.iter().map(|(up, down)| (up[l], down[l])))
    };
    (0..LANES).map(error_of).fold(0.0, worse)
}

/// Steps of the central differences, each a fifth of the one before. A spline is only piecewise
/// smooth: a knot may lie inside one step, hardly inside all of them, so the closest difference
/// counts.
const STEPS: [f64; 4] = [2e-5, 4e-6, 8e-7, 1.6e-7];

/// A difference that is so close needs no smaller step.
const CLOSE: f64 = 1e-7;

/// Relative distance of `got` from the closest difference; `values` are those at ± each step, asked
/// for as they are needed. Near a frame that degenerates a parameter's third derivative is some 10⁷
/// times the slope, and central differences are off by more than the bound at every step that
/// rounding allows: so two steps together give the stencil of fourth order, D(h) + (D(h) −
/// D(5h))/24.
fn distance_from_differences(got: f64, values: impl Iterator<Item = (f64, f64)>) -> f64 {
    let (mut least, mut before) = (f64::INFINITY, None);
    for (step, (up, down)) in STEPS.into_iter().zip(values) {
        let central = (up - down) / (2.0 * step);
        let fourth = before.map(|before| central + (central - before) / 24.0);
        for want in [Some(central), fourth].into_iter().flatten() {
            least = least.min((got - want).abs() / (1.0 + want.abs()));
        }
        if least < CLOSE {
            break;
        }
        before = Some(central);
    }
    least
}

/// The larger of two errors; one that is no number is the largest.
pub fn worse(a: f64, b: f64) -> f64 {
    if a.is_nan() || b.is_nan() {
        f64::INFINITY
    } else {
        a.max(b)
    }
}

/// log |det| by Gaussian elimination with partial pivoting.
fn log_abs_det(mut matrix: Vec<Vec<f64>>) -> f64 {
    let n = matrix.len();
    let mut log = 0.0;
    for column in 0..n {
        let pivot = (column..n)
            .max_by(|&a, &b| matrix[a][column].abs().total_cmp(&matrix[b][column].abs()))
            .unwrap();
        matrix.swap(column, pivot);
        let head = matrix[column][column];
        log += head.abs().ln();
        for row in column + 1..n {
            let (done, rest) = matrix.split_at_mut(row);
            let factor = rest[0][column] / head;
            for (entry, pivot) in rest[0].iter_mut().zip(&done[column]).skip(column) {
                *entry -= factor * pivot;
            }
        }
    }
    log
}

/// A diagonal matrix of ones, but for its first entry.
pub fn diagonal(d: usize, first: f64) -> Vec<f64> {
    let entry = |k| f64::from(u8::from(k % (d + 1) == 0));
    (0..d * d).map(|k| if k == 0 { first } else { entry(k) }).collect()
}
