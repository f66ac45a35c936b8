//! The vector coupling; each check has planted errors that it must catch.

use boltzflow::engine::{count_operations, Lane, Real, LANES};
use boltzflow::error::Error;
use boltzflow::flow::{
    Coupling, CouplingContext, Direction, HalfShape, ParameterLayout, ProjectedCoupling,
    ProjectedOptions, Projection, Vjp,
};
use boltzflow::random::{stream, Purpose};
use boltzflow::system::System;
use rand_distr::{Distribution, StandardNormal};

const SHAPES: [(usize, usize); 2] = [(4, 2), (5, 3)];
const DIRECTIONS: [Direction; 2] = [Direction::Forward, Direction::Inverse];

type Lanes<T> = Vec<Lane<T>>;

fn normals(seed: u64, count: usize) -> Vec<f64> {
    let mut rng = stream(seed, Purpose::Evaluation, 0, 0);
    (0..count).map(|_| StandardNormal.sample(&mut rng)).collect()
}

fn lanes(seed: u64, count: usize, scale: f64) -> Lanes<f64> {
    let numbers = normals(seed, count * LANES);
    numbers.chunks_exact(LANES).map(|c| Lane(std::array::from_fn(|l| scale * c[l]))).collect()
}

/// Mistakes that the checks must find.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Fault {
    None,
    /// The log-determinant of one direction has the wrong sign.
    LogDetSign,
    /// A relative coordinate of particle 0 is stretched along the first axis.
    Axis,
    /// Particle 0 is treated differently, in a translation-invariant way.
    Particle,
    /// The moved half is drawn towards the origin of space.
    Origin,
    /// One cotangent of the moved half, of the conditioning half, of the parameters is 0.1 % off.
    MovedCotangent,
    ConditioningCotangent,
    Gradient,
}

fn vector(
    half: HalfShape,
    options: &ProjectedOptions,
    layout: &mut ParameterLayout,
) -> Result<ProjectedCoupling, Error> {
    ProjectedCoupling::new(&CouplingContext::new(half), options, layout, Projection::Vector)
}

struct Subject {
    coupling: ProjectedCoupling,
    layout: ParameterLayout,
    half: HalfShape,
    fault: Fault,
}

impl Subject {
    /// Narrow networks, with layers that change their width and, in 2D, one channel to spare.
    fn new((particles, dimension): (usize, usize), fault: Fault) -> Self {
        let half = HalfShape { copies: 1, particles, dimension };
        let options = ProjectedOptions {
            bins: 5,
            range: 3.0,
            blocks: 2,
            features: 7,
            edge_hidden: vec![6, 6],
            node_hidden: vec![5, 8],
            head_hidden: vec![6, 5, 5],
            vector_channels: (dimension == 2).then_some(3),
            ..ProjectedOptions::default()
        };
        let mut layout = ParameterLayout::default();
        layout.enter("coupling.00");
        let coupling = vector(half, &options, &mut layout).unwrap();
        Self { coupling, layout, half, fault }
    }

    /// Parameters with which nothing is near its initial value.
    fn theta(&self) -> Vec<f64> {
        self.theta_off_by(0.4)
    }

    fn theta_off_by(&self, scale: f64) -> Vec<f64> {
        let start: Vec<f64> = self.layout.initialize(3);
        start.iter().zip(normals(5, start.len())).map(|(a, b)| a + scale * b).collect()
    }

    /// What is left over from earlier work must not matter.
    fn scratch<T: Real>(&self) -> Lanes<T> {
        vec![Lane::splat(T::of(f64::NAN)); Coupling::<T>::scratch(&self.coupling)]
    }

    fn apply<T: Real>(
        &self,
        direction: Direction,
        theta: &[T],
        conditioning: &[Lane<T>],
        moved: &mut [Lane<T>],
    ) -> Lane<T> {
        let mut log_det = Lane::zero();
        let mut scratch = self.scratch();
        self.coupling.apply(direction, theta, conditioning, moved, &mut log_det, &mut scratch);
        for l in 0..LANES {
            let relative = |moved: &[Lane<T>], k: usize| moved[k].0[l] - conditioning[k].0[l];
            let slight = T::of(1e-3);
            match self.fault {
                Fault::LogDetSign if direction == Direction::Inverse => {
                    log_det.0[l] = -log_det.0[l];
                }
                Fault::Axis => moved[0].0[l] += slight * relative(moved, 0),
                Fault::Particle => {
                    for k in 0..self.half.dimension {
                        moved[k].0[l] += slight * relative(moved, k);
                    }
                }
                Fault::Origin => {
                    for z in moved.iter_mut() {
                        z.0[l] = z.0[l] - slight * z.0[l];
                    }
                }
                _ => {}
            }
        }
        log_det
    }

