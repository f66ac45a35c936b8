//! Every coupling, in one table: inverse, log-determinant, equivariance, vector-Jacobian products.
//! Each check is shown to catch a planted error.

mod cases;
mod checks;

use boltzflow::engine::{Lane, LANES};
use boltzflow::flow::{Apply, CouplingContext, Direction, HalfShape, LayerGroup, ParameterLayout};
use boltzflow::random::{stream, Purpose};
use boltzflow::system::System;
use rayon::prelude::*;

use cases::{cases, crystal, lanes, Row, Symmetry, TABLE};
use checks::{diagonal, worse};

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
        assert!(error < case.log_det_bound, "{}: {error:e}", case.name);
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
            Symmetry::Neither | Symmetry::Lattice => (false, false),
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

/// A translation that carries sites into sites is part of the equivariance above.
#[test]
fn particles_of_a_crystal_cannot_be_exchanged() {
    for case in cases().iter().filter(|case| case.symmetry == Symmetry::Lattice) {
        let (n, d) = (case.shape.particles, case.shape.dimension);
        let mut order: Vec<usize> = (0..n).collect();
        order.swap(0, 1);
        let error = case.error_under(&order, diagonal(d, 1.0));
        assert!(error > 1e-4, "{}: {error:e}", case.name);
    }
    let system = crystal(16, 3).system();
    assert_eq!(system.periodic_box(), Some(&[8.4; 3][..]));
}

#[test]
fn projections_are_not_for_crystals() {
    let crystal = crystal(9, 2);
    let half = HalfShape { copies: 1, particles: 9, dimension: 2 };
    let context = CouplingContext { crystal: Some(&crystal), ..CouplingContext::new(half) };
    let mut refused = 0;
    for row in TABLE {
        let layers = (row.options)();
        match layers.build::<f64>(&context, &mut ParameterLayout::default()) {
            Ok(_) => assert!(matches!(layers, LayerGroup::Pairwise(_))),
            Err(error) => {
                refused += 1;
                assert!(error.to_string().contains("not for a crystal"), "{error}");
            }
        }
    }
    assert!(refused > 10);
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
        let Row { name, species, copies, symmetry, .. } = row;
        let sizes = if symmetry == Symmetry::Lattice { row.sizes } else { &[(4, 2), (5, 3)] };
        for &(particles, dimension) in sizes {
            if ![0, particles].contains(&species.len()) {
                continue;
            }
            let shape = HalfShape { copies, particles, dimension };
            let mut layout = ParameterLayout::default();
            let coupling = row.build(shape, &mut layout);
            let mut theta = layout.initialize::<f64>(0);
            let (y, x) = (lanes(shape.lanes(), 5, 1.2), lanes(shape.lanes(), 6, 1.0));
            let mut scratch = vec![Lane::zero(); coupling.scratch()];
            // Or a multiple of the noise x − y.
            let factor = row.noise_factor;
            let volume = Lane::splat(shape.lanes() as f64 * factor.ln());
            let mut error = |theta: &[f64]| {
                let (mut out, mut log_det) = (x.clone(), Lane::zero());
                let call = Apply {
                    direction: Direction::Forward,
                    theta,
                    conditioning: &y,
                    moved: &mut out,
                    log_det: &mut log_det,
                    record: &mut [],
                };
                coupling.apply(call, &mut scratch);
                let scaled = |x: f64, y: f64| y + factor * (x - y);
                let want = x.iter().zip(&y);
                let want = want.map(|(x, y)| Lane(std::array::from_fn(|l| scaled(x.0[l], y.0[l]))));
                let pairs = out.iter().chain([&log_det]).zip(want.chain([volume]));
                pairs.fold(0.0, |worst, (a, b)| {
                    (0..LANES).fold(worst, |worst, l| worse(worst, (a.0[l] - b.0[l]).abs()))
                })
            };
            assert!(error(&theta) < 1e-12, "{name} starts as another map: {:e}", error(&theta));
            theta.iter_mut().for_each(|t| *t += 0.03);
            assert!(error(&theta) > 1e-3, "{name}: a planted shift was not caught");
        }
    }
}

#[test]
fn no_two_parameters_share_a_name() {
    for row in TABLE {
        let Row { name, copies, .. } = row;
        let mut layout = ParameterLayout::default();
        let is_crystal = row.symmetry == Symmetry::Lattice;
        let particles = if is_crystal { 16 } else { 4 };
        let shape = HalfShape { copies, particles, dimension: 3 };
        row.build(shape, &mut layout);
        let mut names: Vec<_> = layout.tensors().iter().map(|t| t.name.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), layout.tensors().len(), "{name}");
    }
}
