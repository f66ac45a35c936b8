//! Triples and embeddings by formula: values on paper, sums written out, and planted differences.

use std::path::Path;
use std::sync::Arc;

use boltzflow::config::Registry;
use boltzflow::error::Error;
use boltzflow::potential::Potential;
use boltzflow::system::System;

use super::{configuration, discrepancy, evaluate};

/// Silicon of Stillinger and Weber, Phys. Rev. B 31, 5262 (1985), in its reduced units.
pub const STILLINGER_WEBER: &str = "dimension = 3\nparticles = 5\n\
    pair = 'A*(B/r^4 - 1)*exp(-1/max(a - r, 0))'\n\
    parameters = { A = 7.049556277, B = 0.6022245584, a = 1.8, lambda = 21, gamma = 1.2 }\n\
    [[triples]]\nwithin = 1.8\n\
    energy = 'lambda*(exp(gamma/(r_ab - a))*exp(gamma/(r_bc - a)))*(cos(theta) + 1/3)^2'\n";

/// Sutton and Chen, Philos. Mag. Lett. 61, 139 (1990), the exponents and c of gold.
pub const SUTTON_CHEN: &str = "dimension = 3\nparticles = 6\n\
    pair = 'r^-10'\nparameters = { c = 34.408 }\n\
    [embedding]\ndensity = 'r^-8'\nenergy = '-c*sqrt(rho)'\n";

/// An alloy after Gupta, and Cleri and Rosato, Phys. Rev. B 48, 22 (1993), with made-up numbers; at
/// a B the neighbours count by another formula than at an A.
pub const ALLOY: &str = "dimension = 2\nparticles = ['A', 'A', 'B', 'B', 'C']\n\
    pair = '2*sqrt(A_i*A_j)*exp(-10*(2*r/(d_i + d_j) - 1))'\n\
    [embedding]\n\
    density = 'xi_i^2*exp(-2*q_j*(r/d_j - 1))'\nenergy = '-sqrt(rho) + 0.01*A_i*rho^2'\n\
    [species]\n\
    A = { A = 0.1, xi = 1.2, q = 2.5, d = 1 }\nB = { A = 0.2, xi = 1.7, q = 3, d = 1.2 }\n\
    C = { A = 0.15, xi = 1.5, q = 2, d = 1.1 }\n";

/// Water with one term for H-O-H and one for O-H-H that is not the same from both ends.
pub const WATER: &str = "dimension = 3\nparticles = ['O', 'H', 'H', 'O', 'H']\n\
    external = 'r_com^2'\n\
    [[triples]]\nspecies = ['H-O-H']\nenergy = '2*(theta - 1.8)^2 + (r_ab - r_bc)^2'\n\
    [[triples]]\nspecies = ['O-H-H', 'H-O-O']\nenergy = 'exp(-r_ab)*r_bc*q_b + 0.1*q_c*r_ac'\n\
    [species]\nO = { q = 3 }\nH = { q = 1.5 }\n";

pub fn formula(text: &str) -> Result<Arc<dyn Potential>, Error> {
    let text = format!("format = 1\nname = 'test'\nkind = 'formula'\n{text}");
    Ok(Registry::builtin().target_from_text(&text, Path::new("test.toml"))?.potential)
}

fn energy(text: &str, x: &[f64]) -> f64 {
    evaluate(&*formula(text).unwrap(), x).0
}

fn close(found: f64, expected: f64) {
    assert!((found - expected).abs() < 1e-12 * expected.abs().max(1.0), "{found} for {expected}");
}

/// Corners of a triangle with these two sides and the angle between them, in space.
fn triangle(ab: f64, bc: f64, theta: f64) -> [f64; 9] {
    [ab, 0.0, 0.0, 0.0, 0.0, 0.0, bc * theta.cos(), bc * theta.sin(), 0.0]
}

fn with_particles(text: &str, particles: usize) -> String {
    let (before, after) = text.split_once("particles = ").unwrap();
    let rest = after.split_once('\n').unwrap().1;
    format!("{before}particles = {particles}\n{rest}")
}