    /// Cotangents of moved, conditioning and parameters for L = Σ weights·(moved output, log-det).
    fn vjp<T: Real>(
        &self,
        direction: Direction,
        theta: &[T],
        [conditioning, moved, weights]: [&[Lane<T>]; 3],
        with_gradient: bool,
    ) -> (Lanes<T>, Lanes<T>, Vec<T>) {
        let (outputs, log_det) = weights.split_at(moved.len());
        let mut moved_cotangent = outputs.to_vec();
        let mut conditioning_cotangent = vec![Lane::zero(); moved.len()];
        let mut gradient = vec![T::ZERO; theta.len()];
        let call = Vjp {
            direction,
            theta,
            conditioning,
            moved,
            moved_cotangent: &mut moved_cotangent,
            conditioning_cotangent: &mut conditioning_cotangent,
            log_det_cotangent: &log_det[0],
            frame_loss_cotangent: &Lane::zero(),
            gradient: with_gradient.then_some(&mut gradient[..]),
        };
        self.coupling.vjp(call, &mut self.scratch());
        let spoil = |x: &mut T| *x = *x * T::of(1.001);
        match self.fault {
            Fault::MovedCotangent => spoil(&mut moved_cotangent[1].0[3]),
            Fault::ConditioningCotangent => spoil(&mut conditioning_cotangent[2].0[9]),
            Fault::Gradient => gradient.iter_mut().take(7).for_each(spoil),
            _ => {}
        }
        (moved_cotangent, conditioning_cotangent, gradient)
    }
}

fn close(what: &str, got: f64, want: f64, tolerance: f64) -> Result<(), String> {
    if (got - want).abs() <= tolerance * (1.0 + want.abs()) {
        Ok(())
    } else {
        Err(format!("{what}: {got} instead of {want}"))
    }
}

fn all_close(
    what: &str,
    got: &[Lane<f64>],
    want: &[Lane<f64>],
    tolerance: f64,
) -> Result<(), String> {
    let pairs = got.iter().zip(want).flat_map(|(g, w)| g.0.into_iter().zip(w.0));
    for (got, want) in pairs {
        close(what, got, want, tolerance)?;
    }
    Ok(())
}

/// The halves of a subject, some of the distances beyond the splines' range.
fn halves(subject: &Subject) -> (Lanes<f64>, Lanes<f64>) {
    let count = subject.half.lanes();
    (lanes(11, count, 1.0), lanes(12, count, 1.2))
}

fn check_round_trip(subject: &Subject) -> Result<(), String> {
    let theta = subject.theta();
    let (conditioning, start) = halves(subject);
    for [first, second] in [[0, 1], [1, 0]] {
        let mut moved = start.clone();
        let there = subject.apply(DIRECTIONS[first], &theta, &conditioning, &mut moved);
        all_close("a map that does something", &moved, &start, 0.05).unwrap_err();
        let back = subject.apply(DIRECTIONS[second], &theta, &conditioning, &mut moved);
        all_close("round trip", &moved, &start, 1e-10)?;
        let there = Lane(there.0.map(|x| -x));
        all_close("log-det of the inverse", &[back], &[there], 1e-10)?;
    }
    Ok(())
}

/// ln |det| by Gaussian elimination.
fn log_abs_det(mut a: Vec<f64>, n: usize) -> f64 {
    let mut log = 0.0;
    for c in 0..n {
        let size = |r: usize| a[r * n + c].abs();
        let pivot = (c..n).max_by(|&i, &j| size(i).total_cmp(&size(j))).unwrap();
        (0..n).for_each(|k| a.swap(c * n + k, pivot * n + k));
        log += a[c * n + c].abs().ln();
        for r in c + 1..n {
            let f = a[r * n + c] / a[c * n + c];
            (c..n).for_each(|k| a[r * n + k] -= f * a[c * n + k]);
        }
    }
    log
}

