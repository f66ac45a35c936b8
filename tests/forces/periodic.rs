//! Potentials in a periodic box and with a cut-off, against sums over images.

use std::sync::Arc;

use boltzflow::potential::{Formula, LennardJones, LennardJonesParameters, Potential, Severity};
use boltzflow::random::{stream, Purpose};
use rand::Rng;

/// As the energy of a pair in the formulas below, with r_m = 1.1 and ε = 1.5.
const PAIR: &str = "pair = \"1.5*((1.1/r)^12 - 2*(1.1/r)^6)\"";

fn crystal() -> LennardJonesParameters {
    LennardJonesParameters {
        r_m: 1.1,
        trap: 0.0,
        temperature: 0.7,
        edges: Some(vec![4.0, 4.5, 5.0]),
        cutoff: Some(1.9),
        ..LennardJonesParameters::new(20, 3, 1.5)
    }
}

fn formula(keys: &str) -> Result<Formula, String> {
    let parameters = toml::from_str(keys).map_err(|e| e.to_string())?;
    Formula::new(parameters).map_err(|e| e.to_string())
}

fn same_by_formula() -> Formula {
    let keys = "dimension = 3\nparticles = 20\ntemperature = 0.7\nbox = [4.0, 4.5, 5.0]\n";
    formula(&format!("{keys}cutoff = 1.9\n{PAIR}")).unwrap()
}

/// Terms of two, three and four atoms across the walls.
fn molecules() -> Formula {
    formula(
        "dimension = 3\nparticles = 9\nbox = [3.5, 3.5, 3.5]\n\
         bonds = [{ atoms = [[0, 1], [1, 2], [2, 3]], energy = \"(r - 1)^2\" }]\n\
         angles = [{ atoms = [[0, 1, 2]], energy = \"cos(theta)\" }]\n\
         dihedrals = [{ atoms = [[0, 1, 2, 3]], energy = \"cos(phi)\" }]\n\
         triples = [{ within = 1.7, energy = \"((1.7 - r_ab)*(1.7 - r_bc))^3*cos(theta)\" }]",
    )
    .unwrap()
}

/// What is checked as every other potential, too.
pub fn potentials() -> Vec<(String, Arc<dyn Potential>)> {
    let open = LennardJonesParameters { trap: 0.6, edges: None, ..crystal() };
    let flat = LennardJonesParameters {
        particles: 11,
        dimension: 2,
        edges: Some(vec![5.0, 6.0]),
        cutoff: Some(2.4),
        ..crystal()
    };
    let many = LennardJonesParameters {
        particles: 60,
        edges: Some(vec![7.1, 6.9, 7.0]),
        cutoff: Some(1.4),
        ..crystal()
    };
    let mut all: Vec<(String, Arc<dyn Potential>)> = vec![
        ("in a box, by formula".into(), Arc::new(same_by_formula())),
        ("molecules in a box".into(), Arc::new(molecules())),
    ];
    for (name, parameters) in [
        ("in a box", crystal()),
        ("cut off in open space", open),
        ("in a flat box", flat),
        ("in cells", many),
    ] {
        all.push((name.into(), Arc::new(LennardJones::new(parameters).unwrap())));
    }
    all
}

fn spread(potential: &dyn Potential, sample: u64) -> Vec<f64> {
    let mut x = super::configuration(potential.system(), sample);
    // Particles that have left the box, each its own way.
    let mut rng = stream(5, Purpose::Evaluation, 0, sample);
    let edges = potential.system().periodic_box().unwrap_or(&[0.0; 3]).to_vec();
    for row in x.chunks_exact_mut(edges.len()) {
        for (x, edge) in row.iter_mut().zip(&edges) {
            *x += edge * f64::from(rng.gen_range(-1..=1));
        }
    }
    x
}

/// Σ over pairs and all images within the cut-off, written without a minimum image.
fn sum_over_images(parameters: &LennardJonesParameters, x: &[f64], shifted: bool) -> f64 {
    let (edges, cutoff) = (parameters.edges.clone().unwrap(), parameters.cutoff.unwrap());
    let pair = |r: f64| {
        let s = (parameters.r_m / r).powi(6);
        parameters.epsilon / parameters.temperature * s * (s - 2.0)
    };
    let mut energy = 0.0;
    for (i, a) in x.chunks_exact(3).enumerate() {
        for b in x.chunks_exact(3).take(i) {
            for image in 0..9 * 9 * 9 {
                let steps = [image % 9, image / 9 % 9, image / 81].map(|s| f64::from(s) - 4.0);
                let r = (0..3).map(|k| (a[k] - b[k] + steps[k] * edges[k]).powi(2));
                let r = r.sum::<f64>().sqrt();
                if r < cutoff {
                    energy += pair(r) - if shifted { pair(cutoff) } else { 0.0 };
                }
            }
        }
    }
    energy
}

#[test]
fn a_sum_to_the_nearest_images_is_that_over_all_images() {
    let (potential, by_formula) = (LennardJones::new(crystal()).unwrap(), same_by_formula());
    for sample in 0..3 {
        let x = spread(&potential, sample);
        let (energy, gradient) = super::evaluate(&potential, &x);
        let expected = sum_over_images(&crystal(), &x, true);
        assert!((energy - expected).abs() < 1e-9 * expected.abs().max(1.0), "{energy} {expected}");
        let (other, other_gradient) = super::evaluate(&by_formula, &x);
        assert!((energy - other).abs() < 1e-9 * expected.abs().max(1.0), "{energy} {other}");
        assert!(super::discrepancy(&gradient, &other_gradient) < 1e-9);
        // The shift of some forty pairs, and a wall where there is none.
        assert!((energy - sum_over_images(&crystal(), &x, false)).abs() > 0.1);
        let planted = LennardJonesParameters { edges: Some(vec![4.0, 4.5, 5.1]), ..crystal() };
        assert!((energy - sum_over_images(&planted, &x, true)).abs() > 1e-3);
    }
}