#[test]
fn stillinger_weber_has_its_values_on_paper() {
    let pair = |r: f64| {
        if r < 1.8 {
            7.049556277 * (0.6022245584 / r.powi(4) - 1.0) * (1.0 / (r - 1.8)).exp()
        } else {
            0.0
        }
    };
    let bond = 2f64.powf(1.0 / 6.0);
    // The pair term is scaled such that its minimum is −1, at 2^(1/6).
    let dimer = with_particles(STILLINGER_WEBER, 2);
    let potential = formula(&dimer).unwrap();
    let (u, gradient) = evaluate(&*potential, &[0.0, 0.0, 0.0, 0.0, 0.0, bond]);
    assert!((u + 1.0).abs() < 1e-8 && gradient.iter().all(|g| g.abs() < 1e-7), "{u} {gradient:?}");
    // A centre with four neighbours at the tetrahedral angle: four bonds and nothing else, since
    // corners are 1.83 apart. Beyond the cut-off everything is flat.
    let s = bond / 3f64.sqrt();
    let mut corners = vec![0.0; 3];
    for (a, b, c) in [(s, s, s), (s, -s, -s), (-s, s, -s), (-s, -s, s)] {
        corners.extend([a, b, c]);
    }
    let (u, gradient) = evaluate(&*formula(STILLINGER_WEBER).unwrap(), &corners);
    assert!((u + 4.0).abs() < 1e-7 && gradient.iter().all(|g| g.abs() < 1e-6), "{u} {gradient:?}");
    // A bent trimer whose ends are too far apart to be neighbours, and an equilateral one, in
    // which each corner is the centre of a triple.
    let trimer = with_particles(STILLINGER_WEBER, 3);
    let (ab, bc, theta) = (1.1f64, 1.3f64, 2f64);
    let wings = (1.2 / (ab - 1.8) + 1.2 / (bc - 1.8)).exp();
    let bent = pair(ab) + pair(bc) + 21.0 * wings * (theta.cos() + 1.0 / 3.0).powi(2);
    close(energy(&trimer, &triangle(ab, bc, theta)), bent);
    let equilateral =
        3.0 * pair(1.2) + 63.0 * (2.4f64 / (1.2 - 1.8)).exp() * (5.0f64 / 6.0).powi(2);
    let at = triangle(1.2, 1.2, std::f64::consts::PI / 3.0);
    close(energy(&trimer, &at), equilateral);
    // Planted: another angle.
    let planted = trimer.replace("1/3", "0.35");
    assert!((energy(&planted, &at) - equilateral).abs() > 1e-3);
}

#[test]
fn dimers_and_trimers_of_embedded_atoms_have_their_values_on_paper() {
    let c = 34.408;
    for r in [0.7f64, 1.0, 1.6] {
        let dimer = r.powi(-10) - 2.0 * c * r.powi(-4);
        close(energy(&with_particles(SUTTON_CHEN, 2), &[0.0, 0.0, 0.0, 0.0, r, 0.0]), dimer);
        let trimer = 3.0 * r.powi(-10) - 3.0 * c * 2f64.sqrt() * r.powi(-4);
        let at = triangle(r, r, std::f64::consts::PI / 3.0);
        close(energy(&with_particles(SUTTON_CHEN, 3), &at), trimer);
    }
    // The bond of the dimer is where 10 r⁻¹¹ = 8 c r⁻⁵.
    let bond = (10.0 / (8.0 * c)).powf(1.0 / 6.0);
    let dimer = formula(&with_particles(SUTTON_CHEN, 2)).unwrap();
    let (u, gradient) = evaluate(&*dimer, &[0.0, 0.0, 0.0, bond, 0.0, 0.0]);
    assert!(gradient[3].abs() < 1e-12 * u.abs() / bond, "{gradient:?} at {u}");
    // Gupta: A and ξ of each atom, so the pair term comes twice.
    let gupta = "dimension = 3\nparticles = 3\npair = '2*A*exp(-p*(r/r0 - 1))'\n\
        parameters = { A = 0.2061, xi = 1.79, p = 10.229, q = 4.036, r0 = 2.884 }\n\
        [embedding]\ndensity = 'xi^2*exp(-2*q*(r/r0 - 1))'\nenergy = '-sqrt(rho)'\n";
    let x: f64 = 2.7 / 2.884 - 1.0;
    let (repulsion, band) = (0.2061 * (-10.229 * x).exp(), 1.79 * (-4.036 * x).exp());
    let at = triangle(2.7, 2.7, std::f64::consts::PI / 3.0);
    close(energy(gupta, &at), 6.0 * repulsion - 3.0 * 2f64.sqrt() * band);
    close(
        energy(&with_particles(gupta, 2), &[0.0, 0.0, 0.0, 0.0, 0.0, 2.7]),
        2.0 * repulsion - 2.0 * band,
    );
    // Planted: a pair counted once.
    let planted = gupta.replace("2*A", "A");
    assert!((energy(&planted, &at) - (6.0 * repulsion - 3.0 * 2f64.sqrt() * band)).abs() > 0.1);
}

