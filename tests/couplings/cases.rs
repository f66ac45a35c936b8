//! The table of couplings, and a case for each of its rows.

use boltzflow::crystal::{Crystal, Lattice};
use boltzflow::engine::Lane;
use boltzflow::flow::{
    Coupling, CouplingContext, HalfShape, InnerTransform, LayerGroup, Network,
    NonequivariantOptions, PairwiseOptions, ParameterLayout, ProjectedOptions,
};
use boltzflow::random::{stream, Purpose};
use boltzflow::system::System;
use rand_distr::{Distribution, StandardNormal};

/// A coupling with random parameters and a tile of random samples.
pub struct Case {
    pub name: String,
    pub shape: HalfShape,
    pub species: &'static [usize],
    pub symmetry: Symmetry,
    pub log_det_bound: f64,
    pub coupling: Box<dyn Coupling<f64>>,
    pub theta: Vec<f64>,
    pub conditioning: Vec<Lane<f64>>,
    pub moved: Vec<Lane<f64>>,
    /// Planted errors: a factor on every log-determinant; a push along the first axis, of another
    /// length for each particle.
    pub log_det_factor: f64,
    pub push: f64,
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

/// With layers that change their width, in 2D one channel to spare, and some of the distances
/// beyond the splines' range.
fn uneven_vector() -> LayerGroup {
    LayerGroup::Vector(ProjectedOptions {
        bins: 5,
        range: 3.0,
        node_hidden: vec![5, 8],
        head_hidden: vec![6, 5, 5],
        vector_channels: Some(3),
        ..graph()
    })
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

/// Cells of a lattice, of which each site sees one shell of neighbours at a cut-off of 4.
pub fn crystal(particles: usize, dimension: usize) -> Crystal {
    let (lattice, edge) = if dimension == 2 { (Lattice::Sc, 9.0) } else { (Lattice::Bcc, 8.4) };
    let system = System::new(particles, dimension).unwrap();
    let system = system.in_box(&[edge; 3][..dimension]).unwrap();
    Crystal::new(system, &lattice.sites(system).unwrap()).unwrap()
}

/// Species of four particles, two of them alike.
const UNLIKE: &[usize] = &[0, 1, 0, 2];

pub struct Row {
    pub name: &'static str,
    pub options: fn() -> LayerGroup,
    /// What it multiplies the noise with at the start.
    pub noise_factor: f64,
    /// Of the noise on the initial parameters.
    pub scale: f64,
    pub species: &'static [usize],
    /// Copies in each half: (M + 1)/2.
    pub copies: usize,
    /// What it commutes with besides translations and permutations.
    pub symmetry: Symmetry,
    /// The most that a log-determinant may be off from that of the numerical Jacobian.
    pub log_det_bound: f64,
    /// Particles and dimensions. The same code with more of the same: a single size will do.
    pub sizes: &'static [(usize, usize)],
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Symmetry {
    RotationsAndReflections,
    RotationsOnly,
    Neither,
    /// Translations of a crystal's sites, in place of permutations.
    Lattice,
}

impl Row {
    pub fn build(&self, half: HalfShape, layout: &mut ParameterLayout) -> Box<dyn Coupling<f64>> {
        let Self { species, noise_factor, .. } = *self;
        let crystal =
            (self.symmetry == Symmetry::Lattice).then(|| crystal(half.particles, half.dimension));
        let crystal = crystal.as_ref();
        (self.options)()
            .build(&CouplingContext { half, species, crystal, noise_factor }, layout)
            .unwrap()
    }
}

const fn row(
    name: &'static str,
    options: fn() -> LayerGroup,
    scale: f64,
    symmetry: Symmetry,
) -> Row {
    Row {
        name,
        options,
        noise_factor: 1.0,
        scale,
        species: &[],
        copies: 1,
        symmetry,
        log_det_bound: 2e-5,
        sizes: &[(4, 2), (5, 3)],
    }
}

/// A row for particles that are not all alike.
const fn unlike(row: Row) -> Row {
    Row { species: UNLIKE, sizes: &[(4, 2)], ..row }
}

/// A row for a crystal.
const fn sites(row: Row) -> Row {
    Row { symmetry: Symmetry::Lattice, sizes: &[(9, 2), (16, 3)], ..row }
}

/// A row for three copies.
const fn copies(row: Row) -> Row {
    Row { copies: 2, sizes: &[(4, 3)], ..row }
}

pub const TABLE: [Row; 25] = {
    use Symmetry::{Neither, RotationsAndReflections as Both, RotationsOnly};
    [
        row("pairwise", pairwise, 0.15, Both),
        // So many that the pairs are taken in blocks.
        Row { sizes: &[(18, 3)], ..row("pairwise, in blocks", pairwise, 0.04, Both) },
        row("pairwise, angular", angular, 0.15, Both),
        Row { sizes: &[(20, 3)], ..row("pairwise, angular, in blocks", angular, 0.03, Both) },
        Row { noise_factor: 0.8, ..row("shrinking", small, 0.15, Both) },
        row("vector", vector, 0.3, Both),
        Row { log_det_bound: 1e-6, ..row("vector, uneven", uneven_vector, 0.4, Both) },
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
        sites(row("pairwise, of a crystal", pairwise, 0.1, Both)),
        sites(row("pairwise, angular, of a crystal", angular, 0.1, Both)),
    ]
};

pub fn lanes(count: usize, seed: u64, scale: f64) -> Vec<Lane<f64>> {
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

pub fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for row in TABLE {
        let Row { name, scale, species, copies, symmetry, log_det_bound, sizes, .. } = row;
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
                log_det_bound,
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
