//! Where positions count from: the centre of mass of x, at the start of a Gaussian base density and
//! at the end of the flow, and the sites of a crystal.

use super::model::{load_rows, store_rows, Flow};
use crate::engine::{Lane, Real, LANES};

impl<T: Real> Flow<T> {
    /// Configurations (at most a tile of them) to lanes: of a crystal displacements from the sites.
    pub(super) fn load_joint(&self, rows: &[f64], lanes: &mut [Lane<T>]) {
        let width = self.width();
        let Some(crystal) = &self.crystal else { return load_rows(rows, width, lanes) };
        // In f64, since displacements are small beside positions.
        let sites = crystal.sites().iter().cycle();
        let displaced: Vec<f64> = rows.iter().zip(sites).map(|(x, site)| x - site).collect();
        load_rows(&displaced, width, lanes);
    }

    /// Lanes to configurations whose x has zero centre of mass.
    pub(super) fn store_joint(&self, lanes: &[Lane<T>], rows: &mut [f64]) {
        store_rows(lanes, self.width(), rows);
        if let Some(crystal) = &self.crystal {
            rows.iter_mut().zip(crystal.sites().iter().cycle()).for_each(|(x, site)| *x += site);
        }
        self.center_rows(rows);
    }

    /// All copies shift together such that x has zero centre of mass.
    pub(super) fn center_rows(&self, joint: &mut [f64]) {
        let d = self.system.dimension();
        for row in joint.chunks_exact_mut(self.width()) {
            let mean = self.system.center_of_mass(&row[..self.system.coordinates()]);
            for point in row.chunks_exact_mut(d) {
                for (v, m) in point.iter_mut().zip(&mean) {
                    *v -= m;
                }
            }
        }
    }

    /// Mean position per axis of one copy.
    pub(super) fn means(&self, copy: &[Lane<T>]) -> [[T; LANES]; 3] {
        let d = self.system.dimension();
        let scale = T::of(1.0 / self.system.particles() as f64);
        let mut mean = [[T::ZERO; LANES]; 3];
        for (k, lane) in copy.iter().enumerate() {
            for (m, v) in mean[k % d].iter_mut().zip(lane.0) {
                *m += v * scale;
            }
        }
        mean
    }

    /// Centres the first `x` lanes.
    pub(super) fn center(&self, state: &mut [Lane<T>], x: usize) {
        let mean = self.means(&state[..x]);
        let d = self.system.dimension();
        for (k, lane) in state[..x].iter_mut().enumerate() {
            for (v, m) in lane.0.iter_mut().zip(mean[k % d]) {
                *v = *v - m;
            }
        }
    }
}
