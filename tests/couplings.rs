//! Every coupling, in one table: inverse, log-determinant, equivariance, vector-Jacobian products.
//! Each check is shown to catch a planted error.

use boltzflow::engine::{Lane, LANES};
use boltzflow::flow::{
    Coupling, CouplingContext, Direction, HalfShape, InnerTransform, LayerGroup, Network,
    NonequivariantOptions, PairwiseOptions, ParameterLayout, ProjectedOptions, Vjp,
};
use boltzflow::random::{stream, Purpose};
use boltzflow::system::System;
use rand::Rng;
use rand_distr::{Distribution, StandardNormal};
use rayon::prelude::*;

const BOTH: [Direction; 2] = [Direction::Forward, Direction::Inverse];

/// A coupling with random parameters and a tile of random samples.
struct Case {
    name: String,
    shape: HalfShape,
    species: &'static [usize],
    symmetry: Symmetry,
    coupling: Box<dyn Coupling<f64>>,
    theta: Vec<f64>,
    conditioning: Vec<Lane<f64>>,
    moved: Vec<Lane<f64>>,
    /// Planted errors: a factor on every log-determinant; a push along the first axis, of another
    /// length for each particle.
    log_det_factor: f64,
    push: f64,
}

fn pairwise() -> LayerGroup {
    LayerGroup::Pairwise(PairwiseOptions {
        width: 7,
        basis: 5,
        cutoff: 4.0,
        message_passes: 2,
        core: 0.3,
        ..Default::default()
    })
}

fn angular() -> LayerGroup {
    LayerGroup::Pairwise(PairwiseOptions {
        width: 6,
        basis: 5,
        cutoff: 4.0,
        angular: 3,
        message_passes: 1,
        core: 0.3,
        ..Default::default()
    })
}

/// With the graph network.
fn graph() -> ProjectedOptions {
    ProjectedOptions {
        bins: 4,
        range: 6.0,
        blocks: 2,
        features: 7,
        edge_hidden: vec![6, 6],
        node_hidden: vec![5, 5],
        head_hidden: vec![6, 6],
        ..Default::default()
    }
}

fn radial() -> ProjectedOptions {
    ProjectedOptions {
        bins: 4,
        range: 6.0,
        network: Network::Radial,
        blocks: 2,
        features: 6,
        basis: 4,
        cutoff: 5.0,
        core: 0.3,
        ..Default::default()
    }
}

fn vector() -> LayerGroup {
    LayerGroup::Vector(graph())
}

fn radial_vector() -> LayerGroup {
    LayerGroup::Vector(radial())
}

fn radial_cartesian() -> LayerGroup {
    LayerGroup::Cartesian(radial())
}

fn affine() -> LayerGroup {
    LayerGroup::Cartesian(ProjectedOptions { transforms: Some(2), ..graph() })
}

fn cartesian() -> LayerGroup {
    LayerGroup::Cartesian(ProjectedOptions { bend: Some(InnerTransform::Spline), ..graph() })
}

fn spherical() -> LayerGroup {
    LayerGroup::Spherical(graph())
}

fn nonequivariant() -> LayerGroup {
    LayerGroup::Nonequivariant(NonequivariantOptions {
        blocks: 2,
        features: 6,
        heads: 2,
        hidden: vec![5, 5],
        head_hidden: vec![6, 6],
        ..Default::default()
    })
}

fn small() -> LayerGroup {
    LayerGroup::Pairwise(PairwiseOptions { width: 5, basis: 4, cutoff: 4.0, ..Default::default() })
}

/// Species of four particles, two of them alike.
const UNLIKE: &[usize] = &[0, 1, 0, 2];

