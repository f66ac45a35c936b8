//! The flow: a base density on the joint space and a chain of couplings, tile by tile.

use crate::crystal::Crystal;
use crate::engine::{Arena, Lane, Real, LANES};
use crate::error::Error;
use crate::system::{numbered, System};

use super::base::{BaseDensity, Skeleton};
use super::options::layer_key;
use super::{
    Apply, Block, Coupling, CouplingContext, Direction, FlowOptions, HalfShape, Initial,
    ParameterLayout, Precision, Vjp,
};

/// Tiles that go together through a base density that is all of the flow, at most.
pub(super) const TILES: usize = 4;

/// An augmented equivariant coupling flow.
///
/// The state is x and M augmented copies a_k, in two halves of (M + 1)/2 copies. The base density
/// is x₀ ~ N(0, σ² I) on the zero-centre-of-mass subspace, a₀_k | x₀ ~ N(x₀, s² I). Couplings
/// F_1, F_2, … move one half given the other, in turns, and
///
/// ```text
/// (x, a) = F_L ∘ … ∘ F_1 (x₀, a₀)
/// log q(x, a) = log N(x₀; 0, σ²) + Σ_k log N(a₀_k; x₀, s²) − Σ_l log |det ∂F_l|
/// ```
///
/// with lengths in the target's unit; x₀ may have the [density of a molecule or of a
/// crystal](super::BaseOptions) in place of the Gaussian. Of a crystal all positions count from its
/// sites. Couplings are equivariant under joint translations, so
/// nothing is centred between them; at the end all copies are shifted together such that x has zero
/// centre of mass, which has unit Jacobian.
pub struct Flow<T: Real> {
    pub(super) system: System,
    species: Vec<usize>,
    pub(super) copies: usize,
    layout: ParameterLayout,
    pub(super) base: Base<T>,
    /// From whose sites positions count.
    pub(super) crystal: Option<Crystal>,
    log_augmentation_scale: Block,
    couplings: Vec<Box<dyn Coupling<T>>>,
    /// Lanes of the records of all couplings, and of the largest scratch among them.
    record_lanes: usize,
    scratch_lanes: usize,
}

/// The density of x₀.
pub(super) enum Base<T> {
    /// N(0, σ² I), with log σ.
    Gaussian(Block),
    /// Another one.
    Density(Box<dyn BaseDensity<T>>),
}

impl<T: Precision> Flow<T> {
    /// Builds the flow of particles that are all alike, and the layout of its parameters.
    ///
    /// # Errors
    /// [`Error::Parameter`] for options that make no flow.
    pub fn new(system: System, options: &FlowOptions) -> Result<Self, Error> {
        Self::with_species(system, &[], options)
    }

    /// Builds a flow that exchanges particles of the same species only: `species` has a number for
    /// each particle, or is empty when all are alike.
    ///
    /// # Errors
    /// [`Error::Parameter`] for options that make no flow, and for another number of species.
    pub fn with_species(
        system: System,
        species: &[usize],
        options: &FlowOptions,
    ) -> Result<Self, Error> {
        Self::of_molecule(system, species, None, options)
    }