fn check_log_det(subject: &Subject, direction: Direction) -> Result<(), String> {
    let theta = subject.theta();
    let (conditioning, start) = halves(subject);
    let n = start.len();
    let mut moved = start.clone();
    let log_det = subject.apply(direction, &theta, &conditioning, &mut moved);
    let step = 1e-5;
    let mut jacobians = vec![vec![0.0; n * n]; LANES];
    for column in 0..n {
        let [up, down] = [step, -step].map(|by| {
            let mut moved = start.clone();
            moved[column].0.iter_mut().for_each(|z| *z += by);
            subject.apply(direction, &theta, &conditioning, &mut moved);
            moved
        });
        for row in 0..n {
            for (l, jacobian) in jacobians.iter_mut().enumerate() {
                jacobian[row * n + column] = (up[row].0[l] - down[row].0[l]) / (2.0 * step);
            }
        }
    }
    for (l, jacobian) in jacobians.into_iter().enumerate() {
        close("log-det", log_det.0[l], log_abs_det(jacobian, n), 1e-6)?;
    }
    Ok(())
}

fn check_equivariance(subject: &Subject, direction: Direction) -> Result<(), String> {
    let HalfShape { particles, dimension: d, .. } = subject.half;
    let system = System::new(particles, d).unwrap();
    let mut rng = stream(8, Purpose::Evaluation, 1, 0);
    let mut rotation = system.random_rotation(&mut rng);
    // A reflection as well: the vector coupling has no handedness.
    rotation[..d].iter_mut().for_each(|r| *r = -*r);
    // A cycle, so that every particle moves.
    let permutation: Vec<usize> = (0..particles).map(|i| (i + 1) % particles).collect();
    let shift = normals(9, d);
    let act = |half: &[Lane<f64>]| {
        let mut out = vec![Lane::zero(); half.len()];
        for l in 0..LANES {
            let mut x: Vec<f64> = half.iter().map(|lane| lane.0[l]).collect();
            system.rotate(&rotation, &mut x);
            let x = system.permute(&permutation, &x);
            out.iter_mut().zip(&x).enumerate().for_each(|(i, (o, x))| o.0[l] = x + shift[i % d]);
        }
        out
    };
    let theta = subject.theta();
    let (conditioning, start) = halves(subject);
    let mut after = start.clone();
    let log_det = subject.apply(direction, &theta, &conditioning, &mut after);
    let mut acted = act(&start);
    let acted_log_det = subject.apply(direction, &theta, &act(&conditioning), &mut acted);
    all_close("equivariance", &acted, &act(&after), 1e-10)?;
    all_close("invariance of log-det", &[acted_log_det], &[log_det], 1e-10)
}

/// Every entry of the halves, some of every parameter tensor, and random directions through all.
fn check_vjp(subject: &Subject, direction: Direction) -> Result<(), String> {
    let theta = subject.theta();
    let (conditioning, moved) = halves(subject);
    let weights = lanes(13, moved.len() + 1, 1.0);
    let given = [&conditioning[..], &moved, &weights];
    let (moved_bar, conditioning_bar, gradient) = subject.vjp(direction, &theta, given, true);
    let inputs_only = subject.vjp(direction, &theta, given, false);
    all_close("inputs only", &inputs_only.0, &moved_bar, 1e-14)?;
    all_close("inputs only", &inputs_only.1, &conditioning_bar, 1e-14)?;
    assert!(inputs_only.2.iter().all(|g| *g == 0.0));

    let loss = |theta: &[f64], conditioning: &[Lane<f64>], moved: &[Lane<f64>]| {
        let mut out = moved.to_vec();
        let log_det = subject.apply(direction, theta, conditioning, &mut out);
        out.push(log_det);
        let terms = out.iter().zip(&weights).flat_map(|(o, w)| o.0.into_iter().zip(w.0));
        terms.map(|(o, w)| o * w).sum::<f64>()
    };
    // Richardson's extrapolation of central differences.
    let difference = |f: &dyn Fn(f64) -> f64| {
        let central = |h: f64| (f(h) - f(-h)) / (2.0 * h);
        (4.0 * central(5e-6) - central(1e-5)) / 3.0
    };
    for at in 0..moved.len() {
        for l in 0..LANES {
            let nudge = |x: &[Lane<f64>], by: f64| {
                let mut x = x.to_vec();
                x[at].0[l] += by;
                x
            };
            let numerical = difference(&|h| loss(&theta, &conditioning, &nudge(&moved, h)));
            close("moved cotangent", moved_bar[at].0[l], numerical, 1e-6)?;
            let numerical = difference(&|h| loss(&theta, &nudge(&conditioning, h), &moved));
            close("conditioning cotangent", conditioning_bar[at].0[l], numerical, 1e-6)?;
        }
    }
    for tensor in subject.layout.tensors() {
        let (first, len) = (tensor.offset, tensor.len());
        let mut directions = vec![("a direction", normals(first as u64, len))];
        for entry in [0, len / 2, len - 1] {
            let unit = (0..len).map(|i| f64::from(u8::from(i == entry))).collect();
            directions.push(("an entry", unit));
        }
        for (what, along) in directions {
            let numerical = difference(&|h| {
                let mut theta = theta.clone();
                theta[first..].iter_mut().zip(&along).for_each(|(t, a)| *t += a * h);
                loss(&theta, &conditioning, &moved)
            });
            let analytic = gradient[first..].iter().zip(&along).map(|(g, a)| g * a).sum();
            close(&format!("{what} of {}", tensor.name), analytic, numerical, 1e-6)?;
        }
    }
    Ok(())
}