struct Row {
    name: &'static str,
    options: fn() -> LayerGroup,
    /// What it multiplies the noise with at the start.
    noise_factor: f64,
    /// Of the noise on the initial parameters.
    scale: f64,
    species: &'static [usize],
    /// Copies in each half: (M + 1)/2.
    copies: usize,
    /// What it commutes with besides translations and permutations.
    symmetry: Symmetry,
    /// Particles and dimensions. The same code with more of the same: a single size will do.
    sizes: &'static [(usize, usize)],
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Symmetry {
    RotationsAndReflections,
    RotationsOnly,
    Neither,
}

impl Row {
    fn build(&self, half: HalfShape, layout: &mut ParameterLayout) -> Box<dyn Coupling<f64>> {
        let Self { species, noise_factor, .. } = *self;
        (self.options)().build(&CouplingContext { half, species, noise_factor }, layout).unwrap()
    }
}

const fn row(
    name: &'static str,
    options: fn() -> LayerGroup,
    scale: f64,
    symmetry: Symmetry,
) -> Row {
    let (species, copies, sizes) = (&[], 1, &[(4, 2), (5, 3)]);
    Row { name, options, noise_factor: 1.0, scale, species, copies, symmetry, sizes }
}

/// A row for particles that are not all alike.
const fn unlike(row: Row) -> Row {
    Row { species: UNLIKE, sizes: &[(4, 2)], ..row }
}

/// A row for three copies.
const fn copies(row: Row) -> Row {
    Row { copies: 2, sizes: &[(4, 3)], ..row }
}

const TABLE: [Row; 22] = {
    use Symmetry::{Neither, RotationsAndReflections as Both, RotationsOnly};
    [
        row("pairwise", pairwise, 0.15, Both),
        // So many that the pairs are taken in blocks.
        Row { sizes: &[(18, 3)], ..row("pairwise, in blocks", pairwise, 0.04, Both) },
        row("pairwise, angular", angular, 0.15, Both),
        Row { sizes: &[(20, 3)], ..row("pairwise, angular, in blocks", angular, 0.03, Both) },
        Row { noise_factor: 0.8, ..row("shrinking", small, 0.15, Both) },
        row("vector", vector, 0.3, Both),
        row("vector, radial network", radial_vector, 0.15, Both),
        row("Cartesian, radial network", radial_cartesian, 0.15, RotationsOnly),
        row("Cartesian, affine", affine, 0.3, RotationsOnly),
        row("Cartesian, splines", cartesian, 0.3, RotationsOnly),
        row("spherical", spherical, 0.3, RotationsOnly),
        row("nonequivariant", nonequivariant, 0.3, Neither),
        unlike(row("pairwise, unlike particles", pairwise, 0.15, Both)),
        unlike(row("Cartesian, radial, unlike", radial_cartesian, 0.15, RotationsOnly)),
        unlike(row("vector, unlike particles", vector, 0.3, Both)),
        unlike(row("nonequivariant, unlike", nonequivariant, 0.3, Neither)),
        copies(row("pairwise, three copies", pairwise, 0.15, Both)),
        copies(row("vector, radial, three copies", radial_vector, 0.15, Both)),
        copies(row("vector, three copies", vector, 0.3, Both)),
        copies(row("Cartesian, three copies", cartesian, 0.3, RotationsOnly)),
        copies(row("spherical, three copies", spherical, 0.3, RotationsOnly)),
        copies(row("nonequivariant, three copies", nonequivariant, 0.3, Neither)),
    ]
};

fn lanes(count: usize, seed: u64, scale: f64) -> Vec<Lane<f64>> {
    let mut rng = stream(seed, Purpose::Evaluation, 0, 0);
    (0..count)
        .map(|_| {
            Lane(std::array::from_fn(|_| {
                let z: f64 = StandardNormal.sample(&mut rng);
                scale * z
            }))
        })
        .collect()
}

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for row in TABLE {
        let Row { name, scale, species, copies, symmetry, sizes, .. } = row;
        for &(particles, dimension) in sizes {
            let shape = HalfShape { copies, particles, dimension };
            let mut layout = ParameterLayout::default();
            let coupling = row.build(shape, &mut layout);
            let mut rng = stream(11, Purpose::Evaluation, 1, 0);
            let theta = layout
                .initialize::<f64>(3)
                .into_iter()
                .map(|t| {
                    let z: f64 = StandardNormal.sample(&mut rng);
                    t + scale * z
                })
                .collect();
            let conditioning = lanes(shape.lanes(), 5, 1.2);
            let moved = lanes(shape.lanes(), 6, 0.5)
                .iter()
                .zip(&conditioning)
                .map(|(z, y)| Lane(std::array::from_fn(|l| z.0[l] + y.0[l])))
                .collect();
            cases.push(Case {
                name: format!("{name} {particles} x {dimension}"),
                shape,
                species,
                symmetry,
                coupling,
                theta,
                conditioning,
                moved,
                log_det_factor: 1.0,
                push: 0.0,
            });
        }
    }
    cases
}