#[test]
fn cells_find_what_a_search_of_all_pairs_finds() {
    let (_, potential) = potentials().pop().unwrap();
    let system = potential.system();
    let near = |x: &[f64]| {
        let pair = |squared: f64| {
            let s = (1.1f64 * 1.1 / squared).powi(3);
            1.5 / 0.7 * s * (s - 2.0)
        };
        let mut energy = 0.0;
        for (i, a) in x.chunks_exact(3).enumerate() {
            for b in x.chunks_exact(3).take(i) {
                let squared = system.separation(a, b).iter().map(|r| r * r).sum::<f64>();
                energy += if squared < 1.4 * 1.4 { pair(squared) - pair(1.4 * 1.4) } else { 0.0 };
            }
        }
        energy
    };
    for sample in 0..3 {
        let x = spread(&*potential, sample);
        let (energy, _) = super::evaluate(&*potential, &x);
        assert!((energy - near(&x)).abs() < 1e-9 * energy.abs().max(1.0), "{energy} {}", near(&x));
    }
}

#[test]
fn the_virial_is_the_slope_by_the_size_of_the_box() {
    for sample in 0..3 {
        let x = spread(&LennardJones::new(crystal()).unwrap(), sample);
        let at = |log_scale: f64| {
            let scale = log_scale.exp();
            let edges = crystal().edges.map(|edges| edges.iter().map(|l| l * scale).collect());
            let scaled = LennardJones::new(LennardJonesParameters { edges, ..crystal() }).unwrap();
            let x: Vec<f64> = x.iter().map(|x| x * scale).collect();
            super::evaluate(&scaled, &x).0
        };
        let slope = (at(1e-5) - at(-1e-5)) / 2e-5;
        let virial = LennardJones::new(crystal()).unwrap().virial(&x).unwrap();
        assert!((virial - slope).abs() < 1e-5 * slope.abs().max(1.0), "{virial} {slope}");
        // x·∇U, which it is in open space, is something else here.
        let (_, gradient) = super::evaluate(&LennardJones::new(crystal()).unwrap(), &x);
        let planted: f64 = x.iter().zip(&gradient).map(|(x, g)| x * g).sum();
        assert!((planted - slope).abs() > 1e-2 * slope.abs().max(1.0), "{planted} {slope}");
    }
    let open = LennardJonesParameters { edges: None, ..crystal() };
    assert_eq!(LennardJones::new(open).unwrap().virial(&[0.0; 60]), None);
}

#[test]
fn the_command_check_finds_nothing_wrong_in_a_box() {
    for (name, potential) in potentials() {
        // A bond that is longer than half an edge jumps to another image.
        if potential.system().periodic_box().is_none() || name.starts_with("molecules") {
            continue;
        }
        let findings = boltzflow::check(&*potential).unwrap();
        let wrong: Vec<_> = findings.iter().filter(|f| f.severity == Severity::Wrong).collect();
        assert!(wrong.is_empty(), "{name}: {wrong:?}");
        assert!(findings.iter().all(|f| !["rotation", "infinity"].contains(&f.what)));
        assert!(findings.iter().any(|f| f.what == "translation"));
    }
}

#[test]
fn boxes_that_make_no_sense_are_refused_by_name() {
    for (field, hint, parameters) in [
        ("cutoff", "is missing", LennardJonesParameters { cutoff: None, ..crystal() }),
        ("cutoff", "half an edge", LennardJonesParameters { cutoff: Some(2.01), ..crystal() }),
        ("cutoff", "over 0", LennardJonesParameters { cutoff: Some(0.0), ..crystal() }),
        ("trap", "use 0", LennardJonesParameters { trap: 1.0, ..crystal() }),
        ("box", "2 edges", LennardJonesParameters { edges: Some(vec![4.0; 2]), ..crystal() }),
        ("box", "over 0", LennardJonesParameters { edges: Some(vec![-4.0; 3]), ..crystal() }),
    ] {
        let message = LennardJones::new(parameters).unwrap_err().to_string();
        assert!(message.starts_with(&format!("`{field}`")) && message.contains(hint), "{message}");
    }
    let soft =
        LennardJones::new(LennardJonesParameters { cutoff: Some(0.9), ..crystal() }).unwrap();
    assert!(soft.clone().with_linear_core(0.8).is_ok() && soft.with_linear_core(0.9).is_err());
    let keys = "dimension = 3\nparticles = 4\nbox = [4, 4, 4]\n";
    for (wrong, hint) in [
        ("external = \"x^2\"", "`external` is not for a periodic box"),
        ("pair = \"1/r\"", "`cutoff` is missing"),
        ("triples = [{ energy = \"cos(theta)\" }]", "`triples[0].within` must be at most"),
        ("cutoff = 1.0\nbonds = [{ atoms = [[0, 1]], energy = \"r\" }]", "`cutoff` is for"),
        ("cutoff = 1.0\npair = \"1/(r - 1)\"", "at the cut-off"),
    ] {
        let message = formula(&format!("{keys}{wrong}")).unwrap_err();
        assert!(message.contains(hint), "{message}");
    }
}