#[test]
fn the_inverse_undoes_the_map_and_its_log_det() {
    for shape in SHAPES {
        check_round_trip(&Subject::new(shape, Fault::None)).unwrap();
        check_round_trip(&Subject::new(shape, Fault::LogDetSign)).unwrap_err();
        check_round_trip(&Subject::new(shape, Fault::Axis)).unwrap_err();
    }
}

#[test]
fn log_det_is_that_of_the_numerical_jacobian() {
    for shape in SHAPES {
        for direction in DIRECTIONS {
            check_log_det(&Subject::new(shape, Fault::None), direction).unwrap();
            check_log_det(&Subject::new(shape, Fault::Axis), direction).unwrap_err();
        }
        let wrong = Subject::new(shape, Fault::LogDetSign);
        check_log_det(&wrong, Direction::Inverse).unwrap_err();
    }
}

#[test]
fn rotations_reflections_permutations_and_translations_commute_with_the_map() {
    for shape in SHAPES {
        for direction in DIRECTIONS {
            check_equivariance(&Subject::new(shape, Fault::None), direction).unwrap();
            for fault in [Fault::Axis, Fault::Particle, Fault::Origin] {
                check_equivariance(&Subject::new(shape, fault), direction).unwrap_err();
            }
        }
    }
}

#[test]
fn vector_jacobian_products_agree_with_finite_differences() {
    for shape in SHAPES {
        for direction in DIRECTIONS {
            check_vjp(&Subject::new(shape, Fault::None), direction).unwrap();
        }
        for fault in [Fault::MovedCotangent, Fault::ConditioningCotangent, Fault::Gradient] {
            check_vjp(&Subject::new(shape, fault), Direction::Forward).unwrap_err();
        }
    }
}

#[test]
fn the_published_coupling_starts_as_the_identity() {
    let half = HalfShape { copies: 1, particles: 13, dimension: 3 };
    let mut layout = ParameterLayout::default();
    let coupling = vector(half, &ProjectedOptions::default(), &mut layout).unwrap();
    let mut theta: Vec<f64> = layout.initialize(1);
    let (conditioning, start) = (lanes(1, half.lanes(), 1.0), lanes(2, half.lanes(), 4.0));
    let change = |theta: &[f64]| {
        let mut moved = start.clone();
        let mut log_det = Lane::zero();
        let mut scratch = vec![Lane::zero(); Coupling::<f64>::scratch(&coupling)];
        let forward = Direction::Forward;
        coupling.apply(forward, theta, &conditioning, &mut moved, &mut log_det, &mut scratch);
        all_close("identity", &moved, &start, 1e-12)?;
        all_close("log-det", &[log_det], &[Lane::zero()], 1e-11)
    };
    change(&theta).unwrap();
    // The last entry of the head's bias.
    theta[layout.total() - 1] = 0.1;
    change(&theta).unwrap_err();
}

