//! Equally weighted samples from a stream of weighted ones.

use std::path::Path;

use super::resampling::Systematic;
use crate::error::Error;
use crate::samples::{Numbers, Samples, Spool};
use crate::system::System;

/// Samples of equal weight, in batches; an iterator for
/// [`write_samples`](crate::samples::write_samples).
pub struct Resampled {
    system: System,
    // Keeps the file there while it is read.
    _spool: Spool,
    numbers: Numbers,
    systematic: Systematic,
    /// Weighted samples not yet read.
    left: usize,
    /// How many of them came out at least once so far.
    distinct: usize,
}

/// Chooses `places` of the weighted `batches` by systematic resampling: a sample of weight w comes
/// places · w/Σw times, rounded up or down by chance, and its copies follow each other.
///
/// The weighted samples wait in a temporary file in the folder of `destination` until their total
/// weight is known, and memory holds one batch. `offset` is uniform on [0, 1).
///
/// # Errors
/// The first error of a batch; [`Error::Write`]; [`Error::Run`] when no sample has a weight.
pub fn resample(
    destination: &Path,
    system: System,
    places: usize,
    offset: f64,
    batches: impl IntoIterator<Item = Result<Samples, Error>>,
) -> Result<Resampled, Error> {
    let mut spool = Spool::beside(destination)?;
    let mut systematic = Systematic::new(places, offset);
    let mut left = 0;
    for batch in batches {
        let batch = batch?;
        let rows = batch.positions.chunks_exact(system.coordinates());
        for ((x, log_weight), energy) in rows.zip(&batch.log_weights).zip(&batch.energies) {
            systematic.add(*log_weight);
            spool.push(x)?;
            spool.push(&[*log_weight, *energy])?;
            left += 1;
        }
    }
    if !systematic.is_possible() {
        return Err(Error::Run(
            "no sample has a finite weight: this flow cannot be resampled, train it longer".into(),
        ));
    }
    let numbers = spool.read()?;
    Ok(Resampled { system, _spool: spool, numbers, systematic, left, distinct: 0 })
}

impl Resampled {
    /// How many different samples came out so far.
    pub fn distinct(&self) -> usize {
        self.distinct
    }
}

impl Iterator for Resampled {
    type Item = Result<Samples, Error>;

    /// A batch, about a thousand samples.
    fn next(&mut self) -> Option<Self::Item> {
        let coordinates = self.system.coordinates();
        let (mut positions, mut energies) = (Vec::new(), Vec::new());
        let mut row = vec![0.0; coordinates + 2];
        while self.left > 0 && energies.len() < 1024 {
            if let Err(error) = self.numbers.next_into(&mut row) {
                self.left = 0;
                return Some(Err(error));
            }
            self.left -= 1;
            let copies = match row.get(coordinates) {
                Some(log_weight) => self.systematic.copies(*log_weight, self.left == 0),
                None => 0,
            };
            self.distinct += usize::from(copies > 0);
            for _ in 0..copies {
                positions.extend_from_slice(&row[..coordinates]);
                energies.push(row[coordinates + 1]);
            }
        }
        let batch = Samples { positions, log_weights: Vec::new(), energies };
        (!batch.positions.is_empty()).then_some(Ok(batch))
    }
}
