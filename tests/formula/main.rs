//! Energy functions as formulas: the same numbers as the built-in forms at a fair speed,
//! derivatives, which particles are alike, and messages that name the place of a mistake. No input
//! may panic or hang.

mod flat;
mod fuzz;

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use boltzflow::config::{load_target, Registry, Target};
use boltzflow::error::Error;
use boltzflow::potential::Potential;
use boltzflow::random::{stream, Purpose};
use proptest::prelude::*;
use rand_distr::{Distribution, StandardNormal};

const DW4: &str = "kind = 'formula'\ndimension = 2\nparticles = 4\n\
    pair = 'a*(r - r0) + b*(r - r0)^2 + c*(r - r0)^4'\n\
    parameters = { a = 0, b = -4, c = 0.9, r0 = 4 }\n";
const LJ13: &str = "kind = 'formula'\ndimension = 3\nparticles = 13\n\
    pair = 'eps*((r_m/r)^12 - 2*(r_m/r)^6)'\nexternal = 'r_com^2/2'\n\
    parameters = { eps = 1.0, r_m = 1.0 }\n";

fn target(text: &str) -> Result<Target, Error> {
    let text = format!("format = 1\nname = 'test'\n{text}");
    Registry::builtin().target_from_text(&text, Path::new("test.toml"))
}

/// Normal configurations, [samples, particles, dimension].
fn draw(potential: &dyn Potential, samples: usize, scale: f64) -> Vec<f64> {
    let width = potential.system().coordinates();
    let mut rng = stream(5, Purpose::Evaluation, 0, 0);
    (0..samples * width)
        .map(|_| {
            let z: f64 = StandardNormal.sample(&mut rng);
            scale * z
        })
        .collect()
}

/// Two particles in the plane with this energy in their distance; `None` if it is refused.
fn pair_formula(formula: &str) -> Option<Arc<dyn Potential>> {
    let text = format!("kind = 'formula'\ndimension = 2\nparticles = 2\npair = '{formula}'");
    Some(target(&text).ok()?.potential)
}

fn batch(potential: &dyn Potential, x: &[f64]) -> (Vec<f64>, Vec<f64>) {
    let mut energies = vec![0.0; x.len() / potential.system().coordinates()];
    let mut gradients = vec![0.0; x.len()];
    potential.energies_and_gradients(x, &mut energies, &mut gradients).unwrap();
    (energies, gradients)
}

/// Largest difference relative to the sum of the terms' sizes, which is where rounding comes from.
fn worst(a: &[f64], b: &[f64]) -> f64 {
    let size = b.iter().fold(1.0f64, |m, b| m.max(b.abs()));
    a.iter().zip(b).fold(0.0f64, |m, (a, b)| m.max((a - b).abs())) / size
}

#[test]
fn formulas_agree_with_the_built_in_forms() {
    for (text, name) in [(DW4, "dw4"), (LJ13, "lj13")] {
        let (formula, built_in) = (target(text).unwrap(), load_target(name).unwrap());
        let (formula, built_in) = (formula.potential, built_in.potential);
        let width = formula.system().coordinates();
        // 50 is three tiles and a part of one.
        let x = draw(&*formula, 50, if name == "dw4" { 3.0 } else { 1.0 });
        let (u, g) = batch(&*formula, &x);
        let (v, h) = batch(&*built_in, &x);
        for s in 0..50 {
            let places = s * width..(s + 1) * width;
            let error =
                worst(&u[s..=s], &v[s..=s]).max(worst(&g[places.clone()], &h[places.clone()]));
            assert!(error < 1e-12, "{name}, configuration {s}: {error:e}");
            let mut alone = vec![0.0; width];
            let single = formula.energy_and_gradient(&x[places.clone()], &mut alone).unwrap();
            assert_eq!((single, &alone[..]), (u[s], &g[places]), "alone and in the batch");
        }
    }
    // A planted difference of the eleventh digit is found.
    let planted = target(&LJ13.replace("eps = 1.0", "eps = 1.00000000001")).unwrap().potential;
    let x = draw(&*planted, 5, 1.0);
    let (u, v) = (batch(&*planted, &x).0, batch(&*load_target("lj13").unwrap().potential, &x).0);
    assert!(worst(&u, &v) > 1e-12);
}