impl Case {
    fn call(
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
        self.coupling.apply(direction, theta, conditioning, &mut out, &mut log_det, &mut scratch);
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
    fn round_trip_error(&self) -> f64 {
        let mut error = 0.0_f64;
        for direction in BOTH {
            let other = BOTH[usize::from(direction == Direction::Forward)];
            let (there, first) = self.apply(direction);
            let (back, second) = self.call(other, &self.theta, &self.conditioning, &there);
            for (a, b) in back.iter().zip(&self.moved) {
                for l in 0..LANES {
                    error = error.max((a.0[l] - b.0[l]).abs());
                }
            }
            for l in 0..LANES {
                error = error.max((first.0[l] + second.0[l]).abs());
            }
        }
        error
    }

    /// Largest difference between the log-determinant and that of a numerical Jacobian.
    fn log_det_error(&self) -> f64 {
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
                error = error.max((log_abs_det(matrix) - log_det.0[l]).abs());
            }
        }
        error
    }

    /// Largest change of the output, in the transformed frame, when both halves are rotated and
    /// reflected, if these are symmetries, permuted and translated together.
    fn equivariance_error(&self) -> f64 {
        let HalfShape { particles, dimension, .. } = self.shape;
        let system = System::new(particles, dimension).unwrap();
        let mut rng = stream(2, Purpose::Evaluation, 0, 1);
        let mut rotation = system.random_rotation(&mut rng);
        match self.symmetry {
            Symmetry::RotationsAndReflections => {
                rotation[..dimension].iter_mut().for_each(|v| *v = -*v);
            }
            Symmetry::RotationsOnly => {}
            Symmetry::Neither => rotation = diagonal(dimension, 1.0),
        }
        let mut permutation = system.random_permutation_within(self.species, &mut rng);
        while permutation.is_sorted() {
            permutation = system.random_permutation_within(self.species, &mut rng);
        }
        self.error_under(&permutation, rotation)
    }

    /// The same for this permutation and this orthogonal matrix.
    fn error_under(&self, permutation: &[usize], rotation: Vec<f64>) -> f64 {
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
                    error = error.max((a.0[l] - b.0[l]).abs());
                }
            }
            for l in 0..LANES {
                error = error.max((log_det.0[l] - other_log_det.0[l]).abs());
            }
        }
        error
    }

    /// Largest relative difference between vector-Jacobian products and central finite differences,
    /// along random directions in the moved half, in the conditioning half and in the parameters,
    /// and for every parameter alone; or the first one beyond `enough`.
    fn vjp_error(&self, enough: f64) -> f64 {
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
                       record: Option<&mut [Lane<f64>]>,
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
                };
                match record {
                    Some(record) => self.coupling.vjp_recorded(call, record, scratch),
                    None => self.coupling.vjp(call, scratch),
                }
            };
            vjp(
                Some(&mut gradient),
                &mut moved_cotangent,
                &mut conditioning_cotangent,
                None,
                &mut scratch,
            );
            // Without parameter gradients the input gradients are the same.
            let (mut alone, mut alone_conditioning) = (weights.clone(), vec![Lane::zero(); width]);
            vjp(None, &mut alone, &mut alone_conditioning, None, &mut scratch);
            assert!(alone == moved_cotangent && alone_conditioning == conditioning_cotangent);
            // A recorded call gives the same bytes, both ways.
            let mut record = vec![Lane::zero(); self.coupling.record_lanes()];
            let (mut plain, mut recorded) = (self.moved.clone(), self.moved.clone());
            let (mut log_det, mut recorded_log_det) = (Lane::zero(), Lane::zero());
            let (theta, y) = (&self.theta, &self.conditioning);
            self.coupling.apply(direction, theta, y, &mut plain, &mut log_det, &mut scratch);
            self.coupling.apply_recorded(
                direction,
                theta,
                y,
                &mut recorded,
                &mut recorded_log_det,
                &mut record,
                &mut scratch,
            );
            assert!(plain == recorded && log_det == recorded_log_det);
            let (mut again, mut again_conditioning) = (weights.clone(), vec![Lane::zero(); width]);
            vjp(None, &mut again, &mut again_conditioning, Some(&mut record), &mut scratch);
            assert!(again == moved_cotangent && again_conditioning == conditioning_cotangent);

            for trial in 0..4 {
                let along = lanes(2 * width, 30 + trial, 1.0);
                let shift = |half: &[Lane<f64>], by: f64, along: &[Lane<f64>]| -> Vec<Lane<f64>> {
                    half.iter()
                        .zip(along)
                        .map(|(h, a)| Lane(std::array::from_fn(|l| h.0[l] + by * a.0[l])))
                        .collect()
                };
                for (half, cotangent) in
                    [&moved_cotangent, &conditioning_cotangent].into_iter().enumerate()
                {
                    let along = &along[half * width..(half + 1) * width];
                    let at = |by: f64| {
                        if half == 0 {
                            let x = shift(&self.moved, by, along);
                            value(&self.theta, &self.conditioning, &x)
                        } else {
                            let y = shift(&self.conditioning, by, along);
                            value(&self.theta, &y, &self.moved)
                        }
                    };
                    let values = STEPS.map(|step| (at(step), at(-step)));
                    for l in 0..LANES {
                        let got: f64 =
                            cotangent.iter().zip(along).map(|(c, a)| c.0[l] * a.0[l]).sum();
                        let values = values.iter().map(|(up, down)| (up[l], down[l]));
                        error = error.max(distance_from_differences(got, values));
                    }
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
                error = error.max(distance_from_differences(*got, values));
            }
        }
        error
    }
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