#[test]
fn single_precision_agrees_with_double_precision() {
    for shape in SHAPES {
        let subject = Subject::new(shape, Fault::None);
        // Both get the same numbers; the parameters are such that errors do not grow much on the
        // way.
        let low_theta: Vec<f32> = subject.theta_off_by(0.2).iter().map(|&t| t as f32).collect();
        let theta: Vec<f64> = low_theta.iter().map(|&t| f64::from(t)).collect();
        let (conditioning, moved) = halves(&subject);
        let weights = lanes(13, moved.len() + 1, 1.0);
        let narrow = |x: &[Lane<f64>]| -> Lanes<f32> {
            x.iter().map(|lane| Lane(lane.0.map(|x| x as f32))).collect()
        };
        let widen = |x: &[Lane<f32>]| -> Lanes<f64> {
            x.iter().map(|lane| Lane(lane.0.map(f64::from))).collect()
        };
        let low = [&conditioning, &moved, &weights].map(|x| narrow(x));
        let high = [&low[0], &low[1], &low[2]].map(|x| widen(x));
        for direction in DIRECTIONS {
            let (mut low_out, mut out) = (low[1].clone(), high[1].clone());
            low_out.push(subject.apply(direction, &low_theta, &low[0], &mut low_out.clone()));
            out.push(subject.apply(direction, &theta, &high[0], &mut out.clone()));
            subject.apply(direction, &low_theta, &low[0], &mut low_out[..moved.len()]);
            subject.apply(direction, &theta, &high[0], &mut out[..moved.len()]);
            all_close("a map that does something", &out, &high[1], 0.02).unwrap_err();
            all_close("output", &widen(&low_out), &out, 1e-5).unwrap();

            let low_given = [&low[0][..], &low[1], &low[2]];
            let low_bar = subject.vjp(direction, &low_theta, low_given, true);
            let given = [&high[0][..], &high[1], &high[2]];
            let bar = subject.vjp(direction, &theta, given, true);
            all_close("moved cotangent", &widen(&low_bar.0), &bar.0, 1e-4).unwrap();
            all_close("conditioning cotangent", &widen(&low_bar.1), &bar.1, 1e-4).unwrap();
            // Entries are sums over samples that cancel: the largest one sets the scale.
            let largest = bar.2.iter().fold(0.0, |m: f64, g| m.max(g.abs()));
            for (low, high) in low_bar.2.iter().zip(&bar.2) {
                close("gradient", f64::from(*low) / largest, *high / largest, 1e-4).unwrap();
            }
        }
    }
}

/// Operations per sample of `apply`, and of `vjp` without and with gradients of parameters, of a
/// coupling of the published size.
fn operations(particles: usize) -> [f64; 3] {
    let half = HalfShape { copies: 1, particles, dimension: 3 };
    let mut layout = ParameterLayout::default();
    let coupling = vector(half, &ProjectedOptions::default(), &mut layout).unwrap();
    let theta: Vec<f32> = layout.initialize(3);
    let narrow = |x: &Lane<f64>| Lane(x.0.map(|x| x as f32));
    let conditioning: Lanes<f32> = lanes(1, half.lanes(), 2.0).iter().map(narrow).collect();
    let mut moved = conditioning.clone();
    let mut scratch = vec![Lane::zero(); Coupling::<f32>::scratch(&coupling)];
    let (direction, mut log_det) = (Direction::Inverse, Lane::zero());
    let apply = count_operations(|| {
        coupling.apply(direction, &theta, &conditioning, &mut moved, &mut log_det, &mut scratch);
    });
    let mut gradient = vec![0.0; theta.len()];
    let [without, with] = [None, Some(&mut *gradient)].map(|gradient| {
        let call = Vjp {
            direction,
            theta: &theta,
            conditioning: &conditioning,
            moved: &moved,
            moved_cotangent: &mut vec![Lane::splat(1.0); moved.len()],
            conditioning_cotangent: &mut vec![Lane::zero(); moved.len()],
            log_det_cotangent: &Lane::splat(1.0),
            frame_loss_cotangent: &Lane::zero(),
            gradient,
        };
        count_operations(|| coupling.vjp(call, &mut scratch))
    });
    [apply, without, with].map(|count| count as f64)
}