/// The promise is a fifth; a busy machine gets room by taking the best of several tries.
#[test]
fn formulas_have_a_fifth_of_the_speed_at_least() {
    for (text, name) in [(DW4, "dw4"), (LJ13, "lj13")] {
        let potentials = [target(text).unwrap().potential, load_target(name).unwrap().potential];
        let x = draw(&*potentials[0], 512, if name == "dw4" { 3.0 } else { 1.0 });
        let seconds = potentials.map(|potential| {
            let mut energies = vec![0.0; 512];
            let mut gradients = vec![0.0; x.len()];
            (0..30)
                .map(|_| {
                    let start = Instant::now();
                    potential.energies_and_gradients(&x, &mut energies, &mut gradients).unwrap();
                    start.elapsed().as_secs_f64()
                })
                .fold(f64::INFINITY, f64::min)
        });
        println!(
            "{name}: {:.0} ns by formula, {:.0} ns built in",
            seconds[0] / 512e-9,
            seconds[1] / 512e-9
        );
        assert!(seconds[0] < 5.0 * seconds[1], "{name}: {seconds:?}");
    }
}

/// Largest error of the gradient against differences of fourth order.
fn gradient_error(potential: &dyn Potential, x: &[f64]) -> f64 {
    let (_, gradient) = batch(potential, x);
    let h = 1e-4;
    let numerical: Vec<f64> = (0..x.len())
        .map(|k| {
            let at = |shift: f64| {
                let mut x = x.to_vec();
                x[k] += shift;
                batch(potential, &x).0[0]
            };
            (8.0 * (at(h) - at(-h)) - (at(2.0 * h) - at(-2.0 * h))) / (12.0 * h)
        })
        .collect();
    worst(&gradient, &numerical)
}

#[test]
fn every_term_and_function_has_its_derivative() {
    let functions = [
        "sqrt(1 + r^2)",
        "exp(-r^2)",
        "ln(1 + r)",
        "sin(r)",
        "cos(2*r)",
        "tan(r/9)",
        "asin(r/30)",
        "acos(r/30)",
        "atan(r)",
        "sinh(r/3)",
        "cosh(r/3)",
        "tanh(r)",
        "abs(r - 1.234)",
        "r^-2.5",
        "r^3.3",
        "2^r",
        "(1 + r)^r",
        "min(r, 1.3)",
        "max(r^2, 1.7)",
        "-r^2 + 3",
        "1/(1 + r)^3",
        "r^100/1e60",
        "2*-r",
        "r/r^2",
        "1e1*r + pi",
        "max(0, r - 1)^2",
        "-(-r)",
    ];
    let pairs = functions.map(|f| format!("dimension = 3\nparticles = 5\npair = '{f}'"));
    let others = [
        "dimension = 2\nparticles = 4\nexternal = 'x^2*y + 3*y^2 + r_com^3'",
        "dimension = 3\nparticles = 4\nexternal = 'x*y*z + exp(-r_com)'",
        "dimension = 3\nparticles = 4\nbonds = [{ atoms = [[0, 1], [1, 3]], \
         energy = '(r - 1)^2' }]",
        "dimension = 2\nparticles = 4\nangles = [{ atoms = [[0, 1, 2]], \
         energy = '(theta - 1)^2' }]",
        "dimension = 3\nparticles = 4\nangles = [{ atoms = [[2, 0, 3], [3, 2, 1]], \
         energy = 'theta*r_ab + cos(theta)*r_bc^2 + r_ac^3' }]",
        "dimension = 3\nparticles = 5\ndihedrals = [{ atoms = [[0, 1, 2, 3], [4, 2, 0, 1]], \
         energy = '2*(1 + cos(3*phi - 0.4)) + sin(phi)' }]",
        "dimension = 3\nparticles = ['A', 'B', 'A', 'C']\ntemperature = 2.0\n\
         pair = 'sqrt(q_i*q_j)/r + 0.01*r^4'\nexternal = 'q_i*r_com^2'\n\
         species = { A = { q = 1 }, B = { q = 2 }, C = { q = 0.5 } }",
    ];
    for text in pairs.iter().map(String::as_str).chain(others) {
        let potential = target(&format!("kind = 'formula'\n{text}")).unwrap().potential;
        let system = potential.system();
        for x in draw(&*potential, 4, 1.0).chunks_exact(system.coordinates()) {
            let error = gradient_error(&*potential, x);
            assert!(error < 2e-7, "{text}: {error:e}");
        }
    }
    let planted =
        target("kind = 'formula'\ndimension = 3\nparticles = 3\npair = 'abs(r - 1)'").unwrap();
    let kink = [0.0, 0.0, 0.0, 1.00005, 0.0, 0.0, 0.0, 3.0, 0.0];
    assert!(gradient_error(&*planted.potential, &kink) > 1e-3, "a kink is seen");
}

