//! Draws whose density is not the one that they came with.

use super::*;

/// A Gaussian that states the density of one draw in ten wrongly.
struct Careless {
    gaussian: Gaussian,
    off: f64,
}

impl LogDensity for Careless {
    fn width(&self) -> usize {
        self.gaussian.width()
    }

    fn log_density_and_gradient(
        &self,
        z: &[f64],
        log_density: &mut [f64],
        gradient: &mut [f64],
    ) -> Result<usize, EvaluationError> {
        self.gaussian.log_density_and_gradient(z, log_density, gradient)
    }
}

impl Proposal for Careless {
    fn draw(&self, rngs: &mut [ChaCha8Rng], z: &mut [f64], log_density: &mut [f64]) {
        self.gaussian.draw(rngs, z, log_density);
        for (row, out) in z.chunks_exact(self.width()).zip(log_density) {
            // By chance that has nothing to do with the density.
            if (1e6 * row[0]).rem_euclid(10.0) < 1.0 {
                *out += self.off;
            }
        }
    }
}

#[test]
fn draws_that_do_not_come_back_to_their_density_weigh_nothing() {
    let share = |off: f64| {
        let target = AugmentedTarget::new(Arc::new(harmonic(KAPPA, CONSTANT)), 2, ETA).unwrap();
        let gaussian = Gaussian::new(target.subspace(), SCALE, SPREAD).unwrap();
        let ais = AnnealedImportanceSampling {
            proposal: &Careless { gaussian, off },
            target: &target,
            subspace: target.subspace(),
            annealing: Annealing { intermediate: 1, leapfrog_steps: 2, alpha: 1.0 },
        };
        let streams = Streams { seed: 11, purpose: Purpose::Annealing, step: 0 };
        let out = ais.run(4000, streams, &mut StepSizes::new(1, 0.05)).unwrap();
        out.zero_weights as f64 / 4000.0
    };
    let error = (0.09f64 / 4000.0).sqrt();
    assert!((share(300.0) - 0.1).abs() < 4.5 * error && (share(-300.0) - 0.1).abs() < 4.5 * error);
    // What rounding does is nothing.
    assert_eq!(share(0.01), 0.0);
}