    /// [`with_species`](Self::with_species), with what a base density must know of a molecule or a
    /// crystal.
    ///
    /// # Errors
    /// [`Error::Parameter`], and also if a molecule is asked for and its bonds do not hold all of
    /// its atoms together, if a crystal is asked for and there are no sites in a periodic box or
    /// they are no minimum, and if there is a box and no crystal is asked for.
    pub fn of_molecule(
        system: System,
        species: &[usize],
        skeleton: Option<Skeleton<'_>>,
        options: &FlowOptions,
    ) -> Result<Self, Error> {
        if ![0, system.particles()].contains(&species.len()) {
            return Err(Error::parameter(
                "species",
                format!("has {} entries for {} particles", species.len(), system.particles()),
            ));
        }
        let mut species = numbered(species);
        if species.iter().all(|&s| s == 0) {
            species.clear();
        }
        options.validate().map_err(|e| e.within("flow"))?;
        let copies = options.augmented_copies + 1;
        let half = HalfShape {
            copies: copies / 2,
            particles: system.particles(),
            dimension: system.dimension(),
        };
        let mut layout = ParameterLayout::default();
        layout.enter("base");
        let crystal = crystal(system, skeleton, options)?;
        let known = (crystal.as_ref(), skeleton);
        let base = match T::build_base(&species, known, options, &mut layout)? {
            Some(base) => Base::Density(base),
            None => {
                let scale = Initial::Constant(options.base_scale.ln());
                Base::Gaussian(layout.vector("log_scale", 1, scale))
            }
        };
        layout.enter("base");
        let log_augmentation_scale = layout.vector(
            "log_augmentation_scale",
            1,
            Initial::Constant(options.initial_augmentation_scale().ln()),
        );
        let context = CouplingContext {
            half,
            species: &species,
            crystal: crystal.as_ref(),
            noise_factor: options.noise_factor(),
        };
        let mut couplings: Vec<Box<dyn Coupling<T>>> = Vec::new();
        for (index, group) in options.layers.iter().enumerate() {
            for _ in 0..group.repeat() {
                let layer = couplings.len() / 2;
                for moved in ["augmented", "positions"] {
                    layout.enter(format!("layer.{layer:02}.{moved}"));
                    let coupling = group.build(&context, &mut layout);
                    let key = format!("flow.{}", layer_key(index));
                    couplings.push(coupling.map_err(|e| e.within(&key))?);
                }
            }
        }
        Ok(Self {
            system,
            species,
            copies,
            layout,
            record_lanes: couplings.iter().map(|c| c.record_lanes()).sum(),
            scratch_lanes: {
                let of_base = match &base {
                    Base::Gaussian(_) => 0,
                    Base::Density(base) if couplings.is_empty() => base.scratch(TILES),
                    Base::Density(base) => base.scratch(1),
                };
                couplings.iter().map(|c| c.scratch()).fold(of_base, usize::max)
            },
            base,
            crystal,
            log_augmentation_scale,
            couplings,
        })
    }
}

/// The crystal from whose sites positions count, if the base density is that of one.
fn crystal(
    system: System,
    skeleton: Option<Skeleton<'_>>,
    options: &FlowOptions,
) -> Result<Option<Crystal>, Error> {
    let wrong = |problem: &str| Err(Error::parameter("flow.base.kind", problem));
    match (options.base.is_crystal(), system.periodic_box(), skeleton) {
        (false, None, _) => Ok(None),
        (false, Some(_), _) => wrong(
            "must be \"crystal\", since the target is in a periodic box, where particles are tied \
             to the sites of a structure",
        ),
        (true, None, _) => wrong(
            "is \"crystal\" and the target has no periodic box: give it one, or use \"gaussian\"",
        ),
        (true, Some(_), None) => wrong(
            "is \"crystal\" and the target has no sites: give its file a section [[structure]] \
             with lattice = \"fcc\" or a file",
        ),
        (true, Some(_), Some(skeleton)) => Crystal::new(system, skeleton.structure).map(Some),
    }
}

impl<T: Real> Flow<T> {
    /// Whether rotated configurations have the same density, whatever the parameters are.
    pub fn is_rotation_invariant(&self) -> bool {
        self.couplings.iter().all(|coupling| coupling.is_rotation_equivariant())
    }

    /// Particles and dimensions.
    pub fn system(&self) -> System {
        self.system
    }

    /// The species of each particle, numbered from 0 in the order of their first appearance; empty
    /// when all particles are alike.
    pub fn species(&self) -> &[usize] {
        &self.species
    }

    /// Copies in a joint configuration, M + 1.
    pub fn copies(&self) -> usize {
        self.copies
    }

    /// Numbers in a joint configuration, (M + 1)·n·d.
    pub fn width(&self) -> usize {
        self.copies * self.system.coordinates()
    }

    /// Names and shapes of the parameters.
    pub fn layout(&self) -> &ParameterLayout {
        &self.layout
    }

    /// Number of couplings.
    pub fn couplings(&self) -> usize {
        self.couplings.len()
    }

    /// What it is made of, in a few words: "8 couplings, 15874 parameters".
    pub fn summary(&self) -> String {
        let parts = match (&self.base, self.couplings.len()) {
            (Base::Gaussian(_), couplings) => format!("{couplings} couplings"),
            (Base::Density(base), 0) => base.title().to_string(),
            (Base::Density(base), couplings) => {
                format!("{} and {couplings} couplings", base.title())
            }
        };
        format!("{parts}, {} parameters", self.layout.total())
    }