#[test]
fn a_formula_means_what_it_means_on_paper() {
    for (formula, expected) in [
        ("-r^2", -4.0),
        ("2^-1*r", 1.0),
        ("2^3^2/r", 256.0),
        ("8/r/2", 2.0),
        ("8 - r - 1", 5.0),
        ("1 + r*3", 7.0),
        ("-r - -r", 0.0),
        ("(1 + r)*3", 9.0),
        ("2.5e-1*r", 0.5),
        ("pi*0 + sqrt(r*8)", 4.0),
        ("min(r, 3) + max(r, 3)", 5.0),
        ("ln(exp(r)) + 0^0", 3.0),
    ] {
        let text = format!("kind = 'formula'\ndimension = 2\nparticles = 2\npair = '{formula}'");
        let potential = target(&text).unwrap().potential;
        let u = potential.energy_and_gradient(&[0.0, 0.0, 0.0, 2.0], &mut [0.0; 4]).unwrap();
        assert!((u - expected).abs() < 1e-14, "{formula} is {u}");
    }
}

#[test]
fn particles_are_alike_when_species_and_lists_say_so() {
    let chain = "bonds = [{ atoms = [[0, 1], [1, 2], [2, 3]], energy = 'r^2' }]";
    let angle =
        |f: &str| format!("particles = 3\nangles = [{{ atoms = [[0, 1, 2]], energy = '{f}' }}]");
    let water = "bonds = [{ atoms = [[0, 1], [2, 0]], energy = 'r^2' }]\n\
        angles = [{ atoms = [[1, 0, 2]], energy = 'theta' }]";
    for (text, expected) in [
        ("particles = 4\npair = 'r'".to_string(), vec![0, 0, 0, 0]),
        ("particles = ['A', 'B', 'A', 'C']\npair = 'r'".to_string(), vec![0, 1, 0, 2]),
        (format!("particles = 4\n{chain}"), vec![0, 1, 2, 3]),
        (format!("particles = ['O', 'H', 'H']\n{water}"), vec![0, 1, 1]),
        (format!("particles = 3\n{water}"), vec![0, 1, 1]),
        (
            "particles = 3\nangles = [{ atoms = [[0, 1, 2]], energy = '(r_ab - 1)*(r_bc - 1)' }]"
                .into(),
            vec![0, 1, 0],
        ),
        (
            "particles = 3\nangles = [{ atoms = [[0, 1, 2]], energy = 'r_ab + 2*r_bc' }]".into(),
            vec![0, 1, 2],
        ),
        (angle("21*(exp(1/(r_ab - 9))*exp(1/(r_bc - 9)))*(cos(theta) + 1/3)^2"), vec![0, 1, 0]),
        (angle("21*exp(1/(r_ab - 9))*exp(1/(r_bc - 9))*(cos(theta) + 1/3)^2"), vec![0, 1, 0]),
        (angle("r_ab + (r_bc + theta)"), vec![0, 1, 0]),
        (angle("(r_ab - r_bc)^2 + 3*(r_ab*(2*r_bc)) + max(r_ab, max(1, r_bc))"), vec![0, 1, 0]),
        (angle("cos(r_ab - r_bc) + abs(2*r_bc - 2*r_ab)/r_ab/r_bc"), vec![0, 1, 0]),
        // What changes sign, or only looks alike.
        (angle("r_ab - r_bc"), vec![0, 1, 2]),
        (angle("(r_ab - r_bc)^3 + sin(r_ab - r_bc)"), vec![0, 1, 2]),
        (angle("r_ab/r_bc + max(r_ab, min(1, r_bc))"), vec![0, 1, 2]),
        // One formula in two entries, and one that is its own reverse.
        (
            "particles = 3\nbonds = [{ atoms = [[0, 1]], energy = '2*(r*3)' },\n\
             { atoms = [[2, 1]], energy = '6*r' }]"
                .into(),
            vec![0, 1, 0],
        ),
        (
            "particles = 4\nangles = [{ atoms = [[0, 1, 2]], energy = 'r_ab + 2*r_bc' },\n\
             { atoms = [[2, 1, 3]], energy = '2*r_ab + r_bc' }]"
                .into(),
            vec![0, 1, 2, 0],
        ),
    ] {
        let potential =
            target(&format!("kind = 'formula'\ndimension = 3\n{text}")).unwrap().potential;
        assert_eq!(potential.species(), expected, "{text}");
    }
}