#[test]
fn a_round_trip_returns_to_the_start() {
    for mut case in cases() {
        let error = case.round_trip_error();
        assert!(error < 1e-10, "{}: {error:e}", case.name);
        case.push = 1e-3;
        assert!(case.round_trip_error() > 1e-4, "{}: a planted push was not caught", case.name);
    }
}

#[test]
fn the_log_determinant_is_that_of_the_jacobian() {
    for mut case in cases() {
        let error = case.log_det_error();
        assert!(error < 2e-5, "{}: {error:e}", case.name);
        case.log_det_factor = -1.0;
        assert!(case.log_det_error() > 1e-2, "{}: a planted sign was not caught", case.name);
    }
}

#[test]
fn both_directions_are_equivariant() {
    for mut case in cases() {
        let error = case.equivariance_error();
        assert!(error < 1e-10, "{}: {error:e}", case.name);
        case.push = 1e-3;
        assert!(case.equivariance_error() > 1e-4, "{}: a planted push was not caught", case.name);
    }
}

/// A diagonal matrix of ones, but for its first entry.
fn diagonal(d: usize, first: f64) -> Vec<f64> {
    let entry = |k| f64::from(u8::from(k % (d + 1) == 0));
    (0..d * d).map(|k| if k == 0 { first } else { entry(k) }).collect()
}