    /// Whether the base density is to be [fitted](Self::fit) before training.
    pub fn needs_fit(&self, theta: &[T]) -> bool {
        self.layout.needs_fit(theta)
    }

    /// Fits the base density of a molecule to samples of the target, [samples, n, d]; others stay
    /// as they are.
    pub fn fit(&self, theta: &mut [T], x: &[f64]) {
        if let Base::Density(base) = &self.base {
            base.fit(theta, x);
        }
    }

    /// Dihedral angles that turn, [samples, angles], where the base density is that of a molecule:
    /// in radians, of configurations x, [samples, n, 3], with like atoms in the structure's order.
    pub fn turning_angles(&self, x: &[f64]) -> Vec<f64> {
        match &self.base {
            Base::Gaussian(_) => Vec::new(),
            Base::Density(base) => base.turning_angles(x),
        }
    }

    /// Lanes of the states that one [chunk](Self::chunk) passes through: the input of every call,
    /// the last output, and those of the base density.
    pub(super) fn trajectory_lanes(&self) -> usize {
        let tiles = self.chunk() / LANES;
        let trail = match &self.base {
            Base::Gaussian(_) => 0,
            Base::Density(base) => base.trail_lanes(tiles),
        };
        (self.couplings.len() + 1) * self.width() * tiles + trail
    }

    /// The base density, where it is all that there is.
    pub(super) fn alone(&self) -> Option<&dyn BaseDensity<T>> {
        match &self.base {
            Base::Density(base) if self.couplings.is_empty() => Some(&**base),
            _ => None,
        }
    }

    /// Samples that are worked on together: a tile or, without couplings, several.
    pub(super) fn chunk(&self) -> usize {
        if self.alone().is_some() {
            TILES * LANES
        } else {
            LANES
        }
    }

    /// The last state of a trajectory and what the base density left there.
    pub(super) fn last<'a>(&self, states: &'a [Lane<T>]) -> (&'a [Lane<T>], &'a [Lane<T>]) {
        states[self.couplings.len() * self.width()..].split_at(self.width())
    }

    /// Calls all couplings of a tile, whose `states` start with the input; returns Σ
    /// log-determinants. Couplings leave their records where the tile has room for them.
    pub(super) fn pass(
        &self,
        direction: Direction,
        theta: &[T],
        tile: &mut Tile<'_, T>,
    ) -> Lane<T> {
        let Tile { records, states, scratch, .. } = tile;
        let keep = !records.is_empty();
        let mut records = Arena::new(records);
        let width = self.width();
        let mut log_det = Lane::zero();
        for call in 0..self.couplings.len() {
            let (done, rest) = states.split_at_mut((call + 1) * width);
            let state = &mut rest[..width];
            state.copy_from_slice(&done[call * width..]);
            let index = self.called(direction, call);
            let (moved, conditioning) = split(index, state);
            let coupling = &self.couplings[index];
            let record = records.take(if keep { coupling.record_lanes() } else { 0 });
            let log_det = &mut log_det;
            let call = Apply { direction, theta, conditioning, moved, log_det, record };
            coupling.apply(call, scratch);
        }
        log_det
    }

    /// The vector-Jacobian product of [`pass`](Self::pass): the tile's `cotangent` is ∂L/∂(last
    /// state) on entry and ∂L/∂(first state) on return. `states` are those that the tile passed
    /// through.
    pub(super) fn pass_vjp(
        &self,
        direction: Direction,
        theta: &[T],
        states: &[Lane<T>],
        [log_det_cotangent, frame_loss_cotangent]: [&Lane<T>; 2],
        mut gradient: Option<&mut [T]>,
        tile: &mut Tile<'_, T>,
    ) {
        let width = self.width();
        let Tile { records, cotangent, scratch, .. } = tile;
        let mut records = &mut **records;
        let keep = !records.is_empty();
        for call in (0..self.couplings.len()).rev() {
            let state = &states[call * width..(call + 1) * width];
            let index = self.called(direction, call);
            let (first, second) = state.split_at(width / 2);
            let (moved, conditioning) =
                if index.is_multiple_of(2) { (second, first) } else { (first, second) };
            let (moved_cotangent, conditioning_cotangent) = split(index, cotangent);
            let coupling = &self.couplings[index];
            let own = if keep { coupling.record_lanes() } else { 0 };
            let (earlier, record) = records.split_at_mut(records.len() - own);
            records = earlier;
            let call = Vjp {
                direction,
                theta,
                conditioning,
                moved,
                moved_cotangent,
                conditioning_cotangent,
                log_det_cotangent,
                frame_loss_cotangent,
                gradient: gradient.as_deref_mut(),
                record,
            };
            coupling.vjp(call, scratch);
        }
    }

    /// Index of the coupling that call number `call` uses.
    fn called(&self, direction: Direction, call: usize) -> usize {
        match direction {
            Direction::Forward => call,
            Direction::Inverse => self.couplings.len() - 1 - call,
        }
    }

    /// log σ and log s; log σ is 0 where there is no σ.
    pub(super) fn log_scales(&self, theta: &[T]) -> (f64, f64) {
        let base = match &self.base {
            Base::Gaussian(log_scale) => log_scale.of(theta)[0].to_f64(),
            Base::Density(_) => 0.0,
        };
        (base, self.log_augmentation_scale.of(theta)[0].to_f64())
    }

    /// Adds to ∂L/∂log σ and ∂L/∂log s.
    pub(super) fn add_log_scale_gradient(&self, gradient: &mut [T], base: f64, augmented: f64) {
        if let Base::Gaussian(log_scale) = &self.base {
            log_scale.of_mut(gradient)[0] += T::of(base);
        }
        self.log_augmentation_scale.of_mut(gradient)[0] += T::of(augmented);
    }

    /// Memory of one tile in the thread's workspace, with room for records if they are to be kept.
    pub(super) fn with_tile<R>(&self, keep: bool, body: impl FnOnce(Tile<'_, T>) -> R) -> R {
        T::with_workspace(self.tile_lanes(keep), |space| {
            body(self.tile(keep, &mut Arena::new(space)))
        })
    }

    /// Lanes of a tile's memory.
    pub(super) fn tile_lanes(&self, keep: bool) -> usize {
        Arena::<T>::measure(|arena| {
            self.tile(keep, arena);
        })
    }

    fn tile<'a>(&self, keep: bool, arena: &mut Arena<'a, T>) -> Tile<'a, T> {
        Tile {
            records: arena.take(if keep { self.record_lanes } else { 0 }),
            states: arena.take(self.trajectory_lanes()),
            cotangent: arena.take(self.width() * self.chunk() / LANES),
            scratch: arena.take(self.scratch_lanes),
        }
    }
}