#[test]
fn a_pair_may_be_named_in_either_order() {
    let text = "kind = 'formula'\ndimension = 2\nparticles = ['A', 'B']\n[pair]\n\"B-A\" = '3/r'";
    let potential = target(text).unwrap().potential;
    let u = potential.energy_and_gradient(&[0.0, 0.0, 0.0, 2.0], &mut [0.0; 4]).unwrap();
    assert_eq!(u, 1.5);
}

#[test]
fn units_become_the_numbers_of_the_file() {
    let text = "kind = 'lennard_jones'\nparticles = 2\ndimension = 3\ntrap = 0\n\
        units = { energy = 'kJ/mol', length = 'nm' }\n\
        epsilon = '1 kcal/mol'\nr_m = '3.82 angstrom'\ntemperature = '300 K'";
    let potential = target(text).unwrap().potential;
    let x = [0.0, 0.0, 0.0, 0.0, 0.0, 0.382];
    let u = potential.energy_and_gradient(&x, &mut [0.0; 6]).unwrap();
    assert!((u + 4.184 / (300.0 * 8.314462618e-3)).abs() < 1e-8, "{u}");
    let formula = "kind = 'formula'\nparticles = 2\ndimension = 3\npair = 'k/2*(r - r0)^2'\n\
        units = { energy = 'kJ/mol', length = 'nm' }\ntemperature = '300 K'\n\
        parameters = { k = '1000 kJ/mol/nm^2', r0 = '1 angstrom' }";
    let potential = target(formula).unwrap().potential;
    let u = potential.energy_and_gradient(&x, &mut [0.0; 6]).unwrap();
    assert!((u - 500.0 * 0.282f64.powi(2) / (300.0 * 8.314462618e-3)).abs() < 1e-6, "{u}");
}

/// Loads it, and evaluates it where it loads: neither may panic, whatever the text is.
fn survives(text: &str) {
    if let Ok(target) = target(text) {
        let potential = target.potential;
        if potential.system().particles() <= 50 {
            let x = draw(&*potential, 17, 1.0);
            let (u, g) = batch(&*potential, &x);
            let width = potential.system().coordinates();
            for (u, g) in u.iter().zip(g.chunks(width)) {
                let flat = g.iter().all(|g| g.is_finite());
                assert!(!u.is_nan() && (flat || (u.is_finite() && g.iter().all(|g| g.is_nan()))));
            }
        }
    }
}

fn with_pair(formula: &str) -> String {
    let formula = toml::Value::String(formula.to_string());
    let rest = "kind = 'formula'\ndimension = 2\nparticles = 3\nparameters = { a = 2.0 }\n";
    format!("{rest}pair = {formula}")
}

#[test]
fn monstrous_formulas_are_refused_or_compiled_in_no_time() {
    let start = Instant::now();
    let long = 1_000_000;
    for formula in [
        format!("{}r{}", "(".repeat(long), ")".repeat(long)),
        format!("{}r{}", "(".repeat(4000), ")".repeat(4000)),
        format!("{}r", "-".repeat(9000)),
        format!("r{}", "^r".repeat(4000)),
        format!("r{}", "+r".repeat(4900)),
        format!("r{}", "*r".repeat(4900)),
        format!("{}r{}", "sin(".repeat(90), ")".repeat(90)),
        format!("{}r{}", "exp(".repeat(2000), ")".repeat(2000)),
        (0..1400).map(|k| format!("r^{}", k % 64)).collect::<Vec<_>>().join("*"),
        "r^1e300".into(),
        "r^-1e300".into(),
        "r^99999999999999999999999999999".into(),
        "9^9^9^9^9".into(),
        "1/0".into(),
        "1e999".into(),
        "r".repeat(long),
        "9".repeat(9000),
        "é^√2".into(),
        "\u{0}".into(),
        String::new(),
    ] {
        survives(&with_pair(&formula));
    }
    assert!(start.elapsed().as_secs() < 20, "{:?}", start.elapsed());
}

