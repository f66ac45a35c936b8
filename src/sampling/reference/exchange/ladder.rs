//! Replica exchange: chains at several temperatures that exchange their configurations.
//!
//! Swendsen and Wang, Phys. Rev. Lett. 57, 2607 (1986); Sugita and Okamoto, Chem. Phys. Lett. 314,
//! 141 (1999). Between exchanges, replicas move by Hamiltonian Monte Carlo and by pivots.

use rand::Rng;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use super::pivot::Pivots;
use super::trajectory::{Move, Scratch, Tile};
use crate::engine::LANES;
use crate::error::{Error, EvaluationError};
use crate::potential::Potential;
use crate::random::{step_before, stream, Purpose, ALL_SAMPLES};
use crate::sampling::StepSize;
use crate::work;

/// Leapfrog steps of a trajectory: long enough for a torsion to turn by some tens of degrees.
pub(super) const LEAPFROG_STEPS: usize = 30;

/// Pivots after each trajectory, of a random bond each.
pub(super) const PIVOTS: usize = 4;

/// Rows of a tile: so many configurations the energies of molecules take at once.
pub(super) const TILE: usize = LANES;

/// Where a replica was last, of the two ends of its ladder.
#[derive(Debug, Clone, Copy, PartialEq)]
enum End {
    Neither,
    Cold,
    Hot,
}

/// A part of the ladders at one temperature.
struct Rung {
    /// Place in the ladder, 0 for the coldest.
    level: usize,
    tile: Tile,
    rngs: Vec<ChaCha8Rng>,
    scratch: Scratch,
    ends: Vec<End>,
    /// Sum of acceptances since the last look.
    accepted: f64,
}

/// Independent ladders side by side.
pub(super) struct Ladders<'a> {
    potential: &'a dyn Potential,
    pivots: Pivots,
    betas: &'a [f64],
    masses: &'a [f64],
    /// [parts, levels].
    rungs: Vec<Rung>,
    step_sizes: Vec<StepSize>,
    rng: ChaCha8Rng,
    sweeps: usize,
    /// Exchanges that were tried and that were made, of neighbouring temperatures.
    pub tried: Vec<u64>,
    pub made: Vec<u64>,
    /// Sum of acceptances of trajectories at each temperature since the last look.
    pub accepted: Vec<f64>,
    /// Ways of replicas from cold to hot and back.
    pub round_trips: u64,
}

impl<'a> Ladders<'a> {
    /// Ladders at `betas`, which fall, whose replicas all start at `starts` ([chains, particles,
    /// dimension], as many as there are ladders), with the random numbers of `index`.
    pub fn at(
        potential: &'a dyn Potential,
        betas: &'a [f64],
        masses: &'a [f64],
        starts: &[f64],
        (seed, index): (u64, u64),
    ) -> Result<Self, Error> {
        let width = potential.system().coordinates();
        let (levels, count) = (betas.len(), starts.len() / width);
        let parts = count.div_ceil(TILE);
        let rungs = (0..parts * levels).into_par_iter().map(|place| {
            work::check()?;
            let (part, level) = (place / levels, place % levels);
            let rows = part * TILE..count.min((part + 1) * TILE);
            let x = starts[rows.start * width..rows.end * width].to_vec();
            let numbers = rows.clone().map(|row| {
                let chain = (level * count + row) as u64;
                stream(seed, Purpose::Reference, step_before(3 + index), chain)
            });
            Ok(Rung {
                level,
                tile: Tile::at(potential, x)?,
                rngs: numbers.collect(),
                scratch: Scratch::default(),
                ends: vec![End::Neither; rows.len()],
                accepted: 0.0,
            })
        });
        Ok(Self {
            potential,
            pivots: Pivots::of(potential.system(), potential.bonds()),
            betas,
            masses,
            rungs: rungs.collect::<Result<_, Error>>()?,
            step_sizes: betas.iter().map(|beta| StepSize::new(0.02 / beta.sqrt())).collect(),
            rng: stream(seed, Purpose::Reference, step_before(3 + index), ALL_SAMPLES),
            sweeps: 0,
            tried: vec![0; levels - 1],
            made: vec![0; levels - 1],
            accepted: vec![0.0; levels],
            round_trips: 0,
        })
    }

