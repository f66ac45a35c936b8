//! What is kept for the vector-Jacobian product changes its cost and nothing else.

use rand_distr::{Distribution, StandardNormal};

use super::*;
use crate::engine::{count_operations, Kernel, Real};
use crate::random::{stream, Purpose};

/// A system of two chunks of edges in its first block, and of three in the others.
const PARTICLES: usize = 6;
const DIMENSION: usize = 3;

fn network() -> (Egnn, Vec<f32>) {
    let sizes = Sizes {
        blocks: 3,
        features: 7,
        copies: 1,
        channels: 3,
        edge_hidden: &[6, 6],
        node_hidden: &[5, 9],
        head_hidden: &[8],
        outputs: 4,
    };
    let mut layout = ParameterLayout::default();
    let network = Egnn::new(&mut layout, PARTICLES, DIMENSION, &[0; PARTICLES], &sizes);
    let start = layout.initialize::<f32>(3);
    let theta = start.iter().zip(normals(1, start.len())).map(|(a, b)| a + 0.2 * b).collect();
    (network, theta)
}

fn normals(sample: u64, count: usize) -> Vec<f32> {
    let rng = stream(0, Purpose::Evaluation, 0, sample);
    let draws = StandardNormal.sample_iter(rng).take(count);
    draws.map(|x: f64| x as f32).collect()
}

fn lanes(sample: u64, count: usize) -> Vec<Lane<f32>> {
    let values = normals(sample, 16 * count);
    values.chunks_exact(16).map(|v| Lane(std::array::from_fn(|i| v[i]))).collect()
}

/// The map and its vector-Jacobian product; `spoil` changes a number of the first lanes of the tape
/// between them.
struct MapAndVjp<'a> {
    network: &'a Egnn,
    theta: &'a [f32],
    parameters: bool,
    spoil: bool,
}

impl Kernel<f32> for MapAndVjp<'_> {
    type Output = Vec<u32>;

    #[inline(always)]
    fn run<V: Vector<Scalar = f32>>(self) -> Self::Output {
        let Self { network, theta, parameters, spoil } = self;
        let space = |lanes: usize| vec![Lane::<f32>::zero(); lanes];
        let positions = lanes(2, PARTICLES * DIMENSION);
        let mut vectors = space(network.vector_lanes());
        let mut tape = space(network.tape_lanes(true));
        let mut scratch = space(network.scratch_lanes());
        let call = NetworkForward {
            theta,
            positions: &positions,
            vectors: &mut vectors,
            tape: &mut tape,
            keep: true,
        };
        network.forward::<V>(call, &mut scratch);
        let mut left = vectors.clone();
        left.extend_from_slice(network.outputs(&tape, true));
        if spoil {
            tape[5].0[7] += 1e-3;
        }
        let to_vectors = lanes(3, network.vector_lanes());
        let to_outputs = lanes(4, network.output_lanes());
        let mut to_positions = space(positions.len());
        let mut gradient = vec![0.0; theta.len()];
        let call = NetworkVjp {
            theta,
            tape: &mut tape,
            vectors_cotangent: &to_vectors,
            outputs_cotangent: &to_outputs,
            positions_cotangent: &mut to_positions,
            gradient: parameters.then_some(&mut *gradient),
        };
        network.vjp::<V>(call, &mut scratch);
        left.extend(to_positions);
        let numbers = left.iter().flat_map(|lane| lane.0).chain(gradient);
        numbers.map(f32::to_bits).collect()
    }
}

#[test]
fn products_that_are_kept_and_products_that_are_repeated_give_the_same_bytes() {
    let (keeping, theta) = network();
    assert!(keeping.keeps && keeping.memory_lanes() > 0);
    let repeating = Egnn { keeps: false, ..keeping.clone() };
    assert_eq!(repeating.memory_lanes(), 0);
    for parameters in [false, true] {
        let run =
            |network, spoil| f32::dispatch(MapAndVjp { network, theta: &theta, parameters, spoil });
        let kept = run(&keeping, false);
        assert_eq!(kept, run(&repeating, false));
        // What was kept is read.
        assert_ne!(kept, run(&keeping, true));
        // What is kept is not computed again.
        let operations = |network| count_operations(|| drop(run(network, false)));
        assert!(operations(&keeping) < operations(&repeating));
        let finite = |bits: &u32| f32::from_bits(*bits).is_finite();
        assert!(kept.iter().all(finite));
    }
}

/// The published size keeps products for 13 particles and not for 55.
#[test]
fn only_a_small_system_keeps_products() {
    let hidden = [64, 64];
    let sizes = Sizes {
        blocks: 3,
        features: 128,
        copies: 1,
        channels: 3,
        edge_hidden: &hidden,
        node_hidden: &hidden,
        head_hidden: &hidden,
        outputs: 75,
    };
    for (particles, keeps) in [(13, true), (55, false)] {
        let mut layout = ParameterLayout::default();
        let network = Egnn::new(&mut layout, particles, 3, &vec![0; particles], &sizes);
        assert_eq!(network.keeps, keeps, "{particles}");
        assert!(network.memory_lanes() <= MOST_MEMORY);
    }
}