/// Inputs that once failed, and odd ones; the fuzzing below starts from the same pieces.
#[test]
fn the_committed_corpus_is_survived() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus");
    let mut count = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let text = String::from_utf8_lossy(&std::fs::read(&path).unwrap()).into_owned();
        match path.extension().and_then(|e| e.to_str()) {
            Some("formula") => survives(&with_pair(text.trim_end_matches('\n'))),
            Some("toml") => survives(&text),
            _ => continue,
        }
        count += 1;
    }
    assert!(count > 10);
}

fn pieces() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "r", "a", "x", "1", "2.5", "1e3", ".", "e", "+", "-", "*", "/", "^", "(", ")", ",", " ",
        "sin(", "exp(", "max(", "min(", "sqrt(", "ln(", "acos(", "pi", "1e308", "-0", "64", "0.5",
        "é", "\n", "_", "a_i", "**", "abs(",
    ]);
    prop::collection::vec(piece, 0..60).prop_map(|pieces| pieces.concat())
}

fn lines() -> impl Strategy<Value = String> {
    let line = prop::sample::select(vec![
        "kind = 'formula'",
        "kind = 'lennard_jones'",
        "dimension = 2",
        "dimension = 3",
        "dimension = -1",
        "particles = 3",
        "particles = ['A', 'B', 'B']",
        "particles = []",
        "particles = ['A', 1]",
        "particles = ['A-B', '', 'C']",
        "pair = '1/r'",
        "pair = 3",
        "pair = 'q_i*q_j/r'",
        "pair = { A-A = '0', A-B = 'r', B-B = 'r^2' }",
        "pair = { A = '1' }",
        "external = 'r_com^2'",
        "external = { A = 'x', B = 'y' }",
        "bonds = [{ atoms = [[0, 1]], energy = 'r' }]",
        "bonds = [{ atoms = [[0, 0]], energy = 'r' }]",
        "bonds = [{ atoms = [[0, 9]], energy = 'r' }]",
        "bonds = [{ atoms = [[0]], energy = 'r' }]",
        "bonds = 3",
        "angles = [{ atoms = [[0, 1, 2]], energy = 'theta*r_ac' }]",
        "dihedrals = [{ atoms = [[0, 1, 2, 3]], energy = 'phi' }]",
        "triples = [{ energy = 'theta*r_ab*r_bc', within = 1 }]",
        "triples = [{ energy = 'r_ab/r_bc', species = ['A-B-B', 'B-B'] }]",
        "embedding = { density = '1/r', energy = 'sqrt(rho)' }",
        "embedding = { density = { A-B = 'r', B-B = '0' }, energy = { A = 'ln(rho)' } }",
        "temperature = 0",
        "temperature = '300 K'",
        "temperature = 'hot'",
        "units = { energy = 'kJ/mol', length = 'nm' }",
        "units = { energy = 'nm' }",
        "units = 3",
        "parameters = { a = 1, r = 2 }",
        "parameters = { sin = 1 }",
        "parameters = { a = '1 nm' }",
        "parameters = { a = nan }",
        "species = { A = { q = 1 }, B = { q = 2 } }",
        "species = { A = { q = 1 } }",
        "species = { Z = { q = 1 } }",
        "species = { A = 1 }",
        "box = [1, 1, 1]",
        "known = { log_z = 1 }",
        "[parameters]",
        "a = 1",
        "[[bonds]]",
        "[pair]",
        "\"A-B\" = '1'",
        "= =",
        "\u{0}",
    ]);
    prop::collection::vec(line, 0..12).prop_map(|lines| lines.join("\n"))
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_formula_of_pieces_panics(formula in pieces()) {
        survives(&with_pair(&formula));
    }

    #[test]
    fn no_text_panics(formula in "\\PC{0,80}") {
        survives(&with_pair(&formula));
    }

    #[test]
    fn no_file_of_lines_panics(text in lines()) {
        survives(&text);
    }

    #[test]
    fn no_quantity_panics(text in "[-+0-9.eE]{0,6} ?[a-zA-Z^*/0-9 -]{0,20}") {
        let _ = text.parse::<boltzflow::potential::units::Quantity>();
        survives(&format!("kind = 'formula'\nunits = {{ energy = 'eV', length = '{text}' }}\n\
            dimension = 2\nparticles = 2\npair = 'r'\ntemperature = '{text}'"));
    }
}