    /// One trajectory and some pivots of every replica, and one try of exchanging every second pair
    /// of neighbours.
    pub fn sweep(&mut self) -> Result<(), EvaluationError> {
        self.move_at(self.betas, false)
    }

    /// A sweep whose step sizes then follow the acceptance. All temperatures are moved towards the
    /// hottest, which they reach where `heat` is 1.
    pub fn settle(&mut self, heat: f64) -> Result<(), EvaluationError> {
        let hottest = self.betas[self.betas.len() - 1];
        let heated = |beta: &f64| beta.powf(1.0 - heat) * hottest.powf(heat);
        self.move_at(&self.betas.iter().map(heated).collect::<Vec<_>>(), true)
    }

    fn move_at(&mut self, betas: &[f64], adapts: bool) -> Result<(), EvaluationError> {
        work::check()?;
        let jitter = self.rng.gen_range(0.8..1.2);
        let (potential, pivots, masses) = (self.potential, &self.pivots, self.masses);
        // The width of all that moves, and so the step, goes with the root of the temperature.
        let sizes: Vec<f64> = (self.step_sizes.iter().zip(self.betas).zip(betas))
            .map(|((size, own), beta)| size.get() * jitter * (own / beta).sqrt())
            .collect();
        self.rungs.par_iter_mut().try_for_each(|rung| {
            let (beta, step_size) = (betas[rung.level], sizes[rung.level]);
            let by = Move { potential, masses, beta, step_size, steps: LEAPFROG_STEPS };
            rung.accepted = rung.tile.transition(by, &mut rung.rngs, &mut rung.scratch)?;
            if !pivots.is_empty() {
                for _ in 0..PIVOTS {
                    rung.tile.pivot(by, pivots, &mut rung.rngs, &mut rung.scratch)?;
                }
            }
            Ok::<(), EvaluationError>(())
        })?;
        for level in 0..betas.len() {
            let at_level = self.rungs.iter().filter(|rung| rung.level == level);
            let sum: f64 = at_level.map(|rung| rung.accepted * rung.tile.energy.len() as f64).sum();
            let accepted = sum / self.chains() as f64;
            self.accepted[level] += accepted;
            if adapts {
                self.step_sizes[level].adapt(accepted);
            }
        }
        self.exchange(betas);
        self.sweeps += 1;
        Ok(())
    }

    fn exchange(&mut self, betas: &[f64]) {
        let (levels, width) = (betas.len(), self.potential.system().coordinates());
        for ladder in self.rungs.chunks_mut(levels) {
            for level in (self.sweeps % 2..levels - 1).step_by(2) {
                let (colder, hotter) = ladder.split_at_mut(level + 1);
                let (cold, hot) = (&mut colder[level], &mut hotter[0]);
                let change = betas[level] - betas[level + 1];
                for row in 0..cold.tile.energy.len() {
                    let gain = change * (cold.tile.energy[row] - hot.tile.energy[row]);
                    self.tried[level] += 1;
                    if cold.rngs[row].gen::<f64>() < gain.exp() {
                        self.made[level] += 1;
                        cold.tile.exchange(row, &mut hot.tile, width);
                        std::mem::swap(&mut cold.ends[row], &mut hot.ends[row]);
                    }
                }
            }
            for end in &mut ladder[0].ends {
                self.round_trips += u64::from(*end == End::Hot);
                *end = End::Cold;
            }
            for end in &mut ladder[levels - 1].ends {
                if *end == End::Cold {
                    *end = End::Hot;
                }
            }
        }
    }

    /// Begins to count anew.
    pub fn forget(&mut self) {
        self.tried.fill(0);
        self.made.fill(0);
        self.accepted.fill(0.0);
        self.round_trips = 0;
    }

    /// The tiles at a place of the ladder.
    pub fn level(&self, level: usize) -> impl Iterator<Item = &Tile> {
        self.rungs.iter().filter(move |rung| rung.level == level).map(|rung| &rung.tile)
    }

    /// Ladders side by side.
    pub fn chains(&self) -> usize {
        self.level(0).map(|tile| tile.energy.len()).sum()
    }

    /// The step size at the coldest temperature.
    pub fn step_size(&self) -> f64 {
        self.step_sizes[0].get()
    }

    /// All tiles.
    pub fn tiles(&self) -> impl Iterator<Item = &Tile> {
        self.rungs.iter().map(|rung| &rung.tile)
    }
}
