//! The lengths of a crystal, from its sites.

use crate::error::Error;
use crate::potential::{crystal_of, second_derivatives, Potential};

/// Neighbours that a layer may see.
const NEIGHBOURS: std::ops::RangeInclusive<usize> = 4..=20;
/// Radii of the soft core at first and at last, as parts of the nearest distance of two sites:
/// particles of a crystal hardly ever come nearer than the last.
const CORE: f64 = 0.82;
const FINAL_CORE: f64 = 0.72;

/// What the sites say; lengths in the target's unit.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Surroundings {
    /// Neighbours of a site within the cut-off, those of the first site.
    pub neighbours: usize,
    /// The middle of the widest gap between shells of neighbours.
    pub cutoff: f64,
    /// The least width of a coordinate with all others at their sites, 1/√⟨∂²U/∂x²⟩ over the
    /// axes of a particle.
    pub stiffest: f64,
    /// Radii of the soft core at first and at last, where the potential has one.
    pub core: Option<[f64; 2]>,
}

impl Surroundings {
    /// Those of a potential with a crystal; `None` for others.
    ///
    /// # Errors
    /// Those of the potential; [`Error::Parameter`] on `--minutes` where no layer would see
    /// neighbours, or the sites are no minimum.
    pub fn of(potential: &dyn Potential) -> Result<Option<Self>, Error> {
        let Some(crystal) = crystal_of(potential) else { return Ok(None) };
        let (system, sites) = (crystal.system(), crystal.sites());
        let d = system.dimension();
        let half = system.half_edge();
        let mut distances: Vec<f64> = sites
            .chunks_exact(d)
            .skip(1)
            .map(|site| system.separation(site, &sites[..d]).iter().map(|r| r * r).sum::<f64>())
            .map(f64::sqrt)
            .collect();
        distances.sort_by(f64::total_cmp);
        // A gap in which the cut-off may be at most half an edge of the box.
        let gap = |&k: &usize| distances[k] / distances[k - 1];
        let widest = NEIGHBOURS
            .filter(|&k| k < distances.len() && distances[k - 1] < half)
            .max_by(|a, b| gap(a).total_cmp(&gap(b)));
        let Some(neighbours) = widest else {
            let problem = "is for a crystal whose box holds a shell of neighbours within half an \
                           edge, and this one is smaller: use more particles";
            return Err(Error::parameter("--minutes", problem));
        };
        let middle = 0.5 * (distances[neighbours - 1] + distances[neighbours]);
        let nearest = distances[0];
        let stiffest = stiffest(potential, sites)?;
        if !(stiffest > 0.0 && stiffest.is_finite()) {
            let problem = "is for a crystal whose energy has a minimum at the sites, and this one \
                           has none: another lattice or density";
            return Err(Error::parameter("--minutes", problem));
        }
        let core = [CORE * nearest, FINAL_CORE * nearest];
        Ok(Some(Self {
            neighbours,
            cutoff: middle.min(half),
            stiffest,
            core: potential.softened(core[0]).map(|_| core),
        }))
    }
}

/// 1/√ of the largest mean curvature along the axes of a particle at its site.
fn stiffest(potential: &dyn Potential, sites: &[f64]) -> Result<f64, Error> {
    let curvatures = second_derivatives(potential, sites)?;
    let diagonal: Vec<f64> = curvatures.iter().step_by(sites.len() + 1).copied().collect();
    if diagonal.iter().any(|curvature| !curvature.is_finite()) {
        return Ok(f64::NAN);
    }
    let d = potential.system().dimension();
    let means = diagonal.chunks_exact(d).map(|axes| axes.iter().sum::<f64>() / d as f64);
    let most = means.fold(0.0, f64::max);
    Ok(most.sqrt().recip())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crystal::Lattice;
    use crate::potential::{LennardJones, LennardJonesParameters, WithStructures};
    use crate::system::System;

    fn of(lattice: Lattice, particles: usize, density: f64) -> Result<Surroundings, Error> {
        let edge = (particles as f64 / density).cbrt();
        let system = System::new(particles, 3).unwrap().in_box(&[edge; 3]).unwrap();
        let parameters = LennardJonesParameters {
            trap: 0.0,
            edges: Some(vec![edge; 3]),
            cutoff: Some(0.49 * edge),
            r_m: 2f64.powf(1.0 / 6.0),
            ..LennardJonesParameters::new(particles, 3, 0.5)
        };
        let potential = LennardJones::new(parameters).unwrap();
        let sites = lattice.sites(system).unwrap();
        let with_sites = WithStructures::new(potential, vec![sites]);
        Surroundings::of(&with_sites).map(Option::unwrap)
    }

    #[test]
    fn layers_see_the_shells_before_the_widest_gap() {
        let fcc = of(Lattice::Fcc, 108, 1.28).unwrap();
        assert_eq!(fcc.neighbours, 12);
        // Between the shells at a/√2 and a, with four sites in a cell.
        let a = (4.0f64 / 1.28).cbrt();
        assert!((fcc.cutoff - 0.5 * (a / 2f64.sqrt() + a)).abs() < 1e-9, "{fcc:?}");
        assert!((0.03..0.06).contains(&fcc.stiffest), "{fcc:?}");
        let [first, last] = fcc.core.unwrap();
        assert!(last < first && first < a / 2f64.sqrt());
        let bcc = of(Lattice::Bcc, 54, 1.2).unwrap();
        assert_eq!(bcc.neighbours, 14);
        // The neighbours of a site are half an edge away, on both sides.
        assert_eq!(of(Lattice::Sc, 8, 1.0).unwrap_err().exit_code(), 2);
    }
}