/// The published flow of LJ13 has 5.44 million parameters in 24 couplings.
#[test]
fn the_default_has_the_published_size() {
    let half = HalfShape { copies: 1, particles: 13, dimension: 3 };
    let mut layout = ParameterLayout::default();
    vector(half, &ProjectedOptions::default(), &mut layout).unwrap();
    close("parameters", layout.total() as f64, 5.44e6 / 24.0, 0.02).unwrap();
    let [apply, vjp, full] = operations(13);
    // The published 788 million per sample, less what 256 inputs of each first edge layer cost at
    // 13 nodes instead of 156 edges; element-wise work is counted on top.
    let saved = 24.0 * 3.0 * (156.0 - 13.0) * 2.0 * 256.0 * 64.0;
    close("operations", 24.0 * apply, 788e6 - saved, 0.15).unwrap();
    assert!(2.0 * apply < vjp && vjp < full && full < 4.0 * apply, "{apply} {vjp} {full}");

    // A larger system keeps no products, and computes nearly everything again on its way back.
    let [large, large_vjp, _] = operations(55);
    assert!(vjp / apply < 2.5 && large_vjp / large > 2.7, "{} {}", vjp / apply, large_vjp / large);
}

#[test]
fn the_smallest_and_a_large_system_fit_their_scratch_and_come_back() {
    for particles in [2, 110] {
        let half = HalfShape { copies: 1, particles, dimension: 3 };
        let mut layout = ParameterLayout::default();
        let coupling = vector(half, &ProjectedOptions::default(), &mut layout).unwrap();
        let start: Vec<f32> = layout.initialize(4);
        let noise = normals(6, start.len());
        let theta: Vec<f32> = start.iter().zip(noise).map(|(a, b)| a + 0.05 * b as f32).collect();
        let narrow = |x: Lanes<f64>| -> Lanes<f32> {
            x.iter().map(|lane| Lane(lane.0.map(|x| x as f32))).collect()
        };
        let conditioning = narrow(lanes(1, half.lanes(), 2.0));
        let moved = narrow(lanes(2, half.lanes(), 2.0));
        let mut scratch = vec![Lane::splat(f32::NAN); Coupling::<f32>::scratch(&coupling)];
        let mut out = moved.clone();
        let mut log_det = Lane::zero();
        for direction in DIRECTIONS {
            coupling.apply(direction, &theta, &conditioning, &mut out, &mut log_det, &mut scratch);
        }
        for (out, moved) in out.iter().zip(&moved) {
            for l in 0..LANES {
                close("round trip", out.0[l].into(), moved.0[l].into(), 1e-3).unwrap();
            }
        }
        let mut moved_cotangent = vec![Lane::splat(1.0f32); moved.len()];
        let mut conditioning_cotangent = vec![Lane::zero(); moved.len()];
        let mut gradient = vec![0.0; theta.len()];
        let call = Vjp {
            direction: Direction::Inverse,
            theta: &theta,
            conditioning: &conditioning,
            moved: &moved,
            moved_cotangent: &mut moved_cotangent,
            conditioning_cotangent: &mut conditioning_cotangent,
            log_det_cotangent: &Lane::splat(1.0),
            frame_loss_cotangent: &Lane::zero(),
            gradient: Some(&mut gradient),
        };
        coupling.vjp(call, &mut scratch);
        let halves = moved_cotangent.iter().chain(&conditioning_cotangent);
        assert!(halves.flat_map(|lane| lane.0).chain(gradient).all(f32::is_finite));
    }
}

#[test]
fn sizes_that_make_no_coupling_are_refused_by_name() {
    let half = HalfShape { copies: 1, particles: 4, dimension: 2 };
    let options = ProjectedOptions::default();
    let all = [
        ("particles", HalfShape { particles: 1, ..half }, options.clone()),
        ("dimension", HalfShape { dimension: 4, ..half }, options.clone()),
        ("bins", half, ProjectedOptions { bins: 17, ..options.clone() }),
        ("range", half, ProjectedOptions { range: -1.0, ..options.clone() }),
        ("edge_hidden", half, ProjectedOptions { edge_hidden: vec![], ..options.clone() }),
        ("vector_channels", half, ProjectedOptions { vector_channels: Some(1), ..options.clone() }),
    ];
    for (field, half, options) in all {
        let refused = vector(half, &options, &mut ParameterLayout::default());
        let message = refused.unwrap_err().to_string();
        assert!(message.contains(field), "{message}");
    }
}
