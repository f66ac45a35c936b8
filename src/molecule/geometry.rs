//! Distances and angles of listed atoms of a configuration.

fn difference<'a>(x: &'a [f64], d: usize, a: usize, b: usize) -> impl Iterator<Item = f64> + 'a {
    x[b * d..(b + 1) * d].iter().zip(&x[a * d..(a + 1) * d]).map(|(b, a)| b - a)
}

/// ‖x_b − x_a‖ in the configuration `x`, [particles, d].
pub fn distance(x: &[f64], d: usize, [a, b]: [usize; 2]) -> f64 {
    difference(x, d, a, b).map(|v| v * v).sum::<f64>().sqrt()
}

/// The angle at b, in degrees from 0 to 180; not a number (NaN) where two atoms coincide.
pub fn angle(x: &[f64], d: usize, [a, b, c]: [usize; 3]) -> f64 {
    let (mut dot, mut first, mut second) = (0.0, 0.0, 0.0);
    for (u, v) in difference(x, d, b, a).zip(difference(x, d, b, c)) {
        dot += u * v;
        first += u * u;
        second += v * v;
    }
    (dot / (first * second).sqrt()).clamp(-1.0, 1.0).acos().to_degrees()
}

/// The dihedral angle of a, b, c and d of a configuration in space, in degrees in (−180, 180] with
/// the sign of IUPAC: 0 for cis, positive where d is turned clockwise from a, seen along b → c
/// (Blondel and Karplus, J. Comput. Chem. 17 (1996)). Not a number (NaN) where three are in a line.
pub fn dihedral(x: &[f64], [a, b, c, d]: [usize; 4]) -> f64 {
    let vector = |from, to| {
        let mut v = [0.0; 3];
        v.iter_mut().zip(difference(x, 3, from, to)).for_each(|(v, w)| *v = w);
        v
    };
    let (f, g, h) = (vector(b, a), vector(c, b), vector(c, d));
    let (first, second) = (cross(f, g), cross(h, g));
    let length = dot(g, g).sqrt();
    let (sin, cos) = (dot(cross(second, first), g) / length, dot(first, second));
    if dot(first, first) == 0.0 || dot(second, second) == 0.0 {
        return f64::NAN;
    }
    match sin.atan2(cos).to_degrees() {
        angle if angle <= -180.0 => 180.0,
        angle => angle,
    }
}

/// (a − d)·((b − d) × (c − d)), six times the signed volume of a tetrahedron of atoms in space.
pub(crate) fn signed_volume(x: &[f64], [a, b, c, d]: [usize; 4]) -> f64 {
    let from_d = |atom: usize| [0, 1, 2].map(|axis| x[3 * atom + axis] - x[3 * d + axis]);
    dot(from_d(a), cross(from_d(b), from_d(c)))
}

pub(crate) fn cross([a, b, c]: [f64; 3], [u, v, w]: [f64; 3]) -> [f64; 3] {
    [b * w - c * v, c * u - a * w, a * v - b * u]
}

pub(crate) fn dot(a: [f64; 3], b: [f64; 3]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// a on the x axis, b at the origin, c up the z axis, d turned by `turn` about z.
    fn chain(turn: f64) -> Vec<f64> {
        let (s, c) = turn.to_radians().sin_cos();
        vec![1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.5, c, s, 1.5]
    }

    #[test]
    fn known_geometries_and_the_sign_of_iupac() {
        for turn in [-179.0, -90.0, -10.0, 0.0, 60.0, 150.0, 180.0] {
            let x = chain(turn);
            // Seen from b to c, up the z axis from below, x to y is clockwise.
            assert!((dihedral(&x, [0, 1, 2, 3]) - turn).abs() < 1e-9, "{turn}");
            assert!((dihedral(&x, [3, 2, 1, 0]) - turn).abs() < 1e-9, "{turn}");
            let mirrored: Vec<f64> = x.chunks(3).flat_map(|p| [-p[0], p[1], p[2]]).collect();
            let there = dihedral(&mirrored, [0, 1, 2, 3]);
            let image = if turn == 180.0 { 180.0 } else { -turn };
            assert!((there - image).abs() < 1e-9, "{turn}: {there}");
        }
        let x = chain(90.0);
        assert!((angle(&x, 3, [0, 1, 2]) - 90.0).abs() < 1e-12);
        assert!((distance(&x, 3, [1, 2]) - 1.5).abs() < 1e-12);
        assert!(dihedral(&[0.0; 12], [0, 1, 2, 3]).is_nan());
        assert!(angle(&[0.0; 12], 3, [0, 1, 2]).is_nan());
    }
}