/// The memory of one tile of samples.
pub(super) struct Tile<'a, T> {
    /// What couplings leave for their vector-Jacobian products; empty if they are not to.
    pub records: &'a mut [Lane<T>],
    /// The input of every call and the last output.
    pub states: &'a mut [Lane<T>],
    /// Of one state.
    pub cotangent: &'a mut [Lane<T>],
    /// What couplings work in.
    pub scratch: &'a mut [Lane<T>],
}

/// (moved, conditioning) halves of a state for coupling `index`: even ones move the second half.
fn split<T>(index: usize, state: &mut [Lane<T>]) -> (&mut [Lane<T>], &mut [Lane<T>]) {
    let (first, second) = state.split_at_mut(state.len() / 2);
    if index.is_multiple_of(2) {
        (second, first)
    } else {
        (first, second)
    }
}

/// Rows (at most a tile of them) to lanes; missing samples repeat the last one.
pub(super) fn load_rows<T: Real>(rows: &[f64], width: usize, lanes: &mut [Lane<T>]) {
    let samples = rows.len() / width;
    for (k, lane) in lanes.iter_mut().enumerate() {
        for (sample, value) in lane.0.iter_mut().enumerate() {
            *value = T::of(rows[sample.min(samples - 1) * width + k]);
        }
    }
}

/// Lanes to rows; the lanes of missing samples are dropped.
pub(super) fn store_rows<T: Real>(lanes: &[Lane<T>], width: usize, rows: &mut [f64]) {
    for (sample, row) in rows.chunks_exact_mut(width).enumerate() {
        for (value, lane) in row.iter_mut().zip(lanes) {
            *value = lane.0[sample].to_f64();
        }
    }
}

/// One number a sample to a lane; missing samples get zero.
pub(super) fn load_scalars<T: Real>(values: &[f64]) -> Lane<T> {
    debug_assert!(values.len() <= LANES);
    let mut lane = Lane::zero();
    for (to, from) in lane.0.iter_mut().zip(values) {
        *to = T::of(*from);
    }
    lane
}
