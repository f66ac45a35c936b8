//! A potential that counts its evaluations.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;

use boltzflow::error::EvaluationError;
use boltzflow::potential::Potential;
use boltzflow::system::System;

/// Running totals of a [`Counted`] potential.
#[derive(Default)]
pub struct Counts {
    evaluations: AtomicU64,
    failures: AtomicU64,
}

impl Counts {
    /// Configurations whose energy and gradient were asked for.
    pub fn evaluations(&self) -> u64 {
        self.evaluations.load(Ordering::Relaxed)
    }

    /// Those among them that had no finite energy.
    pub fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }

    fn add(&self, evaluations: usize, failures: usize) {
        self.evaluations.fetch_add(evaluations as u64, Ordering::Relaxed);
        self.failures.fetch_add(failures as u64, Ordering::Relaxed);
    }
}

/// Any potential, with its evaluations and recoverable failures counted across threads.
pub struct Counted<P> {
    inner: P,
    counts: Arc<Counts>,
}

impl<P: Potential> Counted<P> {
    pub fn new(inner: P) -> Self {
        Self { inner, counts: Arc::default() }
    }

    /// The totals so far; they keep running.
    pub fn counts(&self) -> &Arc<Counts> {
        &self.counts
    }
}

impl<P: Potential> Potential for Counted<P> {
    fn system(&self) -> System {
        self.inner.system()
    }

    fn species(&self) -> &[usize] {
        self.inner.species()
    }

    fn energy_and_gradient(&self, x: &[f64], gradient: &mut [f64]) -> Result<f64, EvaluationError> {
        let result = self.inner.energy_and_gradient(x, gradient);
        let failed = match &result {
            Ok(u) => !(u.is_finite() && gradient.iter().all(|g| g.is_finite())),
            Err(EvaluationError::Recoverable(_)) => true,
            Err(EvaluationError::Fatal(_) | EvaluationError::Stopped(_)) => false,
        };
        self.counts.add(1, usize::from(failed));
        result
    }

    fn energies_and_gradients(
        &self,
        x: &[f64],
        energies: &mut [f64],
        gradients: &mut [f64],
    ) -> Result<usize, EvaluationError> {
        let evaluations = energies.len();
        let result = self.inner.energies_and_gradients(x, energies, gradients);
        self.counts.add(evaluations, *result.as_ref().unwrap_or(&0));
        result
    }

    fn softened(&self, core_radius: f64) -> Option<Arc<dyn Potential>> {
        let inner = self.inner.softened(core_radius)?;
        Some(Arc::new(Counted { inner, counts: self.counts.clone() }))
    }
}

#[test]
fn evaluations_and_failures_are_counted_one_by_one_in_batches_and_through_pointers() {
    use boltzflow::potential::{LennardJones, LennardJonesParameters};
    let inner = LennardJones::new(LennardJonesParameters::new(2, 2, 1.0)).unwrap();
    let inner: Arc<dyn Potential> = Arc::new(inner);
    let counted = Counted::new(inner);
    let counts = counted.counts().clone();
    let potential: Box<dyn Potential> = Box::new(counted);

    let apart_then_overlapping = [0.0, 0.0, 1.0, 0.0, 2.0, 2.0, 2.0, 2.0];
    let mut energies = [0.0; 2];
    let mut gradients = [1.0; 8];
    let failures = potential
        .energies_and_gradients(&apart_then_overlapping, &mut energies, &mut gradients)
        .unwrap();
    assert_eq!(failures, 1);
    assert!(energies[0].is_finite() && energies[1] == f64::INFINITY);
    assert_eq!(gradients[4..], [0.0; 4]);
    assert_eq!((counts.evaluations(), counts.failures()), (2, 1));

    let overlap = &apart_then_overlapping[4..];
    assert!(potential.energy_and_gradient(overlap, &mut gradients[..4]).is_err());
    let softened = potential.softened(0.5).unwrap();
    assert!(softened.energy_and_gradient(&[0.0, 0.0, 0.1, 0.0], &mut gradients[..4]).is_ok());
    assert_eq!((counts.evaluations(), counts.failures()), (4, 2));
}