/// Σ_i { −√ρ_i + 0.01 A_i ρ_i² } and the pairs, by loops over particles.
fn alloy_by_hand(x: &[f64]) -> f64 {
    let a = [0.1f64, 0.1, 0.2, 0.2, 0.15];
    let xi = [1.2f64, 1.2, 1.7, 1.7, 1.5];
    let q = [2.5, 2.5, 3.0, 3.0, 2.0];
    let d = [1.0, 1.0, 1.2, 1.2, 1.1];
    let r = |i: usize, j: usize| (x[2 * i] - x[2 * j]).hypot(x[2 * i + 1] - x[2 * j + 1]);
    let mut u = 0.0;
    for i in 0..5 {
        let others = || (0..5).filter(|&j| j != i);
        let pair =
            |j: usize| (a[i] * a[j]).sqrt() * (-10.0 * (2.0 * r(i, j) / (d[i] + d[j]) - 1.0)).exp();
        u += others().map(pair).sum::<f64>();
        let density = |j: usize| xi[i].powi(2) * (-2.0 * q[j] * (r(i, j) / d[j] - 1.0)).exp();
        let rho: f64 = others().map(density).sum();
        u += -rho.sqrt() + 0.01 * a[i] * rho * rho;
    }
    u
}

#[test]
fn densities_of_an_alloy_are_those_of_each_ordered_pair() {
    let potential = formula(ALLOY).unwrap();
    for sample in 0..5 {
        let x = configuration(System::new(5, 2).unwrap(), sample);
        close(evaluate(&*potential, &x).0, alloy_by_hand(&x));
    }
    // Planted: the neighbour's number where that of the atom belongs.
    let planted = formula(&ALLOY.replace("xi_i^2", "xi_j^2")).unwrap();
    let x = configuration(System::new(5, 2).unwrap(), 0);
    assert!((evaluate(&*planted, &x).0 - alloy_by_hand(&x)).abs() > 1e-2);
    // A section for each ordered pair means the same.
    let by_pairs = "dimension = 2\nparticles = ['A', 'B', 'B']\n[embedding.density]\n\
        A-A = '0'\nA-B = 'exp(-r)'\nB-A = '2*exp(-r)'\nB-B = '0'\n\
        [embedding.energy]\nA = '-rho^2'\nB = 'rho'\n";
    let e = |r: f64| (-r).exp();
    let expected = -(e(1.0) + e(2.0)).powi(2) + 2.0 * e(1.0) + 2.0 * e(2.0);
    close(energy(by_pairs, &[0.0, 0.0, 1.0, 0.0, 0.0, 2.0]), expected);
    let one_order = by_pairs.replace("B-A = '2*exp(-r)'\n", "");
    close(
        energy(&one_order, &[0.0, 0.0, 1.0, 0.0, 0.0, 2.0]),
        -(e(1.0) + e(2.0)).powi(2) + e(1.0) + e(2.0),
    );
}

#[test]
fn triples_are_the_angles_that_they_stand_for() {
    // O is 0 and 3, H is 1, 2 and 4.
    let listed = "dimension = 3\nparticles = 5\nexternal = 'r_com^2'\n\
        [[angles]]\nenergy = '2*(theta - 1.8)^2 + (r_ab - r_bc)^2'\n\
        atoms = [[1, 0, 2], [1, 0, 4], [2, 0, 4], [1, 3, 2], [1, 3, 4], [2, 3, 4]]\n\
        [[angles]]\nenergy = 'exp(-r_ab)*r_bc*1.5 + 0.1*1.5*r_ac'\n\
        atoms = [[0, 1, 2], [0, 1, 4], [3, 1, 2], [3, 1, 4], [0, 2, 1], [0, 2, 4],\n\
        [3, 2, 1], [3, 2, 4], [0, 4, 1], [0, 4, 2], [3, 4, 1], [3, 4, 2]]\n\
        [[angles]]\nenergy = 'exp(-r_ab)*r_bc*3 + 0.1*3*r_ac'\n\
        atoms = [[1, 0, 3], [2, 0, 3], [4, 0, 3], [1, 3, 0], [2, 3, 0], [4, 3, 0]]\n";
    let all = "dimension = 3\nparticles = 4\n[[triples]]\n\
        energy = 'exp(-r_ab - r_bc)*cos(theta) + r_ac'\n";
    let written_out = "dimension = 3\nparticles = 4\n[[angles]]\n\
        energy = 'exp(-r_ab - r_bc)*cos(theta) + r_ac'\n\
        atoms = [[1, 0, 2], [1, 0, 3], [2, 0, 3], [0, 1, 2], [0, 1, 3], [2, 1, 3],\n\
        [0, 2, 1], [0, 2, 3], [1, 2, 3], [0, 3, 1], [0, 3, 2], [1, 3, 2]]\n";
    // What vanishes at the cut-off does not change where `within` is left out.
    let cut = "dimension = 3\nparticles = 6\n[[triples]]\nwithin = 1.6\n\
        energy = '(1.6 - r_ab)^2*(1.6 - r_bc)^2*theta'\n";
    let uncut = cut.replace("within = 1.6\n", "").replace("(1.6 - ", "max(0, 1.6 - ");
    for (triples, angles) in [(WATER, listed), (all, written_out), (cut, &*uncut)] {
        let [triples, angles] = [triples, angles].map(|text| formula(text).unwrap());
        for sample in 0..5 {
            let x = configuration(triples.system(), sample);
            let ((u, g), (v, h)) = (evaluate(&*triples, &x), evaluate(&*angles, &x));
            assert!(discrepancy(&[u], &[v]).max(discrepancy(&g, &h)) < 1e-13, "{u} {v}");
        }
    }
    // Planted: one of the kinds left out.
    let planted = formula(&WATER.replace(", 'H-O-O'", "")).unwrap();
    let x = configuration(planted.system(), 0);
    assert!((evaluate(&*planted, &x).0 - energy(listed, &x)).abs() > 1e-2);
}