#[test]
fn reflections_and_rotations_are_symmetries_where_they_should_be_and_nowhere_else() {
    for case in cases() {
        let HalfShape { particles, dimension, .. } = case.shape;
        let order: Vec<usize> = (0..particles).collect();
        let system = System::new(particles, dimension).unwrap();
        let rotation = system.random_rotation(&mut stream(3, Purpose::Evaluation, 0, 1));
        let (turns, reflects) = match case.symmetry {
            Symmetry::RotationsAndReflections => (true, true),
            Symmetry::RotationsOnly => (true, false),
            Symmetry::Neither => (false, false),
        };
        for (holds, matrix) in [(turns, rotation), (reflects, diagonal(dimension, -1.0))] {
            let error = case.error_under(&order, matrix.clone());
            let fits = if holds { error < 1e-10 } else { error > 1e-2 };
            assert!(fits, "{} ({:?}) by {matrix:?}: {error:e}", case.name, case.symmetry);
        }
    }
}

/// Exchanging like particles is part of the equivariance above; here it is each pair alone.
#[test]
fn only_like_particles_can_be_exchanged() {
    for case in cases().iter().filter(|case| !case.species.is_empty()) {
        let (n, d) = (case.shape.particles, case.shape.dimension);
        let identity = diagonal(d, 1.0);
        for (i, j) in (0..n).flat_map(|i| (0..i).map(move |j| (i, j))) {
            let mut order: Vec<usize> = (0..n).collect();
            order.swap(i, j);
            let error = case.error_under(&order, identity.clone());
            let alike = case.species[i] == case.species[j];
            let fits = if alike { error < 1e-10 } else { error > 1e-4 };
            assert!(fits, "{}: {i} and {j} (alike: {alike}): {error:e}", case.name);
        }
    }
}

#[test]
fn vector_jacobian_products_agree_with_finite_differences() {
    cases().into_par_iter().for_each(|mut case| {
        let error = case.vjp_error(f64::INFINITY);
        assert!(error < 1e-6, "{}: {error:e}", case.name);
        case.log_det_factor = 1.01;
        assert!(case.vjp_error(1e-4) > 1e-4, "{}: a planted factor was not caught", case.name);
    });
}

#[test]
fn couplings_start_as_the_identity() {
    for row in TABLE {
        let Row { name, species, copies, .. } = row;
        for (particles, dimension) in [(4, 2), (5, 3)] {
            if ![0, particles].contains(&species.len()) {
                continue;
            }
            let shape = HalfShape { copies, particles, dimension };
            let mut layout = ParameterLayout::default();
            let coupling = row.build(shape, &mut layout);
            let theta = layout.initialize::<f64>(0);
            let (y, x) = (lanes(shape.lanes(), 5, 1.2), lanes(shape.lanes(), 6, 1.0));
            let mut out = x.clone();
            let mut log_det = Lane::zero();
            let mut scratch = vec![Lane::zero(); coupling.scratch()];
            let direction = Direction::Forward;
            coupling.apply(direction, &theta, &y, &mut out, &mut log_det, &mut scratch);
            // Or as a multiple of the noise x − y.
            let factor = row.noise_factor;
            let volume = Lane::splat(shape.lanes() as f64 * factor.ln());
            let want = x
                .iter()
                .zip(&y)
                .map(|(x, y)| Lane(std::array::from_fn(|l| y.0[l] + factor * (x.0[l] - y.0[l]))));
            for (a, b) in out.iter().chain([&log_det]).zip(want.chain([volume])) {
                for l in 0..LANES {
                    assert!((a.0[l] - b.0[l]).abs() < 1e-12, "{name} starts as another map");
                }
            }
        }
    }
}

#[test]
fn no_two_parameters_share_a_name() {
    for row in TABLE {
        let Row { name, copies, .. } = row;
        let mut layout = ParameterLayout::default();
        let shape = HalfShape { copies, particles: 4, dimension: 3 };
        row.build(shape, &mut layout);
        let mut names: Vec<_> = layout.tensors().iter().map(|t| t.name.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), layout.tensors().len(), "{name}");
    }
}
