//! The loss that keeps frames from degenerating acts on vectors that are private to the coupling.

use super::*;
use crate::engine::{Kernel, LANES};
use crate::flow::{Coupling, Direction};
use crate::random::{stream, Purpose};
use rand_distr::{Distribution, StandardNormal};

const HALF: HalfShape = HalfShape { copies: 2, particles: 4, dimension: 3 };
const WEIGHT: f64 = 0.7;

fn normals(seed: u64, count: usize) -> Vec<f64> {
    let rng = stream(seed, Purpose::Evaluation, 0, 0);
    StandardNormal.sample_iter(rng).take(count).collect()
}

fn lanes(seed: u64, count: usize) -> Vec<Lane<f64>> {
    let numbers = normals(seed, count * LANES);
    numbers.chunks_exact(LANES).map(|c| Lane(std::array::from_fn(|l| c[l]))).collect()
}

struct Vectors<'a> {
    network: &'a Egnn,
    theta: &'a [f64],
    conditioning: &'a [Lane<f64>],
}

impl Kernel<f64> for Vectors<'_> {
    type Output = Vec<Lane<f64>>;

    #[inline(always)]
    fn run<V: Vector<Scalar = f64>>(self) -> Self::Output {
        let Self { network, theta, conditioning } = self;
        let mut vectors = vec![Lane::zero(); network.vector_lanes()];
        let mut tape = vec![Lane::zero(); network.tape_lanes(false)];
        let mut scratch = vec![Lane::zero(); network.scratch_lanes()];
        let (positions, tape) = (conditioning, &mut tape[..]);
        let call = NetworkForward { theta, positions, vectors: &mut vectors, tape, keep: false };
        network.forward::<V>(call, &mut scratch);
        vectors
    }
}

/// Σ over samples of `share` times the mean loss of the frames, by plain arithmetic.
fn loss(coupling: &ProjectedCoupling, theta: &[f64], y: &[Lane<f64>], share: &Lane<f64>) -> f64 {
    let Conditioner::Graph(network) = &coupling.conditioner else { panic!() };
    let vectors = f64::dispatch(Vectors { network, theta, conditioning: y });
    let HalfShape { copies, particles: n, dimension: d } = HALF;
    let mut total = 0.0;
    for (copy, i, l) in (0..copies)
        .flat_map(|copy| (0..n).map(move |i| (copy, i)))
        .flat_map(|(copy, i)| (0..LANES).map(move |l| (copy, i, l)))
    {
        let at =
            |channel: usize, axis: usize| vectors[((copy * d + channel) * d + axis) * n + i].0[l];
        let dot = |a: usize, b: usize| (0..d).map(|k| at(a, k) * at(b, k)).sum::<f64>();
        let cosine = dot(1, 2) / (dot(1, 1) * dot(2, 2)).sqrt();
        let loss = -(1.0 - cosine.abs()).ln();
        if loss > 1e-4 {
            total += share.0[l] * WEIGHT * loss / (copies * n) as f64;
        }
    }
    total
}

/// What the loss adds to the cotangents of the conditioning half and of the parameters.
fn added(
    coupling: &ProjectedCoupling,
    theta: &[f64],
    [y, x]: [&[Lane<f64>]; 2],
    share: &Lane<f64>,
    with_gradient: bool,
) -> (Vec<Lane<f64>>, Vec<f64>) {
    let run = |share: &Lane<f64>| {
        let mut moved_cotangent = lanes(9, x.len());
        let mut conditioning_cotangent = vec![Lane::zero(); y.len()];
        let mut gradient = vec![0.0; theta.len()];
        let call = Vjp {
            direction: Direction::Inverse,
            theta,
            conditioning: y,
            moved: x,
            moved_cotangent: &mut moved_cotangent,
            conditioning_cotangent: &mut conditioning_cotangent,
            log_det_cotangent: &Lane::splat(0.3),
            frame_loss_cotangent: share,
            gradient: with_gradient.then_some(&mut gradient[..]),
            record: &mut [],
        };
        let mut scratch = vec![Lane::zero(); Coupling::<f64>::scratch(coupling)];
        Coupling::vjp(coupling, call, &mut scratch);
        (moved_cotangent, conditioning_cotangent, gradient)
    };
    let (with, without) = (run(share), run(&Lane::zero()));
    assert!(with.0 == without.0, "the loss changed the cotangent of the moved half");
    let lanes = with.1.iter().zip(&without.1);
    let lanes = lanes.map(|(a, b)| Lane(std::array::from_fn(|l| a.0[l] - b.0[l]))).collect();
    (lanes, with.2.iter().zip(&without.2).map(|(a, b)| a - b).collect())
}

#[test]
fn the_frame_loss_has_its_gradient_and_is_part_of_training_alone() {
    let options = ProjectedOptions {
        blocks: 1,
        features: 5,
        edge_hidden: vec![5],
        node_hidden: vec![5],
        head_hidden: vec![5],
        frame_loss: WEIGHT,
        ..ProjectedOptions::default()
    };
    let mut layout = ParameterLayout::default();
    let context = CouplingContext::new(HALF);
    let coupling =
        ProjectedCoupling::new(&context, &options, &mut layout, Projection::Spherical).unwrap();
    let start = layout.initialize::<f64>(2);
    let theta: Vec<f64> =
        start.iter().zip(normals(3, start.len())).map(|(a, b)| a + 0.3 * b).collect();
    let (y, x) = (lanes(4, HALF.lanes()), lanes(5, HALF.lanes()));
    let mut share = lanes(6, 1)[0];
    share.0[3] = 0.0;
    let (to_y, to_theta) = added(&coupling, &theta, [&y, &x], &share, true);
    assert!(loss(&coupling, &theta, &y, &share).abs() > 1e-2);

    let close = |got: f64, up: f64, down: f64, step: f64| {
        let want = (up - down) / (2.0 * step);
        (got - want).abs() < 1e-6 * (1.0 + want.abs())
    };
    let step = 1e-5;
    let mut planted = 0;
    for (k, &got) in to_theta.iter().enumerate() {
        let at = |by: f64| {
            let mut theta = theta.clone();
            theta[k] += by;
            loss(&coupling, &theta, &y, &share)
        };
        let (up, down) = (at(step), at(-step));
        assert!(close(got, up, down, step), "parameter {k}: {got}");
        planted += usize::from(!close(1.01 * got, up, down, step));
    }
    assert!(planted > 20, "a planted factor was caught {planted} times");
    for k in 0..y.len() {
        let at = |by: f64| {
            let mut y = y.clone();
            y[k].0.iter_mut().for_each(|v| *v += by);
            loss(&coupling, &theta, &y, &share)
        };
        let got = to_y[k].0.iter().sum();
        assert!(close(got, at(step), at(-step), step), "coordinate {k}: {got}");
    }

    let (unseen, _) = added(&coupling, &theta, [&y, &x], &share, false);
    assert!(unseen.iter().all(|lane| *lane == Lane::zero()));
}
