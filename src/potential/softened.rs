//! A linear continuation of a steep repulsive core, for trainers that start soft and harden it.

/// Below a radius a pair term u(r) is replaced by its tangent there:
/// u(r_c) + u′(r_c)(r − r_c) for r < r_c, so that value and slope stay continuous and the energy of
/// overlapping particles stays finite. Exact when r_c = 0.
///
/// # Examples
/// u = 1/r² with a core of radius ½, where u = 4 and u′ = −16:
/// ```
/// use boltzflow::potential::LinearCore;
/// let radial = |squared: f64| (1.0 / squared, -2.0 / (squared * squared));
/// let core = LinearCore::of(radial, 0.5);
/// let (u, _) = core.apply(0.25 * 0.25, radial);
/// assert_eq!(u, 4.0 + 16.0 * (0.5 - 0.25));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct LinearCore {
    radius_squared: f64,
    at_zero: f64,
    slope: f64,
}

impl LinearCore {
    /// The tangent at `radius` of the pair term `radial`, which maps r² to (u, u′(r)/r).
    pub fn of(radial: impl Fn(f64) -> (f64, f64), radius: f64) -> Self {
        if radius == 0.0 {
            return Self::default();
        }
        let (u, slope_over_r) = radial(radius * radius);
        let slope = slope_over_r * radius;
        Self { radius_squared: radius * radius, at_zero: u - slope * radius, slope }
    }

    /// (u, u′(r)/r) at r² = `squared`: the tangent inside, `radial` outside.
    #[inline(always)]
    pub fn apply(&self, squared: f64, radial: impl Fn(f64) -> (f64, f64)) -> (f64, f64) {
        if squared < self.radius_squared {
            let r = squared.sqrt();
            (self.at_zero + self.slope * r, self.slope / r)
        } else {
            radial(squared)
        }
    }
}