/// Terms over all triples and neighbours leave particles of one species alike.
#[test]
fn all_particles_of_a_species_stay_alike() {
    for (text, expected) in [
        (STILLINGER_WEBER, vec![0; 5]),
        (SUTTON_CHEN, vec![0; 6]),
        (ALLOY, vec![0, 0, 1, 1, 2]),
        (WATER, vec![0, 1, 1, 0, 1]),
    ] {
        assert_eq!(formula(text).unwrap().species(), expected, "{text}");
    }
}

/// Where nothing is near, an embedded atom has no density, √ρ no slope, and yet all is flat.
#[test]
fn a_lonely_atom_feels_nothing() {
    let text = "dimension = 3\nparticles = 3\npair = '1/r^6'\n\
        [embedding]\ndensity = 'max(0, 2 - r)^2'\nenergy = '-sqrt(rho)'\n";
    let x = [0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 9.0, 0.0];
    let (u, gradient) = evaluate(&*formula(text).unwrap(), &x);
    close(u, 1.0 + 9f64.powi(-6) + 82f64.powi(-3) - 2.0);
    assert!(gradient.iter().all(|g| g.is_finite()), "{gradient:?}");
    // −6 of the core and +1·2 of the two densities of slope −2(2 − r), each times −1/(2√ρ).
    assert!((gradient[3] - (-6.0 + 2.0)).abs() < 1e-4, "{gradient:?}");
}

#[test]
fn a_core_is_softened_with_the_densities_behind_it() {
    let soft = formula(SUTTON_CHEN).unwrap().softened(0.8).unwrap();
    let mut x = configuration(soft.system(), 0);
    let apart = evaluate(&*soft, &x).0;
    // One atom 1e-3 from another: without a limit the densities would win over a linear core.
    for k in 0..3 {
        x[3 + k] = x[k] + [1e-3, 0.0, 0.0][k];
    }
    let close = evaluate(&*soft, &x).0;
    assert!(close > apart - 200.0, "{close} at an overlap and {apart} apart");
}

#[test]
fn what_a_section_cannot_mean_is_refused_by_name() {
    let start = "dimension = 2\nparticles = ['A', 'A', 'B']\n";
    for (text, expected) in [
        ("[[triples]]\nenergy = 'r_ab'", "triples[0].energy` is not the same when a and c"),
        ("[[triples]]\nspecies = ['A-B-A']\nenergy = 'r_ab'", "make it symmetric in r_ab and r_bc"),
        ("[[triples]]\nspecies = ['A-B']\nenergy = '1'", "name a, b and c, such as \"A-B-A\""),
        ("[[triples]]\nspecies = ['A-C-A']\nenergy = '1'", "`C` is no species that occurs"),
        ("[[triples]]\nspecies = ['A-B-B', 'B-B-A']\nenergy = '1'", "twice"),
        ("[[triples]]\nwithin = 0\nenergy = '1'", "triples[0].within` is 0"),
        ("[[triples]]\nenergy = 'r'", "triples[0].energy` at character 1"),
        ("[[triples]]\natoms = [[0, 1, 2]]\nenergy = '1'", "atoms"),
        ("[embedding]\nenergy = 'rho'", "density"),
        ("[embedding]\ndensity = '1/r'\nenergy = 'r'", "embedding.energy` at character 1"),
        ("[embedding]\ndensity = { A-A = '1/r' }\nenergy = 'rho'", "embedding.density.A-B"),
        ("[embedding]\ndensity = '1'\nenergy = { A = 'rho' }", "embedding.energy.B` is missing"),
        ("[embedding]\ndensity = { A-D = '1' }\nenergy = 'rho'", "embedding.density.A-D"),
    ] {
        let error = formula(&format!("{start}{text}")).err().unwrap();
        assert_eq!(error.exit_code(), 2);
        assert!(error.to_string().contains(expected), "{text}: {error}");
    }
    let error =
        formula("dimension = 2\nparticles = 3\n[[triples]]\nspecies = ['A-A-A']\nenergy = '1'");
    assert!(error.err().unwrap().to_string().contains("leave it out"));
}
